//! TLS of probes (RFC 8446, RFC 5246): the handshake, and what is made for it of the files of a check.
//!
//! Checks that name the same files share one configuration. Files are read by threads beside the loop
//! (`files`); they are looked at every [`LOOK`], and read again when they have changed.
//! Sessions are not resumed: a server's certificate is seen at every probe.

mod files;
mod verify;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_health::ask::certificate;
use evenkeel_health::{Fault, FaultLabel, Found};
use evenkeel_schemas::plan::CheckTls;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Whom;
use super::unprepared;
use crate::system::files::Trust;

use files::{Stamp, Unusable};
pub(super) use words::fault;

/// Files are looked at again after this time.
const LOOK: Duration = Duration::from_secs(5);
/// The host's own authorities are read again after this time.
const AUTHORITIES: Duration = Duration::from_secs(3600);

/// Protocol that is asked for in the handshake (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alpn {
    /// No protocol is named.
    None,
    /// HTTP/2 (RFC 9113 §3.2).
    H2,
}

/// Whether TLS is spoken, and by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secure<'a> {
    pub(super) tls: &'a CheckTls,
    pub(super) alpn: Alpn,
}

/// All configurations.
pub(super) struct Configs {
    entries: Mutex<BTreeMap<Key, Arc<Entry>>>,
    shared: Arc<ConfigMaker>,
}

/// Settings and files of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    verify: bool,
    ca: Option<String>,
    certificate: Option<String>,
    certificate_key: Option<String>,
    alpn: Alpn,
}

impl Key {
    fn new(tls: &CheckTls, alpn: Alpn) -> Self {
        let CheckTls { verify, ca, certificate, certificate_key, .. } = tls;
        Self {
            verify: *verify,
            // Nothing is verified by it.
            ca: ca.clone().filter(|_| *verify),
            certificate: certificate.clone(),
            certificate_key: certificate_key.clone(),
            alpn,
        }
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        [&self.ca, &self.certificate, &self.certificate_key].into_iter().filter_map(Option::as_deref)
    }
}

#[derive(Default)]
struct Entry {
    /// Held while its files are looked at: probes of other configurations do not wait.
    slot: tokio::sync::Mutex<ConfigSlot>,
}

#[derive(Default)]
struct ConfigSlot {
    made: Option<Made>,
    looked: Option<Instant>,
    /// A look that is under way: one at a time, also when probes that wait for it are given up.
    look: Option<JoinHandle<Result<Option<Made>, Unusable>>>,
    /// Why the newest files cannot be used.
    wrong: Option<String>,
}

/// A configuration, and what it was made of.
#[derive(Clone)]
struct Made {
    stamps: Vec<Stamp>,
    authorities: u64,
    config: Arc<ClientConfig>,
}

struct ConfigMaker {
    provider: Arc<CryptoProvider>,
    /// Owners whose files are read.
    trust: Trust,
    authorities: Mutex<Option<Authorities>>,
}

/// The host's own authorities.
#[derive(Clone)]
struct Authorities {
    number: u64,
    read: std::time::Instant,
    store: Arc<RootCertStore>,
}

impl Configs {
    /// An empty store: configurations are made when a check wants one. Files are read whose owners `trust`
    /// allows.
    pub(super) fn new(trust: Trust) -> Self {
        let provider = Arc::new(ring::default_provider());
        let shared = Arc::new(ConfigMaker { provider, trust, authorities: Mutex::default() });
        Self { entries: Mutex::default(), shared }
    }

    /// Forgets the configurations that none of these, which are all, uses.
    pub(super) fn keep<'c>(&self, all: impl Iterator<Item = &'c CheckTls>) {
        let used: BTreeSet<Key> =
            all.flat_map(|tls| [Alpn::None, Alpn::H2].map(|alpn| Key::new(tls, alpn))).collect();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|key, _| used.contains(key));
    }

    /// The files are looked at when they are needed next.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        for entry in self.entries.lock().expect("no panic").values() {
            entry.slot.try_lock().expect("no probe").looked = None;
        }
    }

    /// The configuration of a check, and why newer files cannot be used.
    ///
    /// When its files cannot be used and never could be.
    async fn config(&self, secure: Secure<'_>) -> Result<(Arc<ClientConfig>, Option<String>), String> {
        let key = Key::new(secure.tls, secure.alpn);
        let entry = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(entries.entry(key.clone()).or_default())
        };
        let mut slot = entry.slot.lock().await;
        if slot.look.is_none() && slot.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            let (shared, before) = (Arc::clone(&self.shared), slot.made.clone());
            slot.look = Some(tokio::task::spawn_blocking(move || shared.look(&key, before)));
        }
        if let Some(look) = &mut slot.look {
            let looked = look.await.unwrap_or_else(|error| Err(Unusable::Lost(error)));
            (slot.look, slot.looked) = (None, Some(Instant::now()));
            match looked {
                Ok(new) => {
                    slot.made = new.or_else(|| slot.made.take());
                    slot.wrong = None;
                }
                Err(why) => slot.wrong = Some(why.to_string()),
            }
        }
        match (&slot.made, &slot.wrong) {
            (Some(made), wrong) => Ok((Arc::clone(&made.config), wrong.clone())),
            (None, wrong) => Err(wrong.clone().unwrap_or_default()),
        }
    }
}

