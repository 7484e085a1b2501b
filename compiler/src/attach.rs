//! Where hosts are attached: the addresses of a host, and which of its interfaces is on a segment.
//!
//! Used by the rules and by `resolve`, so that both mean the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_schemas::cluster::{Cluster, Host, Segment, VirtualRouter};
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Ip, Name};

use crate::path::{Step, at};
use crate::unknown::Unknowns;

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bits of an address.
    pub(crate) const fn width(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Whether `address` is link-local: on whatever segment its interface is, and in no subnet.
pub(crate) fn is_link_local(address: Ip) -> bool {
    matches!(address.0, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// By what the VIPs of an advertisement are sorted: the first of IPv6 is link-local (RFC 9568 §5.2.9).
pub(crate) fn advertised_order(vip: &Cidr) -> (bool, Cidr) {
    (!is_link_local(Ip(vip.address())), *vip)
}

/// An address of a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostAddress<'a> {
    pub(crate) host: &'a Name,
    pub(crate) ip: Ip,
    pub(crate) interface: &'a InterfaceName,
    at: AddressPlace,
}

/// Key at which the address is written.
#[derive(Debug, Clone, Copy)]
enum AddressPlace {
    Address,
    Addresses(usize),
    Interfaces(usize),
}

impl<'a> HostAddress<'a> {
    /// Whether it is `address`, which every host has.
    pub(crate) const fn is_main(&self) -> bool {
        matches!(self.at, AddressPlace::Address)
    }

    /// Path of the address.
    pub(crate) fn path(&self) -> Vec<Step<'a>> {
        match self.at {
            AddressPlace::Address => at!["hosts", self.host, "address"].to_vec(),
            AddressPlace::Addresses(index) => at!["hosts", self.host, "addresses", index].to_vec(),
            AddressPlace::Interfaces(index) => {
                at!["hosts", self.host, "interfaces", self.interface.as_str(), "addresses", index].to_vec()
            }
        }
    }
}

/// Every address of a host, the main one first.
pub(crate) fn addresses<'a>(name: &'a Name, host: &'a Host) -> impl Iterator<Item = HostAddress<'a>> {
    let own = move |ip: Ip, at| HostAddress { host: name, ip, interface: &host.interface, at };
    let further =
        host.addresses.iter().enumerate().map(move |(index, ip)| own(*ip, AddressPlace::Addresses(index)));
    let others = host.interfaces.iter().flat_map(move |(interface, settings)| {
        settings.addresses.iter().enumerate().map(move |(index, ip)| HostAddress {
            host: name,
            ip: *ip,
            interface,
            at: AddressPlace::Interfaces(index),
        })
    });
    std::iter::once(own(host.address, AddressPlace::Address)).chain(further).chain(others)
}

/// Subnets of all segments, longest prefix first, so that the segment of an address is the same whatever else
/// is wrong with the subnets.
pub(crate) struct Subnets<'a> {
    segments: &'a BTreeMap<Name, Segment>,
    /// Longest prefix first; the networks of each ascending.
    by_prefix: Vec<(u8, Vec<Network<'a>>)>,
}

/// The first address of a subnet, its segment, and the subnet as it is written.
type Network<'a> = (IpAddr, (&'a Name, Cidr));

impl<'a> Subnets<'a> {
    pub(crate) fn new(cluster: &'a Cluster, unknowns: &Unknowns) -> Self {
        Self::of_segments(&cluster.segments, unknowns)
    }

    /// Those of these segments.
    pub(crate) fn of_segments(segments: &'a BTreeMap<Name, Segment>, unknowns: &Unknowns) -> Self {
        let mut by_prefix: BTreeMap<u8, BTreeMap<IpAddr, (&Name, Cidr)>> = BTreeMap::new();
        for (name, segment) in segments {
            for (index, subnet) in segment.subnets.iter().enumerate() {
                if unknowns.knows(at!["segments", name, "subnets", index]) {
                    let networks = by_prefix.entry(subnet.prefix()).or_default();
                    networks.entry(subnet.network()).or_insert((name, *subnet));
                }
            }
        }
        let by_prefix = by_prefix.into_iter().rev();
        let by_prefix = by_prefix.map(|(prefix, networks)| (prefix, Vec::from_iter(networks))).collect();
        Self { segments, by_prefix }
    }

