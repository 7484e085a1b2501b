//! The only clock.
//!
//! Everything else takes the time as an argument.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use nix::time::{ClockId, clock_gettime};

/// Time since boot, suspended time included (`CLOCK_BOOTTIME`, clock_gettime(2)).
///
/// Linux has had this clock since 2.6.39; should reading it fail nevertheless, time stands still
/// at [`MonoTime::ZERO`] rather than the daemon going down.
#[must_use]
pub fn now() -> MonoTime {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    MonoTime::ZERO + since_boot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward() {
        let first = now();
        assert!(first > MonoTime::ZERO);
        assert!(now() >= first);
    }
}
