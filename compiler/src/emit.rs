//! A resolved cluster -> one plan per host: what each host must do, fully explicit, in one order.
//!
//! Every list is sorted by what the kernel identifies its items by, so equal clusters give equal
//! bytes however they were written.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Check, CheckType, Forwarding, Host, SecretSource};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Ip, Name, Port, Span};
use evenkeel_schemas::seal;

use crate::canonical;
use crate::parallel::in_parallel;
use crate::resolve::{Balanced, Instance, RealServer, Resolved, Router};

mod sysctls;

/// Label of the VIPs that a real server holds, as the traditional scripts set it.
const REAL_SERVER_LABEL: &str = "lo:0";

/// The routing table `main`.
const MAIN_TABLE: u32 = 254;

/// The plan of a host as it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// The host.
    pub host: Name,
    /// Name of the file.
    pub file_name: String,
    /// All of the file, sealed.
    pub text: String,
    /// All of the file of secrets beside it, when the host needs one.
    pub secrets: Option<String>,
}

impl std::fmt::Debug for HostPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secrets = self.secrets.as_ref().map(|_| "…");
        f.debug_struct("HostPlan").field("file_name", &self.file_name).field("secrets", &secrets).finish()
    }
}

/// First line of a file of secrets: by it `compile` knows its own.
#[must_use]
pub fn secrets_header(cluster: &Name) -> String {
    format!("# Secrets compiled by evenkeel from cluster `{cluster}`. Do not edit; keep private.")
}

/// The plans of all hosts, by name.
#[must_use]
pub fn emit(cluster: &Resolved) -> Vec<HostPlan> {
    let tasks = Tasks::new(cluster);
    let hosts: Vec<(&Name, &Host)> = cluster.hosts.iter().collect();
    in_parallel(&hosts, |(name, host)| host_plan(cluster, &tasks, name, host))
}

/// Who does what.
#[derive(Default)]
struct Tasks<'a> {
    /// By director.
    routers: BTreeMap<&'a Name, Vec<(&'a Name, &'a Router)>>,
    /// By router.
    services: BTreeMap<&'a Name, Vec<(&'a Name, &'a Balanced)>>,
    /// VIPs that a real server must accept as its own, by real server.
    accepted: BTreeMap<&'a Name, BTreeSet<Ip>>,
}

impl<'a> Tasks<'a> {
    fn new(cluster: &'a Resolved) -> Self {
        let mut tasks = Self::default();
        for (name, router) in &cluster.routers {
            for director in router.directors.keys() {
                tasks.routers.entry(director).or_default().push((name, router));
            }
        }
        for (name, service) in &cluster.services {
            tasks.services.entry(&service.router).or_default().push((name, service));
            for server in &service.real_servers {
                match server.forwarding {
                    Forwarding::Dr | Forwarding::Tun => {
                        tasks.accepted.entry(&server.host).or_default().extend(&service.vips);
                    }
                    Forwarding::Nat => {}
                }
            }
        }
        tasks
    }
}

fn host_plan(cluster: &Resolved, tasks: &Tasks<'_>, name: &Name, host: &Host) -> HostPlan {
    let routers = tasks.routers.get(name).map_or(&[][..], Vec::as_slice);
    let accepted = tasks.accepted.get(name);
    let services = routers.iter().filter_map(|(router, _)| tasks.services.get(router)).flatten();
    let mut virtual_servers: Vec<_> =
        services.flat_map(|(name, service)| virtual_servers(name, service)).collect();
    virtual_servers.sort_by(|a, b| (&a.name, a.address, a.port).cmp(&(&b.name, b.address, b.port)));
    let own = |(router_name, router): &(&Name, &Router)| {
        let instances = router.instances.iter();
        instances.filter_map(|instance| vrrp(router_name, router, instance, name)).collect::<Vec<_>>()
    };
    let instances: Vec<plan::Router> = routers.iter().flat_map(own).collect();
    let groups: BTreeSet<&Name> = instances.iter().filter_map(|router| router.sync_group.as_ref()).collect();
    let tracked: BTreeSet<&Name> =
        instances.iter().flat_map(|router| &router.track).map(|track| &track.tracker).collect();
    let plan = plan::Plan {
        format: plan::FORMAT,
        cluster: cluster.name.clone(),
        host: name.clone(),
        host_addresses: host.all_addresses().map(|(address, _)| address).collect(),
        prevent_removal: host.prevent_removal,
        policy: plan::Policy {
            resync: cluster.policy.resync,
            exclusive_ipvs: cluster.policy.exclusive_ipvs,
            drift: cluster.policy.drift.clone(),
            probation: cluster.policy.probation.clone(),
        },
        ipvs_timeouts: None,
        connection_sync: None,
        tunnels: Vec::new(),
        gue: Vec::new(),
        sync_groups: groups.into_iter().filter_map(|group| cluster.groups.get(group)).cloned().collect(),
        trackers: tracked.into_iter().filter_map(|name| cluster.trackers.get(name)).cloned().collect(),
        sysctls: sysctls::sysctls(cluster, &instances, accepted.is_some()),
        routers: instances,
        virtual_servers,
        addresses: accepted.into_iter().flatten().map(|vip| accepted_address(*vip)).collect(),
        routes: accepted.into_iter().flatten().map(|vip| accepted_route(*vip)).collect(),
    };
    HostPlan {
        host: name.clone(),
        file_name: plan::file_name(name),
        text: write(&plan),
        secrets: secrets_file(&cluster.name, &secrets(routers)),
    }
}

/// A plan as it is written to a file.
pub(crate) fn write(plan: &plan::Plan) -> String {
    let header = format!(
        "# Written by `evenkeel compile` from cluster `{}`. Do not edit: the line above seals the rest.\n",
        plan.cluster
    );
    seal::seal(&canonical::document(&header, plan))
}

