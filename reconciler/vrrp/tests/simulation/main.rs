//! Clusters of two to five directors in virtual time, under tens of thousands of seeded schedules of
//! faults. Some have one router, some a sync group of two or three; some speak by multicast, some by
//! unicast; clocks run at different rates.
//!
//! Two kinds of schedule. *Calm*: one fault after another with time to settle and no loss; every
//! fault may cost at most the elections that the protocol owes it. *Storm*: loss, duplicates,
//! one-way cuts, long delays and every fault at any moment; afterwards exactly one Master remains.
//! A failure names its seed; `cargo test` runs the same seeds every time. `EVENKEEL_SEED=n` runs that
//! one only, `EVENKEEL_SCHEDULES=n` the first n of each kind.

mod seeds;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Checksum, Config, Delivery, Directors, Secret, State, Version, VirtualRouter, master_down_interval,
};
use seeds::{Rng, for_seeds};
use world::{FIRST_VRID, Fault, World};

const CALM_SCHEDULES: u64 = 50_000;
const STORM_SCHEDULES: u64 = 50_000;
const RESTART_SCHEDULES: u64 = 2000;
const STRANGER_SCHEDULES: u64 = 2000;
const FAULTS: usize = 6;
/// How wrong clocks are, in parts per million: ten times what is usual, so that Backups still claim in
/// the order of their priorities.
const CALM_DRIFT: i64 = 1000;
/// How many delays of a calm schedule are in an interval at least.
const CALM_DELAYS: u32 = 512;
/// Time for which a Master that leaves serves on once it has heard another one; less with short intervals.
const LINGER: Duration = Duration::from_millis(10);
/// One per cent.
const STORM_DRIFT: i64 = 10_000;

/// Properties that all directors have in common, and in which they differ.
struct Plan {
    directors: usize,
    segments: usize,
    /// From one priority to the next.
    step: u8,
    /// Whether on every other segment the addresses are in the opposite order.
    crossed: bool,
}

/// Configurations of all routers of all nodes; priorities in a random order, the same for all routers of
/// a node.
fn configs(rng: &mut Rng, plan: &Plan) -> Vec<Vec<Config>> {
    let (version, centis) =
        rng.pick(&[(Version::V2, 100), (Version::V3, 100), (Version::V3, 25), (Version::V3, 10)]);
    let (preempt, unicast) = (rng.chance(750), rng.chance(300));
    let first = rng.index(plan.directors);
    let address = |node: usize, segment: usize| -> IpAddr {
        let host = if plan.crossed && segment % 2 == 1 { 20 - node } else { node + 1 };
        Ipv4Addr::new(10, 9, segment as u8, host as u8).into()
    };
    let delivery = |node: usize, segment: usize| {
        let others = (0..plan.directors).filter(|other| *other != node);
        let peers = others.map(|other| address(other, segment)).collect();
        if unicast { Delivery::Unicast { peers, ttl: 255, min_ttl: 255 } } else { Delivery::Multicast }
    };
    let config = |node: usize, segment: usize| Config {
        version,
        vrid: Vrid::new(FIRST_VRID + segment as u8).expect("VRID"),
        priority: Priority::new(100 + ((node + first) % plan.directors) as u8 * plan.step).expect("priority"),
        interval: AdvertInterval::from_centis(centis).expect("interval"),
        preempt,
        preempt_delay: Duration::ZERO,
        unready: false,
        delivery: delivery(node, segment),
        auth: (version == Version::V2).then(|| Secret::from_text("secret")),
        source: address(node, segment),
        vips: vec![Ipv4Addr::new(10, 9, segment as u8, 100).into()],
        garp_repeat: 1,
        garp_delay: Duration::from_secs(5),
        garp_refresh: None,
        directors: None,
        checksum: Checksum::WithPseudoHeader,
        hmac: None,
    };
    let node = |node| (0..plan.segments).map(|segment| config(node, segment)).collect();
    (0..plan.directors).map(node).collect()
}

/// A cluster that one would build.
fn sound(rng: &mut Rng) -> Vec<Vec<Config>> {
    let (directors, segments) = (2 + rng.index(4), rng.pick(&[1, 1, 2, 3]));
    configs(rng, &Plan { directors, segments, step: 10, crossed: false })
}

