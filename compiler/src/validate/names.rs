//! EK02xx: names that refer to something, and objects nothing refers to.

use std::collections::BTreeSet;

use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[
    unknown_router,
    unknown_director,
    duplicate_director,
    priority_of_no_director,
    unused_host,
    unused_segment,
    unused_router,
];

fn unknown_router(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let router = service.router.as_str();
        let known = cx.knows(at!["services", name, "router"]) && cx.knows_entries("virtual_routers");
        if !known || cx.router_of(name, service).is_some() {
            continue;
        }
        let routers = cx.cluster.virtual_routers.keys().map(Name::as_str);
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_ROUTER,
                cx.value(at!["services", name, "router"]),
                format!(
                    "service `{name}` uses virtual router `{}`, which does not exist",
                    router.escape_debug()
                ),
                "no such virtual router",
            )
            .hint(cx.suggester.hint(router, "virtual routers", routers)),
        );
    }
}

/// Advice about a name that is no host's.
pub(super) fn unknown_host(cx: &Context<'_>, host: &str) -> Option<String> {
    if cx.cluster.hosts.contains_key(host) || !cx.knows_entries("hosts") {
        return None;
    }
    Some(cx.suggester.hint(host, "hosts", cx.cluster.hosts.keys().map(Name::as_str)))
}

fn unknown_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        for (index, host) in cx.directors(name, router) {
            if let Some(hint) = unknown_host(cx, host) {
                out.push(
                    Diagnostic::new(
                        &codes::UNKNOWN_DIRECTOR,
                        cx.value(at!["virtual_routers", name, "directors", index]),
                        format!("director `{}` of `{name}` is not in [hosts]", host.escape_debug()),
                        "no such host",
                    )
                    .hint(hint),
                );
            }
        }
    }
}

fn duplicate_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        duplicates(
            cx.directors(name, router).map(|(index, host)| (host, (index, host))),
            |(index, _)| cx.value(at!["virtual_routers", name, "directors", index]),
            |(_, first), ((_, host), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::DUPLICATE_DIRECTOR,
                        again,
                        format!("director `{}` is listed twice in `{name}`", host.escape_debug()),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("remove one of them"),
                );
            },
        );
    }
}

fn priority_of_no_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if !cx.knows_directors(name, router) {
            continue;
        }
        let directors: BTreeSet<&str> = router.directors.iter().map(String::as_str).collect();
        for host in router.priorities.keys().filter(|host| !directors.contains(host.as_str())) {
            out.push(
                Diagnostic::new(
                    &codes::PRIORITY_OF_NO_DIRECTOR,
                    cx.key(at!["virtual_routers", name, "priorities", host]),
                    format!(
                        "`{name}` has a priority for `{}`, which is not one of its directors",
                        host.escape_debug()
                    ),
                    "not a director",
                )
                .also(cx.value(at!["virtual_routers", name, "directors"]), "the directors")
                .hint(match cx.suggester.closest(host, directors.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("remove it, or add `{}` to `directors`", host.escape_debug()),
                }),
            );
        }
    }
}

fn unused_host(cx: &Context<'_>, out: &mut Findings) {
    if !cx.settled {
        return;
    }
    let directors = cx.cluster.virtual_routers.values().flat_map(|router| &router.directors);
    let servers =
        cx.cluster.services.keys().flat_map(|name| cx.members(name)).map(|member| member.name.as_str());
    let sorry = cx.cluster.services.values().filter_map(|s| s.sorry_server.as_ref()?.host.as_deref());
    let used: BTreeSet<&str> = directors.map(String::as_str).chain(servers).chain(sorry).collect();
    // A host that lacks something may lack a label.
    let known = |name: &Name| cx.knows_all(at!["hosts", name]);
    for name in cx.cluster.hosts.keys().filter(|name| !used.contains(name.as_str()) && known(name)) {
        out.push(
            Diagnostic::new(
                &codes::UNUSED_HOST,
                cx.key(at!["hosts", name]),
                format!("host `{name}` is neither director nor real server"),
                "nothing uses it",
            )
            .hint("list it in `directors` of a virtual router or `real_servers` of a service, or remove it"),
        );
    }
}

fn unused_segment(cx: &Context<'_>, out: &mut Findings) {
    let addresses = || cx.cluster.hosts.keys().all(|name| cx.knows_addresses(name));
    let vips = || cx.cluster.virtual_routers.keys().all(|name| cx.knows_vips(name));
    if !cx.settled || !addresses() || !vips() {
        return;
    }
    let hosts = cx.addresses().map(|address| address.ip);
    let used: BTreeSet<&Name> =
        hosts.chain(cx.all_vips().map(|vip| vip.ip)).filter_map(|address| cx.segment(address)).collect();
    let known = |name: &Name| cx.knows_all(at!["segments", name, "subnets"]);
    for name in cx.cluster.segments.keys().filter(|name| !used.contains(name) && known(name)) {
        out.push(
            Diagnostic::new(
                &codes::UNUSED_SEGMENT,
                cx.key(at!["segments", name]),
                format!("no host and no VIP is on segment `{name}`"),
                "nothing is on it",
            )
            .hint("check its subnets against the addresses of the hosts, or remove it"),
        );
    }
}

fn unused_router(cx: &Context<'_>, out: &mut Findings) {
    if !cx.settled {
        return;
    }
    let used: BTreeSet<&str> = cx.cluster.services.values().map(|service| service.router.as_str()).collect();
    for name in cx.cluster.virtual_routers.keys().filter(|name| !used.contains(name.as_str())) {
        out.push(
            Diagnostic::new(
                &codes::UNUSED_ROUTER,
                cx.key(at!["virtual_routers", name]),
                format!("virtual router `{name}` has no service"),
                "nothing is balanced on its VIPs",
            )
            .hint(format!("give a service `router = \"{name}\"`; for a mere gateway address this is right")),
        );
    }
}
