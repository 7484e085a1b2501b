//! The IPVS table, time-outs and synchronisation daemons as generic netlink tells them: everything that
//! neither `/proc/net/ip_vs` nor `ipvsadm -Sn` shows (thresholds, flags by number, the family of a
//! destination). Reading only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::check::Expected;
use crate::net::Host;
use crate::netlink::{
    Message, NLM_F_ACK, NLM_F_DUMP, Netlink, Received, append_attribute, attributes, generic_family, u16_at,
    u32_at,
};

// linux/ip_vs.h
const GET_SERVICE: u8 = 4;
const GET_DEST: u8 = 8;
const GET_DAEMON: u8 = 11;
const GET_CONFIG: u8 = 13;
const SERVICE: u16 = 1;
const DEST: u16 = 2;
const DAEMON: u16 = 3;
const NESTED: u16 = 0x8000;
const AF_INET6: u16 = 10;

/// An attribute's number and its value.
type Attributes = BTreeMap<u16, Vec<u8>>;

impl Host {
    /// The whole of IPVS on this host, a line an object, sorted: services, their destinations, time-outs,
    /// synchronisation daemons. Only counters and connections are left out. Starts no process.
    #[track_caller]
    pub fn ipvs_exact(&self) -> Vec<String> {
        self.enter(read).or_fail(format_args!("{}: read IPVS", self.name()))
    }
}

fn read() -> io::Result<Vec<String>> {
    let family = generic_family("IPVS");
    let mut netlink = Netlink::generic();
    let mut lines = Vec::new();
    for service in dump(&mut netlink, family, GET_SERVICE, SERVICE, &[])? {
        let name = service_name(&service);
        let mut key = Vec::new();
        // What makes it one object: family and mark, or family, protocol, address and port.
        for kind in if service.contains_key(&5) { vec![1, 5] } else { vec![1, 2, 3, 4] } {
            append_attribute(&mut key, kind, service.get(&kind).map_or(&[], Vec::as_slice));
        }
        lines.push(describe(&name, &service, &SERVICE_PROPERTIES));
        for destination in dump(&mut netlink, family, GET_DEST, DEST, &key)? {
            let own = match half(&destination, 11) {
                0 => half(&service, 1),
                family => family,
            };
            let to = endpoint(own, destination.get(&1), destination.get(&2));
            lines.push(describe(&format!("{name} > {to}"), &destination, &DESTINATION_PROPERTIES));
        }
    }
    for daemon in dump(&mut netlink, family, GET_DAEMON, DAEMON, &[])? {
        lines.push(describe("sync", &daemon, &DAEMON_PROPERTIES));
    }
    let mut config = Attributes::new();
    netlink.ask(Message::new(family, NLM_F_ACK, &[GET_CONFIG, 1, 0, 0]), |answer| {
        config = owned(attributes(answer.body, 4));
    })?;
    lines.push(describe("timeouts", &config, &[(4, "tcp"), (5, "tcp_fin"), (6, "udp")]));
    lines.sort();
    Ok(lines)
}

const SERVICE_PROPERTIES: [(u16, &str); 5] =
    [(6, "scheduler"), (7, "flags"), (8, "timeout"), (9, "netmask"), (11, "engine")];
const DESTINATION_PROPERTIES: [(u16, &str); 7] = [
    (3, "forward"),
    (4, "weight"),
    (5, "upper"),
    (6, "lower"),
    (13, "tunnel"),
    (14, "tunnel_port"),
    (15, "tunnel_flags"),
];
const DAEMON_PROPERTIES: [(u16, &str); 8] = [
    (1, "state"),
    (2, "interface"),
    (3, "id"),
    (4, "maxlen"),
    (5, "group"),
    (6, "group6"),
    (7, "port"),
    (8, "ttl"),
];

/// Every object that the kernel has of a command; `which` narrows destinations to a service.
fn dump(
    netlink: &mut Netlink,
    family: u16,
    command: u8,
    object: u16,
    which: &[u8],
) -> io::Result<Vec<Attributes>> {
    let mut request = Message::new(family, NLM_F_DUMP, &[command, 1, 0, 0]);
    if !which.is_empty() {
        request = request.attribute(SERVICE | NESTED, which);
    }
    let mut found = Vec::new();
    netlink.ask(request, |answer: Received<'_>| {
        let whole = attributes(answer.body, 4).find(|(kind, _)| *kind == object);
        found.extend(whole.map(|(_, value)| owned(attributes(value, 0))));
    })?;
    Ok(found)
}

fn owned<'a>(attributes: impl Iterator<Item = (u16, &'a [u8])>) -> Attributes {
    attributes.map(|(kind, value)| (kind, value.to_vec())).collect()
}

fn half(from: &Attributes, kind: u16) -> u16 {
    from.get(&kind).and_then(|value| u16_at(value, 0)).unwrap_or_default()
}

fn service_name(service: &Attributes) -> String {
    let family = half(service, 1);
    match service.get(&5).and_then(|mark| u32_at(mark, 0)) {
        Some(mark) => format!("mark {mark} family {family}"),
        None => {
            let to = endpoint(family, service.get(&3), service.get(&4));
            format!("protocol {} {to}", half(service, 2))
        }
    }
}

/// Addresses fill 16 bytes, whatever their family.
fn endpoint(family: u16, address: Option<&Vec<u8>>, port: Option<&Vec<u8>>) -> String {
    let bytes: [u8; 16] = address.and_then(|bytes| bytes.get(..16)?.try_into().ok()).unwrap_or([0; 16]);
    let ip = if family == AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(bytes))
    } else {
        IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
    };
    let port =
        port.and_then(|bytes| bytes.get(..2)).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    std::net::SocketAddr::new(ip, port).to_string()
}

/// Text as text, everything else as its bytes.
fn describe(name: &str, object: &Attributes, properties: &[(u16, &str)]) -> String {
    let mut line = name.to_owned();
    for (kind, property) in properties {
        let Some(value) = object.get(kind) else { continue };
        let number = match value.as_slice() {
            [byte] => Some(u32::from(*byte)),
            [_, _] => u16_at(value, 0).map(u32::from),
            [_, _, _, _] if *property != "group" => u32_at(value, 0),
            _ => None,
        };
        let is_text = matches!(*property, "scheduler" | "engine" | "interface");
        let _ = match number {
            Some(number) if !is_text => write!(line, " {property} {number}"),
            _ if is_text => {
                write!(line, " {property} {}", String::from_utf8_lossy(value).trim_end_matches('\0'))
            }
            _ => write!(line, " {property} {value:02x?}"),
        };
    }
    line
}
