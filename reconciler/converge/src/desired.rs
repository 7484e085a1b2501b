//! What a host should look like: the plan, seen through verdicts and roles.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::cluster::{Drift, DriftMode, Family, PersistenceEngine, SchedulerFlag};
use evenkeel_schemas::plan::{self, Plan, Router, Scope, SyncMode, VipSettings, VirtualRoute, VirtualRule};
use evenkeel_schemas::plan::{ConnectionSync, VirtualServer};
use evenkeel_schemas::scalars::{Cidr, ConnectionLimit, Name, Span};

use crate::model::{
    Address, AddressKey, Destination, DestinationKey, Destinations, Encapsulation, GuePort, KernelState,
    Kind, Link, LinkKind, Mark, Route, RouteKey, Rule, RuleKey, Service, ServiceKey, SyncDaemon, SyncRole,
    Timeouts, Tunnel, Unwrap,
};
use crate::paths;

/// Wanted state of a host. VIPs of routers, and all that moves with them, follow the election and are not in
/// `state`: see [`vip_addresses`], [`router_routes`] and [`router_rules`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Objects that must be there.
    pub state: KernelState,
    /// Addresses that the election adds and removes: not to be touched by anyone else.
    pub vips: BTreeSet<AddressKey>,
    /// Routes that the election adds and removes.
    pub vip_routes: BTreeSet<RouteKey>,
    /// Rules that the election adds and removes.
    pub vip_rules: BTreeSet<RuleKey>,
    /// The host's own addresses: never ours, never foreign.
    pub host_addresses: BTreeSet<IpAddr>,
    /// Interfaces whose addresses and routes are observed.
    pub interfaces: BTreeSet<String>,
    /// Whether foreign IPVS services are removed.
    pub exclusive_ipvs: bool,
    /// Virtual servers in which destinations that are not wanted may go on for a while.
    pub drains: BTreeMap<ServiceKey, DrainRules>,
    /// Treatment of drift, by kind of object.
    pub drift: Drift,
    /// Objects of the plan that this host has in another role only.
    pub other_roles: OtherRoles,
}

/// Destinations of one wanted virtual server that may drain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainRules {
    /// Longest time for which the connections of a destination that is no longer in the plan go on; none:
    /// they end at once.
    pub leaving: Option<Duration>,
    /// Destinations of the plan that an operator or a change of the plan drains, each with the longest time
    /// for which its connections go on; none: until they end.
    pub told: BTreeMap<DestinationKey, Option<Duration>>,
    /// Destinations of the plan that failed and are out: nothing is gained by keeping their connections.
    pub failed: BTreeSet<DestinationKey>,
}

/// Objects that are wanted as soon as this host has another role. The ledger names them beforehand, so that a
/// change of roles never waits for a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherRoles {
    /// Services that only the Master of some router has.
    pub services: BTreeSet<ServiceKey>,
    /// Synchronisation daemons.
    pub sync_daemons: BTreeSet<SyncRole>,
}

impl Desired {
    /// Puts in what is wanted of one virtual server, in place of what was.
    pub fn put(&mut self, row: Row) {
        let Row { key, wanted } = row;
        self.drains.remove(&key);
        let Some((service, rules)) = wanted else {
            self.state.services.remove(&key);
            self.other_roles.services.insert(key);
            return;
        };
        self.other_roles.services.remove(&key);
        self.state.services.insert(key, service);
        if let Some(rules) = rules {
            self.drains.insert(key, rules);
        }
    }

    /// What is done about drift of a kind; VIPs, which the election holds, are always put back.
    #[must_use]
    pub const fn mode(&self, kind: Kind) -> DriftMode {
        match kind {
            Kind::Links => self.drift.links,
            Kind::Addresses => self.drift.addresses,
            Kind::Routes | Kind::Rules => self.drift.routes,
            Kind::Sysctls => self.drift.sysctls,
            Kind::Ipvs => self.drift.ipvs,
        }
    }
}

/// Standing of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Serving: it gets connections as its weight says.
    Serving,
    /// Serving with this weight in place of the plan's.
    Weighted(u16),
    /// Quiet: it keeps the connections that it has, at weight 0.
    Quiet,
    /// Draining: it keeps the connections that it has for this long (none: until they end), and is then out
    /// of the table.
    Draining(Option<Duration>),
    /// Out of the table.
    Out,
}

