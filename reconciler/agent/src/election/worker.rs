//! The loop itself: one thread, one `poll`, one input at a time.
//!
//! Order of a turn: advertisements first, so that no flood of packets delays them; then packets, a
//! bounded number; then the other timers, so that no Backup claims although its Master was heard in
//! time; then commands, kernel events and VIPs. Here is the turn; what the
//! routers say is carried out in `output`, who they are and whether they may take part is in
//! `configure`, and their VIPs are in `vips`.

mod claim_lines;
mod configure;
mod conflicts;
mod effective;
mod interfaces;
mod offers;
mod output;
mod poll;
mod strangers;
mod vips;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver as Inbox, TryRecvError};
use std::time::Duration;

use evenkeel_converge::{Achieved, AddressKey};
use evenkeel_kernel::{Event, Kernel, Monitor, clock};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ElectionStatus, RouterCounters, RouterOrder};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Election, Family, FaultCause, RouterKey, TrackerState};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::guardian::GuardianSession;
use super::lateness::Lateness;
use super::port::Port;
use super::sockets::{Buffer, Got};
use super::{Command, RouterSetup};
use crate::guard::{Guardian, Lease};
use crate::system::scheduling::{Granted, Scheduling};
use conflicts::Conflicts;
use evenkeel_host::election::{ElectionSnapshot, Notice, RouterSnapshot};
use offers::Offer;
pub(super) use poll::Wakers;
use strangers::Telling;
use vips::Moving;

/// Packets taken from one interface in one turn.
const MAX_PACKETS: usize = 64;
/// Most notices of one turn.
const MAX_OUTBOX: usize = 1024;
/// How often more of them are taken before a timer that is over counts.
const MAX_ROUNDS: usize = 8;
/// How often VIPs and links are looked at without an event.
const RESYNC: Duration = Duration::from_secs(5);
/// How soon they are looked at after something that was most likely our own doing.
const SOON: Duration = HUSH;
/// How long after VIPs have moved this thread makes others do only what they have to: clients wait for the processor.
const HUSH: Duration = Duration::from_millis(20);
/// Least time between two looks because of routes and rules.
const NUDGES: Duration = Duration::from_millis(250);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

