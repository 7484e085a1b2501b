//! Verdicts and schedules in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_health::{Ailment, Board, Capacity, CheckId, Fault, FaultLabel, Outcome, Says, Share, Verdict};
use evenkeel_schemas::plan::Check;
use evenkeel_schemas::scalars::{Rise, Span};
use evenkeel_schemas::time::MonoTime;
use proptest::prelude::*;

fn check(host: u8) -> Check {
    serde_json::from_value(serde_json::json!({
        "type": "tcp", "address": format!("192.0.2.{host}"), "port": 80,
        "interval": "5s", "timeout": "10s", "retries": 3, "retry_delay": "3s"
    }))
    .expect("check")
}

fn id(host: u8) -> CheckId {
    CheckId(host.into())
}

fn numbered(host: u8) -> (CheckId, Check) {
    (id(host), check(host))
}

fn fail() -> Outcome {
    Outcome::Failure(Fault::new(FaultLabel::Refused, "connection refused"))
}

/// Runs the board until `end`, answering each probe at once; returns (seconds, verdict) changes.
fn run(board: &mut Board, from: u64, end: u64, answer: impl Fn(u64) -> Outcome) -> Vec<(u64, Verdict)> {
    let mut changes = Vec::new();
    let mut now = MonoTime::from_millis(from * 1000);
    while let Some(due) = board.poll_timeout().filter(|due| *due <= MonoTime::from_millis(end * 1000)) {
        now = now.max(due);
        let secs = now.as_nanos() / 1_000_000_000;
        let (probes, given_up) = board.start(now);
        changes.extend(given_up.into_iter().map(|change| (secs, change.verdict)));
        for probe in probes {
            changes.extend(board.finish(probe, answer(secs), now).map(|change| (secs, change.verdict)));
        }
    }
    changes
}

#[test]
fn goes_down_after_its_retries_and_up_at_the_first_success() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    // Probes at 0, 5; the failing ones at 10, 13, 16, 19; then every 5 s; the first good one at 29.
    let changes = run(&mut board, 0, 60, |secs| {
        if (7..28).contains(&secs) { fail() } else { Outcome::Success(Says::default()) }
    });
    assert_eq!(changes, [(19, Verdict::Down), (29, Verdict::Up)]);
}

#[test]
fn a_target_that_failed_returns_after_as_many_successes_in_a_row_as_rise_says() {
    let (id, mut check) = numbered(1);
    check.times.rise = Rise::new(3).expect("a number of successes");
    let mut board = Board::new();
    board.configure([(id, check)], |_| Verdict::Up, MonoTime::ZERO);
    // Down at 19 as above. Good ones at 24 and 29, a failure at 34, good ones at 39, 44 and 49.
    let changes = run(&mut board, 0, 60, |secs| {
        if (7..22).contains(&secs) || secs == 34 { fail() } else { Outcome::Success(Says::default()) }
    });
    assert_eq!(changes, [(19, Verdict::Down), (49, Verdict::Up)]);
}

#[test]
fn jitter_makes_probes_later_each_for_itself_and_moves_no_time() {
    const JITTER: Duration = Duration::from_secs(2);
    let with = |number: u8| {
        let (id, mut check) = numbered(number);
        check.times.jitter = Span::from_secs(2);
        (id, check)
    };
    let mut board = Board::new();
    board.configure([with(1), with(2)], |_| Verdict::Up, MonoTime::ZERO);
    // Where in its interval each check was probed, milliseconds.
    let mut phases: BTreeMap<CheckId, BTreeSet<u64>> = BTreeMap::new();
    for _ in 0..2_000 {
        let now = board.poll_timeout().expect("a time");
        for probe in board.start(now).0 {
            phases.entry(probe).or_default().insert(now.as_nanos() / 1_000_000 % 5_000);
            board.finish(probe, Outcome::Success(Says::default()), now);
        }
    }
    // The first check has its regular times at whole intervals.
    let most = phases[&CheckId(1)].last().copied().map(Duration::from_millis).expect("probes");
    assert!((JITTER / 2..=JITTER).contains(&most), "{most:?} after 1,000 probes");
    assert_ne!(phases[&CheckId(1)], phases[&CheckId(2)]);
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let changes =
        run(
            &mut board,
            0,
            100,
            |secs| if secs % 4 == 0 { Outcome::Success(Says::default()) } else { fail() },
        );
    assert_eq!(changes, []);
}

#[test]
fn a_probe_that_never_reports_counts_as_failed() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let mut downs = 0;
    for secs in 0..80 {
        let (_, changes) = board.start(MonoTime::from_millis(secs * 1000));
        downs += changes.iter().filter(|change| change.verdict == Verdict::Down).count();
    }
    assert_eq!(downs, 1);
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
}

