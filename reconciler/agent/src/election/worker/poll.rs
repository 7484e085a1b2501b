//! What the thread waits for, and what of it has come. What is done about it is the turn's business.

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
use evenkeel_host::election::Notice;

/// What the thread is woken by, beside packets and the kernel's news.
pub(in crate::election) struct Wakers {
    /// Commands.
    pub(in crate::election) wake: Arc<EventFd>,
    /// Set when routes or rules have changed.
    pub(in crate::election) nudged: Arc<AtomicBool>,
    /// What is due.
    pub(in crate::election) alarm: Alarm,
    /// The end.
    pub(in crate::election) stop: StopSignals,
    /// Set when that has come.
    pub(in crate::election) told: Arc<AtomicBool>,
}

/// What has come. Of what has not, no look is needed: each is a system call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// A signal that ends the daemon.
    pub(super) stop: bool,
    /// Commands.
    pub(super) commands: bool,
    /// Events of the kernel.
    pub(super) news: bool,
    /// Packets, on any interface.
    pub(super) packets: bool,
}

impl Worker {
    /// When there is something to do without any input.
    fn due(&mut self, now: MonoTime) -> MonoTime {
        self.next_timer = self.election.poll_timeout().map(|(at, _)| at);
        let others =
            [self.next_timer, self.next_lapse(), Some(self.guardian.due()), self.conflicts.next_probe()];
        let told = self.telling.due();
        let announcements = self.ports.values().filter_map(|port| port.announcements.due());
        // What waits for a pause to end is never late because of this turn.
        let announcements = announcements.map(|due| due.max(now));
        others
            .into_iter()
            .chain([self.hushed, self.offer.as_ref().map(Offer::due), told])
            .flatten()
            .chain(announcements)
            .fold(self.check_at, MonoTime::min)
    }

    /// Sleeps until something is to be done.
    pub(super) fn wait(&mut self) -> Ready {
        let now = clock::now();
        self.handled = now;
        let due = self.due(now);
        // Without the alarm, later is better than never.
        let limit = match self.wakers.alarm.set(due) {
            Ok(()) => PollTimeout::NONE,
            Err(_) => PollTimeout::try_from(now.until(due)).unwrap_or(PollTimeout::MAX),
        };
        let wakers = &self.wakers;
        let news = if self.hushed.is_none() { PollFlags::POLLIN } else { PollFlags::empty() };
        let own = [
            (wakers.stop.as_fd(), PollFlags::POLLIN),
            (wakers.wake.as_fd(), PollFlags::POLLIN),
            (self.monitor.as_fd(), news),
            (wakers.alarm.as_fd(), PollFlags::POLLIN),
        ];
        let guardian = self.guardian.fd();
        let guarded = guardian.is_some();
        let others = self.ports.values().flat_map(Port::fds).chain(guardian);
        let all = own.into_iter().chain(others.map(|fd| (fd, PollFlags::POLLIN)));
        let mut fds: Vec<PollFd<'_>> = all.map(|(fd, events)| PollFd::new(fd, events)).collect();
        let polled = poll(&mut fds, limit);
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let [stop, commands, news, _, others @ ..] = ready.as_slice() else { return self.blind() };
        let (guardian, ports) = match others {
            [ports @ .., guardian] if guarded => (*guardian, ports),
            ports => (false, ports),
        };
        let ready = Ready { stop: *stop, commands: *commands, news: *news, packets: ports.contains(&true) };
        match polled {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                self.tell(Notice::Problem(format!("election: poll: {error}")));
                return self.blind();
            }
        }
        if guardian {
            self.guardian.hear();
        }
        if ready.stop && self.wakers.stop.arrived() {
            self.wakers.told.store(true, Ordering::Release);
            return ready;
        }
        Ready { stop: false, ..ready }
    }

    /// Nothing is known: everything is looked at.
    fn blind(&mut self) -> Ready {
        let stop = self.wakers.stop.arrived();
        self.wakers.told.fetch_or(stop, Ordering::AcqRel);
        Ready { stop, commands: true, news: true, packets: true }
    }
}
