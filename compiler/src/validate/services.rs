//! EK05xx: what a service is found by: VIPs, ports, protocol, firewall mark.
//!
//! How its packets travel is in `forwarding`, how they are shared out in `scheduling`, its health in
//! `checks` and `quorum`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Family, Protocol};
use evenkeel_schemas::scalars::{FirewallMark, Ip, Name, Port};

use super::{Context, Findings, Rule, duplicates};
use crate::attach::is_link_local;
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::members::{self, ports};
use crate::path::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    duplicate_service,
    vip_not_of_router,
    vip_ambiguous,
    service_ports,
    protocol_missing,
    mark_key,
    vip_and_vips,
    vip_twice,
    too_many_fronts,
    duplicate_mark,
    mark_without_vip,
    link_local_vip,
    family_without_mark,
];

/// Most virtual servers that one service may become: VIPs times ports.
const MAX_FRONTS: usize = 4096;

/// One range of ports of one VIP of a service.
#[derive(Clone, Copy)]
struct PortRange<'a> {
    service: &'a Name,
    /// Index in `ports`; `port` when there is none.
    index: Option<usize>,
    first: Port,
    last: Port,
}

impl PortRange<'_> {
    fn place(&self, cx: &Context<'_>) -> Place {
        match self.index {
            Some(index) => cx.value(at!["services", self.service, "ports", index]),
            None => cx.value(at!["services", self.service, "port"]),
        }
    }
}

fn duplicate_service(cx: &Context<'_>, out: &mut Findings) {
    let mut fronts: BTreeMap<(Ip, Protocol), Vec<PortRange<'_>>> = BTreeMap::new();
    for (name, service) in &cx.cluster.services {
        let Some(protocol) = service.protocol.filter(|_| cx.knows(at!["services", name, "protocol"])) else {
            continue;
        };
        // Two ways to say the port, and a VIP that is listed twice, have rules of their own.
        if service.port.is_some() && !service.ports.is_empty() {
            continue;
        }
        for vip in cx.vips_of_service(name, service).into_iter().collect::<BTreeSet<_>>() {
            let known = ports(service).filter(|(index, ..)| match index {
                Some(index) => cx.knows(at!["services", name, "ports", *index]),
                None => cx.knows(at!["services", name, "port"]),
            });
            let known = known.map(|(index, first, last)| PortRange { service: name, index, first, last });
            fronts.entry((vip, protocol)).or_default().extend(known);
        }
    }
    for ((vip, protocol), mut fronts) in fronts {
        fronts.sort_by_key(|front| (front.first, front.last));
        // Of all that begin before it the one that ends last.
        let mut widest: Option<PortRange<'_>> = None;
        for front in fronts {
            if let Some(other) = widest.filter(|other| other.last >= front.first) {
                let (a, b) = ((other, other.place(cx)), (front, front.place(cx)));
                let ((first, first_place), (again, again_place)) =
                    if a.1.start <= b.1.start { (a, b) } else { (b, a) };
                let port = front.first;
                let message = if first.service == again.service {
                    format!("service `{}` has {protocol} {vip}:{port} twice", again.service)
                } else {
                    format!(
                        "services `{}` and `{}` are both {protocol} {vip}:{port}",
                        first.service, again.service
                    )
                };
                out.push(
                    Diagnostic::new(
                        &codes::DUPLICATE_SERVICE,
                        again_place,
                        message,
                        format!("`{}`", again.service),
                    )
                    .also(first_place, format!("`{}`", first.service))
                    .hint("put the real servers of both into one service, or change a port or VIP"),
                );
            }
            if widest.is_none_or(|other| other.last < front.last) {
                widest = Some(front);
            }
        }
    }
}