impl ConfigMaker {
    /// The configuration as the files are now; none where they are as they were.
    fn look(&self, key: &Key, before: Option<Made>) -> Result<Option<Made>, Unusable> {
        let stamps: Vec<Stamp> = key.files().map(files::stamp).collect::<Result<_, _>>()?;
        let authorities = (key.verify && key.ca.is_none()).then(|| self.authorities());
        let number = authorities.as_ref().map_or(0, |authorities| authorities.number);
        if before.is_some_and(|before| before.stamps == stamps && before.authorities == number) {
            return Ok(None);
        }
        let store = match (&key.ca, authorities) {
            (Some(file), _) => Some(Arc::new(files::store(file, self.trust)?)),
            (None, authorities) => authorities.map(|authorities| authorities.store),
        };
        let config = Arc::new(self.make(key, store)?);
        Ok(Some(Made { stamps, authorities: number, config }))
    }

    fn make(&self, key: &Key, store: Option<Arc<RootCertStore>>) -> Result<ClientConfig, Unusable> {
        let provider = Arc::clone(&self.provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Unusable::Protocol)?;
        let builder = match store {
            Some(store) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(store, provider).build();
                builder.with_webpki_verifier(verifier.map_err(Unusable::Authorities)?)
            }
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::Anything(provider)))
            }
        };
        let mut config = match (&key.certificate, &key.certificate_key) {
            (Some(certificate), Some(file)) => {
                let certificates = files::certificates(certificate, self.trust)?;
                let private = files::key(file, self.trust)?;
                let unfit =
                    |error| Unusable::Unfit { certificate: certificate.clone(), key: file.clone(), error };
                builder.with_client_auth_cert(certificates, private).map_err(unfit)?
            }
            _ => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        if key.alpn == Alpn::H2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(config)
    }

    /// The host's own authorities. Where it has none, nothing is valid.
    fn authorities(&self) -> Authorities {
        let mut known = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.read.elapsed() < AUTHORITIES) {
            return known.clone();
        }
        let number = known.as_ref().map_or(1, |known| known.number + 1);
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let read = std::time::Instant::now();
        known.insert(Authorities { number, read, store: Arc::new(store) }).clone()
    }
}

/// A handshake that has not been made yet.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
    wrong: Option<String>,
}

/// A connection by TLS, and what people should know of the server's certificate.
pub(super) struct Shaken {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) remark: Option<String>,
}

/// Gets ready for a handshake, before anything leaves this host.
pub(super) async fn prepare(
    configs: &Configs,
    whom: Whom<'_>,
    secure: Secure<'_>,
) -> Result<Handshake, Found> {
    let name = match &secure.tls.server_name {
        Some(name) => ServerName::try_from(name.as_str())
            .map_err(|_| unprepared(format!("`{name}` is no name of a server")))?
            .to_owned(),
        None => ServerName::from(whom.target.ip()),
    };
    let (config, wrong) = configs.config(secure).await.map_err(unprepared)?;
    Ok(Handshake { connector: TlsConnector::from(config), name, wrong })
}

/// Makes the handshake.
pub(super) async fn shake(ready: Handshake, stream: TcpStream, secure: Secure<'_>) -> Result<Shaken, Found> {
    let Handshake { connector, name, wrong } = ready;
    let stream = connector.connect(name, stream).await.map_err(|error| words::handshake(&error))?;
    let (_, session) = stream.get_ref();
    if secure.alpn == Alpn::H2 && session.alpn_protocol() != Some(b"h2") {
        return Err(Fault::new(FaultLabel::Tls, "the server does not offer HTTP/2 by TLS").into());
    }
    let first = session.peer_certificates().and_then(<[_]>::first);
    let end = first.and_then(|certificate| certificate::end(certificate));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let expiry = secure.tls.expiry_days.zip(end);
    let expiry = expiry.and_then(|(days, end)| certificate::remark(end, now, days.get()));
    let remark = match (expiry, wrong) {
        (Some(expiry), Some(wrong)) => Some(format!("{expiry}; {wrong}, so what was read before is used")),
        (None, Some(wrong)) => Some(format!("{wrong}, so what was read before is used")),
        (expiry, None) => expiry,
    };
    Ok(Shaken { stream: Box::new(stream), remark })
}