    /// The segment and subnet of `address`.
    pub(crate) fn of(&self, address: Ip) -> Option<(&'a Name, Cidr)> {
        self.by_prefix.iter().find_map(|(prefix, networks)| {
            let network = Cidr::new(address.0, *prefix).ok()?.network();
            let at = networks.binary_search_by(|(other, _)| other.cmp(&network)).ok()?;
            Some(networks[at].1)
        })
    }

    /// The segment on which a router advertises: the one it names, or that of the first of its VIPs that is
    /// on one.
    pub(crate) fn home(&self, router: &VirtualRouter) -> Option<&'a Name> {
        match &router.segment {
            Some(segment) => self.named(segment),
            None => router.vips.iter().find_map(|vip| self.of(*vip)).map(|(segment, _)| segment),
        }
    }

    /// The segment of this name.
    pub(crate) fn named(&self, segment: &str) -> Option<&'a Name> {
        self.segments.get_key_value(segment).map(|(name, _)| name)
    }

    /// The interface on which a director speaks a family on `segment`: the one with its first address of
    /// that family there. IPv6 needs none that is written: link-local will do.
    pub(crate) fn speaks_on<'h>(
        &self,
        name: &'h Name,
        host: &'h Host,
        segment: &Name,
        family: Family,
    ) -> Option<&'h InterfaceName> {
        let on = |family| self.attachment(addresses(name, host), segment, family);
        let found = on(family).or_else(|| (family == Family::V6).then(|| on(Family::V4)).flatten())?;
        Some(found.interface)
    }

    /// The first address of a host that is on `segment` and of `family`.
    pub(crate) fn attachment<'h>(
        &self,
        mut addresses: impl Iterator<Item = HostAddress<'h>>,
        segment: &Name,
        family: Family,
    ) -> Option<HostAddress<'h>> {
        addresses.find(|address| {
            Family::of(address.ip.0) == family && self.of(address.ip).is_some_and(|(on, _)| on == segment)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = r#"
version = 1
name = "two-networks"
segments.front.subnets = ["192.0.2.0/24", "2001:db8::/64"]
segments.back.subnets = ["192.0.2.128/25", "198.51.100.0/24"]
[hosts.d]
address = "198.51.100.1"
interface = "eth0"
interfaces.eth1.addresses = ["192.0.2.1", "2001:db8::1"]
interfaces.eth2.addresses = ["192.0.2.2"]
"#;

    #[test]
    fn a_host_is_attached_by_its_first_address_on_the_segment() {
        let cluster: Cluster = toml::from_str(CLUSTER).expect("a cluster");
        let subnets = Subnets::new(&cluster, &Unknowns::default());
        let on = |segment: &str, family| {
            let (name, host) = cluster.hosts.first_key_value().expect("a host");
            let segment = segment.parse().expect("a name");
            subnets
                .attachment(addresses(name, host), &segment, family)
                .map(|address| format!("{} {}", address.interface, address.ip))
        };
        assert_eq!(on("front", Family::V4).as_deref(), Some("eth1 192.0.2.1"));
        assert_eq!(on("front", Family::V6).as_deref(), Some("eth1 2001:db8::1"));
        assert_eq!(on("back", Family::V4).as_deref(), Some("eth0 198.51.100.1"));
        assert_eq!(on("back", Family::V6), None);
        let of = |text: &str| subnets.of(text.parse().expect("an address")).map(|(name, _)| name.as_str());
        assert_eq!(of("192.0.2.200"), Some("back"), "the longest prefix");
        assert_eq!(of("fe80::1"), None);
    }
}
