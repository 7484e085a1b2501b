//! Drift within passes: distinguished from changes of the plan, left where the plan says so, reported once,
//! and recognised after a restart.

use evenkeel_host::pass::Drift;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::drift::Record;
use evenkeel_converge::{Achieved, Cause, Desired, KernelState, Kind, ObjectKey, Op, Ruling};
use evenkeel_kernel::ApplyError;
use evenkeel_schemas::cluster::DriftMode;
use evenkeel_schemas::status::DriftOutcome;

use crate::state::StateDir;
use crate::state::disk::{Content, Disk, File};

/// Most drifts that one pass reports: somebody may have emptied a whole table.
const MAX_REPORTED: usize = 64;
/// Time that a change waits to be on the disk as begun. The next daemon may take a change for drift that was
/// made earlier because the disk does not answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// Operations that a pass is going to do, sorted.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Operations to be carried out.
    pub(crate) todo: Vec<Op>,
    /// Objects of operations in `todo` that undo changes of others.
    repairs: BTreeSet<ObjectKey>,
    /// Objects that have drifted, the state that they were found in, and whether they are left; at most
    /// [`MAX_REPORTED`].
    drifted: Vec<(ObjectKey, String, bool)>,
}

/// Differences that remain after a pass.
#[derive(Debug, Default)]
pub(crate) struct Remaining {
    /// Operations that should have been carried out and are still needed.
    pub(crate) failed: Vec<Op>,
    /// Operations that are not safe beside drift that is left.
    pub(crate) barred: Vec<Op>,
    /// Objects of changes of the plan that are still to be made.
    changes: Vec<ObjectKey>,
    /// Objects that are left, by kind.
    left: BTreeMap<Kind, BTreeSet<ObjectKey>>,
}

impl Remaining {
    /// Whether all is as wanted, or left as the plan says.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.failed.is_empty() && self.barred.is_empty()
    }
}

/// State that was verified, and drift that was reported.
pub(crate) struct Drifting {
    disk: Disk,
    achieved: Achieved,
    /// State that an earlier daemon had verified; none once a plan is known.
    earlier: Option<Record>,
    /// Revision of `achieved` that is on the disk; none when there is no file.
    saved: Option<u64>,
    /// Drift that was reported and has not changed since, so that it is not reported again.
    standing: BTreeMap<ObjectKey, Drift>,
    /// Number of objects that are left, by kind.
    left: BTreeMap<Kind, u64>,
}

impl Drifting {
    /// Continues where an earlier daemon ended.
    pub(crate) fn resume(state: &StateDir, disk: Disk) -> Self {
        let earlier = state.verified();
        Self { earlier, ..Self::new(disk) }
    }

