//! Waiting: what wakes the thread, and what of it has come. Acting on it is the turn's business.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_kernel::{Alarm, clock};
use evenkeel_schemas::time::MonoTime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::super::port::Port;
use super::Worker;
use super::offers::Offer;
use crate::system::signals::StopSignals;

/// What wakes the thread, beside packets and the kernel's events.
pub(in crate::election) struct Wakers {
    /// Readable when there are commands or a nudge.
    pub(in crate::election) wake: Arc<EventFd>,
    /// Set when routes or rules have changed.
    pub(in crate::election) nudged: Arc<AtomicBool>,
    /// Rings when something is due.
    pub(in crate::election) alarm: Alarm,
    /// Signals that end the daemon.
    pub(in crate::election) stop: StopSignals,
    /// Set when one has come.
    pub(in crate::election) stopped: Arc<AtomicBool>,
}

/// What has come. What has not come is not read: each reading is a system call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// A signal that ends the daemon.
    pub(super) stop: bool,
    /// Commands or a nudge.
    pub(super) commands: bool,
    /// Events of the kernel.
    pub(super) events: bool,
    /// Packets or claims, on any interface.
    pub(super) packets: bool,
}

impl Worker {
    /// When there is something to do without any input.
    fn due(&mut self, now: MonoTime) -> MonoTime {
        let timer = self.routers.election.poll_timeout().map(|(at, _)| at);
        self.lateness.expect(timer);
        // What waits for a pause to end is never late because of this turn.
        let announcements = self.ports.open.values().filter_map(|port| port.announcements.due());
        let announcements = announcements.map(|due| due.max(now));
        [
            timer,
            self.leases.next_lapse(&self.routers),
            Some(self.leases.guardian.due()),
            self.conflicts.next_probe(),
            self.outbox.hushed(),
            self.offer.as_ref().map(Offer::due),
            self.strangers.due(),
        ]
        .into_iter()
        .flatten()
        .chain(announcements)
        .fold(self.resync.due(), MonoTime::min)
    }

    /// Sleeps until there is something to do.
    pub(super) fn wait(&mut self) -> Ready {
        let now = clock::now();
        self.handled = now;
        let due = self.due(now);
        // The time-out of `poll` may be late: only without the alarm is it better than nothing.
        let limit = match self.wakers.alarm.set(due) {
            Ok(()) => PollTimeout::NONE,
            Err(_) => PollTimeout::try_from(now.until(due)).unwrap_or(PollTimeout::MAX),
        };
        let wakers = &self.wakers;
        // After a move of VIPs the events are our own doing.
        let events = if self.outbox.hushed().is_none() { PollFlags::POLLIN } else { PollFlags::empty() };
        let own = [
            (wakers.stop.as_fd(), PollFlags::POLLIN),
            (wakers.wake.as_fd(), PollFlags::POLLIN),
            (self.monitor.as_fd(), events),
            (wakers.alarm.as_fd(), PollFlags::POLLIN),
        ];
        let guardian = self.leases.guardian.fd();
        let guarded = guardian.is_some();
        let others = self.ports.open.values().flat_map(Port::fds).chain(guardian);
        let all = own.into_iter().chain(others.map(|fd| (fd, PollFlags::POLLIN)));
        let mut fds: Vec<PollFd<'_>> = all.map(|(fd, events)| PollFd::new(fd, events)).collect();
        let polled = poll(&mut fds, limit);
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let [stop, commands, events, _, others @ ..] = ready.as_slice() else { return self.assume_all() };
        let (guardian, ports) = match others {
            [ports @ .., guardian] if guarded => (*guardian, ports),
            ports => (false, ports),
        };
        let packets = ports.contains(&true);
        let ready = Ready { stop: *stop, commands: *commands, events: *events, packets };
        match polled {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                self.outbox.problem(format!("election: poll: {error}"));
                return self.assume_all();
            }
        }
        if guardian {
            self.leases.guardian.read_answers();
        }
        if ready.stop && self.wakers.stop.arrived() {
            self.wakers.stopped.store(true, Ordering::Release);
            return ready;
        }
        Ready { stop: false, ..ready }
    }

    /// It is not known what has come: everything is read.
    fn assume_all(&mut self) -> Ready {
        let stop = self.wakers.stop.arrived();
        self.wakers.stopped.fetch_or(stop, Ordering::AcqRel);
        Ready { stop, commands: true, events: true, packets: true }
    }
}
