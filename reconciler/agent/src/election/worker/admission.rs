//! Which routers may take part in the election: what keeps each out, and until when.
//!
//! ```text
//!   interfaces, sources, sockets   \
//!   orders, trackers, services      >  obstacle  -> Fault
//!   first convergence, delays      /   none      -> Startup
//! ```
//! The last line counts for a router in Initialize only: one that takes part is not stopped by it.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterOrder;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Cause, Effective, FaultCause, Input, RouterKey, State, Tracked, TrackerState, effective,
};

use super::super::RouterSetup;
use super::super::backoff::Backoff;
use super::Worker;
use super::routers::Routers;

/// What a tracker counts as before its first state comes.
const UNKNOWN: TrackerState = TrackerState { up: true, value: None };

/// What decides whether routers may take part.
#[derive(Debug)]
pub(super) struct Admission {
    /// Routers that failed and wait before they try again.
    pub(super) backoff: Backoff,
    /// Why each router does not take part, as reported last.
    faults: BTreeMap<RouterKey, FaultCause>,
    /// The states of all trackers, by name.
    trackers: BTreeMap<Name, TrackerState>,
    /// Routers none of whose virtual servers can be made on this host.
    unserved: BTreeSet<RouterKey>,
    /// Routers of which a service has too few healthy real servers.
    withdrawn: BTreeSet<RouterKey>,
    /// Routers whose priority is lower because this director's own link is at fault, by name.
    giving_way: BTreeSet<Name>,
    /// Routers whose checks have no verdict yet, by name.
    unready: BTreeSet<Name>,
    /// The orders of operators and of the plan in force, by router.
    orders: BTreeMap<Name, RouterOrder>,
    /// Whether everything but the VIPs has converged once since the start.
    converged: bool,
    /// When the thread began, which start-up delays count from.
    began: MonoTime,
    /// When the last start-up delay ends.
    startups_end: MonoTime,
}

impl Admission {
    pub(super) fn new(began: MonoTime) -> Self {
        Self {
            backoff: Backoff::default(),
            faults: BTreeMap::new(),
            trackers: BTreeMap::new(),
            unserved: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            giving_way: BTreeSet::new(),
            unready: BTreeSet::new(),
            orders: BTreeMap::new(),
            converged: false,
            began,
            startups_end: MonoTime::ZERO,
        }
    }

    pub(super) const fn has_converged(&self) -> bool {
        self.converged
    }

    /// Everything but the VIPs is in place.
    pub(super) const fn set_converged(&mut self) {
        self.converged = true;
    }

