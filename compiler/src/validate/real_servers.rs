//! EK02xx, second part: who the real servers are: hosts, labels, pools.

use std::collections::BTreeSet;
use std::fmt;

use evenkeel_schemas::cluster::RealServer;
use evenkeel_schemas::scalars::Name;

use super::names::unknown_host;
use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::naming;
use crate::path::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    unknown_real_server,
    unknown_pool,
    unknown_label,
    unnamed_real_server,
    pool_in_pool,
    unused_pool,
    address_not_of_host,
    address_of_many,
    duplicate_real_server,
];

/// A list of real servers: of a service or of a pool.
struct List<'a> {
    section: &'static str,
    kind: &'static str,
    name: &'a Name,
    servers: &'a [RealServer],
}

impl List<'_> {
    fn path<'p>(&'p self, index: usize, key: &'p str) -> [Step<'p>; 5] {
        [
            Step::Key(self.section),
            Step::Key(self.name.as_str()),
            Step::Key("real_servers"),
            Step::Index(index),
            Step::Key(key),
        ]
    }

    /// Path of an entry.
    fn entry(&self, index: usize) -> [Step<'_>; 4] {
        let [section, name, list, index, _] = self.path(index, "");
        [section, name, list, index]
    }

    fn is_pool(&self) -> bool {
        self.section == "pools"
    }
}

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// The lists of all services and pools, but those of which no rule here has anything to say.
fn lists<'a>(cx: &Context<'a>) -> impl Iterator<Item = List<'a>> {
    let (cluster, world) = (cx.cluster, cx.world);
    let services = cluster.services.iter().zip(&world.services).filter(|(_, facts)| !facts.plain);
    let services = services.map(|((name, service), _)| List {
        section: "services",
        kind: "service",
        name,
        servers: &service.real_servers,
    });
    let pools = cluster.pools.iter().map(|(name, pool)| List {
        section: "pools",
        kind: "pool",
        name,
        servers: &pool.real_servers,
    });
    services.chain(pools)
}

fn unknown_real_server(cx: &Context<'_>, out: &mut Findings) {
    for list in lists(cx) {
        for (index, server) in list.servers.iter().enumerate() {
            let Some(host) = &server.host else { continue };
            if !cx.knows(&list.path(index, "host")) {
                continue;
            }
            if let Some(hint) = unknown_host(cx, host) {
                out.push(
                    Diagnostic::new(
                        &codes::UNKNOWN_REAL_SERVER,
                        cx.value(&list.path(index, "host")),
                        format!("real server `{}` of {list} is not in [hosts]", host.escape_debug()),
                        "no such host",
                    )
                    .hint(hint),
                );
            }
        }
    }
}

fn unknown_pool(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_entries("pools") {
        return;
    }
    for list in lists(cx).filter(|list| !list.is_pool()) {
        for (index, server) in list.servers.iter().enumerate() {
            let Some(pool) = server.pool.as_deref() else { continue };
            let path = list.path(index, "pool");
            if cx.cluster.pools.contains_key(pool) || !cx.knows(&path) {
                continue;
            }
            let pools = cx.cluster.pools.keys().map(Name::as_str);
            out.push(
                Diagnostic::new(
                    &codes::UNKNOWN_POOL,
                    cx.value(&path),
                    format!("{list} uses pool `{}`, which does not exist", pool.escape_debug()),
                    "no such pool",
                )
                .hint(cx.suggester.hint(pool, "pools", pools)),
            );
        }
    }
}

fn unknown_label(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_labels {
        return;
    }
    let labels: BTreeSet<&str> =
        cx.cluster.hosts.values().flat_map(|host| &host.labels).map(Name::as_str).collect();
    for list in lists(cx) {
        for (index, server) in list.servers.iter().enumerate() {
            let Some(label) = &server.label else { continue };
            let path = list.path(index, "label");
            if labels.contains(label.as_str()) || !cx.knows(&path) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::UNKNOWN_LABEL,
                    cx.value(&path),
                    format!("{list} chooses real servers by label `{label}`, which no host has"),
                    "chooses nobody",
                )
                .hint(cx.suggester.hint(label.as_str(), "labels", labels.iter().copied())),
            );
        }
    }
}

fn unnamed_real_server(cx: &Context<'_>, out: &mut Findings) {
    for servers in lists(cx) {
        for (index, server) in servers.servers.iter().enumerate() {
            let known = ["host", "label", "pool"].iter().all(|key| cx.knows(&servers.path(index, key)));
            let named: Vec<&str> = naming(server).map(|(key, _)| key).collect();
            // A pool in a pool has a rule of its own.
            if !known || named.len() == 1 || (servers.is_pool() && server.pool.is_some()) {
                continue;
            }
            let keys = if servers.is_pool() { "`host` or `label`" } else { "`host`, `label` or `pool`" };
            let (message, label, hint) = match list(&named) {
                None => (
                    format!("entry {} of `real_servers` of {servers} does not say who it is", index + 1),
                    "names nobody".to_owned(),
                    format!("add {keys}, such as `host = \"rs1\"`"),
                ),
                Some(named) => (
                    format!("entry {} of `real_servers` of {servers} has {named}", index + 1),
                    "only one can count".to_owned(),
                    "keep one of them, or write an entry for each".to_owned(),
                ),
            };
            out.push(
                Diagnostic::new(&codes::REAL_SERVER_UNNAMED, cx.value(&servers.entry(index)), message, label)
                    .hint(hint),
            );
        }
    }
}

