//! Routers that do not take over from a living Master before their services' checks have spoken.
//!
//! A director that comes back, starts, or gets new services does not know yet which of its destinations are
//! alive, while another one serves. It waits for one whole turn of the checks in question, and for no longer
//! than that. Who dies meanwhile is replaced as ever: how is the election's business, which hears only who
//! waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use crate::state::CheckId;

/// A router waits no longer than this, whatever its checks are: the longest time for which a director that is
/// wanted as Master is kept from it by what nobody may ever answer.
pub const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Gate {
    /// Checks that have not spoken, and how long a turn of each takes at most.
    left: BTreeMap<CheckId, Duration>,
    /// It opens then in any case; not while the router cannot take part.
    until: Option<MonoTime>,
}

impl Gate {
    /// Latest time at which a gate opens that closes now.
    fn end(&self, now: MonoTime) -> MonoTime {
        let longest = self.left.values().max().copied().unwrap_or_default();
        // With as much again for probes that wait for each other.
        now + (longest + SPREAD).min(LONGEST)
    }
}

/// Longest time for which probes that are made as soon as they can be wait for each other.
const SPREAD: Duration = Duration::from_secs(2);

/// Why a gate opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The router.
    pub router: Name,
    /// The checks that had not spoken.
    pub left: BTreeSet<CheckId>,
}

/// The routers that wait, by name.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    gates: BTreeMap<Name, Gate>,
}

impl Gates {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A router waits for these checks, each with how long its turn takes at most
    /// ([`evenkeel_schemas::plan::Times::turn`]), from now on. Without any it does not wait. `able` is
    /// whether it can take part: the time does not begin before.
    pub fn close(&mut self, router: &Name, left: BTreeMap<CheckId, Duration>, able: bool, now: MonoTime) {
        if left.is_empty() {
            self.gates.remove(router);
            return;
        }
        let mut gate = Gate { left, until: None };
        gate.until = able.then(|| gate.end(now));
        self.gates.insert(router.clone(), gate);
    }

    /// Begins the time limit of routers that could not take part and now can.
    pub fn enable(&mut self, able: impl Fn(&Name) -> bool, now: MonoTime) {
        for (router, gate) in &mut self.gates {
            if gate.until.is_none() && able(router) {
                gate.until = Some(gate.end(now));
            }
        }
    }

    /// Forgets the gates of all routers but these.
    pub fn keep(&mut self, routers: &BTreeSet<Name>) {
        self.gates.retain(|router, _| routers.contains(router));
    }

    /// A check has spoken. Whether a router waits no longer because of that.
    pub fn spoken(&mut self, check: CheckId) -> bool {
        let before = self.gates.len();
        self.gates.retain(|_, gate| {
            gate.left.remove(&check);
            !gate.left.is_empty()
        });
        self.gates.len() < before
    }

    /// Checks that are not on the board any more have nothing to say. Whether a router waits no longer
    /// because of that.
    pub fn retain(&mut self, is_there: impl Fn(CheckId) -> bool) -> bool {
        let before = self.gates.len();
        self.gates.retain(|_, gate| {
            gate.left.retain(|check, _| is_there(*check));
            !gate.left.is_empty()
        });
        self.gates.len() < before
    }

    /// Opens the gates whose time is over.
    pub fn expire(&mut self, now: MonoTime) -> Vec<Expired> {
        let over = self.gates.extract_if(.., |_, gate| gate.until.is_some_and(|until| until <= now));
        over.map(|(router, gate)| Expired { router, left: gate.left.into_keys().collect() }).collect()
    }

    /// Time at which [`Self::expire`] has a gate to open; none when no gate has a time limit.
    #[must_use]
    pub fn due(&self) -> Option<MonoTime> {
        self.gates.values().filter_map(|gate| gate.until).min()
    }

    /// Routers that wait.
    #[must_use]
    pub fn waiting(&self) -> BTreeSet<Name> {
        self.gates.keys().cloned().collect()
    }

    /// Number of checks that a router still waits for.
    #[must_use]
    pub fn left(&self, router: &Name) -> usize {
        self.gates.get(router).map_or(0, |gate| gate.left.len())
    }
}
