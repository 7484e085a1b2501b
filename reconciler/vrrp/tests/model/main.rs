//! Exhaustive exploration of small clusters: every schedule with at most so many disturbances.
//!
//! A *disturbance* is a lost, late or doubled packet, a director that dies, leaves or loses a carrier,
//! or one that is cut off from a segment. Any of them may come between any two events, at any time;
//! repairs may, too, and cost nothing. Between them the cluster runs undisturbed for as long as it
//! likes: since its behaviour repeats, states are finite, and the exploration ends when no new one is
//! found. Time moves from one deadline or arrival to the next.
//!
//! Nobody ever claims within the lease of the Master that it heard last. A Master that leaves in order serves
//! on until it hears another one, and no longer than the slowest Backup needs. From every state, when nothing
//! is disturbed any more, the cluster settles within the bound and stays so: each connected part of it
//! has exactly one Master, unless nobody there can be; no group is Master in part; and no state changes.
//! VIPs need no check of their own: they are where the state is Master.
//!
//! `EVENKEEL_MODEL_BUDGET=n` adds n to the disturbances of each exploration.

mod cluster;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use cluster::{Cluster, LATE, Move, Setup};
use evenkeel_schemas::scalars::{AdvertInterval, Priority};
use evenkeel_vrrp::{State, Version, master_down_interval};

/// How long a cluster may take after the last disturbance: what is late arrives; one wait until
/// somebody claims; in a group of which two directors have a part each, one to notice and one to
/// claim; and an advertisement for those who have to yield.
fn bound(setup: &Setup) -> Duration {
    let lowest = setup.priorities.iter().flatten().min().copied().expect("a director");
    let priority = Priority::new(lowest).expect("priority");
    let interval = AdvertInterval::ONE_SECOND;
    let wait = master_down_interval(setup.version, priority, interval);
    let waits = if setup.segments() > 1 { 3 } else { 1 };
    LATE[1] + wait * waits + interval.as_duration()
}

/// The fault of a state, unless a disturbance excuses it.
fn wrong(cluster: &Cluster, segments: usize) -> Option<String> {
    let master = |node: usize| cluster.states(node).is_some_and(|states| states.contains(&State::Master));
    for node in cluster.nodes() {
        let Some(states) = cluster.states(node) else { continue };
        if states.iter().any(|state| *state != states[0]) {
            return Some(format!("director {node} is {states:?}"));
        }
        if !cluster.can(node) {
            if master(node) {
                return Some(format!("director {node} cannot be Master and is"));
            }
            continue;
        }
        // With groups it is enough to hear each other on one segment.
        let mut part = vec![node];
        let mut seen = 0;
        while let Some(one) = part.get(seen).copied() {
            seen += 1;
            for other in cluster.nodes().filter(|other| cluster.can(*other)) {
                let hears = (0..segments).any(|segment| cluster.hear(one, other, segment));
                if hears && !part.contains(&other) {
                    part.push(other);
                }
            }
        }
        let masters: Vec<usize> = part.iter().copied().filter(|one| master(*one)).collect();
        if masters.len() != 1 {
            return Some(format!("of {part:?} these are Master: {masters:?}"));
        }
    }
    None
}

/// A state that was reached.
struct Seen {
    /// From where, and how.
    parent: u64,
    step: Move,
    /// State that follows when nobody disturbs this one, and when; itself when none does.
    next: u64,
    after: Duration,
    /// Whether something is wrong with it, or the way to [`Seen::next`] changes a state.
    wrong: bool,
    changes: bool,
}

/// Every state of one setup.
struct Graph {
    setup: Rc<Setup>,
    seen: BTreeMap<u64, Seen>,
}

impl Graph {
    /// Follows every schedule.
    fn explore(mut setup: Setup) -> Self {
        #[allow(clippy::disallowed_methods, reason = "how much a test does is not the crate's business")]
        let more = std::env::var("EVENKEEL_MODEL_BUDGET").map_or(0, |text| text.parse().expect("a number"));
        setup.budget += more;
        let setup = Rc::new(setup);
        let mut text = String::new();
        let start = started(&setup);
        let root = start.fingerprint(&mut text);
        let mut graph = Self { setup: Rc::clone(&setup), seen: BTreeMap::new() };
        graph.meet(root, root, Move::Go, &start);
        let mut queue = VecDeque::from([(start, root)]);
        while let Some((cluster, print)) = queue.pop_front() {
            for step in cluster.moves() {
                let mut next = cluster.clone();
                next.step(step);
                let reached = next.fingerprint(&mut text);
                if step == Move::Go
                    && let Some(seen) = graph.seen.get_mut(&print)
                {
                    seen.next = reached;
                    seen.after = next.now.since(cluster.now);
                    seen.changes = next.changed;
                }
                if let Some(problem) = &next.broken {
                    panic!("{}: {problem}: {}", setup.name, graph.trace(print, &[step]));
                }
                if !graph.seen.contains_key(&reached) {
                    graph.meet(reached, print, step, &next);
                    queue.push_back((next, reached));
                }
            }
        }
        graph
    }

    fn meet(&mut self, state: u64, parent: u64, step: Move, cluster: &Cluster) {
        let wrong = wrong(cluster, self.setup.segments()).is_some();
        let seen = Seen { parent, step, next: state, after: Duration::ZERO, wrong, changes: false };
        self.seen.insert(state, seen);
    }