pub(super) struct Worker {
    inbox: Inbox<Command>,
    wakers: Wakers,
    notices: mpsc::Sender<Notice>,
    /// What main is told at the end of the turn.
    outbox: RefCell<Vec<Notice>>,
    /// Until when it is not, and the kernel's news are not read, which are our own doing.
    hushed: Option<MonoTime>,
    /// Whether it is told something that cannot wait so long.
    urgent: bool,
    kernel: Kernel,
    monitor: Monitor,
    guardian: GuardianSession,
    /// Leases of an earlier daemon that no router has taken over yet.
    leases: Vec<Lease>,
    election: Election,
    routers: BTreeMap<RouterKey, RouterSetup>,
    /// The interfaces that routers speak on or have their VIPs on, by name.
    ports: BTreeMap<String, Port>,
    /// The source of IPv6 routers by interface: its link-local address.
    link_local: BTreeMap<String, IpAddr>,
    /// Routers that must wait before they take part again.
    backoff: Backoff,
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
    /// Whether the kernel was looked at since these routers were configured: a VIP may be there from before.
    looked: bool,
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
    /// Routers none of whose virtual servers can be made.
    unserved: BTreeSet<RouterKey>,
    /// The routers whose checks have not spoken.
    waiting: BTreeSet<Name>,
    /// What operators told routers.
    orders: BTreeMap<Name, RouterOrder>,
    /// How many announcements there were in this turn.
    announced: usize,
    /// Whether a take-over was rehearsed.
    rehearsed: bool,
    /// Routers that have claimed, and whose announcement was not told yet.
    claims: BTreeSet<RouterKey>,
    /// Routers that others are asked to take over.
    offer: Option<Offer>,
    /// Others who have our VIPs.
    conflicts: Conflicts,
    /// What is told of others.
    telling: Telling,
    started: bool,
    /// When the thread began, which start-up delays count from.
    began: MonoTime,
    lateness: Lateness,
    /// Routers that have nobody to advertise to.
    unheard: Vec<RouterKey>,
    /// When the last start-up delay is over.
    startups_end: MonoTime,
    /// The routers' next timer when it was last slept.
    next_timer: Option<MonoTime>,
    /// Up to when everything was told to the routers: time does not go back for them.
    handled: MonoTime,
    granted_by_kernel: Granted,
    lost_notices: Cell<u64>,
    check_at: MonoTime,
    /// When news of routes and rules make it look again, at the earliest.
    nudged_until: MonoTime,
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
        wakers: Wakers,
        notices: mpsc::Sender<Notice>,
        kernel: Kernel,
        monitor: Monitor,
        guardian: Guardian,
        leases: Vec<Lease>,
    ) -> Self {
        Self {
            inbox,
            wakers,
            notices,
            outbox: RefCell::default(),
            hushed: None,
            urgent: false,
            kernel,
            monitor,
            guardian: GuardianSession::new(guardian),
            leases,
            election: Election::new(),
            routers: BTreeMap::new(),
            ports: BTreeMap::new(),
            link_local: BTreeMap::new(),
            backoff: Backoff::default(),
            granted: BTreeMap::new(),
            unsent: BTreeMap::new(),
            adopted: BTreeMap::new(),
            present: BTreeSet::new(),
            looked: false,
            achieved: Achieved::default(),
            stuck: BTreeSet::new(),
            failing: BTreeSet::new(),
            faults: BTreeMap::new(),
            trackers: BTreeMap::new(),
            unserved: BTreeSet::new(),
            waiting: BTreeSet::new(),
            orders: BTreeMap::new(),
            announced: 0,
            rehearsed: false,
            claims: BTreeSet::new(),
            offer: None,
            conflicts: Conflicts::default(),
            telling: Telling::default(),
            started: false,
            began: clock::now(),
            lateness: Lateness::default(),
            unheard: Vec::new(),
            startups_end: MonoTime::ZERO,
            next_timer: None,
            handled: MonoTime::ZERO,
            granted_by_kernel: Granted::default(),
            lost_notices: Cell::new(0),
            check_at: MonoTime::ZERO,
            nudged_until: MonoTime::ZERO,
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
            let ready = self.wait();
            if ready.stop {
                return self.finish();
            }
            if self.note_lateness() {
                self.advertise();
            }
            if ready.packets || self.overdue(clock::now()).is_some() {
                self.packets();
                self.timers();
            }
            if ready.packets {
                self.claims();
            }
            self.tell_strangers();
            if ready.commands && !self.commands() {
                return self.finish();
            }
            if ready.news {
                self.events();
            }
            self.checks();
            self.hushed = self.hushed.filter(|until| clock::now() < *until);
            if self.hushed.is_none() {
                self.send_notices();
            }
        }
    }

    /// Whether a timer is over, and since when.
    fn overdue(&self, now: MonoTime) -> Option<MonoTime> {
        self.election.poll_timeout().map(|(at, _)| at).filter(|at| *at <= now)
    }

    /// Returns whether a timer is over.
    fn note_lateness(&mut self) -> bool {
        let now = clock::now();
        let over = self.next_timer.filter(|at| *at <= now);
        if let Some(at) = over {
            self.lateness.record(now.since(at));
        }
        over.is_some()
    }

    /// The timers of Masters.
    fn advertise(&mut self) {
        let now = clock::now();
        if self.overdue(now).is_some() {
            self.handled = now;
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
                Ok(Got::Packet(received, age)) => {
                    let Some(interface) = self.listener(port.name(), &received) else { continue };
                    // Timers count from its arrival, not from when this thread came to it.
                    let arrived = (clock::now() - age).max(self.handled);
                    self.handled = arrived;
                    self.election.handle_packet(&interface, received, arrived);
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
        self.wakers.wake.read().ok();
        if self.wakers.nudged.swap(false, Ordering::AcqRel)
            && self.routers.values().any(RouterSetup::moves_more)
        {
            self.look_nudged();
        }
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Configure(routers)) => self.configure(routers),
                Ok(Command::Start) => self.start(),
                Ok(Command::Trackers(trackers)) => self.tracked(trackers),
                Ok(Command::Unserved(routers)) => self.left_to_others(routers),
                Ok(Command::Waiting(waiting)) => self.waiting(waiting),
                Ok(Command::Orders(orders)) => self.ordered(orders),
                Ok(Command::Offer(question, reply)) => self.offer(question, reply),
                Ok(Command::Guardian(guardian)) => {
                    self.guardian.replace(guardian);
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
        self.sync_vips(&Moving::default(), false);
        let guarded = self.guardian.finish(&self.stuck, clock::now());
        self.send_notices();
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
                // Mostly it was ourselves, and clients wait for what comes next.
                Event::AddressAdded { ifindex, .. } => {
                    if concerns(ifindex, None) {
                        self.look_soon();
                    }
                }
                Event::AddressRemoved { ifindex, .. } => {
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

    /// VIPs and links are looked at soon, but not now.
    fn look_soon(&mut self) {
        self.check_at = self.check_at.min(clock::now() + SOON);
    }

    /// The same, but not as often as routes and rules may change: the kernel goes through all of a table for the few that are ours.
    fn look_nudged(&mut self) {
        let at = self.nudged_until.max(clock::now() + SOON);
        // A look that comes earlier sees what this one would.
        if at < self.check_at {
            self.check_at = at;
            self.nudged_until = at + NUDGES;
        }
    }

    /// VIPs have moved: what waits for these routers comes first, main where its part is to be done at once, clients otherwise.
    fn hush<'a>(&mut self, moved: impl IntoIterator<Item = &'a RouterKey>) {
        self.urgent |= moved.into_iter().any(|key| self.routers.get(key).is_some_and(|setup| setup.followed));
        // Not from the last of many: those who moved first would be told of when all have.
        let until = self.hushed.unwrap_or_else(|| clock::now() + HUSH);
        self.hushed = (!self.urgent).then_some(until);
    }

    /// What is looked at after events, and from time to time without any.
    fn checks(&mut self) {
        let now = clock::now();
        if now >= self.check_at {
            self.links_dirty = true;
            self.vips_dirty = true;
            self.tell_dropped(now);
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
        self.look_at_offer(now);
        self.guardian.beats(now);
        self.guardian.flush(now);
        if let Some(lost) = self.guardian.asks(now) {
            self.tell(Notice::GuardianLost(lost));
        }
        let again = if self.vips_dirty || self.links_dirty { now + RETRY } else { now + RESYNC };
        let again = if links_later { now } else { again };
        let next = [self.backoff.next_end(now), self.next_startup(now)];
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
            waits: router.waits_for_checks(),
            reason: router.reason().to_string(),
            since: router.since(),
            master: router.master().map(|ip| ip.to_string()),
            other_heard: router.other_heard(),
            vips: router.config().vips.iter().map(ToString::to_string).collect(),
            strangers: self.strangers(key, router),
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
        ElectionSnapshot { routers: routers.collect(), guarded: self.guardian.guarded(), thread }
    }

    fn tell_router(&self, key: &RouterKey, text: String) {
        if let Some(setup) = self.routers.get(key) {
            self.tell(Notice::Router { label: self.label(setup), text });
        }
    }

    /// What a router is called where people read it: of two with one name each says its family.
    fn label(&self, setup: &RouterSetup) -> String {
        let twin = |other: &RouterSetup| other.name == setup.name && other.key.family != setup.key.family;
        if self.routers.values().any(twin) {
            format!("{} {}", setup.name, setup.key.family)
        } else {
            setup.name.to_string()
        }
    }

    /// Tells main at the end of the turn: its work competes with what clients wait for.
    fn tell(&self, notice: Notice) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.len() < MAX_OUTBOX {
            outbox.push(notice);
        } else {
            self.lost_notices.set(self.lost_notices.get() + 1);
        }
    }

    /// Never waits: when main does not keep up, the news is lost, the state is not.
    fn send_notices(&mut self) {
        self.urgent = false;
        let untold = std::mem::take(&mut self.announced).saturating_sub(claim_lines::MAX_LINES);
        if untold > 0 {
            self.tell(Notice::Announced(format!(
                "Sending announcements as well for {untold} more routers and interfaces"
            )));
        }
        for notice in self.outbox.get_mut().drain(..) {
            if self.notices.try_send(notice).is_err() {
                self.lost_notices.set(self.lost_notices.get() + 1);
            }
        }
    }
}