    /// Learns when the last start-up delay of these routers ends.
    pub(super) fn find_startups<'a>(&mut self, setups: impl Iterator<Item = &'a RouterSetup>) {
        self.startups_end = self.began + setups.map(|setup| setup.startup_delay).max().unwrap_or_default();
    }

    /// A new plan with these routers: all others are forgotten, and nobody waits because of a failure under
    /// the plan before.
    pub(super) fn retain(&mut self, keys: &BTreeSet<RouterKey>) {
        self.faults.retain(|key, _| keys.contains(key));
        self.backoff.clear();
    }

    /// The order that is in force for a router, by name.
    pub(super) fn order(&self, name: &Name) -> Option<RouterOrder> {
        self.orders.get(name).copied()
    }

    /// What a router's trackers make of its priority, and whether they let it take part.
    pub(super) fn tracking(&self, setup: &RouterSetup) -> Effective {
        let tracked = setup.track.iter().map(|track| Tracked {
            state: self.trackers.get(&track.tracker).copied().unwrap_or(UNKNOWN),
            weight: track.weight,
            reverse: track.reverse,
        });
        let own_fault = setup.own_fault_weight.filter(|_| self.giving_way.contains(&setup.name));
        let state = TrackerState { up: false, value: None };
        let own_fault =
            own_fault.map(|drop| Tracked { state, weight: Some(drop.as_weight()), reverse: false });
        effective(setup.config.priority, tracked.chain(own_fault))
    }

    /// Whether the checks of a router, or of one that moves with it, have no verdict yet.
    pub(super) fn is_unready(&self, routers: &Routers, setup: &RouterSetup) -> bool {
        let moves_with = |other: &RouterSetup| {
            other.name == setup.name || setup.group.is_some() && other.group == setup.group
        };
        !self.unready.is_empty()
            && routers.setups.values().any(|other| moves_with(other) && self.unready.contains(&other.name))
    }

    /// What keeps a router out of the election, whatever its state: an order, its services or a tracker.
    fn kept_out(&self, setup: &RouterSetup) -> Option<FaultCause> {
        match self.order(&setup.name) {
            Some(RouterOrder::Hold) => return Some(FaultCause::Held),
            Some(RouterOrder::Maintenance) => return Some(FaultCause::Maintenance),
            Some(RouterOrder::Yield) | None => {}
        }
        if self.unserved.contains(&setup.key) {
            return Some(FaultCause::Unserved);
        }
        if self.withdrawn.contains(&setup.key) {
            return Some(FaultCause::Withdrawn);
        }
        (!self.tracking(setup).takes_part).then_some(FaultCause::Tracker)
    }

    /// What a router in Initialize waits for.
    fn waits_for(&self, setup: &RouterSetup, now: MonoTime) -> Option<FaultCause> {
        let converging = (!self.converged).then_some(FaultCause::NotConverged);
        let end = self.startup_end(setup);
        let delayed = end.is_some_and(|end| now < end).then_some(FaultCause::StartupDelay);
        self.backoff.cause(&setup.key, now).or(converging).or(delayed)
    }

    /// When a router's start-up delay ends; `None` without one.
    fn startup_end(&self, setup: &RouterSetup) -> Option<MonoTime> {
        let delay = setup.startup_delay;
        (!delay.is_zero()).then(|| self.began + delay)
    }

    /// When the next start-up delay ends of a router that waits for it.
    pub(super) fn next_startup(&self, routers: &Routers, now: MonoTime) -> Option<MonoTime> {
        if now >= self.startups_end {
            return None;
        }
        let waiting = |setup: &&RouterSetup| routers.state(&setup.key) == Some(State::Initialize);
        let ends = routers.setups.values().filter(waiting).filter_map(|setup| self.startup_end(setup));
        ends.filter(|end| *end > now).min()
    }

    /// Remembers why a router does not take part, and returns whether that is to be reported: when it is
    /// another cause than the last one. That a daemon which was just started has not converged is no news.
    fn is_news(&mut self, key: &RouterKey, cause: FaultCause) -> bool {
        self.faults.insert(key.clone(), cause) != Some(cause) && cause != FaultCause::NotConverged
    }

    /// A change of a router's state is reported with its cause.
    pub(super) fn state_changed(&mut self, key: &RouterKey, cause: Cause) {
        match cause {
            Cause::Fault(fault) => drop(self.faults.insert(key.clone(), fault)),
            _ => drop(self.faults.remove(key)),
        }
    }
}

impl Worker {
    /// The states of all trackers.
    pub(super) fn set_trackers(&mut self, trackers: BTreeMap<Name, TrackerState>) {
        if trackers != self.admission.trackers {
            self.admission.trackers = trackers;
            self.reconfigure();
            self.start_routers();
        }
    }

    /// All routers none of whose virtual servers can be made on this host.
    pub(super) fn set_unserved(&mut self, routers: BTreeSet<RouterKey>) {
        if routers != self.admission.unserved {
            self.admission.unserved = routers;
            self.start_routers();
        }
    }

    /// All routers of which a service has too few healthy real servers.
    pub(super) fn set_withdrawn(&mut self, routers: BTreeSet<RouterKey>) {
        if routers != self.admission.withdrawn {
            self.admission.withdrawn = routers;
            self.start_routers();
        }
    }

