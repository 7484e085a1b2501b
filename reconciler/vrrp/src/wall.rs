//! The wall clock as an argument: what turns a point in monotonic time into Unix time.
//!
//! Nothing here reads a clock, and no timer follows from Unix time, which others may set.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// The Unix time at [`MonoTime::ZERO`], from which every other one follows until the clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    /// Nanoseconds; negative on a host whose clock says less than it has been up.
    origin: i128,
}

impl WallClock {
    /// The clock that says `unix`, counted from the epoch, at `now`.
    #[must_use]
    pub const fn new(unix: Duration, now: MonoTime) -> Self {
        Self { origin: unix.as_nanos() as i128 - now.as_nanos() as i128 }
    }

    /// Unix time at `at`, from the epoch; zero before it.
    #[must_use]
    pub fn at(self, at: MonoTime) -> Duration {
        let nanos = self.origin + i128::from(at.as_nanos());
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// Difference of two clocks.
    #[must_use]
    pub fn difference(self, other: Self) -> Duration {
        let nanos = (self.origin - other.origin).unsigned_abs();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_time_follows_monotonic_time() {
        let clock = WallClock::new(Duration::from_secs(1000), MonoTime::from_millis(500));
        assert_eq!(clock.at(MonoTime::from_millis(1500)), Duration::from_secs(1001));
        assert_eq!(clock.at(MonoTime::ZERO), Duration::from_millis(999_500));
        let other = WallClock::new(Duration::from_secs(998), MonoTime::from_millis(500));
        assert_eq!(
            (clock.difference(other), other.difference(clock)),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
    }

    #[test]
    fn a_clock_behind_the_uptime_stands_at_the_epoch() {
        let clock = WallClock::new(Duration::ZERO, MonoTime::from_millis(5000));
        assert_eq!(clock.at(MonoTime::from_millis(4000)), Duration::ZERO);
        assert_eq!(clock.at(MonoTime::from_millis(6000)), Duration::from_secs(1));
    }
}
