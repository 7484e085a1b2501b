//! Decisions about plans, at the start and later, and the deadline over restarts and reboots.

use std::time::Duration;

use evenkeel_schemas::plan::testing::PlanText;

use super::*;

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbb";
const OTHER: &str = "cccccccccccccccccccccccc";

fn moment(now_ms: u64, boot: &str, wall_ms: u64) -> Moment {
    Moment { now: MonoTime::from_millis(now_ms), boot: boot.into(), wall_ms }
}

fn policy() -> Policy {
    Policy { timeout: "5s".parse().expect("span"), confirm: Confirm::Operator }
}

fn begin() -> Moment {
    moment(10_000, "boot", 1_000_000)
}

fn trial() -> Trial {
    Trial::new(NEW.to_owned(), OLD.to_owned(), &policy(), Baseline::default(), "T0".to_owned(), &begin())
}

fn on_trial() -> Record {
    Record { trial: Some(trial()), rolled_back: None }
}

fn rolled_back() -> Record {
    let back = RolledBack { generation: NEW.to_owned(), at: "T1".to_owned(), why: "why".to_owned() };
    Record { trial: None, rolled_back: Some(back) }
}

fn left(trial: &Trial, moment: &Moment) -> u128 {
    moment.now.until(trial.deadline(moment)).as_millis()
}

#[test]
fn the_deadline_stays_over_restarts_and_is_never_longer_after_a_reboot() {
    let trial = trial();
    assert_eq!(left(&trial, &begin()), 5000);
    assert_eq!(left(&trial, &moment(13_000, "boot", 0)), 2000, "the wall clock does not matter");
    assert_eq!(left(&trial, &moment(16_000, "boot", 1_000_000)), 0);
    assert_eq!(trial.clone().resumed(&moment(13_000, "boot", 7)), trial, "nothing to write");
    for (wall, expected) in [(1_002_000, 3000), (1_000_000, 5000), (1_005_000, 0), (9_000_000, 0), (3, 5000)]
    {
        assert_eq!(left(&trial, &moment(50, "other", wall)), expected, "wall clock {wall}");
    }
    // Time left at the first reboot is all that the second has.
    let resumed = trial.resumed(&moment(50, "other", 1_002_000));
    assert_eq!(left(&resumed, &moment(1050, "other", 0)), 2000);
    assert_eq!(left(&resumed, &moment(0, "third", 3)), 3000);
    assert_eq!(left(&resumed, &moment(0, "", 1_003_000)), 2000, "a boot that is not known is another one");
}

#[test]
fn a_record_survives_being_written() {
    let service = "{\"trial\":null}";
    assert_eq!(serde_json::from_str::<Record>(service).expect("JSON"), Record::default());
    for record in [on_trial(), rolled_back()] {
        let text = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<Record>(&text).expect("record"), record);
    }
}

