//! A link of our own that fails, in virtual time: verdicts stay, and those that were given are taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_health::checker::{Input, Output};
use evenkeel_health::way::{Link, Route};
use evenkeel_health::{CheckId, CheckNews, CheckState, Checker, Fault, FaultLabel, Found, Verdict, WayNews};
use evenkeel_schemas::time::MonoTime;
use proptest::prelude::*;

const ETH0: u32 = 2;
const INTERVAL: u64 = 5_000;

fn target(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// Behaviour of a target when it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Answers,
    Refuses,
    Silent,
}

/// Checks of some targets behind one interface, and what they do.
struct Scene {
    checker: Checker,
    now: u64,
    targets: Vec<Target>,
    /// Probes under way: when they end, and which.
    probes: BTreeSet<(u64, CheckId, u64)>,
    states: BTreeMap<CheckId, CheckState>,
    at_fault: BTreeMap<String, BTreeSet<CheckId>>,
    /// When that last changed.
    turned: u64,
}

impl Scene {
    fn new(targets: u8, rise: u8) -> Self {
        let check = |last: u8| {
            let check = serde_json::json!({
                "type": "tcp", "address": target(last), "port": 80, "rise": rise,
                "interval": "5s", "timeout": "2s", "retries": 1, "retry_delay": "1s"
            });
            serde_json::from_value(check).expect("a check")
        };
        let mut scene = Self {
            checker: Checker::new(),
            now: 0,
            targets: vec![Target::Answers; targets.into()],
            probes: BTreeSet::new(),
            states: BTreeMap::new(),
            at_fault: BTreeMap::new(),
            turned: 0,
        };
        let checks = (0..targets).map(|last| (CheckId(last.into()), check(last), Verdict::Up)).collect();
        scene.input(Input::Configure(checks));
        let link = Link { name: "eth0".to_owned(), there: true, up: true, running: true, carrier: true };
        scene.input(Input::Way(WayNews::Links([(ETH0, link)].into())));
        let route = Route::By { interface: ETH0, direct: true, gateway: None };
        scene.input(Input::Way(WayNews::Routes((0..targets).map(|last| (target(last), route)).collect())));
        scene
    }

    fn time(&self) -> MonoTime {
        MonoTime::from_millis(self.now)
    }

    fn input(&mut self, input: Input) {
        self.checker.handle(input, self.time());
        while let Some(output) = self.checker.poll_output() {
            match output {
                Output::Probe { id, .. } => {
                    let silent = self.targets[id.0 as usize] == Target::Silent;
                    let ends = self.now + if silent { 2_000 } else { 3 };
                    self.probes.insert((ends, id, self.now));
                }
                Output::WatchWays(_) => {}
                Output::News(CheckNews::State(id, state)) => drop(self.states.insert(id, state)),
                Output::News(CheckNews::OwnFault(links)) => (self.at_fault, self.turned) = (links, self.now),
                Output::News(_) => {}
            }
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now += 1;
            while let Some(probe) = self.probes.first().copied().filter(|(ends, ..)| *ends <= self.now) {
                self.probes.remove(&probe);
                let (ends, id, began) = probe;
                let found = match self.targets[id.0 as usize] {
                    Target::Silent => Fault::no_answer(Duration::from_secs(2)).into(),
                    // The target has been silent while the probe waited.
                    _ if ends - began > 3 => Fault::no_answer(Duration::from_secs(2)).into(),
                    Target::Answers => Found::healthy(),
                    Target::Refuses => Fault::new(FaultLabel::Refused, "connection refused").into(),
                };
                let took = Duration::from_millis(ends - began);
                self.input(Input::Probed { id, began: MonoTime::from_millis(began), took, found });
            }
            if self.checker.poll_timeout().is_some_and(|due| due <= self.time()) {
                self.input(Input::Time);
            }
        }
    }

    fn down(&self) -> Vec<u32> {
        let down = self.states.iter().filter(|(_, state)| state.verdict == Verdict::Down);
        down.map(|(id, _)| id.0).collect()
    }

    fn all(&mut self, target: Target) {
        self.targets.fill(target);
    }
}

