//! A resolved cluster -> one plan per host: what each host must do, fully explicit, in one order.
//!
//! Every list is sorted by what the kernel identifies its items by, so equal clusters give equal
//! bytes however they were written.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{self, Host, SecretSource};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{InterfaceName, Ip, Name, Priority, Span};
use evenkeel_schemas::seal;

use crate::canonical;
use crate::expiry::Habits;
use crate::parallel::in_parallel;
use crate::resolve::{Balanced, Resolved, Router, RouterInstance};

mod auth;
mod checks;
mod paths;
mod real_server;
mod services;
mod sysctls;
mod tasks;

use tasks::Tasks;

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

/// A host's plan, and the secrets that it names and the cluster file holds.
pub(crate) struct Made {
    pub(crate) plan: plan::Plan,
    pub(crate) secrets: BTreeMap<String, String>,
}

/// The plans of all hosts as they are written, by name.
#[must_use]
pub fn emit(cluster: &Resolved) -> Vec<HostPlan> {
    // Services are most of a plan, and the same on all directors of a service.
    let texts = services::ServiceTexts::made(cluster);
    each_host(cluster, |tasks, name, host| {
        let Made { plan, secrets } = host_plan(cluster, tasks, name, host, Vec::new());
        let append = |out: &mut String| texts.append(tasks, name, out);
        HostPlan {
            file_name: plan::file_name(&plan.host),
            text: seal::sealed(|out| {
                push_header(out, &plan);
                canonical::document_around(out, &plan, (services::KEY, &append));
            }),
            secrets: secrets_file(&cluster.name, &secrets),
            host: plan.host,
        }
    })
}

/// Makes something of each host's plan, by name. Of a plan that is only written no more than the text stays.
pub(crate) fn make<R: Send>(cluster: &Resolved, of: impl Fn(Made) -> R + Sync) -> Vec<R> {
    let servers = services::Servers::made(cluster);
    each_host(cluster, |tasks, name, host| {
        of(host_plan(cluster, tasks, name, host, servers.all(tasks, name)))
    })
}

