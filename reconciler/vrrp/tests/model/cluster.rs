//! A few directors and the segments between them as one value: cloned, hashed, and moved on by one
//! event.
//!
//! Nothing here says what is right, nor which event comes next when there is a choice.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, InterfaceName, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Checksum, Config, Delivery, Election, FaultCause, GROUP_V4, Input, Member, Output, Received, RouterKey,
    State, TTL, Version,
};

/// How long a packet takes unless somebody meddles.
pub(crate) const DELAY: Duration = Duration::from_millis(1);
/// How much longer one takes that is late: enough to be overtaken by one, or by two.
pub(crate) const LATE: [Duration; 2] = [Duration::from_millis(700), Duration::from_millis(1300)];
/// Longest time for which a Master serves on after it has left: a Backup of the lowest priority waits for a
/// second, and gets a quarter of one more.
const LONGEST_LEAVE: Duration = Duration::from_millis(1250);
/// Time for which it serves on once it has heard another Master.
const LINGER: Duration = Duration::from_millis(10);
/// Longer than a rival must be silent to be gone.
const MEMORY: Duration = Duration::from_secs(4);
/// Longer than the interval.
const SHORT_MEMORY: Duration = Duration::from_millis(1001);
/// Where a priority stands in an advertisement.
const PRIORITY_AT: usize = 2;

/// Facts that stay the same in one exploration.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    /// Of each director, for each of its routers.
    pub(crate) priorities: Vec<Vec<u8>>,
    pub(crate) preempt: bool,
    /// Whether a director that starts, or gets its carrier back, has to wait for its checks.
    pub(crate) waits: bool,
    pub(crate) version: Version,
    /// How many disturbances there are at most.
    pub(crate) budget: u8,
}

impl Setup {
    pub(crate) fn segments(&self) -> usize {
        self.priorities[0].len()
    }

    fn config(&self, node: usize, segment: usize) -> Config {
        let address = |host| IpAddr::V4(Ipv4Addr::new(10, 9, segment as u8, host));
        // On every other segment the addresses are in the opposite order.
        let host = if segment.is_multiple_of(2) { node as u8 + 1 } else { 9 - node as u8 };
        Config {
            version: self.version,
            vrid: Vrid::new(51 + segment as u8).expect("VRID"),
            priority: Priority::new(self.priorities[node][segment]).expect("priority"),
            interval: AdvertInterval::ONE_SECOND,
            preempt: self.preempt,
            preempt_delay: Duration::ZERO,
            unready: false,
            auth: None,
            source: address(host),
            delivery: Delivery::Multicast,
            vips: vec![address(100)],
            garp_repeat: 1,
            garp_delay: Duration::ZERO,
            garp_refresh: None,
            directors: None,
            checksum: Checksum::WithPseudoHeader,
            hmac: None,
        }
    }

    fn member(&self, node: usize, segment: usize) -> Member {
        let config = self.config(node, segment);
        let interface: InterfaceName = format!("eth{segment}").parse().expect("interface");
        let key = RouterKey::new(interface, &config);
        let group = (self.segments() > 1).then(|| "group".parse().expect("name"));
        Member { key, name: format!("r{segment}").parse().expect("name"), group, config }
    }
}

/// An event that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The next event, as it should be.
    Go,
    /// The next event is a packet, which is lost.
    Lose,
    /// The packet comes later, by [`LATE`].
    Delay(usize),
    /// The packet comes, and once more later.
    Twice(usize),
    /// The daemon of a director dies.
    Crash(usize),
    /// The daemon leaves in order.
    Stop(usize),
    /// The daemon starts; within its leases as Master.
    Boot(usize),
    /// A director's interface to a segment loses its carrier.
    Unplug(usize, usize),
    Plug(usize, usize),
    /// The checks of a director have spoken.
    Ready(usize),
    /// A director and the others no longer hear each other on a segment.
    Cut(usize, usize),
    Heal(usize, usize),
}

