//! The virtual routers of the plan with their state machines, and what every part of the worker asks them.
//!
//! Questions only: who configures a router, starts it or carries out its outputs is elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::AddressKey;
use evenkeel_schemas::scalars::Name;
use evenkeel_vrrp::{Election, RouterKey, State};

use super::super::RouterSetup;
use super::vips::Moving;

/// The virtual routers of this host.
pub(super) struct Routers {
    /// Their state machines.
    pub(super) election: Election,
    /// What the plan says of each. While a plan is replaced, the routers that leave are still here.
    pub(super) setups: BTreeMap<RouterKey, RouterSetup>,
}

impl Routers {
    pub(super) fn new() -> Self {
        Self { election: Election::new(), setups: BTreeMap::new() }
    }

    /// What the plan says of a router.
    pub(super) fn setup(&self, key: &RouterKey) -> Option<&RouterSetup> {
        self.setups.get(key)
    }

    /// The state of a router; `None` when the election has no such router.
    pub(super) fn state(&self, key: &RouterKey) -> Option<State> {
        self.election.get(key).map(|(_, router)| router.state())
    }

    pub(super) fn is_master(&self, key: &RouterKey) -> bool {
        self.state(key) == Some(State::Master)
    }

    /// What log and status call a router: its name, with its family where two routers share the name.
    pub(super) fn label(&self, setup: &RouterSetup) -> String {
        let twin = |other: &RouterSetup| other.name == setup.name && other.key.family != setup.key.family;
        if self.setups.values().any(twin) {
            format!("{} {}", setup.name, setup.key.family)
        } else {
            setup.name.to_string()
        }
    }

    /// The VIPs of all routers.
    pub(super) fn vip_keys(&self) -> BTreeSet<AddressKey> {
        self.setups.values().flat_map(|setup| setup.vips.keys().cloned()).collect()
    }

    /// VIPs, routes and rules of all routers.
    pub(super) fn moving(&self) -> Moving {
        Moving::of(self.setups.values())
    }

    /// The router that has this VIP.
    pub(super) fn owner(&self, vip: &AddressKey) -> Option<RouterKey> {
        self.setups.values().find(|setup| setup.vips.contains_key(vip)).map(|setup| setup.key.clone())
    }

    /// How many announcements of each VIP the plan asks for; 0 for a router that is not in it.
    pub(super) fn garp_repeat(&self, key: &RouterKey) -> u8 {
        self.setup(key).map_or(0, |setup| setup.config.garp_repeat)
    }

    /// Whether two names are one router, or routers of one sync group.
    pub(super) fn move_together(&self, one: &Name, other: &Name) -> bool {
        let group = |name: &Name| {
            let mut setups = self.setups.values().filter(|setup| setup.name == *name);
            setups.find_map(|setup| setup.group.as_ref())
        };
        one == other || group(one).is_some_and(|shared| group(other) == Some(shared))
    }
}