fn each_host<R: Send>(cluster: &Resolved, of: impl Fn(&Tasks<'_>, &Name, &Host) -> R + Sync) -> Vec<R> {
    let tasks = Tasks::new(cluster);
    let hosts: Vec<(&Name, &Host)> = cluster.hosts.iter().collect();
    in_parallel(&hosts, |(name, host)| of(&tasks, name, host))
}

fn host_plan(
    cluster: &Resolved,
    tasks: &Tasks<'_>,
    name: &Name,
    host: &Host,
    virtual_servers: Vec<plan::VirtualServer>,
) -> Made {
    let routers = tasks.routers(name);
    let own = |(router_name, router): &(&Name, &Router)| {
        let instances = router.instances.iter();
        instances.filter_map(|instance| vrrp(router_name, router, instance, name)).collect::<Vec<_>>()
    };
    let instances: Vec<plan::Router> = routers.iter().flat_map(own).collect();
    let groups: BTreeSet<&Name> = instances.iter().filter_map(|router| router.sync_group.as_ref()).collect();
    let tracked: BTreeSet<&Name> =
        instances.iter().flat_map(|router| &router.track).map(|track| &track.tracker).collect();
    let duties = tasks.duties(name);
    let habits: Vec<Habits> = tasks.services(name).map(|(_, service)| Habits::of_balanced(service)).collect();
    let asker = tasks.asker(name);
    let answers = asker.as_ref().map(|asker| {
        let is_apart = |service: &Balanced, vip: Ip, interface: &InterfaceName| {
            let router = cluster.routers.get(&service.router);
            router.is_some_and(|router| router.has_vip_apart(name, vip, interface))
        };
        asker.settings(tasks.services(name).map(|(_, service)| service), &duties.accepted, is_apart)
    });
    let answers = answers.unwrap_or_default();
    let plan = plan::Plan {
        format: plan::FORMAT,
        cluster: cluster.name.clone(),
        host: name.clone(),
        host_addresses: host.all_addresses().map(|(address, _)| address).collect(),
        prevent_removal: host.prevent_removal,
        maintenance: host.maintenance,
        policy: plan::Policy {
            resync: cluster.policy.resync,
            exclusive_ipvs: cluster.policy.exclusive_ipvs,
            drift: cluster.policy.drift.clone(),
            probation: cluster.policy.probation.clone(),
        },
        ipvs_timeouts: ipvs_timeouts(&cluster.ipvs.timeouts).filter(|_| !instances.is_empty()),
        connection_sync: cluster.syncs.get(name).cloned(),
        tunnels: real_server::tunnels(host, duties),
        gue: real_server::gue(duties),
        sync_groups: groups.into_iter().filter_map(|group| cluster.groups.get(group)).cloned().collect(),
        trackers: tracked.into_iter().filter_map(|name| cluster.trackers.get(name)).cloned().collect(),
        sysctls: sysctls::sysctls(cluster, host, &instances, duties, &habits, &answers),
        routers: instances,
        virtual_servers,
        addresses: real_server::addresses(host, duties),
        routes: real_server::routes(duties, cluster.gateways.get(name)),
    };
    Made { plan, secrets: secrets(routers) }
}

/// The kernel takes all three at once, so where one is written the others are its defaults
/// (`tcp_timeouts`, `udp_timeouts` of its `net/netfilter/ipvs/ip_vs_proto_*.c`).
fn ipvs_timeouts(timeouts: &cluster::IpvsTimeouts) -> Option<plan::IpvsTimeouts> {
    (*timeouts != cluster::IpvsTimeouts::default()).then(|| plan::IpvsTimeouts {
        tcp: timeouts.tcp.unwrap_or(Span::from_secs(900)),
        tcp_fin: timeouts.tcp_fin.unwrap_or(Span::from_secs(120)),
        udp: timeouts.udp.unwrap_or(Span::from_secs(300)),
    })
}

/// A plan as it is written to a file.
pub(crate) fn write(plan: &plan::Plan) -> String {
    seal::sealed(|out| {
        push_header(out, plan);
        canonical::document(out, plan);
    })
}

fn push_header(out: &mut String, plan: &plan::Plan) {
    out.push_str("# Written by `evenkeel compile` from cluster `");
    out.push_str(plan.cluster.as_str());
    out.push_str("`. Do not edit: the line above seals the rest.\n");
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

fn vrrp(name: &Name, router: &Router, instance: &RouterInstance, host: &Name) -> Option<plan::Router> {
    let (attached, priority) = (instance.attached.get(host)?, *router.directors.get(host)?);
    Some(plan::Router {
        name: name.clone(),
        interface: attached.interface.clone(),
        source: attached.source,
        version: router.version,
        vrid: router.vrid,
        priority,
        advert_interval: router.advert_interval,
        preempt: router.preempt,
        preempt_delay: nonzero(router.preempt_delay),
        startup_delay: nonzero(router.startup_delay),
        unicast: attached.unicast.clone(),
        directors: attached.directors.clone(),
        checksum: instance.checksum,
        auth: router.auth.as_ref().map(|auth| auth::of_plan(name, auth, router.advert_interval)),
        garp_repeat: router.garp.repeat,
        garp_delay: router.garp.delay,
        garp_refresh: router.garp.refresh,
        garp_interval: nonzero(router.garp.interval),
        virtual_mac: instance.virtual_mac.clone(),
        sync_group: router.group.clone(),
        track: router.track.clone(),
        // An owner's priority never changes.
        own_fault_weight: router.own_fault_weight.filter(|_| priority != Priority::OWNER),
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

fn secrets(routers: &[(&Name, &Router)]) -> BTreeMap<String, String> {
    let literal = |(name, router): &(&Name, &Router)| match auth::password(router.auth.as_ref()?)? {
        SecretSource::Literal(text) => Some((name.as_str().to_owned(), text.clone())),
        SecretSource::File(_) | SecretSource::Credential(_) => None,
    };
    routers.iter().filter_map(literal).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test reads the cases")]
mod tests {
    use super::*;
    use crate::{SourceFile, compile};

    #[test]
    fn a_plan_that_is_put_together_is_what_is_written_of_it() {
        let (mut plans, mut loops) = (0, 0);
        for case in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).expect("the cases")
        {
            let text = std::fs::read_to_string(case.expect("a case").path().join("cluster.toml"));
            let Some(cluster) = compile(&SourceFile::new("c", text.unwrap_or_default())).cluster else {
                continue;
            };
            let whole = make(&cluster, |Made { plan, .. }| write(&plan));
            for (host, whole) in emit(&cluster).iter().zip(whole) {
                assert_eq!(host.text, whole);
                plans += 1;
                loops += usize::from(whole.contains("only_as_master_of"));
            }
        }
        assert!(plans > 100 && loops > 0, "{plans} plans, {loops} with virtual servers of one director only");
    }
}
