//! Laws of drains, on a kernel in memory with clients that come and go.
//!
//! Whatever plans, restarts and meddlers do: who drains gets nothing new, nobody is cut off before the time
//! that was promised, and in the end the kernel is as the plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_converge::drain::{SETTLE, Usage, concerned};
use evenkeel_converge::{
    Connections, Desired, Destination, DestinationKey, Domain, DrainRules, Drains, Forward, KernelState,
    Kind, Ledger, Op, Service, ServiceKey, diff_kinds, memory,
};
use evenkeel_schemas::time::MonoTime;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const SERVICES: u16 = 2;
const DESTINATIONS: u8 = 3;

fn service(n: u16) -> ServiceKey {
    ServiceKey::Transport { protocol: 6, address: [192, 0, 2, 1].into(), port: 80 + n }
}

fn destination(n: u8) -> DestinationKey {
    DestinationKey { address: [192, 0, 2, 10 + n].into(), port: 80 }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Opinion of a plan, verdicts and orders about a destination.
#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    Weight(u32),
    Drain(Option<u64>),
    Failed,
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        2 => Just(Says::Nothing),
        3 => (0_u32..3).prop_map(Says::Weight),
        2 => prop::option::of(0_u64..60).prop_map(Says::Drain),
        1 => Just(Says::Failed),
    ]
}

/// A plan: for each service that it has, the time that leaving destinations get, and all that is said.
type Plan = BTreeMap<u16, (Option<u64>, Vec<Says>)>;

fn plan() -> impl Strategy<Value = Plan> {
    let drain = prop_oneof![1 => Just(None), 3 => (1_u64..60).prop_map(Some)];
    btree_map(0..SERVICES, (drain, vec(says(), usize::from(DESTINATIONS))), 0..=usize::from(SERVICES))
}

fn desired(plan: &Plan) -> Desired {
    let mut desired = Desired::default();
    for (n, (drain, all)) in plan {
        let mut wanted = Service::plain("rr", false);
        let mut rules = DrainRules { leaving: drain.map(secs), ..DrainRules::default() };
        for (m, says) in (0..).zip(all) {
            match says {
                Says::Nothing => {}
                Says::Weight(weight) => {
                    let value = Destination::plain(Forward::DirectRoute, *weight);
                    wanted.destinations.insert(destination(m), value);
                }
                Says::Drain(limit) => drop(rules.told.insert(destination(m), limit.map(secs))),
                Says::Failed => drop(rules.failed.insert(destination(m))),
            }
        }
        desired.state.services.insert(service(*n), wanted);
        if rules.leaving.is_some() || !rules.told.is_empty() {
            desired.drains.insert(service(*n), rules);
        }
    }
    desired
}

#[derive(Debug, Clone)]
enum Event {
    Plan(Plan),
    Pass,
    Wait(u64),
    /// Clients come to wherever the kernel sends them.
    Come,
    /// The clients of a destination go.
    Go(u16, u8),
    /// Someone sets a weight by hand.
    Weight(u16, u8, u32),
    /// The daemon is killed and starts again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => plan().prop_map(Event::Plan),
        6 => Just(Event::Pass),
        3 => (0_u64..40).prop_map(Event::Wait),
        3 => Just(Event::Come),
        2 => (0..SERVICES, 0..DESTINATIONS).prop_map(|(n, m)| Event::Go(n, m)),
        1 => (0..SERVICES, 0..DESTINATIONS, 0_u32..3).prop_map(|(n, m, weight)| Event::Weight(n, m, weight)),
        1 => Just(Event::Restart),
    ]
}

type Which = (ServiceKey, DestinationKey);

#[derive(Default)]
struct World {
    kernel: KernelState,
    ledger: Ledger,
    desired: Desired,
    drains: Drains,
    now: MonoTime,
    clients: BTreeMap<Which, u32>,
    /// Since when each was seen to be there without being wanted: what the drains must agree with.
    unwanted: BTreeMap<Which, MonoTime>,
}

impl World {
    fn present(&self) -> BTreeSet<Which> {
        let services = self.kernel.services.iter();
        services
            .flat_map(|(service, value)| {
                value.destinations.keys().map(|destination| (*service, *destination))
            })
            .collect()
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::new();
        for (service, destination) in self.present() {
            let active = self.clients.get(&(service, destination)).copied().unwrap_or(0);
            let left = Connections { active, ..Connections::default() };
            usage.entry(service).or_default().insert(destination, left);
        }
        usage
    }

