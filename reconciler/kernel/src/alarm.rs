//! Being woken at a moment of [`clock`](crate::clock), to be polled among other descriptors.
//!
//! The time-out of `poll(2)` itself will not do: the kernel lets it be late by a thousandth of its length for
//! all but real-time threads (`select_estimate_accuracy`, `fs/select.c`), 3.6 ms for a Backup that waits for
//! its Master. What becomes of being woken is the caller's business.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use evenkeel_schemas::time::MonoTime;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A timer (timerfd_create(2)) that is readable from the moment that it is set to until it is set to another
/// one.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    at: Option<MonoTime>,
}

impl Alarm {
    /// Makes one that is not set.
    ///
    /// # Errors
    /// The kernel's: mostly that the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?, at: None })
    }

    /// Sets it to a moment, which may be over. Costs nothing when it is set to that already.
    ///
    /// # Errors
    /// The kernel's; it is then as it was.
    pub fn set(&mut self, at: MonoTime) -> io::Result<()> {
        if self.at != Some(at) {
            // Zero would switch it off.
            let since_boot = TimeSpec::from_duration(at.since(MonoTime::ZERO).max(SHORTEST));
            self.timer.set(Expiration::OneShot(since_boot), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.at = Some(at);
        }
        Ok(())
    }

    /// Switches it off.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn unset(&mut self) -> io::Result<()> {
        if self.at.is_some() {
            self.timer.unset()?;
            self.at = None;
        }
        Ok(())
    }
}

const SHORTEST: std::time::Duration = std::time::Duration::from_nanos(1);

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::clock;

    fn rings(alarm: &Alarm, within: u16) -> bool {
        let mut fds = [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(within)).expect("polled") == 1
    }

    #[test]
    fn an_alarm_rings_from_its_time_on_until_it_is_set_anew() {
        let mut alarm = Alarm::new().expect("a timer");
        assert!(!rings(&alarm, 0), "not set");
        for over in [MonoTime::ZERO, clock::now()] {
            alarm.set(over).expect("set");
            assert!(rings(&alarm, 5_000) && rings(&alarm, 0), "{over:?}");
            alarm.set(over).expect("set");
            assert!(rings(&alarm, 0), "the same moment is over still");
        }
        let soon = clock::now() + Duration::from_millis(30);
        alarm.set(soon).expect("set");
        assert!(rings(&alarm, 5_000));
        assert!(clock::now() >= soon);
        alarm.set(clock::now() + Duration::from_secs(3600)).expect("set");
        assert!(!rings(&alarm, 0));
        alarm.set(MonoTime::ZERO).expect("set");
        alarm.unset().expect("unset");
        assert!(!rings(&alarm, 0));
    }
}
