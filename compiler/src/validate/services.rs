//! EK05xx: services and their checks. EK06xx: policy.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Check, CheckType, Forwarding, Protocol, Service};
use evenkeel_schemas::scalars::{Ip, Name, Port};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::members::{Member, ports};
use crate::parse::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    duplicate_service,
    vip_not_of_router,
    vip_ambiguous,
    fixed_port,
    real_server_elsewhere,
    real_server_is_director,
    tcp_check_on_udp,
    all_weights_zero,
    zero_check_time,
    resync_too_short,
];

/// Shortest time between two resyncs.
const MIN_RESYNC_MILLIS: u32 = 1000;

/// One range of ports of one VIP of a service.
#[derive(Clone, Copy)]
struct Front<'a> {
    service: &'a Name,
    /// Index in `ports`; `port` when there is none.
    index: Option<usize>,
    first: Port,
    last: Port,
}

impl Front<'_> {
    fn place(&self, cx: &Context<'_>) -> Place {
        match self.index {
            Some(index) => cx.value(at!["services", self.service, "ports", index]),
            None => cx.value(at!["services", self.service, "port"]),
        }
    }
}

fn duplicate_service(cx: &Context<'_>, out: &mut Findings) {
    let mut fronts: BTreeMap<(Ip, Protocol), Vec<Front<'_>>> = BTreeMap::new();
    for (name, service) in &cx.cluster.services {
        let Some(protocol) = service.protocol.filter(|_| cx.knows(at!["services", name, "protocol"])) else {
            continue;
        };
        for vip in cx.vips_of_service(name, service) {
            let known = ports(service).filter(|(index, ..)| match index {
                Some(index) => cx.knows(at!["services", name, "ports", *index]),
                None => cx.knows(at!["services", name, "port"]),
            });
            let known = known.map(|(index, first, last)| Front { service: name, index, first, last });
            fronts.entry((vip, protocol)).or_default().extend(known);
        }
    }
    for ((vip, protocol), mut fronts) in fronts {
        fronts.sort_by_key(|front| (front.first, front.last));
        // Of all that begin before it the one that ends last.
        let mut widest: Option<Front<'_>> = None;
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
        if !service.vips.is_empty() || service.firewall_mark.is_some() {
            continue;
        }
        let known = ["vip", "vips", "firewall_mark"].iter().all(|key| cx.knows(at!["services", name, *key]))
            && cx.knows(at!["virtual_routers", router_name, "vips"]);
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

/// Members reached by `forwarding`, with their services, where that is known.
fn reached_by<'c>(
    cx: &'c Context<'_>,
    forwarding: &'c [Forwarding],
) -> impl Iterator<Item = (&'c Name, &'c Service, &'c Member<'c>)> {
    cx.cluster.services.iter().flat_map(move |(name, service)| {
        let known = cx.knows(at!["services", name, "forwarding"]);
        let members = cx.members(name).iter().filter(move |member| {
            known
                && cx.knows_member(name, member, "forwarding")
                && forwarding.contains(&member.forwarding(service))
        });
        members.map(move |member| (name, service, member))
    })
}

fn fixed_port(cx: &Context<'_>, out: &mut Findings) {
    for (name, service, member) in reached_by(cx, &[Forwarding::Dr, Forwarding::Tun]) {
        let (Some(port), Some(own)) = (member.port(), service.port) else {
            continue;
        };
        if port == own || !cx.knows(at!["services", name, "port"]) || !cx.knows_member(name, member, "port") {
            continue;
        }
        let forwarding = member.forwarding(service);
        out.push(
            Diagnostic::new(
                &codes::DR_PORT,
                cx.value(&member.path(name, "port")),
                format!("{forwarding} cannot change port {own} of service `{name}` to {port}"),
                format!("`{}` would still get port {own}", member.name),
            )
            .also(cx.value(at!["services", name, "port"]), "the service's port")
            .hint(format!("remove this `port` and let the real server listen on {own}")),
        );
    }
}

fn real_server_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for (name, service, member) in reached_by(cx, &[Forwarding::Dr]) {
        let Some((vip, home)) =
            cx.vips_of_service(name, service).into_iter().find_map(|vip| Some((vip, cx.segment(vip)?)))
        else {
            continue;
        };
        if !cx.knows_member(name, member, "address") || !cx.knows_all(at!["hosts", member.name]) {
            continue;
        }
        let Some(segment) = cx.segment(member.address(vip)).filter(|segment| *segment != home) else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::REAL_SERVER_ELSEWHERE,
                cx.value(&member.named_at(name)),
                format!(
                    "real server `{}` of service `{name}` is not on segment `{home}`, where its VIP {vip} is",
                    member.name
                ),
                format!("on segment `{segment}`"),
            )
            .hint(format!(
                "direct routing needs real servers on the VIP's own segment: choose hosts on `{home}`"
            )),
        );
    }
}