/// Where a destination stands in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of its virtual server, from 0.
    pub server: usize,
    /// Its own number in that, from 0.
    pub destination: usize,
}

/// What a host knows beside its plan, and what decides which of the plan is wanted now.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What becomes of a destination of a virtual server.
    pub standing: &'a dyn Fn(Position, &VirtualServer, &plan::Destination) -> Standing,
    /// Whether the sorry server of a virtual server takes its clients, by the number of the virtual server.
    /// A sorry server is in the table in place of a destination with its address and port.
    pub sorry: &'a dyn Fn(usize) -> bool,
    /// The virtual routers that this host is Master of.
    pub masters: &'a BTreeSet<Name>,
}

impl View<'_> {
    /// Nothing is known to fail, and nothing is held.
    pub const CALM: View<'static> =
        View { standing: &|_, _, _| Standing::Serving, sorry: &|_| false, masters: &BTreeSet::new() };
}

/// The wanted state of everything but VIPs.
#[must_use]
pub fn desired(plan: &Plan, view: View<'_>) -> Desired {
    let mut wanted = Desired {
        host_addresses: plan.host_addresses.iter().map(|ip| ip.0).collect(),
        exclusive_ipvs: plan.policy.exclusive_ipvs,
        drift: plan.policy.drift.clone(),
        ..Desired::default()
    };
    for router in &plan.routers {
        wanted.interfaces.insert(router.interface.as_str().to_owned());
        let vips = vip_addresses(router);
        wanted.interfaces.extend(vips.keys().map(|key| key.interface.clone()));
        wanted.vips.extend(vips.into_keys());
        wanted.vip_routes.extend(router_routes(router).into_keys());
        wanted.vip_rules.extend(router_rules(router).into_keys());
        wanted.state.links.extend(virtual_mac(router));
    }
    for address in &plan.addresses {
        let interface = address.interface.as_str().to_owned();
        wanted.interfaces.insert(interface.clone());
        wanted.state.addresses.insert(
            AddressKey { interface, address: address.address },
            Address::ours(address.address, address.scope, address.label.clone()),
        );
    }
    for route in &plan.routes {
        let interface = route.interface.as_str().to_owned();
        wanted.interfaces.insert(interface.clone());
        wanted
            .state
            .routes
            .insert(RouteKey::new(route.table, route.destination, route.metric), fixed_route(route));
    }
    for tunnel in &plan.tunnels {
        let (mode, local) = (tunnel.mode, Some(tunnel.local.0));
        let end = Tunnel { mode, local, remote: None, checksum: tunnel.checksum };
        wanted.state.links.insert(tunnel.interface.as_str().to_owned(), Link::ours(LinkKind::Tunnel(end)));
    }
    let ports = plan.gue.iter().map(|gue| GuePort { v6: gue.family == Family::Ipv6, port: gue.port.get() });
    wanted.state.gue = ports.map(|port| (port, Unwrap::Gue)).collect();
    wanted.state.timeouts = plan.ipvs_timeouts.as_ref().map(|timeouts| Timeouts {
        tcp: whole_seconds(timeouts.tcp),
        tcp_fin: whole_seconds(timeouts.tcp_fin),
        udp: whole_seconds(timeouts.udp),
    });
    if let Some(sync) = &plan.connection_sync {
        wanted.state.sync_daemons = sync_daemons(sync, view.masters);
        let all = [true, false].into_iter().flat_map(|master| sync_roles(sync.mode, master)).copied();
        let wanted_now = &wanted.state.sync_daemons;
        wanted.other_roles.sync_daemons = all.filter(|role| !wanted_now.contains_key(role)).collect();
    }
    for sysctl in &plan.sysctls {
        wanted.state.sysctls.insert(sysctl.key.clone(), sysctl.value.clone());
    }
    wanted.state.services = paths::services(plan);
    // One buffer for all servers: each table is copied out of it in its final size.
    let mut destinations = Vec::new();
    for (index, server) in plan.virtual_servers.iter().enumerate() {
        if let Some(row) = row(index, server, view, &mut destinations) {
            wanted.put(row);
        }
    }
    wanted
}

/// What is wanted of one virtual server of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its service.
    pub key: ServiceKey,
    /// The service, and what drains in it if anything may; none while this host has it in another role only.
    pub wanted: Option<(Service, Option<DrainRules>)>,
}

