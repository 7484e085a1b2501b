//! A host in virtual time, under tens of thousands of seeded schedules: plans that come and go, on probation
//! or not; operators; checks that fail; a disk that is slow, full or silent; crashes at any moment, also
//! between a writing and its answer; reboots and clocks that are set. The laws are in `laws.rs`; here are the
//! events, and the state that must be reached in the end.
//!
//! A failure names its seed; `cargo test` runs the same seeds every time. `EVENKEEL_SEED=n` runs that one
//! only, `EVENKEEL_SCHEDULES=n` the
//! first n.

mod disk;
mod effects;
mod election;
mod laws;
mod plans;
#[path = "../../../vrrp/tests/simulation/seeds.rs"]
mod seeds;
mod world;

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_converge::{Position, Standing, View, desired};
use evenkeel_host::io::Request;
use evenkeel_host::orders::drains::{DrainAction, DrainRequest, Whom};
use evenkeel_host::orders::routers::{Action, OrderRequest};
use evenkeel_host::probation;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::Span;
use evenkeel_schemas::status::RouterOrder;

use disk::Mood;
use seeds::for_seeds;
use world::{File, World};

/// Number of schedules of a test run.
const SCHEDULES: u64 = 50_000;
/// Last numbers of the real servers' addresses.
const REAL_SERVERS: [u8; 3] = [11, 12, 13];
/// Calm time at the end, milliseconds: longer than any probation, and than a check takes for its verdict.
const CALM: u64 = 60_000;
/// Time for which the host's own link passes nothing, milliseconds: two intervals of a check, its time-out,
/// and what the rest takes.
const OWN_FAULT: u64 = 15_000;

fn order(world: &mut World) -> Request {
    let action = world.rng.pick(&[Action::Hold, Action::Failover, Action::Release]);
    let router = world.rng.pick(&[Some("VI_1"), Some("VI_2"), None]).and_then(|name| name.parse().ok());
    Request::Order(OrderRequest { action, router, force: world.rng.chance(700) })
}

fn drain(world: &mut World) -> Request {
    let action = world.rng.pick(&[DrainAction::Drain, DrainAction::Drain, DrainAction::Undrain]);
    let last = world.rng.pick(&REAL_SERVERS);
    let whom = format!("rs{last}").parse::<Whom>().expect("a host");
    let timeout = world.rng.pick(&[None, Some(3), Some(20)]).map(Span::from_secs);
    let drains = action == DrainAction::Drain;
    Request::Drain(DrainRequest {
        action,
        whom: Some(whom),
        service: None,
        timeout: timeout.filter(|_| drains),
        force: world.rng.chance(800),
    })
}

fn probation_request(world: &mut World) -> Request {
    let action = world.rng.pick(&[
        probation::ProbationAction::Confirm,
        probation::ProbationAction::Confirm,
        probation::ProbationAction::Rollback,
    ]);
    Request::Probation(probation::ProbationRequest { action, generation: None })
}

/// Makes one thing happen to the host.
fn act(world: &mut World) {
    match world.rng.below(100) {
        0..=24 => {
            let file =
                if world.rng.chance(80) { File::Broken } else { File::Plan(world.rng.index(plans::COUNT)) };
            world.deliver(file);
        }
        25..=36 => {
            let request = order(world);
            world.ask(request);
        }
        37..=48 => {
            let request = drain(world);
            world.ask(request);
        }
        49..=58 => {
            let request = probation_request(world);
            world.ask(request);
        }
        59..=66 => world.crash(),
        67..=68 => world.reboot(),
        69..=76 => {
            let mood = world.rng.pick(&[Mood::Well, Mood::Slow, Mood::Refuses, Mood::Hangs]);
            world.disk_becomes(mood);
        }
        77..=84 => {
            let ip = World::address(world.rng.pick(&REAL_SERVERS));
            if !world.down.remove(&ip) {
                world.down.insert(ip);
            }
        }
        85..=91 => world.elect(),
        92 => world.cut = !world.cut,
        93..=94 => world.busy = !world.busy,
        95..=97 => world.kernel_is_well = !world.kernel_is_well,
        _ => {
            let seconds = world.rng.below(7_200) as i64 - 3_600;
            world.step_clock(seconds);
            world.laws.clock_moved();
        }
    }
}

fn schedule(seed: u64) {
    let mut world = World::new(seed, std::env::var_os("EVENKEEL_SEED").is_some());
    // Most hosts have been running before.
    world.start();
    let actions = world.rng.within(6, 30);
    for _ in 0..actions {
        let pause = if world.rng.chance(300) { world.rng.below(30) } else { world.rng.below(7_000) };
        world.run(pause);
        act(&mut world);
    }
    world.disk_becomes(Mood::Well);
    world.kernel_is_well = true;
    world.busy = false;
    world.alone = false;
    world.cut = false;
    world.run(CALM);
    assert!(world.is_alive());
    assert!(world.waiting.is_empty(), "{:?} wait for ever", world.waiting);
    the_own_link_fails(&mut world);
    let before = in_the_end(&world);
    world.crash();
    world.run(CALM);
    assert_eq!(in_the_end(&world), before, "a restart changes nothing");
    assert_eq!(world.laws.services_told(), [""; 0], "nothing has changed");
}