#[test]
fn a_probe_that_could_not_be_made_says_nothing() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let changes = run(&mut board, 0, 300, |_| Outcome::Inconclusive(Ailment::NoDescriptors));
    assert_eq!(changes, []);
    assert_eq!(board.report(id(1)).expect("report").failures, 0);
}

#[test]
fn results_that_were_handed_in_late_by_us_are_no_failures() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let (probes, _) = board.start(MonoTime::ZERO);
    assert_eq!(probes.len(), 1);
    // A minute passes without a look; the result has been waiting all the time.
    let late = MonoTime::from_millis(60_000);
    assert_eq!(board.start(late), (vec![], vec![]));
    board.finish(probes[0], Outcome::Success(Says::default()), late);
    assert_eq!(board.report(id(1)).expect("report").failures, 0);
}

#[test]
fn identical_checks_are_one_and_survive_a_new_plan() {
    let mut board = Board::new();
    board.configure([numbered(1), numbered(1), numbered(2)], |_| Verdict::Up, MonoTime::ZERO);
    assert_eq!(board.len(), 2);
    run(&mut board, 0, 60, |_| fail());
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
    board.configure([numbered(1), numbered(3)], |_| Verdict::Up, MonoTime::from_millis(60_000));
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
    assert_eq!(board.verdict(id(2)), None);
    assert_eq!(board.verdict(id(3)), Some(Verdict::Up));
}

#[test]
fn first_probes_come_soon_and_regular_ones_are_spread_over_the_interval() {
    let mut board = Board::new();
    board.configure((1..=100).map(numbered), |_| Verdict::Up, MonoTime::ZERO);
    let (mut first, mut worst) = (BTreeSet::new(), 0);
    for tenth in 0..150 {
        let now = MonoTime::from_millis(tenth * 100 + 99);
        let probes = board.start(now).0;
        if first.len() < 100 {
            assert!(tenth <= 1, "after a fifth of a second all have begun: {}", first.len());
        } else {
            worst = worst.max(probes.len());
        }
        for probe in probes {
            board.finish(probe, Outcome::Success(Says::default()), now);
            first.insert(probe);
        }
    }
    assert!(worst <= 4, "{worst} probes in one tenth of a second");
}

#[test]
fn an_agent_that_is_not_there_changes_nothing() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let silent = |_| Outcome::Silent("connection refused".into());
    run(&mut board, 0, 6, |_| fail());
    let before = board.report(id(1)).expect("report");
    assert!(before.failures > 0 && !board.is_settled(id(1)));
    assert_eq!(run(&mut board, 6, 300, silent), []);
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.verdict, report.failures), (Verdict::Up, before.failures));
    assert!(board.is_settled(id(1)), "nobody waits for it");
    // One that is down stays so.
    run(&mut board, 300, 400, |_| fail());
    assert_eq!(run(&mut board, 400, 500, silent), []);
    assert_eq!(board.verdict(id(1)), Some(Verdict::Down));
}

#[test]
fn a_report_says_since_when_why_how_often_and_what_the_target_says_beside() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    let at = |secs: u64| MonoTime::from_millis(secs * 1000);
    run(
        &mut board,
        0,
        60,
        |secs| if (7..28).contains(&secs) { fail() } else { Outcome::Success(Says::default()) },
    );
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.since, report.transitions, report.failures), (at(29), 2, 0));
    let (when, fault) = report.fault.expect("it has failed");
    assert_eq!((when, fault.label, &*fault.reason), (at(24), FaultLabel::Refused, "connection refused"));
    assert_eq!(report.next, Some(at(64)));
    let says = Says { share: Some(Share::Percent(50)), drain: true, remark: Some("half".into()) };
    let (probes, _) = board.start(at(64));
    board.finished(probes[0], Outcome::Success(says.clone()), Some(Duration::from_millis(7)), at(65));
    let report = board.report(id(1)).expect("report");
    assert_eq!((report.says, report.latency), (says, Some(Duration::from_millis(7))));
}

#[test]
fn probes_that_are_late_do_not_shift_those_that_follow() {
    let mut board = Board::new();
    board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
    for round in 0..1000_u64 {
        let due = board.poll_timeout().expect("a time");
        assert_eq!(due, MonoTime::from_millis(round * 5000), "in its turn");
        let late = due + Duration::from_millis(7);
        let (probes, _) = board.start(late);
        board.finish(probes[0], Outcome::Success(Says::default()), late + Duration::from_millis(3));
    }
}

