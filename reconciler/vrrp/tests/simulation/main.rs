//! Clusters of two to four directors in virtual time, under thousands of seeded schedules of faults.
//!
//! Two kinds of schedule. *Calm*: one fault after another with time to settle and no loss; every
//! fault may cost at most the elections that the protocol owes it. *Storm*: loss, duplicates,
//! one-way cuts, long delays and every fault at any moment; afterwards exactly one Master remains.
//! A failure names its seed; `cargo test` runs the same seeds every time.

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Checksum, Config, Delivery, Secret, State, Version, master_down_interval};
use world::{Fault, Rng, World};

const CALM_SCHEDULES: u64 = 3000;
const STORM_SCHEDULES: u64 = 3000;
const FAULTS: usize = 12;

/// Runs `scenario` once per seed and names the seed that fails.
fn for_seeds(seeds: std::ops::Range<u64>, scenario: fn(u64)) {
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("the seed of this failure is {seed}");
            resume_unwind(panic);
        }
    }
}

/// Configurations of one virtual router on all nodes; priorities `step` apart, in a random order.
fn configs(rng: &mut Rng, step: u8) -> Vec<Config> {
    let count = 2 + rng.index(3);
    let (version, centis) =
        [(Version::V2, 100), (Version::V3, 100), (Version::V3, 25), (Version::V3, 10)][rng.index(4)];
    let preempt = rng.chance(750);
    let first = rng.index(count);
    (0..count)
        .map(|index| {
            let rank = ((index + first) % count) as u8;
            Config {
                version,
                vrid: Vrid::new(51).expect("VRID"),
                priority: Priority::new(100 + rank * step).expect("priority"),
                interval: AdvertInterval::from_centis(centis).expect("interval"),
                preempt,
                preempt_delay: Duration::ZERO,
                delivery: Delivery::Multicast,
                auth: (version == Version::V2).then(|| Secret::from_text("secret")),
                source: "10.9.0.1".parse().expect("address"),
                vips: vec!["10.9.0.100".parse().expect("address")],
                garp_repeat: 1,
                garp_delay: Duration::from_secs(5),
                garp_refresh: None,
                checksum: Checksum::WithPseudoHeader,
            }
        })
        .collect()
}

/// The longest wait of any node.
fn longest_wait(world: &World) -> Duration {
    let lowest = Priority::new(1).expect("priority");
    let config = &world.nodes[0].config;
    master_down_interval(config.version, lowest, config.effective_interval())
}

fn interval(world: &World) -> Duration {
    world.nodes[0].config.effective_interval().as_duration()
}

/// Delays that a calm schedule may have: adverts reach all Backups within far less than the skew time
/// between neighbouring priorities, as they do on a real segment.
fn calm_delay(configs: &[Config]) -> Duration {
    configs[0].effective_interval().as_duration() / 256
}

/// A fault that is possible now, and how many elections the protocol owes it at most.
fn calm_fault(world: &mut World) -> (Fault, usize) {
    let node = world.rng.index(world.nodes.len());
    let short_pause = interval(world) * 3 / 2;
    let long_pause = longest_wait(world) * 2;
    let subject = &world.nodes[node];
    let unplugged = subject.unplugged;
    if subject.router.is_none() {
        return (Fault::Boot(node), 1);
    }
    match world.rng.below(9) {
        0 => (Fault::Crash(node), 1),
        1 => (Fault::Stop(node), 1),
        2 if !unplugged => (Fault::Unplug(node), 1),
        2 | 3 if unplugged => (Fault::Plug(node), 1),
        // Only a whole segment falls apart. Nodes from two groups would come together with timers
        // that were armed by different Masters, and then claim in the wrong order.
        4 if world.is_whole() => (Fault::Partition(world.rng.below(16) as u8), 1),
        4 | 5 => (Fault::Mend, 0),
        6 => (Fault::Pause(node, short_pause), 0),
        7 => (Fault::Pause(node, long_pause), 1),
        _ => (Fault::Reconfigure(node), 0),
    }
}