impl Move {
    /// Whether it uses up the budget; repairs do not.
    pub(crate) fn costs(self) -> bool {
        !matches!(self, Self::Go | Self::Boot(_) | Self::Plug(..) | Self::Ready(_) | Self::Heal(..))
    }
}

#[derive(Clone)]
struct Node {
    election: Option<Election>,
    /// Whether the daemon ends as soon as none of its routers serves any more.
    stopping: bool,
    /// For each router that leaves, since when.
    leaving: Vec<Option<MonoTime>>,
    /// Of a dead daemon, for each router.
    leases: Vec<Option<MonoTime>>,
    unplugged: Vec<bool>,
    cut: Vec<bool>,
    /// Whether it waits for its checks.
    unready: bool,
    /// For each router the lease of the advertisement that was heard last, and its priority.
    heard: Vec<Option<(MonoTime, u8)>>,
}

#[derive(Clone)]
struct Flight {
    at: MonoTime,
    from: usize,
    to: usize,
    segment: usize,
    bytes: Rc<[u8]>,
    lease: Option<MonoTime>,
    late: bool,
}

/// The whole.
#[derive(Clone)]
pub(crate) struct Cluster {
    setup: Rc<Setup>,
    pub(crate) now: MonoTime,
    nodes: Vec<Node>,
    flights: Vec<Flight>,
    pub(crate) budget: u8,
    /// Whether the last move changed a state.
    pub(crate) changed: bool,
    /// A promise that was broken, should there have been one: a claim within a lease, or a Master that does
    /// not leave when it should.
    pub(crate) broken: Option<String>,
}

impl Cluster {
    /// All directors dead.
    pub(crate) fn new(setup: &Rc<Setup>) -> Self {
        let segments = setup.segments();
        let node = || Node {
            election: None,
            stopping: false,
            leaving: vec![None; segments],
            leases: vec![None; segments],
            unplugged: vec![false; segments],
            cut: vec![false; segments],
            unready: false,
            heard: vec![None; segments],
        };
        let now = MonoTime::from_millis(1_000_000);
        Self {
            setup: Rc::clone(setup),
            now,
            nodes: setup.priorities.iter().map(|_| node()).collect(),
            flights: Vec::new(),
            budget: setup.budget,
            changed: false,
            broken: None,
        }
    }

    pub(crate) fn nodes(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// `None` for a dead director.
    pub(crate) fn states(&self, node: usize) -> Option<Vec<State>> {
        let election = self.nodes[node].election.as_ref()?;
        Some(election.iter().map(|(_, _, router)| router.state()).collect())
    }

    /// Whether a director could be Master, and is not about to end.
    pub(crate) fn can(&self, node: usize) -> bool {
        self.nodes[node].election.is_some()
            && !self.nodes[node].stopping
            && !self.nodes[node].unplugged.contains(&true)
    }

    /// Whether two directors hear each other on a segment.
    pub(crate) fn hear(&self, a: usize, b: usize, segment: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        !(a.cut[segment] || b.cut[segment] || a.unplugged[segment] || b.unplugged[segment])
    }

    /// Everything that can happen now.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if let Some((_, packet)) = self.next() {
            moves.push(Move::Go);
            if packet.is_some_and(|index| !self.flights[index].late) {
                moves.push(Move::Lose);
                for late in 0..LATE.len() {
                    moves.extend([Move::Delay(late), Move::Twice(late)]);
                }
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if node.election.is_some() {
                moves.push(Move::Crash(index));
                moves.extend((!node.stopping).then_some(Move::Stop(index)));
                moves.extend(node.unready.then_some(Move::Ready(index)));
            } else {
                moves.push(Move::Boot(index));
            }
            for segment in 0..self.setup.segments() {
                let (here, plugged) = ((index, segment), !node.unplugged[segment]);
                moves.push(if plugged { Move::Unplug(here.0, here.1) } else { Move::Plug(here.0, here.1) });
                // With two directors it does not matter which one is cut off.
                if self.nodes.len() > 2 || index == 0 {
                    let whole = !node.cut[segment];
                    moves.push(if whole { Move::Cut(here.0, here.1) } else { Move::Heal(here.0, here.1) });
                }
            }
        }
        moves.retain(|step| self.budget > 0 || !step.costs());
        moves
    }

