//! EK04xx: virtual routers.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Auth, VirtualRouter};
use evenkeel_schemas::scalars::{InterfaceName, Name, Priority, Vrid};

use super::{Context, Findings, Rule, duplicates};
use crate::attach::Family;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;
use crate::resolve::DEFAULT_PRIORITIES;
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    duplicate_vrid,
    vrid_on_interface,
    v2_interval,
    one_director,
    priority_missing,
    equal_priorities,
    too_many_directors,
    too_many_vips,
];

/// Largest packet that Ethernet carries whole.
const MTU: usize = 1500;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const VRRP_HEADER: usize = 8;
/// Authentication data at the end of every version 2 packet (RFC 3768 §5.3.10).
const V2_AUTH_DATA: usize = 8;
/// Bytes of a trailer with an HMAC (draft-cassen-vrrp-auth-hmac).
const HMAC_TRAILER: usize = 28;

/// The routers with a known VRID on a known segment: segment, VRID, name.
fn placed<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, Vrid, &'a Name)> {
    let routers = cx.cluster.virtual_routers.iter();
    let known = routers.filter(|(name, _)| cx.knows(at!["virtual_routers", name, "vrid"]));
    known.filter_map(|(name, router)| Some((cx.home(name, router)?, router.vrid, name)))
}

/// The families of the known VIPs of a router.
fn families(cx: &Context<'_>, name: &Name) -> BTreeSet<Family> {
    let router = cx.cluster.virtual_routers.get(name);
    let vips = router.into_iter().flat_map(|router| cx.vips_of(name, router));
    vips.map(|(_, vip)| Family::of(vip.0)).collect()
}

fn duplicate_vrid(cx: &Context<'_>, out: &mut Findings) {
    let routers: Vec<(&Name, Vrid, &Name)> = placed(cx).collect();
    let taken: BTreeSet<(&Name, Vrid)> = routers.iter().map(|(segment, vrid, _)| (*segment, *vrid)).collect();
    let by_family = routers.iter().flat_map(|router| {
        families(cx, router.2).into_iter().map(move |family| ((router.0, router.1, family), *router))
    });
    let mut told = BTreeSet::new();
    duplicates(
        by_family,
        |(_, _, name)| cx.value(at!["virtual_routers", name, "vrid"]),
        |((_, _, other), first), ((segment, vrid, name), again)| {
            if !told.insert((other, name)) {
                return;
            }
            let free = (vrid.get()..=Vrid::MAX)
                .chain(Vrid::MIN..vrid.get())
                .filter_map(|number| Vrid::new(number).ok())
                .find(|vrid| !taken.contains(&(segment, *vrid)));
            let hint = match free {
                Some(free) => format!("VRID {free} is free on this segment as far as this file knows"),
                None => "all 255 VRIDs of the segment are taken: gather the VIPs in fewer virtual routers"
                    .to_owned(),
            };
            out.push(
                Diagnostic::new(
                    &codes::DUPLICATE_VRID,
                    again,
                    format!(
                        "virtual routers `{other}` and `{name}` have the same VRID {vrid} on segment \
                        `{segment}`"
                    ),
                    format!("`{name}`"),
                )
                .also(first, format!("`{other}`"))
                .hint(hint),
            );
        },
    );
}

/// Two segments on one interface of a director.
fn vrid_on_interface(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_subnets() {
        return;
    }
    let mut heard: BTreeMap<(&str, &InterfaceName, Family, Vrid), (&Name, &Name)> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (segment, vrid, name) in placed(cx) {
        let Some(router) = cx.cluster.virtual_routers.get(name) else {
            continue;
        };
        for (_, director) in cx.directors(name, router) {
            let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director.as_str()) else {
                continue;
            };
            for family in families(cx, name).into_iter().filter(|_| cx.knows_addresses(host_name)) {
                let Some(interface) = cx.subnets.speaks_on(host_name, host, segment, family) else {
                    continue;
                };
                let key = (director.as_str(), interface, family, vrid);
                let (other_segment, other) = *heard.entry(key).or_insert((segment, name));
                if other_segment == segment || !told.insert((other, name)) {
                    continue;
                }
                let place = |name| cx.value(at!["virtual_routers", name, "vrid"]);
                out.push(
                    Diagnostic::new(
                        &codes::VRID_ON_INTERFACE,
                        place(name),
                        format!(
                            "`{other}` and `{name}` have the same VRID {vrid} on interface `{interface}` of \
                            director `{host_name}`"
                        ),
                        format!("on segment `{segment}`"),
                    )
                    .also(place(other), format!("on segment `{other_segment}`"))
                    .hint("choose another VRID for one of them, or correct the interfaces of the host"),
                );
            }
        }
    }
}

