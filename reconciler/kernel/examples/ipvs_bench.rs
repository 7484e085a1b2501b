//! IPVS tables of growing size: ours beside a raw batched writer and reader, in one run, in one kernel.
//!
//! ```text
//! cargo run --release -p evenkeel-kernel --example ipvs_bench [SERVICES:DESTINATIONS …]
//! ```
//! Boots the lab's kernel and needs no root. The raw side writes prepared bytes, 200 messages a send, and
//! reads without understanding; it knows nothing of ownership, order or what went wrong. Ours looks,
//! compares, writes and verifies by looking and comparing again. Sizes by default: 1000:10 and 10000:10.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, ExitCode};
use std::time::Duration;

use evenkeel_converge::{
    Desired, Destination, DestinationKey, Domain, Forward, KernelState, Kind, Ledger, Op, Service,
    ServiceKey, diff,
};
use evenkeel_kernel::{Kernel, Scope, clock};
use nix::sched::{CloneFlags, unshare};

/// How often each part is measured; its best time counts, on both sides, so that a busy machine disturbs
/// less.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let options = lab::Options {
        time_limit: Duration::from_secs(900),
        memory_megabytes: 1024,
        ..lab::Options::default()
    };
    lab::run_main(options, |_| {
        // The kernel hands its first process words of its own as well.
        let size = |text: String| -> Option<(u32, u32)> {
            let (services, destinations) = text.split_once(':')?;
            Some((services.parse().ok()?, destinations.parse().ok()?))
        };
        let sizes: Vec<(u32, u32)> = std::env::args().filter_map(size).collect();
        let sizes = if sizes.is_empty() { vec![(1_000, 10), (10_000, 10)] } else { sizes };
        for (services, destinations) in sizes {
            run(services, destinations);
        }
    })
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = clock::now();
    let result = work();
    (clock::now().since(start), result)
}

/// Runs `work` in an empty network namespace: what was removed from an IPVS table slows its next filling for
/// two minutes, since the kernel looks for each new destination among those.
fn afresh<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            // Without an interface no address is one of a host.
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.expect("iproute2").success());
            work()
        });
        inside.join().expect("no panic")
    })
}

fn run(services: u32, destinations: u32) {
    let wanted =
        usize::try_from(services).expect("fits") * (usize::try_from(destinations).expect("fits") + 1);
    let (mut write, mut read) = (Duration::MAX, Duration::MAX);
    let (mut make, mut nothing, mut change) = ([Duration::MAX; 4], Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (wrote, took) = afresh(|| {
            let mut raw = raw::Raw::open();
            let prepared = raw.table(services, destinations);
            let (wrote, ()) = time(|| raw.write(&prepared));
            let (took, count) = time(|| raw.read(services));
            assert_eq!(count, wanted, "the raw reader sees what the raw writer wrote");
            (wrote, took)
        });
        (write, read) = (write.min(wrote), read.min(took));
        afresh(|| {
            let mut ours = Ours::new(services, destinations);
            let (count, parts) = ours.converge();
            assert_eq!(count, wanted);
            make = std::array::from_fn(|part| make[part].min(parts[part]));
            // A pass that changes nothing looks once.
            let (_, [seen, compared, ..]) = ours.converge();
            nothing = nothing.min(seen + compared);
            ours.reweigh();
            let (count, parts) = ours.converge();
            assert_eq!(count, 1, "one weight");
            change = change.min(parts.iter().sum());
        });
    }
    let made: Duration = make.iter().sum();
    let [seen, compared, applied, verified] = make;
    let ratio = |ours: Duration, raw: Duration| ours.as_secs_f64() / raw.as_secs_f64();
    println!("{services} x {destinations}: raw write {write:?}, raw read {read:?}");
    println!("  empty -> verified: {made:?}, {:.2} of raw write", ratio(made, write));
    println!("    observe {seen:?}, diff {compared:?}, apply {applied:?}, verify {verified:?}");
    println!("    apply alone: {:.2} of raw write", ratio(applied, write));
    println!("    all: {:.2} of raw write and raw read", ratio(made, write + read));
    println!("  nothing to do: {nothing:?}, {:.2} of raw read", ratio(nothing, read));
    println!("  one weight: {change:?}");
}

