//! Which virtual routers a host must leave to others: never announce what you cannot serve. Values only.
//!
//! A virtual router that has virtual servers, none of which is there, would take clients away from a director
//! that serves them. One that lacks some of several still serves the others, and one without virtual servers
//! (the VIP of a gateway) serves by its address alone: both may be claimed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_schemas::plan::{Plan, Router, VirtualServer};
use evenkeel_schemas::scalars::Name;

use crate::desired::vip_addresses;
use crate::model::ServiceKey;
use crate::object::ObjectKey;

/// The virtual routers of a plan that this host must not be Master of while these virtual servers cannot be
/// made.
#[must_use]
pub fn unserved<'p>(plan: &'p Plan, missing: &BTreeSet<ServiceKey>) -> Vec<&'p Router> {
    if missing.is_empty() {
        return Vec::new();
    }
    let (mut lost, mut served): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) = Default::default();
    for server in &plan.virtual_servers {
        let there = ServiceKey::of(server).is_some_and(|key| !missing.contains(&key));
        if there { &mut served } else { &mut lost }.extend(addresses(server));
    }
    let is_unserved = |router: &&Router| {
        let vips = || router.vips.iter().chain(&router.unadvertised_vips).map(|vip| vip.address());
        vips().any(|vip| lost.contains(&vip)) && !vips().any(|vip| served.contains(&vip))
    };
    plan.routers.iter().filter(is_unserved).collect()
}

/// The virtual routers of a plan that this host must not be Master of since something of `lacking` is a VIP
/// of theirs: the disk cannot name it yet.
pub fn unnamed<'p>(plan: &'p Plan, lacking: &BTreeSet<ObjectKey>) -> impl Iterator<Item = &'p Router> {
    let is_lacking = |key| lacking.contains(&ObjectKey::Address(key));
    plan.routers.iter().filter(move |router| vip_addresses(router).into_keys().any(is_lacking))
}

/// The virtual servers of a plan that cannot be made: those of `lacking`, and those that could not be made
/// when they were last wanted and that are wanted only of a Master, which this host is not (`masters`).
/// `before` are those of the pass before. To forget these would be to claim the router again, and to lose it
/// again, for ever.
#[must_use]
pub fn missing_services(
    plan: &Plan,
    lacking: &BTreeSet<ObjectKey>,
    masters: &BTreeSet<Name>,
    before: &BTreeSet<ServiceKey>,
) -> BTreeSet<ServiceKey> {
    let found = lacking.iter().filter_map(|key| match key {
        ObjectKey::Service(service) => Some(*service),
        _ => None,
    });
    let mut missing: BTreeSet<ServiceKey> = found.collect();
    if !before.is_empty() {
        let bound = plan.virtual_servers.iter().filter(|server| {
            server.only_as_master_of.as_ref().is_some_and(|router| !masters.contains(router))
        });
        missing.extend(bound.filter_map(ServiceKey::of).filter(|key| before.contains(key)));
    }
    missing
}

/// The VIPs at which clients reach it.
fn addresses(server: &VirtualServer) -> impl Iterator<Item = IpAddr> {
    server.address.iter().chain(&server.vips).map(|ip| ip.0)
}
