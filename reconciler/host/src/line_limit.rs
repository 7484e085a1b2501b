//! A limit of log lines of one kind: so many a minute, and one line for those that were left out.
//!
//! Counting only. For lines that others can cause, who may be strangers on the segment.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// Interval in which lines are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// The lines of one kind.
#[derive(Debug, Clone)]
pub struct LineLimit {
    most: u32,
    since: Option<MonoTime>,
    admitted: u32,
    dropped: u64,
}

impl LineLimit {
    /// A limit of `most` lines a minute.
    pub const fn new(most: u32) -> Self {
        Self { most, since: None, admitted: 0, dropped: 0 }
    }

    /// Whether there is room for a line. A line for which there is none is counted.
    pub fn admit(&mut self, now: MonoTime) -> bool {
        let over = self.since.is_none_or(|since| now.since(since) >= MINUTE);
        // Dropped lines are reported before a new minute begins.
        if over && self.dropped == 0 {
            (self.since, self.admitted) = (Some(now), 0);
        }
        let room = self.admitted < self.most;
        if room {
            self.admitted += 1;
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        room
    }

    /// Number of dropped lines and the seconds in which they were dropped, once a minute; none when no line
    /// was dropped.
    pub fn dropped(&mut self, now: MonoTime) -> Option<(u64, u64)> {
        let seconds = self.since.map_or(0, |since| now.since(since).as_secs());
        if self.dropped == 0 || seconds < MINUTE.as_secs() {
            return None;
        }
        (self.since, self.admitted) = (Some(now), 0);
        Some((std::mem::take(&mut self.dropped), seconds))
    }

    /// Whether the last minute has neither admitted nor dropped lines.
    pub fn is_idle(&self, now: MonoTime) -> bool {
        self.dropped == 0 && self.since.is_none_or(|since| now.since(since) >= MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_lines_a_minute_and_one_for_the_rest() {
        let mut limit = LineLimit::new(20);
        let (mut lines, mut summaries) = (0, Vec::new());
        for ms in (0..180_000).step_by(10) {
            let now = MonoTime::from_millis(ms);
            lines += u32::from(limit.admit(now));
            summaries.extend(limit.dropped(now));
        }
        assert_eq!((lines, summaries.len()), (60, 2), "{summaries:?}");
        assert_eq!(summaries[0], (5981, 60));
        assert!(!limit.is_idle(MonoTime::from_millis(300_000)), "the rest is still to be told");
        assert!(limit.dropped(MonoTime::from_millis(300_000)).is_some());
        assert!(limit.is_idle(MonoTime::from_millis(400_000)));
        assert_eq!(limit.dropped(MonoTime::from_millis(400_000)), None);
    }
}