    /// When the next event is, and of a packet which; timers come first.
    fn next(&self) -> Option<(MonoTime, Option<usize>)> {
        let timer = self.nodes.iter().filter_map(|node| node.election.as_ref()?.poll_timeout()).min();
        // Of those that come together always the same one, whatever order they are kept in.
        let order =
            |flight: &Flight| (flight.at, flight.from, flight.to, flight.segment, Rc::clone(&flight.bytes));
        let packet = self.flights.iter().enumerate().min_by_key(|(_, flight)| order(flight));
        let packet = packet.map(|(index, flight)| (flight.at, index));
        match (timer, packet) {
            (Some((timer, _)), Some((at, _))) if timer <= at => Some((timer, None)),
            (_, Some((at, index))) => Some((at, Some(index))),
            (Some((timer, _)), None) => Some((timer, None)),
            (None, None) => None,
        }
    }

    pub(crate) fn step(&mut self, step: Move) {
        self.changed = false;
        if step.costs() {
            self.budget -= 1;
        }
        match step {
            Move::Go | Move::Lose | Move::Delay(_) | Move::Twice(_) => self.event(step),
            Move::Crash(node) => self.die(node),
            Move::Stop(node) => {
                let now = self.now;
                self.nodes[node].stopping = true;
                self.with(node, |election| election.shutdown(now));
            }
            Move::Boot(node) => self.boot(node),
            Move::Unplug(node, segment) => {
                self.nodes[node].unplugged[segment] = true;
                self.give(node, segment, Input::Fault(FaultCause::InterfaceDown));
            }
            Move::Plug(node, segment) => {
                self.nodes[node].unplugged[segment] = false;
                if !self.nodes[node].stopping {
                    self.make_ready(node, false);
                    self.give(node, segment, Input::Startup);
                }
            }
            Move::Ready(node) => self.make_ready(node, true),
            Move::Cut(node, segment) => self.nodes[node].cut[segment] = true,
            Move::Heal(node, segment) => self.nodes[node].cut[segment] = false,
        }
    }

    fn event(&mut self, step: Move) {
        let Some((at, packet)) = self.next() else { return };
        self.now = self.now.max(at);
        let now = self.now;
        let Some(index) = packet else {
            for node in self.nodes() {
                let due = |election: &Election| election.poll_timeout().is_some_and(|(at, _)| at <= now);
                if self.nodes[node].election.as_ref().is_some_and(due) {
                    self.with(node, |election| election.handle_timers(now));
                }
            }
            return;
        };
        let flight = self.flights.swap_remove(index);
        let again = |late: usize| Flight { at: now + LATE[late], late: true, ..flight.clone() };
        match step {
            Move::Lose => return,
            Move::Delay(late) => {
                self.flights.push(again(late));
                return;
            }
            Move::Twice(late) => self.flights.push(again(late)),
            _ => {}
        }
        self.deliver(&flight);
    }

    fn deliver(&mut self, flight: &Flight) {
        let Flight { from, to, segment, bytes, lease, .. } = flight;
        // A packet that was under way is not stopped by what is cut behind it.
        if self.nodes[*to].unplugged[*segment] {
            return;
        }
        let src = self.setup.config(*from, *segment).source;
        let received = Received { payload: bytes, src, dst: GROUP_V4.into(), ttl: TTL };
        self.give(*to, *segment, Input::Packet(received));
        let priority = bytes[PRIORITY_AT];
        self.nodes[*to].heard[*segment] = lease.map(|lease| (lease, priority));
        if priority > 0 && self.nodes[*to].leaving[*segment].is_some() {
            let key = self.setup.member(*to, *segment).key;
            let election = self.nodes[*to].election.as_ref();
            let end = election.and_then(|election| election.get(&key)?.1.poll_timeout()).map(|(end, _)| end);
            if end.is_none_or(|end| end > self.now + LINGER) {
                let (now, to) = (self.now, *to);
                self.broken = Some(format!("director {to} has heard another Master at {now}, and serves on"));
            }
        }
    }

