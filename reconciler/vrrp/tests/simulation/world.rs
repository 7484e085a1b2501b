//! A segment with a few directors, in virtual time: nodes, network, faults.
//!
//! Nothing here says what is right; that is in `main.rs`. All randomness comes from one seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Cause, Config, FaultCause, GROUP_V4, Input, Output, Received, State, TTL, VirtualRouter,
};

/// xorshift64*: small, seeded, good enough.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// 0..bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Up to and including `most`.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(most.as_nanos() as u64 + 1))
    }
}

/// A director.
pub(crate) struct Node {
    pub(crate) config: Config,
    /// The daemon; `None` while it is dead.
    pub(crate) router: Option<VirtualRouter>,
    /// The interface has no carrier.
    pub(crate) unplugged: bool,
    /// Stopped (SIGSTOP) until then: packets wait in the socket, timers are late.
    pub(crate) paused_until: Option<MonoTime>,
    inbox: Vec<Packet>,
    /// When the guardian takes the VIPs of a dead daemon away.
    pub(crate) lease: Option<MonoTime>,
    /// How late its timers are.
    lateness: Duration,
}

impl Node {
    pub(crate) fn is_master(&self) -> bool {
        self.router.as_ref().is_some_and(|router| router.state() == State::Master)
    }

    /// Takes part in the election.
    pub(crate) fn is_up(&self) -> bool {
        self.paused_until.is_none()
            && self.router.as_ref().is_some_and(|router| router.state() != State::Initialize)
    }
}

#[derive(Clone)]
struct Packet {
    bytes: Vec<u8>,
    src: IpAddr,
}

/// What a schedule does to the world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The daemon dies; the guardian keeps the VIPs for the lease.
    Crash(usize),
    /// The daemon starts: by Adopt within its lease, else by Startup.
    Boot(usize),
    /// The daemon leaves in order.
    Stop(usize),
    Unplug(usize),
    Plug(usize),
    /// Nodes of different bits no longer hear each other; 0 is one whole segment.
    Partition(u8),
    Pause(usize, Duration),
    /// VIPs and bursts change, nothing that the election depends on.
    Reconfigure(usize),
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
    pub(crate) to: State,
    pub(crate) cause: Cause,
}

/// The segment.
pub(crate) struct World {
    pub(crate) now: MonoTime,
    pub(crate) nodes: Vec<Node>,
    pub(crate) changes: Vec<Change>,
    /// Packets lost, per mille. With any loss packets also come twice and in another order.
    pub(crate) loss: u64,
    /// Longest delay of a packet.
    pub(crate) delay: Duration,
    pub(crate) partition: u8,
    cuts: Vec<(usize, usize)>,
    pub(crate) rng: Rng,
    last_arrival: BTreeMap<(usize, usize), MonoTime>,
    events: BTreeMap<(MonoTime, u64), Event>,
    sequence: u64,
}

impl World {
    /// Dead nodes with these configurations. Their addresses ascend.
    pub(crate) fn new(seed: u64, configs: Vec<Config>, delay: Duration) -> Self {
        let mut rng = Rng::new(seed);
        let mut nodes = Vec::new();
        for (index, mut config) in configs.into_iter().enumerate() {
            config.source = Ipv4Addr::new(10, 9, 0, index as u8 + 1).into();
            nodes.push(Node {
                config,
                router: None,
                unplugged: false,
                paused_until: None,
                inbox: Vec::new(),
                lease: None,
                lateness: rng.span(delay / 4),
            });
        }
        Self {
            now: MonoTime::from_millis(10_000),
            nodes,
            changes: Vec::new(),
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

    /// Whether `to` hears `from`.
    pub(crate) fn connected(&self, from: usize, to: usize) -> bool {
        let side = |node: usize| self.partition >> node & 1;
        side(from) == side(to)
            && !self.nodes[from].unplugged
            && !self.nodes[to].unplugged
            && !self.cuts.contains(&(from, to))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.partition == 0 && self.cuts.is_empty()
    }

    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_master()).collect()
    }

    /// Times at which a node took over.
    pub(crate) fn elections(&self) -> usize {
        self.changes
            .iter()
            .filter(|change| change.to == State::Master && change.cause != Cause::Adopted)
            .count()
    }

