//! EK05xx: services and their checks. EK06xx: policy.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Check, Forwarding, Protocol, Service};
use evenkeel_schemas::scalars::{Ip, Name};

use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::at;
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    duplicate_service,
    vip_not_of_router,
    vip_ambiguous,
    dr_port,
    real_server_elsewhere,
    real_server_is_director,
    tcp_check_on_udp,
    all_weights_zero,
    zero_check_time,
    resync_too_short,
];

/// Shortest time between two resyncs.
const MIN_RESYNC_MILLIS: u32 = 1000;

fn duplicate_service(cx: &Context<'_>, out: &mut Findings) {
    let known = |name, key: &str| cx.knows(at!["services", name, key]);
    duplicates(
        cx.cluster.services.iter().filter_map(|(name, service)| {
            let key = (cx.vip_of(name, service)?, service.protocol, service.port);
            (known(name, "protocol") && known(name, "port")).then_some((key, (name, key)))
        }),
        |(name, _)| cx.value(at!["services", name, "port"]),
        |((other, _), first), ((name, (vip, protocol, port)), again)| {
            out.push(
                Diagnostic::new(
                    &codes::DUPLICATE_SERVICE,
                    again,
                    format!("services `{other}` and `{name}` are both {protocol} {vip}:{port}"),
                    format!("`{name}`"),
                )
                .also(first, format!("`{other}`"))
                .hint("put the real servers of both into one service, or change a port or VIP"),
            );
        },
    );
}

fn vip_not_of_router(cx: &Context<'_>, out: &mut Findings) {
    let owners: BTreeMap<Ip, &Name> = cx.vips().map(|(router, _, vip)| (vip, router)).collect();
    for (name, service) in &cx.cluster.services {
        let (Some(vip), Some((router_name, router))) = (service.vip, cx.router_of(name, service)) else {
            continue;
        };
        let known = cx.knows(at!["services", name, "vip"])
            && cx.knows_all(at!["virtual_routers", router_name, "vips"]);
        if !known || router.vips.contains(&vip) {
            continue;
        }
        let hint = match owners.get(&vip) {
            Some(owner) => format!("{vip} is a VIP of `{owner}`: write `router = \"{owner}\"`"),
            None => format!("its VIPs: {}", list(&router.vips).unwrap_or_default()),
        };
        out.push(
            Diagnostic::new(
                &codes::VIP_NOT_OF_ROUTER,
                cx.value(at!["services", name, "vip"]),
                format!("VIP {vip} of service `{name}` is not one of `{router_name}`"),
                "not a VIP of its router",
            )
            .also(
                cx.value(at!["virtual_routers", router_name, "vips"]),
                format!("the VIPs of `{router_name}`"),
            )
            .hint(hint),
        );
    }
}

fn vip_ambiguous(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let (None, Some((router_name, router))) = (service.vip, cx.router_of(name, service)) else {
            continue;
        };
        let known =
            cx.knows(at!["services", name, "vip"]) && cx.knows(at!["virtual_routers", router_name, "vips"]);
        if router.vips.len() > 1 && known {
            let vip = match cx.vips_of(router_name, router).next() {
                Some((_, vip)) => format!("vip = \"{vip}\""),
                None => "vip = …".to_owned(),
            };
            out.push(
                Diagnostic::new(
                    &codes::VIP_AMBIGUOUS,
                    cx.value(at!["services", name, "router"]),
                    format!("service `{name}` does not say which VIP of `{router_name}` it uses"),
                    format!("this router has {} VIPs", router.vips.len()),
                )
                .also(cx.value(at!["virtual_routers", router_name, "vips"]), "one of these")
                .hint(format!("add `{vip}`, or another of them, to the service")),
            );
        }
    }
}

/// Services with direct routing.
fn direct<'a>(cx: &'a Context<'_>) -> impl Iterator<Item = (&'a Name, &'a Service)> {
    cx.cluster.services.iter().filter(|(name, service)| {
        let Forwarding::Dr = service.forwarding;
        cx.knows(at!["services", name, "forwarding"])
    })
}

/// Whether the real server at `index` of a service has a known `key`.
fn knows_server(cx: &Context<'_>, service: &Name, index: usize, key: &str) -> bool {
    cx.knows(at!["services", service, "real_servers", index, key])
}

fn dr_port(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in direct(cx).filter(|(name, _)| cx.knows(at!["services", name, "port"])) {
        for (index, server) in service.real_servers.iter().enumerate() {
            let Some(port) = server.port.filter(|port| *port != service.port) else {
                continue;
            };
            if !knows_server(cx, name, index, "port") {
                continue;
            }
            let host = match knows_server(cx, name, index, "host") {
                true => format!("`{}`", server.host.escape_debug()),
                false => "the real server".to_owned(),
            };
            out.push(
                Diagnostic::new(
                    &codes::DR_PORT,
                    cx.value(at!["services", name, "real_servers", index, "port"]),
                    format!(
                        "direct routing cannot change port {} of service `{name}` to {port}",
                        service.port
                    ),
                    format!("{host} would still get port {}", service.port),
                )
                .also(cx.value(at!["services", name, "port"]), "the service's port")
                .hint(format!("remove this `port` and let the real server listen on {}", service.port)),
            );
        }
    }
}

