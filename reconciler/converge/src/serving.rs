//! Which virtual routers a host must leave to others: never announce what you cannot serve. Values only.
//!
//! A virtual router that has virtual servers, none of which is there, would take clients away from a director that
//! serves them. One that lacks some of several still serves the others, and one without virtual servers (the VIP of a gateway)
//! serves by its address alone: both may be claimed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_schemas::plan::{Plan, Router, VirtualServer};

use crate::model::ServiceKey;

/// The virtual routers of a plan that this host must not be Master of while these virtual servers cannot be made.
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

/// The VIPs at which clients reach it.
fn addresses(server: &VirtualServer) -> impl Iterator<Item = IpAddr> {
    server.address.iter().chain(&server.vips).map(|ip| ip.0)
}
