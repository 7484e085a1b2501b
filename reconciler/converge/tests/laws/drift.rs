//! The laws of drift: what is a change of ours is never taken for it, what somebody else did always is, and
//! what is to be reported only is left.

use std::sync::Arc;

use evenkeel_converge::drift::Record;
use evenkeel_converge::{Achieved, Cause, Judgement, ObjectKey, Ruling};
use evenkeel_schemas::cluster::DriftMode;
use evenkeel_schemas::plan::Drift;

use super::*;

const REPORT: Drift = Drift {
    links: DriftMode::Report,
    addresses: DriftMode::Report,
    routes: DriftMode::Report,
    sysctls: DriftMode::Report,
    ipvs: DriftMode::Report,
};

fn with(desired: &Desired, drift: Drift) -> Arc<Desired> {
    Arc::new(Desired { drift, ..desired.clone() })
}

/// Any policy of drift.
fn policy() -> impl Strategy<Value = Drift> {
    let mode = |report| if report { DriftMode::Report } else { DriftMode::Repair };
    any::<[bool; 5]>().prop_map(move |[links, addresses, routes, sysctls, ipvs]| Drift {
        links: mode(links),
        addresses: mode(addresses),
        routes: mode(routes),
        sysctls: mode(sysctls),
        ipvs: mode(ipvs),
    })
}

/// Makes the kernel as wanted and notes what was verified, as the agent does.
fn verified(
    desired: &Arc<Desired>,
    world: &KernelState,
    record: &Ledger,
) -> Result<(KernelState, Ledger, Achieved), TestCaseError> {
    let (start, record) = converge(desired, world, record)?;
    let mut achieved = Achieved::default();
    let left = diff(desired, &start, &record, Domain::Host).ops;
    achieved.verified(desired, &Kind::ALL, left.iter().map(ObjectKey::of));
    Ok((start, record, achieved))
}

/// The operations with what becomes of each.
fn judged(
    achieved: &Achieved,
    desired: &Desired,
    state: &KernelState,
    record: &Ledger,
) -> Vec<(Op, Judgement)> {
    let ops = diff(desired, state, record, Domain::Host).ops;
    let judgements = achieved.judge(desired, state, &ops);
    ops.into_iter().zip(judgements).collect()
}

/// Some objects of a kernel exchanged for those of another one, by people who know nothing of us.
fn meddled(state: &KernelState, other: &KernelState, all: bool) -> KernelState {
    let mut next = state.clone();
    next.services.clone_from(&other.services);
    next.timeouts = other.timeouts;
    next.sync_daemons.clone_from(&other.sync_daemons);
    next.addresses.clone_from(&other.addresses);
    if all {
        next.sysctls.clone_from(&other.sysctls);
        next.links.clone_from(&other.links);
        next.gue.clone_from(&other.gue);
        next.routes.clone_from(&other.routes);
        next.rules.clone_from(&other.rules);
    }
    worlds::on_what_is_there(next)
}

/// The states before each operation. A route or an interface of others that is in the way is not replaced:
/// what is refused for it changes nothing, and the others are done.
fn as_far_as_possible(state: &KernelState, ops: &[Op]) -> Vec<KernelState> {
    let mut now = state.clone();
    let mut states = Vec::with_capacity(ops.len());
    for op in ops {
        states.push(now.clone());
        let mut next = now.clone();
        if memory::apply(&mut next, op).is_ok() {
            now = next;
        }
    }
    states
}

