//! Routers that failed wait before they take part again, each time twice as long as the time before.
//!
//! Numbers only: who fails, and of what, is decided elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{FaultCause, RouterKey};

/// First wait for any cause.
const FIRST: Duration = Duration::from_secs(30);
/// Longest wait of a router that could not send: sending may work again at any time.
const LONGEST_SOCKET: Duration = Duration::from_secs(5 * 60);
/// Longest wait of a router whose VIP the kernel refuses: somebody has to change something.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone, Copy)]
struct Delay {
    cause: FaultCause,
    until: MonoTime,
    length: Duration,
}

/// The waits of routers. One that is over is remembered, so that the next one is longer.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    delays: BTreeMap<RouterKey, Delay>,
}

impl Backoff {
    /// Makes a router wait: twice as long as the last time, if it failed of the same cause.
    pub(super) fn delay(&mut self, key: &RouterKey, cause: FaultCause, now: MonoTime) {
        let longest = if cause == FaultCause::Socket { LONGEST_SOCKET } else { LONGEST };
        let before = self.delays.get(key).filter(|delay| delay.cause == cause);
        let length = before.map_or(FIRST, |delay| delay.length * 2).min(longest);
        self.delays.insert(key.clone(), Delay { cause, until: now + length, length });
    }

    /// The cause for which a router waits at `now`; `None` when it does not.
    pub(super) fn cause(&self, key: &RouterKey, now: MonoTime) -> Option<FaultCause> {
        self.delays.get(key).filter(|delay| delay.until > now).map(|delay| delay.cause)
    }

    /// What a router failed of works again: its next wait is a short one.
    pub(super) fn reset(&mut self, key: &RouterKey, cause: FaultCause) {
        if self.delays.get(key).is_some_and(|delay| delay.cause == cause) {
            self.delays.remove(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.delays.is_empty()
    }

    /// Everything may be different now: no router waits.
    pub(super) fn clear(&mut self) {
        self.delays.clear();
    }

    /// When the next wait after `now` ends.
    pub(super) fn next_end(&self, now: MonoTime) -> Option<MonoTime> {
        self.delays.values().map(|delay| delay.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_vrrp::Family;

    use super::*;

    fn key() -> RouterKey {
        let interface = "eth0".parse().expect("interface");
        RouterKey {
            interface,
            family: Family::V4,
            vrid: evenkeel_schemas::scalars::Vrid::new(51).expect("VRID"),
        }
    }

    #[test]
    fn waits_double_up_to_a_limit_and_end() {
        let (key, mut backoff, mut now) = (key(), Backoff::default(), MonoTime::from_millis(1));
        let mut lengths = Vec::new();
        for _ in 0..6 {
            backoff.delay(&key, FaultCause::Socket, now);
            let end = backoff.next_end(now).expect("it waits");
            lengths.push(now.until(end).as_secs());
            assert_eq!(backoff.cause(&key, now), Some(FaultCause::Socket));
            now = end;
            assert_eq!(backoff.cause(&key, now), None);
        }
        assert_eq!(lengths, [30, 60, 120, 240, 300, 300]);
        assert_eq!(backoff.next_end(now), None);
    }

    #[test]
    fn a_success_and_another_cause_make_the_next_wait_short() {
        let (key, mut backoff, now) = (key(), Backoff::default(), MonoTime::ZERO);
        backoff.delay(&key, FaultCause::VipRefused, now);
        backoff.delay(&key, FaultCause::VipRefused, now);
        backoff.reset(&key, FaultCause::Socket);
        assert_eq!(backoff.next_end(now), Some(MonoTime::from_millis(60_000)));
        backoff.delay(&key, FaultCause::Socket, now);
        assert_eq!(backoff.next_end(now), Some(MonoTime::from_millis(30_000)));
        backoff.delay(&key, FaultCause::Socket, now);
        backoff.reset(&key, FaultCause::Socket);
        assert_eq!(backoff.cause(&key, now), None);
        backoff.delay(&key, FaultCause::Socket, now);
        assert_eq!(backoff.next_end(now), Some(MonoTime::from_millis(30_000)));
        backoff.clear();
        assert_eq!(backoff.next_end(now), None);
    }
}
