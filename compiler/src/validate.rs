//! The rules that need more than one value: one function a code, one file a subject.
//!
//! A rule looks at the whole cluster and reports every breach of it, each at its place. To add
//! one: a code in `codes/`, a function in the file of its subject, a line in that file's `RULES`,
//! a folder in `tests/cases/`. A rule never reads another rule's findings. Each is linear in the
//! size of the cluster, give or take a map.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_schemas::cluster::{Cluster, Service, VirtualRouter};
use evenkeel_schemas::scalars::{Cidr, Ip, Name};

use crate::diagnostic::{Diagnostic, Place};
use crate::parse::{Document, Step, at};
use crate::schema::Broken;
use crate::suggest::Suggester;

mod addresses;
mod names;
mod routers;
mod secrets;
mod segments;
mod services;
mod vips;

/// Where a rule puts its findings.
type Findings = Vec<Diagnostic>;

/// A rule.
type Rule = fn(&Context<'_>, &mut Findings);

const RULES: &[&[Rule]] = &[
    names::RULES,
    segments::RULES,
    addresses::RULES,
    vips::RULES,
    routers::RULES,
    secrets::RULES,
    services::RULES,
];

/// Runs every rule.
pub(crate) fn run(context: &Context<'_>, findings: &mut Findings) {
    for rule in RULES.iter().copied().flatten() {
        rule(context, findings);
    }
}

/// What rules look at.
pub(crate) struct Context<'a> {
    cluster: &'a Cluster,
    document: &'a Document<'a>,
    broken: &'a Broken,
    subnets: Subnets<'a>,
    suggester: Suggester,
}

impl<'a> Context<'a> {
    pub(crate) fn new(cluster: &'a Cluster, document: &'a Document<'a>, broken: &'a Broken) -> Self {
        let subnets = Subnets::new(cluster);
        Self { cluster, document, broken, subnets, suggester: Suggester::new() }
    }

    /// Place of the value at `path`.
    fn value(&self, path: &[Step<'_>]) -> Place {
        self.document.value(path)
    }

    /// Place of the key at `path`.
    fn key(&self, path: &[Step<'_>]) -> Place {
        self.document.key(path)
    }

    /// Whether every reference is known and leads somewhere: only then can it be said that
    /// something is used by nothing.
    fn settled(&self) -> bool {
        let hosts = &self.cluster.hosts;
        let mut routers = self.cluster.virtual_routers.values();
        let mut services = self.cluster.services.values();
        !["segments", "hosts", "virtual_routers", "services"].iter().any(|section| self.broken.any(section))
            && routers.all(|router| router.directors.iter().all(|host| hosts.contains_key(host.as_str())))
            && services.all(|service| {
                self.router_of(service).is_some()
                    && service.real_servers.iter().all(|server| hosts.contains_key(server.host.as_str()))
            })
    }

    /// The segment that has a subnet with `address`.
    fn segment(&self, address: Ip) -> Option<&'a Name> {
        self.subnets.of(address).map(|(segment, _)| segment)
    }

    /// The segment of a router: that of its first VIP on one.
    fn router_segment(&self, router: &VirtualRouter) -> Option<&'a Name> {
        router.vips.iter().find_map(|vip| self.segment(*vip))
    }

    /// The router of a service, when it exists.
    fn router_of(&self, service: &Service) -> Option<(&'a Name, &'a VirtualRouter)> {
        self.cluster.virtual_routers.get_key_value(service.router.as_str())
    }

    /// The VIP of a service, when it is decided and one of its router's.
    fn vip_of(&self, service: &Service) -> Option<Ip> {
        let (_, router) = self.router_of(service)?;
        match (service.vip, router.vips.as_slice()) {
            (Some(vip), vips) => vips.contains(&vip).then_some(vip),
            (None, [only]) => Some(*only),
            (None, _) => None,
        }
    }

    /// Every VIP in the order of names: router, index in its list, VIP.
    fn vips(&self) -> impl Iterator<Item = (&'a Name, usize, Ip)> {
        self.cluster
            .virtual_routers
            .iter()
            .flat_map(|(name, router)| router.vips.iter().enumerate().map(move |(i, vip)| (name, i, *vip)))
    }

    /// The host with each address; of several the first by name.
    fn hosts_by_address(&self) -> BTreeMap<Ip, &'a Name> {
        self.cluster.hosts.iter().rev().map(|(name, host)| (host.address, name)).collect()
    }

    /// Place of a VIP.
    fn vip_place(&self, router: &Name, index: usize) -> Place {
        self.value(at!["virtual_routers", router, "vips", index])
    }
}

/// Which segment an address is on: longest prefix first, so that the answer is the same whatever
/// else is wrong with the subnets.
struct Subnets<'a> {
    by_prefix: BTreeMap<u8, BTreeMap<Ipv4Addr, (&'a Name, Cidr)>>,
}

impl<'a> Subnets<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let mut by_prefix: BTreeMap<u8, BTreeMap<Ipv4Addr, (&Name, Cidr)>> = BTreeMap::new();
        for (name, segment) in &cluster.segments {
            for subnet in &segment.subnets {
                if let IpAddr::V4(network) = subnet.network() {
                    let networks = by_prefix.entry(subnet.prefix()).or_default();
                    networks.entry(network).or_insert((name, *subnet));
                }
            }
        }
        Self { by_prefix }
    }

    fn of(&self, address: Ip) -> Option<(&'a Name, Cidr)> {
        self.by_prefix.iter().rev().find_map(|(prefix, networks)| {
            match Cidr::new(address.0, *prefix).ok()?.network() {
                IpAddr::V4(network) => networks.get(&network).copied(),
                IpAddr::V6(_) => None,
            }
        })
    }
}

/// Finds items with equal keys. Of each group, `report` gets the first of the file and, one by one,
/// the later ones, each with its place. Places are only looked up for what is there twice.
fn duplicates<K: Ord, T: Copy>(
    items: impl IntoIterator<Item = (K, T)>,
    place: impl Fn(T) -> Place,
    mut report: impl FnMut((T, Place), (T, Place)),
) {
    let mut items: Vec<(K, T)> = items.into_iter().collect();
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    for group in items.chunk_by(|(a, _), (b, _)| a == b).filter(|group| group.len() > 1) {
        let mut group: Vec<(T, Place)> = group.iter().map(|(_, item)| (*item, place(*item))).collect();
        group.sort_by_key(|(_, place)| place.start);
        let mut group = group.into_iter();
        if let Some(first) = group.next() {
            group.for_each(|again| report(first.clone(), again));
        }
    }
}

/// Network or broadcast address of `subnet`, by name.
fn reserved_in(subnet: Cidr, address: Ip) -> Option<&'static str> {
    if subnet.prefix() >= 31 {
        None
    } else if subnet.network() == address.0 {
        Some("network")
    } else if subnet.broadcast().map(IpAddr::V4) == Some(address.0) {
        Some("broadcast")
    } else {
        None
    }
}

/// What kind of address no interface can have, if `address` is of one.
fn unusable(address: Ip) -> Option<&'static str> {
    match address.0 {
        IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the limited broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an address of \"this network\""),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
