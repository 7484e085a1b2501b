//! Virtual servers as values that are written twice: as a plan, and as `ipvsadm` commands. The two writings
//! know nothing of each other. Also generates them: everything that IPVS takes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::random::Random;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualServer {
    pub(crate) front: Front,
    pub(crate) scheduler: &'static str,
    pub(crate) fallback: bool,
    pub(crate) hash_port: bool,
    pub(crate) one_packet: bool,
    pub(crate) persistence: Option<Persistence>,
    pub(crate) destinations: Vec<Destination>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    At { protocol: &'static str, address: IpAddr, port: u16 },
    Mark { v6: bool, mark: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Persistence {
    pub(crate) seconds: u32,
    pub(crate) prefix: u8,
    pub(crate) sip: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    pub(crate) method: Method,
    /// Upper and lower threshold; 0 is none.
    pub(crate) thresholds: (u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Direct,
    Masquerade,
    Ipip,
    Gue { port: u16, checksum: &'static str },
    Gre { checksum: bool },
}

pub(crate) const SCHEDULERS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "mh", "sed", "nq", "fo", "ovf"];

impl Front {
    pub(crate) fn is_v6(&self) -> bool {
        match self {
            Self::At { address, .. } => address.is_ipv6(),
            Self::Mark { v6, .. } => *v6,
        }
    }

    /// The port that destinations must have which are not masqueraded.
    fn port(&self) -> Option<u16> {
        match self {
            Self::At { port, .. } => Some(*port),
            Self::Mark { .. } => None,
        }
    }

    /// As `ipvsadm` names it: `-t 192.0.2.1:80`.
    pub(crate) fn ipvsadm(&self) -> String {
        match self {
            Self::At { protocol, address, port } => {
                let option = match *protocol {
                    "tcp" => "-t",
                    "udp" => "-u",
                    _ => "--sctp-service",
                };
                format!("{option} {}", std::net::SocketAddr::new(*address, *port))
            }
            Self::Mark { v6, mark } => format!("-f {mark}{}", if *v6 { " -6" } else { "" }),
        }
    }
}

impl Destination {
    pub(crate) fn direct(address: IpAddr, port: u16, weight: u32) -> Self {
        Self { address, port, weight, method: Method::Direct, thresholds: (0, 0) }
    }

    /// As `ipvsadm` names it: `192.0.2.7:80`.
    pub(crate) fn at(&self) -> String {
        std::net::SocketAddr::new(self.address, self.port).to_string()
    }

    /// Words that follow `-r ADDRESS` of `ipvsadm`.
    pub(crate) fn ipvsadm(&self) -> String {
        let method = match self.method {
            Method::Direct => "-g",
            Method::Masquerade => "-m",
            _ => "-i",
        };
        let mut text = format!("{method} -w {}", self.weight);
        match self.thresholds {
            (0, _) => {}
            (upper, 0) => _ = write!(text, " -x {upper}"),
            (upper, lower) => _ = write!(text, " -x {upper} -y {lower}"),
        }
        match self.method {
            Method::Direct | Method::Masquerade => {}
            Method::Ipip => text += " --tun-type ipip",
            Method::Gue { port, checksum } => {
                let option = match checksum {
                    "none" => "--tun-nocsum",
                    "udp" => "--tun-csum",
                    _ => "--tun-remcsum",
                };
                _ = write!(text, " --tun-type gue --tun-port {port} {option}");
            }
            Method::Gre { checksum } => {
                let option = if checksum { "--tun-csum" } else { "--tun-nocsum" };
                _ = write!(text, " --tun-type gre {option}");
            }
        }
        text
    }

    fn toml(&self, number: usize) -> String {
        let Self { address, port, weight, .. } = self;
        let mut text = format!(
            "[[virtual_server.destination]]\nhost = \"real{number}\"\naddress = \"{address}\"\n\
            port = {port}\nweight = {weight}\n"
        );
        text += match self.method {
            Method::Direct => "forwarding = \"dr\"\n",
            Method::Masquerade => "forwarding = \"nat\"\n",
            _ => "forwarding = \"tun\"\n",
        };
        match self.method {
            Method::Direct | Method::Masquerade => {}
            Method::Ipip => text += "encapsulation = { type = \"ipip\" }\n",
            Method::Gue { port, checksum } => {
                _ = writeln!(
                    text,
                    "encapsulation = {{ type = \"gue\", port = {port}, checksum = \"{checksum}\" }}"
                );
            }
            Method::Gre { checksum } => {
                _ = writeln!(text, "encapsulation = {{ type = \"gre\", checksum = {checksum} }}");
            }
        }
        if self.thresholds.0 > 0 {
            _ = writeln!(text, "upper_threshold = {}", self.thresholds.0);
        }
        if self.thresholds.1 > 0 {
            _ = writeln!(text, "lower_threshold = {}", self.thresholds.1);
        }
        text + "\n"
    }
}

impl VirtualServer {
    pub(crate) fn plain(front: Front, scheduler: &'static str, destinations: Vec<Destination>) -> Self {
        Self {
            front,
            scheduler,
            fallback: false,
            hash_port: false,
            one_packet: false,
            persistence: None,
            destinations,
        }
    }

    /// As a plan has it.
    pub(crate) fn toml(&self, name: &str) -> String {
        let mut text = format!("[[virtual_server]]\nname = \"{name}\"\n");
        _ = match self.front {
            Front::At { protocol, address, port } => {
                writeln!(text, "address = \"{address}\"\nport = {port}\nprotocol = \"{protocol}\"")
            }
            Front::Mark { v6, mark } => {
                writeln!(text, "firewall_mark = {mark}\nfamily = \"{}\"", if v6 { "ipv6" } else { "ipv4" })
            }
        };
        _ = writeln!(text, "scheduler = \"{}\"\none_packet = {}", self.scheduler, self.one_packet);
        let flags: Vec<&str> = [(self.fallback, "\"fallback\""), (self.hash_port, "\"port\"")]
            .iter()
            .filter_map(|(set, flag)| set.then_some(*flag))
            .collect();
        if !flags.is_empty() {
            _ = writeln!(text, "scheduler_flags = [{}]", flags.join(", "));
        }
        if let Some(Persistence { seconds, prefix, sip }) = &self.persistence {
            let engine = if *sip { ", engine = \"sip\"" } else { "" };
            _ = writeln!(text, "persistence = {{ timeout = \"{seconds}s\", prefix = {prefix}{engine} }}");
        }
        text.push('\n');
        self.destinations
            .iter()
            .enumerate()
            .fold(text, |text, (number, destination)| text + &destination.toml(number))
    }

    /// Words that follow `-A` or `-E` of `ipvsadm`.
    pub(crate) fn ipvsadm(&self) -> String {
        let mut text = format!("{} -s {}", self.front.ipvsadm(), self.scheduler);
        if let Some(Persistence { seconds, prefix, sip }) = &self.persistence {
            let mask = if self.front.is_v6() {
                prefix.to_string()
            } else {
                Ipv4Addr::from(u32::MAX << (32 - u32::from(*prefix))).to_string()
            };
            _ = write!(text, " -p {seconds} -M {mask}{}", if *sip { " --pe sip" } else { "" });
        }
        let flags: Vec<String> = [(self.fallback, "fallback"), (self.hash_port, "port")]
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, flag)| format!("{}-{flag}", self.scheduler))
            .collect();
        if !flags.is_empty() {
            _ = write!(text, " -b {}", flags.join(","));
        }
        if self.one_packet {
            text += " -o";
        }
        text
    }

    /// As lines of `ipvsadm -R`.
    pub(crate) fn commands(&self) -> String {
        let mut text = format!("-A {}\n", self.ipvsadm());
        for destination in &self.destinations {
            _ = writeln!(
                text,
                "-a {} -r {} {}",
                self.front.ipvsadm(),
                destination.at(),
                destination.ipvsadm()
            );
        }
        text
    }
}

/// All virtual servers of a host, as a plan has them.
pub(crate) fn toml(servers: &[VirtualServer]) -> String {
    servers.iter().enumerate().map(|(number, server)| server.toml(&format!("service{number}"))).collect()
}

/// A host's virtual servers, at most so many, with at most so many destinations each.
pub(crate) fn generate(random: &mut Random, servers: usize, destinations: usize) -> Vec<VirtualServer> {
    let count = 1 + random.below(servers);
    generate_many(random, count, destinations)
}

/// A host's virtual servers, about so many, with at most so many destinations each.
pub(crate) fn generate_many(random: &mut Random, servers: usize, destinations: usize) -> Vec<VirtualServer> {
    let fronts: BTreeSet<Front> = (0..servers).map(|_| front(random)).collect();
    fronts.into_iter().map(|front| virtual_server(random, front, destinations)).collect()
}

fn front(random: &mut Random) -> Front {
    let v6 = random.once_in(3);
    if random.once_in(5) {
        return Front::Mark { v6, mark: random.of(&[1, 7, 80, 65_536, u32::MAX]) };
    }
    Front::At {
        protocol: random.of(&["tcp", "tcp", "udp", "sctp"]),
        address: address(random, v6, 1),
        port: random.of(&[53, 80, 443, 8080, 65_535]),
    }
}

/// One of 200 addresses of a network.
fn address(random: &mut Random, v6: bool, network: u8) -> IpAddr {
    let host = 1 + random.below(200) as u8;
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, u16::from(network), 0, 0, 0, 0, u16::from(host)).into()
    } else {
        Ipv4Addr::new(10, 50, network, host).into()
    }
}

