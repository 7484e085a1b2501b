//! One pass: observe, compare, have the ledger written, apply, observe again.
//!
//! The one way from the wanted state to the real one, VIPs aside; used by `thread` and by commands that run
//! once (`cli::once`). When a pass is made is decided elsewhere.

use evenkeel_host::pass::Pass;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::ledger::{IP_FORWARD, beside_forwarding};
use evenkeel_converge::naming::{must_wait, take_unnamed};
use evenkeel_converge::{
    AddressKey, Bars, Desired, Diff, Domain, KernelState, Kind, Ledger, ObjectKey, Op, ServiceKey, Shortfall,
    diff_kinds, shortfall,
};
use evenkeel_kernel::{ApplyError, Class, Kernel, Scope, clock};
use evenkeel_schemas::status::{ConvergenceError, FailureClass, ObjectText};
use tracing::debug;

use crate::convergence::drains::Drainage;
use crate::convergence::drift::{Drifting, Remaining, Sorted};
use crate::state::StateDir;
use crate::state::disk::{Content, Disk, File};
use crate::system::times::{self, Times};
use evenkeel_host::pass::DrainsFound as Found;
use evenkeel_host::pass::Drift;

/// Most failures that one pass reports: a missing module can make every operation fail.
const MAX_ERRORS: usize = 64;
/// Most operations that are named in one failure that many have in common.
const MAX_NAMED: usize = 3;
/// Main routing table.
const TABLE_MAIN: u32 = 254;
/// Time that a pass of the daemon waits for the ledger to be on the disk: much longer than a healthy disk
/// takes. Operations on objects without a name in it are left out, and the next pass comes when the disk is
/// ready.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same for a command that runs once.
const PATIENCE_ONCE: Duration = Duration::from_secs(30);

/// The kernel and the ledger.
pub(crate) struct Convergence {
    kernel: Kernel,
    disk: Disk,
    /// Time that an operation waits until the name of its object is on the disk.
    patience: Duration,
    /// The objects that are ours, as the disk is to have them.
    ledger: Arc<Ledger>,
    drainage: Drainage,
    drifting: Drifting,
}

#[derive(Default)]
struct Outcome {
    done: Vec<Op>,
    repairs: Vec<Op>,
    drifts: Vec<Drift>,
    errors: Vec<ConvergenceError>,
    foreign: Option<Vec<ObjectText>>,
    converged: bool,
    ready: bool,
    lacking: BTreeSet<ObjectKey>,
    unnamed: bool,
    drains: Option<Found>,
}

impl Convergence {
    /// Continues where an earlier daemon ended: differences since its last observation are drift.
    pub(crate) fn resume(kernel: Kernel, state: &StateDir, disk: &Disk, ledger: Ledger) -> Self {
        let drifting = Drifting::resume(state, disk.clone());
        Self { drifting, patience: PATIENCE, ..Self::new(kernel, state, disk, ledger) }
    }

    /// Begins without knowledge of an earlier daemon: every difference is put right. For commands that run
    /// once, which have time for a slow disk.
    pub(crate) fn new(kernel: Kernel, state: &StateDir, disk: &Disk, ledger: Ledger) -> Self {
        let ledger = Arc::new(ledger);
        disk.found(Content::Ledger(Arc::clone(&ledger)));
        Self {
            kernel,
            patience: PATIENCE_ONCE,
            ledger,
            drifting: Drifting::new(disk.clone()),
            drainage: Drainage::new(state, disk.clone()),
            disk: disk.clone(),
        }
    }

