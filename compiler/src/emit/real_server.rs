//! What a real server has: VIPs on `lo` and on ends of tunnels, the way back to the directors.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_schemas::cluster::Host;
use evenkeel_schemas::plan::{self, Gue};
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Ip};

use super::tasks::{Duties, TunnelEnd};
use crate::resolve::Gateway;

/// Label of the VIPs that a real server holds, as the traditional scripts set it.
const REAL_SERVER_LABEL: &str = "lo:0";

/// The routing table `main`.
const MAIN_TABLE: u32 = 254;

/// The VIPs that a real server accepts. Labels are of IPv4.
///
/// The IPv4 ones are on ends of tunnels as well: the kernel's loose check of the way back, which is asked for
/// there (`sysctls`), drops whatever comes in on an interface without any address (`__fib_validate_source` in
/// its `net/ipv4/fib_frontend.c`). With scope `host` no packet gets its source from there.
pub(super) fn addresses(host: &Host, duties: &Duties) -> Vec<plan::Address> {
    let address = |vip: &Ip| plan::Address {
        interface: InterfaceName::loopback(),
        address: Cidr::host(vip.0),
        label: vip.0.is_ipv4().then(|| REAL_SERVER_LABEL.to_owned()),
        scope: plan::Scope::Global,
    };
    let ends = names(host, duties);
    let at_ends = ends.iter().filter(|(_, end)| end.carries_v4).flat_map(|(interface, _)| {
        duties.accepted.iter().filter(|vip| vip.0.is_ipv4()).map(move |vip| plan::Address {
            interface: interface.clone(),
            address: Cidr::host(vip.0),
            label: None,
            scope: plan::Scope::Host,
        })
    });
    duties.accepted.iter().map(address).chain(at_ends).collect()
}

/// The host route of each IPv4 VIP, as the traditional scripts set it, and the default route.
///
/// IPv6 has none: the kernel's own local route, which comes with the address, takes the packets, and
/// there was no tradition to follow.
pub(super) fn routes(duties: &Duties, gateway: Option<&Gateway>) -> Vec<plan::Route> {
    let host_route = |vip: &Ip| plan::Route {
        destination: Cidr::host(vip.0),
        interface: InterfaceName::loopback(),
        scope: plan::Scope::Link,
        table: MAIN_TABLE,
        via: None,
        metric: 0,
    };
    let default_route = |gateway: &Gateway| {
        let everything = match gateway.address.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Some(plan::Route {
            destination: Cidr::new(everything, 0).ok()?,
            interface: gateway.interface.clone(),
            scope: plan::Scope::Global,
            table: MAIN_TABLE,
            via: Some(gateway.address),
            metric: 0,
        })
    };
    let v4 = duties.accepted.iter().filter(|vip| vip.0.is_ipv4());
    gateway.and_then(default_route).into_iter().chain(v4.map(host_route)).collect()
}

/// Ports at which the host unwraps GUE.
pub(super) fn gue(duties: &Duties) -> Vec<Gue> {
    duties.gue_ports().collect()
}

/// The host's ends of tunnels, by interface.
pub(super) fn tunnels(host: &Host, duties: &Duties) -> Vec<plan::Tunnel> {
    let named = names(host, duties).into_iter();
    let tunnel = |(interface, end): (InterfaceName, TunnelEnd)| plan::Tunnel {
        interface,
        mode: end.mode,
        local: end.local,
        checksum: end.checksum,
    };
    named.map(tunnel).collect()
}

/// The interfaces of a host's ends of tunnels. At the host's first address of a family they are called after
/// their mode, `ek-ipip`. At others a few digits that stand for the address follow: what another end is
/// called must not change because one comes or goes.
pub(super) fn names(host: &Host, duties: &Duties) -> BTreeMap<InterfaceName, TunnelEnd> {
    let mut named = BTreeMap::new();
    for end in &duties.tunnels {
        let mut own = host.all_addresses().map(|(ip, _)| ip);
        let first = own.find(|ip| ip.0.is_ipv4() == end.local.0.is_ipv4());
        let mut digits = digits(end.local);
        let mut name = if first == Some(end.local) {
            format!("ek-{}", end.mode.name())
        } else {
            format!("ek-{}-{digits:04x}", end.mode.name())
        };
        while named.keys().any(|taken: &InterfaceName| taken.as_str() == name) {
            digits = digits.wrapping_add(1);
            name = format!("ek-{}-{digits:04x}", end.mode.name());
        }
        if let Ok(name) = name.parse() {
            named.insert(name, *end);
        }
    }
    named
}

/// FNV-1a of the address, folded.
fn digits(address: Ip) -> u16 {
    let bytes = match address.0 {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.into_iter().fold(0x811c_9dc5, step);
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}
