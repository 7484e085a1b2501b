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

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::cluster::{Cluster, Family, Host, Pool, RealServer, Service, VirtualRouter};
use evenkeel_schemas::scalars::{Cidr, Ip, Name};

use crate::attach::{self, HostAddress, Subnets, is_link_local};
use crate::diagnostic::{Diagnostic, Findings, Place};
use crate::members::{self, Member, Members};
use crate::parallel::in_parallel;
use crate::parse::Document;
use crate::path::{Step, at};
use crate::suggest::Suggester;
use crate::unknown::Unknowns;

use facts::ServiceFacts;
use written_checks::WrittenCheck;

mod addresses;
mod check_answers;
mod check_requests;
mod check_tls;
mod check_values;
mod checks;
mod directors;
mod election;
mod expiry;
mod facts;
mod file_names;
mod forwarding;
mod groups;
mod hmac;
mod hooks;
mod interfaces;
mod ipvs;
mod maintenance;
mod names;
mod quorum;
mod real_servers;
mod references;
mod routers;
mod scheduling;
mod secrets;
mod segments;
mod services;
mod trackers;
mod tunnels;
mod unicast;
mod via_service;
mod vip_settings;
mod vips;
mod virtual_routes;
mod weights;
mod written_checks;

/// How many services a processor looks up before it takes the next ones.
const SERVICES_AT_ONCE: usize = 256;

/// A rule.
type Rule = fn(&Context<'_>, &mut Findings);

const RULES: &[&[Rule]] = &[
    names::RULES,
    file_names::RULES,
    real_servers::RULES,
    references::RULES,
    segments::RULES,
    addresses::RULES,
    interfaces::RULES,
    vips::RULES,
    vip_settings::RULES,
    routers::RULES,
    directors::RULES,
    election::RULES,
    secrets::RULES,
    hmac::RULES,
    unicast::RULES,
    trackers::RULES,
    weights::RULES,
    groups::RULES,
    maintenance::RULES,
    virtual_routes::RULES,
    hooks::RULES,
    services::RULES,
    forwarding::RULES,
    tunnels::RULES,
    scheduling::RULES,
    expiry::RULES,
    quorum::RULES,
    checks::RULES,
    check_values::RULES,
    check_answers::RULES,
    check_requests::RULES,
    check_tls::RULES,
    via_service::RULES,
    ipvs::RULES,
];

/// Runs every rule. What they find, and whether they found more.
pub(crate) fn run(world: &World<'_>) -> (Vec<Diagnostic>, bool) {
    let rules: Vec<&Rule> = RULES.iter().copied().flatten().collect();
    let findings = in_parallel(&rules, |rule| {
        let mut findings = Findings::default();
        rule(&Context { world, suggester: Suggester::new(), at: Cell::new(0) }, &mut findings);
        findings.into_sorted()
    });
    let stopped = findings.iter().any(|(_, stopped)| *stopped);
    (findings.into_iter().flat_map(|(found, _)| found).collect(), stopped)
}

/// The cluster as written, and indices of it. The same for all rules.
pub(crate) struct World<'a> {
    cluster: &'a Cluster,
    document: &'a Document<'a>,
    unknowns: &'a Unknowns,
    subnets: Subnets<'a>,
    /// By name.
    services: Vec<ServiceFacts<'a>>,
    /// The checks that stand in each pool.
    pool_checks: BTreeMap<&'a str, Vec<WrittenCheck<'a>>>,
    /// Whether the labels of all hosts are known.
    knows_labels: bool,
    settled: bool,
}

/// Input of one rule. Each has its own budget of suggestions, so that its findings never depend on which
/// other rules have run.
pub(crate) struct Context<'a> {
    world: &'a World<'a>,
    suggester: Suggester,
    /// Index of the service that was asked for last.
    at: Cell<usize>,
}

impl<'a> std::ops::Deref for Context<'a> {
    type Target = World<'a>;

