//! Certificates: which are taken, and what is said of those that are not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::servers::{self, Manner};
use super::{Tools, check, probe};

/// An authority, and what it signs.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key, in files.
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these names that ends so many days from now.
    pub(super) fn sign(&self, file: &str, names: &[&str], days: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let day = Duration::from_secs(24 * 60 * 60);
        // An hour more than whole days, so that the number of them stays while the test runs.
        let now = rcgen::date_time_ymd(1970, 1, 1) + now + day / 24;
        params.not_before = now - 100 * day;
        params.not_after = if days < 0 {
            now - days.unsigned_abs() * day - day / 12
        } else {
            now + days.unsigned_abs() * day
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let pair = Pair {
            certificate: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem()).expect("written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("written");
        pair
    }

    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.issuer.der().clone()).expect("an authority");
        store
    }
}

/// A server's TLS with this certificate; `clients` signs those that it wants of its clients.
pub(super) fn server(pair: &Pair, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match clients {
        Some(authority) => {
            let store = Arc::new(authority.store());
            let verifier = WebPkiClientVerifier::builder_with_provider(store, provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
        None => builder.with_no_client_auth(),
    };
    let certificate = CertificateDer::from_pem_file(&pair.certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
    Arc::new(builder.with_single_cert(vec![certificate], key).expect("a configuration"))
}

fn keys(ca: &Path, more: &str) -> String {
    format!("type = \"tcp\"\ntls = true\nverify_certificate = true\nca = \"{}\"\n{more}\n", ca.display())
}

#[tokio::test]
async fn a_certificate_is_taken_or_told_of() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let namesake = Authority::new("ours");
    let good = ours.sign("good", &["www.example", "127.0.0.1"], 30);
    let late = ours.sign("late", &["www.example"], -3);
    let tools = Tools::new();
    for (pair, ca, more, wanted) in [
        (&good, &ours, "server_name = \"www.example\"", "up"),
        (&good, &ours, "", "up"),
        (&good, &ours, "server_name = \"www.example\"\nexpiry_days = 29", "up"),
        (
            &good,
            &ours,
            "server_name = \"www.example\"\nexpiry_days = 31",
            "up: certificate expires in 30 days",
        ),
        (
            &good,
            &ours,
            "server_name = \"a.example\"",
            "certificate: certificate is for www.example, 127.0.0.1, not a.example, after _ ms",
        ),
        (
            &good,
            &other,
            "server_name = \"www.example\"",
            "certificate: certificate signed by an unknown authority, after _ ms",
        ),
        (
            &good,
            &namesake,
            "server_name = \"www.example\"",
            "certificate: certificate not signed by the authority that it names, after _ ms",
        ),
        (
            &late,
            &ours,
            "server_name = \"www.example\"",
            "certificate: certificate expired 3 days ago, after _ ms",
        ),
    ] {
        let target = servers::start(Manner::Silent, servers::mute, Some(server(pair, None)));
        let check = check(target, &keys(&ca.ca(), more));
        assert_eq!(probe(&check, &tools).await, wanted, "{more}");
    }
    // Not verified, but told of.
    for (pair, more, wanted) in [
        (&good, "", "up"),
        (&late, "", "up"),
        (&late, "expiry_days = 1", "up: certificate expired 3 days ago"),
        (&late, "server_name = \"x.example\"", "up"),
    ] {
        let target = servers::start(Manner::Silent, servers::mute, Some(server(pair, None)));
        let check = check(target, &format!("type = \"tcp\"\ntls = true\n{more}\n"));
        assert_eq!(probe(&check, &tools).await, wanted, "{more}");
    }
    let target = servers::start(Manner::Silent, servers::mute, Some(server(&good, None)));
    let by_hosts = check(target, "type = \"tcp\"\ntls = true\nverify_certificate = true\n");
    let wanted = "certificate: certificate signed by an unknown authority, after _ ms";
    assert_eq!(probe(&by_hosts, &tools).await, wanted, "not one of the host's authorities");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let good = ours.sign("good", &["www.example"], 30);
    let config = server(&good, Some(&ours));
    let tools = Tools::new();
    // By TLS 1.3 a server refuses a certificate only behind the handshake: its answer has to be waited for.
    let web = |pair: Option<&Pair>| {
        let client = pair.map_or_else(String::new, |pair| {
            let (certificate, key) = (pair.certificate.display(), pair.key.display());
            format!("certificate = \"{certificate}\"\ncertificate_key = \"{key}\"\n")
        });
        let target = servers::start(Manner::Good, servers::web, Some(Arc::clone(&config)));
        check(target, &format!("type = \"https\"\npath = \"/\"\nstatus = [\"200\"]\n{client}"))
    };
    let (known, unknown) = (ours.sign("client", &["lb"], 30), other.sign("client", &["lb"], 30));
    assert_eq!(probe(&web(Some(&known)), &tools).await, "up");
    assert_eq!(probe(&web(None), &tools).await, "tls: the server wants a certificate, after _ ms");
    let refused = probe(&web(Some(&unknown)), &tools).await;
    assert!(refused.starts_with("tls: the server does not take our certificate: "), "{refused}");
}

#[tokio::test]
async fn files_are_shared_and_read_again_when_they_change() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let good = ours.sign("good", &["www.example"], 30);
    let target = servers::start(Manner::Silent, servers::mute, Some(server(&good, None)));
    let file = other.ca();
    let check = check(target, &keys(&file, "server_name = \"www.example\""));
    let tools = Tools::new();
    let unknown = "certificate: certificate signed by an unknown authority, after _ ms";
    assert_eq!(probe(&check, &tools).await, unknown);
    std::fs::copy(ours.ca(), &file).expect("copied");
    assert_eq!(probe(&check, &tools).await, unknown, "not looked at again yet");
    tools.tls.look_again();
    assert_eq!(probe(&check, &tools).await, "up");
    // One that cannot be read does not make the target fail: the one before is used, and it is told.
    std::fs::write(&file, "nonsense").expect("written");
    tools.tls.look_again();
    let wanted = format!("up: {} has no certificate, so what was read before is used", file.display());
    assert_eq!(probe(&check, &tools).await, wanted);
    tools.keep([].into_iter());
    let wanted = format!("ails: {} has no certificate", file.display());
    assert_eq!(probe(&check, &tools).await, wanted, "forgotten with the check");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_this_hosts_fault() {
    let ours = Authority::new("ours");
    let (a, b) = (ours.sign("a", &["a"], 1), ours.sign("b", &["b"], 1));
    let folder = ours.ca().parent().expect("a folder").to_owned();
    std::fs::write(folder.join("large"), vec![b'x'; (1 << 20) + 1]).expect("written");
    let large = folder.join("large");
    let loose = folder.join("loose");
    std::fs::copy(ours.ca(), &loose).expect("copied");
    std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    let tools = Tools::new();
    let client = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("type = \"tcp\"\ntls = true\ncertificate = \"{certificate}\"\ncertificate_key = \"{key}\"\n")
    };
    for (keys, wanted) in [
        (keys(Path::new("/no/such"), ""), "ails: /no/such cannot be read: no such file"),
        (keys(&folder, ""), " cannot be read: not a regular file"),
        (keys(&large, ""), " cannot be read: larger than 1048576 bytes"),
        (keys(Path::new("/dev/zero"), ""), "ails: /dev/zero cannot be read: not a regular file"),
        (keys(&loose, ""), "/loose cannot be read: "),
        (keys(&a.key, ""), " has no certificate"),
        (client(&a.certificate, &b.key), " cannot be used: "),
        (client(&a.certificate, &a.certificate), " has no key: "),
        (keys(&ours.ca(), "server_name = \"not a name\""), "ails: `not a name` is no name of a server"),
    ] {
        let said = probe(&check(servers::nobody(), &keys), &tools).await;
        assert!(said.starts_with("ails: ") && said.contains(wanted), "{keys}: {said}");
    }
}
