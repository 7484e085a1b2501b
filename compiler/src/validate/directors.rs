//! EK04xx, third part: where the directors of a virtual router are, and what they own.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::VirtualRouter;
use evenkeel_schemas::scalars::{Ip, Name, Priority};

use super::{Context, Findings, RouterVip, Rule};
use crate::attach::{Family, HostAddress, is_link_local};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] =
    &[director_elsewhere, director_without_family, owner_priority, v2_over_ipv6, no_link_local_vip];

/// The addresses of a director, if they are all known, and their segments too.
fn attached<'a>(cx: &Context<'a>, director: &str) -> Option<Vec<(HostAddress<'a>, &'a Name)>> {
    let (name, host) = cx.cluster.hosts.get_key_value(director)?;
    let mut attached = Vec::new();
    for address in cx.addresses_of(name, host) {
        match cx.segment(address.ip) {
            Some(segment) => attached.push((address, segment)),
            None if cx.knows_subnets() || is_link_local(address.ip) => {}
            None => return None,
        }
    }
    (cx.knows_addresses(name) && !attached.is_empty()).then_some(attached)
}

/// The segments that a director of a router must be on: where it advertises, and those of its VIPs, each with
/// the first VIP there. A VIP with an interface of its own goes there, whatever addresses that has.
fn needed<'a>(
    cx: &Context<'a>,
    name: &'a Name,
    router: &'a VirtualRouter,
) -> BTreeMap<&'a Name, Option<RouterVip<'a>>> {
    let mut needed: BTreeMap<&Name, Option<RouterVip<'_>>> = BTreeMap::new();
    let home = cx.home(name, router);
    needed.extend(home.map(|home| (home, None)));
    if !cx.knows_all(at!["virtual_routers", name, "vip_settings"]) {
        return needed;
    }
    let settings = router.vip_settings.iter().filter(|(_, settings)| settings.interface.is_some());
    let placed: BTreeSet<Ip> = settings.filter_map(|(vip, _)| vip.parse().ok()).collect();
    for vip in cx.all_vips_of(name, router) {
        if let Some(segment) = cx.segment(vip.ip)
            && (Some(segment) == home || !placed.contains(&vip.ip))
        {
            needed.entry(segment).or_default().get_or_insert(vip);
        }
    }
    needed
}

fn director_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let needed = needed(cx, name, router);
        let home = cx.home(name, router);
        for (index, director) in cx.directors(name, router) {
            let Some(attached) = attached(cx, director) else {
                continue;
            };
            let missing = needed.iter().find(|(segment, _)| attached.iter().all(|(_, on)| on != *segment));
            let (Some((needs, vip)), Some((address, segment))) = (missing, attached.first()) else {
                continue;
            };
            let what = match vip {
                Some(vip) if needed.len() > 1 => format!("VIP {} of `{name}` is", vip.ip),
                Some(_) => format!("the VIPs of `{name}` are"),
                None => format!("`{name}` advertises"),
            };
            let mut hint = format!("choose directors on segment `{needs}`, or VIPs on segment `{segment}`");
            if needed.len() > 1 {
                hint = format!("add the address that `{director}` has there to `interfaces` of the host");
                if vip.is_some() && Some(*needs) != home {
                    hint.push_str(", or name the interface in `vip_settings`");
                }
            }
            out.push(
                Diagnostic::new(
                    &codes::DIRECTOR_ELSEWHERE,
                    cx.value(at!["virtual_routers", name, "directors", index]),
                    format!("director `{director}` is not on segment `{needs}`, where {what}"),
                    format!("on segment `{segment}`"),
                )
                .also(cx.value(&address.path()), format!("its address is on segment `{segment}`"))
                .hint(hint)
                .note(
                    "a host is on the segments of all addresses in `address`, `addresses` and `interfaces`",
                ),
            );
        }
    }
}

/// Whether a director can advertise IPv6 from a link-local address: by multicast always, since every
/// interface with IPv6 has one, by unicast when it is written.
fn may_be_link_local(
    cx: &Context<'_>,
    name: &Name,
    router: &VirtualRouter,
    home: &Name,
    director: &str,
) -> bool {
    let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director) else {
        return true;
    };
    let interface = cx.subnets.speaks_on(host_name, host, home, Family::V6);
    router.unicast.is_none()
        || !cx.knows_all(at!["virtual_routers", name, "unicast"])
        || host.all_addresses().any(|(own, at)| is_link_local(own) && Some(at) == interface)
}