    /// Sets the routers whose priority is lower because this director's own link is at fault.
    pub(super) fn set_giving_way(&mut self, routers: BTreeSet<Name>) {
        if routers != self.admission.giving_way {
            self.admission.giving_way = routers;
            self.reconfigure();
        }
    }

    /// All routers whose checks have no verdict yet.
    pub(super) fn set_unready(&mut self, routers: BTreeSet<Name>) {
        if routers != self.admission.unready {
            self.admission.unready = routers;
            self.reconfigure();
        }
    }

    /// All orders in force. A router whose order to yield is new hands over.
    pub(super) fn set_orders(&mut self, orders: BTreeMap<Name, RouterOrder>) {
        let before = std::mem::replace(&mut self.admission.orders, orders);
        self.end_answered_offer();
        self.reconfigure();
        let newly_yields = |setup: &&RouterSetup| {
            self.admission.order(&setup.name) == Some(RouterOrder::Yield)
                && before.get(&setup.name) != Some(&RouterOrder::Yield)
        };
        let handing_over: BTreeSet<RouterKey> =
            self.routers.setups.values().filter(newly_yields).map(|setup| setup.key.clone()).collect();
        for key in handing_over {
            self.routers.election.handle(&key, Input::Handover, clock::now());
            self.drain();
        }
        self.start_routers();
    }

    /// What is wrong with a router's interfaces: none to speak or listen on, no source address, no socket.
    pub(super) fn link_obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let setup = self.routers.setup(key)?;
        let running = self.routers.election.get(key).map(|(_, router)| router.config().source);
        let source = running.unwrap_or(setup.config.source);
        let ttl = setup.ttl();
        let here = self.ports.open.get(key.interface.as_str()).map(|port| port.check_source(source));
        let via = self.ports.open.get_mut(setup.via.as_str()).map(|port| port.check_sender(source, ttl));
        // Where its VIPs are, and where it hears the group.
        let others = setup.vips.keys().map(|vip| vip.interface.as_str());
        let others = others.chain(setup.virtual_mac.as_ref().map(|interface| interface.as_str()));
        let others: BTreeSet<&str> = others.collect();
        let others =
            others.into_iter().map(|name| self.ports.open.get(name).map(|port| port.check_open(key.family)));
        let all = [here, via].into_iter().chain(others);
        all.map(|port| port.unwrap_or(Err(FaultCause::InterfaceMissing))).find_map(Result::err)
    }

    /// What keeps a router out of the election now.
    pub(super) fn obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let link = self.link_obstacle(key);
        let setup = self.routers.setup(key)?;
        let obstacle = link.or_else(|| self.admission.kept_out(setup));
        if self.routers.state(key) != Some(State::Initialize) {
            return obstacle;
        }
        obstacle.or_else(|| self.admission.waits_for(setup, clock::now()))
    }

    /// Starts the routers that may take part and stops those that may not. Each of these hears why: that is
    /// its reason in the status.
    pub(super) fn start_routers(&mut self) {
        let now = clock::now();
        let states = self.routers.election.iter().map(|(key, _, router)| (key.clone(), router.state()));
        for (key, state) in states.collect::<Vec<_>>() {
            match (self.obstacle(&key), state) {
                (Some(cause), State::Initialize) => {
                    self.routers.election.handle(&key, Input::Fault(cause), now);
                    if self.admission.is_news(&key, cause) {
                        self.outbox.about(&self.routers, &key, format!("does not take part: {cause}"));
                    }
                }
                (Some(cause), State::Backup | State::Master) => {
                    self.routers.election.handle(&key, Input::Fault(cause), now);
                }
                (None, State::Initialize) if self.ending => {}
                (None, State::Initialize) => {
                    self.routers.election.handle(&key, Input::Startup, now);
                }
                (None, State::Backup | State::Master) => {}
            }
        }
        self.drain();
    }
}
