//! Segments with a few directors, in virtual time: nodes, network, faults.
//!
//! Nothing here says what is right; that is in `main.rs`. All randomness comes from one seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, InterfaceName, Priority};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Cause, Checksum, Config, Election, FaultCause, GROUP_V4, Input, Member, Output, Received,
    RouterKey, Secret, State, TTL, Version, VirtualRouter, WireInterval, encode,
};

use super::seeds::Rng;

/// VRID of the router on the first segment; those of the others follow.
pub(crate) const FIRST_VRID: u8 = 51;

impl Rng {
    /// Up to and including `most`.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(most.as_nanos() as u64 + 1))
    }
}

/// A director: one router on each segment, all of one sync group when there are several.
pub(crate) struct Node {
    /// Of each router.
    pub(crate) configs: Vec<Config>,
    keys: Vec<RouterKey>,
    /// The daemon; `None` while it is dead.
    pub(crate) election: Option<Election>,
    /// Whether the daemon ends as soon as no router of it serves any more.
    pub(crate) stopping: bool,
    /// Which interfaces have no carrier.
    pub(crate) unplugged: Vec<bool>,
    /// Stopped (SIGSTOP) until then: packets wait in the socket, timers are late.
    pub(crate) paused_until: Option<MonoTime>,
    inbox: Vec<Packet>,
    /// When the guardian takes the VIPs of a dead daemon's routers away, in the world's time.
    pub(crate) leases: Vec<Option<MonoTime>>,
    /// How late its timers are.
    lateness: Duration,
    /// How much faster than the world's its clock is, in parts per million.
    drift: i64,
}

impl Node {
    pub(crate) fn states(&self) -> impl Iterator<Item = State> {
        self.election.iter().flat_map(Election::iter).map(|(_, _, router)| router.state())
    }

    /// Of a group: all of them.
    pub(crate) fn is_master(&self) -> bool {
        self.election.is_some() && self.states().all(|state| state == State::Master)
    }

    /// Some routers of a group are Master and some are not.
    pub(crate) fn is_mixed(&self) -> bool {
        !self.is_master() && self.states().any(|state| state == State::Master)
    }

    /// Whether one of its routers serves on although it has left, until another Master is heard.
    pub(crate) fn is_leaving(&self) -> bool {
        self.election.as_ref().is_some_and(Election::is_leaving)
    }

    /// The router on a segment.
    pub(crate) fn router(&self, segment: usize) -> Option<&VirtualRouter> {
        let (_, router) = self.election.as_ref()?.get(&self.keys[segment])?;
        Some(router)
    }

    /// Takes part in the election.
    pub(crate) fn is_up(&self) -> bool {
        let takes_part = self.election.is_some() && self.states().all(|state| state != State::Initialize);
        self.paused_until.is_none() && takes_part
    }

    pub(crate) fn is_plugged(&self) -> bool {
        !self.unplugged.contains(&true)
    }

    pub(crate) fn priority(&self) -> Priority {
        self.configs[0].priority
    }

    /// The world's time on its clock. There is no wall clock to step: the election's time is
    /// `CLOCK_BOOTTIME`, which never does.
    fn local(&self, time: MonoTime) -> MonoTime {
        let rate = (1_000_000 + self.drift) as u128;
        MonoTime::from_nanos((u128::from(time.as_nanos()) * rate / 1_000_000) as u64)
    }

    /// When its clock shows `time`, or the moment after.
    fn global(&self, time: MonoTime) -> MonoTime {
        let rate = (1_000_000 + self.drift) as u128;
        MonoTime::from_nanos((u128::from(time.as_nanos()) * 1_000_000).div_ceil(rate) as u64)
    }

    fn member(&self, segment: usize) -> Member {
        let config = self.configs[segment].clone();
        let key = self.keys[segment].clone();
        let group = (self.configs.len() > 1).then(|| "group".parse().expect("name"));
        Member { key, name: format!("r{segment}").parse().expect("name"), group, config }
    }
}

fn key(segment: usize, config: &Config) -> RouterKey {
    let interface: InterfaceName = format!("eth{segment}").parse().expect("interface");
    RouterKey::new(interface, config)
}

#[derive(Clone)]
struct Packet {
    bytes: Rc<[u8]>,
    src: IpAddr,
    dst: IpAddr,
    segment: usize,
}

