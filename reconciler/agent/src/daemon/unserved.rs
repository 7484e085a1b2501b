//! Virtual routers that this host leaves to others, because none of their virtual servers can be made here.

use std::collections::BTreeSet;

use evenkeel_converge::{ObjectKey, missing_services, unnamed, unserved};
use evenkeel_vrrp::{Family, RouterKey};
use tracing::{info, warn};

use super::Daemon;
use crate::election::Command;
use crate::state::disk::File;
#[cfg(doc)]
use evenkeel_host::pass::Pass;

/// What this host can do, as far as it decides whether something can be made that could not be made before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Means {
    /// Modules of IPVS that are loaded.
    modules: BTreeSet<String>,
    /// Whether the disk names nothing new.
    without_disk: bool,
}

impl Means {
    /// Whether there is something now that was not there before.
    fn is_more_than(&self, before: &Self) -> bool {
        !self.modules.is_subset(&before.modules) || (before.without_disk && !self.without_disk)
    }
}

impl Daemon {
    /// Finds out which routers are left to others, and tells the election when those are others than before: before it
    /// gets routers, or starts. `lacking` is what this host does without ([`Pass::lacking`]), `without_disk` whether for want of it. What
    /// only a Master has is not looked at while this host is none: it is tried again once there is a reason to.
    pub(super) fn find_unserved(&mut self, lacking: &BTreeSet<ObjectKey>, without_disk: bool) {
        let Some(loaded) = self.facts.plan() else { return };
        let plan = &loaded.plan;
        if !self.lacking.is_empty() || !lacking.is_empty() {
            let without_disk = without_disk || self.disk.in_trouble(File::Ledger);
            let means = Means { modules: evenkeel_kernel::loaded_for_ipvs(), without_disk };
            if means.is_more_than(&self.means) {
                self.lacking.clear();
            }
            self.means = means;
        }
        self.lacking = missing_services(plan, lacking, &self.facts.masters, &self.lacking);
        let left = unserved(plan, &self.lacking).into_iter().chain(unnamed(plan, lacking));
        let keys = left.map(|router| RouterKey {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_comes_and_a_disk_that_is_well_again_are_reasons_to_try_again() {
        let means = |modules: &[&str], without_disk| Means {
            modules: modules.iter().map(|name| (*name).to_owned()).collect(),
            without_disk,
        };
        for (before, now, more) in [
            (means(&["ip_vs"], false), means(&["ip_vs"], false), false),
            (means(&["ip_vs"], false), means(&["ip_vs", "ip_vs_twos"], false), true),
            (means(&[], false), means(&["ip_vs"], false), true),
            // Another one went meanwhile.
            (means(&["ip_vs", "ip_vs_rr"], false), means(&["ip_vs", "ip_vs_twos"], false), true),
            (means(&["ip_vs", "ip_vs_rr"], false), means(&["ip_vs"], false), false),
            (means(&["ip_vs"], true), means(&["ip_vs"], true), false),
            (means(&["ip_vs"], true), means(&["ip_vs"], false), true),
            (means(&["ip_vs"], false), means(&["ip_vs"], true), false),
        ] {
            assert_eq!(now.is_more_than(&before), more, "{before:?} {now:?}");
        }
    }
}
