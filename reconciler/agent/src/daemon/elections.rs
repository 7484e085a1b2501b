//! What the election is told besides its routers, and what it says.

use std::collections::BTreeSet;

use evenkeel_converge::{Kind, ServiceKey};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Plan, SyncMode};
use evenkeel_schemas::scalars::Name;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::facts::log_notice;
use super::{Daemon, GUARDIAN_PAUSE, LOST_PAUSE, VERDICT_PAUSE};
use crate::election::Command;
use crate::health::trackers::Found;
use evenkeel_host::election::{ElectionSnapshot, Lost, Notice};
use evenkeel_host::pass::Wanted;

impl Daemon {
    pub(super) fn noticed(&mut self, notice: Notice) {
        log_notice(&notice, &mut self.facts);
        self.stands(&notice);
        if let Notice::Waits { router, .. } = &notice {
            self.held_back(router);
        }
        if let Notice::GuardianLost(lost) = notice
            && self.guardian_at.is_none()
        {
            match lost {
                Lost::Gone => warn!("the guardian is gone: starting another"),
                Lost::Hung { harmless: true } => {
                    warn!("the guardian did not answer for most of a second and was ended: starting another");
                }
                Lost::Hung { harmless: false } => warn!(
                    "the guardian did not answer for most of a second and cannot be ended: starting another, to which it gives way"
                ),
            }
            // At once, but not again and again.
            self.guardian_at = Some(clock::now().max(self.guardian_begun + GUARDIAN_PAUSE));
        }
    }

    /// What is wanted once this host is no longer Master of anything, if that may take something away. The election may have told
    /// already that it is not: then it was asked for, but nobody has waited for it.
    pub(super) fn without_mastership(&mut self) -> Option<Wanted> {
        let loaded = self.facts.plan()?;
        let bound = loaded.plan.virtual_servers.iter().any(|server| server.only_as_master_of.is_some());
        if !bound {
            return None;
        }
        self.facts.masters.clear();
        self.wanted()
    }

    /// A router may have another state.
    fn stands(&mut self, notice: &Notice) {
        self.hooks.noticed(notice);
        let moved = self.facts.note_state(notice);
        if moved && self.facts.plan().is_some_and(|loaded| follows_the_election(&loaded.plan)) {
            self.want(&[Kind::Ipvs]);
        }
    }

    /// Finds out whether notices were lost, and then tells hooks how routers stand: their last state is
    /// told in any case.
    pub(super) async fn find_lost(&mut self, notices: &mut mpsc::Receiver<Notice>) {
        self.lost_at = clock::now() + LOST_PAUSE;
        self.facts.tell_dropped();
        self.hooks.log_dropped();
        let snapshot = self.ask_election().await;
        if snapshot.thread.lost_notices == self.lost {
            return;
        }
        warn!("{} notices of the election were lost", snapshot.thread.lost_notices.saturating_sub(self.lost));
        self.lost = snapshot.thread.lost_notices;
        // What is in the channel may be newer than the answer.
        let mut newer = BTreeSet::new();
        while let Ok(notice) = notices.try_recv() {
            if let Notice::State(change) = &notice {
                newer.insert(change.router.clone());
            }
            self.noticed(notice);
        }
        let labels: Vec<String> =
            snapshot.routers.iter().map(|router| router.label(&snapshot.routers)).collect();
        let all = snapshot.routers.into_iter().zip(labels);
        for (router, label) in all.filter(|(router, _)| !newer.contains(&router.name)) {
            self.stands(&Notice::State(router.change(label)));
        }
    }

    /// The state of the election.
    pub(super) async fn ask_election(&self) -> ElectionSnapshot {
        let (asked, snapshot) = oneshot::channel();
        self.election.send(Command::Snapshot(asked));
        snapshot.await.unwrap_or_default()
    }

    /// Takes what a tracker found.
    pub(super) fn found(&mut self, found: Found) {
        if self.watching.found(found) {
            self.tell_trackers();
        }
    }

    /// Something happened to verdicts that trackers of services may depend on.
    pub(super) fn services_changed(&mut self) {
        if self.watching.track_services() && self.services_at.is_none() {
            self.services_at = Some(clock::now() + VERDICT_PAUSE);
        }
    }

    pub(super) fn look_at_services(&mut self) {
        self.services_at = None;
        if let Some(loaded) = self.facts.plan()
            && self.watching.look_at_services(&loaded.plan, &self.board)
        {
            self.tell_trackers();
        }
    }

    /// The election has the routers of the plan in force.
    pub(super) fn settled(&mut self) {
        self.hooks.settled();
        self.watching.settled();
        self.tell_trackers();
        self.orders_settled();
        self.go_into_maintenance();
    }

    pub(super) fn tell_trackers(&self) {
        self.election.send(Command::Trackers(self.watching.all()));
    }
}

/// Whether what is wanted of IPVS depends on who is Master.
fn follows_the_election(plan: &Plan) -> bool {
    plan.routers.iter().any(|router| is_followed(plan, &router.name))
}

/// Whether what is wanted of IPVS depends on the state of a router.
pub(super) fn is_followed(plan: &Plan, router: &Name) -> bool {
    let synchronised = plan
        .connection_sync
        .as_ref()
        .is_some_and(|sync| sync.mode == SyncMode::Follow && sync.router == *router);
    synchronised
        || plan.virtual_servers.iter().any(|server| server.only_as_master_of.as_ref() == Some(router))
}

/// The virtual services that this host has only as Master of a router.
pub(super) fn bound_services(plan: &Plan, router: &Name) -> Vec<ServiceKey> {
    let bound =
        plan.virtual_servers.iter().filter(|server| server.only_as_master_of.as_ref() == Some(router));
    bound.filter_map(ServiceKey::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::read::plain_tests::ALL;

    #[test]
    fn main_is_told_at_once_of_routers_that_ipvs_follows() {
        let followed = |text: &str, router: &str| {
            let plan = evenkeel_schemas::plain::plan(text).expect("a plan");
            (is_followed(&plan, &router.parse().expect("a name")), follows_the_election(&plan))
        };
        let bound = "only_as_master_of = \"VI_1\"\n";
        let free = ALL.replace(bound, "").replace("mode = \"follow\"", "mode = \"both\"");
        assert_eq!(followed(&free, "VI_1"), (false, false));
        assert_eq!(followed(ALL, "VI_2"), (false, true));
        for text in [ALL.replace(bound, ""), ALL.replace("mode = \"follow\"", "mode = \"both\"")] {
            assert_eq!(followed(&text, "VI_1"), (true, true));
        }
    }
}
