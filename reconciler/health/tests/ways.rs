//! Whose fault a failed check is: ways to targets in virtual time, and what becomes of verdicts meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_health::silence::News;
use evenkeel_health::way::{Link, Route, Turns, judge};
use evenkeel_health::{
    Ailment, Board, CheckId, Fault, FaultLabel, Found, Gates, Outcome, Reach, Says, Silences, Verdict, Ways,
};
use evenkeel_schemas::plan::{self, Check};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use proptest::prelude::*;

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}

fn target(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// Interval 30 s, time-out 3 s, one retry after a second.
fn check(last: u8) -> Check {
    serde_json::from_value(serde_json::json!({
        "type": "tcp", "address": target(last), "port": 80,
        "interval": "30s", "timeout": "3s", "retries": 1, "retry_delay": "1s"
    }))
    .expect("check")
}

fn id(host: u8) -> CheckId {
    CheckId(host.into())
}

fn numbered(host: u8) -> (CheckId, Check) {
    (id(host), check(host))
}

fn link(name: &str, up: bool, carrier: bool) -> Link {
    Link { name: name.to_owned(), there: true, up, running: up && carrier, carrier }
}

fn fine(name: &str) -> Link {
    link(name, true, true)
}

const ETH0: u32 = 2;
const ETH1: u32 = 3;
const ON_ETH0: Route = Route::By { interface: ETH0, direct: true, gateway: None };
const BY_ETH1: Route = Route::By { interface: ETH1, direct: false, gateway: None };

fn no_carrier() -> Ailment {
    Ailment::NoCarrier("eth0".to_owned())
}

/// Two interfaces, and a target on the link of eth0.
fn ways() -> Ways {
    let mut ways = Ways::new();
    ways.watch([target(1)]);
    ways.links([(ETH0, fine("eth0")), (ETH1, fine("eth1"))].into(), at(0));
    assert_eq!(ways.routes([(target(1), ON_ETH0)], at(0)), Turns::new());
    ways
}

fn one(ailment: Option<Ailment>) -> Turns {
    BTreeMap::from([(target(1), ailment)])
}

fn failed() -> Found {
    Fault::new(FaultLabel::Refused, "refused").into()
}

#[test]
fn an_ailment_of_the_interface_or_the_route_excuses_a_failure() {
    let gone = Link { there: false, ..link("eth0", false, false) };
    let dormant = Link { running: false, ..fine("eth0") };
    for (link, ailment, text) in [
        (link("eth0", true, false), no_carrier(), "eth0 has no carrier"),
        (link("eth0", false, false), Ailment::SetDown("eth0".to_owned()), "eth0 is set down"),
        (dormant, Ailment::NotOperational("eth0".to_owned()), "eth0 is not operational"),
        (gone, Ailment::NoInterface("eth0".to_owned()), "eth0 is gone"),
    ] {
        let mut ways = ways();
        assert_eq!(ways.obstacle(target(1)), None);
        assert_eq!(ways.link(ETH0, link, at(1000)), one(Some(ailment.clone())));
        assert_eq!(
            (ways.ailment(target(1)), ways.obstacle(target(1))),
            (Some(&ailment), Some(ailment.clone()))
        );
        assert_eq!(judge(failed(), ways.excuse(target(1), at(500))), Outcome::Inconclusive(ailment.clone()));
        assert_eq!(ailment.to_string(), text);
        assert!(ailment.is_of_the_way());
        assert_eq!(ways.link(ETH0, fine("eth0"), at(2000)), one(None));
        // What began before it was back is excused still, what begins after is not.
        assert_eq!(ways.excuse(target(1), at(1999)), Some(ailment));
        assert_eq!(
            judge(failed(), ways.excuse(target(1), at(2001))),
            Outcome::Failure(Fault::new(FaultLabel::Refused, "refused"))
        );
    }
    let mut ways = ways();
    assert_eq!(ways.routes([(target(1), Route::None)], at(1)), one(Some(Ailment::NoRoute)));
    assert_eq!(ways.obstacle(target(1)), Some(Ailment::NoRoute));
    assert_eq!(ways.link(ETH1, link("eth1", false, false), at(2)), Turns::new(), "not on its way");
}

#[test]
fn a_success_is_one_and_what_lacks_on_this_host_is_nobodys_fault() {
    assert_eq!(judge(Found::healthy(), Some(no_carrier())), Outcome::Success(Says::default()));
    for ailment in [Ailment::NoDescriptors, Ailment::NoSource, Ailment::NotPermitted] {
        assert_eq!(judge(Found::Ails(ailment.clone()), None), Outcome::Inconclusive(ailment));
    }
    assert_eq!(Ways::new().excuse(target(1), at(0)), None, "nothing is known of it: nothing excuses");
}

#[test]
fn an_answer_is_the_targets_own_whatever_ailed_this_host() {
    for label in FaultLabel::ALL {
        let fault = Fault::new(label, "x");
        let outcome = judge(fault.clone().into(), Some(no_carrier()));
        match label.is_an_answer() {
            true => assert_eq!(outcome, Outcome::Failure(fault)),
            false => assert_eq!(outcome, Outcome::Inconclusive(no_carrier())),
        }
    }
    let silent = || Found::Silent("refused".into());
    assert_eq!(judge(silent(), Some(no_carrier())), Outcome::Inconclusive(no_carrier()));
    assert_eq!(judge(silent(), None), Outcome::Silent("refused".into()));
}

#[test]
fn packets_that_go_another_way_when_the_interface_is_down_find_out_nothing() {
    let mut ways = ways();
    ways.answered(target(1), at(10));
    // eth0 is set down: its routes go with it, and what is left is the default route.
    ways.link(ETH0, link("eth0", false, false), at(20));
    assert_eq!(ways.routes([(target(1), BY_ETH1)], at(21)), Turns::new(), "still lost");
    assert_eq!(ways.ailment(target(1)), Some(&Ailment::SetDown("eth0".to_owned())));
    assert_eq!(ways.obstacle(target(1)), None, "but it may answer that way");
    // Only its address is gone.
    ways.link(ETH0, fine("eth0"), at(30));
    let elsewhere = Ailment::Elsewhere("eth0".to_owned());
    assert_eq!(ways.excuse(target(1), at(31)), Some(elsewhere));
    // It does: from now on that is its way.
    assert_eq!(ways.answered(target(1), at(40)), one(None));
    assert_eq!(ways.excuse(target(1), at(41)), None);
    // A target that was never on a link of ours has no home to miss.
    let mut other = Ways::new();
    other.watch([target(1)]);
    other.routes([(target(1), BY_ETH1)], at(0));
    other.answered(target(1), at(1));
    assert_eq!(other.routes([(target(1), ON_ETH0)], at(2)), Turns::new());
}

#[test]
fn interfaces_that_are_on_no_way_are_not_remembered() {
    let mut ways = ways();
    for index in 100..200 {
        assert_eq!(ways.link(index, fine("veth"), at(1)), Turns::new());
        assert_eq!(ways.link(index, Link { there: false, ..fine("veth") }, at(2)), Turns::new());
    }
    assert_eq!(ways.ailment_of("veth"), None);
    // One that is made again under its name is fine, though the old one is on a way still.
    ways.link(ETH0, Link { there: false, ..fine("eth0") }, at(3));
    assert_eq!(ways.ailment_of("eth0"), Some(Ailment::NoInterface("eth0".to_owned())));
    ways.link(9, fine("eth0"), at(4));
    assert_eq!(ways.ailment_of("eth0"), None);
    ways.watch([]);
    assert_eq!(ways.targets().count(), 0);
}

/// A board with these checks, all of which have succeeded once at 0 s.
fn board(checks: &[u8]) -> Board {
    let mut board = Board::new();
    board.configure(checks.iter().map(|last| numbered(*last)), |_| Verdict::Up, at(0));
    answer(&mut board, at(100), |_| Outcome::Success(Says::default()));
    board
}

/// Starts what is due and answers it at once.
fn answer(board: &mut Board, now: MonoTime, outcome: impl Fn(CheckId) -> Outcome) -> Vec<CheckId> {
    let (probes, _) = board.start(now);
    for probe in &probes {
        board.finish(*probe, outcome(*probe), now);
    }
    probes
}

fn refused(_: CheckId) -> Outcome {
    Outcome::Failure(Fault::new(FaultLabel::Refused, "refused"))
}

#[test]
fn verdicts_stay_while_the_way_is_lost_and_checks_run_at_once_when_it_is_back() {
    let mut board = board(&[1, 2]);
    let lost: Turns = [(target(1), Some(no_carrier()))].into();
    // One failure before, and then the cut.
    board.ways_turned(&one(None), at(1000));
    assert_eq!(answer(&mut board, at(1200), refused), [id(1)]);
    assert_eq!(board.report(id(1)).expect("report").failures, 1);
    assert_eq!(board.ways_turned(&lost, at(1500)), BTreeSet::from([id(1)]));
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.failures, report.unjudged), (0, Some((at(1500), no_carrier()))));
    assert!(!board.is_settled(id(1)) && board.is_settled(id(2)));
    // A minute of it.
    for second in 2..62 {
        answer(&mut board, at(second * 1000), |probe| match probe == id(1) {
            true => Outcome::Inconclusive(no_carrier()),
            false => Outcome::Success(Says::default()),
        });
    }
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.verdict, report.unjudged), (Verdict::Up, Some((at(1500), no_carrier()))));
    assert_eq!(board.reach(id(1), at(62_000)), Reach::CutOff, "another director may reach it");
    assert_eq!((board.unjudged(&no_carrier()), board.unjudged(&Ailment::NoRoute)), (1, 0));
    // Another thing ails it for a while: status says so, and it is the same silence.
    let down = Ailment::SetDown("eth0".to_owned());
    board.ways_turned(&one(Some(down.clone())), at(61_500));
    assert_eq!(board.report(id(1)).expect("report").unjudged, Some((at(1500), down.clone())));
    assert_eq!((board.silence(id(1)), board.unjudged(&down)), (Some(&no_carrier()), 0));
    // Back: within a fraction of a second, not after the interval.
    board.ways_turned(&one(None), at(62_000));
    assert_eq!(board.poll_timeout(), Some(at(62_100)));
    assert_eq!(answer(&mut board, at(62_100), refused), [id(1)]);
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.verdict, report.failures), (Verdict::Up, 1), "what failed before does not count");
    assert!(!board.is_settled(id(1)), "a failure alone says nothing yet");
    answer(&mut board, at(63_100), refused);
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
    assert!(board.is_settled(id(1)));
}

