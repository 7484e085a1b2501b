//! The wanted state as the convergence thread has it, and the virtual servers by which IPVS may differ from
//! it. Values only: no kernel, no clock, no channel.
//!
//! ```text
//!   replaced, adjusted: more virtual servers may differ
//!   observed:           none differs, or any may
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_converge::{Kind, Row, ServiceKey};
use evenkeel_host::pass::{Pass, Wanted};
use evenkeel_schemas::cluster::DriftMode;

/// Most virtual servers that are observed alone; for more of them, observing all costs less.
const SOME: usize = 256;

/// The wanted state, and what is known of its virtual servers in the kernel.
#[derive(Debug, Default)]
pub(super) struct Goal {
    /// The wanted state; none before the first one came.
    wanted: Option<Wanted>,
    /// Virtual servers by which IPVS may differ from that, when all others were found as wanted; none when
    /// any may differ.
    differing: Option<BTreeSet<ServiceKey>>,
    /// Number of objects that were left as others have made them.
    left: u64,
}

impl Goal {
    /// The wanted state; none before the first one came.
    pub(super) const fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// Sets a new wanted state.
    pub(super) fn replace(&mut self, next: Wanted) {
        self.differing = self.differing_under(&next);
        self.wanted = Some(next);
    }

    /// Changes some virtual servers of the wanted state, of which `serial` is the number then.
    pub(super) fn adjust(&mut self, rows: BTreeMap<ServiceKey, Row>, serial: u64) {
        let Some(wanted) = &mut self.wanted else { return };
        wanted.serial = serial;
        if rows.is_empty() {
            return;
        }
        if let Some(differing) = &mut self.differing {
            differing.extend(rows.keys());
        }
        let desired = Arc::make_mut(&mut wanted.desired);
        rows.into_values().for_each(|row| desired.put(row));
    }

    /// Virtual servers by which IPVS may differ from another wanted state.
    fn differing_under(&self, next: &Wanted) -> Option<BTreeSet<ServiceKey>> {
        let (before, now) = (&self.wanted.as_ref()?.desired, &next.desired);
        let mut differing = self.differing.clone()?;
        let same_rest = before.exclusive_ipvs == now.exclusive_ipvs && before.drift == now.drift;
        differing.extend(same_rest.then(|| now.changed_services(before, SOME)).flatten()?);
        Some(differing)
    }

    /// Virtual servers that a pass over these kinds has to observe. None for all: any may differ, or it is
    /// cheaper.
    pub(super) fn services_to_observe(&self, kinds: &[Kind]) -> Option<BTreeSet<ServiceKey>> {
        let differing = self.differing.as_ref().filter(|differing| differing.len() <= SOME)?;
        // Objects that are left as others made them are counted over all virtual servers.
        let repaired = self.wanted.as_ref()?.desired.mode(Kind::Ipvs) == DriftMode::Repair;
        (kinds.contains(&Kind::Ipvs) && repaired && self.left == 0).then(|| differing.clone())
    }

    /// Remembers the result of a pass over these kinds.
    pub(super) fn observed(&mut self, kinds: &[Kind], pass: &Pass) {
        if kinds.contains(&Kind::Ipvs) {
            // Drift and drains are in no plan: only an observation of every virtual server tells them from a
            // change that was missed.
            let drains = pass.drains.as_ref().is_some_and(|found| !found.is_empty());
            let reached = pass.converged && pass.reported_drift == 0 && !drains;
            self.differing = reached.then(BTreeSet::new);
        }
        self.left = pass.reported_drift;
    }
}

#[cfg(test)]
mod tests;
