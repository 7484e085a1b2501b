//! What the election is told besides its routers, and what it says.

use evenkeel_kernel::clock;
use tracing::warn;

use super::facts::log_notice;
use super::{Daemon, GUARDIAN_PAUSE, VERDICT_PAUSE};
use crate::election::{Command, Notice};
use crate::trackers::Found;

impl Daemon {
    pub(super) fn noticed(&mut self, notice: Notice) {
        log_notice(&notice, &mut self.facts);
        self.hooks.noticed(&notice);
        if matches!(notice, Notice::GuardianLost) && self.guardian_at.is_none() {
            warn!("the guardian is gone: starting another");
            self.guardian_at = Some(clock::now() + GUARDIAN_PAUSE);
        }
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
    }

    pub(super) fn tell_trackers(&self) {
        self.election.send(Command::Trackers(self.watching.all()));
    }
}
