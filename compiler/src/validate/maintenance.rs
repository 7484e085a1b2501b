//! EK047x: hosts that are taken out of service, as directors and as real servers. That a service is left with
//! no real server that takes connections is told in `scheduling`.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use evenkeel_schemas::scalars::{Name, Priority};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;
use crate::resolve::priority;

pub(super) const RULES: &[Rule] =
    &[maintenance_no_director, no_director_left, owner_in_maintenance, drain_no_real_server];

/// Most hosts that a finding points at.
const MOST_PLACES: usize = 4;

/// Whether a host is known to be in maintenance.
fn is_in_maintenance(cx: &Context<'_>, name: &str) -> bool {
    let host = cx.cluster.hosts.get(name);
    host.is_some_and(|host| host.maintenance) && cx.knows(at!["hosts", name, "maintenance"])
}

fn directors<'a>(cx: &Context<'a>) -> BTreeSet<&'a str> {
    cx.cluster.virtual_routers.values().flat_map(|router| &router.directors).map(String::as_str).collect()
}

fn real_servers<'a>(cx: &Context<'a>) -> BTreeSet<&'a Name> {
    cx.cluster.services.keys().flat_map(|service| cx.members(service)).map(|member| member.name).collect()
}

fn maintenance_no_director(cx: &Context<'_>, out: &mut Findings) {
    if !cx.settled {
        return;
    }
    let (directors, real_servers) = (directors(cx), LazyCell::new(|| real_servers(cx)));
    let hosts = cx.cluster.hosts.keys();
    for name in
        hosts.filter(|name| is_in_maintenance(cx, name.as_str()) && !directors.contains(name.as_str()))
    {
        let found = Diagnostic::new(
            &codes::MAINTENANCE_NO_DIRECTOR,
            cx.key(at!["hosts", name, "maintenance"]),
            format!("host `{name}` is in maintenance, but is a director of no virtual router"),
            "has no effect",
        );
        out.push(if real_servers.contains(name) {
            found.hint("it is a real server: `drain = true` takes new connections away from it")
        } else {
            found.hint("remove `maintenance`")
        });
    }
}

fn no_director_left(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let all = cx.knows_directors(name, router)
            && router.directors.iter().all(|director| is_in_maintenance(cx, director));
        let Some(first) = router.directors.first().filter(|_| all) else { continue };
        let only = router.directors.iter().all(|director| director == first);
        let message = if only {
            format!("`{first}` is in maintenance and is the only director of `{name}`")
        } else {
            format!("all directors of `{name}` are in maintenance")
        };
        let found = Diagnostic::new(
            &codes::NO_DIRECTOR_LEFT,
            cx.value(at!["virtual_routers", name, "directors"]),
            message,
            "nobody would have the VIPs",
        );
        let places = router.directors.iter().take(MOST_PLACES);
        let found = places.fold(found, |found, director| {
            found.also(cx.key(at!["hosts", director, "maintenance"]), format!("`{director}` is out here"))
        });
        out.push(if only {
            found.hint("add a second director, or leave it in service")
        } else {
            found.hint("leave one of them in service: remove its `maintenance`")
        });
    }
}

fn owner_in_maintenance(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        for (index, director) in cx.directors(name, router) {
            let known = cx.knows_all(at!["virtual_routers", name, "priorities"]);
            let owner = known && priority(router, index, director) == Some(Priority::OWNER);
            if !owner || !is_in_maintenance(cx, director) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::OWNER_IN_MAINTENANCE,
                    cx.key(at!["hosts", director, "maintenance"]),
                    format!("`{director}` is in maintenance and owns the VIPs of `{name}`"),
                    "keeps its own addresses",
                )
                .also(cx.value(at!["virtual_routers", name, "priorities", director]), "the owner's priority")
                .hint("give it a priority below 255, or take the host off the segment instead"),
            );
        }
    }
}

fn drain_no_real_server(cx: &Context<'_>, out: &mut Findings) {
    if !cx.settled {
        return;
    }
    let (real_servers, directors) = (LazyCell::new(|| real_servers(cx)), LazyCell::new(|| directors(cx)));
    let drained = |name: &Name, drain: bool| drain && cx.knows(at!["hosts", name, "drain"]);
    for (name, _) in cx.cluster.hosts.iter().filter(|(name, host)| drained(name, host.drain)) {
        if real_servers.contains(name) {
            continue;
        }
        let found = Diagnostic::new(
            &codes::DRAIN_NO_REAL_SERVER,
            cx.key(at!["hosts", name, "drain"]),
            format!("host `{name}` is drained, but is a real server of no service"),
            "has no effect",
        );
        out.push(if directors.contains(name.as_str()) {
            found.hint("it is a director: `maintenance = true` takes it out of its elections")
        } else {
            found.hint("remove `drain`")
        });
    }
}