fn vip_not_of_router(cx: &Context<'_>, out: &mut Findings) {
    let owners: BTreeMap<Ip, &Name> = cx.vips().map(|(router, _, vip)| (vip, router)).collect();
    for (name, service) in &cx.cluster.services {
        let Some((router_name, router)) = cx.router_of(name, service) else {
            continue;
        };
        let listed = |key: &str| cx.knows_all(at!["virtual_routers", router_name, key]);
        if !listed("vips") || !listed("unadvertised_vips") {
            continue;
        }
        let mut judge = |vip: Ip, path: &[Step<'_>]| {
            if !cx.knows(path) || router.vips.contains(&vip) || router.unadvertised_vips.contains(&vip) {
                return;
            }
            let hint = match owners.get(&vip) {
                Some(owner) => format!("{vip} is a VIP of `{owner}`: write `router = \"{owner}\"`"),
                None => {
                    let all = router.vips.iter().chain(&router.unadvertised_vips);
                    format!("its VIPs: {}", list(all).unwrap_or_default())
                }
            };
            out.push(
                Diagnostic::new(
                    &codes::VIP_NOT_OF_ROUTER,
                    cx.value(path),
                    format!("VIP {vip} of service `{name}` is not one of `{router_name}`"),
                    "not a VIP of its router",
                )
                .also(
                    cx.value(at!["virtual_routers", router_name, "vips"]),
                    format!("the VIPs of `{router_name}`"),
                )
                .hint(hint),
            );
        };
        if let Some(vip) = service.vip {
            judge(vip, at!["services", name, "vip"]);
        }
        for (index, vip) in service.vips.iter().enumerate() {
            judge(*vip, at!["services", name, "vips", index]);
        }
    }
}

fn vip_ambiguous(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let (None, Some((router_name, router))) = (service.vip, cx.router_of(name, service)) else {
            continue;
        };
        if !service.vips.is_empty() || service.firewall_mark.is_some() {
            continue;
        }
        let known = ["vip", "vips", "firewall_mark"].iter().all(|key| cx.knows(at!["services", name, *key]))
            && cx.knows(at!["virtual_routers", router_name, "vips"]);
        if router.vips.len() > 1 && known {
            let mut vips = cx.vips_of(router_name, router).map(|(_, vip)| vip);
            let hint = match (vips.next(), vips.next()) {
                (Some(first), Some(second)) => format!(
                    "add `vip = \"{first}\"`, or another of them, to the service; for several add `vips = \
                     [\"{first}\", \"{second}\"]`"
                ),
                (Some(first), None) => {
                    format!("add `vip = \"{first}\"`, or `vips = […]` for several, to the service")
                }
                (None, _) => "add `vip = …`, or `vips = […]` for several, to the service".to_owned(),
            };
            out.push(
                Diagnostic::new(
                    &codes::VIP_AMBIGUOUS,
                    cx.value(at!["services", name, "router"]),
                    format!("service `{name}` does not say which VIP of `{router_name}` it uses"),
                    format!("this router has {} VIPs", router.vips.len()),
                )
                .also(cx.value(at!["virtual_routers", router_name, "vips"]), "one of these")
                .hint(hint),
            );
        }
    }
}

fn service_ports(cx: &Context<'_>, out: &mut Findings) {
    const KEYS: [&str; 3] = ["port", "ports", "firewall_mark"];
    for (name, service) in &cx.cluster.services {
        if !cx.knows_keys(name, &KEYS) {
            continue;
        }
        let given = [service.port.is_some(), !service.ports.is_empty(), service.firewall_mark.is_some()];
        let mut given: Vec<(&str, Place)> = KEYS
            .into_iter()
            .zip(given)
            .filter(|(_, given)| *given)
            .map(|(key, _)| (key, cx.key(at!["services", name, key])))
            .collect();
        given.sort_by_key(|(_, place)| place.start);
        match given.as_slice() {
            [_] => {}
            [] => out.push(
                Diagnostic::new(
                    &codes::SERVICE_PORTS,
                    cx.key(at!["services", name]),
                    format!("service `{name}` does not say which port it has"),
                    "no `port`, `ports` or `firewall_mark`",
                )
                .hint("add `port = 80`, or `ports = [\"80\", \"443\"]`"),
            ),
            [(first, first_place), (again, again_place), ..] => out.push(
                Diagnostic::new(
                    &codes::SERVICE_PORTS,
                    again_place.clone(),
                    format!("service `{name}` has both `{first}` and `{again}`"),
                    "only one can count",
                )
                .also(first_place.clone(), "the other one")
                .hint(if service.firewall_mark.is_some() {
                    "keep `firewall_mark` and let the firewall choose the ports, or remove it"
                } else {
                    "write all ports into `ports`"
                }),
            ),
        }
    }
}