#[test]
fn a_target_that_was_down_before_stays_down_until_it_answers() {
    let mut board = board(&[1]);
    for second in [30, 31, 32] {
        answer(&mut board, at(second * 1000 + 100), refused);
    }
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
    board.ways_turned(&one(Some(no_carrier())), at(40_000));
    board.ways_turned(&one(None), at(50_000));
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
    answer(&mut board, at(50_100), refused);
    assert!(board.is_settled(id(1)), "it is known to be down: one failure says so");
    board.ways_turned(&one(None), at(51_000));
    answer(&mut board, at(51_100), |_| Outcome::Success(Says::default()));
    assert_eq!(board.verdict(id(1)), Some(Verdict::Up));
}

#[test]
fn a_probe_from_before_the_return_is_given_up() {
    let mut board = board(&[1]);
    let (probes, _) = board.start(at(30_100));
    assert_eq!(probes, [id(1)]);
    assert!(board.is_under_way(id(1), at(30_100)));
    board.ways_turned(&one(Some(no_carrier())), at(31_000));
    assert!(board.is_under_way(id(1), at(30_100)), "it may still succeed");
    board.ways_turned(&one(None), at(32_000));
    assert!(!board.is_under_way(id(1), at(30_100)));
    assert_eq!(board.start(at(32_100)).0, [id(1)]);
    assert!(board.is_under_way(id(1), at(32_100)));
}

