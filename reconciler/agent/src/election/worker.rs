//! The loop itself: one thread, one `poll`, one input at a time.
//!
//! Order of a turn: timers first, so that no flood of packets delays an advertisement; then
//! packets, a bounded number; then commands, kernel events and VIPs. Here is the turn; what the
//! routers say is carried out in `output`, who they are and whether they may take part is in
//! `routers`, and their VIPs are in `holding`.

mod holding;
mod output;
mod routers;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, TryRecvError};
use std::time::Duration;

use evenkeel_converge::AddressKey;
use evenkeel_kernel::{Event, Kernel, Monitor, clock};
use evenkeel_schemas::scalars::{InterfaceName, Name};
use evenkeel_schemas::status::{ElectionStatus, RouterOrder};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Election, FaultCause, Received, RouterKey, TrackerState, split_ipv4};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc;

use super::guarding::Guarding;
use super::hold::Holds;
use super::port::Port;
use super::sockets::Buffer;
use super::{Command, ElectionSnapshot, Notice, RouterSetup, RouterSnapshot};
use crate::guard::{Guardian, Lease};

/// Packets taken from one interface in one turn.
const MAX_PACKETS: usize = 64;
/// How often VIPs and links are looked at without an event.
const RESYNC: Duration = Duration::from_secs(5);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How soon announcements that found no room are tried again.
const ROOM_GAP: Duration = Duration::from_millis(5);

pub(super) struct Worker {
    inbox: Inbox<Command>,
    wake: Arc<EventFd>,
    notices: mpsc::Sender<Notice>,
    kernel: Kernel,
    monitor: Monitor,
    guarding: Guarding,
    /// Leases of an earlier daemon that no router has taken over yet.
    leases: Vec<Lease>,
    election: Election,
    routers: BTreeMap<RouterKey, RouterSetup>,
    ports: BTreeMap<InterfaceName, Port>,
    /// Routers that must wait before they take part again.
    holds: Holds,
    /// Until when a Master may hold its VIPs: no Backup can claim them earlier. From the last
    /// advertisement that was really sent.
    granted: BTreeMap<RouterKey, MonoTime>,
    /// Since when Masters cannot send.
    unsent: BTreeMap<RouterKey, MonoTime>,
    /// Before the start, routers that go on as Master and the VIPs of their leases: no others are
    /// theirs yet.
    adopted: BTreeMap<RouterKey, BTreeSet<AddressKey>>,
    /// VIPs that were there, as wanted, when last looked at.
    present: BTreeSet<AddressKey>,
    /// VIPs that should be gone and are not.
    stuck: BTreeSet<AddressKey>,
    /// Operations on VIPs that failed when last tried, so that each is told once.
    failing: BTreeSet<String>,
    /// Why routers do not take part, as told last.
    faults: BTreeMap<RouterKey, FaultCause>,
    /// What trackers found.
    trackers: BTreeMap<Name, TrackerState>,
    /// What operators told routers.
    orders: BTreeMap<Name, RouterOrder>,
    started: bool,
    check_at: MonoTime,
    links_dirty: bool,
    /// Whether the links were read in this turn: once is enough.
    links_read: bool,
    vips_dirty: bool,
    /// Interfaces whose VIPs must be announced again.
    replaced: BTreeSet<InterfaceName>,
    buffer: Buffer,
}

impl Worker {
    #[allow(clippy::too_many_arguments, reason = "called once, with everything the thread owns")]
    pub(super) fn new(
        inbox: Inbox<Command>,
        wake: Arc<EventFd>,
        notices: mpsc::Sender<Notice>,
        kernel: Kernel,
        monitor: Monitor,
        guardian: Guardian,
        leases: Vec<Lease>,
    ) -> Self {
        Self {
            inbox,
            wake,
            notices,
            kernel,
            monitor,
            guarding: Guarding::new(guardian),
            leases,
            election: Election::new(),
            routers: BTreeMap::new(),
            ports: BTreeMap::new(),
            holds: Holds::default(),
            granted: BTreeMap::new(),
            unsent: BTreeMap::new(),
            adopted: BTreeMap::new(),
            present: BTreeSet::new(),
            stuck: BTreeSet::new(),
            failing: BTreeSet::new(),
            faults: BTreeMap::new(),
            trackers: BTreeMap::new(),
            orders: BTreeMap::new(),
            started: false,
            check_at: MonoTime::ZERO,
            links_dirty: false,
            links_read: false,
            vips_dirty: false,
            replaced: BTreeSet::new(),
            buffer: Buffer::new(),
        }
    }