/// A fault that a schedule makes in the world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The daemon dies; the guardian keeps the VIPs for the lease.
    Crash(usize),
    /// The daemon starts: by Adopt within its lease, else by Startup.
    Boot(usize),
    /// The daemon leaves in order.
    Stop(usize),
    /// One of its interfaces loses its carrier.
    Unplug(usize, usize),
    /// All of its interfaces have one again.
    Plug(usize),
    /// Nodes of different bits no longer hear each other; 0 is one whole segment.
    Partition(u8),
    Pause(usize, Duration),
    /// VIPs and bursts change, nothing that the election depends on.
    Revip(usize),
    Prioritise(usize, u8),
    /// Whether it has to wait for its checks.
    Unready(usize, bool),
    /// In centiseconds.
    Retime(usize, u16),
    /// `from` is no longer heard by `to`, but hears it.
    CutOneWay(usize, usize),
    /// Everything that was cut is whole.
    Mend,
}

enum Event {
    Deliver(usize, Packet),
    Resume(usize),
}

/// A state change, as it happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) at: MonoTime,
    pub(crate) node: usize,
    pub(crate) segment: usize,
    pub(crate) to: State,
    pub(crate) cause: Cause,
}

/// The segments.
pub(crate) struct World {
    pub(crate) now: MonoTime,
    pub(crate) nodes: Vec<Node>,
    pub(crate) changes: Vec<Change>,
    faults: Vec<(MonoTime, String)>,
    /// Packets lost, per mille. With any loss packets also come twice and in another order.
    pub(crate) loss: u64,
    /// Longest delay of a packet.
    pub(crate) delay: Duration,
    pub(crate) partition: u8,
    cuts: Vec<(usize, usize)>,
    pub(crate) rng: Rng,
    last_arrival: BTreeMap<(usize, usize, usize), MonoTime>,
    events: BTreeMap<(MonoTime, u64), Event>,
    sequence: u64,
}

impl World {
    /// Dead nodes with these configurations, whose clocks are wrong by `drift` parts per million at most.
    pub(crate) fn new(seed: u64, configs: Vec<Vec<Config>>, delay: Duration, drift: i64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = configs.into_iter().map(|configs| Node {
            election: None,
            stopping: false,
            unplugged: vec![false; configs.len()],
            paused_until: None,
            inbox: Vec::new(),
            leases: vec![None; configs.len()],
            lateness: rng.span(delay / 4),
            drift: rng.below(2 * drift as u64 + 1) as i64 - drift,
            keys: configs.iter().enumerate().map(|(segment, config)| key(segment, config)).collect(),
            configs,
        });
        Self {
            now: MonoTime::from_millis(10_000),
            nodes: nodes.collect(),
            changes: Vec::new(),
            faults: Vec::new(),
            loss: 0,
            delay,
            partition: 0,
            cuts: Vec::new(),
            rng,
            last_arrival: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn segments(&self) -> usize {
        self.nodes[0].configs.len()
    }

    /// Whether `to` hears `from` on every segment.
    pub(crate) fn connected(&self, from: usize, to: usize) -> bool {
        (0..self.segments()).all(|segment| self.hears(from, to, segment))
    }

    fn hears(&self, from: usize, to: usize, segment: usize) -> bool {
        let side = |node: usize| self.partition >> node & 1;
        side(from) == side(to)
            && !self.nodes[from].unplugged[segment]
            && !self.nodes[to].unplugged[segment]
            && !self.cuts.contains(&(from, to))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.partition == 0 && self.cuts.is_empty()
    }

    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_master()).collect()
    }

    /// Times at which a node took over. A group does so as one.
    pub(crate) fn elections(&self) -> usize {
        self.changes
            .iter()
            .filter(|change| change.segment == 0 && change.to == State::Master)
            .filter(|change| change.cause != Cause::Adopted)
            .count()
    }

    /// History: faults and what came of them, the last hundred.
    pub(crate) fn history(&self) -> String {
        let mut lines: Vec<(MonoTime, String)> = self.faults.clone();
        lines.extend(self.changes.iter().map(|change| {
            let Change { at, node, segment, to, cause } = change;
            (*at, format!("  {node}.{segment} {to}: {cause}"))
        }));
        lines.sort_by_key(|(at, _)| *at);
        let last = lines.len().saturating_sub(100);
        lines[last..].iter().map(|(at, line)| format!("\n  {at} {line}")).collect()
    }