/// Every group of nodes that hear each other has exactly one Master: with preemption the highest.
fn check_one_master_per_group(world: &World) {
    for node in (0..world.nodes.len()).filter(|node| world.nodes[*node].is_up()) {
        let group: Vec<usize> = (0..world.nodes.len())
            .filter(|other| world.nodes[*other].is_up())
            .filter(|other| *other == node || world.connected(node, *other))
            .collect();
        let masters: Vec<usize> = group.iter().copied().filter(|n| world.nodes[*n].is_master()).collect();
        assert_eq!(
            masters.len(),
            1,
            "masters {masters:?} of {group:?} at {}: {:#?}",
            world.now,
            world.changes
        );
        let rank = |n: &usize| world.nodes[*n].config.priority;
        if world.nodes[node].config.preempt {
            let highest = group.iter().map(rank).max();
            assert_eq!(Some(rank(&masters[0])), highest, "{group:?} at {}: {:#?}", world.now, world.changes);
        }
    }
}

/// Watches what must hold at every moment of a calm schedule.
#[derive(Default)]
struct CalmWatch {
    two_since: Option<MonoTime>,
    seen: usize,
}

impl CalmWatch {
    fn step(&mut self, world: &World) {
        self.check_rivals(world);
        self.check_leases(world);
    }

    /// Two Masters on a whole segment end with the next advert of either.
    fn check_rivals(&mut self, world: &World) {
        let running = |n: &usize| world.nodes[*n].is_up() && !world.nodes[*n].unplugged;
        let masters = world.masters().into_iter().filter(running).count();
        if masters < 2 || !world.is_whole() {
            self.two_since = None;
            return;
        }
        let since = *self.two_since.get_or_insert(world.now);
        let bound = interval(world) + world.delay * 3;
        assert!(world.now.since(since) <= bound, "two Masters since {since}, now {}", world.now);
    }

    /// Nobody of lower priority claims while the guardian of a dead Master still holds the VIPs.
    fn check_leases(&mut self, world: &World) {
        for change in &world.changes[self.seen..] {
            if change.to != State::Master {
                continue;
            }
            for (index, dead) in world.nodes.iter().enumerate() {
                let holds = dead.lease.is_some_and(|lease| change.at < lease) && dead.router.is_none();
                let lower = world.nodes[change.node].config.priority < dead.config.priority;
                assert!(
                    !(holds && lower && world.connected(change.node, index)),
                    "{change:?} within the lease of {index}"
                );
            }
        }
        self.seen = world.changes.len();
    }
}

fn calm(seed: u64) {
    let mut rng = Rng::new(seed);
    let configs = configs(&mut rng, 10);
    let delay = calm_delay(&configs);
    let mut world = World::new(seed, configs, delay);
    let mut watch = CalmWatch::default();
    let settle = longest_wait(&world) * 4;
    for node in 0..world.nodes.len() {
        world.inflict(Fault::Boot(node));
    }
    world.run_until(world.now + settle, &mut |world| watch.step(world));
    check_one_master_per_group(&world);
    assert_eq!(world.elections(), 1, "one election at the start: {:#?}", world.changes);
    for _ in 0..FAULTS {
        let jitter = world.rng.span(interval(&world));
        world.run_until(world.now + jitter, &mut |world| watch.step(world));
        let before = world.elections();
        let (fault, owed) = calm_fault(&mut world);
        world.inflict(fault);
        world.run_until(world.now + settle, &mut |world| watch.step(world));
        check_one_master_per_group(&world);
        let elections = world.elections() - before;
        assert!(elections <= owed, "{elections} elections for {fault:?}: {:#?}", world.changes);
    }
}

#[test]
fn calm_schedules_cost_no_more_elections_than_faults() {
    for_seeds(0..CALM_SCHEDULES, calm);
}