fn real_server_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in direct(cx) {
        let Some((vip, home)) = cx.vip_of(name, service).and_then(|vip| Some((vip, cx.segment(vip)?))) else {
            continue;
        };
        for (index, server) in service.real_servers.iter().enumerate() {
            let segment = cx.segment_of_host(&server.host).map(|(_, segment)| segment);
            let Some(segment) = segment.filter(|segment| *segment != home) else {
                continue;
            };
            if !knows_server(cx, name, index, "host") {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::REAL_SERVER_ELSEWHERE,
                    cx.value(at!["services", name, "real_servers", index, "host"]),
                    format!(
                        "real server `{}` of service `{name}` is not on segment `{home}`, where its VIP {vip} is",
                        server.host
                    ),
                    format!("on segment `{segment}`"),
                )
                .hint(format!(
                    "direct routing needs real servers on the VIP's own segment: choose hosts on `{home}`"
                )),
            );
        }
    }
}

fn real_server_is_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in direct(cx) {
        let Some((router_name, router)) = cx.router_of(name, service) else {
            continue;
        };
        for (index, server) in service.real_servers.iter().enumerate() {
            let mut directors = cx.directors(router_name, router);
            let Some((director, _)) = directors.find(|(_, director)| **director == server.host) else {
                continue;
            };
            if !knows_server(cx, name, index, "host") {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::REAL_SERVER_IS_DIRECTOR,
                    cx.value(at!["services", name, "real_servers", index, "host"]),
                    format!(
                        "host `{}` is a real server of service `{name}` and a director of its router `{router_name}`",
                        server.host.escape_debug()
                    ),
                    "a real server here",
                )
                .also(cx.value(at!["virtual_routers", router_name, "directors", director]), "a director here")
                .hint("with direct routing use other hosts as real servers"),
            );
        }
    }
}

fn tcp_check_on_udp(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(Check::Tcp { port: None, .. }) = service.check else {
            continue;
        };
        let known = cx.knows(at!["services", name, "protocol"])
            && cx.knows(at!["services", name, "check", "type"])
            && cx.knows(at!["services", name, "check", "port"]);
        if service.protocol == Protocol::Udp && known {
            let port = match cx.knows(at!["services", name, "port"]) {
                true => format!(" to port {}", service.port),
                false => String::new(),
            };
            out.push(
                Diagnostic::new(
                    &codes::TCP_CHECK_ON_UDP,
                    cx.value(at!["services", name, "check", "type"]),
                    format!("service `{name}` is UDP, but its check connects by TCP{port}"),
                    "a TCP check",
                )
                .also(cx.value(at!["services", name, "protocol"]), "a UDP service")
                .hint("give the check the `port` of something that listens on TCP, or remove the check"),
            );
        }
    }
}

fn all_weights_zero(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let mut servers = service.real_servers.iter().enumerate();
        if servers.all(|(index, server)| server.weight.get() == 0 && knows_server(cx, name, index, "weight"))
        {
            out.push(
                Diagnostic::new(
                    &codes::ALL_WEIGHTS_ZERO,
                    cx.key(at!["services", name, "real_servers"]),
                    format!("every real server of service `{name}` has weight 0"),
                    "no new connection is accepted",
                )
                .hint("raise a `weight`, unless the whole service is to be drained"),
            );
        }
    }
}

fn zero_check_time(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(Check::Tcp { interval, timeout, .. }) = service.check else {
            continue;
        };
        for (key, span) in [("interval", interval), ("timeout", timeout)] {
            if span.as_millis() == 0 && cx.knows(at!["services", name, "check", key]) {
                out.push(
                    Diagnostic::new(
                        &codes::ZERO_CHECK_TIME,
                        cx.value(at!["services", name, "check", key]),
                        format!("the {key} of the check of service `{name}` is zero"),
                        "must be longer than 0s",
                    )
                    .hint(format!("the default is `{key} = \"5s\"`")),
                );
            }
        }
    }
}

fn resync_too_short(cx: &Context<'_>, out: &mut Findings) {
    let resync = cx.cluster.policy.resync;
    if resync.as_millis() < MIN_RESYNC_MILLIS && cx.knows(at!["policy", "resync"]) {
        out.push(
            Diagnostic::new(
                &codes::RESYNC_TOO_SHORT,
                cx.value(at!["policy", "resync"]),
                format!("`policy.resync` is {resync}"),
                "must be at least 1s",
            )
            .hint("the default is `resync = \"5s\"`"),
        );
    }
}
