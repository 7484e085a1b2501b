//! A cluster with every name looked up and every default filled in.
//!
//! Not serialisable on purpose: plans are what is written. Runs only on a cluster that passed
//! every rule; what it cannot resolve all the same is a rule that is missing.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Cluster, Host, Ipvs, Policy, Segment, Service, VirtualRouter};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{InterfaceName, Ip, Name, Percent, Priority};

use crate::attach::{self, Family, Subnets};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::Members;
use crate::parallel::in_parallel;
use crate::unknown::Unknowns;

mod routers;
mod services;
mod syncs;

pub(crate) use routers::{DEFAULT_TTL, Router, RouterInstance, families, is_dual, virtual_mac_interface};
pub(crate) use services::{Balanced, Front, RealServer, Recipient, Taken};

/// How many services a processor resolves before it takes the next ones.
const SERVICES_AT_ONCE: usize = 256;

/// Priority of the first director, and the step to the next.
const FIRST_PRIORITY: u8 = 100;
const PRIORITY_STEP: u8 = 10;
/// Number of directors for which there are default priorities: 100, 90, … 10.
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
    /// By host.
    pub(crate) gateways: BTreeMap<Name, Gateway>,
    /// By director.
    pub(crate) syncs: BTreeMap<Name, plan::ConnectionSync>,
}

/// The way out of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) address: Ip,
    pub(crate) interface: InterfaceName,
}

/// Name of something that could not be resolved.
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

    /// Largest part of the objects that one apply may change or remove, in percent.
    #[must_use]
    pub fn max_change(&self) -> Option<u8> {
        self.policy.max_change.map(Percent::get)
    }

    /// Number of hosts.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// Number of virtual routers.
    #[must_use]
    pub fn router_count(&self) -> usize {
        self.routers.len()
    }

    /// Number of services.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }
}

pub(crate) fn resolve(cluster: &Cluster) -> Result<Resolved, Unresolved> {
    let subnets = Subnets::new(cluster, &Unknowns::default());
    let (mut routers, groups, trackers) = routers::resolve(cluster, &subnets).map_err(Unresolved)?;
    let members = Members::new(cluster);
    let listed: Vec<(&Name, &Service)> = cluster.services.iter().collect();
    let listed: Vec<&[(&Name, &Service)]> = listed.chunks(SERVICES_AT_ONCE).collect();
    let resolved = in_parallel(&listed, |services| {
        let resolved = services.iter().map(|(name, service)| {
            let resolved = services::resolve(cluster, &subnets, &members, service);
            resolved
                .map(|resolved| ((*name).clone(), resolved))
                .ok_or_else(|| Unresolved(format!("service `{name}`")))
        });
        resolved.collect::<Result<Vec<_>, _>>()
    });
    let resolved = resolved.into_iter().collect::<Result<Vec<_>, _>>()?;
    let services: BTreeMap<Name, Balanced> = resolved.into_iter().flatten().collect();
    let checked = services.values().filter(|service| service.is_checked());
    routers::forget_unused_weights(&mut routers, checked.map(|service| &service.router));
    let gateway = |(name, host): (&Name, &Host)| Some((name.clone(), gateway(&subnets, name, host)?));
    Ok(Resolved {
        gateways: cluster.hosts.iter().filter_map(gateway).collect(),
        syncs: syncs::resolve(cluster, &routers),
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

/// The gateway of a host is reached by the interface that is on its segment.
fn gateway(subnets: &Subnets<'_>, name: &Name, host: &Host) -> Option<Gateway> {
    let address = host.gateway?;
    let attached = |(segment, _)| {
        subnets
            .attachment(attach::addresses(name, host), segment, Family::of(address.0))
            .map(|own| own.interface)
    };
    let interface = subnets.of(address).and_then(attached).unwrap_or(&host.interface).clone();
    Some(Gateway { address, interface })
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