/// The longest interval of any node.
fn interval(world: &World) -> Duration {
    let intervals = world.nodes.iter().map(|node| node.configs[0].effective_interval().as_duration());
    intervals.max().expect("a node")
}

/// The longest wait of any node, whatever its priority becomes.
fn longest_wait(world: &World) -> Duration {
    let lowest = Priority::new(1).expect("priority");
    let wait = |config: &Config| master_down_interval(config.version, lowest, config.effective_interval());
    world.nodes.iter().map(|node| wait(&node.configs[0])).max().expect("a node")
}

/// Delays that a calm schedule may have: adverts reach all Backups within far less than the skew time
/// between neighbouring priorities, as they do on a real segment.
fn calm_delay(configs: &[Vec<Config>]) -> Duration {
    configs[0][0].effective_interval().as_duration() / CALM_DELAYS
}

/// A fault that is possible now, and how many elections the protocol owes it at most.
fn calm_fault(world: &mut World) -> (Fault, usize) {
    let node = world.rng.index(world.nodes.len());
    let segment = world.rng.index(world.segments());
    let short_pause = interval(world) * 3 / 2;
    let long_pause = longest_wait(world) * 2;
    let subject = &world.nodes[node];
    if subject.election.is_none() {
        return (Fault::Boot(node), 1);
    }
    let (plugged, v3) = (subject.is_plugged(), subject.configs[0].version == Version::V3);
    match world.rng.below(12) {
        0 => (Fault::Crash(node), 1),
        1 => (Fault::Stop(node), 1),
        2 if plugged => (Fault::Unplug(node, segment), 1),
        2 | 3 if !plugged => (Fault::Plug(node), 1),
        // Only a whole segment falls apart. Nodes from two parts would come together with timers
        // that were armed by different Masters, and then claim in the wrong order.
        4 if world.is_whole() => (Fault::Partition(world.rng.below(32) as u8), 1),
        4 | 5 => (Fault::Mend, 0),
        6 => (Fault::Pause(node, short_pause), 0),
        7 => (Fault::Pause(node, long_pause), 1),
        // Apart, each part may have to change its mind.
        8 if world.is_whole() => {
            let free = |priority: &u8| world.nodes.iter().all(|node| node.priority().get() != *priority);
            let free: Vec<u8> = (1..=25).map(|tens| tens * 10).filter(free).collect();
            let priority = free[world.rng.index(free.len())];
            (Fault::Prioritise(node, priority), 1)
        }
        // In version 2 an interval of one's own is a fault of the configuration.
        9 if v3 => (Fault::Retime(node, world.rng.pick(&[10, 25, 100])), 0),
        // Who waits takes nothing from anybody; who waits no longer may.
        10 => {
            let unready = subject.configs[0].unready;
            (Fault::Unready(node, !unready), usize::from(unready))
        }
        _ => (Fault::Revip(node), 0),
    }
}

/// Every part of nodes that hear each other has exactly one Master: with preemption the highest of those that
/// do not wait for their checks, or one that is above it. No sync group is Master in part.
fn check_one_master_per_part(world: &World) {
    let mixed = world.nodes.iter().position(world::Node::is_mixed);
    assert_eq!(mixed, None, "a group is Master in part at {}: {}", world.now, world.history());
    for node in (0..world.nodes.len()).filter(|node| world.nodes[*node].is_up()) {
        let group: Vec<usize> = (0..world.nodes.len())
            .filter(|other| world.nodes[*other].is_up())
            .filter(|other| *other == node || world.connected(node, *other))
            .collect();
        let masters: Vec<usize> = group.iter().copied().filter(|n| world.nodes[*n].is_master()).collect();
        assert_eq!(
            masters.len(),
            1,
            "masters {masters:?} of {group:?} at {}: {}",
            world.now,
            world.history()
        );
        let rank = |n: &usize| world.nodes[*n].priority();
        if world.nodes[node].configs[0].preempt {
            let ready = group.iter().filter(|n| !world.nodes[**n].configs[0].unready);
            let highest = ready.map(rank).max();
            assert!(Some(rank(&masters[0])) >= highest, "{group:?} at {}: {}", world.now, world.history());
        }
    }
}