pub(crate) fn virtual_server(random: &mut Random, front: Front, destinations: usize) -> VirtualServer {
    let scheduler = random.of(&SCHEDULERS);
    let hashes = matches!(scheduler, "sh" | "mh");
    let udp = matches!(front, Front::At { protocol: "udp", .. });
    let one_packet = udp && random.once_in(3);
    let longest = if front.is_v6() { 129 } else { 33 };
    let persistence = random.once_in(3).then(|| Persistence {
        seconds: random.within(1..86_400),
        prefix: if random.once_in(2) { longest - 1 } else { random.within(1..u32::from(longest)) as u8 },
        sip: udp && random.once_in(2),
    });
    let mut server = VirtualServer {
        fallback: hashes && random.once_in(2),
        hash_port: hashes && random.once_in(2),
        one_packet,
        persistence,
        ..VirtualServer::plain(front, scheduler, Vec::new())
    };
    let mut taken = BTreeSet::new();
    for _ in 0..random.below(destinations + 1) {
        let destination = destination(random, front);
        if taken.insert((destination.address, destination.port)) {
            server.destinations.push(destination);
        }
    }
    server
}

pub(crate) fn destination(random: &mut Random, front: Front) -> Destination {
    let method = match random.below(8) {
        0 | 1 => Method::Direct,
        2 | 3 => Method::Masquerade,
        4 => Method::Ipip,
        5 | 6 => Method::Gue {
            port: random.within(1..65_536) as u16,
            checksum: random.of(&["none", "udp", "remote"]),
        },
        _ => Method::Gre { checksum: random.once_in(2) },
    };
    // What is of the other family can only be tunnelled.
    let tunnelled = !matches!(method, Method::Direct | Method::Masquerade);
    let v6 = if tunnelled && random.once_in(4) { !front.is_v6() } else { front.is_v6() };
    let upper = if random.once_in(3) { random.within(1..1_000_000) } else { 0 };
    let any_port = || random.within(1..65_536) as u16;
    let port = front.port().filter(|_| method != Method::Masquerade).unwrap_or_else(any_port);
    let lower = if upper > 1 && random.once_in(2) { random.within(1..upper) } else { 0 };
    Destination {
        address: address(random, v6, 2),
        port,
        weight: random.of(&[0, 1, 1, 5, 100, 65_535]),
        method,
        thresholds: (upper, lower),
    }
}