    pub(crate) fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(node) => {
                self.nodes[node].lease =
                    self.nodes[node].router.as_ref().and_then(VirtualRouter::lease_until);
                self.nodes[node].router = None;
                self.nodes[node].inbox.clear();
            }
            Fault::Boot(node) => self.boot(node),
            Fault::Stop(node) => {
                self.give(node, Input::Shutdown);
                self.nodes[node].router = None;
            }
            Fault::Unplug(node) => {
                self.nodes[node].unplugged = true;
                self.give(node, Input::Fault(FaultCause::InterfaceDown));
            }
            Fault::Plug(node) => {
                self.nodes[node].unplugged = false;
                self.give(node, Input::Startup);
            }
            Fault::Partition(bits) => self.partition = bits,
            Fault::Pause(node, span) => {
                let until = self.now + span;
                self.nodes[node].paused_until = Some(until);
                self.schedule(until, Event::Resume(node));
            }
            Fault::Reconfigure(node) => {
                let extra = Ipv4Addr::from_bits(0x0a09_0100 + self.rng.below(256) as u32);
                let config = &mut self.nodes[node].config;
                config.vips.truncate(1);
                config.vips.push(extra.into());
                config.garp_repeat = config.garp_repeat % 5 + 1;
                let config = config.clone();
                self.give(node, Input::Reconfigure(config));
            }
            Fault::CutOneWay(from, to) => self.cuts.push((from, to)),
            Fault::Mend => {
                self.partition = 0;
                self.cuts.clear();
            }
        }
    }

    fn boot(&mut self, node: usize) {
        if self.nodes[node].router.is_some() {
            return;
        }
        let lease = self.nodes[node].lease.take();
        self.nodes[node].router = Some(VirtualRouter::new(self.nodes[node].config.clone()));
        self.nodes[node].paused_until = None;
        if self.nodes[node].unplugged {
            self.give(node, Input::Fault(FaultCause::InterfaceDown));
        } else if lease.is_some_and(|lease| self.now < lease) {
            self.give(node, Input::Adopt);
        } else {
            self.give(node, Input::Startup);
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
                Some((_, node)) => self.give(node, Input::Timer),
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
        let Node { router, paused_until, lateness, .. } = &self.nodes[node];
        let (deadline, _) = router.as_ref()?.poll_timeout()?;
        match paused_until {
            Some(_) => None,
            None => Some((deadline + *lateness).max(self.now)),
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
                self.give(node, Input::Timer);
                for packet in std::mem::take(&mut self.nodes[node].inbox) {
                    self.receive(node, &packet);
                }
            }
        }
    }

    fn receive(&mut self, node: usize, packet: &Packet) {
        let Packet { bytes, src } = packet;
        let received = Received { payload: bytes, src: *src, dst: GROUP_V4.into(), ttl: TTL };
        self.give(node, Input::Packet(received));
    }

    /// One input, and everything that comes of it.
    fn give(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        let Some(router) = &mut self.nodes[node].router else { return };
        router.handle(input, now);
        let outputs: Vec<Output> = std::iter::from_fn(|| router.poll_output()).collect();
        for output in outputs {
            match output {
                Output::Transmit { bytes, src, .. } => self.transmit(node, &Packet { bytes, src }),
                Output::StateChanged { to, cause, .. } => {
                    self.changes.push(Change { at: now, node, to, cause });
                }
                Output::Announce { .. } | Output::Event(_) => {}
            }
        }
    }

    fn transmit(&mut self, from: usize, packet: &Packet) {
        for to in 0..self.nodes.len() {
            if to == from || !self.connected(from, to) {
                continue;
            }
            // Now and then a packet comes twice when packets also get lost.
            let copies = if self.loss > 0 && self.rng.chance(20) { 2 } else { 1 };
            for _ in 0..copies {
                if !self.rng.chance(self.loss) {
                    let mut at = self.now + self.rng.span(self.delay);
                    if self.loss == 0 {
                        // A sound segment keeps the order of what one sender sends.
                        let last = self.last_arrival.entry((from, to)).or_default();
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
