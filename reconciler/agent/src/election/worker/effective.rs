//! The configuration that a router runs with: the plan's, with what trackers, operators and the interface make
//! of it.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterOrder;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Config, Effective, FaultCause, Input, Member, RouterKey, State, Tracked, TrackerState, effective,
};

use super::super::RouterSetup;
use super::Worker;

/// What a tracker counts as that nobody has told of yet.
const UNKNOWN: TrackerState = TrackerState { up: true, value: None };

impl Worker {
    /// The routers that `which` names, with the configuration to run with.
    pub(super) fn members(&self, which: impl Fn(&RouterKey) -> bool) -> Vec<Member> {
        let setups = self.routers.values().filter(|setup| which(&setup.key));
        let member = |setup: &RouterSetup| Member {
            key: setup.key.clone(),
            name: setup.name.clone(),
            group: setup.group.clone(),
            config: self.config(setup),
        };
        setups.map(member).collect()
    }

    /// Gives the routers the configuration that they should now run with, live.
    pub(super) fn reconfigure(&mut self) {
        self.election.configure(self.members(|_| true), clock::now());
        self.drain();
    }

    fn config(&self, setup: &RouterSetup) -> Config {
        let mut config = setup.config.clone();
        config.priority = self.tracking(setup).priority;
        // It has handed over, or is about to, and comes back only when nobody else is there.
        config.preempt &= self.order(&setup.name) != Some(RouterOrder::Yield) && !self.offers(&setup.name);
        config.unready = self.is_unready(setup);
        if config.source.is_unspecified()
            && let Some(found) = self.link_local.get(setup.key.interface.as_str())
        {
            config.source = *found;
        }
        config
    }

    /// What a router's trackers make of it.
    fn tracking(&self, setup: &RouterSetup) -> Effective {
        let tracked = setup.track.iter().map(|track| Tracked {
            state: self.trackers.get(&track.tracker).copied().unwrap_or(UNKNOWN),
            weight: track.weight,
            reverse: track.reverse,
        });
        effective(setup.config.priority, tracked)
    }

    /// Trackers have found something.
    pub(super) fn tracked(&mut self, trackers: BTreeMap<Name, TrackerState>) {
        if trackers != self.trackers {
            self.trackers = trackers;
            self.reconfigure();
            self.start_routers();
        }
    }

    /// None of the virtual servers of these routers can be made.
    pub(super) fn left_to_others(&mut self, routers: BTreeSet<RouterKey>) {
        if routers != self.unserved {
            self.unserved = routers;
            self.start_routers();
        }
    }

    /// The checks of these routers have not spoken.
    pub(super) fn waiting(&mut self, waiting: BTreeSet<Name>) {
        if waiting != self.waiting {
            self.waiting = waiting;
            self.reconfigure();
        }
    }

    /// Whether a router, or one that moves with it, waits for its checks.
    fn is_unready(&self, setup: &RouterSetup) -> bool {
        let moves_with = |other: &RouterSetup| {
            other.name == setup.name || setup.group.is_some() && other.group == setup.group
        };
        !self.waiting.is_empty()
            && self.routers.values().any(|other| moves_with(other) && self.waiting.contains(&other.name))
    }

    /// Operators have told routers something.
    pub(super) fn ordered(&mut self, orders: BTreeMap<Name, RouterOrder>) {
        let before = std::mem::replace(&mut self.orders, orders);
        self.end_answered_offer();
        self.reconfigure();
        let yields = |name: &Name| self.order(name) == Some(RouterOrder::Yield);
        let newly = |setup: &&RouterSetup| {
            yields(&setup.name) && before.get(&setup.name) != Some(&RouterOrder::Yield)
        };
        let handing_over: BTreeSet<RouterKey> =
            self.routers.values().filter(newly).map(|setup| setup.key.clone()).collect();
        for key in handing_over {
            self.election.handle(&key, Input::Handover, clock::now());
            self.drain();
        }
        self.start_routers();
    }

    fn order(&self, name: &Name) -> Option<RouterOrder> {
        self.orders.get(name).copied()
    }

    /// What an operator or the plan told a router.
    pub(super) fn order_of(&self, key: &RouterKey) -> Option<RouterOrder> {
        self.routers.get(key).and_then(|setup| self.order(&setup.name))
    }

    /// Whether an operator, a tracker or what it would have to serve keeps a router out of the election.
    pub(super) fn kept_out(&self, key: &RouterKey) -> Option<FaultCause> {
        let setup = self.routers.get(key)?;
        match self.order(&setup.name) {
            Some(RouterOrder::Hold) => return Some(FaultCause::Held),
            Some(RouterOrder::Maintenance) => return Some(FaultCause::Maintenance),
            Some(RouterOrder::Yield) | None => {}
        }
        if self.unserved.contains(key) {
            return Some(FaultCause::Unserved);
        }
        (!self.tracking(setup).takes_part).then_some(FaultCause::Tracker)
    }

    /// When a router's start-up delay ends, if it has one.
    pub(super) fn startup_end(&self, key: &RouterKey) -> Option<MonoTime> {
        let delay = self.routers.get(key)?.startup_delay;
        (!delay.is_zero()).then(|| self.began + delay)
    }

    /// When the next start-up delay ends of a router that waits for it.
    pub(super) fn next_startup(&self, now: MonoTime) -> Option<MonoTime> {
        if now >= self.startups_end {
            return None;
        }
        let waits = |key: &RouterKey| {
            self.election.get(key).is_some_and(|(_, router)| router.state() == State::Initialize)
        };
        let delayed = self.routers.values().filter(|setup| !setup.startup_delay.is_zero());
        delayed
            .filter(|setup| self.began + setup.startup_delay > now && waits(&setup.key))
            .map(|setup| self.began + setup.startup_delay)
            .min()
    }
}