#[test]
fn the_plan_that_a_daemon_begins_with() {
    let later = moment(12_000, "boot", 1_002_000);
    let over = moment(15_000, "boot", 1_005_000);
    let file = |generation: &str, probation: bool| Some((generation.to_owned(), probation));
    let none = Record::default();
    let started = |record: Option<&Record>, file: Option<(String, bool)>, last_good, moment| {
        start(record, file.as_ref(), last_good, moment, "now")
    };
    // No probation, or none that is remembered.
    assert_eq!(started(Some(&none), file(NEW, true), None, &later), FirstPlan::File, "the first plan ever");
    assert_eq!(started(Some(&none), file(OLD, true), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(Some(&none), file(NEW, false), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(Some(&none), None, Some(OLD), &later), FirstPlan::LastGood);
    assert_eq!(
        started(Some(&none), file(NEW, true), Some(OLD), &later),
        FirstPlan::LastGood,
        "it came meanwhile"
    );
    // One is under way.
    assert_eq!(
        started(Some(&on_trial()), file(NEW, true), Some(OLD), &later),
        FirstPlan::OnProbation(trial())
    );
    let back = |why: &str| {
        FirstPlan::Back(RolledBack { generation: NEW.to_owned(), at: "now".to_owned(), why: why.to_owned() })
    };
    assert_eq!(
        started(Some(&on_trial()), file(NEW, true), Some(OLD), &over),
        back("not confirmed within 5s"),
        "the deadline itself is too late"
    );
    assert_eq!(
        started(Some(&on_trial()), file(NEW, true), Some(NEW), &over),
        FirstPlan::File,
        "confirmed: the daemon ended between the two writes"
    );
    assert_eq!(
        started(Some(&on_trial()), file(OLD, true), Some(OLD), &later),
        FirstPlan::File,
        "taken back by hand"
    );
    assert_eq!(started(Some(&on_trial()), file(OTHER, false), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(Some(&on_trial()), file(OTHER, true), Some(OLD), &later), FirstPlan::LastGood);
    assert_eq!(started(Some(&on_trial()), file(NEW, true), None, &over), FirstPlan::NothingBefore);
    assert_eq!(
        started(Some(&on_trial()), None, Some(OLD), &later),
        back("not confirmed, and its file could not be used when the daemon started")
    );
    assert_eq!(started(Some(&on_trial()), None, Some(NEW), &later), FirstPlan::LastGood);
    // One was rolled back.
    let Some(remembered) = rolled_back().rolled_back else { unreachable!() };
    assert_eq!(
        started(Some(&rolled_back()), file(NEW, true), Some(OLD), &later),
        FirstPlan::Back(remembered),
        "with its time and reason"
    );
    assert_eq!(started(Some(&rolled_back()), file(OTHER, false), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(Some(&rolled_back()), None, Some(OLD), &later), FirstPlan::LastGood);
    // The record was damaged: only what may be unconfirmed is held back.
    let damaged = "whether it was confirmed is not known: the record was damaged";
    assert_eq!(started(None, file(NEW, true), Some(OLD), &later), back(damaged));
    assert_eq!(started(None, file(NEW, false), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(None, file(OLD, true), Some(OLD), &later), FirstPlan::File);
    assert_eq!(started(None, file(NEW, true), None, &later), FirstPlan::File);
    assert_eq!(started(None, None, Some(OLD), &later), FirstPlan::LastGood);
}

#[test]
fn decisions_about_a_new_plan() {
    let text = PlanText::of("h");
    let plain = text.plan();
    let probation = text.policy("probation = { timeout = \"5s\", confirm = \"operator\" }").plan();
    let none = Record::default();
    assert_eq!(next(&none, NEW, &probation, None), Next::Take, "the first");
    assert_eq!(next(&none, NEW, &plain, Some(OLD)), Next::Take);
    assert_eq!(next(&none, NEW, &probation, Some(OLD)), Next::Probation(policy()));
    assert_eq!(next(&on_trial(), OTHER, &probation, Some(OLD)), Next::Probation(policy()), "a further one");
    assert_eq!(next(&on_trial(), OTHER, &plain, Some(OLD)), Next::Take);
    assert_eq!(next(&on_trial(), OLD, &probation, Some(OLD)), Next::Take, "nothing to confirm");
    assert_eq!(next(&rolled_back(), OTHER, &plain, Some(OLD)), Next::Take);
    let Next::Refused(why) = next(&rolled_back(), NEW, &probation, Some(OLD)) else { panic!("taken") };
    assert!(why.starts_with("generation bbbbbbbbbbbb was rolled back at T1: why; "), "{why}");
}

#[test]
fn a_request_that_cannot_be_carried_out_is_refused_with_its_reason() {
    let decided = |action, generation: Option<&str>, record: &Record, in_force| {
        let request = ProbationRequest { action, generation: generation.map(str::to_owned) };
        // Refusals as operators get them.
        decide(&request, record, in_force).map_err(|refusal| refusal.to_string())
    };
    let confirm =
        |generation, record: &Record| decided(ProbationAction::Confirm, generation, record, Some(NEW));
    assert_eq!(confirm(None, &on_trial()), Ok(Decision::Confirm));
    assert_eq!(confirm(Some("bbbbbb"), &on_trial()), Ok(Decision::Confirm));
    assert_eq!(confirm(Some(NEW), &on_trial()), Ok(Decision::Confirm));
    assert_eq!(decided(ProbationAction::Rollback, None, &on_trial(), Some(NEW)), Ok(Decision::Rollback));
    assert_eq!(
        confirm(Some("aaaaaa"), &on_trial()),
        Err("it is generation bbbbbbbbbbbb that is on probation".to_owned())
    );
    for bad in ["bbbbb", "", "BBBBBB", "bbbbbg"] {
        assert!(confirm(Some(bad), &on_trial()).expect_err("refused").contains("at least 6"), "{bad}");
    }
    let none = Record::default();
    assert_eq!(confirm(Some("bbbbbb"), &none), Ok(Decision::Already(NEW.to_owned())));
    assert_eq!(
        confirm(None, &none),
        Err("no plan is on probation; generation bbbbbbbbbbbb is in force".to_owned())
    );
    // After it was confirmed nothing is kept to go back to, and the answer says what can be done.
    for generation in [None, Some("bbbbbb"), Some("cccccc")] {
        let why = decided(ProbationAction::Rollback, generation, &none, Some(NEW)).expect_err("refused");
        assert!(
            why.starts_with("no plan is on probation; generation bbbbbbbbbbbb is in force and stays"),
            "{why}"
        );
        assert!(why.ends_with("To go back deliver the plan before"), "{why}");
    }
    assert_eq!(
        decided(ProbationAction::Confirm, Some("bbbbbb"), &rolled_back(), Some(OLD)),
        Err("generation bbbbbbbbbbbb was rolled back at T1: why".to_owned())
    );
    assert_eq!(
        decided(ProbationAction::Confirm, Some("aaaaaa"), &rolled_back(), Some(OLD)),
        Ok(Decision::Already(OLD.to_owned()))
    );
    assert!(
        decided(ProbationAction::Confirm, None, &none, None)
            .expect_err("refused")
            .contains("none is in force")
    );
}

#[test]
fn the_reason_of_a_rollback_at_the_deadline() {
    assert_eq!(late(&trial()), "not confirmed within 5s");
    let by_checks = Trial { confirm: Confirm::Checks, ..trial() };
    assert_eq!(late(&by_checks), "not confirmed by its checks within 5s");
    assert_eq!(by_checks.timeout(), Duration::from_secs(5));
}
