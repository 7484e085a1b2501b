//! The loop itself: one thread, one `poll`, one input at a time.
//!
//! Order of a turn: advertisements first, so that no flood of packets delays them; then packets, a
//! bounded number; then the other timers, so that no Backup claims although its Master was heard in
//! time; then commands, kernel events and VIPs. Here is the turn; what the
//! routers say is carried out in `output`, who they are and whether they may take part is in
//! `routers`, and their VIPs are in `holding`.

mod conflicts;
mod effective;
mod holding;
mod links;
mod output;
mod routers;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, TryRecvError};
use std::time::Duration;

use evenkeel_converge::{Achieved, AddressKey};
use evenkeel_kernel::{Event, Kernel, Monitor, clock};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ElectionStatus, RouterCounters, RouterOrder};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Election, Family, FaultCause, RouterKey, TrackerState};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc;

use super::guarding::Guarding;
use super::hold::Holds;
use super::lateness::Lateness;
use super::port::Port;
use super::sockets::{Buffer, Got};
use super::vips::Moving;
use super::{Command, ElectionSnapshot, Notice, RouterSetup, RouterSnapshot};
use crate::guard::{Guardian, Lease};
use crate::scheduling::{Granted, Scheduling};
use conflicts::Conflicts;

/// Packets taken from one interface in one turn.
const MAX_PACKETS: usize = 64;
/// How often more of them are taken before a timer that is over counts.
const MAX_ROUNDS: usize = 8;
/// How often VIPs and links are looked at without an event.
const RESYNC: Duration = Duration::from_secs(5);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

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
    /// The interfaces that routers speak on or have their VIPs on, by name.
    ports: BTreeMap<String, Port>,
    /// The source of IPv6 routers by interface: its link-local address.
    link_local: BTreeMap<String, IpAddr>,
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
    /// What of the VIPs, and what goes with them, was as wanted when last looked at.
    achieved: Achieved,
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
    /// Others who have our VIPs.
    conflicts: Conflicts,
    started: bool,
    /// When the thread began, which start-up delays count from.
    began: MonoTime,
    lateness: Lateness,
    granted_by_kernel: Granted,
    lost_notices: Cell<u64>,
    check_at: MonoTime,
    links_dirty: bool,
    /// Why the interfaces cannot be read, as told last.
    unreadable: Option<String>,
    /// Sends that failed when last tried, so that each is told once.
    failing_sends: BTreeSet<(RouterKey, IpAddr)>,
    /// Whether the links were read in this turn: once is enough.
    links_read: bool,
    vips_dirty: bool,
    /// Interfaces whose VIPs must be announced again.
    replaced: BTreeSet<String>,
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
            link_local: BTreeMap::new(),
            holds: Holds::default(),
            granted: BTreeMap::new(),
            unsent: BTreeMap::new(),
            adopted: BTreeMap::new(),
            present: BTreeSet::new(),
            achieved: Achieved::default(),
            stuck: BTreeSet::new(),
            failing: BTreeSet::new(),
            faults: BTreeMap::new(),
            trackers: BTreeMap::new(),
            orders: BTreeMap::new(),
            conflicts: Conflicts::default(),
            started: false,
            began: clock::now(),
            lateness: Lateness::default(),
            granted_by_kernel: Granted::default(),
            lost_notices: Cell::new(0),
            check_at: MonoTime::ZERO,
            links_dirty: false,
            unreadable: None,
            failing_sends: BTreeSet::new(),
            links_read: false,
            vips_dirty: false,
            replaced: BTreeSet::new(),
            buffer: Buffer::new(),
        }
    }

    /// Runs until told to stop; then tells what is left behind.
    pub(super) fn run(mut self, scheduling: Scheduling) -> Result<(), String> {
        self.granted_by_kernel = scheduling.apply();
        for refusal in std::mem::take(&mut self.granted_by_kernel.refused) {
            self.tell(Notice::Problem(refusal));
        }
        loop {
            if let Err(error) = self.wait() {
                self.tell(Notice::Problem(format!("election: poll: {error}")));
            }
            self.note_lateness();
            self.packets();
            self.timers();
            self.claims();
            if !self.commands() {
                return self.finish();
            }
            self.events();
            self.checks();
        }
    }

    /// When there is something to do without any input.
    fn due(&self, now: MonoTime) -> MonoTime {
        let timer = self.election.poll_timeout().map(|(at, _)| at);
        let others = [timer, self.next_lapse(), self.guarding.ask_at(), self.conflicts.next_probe()];
        let announcements = self.ports.values().filter_map(|port| port.announcing.due());
        // What waits for a pause to end is never late because of this turn.
        let announcements = announcements.map(|due| due.max(now));
        others.into_iter().flatten().chain(announcements).fold(self.check_at, MonoTime::min)
    }

    /// Sleeps until something is to be done.
    fn wait(&mut self) -> nix::Result<()> {
        let now = clock::now();
        let due = self.due(now);
        let mut fds = vec![
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.ports.values().flat_map(Port::fds).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
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

    /// Whether a timer is over, and since when.
    fn overdue(&self, now: MonoTime) -> Option<MonoTime> {
        self.election.poll_timeout().map(|(at, _)| at).filter(|at| *at <= now)
    }

    fn note_lateness(&mut self) {
        let now = clock::now();
        if let Some(at) = self.overdue(now) {
            self.lateness.record(now.since(at));
        }
    }

    /// The timers of Masters.
    fn advertise(&mut self) {
        let now = clock::now();
        if self.overdue(now).is_some() {
            self.election.handle_masters(now);
            self.drain();
            self.grant_unheard();
        }
    }

    fn timers(&mut self) {
        let now = clock::now();
        if self.overdue(now).is_some() {
            self.election.handle_timers(now);
            self.drain();
            self.grant_unheard();
        }
    }

    /// Takes in what was received, between what Masters have to send.
    fn packets(&mut self) {
        let ports: Vec<_> =
            self.ports.iter().map(|(name, port)| (name.clone(), port.families().clone())).collect();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for _ in 0..MAX_ROUNDS {
            self.advertise();
            let mut more = false;
            for (name, families) in &ports {
                for family in families {
                    more |= self.packets_of(name, *family, &mut buffer);
                }
            }
            if !more || self.overdue(clock::now()).is_none() {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Returns whether there may be more.
    fn packets_of(&mut self, name: &str, family: Family, buffer: &mut Buffer) -> bool {
        for _ in 0..MAX_PACKETS {
            let Some(port) = self.ports.get(name) else { return false };
            let Some(receiver) = port.receiver(family) else { return false };
            match receiver.receive(buffer) {
                Ok(Got::Packet(received)) => {
                    let Some(interface) = self.listener(port.name(), &received) else { continue };
                    self.election.handle_packet(&interface, received, clock::now());
                    self.drain();
                }
                Ok(Got::Noise) => {}
                Ok(Got::Nothing) => return false,
                Err(_) => {
                    self.links_dirty = true;
                    return false;
                }
            }
        }
        true
    }

    /// Returns whether to go on.
    fn commands(&mut self) -> bool {
        // Emptied before the channel is read: a command that comes in between wakes the next turn.
        self.wake.read().ok();
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Configure(routers)) => self.configure(routers),
                Ok(Command::Start) => self.start(),
                Ok(Command::Trackers(trackers)) => self.tracked(trackers),
                Ok(Command::Orders(orders)) => self.ordered(orders),
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
            self.sync_vips(&Moving::default(), false);
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
            self.sync_vips(&Moving::default(), true);
            self.drain();
        }
        self.announce_replaced();
        for port in self.ports.values_mut() {
            port.send_pending(now);
        }
        self.probes(now);
        self.guarding.flush(now);
        if self.guarding.asks(now) {
            self.tell(Notice::GuardianLost);
        }
        let again = if self.vips_dirty || self.links_dirty { now + RETRY } else { now + RESYNC };
        let again = if links_later { now } else { again };
        let next = [self.holds.next_end(now), self.next_startup(now)];
        let next = next.into_iter().flatten().fold(again, MonoTime::min);
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
            order: self.order_of(key),
            state: router.state(),
            reason: router.reason().to_string(),
            since: router.since(),
            master: router.master().map(|ip| ip.to_string()),
            vips: router.config().vips.iter().map(ToString::to_string).collect(),
            counters: RouterCounters {
                duplicate_addresses: self.conflicts.count(key),
                ..router.counters().to_status()
            },
        });
        let thread = ElectionStatus {
            realtime_priority: self.granted_by_kernel.realtime,
            nice: self.granted_by_kernel.nice,
            memory_locked: self.granted_by_kernel.memory_locked,
            timer_lateness: self.lateness.buckets(),
            max_timer_lateness_us: self.lateness.max_us(),
            lost_notices: self.lost_notices.get(),
        };
        ElectionSnapshot { routers: routers.collect(), guarded: self.guarding.guarded(), thread }
    }

    fn tell_router(&self, key: &RouterKey, text: String) {
        if let Some(setup) = self.routers.get(key) {
            self.tell(Notice::Router { label: self.label(setup), text });
        }
    }

    /// What a router is called where people read it: two may have one name, one of each family.
    fn label(&self, setup: &RouterSetup) -> String {
        let twin = |other: &RouterSetup| other.name == setup.name && other.key.family != setup.key.family;
        if setup.key.family == Family::V6 && self.routers.values().any(twin) {
            format!("{} {}", setup.name, setup.key.family)
        } else {
            setup.name.to_string()
        }
    }

    /// Never waits: when main does not keep up, the news is lost, the state is not.
    fn tell(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.lost_notices.set(self.lost_notices.get() + 1);
        }
    }
}
