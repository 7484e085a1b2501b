//! The meaning of `maintenance = true` for each router: all are kept out of the election, except those that
//! serve on because no other director has taken over yet. Values only: kept in the state directory by
//! `state`, obeyed by the election.
//!
//! A router that does not serve when such a plan comes is kept out at once. One that serves is kept out when
//! others were asked and one has claimed it. Routers that move together are given away together.

use std::collections::BTreeSet;

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use serde::{Deserialize, Serialize};

use crate::election::Unanswered;
use crate::units::unit;

/// Routers of a plan with `maintenance = true` that are not given away yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Maintenance {
    serving: BTreeSet<Name>,
}

impl Maintenance {
    /// The maintenance when a plan comes. `takes_part` says whether the election has a router; `before` is
    /// the plan in force until now.
    pub fn at_plan(&self, plan: &Plan, before: Option<&Plan>, takes_part: impl Fn(&Name) -> bool) -> Self {
        if !plan.maintenance {
            return Self::default();
        }
        let is_out = |name: &Name| before.is_some_and(|before| self.keeps_out(before, name));
        let serves = |name: &Name| takes_part(name) && !is_out(name);
        let units = plan.routers.iter().filter(|router| unit(plan, &router.name).iter().any(serves));
        Self { serving: units.map(|router| router.name.clone()).collect() }
    }

    /// Whether a router of this plan takes no part.
    pub fn keeps_out(&self, plan: &Plan, router: &Name) -> bool {
        plan.maintenance && !self.serving.contains(router)
    }

    /// Whether a router was serving on when this was kept.
    pub fn serves(&self, router: &Name) -> bool {
        self.serving.contains(router)
    }

    /// Routers that others have yet to take over.
    pub const fn serving(&self) -> &BTreeSet<Name> {
        &self.serving
    }

    /// The maintenance after others were asked to take over `asked`; `unanswered` are the routers that nobody
    /// took.
    pub fn after(&self, plan: &Plan, asked: &BTreeSet<Name>, unanswered: &[Unanswered]) -> Self {
        let stay: BTreeSet<Name> = unanswered.iter().flat_map(|one| unit(plan, &one.router)).collect();
        let is_left = |name: &&Name| !asked.contains(*name) || stay.contains(*name);
        Self { serving: self.serving.iter().filter(is_left).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    fn names(all: &[&str]) -> BTreeSet<Name> {
        all.iter().copied().map(name).collect()
    }

    fn plan(maintenance: bool, routers: &[(&str, Option<&str>)]) -> Plan {
        let mut text = format!(
            "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\nmaintenance = {maintenance}\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
        );
        for (n, (name, group)) in routers.iter().enumerate() {
            let group = group.map(|group| format!("sync_group = \"{group}\"\n")).unwrap_or_default();
            text += &format!(
                "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
                 vrid = {}\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
                 garp_delay = \"0s\"\nvips = [\"192.0.2.9/32\"]\n{group}",
                n + 1
            );
        }
        toml::from_str(&text).expect("plan")
    }

    fn unanswered(router: &str) -> Unanswered {
        Unanswered {
            router: name(router),
            label: router.to_owned(),
            master: true,
            waited: Duration::from_secs(2),
            heard: None,
        }
    }

    #[test]
    fn a_host_that_starts_in_maintenance_takes_no_part_from_the_beginning() {
        let plan = plan(true, &[("VI_1", None), ("VI_2", None)]);
        let maintenance = Maintenance::default().at_plan(&plan, None, |_| false);
        assert!(maintenance.keeps_out(&plan, &name("VI_1")) && maintenance.keeps_out(&plan, &name("VI_2")));
        assert_eq!(*maintenance.serving(), names(&[]));
    }

    #[test]
    fn a_router_that_serves_is_kept_until_another_director_has_it() {
        let calm = plan(false, &[("VI_1", None), ("VI_2", None)]);
        let plan = plan(true, &[("VI_1", None), ("VI_2", None), ("new", None)]);
        let there = |router: &Name| *router != name("new");
        let first = Maintenance::default().at_plan(&plan, Some(&calm), there);
        assert_eq!(*first.serving(), names(&["VI_1", "VI_2"]));
        assert!(first.keeps_out(&plan, &name("new")), "it has never served");
        let asked = names(&["VI_1", "VI_2"]);
        let then = first.after(&plan, &asked, &[unanswered("VI_2")]);
        assert_eq!(*then.serving(), names(&["VI_2"]));
        assert!(then.keeps_out(&plan, &name("VI_1")) && !then.keeps_out(&plan, &name("VI_2")));
        // Another plan of the same kind gives nothing back that was given away.
        let again = then.at_plan(&plan, Some(&plan), |_| true);
        assert_eq!(*again.serving(), names(&["VI_2"]));
        assert_eq!(*again.after(&plan, &asked, &[]).serving(), names(&[]));
        assert!(!then.at_plan(&calm, Some(&plan), |_| true).keeps_out(&calm, &name("VI_1")));
        // After a restart it goes on where it was.
        let kept: Maintenance =
            serde_json::from_str(&serde_json::to_string(&then).expect("JSON")).expect("maintenance");
        assert_eq!(kept, then);
        let started = Maintenance::default().at_plan(&plan, None, |router| kept.serves(router));
        assert_eq!(started, then);
    }

    #[test]
    fn routers_that_move_together_are_given_away_together() {
        let routers = [("a", Some("G")), ("b", Some("G")), ("c", None)];
        let (calm, plan) = (plan(false, &routers), plan(true, &routers));
        let first = Maintenance::default().at_plan(&plan, Some(&calm), |_| true);
        let asked = names(&["a", "b", "c"]);
        assert_eq!(*first.after(&plan, &asked, &[unanswered("b")]).serving(), names(&["a", "b"]));
        // One that joins a group that serves, serves with it.
        let joins = Maintenance::default().at_plan(&plan, Some(&calm), |router| *router == name("a"));
        assert_eq!(*joins.serving(), names(&["a", "b"]));
    }
}