#[test]
fn a_thousand_checks_come_back_within_a_second_and_not_in_one_burst() {
    let mut board = Board::new();
    let checks: Vec<(CheckId, Check)> = (0..1000_u16)
        .map(|n| {
            let mut check = check(1);
            let port = serde_json::from_value(serde_json::json!(n + 1)).expect("port");
            check.target = check.target.map(|target| plan::Target { port: Some(port), ..target });
            (CheckId(n.into()), check)
        })
        .collect();
    board.configure(checks, |_| Verdict::Up, at(0));
    board.ways_turned(&one(Some(no_carrier())), at(500));
    board.ways_turned(&one(None), at(60_000));
    let mut begun = 0;
    for tenth in 1..=12 {
        let probes =
            answer(&mut board, at(60_000 + tenth * 100), |_| Outcome::Success(Says::default())).len();
        assert!(probes <= 150, "{probes} in a tenth of a second");
        begun += probes;
    }
    assert_eq!(begun, 1000);
}

fn name(text: &str) -> Name {
    text.parse().expect("name")
}

/// Checks by number, with how long their turn takes.
fn left(hosts: &[u8]) -> BTreeMap<CheckId, Duration> {
    hosts.iter().map(|host| (id(*host), check(*host).times.turn())).collect()
}

#[test]
fn a_router_waits_for_each_of_its_checks_and_no_longer_than_their_turn() {
    assert_eq!(check(1).times.turn(), Duration::from_secs(7));
    let (first, second) = (name("VI_1"), name("VI_2"));
    let mut gates = Gates::new();
    gates.close(&first, left(&[1, 2]), true, at(0));
    gates.close(&second, left(&[2, 3]), false, at(0));
    assert_eq!(gates.waiting(), BTreeSet::from([first.clone(), second.clone()]));
    assert_eq!(gates.left(&first), 2);
    assert!(!gates.spoken(id(1)));
    assert!(gates.spoken(id(2)));
    assert_eq!(gates.waiting(), BTreeSet::from([second.clone()]));
    // Its time begins when it can take part.
    assert_eq!(gates.due(), None);
    gates.enable(|_| true, at(60_000));
    let due = gates.due().expect("a time");
    assert_eq!(due, at(69_000), "7 s, and 2 for probes that wait for each other");
    assert_eq!(gates.expire(at(68_999)), []);
    let expired = gates.expire(due);
    assert_eq!((expired[0].router.clone(), expired[0].left.clone()), (second.clone(), [id(3)].into()));
    assert_eq!(gates.waiting(), BTreeSet::new());
    // No check, no wait; and a plan that takes the check away ends it.
    gates.close(&first, BTreeMap::new(), true, at(0));
    assert_eq!(gates.due(), None);
    gates.close(&first, left(&[1]), true, at(0));
    assert!(gates.retain(|_| false));
    gates.close(&first, left(&[1]), true, at(0));
    gates.keep(&BTreeSet::from([second]));
    assert_eq!(gates.waiting(), BTreeSet::new());
    gates.close(&first, [(id(1), Duration::from_secs(120))].into(), true, at(0));
    assert_eq!(gates.due(), Some(at(30_000)));
}