/// Watches what must hold at every moment of a calm schedule.
#[derive(Default)]
struct CalmWatch {
    two_since: Option<MonoTime>,
    seen: usize,
    /// Routers that leave, by node and segment, and since when.
    leaving: BTreeMap<(usize, usize), MonoTime>,
    /// Routers of other nodes that have claimed from one that leaves, and when: of each both nodes and the
    /// segment.
    claimed: BTreeMap<(usize, usize, usize), MonoTime>,
}

impl CalmWatch {
    fn step(&mut self, world: &World) {
        self.check_rivals(world);
        self.check_leases(world);
        self.check_leaving(world);
    }

    /// A Master that leaves goes soon after it has heard the new one, which takes one packet, and else when
    /// no Backup can come any more.
    fn check_leaving(&mut self, world: &World) {
        if self.leaving.is_empty() && !world.nodes.iter().any(world::Node::is_leaving) {
            return;
        }
        let before = std::mem::take(&mut self.leaving);
        let claimed = std::mem::take(&mut self.claimed);
        let awake = |node: &usize| world.nodes[*node].paused_until.is_none();
        for node in (0..world.nodes.len()).filter(awake) {
            for segment in 0..world.segments() {
                let leaves = world.nodes[node].router(segment).is_some_and(VirtualRouter::is_leaving);
                if !leaves {
                    continue;
                }
                let since = before.get(&(node, segment)).copied();
                self.leaving.insert((node, segment), since.unwrap_or(world.now));
                let Some(since) = since else { continue };
                let longest = longest_wait(world).max(Duration::from_secs(2));
                assert!(world.now.since(since) < longest, "{node} leaves since {since}, {}", world.history());
                for other in (0..world.nodes.len()).filter(awake) {
                    let heard = other != node && world.connected(other, node);
                    let state = world.nodes[other].router(segment).map(VirtualRouter::state);
                    if !heard || state != Some(State::Master) {
                        continue;
                    }
                    let key = (node, other, segment);
                    let new = world.changes.last().filter(|change| {
                        (change.at, change.node, change.to) == (world.now, other, State::Master)
                    });
                    let at = claimed.get(&key).copied().or(new.map(|change| change.at));
                    // Others were Master before it left, and are heard when they advertise.
                    let Some(at) = at else { continue };
                    self.claimed.insert(key, at);
                    let linger = LINGER.min(interval(world) / 4);
                    assert!(
                        world.now.since(at) <= world.delay * 2 + linger,
                        "{node} and {other} serve on {segment} since {at}, now {}: {}",
                        world.now,
                        world.history()
                    );
                }
            }
        }
    }

    /// Two Masters on a whole segment end with the next advert of either.
    fn check_rivals(&mut self, world: &World) {
        let running = |n: &usize| world.nodes[*n].is_up() && world.nodes[*n].is_plugged();
        let masters = world.masters().into_iter().filter(running).count();
        if masters < 2 || !world.is_whole() {
            self.two_since = None;
            return;
        }
        let since = *self.two_since.get_or_insert(world.now);
        let bound = interval(world) + world.delay * 3;
        assert!(world.now.since(since) <= bound, "two Masters since {since}, now {}", world.now);
    }