fn pool_in_pool(cx: &Context<'_>, out: &mut Findings) {
    for list in lists(cx).filter(List::is_pool) {
        for (index, server) in list.servers.iter().enumerate() {
            let Some(pool) = &server.pool else { continue };
            if cx.knows(&list.path(index, "pool")) {
                out.push(
                    Diagnostic::new(
                        &codes::POOL_IN_POOL,
                        cx.value(&list.path(index, "pool")),
                        format!("{list} names pool `{}`", pool.escape_debug()),
                        "a pool holds hosts and labels",
                    )
                    .hint("list its hosts here, or name both pools in the service"),
                );
            }
        }
    }
}

fn unused_pool(cx: &Context<'_>, out: &mut Findings) {
    if !cx.settled {
        return;
    }
    let used: BTreeSet<&str> = cx.services.iter().flat_map(|facts| &facts.pools).copied().collect();
    for name in cx.cluster.pools.keys().filter(|name| !used.contains(name.as_str())) {
        out.push(
            Diagnostic::new(
                &codes::UNUSED_POOL,
                cx.key(at!["pools", name]),
                format!("no service uses pool `{name}`"),
                "its real servers serve nothing",
            )
            .hint(format!("write `real_servers = [{{ pool = \"{name}\" }}]` in a service, or remove it")),
        );
    }
}

fn address_not_of_host(cx: &Context<'_>, out: &mut Findings) {
    for servers in lists(cx) {
        for (index, server) in servers.servers.iter().enumerate() {
            let (Some(address), Some(host)) = (server.address, &server.host) else { continue };
            let Some((name, host)) = cx.cluster.hosts.get_key_value(host.as_str()) else { continue };
            let known = ["host", "address"].iter().all(|key| cx.knows(&servers.path(index, key)));
            if !known
                || !cx.knows_all(at!["hosts", name])
                || host.all_addresses().any(|(own, _)| own == address)
            {
                continue;
            }
            let own = list(host.all_addresses().map(|(own, _)| own)).unwrap_or_default();
            out.push(
                Diagnostic::new(
                    &codes::ADDRESS_NOT_OF_HOST,
                    cx.value(&servers.path(index, "address")),
                    format!(
                        "real server `{name}` of {servers} has address {address}, which the host has not"
                    ),
                    "not an address of the host",
                )
                .also(cx.key(at!["hosts", name]), format!("has {own}"))
                .hint(format!("choose one of the host's, or add `addresses = [\"{address}\"]` to it")),
            );
        }
    }
}

fn address_of_many(cx: &Context<'_>, out: &mut Findings) {
    for list in lists(cx) {
        for (index, server) in list.servers.iter().enumerate() {
            let many = naming(server).find(|(key, _)| *key != "host");
            let (Some(address), Some((key, name))) = (server.address, many) else { continue };
            if cx.knows(&list.path(index, "address")) && cx.knows(&list.path(index, key)) {
                out.push(
                    Diagnostic::new(
                        &codes::ADDRESS_OF_MANY,
                        cx.value(&list.path(index, "address")),
                        format!("{list} gives address {address} to all of {key} `{}`", name.escape_debug()),
                        "belongs to one host",
                    )
                    .also(cx.value(&list.path(index, key)), "stands for several hosts")
                    .hint("list the host by `host`, with this `address`, or remove `address`"),
                );
            }
        }
    }
}

fn duplicate_real_server(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        // Two without a port of their own have the same, whatever it is.
        let port = service.port.filter(|_| cx.knows(at!["services", name, "port"]));
        let vip = cx.vips_of_service(name, service).first().copied();
        // An entry that names two has a rule of its own.
        let members = cx
            .members(name)
            .iter()
            .filter(|member| naming(member.entry).count() == 1 && cx.knows_member(name, member, "port"))
            .filter(|member| cx.knows_member(name, member, "address"));
        duplicates(
            members.map(|member| {
                let of_vip = || vip.map(|vip| member.address(&cx.subnets, vip));
                let address = member.given_address().or_else(of_vip);
                ((member.name, address, member.port().or(port)), member)
            }),
            |member| cx.value(&member.written_at(name)),
            |(_, first), (member, again)| {
                out.push(
                    Diagnostic::new(
                        &codes::DUPLICATE_REAL_SERVER,
                        again,
                        format!("real server `{}` is listed twice in service `{name}`", member.name),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("remove one of them; to send it more connections, raise its `weight`"),
                );
            },
        );
    }
}