/// A kernel and the state it should have.
struct Ours {
    kernel: Kernel,
    desired: Desired,
    scope: Scope,
}

impl Ours {
    fn new(services: u32, destinations: u32) -> Self {
        let state = table(services, destinations);
        Self {
            kernel: Kernel::new().expect("netlink"),
            desired: Desired { state, exclusive_ipvs: true, ..Desired::default() },
            scope: Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() },
        }
    }

    fn look(&mut self) -> KernelState {
        self.kernel.observe(&self.scope).expect("observed")
    }

    fn compare(&self, observed: &KernelState) -> Vec<Op> {
        diff(&self.desired, observed, &Ledger::default(), Domain::Host).ops
    }

    /// How many operations it took, and how long looking, comparing, doing and verifying.
    fn converge(&mut self) -> (usize, [Duration; 4]) {
        let (seen, observed) = time(|| self.look());
        let (compared, ops) = time(|| self.compare(&observed));
        let (applied, results) = time(|| self.kernel.apply(&ops));
        results.into_iter().for_each(|result| result.expect("done"));
        let (verified, left) = time(|| {
            let observed = self.look();
            self.compare(&observed)
        });
        assert_eq!(left, [], "verified");
        (ops.len(), [seen, compared, applied, verified])
    }

    fn reweigh(&mut self) {
        let last = self.desired.state.services.values_mut().nth_back(0);
        let destination = last.and_then(|service| service.destinations.values_mut().next());
        destination.expect("a destination").weight += 1;
    }
}

fn virtual_address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0A00_0001 + index)
}

fn real_address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xAC10_0001 + index)
}

fn table(services: u32, destinations: u32) -> KernelState {
    let mut state = KernelState::default();
    for index in 0..services {
        let address = IpAddr::V4(virtual_address(index));
        let mut service = Service::plain("wlc", false);
        for index in 0..destinations {
            let key = DestinationKey { address: IpAddr::V4(real_address(index)), port: 80 };
            service.destinations.insert(key, Destination::plain(Forward::DirectRoute, 100));
        }
        state.services.insert(ServiceKey::Transport { protocol: 6, address, port: 80 }, service);
    }
    state
}

/// The least that can be done: bytes in, bytes out.
mod raw {
    use std::net::Ipv4Addr;

    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

    use super::{real_address, virtual_address};

    /// Messages of one send.
    const WINDOW: usize = 200;
    const REQUEST: u16 = 1;
    const ACK: u16 = 4;
    const DUMP: u16 = 0x300;
    const DONE: u16 = 3;
    const ERROR: u16 = 2;

    pub(super) struct Raw {
        socket: Socket,
        family: u16,
        buffer: Vec<u8>,
    }

    fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("short");
        out.extend(length.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }

