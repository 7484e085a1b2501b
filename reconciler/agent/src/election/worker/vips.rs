//! Who holds which VIPs, and that the kernel agrees.

mod sync;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{AddressKey, ObjectKey, Op};
use evenkeel_kernel::{ApplyError, clock};
use evenkeel_schemas::status::DriftOutcome;
use evenkeel_vrrp::{FaultCause, Input, RouterKey};

use super::super::RouterSetup;

use super::Worker;
use evenkeel_host::election::Notice;
use evenkeel_host::pass::Drift;
pub(super) use sync::Moving;
use sync::{Present, Synced};

impl Worker {
    /// All VIPs of all routers.
    pub(super) fn vip_keys(&self) -> BTreeSet<AddressKey> {
        self.routers.values().flat_map(|setup| setup.vips.keys().cloned()).collect()
    }

    /// All that moves with the routers.
    pub(super) fn moving(&self) -> Moving {
        Moving::of(self.routers.values())
    }

    /// What must be there now: the VIPs of Masters whose lease runs, and what goes with them.
    fn wanted(&self) -> Present {
        let now = clock::now();
        let holds =
            |key: &RouterKey| self.is_master(key) && self.granted.get(key).is_some_and(|until| *until > now);
        let mut present = Present::default();
        for setup in self.routers.values().filter(|setup| holds(&setup.key)) {
            present.vips.extend(
                setup.own_vips(self.adopted.get(&setup.key)).map(|(vip, how)| (vip.clone(), how.clone())),
            );
            present.routes.extend(setup.routes.clone());
            present.rules.extend(setup.rules.clone());
        }
        present
    }