    /// Begins without any knowledge: every difference is put right.
    pub(crate) fn new(disk: Disk) -> Self {
        // A file of whatever age must not count as the state that follows.
        let saved = Some(u64::MAX);
        Self {
            disk,
            achieved: Achieved::default(),
            earlier: None,
            saved,
            standing: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// Sorts the operations that the first observation asks for. Those to be done are on the disk as begun,
    /// if the disk answers in time.
    pub(crate) fn sort(
        &mut self,
        desired: &Arc<Desired>,
        observed: &KernelState,
        mut ops: Vec<Op>,
    ) -> Sorted {
        if let Some(record) = self.earlier.take() {
            self.achieved = Achieved::resume(&record, desired);
        }
        let judgements = self.achieved.judge(desired, observed, &ops);
        self.achieved.begin(&ops, &judgements);
        let mut sorted = Sorted::default();
        let mut known = BTreeSet::new();
        let mut judgements = judgements.into_iter();
        // In place: a copy of a large change costs more memory than everything else here.
        ops.retain(|op| {
            let Some(judgement) = judgements.next() else { return false };
            if judgement.cause == Cause::Drift {
                let key = ObjectKey::of(op);
                // An object that is removed and added again is one drift.
                if !judgement.follows && sorted.drifted.len() < MAX_REPORTED && known.insert(key.clone()) {
                    let found = key.found(desired, observed);
                    sorted.drifted.push((key.clone(), found, judgement.ruling == Ruling::Leave));
                }
                if judgement.ruling == Ruling::Do {
                    sorted.repairs.insert(key);
                }
            }
            judgement.ruling == Ruling::Do
        });
        sorted.todo = ops;
        // On the disk as begun: if the daemon dies before the second observation, the next one takes the
        // change for its own and not for drift.
        if !sorted.todo.is_empty() {
            self.save(desired);
            if self.saved.is_some() {
                self.disk.wait(File::Verified, PATIENCE);
            }
        }
        sorted
    }

    /// Sorts the differences that the second observation finds.
    pub(crate) fn remaining(&self, desired: &Desired, observed: &KernelState, ops: Vec<Op>) -> Remaining {
        let judgements = self.achieved.judge(desired, observed, &ops);
        let mut remaining = Remaining::default();
        for (op, judgement) in ops.into_iter().zip(judgements) {
            let key = ObjectKey::of(&op);
            if judgement.cause == Cause::Change {
                // The service may have some of its destinations by then.
                if let Op::AddService(service, _) = op {
                    remaining.changes.push(ObjectKey::Destinations(service));
                }
                remaining.changes.push(key.clone());
            }
            match judgement.ruling {
                Ruling::Leave if judgement.cause == Cause::Drift && !judgement.follows => {
                    remaining.left.entry(key.kind()).or_default().insert(key);
                }
                Ruling::Leave => {}
                Ruling::Do => remaining.failed.push(op),
                Ruling::Bar => remaining.barred.push(op),
            }
        }
        remaining
    }

    /// Records the state that a pass has verified. Returns the drifts to report.
    pub(crate) fn conclude(
        &mut self,
        desired: &Arc<Desired>,
        kinds: &[Kind],
        sorted: &Sorted,
        results: &[Result<(), ApplyError>],
        remaining: &Remaining,
    ) -> Vec<Drift> {
        self.achieved.verified(desired, kinds, remaining.changes.iter().cloned());
        for kind in kinds {
            let left =
                remaining.left.get(kind).map_or(0, |keys| u64::try_from(keys.len()).unwrap_or(u64::MAX));
            self.left.insert(*kind, left);
        }
        let failed: BTreeSet<ObjectKey> =
            remaining.failed.iter().chain(&remaining.barred).map(ObjectKey::of).collect();
        let mut standing = BTreeMap::new();
        let mut reported = Vec::new();
        for (key, found, left) in &sorted.drifted {
            let (outcome, reason) = match (left, failed.contains(key)) {
                (true, _) => (DriftOutcome::Reported, None),
                (false, false) => (DriftOutcome::Repaired, None),
                (false, true) => (DriftOutcome::Failed, Some(why(key, sorted, results))),
            };
            let (object, found) = (key.to_string(), found.clone());
            let drift = Drift { kind: key.word(), object, found, outcome, reason };
            // Drift that stands was reported before.
            if self.standing.get(key) != Some(&drift) {
                reported.push(drift.clone());
            }
            if outcome != DriftOutcome::Repaired {
                standing.insert(key.clone(), drift);
            }
        }
        self.standing.retain(|key, _| !kinds.contains(&key.kind()));
        self.standing.extend(standing);
        self.save(desired);
        reported
    }

    /// Number of objects that are left as others have made them, of all kinds.
    pub(crate) fn left(&self) -> u64 {
        self.left.values().sum()
    }

    /// Keeps the verified state while drift of some kind is only reported: the next daemon needs it to tell
    /// drift from a change of the plan.
    fn save(&mut self, desired: &Desired) {
        let revision = Some(self.achieved.revision());
        if !Kind::ALL.iter().any(|kind| desired.mode(*kind) == DriftMode::Report) {
            if self.saved.is_some() {
                self.disk.keep(Content::Verified(None));
                self.saved = None;
            }
        } else if self.saved != revision {
            self.disk.keep(Content::Verified(Some(Arc::new(self.achieved.record()))));
            self.saved = revision;
        }
    }
}

impl Sorted {
    /// Whether an operation of `todo` undoes what others did.
    pub(crate) fn repairs(&self, op: &Op) -> bool {
        !self.repairs.is_empty() && self.repairs.contains(&ObjectKey::of(op))
    }
}

fn why(key: &ObjectKey, sorted: &Sorted, results: &[Result<(), ApplyError>]) -> String {
    let refusal = sorted.todo.iter().zip(results).find_map(|(op, result)| {
        let error = result.as_ref().err()?;
        (ObjectKey::of(op) == *key).then(|| error.to_string())
    });
    refusal.unwrap_or_else(|| {
        "something else may be undoing it, or it is not safe beside drift that is left".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use evenkeel_converge::{Domain, Ledger, diff, memory};
    use evenkeel_schemas::plan;

    use super::*;
    use crate::system::files::Trust;

    const KEY: &str = "net/ipv4/vs/conntrack";
    const OTHER: &str = "net/ipv4/vs/sloppy_tcp";

    fn wanted(value: &str, mode: DriftMode) -> Arc<Desired> {
        let mut desired =
            Desired { drift: plan::Drift { sysctls: mode, ..plan::Drift::default() }, ..Desired::default() };
        desired.state.sysctls.insert(KEY.to_owned(), value.to_owned());
        desired.state.sysctls.insert(OTHER.to_owned(), "1".to_owned());
        Arc::new(desired)
    }

    fn opened(scratch: &std::path::Path) -> (Arc<StateDir>, Disk) {
        let state = Arc::new(StateDir::open(&scratch.join("state"), Trust::Owned).expect("open"));
        let disk = Disk::start(Arc::clone(&state), |_| ()).expect("disk");
        (state, disk)
    }

    /// A pass over the kernel in memory. Returns the reported drifts, and whether nothing remains.
    fn pass(
        drifting: &mut Drifting,
        desired: &Arc<Desired>,
        kernel: &mut KernelState,
    ) -> (Vec<(DriftOutcome, String)>, bool) {
        let ops = |kernel: &KernelState| diff(desired, kernel, &Ledger::default(), Domain::Host).ops;
        let sorted = drifting.sort(desired, kernel, ops(kernel));
        for op in &sorted.todo {
            memory::apply(kernel, op).expect("applied");
        }
        let remaining = drifting.remaining(desired, kernel, ops(kernel));
        let told = drifting.conclude(desired, &Kind::ALL, &sorted, &[], &remaining);
        assert!(drifting.disk.wait(File::Verified, Duration::from_secs(10)), "kept");
        (told.into_iter().map(|drift| (drift.outcome, drift.found)).collect(), remaining.is_nothing())
    }

    #[test]
    fn drift_is_left_and_reported_once_also_by_the_next_daemon() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let (state, disk) = opened(scratch.path());
        let sysctls = [KEY, OTHER].map(|key| (key.to_owned(), "0".to_owned())).into();
        let mut kernel = KernelState { sysctls, ..KernelState::default() };
        let set = |kernel: &mut KernelState, key: &str, value: &str| {
            kernel.sysctls.insert(key.to_owned(), value.to_owned());
        };
        let report = wanted("1", DriftMode::Report);
        let mut drifting = Drifting::resume(&state, disk.clone());
        assert_eq!(pass(&mut drifting, &report, &mut kernel), (vec![], true), "the first is a change");
        assert_eq!(kernel.sysctls, report.state.sysctls);

        let told = |outcome, found: &str| (vec![(outcome, found.to_owned())], true);
        set(&mut kernel, KEY, "7");
        assert_eq!(pass(&mut drifting, &report, &mut kernel), told(DriftOutcome::Reported, "7"));
        assert_eq!(pass(&mut drifting, &report, &mut kernel), (vec![], true), "told once");
        assert_eq!((kernel.sysctls[KEY].as_str(), drifting.left()), ("7", 1));

        // A restart, with another drift meanwhile and the same plan.
        set(&mut kernel, OTHER, "8");
        let mut drifting = Drifting::resume(&state, disk.clone());
        let (found, well) = pass(&mut drifting, &report, &mut kernel);
        assert_eq!((found.len(), well, drifting.left()), (2, true, 2));
        assert_eq!((kernel.sysctls[KEY].as_str(), kernel.sysctls[OTHER].as_str()), ("7", "8"));

        // Another value is a change, which is made; the other one is still left.
        let changed = wanted("2", DriftMode::Report);
        assert_eq!(pass(&mut drifting, &changed, &mut kernel), (vec![], true));
        assert_eq!((kernel.sysctls[KEY].as_str(), kernel.sysctls[OTHER].as_str()), ("2", "8"));

        // Repair puts right what was left, and nothing needs to be kept for later.
        let repair = wanted("2", DriftMode::Repair);
        assert_eq!(pass(&mut drifting, &repair, &mut kernel), told(DriftOutcome::Repaired, "8"));
        assert_eq!(kernel.sysctls, repair.state.sysctls);
        assert_eq!((drifting.left(), state.verified()), (0, None));
    }

    #[test]
    fn a_change_is_on_the_disk_as_begun_before_it_is_made() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let (state, disk) = opened(scratch.path());
        let old = wanted("1", DriftMode::Report);
        let mut kernel = old.state.clone();
        let mut drifting = Drifting::resume(&state, disk.clone());
        pass(&mut drifting, &old, &mut kernel);
        let new = wanted("2", DriftMode::Report);
        let ops = diff(&new, &kernel, &Ledger::default(), Domain::Host).ops;
        let sorted = drifting.sort(&new, &kernel, ops);
        // The daemon dies after the change, before its second observation; its plan is then taken back.
        memory::apply(&mut kernel, &sorted.todo[0]).expect("applied");
        let mut drifting = Drifting::resume(&state, disk);
        assert_eq!(pass(&mut drifting, &old, &mut kernel), (vec![], true));
        assert_eq!(kernel.sysctls[KEY], "1", "what we began is ours to put right");
    }
}
