//! EK04xx: virtual routers.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::VirtualRouter;
use evenkeel_schemas::scalars::{Name, Priority, Vrid};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::parse::at;
use crate::resolve::DEFAULT_PRIORITIES;
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    duplicate_vrid,
    director_elsewhere,
    v2_interval,
    one_director,
    priority_missing,
    equal_priorities,
    too_many_directors,
    owner_priority,
    too_many_vips,
];

/// Largest IPv4 packet that Ethernet carries whole.
const MTU: usize = 1500;
const IPV4_HEADER: usize = 20;
const VRRP_HEADER: usize = 8;
/// Authentication data at the end of every version 2 packet (RFC 3768 §5.3.10).
const V2_AUTH_DATA: usize = 8;

fn duplicate_vrid(cx: &Context<'_>, out: &mut Findings) {
    let mut routers: Vec<(Place, &Name, &VirtualRouter, &Name)> = cx
        .cluster
        .virtual_routers
        .iter()
        .filter_map(|(name, router)| {
            let place = cx.value(at!["virtual_routers", name, "vrid"]);
            Some((place, name, router, cx.router_segment(router)?))
        })
        .collect();
    routers.sort_by_key(|(place, ..)| place.start);
    let mut taken: BTreeMap<&Name, BTreeSet<Vrid>> = BTreeMap::new();
    for (_, _, router, segment) in &routers {
        taken.entry(segment).or_default().insert(router.vrid);
    }
    let mut first = BTreeMap::new();
    for (place, name, router, segment) in routers {
        let Some((other, earlier)) = first.get(&(segment, router.vrid)) else {
            first.insert((segment, router.vrid), (name, place));
            continue;
        };
        let used = taken.get(segment);
        let own = router.vrid.get();
        let free = (own..=Vrid::MAX)
            .chain(Vrid::MIN..own)
            .filter_map(|number| Vrid::new(number).ok())
            .find(|vrid| used.is_none_or(|used| !used.contains(vrid)));
        let hint = match free {
            Some(free) => format!("VRID {free} is free on this segment as far as this file knows"),
            None => "all 255 VRIDs of the segment are taken: put VIPs together in fewer virtual routers"
                .to_owned(),
        };
        out.push(
            Diagnostic::new(
                &codes::DUPLICATE_VRID,
                place,
                format!(
                    "virtual routers `{other}` and `{name}` have the same VRID {} on segment `{segment}`",
                    router.vrid
                ),
                format!("`{name}`"),
            )
            .also(earlier.clone(), format!("`{other}`"))
            .hint(hint),
        );
    }
}

fn director_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let Some(home) = cx.router_segment(router) else {
            continue;
        };
        for (index, director) in router.directors.iter().enumerate() {
            let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director.as_str()) else {
                continue;
            };
            let Some(segment) = cx.segment(host.address).filter(|segment| *segment != home) else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::DIRECTOR_ELSEWHERE,
                    cx.value(at!["virtual_routers", name, "directors", index]),
                    format!(
                        "director `{director}` is not on segment `{home}`, where the VIPs of `{name}` are"
                    ),
                    format!("on segment `{segment}`"),
                )
                .also(
                    cx.value(at!["hosts", host_name, "address"]),
                    format!("its address is on segment `{segment}`"),
                )
                .hint(format!("choose directors on segment `{home}`, or VIPs on segment `{segment}`")),
            );
        }
    }
}

fn v2_interval(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let interval = router.advert_interval;
        if router.version == 2 && interval.as_whole_secs().is_none() {
            let whole = interval.as_centis().div_ceil(100);
            out.push(
                Diagnostic::new(
                    &codes::V2_INTERVAL,
                    cx.value(at!["virtual_routers", name, "advert_interval"]),
                    format!(
                        "`{name}` advertises every {interval}, but VRRP version 2 knows whole seconds only"
                    ),
                    "not a whole number of seconds",
                )
                .also(cx.value(at!["virtual_routers", name, "version"]), "version 2")
                .hint(format!("write \"{whole}s\", or use version 3 on all routers of this VRID")),
            );
        }
    }
}