    /// One pass over objects of some kinds; of IPVS services only over those given, if any are.
    pub(crate) fn pass(
        &mut self,
        desired: &Arc<Desired>,
        kinds: &[Kind],
        services: Option<&BTreeSet<ServiceKey>>,
    ) -> Pass {
        let started = clock::now();
        let mut times = Times::new(started);
        let outcome = self
            .converge(desired, kinds, services, &mut times)
            .unwrap_or_else(|error| Outcome { errors: vec![error], ..Outcome::default() });
        let ended = clock::now();
        debug!(
            "pass: {} in {:.1} ms:{times}; {} operations",
            if is_all(kinds) && services.is_none() { "everything" } else { "a part" },
            times::milliseconds(ended.since(started)),
            outcome.done.iter().chain(&outcome.repairs).map(Op::count).sum::<usize>()
        );
        Pass {
            ended,
            took: ended.since(started),
            done: outcome.done,
            repairs: outcome.repairs,
            drifts: outcome.drifts,
            reported_drift: self.drifting.left(),
            errors: outcome.errors,
            foreign: outcome.foreign,
            converged: outcome.converged,
            ready: outcome.ready,
            lacking: outcome.lacking,
            unnamed: outcome.unnamed,
            drains: outcome.drains,
        }
    }

    fn converge(
        &mut self,
        desired: &Arc<Desired>,
        kinds: &[Kind],
        services: Option<&BTreeSet<ServiceKey>>,
        times: &mut Times,
    ) -> Result<Outcome, ConvergenceError> {
        let everything = is_all(kinds) && services.is_none();
        let scope = Scope { services: services.cloned(), ..self.scope(desired, kinds)? };
        let mut found = self.observe(&scope, desired)?;
        times.lap("observe");
        let (desired, drains) = self.with_drains(desired, &found, kinds);
        let desired = &desired;
        times.lap("drains");
        let part = services.map(|only| desired.with_services(only));
        // The wanted state restricted to what was observed; nothing has changed in the rest.
        let compared = part.as_ref().unwrap_or(desired);
        let Diff { ops, foreign } = diff_kinds(compared, &found, &self.ledger, Domain::Host, kinds);
        let foreign = everything.then_some(foreign);
        times.lap("compare");
        // Named before it is made: after a crash the next daemon knows it as ours.
        self.keep(self.ledger.before(compared, &found, kinds));
        let nothing = ops.is_empty();
        let mut sorted = self.drifting.sort(desired, &found, ops);
        times.lap("sort");
        let unnamed = self.take_unnamed(desired, &mut sorted.todo);
        times.lap("ledger");
        let mut results = Vec::new();
        if !sorted.todo.is_empty() {
            // An operation that waits for the disk bars later phases like a failed one: they may rely on it.
            let mut bars = Bars::default();
            unnamed.ops.iter().for_each(|op| bars.failed(op, false));
            results = apply_in_phases(&mut self.kernel, &sorted.todo, bars);
            times.lap("apply");
            found = self.observe(&scope, desired)?;
            times.lap("observe");
        }
        let ops = if nothing {
            Vec::new()
        } else {
            diff_kinds(compared, &found, &self.ledger, Domain::Host, kinds).ops
        };
        let remaining = self.drifting.remaining(desired, &found, ops);
        times.lap("compare");
        // Entries are dropped only after an observation of everything: a part says nothing about the rest.
        if everything {
            self.keep(self.ledger.after(desired, &found));
        }
        let drifts = self.drifting.conclude(desired, kinds, &sorted, &results, &remaining);
        times.lap("conclude");
        let converged = remaining.is_nothing() && unnamed.vips.is_empty();
        // A slow disk is waited for. A disk that fails costs the new objects.
        let given_up: BTreeSet<ObjectKey> =
            if self.disk.in_trouble(File::Ledger) { unnamed.objects().collect() } else { BTreeSet::new() };
        let Applied { done, repairs, mut errors, mut shortfall } =
            sort_results(sorted, results, &remaining, &given_up);
        errors.extend(self.waits_for_disk(&unnamed));
        let vips = unnamed.vips.into_iter().map(ObjectKey::Address);
        if given_up.is_empty() {
            shortfall.waits |= vips.count() > 0;
        } else {
            shortfall.lacking.extend(vips);
        }
        let (ready, lacking) = (!shortfall.waits, shortfall.lacking);
        let unnamed = !given_up.is_empty();
        Ok(Outcome { done, repairs, drifts, errors, foreign, converged, ready, lacking, unnamed, drains })
    }

