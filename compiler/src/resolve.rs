//! A cluster with every name looked up and every default filled in.
//!
//! Not serialisable on purpose: plans are what is written. Runs only on a cluster that passed
//! every rule; what it cannot resolve all the same is a rule that is missing.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{
    Check, Cluster, Forwarding, Host, Ipvs, Persistence, Policy, Protocol, Scheduler, SchedulerFlag, Segment,
    Service, VirtualRouter,
};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{ConnectionLimit, Ip, Name, Percent, Port, Priority, Weight};

use crate::attach::Subnets;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::{self, Member, Members};
use crate::unknown::Unknowns;

mod routers;

pub(crate) use routers::{DEFAULT_TTL, Instance, Router, families, is_dual, virtual_mac_interface};

/// Priority of the first director, and the step to the next.
const FIRST_PRIORITY: u8 = 100;
const PRIORITY_STEP: u8 = 10;
/// How many directors the default priorities reach for: 100, 90, … 10.
pub(crate) const DEFAULT_PRIORITIES: usize = (FIRST_PRIORITY / PRIORITY_STEP) as usize;

/// A cluster without open questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub(crate) name: Name,
    pub(crate) policy: Policy,
    pub(crate) ipvs: Ipvs,
    pub(crate) segments: BTreeMap<Name, Segment>,
    pub(crate) hosts: BTreeMap<Name, Host>,
    pub(crate) routers: BTreeMap<Name, Router>,
    /// Sync groups, and those that virtual routers with VIPs of both families are by themselves.
    pub(crate) groups: BTreeMap<Name, plan::SyncGroup>,
    pub(crate) trackers: BTreeMap<Name, plan::Tracker>,
    pub(crate) services: BTreeMap<Name, Balanced>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Balanced {
    pub(crate) router: Name,
    /// Ascending.
    pub(crate) vips: Vec<Ip>,
    /// Ascending.
    pub(crate) ports: Vec<Port>,
    pub(crate) protocol: Protocol,
    pub(crate) scheduler: Scheduler,
    pub(crate) scheduler_flags: Vec<SchedulerFlag>,
    pub(crate) one_packet: bool,
    pub(crate) persistence: Option<Persistence>,
    /// By address and port, ascending.
    pub(crate) real_servers: Vec<RealServer>,
    pub(crate) check: Option<Check>,
    pub(crate) prevent_removal: bool,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RealServer {
    pub(crate) host: Name,
    pub(crate) address: Ip,
    /// Where it is not that of the virtual server.
    pub(crate) port: Option<Port>,
    pub(crate) weight: Weight,
    pub(crate) forwarding: Forwarding,
    pub(crate) upper_threshold: Option<ConnectionLimit>,
    pub(crate) lower_threshold: Option<ConnectionLimit>,
}

/// What could not be resolved.
#[derive(Debug)]
pub(crate) struct Unresolved(String);

impl Unresolved {
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        Diagnostic::of_file(
            &codes::INTERNAL,
            format!("{} cannot be resolved, though every rule was met", self.0),
        )
    }
}

impl Resolved {
    /// Name of the cluster.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// How much of what is there one apply may change or remove, in percent.
    #[must_use]
    pub fn max_change(&self) -> Option<u8> {
        self.policy.max_change.map(Percent::get)
    }

    /// How many hosts it has.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// How many virtual routers it has.
    #[must_use]
    pub fn router_count(&self) -> usize {
        self.routers.len()
    }

    /// How many services it has.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }
}

pub(crate) fn resolve(cluster: &Cluster) -> Result<Resolved, Unresolved> {
    let subnets = Subnets::new(cluster, &Unknowns::default());
    let (routers, groups, trackers) = routers::resolve(cluster, &subnets).map_err(Unresolved)?;
    let members = Members::new(cluster);
    let mut services = BTreeMap::new();
    for (name, service) in &cluster.services {
        let resolved = resolve_service(cluster, &subnets, &members, service)
            .ok_or_else(|| Unresolved(format!("service `{name}`")))?;
        services.insert(name.clone(), resolved);
    }
    Ok(Resolved {
        name: cluster.name.clone(),
        policy: cluster.policy.clone(),
        ipvs: cluster.ipvs.clone(),
        segments: cluster.segments.clone(),
        hosts: cluster.hosts.clone(),
        routers,
        groups,
        trackers,
        services,
    })
}

/// The priority of a router's director, which is the `index`th of the list.
pub(crate) fn priority(router: &VirtualRouter, index: usize, director: &str) -> Option<Priority> {
    if router.priorities.is_empty() {
        default_priority(index)
    } else {
        router.priorities.get(director).copied()
    }
}

/// 100, 90, … for the first, second, … director.
fn default_priority(index: usize) -> Option<Priority> {
    let below = u8::try_from(index).ok()?.checked_mul(PRIORITY_STEP)?;
    Priority::new(FIRST_PRIORITY.checked_sub(below)?).ok()
}

fn resolve_service(
    cluster: &Cluster,
    subnets: &Subnets<'_>,
    members: &Members<'_>,
    service: &Service,
) -> Option<Balanced> {
    let (router_name, router) = cluster.virtual_routers.get_key_value(service.router.as_str())?;
    let mut vips = members::vips(service, &router.vips).to_vec();
    vips.sort_unstable();
    let ranges = members::ports(service);
    let ports: BTreeSet<Port> = ranges
        .flat_map(|(_, first, last)| first.get()..=last.get())
        .filter_map(|port| Port::new(port).ok())
        .collect();
    let vip = *vips.first()?;
    let resolved = |member: Member<'_>| {
        let (upper_threshold, lower_threshold) = member.thresholds();
        RealServer {
            host: member.name.clone(),
            address: member.address(subnets, vip),
            port: member.port(),
            weight: member.weight(),
            forwarding: member.forwarding(service),
            upper_threshold,
            lower_threshold,
        }
    };
    let mut real_servers: Vec<RealServer> = members.of(service).into_iter().map(resolved).collect();
    real_servers.sort_unstable_by_key(|server| (server.address, server.port));
    let mut scheduler_flags = service.scheduler_flags.clone();
    scheduler_flags.sort_unstable();
    scheduler_flags.dedup();
    Some(Balanced {
        router: router_name.clone(),
        vips,
        ports: ports.into_iter().collect(),
        protocol: service.protocol?,
        scheduler: service.scheduler,
        scheduler_flags,
        one_packet: service.one_packet,
        persistence: service.persistence.clone(),
        real_servers,
        check: service.check.clone(),
        prevent_removal: service.prevent_removal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_priorities_reach_for_ten_directors() {
        let all: Vec<_> = (0..12).map(|index| default_priority(index).map(Priority::get)).collect();
        assert_eq!(all[..3], [Some(100), Some(90), Some(80)]);
        assert_eq!(all[DEFAULT_PRIORITIES - 1..], [Some(10), None, None]);
    }
}
