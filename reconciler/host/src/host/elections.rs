//! Notices of the election and their consequences.

use std::collections::BTreeSet;

use evenkeel_converge::{Kind, ServiceKey};
use evenkeel_schemas::plan::{Plan, SyncMode};
use evenkeel_schemas::scalars::Name;

use std::time::Duration;

use super::Host;
use crate::election::{ElectionSnapshot, Notice, StateChange};
use crate::event::{ElectionEvent, KernelEvent};
use crate::io::{ElectionAsk, Output};
use crate::moment::Moment;

/// Time between two questions to the election whether notices were lost.
pub(super) const LOST_PAUSE: Duration = Duration::from_secs(5);

impl Host {
    pub(super) fn handle_notice(&mut self, notice: &Notice, at: &Moment) {
        match notice {
            Notice::State(change) => {
                if self.facts.logs_state(&change.label, at.now) {
                    self.log(ElectionEvent::State(change.clone()));
                }
                if let Some(newer) = &mut self.elected.newer {
                    newer.insert(change.router.clone());
                }
                self.state_changed(change, at);
            }
            Notice::Router { label, text } => {
                self.log(ElectionEvent::Router { label: label.clone(), text: text.clone() });
            }
            Notice::Announced(line) => self.log(ElectionEvent::Announced(line.clone())),
            Notice::Waits { router, label, text } => {
                self.log(ElectionEvent::Waits { label: label.clone(), text: text.clone() });
                self.held_back(router);
            }
            Notice::Stranger { label, address, mac, text } => self.log(ElectionEvent::Stranger {
                label: label.clone(),
                address: *address,
                mac: mac.clone(),
                text: text.clone(),
            }),
            Notice::Done(operations) => {
                for operation in operations {
                    self.log(KernelEvent::Done(operation.clone()));
                    self.facts.operations += 1;
                    self.facts.record(operation.clone(), at);
                }
            }
            Notice::Drifted { repairs, drifts } => {
                let lines = self.facts.drifted(repairs, drifts.clone(), at);
                lines.into_iter().for_each(|line| self.log(KernelEvent::Drift(line)));
            }
            Notice::Problem(text) => self.log(ElectionEvent::Problem(text.clone())),
            // The guardian's keeper gets it as well, and acts.
            Notice::GuardianLost(_) => {}
        }
    }

    /// Wants everything that follows from being Master of nothing, if that takes something away. The election
    /// may have reported that already: then it was wanted, but nothing waited for it to be done.
    pub(super) fn leave_the_election(&mut self, at: &Moment) {
        let bound =
            |plan: &Plan| plan.virtual_servers.iter().any(|server| server.only_as_master_of.is_some());
        if self.plan().is_some_and(|loaded| bound(&loaded.plan)) {
            self.facts.masters.clear();
            self.want(&[Kind::Ipvs], at);
        }
    }

    /// Handles a router's state, which may be the same as before.
    fn state_changed(&mut self, change: &StateChange, at: &Moment) {
        let runs = self.hooks.state_changed(change, at.now);
        self.run_hooks(runs);
        let moved = self.facts.state_changed(change);
        if moved && self.plan().is_some_and(|loaded| follows_the_election(&loaded.plan)) {
            self.want(&[Kind::Ipvs], at);
        }
    }

    /// Asks the election whether notices were lost.
    pub(super) fn ask_for_lost_notices(&mut self, at: &Moment) {
        self.elected.lost_at = at.now + LOST_PAUSE;
        self.facts.dropped_states(at.now).into_iter().for_each(|event| self.log(event));
        self.log_dropped_hooks(at);
        self.elected.newer = Some(BTreeSet::new());
        self.push(Output::AskElection(ElectionAsk::Lost));
    }

    pub(super) fn election_answered(&mut self, ask: ElectionAsk, snapshot: ElectionSnapshot, at: &Moment) {
        match ask {
            ElectionAsk::Lost => self.lost_notices(&snapshot, at),
            ElectionAsk::Baseline => self.baseline_known(&snapshot, at),
            ElectionAsk::Progress => self.progress_known(&snapshot, at),
        }
    }

    /// Handles the answer. Where notices were lost, each router's state is handled as it is now, so that its
    /// last state reaches hooks in any case. A router with a newer notice is left alone.
    fn lost_notices(&mut self, snapshot: &ElectionSnapshot, at: &Moment) {
        let newer = self.elected.newer.take().unwrap_or_default();
        if snapshot.thread.lost_notices == self.elected.lost {
            return;
        }
        self.log(ElectionEvent::NoticesLost(snapshot.thread.lost_notices.saturating_sub(self.elected.lost)));
        self.elected.lost = snapshot.thread.lost_notices;
        for router in snapshot.routers.iter().filter(|router| !newer.contains(&router.name)) {
            let change = router.change(router.label(&snapshot.routers));
            self.state_changed(&change, at);
        }
    }

    /// The election has the routers of the plan in force.
    pub(super) fn routers_given(&mut self, at: &Moment) {
        let runs = self.hooks.routers_given(at.now);
        self.run_hooks(runs);
        self.release_left_trackers();
        self.release_left_orders();
        self.go_into_maintenance(at);
    }
}

/// Whether the wanted IPVS state depends on who is Master.
fn follows_the_election(plan: &Plan) -> bool {
    plan.routers.iter().any(|router| is_followed(plan, &router.name))
}

/// Whether the wanted IPVS state depends on the state of this router.
pub(super) fn is_followed(plan: &Plan, router: &Name) -> bool {
    let synchronised = plan
        .connection_sync
        .as_ref()
        .is_some_and(|sync| sync.mode == SyncMode::Follow && sync.router == *router);
    synchronised
        || plan.virtual_servers.iter().any(|server| server.only_as_master_of.as_ref() == Some(router))
}

/// Virtual services that this host has only as Master of a router.
pub(super) fn bound_services(plan: &Plan, router: &Name) -> Vec<ServiceKey> {
    let bound =
        plan.virtual_servers.iter().filter(|server| server.only_as_master_of.as_ref() == Some(router));
    bound.filter_map(ServiceKey::of).collect()
}
