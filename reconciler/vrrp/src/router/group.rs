//! What a sync group may ask of one virtual router.
//!
//! When it asks is the engine's business; nothing here knows who else is in the group.

use std::fmt;

use evenkeel_schemas::scalars::{NAME_MAX, Name};
use evenkeel_schemas::time::MonoTime;

use super::io::{AdvertKind, Cause, State};
use super::phase::Phase;
use super::{VirtualRouter, Wait};

/// The name of a virtual router, in place: a [`Cause`] that holds it is copied freely and costs the
/// election no allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MemberName {
    bytes: [u8; NAME_MAX],
    length: u8,
}

impl MemberName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl From<&Name> for MemberName {
    fn from(name: &Name) -> Self {
        let mut bytes = [0; NAME_MAX];
        let mut length = 0;
        for (to, from) in bytes.iter_mut().zip(name.as_str().bytes()) {
            *to = from;
            length += 1;
        }
        Self { bytes, length }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What another member of the sync group did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupEvent {
    /// Backup: the member was Master and became Backup.
    Yielded,
    /// Backup: the group was Master in part for too long, and the member, its leader, hears another Master.
    Follows,
    /// Initialize: the member takes no part, or does not yet.
    Out,
}

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
        if self.state() == State::Master {
            self.become_backup(cause, None, None, now);
            self.transmit(AdvertKind::PriorityZero, now, now);
        }
    }

    /// Leaves the election because of the group; a Master says so.
    pub(crate) fn leave_with_group(&mut self, cause: Cause, now: MonoTime) {
        self.leave(cause, true, now);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_kept() {
        for length in 1..=NAME_MAX {
            let text = "n".repeat(length);
            let name: Name = text.parse().expect("name");
            assert_eq!(MemberName::from(&name).to_string(), text);
            assert_eq!(format!("{:?}", MemberName::from(&name)), format!("{text:?}"));
        }
    }
}
