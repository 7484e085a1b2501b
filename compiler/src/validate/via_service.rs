//! EK05xx: health checks, sixth part: those that go through IPVS, as a client's packets do.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{Forwarding, Service, Via};
use evenkeel_schemas::scalars::{Name, Port};

use super::written_checks::{WrittenCheck, all, by_service};
use super::{Context, Findings, Rule};
use crate::attach::{self, Family, is_link_local};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[via_and_another_way, no_way_to_vip, check_marks];

/// Most ways that are counted: above that, no pool of marks is large enough.
const MAX_WAYS: u64 = 1 << 32;

fn via_and_another_way(cx: &Context<'_>, out: &mut Findings) {
    for written in all(cx) {
        let check = written.check;
        // A default of all checks is meant for those that may go this way.
        if check.via != Via::Service || !check.kind.is_by_tcp() || written.is_by_default(cx, "via") {
            continue;
        }
        let others = [
            ("address", check.address.is_some()),
            ("source", check.source.is_some()),
            ("interface", check.interface.is_some()),
        ];
        for (key, _) in others.into_iter().filter(|(_, given)| *given) {
            if !written.knows(cx, &["type", "via", key]) || written.is_by_default(cx, key) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::VIA_AND_ANOTHER_WAY,
                    cx.key(&written.path(key)),
                    format!("{} goes through the service, and has `{key}`", written.words()),
                    "of another way",
                )
                .also(cx.value(&written.path("via")), "the way")
                .hint(format!("remove `{key}`, or `via`; what shall be asked besides is a check of its own")),
            );
        }
    }
}

/// Checks that go through a service, with it.
fn through<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, &'a Service, WrittenCheck<'a>)> {
    by_service(cx).filter(|(_, _, written)| written.check.is_through_service())
}

fn no_way_to_vip(cx: &Context<'_>, out: &mut Findings) {
    let mut told = BTreeSet::new();
    for (name, service, written) in through(cx) {
        let keys = ["type", "via", "address", "source", "interface"];
        if !written.knows(cx, &keys) || !told.insert((name, written.whole())) {
            continue;
        }
        let Some((router_name, router)) = cx.router_of(name, service) else { continue };
        if !cx.knows_vips(router_name) || !cx.knows_keys(name, &["vip", "vips", "firewall_mark", "family"]) {
            continue;
        }
        let vips = cx.client_vips(name, service);
        let usable = vips.iter().filter(|vip| !is_link_local(**vip));
        let families: BTreeSet<Family> = usable.map(|vip| Family::of(vip.0)).collect();
        // Otherwise it is not said, or not known, which VIPs the service has.
        if families.is_empty() && service.firewall_mark.is_some() {
            out.push(
                Diagnostic::new(
                    &codes::NO_WAY_TO_VIP,
                    cx.value(&written.path("via")),
                    format!("{} has no VIP to go to", written.words()),
                    "no VIP",
                )
                .also(cx.value(at!["services", name, "router"]), "has none of the service's family")
                .hint("give the virtual router a VIP of the service's family, or remove `via`"),
            );
            continue;
        }
        for (index, director) in cx.directors(router_name, router) {
            let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director.as_str()) else { continue };
            if !cx.knows_addresses(host_name) {
                continue;
            }
            let has = |family: Family| {
                let mut own = attach::addresses(host_name, host);
                own.any(|own| Family::of(own.ip.0) == family && !is_link_local(own.ip))
            };
            let Some(family) = families.iter().copied().find(|family| !has(*family)) else { continue };
            out.push(
                Diagnostic::new(
                    &codes::NO_WAY_TO_VIP,
                    cx.value(&written.path("via")),
                    format!(
                        "{} goes to an {family} VIP, and director `{host_name}` has no {family} address",
                        written.words()
                    ),
                    "has no address to come from",
                )
                .also(cx.value(at!["virtual_routers", router_name, "directors", index]), "the director")
                .hint(format!("add an {family} address to the director's `addresses`, or remove `via`")),
            );
            break;
        }
    }
}

fn check_marks(cx: &Context<'_>, out: &mut Findings) {
    let pool = cx.cluster.ipvs.check_marks;
    let path = at!["ipvs", "check_marks"];
    if !cx.knows_all(path) {
        return;
    }
    if pool.is_empty() {
        out.push(
            Diagnostic::new(
                &codes::CHECK_MARKS,
                cx.value(path),
                format!("the marks of checks end at {} and begin at {}", pool.last, pool.first),
                "ends before it begins",
            )
            .hint("let `last` be at least `first`"),
        );
        return;
    }
    let Some((_, _, written)) = through(cx).next() else { return };
    let place = || cx.value(&written.path("via"));
    for (name, service) in &cx.cluster.services {
        let mark = service.firewall_mark.filter(|_| cx.knows_keys(name, &["firewall_mark"]));
        let Some(mark) = mark.filter(|mark| pool.contains(*mark)) else { continue };
        out.push(
            Diagnostic::new(
                &codes::CHECK_MARKS,
                cx.value(at!["services", name, "firewall_mark"]),
                format!("service `{name}` takes mark {mark}, which is one of those of checks"),
                format!("among {} to {}", pool.first, pool.last),
            )
            .also(place(), "a check that needs marks")
            .hint(
                "take another mark, or other ones for checks: `[ipvs] check_marks = { first = …, last = … }`",
            ),
        );
    }
    let ways = ways(cx);
    if ways > pool.len() {
        out.push(
            Diagnostic::new(
                &codes::CHECK_MARKS,
                if cx.cluster.ipvs.check_marks == Default::default() { place() } else { cx.value(path) },
                format!("{ways} ways of checks need a mark each, and there are {}", pool.len()),
                "too few marks",
            )
            .hint("give `[ipvs] check_marks` a larger range"),
        );
    }
}

/// How many marks the checks need at most.
fn ways(cx: &Context<'_>) -> u64 {
    let mut ways: BTreeSet<(String, Option<Port>)> = BTreeSet::new();
    let mut ports: u64 = 0;
    for (name, service, written) in through(cx) {
        let vips = cx.client_vips(name, service);
        for member in cx.members(name).iter().filter(|member| written.holder.covers(member)) {
            let forwarding = member.forwarding(service);
            let tunnel = (forwarding == Forwarding::Tun).then_some(&service.tunnel);
            for vip in &vips {
                let address = member.address(&cx.subnets, *vip);
                let way = format!("{} {address} {forwarding:?} {tunnel:?}", vip.0.is_ipv6());
                let own = written.check.port.or(member.port());
                // Masquerade to each port of a range is a way of its own.
                if forwarding == Forwarding::Nat && own.is_none() {
                    let all = members::ports(service);
                    let number = |(_, first, last): (_, Port, Port)| u64::from(last.get() - first.get()) + 1;
                    ports = ports.saturating_add(all.map(number).sum::<u64>()).min(MAX_WAYS);
                } else {
                    ways.insert((way, own.filter(|_| forwarding == Forwarding::Nat)));
                }
            }
        }
    }
    ports.saturating_add(u64::try_from(ways.len()).unwrap_or(MAX_WAYS))
}