    fn die(&mut self, node: usize) {
        let Some(election) = self.nodes[node].election.take() else { return };
        self.nodes[node].leases = election.iter().map(|(_, _, router)| router.lease_until()).collect();
        self.nodes[node].heard.fill(None);
        self.nodes[node].leaving.fill(None);
        self.nodes[node].stopping = false;
    }

    /// As the daemon does it: leases first, then whoever may take part.
    fn boot(&mut self, node: usize) {
        let segments = self.setup.segments();
        self.nodes[node].election = Some(Election::new());
        self.make_ready(node, false);
        for segment in 0..segments {
            let lease = self.nodes[node].leases[segment].take();
            if lease.is_some_and(|lease| self.now < lease) && !self.nodes[node].unplugged[segment] {
                self.give(node, segment, Input::Adopt);
            }
        }
        for segment in 0..segments {
            let unplugged = self.nodes[node].unplugged[segment];
            let input = if unplugged { Input::Fault(FaultCause::InterfaceDown) } else { Input::Startup };
            self.give(node, segment, input);
        }
    }

    /// Its checks have spoken, or have to speak first where [`Setup::waits`] says so.
    fn make_ready(&mut self, node: usize, ready: bool) {
        let (unready, now) = (self.setup.waits && !ready, self.now);
        self.nodes[node].unready = unready;
        let members = (0..self.setup.segments()).map(|segment| self.setup.member(node, segment));
        let members = members
            .map(|member| Member { config: Config { unready, ..member.config.clone() }, ..member })
            .collect();
        self.with(node, |election| election.configure(members, now));
    }

    fn give(&mut self, node: usize, segment: usize, input: Input<'_>) {
        let (key, now) = (self.setup.member(node, segment).key, self.now);
        self.with(node, |election| {
            election.handle(&key, input, now);
        });
    }

    /// Does something to a director's election, and what comes of it.
    fn with(&mut self, node: usize, act: impl FnOnce(&mut Election)) {
        let Some(election) = &mut self.nodes[node].election else { return };
        act(election);
        let mut sent = Vec::new();
        let mut claimed = Vec::new();
        while let Some((key, output)) = election.poll_output() {
            let segment = usize::from(key.vrid.get() - 51);
            match output {
                Output::Transmit { bytes, .. } => {
                    let lease = election.get(&key).and_then(|(_, router)| router.lease_until());
                    sent.push((segment, Rc::from(bytes), lease));
                }
                Output::StateChanged { from, to, .. } => {
                    self.changed = true;
                    if (from, to) == (State::Backup, State::Master) {
                        claimed.push(segment);
                    }
                }
                Output::Announce { .. } | Output::Event(_) => {}
            }
        }
        self.observe_leaving(node);
        for segment in claimed {
            self.check_claim(node, segment);
        }
        for (segment, bytes, lease) in sent {
            self.send(node, segment, &bytes, lease);
        }
    }

    /// Records which routers leave, and whether one does so for longer than its Backups need. A daemon that
    /// stops ends with the last of its routers.
    fn observe_leaving(&mut self, node: usize) {
        let Some(election) = &self.nodes[node].election else { return };
        let still: Vec<bool> = election.iter().map(|(_, _, router)| router.is_leaving()).collect();
        for (since, still) in self.nodes[node].leaving.iter_mut().zip(&still) {
            *since = still.then(|| since.unwrap_or(self.now));
            if since.is_some_and(|since| self.now.since(since) > LONGEST_LEAVE) {
                self.broken = Some(format!("director {node} leaves since {since:?}, now {}", self.now));
            }
        }
        if self.nodes[node].stopping && !still.contains(&true) {
            self.die(node);
            self.nodes[node].leases.fill(None);
        }
    }

