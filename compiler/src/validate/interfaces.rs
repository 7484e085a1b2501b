//! EK03xx, fourth part: the interfaces, labels and gateways of hosts.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::Forwarding;
use evenkeel_schemas::scalars::{Ip, Name};

use super::{Context, Findings, Rule, duplicates, unusable};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::path::at;
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    loopback_interface,
    interface_twice,
    label_twice,
    gateway_elsewhere,
    gateway_is_own_vip,
    gateway_is_no_vip,
];

fn loopback_interface(cx: &Context<'_>, out: &mut Findings) {
    let mut report = |name, place| {
        out.push(
            Diagnostic::new(
                &codes::LOOPBACK_INTERFACE,
                place,
                format!("the interface of host `{name}` is the loopback"),
                "not on any segment",
            )
            .hint("name the network card that has the host's address, such as \"eth0\""),
        );
    };
    for (name, host) in &cx.cluster.hosts {
        if host.interface.as_str() == "lo" && cx.knows(at!["hosts", name, "interface"]) {
            report(name, cx.value(at!["hosts", name, "interface"]));
        }
        for interface in host.interfaces.keys().filter(|interface| interface.as_str() == "lo") {
            report(name, cx.key(at!["hosts", name, "interfaces", interface.as_str()]));
        }
    }
}

fn interface_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in &cx.cluster.hosts {
        if !host.interfaces.contains_key(&host.interface) || !cx.knows(at!["hosts", name, "interface"]) {
            continue;
        }
        let interface = &host.interface;
        out.push(
            Diagnostic::new(
                &codes::INTERFACE_TWICE,
                cx.key(at!["hosts", name, "interfaces", interface.as_str()]),
                format!("`interfaces` of host `{name}` names `{interface}`, which is its main interface"),
                "the main interface again",
            )
            .also(cx.value(at!["hosts", name, "interface"]), "the main interface")
            .hint("write further addresses of the main interface into `addresses`"),
        );
    }
}

fn label_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in &cx.cluster.hosts {
        let known = |index: &usize| cx.knows(at!["hosts", name, "labels", *index]);
        let labels = host.labels.iter().enumerate().filter(|(index, _)| known(index));
        duplicates(
            labels.map(|(index, label)| (label, (index, label))),
            |(index, _)| cx.value(at!["hosts", name, "labels", index]),
            |(_, first), ((_, label), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::HOST_LABEL_TWICE,
                        again,
                        format!("host `{name}` has the label `{label}` twice"),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("remove one of them, or correct it"),
                );
            },
        );
    }
}

/// The kernel refuses a gateway that is on no network of the host, and one that is the host itself.
fn gateway_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in &cx.cluster.hosts {
        let Some(gateway) = host.gateway.filter(|_| cx.knows(at!["hosts", name, "gateway"])) else {
            continue;
        };
        let own = cx.addresses_of(name, host).find(|address| address.ip == gateway);
        let (message, label, also) = if let Some(own) = own {
            (
                format!("the gateway of host `{name}` is the host itself"),
                "its own address".to_owned(),
                Some((cx.value(&own.path()), "own address")),
            )
        } else if let Some(kind) = unusable(gateway) {
            (format!("host `{name}` cannot have the gateway {gateway}"), kind.to_owned(), None)
        } else if cx.knows_addresses(name) && cx.knows_subnets() {
            let on = cx.segment(gateway);
            let mut addresses = cx.addresses_of(name, host);
            if addresses.any(|own| {
                cx.segment(own.ip).is_some_and(|segment| Some(segment) == on)
                    && own.ip.0.is_ipv4() == gateway.0.is_ipv4()
            }) {
                continue;
            }
            let label = match on {
                Some(segment) => format!("on segment `{segment}`"),
                None => "on no segment".to_owned(),
            };
            (
                format!("host `{name}` cannot reach its gateway {gateway}"),
                label,
                Some((cx.value(at!["hosts", name, "address"]), "the host's address")),
            )
        } else {
            continue;
        };
        let mut diagnostic = Diagnostic::new(
            &codes::GATEWAY_ELSEWHERE,
            cx.value(at!["hosts", name, "gateway"]),
            message,
            label,
        );
        if let Some((place, label)) = also {
            diagnostic = diagnostic.also(place, label);
        }
        out.push(
            diagnostic.hint("choose a VIP on a segment of the host, of a family that the host has there"),
        );
    }
}

