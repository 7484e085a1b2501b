//! The rules that need more than one value: one function a code, one file a subject.
//!
//! A rule looks at the whole cluster and reports every breach of it, each at its place. To add
//! one: a code in `codes/`, a function in the file of its subject, a line in that file's `RULES`,
//! a folder in `tests/cases/`. A rule never reads another rule's findings. Each is linear in the
//! size of the cluster, give or take a map.
//!
//! Where the shape of the file is wrong the cluster has placeholders. A rule must ask `knows` for
//! every value that its verdict or its words rest on, `knows_all` for a list or table of them, and
//! `knows_entries` before it says that a name does not exist; the methods of [`Context`] have asked
//! already. `tests/broken.rs` breaks every value of every case to see whether it does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_schemas::cluster::{Cluster, Host, RealServer, Service, VirtualRouter};
use evenkeel_schemas::scalars::{Cidr, Ip, Name};

use crate::diagnostic::{Diagnostic, Place};
use crate::members::{self, Member, Members};
use crate::parse::{Document, Step, at};
use crate::suggest::Suggester;
use crate::unknown::Unknowns;

mod addresses;
mod names;
mod routers;
mod secrets;
mod segments;
mod services;
mod unsupported;
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
    unsupported::RULES,
];

/// Runs every rule.
pub(crate) fn run(context: &Context<'_>) -> Findings {
    let mut findings = Findings::new();
    for rule in RULES.iter().copied().flatten() {
        rule(context, &mut findings);
    }
    findings
}

/// What rules look at.
pub(crate) struct Context<'a> {
    cluster: &'a Cluster,
    document: &'a Document<'a>,
    unknowns: &'a Unknowns,
    subnets: Subnets<'a>,
    /// By service, and whether those of them that exist are all known.
    members: BTreeMap<&'a Name, (bool, Vec<Member<'a>>)>,
    suggester: Suggester,
}