    fn with_drains(
        &mut self,
        desired: &Arc<Desired>,
        observed: &KernelState,
        kinds: &[Kind],
    ) -> (Arc<Desired>, Option<Found>) {
        if !kinds.contains(&Kind::Ipvs) {
            return (Arc::clone(desired), None);
        }
        let (with, found) = self.drainage.step(&mut self.kernel, desired, observed);
        let with = match with {
            Cow::Borrowed(_) => Arc::clone(desired),
            Cow::Owned(with) => Arc::new(with),
        };
        (with, Some(found))
    }

    fn scope(&mut self, desired: &Desired, kinds: &[Kind]) -> Result<Scope, ConvergenceError> {
        let mut scope = scope(desired, &self.ledger, kinds);
        let first_write =
            desired.state.sysctls.contains_key(IP_FORWARD) && !self.ledger.sysctls.contains_key(IP_FORWARD);
        if first_write && kinds.contains(&Kind::Sysctls) {
            let links = self.kernel.links().map_err(|error| failure("list the interfaces", &error))?;
            scope.sysctls.extend(beside_forwarding(links.iter().map(|link| link.name.as_str())));
        }
        Ok(scope)
    }

    fn observe(&mut self, scope: &Scope, desired: &Desired) -> Result<KernelState, ConvergenceError> {
        let found = self.kernel.observe_like(scope, &desired.state.services);
        found.map_err(|error| failure("read the kernel's state", &error))
    }

    /// Has the ledger kept. It must name an object before that exists, VIPs of the election included.
    fn keep(&mut self, next: Ledger) {
        if next != *self.ledger {
            self.ledger = Arc::new(next);
            self.disk.keep(Content::Ledger(Arc::clone(&self.ledger)));
        }
    }

    /// Removes operations from `todo` whose object the disk does not name yet. The disk is waited for only if
    /// one needs it.
    fn take_unnamed(&self, desired: &Desired, todo: &mut Vec<Op>) -> Unnamed {
        let vips = |written: &Ledger| -> BTreeSet<AddressKey> {
            desired.vips.iter().filter(|key| !written.addresses.contains_key(key)).cloned().collect()
        };
        let named = |written: &Ledger| {
            vips(written).is_empty() && !todo.iter().any(|op| must_wait(op, written, &self.ledger))
        };
        let mut written = self.written();
        if !named(&written) && self.disk.wait(File::Ledger, self.patience) {
            written = self.written();
        }
        if named(&written) {
            return Unnamed::default();
        }
        Unnamed { vips: vips(&written), ops: take_unnamed(todo, &written, &self.ledger) }
    }

    /// The ledger as it is on the disk.
    fn written(&self) -> Arc<Ledger> {
        match self.disk.held(File::Ledger) {
            Some(Content::Ledger(written)) => written,
            Some(_) | None => Arc::default(),
        }
    }

    fn waits_for_disk(&self, unnamed: &Unnamed) -> Option<ConvergenceError> {
        let (first, more) = match (unnamed.ops.first(), unnamed.vips.first()) {
            (Some(first), _) => (first.to_string(), unnamed.ops.len() + unnamed.vips.len() - 1),
            (None, Some(vip)) => (format!("let the election add VIP {vip}"), unnamed.vips.len() - 1),
            (None, None) => return None,
        };
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let waiting = self.disk.waiting().into_iter().find(|waiting| waiting.file == File::Ledger);
        let why =
            waiting.and_then(|waiting| waiting.reason).unwrap_or_else(|| "it does not answer".to_owned());
        Some(ConvergenceError {
            operation: format!("{first}{more}"),
            reason: format!("waiting for the disk, which must name what is new before it is made: {why}"),
            class: FailureClass::Transient,
        })
    }
}

/// Operations and VIPs that wait until the disk names them.
#[derive(Debug, Default)]
struct Unnamed {
    ops: Vec<Op>,
    /// VIPs that the election must not add.
    vips: BTreeSet<AddressKey>,
}