/// The kernel refuses a gateway that is an address of the host: a VIP is one while the host is Master, and
/// on a real server by direct routing or tunnel all the time.
fn gateway_is_own_vip(cx: &Context<'_>, out: &mut Findings) {
    if cx.cluster.hosts.values().all(|host| host.gateway.is_none()) {
        return;
    }
    let mut accepted: BTreeMap<(&Name, Ip), Place> = BTreeMap::new();
    for (name, service) in &cx.cluster.services {
        let vips = cx.client_vips(name, service);
        let known = cx.knows(at!["services", name, "forwarding"]);
        for member in
            cx.members(name).iter().filter(|member| known && cx.knows_member(name, member, "forwarding"))
        {
            let holds = matches!(member.forwarding(service), Forwarding::Dr | Forwarding::Tun);
            let gateway = member.host.gateway.filter(|gateway| holds && vips.contains(gateway));
            if let Some(gateway) = gateway {
                accepted.entry((member.name, gateway)).or_insert_with(|| cx.value(&member.named_at(name)));
            }
        }
    }
    for (name, host) in &cx.cluster.hosts {
        let path = at!["hosts", name, "gateway"];
        let Some(gateway) = host.gateway.filter(|_| cx.knows(path)) else { continue };
        let claimed = cx.all_vips().filter(|vip| vip.ip == gateway).find_map(|vip| {
            let router = cx.cluster.virtual_routers.get(vip.router)?;
            let (index, _) =
                cx.directors(vip.router, router).find(|(_, director)| *director == name.as_str())?;
            Some(cx.value(at!["virtual_routers", vip.router, "directors", index]))
        });
        let (place, when) = match (claimed, accepted.remove(&(name, gateway))) {
            (Some(place), _) => (place, "a director of it"),
            (None, Some(place)) => (place, "accepts it as a real server"),
            (None, None) => continue,
        };
        out.push(
            Diagnostic::new(
                &codes::GATEWAY_IS_OWN_VIP,
                cx.value(path),
                format!("the gateway {gateway} of host `{name}` is a VIP that the host has itself"),
                "its own VIP",
            )
            .also(place, when)
            .hint("choose another VIP of the directors, or remove `gateway`"),
        );
    }
}

/// Of masqueraded real servers, whose gateways have rules of their own, nothing is said here.
fn gateway_is_no_vip(cx: &Context<'_>, out: &mut Findings) {
    let masqueraded: BTreeSet<&Name> = cx
        .cluster
        .services
        .iter()
        .filter(|(name, _)| cx.reaches_by(name, &[Forwarding::Nat]))
        .flat_map(|(name, service)| {
            cx.members(name).iter().filter(|member| member.forwarding(service) == Forwarding::Nat)
        })
        .map(|member| member.name)
        .collect();
    let all_known = ["services", "pools", "hosts"].iter().all(|section| cx.knows_all(at![*section]))
        && cx.settled
        && cx.knows_entries("virtual_routers")
        && cx.cluster.virtual_routers.keys().all(|name| cx.knows_vips(name));
    if !all_known {
        return;
    }
    let vips: BTreeSet<Ip> = cx.all_vips().map(|vip| vip.ip).collect();
    let mut by_segment: BTreeMap<_, Vec<Ip>> = BTreeMap::new();
    for vip in &vips {
        by_segment.entry(cx.segment(*vip)).or_default().push(*vip);
    }
    for (name, host) in cx.cluster.hosts.iter().filter(|(name, _)| !masqueraded.contains(name)) {
        let gateway = host.gateway.filter(|gateway| !vips.contains(gateway) && unusable(*gateway).is_none());
        let Some(gateway) = gateway.filter(|_| cx.knows(at!["hosts", name, "gateway"])) else {
            continue;
        };
        let own = cx.addresses_of(name, host).any(|own| own.ip == gateway);
        if own || !cx.knows_addresses(name) {
            continue;
        }
        let home = cx.segment_of_host(name.as_str());
        let near = home.and_then(|(_, segment)| by_segment.get(&Some(segment)));
        let hint = match near.and_then(list) {
            Some(vips) => format!("choose a VIP; on its segment: {vips}"),
            None => "choose a VIP that the directors share on its segment".to_owned(),
        };
        out.push(
            Diagnostic::new(
                &codes::GATEWAY_IS_NO_VIP,
                cx.value(at!["hosts", name, "gateway"]),
                format!("the gateway {gateway} of host `{name}` is not a VIP"),
                "does not move with the Master",
            )
            .hint(hint),
        );
    }
}
