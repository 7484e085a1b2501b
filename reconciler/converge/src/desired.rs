//! What a host should look like: the plan, seen through verdicts and roles.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::cluster::{PersistenceEngine, SchedulerFlag};
use evenkeel_schemas::plan::{Plan, Router, Scope, VirtualServer};
use evenkeel_schemas::scalars::ConnectionLimit;

use crate::model::{
    Address, AddressKey, Destination, DestinationKey, KernelState, Route, RouteKey, Service, ServiceKey,
};

/// What a host should look like, VIPs of routers aside: they follow the election, see
/// [`vip_addresses`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Objects that must be there.
    pub state: KernelState,
    /// Addresses that the election adds and removes: not to be touched by anyone else.
    pub vips: BTreeSet<AddressKey>,
    /// The host's own addresses: never ours, never foreign.
    pub host_addresses: BTreeSet<IpAddr>,
    /// Interfaces whose addresses and routes are looked at.
    pub interfaces: BTreeSet<String>,
    /// Whether foreign IPVS services are removed.
    pub exclusive_ipvs: bool,
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
        wanted.vips.extend(vip_addresses(router).into_keys());
    }
    for address in &plan.addresses {
        let interface = address.interface.as_str().to_owned();
        wanted.interfaces.insert(interface.clone());
        wanted.state.addresses.insert(
            AddressKey { interface, address: address.address },
            Address { label: address.label.clone(), scope: address.scope, tagged: true },
        );
    }
    for route in &plan.routes {
        let interface = route.interface.as_str().to_owned();
        wanted.interfaces.insert(interface.clone());
        wanted.state.routes.insert(
            RouteKey { table: route.table, destination: route.destination, interface },
            Route { scope: route.scope, tagged: true },
        );
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

/// The addresses that a router's host has while it is Master.
#[must_use]
pub fn vip_addresses(router: &Router) -> BTreeMap<AddressKey, Address> {
    router
        .vips
        .iter()
        .map(|vip| {
            (
                AddressKey { interface: router.interface.as_str().to_owned(), address: *vip },
                Address { label: None, scope: Scope::Global, tagged: true },
            )
        })
        .collect()
}