#[test]
fn a_silence_is_reported_at_its_beginning_and_its_end_and_no_more_than_once_a_minute() {
    let mut silences = Silences::new();
    let full = Ailment::NoDescriptors;
    let mut lines = Vec::new();
    for second in 0..30_u64 {
        lines.extend(silences.note(&full, 1, at(second * 1000)).map(|news| news.to_string()));
        lines.extend(silences.look(|_| true, at(second * 1000)).iter().map(ToString::to_string));
    }
    for second in 30..35 {
        lines.extend(silences.look(|_| false, at(second * 1000)).iter().map(ToString::to_string));
    }
    assert_eq!(
        lines,
        [
            "checks say nothing of their targets, whose verdicts stay: too many open files on this host",
            "checks tell of their targets again: 30 probes said nothing in 30.0 s (too many open files on \
            this host)"
        ]
    );
    assert_eq!(silences.look_in(), None);
    // It comes and goes every two seconds for ten minutes.
    let mut told = 0;
    for second in (60..660_u64).step_by(2) {
        told += usize::from(silences.note(&full, 1, at(second * 1000)).is_some());
        for half in [500, 1600] {
            told += silences.look(|_| false, at(second * 1000 + half)).len();
        }
    }
    assert!((18..=22).contains(&told), "{told} lines in ten minutes");
    let again = silences.note(&full, 1, at(800_000));
    assert!(matches!(again, Some(News::Begins { untold: 1.., .. })), "{again:?}");
    // Kinds that somebody invents.
    let invented = |n| Ailment::NoCarrier(format!("veth{n}"));
    let told = (0..1000).filter(|n| silences.note(&invented(*n), 1, at(900_000)).is_some()).count();
    assert!(told < 100, "{told}");
}

proptest! {
    /// Whatever comes and goes: a probe that was under way at any moment at which the way was gone is not the
    /// target's fault, and one that was not is.
    #[test]
    fn a_failure_counts_exactly_when_the_way_was_whole_all_the_time(
        steps in prop::collection::vec((1_u64..500, 0_u8..4), 1..60),
        began in 0_u64..5000,
        lasted in 0_u64..3000,
    ) {
        let mut ways = ways();
        let ended = began + lasted;
        let (mut now, mut carrier, mut routed) = (0, true, true);
        // Whether it was gone at some time between the two.
        let mut gone = false;
        for (pause, what) in steps {
            let next = now + pause;
            if next > ended {
                break;
            }
            now = next;
            let whole = carrier && routed;
            match what {
                0 => carrier = false,
                1 => carrier = true,
                2 => routed = false,
                _ => routed = true,
            }
            ways.link(ETH0, link("eth0", true, carrier), at(now));
            ways.routes([(target(1), if routed { ON_ETH0 } else { Route::None })], at(now));
            gone |= now >= began && !whole;
            gone |= now >= began && !(carrier && routed);
        }
        gone |= !(carrier && routed);
        prop_assert_eq!(ways.excuse(target(1), at(began)).is_some(), gone);
    }
}