    fn padded(ip: Ipv4Addr) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&ip.octets());
        bytes
    }

    /// `IPVS_SVC_ATTR_*`: what names a service, and what it is.
    fn service(index: u32, whole: bool) -> Vec<u8> {
        let mut inner = Vec::new();
        attribute(&mut inner, 1, &2_u16.to_ne_bytes());
        attribute(&mut inner, 2, &6_u16.to_ne_bytes());
        attribute(&mut inner, 3, &padded(virtual_address(index)));
        attribute(&mut inner, 4, &80_u16.to_be_bytes());
        if whole {
            attribute(&mut inner, 6, b"wlc\0");
            attribute(&mut inner, 7, &[0, 0, 0, 0, 255, 255, 255, 255]);
            attribute(&mut inner, 8, &0_u32.to_ne_bytes());
            attribute(&mut inner, 9, &[255; 4]);
        }
        let mut out = Vec::new();
        attribute(&mut out, 0x8001, &inner);
        out
    }

    /// `IPVS_DEST_ATTR_*`.
    fn destination(index: u32) -> Vec<u8> {
        let mut inner = Vec::new();
        attribute(&mut inner, 11, &2_u16.to_ne_bytes());
        attribute(&mut inner, 1, &padded(real_address(index)));
        attribute(&mut inner, 2, &80_u16.to_be_bytes());
        for (kind, value) in [(3, 3_u32), (4, 100), (5, 0), (6, 0)] {
            attribute(&mut inner, kind, &value.to_ne_bytes());
        }
        let mut out = Vec::new();
        attribute(&mut out, 0x8002, &inner);
        out
    }

    impl Raw {
        pub(super) fn open() -> Self {
            let mut socket = Socket::new(NETLINK_GENERIC).expect("netlink");
            socket.bind_auto().expect("bound");
            socket.connect(&SocketAddr::new(0, 0)).expect("connected");
            socket.set_cap_ack(true).expect("short answers");
            let mut raw = Self { socket, family: 0x10, buffer: Vec::with_capacity(32 * 1024) };
            // CTRL_CMD_GETFAMILY by name; the answer has CTRL_ATTR_FAMILY_ID (1).
            let mut body = Vec::new();
            attribute(&mut body, 2, b"IPVS\0");
            let ask = raw.message(3, REQUEST | ACK, &body, 1);
            raw.socket.send(&ask, 0).expect("sent");
            raw.receive();
            let answer = raw.buffer.clone();
            let at = answer.windows(4).position(|bytes| bytes == [6, 0, 1, 0]).expect("a number") + 4;
            raw.family = u16::from_ne_bytes([answer[at], answer[at + 1]]);
            raw.receive();
            raw
        }

        fn message(&self, command: u8, flags: u16, body: &[u8], sequence: u32) -> Vec<u8> {
            let length = u32::try_from(20 + body.len()).expect("short");
            let mut out = length.to_ne_bytes().to_vec();
            out.extend(self.family.to_ne_bytes());
            out.extend(flags.to_ne_bytes());
            out.extend(sequence.to_ne_bytes());
            out.extend([0, 0, 0, 0, command, 1, 0, 0]);
            out.extend(body);
            out
        }

        fn receive(&mut self) {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).expect("an answer");
        }

        /// The messages of a table, in windows whose last message is acknowledged.
        pub(super) fn table(&self, services: u32, destinations: u32) -> Vec<Vec<u8>> {
            let mut bodies = Vec::new();
            bodies.extend((0..services).map(|index| (1, service(index, true))));
            for index in 0..services {
                let real = |real| (5, [service(index, false), destination(real)].concat());
                bodies.extend((0..destinations).map(real));
            }
            let window = |bodies: &[(u8, Vec<u8>)]| {
                let last = bodies.len() - 1;
                let flags = |at| if at == last { REQUEST | ACK } else { REQUEST };
                let messages = bodies.iter().enumerate();
                messages
                    .flat_map(|(at, (command, body))| self.message(*command, flags(at), body, 1))
                    .collect()
            };
            bodies.chunks(WINDOW).map(window).collect()
        }

        pub(super) fn write(&mut self, windows: &[Vec<u8>]) {
            for window in windows {
                self.socket.send(window, 0).expect("sent");
                self.receive();
                assert_eq!(self.buffer[16..20], [0; 4], "refused");
            }
        }

        /// Counts the objects of the table without looking at them.
        pub(super) fn read(&mut self, services: u32) -> usize {
            let all = self.message(4, REQUEST | DUMP, &[], 1);
            let mut count = self.dump(&all);
            for index in 0..services {
                let ask = self.message(8, REQUEST | DUMP, &service(index, false), 1);
                count += self.dump(&ask);
            }
            count
        }

        fn dump(&mut self, ask: &[u8]) -> usize {
            self.socket.send(ask, 0).expect("sent");
            let mut count = 0;
            loop {
                self.receive();
                let mut rest = self.buffer.as_slice();
                while let Some((header, _)) = rest.split_first_chunk::<16>() {
                    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
                    match u16::from_ne_bytes([header[4], header[5]]) {
                        DONE => return count,
                        ERROR => panic!("refused"),
                        _ => count += 1,
                    }
                    let next = usize::try_from(length).expect("fits").next_multiple_of(4);
                    rest = rest.get(next..).unwrap_or_default();
                }
            }
        }
    }
}