/// A daemon that dies and is back within its lease is not noticed by anybody.
fn restart(seed: u64) {
    let mut rng = Rng::new(seed);
    let configs = configs(&mut rng, 10);
    let delay = calm_delay(&configs);
    let mut world = World::new(seed, configs, delay);
    let settle = longest_wait(&world) * 4;
    for node in 0..world.nodes.len() {
        world.inflict(Fault::Boot(node));
    }
    world.run_until(world.now + settle, &mut |_| {});
    let master = world.masters()[0];
    // Without preemption and with a higher Backup the lease is no promise: see `lease_until`.
    let highest = world.nodes.iter().map(|node| node.config.priority).max();
    if Some(world.nodes[master].config.priority) != highest {
        return;
    }
    for _ in 0..4 {
        let jitter = world.rng.span(interval(&world));
        world.run_until(world.now + jitter, &mut |_| {});
        world.inflict(Fault::Crash(master));
        let lease = world.nodes[master].lease.expect("a Master has a lease");
        let downtime = world.rng.span(lease.since(world.now));
        let back = (world.now + downtime).min(lease - Duration::from_nanos(1));
        world.run_until(back, &mut |_| {});
        world.inflict(Fault::Boot(master));
        world.run_until(world.now + settle, &mut |_| {});
        assert_eq!(world.masters(), [master]);
        assert_eq!(world.elections(), 1, "{:#?}", world.changes);
    }
}

#[test]
fn restarts_within_the_lease_cost_no_election() {
    for_seeds(0..300, restart);
}

fn storm_fault(world: &mut World) -> Fault {
    let count = world.nodes.len();
    let node = world.rng.index(count);
    let pause = world.rng.span(longest_wait(world) * 2);
    match world.rng.below(12) {
        0 | 1 => Fault::Crash(node),
        2..=4 => Fault::Boot(node),
        5 => Fault::Stop(node),
        6 => Fault::Unplug(node),
        7 => Fault::Plug(node),
        8 => Fault::Partition(world.rng.below(16) as u8),
        9 => Fault::Pause(node, pause),
        10 => Fault::Reconfigure(node),
        _ => Fault::CutOneWay(node, world.rng.index(count)),
    }
}

fn storm(seed: u64) {
    let mut rng = Rng::new(seed);
    // Neighbouring or equal priorities: claims collide, addresses decide.
    let step = [0, 1, 10][rng.index(3)];
    let configs = configs(&mut rng, step);
    let calm_delay = calm_delay(&configs);
    let mut world = World::new(seed, configs, calm_delay);
    let wait = longest_wait(&world);
    world.loss = world.rng.below(400);
    world.delay = world.rng.span(interval(&world));
    for _ in 0..FAULTS * 2 {
        let fault = storm_fault(&mut world);
        world.inflict(fault);
        let span = world.rng.span(wait);
        world.run_until(world.now + span, &mut |_| {});
    }
    world.loss = 0;
    world.inflict(Fault::Mend);
    for node in 0..world.nodes.len() {
        if world.nodes[node].unplugged {
            world.inflict(Fault::Plug(node));
        }
    }
    // What was under way, pauses included, ends; then one wait to claim and one to yield.
    let old_delay = std::mem::replace(&mut world.delay, calm_delay);
    world.run_until(world.now + old_delay + wait * 2, &mut |_| {});
    world.run_until(world.now + wait * 2, &mut |_| {});
    check_one_master_per_group(&world);
    let changes = world.changes.len();
    world.run_until(world.now + wait * 3, &mut |_| {});
    assert_eq!(world.changes.len(), changes, "unrest after the storm: {:#?}", world.changes);
}

#[test]
fn one_master_remains_after_any_storm() {
    for_seeds(0..STORM_SCHEDULES, storm);
}

#[test]
fn equal_seeds_give_equal_histories() {
    let history = |seed| {
        let mut rng = Rng::new(seed);
        let mut world = World::new(seed, configs(&mut rng, 1), Duration::from_millis(20));
        world.loss = 200;
        for _ in 0..20 {
            let fault = storm_fault(&mut world);
            world.inflict(fault);
            world.run_until(world.now + Duration::from_secs(1), &mut |_| {});
        }
        format!("{:?}", world.changes)
    };
    for seed in 0..20 {
        assert_eq!(history(seed), history(seed));
    }
}
