//! A cluster with every name looked up and every default filled in.
//!
//! Not serialisable on purpose: plans are what is written. Runs only on a cluster that passed
//! every rule; what it cannot resolve all the same is a rule that is missing.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{
    Auth, Check, Cluster, Forwarding, Host, Policy, Protocol, Scheduler, SecretSource, Service, VirtualRouter,
};
use evenkeel_schemas::scalars::{AdvertInterval, Ip, Name, Port, Priority, Vrid, Weight};

use crate::codes;
use crate::diagnostic::Diagnostic;

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
    pub(crate) hosts: BTreeMap<Name, Host>,
    pub(crate) routers: BTreeMap<Name, Router>,
    pub(crate) services: BTreeMap<Name, Balanced>,
}

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) vrid: Vrid,
    pub(crate) version: u8,
    pub(crate) advert_interval: AdvertInterval,
    pub(crate) preempt: bool,
    /// The source of the password, if there is one.
    pub(crate) password: Option<SecretSource>,
    /// Ascending.
    pub(crate) vips: Vec<Ip>,
    pub(crate) directors: BTreeMap<Name, Priority>,
    pub(crate) prevent_removal: bool,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Balanced {
    pub(crate) router: Name,
    pub(crate) vip: Ip,
    pub(crate) protocol: Protocol,
    pub(crate) port: Port,
    pub(crate) scheduler: Scheduler,
    pub(crate) forwarding: Forwarding,
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
    pub(crate) port: Port,
    pub(crate) weight: Weight,
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
    pub const fn max_change(&self) -> Option<u8> {
        self.policy.max_change
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
    let mut routers = BTreeMap::new();
    for (name, router) in &cluster.virtual_routers {
        let resolved =
            resolve_router(cluster, router).ok_or_else(|| Unresolved(format!("virtual router `{name}`")))?;
        routers.insert(name.clone(), resolved);
    }
    let mut services = BTreeMap::new();
    for (name, service) in &cluster.services {
        let resolved =
            resolve_service(cluster, service).ok_or_else(|| Unresolved(format!("service `{name}`")))?;
        services.insert(name.clone(), resolved);
    }
    Ok(Resolved {
        name: cluster.name.clone(),
        policy: cluster.policy.clone(),
        hosts: cluster.hosts.clone(),
        routers,
        services,
    })
}

fn resolve_router(cluster: &Cluster, router: &VirtualRouter) -> Option<Router> {
    let mut directors = BTreeMap::new();
    for (index, director) in router.directors.iter().enumerate() {
        let (host, _) = cluster.hosts.get_key_value(director.as_str())?;
        let priority = if router.priorities.is_empty() {
            default_priority(index)?
        } else {
            *router.priorities.get(director)?
        };
        directors.insert(host.clone(), priority);
    }
    let mut vips = router.vips.clone();
    vips.sort_unstable();
    Some(Router {
        vrid: router.vrid,
        version: router.version,
        advert_interval: router.advert_interval,
        preempt: router.preempt,
        password: router.auth.as_ref().map(|Auth::Pass { secret }| secret.clone()),
        vips,
        directors,
        prevent_removal: router.prevent_removal,
    })
}

/// 100, 90, … for the first, second, … director.
fn default_priority(index: usize) -> Option<Priority> {
    let below = u8::try_from(index).ok()?.checked_mul(PRIORITY_STEP)?;
    Priority::new(FIRST_PRIORITY.checked_sub(below)?).ok()
}

fn resolve_service(cluster: &Cluster, service: &Service) -> Option<Balanced> {
    let (router_name, router) = cluster.virtual_routers.get_key_value(service.router.as_str())?;
    let vip = match (service.vip, router.vips.as_slice()) {
        (Some(vip), _) => vip,
        (None, [only]) => *only,
        (None, _) => return None,
    };
    let mut real_servers = Vec::with_capacity(service.real_servers.len());
    for server in &service.real_servers {
        let (name, host) = cluster.hosts.get_key_value(server.host.as_str())?;
        real_servers.push(RealServer {
            host: name.clone(),
            address: host.address,
            port: server.port.unwrap_or(service.port),
            weight: server.weight,
        });
    }
    real_servers.sort_unstable_by_key(|server| (server.address, server.port));
    Some(Balanced {
        router: router_name.clone(),
        vip,
        protocol: service.protocol,
        port: service.port,
        scheduler: service.scheduler,
        forwarding: service.forwarding,
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