#[test]
fn a_link_that_nothing_answers_through_is_found_within_two_intervals_and_takes_no_verdict() {
    for targets in [2, 3, 7] {
        let mut scene = Scene::new(targets, 1);
        scene.run(20_000);
        assert_eq!((scene.down(), scene.at_fault.len()), (vec![], 0));
        let cut = scene.now;
        scene.all(Target::Silent);
        scene.run(2 * INTERVAL);
        assert_eq!(scene.at_fault.keys().collect::<Vec<_>>(), ["eth0"], "{targets} targets");
        assert_eq!(scene.at_fault["eth0"].len(), usize::from(targets));
        assert!(scene.turned - cut <= 2 * INTERVAL);
        assert_eq!(scene.down(), Vec::<u32>::new(), "what was given is taken back");
        scene.run(60_000);
        assert_eq!(scene.down(), Vec::<u32>::new(), "and none is given while it lasts");
        // A target answers: the link works, and the others are judged again.
        scene.targets[0] = Target::Answers;
        let back = scene.now;
        scene.run(INTERVAL + 3_000);
        assert!(scene.at_fault.is_empty());
        assert!(scene.turned - back <= INTERVAL + 2_100, "{} ms", scene.turned - back);
        scene.run(20_000);
        let others: Vec<u32> = (1..u32::from(targets)).collect();
        assert_eq!(scene.down(), others, "they had failed as well");
        scene.all(Target::Answers);
        scene.run(10_000);
        assert_eq!(scene.down(), Vec::<u32>::new());
    }
}

#[test]
fn targets_that_refuse_or_one_that_answers_show_that_the_link_works() {
    let mut refused = Scene::new(3, 1);
    refused.run(20_000);
    refused.all(Target::Refuses);
    refused.run(20_000);
    assert_eq!((refused.down(), refused.at_fault.len()), (vec![0, 1, 2], 0));
    let mut one_left = Scene::new(3, 1);
    one_left.run(20_000);
    one_left.targets = vec![Target::Silent, Target::Refuses, Target::Silent];
    one_left.run(20_000);
    assert_eq!((one_left.down(), one_left.at_fault.len()), (vec![0, 1, 2], 0));
    let mut alone = Scene::new(1, 1);
    alone.run(20_000);
    alone.all(Target::Silent);
    alone.run(20_000);
    assert_eq!((alone.down(), alone.at_fault.len()), (vec![0], 0), "it may have failed itself");
}

#[test]
fn one_that_refuses_shows_that_the_link_works_again() {
    let mut scene = Scene::new(3, 1);
    scene.run(20_000);
    scene.all(Target::Silent);
    scene.run(20_000);
    assert_eq!(scene.at_fault.len(), 1);
    scene.all(Target::Refuses);
    scene.run(20_000);
    assert_eq!((scene.down(), scene.at_fault.len()), (vec![0, 1, 2], 0));
}

#[test]
fn one_after_the_other_is_no_own_fault() {
    let mut scene = Scene::new(2, 1);
    scene.run(20_000);
    scene.targets[0] = Target::Silent;
    scene.run(30_000);
    scene.targets[1] = Target::Silent;
    scene.run(30_000);
    assert_eq!((scene.down(), scene.at_fault.len()), (vec![0, 1], 0));
}

#[test]
fn it_is_over_after_as_many_answers_in_a_row_as_the_check_asks_for() {
    let mut scene = Scene::new(2, 3);
    scene.run(20_000);
    scene.all(Target::Silent);
    scene.run(20_000);
    assert_eq!(scene.at_fault.len(), 1);
    scene.targets[1] = Target::Answers;
    scene.run(2 * INTERVAL);
    assert_eq!(scene.at_fault.len(), 1, "two answers, and three are wanted");
    scene.run(2 * INTERVAL);
    assert_eq!(scene.at_fault.len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Nothing is down while all targets are silent and the link is at fault, and in the end every verdict is
    /// what its target does.
    #[test]
    fn in_the_end_verdicts_are_right(
        steps in prop::collection::vec((0_usize..4, 0_u8..3, 1_u64..30), 1..12), rise in 1_u8..3,
    ) {
        let mut scene = Scene::new(4, rise);
        for (which, what, seconds) in steps {
            let does = [Target::Answers, Target::Refuses, Target::Silent][usize::from(what)];
            // Every third step is about all of them.
            if seconds % 3 == 0 { scene.all(does) } else { scene.targets[which] = does }
            scene.run(seconds * 1000);
        }
        // At least one answers, so nothing is the link's fault for long.
        scene.targets[0] = Target::Answers;
        scene.run(120_000);
        prop_assert!(scene.at_fault.is_empty());
        for (id, does) in scene.targets.iter().enumerate() {
            let verdict = scene.states[&CheckId(u32::try_from(id).expect("few"))].verdict;
            let wanted = if *does == Target::Answers { Verdict::Up } else { Verdict::Down };
            prop_assert_eq!(verdict, wanted, "{}", id);
        }
    }
}