    /// Nobody of lower priority claims while the guardian of a dead Master still holds the VIPs, but
    /// for what clocks disagree.
    fn check_leases(&mut self, world: &World) {
        let drift = longest_wait(world) * CALM_DRIFT as u32 / 1_000_000;
        for change in &world.changes[self.seen..] {
            if change.to != State::Master {
                continue;
            }
            for (index, dead) in world.nodes.iter().enumerate() {
                let lease = dead.leases[change.segment].filter(|_| dead.election.is_none());
                let holds = lease.is_some_and(|lease| change.at + drift * 2 < lease);
                let lower = world.nodes[change.node].priority() < dead.priority();
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
    let configs = sound(&mut rng);
    let delay = calm_delay(&configs);
    let mut world = World::new(seed, configs, delay, CALM_DRIFT);
    let mut watch = CalmWatch::default();
    for node in 0..world.nodes.len() {
        world.inflict(Fault::Boot(node));
    }
    let settle = longest_wait(&world) * 4;
    world.run_until(world.now + settle, &mut |world| watch.step(world));
    check_one_master_per_part(&world);
    assert_eq!(world.elections(), 1, "one election at the start: {}", world.history());
    for _ in 0..FAULTS {
        let jitter = world.rng.span(interval(&world));
        world.run_until(world.now + jitter, &mut |world| watch.step(world));
        let before = world.elections();
        let settle = longest_wait(&world) * 4;
        let (fault, owed) = calm_fault(&mut world);
        world.inflict(fault);
        if let Fault::Retime(node, centis) = fault {
            // All get it: while they differ, a Backup that claims by mistake makes the others impatient.
            for other in (0..world.nodes.len()).filter(|other| *other != node) {
                world.inflict(Fault::Retime(other, centis));
            }
            // With a shorter interval neighbouring priorities are closer, too.
            world.delay = interval(&world) / CALM_DELAYS;
        }
        let settle = settle.max(longest_wait(&world) * 4);
        world.run_until(world.now + settle, &mut |world| watch.step(world));
        check_one_master_per_part(&world);
        let elections = world.elections() - before;
        assert!(elections <= owed, "{elections} elections for {fault:?}: {}", world.history());
    }
}

#[test]
fn calm_schedules_cost_no_more_elections_than_faults() {
    for_seeds(CALM_SCHEDULES, calm);
}

/// A daemon that dies and is back within its lease is not noticed by anybody.
fn restart(seed: u64) {
    let mut rng = Rng::new(seed);
    let configs = sound(&mut rng);
    let delay = calm_delay(&configs);
    let mut world = World::new(seed, configs, delay, CALM_DRIFT);
    let settle = longest_wait(&world) * 4;
    for node in 0..world.nodes.len() {
        world.inflict(Fault::Boot(node));
    }
    world.run_until(world.now + settle, &mut |_| {});
    let master = world.masters()[0];
    // Without preemption and with a higher Backup the lease is no promise: see `lease_until`.
    let highest = world.nodes.iter().map(world::Node::priority).max();
    if Some(world.nodes[master].priority()) != highest {
        return;
    }
    for _ in 0..4 {
        let jitter = world.rng.span(interval(&world));
        world.run_until(world.now + jitter, &mut |_| {});
        world.inflict(Fault::Crash(master));
        let lease = world.nodes[master].leases.iter().flatten().min().copied().expect("a Master has a lease");
        let downtime = world.rng.span(lease.since(world.now));
        let back = (world.now + downtime).min(lease - Duration::from_nanos(1));
        world.run_until(back, &mut |_| {});
        world.inflict(Fault::Boot(master));
        world.run_until(world.now + settle, &mut |_| {});
        assert_eq!(world.masters(), [master]);
        assert_eq!(world.elections(), 1, "{}", world.history());
    }
}

#[test]
fn restarts_within_the_lease_cost_no_election() {
    for_seeds(RESTART_SCHEDULES, restart);
}

fn storm_fault(world: &mut World) -> Fault {
    let count = world.nodes.len();
    let (node, segment) = (world.rng.index(count), world.rng.index(world.segments()));
    let pause = world.rng.span(longest_wait(world) * 2);
    let centis = world.nodes[node].configs[0].interval.as_centis();
    match world.rng.below(16) {
        0 | 1 => Fault::Crash(node),
        2..=4 => Fault::Boot(node),
        5 => Fault::Stop(node),
        6 => Fault::Unplug(node, segment),
        7 => Fault::Plug(node),
        8 => Fault::Partition(world.rng.below(32) as u8),
        9 => Fault::Pause(node, pause),
        10 => Fault::Revip(node),
        11 => Fault::Prioritise(node, world.rng.within(1, 254) as u8),
        // In version 2 they no longer understand each other until all have the same again.
        12 => Fault::Retime(node, if centis.is_multiple_of(200) { centis / 2 } else { centis * 2 }),
        13 | 14 => Fault::Unready(node, world.rng.chance(700)),
        _ => Fault::CutOneWay(node, world.rng.index(count)),
    }
}

fn storm(seed: u64) {
    let mut rng = Rng::new(seed);
    // Neighbouring or equal priorities: claims collide, addresses decide, on each segment otherwise.
    let step = rng.pick(&[0, 1, 10]);
    let (directors, segments) = (2 + rng.index(4), rng.pick(&[1, 2, 3]));
    let configs = configs(&mut rng, &Plan { directors, segments, step, crossed: true });
    let calm_delay = calm_delay(&configs);
    let centis = configs[0][0].interval.as_centis();
    let mut world = World::new(seed, configs, calm_delay, STORM_DRIFT);
    world.loss = world.rng.below(400);
    world.delay = world.rng.span(interval(&world));
    for _ in 0..FAULTS * 2 {
        let fault = storm_fault(&mut world);
        world.inflict(fault);
        let span = world.rng.span(longest_wait(&world));
        world.run_until(world.now + span, &mut |_| {});
    }
    let wait = longest_wait(&world);
    world.loss = 0;
    world.inflict(Fault::Mend);
    for node in 0..world.nodes.len() {
        world.inflict(Fault::Plug(node));
        world.inflict(Fault::Retime(node, centis));
    }
    // What was under way, pauses included, ends; then one wait to claim and one to yield, and for a
    // group of which several have a part one to notice that and one to claim together.
    let old_delay = std::mem::replace(&mut world.delay, calm_delay);
    world.run_until(world.now + old_delay + wait * 2, &mut |_| {});
    world.run_until(world.now + wait * if segments > 1 { 4 } else { 2 }, &mut |_| {});
    check_one_master_per_part(&world);
    let changes = world.changes.len();
    world.run_until(world.now + wait * 3, &mut |_| {});
    assert_eq!(world.changes.len(), changes, "unrest after the storm: {}", world.history());
}

#[test]
fn one_master_remains_after_any_storm() {
    for_seeds(STORM_SCHEDULES, storm);
}

/// The same schedule of faults with a stranger on the segment and without: every director does the same at
/// the same time. The stranger says whatever one packet can that is not of our directors, or is with their
/// address and wrong in something.
fn stranger(seed: u64) {
    let history = |stranger: bool| {
        let mut rng = Rng::new(seed);
        let (directors, segments) = (2 + rng.index(3), rng.pick(&[1, 1, 2]));
        let mut configs = configs(&mut rng, &Plan { directors, segments, step: 10, crossed: true });
        let sources: Vec<Vec<IpAddr>> =
            (0..segments).map(|segment| configs.iter().map(|node| node[segment].source).collect()).collect();
        for config in configs.iter_mut().flat_map(|node| node.iter_mut().enumerate()) {
            let (segment, config) = config;
            let others = sources[segment].iter().filter(|source| **source != config.source);
            let addresses = others.copied().collect();
            config.directors = Some(Directors { addresses, ..Directors::default() });
        }
        let delay = calm_delay(&configs);
        let mut world = World::new(seed, configs, delay, STORM_DRIFT);
        world.loss = world.rng.below(200);
        let mut theirs = Rng::new(seed ^ 0xbad);
        for node in 0..world.nodes.len() {
            world.inflict(Fault::Boot(node));
        }
        for _ in 0..FAULTS {
            let fault = storm_fault(&mut world);
            world.inflict(fault);
            for _ in 0..40 {
                let span = theirs.span(longest_wait(&world) / 20);
                world.run_until(world.now + span, &mut |_| {});
                world.strange(&mut theirs, stranger);
            }
        }
        world.changes.iter().map(|change| format!("{change:?}")).collect::<Vec<_>>()
    };
    let (without, with) = (history(false), history(true));
    assert_eq!(with, without);
}

#[test]
fn a_stranger_changes_no_history() {
    for_seeds(STRANGER_SCHEDULES, stranger);
}

#[test]
fn equal_seeds_give_equal_histories() {
    let history = |seed| {
        let mut rng = Rng::new(seed);
        let plan = Plan { directors: 3, segments: 2, step: 1, crossed: true };
        let configs = configs(&mut rng, &plan);
        let mut world = World::new(seed, configs, Duration::from_millis(20), STORM_DRIFT);
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
