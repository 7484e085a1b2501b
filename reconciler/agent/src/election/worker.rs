//! The loop of the election: one thread, one `poll`, one input at a time.
//!
//! ```text
//!   leases      until when Masters hold their VIPs        guardian
//!   vips        the VIPs of this host                     the comparator, the kernel
//!   admission   which routers may take part               orders, trackers, checks, back-off
//!   outbox      what main is to hear                      bounded, held back after a move of VIPs
//!   resync      when VIPs and links are observed again    events, nudges, a deadline
//!   interfaces  the ports that routers speak on           links, sources, sockets
//! ```
//! Each is a type that knows nothing of the others; [`Worker`] owns them and the routers, and its methods, a
//! file a subject, carry from one to the other.
//!
//! Order of a turn: advertisements first, so that no flood of packets delays them; then a bounded number of
//! packets; then the other timers, so that no Backup claims although its Master was heard in time; then
//! commands, kernel events and VIPs; at the end what main is to hear.

mod admission;
mod claim_lines;
mod configure;
mod conflicts;
mod effective;
mod interfaces;
mod leases;
mod leaving;
mod offers;
mod outbox;
mod output;
mod poll;
mod resync;
mod routers;
mod snapshot;
mod strangers;
mod vips;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver as Inbox, TryRecvError};

use evenkeel_host::election::Notice;
use evenkeel_kernel::{Event, Kernel, Monitor, clock};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Family, WallClock};
use tokio::sync::mpsc;

use super::lateness::Lateness;
use super::sockets::{Arrival, Buffer};
use super::{ElectionCommand, LeftBehind, RouterSetup};
use crate::guard::{Guardian, Lease};
use crate::system::moment;
use crate::system::scheduling::{Granted, Scheduling};
use admission::Admission;
use conflicts::Conflicts;
use interfaces::Ports;
use leases::Leases;
use offers::Offer;
use outbox::Outbox;
pub(super) use poll::Wakers;
use resync::Resync;
use routers::Routers;
use strangers::Strangers;
use vips::{HeldVips, Moving};

/// Most packets that are read of one interface and family at once.
const MAX_PACKETS: usize = 64;
/// Most times that packets are read on while a timer has run out.
const MAX_ROUNDS: usize = 8;

pub(super) struct Worker {
    inbox: Inbox<ElectionCommand>,
    wakers: Wakers,
    kernel: Kernel,
    monitor: Monitor,
    routers: Routers,
    leases: Leases,
    vips: HeldVips,
    admission: Admission,
    outbox: Outbox,
    resync: Resync,
    ports: Ports,
    /// Others who have our VIPs.
    conflicts: Conflicts,
    /// Others who use our VRIDs.
    strangers: Strangers,
    /// Whether other directors would take over: the question that is open.
    offer: Option<Offer>,
    lateness: Lateness,
    /// What the kernel has granted this thread.
    scheduling: Granted,
    /// The time of the routers' last input: time does not go back for them.
    handled: MonoTime,
    /// Whether a take-over was rehearsed.
    rehearsed: bool,
    /// Whether the daemon ends: no router starts any more.
    ending: bool,
    /// Room for one datagram, lent to whoever reads.
    buffer: Buffer,
}