fn protocol_missing(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = cx.knows_keys(name, &["protocol", "firewall_mark"]);
        if known && service.protocol.is_none() && service.firewall_mark.is_none() {
            out.push(
                Diagnostic::new(
                    &codes::PROTOCOL_MISSING,
                    cx.key(at!["services", name]),
                    format!("service `{name}` does not say its protocol"),
                    "no `protocol`",
                )
                .hint("add `protocol = \"tcp\"`, or `\"udp\"` or `\"sctp\"`"),
            );
        }
    }
}

fn mark_key(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(mark) = service.firewall_mark else { continue };
        let given = [
            ("vip", service.vip.is_some()),
            ("vips", !service.vips.is_empty()),
            ("protocol", service.protocol.is_some()),
        ];
        for (key, given) in given {
            if !given || !cx.knows_keys(name, &["firewall_mark", key]) || cx.defaults_of_services_have(key) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::MARK_KEY,
                    cx.key(at!["services", name, key]),
                    format!("service `{name}` has a firewall mark, so its `{key}` means nothing"),
                    "has no effect",
                )
                .also(
                    cx.value(at!["services", name, "firewall_mark"]),
                    format!("takes every packet with mark {mark}"),
                )
                .hint(format!(
                    "remove `{key}`, and give the firewall's rule that sets the mark this condition"
                )),
            );
        }
    }
}

fn vip_and_vips(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if service.vip.is_some() && !service.vips.is_empty() && cx.knows_keys(name, &["vip", "vips"]) {
            out.push(
                Diagnostic::new(
                    &codes::VIP_AND_VIPS,
                    cx.key(at!["services", name, "vips"]),
                    format!("service `{name}` has both `vip` and `vips`"),
                    "several VIPs",
                )
                .also(cx.key(at!["services", name, "vip"]), "one VIP")
                .hint("write all into `vips`"),
            );
        }
    }
}

fn vip_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = |index: &usize| cx.knows(at!["services", name, "vips", *index]);
        let vips = service.vips.iter().enumerate().filter(|(index, _)| known(index));
        duplicates(
            vips.map(|(index, vip)| (*vip, (index, *vip))),
            |(index, _)| cx.value(at!["services", name, "vips", index]),
            |(_, first), ((_, vip), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::VIP_TWICE,
                        again,
                        format!("VIP {vip} is listed twice in service `{name}`"),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("remove one of them, or write the VIP that was meant"),
                );
            },
        );
    }
}

fn too_many_fronts(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = ["vip", "vips", "ports"].iter().all(|key| cx.knows_all(at!["services", name, *key]));
        let Some((_, router)) = cx.router_of(name, service).filter(|_| known) else {
            continue;
        };
        let vips = members::vips(service, &router.vips).len();
        let ports: usize =
            ports(service).map(|(_, first, last)| usize::from(last.get() - first.get()) + 1).sum();
        // Of two VIPs that are not chosen yet it will be one.
        let (vips, count) = (vips.max(1), vips.max(1) * ports);
        if count > MAX_FRONTS {
            out.push(
                Diagnostic::new(
                    &codes::TOO_MANY_FRONTS,
                    cx.value(at!["services", name, "ports"]),
                    format!(
                        "service `{name}` becomes {count} virtual servers: {vips} VIPs with {ports} ports"
                    ),
                    format!("more than {MAX_FRONTS}"),
                )
                .hint("mark these packets in the firewall and use `firewall_mark`"),
            );
        }
    }
}

