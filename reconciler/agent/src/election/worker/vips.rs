//! The VIPs that this host holds: which they should be, which are in the kernel, and the changes in between.
//!
//! What must change, the comparator decides (`sync`). After a change of state it compares with what
//! is remembered, since clients wait; the kernel is observed a moment later.

mod sync;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{Achieved, Address, AddressKey, ObjectKey, Op};
use evenkeel_host::election::Notice;
use evenkeel_host::pass::Drift;
use evenkeel_kernel::{ApplyError, clock};
use evenkeel_schemas::status::DriftOutcome;
use evenkeel_vrrp::{FaultCause, Input, RouterKey};

use super::super::RouterSetup;
use super::Worker;
pub(super) use sync::Moving;
use sync::{Present, Synced};

/// What is known of this host's VIPs.
#[derive(Debug, Default)]
pub(super) struct HeldVips {
    /// VIPs that were in the kernel as wanted when last observed, with the changes since.
    present: BTreeMap<AddressKey, Address>,
    /// Whether the kernel was observed since the routers were configured: a VIP may be there from before.
    observed: bool,
    /// What of the VIPs, their routes and their rules was as wanted when last observed: tells drift from
    /// changes of ours.
    achieved: Achieved,
    /// VIPs that are in the kernel although they should not be.
    stuck: BTreeSet<AddressKey>,
    /// Failures of the last synchronisation, as reported: each is reported once.
    failures: BTreeSet<String>,
}

impl HeldVips {
    /// Whether a VIP is in the kernel as wanted.
    pub(super) fn has(&self, vip: &AddressKey) -> bool {
        self.present.contains_key(vip)
    }

    /// How many VIPs are in the kernel as wanted.
    pub(super) fn count(&self) -> usize {
        self.present.len()
    }

    /// VIPs that are in the kernel although they should not be.
    pub(super) const fn stuck(&self) -> &BTreeSet<AddressKey> {
        &self.stuck
    }

    /// Why the last synchronisation did not do everything, for people.
    pub(super) fn failures(&self) -> String {
        self.failures.iter().cloned().collect::<Vec<_>>().join("; ")
    }

    /// The routers are about to change: what is remembered says nothing of VIPs that are new to the plan.
    pub(super) const fn distrust(&mut self) {
        self.observed = false;
    }

    /// Replaces the failures and returns those that are new.
    fn replace_failures(&mut self, failures: BTreeSet<String>) -> Vec<String> {
        let new = failures.difference(&self.failures).cloned().collect();
        self.failures = failures;
        new
    }

    /// What others have changed and what was done about it, without what cannot be repaired and was reported
    /// before.
    fn drifts(&self, failed: &[(Op, ApplyError)], drifted: &BTreeMap<ObjectKey, String>) -> Vec<Drift> {
        let drift = |(key, found): (&ObjectKey, &String)| {
            let failure = failed.iter().find(|(op, _)| ObjectKey::of(op) == *key);
            let outcome = if failure.is_some() { DriftOutcome::Failed } else { DriftOutcome::Repaired };
            let known = failure.is_some_and(|(op, error)| self.failures.contains(&failure_text(op, error)));
            let drift = Drift {
                kind: key.word(),
                object: key.to_string(),
                found: found.clone(),
                outcome,
                reason: failure.map(|(_, error)| error.to_string()),
            };
            Some(drift).filter(|_| !known)
        };
        drifted.iter().filter_map(drift).collect()
    }
}

fn failure_text(op: &Op, error: &ApplyError) -> String {
    format!("cannot {op}: {error}")
}

impl Worker {
    /// The routers that hold their VIPs now: Masters whose lease runs.
    fn holders(&self) -> impl Iterator<Item = &RouterSetup> {
        let now = clock::now();
        self.routers
            .setups
            .values()
            .filter(move |setup| self.routers.is_master(&setup.key) && self.leases.runs(&setup.key, now))
    }

