//! Marks on the clock and waiting for conditions. Everything in the lab is stamped with the monotonic clock.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// A point in time from which recordings are asked: `prober.gap_since(mark)`.
pub type Mark = Instant;

/// How long [`eventually`] rests between two looks. A look often costs more than this on the guest's single
/// CPU.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Now, as a mark.
pub fn mark() -> Mark {
    Instant::now()
}

/// Polls until `condition` holds and returns how long that took; panics, saying `what` was awaited, after
/// `timeout`.
#[track_caller]
pub fn eventually(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    loop {
        if condition() {
            return started.elapsed();
        }
        assert!(started.elapsed() < timeout, "waited {timeout:?} in vain until {what}");
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// Until then, rounded up to the whole milliseconds that `poll` takes.
pub(crate) fn poll_timeout(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
