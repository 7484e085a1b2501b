//! How late the election's timers are: it shows whether the thread gets the processor when it needs it.
//!
//! Numbers only.

use std::time::Duration;

use evenkeel_schemas::status::LatenessBucket;
use evenkeel_schemas::time::MonoTime;

/// Upper bounds of the buckets, microseconds; the last bucket has none.
const BOUNDS: [u64; 9] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];

/// A histogram of how long after its time a timer was handled.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// The next timer, as known when the thread last began to wait.
    expected: Option<MonoTime>,
    /// Timers by bucket.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
    max: Duration,
}

impl Lateness {
    /// The next timer, if there is one.
    pub(super) const fn expect(&mut self, timer: Option<MonoTime>) {
        self.expected = timer;
    }

    /// The thread is awake: counts the expected timer if it has run out, and returns whether it has.
    pub(super) fn observe(&mut self, now: MonoTime) -> bool {
        let over = self.expected.filter(|at| *at <= now);
        if let Some(at) = over {
            self.record(now.since(at));
        }
        over.is_some()
    }

    /// Counts a timer that was late by this.
    fn record(&mut self, late: Duration) {
        let us = late.as_micros();
        let bucket = BOUNDS.iter().position(|bound| us <= u128::from(*bound)).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(late);
        self.max = self.max.max(late);
    }

    /// Sum of all lateness, microseconds.
    pub(super) fn sum_us(&self) -> u64 {
        u64::try_from(self.sum.as_micros()).unwrap_or(u64::MAX)
    }

    /// Largest lateness, microseconds.
    pub(super) fn max_us(&self) -> u64 {
        u64::try_from(self.max.as_micros()).unwrap_or(u64::MAX)
    }

    /// The histogram as the status document has it.
    pub(super) fn buckets(&self) -> Vec<LatenessBucket> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds
            .zip(&self.counts)
            .map(|(up_to_us, timers)| LatenessBucket { up_to_us, timers: *timers })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_timer_that_has_run_out_is_counted() {
        let mut lateness = Lateness::default();
        assert!(!lateness.observe(MonoTime::from_millis(5)), "none is expected");
        lateness.expect(Some(MonoTime::from_millis(10)));
        assert!(!lateness.observe(MonoTime::from_millis(9)));
        assert!(lateness.observe(MonoTime::from_millis(12)));
        assert_eq!(lateness.max_us(), 2_000);
        lateness.expect(Some(MonoTime::from_millis(20)));
        assert!(lateness.observe(MonoTime::from_millis(21)));
        assert_eq!((lateness.max_us(), lateness.sum_us()), (2_000, 3_000));
    }

    #[test]
    fn every_timer_is_in_one_bucket() {
        let mut lateness = Lateness::default();
        for us in [0, 100, 101, 5_000, 1_000_000, 1_000_001, 90_000_000] {
            lateness.record(Duration::from_micros(us));
        }
        let counts: Vec<u64> = lateness.buckets().iter().map(|bucket| bucket.timers).collect();
        assert_eq!(counts, [2, 1, 0, 0, 1, 0, 0, 0, 1, 2]);
        assert_eq!(lateness.max_us(), 90_000_000);
        assert_eq!(lateness.buckets().last().map(|bucket| bucket.up_to_us), Some(None));
    }
}