    /// The VIPs that a router holds as Master.
    fn vips_of<'a>(&'a self, setup: &'a RouterSetup) -> impl Iterator<Item = (&'a AddressKey, &'a Address)> {
        setup.own_vips(self.leases.limit(&setup.key))
    }

    /// What must be in the kernel now.
    fn wanted(&self) -> Present {
        let mut wanted = Present::default();
        for setup in self.holders() {
            wanted.vips.extend(self.vips_of(setup).map(|(vip, how)| (vip.clone(), how.clone())));
            wanted.routes.extend(setup.routes.clone());
            wanted.rules.extend(setup.rules.clone());
        }
        wanted
    }

    /// Adds and removes the VIPs of routers whose states have changed, by comparison with what is remembered
    /// of the kernel: observing it would take longer than the changes, and clients wait. Returns whether that
    /// was all. If not, the kernel must be observed at once.
    pub(super) fn move_vips<'a>(&mut self, changed: impl Iterator<Item = &'a RouterKey>) -> bool {
        let setups: Vec<&RouterSetup> = changed.filter_map(|key| self.routers.setup(key)).collect();
        if !self.vips.observed || setups.iter().any(|setup| setup.moves_more()) {
            return false;
        }
        let moved: BTreeSet<AddressKey> =
            setups.iter().flat_map(|setup| setup.vips.keys().cloned()).collect();
        let wanted = self.holders().flat_map(|setup| self.vips_of(setup));
        let wanted = wanted.filter(|(vip, _)| moved.contains(*vip));
        let wanted: BTreeMap<_, _> = wanted.map(|(vip, how)| (vip.clone(), how.clone())).collect();
        let unremoved = |vip: &AddressKey| self.vips.stuck.contains(vip) && !self.vips.has(vip);
        if moved.iter().any(|vip| unremoved(vip) && !wanted.contains_key(vip)) {
            return false;
        }
        let ops = sync::compare_remembered(moved, wanted, &self.vips.present);
        let verdicts = self.kernel.apply(&ops);
        let all = verdicts.iter().all(Result::is_ok);
        let mut done = Vec::new();
        for (op, _) in ops.into_iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()) {
            done.push(op.to_string());
            match op {
                Op::AddAddress { key, value, .. } => drop(self.vips.present.insert(key, value)),
                Op::DelAddress(key) => {
                    self.vips.present.remove(&key);
                    self.ports.withdraw(&key);
                }
                _ => {}
            }
        }
        if !done.is_empty() {
            self.outbox.push(Notice::Done(done));
        }
        all
    }

    /// Makes the kernel's VIPs follow the states of the routers: observes, compares, applies.
    ///
    /// `also` is what moved with the routers of the plan before. `repair` says that no state changed, so
    /// whatever is missing was taken away by others. A VIP that cannot be removed is left to the guardian
    /// until it is gone.
    pub(super) fn sync_vips(&mut self, also: &Moving, repair: bool) {
        let mut all = self.routers.moving();
        all.extend(also);
        // Of plans before the last one, too.
        all.vips.extend(self.vips.stuck.iter().cloned());
        let wanted = self.wanted();
        self.resync.vips = false;
        match sync::sync(&mut self.kernel, &all, wanted.clone(), &mut self.vips.achieved) {
            Ok(synced) => self.synced(synced, repair),
            Err(error) => {
                self.resync.vips = true;
                self.vips.observed = false;
                self.vips.stuck = all.vips.into_iter().filter(|vip| !wanted.vips.contains_key(vip)).collect();
                self.report_failures(BTreeSet::from([format!("cannot read the addresses: {error}")]));
            }
        }
        self.leases.guardian.remove(&self.vips.stuck, clock::now());
    }

    fn synced(&mut self, synced: Synced, repair: bool) {
        let now = clock::now();
        let Synced { present, stuck, done, failed, drifted } = synced;
        for gone in self.vips.present.keys().filter(|vip| !present.contains_key(*vip)) {
            self.ports.withdraw(gone);
        }
        (self.vips.present, self.vips.stuck, self.vips.observed) = (present, stuck, true);
        self.resync.vips = !failed.is_empty();
        let drifts = self.vips.drifts(&failed, &drifted);
        let is_repair = |op: &&Op| drifted.contains_key(&ObjectKey::of(op));
        let (repairs, changes): (Vec<&Op>, Vec<&Op>) = done.iter().partition(is_repair);
        let [repairs, changes] =
            [repairs, changes].map(|ops| ops.into_iter().map(ToString::to_string).collect::<Vec<_>>());
        if !drifts.is_empty() || !repairs.is_empty() {
            self.outbox.push(Notice::Drifted { repairs, drifts });
        }
        self.report_failures(failed.iter().map(|(op, error)| failure_text(op, error)).collect());
        self.fault_refused(&failed);
        if repair {
            let added = done.iter().filter_map(|op| match op {
                Op::AddAddress { key, .. } => self.routers.owner(key),
                _ => None,
            });
            for router in added.collect::<BTreeSet<RouterKey>>() {
                self.routers.election.handle(&router, Input::VipsRepaired, now);
            }
        }
        if !changes.is_empty() {
            self.outbox.push(Notice::Done(changes));
        }
    }

    /// A Master whose VIP the kernel refuses for good gives up and waits; one that has all its VIPs has not
    /// been refused any for long.
    fn fault_refused(&mut self, failed: &[(Op, ApplyError)]) {
        let now = clock::now();
        for (op, error) in failed {
            if let Op::AddAddress { key, .. } = op
                && error.class.is_final()
                && let Some(router) = self.routers.owner(key)
                && self.routers.is_master(&router)
            {
                self.admission.backoff.delay(&router, FaultCause::VipRefused, now);
                self.routers.election.handle(&router, Input::Fault(FaultCause::VipRefused), now);
            }
        }
        if self.admission.backoff.is_empty() {
            return;
        }
        for (key, setup) in &self.routers.setups {
            if setup.vips.keys().all(|vip| self.vips.has(vip)) {
                self.admission.backoff.reset(key, FaultCause::VipRefused);
            }
        }
    }

    fn report_failures(&mut self, failures: BTreeSet<String>) {
        for text in self.vips.replace_failures(failures) {
            self.outbox.problem(text);
        }
    }
}