/// The same kernel, restarted into: what was written is what is known.
fn restarted(achieved: &Achieved, desired: &Arc<Desired>) -> Achieved {
    let text = serde_json::to_string(&achieved.record()).expect("a record is JSON");
    Achieved::resume(&serde_json::from_str::<Record>(&text).expect("JSON is a record"), desired)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_change_is_never_mistaken_for_drift(
        old in desired(),
        new in desired(),
        world in fresh_world(),
        policy in policy(),
        restart: bool,
    ) {
        let (start, record, achieved) = verified(&with(&old, REPORT), &world, &Ledger::default())?;
        let new = with(&new, policy);
        let achieved = if restart { restarted(&achieved, &new) } else { achieved };
        for (op, judgement) in judged(&achieved, &new, &start, &record) {
            // Nobody but us has touched this kernel.
            prop_assert_eq!(
                judgement,
                Judgement { cause: Cause::Change, ruling: Ruling::Do, follows: false },
                "{}",
                op
            );
        }
    }

    #[test]
    fn an_unverified_object_is_a_change(wanted in desired(), start in kernel(), record in ledger()) {
        let wanted = with(&wanted, REPORT);
        for (op, judgement) in judged(&Achieved::default(), &wanted, &start, &record) {
            prop_assert_eq!(judgement.cause, Cause::Change, "{}", op);
        }
    }

    #[test]
    fn changes_of_others_are_drift(
        wanted in desired(),
        world in fresh_world(),
        other in kernel(),
        all: bool,
        restart: bool,
    ) {
        let wanted = with(&wanted, REPORT);
        let (start, record, achieved) = verified(&wanted, &world, &Ledger::default())?;
        let pending: BTreeSet<ObjectKey> =
            diff(&wanted, &start, &record, Domain::Host).ops.iter().map(ObjectKey::of).collect();
        let achieved = if restart { restarted(&achieved, &wanted) } else { achieved };
        let state = meddled(&start, &other, all);
        for (op, judgement) in judged(&achieved, &wanted, &state, &record) {
            // What could not be made in the first place is still to be made.
            if pending.is_empty() {
                prop_assert_eq!((judgement.cause, judgement.ruling), (Cause::Drift, Ruling::Leave), "{}", op);
            } else if pending.contains(&ObjectKey::of(&op)) {
                prop_assert_eq!(judgement.cause, Cause::Change, "{}", op);
            }
        }
    }

    #[test]
    fn to_repair_is_to_do_everything(
        old in desired(),
        new in desired(),
        world in fresh_world(),
        other in kernel(),
    ) {
        let (start, record, achieved) = verified(&with(&old, Drift::default()), &world, &Ledger::default())?;
        let state = meddled(&start, &other, true);
        for (op, judgement) in judged(&achieved, &new, &state, &record) {
            prop_assert_eq!(judgement.ruling, Ruling::Do, "{}", op);
        }
    }

    #[test]
    fn changes_are_made_among_drift_that_is_left(
        old in desired(),
        new in desired(),
        world in owned_world(),
        other in kernel(),
    ) {
        let (start, record, mut achieved) = verified(&with(&old, REPORT), &world, &Ledger::default())?;
        let new = with(&new, REPORT);
        let state = meddled(&start, &other, false);
        let judged = judged(&achieved, &new, &state, &record);
        let changes = |judged: &[(Op, Judgement)]| -> Vec<ObjectKey> {
            let changes = judged.iter().filter(|(_, judgement)| judgement.cause == Cause::Change);
            changes.map(|(op, _)| ObjectKey::of(op)).collect()
        };
        let (ops, judgements): (Vec<Op>, Vec<Judgement>) = judged.iter().cloned().unzip();
        achieved.begin(&ops, &judgements);
        let todo: Vec<Op> = judged
            .iter()
            .filter(|(_, judgement)| judgement.ruling == Ruling::Do)
            .map(|(op, _)| op.clone())
            .collect();
        // What is carried out can be: nothing of it needs what is left.
        let reached = apply(&state, &todo)?;
        let left = super::drift::judged(&achieved, &new, &reached, &record);
        let mut failing = in_the_way(&state, &todo);
        // What was barred may be free once an interface has taken what was on it with it: the next pass.
        failing.extend(
            judged.into_iter().filter(|(_, judgement)| judgement.ruling == Ruling::Bar).map(|(op, _)| op),
        );
        for (op, judgement) in &left {
            let as_before = failing.contains(op) || judgement.ruling != Ruling::Do;
            prop_assert!(as_before, "{} is still to be done", op);
        }
        // Once they are verified, what is left is drift that is left, and nothing else.
        achieved.verified(&new, &Kind::ALL, changes(&left).into_iter());
        for (key, want) in &new.state.services {
            if old.state.services.get(key).is_none_or(|was| !was.same_service(want)) {
                prop_assert!(
                    reached.services.get(key).is_some_and(|have| want.same_service(have)),
                    "{}",
                    key
                );
            }
        }
    }

    #[test]
    fn no_vip_comes_where_arp_is_left_as_it_is(
        old in desired(),
        new in desired(),
        world in owned_world(),
        other in kernel(),
        policy in policy(),
    ) {
        let (start, record, achieved) = verified(&with(&old, policy.clone()), &world, &Ledger::default())?;
        let new = with(&new, policy);
        let state = meddled(&start, &other, true);
        let judged = judged(&achieved, &new, &state, &record);
        let todo: Vec<Op> = judged
            .into_iter()
            .filter(|(_, judgement)| judgement.ruling == Ruling::Do)
            .map(|(op, _)| op)
            .collect();
        for (reached, op) in as_far_as_possible(&state, &todo).iter().zip(&todo) {
            if let Op::AddAddress { key, .. } = op {
                prop_assert!(arp_in_force(&new.state, reached), "{} comes before its settings", key);
            }
        }
    }
}