/// What is wanted of the `index`-th virtual server of a plan; none of one that has no service. `destinations`
/// is room to work in.
#[must_use]
pub fn row(
    index: usize,
    server: &VirtualServer,
    view: View<'_>,
    destinations: &mut Vec<(DestinationKey, Destination)>,
) -> Option<Row> {
    let key = ServiceKey::of(server)?;
    if server.only_as_master_of.as_ref().is_some_and(|router| !view.masters.contains(router)) {
        return Some(Row { key, wanted: None });
    }
    let mut service = properties(server, key.is_v6());
    let leaving = server.drain.map(Span::as_duration).filter(|drain| !drain.is_zero());
    let mut rules = DrainRules { leaving, ..DrainRules::default() };
    destinations.clear();
    let sorry = server.sorry_server.as_ref().filter(|_| (view.sorry)(index));
    let sorry = sorry.map(|sorry| sorry.destination(&server.name));
    let sorry = sorry.map(|sorry| (DestinationKey::of(&sorry), fixed_destination(&sorry, 1)));
    for (number, destination) in server.destinations.iter().enumerate() {
        let name = DestinationKey::of(destination);
        if sorry.as_ref().is_some_and(|(key, _)| *key == name) {
            continue;
        }
        let position = Position { server: index, destination: number };
        let weight = match (view.standing)(position, server, destination) {
            Standing::Serving => u32::from(destination.weight.get()),
            Standing::Weighted(weight) => u32::from(weight),
            Standing::Quiet => 0,
            Standing::Draining(limit) => {
                rules.told.insert(name, limit);
                continue;
            }
            Standing::Out => {
                rules.failed.insert(name);
                continue;
            }
        };
        destinations.push((name, fixed_destination(destination, weight)));
    }
    destinations.extend(sorry);
    service.destinations = Destinations::from_entries(destinations);
    let rules = (rules.leaving.is_some() || !rules.told.is_empty()).then_some(rules);
    Some(Row { key, wanted: Some((service, rules)) })
}

fn fixed_destination(destination: &plan::Destination, weight: u32) -> Destination {
    Destination {
        forward: destination.forwarding.into(),
        weight,
        upper_threshold: destination.upper_threshold().map_or(0, ConnectionLimit::get),
        lower_threshold: destination.lower_threshold().map_or(0, ConnectionLimit::get),
        encapsulation: destination.encapsulation().as_ref().map(Encapsulation::from).unwrap_or_default(),
    }
}

fn fixed_route(route: &plan::Route) -> Route {
    Route { gateway: route.via.map(|via| via.0), ..Route::out_of(route.interface.as_str(), route.scope) }
}

const fn whole_seconds(span: Span) -> u32 {
    span.as_millis() / 1000
}

const fn sync_roles(mode: SyncMode, master: bool) -> &'static [SyncRole] {
    match (mode, master) {
        (SyncMode::Both, _) => &[SyncRole::Master, SyncRole::Backup],
        (SyncMode::Master, _) | (SyncMode::Follow, true) => &[SyncRole::Master],
        (SyncMode::Backup, _) | (SyncMode::Follow, false) => &[SyncRole::Backup],
    }
}

/// The synchronisation daemons that are wanted of a host that is Master of these routers.
#[must_use]
pub fn sync_daemons(sync: &ConnectionSync, masters: &BTreeSet<Name>) -> BTreeMap<SyncRole, SyncDaemon> {
    let roles = sync_roles(sync.mode, masters.contains(&sync.router));
    roles.iter().map(|role| (*role, sync_daemon(sync))).collect()
}

fn sync_daemon(sync: &ConnectionSync) -> SyncDaemon {
    SyncDaemon {
        interface: sync.interface.as_str().to_owned(),
        id: u32::from(sync.id.get()),
        maxlen: sync.max_length.map(|length| u16::try_from(length).unwrap_or(u16::MAX)),
        group: sync.group.0,
        port: sync.port.get(),
        ttl: sync.ttl,
    }
}

/// `IP_VS_SVC_F_PERSISTENT` (linux/ip_vs.h).
const FLAG_PERSISTENT: u32 = 0x0001;
/// `IP_VS_SVC_F_ONEPACKET`.
const FLAG_ONE_PACKET: u32 = 0x0004;
/// `IP_VS_SVC_F_SCHED_SH_FALLBACK`, `IP_VS_SVC_F_SCHED_MH_FALLBACK`.
const FLAG_FALLBACK: u32 = 0x0008;
/// `IP_VS_SVC_F_SCHED_SH_PORT`, `IP_VS_SVC_F_SCHED_MH_PORT`.
const FLAG_PORT: u32 = 0x0010;