    /// Runs until told to stop; then tells what is left behind.
    pub(super) fn run(mut self) -> Result<(), String> {
        loop {
            self.timers();
            if let Err(error) = self.wait() {
                self.tell(Notice::Problem(format!("election: poll: {error}")));
            }
            self.timers();
            self.packets();
            if !self.commands() {
                return self.finish();
            }
            self.events();
            self.checks();
        }
    }

    /// When there is something to do without any input.
    fn due(&self, now: MonoTime) -> MonoTime {
        let room = self.ports.values().any(Port::has_pending).then_some(now + ROOM_GAP);
        let timer = self.election.poll_timeout().map(|(at, _)| at);
        let others = [timer, self.next_lapse(), self.guarding.ask_at(), room];
        others.into_iter().flatten().fold(self.check_at, MonoTime::min)
    }

    /// Sleeps until something is to be done.
    fn wait(&mut self) -> nix::Result<()> {
        let now = clock::now();
        let due = self.due(now);
        let mut fds = vec![
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
        ];
        let receivers = self.ports.values().filter_map(Port::receiver);
        fds.extend(receivers.map(|receiver| PollFd::new(receiver.as_fd(), PollFlags::POLLIN)));
        let guardian = self.guarding.fd();
        let guarded = guardian.is_some();
        fds.extend(guardian.map(|guardian| PollFd::new(guardian, PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(now.until(due))), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let ready = fds.last().and_then(PollFd::revents).is_some_and(|revents| !revents.is_empty());
        if guarded && ready {
            self.guarding.lost();
        }
        Ok(())
    }

    fn timers(&mut self) {
        self.election.handle_timers(clock::now());
        self.drain();
    }

    fn packets(&mut self) {
        let names: Vec<InterfaceName> = self.ports.keys().cloned().collect();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for name in &names {
            for _ in 0..MAX_PACKETS {
                let Some(receiver) = self.ports.get(name).and_then(Port::receiver) else { break };
                match receiver.receive(&mut buffer) {
                    Ok(Some(datagram)) => {
                        // What is no whole IPv4 packet cannot be told apart from noise.
                        let Ok(parts) = split_ipv4(datagram) else { continue };
                        let (src, dst, ttl) = (parts.src.into(), parts.dst.into(), parts.ttl);
                        let received = Received { payload: parts.payload, src, dst, ttl };
                        self.election.handle_packet(name, received, clock::now());
                        self.drain();
                    }
                    Ok(None) => break,
                    Err(_) => {
                        self.links_dirty = true;
                        break;
                    }
                }
            }
        }
        self.buffer = buffer;
    }

    /// Returns whether to go on.
    fn commands(&mut self) -> bool {
        // Emptied before the channel is read: a command that comes in between wakes the next turn.
        self.wake.read().ok();
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Configure(routers)) => self.configure(routers),
                Ok(Command::Start) => self.start(),
                Ok(Command::Trackers(trackers)) => self.trackers = trackers,
                Ok(Command::Orders(orders)) => self.orders = orders,
                Ok(Command::Guardian(guardian)) => {
                    self.guarding.replace(guardian);
                    self.renew_all();
                    // It is told of VIPs that cannot be removed, too.
                    self.vips_dirty = true;
                }
                Ok(Command::Snapshot(reply)) => drop(reply.send(self.snapshot())),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// The end: VIPs go, Backups are told, and what could not be removed is left to the guardian.
    fn finish(mut self) -> Result<(), String> {
        self.election.shutdown(clock::now());
        self.drain();
        if !self.stuck.is_empty() {
            self.sync_vips(&BTreeSet::new(), false);
        }
        let guarded = self.guarding.finish(&self.stuck, clock::now());
        if self.stuck.is_empty() {
            return Ok(());
        }
        let left: Vec<String> = self.stuck.iter().map(ToString::to_string).collect();
        let left = left.join(", ");
        let why = self.failing.iter().cloned().collect::<Vec<_>>().join("; ");
        Err(if guarded {
            format!("VIPs that could not be removed: {left} ({why}); the guardian goes on trying")
        } else {
            format!(
                "VIPs that could not be removed: {left} ({why}); there is no guardian: remove them by hand"
            )
        })
    }

    /// Takes in the kernel's news, of our interfaces only.
    fn events(&mut self) {
        let events = self.monitor.read_events().unwrap_or_else(|error| {
            self.tell(Notice::Problem(format!("election: kernel events: {error}")));
            vec![Event::Overrun]
        });
        for event in events {
            let concerns = |index, name| self.ports.values().any(|port| port.concerns(index, name));
            match event {
                Event::AddressAdded { ifindex, .. } | Event::AddressRemoved { ifindex, .. } => {
                    if concerns(ifindex, None) {
                        self.vips_dirty = true;
                        // A source address may have come or gone.
                        self.links_dirty = true;
                    }
                }
                Event::LinkChanged { ifindex, name, .. } => {
                    self.links_dirty |= concerns(ifindex, Some(&name));
                }
                Event::RouteChanged { .. } | Event::RuleChanged => {}
                Event::Overrun => {
                    self.vips_dirty = true;
                    self.links_dirty = true;
                }
            }
        }
    }

    /// What is looked at after events, and from time to time without any.
    fn checks(&mut self) {
        let now = clock::now();
        if now >= self.check_at {
            self.links_dirty = true;
            self.vips_dirty = true;
        }
        let links_later = std::mem::take(&mut self.links_read) && self.links_dirty;
        if self.links_dirty && !links_later {
            self.follow_links();
            self.start_routers();
            self.links_read = false;
        }
        self.lapses();
        if self.vips_dirty {
            self.sync_vips(&BTreeSet::new(), true);
            self.drain();
        }
        self.announce_replaced();
        for port in self.ports.values_mut().filter(|port| port.has_pending()) {
            port.send_pending(now);
        }
        self.guarding.flush(now);
        if self.guarding.asks(now) {
            self.tell(Notice::GuardianLost);
        }
        let again = if self.vips_dirty || self.links_dirty { now + RETRY } else { now + RESYNC };
        let again = if links_later { now } else { again };
        let next = self.holds.next_end(now).map_or(again, |end| again.min(end));
        if now >= self.check_at || next < self.check_at {
            self.check_at = next;
        }
    }

    fn snapshot(&self) -> ElectionSnapshot {
        let routers = self.election.iter().map(|(key, name, router)| RouterSnapshot {
            key: key.clone(),
            name: name.clone(),
            version: router.config().version.number(),
            priority: router.config().priority.get(),
            base_priority: self.routers.get(key).map_or(0, |setup| setup.config.priority.get()),
            group: self.routers.get(key).and_then(|setup| setup.group.clone()),
            order: None,
            state: router.state(),
            reason: router.reason().to_string(),
            since: router.since(),
            master: router.master().map(|ip| ip.to_string()),
            vips: router.config().vips.iter().map(ToString::to_string).collect(),
            counters: router.counters().to_status(),
        });
        ElectionSnapshot {
            routers: routers.collect(),
            guarded: self.guarding.guarded(),
            thread: ElectionStatus::default(),
        }
    }

    fn tell_router(&self, key: &RouterKey, text: String) {
        if let Some(setup) = self.routers.get(key) {
            self.tell(Notice::Router { router: setup.name.clone(), text });
        }
    }

    /// Never waits: when main does not keep up, the news is lost, the state is not.
    fn tell(&self, notice: Notice) {
        self.notices.try_send(notice).ok();
    }
}
