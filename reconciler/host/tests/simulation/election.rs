//! The election of the simulated host, as far as its head sees it: routers take part, become Master, obey
//! orders, and report.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::Input;
use evenkeel_host::election::{ElectionSnapshot, Notice, RouterSnapshot, StateChange};
use evenkeel_host::routers::RouterSetup;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{RouterCounters, RouterOrder, RouterState};

use super::world::World;

/// The election as the head of a host sees it.
#[derive(Debug, Default)]
pub(crate) struct Election {
    pub(crate) setups: Vec<RouterSetup>,
    pub(crate) started: bool,
    pub(crate) orders: BTreeMap<Name, RouterOrder>,
    pub(crate) states: BTreeMap<Name, RouterState>,
    /// Leases that an earlier daemon left.
    pub(crate) leases: BTreeSet<String>,
    pub(crate) lost: u64,
}

impl World {
    pub(crate) fn configure(&mut self, setups: Vec<RouterSetup>) {
        let names: BTreeSet<Name> = setups.iter().map(|setup| setup.name.clone()).collect();
        let gone: Vec<Name> =
            self.election.states.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.becomes(&name, RouterState::Initialize);
            self.election.states.remove(&name);
        }
        for setup in &setups {
            if self.election.states.contains_key(&setup.name) {
                continue;
            }
            let goes_on = self.election.leases.remove(&setup.lease);
            let state = if goes_on { RouterState::Master } else { RouterState::Initialize };
            self.election.states.insert(setup.name.clone(), RouterState::Initialize);
            if goes_on {
                self.becomes(&setup.name, state);
            }
        }
        self.election.setups = setups;
        self.settle_election();
    }

    /// Stops routers that are kept out, and lets the others take part.
    pub(crate) fn settle_election(&mut self) {
        let names: Vec<Name> = self.election.states.keys().cloned().collect();
        for name in names {
            let out = self.election.orders.get(&name).copied().is_some_and(RouterOrder::keeps_out);
            match (self.election.states[&name], out) {
                (RouterState::Initialize, false) if self.election.started => {
                    self.becomes(&name, RouterState::Backup);
                }
                (RouterState::Backup | RouterState::Master, true) => {
                    self.becomes(&name, RouterState::Initialize);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn becomes(&mut self, name: &Name, to: RouterState) {
        self.election.states.insert(name.clone(), to);
        if self.rng.chance(20) {
            self.election.lost += 1;
            return;
        }
        let change = StateChange {
            router: name.clone(),
            label: name.to_string(),
            group: None,
            to,
            fault: false,
            priority: 100,
            why: "so it is".to_owned(),
        };
        // In their order.
        self.input_after(1, 1, Input::Notice(Notice::State(change)));
    }

    /// A router that takes part becomes Master, or loses to another.
    pub(crate) fn elect(&mut self) {
        let names: Vec<Name> = self.election.states.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = names[self.rng.index(names.len())].clone();
        match self.election.states[&name] {
            RouterState::Backup => self.becomes(&name, RouterState::Master),
            RouterState::Master => self.becomes(&name, RouterState::Backup),
            RouterState::Initialize => {}
        }
    }

    /// Routers of which this host is Master.
    pub(crate) fn masters(&self) -> BTreeSet<Name> {
        let states = self.election.states.iter();
        states.filter(|(_, state)| **state == RouterState::Master).map(|(name, _)| name.clone()).collect()
    }

    /// Orders that routers obey.
    pub(crate) const fn orders_in_election(&self) -> &BTreeMap<Name, RouterOrder> {
        &self.election.orders
    }

    /// Routers of the election.
    pub(crate) fn routers(&self) -> BTreeSet<Name> {
        self.election.setups.iter().map(|setup| setup.name.clone()).collect()
    }

    pub(crate) fn snapshot(&self) -> ElectionSnapshot {
        let one = |setup: &RouterSetup| RouterSnapshot {
            key: setup.key.clone(),
            name: setup.name.clone(),
            version: 3,
            priority: 100,
            base_priority: 100,
            group: None,
            order: self.election.orders.get(&setup.name).copied(),
            state: self.election.states[&setup.name],
            waits: false,
            reason: "so it is".to_owned(),
            since: None,
            master: None,
            other_heard: None,
            vips: Vec::new(),
            counters: RouterCounters::default(),
            strangers: Vec::new(),
        };
        let mut snapshot = ElectionSnapshot {
            routers: self.election.setups.iter().map(one).collect(),
            guarded: true,
            ..ElectionSnapshot::default()
        };
        snapshot.thread.lost_notices = self.election.lost;
        snapshot
    }
}
