//! What a host should look like: the plan, seen through verdicts and roles.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::cluster::{PersistenceEngine, SchedulerFlag};
use evenkeel_schemas::plan::{Plan, Router, Scope, VipSettings, VirtualRoute, VirtualRule, VirtualServer};
use evenkeel_schemas::scalars::{Cidr, ConnectionLimit};

use crate::model::{
    Address, AddressKey, Destination, DestinationKey, Encapsulation, KernelState, Link, LinkKind, Mark,
    Route, RouteKey, Rule, RuleKey, Service, ServiceKey,
};

/// What a host should look like. VIPs of routers, and what goes with them, follow the election and are
/// not in `state`: see [`vip_addresses`], [`router_routes`] and [`router_rules`].
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
    /// Interfaces whose addresses and routes are looked at.
    pub interfaces: BTreeSet<String>,
    /// Whether foreign IPVS services are removed.
    pub exclusive_ipvs: bool,
}

impl Desired {
    /// The same with these services only, for a look at no others.
    #[must_use]
    pub fn with_services(&self, only: &BTreeSet<ServiceKey>) -> Self {
        let services = &self.state.services;
        let services =
            only.iter().filter_map(|key| services.get(key).map(|value| (*key, value.clone()))).collect();
        // Not by cloning all and dropping most: there may be a hundred thousand destinations.
        let Self { state, vips, vip_routes, vip_rules, host_addresses, interfaces, exclusive_ipvs } = self;
        let KernelState {
            links,
            addresses,
            routes,
            other_routes,
            rules,
            sysctls,
            services: _,
            timeouts,
            sync_daemons,
        } = state;
        Self {
            state: KernelState {
                links: links.clone(),
                addresses: addresses.clone(),
                routes: routes.clone(),
                other_routes: other_routes.clone(),
                rules: rules.clone(),
                sysctls: sysctls.clone(),
                services,
                timeouts: *timeouts,
                sync_daemons: sync_daemons.clone(),
            },
            vips: vips.clone(),
            vip_routes: vip_routes.clone(),
            vip_rules: vip_rules.clone(),
            host_addresses: host_addresses.clone(),
            interfaces: interfaces.clone(),
            exclusive_ipvs: *exclusive_ipvs,
        }
    }

    /// The services that are not the same in `other`; more than `most` are not counted out, and nothing is told.
    #[must_use]
    pub fn changed_services(&self, other: &Self, most: usize) -> Option<BTreeSet<ServiceKey>> {
        let (ours, theirs) = (&self.state.services, &other.state.services);
        let changed = ours.iter().filter(|(key, value)| theirs.get(key) != Some(value)).map(|(key, _)| *key);
        let gone = theirs.keys().filter(|key| !ours.contains_key(key)).copied();
        let found: BTreeSet<ServiceKey> = changed.chain(gone).take(most + 1).collect();
        (found.len() <= most).then_some(found)
    }
}

/// The wanted state of everything but VIPs. `is_up` is the verdict on a destination of a service.
#[must_use]
pub fn desired(plan: &Plan, is_up: impl Fn(&ServiceKey, &DestinationKey) -> bool) -> Desired {
    let mut wanted = Desired {
        host_addresses: plan.host_addresses.iter().map(|ip| ip.0).collect(),
        exclusive_ipvs: plan.policy.exclusive_ipvs,
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
            .insert(RouteKey::new(route.table, route.destination, 0), Route::out_of(&interface, route.scope));
    }
    for sysctl in &plan.sysctls {
        wanted.state.sysctls.insert(sysctl.key.clone(), sysctl.value.clone());
    }
    for server in &plan.virtual_servers {
        let key = ServiceKey::new(server.protocol, server.address.0, server.port.get());
        let mut service = properties(server, key.is_v6());
        for destination in &server.destinations {
            let destination_key =
                DestinationKey { address: destination.address.0, port: destination.port.get() };
            if is_up(&key, &destination_key) {
                let value = Destination {
                    forward: destination.forwarding.into(),
                    weight: u32::from(destination.weight.get()),
                    upper_threshold: destination.upper_threshold.map_or(0, ConnectionLimit::get),
                    lower_threshold: destination.lower_threshold.map_or(0, ConnectionLimit::get),
                    encapsulation: Encapsulation::Ipip,
                };
                service.destinations.insert(destination_key, value);
            }
        }
        wanted.state.services.insert(key, service);
    }
    wanted
}

/// `IP_VS_SVC_F_PERSISTENT` (linux/ip_vs.h).
const FLAG_PERSISTENT: u32 = 0x0001;
/// `IP_VS_SVC_F_ONEPACKET`.
const FLAG_ONE_PACKET: u32 = 0x0004;
/// `IP_VS_SVC_F_SCHED_SH_FALLBACK`, `IP_VS_SVC_F_SCHED_MH_FALLBACK`.
const FLAG_FALLBACK: u32 = 0x0008;
/// `IP_VS_SVC_F_SCHED_SH_PORT`, `IP_VS_SVC_F_SCHED_MH_PORT`.
const FLAG_PORT: u32 = 0x0010;

/// What a virtual server has beside its destinations.
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
        service.timeout_secs = persistence.timeout.as_millis() / 1000;
        service.netmask = if v6 {
            u32::from(persistence.prefix)
        } else {
            u32::MAX.checked_shl(32 - u32::from(persistence.prefix.min(32))).unwrap_or(0)
        };
        service.persistence_engine = persistence.engine.map(|PersistenceEngine::Sip| "sip".to_owned());
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
        // The name of the interface is what an address without a label has.
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
    // As ip-route(8) chooses: what has no gateway is on the link.
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
