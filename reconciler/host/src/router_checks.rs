//! Which checks the services of each virtual router have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_health::CheckId;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::{Ip, Name};

use crate::numbers::Numbers;

/// The checks of each router's services, each with the longest time that one round of it takes. A service is
/// a router's when it is at one of its VIPs, or is served only as its Master.
pub(crate) fn checks_of_routers(
    plan: &Plan,
    numbers: &Numbers,
) -> BTreeMap<Name, BTreeMap<CheckId, Duration>> {
    let mut by_vip: BTreeMap<IpAddr, BTreeSet<&Name>> = BTreeMap::new();
    for router in &plan.routers {
        for vip in router.vips.iter().chain(&router.unadvertised_vips) {
            by_vip.entry(vip.address()).or_default().insert(&router.name);
        }
    }
    let mut by_server: Vec<BTreeMap<CheckId, Duration>> = vec![BTreeMap::new(); plan.virtual_servers.len()];
    for (at, id, check) in numbers.each(plan) {
        by_server[at.server].insert(id, check.times.turn());
    }
    let mut found: BTreeMap<Name, BTreeMap<CheckId, Duration>> = BTreeMap::new();
    for (server, checks) in plan.virtual_servers.iter().zip(by_server) {
        let by_address = server.client_addresses().filter_map(|Ip(vip)| by_vip.get(&vip)).flatten().copied();
        let routers: BTreeSet<&Name> = by_address.chain(server.only_as_master_of.as_ref()).collect();
        for router in routers {
            found.entry(router.clone()).or_default().extend(&checks);
        }
    }
    found
}