    pub(crate) fn inflict(&mut self, fault: Fault) {
        self.faults.push((self.now, format!("{fault:?}")));
        match fault {
            Fault::Crash(node) => {
                let subject = &mut self.nodes[node];
                if let Some(election) = subject.election.take() {
                    let leases = election.iter().map(|(_, _, router)| router.lease_until());
                    let leases = leases.map(|lease| lease.map(|lease| subject.global(lease)));
                    subject.leases = leases.collect();
                }
                subject.inbox.clear();
                subject.stopping = false;
            }
            Fault::Boot(node) => self.boot(node),
            Fault::Stop(node) => {
                self.nodes[node].stopping = true;
                self.with(node, Election::shutdown);
            }
            Fault::Unplug(node, segment) => {
                self.nodes[node].unplugged[segment] = true;
                self.give(node, segment, Input::Fault(FaultCause::InterfaceDown));
            }
            Fault::Plug(node) => {
                for segment in 0..self.segments() {
                    self.nodes[node].unplugged[segment] = false;
                    if !self.nodes[node].stopping {
                        self.give(node, segment, Input::Startup);
                    }
                }
            }
            Fault::Partition(bits) => self.partition = bits,
            Fault::Pause(node, span) => {
                let until = self.now + span;
                self.nodes[node].paused_until = Some(until);
                self.schedule(until, Event::Resume(node));
            }
            Fault::Revip(node) => {
                let extra = Ipv4Addr::from_bits(0x0a09_0100 + self.rng.below(256) as u32);
                self.reconfigure(node, |config| {
                    config.vips.truncate(1);
                    config.vips.push(extra.into());
                    config.garp_repeat = config.garp_repeat % 5 + 1;
                });
            }
            Fault::Prioritise(node, priority) => {
                let priority = Priority::new(priority).expect("priority");
                self.reconfigure(node, |config| config.priority = priority);
            }
            Fault::Unready(node, unready) => self.reconfigure(node, |config| config.unready = unready),
            Fault::Retime(node, centis) => {
                let interval = AdvertInterval::from_centis(centis).expect("interval");
                self.reconfigure(node, |config| config.interval = interval);
            }
            Fault::CutOneWay(from, to) => self.cuts.push((from, to)),
            Fault::Mend => {
                self.partition = 0;
                self.cuts.clear();
            }
        }
    }

    fn reconfigure(&mut self, node: usize, change: impl Fn(&mut Config)) {
        self.nodes[node].configs.iter_mut().for_each(change);
        let members = self.members(node);
        self.with(node, |election, now| election.configure(members, now));
    }

    fn members(&self, node: usize) -> Vec<Member> {
        (0..self.segments()).map(|segment| self.nodes[node].member(segment)).collect()
    }

    fn boot(&mut self, node: usize) {
        if self.nodes[node].election.is_some() {
            return;
        }
        self.nodes[node].paused_until = None;
        self.nodes[node].election = Some(Election::new());
        let members = self.members(node);
        self.with(node, |election, now| election.configure(members, now));
        for segment in 0..self.segments() {
            let lease = self.nodes[node].leases[segment].take();
            if lease.is_some_and(|lease| self.now < lease) && !self.nodes[node].unplugged[segment] {
                self.give(node, segment, Input::Adopt);
            }
        }
        for segment in 0..self.segments() {
            let unplugged = self.nodes[node].unplugged[segment];
            let input = if unplugged { Input::Fault(FaultCause::InterfaceDown) } else { Input::Startup };
            self.give(node, segment, input);
        }
    }

    /// Lets time pass until `end`, calling `watch` after every step.
    pub(crate) fn run_until(&mut self, end: MonoTime, watch: &mut impl FnMut(&World)) {
        loop {
            let timer = (0..self.nodes.len()).filter_map(|node| Some((self.wakes_at(node)?, node))).min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let next = [timer.map(|(at, _)| at), event].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            match timer.filter(|(at, _)| *at == next) {
                // The driver's rule: timers before packets.
                Some((_, node)) => self.with(node, Election::handle_timers),
                None => {
                    if let Some((_, event)) = self.events.pop_first() {
                        self.happen(event);
                    }
                }
            }
            watch(self);
        }
        self.now = end;
    }

    fn wakes_at(&self, node: usize) -> Option<MonoTime> {
        let node = &self.nodes[node];
        let (deadline, _) = node.election.as_ref()?.poll_timeout()?;
        match node.paused_until {
            Some(_) => None,
            None => Some((node.global(deadline) + node.lateness).max(self.now)),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver(node, packet) if self.nodes[node].paused_until.is_some() => {
                self.nodes[node].inbox.push(packet);
            }
            Event::Deliver(node, packet) => self.receive(node, &packet),
            Event::Resume(node) => {
                if self.nodes[node].paused_until.is_none_or(|until| until > self.now) {
                    return;
                }
                self.nodes[node].paused_until = None;
                self.with(node, Election::handle_timers);
                for packet in std::mem::take(&mut self.nodes[node].inbox) {
                    self.receive(node, &packet);
                }
            }
        }
    }

    fn receive(&mut self, node: usize, packet: &Packet) {
        let Packet { bytes, src, dst, segment } = packet;
        let received = Received { payload: bytes, src: *src, dst: *dst, ttl: TTL };
        self.give(node, *segment, Input::Packet(received));
    }

