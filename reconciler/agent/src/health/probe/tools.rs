//! Tools that probes share: compiled expressions, TLS, and the name of this host. Equal ones are made once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_health::Found;
use evenkeel_health::ask::pattern::Pattern;
use evenkeel_schemas::plan::{Check, CheckKind};

use super::path_tools::PathTools;
use super::tls::Configs;
use super::unprepared;
use crate::system::files::Trust;

/// Tools that probes share.
pub(crate) struct Tools {
    patterns: Mutex<BTreeMap<String, Arc<Pattern>>>,
    pub(super) tls: Configs,
    /// The name that mail servers are greeted with.
    pub(super) hostname: String,
    /// Owners whose programs are run.
    pub(super) trust: Trust,
    /// What probes through IPVS need.
    pub(super) paths: PathTools,
    chance: RandomState,
    /// Numbers that were drawn.
    drawn: AtomicU64,
}

impl Tools {
    /// Nothing is made yet. Programs are run whose owners `trust` allows.
    pub(crate) fn of(trust: Trust) -> Self {
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let hostname = hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned());
        Self {
            patterns: Mutex::default(),
            tls: Configs::new(trust),
            hostname,
            trust,
            paths: PathTools::default(),
            chance: RandomState::new(),
            drawn: AtomicU64::new(0),
        }
    }

    /// The same, where only programs of ours are run.
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self::of(Trust::Owned)
    }

    /// Forgets what none of these checks, which are all, has a use for.
    pub(crate) fn keep<'c>(&self, checks: impl Iterator<Item = &'c Check> + Clone) {
        let used: BTreeSet<&str> = checks.clone().flat_map(expressions).collect();
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        patterns.retain(|text, _| used.contains(text.as_str()));
        self.tls.keep(checks.filter_map(|check| check.kind.tls()));
    }

    /// Bytes by chance that nobody outside can guess: a keyed hash (SipHash) of numbers, with a key of this
    /// process that the host's source of chance gave.
    pub(super) fn chance(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for half in bytes.chunks_exact_mut(8) {
            let number = self.drawn.fetch_add(1, Ordering::Relaxed);
            half.copy_from_slice(&self.chance.hash_one(number).to_be_bytes());
        }
        bytes
    }

    /// An expression. One that is none is the fault of the plan, and not of the target.
    pub(super) fn pattern(&self, text: &str) -> Result<Arc<Pattern>, Found> {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = patterns.get(text) {
            return Ok(Arc::clone(pattern));
        }
        let pattern = Pattern::new(text).map_err(|error| unprepared(error.to_string()))?;
        let pattern = Arc::new(pattern);
        patterns.insert(text.to_owned(), Arc::clone(&pattern));
        Ok(pattern)
    }
}

/// All expressions of a check.
fn expressions(check: &Check) -> impl Iterator<Item = &str> {
    let (expect, requests) = match &check.kind {
        CheckKind::Tcp(tcp) => (tcp.expect.as_deref(), [].as_slice()),
        CheckKind::Udp(udp) => (udp.expect.as_deref(), [].as_slice()),
        CheckKind::File(file) => (file.body.as_deref(), [].as_slice()),
        CheckKind::Http(http) => (None, http.requests.as_slice()),
        CheckKind::Dns(_)
        | CheckKind::Ping
        | CheckKind::Smtp(_)
        | CheckKind::Grpc(_)
        | CheckKind::Script(_)
        | CheckKind::Agent(_) => (None, [].as_slice()),
    };
    let bodies = requests.iter().flat_map(|request| [&request.body, &request.body_not]);
    expect.into_iter().chain(bodies.filter_map(Option::as_deref))
}
