//! How late the election's timers were: what shows whether the thread gets the processor when it needs it.
//!
//! Numbers only.

use std::time::Duration;

use evenkeel_schemas::status::LatenessBucket;

/// Upper bounds of the buckets, microseconds; the last bucket has none.
const BOUNDS: [u64; 9] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];

/// A histogram.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    counts: [u64; BOUNDS.len() + 1],
    max: Duration,
}

impl Lateness {
    /// Counts a timer that was looked at so late.
    pub(super) fn record(&mut self, late: Duration) {
        let us = late.as_micros();
        let bucket = BOUNDS.iter().position(|bound| us <= u128::from(*bound)).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.max = self.max.max(late);
    }

    /// Largest lateness, microseconds.
    pub(super) fn max_us(&self) -> u64 {
        u64::try_from(self.max.as_micros()).unwrap_or(u64::MAX)
    }

    /// As the status document has it.
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