    /// How long the cluster takes to settle from whatever state, when nobody disturbs it any more.
    fn settling(&self) -> Duration {
        let mut settled: BTreeMap<u64, Duration> = BTreeMap::new();
        for state in self.seen.keys() {
            let mut way: Vec<(u64, &Seen)> = Vec::new();
            let mut place: BTreeMap<u64, usize> = BTreeMap::new();
            let mut here = *state;
            while !settled.contains_key(&here) && !place.contains_key(&here) {
                place.insert(here, way.len());
                let seen = &self.seen[&here];
                way.push((here, seen));
                here = seen.next;
            }
            if let Some(first) = place.get(&here) {
                let circle = &way[*first..];
                if let Some((wrong, _)) = circle.iter().find(|(_, seen)| seen.wrong || seen.changes) {
                    self.fail("never settles", *wrong);
                }
                settled.extend(circle.iter().map(|(state, _)| (*state, Duration::ZERO)));
                way.truncate(*first);
            }
            for (state, seen) in way.into_iter().rev() {
                let rest = settled[&seen.next];
                let unsettled = seen.changes || seen.wrong || !rest.is_zero();
                settled.insert(state, if unsettled { seen.after + rest } else { Duration::ZERO });
            }
        }
        let bound = bound(&self.setup);
        let (state, longest) = settled.into_iter().max_by_key(|(_, time)| *time).expect("a state");
        if longest > bound {
            self.fail(&format!("takes {longest:?} to settle"), state);
        }
        longest
    }

    fn fail(&self, what: &str, state: u64) -> ! {
        panic!("{}: {what}: {}", self.setup.name, self.trace(state, &[Move::Go; 60]));
    }

    /// The way to a state and on, by the moves that are not the next event as it should be and by the
    /// events that change a state.
    fn trace(&self, mut state: u64, further: &[Move]) -> String {
        let mut moves = Vec::new();
        while let Some(seen) = self.seen.get(&state).filter(|seen| seen.parent != state) {
            moves.push(seen.step);
            state = seen.parent;
        }
        let mut cluster = started(&self.setup);
        let start = cluster.now;
        let mut lines = Vec::new();
        for step in moves.into_iter().rev().chain(further.iter().copied()) {
            cluster.step(step);
            if step != Move::Go || cluster.changed {
                let states: Vec<_> = cluster.nodes().map(|node| cluster.states(node)).collect();
                lines.push(format!("after {:?} {step:?}: {states:?}", cluster.now.since(start)));
            }
        }
        format!("\n  {}", lines.join("\n  "))
    }
}

/// A cluster whose directors have all been started.
fn started(setup: &Rc<Setup>) -> Cluster {
    let mut cluster = Cluster::new(setup);
    for node in cluster.nodes() {
        cluster.step(Move::Boot(node));
    }
    cluster
}

/// Explores and checks. Returns how many states there are.
fn explore(setup: Setup) -> usize {
    let graph = Graph::explore(setup);
    let longest = graph.settling();
    let (setup, states) = (&graph.setup, graph.seen.len());
    let bound = bound(setup);
    println!(
        "{}: {states} states with up to {} disturbances; settled after {longest:?} at most, bound {bound:?}",
        setup.name, setup.budget
    );
    states
}

fn singles(name: &'static str, priorities: &[u8], preempt: bool, version: Version, budget: u8) -> Setup {
    let priorities = priorities.iter().map(|priority| vec![*priority]).collect();
    Setup { name, priorities, preempt, waits: false, version, budget }
}

#[test]
fn two_directors() {
    let v2 = Version::V2;
    assert!(explore(singles("two, one preferred", &[100, 200], true, v2, 3)) > 1000);
    assert!(explore(singles("two, equal", &[100, 100], true, v2, 2)) > 1000);
    assert!(explore(singles("two, no preemption", &[100, 200], false, Version::V3, 3)) > 1000);
}

#[test]
fn three_directors() {
    assert!(explore(singles("three", &[100, 150, 200], true, Version::V3, 2)) > 1000);
    assert!(explore(singles("three, equal, no preemption", &[100, 100, 100], false, Version::V2, 1)) > 1000);
}

#[test]
fn two_directors_with_a_group_of_two() {
    let group = |name, priorities: [[u8; 2]; 2], preempt, budget| Setup {
        name,
        priorities: priorities.map(|of_node| of_node.to_vec()).to_vec(),
        preempt,
        waits: false,
        version: Version::V3,
        budget,
    };
    assert!(explore(group("group, one preferred", [[100, 100], [200, 200]], true, 2)) > 1000);
    assert!(explore(group("group, equal", [[100, 100], [100, 100]], true, 1)) > 1000);
    assert!(explore(group("group, crossed", [[100, 200], [200, 100]], true, 1)) > 1000);
    assert!(explore(group("group, no preemption", [[100, 100], [200, 200]], false, 2)) > 1000);
}

/// A director that waits for its checks leaves a living Master alone for as long as it waits, replaces a dead
/// one, and never takes over in part.
#[test]
fn directors_that_wait_for_their_checks() {
    let waits = |name, priorities: Vec<Vec<u8>>, budget| {
        let (version, preempt, waits) = (Version::V3, true, true);
        Setup { name, priorities, preempt, waits, version, budget }
    };
    assert!(explore(waits("two wait, one preferred", vec![vec![100], vec![200]], 2)) > 1000);
    assert!(explore(waits("group waits, one preferred", vec![vec![100, 100], vec![200, 200]], 1)) > 1000);
    assert!(explore(waits("group waits, crossed", vec![vec![100, 200], vec![200, 100]], 1)) > 1000);
}