/// A file of secrets, when there are any.
pub(crate) fn secrets_file(cluster: &Name, secrets: &BTreeMap<String, String>) -> Option<String> {
    if secrets.is_empty() {
        return None;
    }
    let mut text = secrets_header(cluster);
    text.push('\n');
    for (name, secret) in secrets {
        canonical::entry(&mut text, name, secret);
    }
    Some(text)
}

fn vrrp(name: &Name, router: &Router, instance: &Instance, host: &Name) -> Option<plan::Router> {
    let attached = instance.attached.get(host)?;
    let secret = router.password.as_ref().map(|source| match source {
        SecretSource::Literal(_) => plan::SecretReference::Compiled(name.clone()),
        SecretSource::File(path) => plan::SecretReference::File(path.clone()),
        SecretSource::Credential(name) => plan::SecretReference::Credential(name.clone()),
    });
    Some(plan::Router {
        name: name.clone(),
        interface: attached.interface.clone(),
        source: attached.source,
        version: router.version,
        vrid: router.vrid,
        priority: *router.directors.get(host)?,
        advert_interval: router.advert_interval,
        preempt: router.preempt,
        preempt_delay: nonzero(router.preempt_delay),
        startup_delay: nonzero(router.startup_delay),
        unicast: attached.unicast.clone(),
        checksum: instance.checksum,
        auth: secret.map(|secret| plan::Auth::Pass { secret }),
        garp_repeat: router.garp.repeat,
        garp_delay: router.garp.delay,
        garp_refresh: router.garp.refresh,
        garp_interval: nonzero(router.garp.interval),
        virtual_mac: instance.virtual_mac.clone(),
        sync_group: router.group.clone(),
        track: router.track.clone(),
        hooks: instance.hooks.clone(),
        vips: instance.vips.clone(),
        unadvertised_vips: instance.unadvertised_vips.clone(),
        vip_settings: attached.vip_settings.clone(),
        routes: attached.routes.clone(),
        rules: instance.rules.clone(),
        prevent_removal: router.prevent_removal,
    })
}

/// A plan has one word for no delay: its absence.
fn nonzero(span: Option<Span>) -> Option<Span> {
    span.filter(|span| span.as_millis() > 0)
}

/// One for each VIP and port.
fn virtual_servers<'a>(
    name: &'a Name,
    service: &'a Balanced,
) -> impl Iterator<Item = plan::VirtualServer> + 'a {
    let fronts = service.vips.iter().flat_map(|vip| service.ports.iter().map(move |port| (*vip, *port)));
    fronts.map(|(vip, port)| virtual_server(name, service, vip, port))
}

fn virtual_server(name: &Name, service: &Balanced, vip: Ip, port: Port) -> plan::VirtualServer {
    let destination = |server: &RealServer| plan::Destination {
        host: server.host.clone(),
        address: server.address,
        port: server.port.unwrap_or(port),
        weight: server.weight,
        forwarding: server.forwarding,
        encapsulation: None,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        check: service.check.as_ref().and_then(|check| explicit_check(check, server, port)),
    };
    let persistence = service.persistence.as_ref().map(|persistence| plan::Persistence {
        timeout: persistence.timeout,
        prefix: persistence.prefix.unwrap_or_else(|| Cidr::host(vip.0).prefix()),
        engine: persistence.engine,
    });
    plan::VirtualServer {
        name: name.clone(),
        address: Some(vip),
        port: Some(port),
        protocol: Some(service.protocol),
        firewall_mark: None,
        family: None,
        vips: Vec::new(),
        only_as_master_of: None,
        scheduler: service.scheduler,
        scheduler_flags: service.scheduler_flags.clone(),
        one_packet: service.one_packet,
        persistence,
        on_failure: plan::OnFailure::Remove,
        drain: None,
        prevent_removal: service.prevent_removal,
        destinations: service.real_servers.iter().map(destination).collect(),
    }
}

fn explicit_check(check: &Check, server: &RealServer, port: Port) -> Option<plan::Check> {
    match check.kind {
        CheckType::Tcp => Some(plan::Check::Tcp {
            address: check.address.unwrap_or(server.address),
            port: check.port.or(server.port).unwrap_or(port),
            interval: check.interval,
            timeout: check.timeout,
            retries: check.retries,
            retry_delay: check.retry_delay,
        }),
        // Refused by a rule (`validate/unsupported.rs`).
        CheckType::Http
        | CheckType::Https
        | CheckType::Script
        | CheckType::Udp
        | CheckType::Dns
        | CheckType::Ping
        | CheckType::Smtp
        | CheckType::File => None,
    }
}

fn accepted_address(vip: Ip) -> plan::Address {
    plan::Address {
        interface: InterfaceName::loopback(),
        address: Cidr::host(vip.0),
        label: Some(REAL_SERVER_LABEL.to_owned()),
        scope: plan::Scope::Global,
    }
}

fn accepted_route(vip: Ip) -> plan::Route {
    plan::Route {
        destination: Cidr::host(vip.0),
        interface: InterfaceName::loopback(),
        scope: plan::Scope::Link,
        table: MAIN_TABLE,
        via: None,
        metric: 0,
    }
}

fn secrets(routers: &[(&Name, &Router)]) -> BTreeMap<String, String> {
    let literal = |(name, router): &(&Name, &Router)| match router.password.as_ref()? {
        SecretSource::Literal(text) => Some((name.as_str().to_owned(), text.clone())),
        SecretSource::File(_) | SecretSource::Credential(_) => None,
    };
    routers.iter().filter_map(literal).collect()
}