fn one_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if let [only] = router.directors.as_slice() {
            out.push(
                Diagnostic::new(
                    &codes::ONE_DIRECTOR,
                    cx.value(at!["virtual_routers", name, "directors"]),
                    format!("virtual router `{name}` has one director"),
                    format!("when `{}` is down nobody holds its VIPs", only.escape_debug()),
                )
                .hint("add a second director"),
            );
        }
    }
}

fn priority_missing(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if router.priorities.is_empty() {
            continue;
        }
        let missing: BTreeSet<&String> =
            router.directors.iter().filter(|host| !router.priorities.contains_key(*host)).collect();
        if let Some(hosts) = list(missing.iter().map(|host| host.escape_debug())) {
            out.push(
                Diagnostic::new(
                    &codes::PRIORITY_MISSING,
                    cx.key(at!["virtual_routers", name, "priorities"]),
                    format!("`priorities` of `{name}` has no number for {hosts}"),
                    "not complete",
                )
                .also(cx.value(at!["virtual_routers", name, "directors"]), "the directors")
                .hint("give every director a priority, or remove `priorities` to get 100, 90, 80, …"),
            );
        }
    }
}

fn equal_priorities(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let mut first: BTreeMap<Priority, (&String, Place)> = BTreeMap::new();
        let mut given: Vec<_> = router
            .priorities
            .iter()
            .map(|(host, priority)| {
                (cx.value(at!["virtual_routers", name, "priorities", host]), host, *priority)
            })
            .collect();
        given.sort_by_key(|(place, ..)| place.start);
        for (place, host, priority) in given {
            match first.get(&priority) {
                None => _ = first.insert(priority, (host, place)),
                Some((other, earlier)) => out.push(
                    Diagnostic::new(
                        &codes::EQUAL_PRIORITIES,
                        place,
                        format!(
                            "directors `{}` and `{}` of `{name}` have the same priority {priority}",
                            other.escape_debug(),
                            host.escape_debug()
                        ),
                        "the same again",
                    )
                    .also(earlier.clone(), "first here")
                    .hint("give the preferred director the higher number"),
                ),
            }
        }
    }
}

fn too_many_directors(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let count = router.directors.len();
        if router.priorities.is_empty() && count > DEFAULT_PRIORITIES {
            out.push(
                Diagnostic::new(
                    &codes::TOO_MANY_DIRECTORS,
                    cx.value(at!["virtual_routers", name, "directors", DEFAULT_PRIORITIES]),
                    format!("`{name}` has {count} directors and no `priorities`"),
                    "no default priority is left from here on",
                )
                .hint(format!(
                    "the defaults 100, 90, … reach for {DEFAULT_PRIORITIES} directors: write `priorities`"
                )),
            );
        }
    }
}

fn owner_priority(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        for (host, _) in router.priorities.iter().filter(|(_, priority)| **priority == Priority::OWNER) {
            out.push(
                Diagnostic::new(
                    &codes::OWNER_PRIORITY,
                    cx.value(at!["virtual_routers", name, "priorities", host]),
                    format!(
                        "director `{}` of `{name}` has priority 255, which is for the owner of the VIPs",
                        host.escape_debug()
                    ),
                    "owners are not supported",
                )
                .hint("the highest priority is 254"),
            );
        }
    }
}

/// How many VIPs an advertisement of `version` can carry.
fn max_vips(version: u8) -> usize {
    let tail = if version == 2 { V2_AUTH_DATA } else { 0 };
    let fit = (MTU - IPV4_HEADER - VRRP_HEADER - tail) / 4;
    fit.min(usize::from(u8::MAX))
}

fn too_many_vips(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let max = max_vips(router.version);
        if router.vips.len() > max {
            out.push(
                Diagnostic::new(
                    &codes::TOO_MANY_VIPS,
                    cx.vip_place(name, max),
                    format!("`{name}` has {} VIPs, but an advertisement carries {max}", router.vips.len()),
                    "one too many from here on",
                )
                .hint("split them over several virtual routers"),
            );
        }
    }
}