    /// The promise of `lease_until`.
    fn check_claim(&mut self, node: usize, segment: usize) {
        let ours = self.setup.priorities[node][segment];
        if let Some((lease, theirs)) = self.nodes[node].heard[segment]
            && self.now < lease
            && ours <= theirs
        {
            let now = self.now;
            self.broken =
                Some(format!("director {node} claims at {now}, within a lease of {theirs} until {lease}"));
        }
    }

    fn send(&mut self, from: usize, segment: usize, bytes: &Rc<[u8]>, lease: Option<MonoTime>) {
        let lease = lease.filter(|_| bytes[PRIORITY_AT] > 0);
        for to in self.nodes().filter(|to| *to != from) {
            if self.hear(from, to, segment) && self.nodes[to].election.is_some() {
                let at = self.now + DELAY;
                let bytes = Rc::clone(bytes);
                self.flights.push(Flight { at, from, to, segment, bytes, lease, late: false });
            }
        }
    }

    /// Equal for clusters that will do the same from now on: times are relative to now, what only
    /// counts or explains is left out. `text` is room to work in.
    pub(crate) fn fingerprint(&self, text: &mut String) -> u64 {
        let hasher = &mut DefaultHasher::new();
        let ahead = |at: MonoTime| self.now.until(at);
        self.budget.hash(hasher);
        for node in &self.nodes {
            (&node.unplugged, &node.cut, node.unready, node.stopping, node.election.is_some()).hash(hasher);
            for since in &node.leaving {
                since.map(|since| self.now.since(since)).hash(hasher);
            }
            for (lease, heard) in node.leases.iter().zip(&node.heard) {
                lease.map(ahead).filter(|left| !left.is_zero()).hash(hasher);
                heard.map(|(lease, priority)| (ahead(lease), priority)).hash(hasher);
            }
            if let Some(election) = &node.election {
                text.clear();
                write!(text, "{election:?}").expect("text");
                self.hash_debug(text, hasher);
            }
        }
        let mut flights: Vec<_> =
            self.flights.iter().map(|f| (f.at, f.from, f.to, f.segment, &f.bytes, f.lease, f.late)).collect();
        flights.sort_unstable();
        for (at, from, to, segment, bytes, lease, late) in flights {
            (ahead(at), from, to, segment, bytes, lease.map(ahead), late).hash(hasher);
        }
        hasher.finish()
    }

    /// An election as its `Debug` has it, so that no field is forgotten.
    fn hash_debug(&self, text: &str, hasher: &mut DefaultHasher) {
        /// Parts that are left out, and a time: from where to where.
        const PLACES: [(&str, &str); 5] = [
            ("config: Config {", ", phase: "),
            (", since: Some(", ", limiter: "),
            ("told: [", "]"),
            ("heard: MonoTime(", ")"),
            ("MonoTime(", ")"),
        ];
        // The `since` of a router; that of its damping, and of all that follows, matters.
        // How long ago matters: when a rival was heard, until it counts as gone; of all else an interval.
        let memory = [Duration::ZERO, Duration::ZERO, Duration::ZERO, MEMORY, SHORT_MEMORY];
        let find = |what: &str, from: usize| text[from..].find(what).map_or(text.len(), |at| from + at);
        let mut next = PLACES.map(|(from, _)| find(from, 0));
        let mut here = 0;
        while let Some((place, at)) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at) {
            text[here..at].hash(hasher);
            if at == text.len() {
                break;
            }
            let (from, to) = PLACES[place];
            let end = find(to, at + from.len());
            if !memory[place].is_zero() {
                let nanos = text[at + from.len()..end].parse().expect("digits");
                let time = MonoTime::from_nanos(nanos);
                (self.now.until(time), time.until(self.now).min(memory[place])).hash(hasher);
            }
            here = end;
            for (next, (from, _)) in next.iter_mut().zip(PLACES) {
                if *next < here {
                    *next = find(from, here);
                }
            }
        }
    }
}