fn duplicate_mark(cx: &Context<'_>, out: &mut Findings) {
    // By director, because only there they meet.
    let mut marks: BTreeMap<(FirewallMark, Family, &str), &Name> = BTreeMap::new();
    for (name, service) in &cx.cluster.services {
        let (Some(mark), Some((router_name, router))) = (service.firewall_mark, cx.router_of(name, service))
        else {
            continue;
        };
        if !cx.knows_keys(name, &["firewall_mark", "family"]) {
            continue;
        }
        let mut other: Option<(&Name, &str)> = None;
        for (_, director) in cx.directors(router_name, router) {
            match marks.entry((mark, service.family, director.as_str())) {
                Entry::Vacant(entry) => _ = entry.insert(name),
                Entry::Occupied(entry) if *entry.get() != name => {
                    other = other.or(Some((entry.get(), director)));
                }
                Entry::Occupied(_) => {}
            }
        }
        let Some((other, director)) = other else { continue };
        let place = |name: &Name| (name.clone(), cx.value(at!["services", name, "firewall_mark"]));
        let (a, b) = (place(other), place(name));
        let (first, again) = if a.1.start <= b.1.start { (a, b) } else { (b, a) };
        out.push(
            Diagnostic::new(
                &codes::DUPLICATE_MARK,
                again.1,
                format!("services `{}` and `{}` both have firewall mark {mark}", first.0, again.0),
                format!("`{}`", again.0),
            )
            .also(first.1, format!("`{}`", first.0))
            .note(format!("both are on director `{}`", director.escape_debug()))
            .hint("give one of them another mark, here and in the firewall"),
        );
    }
}

fn link_local_vip(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if service.firewall_mark.is_some() || !cx.knows(at!["services", name, "firewall_mark"]) {
            continue;
        }
        let vips = cx.vips_of_service(name, service);
        let Some(vip) = vips.iter().find(|vip| is_link_local(**vip)) else { continue };
        let position = service.vips.iter().position(|listed| listed == vip);
        let path = match (&service.vip, position) {
            (Some(_), _) => at!["services", name, "vip"].to_vec(),
            (None, Some(index)) => at!["services", name, "vips", index].to_vec(),
            (None, None) => at!["services", name, "router"].to_vec(),
        };
        out.push(
            Diagnostic::new(
                &codes::LINK_LOCAL_VIP,
                cx.value(&path),
                format!("service `{name}` balances the link-local VIP {vip}"),
                "on every segment the same",
            )
            .hint("balance a VIP of a subnet; the link-local one is for the advertisements"),
        );
    }
}

fn mark_without_vip(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let (Some(mark), Some((router_name, router))) = (service.firewall_mark, cx.router_of(name, service))
        else {
            continue;
        };
        let v6 = service.family == Family::Ipv6;
        let mut vips = router.vips.iter().chain(&router.unadvertised_vips);
        if !cx.knows_keys(name, &["firewall_mark", "family"])
            || !cx.knows_vips(router_name)
            || vips.any(|vip| vip.0.is_ipv6() == v6)
        {
            continue;
        }
        let family = if v6 { "IPv6" } else { "IPv4" };
        out.push(
            Diagnostic::new(
                &codes::MARK_WITHOUT_VIP,
                cx.value(at!["services", name, "firewall_mark"]),
                format!(
                    "service `{name}` takes {family} packets with mark {mark}, and `{router_name}` has \
                    no {family} VIP"
                ),
                "for no VIP",
            )
            .also(cx.value(at!["virtual_routers", router_name, "vips"]), "the VIPs")
            .hint(format!(
                "give `{router_name}` an {family} VIP, or `family = \"{}\"` to the service",
                if v6 { Family::Ipv4 } else { Family::Ipv6 }
            )),
        );
    }
}

fn family_without_mark(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = cx.knows_keys(name, &["firewall_mark", "family"]);
        if service.family != Family::default()
            && service.firewall_mark.is_none()
            && known
            && !cx.defaults_of_services_have("family")
        {
            out.push(
                Diagnostic::new(
                    &codes::FAMILY_WITHOUT_MARK,
                    cx.key(at!["services", name, "family"]),
                    format!("service `{name}` has a `family`, but no firewall mark"),
                    "has no effect",
                )
                .hint("remove `family`: the VIP shows it"),
            );
        }
    }
}
