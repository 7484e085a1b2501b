//! `maintenance = true` in the plan, carried out: which routers this host still serves is kept, other directors are asked to take them over
//! until one has. What the plan means is decided in [`evenkeel_host::maintenance`], who is asked and what counts as an answer in the election.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::MaintenanceStatus;
use evenkeel_schemas::time::MonoTime;
use tracing::{info, warn};

use super::Daemon;
use super::orders::AskedFor;
use crate::api::status;
use crate::state::disk::Content;
use evenkeel_host::election::{Question, Unanswered};
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::orders::routers as orders;

/// How long after nobody has answered others are asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long to wait while others are asked for something else.
const BUSY: Duration = Duration::from_secs(1);

/// What is still to be done about the maintenance of the plan in force.
#[derive(Default)]
pub(super) struct Progress {
    /// When others are asked next; none while they are being asked, and when there is nothing to ask for.
    due: Option<MonoTime>,
    /// Why they have not taken over, as it was told last.
    reason: Option<String>,
}

impl Progress {
    /// When others are asked next.
    pub(super) const fn due(&self) -> Option<MonoTime> {
        self.due
    }
}

impl Daemon {
    /// A plan comes: what of it is kept out at once. Said before the election is told the orders for it.
    pub(super) fn maintenance_for(&mut self, plan: &Plan, takes_part: impl Fn(&Name) -> bool) {
        let before = self.facts.plan();
        let before = before.as_ref().map(|loaded| &loaded.plan);
        let next = self.maintenance.at_plan(plan, before, takes_part);
        if plan.maintenance && !before.is_some_and(|before| before.maintenance) {
            info!("the plan puts this host into maintenance: it takes no part in elections");
        }
        self.going = Progress::default();
        self.keep_maintenance(next);
    }

    fn keep_maintenance(&mut self, next: Maintenance) {
        if next != self.maintenance {
            self.disk.keep(Content::Maintenance(Arc::new(next.clone())));
            self.maintenance = next;
        }
    }

    /// The election has the routers of the plan in force, or has begun: others can be asked.
    pub(super) fn go_into_maintenance(&mut self) {
        let waits = self.started && !self.maintenance.serving().is_empty();
        self.going.due = waits.then(clock::now);
    }

    /// Asks others to take over what this host still serves.
    pub(super) fn ask_for_maintenance(&mut self) {
        if self.is_asking() {
            self.going.due = Some(clock::now() + BUSY);
            return;
        }
        self.going.due = None;
        let routers = self.maintenance.serving().clone();
        if !routers.is_empty() {
            let question = Question { routers: routers.clone(), partly: true };
            self.put_question(question, AskedFor::Maintenance(routers));
        }
    }

    pub(super) fn maintenance_answered(&mut self, asked: &BTreeSet<Name>, unanswered: Option<&[Unanswered]>) {
        let (Some(loaded), Some(unanswered)) = (self.facts.plan(), unanswered) else { return };
        let next = self.maintenance.after(&loaded.plan, asked, unanswered);
        let gone = self.maintenance.serving().difference(next.serving());
        let gone: Vec<&str> = gone.map(Name::as_str).collect();
        if !gone.is_empty() {
            info!("maintenance: given away {}", gone.join(", "));
        }
        self.keep_maintenance(next);
        self.tell_orders(&self.orders);
        let started = self.facts.started;
        let reason = orders::unheard(unanswered, clock::now(), started, status::wall);
        let names = |unanswered: &[Unanswered]| {
            unanswered.iter().map(|one| one.label.clone()).collect::<Vec<_>>().join(", ")
        };
        // Once, not at each try.
        if let Some(reason) = reason.as_ref().filter(|_| self.going.reason.is_none()) {
            warn!(
                "maintenance waits, {} is served here still: {reason}; others are asked again every {} s",
                names(unanswered),
                AGAIN.as_secs()
            );
        }
        self.going.reason = reason;
        self.going.due = (!self.maintenance.serving().is_empty()).then(|| clock::now() + AGAIN);
    }

    /// For status; none where the plan does not say so.
    pub(crate) fn maintenance_status(&self) -> Option<MaintenanceStatus> {
        let loaded = self.facts.plan().filter(|loaded| loaded.plan.maintenance)?;
        let routers = loaded.plan.routers.iter().map(|router| &router.name);
        let serving: BTreeSet<&Name> =
            routers.filter(|name| !self.maintenance.keeps_out(&loaded.plan, name)).collect();
        let reason = self.going.reason.clone().filter(|_| !serving.is_empty());
        Some(MaintenanceStatus { serving: serving.into_iter().cloned().collect(), reason })
    }
}