#[test]
fn a_destination_that_changes_in_a_service_that_was_removed_waits_for_it() {
    use evenkeel_converge::{Destination, DestinationKey, Forward, Service};
    let service = ServiceKey::Mark { v6: false, mark: 1 };
    let key = DestinationKey { address: [192, 0, 2, 1].into(), port: 80 };
    let wanted = |weight| {
        let mut wanted = Desired { drift: REPORT, ..Desired::default() };
        let destinations = BTreeMap::from([(key, Destination::plain(Forward::DirectRoute, weight))]);
        wanted
            .state
            .services
            .insert(service, Service { destinations: destinations.into(), ..Service::plain("rr", false) });
        Arc::new(wanted)
    };
    let (before, after) = (wanted(1), wanted(2));
    let mut achieved = Achieved::default();
    achieved.verified(&before, &Kind::ALL, std::iter::empty());
    let record = Ledger::default();

    // Only its weight: carried out.
    let judgements: Vec<Judgement> = judged(&achieved, &after, &before.state, &record)
        .into_iter()
        .map(|(_, judgement)| judgement)
        .collect();
    let change = Judgement { cause: Cause::Change, ruling: Ruling::Do, follows: false };
    assert_eq!(judgements, [change]);

    // Its service is gone: that is left, so it cannot come.
    let judgements: Vec<Judgement> = judged(&achieved, &after, &KernelState::default(), &record)
        .into_iter()
        .map(|(_, judgement)| judgement)
        .collect();
    let drift = Judgement { cause: Cause::Drift, ruling: Ruling::Leave, follows: false };
    let waits = Judgement { cause: Cause::Change, ruling: Ruling::Leave, follows: true };
    assert_eq!(judgements, [drift, waits]);
    achieved.verified(&after, &Kind::ALL, [ObjectKey::Destination(service, key)].into_iter());

    // The service is back as it was: the weight is still ours to change.
    let judgements: Vec<Judgement> = judged(&achieved, &after, &before.state, &record)
        .into_iter()
        .map(|(_, judgement)| judgement)
        .collect();
    assert_eq!(judgements, [change]);
}

#[test]
fn a_change_that_was_begun_is_no_drift_after_a_crash() {
    let setting = |value: &str| {
        let mut wanted = Desired { drift: REPORT, ..Desired::default() };
        wanted.state.sysctls.insert("net/ipv4/vs/conntrack".to_owned(), value.to_owned());
        Arc::new(wanted)
    };
    let (old, new) = (setting("0"), setting("1"));
    let mut achieved = Achieved::default();
    achieved.verified(&old, &Kind::ALL, std::iter::empty());
    let ops = diff(&new, &old.state, &Ledger::default(), Domain::Host).ops;
    let judgements = achieved.judge(&new, &old.state, &ops);
    achieved.begin(&ops, &judgements);
    // The daemon dies after it has written 1, and its plan is taken back meanwhile.
    let resumed = restarted(&achieved, &old);
    let judged = judged(&resumed, &old, &new.state, &Ledger::default());
    assert_eq!(judged.len(), 1);
    assert_eq!((judged[0].1.cause, judged[0].1.ruling), (Cause::Change, Ruling::Do));
}