/// Properties of a virtual server, its destinations left out.
fn properties(server: &VirtualServer, v6: bool) -> Service {
    let mut service = Service::plain(server.scheduler.as_str(), v6);
    if server.one_packet {
        service.flags |= FLAG_ONE_PACKET;
    }
    for flag in &server.scheduler_flags {
        service.flags |= match flag {
            SchedulerFlag::Fallback => FLAG_FALLBACK,
            SchedulerFlag::Port => FLAG_PORT,
        };
    }
    if let Some(persistence) = &server.persistence {
        service.flags |= FLAG_PERSISTENT;
        service.timeout_secs = whole_seconds(persistence.timeout);
        service.netmask = if v6 {
            u32::from(persistence.prefix)
        } else {
            u32::MAX.checked_shl(32 - u32::from(persistence.prefix.min(32))).unwrap_or(0)
        };
        service.persistence_engine = persistence.engine.map(|PersistenceEngine::Sip| "sip".into());
    }
    service
}

/// The interface with a router's virtual MAC address (RFC 9568 §7.3), if it has one.
fn virtual_mac(router: &Router) -> Option<(String, Link)> {
    let family = if router.source.0.is_ipv6() { 2 } else { 1 };
    let kind = LinkKind::Macvlan {
        parent: router.interface.as_str().to_owned(),
        mac: [0, 0, 0x5e, 0, family, router.vrid.get()],
    };
    let own = router.virtual_mac.as_ref()?;
    Some((own.interface.as_str().to_owned(), Link::ours(kind)))
}

/// The addresses that a router's host has while it is Master, advertised or not.
#[must_use]
pub fn vip_addresses(router: &Router) -> BTreeMap<AddressKey, Address> {
    let own = router.virtual_mac.as_ref().map_or(&router.interface, |own| &own.interface);
    let place = |vip: &Cidr| {
        let settings = |settings: &&VipSettings| settings.address.0 == vip.address();
        let settings = router.vip_settings.iter().find(settings);
        let interface = settings.and_then(|settings| settings.interface.as_ref()).unwrap_or(own);
        let label = settings.and_then(|settings| settings.label.as_ref());
        let key = AddressKey { interface: interface.as_str().to_owned(), address: *vip };
        // The kernel shows the name of the interface where an address has no label.
        let label = label.map(|label| label.as_str().to_owned()).filter(|label| *label != key.interface);
        (key, Address::ours(*vip, Scope::Global, label.filter(|_| vip.address().is_ipv4())))
    };
    router.vips.iter().chain(&router.unadvertised_vips).map(place).collect()
}

/// The routes that a router's host has while it is Master.
#[must_use]
pub fn router_routes(router: &Router) -> BTreeMap<RouteKey, Route> {
    router.routes.iter().map(virtual_route).collect()
}

fn virtual_route(route: &VirtualRoute) -> (RouteKey, Route) {
    let gateway = route.via.map(|via| via.0);
    // As ip-route(8) chooses: a route without a gateway has scope link.
    let scope =
        if gateway.is_none() && route.destination.address().is_ipv4() { Scope::Link } else { Scope::Global };
    let source = route.source.map(|source| source.0);
    let value = Route { gateway, source, ..Route::out_of(route.interface.as_str(), scope) };
    (RouteKey::new(route.table.get(), route.destination, route.metric), value)
}

/// The rules that a router's host has while it is Master. The family of one that names no network is
/// the router's.
#[must_use]
pub fn router_rules(router: &Router) -> BTreeMap<RuleKey, Rule> {
    let router_v6 = router.source.0.is_ipv6();
    router.rules.iter().map(|rule| (virtual_rule(rule, router_v6), Rule { tagged: true })).collect()
}

fn virtual_rule(rule: &VirtualRule, router_v6: bool) -> RuleKey {
    let network = rule.from.or(rule.to);
    RuleKey {
        v6: network.map_or(router_v6, |network| network.address().is_ipv6()),
        preference: rule.preference,
        from: rule.from.filter(|from| from.prefix() > 0),
        to: rule.to.filter(|to| to.prefix() > 0),
        iif: rule.input_interface.as_ref().map(|iif| iif.as_str().to_owned()),
        mark: rule.firewall_mark.map(|mark| Mark { value: mark.get(), mask: u32::MAX }),
        table: rule.table.get(),
    }
}
