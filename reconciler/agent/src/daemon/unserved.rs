//! Virtual routers that this host leaves to others, because none of their virtual servers can be made here.

use std::collections::BTreeSet;

use evenkeel_converge::{ObjectKey, missing_services, unserved, vip_addresses};
use evenkeel_schemas::plan::Router;
use evenkeel_vrrp::{Family, RouterKey};
use tracing::{info, warn};

use super::Daemon;
#[cfg(doc)]
use crate::convergence::Pass;
use crate::election::Command;

impl Daemon {
    /// Finds out which routers are left to others, and tells the election when those are others than before: before it
    /// gets routers, or starts. `lacking` is what this host does without ([`Pass::lacking`]).
    pub(super) fn find_unserved(&mut self, lacking: &BTreeSet<ObjectKey>) {
        let Some(loaded) = self.facts.plan() else { return };
        let plan = &loaded.plan;
        self.lacking = missing_services(plan, lacking, &self.facts.masters, &self.lacking);
        // One whose VIP the disk cannot name yet must not have it.
        let unnamed = |router: &&Router| {
            vip_addresses(router).into_keys().any(|key| lacking.contains(&ObjectKey::Address(key)))
        };
        let unnamed = plan.routers.iter().filter(unnamed);
        let keys = unserved(plan, &self.lacking).into_iter().chain(unnamed).map(|router| RouterKey {
            interface: router.interface.clone(),
            family: Family::of(router.source.0),
            vrid: router.vrid,
        });
        let left: BTreeSet<RouterKey> = keys.collect();
        if left == self.unserved {
            return;
        }
        for router in left.difference(&self.unserved) {
            warn!(%router, "no part in the election, left to other directors: its VIP or its virtual servers cannot be made here");
        }
        for router in self.unserved.difference(&left) {
            info!(%router, "no longer left to other directors: its virtual servers can be made");
        }
        self.unserved.clone_from(&left);
        self.election.send(Command::Unserved(left));
    }
}
