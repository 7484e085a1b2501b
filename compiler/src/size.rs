//! How much becomes of a cluster: a few lines can stand for millions of destinations. Counted before
//! anything is made of them.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Cluster, RealServer, Service};
use evenkeel_schemas::scalars::Name;
use serde_json::Value;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::limits::Limits;
use crate::members;
use crate::parse::Document;
use crate::path::at;

/// Why nothing is made of a cluster, when it would be too much. Shows the service that most of it is of.
pub(crate) fn too_many_destinations(
    cluster: &Cluster,
    document: &Document<'_>,
    limits: Limits,
) -> Option<Diagnostic> {
    let each = destinations(cluster);
    let count = each.iter().map(|(_, count)| *count).fold(0, usize::saturating_add);
    if count <= limits.destinations {
        return None;
    }
    let message = format!(
        "the plans would have {count} destinations together; at most {} are made",
        limits.destinations
    );
    // Of equals the first of the file's names.
    let most = each.into_iter().rev().max_by_key(|(_, count)| *count);
    let diagnostic = match most {
        Some((name, of_it)) => Diagnostic::new(
            &codes::TOO_MUCH,
            document.key(at!["services", name]),
            message,
            format!("{of_it} of them are of `{name}`"),
        ),
        None => Diagnostic::of_file(&codes::TOO_MUCH, message),
    };
    Some(diagnostic.hint("a firewall mark makes one virtual server of any number of VIPs and ports"))
}

/// The same of keys that objects take from `[defaults]`.
pub(crate) fn too_many_defaults(root: &Value, document: &Document<'_>, limits: Limits) -> Option<Diagnostic> {
    let defaults = root.get("defaults")?;
    let objects = |section: &str| root.get(section).and_then(Value::as_object);
    let checks = objects("services").into_iter().flat_map(|services| services.values()).map(|service| {
        let listed = service.get("checks").and_then(Value::as_array).map_or(0, Vec::len);
        listed + usize::from(service.get("check").is_some())
    });
    let count = |section| objects(section).map_or(0, serde_json::Map::len);
    let taken = [
        ("virtual_router", count("virtual_routers")),
        ("service", count("services")),
        // A check may come from the defaults of services.
        ("check", checks.sum::<usize>() + count("services")),
    ];
    let values = taken.iter().fold(0_usize, |sum, (kind, times)| {
        sum.saturating_add(defaults.get(*kind).map_or(0, values).saturating_mul(*times))
    });
    (values > limits.destinations).then(|| {
        let message = format!(
            "objects would take {values} values from `[defaults]`; at most {} are taken",
            limits.destinations
        );
        Diagnostic::new(&codes::TOO_MUCH, document.key(at!["defaults"]), message, "taken by every object")
            .hint("put real servers that services share into a pool, not into the defaults")
    })
}

fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(keys) => 1 + keys.values().map(values).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// Destinations of a service's virtual servers in the plans of all directors; with placeholders about so
/// many.
fn destinations(cluster: &Cluster) -> Vec<(&Name, usize)> {
    let mut labels: BTreeMap<&Name, usize> = BTreeMap::new();
    for label in cluster.hosts.values().flat_map(|host| &host.labels) {
        *labels.entry(label).or_default() += 1;
    }
    let entry = |entry: &RealServer| {
        let labelled = entry.label.as_ref().and_then(|label| labels.get(label)).copied();
        usize::from(entry.host.is_some()) + labelled.unwrap_or_default()
    };
    let pools: BTreeMap<&str, usize> = cluster
        .pools
        .iter()
        .map(|(name, pool)| {
            (name.as_str(), pool.real_servers.iter().map(entry).fold(0, usize::saturating_add))
        })
        .collect();
    let of_service = |service: &Service| {
        let of_entry = |server: &RealServer| {
            let pool = server.pool.as_ref().and_then(|pool| pools.get(pool.as_str()).copied());
            entry(server).saturating_add(pool.unwrap_or_default())
        };
        let members = service.real_servers.iter().map(of_entry).fold(0, usize::saturating_add);
        let router = cluster.virtual_routers.get(service.router.as_str());
        let directors = router.map_or(1, |router| router.directors.len());
        let fronts = if service.firewall_mark.is_some() {
            1
        } else {
            let vips = router.map_or(1, |router| members::vips(service, &router.vips).len()).max(1);
            let ports = members::ports(service)
                .map(|(_, first, last)| usize::from(last.get().saturating_sub(first.get())) + 1);
            vips.saturating_mul(ports.sum::<usize>().max(1))
        };
        members.saturating_mul(fronts).saturating_mul(directors.max(1))
    };
    cluster.services.iter().map(|(name, service)| (name, of_service(service))).collect()
}
