//! The loop itself: one thread, one `poll`, one input at a time.
//!
//! Order of a turn: timers first, so that no flood of packets delays an advertisement; then
//! packets, a bounded number; then commands, kernel events and VIPs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, TryRecvError};
use std::time::Duration;

use evenkeel_converge::{AddressKey, Op};
use evenkeel_kernel::{Class, Event, Kernel, Monitor, clock};
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Election, FaultCause, Input, Output, Received, RouterKey, State, VirtualRouter, skew_time, split_ipv4,
};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc;

use super::port::Port;
use super::sockets::Buffer;
use super::vips::{self, Synced};
use super::{Command, Notice, RouterSetup, RouterSnapshot};
use crate::guard::{Guardian, Lease};

/// Packets taken from one interface in one turn.
const MAX_PACKETS: usize = 64;
/// How often VIPs and links are looked at without an event.
const RESYNC: Duration = Duration::from_secs(5);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How long a router whose VIP the kernel refuses leaves the field to others.
const REFUSED_HOLD: Duration = Duration::from_secs(30);

pub(super) struct Worker {
    inbox: Inbox<Command>,
    wake: Arc<EventFd>,
    notices: mpsc::Sender<Notice>,
    kernel: Kernel,
    monitor: Monitor,
    guardian: Option<Guardian>,
    /// Leases of an earlier daemon that no router has taken over yet.
    leases: Vec<Lease>,
    election: Election,
    routers: BTreeMap<RouterKey, RouterSetup>,
    ports: BTreeMap<InterfaceName, Port>,
    /// Routers that must wait before they take part again.
    held: BTreeMap<RouterKey, MonoTime>,
    started: bool,
    check_at: MonoTime,
    links_dirty: bool,
    vips_dirty: bool,
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
            guardian: Some(guardian),
            leases,
            election: Election::new(),
            routers: BTreeMap::new(),
            ports: BTreeMap::new(),
            held: BTreeMap::new(),
            started: false,
            check_at: MonoTime::ZERO,
            links_dirty: false,
            vips_dirty: false,
            buffer: Buffer::new(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            self.timers();
            if let Err(error) = self.wait() {
                self.tell(Notice::Problem(format!("election: poll: {error}")));
            }
            self.timers();
            self.packets();
            if !self.commands() {
                return;
            }
            self.events();
            self.checks();
        }
    }

    /// Sleeps until something is to be done.
    fn wait(&mut self) -> nix::Result<()> {
        let now = clock::now();
        let due = self.election.poll_timeout().map_or(self.check_at, |(at, _)| at.min(self.check_at));
        let mut fds = vec![
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
        ];
        let receivers = self.ports.values().filter_map(Port::receiver);
        fds.extend(receivers.map(|receiver| PollFd::new(receiver.as_fd(), PollFlags::POLLIN)));
        // The guardian says nothing after its first words: its fd is ready when it is gone.
        fds.extend(self.guardian.as_ref().map(|guardian| PollFd::new(guardian.as_fd(), PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(now.until(due))), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let lost = self.guardian.is_some()
            && fds.last().and_then(PollFd::revents).is_some_and(|revents| !revents.is_empty());
        if lost {
            self.guardian_lost();
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
                Ok(Command::Start) => {
                    self.started = true;
                    self.start_routers();
                }
                Ok(Command::Guardian(guardian)) => {
                    self.guardian = Some(guardian);
                    self.renew_all();
                }
                Ok(Command::Snapshot(reply)) => drop(reply.send(self.snapshot())),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    self.election.shutdown(clock::now());
                    self.drain();
                    return false;
                }
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self, setups: Vec<RouterSetup>) {
        let before = self.vip_keys();
        let wanted: Vec<_> =
            setups.iter().map(|s| (s.key.clone(), s.name.clone(), s.config.clone())).collect();
        let keys: BTreeSet<RouterKey> = setups.iter().map(|setup| setup.key.clone()).collect();
        // New VIPs of a Master come before it announces them; routers that go stay known until their
        // VIPs are removed and their Backups told.
        self.routers.extend(setups.into_iter().map(|setup| (setup.key.clone(), setup)));
        if !before.is_empty() {
            self.sync_vips(&before, false);
        }
        self.election.configure(wanted, clock::now());
        self.drain();
        self.routers.retain(|key, _| keys.contains(key));
        self.held.retain(|key, _| keys.contains(key));
        self.ports.retain(|name, _| keys.iter().any(|key| key.interface == *name));
        for key in &keys {
            self.ports.entry(key.interface.clone()).or_insert_with(|| Port::new(key.interface.clone()));
        }
        self.follow_links();
        self.adopt();
        // What an earlier daemon left behind and no lease covers goes.
        self.sync_vips(&before, false);
        self.start_routers();
    }

    /// Routers whose lease still runs go on as Master.
    fn adopt(&mut self) {
        let now = clock::now();
        for lease in std::mem::take(&mut self.leases) {
            let setup = self.routers.values().find(|setup| setup.key.to_string() == lease.router);
            let Some(setup) = setup.filter(|_| lease.until > now) else { continue };
            let (key, source) = (setup.key.clone(), setup.config.source);
            let usable = self.ports.get_mut(&key.interface).is_some_and(|port| port.check(source).is_ok());
            if usable {
                self.election.handle(&key, Input::Adopt, now);
                self.drain();
            }
        }
    }

    /// Starts the routers that may take part and stops those that cannot.
    fn start_routers(&mut self) {
        let now = clock::now();
        self.held.retain(|_, until| *until > now);
        let keys: Vec<(RouterKey, State)> =
            self.election.iter().map(|(key, _, router)| (key.clone(), router.state())).collect();
        for (key, state) in keys {
            let Some(setup) = self.routers.get(&key) else { continue };
            let source = setup.config.source;
            if !self.started && state == State::Initialize {
                continue;
            }
            let fault = match self.ports.get_mut(&key.interface) {
                Some(port) => port.check(source).err(),
                None => Some(FaultCause::InterfaceMissing),
            };
            match (fault, state) {
                (Some(cause), _) => drop(self.election.handle(&key, Input::Fault(cause), now)),
                (None, State::Initialize) if !self.held.contains_key(&key) => {
                    self.election.handle(&key, Input::Startup, now);
                }
                (None, State::Initialize | State::Backup | State::Master) => {}
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some((key, output)) = self.election.poll_output() {
            match output {
                Output::Transmit { bytes, src, dst, .. } => self.transmit(&key, &bytes, src, dst),
                Output::StateChanged { to, cause, .. } => self.state_changed(&key, to, &cause),
                Output::Announce { repeat } => self.announce(&key, repeat),
                Output::Event(event) => self.tell_router(&key, event.to_string()),
            }
        }
    }

    fn transmit(&mut self, key: &RouterKey, bytes: &[u8], src: std::net::IpAddr, dst: std::net::IpAddr) {
        let sent = match self.ports.get(&key.interface) {
            Some(port) => port.send(bytes, src, dst),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(()) => self.renew(key),
            Err(error) => {
                self.links_dirty = true;
                self.tell_router(key, format!("cannot send an advertisement: {error}"));
            }
        }
    }

    /// Tells the guardian until when the VIPs of a Master may stay.
    fn renew(&mut self, key: &RouterKey) {
        let Some((_, router)) = self.election.get(key) else { return };
        let (Some(until), Some(setup)) = (router.lease_until(), self.routers.get(key)) else { return };
        let config = router.config();
        // Without preemption a Backup may have a higher priority, and so a shorter skew time.
        let until = if config.preempt {
            until
        } else {
            until - skew_time(config.version, config.priority, config.effective_interval())
        };
        let Some(guardian) = &self.guardian else { return };
        let addresses = setup.vips.keys().cloned().collect();
        if guardian.renew(Lease { router: key.to_string(), addresses, until }).is_err() {
            self.guardian_lost();
        }
    }

    fn renew_all(&mut self) {
        let keys: Vec<RouterKey> = self.routers.keys().cloned().collect();
        for key in keys {
            self.renew(&key);
        }
    }

    fn guardian_lost(&mut self) {
        self.guardian = None;
        self.tell(Notice::GuardianLost);
    }

    fn state_changed(&mut self, key: &RouterKey, to: State, cause: &evenkeel_vrrp::Cause) {
        self.sync_vips(&BTreeSet::new(), false);
        if to != State::Master
            && let Some(guardian) = &self.guardian
            && guardian.release(&key.to_string()).is_err()
        {
            self.guardian_lost();
        }
        if let Some(setup) = self.routers.get(key) {
            self.tell(Notice::State { router: setup.name.clone(), to, why: cause.to_string() });
        }
    }

    fn announce(&mut self, key: &RouterKey, repeat: u8) {
        let (Some(setup), Some(port)) = (self.routers.get(key), self.ports.get(&key.interface)) else {
            return;
        };
        let result =
            (0..repeat).try_for_each(|_| setup.config.vips.iter().try_for_each(|vip| port.announce(*vip)));
        if let Err(error) = result {
            self.tell_router(key, format!("cannot announce the VIPs: {error}"));
        }
    }

    fn vip_keys(&self) -> BTreeSet<AddressKey> {
        self.routers.values().flat_map(|setup| setup.vips.keys().cloned()).collect()
    }

    /// Makes the VIPs follow the states. `also` are VIPs that were in the plan before; `repair` is
    /// set when no state changed, so that what is missing was taken away by someone.
    fn sync_vips(&mut self, also: &BTreeSet<AddressKey>, repair: bool) {
        let mut all = self.vip_keys();
        all.extend(also.iter().cloned());
        let is_master = |key: &RouterKey| {
            self.election.get(key).is_some_and(|(_, router)| VirtualRouter::state(router) == State::Master)
        };
        let masters = self.routers.values().filter(|setup| is_master(&setup.key));
        let present = masters.flat_map(|setup| setup.vips.clone()).collect();
        self.vips_dirty = false;
        match vips::sync(&mut self.kernel, &all, present) {
            Ok(synced) => self.synced(synced, repair),
            Err(error) => {
                self.vips_dirty = true;
                self.tell(Notice::Problem(format!("cannot read the addresses: {error}")));
            }
        }
    }

    fn synced(&mut self, synced: Synced, repair: bool) {
        let now = clock::now();
        for (op, error) in &synced.failed {
            self.vips_dirty = true;
            self.tell(Notice::Problem(format!("cannot {op}: {error}")));
            if let Op::AddAddress { key, .. } = op
                && error.class == Class::Permanent
                && let Some(router) = self.owner(key)
            {
                self.held.insert(router.clone(), now + REFUSED_HOLD);
                self.election.handle(&router, Input::Fault(FaultCause::VipRefused), now);
            }
        }
        if synced.done.is_empty() {
            return;
        }
        if repair {
            let added = synced.done.iter().filter_map(|op| match op {
                Op::AddAddress { key, .. } => self.owner(key),
                _ => None,
            });
            for router in added.collect::<BTreeSet<RouterKey>>() {
                self.tell_router(&router, "a VIP was taken away: put back".to_owned());
                self.election.handle(&router, Input::VipsRepaired, now);
            }
        }
        self.tell(Notice::Done(synced.done.iter().map(ToString::to_string).collect()));
    }

    fn owner(&self, vip: &AddressKey) -> Option<RouterKey> {
        self.routers.values().find(|setup| setup.vips.contains_key(vip)).map(|setup| setup.key.clone())
    }

    fn events(&mut self) {
        let events = self.monitor.read_events().unwrap_or_else(|error| {
            self.tell(Notice::Problem(format!("election: kernel events: {error}")));
            vec![Event::Overrun]
        });
        for event in events {
            match event {
                Event::AddressAdded { .. } | Event::AddressRemoved { .. } => {
                    self.vips_dirty = true;
                    // A source address may have come or gone.
                    self.links_dirty = true;
                }
                Event::LinkChanged { .. } => self.links_dirty = true,
                Event::RouteChanged => {}
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
        if std::mem::take(&mut self.links_dirty) {
            self.follow_links();
            self.start_routers();
        }
        if self.vips_dirty {
            self.sync_vips(&BTreeSet::new(), true);
            self.drain();
        }
        let waiting = self.vips_dirty || self.links_dirty || !self.held.is_empty();
        let next = now + if waiting { RETRY } else { RESYNC };
        if now >= self.check_at || next < self.check_at {
            self.check_at = next;
        }
    }

    fn follow_links(&mut self) {
        if self.ports.is_empty() {
            return;
        }
        let links = match self.kernel.links() {
            Ok(links) => links,
            Err(error) => {
                self.links_dirty = true;
                self.tell(Notice::Problem(format!("cannot read the interfaces: {error}")));
                return;
            }
        };
        let mut problems = Vec::new();
        for (name, port) in &mut self.ports {
            if let Err(error) = port.follow(links.iter().find(|link| link.name == name.as_str())) {
                problems.push(format!("cannot open sockets on {name}: {error}"));
            }
            let sources = self.routers.values().filter(|setup| setup.key.interface == *name);
            port.retain_senders(&sources.map(|setup| setup.config.source).collect());
        }
        for problem in problems {
            self.tell(Notice::Problem(problem));
        }
    }

    fn snapshot(&self) -> Vec<RouterSnapshot> {
        self.election
            .iter()
            .map(|(key, name, router)| RouterSnapshot {
                key: key.clone(),
                name: name.clone(),
                version: router.config().version.number(),
                priority: router.config().priority.get(),
                state: router.state(),
                reason: router.reason().to_string(),
                since: router.since(),
                master: router.master().map(|ip| ip.to_string()),
                vips: router.config().vips.iter().map(ToString::to_string).collect(),
                counters: router.counters().to_status(),
            })
            .collect()
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