impl Worker {
    #[allow(clippy::too_many_arguments, reason = "called once, with everything the thread owns")]
    pub(super) fn new(
        inbox: Inbox<ElectionCommand>,
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
            kernel,
            monitor,
            routers: Routers::new(),
            leases: Leases::new(guardian, leases),
            vips: HeldVips::default(),
            admission: Admission::new(clock::now()),
            outbox: Outbox::new(notices),
            resync: Resync::default(),
            ports: Ports::default(),
            conflicts: Conflicts::default(),
            strangers: Strangers::default(),
            offer: None,
            lateness: Lateness::default(),
            scheduling: Granted::default(),
            handled: MonoTime::ZERO,
            rehearsed: false,
            ending: false,
            buffer: Buffer::new(),
        }
    }

    /// Runs until a command or a signal ends it.
    ///
    /// # Errors
    /// VIPs that could not be removed.
    pub(super) fn run(mut self, scheduling: Scheduling) -> Result<(), LeftBehind> {
        self.scheduling = scheduling.apply();
        for refusal in std::mem::take(&mut self.scheduling.refused) {
            self.outbox.problem(refusal);
        }
        loop {
            let ready = self.wait();
            self.routers.election.set_wall_clock(wall_clock());
            if ready.stop && self.begin_end() {
                return self.finish();
            }
            if self.lateness.observe(clock::now()) {
                self.advertise();
            }
            if ready.packets || self.overdue(clock::now()) {
                self.packets();
                self.timers();
            }
            if ready.packets {
                self.read_claims();
            }
            self.report_strangers();
            if ready.commands && !self.commands() && self.begin_end() {
                return self.finish();
            }
            if ready.events {
                self.events();
            }
            self.upkeep();
            self.outbox.flush(clock::now());
            if self.has_left() {
                return self.finish();
            }
        }
    }

    /// Whether a router's timer has run out.
    fn overdue(&self, now: MonoTime) -> bool {
        self.routers.election.poll_timeout().is_some_and(|(at, _)| at <= now)
    }

    /// Lets Masters advertise whose timers have run out.
    fn advertise(&mut self) {
        let now = clock::now();
        if self.overdue(now) {
            self.handled = now;
            self.routers.election.set_wall_clock(wall_clock());
            self.routers.election.handle_masters(now);
            self.drain();
            self.extend_peerless();
        }
    }

    /// Handles all timers that have run out.
    fn timers(&mut self) {
        let now = clock::now();
        if self.overdue(now) {
            self.routers.election.handle_timers(now);
            self.drain();
            self.extend_peerless();
        }
    }

    /// Reads the packets of all interfaces, with the advertisements that are due in between.
    fn packets(&mut self) {
        let ports = self.ports.open.iter();
        let ports: Vec<_> = ports.map(|(name, port)| (name.clone(), port.families().clone())).collect();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for _ in 0..MAX_ROUNDS {
            self.routers.election.set_wall_clock(wall_clock());
            self.advertise();
            let mut more = false;
            for (name, families) in &ports {
                for family in families {
                    more |= self.packets_of(name, *family, &mut buffer);
                }
            }
            if !more || !self.overdue(clock::now()) {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Reads packets of one interface and family. Returns whether there may be more.
    fn packets_of(&mut self, name: &str, family: Family, buffer: &mut Buffer) -> bool {
        for _ in 0..MAX_PACKETS {
            let Some(port) = self.ports.open.get(name) else { return false };
            let Some(receiver) = port.receiver(family) else { return false };
            match receiver.receive(buffer) {
                Ok(Arrival::Packet(received, age)) => {
                    let Some(interface) = self.listener(port.name(), &received) else { continue };
                    // Timers count from when the kernel got it, not from when this thread came to read it.
                    let arrived = (clock::now() - age).max(self.handled);
                    self.handled = arrived;
                    self.routers.election.handle_packet(&interface, received, arrived);
                    self.drain();
                }
                Ok(Arrival::Malformed) => {}
                Ok(Arrival::Nothing) => return false,
                Err(_) => {
                    self.resync.links = true;
                    return false;
                }
            }
        }
        true
    }

    /// Carries out all commands that have come. Returns whether to go on.
    fn commands(&mut self) -> bool {
        // Emptied before the channel is read: a command that comes in between wakes the next turn.
        self.wakers.wake.read().ok();
        let nudged = self.wakers.nudged.swap(false, Ordering::AcqRel);
        if nudged && self.routers.setups.values().any(RouterSetup::moves_more) {
            self.resync.nudge(clock::now());
        }
        let mut goes_on = true;
        loop {
            let command = self.inbox.try_recv();
            if self.ending && command.as_ref().is_ok_and(ElectionCommand::is_for_later) {
                continue;
            }
            match command {
                Ok(ElectionCommand::Configure(routers)) => self.configure(routers),
                Ok(ElectionCommand::Start) => self.start(),
                Ok(ElectionCommand::Trackers(trackers)) => self.set_trackers(trackers),
                Ok(ElectionCommand::Unserved(routers)) => self.set_unserved(routers),
                Ok(ElectionCommand::Withdrawn(routers)) => self.set_withdrawn(routers),
                Ok(ElectionCommand::GiveWay(routers)) => self.set_giving_way(routers),
                Ok(ElectionCommand::Waiting(routers)) => self.set_unready(routers),
                Ok(ElectionCommand::Orders(orders)) => self.set_orders(orders),
                Ok(ElectionCommand::Offer(question, reply)) => self.offer(question, reply),
                Ok(ElectionCommand::Guardian(guardian)) => {
                    self.leases.replace_guardian(guardian, &self.routers);
                    // It must hear of VIPs that cannot be removed, too.
                    self.resync.vips = true;
                }
                // Fails when nobody waits for it any more.
                Ok(ElectionCommand::Snapshot(reply)) => drop(reply.send(self.snapshot())),
                // A question that came behind it is answered: the loop may go on for a while.
                Ok(ElectionCommand::Stop) => goes_on = false,
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return goes_on,
            }
        }
    }

    /// Reads the kernel's events. Those about our interfaces mark what must be observed.
    fn events(&mut self) {
        let events = self.monitor.read_events().unwrap_or_else(|error| {
            self.outbox.problem(format!("election: kernel events: {error}"));
            vec![Event::Overrun]
        });
        for event in events {
            match event {
                // Mostly it was this thread itself, and clients wait for what it does next.
                Event::AddressAdded { ifindex, .. } => {
                    if self.ports.concern(ifindex, None) {
                        self.resync.soon(clock::now());
                    }
                }
                Event::AddressRemoved { ifindex, .. } => {
                    if self.ports.concern(ifindex, None) {
                        self.resync.vips = true;
                        // It may have been a source address.
                        self.resync.links = true;
                    }
                }
                Event::LinkChanged { ifindex, name, .. } => {
                    self.resync.links |= self.ports.concern(ifindex, Some(&name));
                }
                // Main hears of them, and nudges.
                Event::RouteChanged { .. } | Event::RuleChanged => {}
                Event::Overrun => {
                    self.resync.vips = true;
                    self.resync.links = true;
                }
            }
        }
    }

    /// What is marked, due or overdue: links, leases, VIPs, announcements, probes, the guardian.
    fn upkeep(&mut self) {
        let now = clock::now();
        if self.resync.begin(now) {
            self.report_dropped(now);
        }
        if self.resync.begin_links() {
            self.follow_links();
            self.start_routers();
        }
        self.end_lapsed();
        if self.resync.vips {
            self.sync_vips(&Moving::default(), true);
            self.drain();
        }
        self.announce_replaced();
        for port in self.ports.open.values_mut() {
            port.send_pending(now);
        }
        self.send_probes(now);
        self.advance_offer(now);
        self.leases.guardian.beat_if_due(now);
        self.leases.guardian.flush(now);
        if let Some(lost) = self.leases.guardian.request(now) {
            self.outbox.push(Notice::GuardianLost(lost));
        }
        let startup = self.admission.next_startup(&self.routers, now);
        self.resync.end(now, [self.admission.backoff.next_end(now), startup]);
    }

    /// The end: VIPs are removed, and the guardian gets what could not be removed.
    fn finish(mut self) -> Result<(), LeftBehind> {
        self.routers.election.shutdown_at_once(clock::now());
        self.drain();
        self.sync_vips(&Moving::default(), false);
        let guarded = self.leases.guardian.finish(self.vips.stuck(), clock::now());
        self.outbox.send_all();
        if self.vips.stuck().is_empty() {
            return Ok(());
        }
        let vips = self.vips.stuck().iter().cloned().collect();
        Err(LeftBehind::Vips { vips, why: self.vips.failures(), guarded })
    }
}

/// The wall clock, for trailers of advertisements.
fn wall_clock() -> WallClock {
    WallClock::new(moment::unix(), clock::now())
}
