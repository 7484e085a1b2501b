//! What a sync group may ask of one virtual router.
//!
//! When it asks is the engine's business; nothing here knows who else is in the group.

use evenkeel_schemas::time::MonoTime;

use super::io::{Cause, State};
use super::phase::{Next, Phase};
use super::{VirtualRouter, Wait};

impl VirtualRouter {
    /// Initialize: why it goes on waiting. Nothing comes out.
    pub(crate) fn wait_for_group(&mut self, cause: Cause) {
        if self.state() == State::Initialize {
            self.cause = cause;
        }
    }

    /// Takes part as Backup, an owner (priority 255) too: it claims together with its group.
    pub(crate) fn start_with_group(&mut self, now: MonoTime) {
        if self.state() == State::Initialize {
            self.become_backup(Cause::Startup, None, None, now);
        }
    }

    /// A Backup claims, its timer and those of its group being over since `due`.
    pub(crate) fn claim_with_group(&mut self, due: MonoTime, now: MonoTime) {
        if let Phase::Backup(backup) = &mut self.phase {
            backup.deadline = due;
            self.timer(now);
        }
    }

    /// A Master gives up what the others of its group cannot hold. It says so, so that a Backup claims
    /// after its skew time.
    pub(crate) fn yield_with_group(&mut self, cause: Cause, now: MonoTime) {
        self.part(cause, Next::Backup, now);
    }

    /// Leaves the election because of the group; a Master says so.
    pub(crate) fn leave_with_group(&mut self, cause: Cause, now: MonoTime) {
        self.leave(cause, now);
    }

    /// A Backup that has heard a Master and has no reason to claim from it.
    pub(crate) fn obeys_master(&self, now: MonoTime) -> bool {
        match &self.phase {
            Phase::Initialize | Phase::Master(_) => false,
            Phase::Backup(backup) => {
                backup.master.is_some() && backup.wait == Wait::MasterDown && now < backup.deadline
            }
        }
    }
}
