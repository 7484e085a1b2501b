//! A check that holds a connection: what its end does to the verdict and to the schedule.

use std::time::Duration;

use evenkeel_health::checker::{Input, Output};
use evenkeel_health::{CheckId, Checker, Fault, FaultLabel, Found, Verdict};
use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;

const ID: CheckId = CheckId(1);

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

/// A check that is healthy at 0 ms, of interval 5 s.
fn healthy() -> Checker {
    let check: Check = serde_json::from_value(serde_json::json!({
        "type": "tcp", "address": "192.0.2.1", "port": 80, "hold": true,
        "interval": "5s", "timeout": "1s", "retries": 3, "retry_delay": "1s"
    }))
    .expect("a check");
    let mut checker = Checker::new();
    checker.handle(Input::Configure(vec![(ID, check, Verdict::Up)]), at(0));
    answer(&mut checker, Found::healthy(), at(0));
    checker
}

/// Makes the probe that is due, and hands in what it finds.
fn answer(checker: &mut Checker, found: Found, now: MonoTime) {
    checker.handle(Input::Time, now);
    let began = std::iter::from_fn(|| checker.poll_output()).find_map(|output| match output {
        Output::Probe { began, .. } => Some(began),
        _ => None,
    });
    let began = began.expect("a probe is due");
    checker.handle(Input::Probed { id: ID, began, took: Duration::ZERO, found }, now);
}

fn verdict(checker: &Checker) -> Verdict {
    checker.reports(at(0)).checks[&ID].verdict
}

fn fault(label: FaultLabel) -> Fault {
    Fault::new(label, "because")
}

#[test]
fn one_that_breaks_is_a_failure_without_retries_and_the_regular_probe_stays_at_its_time() {
    let mut checker = healthy();
    let regular = checker.poll_timeout();
    checker.handle(Input::Broke(ID, Some(fault(FaultLabel::Reset))), at(1000));
    assert_eq!(verdict(&checker), Verdict::Down);
    assert_eq!(checker.poll_timeout(), regular);
    answer(&mut checker, Found::healthy(), regular.expect("a time"));
    assert_eq!(verdict(&checker), Verdict::Up);
}

#[test]
fn one_that_is_closed_is_tried_again_at_once_and_that_probe_decides() {
    let mut checker = healthy();
    checker.handle(Input::Broke(ID, None), at(1000));
    assert_eq!(checker.poll_timeout(), Some(at(1000)));
    answer(&mut checker, fault(FaultLabel::Refused).into(), at(1000));
    assert_eq!(verdict(&checker), Verdict::Down);

    let mut checker = healthy();
    checker.handle(Input::Broke(ID, None), at(1000));
    answer(&mut checker, Found::healthy(), at(1000));
    assert_eq!(verdict(&checker), Verdict::Up);
    // A later failure has all its retries.
    let next = checker.poll_timeout().expect("a time");
    answer(&mut checker, fault(FaultLabel::Timeout).into(), next);
    assert_eq!((verdict(&checker), checker.reports(at(0)).checks[&ID].failures), (Verdict::Up, 1));
}