#[test]
fn first_probes_are_spread_over_the_warm_up_where_there_is_one() {
    let with = |number: u8| {
        let (id, mut check) = numbered(number);
        check.times.warmup = Some(Span::from_secs(30));
        (id, check)
    };
    let mut board = Board::new();
    board.configure((1..=100).map(with), |_| Verdict::Up, MonoTime::ZERO);
    let mut began = Vec::new();
    for second in 1..=30 {
        let probes = board.start(MonoTime::from_millis(second * 1000)).0;
        for probe in &probes {
            board.finish(*probe, Outcome::Success(Says::default()), MonoTime::from_millis(second * 1000));
        }
        began.push(
            probes
                .into_iter()
                .filter(|one| !began.iter().flatten().any(|other| other == one))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(began.iter().flatten().count(), 100, "all within the warm-up");
    assert!(began.iter().all(|of_second| of_second.len() <= 5), "{began:?}");
}

fn script(number: u8) -> (CheckId, Check) {
    let check = serde_json::json!({
        "type": "script", "command": ["/bin/check", number.to_string()],
        "interval": "5s", "timeout": "5s", "retries": 1, "retry_delay": "1s"
    });
    (id(number), serde_json::from_value(check).expect("check"))
}

/// A hundred programs that hang until they are killed, and a hundred targets that answer at once.
#[test]
fn what_waits_for_a_place_is_not_failed_and_keeps_no_other_waiting() {
    let mut board = Board::new();
    board.limit(Capacity { probes: 10, programs: 8 });
    board.configure((0..100).map(script).chain((100..200).map(numbered)), |_| Verdict::Up, MonoTime::ZERO);
    let (mut hanging, mut probed) = (Vec::new(), BTreeSet::new());
    for ms in (0..60_000).step_by(10) {
        let now = MonoTime::from_millis(ms);
        let (over, still): (Vec<_>, Vec<_>) = hanging.into_iter().partition(|(until, _)| *until <= now);
        hanging = still;
        for (_, one) in over {
            board.finish(one, Outcome::Failure(Fault::new(FaultLabel::Timeout, "killed")), now);
        }
        let (probes, given_up) = board.start(now);
        assert_eq!(given_up, [], "none is lost");
        for probe in probes {
            if probe.0 < 100 {
                hanging.push((now + Duration::from_secs(5), probe));
                probed.insert(probe);
            } else {
                board.finish(probe, Outcome::Success(Says::default()), now);
            }
        }
        assert!(hanging.len() <= 8, "{}", hanging.len());
        if ms == 59_990 {
            for check in 100..200 {
                let (when, _) = board.get(CheckId(check)).and_then(|it| it.last()).expect("was probed");
                assert!(now.since(*when) <= Duration::from_millis(5020), "{check} is on time");
            }
            let load = board.load(now);
            assert!(load.waits > Duration::from_secs(30) && load.waiting > 80, "{load:?}");
            assert!(load.most_late >= load.waits && load.under_way == 8, "{load:?}");
        }
    }
    assert!(probed.len() > 80, "each in its turn: {}", probed.len());
}

#[test]
fn places_of_probes_that_are_given_up_or_gone_are_free_again() {
    let mut board = Board::new();
    board.limit(Capacity { probes: 1, programs: 1 });
    board.configure((1..=3).map(numbered), |_| Verdict::Up, MonoTime::ZERO);
    let at = |ms: u64| MonoTime::from_millis(ms);
    // Never reports: after its time the next one begins.
    let (first, _) = board.start(at(100));
    assert_eq!((first.len(), board.load(at(100)).waiting), (1, 2));
    assert_eq!(board.start(at(10_000)).0, []);
    let mut begun = board.start(at(11_100)).0;
    begun.extend(board.start(at(11_100)).0);
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_ne!(begun, first);
    // A result that comes too late changes nothing.
    assert_eq!(board.finish(first[0], Outcome::Success(Says::default()), at(11_200)), None);
    assert_eq!(board.load(at(11_200)).under_way, 1);
    // The plan has none of these any more.
    board.configure((4..=5).map(numbered), |_| Verdict::Up, at(12_000));
    assert_eq!(board.load(at(12_000)).under_way, 0);
    assert_eq!(board.start(at(12_100)).0.len(), 1);
}

proptest! {
    /// Whatever the results and the pauses of the caller: no panic, a check is never forgotten, and
    /// down needs more than `retries` failures in a row.
    #[test]
    fn verdicts_follow_the_results(steps in prop::collection::vec((0u64..30_000, any::<bool>()), 1..200)) {
        let mut board = Board::new();
        board.configure([numbered(1)], |_| Verdict::Up, MonoTime::ZERO);
        let mut now = MonoTime::ZERO;
        let mut in_a_row = 0;
        for (pause, good) in steps {
            now = now + Duration::from_millis(pause);
            for probe in board.start(now).0 {
                board.finish(probe, if good { Outcome::Success(Says::default()) } else { fail() }, now);
                in_a_row = if good { 0 } else { in_a_row + 1 };
            }
            let report = board.report(id(1)).expect("on the board");
            prop_assert_eq!(report.failures, in_a_row);
            prop_assert!(report.verdict == Verdict::Up || in_a_row > 3);
            let due = board.poll_timeout().expect("never forgotten");
            prop_assert!(due <= now + Duration::from_secs(12));
        }
    }
}