impl Unnamed {
    fn objects(&self) -> impl Iterator<Item = ObjectKey> {
        self.ops.iter().map(ObjectKey::of).chain(self.vips.iter().cloned().map(ObjectKey::Address))
    }
}

fn is_all(kinds: &[Kind]) -> bool {
    Kind::ALL.iter().all(|kind| kinds.contains(kind))
}

/// Applies operations in order, and skips phases whose promise an earlier failure breaks; `bars` has the
/// failures from before.
pub(crate) fn apply_in_phases(
    kernel: &mut Kernel,
    ops: &[Op],
    mut bars: Bars,
) -> Vec<Result<(), ApplyError>> {
    let mut results: Vec<Result<(), ApplyError>> = Vec::with_capacity(ops.len());
    for run in ops.chunk_by(|a, b| a.phase() == b.phase()) {
        let Some(phase) = run.first().map(Op::phase) else { continue };
        if bars.bar(phase) {
            results.extend(run.iter().map(|_| Err(not_tried())));
            continue;
        }
        let verdicts = kernel.apply(run);
        for (op, verdict) in run.iter().zip(&verdicts) {
            if let Err(error) = verdict {
                bars.failed(op, error.class == Class::Unsupported);
            }
        }
        results.extend(verdicts);
    }
    results
}

fn not_tried() -> ApplyError {
    ApplyError::new(Class::Transient, "not tried, because of an earlier failure")
}

#[derive(Default)]
struct Applied {
    done: Vec<Op>,
    repairs: Vec<Op>,
    errors: Vec<ConvergenceError>,
    shortfall: Shortfall,
}

/// Splits operations into those done and those still to be done. The second observation decides; the kernel's
/// answer only explains it. `given_up` are objects that nothing waits for.
fn sort_results(
    mut sorted: Sorted,
    results: Vec<Result<(), ApplyError>>,
    remaining: &Remaining,
    given_up: &BTreeSet<ObjectKey>,
) -> Applied {
    let failed: BTreeSet<String> = remaining.failed.iter().map(ToString::to_string).collect();
    // Where a service was made with its destinations, each one that it lacks is an operation of its own.
    let lacking: BTreeSet<ServiceKey> = remaining.failed.iter().filter_map(fills).collect();
    let mut todo = std::mem::take(&mut sorted.todo);
    let unsupported = |result: &Result<(), ApplyError>| {
        result.as_ref().is_err_and(|error| error.class == Class::Unsupported)
    };
    let refused = todo.iter().zip(&results).filter(|(_, result)| unsupported(result));
    let refused = refused.map(|(op, _)| ObjectKey::of(op)).chain(given_up.iter().cloned()).collect();
    let mut shortfall = shortfall(remaining.failed.iter(), &refused);
    shortfall.waits |= !remaining.barred.is_empty();
    let follows =
        |op: &Op| !shortfall.following.is_empty() && shortfall.following.contains(&ObjectKey::of(op));
    let mut applied = Applied::default();
    let mut errors = Errors::default();
    let mut results = results.into_iter();
    // In place: a copy of a large change takes longer than everything else here.
    todo.retain(|op| {
        let Some(result) = results.next() else { return false };
        let lacks = || op.count() > 1 && fills(op).is_some_and(|service| lacking.contains(&service));
        let still = !failed.is_empty() && (failed.contains(&op.to_string()) || lacks());
        match (&result, still) {
            (Ok(()), true) => errors.add(undone(op)),
            // The object that it depends on is reported, with the remedy.
            (Err(_), true) if follows(op) => {}
            (Err(error), true) => errors.add(failure(&op.to_string(), error)),
            (Ok(()) | Err(_), false) => {}
        }
        if result.is_ok() && sorted.repairs(op) {
            applied.repairs.push(op.clone());
            return false;
        }
        result.is_ok()
    });
    applied.done = todo;
    remaining.barred.iter().for_each(|op| errors.add(barred(op)));
    applied.errors = errors.into_list();
    applied.shortfall = shortfall;
    applied
}