impl<'a> Context<'a> {
    pub(crate) fn new(cluster: &'a Cluster, document: &'a Document<'a>, unknowns: &'a Unknowns) -> Self {
        let subnets = Subnets::new(cluster, unknowns);
        let lookup = Members::new(cluster);
        let known = |name: &Name, member: &Member<'_>| {
            let named = unknowns.knows(&member.named_at(name)) && unknowns.knows(at!["hosts", member.name]);
            named
                && unknowns.knows(at!["hosts", member.name, "labels"])
                && member.pool.is_none_or(|(pool, index, _)| {
                    ["host", "label"]
                        .iter()
                        .all(|key| unknowns.knows(at!["pools", pool, "real_servers", index, *key]))
                })
        };
        let members = cluster.services.iter().map(|(name, service)| {
            let mut members = lookup.of(service);
            let all = members.len();
            members.retain(|member| known(name, member));
            (name, (members.len() == all, members))
        });
        Self { cluster, document, unknowns, subnets, members: members.collect(), suggester: Suggester::new() }
    }

    /// Place of the value at `path`.
    fn value(&self, path: &[Step<'_>]) -> Place {
        self.document.value(path)
    }

    /// Place of the key at `path`.
    fn key(&self, path: &[Step<'_>]) -> Place {
        self.document.key(path)
    }

    /// Whether the value at `path` is the file's, or is absent and meant to be.
    fn knows(&self, path: &[Step<'_>]) -> bool {
        self.unknowns.knows(path)
    }

    /// The same of everything in it.
    fn knows_all(&self, path: &[Step<'_>]) -> bool {
        self.unknowns.knows_all(path)
    }

    /// Whether all names of a section are known.
    fn knows_entries(&self, section: &str) -> bool {
        self.unknowns.knows_entries(at![section])
    }

    /// Whether every reference is known and leads somewhere: only then can it be said that
    /// something is used by nothing.
    fn settled(&self) -> bool {
        let cluster = self.cluster;
        let hosts = |section: &str, name: &Name, servers: &[RealServer]| {
            servers.iter().enumerate().all(|(index, server)| {
                self.knows_all(at![section, name, "real_servers", index])
                    && server.host.as_ref().is_none_or(|host| cluster.hosts.contains_key(host.as_str()))
                    && server.pool.as_ref().is_none_or(|pool| cluster.pools.contains_key(pool.as_str()))
            })
        };
        ["hosts", "virtual_routers", "services", "pools"].iter().all(|section| self.knows_entries(section))
            && cluster.virtual_routers.iter().all(|(name, router)| self.knows_directors(name, router))
            && cluster.pools.iter().all(|(name, pool)| hosts("pools", name, &pool.real_servers))
            && cluster.services.iter().all(|(name, service)| {
                self.router_of(name, service).is_some()
                    && self.knows(at!["services", name, "sorry_server"])
                    && hosts("services", name, &service.real_servers)
            })
    }

    /// Whether all directors of a router are known. One that is no host is a mistake, and which
    /// host was meant is not known.
    fn knows_directors(&self, name: &Name, router: &VirtualRouter) -> bool {
        self.knows_all(at!["virtual_routers", name, "directors"])
            && router.directors.iter().all(|host| self.cluster.hosts.contains_key(host.as_str()))
    }

    /// The directors that are known, each with its index in the list.
    fn directors<'r>(
        &self,
        name: &Name,
        router: &'r VirtualRouter,
    ) -> impl Iterator<Item = (usize, &'r String)> {
        let known = move |index| self.knows(at!["virtual_routers", name, "directors", index]);
        router.directors.iter().enumerate().filter(move |(index, _)| known(*index))
    }

    /// Hosts whose addresses are known.
    fn addressed(&self) -> impl DoubleEndedIterator<Item = (&'a Name, &'a Host)> {
        self.cluster.hosts.iter().filter(|(name, _)| self.knows(at!["hosts", name, "address"]))
    }

    /// The segment that has a subnet with `address`. Unknown subnets have no say: in the end no two
    /// segments will share an address.
    fn segment(&self, address: Ip) -> Option<&'a Name> {
        self.subnets.of(address).map(|(segment, _)| segment)
    }

    /// The host called `name` and its segment.
    fn segment_of_host(&self, name: &str) -> Option<(&'a Name, &'a Name)> {
        let (name, host) = self.cluster.hosts.get_key_value(name)?;
        let known = self.knows(at!["hosts", name, "address"]);
        known.then(|| self.segment(host.address)).flatten().map(|segment| (name, segment))
    }

    /// Whether all subnets of all segments are known: only then can it be said that an address is
    /// on none.
    fn knows_subnets(&self) -> bool {
        self.knows_all(at!["segments"])
    }

    /// The segment of a router, and the index of the VIP that says so: its first VIP on one.
    fn home(&self, name: &Name, router: &VirtualRouter) -> Option<(usize, &'a Name)> {
        for (index, vip) in router.vips.iter().enumerate() {
            if !self.knows(at!["virtual_routers", name, "vips", index]) {
                return None;
            }
            match self.segment(*vip) {
                Some(segment) => return Some((index, segment)),
                None if self.knows_subnets() => {}
                None => return None,
            }
        }
        None
    }

    /// The router of a service, when it exists.
    fn router_of(&self, name: &Name, service: &Service) -> Option<(&'a Name, &'a VirtualRouter)> {
        let known = self.knows(at!["services", name, "router"]);
        known.then(|| self.cluster.virtual_routers.get_key_value(service.router.as_str())).flatten()
    }

    /// The VIPs of a service that are decided, known, and its router's.
    fn vips_of_service(&self, name: &Name, service: &'a Service) -> Vec<Ip> {
        let Some((router_name, router)) = self.router_of(name, service) else {
            return Vec::new();
        };
        if !self.knows(at!["services", name, "vip"]) || !self.knows(at!["services", name, "vips"]) {
            return Vec::new();
        }
        let known = |(index, vip): (usize, &Ip)| {
            let position =
                router.vips.iter().chain(&router.unadvertised_vips).position(|other| other == vip)?;
            let listed = match position.checked_sub(router.vips.len()) {
                None => self.knows(at!["virtual_routers", router_name, "vips", position]),
                Some(beyond) => self.knows(at!["virtual_routers", router_name, "unadvertised_vips", beyond]),
            };
            (listed && self.knows(at!["services", name, "vips", index])).then_some(*vip)
        };
        members::vips(service, &router.vips).iter().enumerate().filter_map(known).collect()
    }

    /// The real servers of a service that exist and are known.
    fn members(&self, name: &Name) -> &[Member<'a>] {
        self.members.get(name).map_or(&[], |(_, members)| members.as_slice())
    }

    /// The real servers of a service when every one is known: only then can anything be said of all.
    fn all_members(&self, name: &Name, service: &Service) -> Option<&[Member<'a>]> {
        let (complete, members) = self.members.get(name)?;
        let leads_somewhere = |entry: &RealServer| {
            entry.host.as_ref().is_none_or(|host| self.cluster.hosts.contains_key(host.as_str()))
                && entry.pool.as_ref().is_none_or(|pool| {
                    self.cluster.pools.contains_key(pool.as_str())
                        && self.knows_all(at!["pools", pool.as_str()])
                })
                && (entry.label.is_none() || self.knows_labels())
        };
        let known = *complete
            && self.knows_all(at!["services", name, "real_servers"])
            && service.real_servers.iter().all(leads_somewhere);
        known.then_some(members.as_slice())
    }

    /// Whether the labels of all hosts are known.
    fn knows_labels(&self) -> bool {
        self.knows_entries("hosts")
            && self.cluster.hosts.keys().all(|name| self.knows_all(at!["hosts", name, "labels"]))
    }

    /// Whether `key` of a member is known: in the service's entry and in the pool's.
    fn knows_member(&self, service: &Name, member: &Member<'_>, key: &str) -> bool {
        self.knows(&member.entry_path(service, key)) && self.knows(&member.path(service, key))
    }

    /// Every known VIP in the order of names: router, index in its list, VIP.
    fn vips(&self) -> impl Iterator<Item = (&'a Name, usize, Ip)> {
        let routers = self.cluster.virtual_routers.iter();
        routers
            .flat_map(|(name, router)| self.vips_of(name, router).map(move |(index, vip)| (name, index, vip)))
    }

    /// The known VIPs of a router, each with its index in the list.
    fn vips_of(&self, name: &Name, router: &VirtualRouter) -> impl Iterator<Item = (usize, Ip)> {
        let known = move |index| self.knows(at!["virtual_routers", name, "vips", index]);
        router.vips.iter().copied().enumerate().filter(move |(index, _)| known(*index))
    }

    /// The host with each address; of several the first by name.
    fn hosts_by_address(&self) -> BTreeMap<Ip, &'a Name> {
        self.addressed().rev().map(|(name, host)| (host.address, name)).collect()
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
    fn new(cluster: &'a Cluster, unknowns: &Unknowns) -> Self {
        let mut by_prefix: BTreeMap<u8, BTreeMap<Ipv4Addr, (&Name, Cidr)>> = BTreeMap::new();
        for (name, segment) in &cluster.segments {
            for (index, subnet) in segment.subnets.iter().enumerate() {
                if let IpAddr::V4(network) = subnet.network()
                    && unknowns.knows(at!["segments", name, "subnets", index])
                {
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