/// The host's own link passes nothing for a while: nothing leaves the table because of that, and the host
/// gives way, if at least two real servers served. Then all is as before.
fn the_own_link_fails(world: &mut World) {
    let (before, table) = (in_the_end(world), world.kernel().services.clone());
    assert!(world.giving_way.is_empty(), "{:?} give way, and all is well", world.giving_way);
    let in_force = world.laws.in_force.clone();
    let plan =
        (0..plans::COUNT).map(plans::plan).find(|plan| Some(plan.generation.short()) == in_force.as_deref());
    let plan = plan.as_ref().map(|plan| &plan.plan);
    let destinations =
        plan.into_iter().flat_map(|plan| &plan.virtual_servers).flat_map(|one| &one.destinations);
    let well: BTreeSet<IpAddr> =
        destinations.map(|one| one.address.0).filter(|address| !world.down.contains(address)).collect();
    world.cut = true;
    world.run(OWN_FAULT);
    if well.len() > 1 {
        // A sorry server may be reached where they are not.
        let sorry =
            plan.is_some_and(|plan| plan.virtual_servers.iter().any(|one| one.sorry_server.is_some()));
        if !sorry {
            assert_eq!(world.kernel().services, table, "the table was emptied against our own link");
        }
        let is_served = plan.is_some_and(|plan| !plan.routers.is_empty());
        assert_eq!(!world.giving_way.is_empty(), is_served);
    } else {
        assert!(world.giving_way.is_empty(), "one real server says nothing of the link");
    }
    world.cut = false;
    world.run(CALM);
    assert!(world.giving_way.is_empty(), "{:?} give way still", world.giving_way);
    assert_eq!(in_the_end(world), before, "all is as before");
}

/// Checks that everything is as the plan, the orders and the verdicts say. Returns the state that has to
/// survive a restart.
fn in_the_end(world: &World) -> String {
    let files = &world.disk.files;
    let Some(in_force) = &world.laws.in_force else {
        assert!(files.last_good.is_none() && world.file == File::Broken, "a plan could be in force");
        return "nothing".to_owned();
    };
    assert!(files.record.trial.is_none(), "a probation never ends: {:?}", files.record);
    let refused = files.record.rolled_back.as_ref().map(|back| back.generation[..12].to_owned());
    if let File::Plan(n) = world.file {
        let wanted = plans::plan(n).generation.short().to_owned();
        assert!(
            *in_force == wanted || refused == Some(wanted.clone()),
            "{wanted} is neither in force nor refused"
        );
    }
    let plan = (0..plans::COUNT).map(plans::plan).find(|plan| plan.generation.short() == in_force);
    let plan = &plan.expect("a plan of ours").plan;
    // What is wanted of the kernel.
    let failed = |destination: &Destination| world.down.contains(&destination.address.0);
    let order = |server: &VirtualServer, one: &Destination| files.drain_orders.order_for(server, one);
    let lost = |server: &VirtualServer| {
        let well = server.destinations.iter().filter(|one| !failed(one) && order(server, one).is_none());
        let have: u32 = well.map(|one| u32::from(one.weight.get())).sum();
        server.quorum.as_ref().is_some_and(|quorum| have < quorum.weight) && server.sorry_server.is_some()
    };
    let standing =
        |_: Position, server: &VirtualServer, destination: &Destination| match order(server, destination) {
            _ if failed(destination) => Standing::Out,
            Some(told) => Standing::Draining(told.limit),
            None if lost(server) => Standing::Out,
            None => Standing::Serving,
        };
    let sorry = |number: usize| lost(&plan.virtual_servers[number]);
    let masters = world.masters();
    let expected = desired(plan, View { standing: &standing, sorry: &sorry, masters: &masters });
    let wanted = &world.wanted.as_ref().expect("something is wanted").desired;
    assert_eq!(wanted.state.services, expected.state.services);
    assert_eq!(wanted.drains, expected.drains);
    assert_eq!(world.kernel().services, expected.state.services, "nothing has connections");
    // What the election obeys.
    let routers = plan.routers.iter().map(|router| router.name.clone()).collect();
    assert_eq!(world.routers(), routers);
    let orders = files.orders.in_force(&files.maintenance, [plan]);
    assert_eq!(*world.orders_in_election(), orders);
    let held: Vec<String> = orders
        .iter()
        .filter(|(_, order)| order.keeps_out())
        .map(|(name, order): (_, &RouterOrder)| format!("{name} {order:?}"))
        .collect();
    format!(
        "{in_force}, last good {:?}, refused {refused:?}, orders {held:?}, drains {:?}",
        files.last_good.as_ref().map(|kept| kept.generation.short().to_owned()),
        files.drain_orders
    )
}

#[test]
fn the_laws_hold_whatever_happens() {
    for_seeds(SCHEDULES, schedule);
}