/// Failures of one pass as they are reported: a bounded number, and one entry where many lack the same.
#[derive(Default)]
struct Errors {
    listed: Vec<ConvergenceError>,
    /// Further failures with the reason of the entry at this index: the first operations by name, and their
    /// number.
    alike: BTreeMap<usize, (Vec<String>, usize)>,
    more: usize,
}

impl Errors {
    fn add(&mut self, error: ConvergenceError) {
        let same = |listed: &ConvergenceError| {
            listed.class == FailureClass::Unsupported
                && listed.class == error.class
                && listed.reason == error.reason
        };
        if let Some(at) = self.listed.iter().position(same) {
            let (named, count) = self.alike.entry(at).or_default();
            *count += 1;
            if named.len() < MAX_NAMED {
                named.push(error.operation);
            }
        } else if self.listed.len() < MAX_ERRORS {
            self.listed.push(error);
        } else {
            self.more += 1;
        }
    }

    fn into_list(mut self) -> Vec<ConvergenceError> {
        for (at, (named, count)) in self.alike {
            let Some(error) = self.listed.get_mut(at) else { continue };
            let more = match count - named.len() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            error.reason.push_str(&format!("; nor can it {}{more}", named.join(", ")));
        }
        if self.more > 0 {
            self.listed.push(ConvergenceError {
                operation: "do everything".to_owned(),
                reason: format!("{} more operations failed", self.more),
                class: FailureClass::Transient,
            });
        }
        self.listed
    }
}

/// The service that an operation makes or adds destinations to.
const fn fills(op: &Op) -> Option<ServiceKey> {
    match op {
        Op::AddService(service, _) | Op::AddDestination(service, ..) => Some(*service),
        _ => None,
    }
}

fn barred(op: &Op) -> ConvergenceError {
    ConvergenceError {
        operation: op.to_string(),
        reason: "not tried: this host would answer ARP for an address that is not its alone, since drift is \
                 only reported; see the drifts"
            .to_owned(),
        class: FailureClass::Conflict,
    }
}

fn undone(op: &Op) -> ConvergenceError {
    ConvergenceError {
        operation: op.to_string(),
        reason: "done, but the kernel does not show it: something else may be undoing it".to_owned(),
        class: FailureClass::Conflict,
    }
}

fn failure(operation: &str, error: &ApplyError) -> ConvergenceError {
    let reason = error.to_string();
    // The kernel crate's sentences begin with the operation that was tried.
    let reason = reason.strip_prefix(&format!("{operation}: ")).map(str::to_owned).unwrap_or(reason);
    let class = match error.class {
        Class::Transient => FailureClass::Transient,
        Class::Permanent => FailureClass::Permanent,
        Class::Conflict => FailureClass::Conflict,
        Class::Unsupported => FailureClass::Unsupported,
    };
    ConvergenceError { operation: operation.to_owned(), reason, class }
}

/// The part of the kernel to observe for a comparison with `desired`: its objects and those of the ledger.
pub(crate) fn scope(desired: &Desired, ledger: &Ledger, kinds: &[Kind]) -> Scope {
    let state = &desired.state;
    let mut interfaces = desired.interfaces.clone();
    interfaces.extend(ledger.addresses.keys().map(|key| key.interface.clone()));
    let mut tables = BTreeSet::from([TABLE_MAIN]);
    tables.extend(state.routes.keys().chain(ledger.routes.keys()).map(|key| key.table));
    let sysctls = state.sysctls.keys().chain(ledger.sysctls.keys()).chain(ledger.beside_forwarding.keys());
    let sysctls = sysctls.cloned().collect();
    let links = state.links.keys().chain(ledger.links.keys()).cloned().collect();
    // A real server has no use for IPVS, and asking would load the module.
    let wanted = !state.services.is_empty() || state.timeouts.is_some() || !state.sync_daemons.is_empty();
    let ours = !ledger.services.is_empty() || ledger.timeouts.is_some() || !ledger.sync_daemons.is_empty();
    let ipvs = desired.exclusive_ipvs || wanted || ours;
    let gue = !state.gue.is_empty() || !ledger.gue.is_empty();
    let kinds = kinds.iter().copied().collect();
    Scope { kinds, links, interfaces, tables, sysctls, ipvs, gue, services: None }
}