fn director_without_family(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let Some(home) = cx.home(name, router) else {
            continue;
        };
        for family in Family::ALL {
            let mut vips = cx.vips_of(name, router).filter(|(_, vip)| Family::of(vip.0) == family);
            let Some((vip_index, vip)) = vips.next() else {
                continue;
            };
            for (index, director) in cx.directors(name, router) {
                let Some(attached) = attached(cx, director) else {
                    continue;
                };
                let mut here = attached.iter().filter(|(_, segment)| *segment == home).peekable();
                let absent = here.peek().is_some() && here.all(|(own, _)| Family::of(own.ip.0) != family);
                let link_local = family == Family::V6 && may_be_link_local(cx, name, router, home, director);
                if !absent || link_local || !cx.knows_subnets() {
                    continue;
                }
                out.push(
                    Diagnostic::new(
                        &codes::DIRECTOR_WITHOUT_FAMILY,
                        cx.value(at!["virtual_routers", name, "directors", index]),
                        format!(
                            "director `{director}` of `{name}` has no {family} address on segment `{home}`"
                        ),
                        format!("no source for {family} advertisements"),
                    )
                    .also(cx.vip_place(name, vip_index), format!("VIP {vip} needs one"))
                    .hint(format!(
                        "add the {family} address of its interface to `addresses` of host `{director}`"
                    )),
                );
            }
        }
    }
}

/// Whether a host has every advertised VIP of a router as its own; `None` when that is not known.
fn owns(cx: &Context<'_>, name: &Name, router: &VirtualRouter, host: &str) -> Option<bool> {
    let (host_name, host) = cx.cluster.hosts.get_key_value(host)?;
    let known = cx.knows_addresses(host_name) && cx.knows_all(at!["virtual_routers", name, "vips"]);
    known.then(|| router.vips.iter().all(|vip| host.all_addresses().any(|(own, _)| own == *vip)))
}

/// The directors of a router that have the owner's priority.
fn with_owner_priority<'r>(
    cx: &Context<'_>,
    name: &Name,
    router: &'r VirtualRouter,
) -> impl Iterator<Item = &'r String> {
    let known = move |host: &&String| cx.knows(at!["virtual_routers", name, "priorities", *host]);
    let owners = router.priorities.iter().filter(|(_, priority)| **priority == Priority::OWNER);
    owners.map(|(host, _)| host).filter(known)
}

fn owner_priority(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        for host in with_owner_priority(cx, name, router) {
            if owns(cx, name, router, host) != Some(false) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::OWNER_PRIORITY,
                    cx.value(at!["virtual_routers", name, "priorities", host]),
                    format!(
                        "director `{host}` of `{name}` has priority 255, which is for the owner of the VIPs"
                    ),
                    format!("the VIPs are not addresses of `{host}`"),
                )
                .also(cx.value(at!["virtual_routers", name, "vips"]), "the VIPs")
                .hint("the highest priority of a director that is not the owner is 254"),
            );
        }
    }
}

fn v2_over_ipv6(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = ["vips", "version"].iter().all(|key| cx.knows_all(at!["virtual_routers", name, *key]));
        let mut vips = router.vips.iter().enumerate().filter(|_| known && router.version == 2);
        if let Some((index, vip)) = vips.find(|(_, vip)| vip.0.is_ipv6()) {
            out.push(
                Diagnostic::new(
                    &codes::V2_IPV6,
                    cx.vip_place(name, index),
                    format!("VIP {vip} of `{name}` is IPv6, which VRRP version 2 does not carry"),
                    "an IPv6 address",
                )
                .also(cx.value(at!["virtual_routers", name, "version"]), "version 2")
                .hint(
                    "write `version = 3`, or give the IPv6 addresses a virtual router of their own with \
                    version 3",
                ),
            );
        }
    }
}

fn no_link_local_vip(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let mut v6 = cx.vips_of(name, router).filter(|(_, vip)| vip.0.is_ipv6()).peekable();
        let Some((index, first)) = v6.peek().copied() else {
            continue;
        };
        let known = ["vips", "vrid"].iter().all(|key| cx.knows_all(at!["virtual_routers", name, *key]));
        if known && !v6.any(|(_, vip)| is_link_local(vip)) {
            out.push(
                Diagnostic::new(
                    &codes::NO_LINK_LOCAL_VIP,
                    cx.vip_place(name, index),
                    format!("`{name}` has IPv6 VIPs but none that is link-local"),
                    format!("{first} would come first in the advertisement"),
                )
                .hint(format!(
                    "add one such as \"fe80::{:x}\" to `vips`; it is advertised first wherever it stands",
                    router.vrid.get()
                )),
            );
        }
    }
}
