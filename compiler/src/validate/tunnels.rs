//! EK05xx: forwarding by tunnel: what it is made of, and what it goes together with.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Forwarding, Tunnel, TunnelChecksum, TunnelType};
use evenkeel_schemas::scalars::{Ip, Name};

use super::forwarding::{family, reached_by};
use super::groups::syncs;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::Member;
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] = &[tunnel_unused, tunnel_key, two_checksums, other_family_synchronised];

fn tunnel_unused(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if service.tunnel == Tunnel::default() || cx.defaults_of_services_have("tunnel") {
            continue;
        }
        let Some(members) = cx.all_members(name, service) else { continue };
        let knows = |member: &Member<'_>| cx.knows_member(name, member, "forwarding");
        let known = cx.knows_keys(name, &["forwarding", "tunnel"])
            && cx.knows_all(at!["services", name, "sorry_server"])
            && members.iter().all(knows);
        let sorry = service.sorry_server.as_ref().and_then(|sorry| sorry.forwarding);
        let mut used = members.iter().map(|member| member.forwarding(service)).chain(sorry);
        if !known || used.any(|forwarding| forwarding == Forwarding::Tun) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::TUNNEL_UNUSED,
                cx.key(at!["services", name, "tunnel"]),
                format!("service `{name}` has a `tunnel`, but forwards by {}", service.forwarding),
                "has no effect",
            )
            .hint("write `forwarding = \"tun\"`, or remove `tunnel`"),
        );
    }
}

fn tunnel_key(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Tunnel { kind, port, checksum } = &service.tunnel;
        let path = |key: &'static str| -> [Step<'_>; 4] {
            [Step::Key("services"), Step::Key(name.as_str()), Step::Key("tunnel"), Step::Key(key)]
        };
        let (word, can) = match kind {
            TunnelType::Ipip => ("ipip", "`ipip` has neither port nor checksum"),
            TunnelType::Gue => continue,
            TunnelType::Gre => ("gre", "`gre` has no port, and its checksum is `none` or `full`"),
        };
        let wrong_checksum = match checksum {
            TunnelChecksum::None => None,
            TunnelChecksum::Full => (*kind == TunnelType::Ipip).then_some("`full`"),
            TunnelChecksum::Remote => Some("`remote`"),
        };
        let port = port.map(|port| ("port", format!("a port, {port}")));
        let checksum = wrong_checksum.map(|checksum| ("checksum", format!("checksum {checksum}")));
        for (key, what) in port.into_iter().chain(checksum) {
            if cx.knows(&path("type")) && cx.knows(&path(key)) {
                out.push(
                    Diagnostic::new(
                        &codes::TUNNEL_KEY,
                        cx.value(&path(key)),
                        format!("the tunnel of service `{name}` is of type {word} and has {what}"),
                        format!("not with {word}"),
                    )
                    .note(can)
                    .hint(format!("remove `{key}`, or write `type = \"gue\"`")),
                );
            }
        }
    }
}

/// The kernel has one interface for GRE at an address, and that takes packets of one kind.
fn two_checksums(cx: &Context<'_>, out: &mut Findings) {
    let mut first: BTreeMap<Ip, (bool, &Name)> = BTreeMap::new();
    for target in reached_by(cx, &[Forwarding::Tun]) {
        let (name, tunnel) = (target.service_name, &target.service.tunnel);
        if tunnel.kind != TunnelType::Gre || !cx.knows_all(at!["services", name, "tunnel"]) {
            continue;
        }
        let checksum = tunnel.checksum != TunnelChecksum::None;
        let words = |checksum| if checksum { "a checksum" } else { "no checksum" };
        let addresses: BTreeSet<Ip> =
            target.fronts.iter().filter_map(|vip| target.address(cx, *vip)).collect();
        for address in addresses {
            let (other, service) = *first.entry(address).or_insert((checksum, name));
            if other == checksum {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::GRE_TWO_CHECKSUMS,
                    cx.value(&target.named_at()),
                    format!(
                        "{} of service `{name}` gets GRE with {} at {address}, and with {} from service \
                        `{service}`",
                        target.words(),
                        words(checksum),
                        words(other)
                    ),
                    format!("with {} here", words(checksum)),
                )
                .also(cx.key(at!["services", service, "tunnel"]), format!("with {} here", words(other)))
                .hint("give both services the same `checksum`, or the host another address for one of them"),
            );
        }
    }
}

/// The kernel refuses destinations of the other family while a synchronisation runs, and the other way
/// round: what is synchronised has one family for both.
fn other_family_synchronised(cx: &Context<'_>, out: &mut Findings) {
    let mut synchronised: BTreeMap<&str, &Name> = BTreeMap::new();
    for (sync, _, router_name, router) in syncs(cx) {
        for (_, director) in cx.directors(router_name, router) {
            synchronised.entry(director).or_insert(sync);
        }
    }
    for target in reached_by(cx, &[Forwarding::Tun]) {
        let name = target.service_name;
        let Some((router_name, router)) = cx.router_of(name, target.service) else { continue };
        let mut directors = cx.directors(router_name, router);
        let Some((director, sync)) =
            directors.find_map(|(_, director)| Some((director, *synchronised.get(director.as_str())?)))
        else {
            continue;
        };
        let other = target.fronts.iter().find_map(|vip| {
            let address = target.address(cx, *vip)?;
            (address.0.is_ipv4() != vip.0.is_ipv4()).then_some((*vip, address))
        });
        let Some((vip, address)) = other else { continue };
        out.push(
            Diagnostic::new(
                &codes::OTHER_FAMILY_SYNCHRONISED,
                cx.value(&target.named_at()),
                format!(
                    "{} of {} service `{name}` is reached at {address}, and connections are synchronised",
                    target.words(),
                    family(vip)
                ),
                format!("{address} is {}", family(address)),
            )
            .also(
                cx.value(at!["connection_sync", sync, "router"]),
                format!("on director `{}`", director.escape_debug()),
            )
            .hint(format!(
                "give the host an {} address, or remove connection synchronisation `{sync}`",
                family(vip)
            )),
        );
    }
}