#[cfg(test)]
mod tests {
    use evenkeel_converge::{Destination, DestinationKey, Forward, Service};

    use super::*;

    /// A missing kernel module is reported once with the remedy, and its consequences are not.
    #[test]
    fn a_missing_kernel_module_is_reported_once_and_not_waited_for() {
        let key = |mark| ServiceKey::Mark { v6: false, mark };
        let add = |mark| Op::AddService(key(mark), Service::plain("twos", false));
        let place = DestinationKey { address: [192, 0, 2, 1].into(), port: 80 };
        let fill = |mark| Op::AddDestination(key(mark), place, Destination::plain(Forward::DirectRoute, 1));
        let sorted_results = |ops: Vec<Op>, results: Vec<Result<(), ApplyError>>, barred: Vec<Op>| {
            let mut sorted = Sorted::default();
            let mut remaining = Remaining::default();
            (remaining.failed, remaining.barred) = (ops.clone(), barred);
            sorted.todo = ops;
            sort_results(sorted, results, &remaining, &BTreeSet::new())
        };
        let lacks = || Err(ApplyError::new(Class::Unsupported, "no twos: `modprobe ip_vs_twos`"));
        let gone = || Err(ApplyError::new(Class::Transient, "its virtual server is not there"));
        let ops = || vec![add(1), add(2), fill(1), fill(2)];
        let applied = sorted_results(ops(), vec![lacks(), lacks(), gone(), gone()], Vec::new());
        assert!(!applied.shortfall.waits, "{:?}", applied.shortfall);
        assert_eq!(applied.errors.len(), 1, "{:?}", applied.errors);
        assert_eq!(applied.errors[0].class, FailureClass::Unsupported);
        assert_eq!(
            applied.errors[0].reason,
            "no twos: `modprobe ip_vs_twos`; nor can it add virtual server fwmark 2 twos"
        );
        // A failure for another reason is reported beside it, and waited for.
        let applied = sorted_results(ops(), vec![lacks(), gone(), gone(), gone()], Vec::new());
        assert!(applied.shortfall.waits);
        assert_eq!(applied.errors.len(), 3, "{:?}", applied.errors);
        // So is an operation that is not safe beside drift that is left.
        assert!(sorted_results(vec![add(1)], vec![lacks()], vec![fill(3)]).shortfall.waits);
    }

    /// A service that was made with its destinations and lacks one is an error, with the kernel's words if
    /// there are any.
    #[test]
    fn a_destination_missing_after_a_large_change_is_an_error() {
        let one = |n: u8| {
            let key = DestinationKey { address: [192, 0, 2, n].into(), port: 80 };
            (key, Destination::plain(Forward::DirectRoute, 1))
        };
        let made = |mark| {
            let service = Service {
                destinations: [one(1), one(2)].into_iter().collect(),
                ..Service::plain("rr", false)
            };
            Op::AddService(ServiceKey::Mark { v6: false, mark }, service)
        };
        let lacks = |mark| {
            let (key, value) = one(2);
            Op::AddDestination(ServiceKey::Mark { v6: false, mark }, key, value)
        };
        let mut sorted = Sorted::default();
        sorted.todo = vec![made(1), made(2), made(3)];
        let refused = ApplyError::new(Class::Permanent, "add destination 192.0.2.2:80: no");
        let results = vec![Ok(()), Err(refused), Ok(())];
        let mut remaining = Remaining::default();
        remaining.failed = vec![lacks(2), lacks(3)];
        let applied = sort_results(sorted, results, &remaining, &BTreeSet::new());
        assert_eq!(applied.done, [made(1), made(3)]);
        let reasons: Vec<&str> = applied.errors.iter().map(|error| error.reason.as_str()).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(
            reasons[0].contains("192.0.2.2:80: no") && reasons[1].contains("does not show it"),
            "{reasons:?}"
        );
        assert!(applied.errors.iter().all(|error| error.operation.ends_with("with 2 destinations")));
    }
}
