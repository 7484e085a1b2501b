//! Routers that must wait before they take part again, each time longer than the time before.
//!
//! Numbers only: what a router waits for is decided where it fails.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{FaultCause, RouterKey};

/// First wait of any cause.
const FIRST: Duration = Duration::from_secs(30);
/// Longest wait of a router that could not send: sending may work again at any time.
const LONGEST_SOCKET: Duration = Duration::from_secs(5 * 60);
/// Longest wait of a router whose VIP the kernel refuses: somebody has to change something.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone, Copy)]
struct Hold {
    cause: FaultCause,
    until: MonoTime,
    length: Duration,
}

/// Who waits for how long. A wait that is over is remembered, so that the next one is longer.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    holds: BTreeMap<RouterKey, Hold>,
}

impl Backoff {
    /// Lets a router wait: twice as long as the last time.
    pub(super) fn hold(&mut self, key: &RouterKey, cause: FaultCause, now: MonoTime) {
        let longest = if cause == FaultCause::Socket { LONGEST_SOCKET } else { LONGEST };
        let before = self.holds.get(key).filter(|hold| hold.cause == cause);
        let length = before.map_or(FIRST, |hold| hold.length * 2).min(longest);
        self.holds.insert(key.clone(), Hold { cause, until: now + length, length });
    }

    /// Why a router must wait now.
    pub(super) fn cause(&self, key: &RouterKey, now: MonoTime) -> Option<FaultCause> {
        self.holds.get(key).filter(|hold| hold.until > now).map(|hold| hold.cause)
    }

    /// What the router failed at works: its next wait is a short one.
    pub(super) fn forgive(&mut self, key: &RouterKey, cause: FaultCause) {
        if self.holds.get(key).is_some_and(|hold| hold.cause == cause) {
            self.holds.remove(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// Everything may be different now: nobody waits.
    pub(super) fn clear(&mut self) {
        self.holds.clear();
    }

    /// When the next wait is over.
    pub(super) fn next_end(&self, now: MonoTime) -> Option<MonoTime> {
        self.holds.values().map(|hold| hold.until).filter(|until| *until > now).min()
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
        let (key, mut holds, mut now) = (key(), Backoff::default(), MonoTime::from_millis(1));
        let mut lengths = Vec::new();
        for _ in 0..6 {
            holds.hold(&key, FaultCause::Socket, now);
            let end = holds.next_end(now).expect("it waits");
            lengths.push(now.until(end).as_secs());
            assert_eq!(holds.cause(&key, now), Some(FaultCause::Socket));
            now = end;
            assert_eq!(holds.cause(&key, now), None);
        }
        assert_eq!(lengths, [30, 60, 120, 240, 300, 300]);
        assert_eq!(holds.next_end(now), None);
    }

    #[test]
    fn a_success_and_another_cause_make_the_next_wait_short() {
        let (key, mut holds, now) = (key(), Backoff::default(), MonoTime::ZERO);
        holds.hold(&key, FaultCause::VipRefused, now);
        holds.hold(&key, FaultCause::VipRefused, now);
        holds.forgive(&key, FaultCause::Socket);
        assert_eq!(holds.next_end(now), Some(MonoTime::from_millis(60_000)));
        holds.hold(&key, FaultCause::Socket, now);
        assert_eq!(holds.next_end(now), Some(MonoTime::from_millis(30_000)));
        holds.hold(&key, FaultCause::Socket, now);
        holds.forgive(&key, FaultCause::Socket);
        assert_eq!(holds.cause(&key, now), None);
        holds.hold(&key, FaultCause::Socket, now);
        assert_eq!(holds.next_end(now), Some(MonoTime::from_millis(30_000)));
        holds.clear();
        assert_eq!(holds.next_end(now), None);
    }
}
