//! Virtual routers that this host leaves to others, because none of their virtual servers can be made here.

use std::collections::BTreeSet;

use evenkeel_converge::{ObjectKey, missing_services, unserved};
use evenkeel_vrrp::{Family, RouterKey};
use tracing::{info, warn};

use super::Daemon;
use crate::election::Command;

impl Daemon {
    /// Finds out which routers are left to others, and tells the election when those are others than before: before it
    /// gets routers, or starts. `lacking` is what the kernel has no means for.
    pub(super) fn find_unserved(&mut self, lacking: &BTreeSet<ObjectKey>) {
        let Some(loaded) = self.facts.plan() else { return };
        let plan = &loaded.plan;
        self.lacking = missing_services(plan, lacking, &self.facts.masters, &self.lacking);
        let keys = unserved(plan, &self.lacking).into_iter().map(|router| RouterKey {
            interface: router.interface.clone(),
            family: Family::of(router.source.0),
            vrid: router.vrid,
        });
        let left: BTreeSet<RouterKey> = keys.collect();
        if left == self.unserved {
            return;
        }
        for router in left.difference(&self.unserved) {
            warn!(%router, "left to other directors: none of its virtual servers can be made here");
        }
        for router in self.unserved.difference(&left) {
            info!(%router, "no longer left to other directors: its virtual servers can be made");
        }
        self.unserved.clone_from(&left);
        self.election.send(Command::Unserved(left));
    }
}