    fn is_wanted(&self, (service, destination): &Which) -> bool {
        let wanted = self.desired.state.services.get(service);
        wanted.is_some_and(|wanted| wanted.destinations.contains_key(destination))
    }

    /// How long one that is not wanted may go on; none: not at all.
    fn promised(&self, (service, destination): &Which) -> Option<Duration> {
        let rules = self.desired.drains.get(service)?;
        if rules.failed.contains(destination) {
            return None;
        }
        rules.told.get(destination).map(|limit| limit.unwrap_or(Duration::MAX)).or(rules.leaving)
    }

    fn pass(&mut self) -> Result<Option<MonoTime>, TestCaseError> {
        let before = self.present();
        for which in &before {
            if self.is_wanted(which) || self.promised(which).is_none() {
                self.unwanted.remove(which);
            } else {
                self.unwanted.entry(*which).or_insert(self.now);
            }
        }
        let asked = concerned(&self.desired, &self.kernel);
        let usage: Usage = self.usage().into_iter().filter(|(key, _)| asked.contains(key)).collect();
        let step = self.drains.step(&self.desired, &self.kernel, &usage, self.now);
        let kinds = [Kind::Ipvs];
        self.ledger = self.ledger.before(&step.desired, &self.kernel, &kinds);
        let ops = diff_kinds(&step.desired, &self.kernel, &self.ledger, Domain::Host, &kinds).ops;
        for op in &ops {
            if let Op::DelDestination(service, destination) = op {
                self.may_go(&(*service, *destination), &step.drains)?;
            }
            memory::apply(&mut self.kernel, op)
                .map_err(|refused| TestCaseError::fail(refused.to_string()))?;
        }
        let left = diff_kinds(&step.desired, &self.kernel, &self.ledger, Domain::Host, &kinds).ops;
        prop_assert!(left.is_empty(), "{left:?}");
        for draining in &step.draining {
            let value = self.kernel.services[&draining.service].destinations[&draining.destination];
            prop_assert_eq!(value.weight, 0);
            let which = (draining.service, draining.destination);
            prop_assert_eq!(Some(&draining.since), self.unwanted.get(&which), "its time goes on");
            prop_assert!(!self.is_wanted(&which));
        }
        let present = self.present();
        self.clients.retain(|which, _| present.contains(which));
        self.unwanted.retain(|which, _| present.contains(which));
        for (service, wanted) in &self.desired.state.services {
            for (destination, value) in &wanted.destinations {
                prop_assert_eq!(&self.kernel.services[service].destinations[destination], value);
            }
        }
        prop_assert!(step.next_look.is_none_or(|at| at > self.now), "no pass follows at once");
        self.drains = step.drains;
        Ok(step.next_look)
    }

