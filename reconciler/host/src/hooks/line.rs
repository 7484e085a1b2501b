//! What one router or group still has to be told, and how fast. Values only.
//!
//! A state that flaps is not told each time: after some changes in a row one in [`PAUSE`], and then the last one.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use evenkeel_schemas::plan::Hook;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

/// Changes that wait.
const MAX_WAITING: usize = 16;
/// Changes in a row that are told without a pause: a start, an election and a way back, twice.
const BURST: u32 = 10;
/// After those, time from one to the next: 20 a minute.
const PAUSE: Duration = Duration::from_secs(3);
/// Least time between two words about changes that were not told.
const QUIET: Duration = Duration::from_secs(60);

/// A state in the words that keepalived's scripts know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    /// It is Master.
    Master,
    /// It is Backup.
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
pub struct Change {
    /// The state now.
    pub state: HookState,
    /// The priority now; 0 of a group.
    pub priority: u8,
    /// Why, for people.
    pub reason: String,
    /// Sync group of a router.
    pub group: Option<Name>,
    /// The programs.
    pub hooks: Vec<Hook>,
}

/// Changes of one router or group that wait.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: VecDeque<Change>,
    /// Changes that were never told.
    pub(crate) dropped: u64,
    /// Of these, those that the log has.
    logged: u64,
    logged_at: Option<MonoTime>,
    /// When the next change would come due if they came a [`PAUSE`] apart; [`BURST`] may be ahead of that.
    due: MonoTime,
}

impl Line {
    /// Adds a change; the oldest one goes when there are too many.
    pub(crate) fn push(&mut self, change: Change) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(change);
    }

    /// Until when nothing is told of what waits. Whoever stops does not wait: nobody on the wire can cause that.
    pub(crate) fn pause(&self, now: MonoTime) -> Option<MonoTime> {
        let until = self.due - PAUSE * (BURST - 1);
        let stops = self.waiting.back().is_none_or(|last| last.state == HookState::Stop);
        (!stops && now < until).then_some(until)
    }

    /// The next change; none while it pauses. Before a pause and after it only the last of what waits is of use, and the others are passed over.
    pub(crate) fn take(&mut self, now: MonoTime) -> Option<Change> {
        if self.pause(now).is_some() {
            return None;
        }
        let due = self.due.max(now) + PAUSE;
        if due - PAUSE * (BURST - 1) > now {
            let passed = self.waiting.len().saturating_sub(1);
            self.waiting.drain(..passed);
            self.dropped += u64::try_from(passed).unwrap_or_default();
        }
        let change = self.waiting.pop_front()?;
        self.due = due;
        Some(change)
    }

    /// How many changes were not told since that was said last, once a minute.
    pub(crate) fn unsaid(&mut self, now: MonoTime) -> Option<u64> {
        let unsaid = self.dropped - self.logged;
        if unsaid == 0 || self.logged_at.is_some_and(|at| now.since(at) < QUIET) {
            return None;
        }
        (self.logged, self.logged_at) = (self.dropped, Some(now));
        Some(unsaid)
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
        let mut line = Line::default();
        for n in 0..20 {
            line.push(change(n, HookState::Master));
        }
        assert_eq!((line.dropped, line.take(AT).map(|change| change.priority)), (4, Some(4)));
        line.push(change(99, HookState::Stop));
        line.keep_stop();
        assert_eq!((line.take(AT).map(|change| change.priority), line.take(AT)), (Some(99), None));
        assert_eq!(line.dropped, 4 + 15);
    }

    const AT: MonoTime = MonoTime::from_millis(3_600_000);

    /// A state that changes ten times a second for ten minutes.
    #[test]
    fn a_state_that_flaps_is_told_twenty_times_a_minute_and_the_last_one_always() {
        let mut line = Line::default();
        let (mut told, mut last, mut lines) = (0_u32, 0, 0);
        for tick in 0..6000_u64 {
            let now = AT + Duration::from_millis(tick * 100);
            let (number, state) =
                ((tick % 256) as u8, [HookState::Master, HookState::Backup][tick as usize % 2]);
            line.push(change(number, state));
            while let Some(change) = line.take(now) {
                (told, last) = (told + 1, change.priority);
            }
            lines += u64::from(line.unsaid(now).is_some());
        }
        assert!((200..=215).contains(&told), "{told}");
        assert!((9..=11).contains(&lines), "{lines}");
        // Then it is quiet: what is told in the end is what was last.
        let now = AT + Duration::from_millis(5999 * 100);
        if let Some(until) = line.pause(now) {
            assert!(until <= now + PAUSE);
            last = line.take(until).expect("the last").priority;
        }
        assert_eq!(last, (5999 % 256) as u8);
        assert_eq!(line.take(now + PAUSE * 2), None);
        assert!(line.dropped > 5700, "{}", line.dropped);
        // Who stops is told at once.
        let mut line = Line { due: AT + PAUSE * 20, ..Line::default() };
        line.push(change(1, HookState::Master));
        assert!(line.pause(AT).is_some());
        line.push(change(2, HookState::Stop));
        assert_eq!(line.take(AT).map(|change| change.priority), Some(2));
    }

    fn change(priority: u8, state: HookState) -> Change {
        Change { state, priority, reason: String::new(), group: None, hooks: Vec::new() }
    }
}