fn real_server_is_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, service, member) in reached_by(cx, &[Forwarding::Dr, Forwarding::Tun, Forwarding::Nat]) {
        let Some((router_name, router)) = cx.router_of(name, service) else {
            continue;
        };
        let mut directors = cx.directors(router_name, router);
        let Some((director, _)) = directors.find(|(_, director)| *director == member.name.as_str()) else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::REAL_SERVER_IS_DIRECTOR,
                cx.value(&member.named_at(name)),
                format!(
                    "host `{}` is a real server of service `{name}` and a director of its router `{router_name}`",
                    member.name
                ),
                "a real server here",
            )
            .also(cx.value(at!["virtual_routers", router_name, "directors", director]), "a director here")
            .hint("use other hosts as real servers"),
        );
    }
}

/// The checks of a service, with where each is written.
pub(super) fn checks(service: &Service) -> impl Iterator<Item = (CheckAt, &Check)> {
    let first = service.check.iter().map(|check| (CheckAt(None), check));
    first.chain(service.checks.iter().enumerate().map(|(index, check)| (CheckAt(Some(index)), check)))
}

/// Where a check is written: `check`, or an item of `checks`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckAt(Option<usize>);

impl CheckAt {
    /// Path of a key of the check.
    pub(super) fn path<'p>(self, service: &'p Name, key: &'p str) -> Vec<Step<'p>> {
        let mut path = vec![Step::Key("services"), Step::Key(service.as_str())];
        match self.0 {
            None => path.push(Step::Key("check")),
            Some(index) => path.extend([Step::Key("checks"), Step::Index(index)]),
        }
        path.push(Step::Key(key));
        path
    }
}

fn tcp_check_on_udp(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if service.protocol != Some(Protocol::Udp) || !cx.knows(at!["services", name, "protocol"]) {
            continue;
        }
        for (at, check) in checks(service) {
            let by_tcp =
                matches!(check.kind, CheckType::Tcp | CheckType::Http | CheckType::Https | CheckType::Smtp);
            if !by_tcp
                || check.port.is_some()
                || !cx.knows(&at.path(name, "type"))
                || !cx.knows(&at.path(name, "port"))
            {
                continue;
            }
            let port = match service.port.filter(|_| cx.knows(at!["services", name, "port"])) {
                Some(port) => format!(" to port {port}"),
                None => String::new(),
            };
            out.push(
                Diagnostic::new(
                    &codes::TCP_CHECK_ON_UDP,
                    cx.value(&at.path(name, "type")),
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
        let members = cx.all_members(name, service).unwrap_or_default();
        if !members.is_empty() && members.iter().all(|member| member.weight().get() == 0) {
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
        for (at, check) in checks(service) {
            for (key, span) in [("interval", check.interval), ("timeout", check.timeout)] {
                if span.as_millis() == 0 && cx.knows(&at.path(name, key)) {
                    out.push(
                        Diagnostic::new(
                            &codes::ZERO_CHECK_TIME,
                            cx.value(&at.path(name, key)),
                            format!("the {key} of the check of service `{name}` is zero"),
                            "must be longer than 0s",
                        )
                        .hint(format!("the default is `{key} = \"5s\"`")),
                    );
                }
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
