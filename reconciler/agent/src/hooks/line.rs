//! What one router or group still has to be told. Values only.

use std::collections::VecDeque;
use std::fmt;

use evenkeel_schemas::plan::Hook;
use evenkeel_schemas::scalars::Name;

/// Changes that wait.
const MAX_WAITING: usize = 16;

/// A state in the words that keepalived's scripts know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookState {
    Master,
    Backup,
    /// Something keeps it from taking part.
    Fault,
    /// It does not take part, and nothing is wrong: the daemon stops, the router left the plan, an
    /// operator said so.
    Stop,
}

impl fmt::Display for HookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        })
    }
}

/// A change and the programs that are told of it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) state: HookState,
    pub(crate) priority: u8,
    pub(crate) reason: String,
    /// Sync group of a router.
    pub(crate) group: Option<Name>,
    pub(crate) hooks: Vec<Hook>,
}

/// Changes of one router or group that wait.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: VecDeque<Change>,
    /// Changes that were never told.
    pub(crate) dropped: u64,
}

impl Line {
    /// Adds a change; returns the oldest one when it had to go.
    pub(crate) fn push(&mut self, change: Change) -> Option<Change> {
        let full = self.waiting.len() >= MAX_WAITING;
        let dropped = if full { self.waiting.pop_front() } else { None };
        self.dropped += u64::from(dropped.is_some());
        self.waiting.push_back(change);
        dropped
    }

    /// The next change.
    pub(crate) fn take(&mut self) -> Option<Change> {
        self.waiting.pop_front()
    }

    /// What is not the end is not worth waiting for any more.
    pub(crate) fn keep_stop(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|change| change.state == HookState::Stop);
        self.dropped += u64::try_from(before - self.waiting.len()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_stop_stays() {
        let change = |priority, state| Change {
            state,
            priority,
            reason: String::new(),
            group: None,
            hooks: Vec::new(),
        };
        let mut line = Line::default();
        for n in 0..20 {
            let dropped = line.push(change(n, HookState::Master)).map(|change| change.priority);
            assert_eq!(dropped, n.checked_sub(16));
        }
        assert_eq!((line.dropped, line.take().map(|change| change.priority)), (4, Some(4)));
        line.push(change(99, HookState::Stop));
        line.keep_stop();
        assert_eq!((line.take().map(|change| change.priority), line.take()), (Some(99), None));
        assert_eq!(line.dropped, 4 + 15);
    }
}
