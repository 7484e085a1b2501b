//! Changes of one router, group, service or real server that its programs have yet to be notified of, and
//! their pace. Values only.
//!
//! A state that flaps is not notified each time: after [`BURST`] changes in a row one change each [`PAUSE`],
//! and that is the last one then.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use evenkeel_schemas::plan::Hook;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

/// Most changes that wait.
const MAX_WAITING: usize = 16;
/// Changes in a row that go without a pause: a start, an election and the way back, twice.
const BURST: u32 = 10;
/// After a burst, time from one change to the next: 20 a minute.
const PAUSE: Duration = Duration::from_secs(3);
/// Least time between two log lines about dropped changes.
const QUIET: Duration = Duration::from_secs(60);

/// A state as keepalived's scripts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    /// The router is Master.
    Master,
    /// The router is Backup.
    Backup,
    /// Something keeps the router from taking part.
    Fault,
    /// The router takes no part and nothing is wrong: the daemon stops, the router left the plan, or an
    /// operator ordered it.
    Stop,
    /// A service has its quorum again, or a real server is healthy again.
    Up,
    /// A service lost its quorum, or a real server failed.
    Down,
}

impl fmt::Display for HookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::Up => "UP",
            Self::Down => "DOWN",
        })
    }
}

/// A change of state and the programs to notify of it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookChange {
    /// State after the change.
    pub state: HookState,
    /// Priority after the change; 0 for all but a router.
    pub priority: u8,
    /// Reason, a sentence for people.
    pub reason: String,
    /// Sync group of the router; none for a group.
    pub group: Option<Name>,
    /// Programs to run, in order.
    pub hooks: Vec<Hook>,
}

/// Changes of one subject that wait.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: VecDeque<HookChange>,
    /// Changes that were dropped.
    pub(crate) dropped: u64,
    /// Of the dropped changes, those that the log knows of.
    logged: u64,
    logged_at: Option<MonoTime>,
    /// Time when the next change would be due if changes came a [`PAUSE`] apart; a [`BURST`] may run ahead of
    /// it.
    due: MonoTime,
}

impl Line {
    /// Adds a change. The oldest one is dropped when [`MAX_WAITING`] wait already.
    pub(crate) fn push(&mut self, change: HookChange) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(change);
    }

    /// End of the pause for the changes that wait; none when the next may go now. A stop never waits: no
    /// sender on the wire can cause one.
    pub(crate) fn pause(&self, now: MonoTime) -> Option<MonoTime> {
        let until = self.due - PAUSE * (BURST - 1);
        let stops = self.waiting.back().is_none_or(|last| last.state == HookState::Stop);
        (!stops && now < until).then_some(until)
    }

    /// Removes and returns the next change; none during a pause. Where a pause comes before or after it, only
    /// the last change is of use, and the others are dropped.
    pub(crate) fn next_change(&mut self, now: MonoTime) -> Option<HookChange> {
        if self.pause(now).is_some() {
            return None;
        }
        let due = self.due.max(now) + PAUSE;
        // The burst is used up, so the next change has to wait: what is sent now must be the newest.
        if due - PAUSE * (BURST - 1) > now {
            let passed = self.waiting.len().saturating_sub(1);
            self.waiting.drain(..passed);
            self.dropped += u64::try_from(passed).unwrap_or_default();
        }
        let change = self.waiting.pop_front()?;
        self.due = due;
        Some(change)
    }

    /// Number of dropped changes that the log does not know of yet; none within [`QUIET`] of the last answer.
    pub(crate) fn unlogged(&mut self, now: MonoTime) -> Option<u64> {
        let unlogged = self.dropped - self.logged;
        if unlogged == 0 || self.logged_at.is_some_and(|at| now.since(at) < QUIET) {
            return None;
        }
        (self.logged, self.logged_at) = (self.dropped, Some(now));
        Some(unlogged)
    }

    /// Drops every change but a stop: the daemon ends, so they are not worth waiting for.
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
    fn a_full_line_drops_its_oldest_change_and_keeps_a_stop() {
        let mut line = Line::default();
        for n in 0..20 {
            line.push(change(n, HookState::Master));
        }
        assert_eq!((line.dropped, line.next_change(AT).map(|change| change.priority)), (4, Some(4)));
        line.push(change(99, HookState::Stop));
        line.keep_stop();
        assert_eq!(
            (line.next_change(AT).map(|change| change.priority), line.next_change(AT)),
            (Some(99), None)
        );
        assert_eq!(line.dropped, 4 + 15);
    }

    const AT: MonoTime = MonoTime::from_millis(3_600_000);

    /// A state that changes ten times a second for ten minutes.
    #[test]
    fn a_flapping_state_is_notified_twenty_times_a_minute_and_its_last_change_always() {
        let mut line = Line::default();
        let (mut sent, mut last, mut lines) = (0_u32, 0, 0);
        for tick in 0..6000_u64 {
            let now = AT + Duration::from_millis(tick * 100);
            let (number, state) =
                ((tick % 256) as u8, [HookState::Master, HookState::Backup][tick as usize % 2]);
            line.push(change(number, state));
            while let Some(change) = line.next_change(now) {
                (sent, last) = (sent + 1, change.priority);
            }
            lines += u64::from(line.unlogged(now).is_some());
        }
        assert!((200..=215).contains(&sent), "{sent}");
        assert!((9..=11).contains(&lines), "{lines}");
        // Then it is quiet: what is sent in the end is what was last.
        let now = AT + Duration::from_millis(5999 * 100);
        if let Some(until) = line.pause(now) {
            assert!(until <= now + PAUSE);
            last = line.next_change(until).expect("the last").priority;
        }
        assert_eq!(last, (5999 % 256) as u8);
        assert_eq!(line.next_change(now + PAUSE * 2), None);
        assert!(line.dropped > 5700, "{}", line.dropped);
        // Who stops is sent at once.
        let mut line = Line { due: AT + PAUSE * 20, ..Line::default() };
        line.push(change(1, HookState::Master));
        assert!(line.pause(AT).is_some());
        line.push(change(2, HookState::Stop));
        assert_eq!(line.next_change(AT).map(|change| change.priority), Some(2));
    }

    fn change(priority: u8, state: HookState) -> HookChange {
        HookChange { state, priority, reason: String::new(), group: None, hooks: Vec::new() }
    }
}
