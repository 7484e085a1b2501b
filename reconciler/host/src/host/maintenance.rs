//! `maintenance = true` in the plan, carried out: the routers that this host still serves are kept, and other
//! directors are asked to take them over until one has. What the plan means is decided in
//! [`crate::maintenance`]; who is asked and what counts as an answer, in the election.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::MaintenanceStatus;
use evenkeel_schemas::time::MonoTime;

use super::orders::AskedFor;
use super::{Host, of};
use crate::election::{Question, Unanswered};
use crate::event::OrderEvent;
use crate::io::Content;
use crate::maintenance::Maintenance;
use crate::moment::Moment;
use crate::orders::routers::unheard;

/// Time from a question that nobody answered to the next.
const AGAIN: Duration = Duration::from_secs(10);
/// Time to wait while another question is open.
const BUSY: Duration = Duration::from_secs(1);

/// The open question to other directors, and the rest of the maintenance of the plan in force.
#[derive(Default)]
pub(super) struct Progress {
    /// The open question.
    asked: Option<AskedFor>,
    /// Time of the next question; none while one is open, and when there is nothing to ask for.
    due: Option<MonoTime>,
    /// Reason why other directors have not taken over, as it was last logged.
    reason: Option<String>,
}

impl Progress {
    /// Time of the next question.
    pub(super) const fn due(&self) -> Option<MonoTime> {
        self.due
    }

    /// Whether other directors are being asked.
    pub(super) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// A question has been put.
    pub(super) fn ask(&mut self, asked_for: AskedFor) {
        self.asked = Some(asked_for);
    }

    /// The question has been answered. Returns it.
    pub(super) const fn answered(&mut self) -> Option<AskedFor> {
        self.asked.take()
    }
}

impl Host {
    /// Applies the maintenance of a plan that comes: routers that do not serve are kept out at once. Must
    /// come before the election gets the orders for the plan.
    pub(super) fn maintenance_for(&mut self, plan: &Plan, takes_part: impl Fn(&Name) -> bool) {
        let before = self.plan();
        let before = of(before.as_ref());
        let next = self.maintenance.at_plan(plan, before, takes_part);
        if plan.maintenance && !before.is_some_and(|before| before.maintenance) {
            self.log(OrderEvent::MaintenanceBegins);
        }
        (self.giving_away.due, self.giving_away.reason) = (None, None);
        self.keep_maintenance(next);
    }

    fn keep_maintenance(&mut self, next: Maintenance) {
        if next != self.maintenance {
            self.persist_later(Content::Maintenance(next.clone()));
            self.maintenance = next;
        }
    }

    /// Other directors can be asked: the election has the routers of the plan in force, or has begun.
    pub(super) fn go_into_maintenance(&mut self, at: &Moment) {
        let waits = self.elected.started && !self.maintenance.serving().is_empty();
        self.giving_away.due = waits.then_some(at.now);
    }

    /// Asks other directors to take over the routers that this host still serves.
    pub(super) fn ask_for_maintenance(&mut self, at: &Moment) {
        if self.giving_away.is_asking() {
            self.giving_away.due = Some(at.now + BUSY);
            return;
        }
        self.giving_away.due = None;
        let routers = self.maintenance.serving().clone();
        if !routers.is_empty() {
            let question = Question { routers: routers.clone(), partly: true };
            self.put_question(question, AskedFor::Maintenance(routers));
        }
    }

    pub(super) fn maintenance_answered(
        &mut self,
        asked: &BTreeSet<Name>,
        unanswered: Option<&[Unanswered]>,
        at: &Moment,
    ) {
        let (Some(loaded), Some(unanswered)) = (self.plan(), unanswered) else { return };
        let next = self.maintenance.after(&loaded.plan, asked, unanswered);
        let gone: Vec<Name> = self.maintenance.serving().difference(next.serving()).cloned().collect();
        if !gone.is_empty() {
            self.log(OrderEvent::MaintenanceOver { routers: gone });
        }
        self.keep_maintenance(next);
        self.send_orders_in_force();
        let reason = unheard(unanswered, at.now, self.facts.started, |then| at.wall(then));
        // Logged once, not at each try.
        if let Some(reason) = reason.clone().filter(|_| self.giving_away.reason.is_none()) {
            let labels = unanswered.iter().map(|one| one.label.clone()).collect();
            self.log(OrderEvent::MaintenanceWaits { labels, reason, again: AGAIN });
        }
        self.giving_away.reason = reason;
        self.giving_away.due = (!self.maintenance.serving().is_empty()).then(|| at.now + AGAIN);
    }

    /// Status of the maintenance; none where the plan does not ask for it.
    pub(super) fn maintenance_status(&self) -> Option<MaintenanceStatus> {
        let loaded = self.plan().filter(|loaded| loaded.plan.maintenance)?;
        let routers = loaded.plan.routers.iter().map(|router| &router.name);
        let serving: BTreeSet<&Name> =
            routers.filter(|name| !self.maintenance.keeps_out(&loaded.plan, name)).collect();
        let reason = self.giving_away.reason.clone().filter(|_| !serving.is_empty());
        Some(MaintenanceStatus { serving: serving.into_iter().cloned().collect(), reason })
    }
}