    fn deref(&self) -> &Self::Target {
        self.world
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(cluster: &'a Cluster, document: &'a Document<'a>, unknowns: &'a Unknowns) -> Self {
        let subnets = Subnets::new(cluster, unknowns);
        let lookup = Members::new(cluster);
        let known = |name: &Name, member: &Member<'_>| {
            let named = unknowns.knows(&member.named_at(name)) && unknowns.knows(at!["hosts", member.name]);
            let by_name = member.pool.map_or(member.entry, |(_, _, entry)| entry).host.is_some();
            named
                && (by_name || unknowns.knows(at!["hosts", member.name, "labels"]))
                && member.pool.is_none_or(|(pool, index, _)| {
                    ["host", "label"]
                        .iter()
                        .all(|key| unknowns.knows(at!["pools", pool, "real_servers", index, *key]))
                })
        };
        let services: Vec<(&Name, &Service)> = cluster.services.iter().collect();
        let services: Vec<&[(&Name, &Service)]> = services.chunks(SERVICES_AT_ONCE).collect();
        let services = in_parallel(&services, |services| {
            let of = |(name, service): &(&'a Name, &'a Service)| {
                let facts = ServiceFacts::new(name, service, lookup.of(service));
                facts.with_known(service, |member| unknowns.is_empty() || known(name, member))
            };
            services.iter().map(of).collect::<Vec<_>>()
        });
        let of_pool = |(name, pool): (&'a Name, &'a Pool)| {
            let checks = written_checks::of_entries(written_checks::POOLS, name, &pool.real_servers);
            (name.as_str(), checks.collect())
        };
        let knows_labels = unknowns.knows_entries(at!["hosts"])
            // A host without its address is one that is not written yet, and so may its labels be.
            && cluster.hosts.keys().all(|name| {
                let known = |key| unknowns.knows_all(at!["hosts", name, key]);
                known("labels") && known("address")
            });
        let mut world = Self {
            cluster,
            document,
            unknowns,
            subnets,
            services: services.into_iter().flatten().collect(),
            pool_checks: cluster.pools.iter().map(of_pool).collect(),
            knows_labels,
            settled: false,
        };
        world.settled = world.is_settled();
        world
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
    fn is_settled(&self) -> bool {
        let cluster = self.cluster;
        let labels: BTreeSet<&Name> = cluster.hosts.values().flat_map(|host| &host.labels).collect();
        let labelled = |label: &Name| self.knows_labels && labels.contains(label);
        let sorry = |service: &Service| {
            let host = service.sorry_server.as_ref().and_then(|sorry| sorry.host.as_ref());
            host.is_none_or(|host| cluster.hosts.contains_key(host.as_str()))
        };
        let hosts = |section: &str, name: &Name, servers: &[RealServer]| {
            servers.iter().enumerate().all(|(index, server)| {
                self.knows_all(at![section, name, "real_servers", index])
                    && server.host.as_ref().is_none_or(|host| cluster.hosts.contains_key(host.as_str()))
                    && server.pool.as_ref().is_none_or(|pool| cluster.pools.contains_key(pool.as_str()))
                    && server.label.as_ref().is_none_or(labelled)
                    && members::naming(server).count() == 1
            })
        };
        ["hosts", "virtual_routers", "services", "pools"].iter().all(|section| self.knows_entries(section))
            && cluster.virtual_routers.iter().all(|(name, router)| self.knows_directors(name, router))
            && cluster.pools.iter().all(|(name, pool)| hosts("pools", name, &pool.real_servers))
            && self.services.iter().zip(cluster.services.values()).all(|(facts, service)| {
                let name = facts.name;
                self.router_of(name, service).is_some()
                    && self.knows_all(at!["services", name, "sorry_server"])
                    && sorry(service)
                    && (facts.plain && self.unknowns.is_empty()
                        || hosts("services", name, &service.real_servers))
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

    /// The known addresses of all hosts.
    fn addresses(&self) -> impl Iterator<Item = HostAddress<'a>> {
        self.cluster.hosts.iter().flat_map(|(name, host)| self.addresses_of(name, host))
    }

    /// The known addresses of a host.
    fn addresses_of(&self, name: &'a Name, host: &'a Host) -> impl Iterator<Item = HostAddress<'a>> {
        attach::addresses(name, host).filter(|address| self.knows(&address.path()))
    }

    /// Whether all addresses of a host are known, with their interfaces.
    fn knows_addresses(&self, name: &Name) -> bool {
        ["address", "addresses", "interface", "interfaces"]
            .iter()
            .all(|key| self.knows_all(at!["hosts", name, *key]))
    }

    /// The segment that has a subnet with `address`. Unknown subnets have no say: in the end no two
    /// segments will share an address.
    fn segment(&self, address: Ip) -> Option<&'a Name> {
        self.subnets.of(address).map(|(segment, _)| segment)
    }

    /// The host called `name` and the segment of its main address.
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

    /// The segment on which a router advertises: the one it names, or that of its first VIP on one.
    fn home(&self, name: &Name, router: &VirtualRouter) -> Option<&'a Name> {
        if !self.knows(at!["virtual_routers", name, "segment"]) {
            return None;
        }
        if let Some(segment) = &router.segment {
            return self.subnets.named(segment);
        }
        for (index, vip) in router.vips.iter().enumerate() {
            if !self.knows(at!["virtual_routers", name, "vips", index]) {
                return None;
            }
            match self.segment(*vip) {
                Some(segment) => return Some(segment),
                None if self.knows_subnets() || is_link_local(*vip) => {}
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

    /// The known VIPs that a service's clients speak to: with a firewall mark those of its family.
    fn client_vips(&self, name: &Name, service: &'a Service) -> Vec<Ip> {
        if service.firewall_mark.is_none() && self.knows(at!["services", name, "firewall_mark"]) {
            return self.vips_of_service(name, service);
        }
        let router = self.router_of(name, service);
        let known = self.knows_keys(name, &["firewall_mark", "family"]);
        let vips =
            router.filter(|_| known).into_iter().flat_map(|(name, router)| self.all_vips_of(name, router));
        let v6 = service.family == Family::Ipv6;
        vips.map(|vip| vip.ip).filter(|ip| ip.0.is_ipv6() == v6).collect()
    }

    /// Whether every one of these keys of a service is known.
    fn knows_keys(&self, service: &Name, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.knows(at!["services", service, *key]))
    }

    /// Whether services get this key from `[defaults]` unless they say it themselves: where it does
    /// not fit, nobody wrote it for this one.
    fn defaults_of_services_have(&self, key: &str) -> bool {
        self.cluster.defaults.service.keys.contains_key(key)
    }

    /// Whether `key` of a member is known: in the service's entry and in the pool's.
    fn knows_member(&self, service: &Name, member: &Member<'_>, key: &str) -> bool {
        self.unknowns.is_empty()
            || self.knows(&member.entry_path(service, key))
                && member.pool_path(key).is_none_or(|path| self.knows(&path))
    }

    /// Every known VIP, those that are not advertised included.
    fn all_vips(&self) -> impl Iterator<Item = RouterVip<'a>> {
        self.cluster.virtual_routers.iter().flat_map(|(name, router)| self.all_vips_of(name, router))
    }

    /// The known VIPs of a router, those that are not advertised included.
    fn all_vips_of(&self, name: &'a Name, router: &'a VirtualRouter) -> impl Iterator<Item = RouterVip<'a>> {
        let listed = |key: &'static str, ips: &'a [Ip]| {
            let vips = ips.iter().enumerate();
            vips.map(move |(index, ip)| RouterVip { router: name, key, index, ip: *ip })
        };
        listed("vips", &router.vips)
            .chain(listed("unadvertised_vips", &router.unadvertised_vips))
            .filter(|vip| self.knows(&vip.path()))
    }

