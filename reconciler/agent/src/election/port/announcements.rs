//! Announcements of VIPs on one interface: at once, or one after another with a pause for switches that drop
//! bursts. An announcement that finds the kernel's buffers full is sent a little later.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use super::{Port, is_full};
use crate::election::sockets::Announcer;

/// Most announcements that wait: bursts of three routers with 255 VIPs, five packets each. More are lost.
const MAX_PENDING: usize = 4096;
/// Longest wait for room: later nobody has use for them.
const PENDING_LIMIT: Duration = Duration::from_secs(2);
/// Most waiting announcements sent in one turn.
const PENDING_TURN: usize = 256;
/// How long after the first announcement of a VIP its repetitions come.
const AGAIN: Duration = Duration::from_millis(20);
/// Time until announcements that found no room are tried again.
const ROOM_GAP: Duration = Duration::from_millis(5);

/// Announcements that wait to be sent.
#[derive(Debug, Default)]
pub(in crate::election) struct AnnouncementQueue {
    /// Pause between two packets; zero for none.
    pause: Duration,
    /// Whether this host forwards IPv6 on the interface.
    forwards: bool,
    pending: VecDeque<IpAddr>,
    /// When the next one may be sent.
    next: MonoTime,
    /// When those that wait for room are given up.
    until: MonoTime,
}

impl AnnouncementQueue {
    /// Sets the pause between two packets; zero for none.
    pub(in crate::election) const fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Sets whether this host forwards IPv6 on the interface: neighbours must hear of it with each
    /// announcement.
    pub(in crate::election) const fn set_forwards(&mut self, forwards: bool) {
        self.forwards = forwards;
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// When the next announcement is to be sent; `None` when none waits.
    pub(in crate::election) fn due(&self) -> Option<MonoTime> {
        (!self.pending.is_empty()).then_some(self.next)
    }

    /// Drops the waiting announcements of a VIP that is no longer here.
    pub(in crate::election) fn withdraw(&mut self, vip: IpAddr) {
        self.pending.retain(|waiting| *waiting != vip);
    }

    /// Lets an announcement wait. The first one to wait sets the time: all that wait are sent at `at`.
    fn put(&mut self, vip: IpAddr, now: MonoTime, at: MonoTime) {
        if self.pending.is_empty() {
            self.next = self.next.max(at);
        }
        if self.pending.len() < MAX_PENDING {
            self.pending.push_back(vip);
            self.until = now + PENDING_LIMIT;
        }
    }

    fn send(&mut self, announcer: &Announcer, now: MonoTime) {
        if self.pause.is_zero() && now >= self.until {
            self.pending.clear();
        }
        for _ in 0..PENDING_TURN {
            let Some(vip) = self.pending.front().filter(|_| now >= self.next) else { return };
            if announcer.announce(*vip, self.forwards).is_err_and(|error| is_full(&error)) {
                self.next = now + ROOM_GAP;
                return;
            }
            self.pending.pop_front();
            if !self.pause.is_zero() {
                self.next = now + self.pause;
            }
        }
    }
}

impl Port {
    /// Sends one announcement for `vip`, later if there is no room for it now.
    ///
    /// # Errors
    /// The kernel's, for anything but a lack of room.
    pub(in crate::election) fn announce(&mut self, vip: IpAddr, now: MonoTime) -> io::Result<()> {
        let Some(announcer) = &self.announcer else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if !self.announcements.pause.is_zero() {
            self.announcements.put(vip, now, now);
            self.announcements.send(announcer, now);
            return Ok(());
        }
        match announcer.announce(vip, self.announcements.forwards) {
            Err(error) if is_full(&error) => {
                self.announcements.put(vip, now, now);
                self.announcements.next = now + ROOM_GAP;
                Ok(())
            }
            result => result,
        }
    }

    /// Sends one more announcement for `vip`, 20 ms later or after the pause. A neighbour that missed the
    /// first one would miss a second one right behind it, and one that got it would only be kept busy.
    pub(in crate::election) fn announce_again(&mut self, vip: IpAddr, now: MonoTime) {
        let at = if self.announcements.pause.is_zero() { now + AGAIN } else { now };
        self.announcements.put(vip, now, at);
    }

    /// Sends what waits, as far as it is its time.
    pub(in crate::election) fn send_pending(&mut self, now: MonoTime) {
        if let Some(announcer) = &self.announcer {
            self.announcements.send(announcer, now);
        }
    }
}