    /// Nobody is cut off early.
    fn may_go(&self, which: &Which, drains: &Drains) -> Result<(), TestCaseError> {
        let clients = self.clients.get(which).copied().unwrap_or(0);
        let Some(promised) = self.promised(which) else { return Ok(()) };
        prop_assert!(drains.contains(which.0, which.1), "one that cannot be removed goes on where it was");
        let since = self.unwanted[which];
        prop_assert!(
            clients == 0 || self.now.since(since) >= promised,
            "{which:?} had {clients} clients and {promised:?} from {since}; it is {}",
            self.now
        );
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Plan(plan) => self.desired = desired(plan),
            Event::Pass => drop(self.pass()?),
            Event::Wait(wait) => self.now = self.now + secs(*wait),
            Event::Come => {
                for (service, value) in &self.kernel.services {
                    for (destination, value) in &value.destinations {
                        if value.weight > 0 {
                            *self.clients.entry((*service, *destination)).or_default() += 1;
                        }
                    }
                }
            }
            Event::Go(n, m) => drop(self.clients.remove(&(service(*n), destination(*m)))),
            Event::Weight(n, m, weight) => {
                let there = self.kernel.services.get_mut(&service(*n));
                if let Some(value) = there.and_then(|there| there.destinations.get_mut(&destination(*m))) {
                    value.weight = *weight;
                }
            }
            Event::Restart => {
                let text = serde_json::to_string(&self.drains).expect("JSON");
                let read: Drains = serde_json::from_str(&text).expect("drains");
                prop_assert_eq!(&read, &self.drains);
                self.drains = read;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nobody_is_cut_off_early_and_all_converges_to_the_plan(
        events in vec(event(), 1..40),
        last in plan(),
        wakes in any::<bool>(),
    ) {
        let mut world = World { now: MonoTime::from_millis(1_000_000), ..World::default() };
        for event in &events {
            world.happen(event)?;
        }
        world.desired = desired(&last);
        // Those without a deadline go with their last client.
        let unlimited: Vec<Which> = world
            .clients
            .keys()
            .filter(|which| world.promised(which) == Some(Duration::MAX))
            .copied()
            .collect();
        let end = world.now + secs(60) + SETTLE;
        let mut next = world.pass()?;
        world.clients.retain(|which, _| !unlimited.contains(which));
        // Woken as asked for, or by nothing but resyncs.
        while world.now < end {
            world.now = next.filter(|_| wakes).unwrap_or(end).min(world.now + secs(10));
            next = world.pass()?;
        }
        world.pass()?;
        prop_assert_eq!(&world.kernel.services, &world.desired.state.services);
        prop_assert!(world.drains.is_empty());
    }
}

fn one(says: Says, drain: Option<u64>) -> Plan {
    BTreeMap::from([(0, (drain, vec![says, Says::Weight(1)]))])
}

fn serving() -> World {
    let now = MonoTime::from_millis(1_000_000);
    let mut world = World { now, desired: desired(&one(Says::Weight(5), Some(30))), ..World::default() };
    world.pass().expect("made");
    world.clients.insert((service(0), destination(0)), 7);
    world
}

fn weight(world: &World) -> Option<u32> {
    world.kernel.services[&service(0)].destinations.get(&destination(0)).map(|value| value.weight)
}

#[test]
fn a_destination_that_leaves_goes_with_its_last_connection() {
    let mut world = serving();
    world.desired = desired(&one(Says::Nothing, Some(30)));
    let next = world.pass().expect("a pass");
    assert_eq!((weight(&world), next), (Some(0), Some(world.now + SETTLE)));
    world.now = world.now + SETTLE;
    assert_eq!(world.pass().expect("a pass"), Some(MonoTime::from_millis(1_030_000)), "the deadline");
    world.clients.clear();
    world.pass().expect("a pass");
    assert_eq!(weight(&world), None);
}

#[test]
fn a_destination_without_connections_is_counted_once_more_before_it_goes() {
    let mut world = serving();
    world.clients.clear();
    world.desired = desired(&one(Says::Drain(None), Some(30)));
    world.pass().expect("a pass");
    assert_eq!(weight(&world), Some(0), "a connection may be on its way");
    world.pass().expect("a pass");
    assert_eq!(weight(&world), None);
}

#[test]
fn one_that_is_wanted_again_serves_and_later_drains_anew() {
    let mut world = serving();
    world.desired = desired(&one(Says::Nothing, Some(30)));
    world.pass().expect("a pass");
    world.now = world.now + secs(29);
    world.desired = desired(&one(Says::Weight(5), Some(30)));
    world.pass().expect("a pass");
    assert_eq!((weight(&world), world.drains.is_empty()), (Some(5), true));
    world.desired = desired(&one(Says::Drain(Some(20)), Some(30)));
    world.pass().expect("a pass");
    world.now = world.now + secs(19);
    world.pass().expect("a pass");
    assert_eq!(weight(&world), Some(0));
    world.now = world.now + secs(1);
    world.pass().expect("a pass");
    assert_eq!(weight(&world), None, "its own time, and not the service's");
}

#[test]
fn one_that_fails_while_it_drains_is_out_and_without_a_rule_it_goes_at_once() {
    for plan in [one(Says::Failed, Some(30)), one(Says::Nothing, None), Plan::new()] {
        let mut world = serving();
        world.desired = desired(&one(Says::Drain(None), Some(30)));
        world.pass().expect("a pass");
        assert_eq!(weight(&world), Some(0));
        world.desired = desired(&plan);
        world.pass().expect("a pass");
        assert!(!world.present().contains(&(service(0), destination(0))));
    }
}

#[test]
fn unknown_connections_are_waited_for() {
    let world = serving();
    let desired = desired(&one(Says::Nothing, Some(30)));
    let mut observed = world.kernel.clone();
    let value = observed.services.get_mut(&service(0)).expect("it").destinations.get_mut(&destination(0));
    value.expect("it").weight = 0;
    let step = world.drains.step(&desired, &observed, &Usage::new(), world.now);
    assert_eq!(step.draining.len(), 1);
    let step = step.drains.step(&desired, &observed, &Usage::new(), world.now + secs(30));
    assert_eq!((step.draining.len(), step.ended.len()), (0, 1));
}
