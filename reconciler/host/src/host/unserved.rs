//! Virtual routers that this host leaves to others because none of their virtual servers can be made here.

use std::collections::BTreeSet;

use evenkeel_converge::{ObjectKey, missing_services, unnamed, unserved};
use evenkeel_vrrp::{Family, RouterKey};

use super::Host;
use crate::event::ElectionEvent;
use crate::io::{Means, Output};

impl Means {
    /// Whether there are means now that were not there before.
    fn is_more_than(&self, before: &Self) -> bool {
        !self.modules.is_subset(&before.modules) || (before.without_disk && !self.without_disk)
    }
}

impl Host {
    /// Finds the routers that are left to others, and sends them to the election when they have changed. Must
    /// come before the election gets its routers, or starts. `lacking` has the objects that the last pass
    /// could not make. Virtual servers that only a Master has are not judged while this host is not Master:
    /// they are tried again once there is a reason to.
    pub(super) fn find_unserved(&mut self, lacking: &BTreeSet<ObjectKey>, means: Means) {
        let Some(loaded) = self.plan() else { return };
        let plan = &loaded.plan;
        if !self.elected.lacking.is_empty() || !lacking.is_empty() {
            if means.is_more_than(&self.elected.means) {
                self.elected.lacking.clear();
            }
            self.elected.means = means;
        }
        self.elected.lacking = missing_services(plan, lacking, &self.facts.masters, &self.elected.lacking);
        let left = unserved(plan, &self.elected.lacking).into_iter().chain(unnamed(plan, lacking));
        let keys = left.map(|router| RouterKey {
            interface: router.interface.clone(),
            family: Family::of(router.source.0),
            vrid: router.vrid,
        });
        let left: BTreeSet<RouterKey> = keys.collect();
        if left == self.elected.unserved {
            return;
        }
        let before = std::mem::replace(&mut self.elected.unserved, left.clone());
        left.difference(&before).for_each(|router| self.log(ElectionEvent::LeftToOthers(router.clone())));
        before.difference(&left).for_each(|router| self.log(ElectionEvent::NotLeftToOthers(router.clone())));
        self.push(Output::Unserved(left));
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
            // Another module went meanwhile.
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