    /// Adds and removes the VIPs of these routers, whose states have changed, without a look at the kernel first: clients wait.
    /// Returns whether that was all; if not, they must be looked at at once.
    pub(super) fn move_vips<'a>(&mut self, routers: impl Iterator<Item = &'a RouterKey>) -> bool {
        let setups: Vec<&RouterSetup> = routers.filter_map(|key| self.routers.get(key)).collect();
        if !self.looked || setups.iter().any(|setup| setup.moves_more()) {
            return false;
        }
        let wanted = self.wanted().vips;
        let (mut ops, mut more) = (Vec::new(), Vec::new());
        for key in setups.iter().flat_map(|setup| setup.vips.keys()) {
            match (wanted.get(key), self.present.contains(key)) {
                (Some(value), false) => {
                    let (key, value) = (key.clone(), value.clone());
                    more.push(Op::AddAddress { key, value, announce: true });
                }
                (None, true) => ops.push(Op::DelAddress(key.clone())),
                (None, false) if self.stuck.contains(key) => return false,
                (None, false) | (Some(_), true) => {}
            }
        }
        ops.append(&mut more);
        let verdicts = self.kernel.apply(&ops);
        let all = verdicts.iter().all(Result::is_ok);
        let done: Vec<Op> =
            ops.into_iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()).map(|(op, _)| op).collect();
        for op in &done {
            match op {
                Op::AddAddress { key, .. } => drop(self.present.insert(key.clone())),
                Op::DelAddress(key) => {
                    self.present.remove(key);
                    self.withdraw(key);
                }
                _ => {}
            }
        }
        if !done.is_empty() {
            self.tell(Notice::Done(done.iter().map(ToString::to_string).collect()));
        }
        all
    }

    /// What waits to be announced of a VIP that is gone is not announced any more.
    fn withdraw(&mut self, gone: &AddressKey) {
        if let Some(port) = self.ports.get_mut(&gone.interface) {
            port.announcements.withdraw(gone.address.address());
        }
    }

    /// Makes the VIPs follow the states. `also` is what moved with the plan before; `repair` is
    /// set when no state changed, so that what is missing was taken away by someone.
    ///
    /// What must go and does not is left to the guardian until it is gone.
    pub(super) fn sync_vips(&mut self, also: &Moving, repair: bool) {
        let mut all = self.moving();
        all.extend(also);
        // Of plans before, too.
        all.vips.extend(self.stuck.iter().cloned());
        let wanted = self.wanted();
        self.vips_dirty = false;
        match sync::sync(&mut self.kernel, &all, wanted.clone(), &mut self.achieved) {
            Ok(synced) => self.synced(synced, repair),
            Err(error) => {
                self.vips_dirty = true;
                self.looked = false;
                self.stuck = all.vips.into_iter().filter(|vip| !wanted.vips.contains_key(vip)).collect();
                self.report(BTreeSet::from([format!("cannot read the addresses: {error}")]));
            }
        }
        let now = clock::now();
        self.guardian.remove(&self.stuck, now);
    }

    fn synced(&mut self, synced: Synced, repair: bool) {
        let now = clock::now();
        let Synced { present, stuck, done, failed, drifted } = synced;
        for gone in self.present.difference(&present).cloned().collect::<Vec<_>>() {
            self.withdraw(&gone);
        }
        (self.present, self.stuck, self.looked) = (present, stuck, true);
        self.vips_dirty = !failed.is_empty();
        self.tell_drift(&done, &failed, &drifted);
        self.report(failed.iter().map(|(op, error)| format!("cannot {op}: {error}")).collect());
        for (op, error) in &failed {
            if let Op::AddAddress { key, .. } = op
                && error.class.is_final()
                && let Some(router) = self.owner(key)
                && self.is_master(&router)
            {
                self.backoff.hold(&router, FaultCause::VipRefused, now);
                self.election.handle(&router, Input::Fault(FaultCause::VipRefused), now);
            }
        }
        self.forgive_refusals();
        if done.is_empty() {
            return;
        }
        if repair {
            let added = done.iter().filter_map(|op| match op {
                Op::AddAddress { key, .. } => self.owner(key),
                _ => None,
            });
            for router in added.collect::<BTreeSet<RouterKey>>() {
                self.election.handle(&router, Input::VipsRepaired, now);
            }
        }
        let changes = done.iter().filter(|op| !drifted.contains_key(&ObjectKey::of(op)));
        let changes: Vec<String> = changes.map(ToString::to_string).collect();
        if !changes.is_empty() {
            self.tell(Notice::Done(changes));
        }
    }

    /// Tells what others have changed and what was done about it. One that cannot be put right is told once.
    fn tell_drift(&self, done: &[Op], failed: &[(Op, ApplyError)], drifted: &BTreeMap<ObjectKey, String>) {
        let drift = |(key, found): (&ObjectKey, &String)| {
            let failure = failed.iter().find(|(op, _)| ObjectKey::of(op) == *key);
            let outcome = if failure.is_some() { DriftOutcome::Failed } else { DriftOutcome::Repaired };
            let known =
                failure.is_some_and(|(op, error)| self.failing.contains(&format!("cannot {op}: {error}")));
            let drift = Drift {
                kind: key.word(),
                object: key.to_string(),
                found: found.clone(),
                outcome,
                reason: failure.map(|(_, error)| error.to_string()),
            };
            Some(drift).filter(|_| !known)
        };
        let drifts: Vec<Drift> = drifted.iter().filter_map(drift).collect();
        let repairs = done.iter().filter(|op| drifted.contains_key(&ObjectKey::of(op)));
        let repairs: Vec<String> = repairs.map(ToString::to_string).collect();
        if !drifts.is_empty() || !repairs.is_empty() {
            self.tell(Notice::Drifted { repairs, drifts });
        }
    }

    /// A router that has all its VIPs has not been refused one for long.
    fn forgive_refusals(&mut self) {
        if self.backoff.is_empty() {
            return;
        }
        for (key, setup) in &self.routers {
            if setup.vips.keys().all(|vip| self.present.contains(vip)) {
                self.backoff.forgive(key, FaultCause::VipRefused);
            }
        }
    }

    /// Tells what fails now and did not before.
    fn report(&mut self, failing: BTreeSet<String>) {
        for text in failing.difference(&self.failing) {
            self.tell(Notice::Problem(text.clone()));
        }
        self.failing = failing;
    }

    fn owner(&self, vip: &AddressKey) -> Option<RouterKey> {
        self.routers.values().find(|setup| setup.vips.contains_key(vip)).map(|setup| setup.key.clone())
    }
}