    /// Whether all VIPs of a router are known.
    fn knows_vips(&self, name: &Name) -> bool {
        ["vips", "unadvertised_vips"].iter().all(|key| self.knows_all(at!["virtual_routers", name, *key]))
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

    /// The hosts with each address, by name.
    fn hosts_by_address(&self) -> BTreeMap<Ip, Vec<HostAddress<'a>>> {
        let mut hosts: BTreeMap<Ip, Vec<HostAddress<'a>>> = BTreeMap::new();
        for address in self.addresses() {
            hosts.entry(address.ip).or_default().push(address);
        }
        hosts
    }

    /// Place of a VIP.
    fn vip_place(&self, router: &Name, index: usize) -> Place {
        self.value(at!["virtual_routers", router, "vips", index])
    }
}

/// A VIP, advertised or not.
#[derive(Clone, Copy)]
struct RouterVip<'a> {
    router: &'a Name,
    /// The list it is in, and its index there.
    key: &'static str,
    index: usize,
    ip: Ip,
}

impl<'a> RouterVip<'a> {
    fn path(&self) -> [Step<'a>; 4] {
        [
            Step::Key("virtual_routers"),
            Step::Key(self.router.as_str()),
            Step::Key(self.key),
            Step::Index(self.index),
        ]
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

/// Network, broadcast or subnet-router anycast address of `subnet` (RFC 4291 §2.6.1), by name.
fn reserved_in(subnet: Cidr, address: Ip) -> Option<&'static str> {
    let (plain, first) = match address.0 {
        IpAddr::V4(_) => (31, "network"),
        IpAddr::V6(_) => (127, "subnet-router anycast"),
    };
    if subnet.prefix() >= plain {
        None
    } else if subnet.network() == address.0 {
        Some(first)
    } else if subnet.broadcast().map(IpAddr::V4) == Some(address.0) {
        Some("broadcast")
    } else {
        None
    }
}

/// Kind of `address`, if it is one that no interface can have.
fn unusable(address: Ip) -> Option<&'static str> {
    match address.0 {
        IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the limited broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an address of \"this network\""),
        IpAddr::V6(v6) if v6.is_loopback() => Some("the loopback address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 clothes"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Whether the address says which segment it is on.
fn places(address: Ip) -> bool {
    unusable(address).is_none() && !is_link_local(address)
}