fn v2_interval(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = |key| cx.knows(at!["virtual_routers", name, key]);
        let interval = router.advert_interval;
        if router.version == 2
            && interval.as_whole_secs().is_none()
            && known("version")
            && known("advert_interval")
        {
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
        if let [only] = router.directors.as_slice()
            && cx.knows_all(at!["virtual_routers", name, "directors"])
        {
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
        let known = cx.knows(at!["virtual_routers", name, "priorities"]) && cx.knows_directors(name, router);
        if !known || router.priorities.is_empty() {
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

/// The priorities that are known.
fn priorities<'r>(
    cx: &Context<'_>,
    name: &Name,
    router: &'r VirtualRouter,
) -> impl Iterator<Item = (&'r String, Priority)> {
    let known = move |host| cx.knows(at!["virtual_routers", name, "priorities", host]);
    router.priorities.iter().filter(move |(host, _)| known(*host)).map(|(host, priority)| (host, *priority))
}

fn equal_priorities(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        duplicates(
            priorities(cx, name, router).map(|(host, priority)| (priority, (host, priority))),
            |(host, _)| cx.value(at!["virtual_routers", name, "priorities", host]),
            |((other, _), first), ((host, priority), again)| {
                let (other, host) = (other.escape_debug(), host.escape_debug());
                out.push(
                    Diagnostic::new(
                        &codes::EQUAL_PRIORITIES,
                        again,
                        format!(
                            "directors `{other}` and `{host}` of `{name}` have the same priority {priority}"
                        ),
                        "the same again",
                    )
                    .also(first, "first here")
                    .hint("give the preferred director the higher number"),
                );
            },
        );
    }
}

fn too_many_directors(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let count = router.directors.len();
        let known = |key| cx.knows(at!["virtual_routers", name, key]);
        if router.priorities.is_empty()
            && count > DEFAULT_PRIORITIES
            && known("priorities")
            && known("directors")
        {
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

/// Most VIPs of a family that an advertisement of `version` can carry, with a trailer or without.
fn max_vips(version: u8, family: Family, trailer: bool) -> usize {
    let tail = if version == 2 { V2_AUTH_DATA } else { 0 } + if trailer { HMAC_TRAILER } else { 0 };
    let header = match family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    let fit = (MTU - header - VRRP_HEADER - tail) / usize::from(family.width() / 8);
    fit.min(usize::from(u8::MAX))
}

/// Each family has advertisements of its own.
fn too_many_vips(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if !cx.knows(at!["virtual_routers", name, "version"])
            || !cx.knows(at!["virtual_routers", name, "auth"])
            || !cx.knows(at!["virtual_routers", name, "vips"])
        {
            continue;
        }
        for family in Family::ALL {
            let trailer = matches!(router.auth, Some(Auth::Hmac { .. }));
            let max = max_vips(router.version, family, trailer);
            let of_family = || cx.vips_of(name, router).filter(|(_, vip)| Family::of(vip.0) == family);
            let Some((index, _)) = of_family().nth(max) else {
                continue;
            };
            let count = of_family().count();
            out.push(
                Diagnostic::new(
                    &codes::TOO_MANY_VIPS,
                    cx.vip_place(name, index),
                    format!("`{name}` has {count} {family} VIPs, but an advertisement carries {max}"),
                    "one too many from here on",
                )
                .hint("split them over several virtual routers"),
            );
        }
    }
}