    fn give(&mut self, node: usize, segment: usize, input: Input<'_>) {
        let key = self.nodes[node].keys[segment].clone();
        self.with(node, |election, now| {
            election.handle(&key, input, now);
        });
    }

    /// A stranger's packet reaches every node that it can, unless it only pretends.
    pub(crate) fn strange(&mut self, rng: &mut Rng, speaks: bool) {
        let segment = rng.index(self.segments());
        let config = self.nodes[0].configs[segment].clone();
        let address = |last: u64| IpAddr::from([10, 9, segment as u8, last as u8]);
        let stranger = address(200 + rng.below(50));
        let director = self.nodes[rng.index(self.nodes.len())].configs[segment].source;
        // No VIP that `Fault::Revip` may give a director: it would be taken for one with its address written
        // wrongly.
        let (ours, other) = (config.vips.clone(), IpAddr::from([10, 8, segment as u8, 77]));
        let more = [ours.clone(), vec![other]].concat();
        let priority = rng.pick(&[0, 1, 100, 254, 255]);
        let centis = rng.pick(&[1, 10, 100, 4095]);
        let interval = match config.version {
            Version::V2 => config.effective_interval().into(),
            Version::V3 => WireInterval::from_centis(centis),
        };
        let auth = config.auth.map_or(Auth::None, Auth::Pass);
        let good =
            Advert { version: config.version, vrid: config.vrid, priority, interval, auth, addresses: ours };
        let other_version = if config.version == Version::V2 { Version::V3 } else { Version::V2 };
        let password = Auth::Pass(Secret::from_text("guess"));
        let (src, advert, ttl) = match rng.below(6) {
            0 => (stranger, Advert { addresses: vec![other], ..good }, TTL),
            1 => (stranger, Advert { addresses: more, ..good }, TTL),
            2 => (director, good, 64),
            3 => (director, Advert { version: other_version, auth: Auth::None, ..good }, TTL),
            4 if config.version == Version::V2 => (director, Advert { auth: password, ..good }, TTL),
            4 => (stranger, Advert { addresses: vec![other], ..good }, TTL),
            _ => (director, Advert { interval: WireInterval::from_centis(0), ..good }, TTL),
        };
        let mut bytes = Vec::new();
        let dst = GROUP_V4.into();
        encode(&advert, src, dst, Checksum::WithPseudoHeader, &mut bytes);
        for node in 0..self.nodes.len() {
            if speaks && self.nodes[node].paused_until.is_none() && !self.nodes[node].unplugged[segment] {
                self.give(node, segment, Input::Packet(Received { payload: &bytes, src, dst, ttl }));
            }
        }
    }

    /// Does something to a node's election, and what comes of it.
    fn with(&mut self, node: usize, act: impl FnOnce(&mut Election, MonoTime)) {
        let now = self.nodes[node].local(self.now);
        let Some(election) = &mut self.nodes[node].election else { return };
        act(election, now);
        let outputs: Vec<_> = std::iter::from_fn(|| election.poll_output()).collect();
        for (key, output) in outputs {
            let segment = usize::from(key.vrid.get() - FIRST_VRID);
            match output {
                Output::Transmit { bytes, src, dst, .. } => {
                    self.transmit(node, &Packet { bytes: bytes.into(), src, dst, segment });
                }
                Output::StateChanged { to, cause, .. } => {
                    self.changes.push(Change { at: self.now, node, segment, to, cause });
                }
                Output::Announce { .. } | Output::Event(_) => {}
            }
        }
        if self.nodes[node].stopping && !self.nodes[node].election.as_ref().is_some_and(Election::is_leaving)
        {
            self.nodes[node].election = None;
            self.nodes[node].stopping = false;
        }
    }

    fn transmit(&mut self, from: usize, packet: &Packet) {
        let segment = packet.segment;
        for to in 0..self.nodes.len() {
            let meant = packet.dst.is_multicast() || self.nodes[to].configs[segment].source == packet.dst;
            if to == from || !meant || !self.hears(from, to, segment) {
                continue;
            }
            // Now and then a packet comes twice when packets also get lost.
            let copies = if self.loss > 0 && self.rng.chance(20) { 2 } else { 1 };
            for _ in 0..copies {
                if !self.rng.chance(self.loss) {
                    let mut at = self.now + self.rng.span(self.delay);
                    if self.loss == 0 {
                        // A sound segment keeps the order of what one sender sends.
                        let last = self.last_arrival.entry((from, to, segment)).or_default();
                        at = at.max(*last);
                        *last = at;
                    }
                    self.schedule(at, Event::Deliver(to, packet.clone()));
                }
            }
        }
    }

    fn schedule(&mut self, at: MonoTime, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }
}
