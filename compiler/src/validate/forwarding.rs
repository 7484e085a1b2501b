//! EK05xx: how packets reach real servers and sorry servers, and how answers come back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use evenkeel_schemas::cluster::{Family, Forwarding, Host, Service, VirtualRouter};
use evenkeel_schemas::scalars::{Ip, Name, Port};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::{Member, Path, address_of, ports};
use crate::path::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    fixed_port,
    real_server_elsewhere,
    real_server_is_director,
    real_server_family,
    nat_gateway,
    nat_same_segment,
];

/// Target of a service's packets: a real server, or the sorry server.
pub(super) struct ForwardTarget<'a> {
    pub(super) service_name: &'a Name,
    pub(super) service: &'a Service,
    /// The known VIPs of the service; for one by firewall mark an address of its family.
    pub(super) fronts: Rc<[Ip]>,
    forwarding: Forwarding,
    host: Option<(&'a Name, &'a Host)>,
    port: Option<Port>,
    from: From<'a>,
}

enum From<'a> {
    RealServer(&'a Member<'a>),
    SorryServer(Option<Ip>),
}

impl<'a> ForwardTarget<'a> {
    /// Role and name.
    pub(super) fn words(&self) -> String {
        match (self.host, &self.from) {
            (Some((host, _)), From::RealServer(_)) => format!("real server `{host}`"),
            (Some((host, _)), From::SorryServer(_)) => format!("sorry server `{host}`"),
            (None, From::SorryServer(Some(address))) => format!("sorry server {address}"),
            (None, From::RealServer(_) | From::SorryServer(None)) => "its sorry server".to_owned(),
        }
    }

    /// Path of what names it.
    pub(super) fn named_at(&self) -> Path<'_> {
        match &self.from {
            From::RealServer(member) => member.named_at(self.service_name),
            From::SorryServer(address) => self.sorry_path(if address.is_some() { "address" } else { "host" }),
        }
    }

    fn path<'p>(&'p self, key: &'p str) -> Path<'p> {
        match &self.from {
            From::RealServer(member) => member.path(self.service_name, key),
            From::SorryServer(_) => self.sorry_path(key),
        }
    }

    fn sorry_path<'p>(&'p self, key: &'p str) -> Path<'p> {
        vec![
            Step::Key("services"),
            Step::Key(self.service_name.as_str()),
            Step::Key("sorry_server"),
            Step::Key(key),
        ]
    }

    fn knows(&self, cx: &Context<'_>, key: &str) -> bool {
        match &self.from {
            From::RealServer(member) => cx.knows_member(self.service_name, member, key),
            From::SorryServer(_) => cx.knows_all(at!["services", self.service_name, "sorry_server"]),
        }
    }

    /// Address for a VIP, when that is known.
    pub(super) fn address(&self, cx: &Context<'_>, vip: Ip) -> Option<Ip> {
        if !self.knows(cx, "address") || !self.host.is_none_or(|(name, _)| cx.knows_all(at!["hosts", name])) {
            return None;
        }
        match &self.from {
            From::RealServer(member) => Some(member.address(&cx.subnets, vip)),
            From::SorryServer(Some(address)) => Some(*address),
            From::SorryServer(None) => self.host.map(|(_, host)| address_of(host, &cx.subnets, vip)),
        }
    }
}

/// The sorry server of a service, when it is known and there.
fn sorry_server<'a>(
    cx: &Context<'a>,
    name: &'a Name,
    service: &'a Service,
    fronts: &Rc<[Ip]>,
) -> Option<ForwardTarget<'a>> {
    let sorry = service.sorry_server.as_ref()?;
    let host = match (&sorry.host, sorry.address) {
        (Some(host), None) => Some(cx.cluster.hosts.get_key_value(host.as_str())?),
        (None, Some(_)) => None,
        (Some(_), Some(_)) | (None, None) => return None,
    };
    cx.knows_all(at!["services", name, "sorry_server"]).then(|| ForwardTarget {
        service_name: name,
        service,
        fronts: Rc::clone(fronts),
        forwarding: sorry.forwarding.unwrap_or(service.forwarding),
        host,
        port: sorry.port,
        from: From::SorryServer(sorry.address),
    })
}

/// The targets of a service whose forwarding method is known.
fn targets<'c>(
    cx: &'c Context<'_>,
    name: &'c Name,
    service: &'c Service,
) -> impl Iterator<Item = ForwardTarget<'c>> {
    let known = cx.knows(at!["services", name, "forwarding"]);
    let members = cx.members(name).iter().filter(move |member| cx.knows_member(name, member, "forwarding"));
    let fronts: Rc<[Ip]> = fronts(cx, name, service).into();
    let sorry = sorry_server(cx, name, service, &fronts);
    let members = members.map(move |member| ForwardTarget {
        service_name: name,
        service,
        fronts: Rc::clone(&fronts),
        forwarding: member.forwarding(service),
        host: Some((member.name, member.host)),
        port: member.port(),
        from: From::RealServer(member),
    });
    members.chain(sorry).filter(move |_| known)
}

/// Targets of all services that are reached by one of `forwarding`.
pub(super) fn reached_by<'c>(
    cx: &'c Context<'_>,
    forwarding: &'c [Forwarding],
) -> impl Iterator<Item = ForwardTarget<'c>> {
    // Most methods are used by few services, if any: those of the others are not put together.
    let used = move |name: &Name, service: &Service| {
        let by = |method: Forwarding| forwarding.contains(&method);
        let sorry = service.sorry_server.as_ref();
        cx.reaches_by(name, forwarding)
            || sorry.is_some_and(|sorry| by(sorry.forwarding.unwrap_or(service.forwarding)))
    };
    let services = cx.cluster.services.iter().filter(move |(name, service)| used(name, service));
    services
        .flat_map(move |(name, service)| targets(cx, name, service))
        .filter(move |target| forwarding.contains(&target.forwarding))
}

fn fixed_port(cx: &Context<'_>, out: &mut Findings) {
    for target in reached_by(cx, &[Forwarding::Dr, Forwarding::Tun]) {
        let (name, service) = (target.service_name, target.service);
        let Some(port) = target.port else { continue };
        let other = ports(service).find(|(_, first, last)| *first != port || *last != port);
        let Some((index, first, last)) = other else { continue };
        let known = cx.knows(at!["services", name, "port"]) && cx.knows_all(at!["services", name, "ports"]);
        if !known || !target.knows(cx, "port") {
            continue;
        }
        let (own, place) = match index {
            None => (format!("port {first}"), cx.value(at!["services", name, "port"])),
            Some(index) if first == last => {
                (format!("port {first}"), cx.value(at!["services", name, "ports", index]))
            }
            Some(index) => (format!("ports {first}-{last}"), cx.value(at!["services", name, "ports", index])),
        };
        let (forwarding, words) = (target.forwarding, target.words());
        out.push(
            Diagnostic::new(
                &codes::DR_PORT,
                cx.value(&target.path("port")),
                format!("{forwarding} cannot change {own} of service `{name}` to {port}"),
                format!("{words} would still get {own}"),
            )
            .also(place, "the service's own")
            .hint(format!("remove this `port` and let {words} listen on {own}")),
        );
    }
}

fn real_server_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for target in reached_by(cx, &[Forwarding::Dr]) {
        let name = target.service_name;
        let by_mark = target.service.firewall_mark.is_some();
        let mut vips = target.fronts.iter().filter(|_| !by_mark);
        let Some((vip, home)) = vips.find_map(|vip| Some((*vip, cx.segment(*vip)?))) else {
            continue;
        };
        let Some(address) = target.address(cx, vip) else { continue };
        let label = match cx.segment(address) {
            Some(segment) if segment == home => continue,
            Some(segment) => format!("on segment `{segment}`"),
            // A host that is on none is reported as such.
            None if target.host.is_none() && address.0.is_ipv4() && cx.knows_subnets() => {
                "on no segment".to_owned()
            }
            None => continue,
        };
        out.push(
            Diagnostic::new(
                &codes::REAL_SERVER_ELSEWHERE,
                cx.value(&target.named_at()),
                format!(
                    "{} of service `{name}` is not on segment `{home}`, where its VIP {vip} is",
                    target.words()
                ),
                label,
            )
            .hint(match target.host {
                Some(_) => format!(
                    "direct routing needs real servers on the VIP's own segment: choose hosts on `{home}`"
                ),
                None => format!("direct routing reaches only what is on `{home}`: choose an address there"),
            }),
        );
    }
}

/// By direct routing and tunnel a director may be a real server of its own VIP: it balances only while it
/// is Master. Masquerade needs the way back as well, and that cannot lead through the host's own VIP.
fn real_server_is_director(cx: &Context<'_>, out: &mut Findings) {
    for target in reached_by(cx, &[Forwarding::Nat]) {
        let name = target.service_name;
        let (Some((router_name, router)), Some((host, _))) =
            (cx.router_of(name, target.service), target.host)
        else {
            continue;
        };
        let mut directors = cx.directors(router_name, router);
        let Some((director, _)) = directors.find(|(_, director)| *director == host.as_str()) else {
            continue;
        };
        if !cx.knows_directors(router_name, router) || router.directors.len() < 2 {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::REAL_SERVER_IS_DIRECTOR,
                cx.value(&target.named_at()),
                format!(
                    "{} of service `{name}` is masqueraded and a director of its router `{router_name}`",
                    target.words()
                ),
                "answers past another Master",
            )
            .also(cx.value(at!["virtual_routers", router_name, "directors", director]), "a director here")
            .hint("use `forwarding = \"dr\"` for it, or another host"),
        );
    }
}

/// Addresses that clients use, see [`ForwardTarget`].
fn fronts(cx: &Context<'_>, name: &Name, service: &Service) -> Vec<Ip> {
    if service.firewall_mark.is_none() {
        return cx.vips_of_service(name, service);
    }
    if !cx.knows_keys(name, &["firewall_mark", "family"]) {
        return Vec::new();
    }
    vec![Ip(match service.family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    })]
}

pub(super) const fn family(address: Ip) -> &'static str {
    if address.0.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn real_server_family(cx: &Context<'_>, out: &mut Findings) {
    for target in reached_by(cx, &[Forwarding::Dr, Forwarding::Nat]) {
        let name = target.service_name;
        let other = target.fronts.iter().find_map(|vip| {
            let address = target.address(cx, *vip)?;
            (address.0.is_ipv4() != vip.0.is_ipv4()).then_some((*vip, address))
        });
        let Some((vip, address)) = other else { continue };
        let given = cx.value(&target.path("address"));
        let (forwarding, words) = (target.forwarding, target.words());
        let whose = match target.service.firewall_mark {
            Some(_) => format!("takes {} packets", family(vip)),
            None => format!("has VIP {vip}"),
        };
        let hint = match target.host {
            Some((host, _)) => format!("add an {} address to `addresses` of host `{host}`", family(vip)),
            None => format!("choose an {} address", family(vip)),
        };
        out.push(
            Diagnostic::new(
                &codes::REAL_SERVER_FAMILY,
                given,
                format!("service `{name}` {whose}, but {words} has only {address} to be reached at"),
                format!("{} is {}", address, family(address)),
            )
            .note(format!("{forwarding} keeps packets in their address family"))
            .hint(hint),
        );
    }
}

/// The virtual router that has each VIP, with its directors in the order of names; only when all of
/// them are known.
fn owners<'a>(cx: &Context<'a>) -> Option<BTreeMap<Ip, (&'a Name, Vec<&'a str>)>> {
    let mut owners = BTreeMap::new();
    let known = cx.knows_entries("virtual_routers");
    for (name, router) in cx.cluster.virtual_routers.iter().filter(|_| known) {
        let vips = |key: &str| cx.knows_all(at!["virtual_routers", name, key]);
        if !vips("vips") || !vips("unadvertised_vips") || !cx.knows_directors(name, router) {
            return None;
        }
        for vip in router.vips.iter().chain(&router.unadvertised_vips) {
            owners.entry(*vip).or_insert_with(|| (name, directors(router)));
        }
    }
    known.then_some(owners)
}

fn directors(router: &VirtualRouter) -> Vec<&str> {
    let mut directors: Vec<&str> = router.directors.iter().map(String::as_str).collect();
    directors.sort_unstable();
    directors
}

fn nat_gateway(cx: &Context<'_>, out: &mut Findings) {
    let owners = owners(cx);
    let synced = cx.knows_all(at!["sync_groups"]);
    let mut ways_back: BTreeMap<(&Name, Option<&Name>), Option<String>> = BTreeMap::new();
    for target in reached_by(cx, &[Forwarding::Nat]) {
        let name = target.service_name;
        let (Some((host_name, host)), Some((router_name, router))) =
            (target.host, cx.router_of(name, target.service))
        else {
            continue;
        };
        // A director needs no way back to itself, and has a rule of its own.
        let is_director = router.directors.iter().any(|director| director.as_str() == host_name.as_str());
        if is_director || !cx.knows_directors(router_name, router) {
            continue;
        }
        // A host that lacks something may lack its gateway.
        if !cx.knows_all(at!["hosts", host_name]) {
            continue;
        }
        let wanted = directors(router);
        // Asked once for all hosts of a segment.
        let mut ways = || {
            let home = cx.segment_of_host(host_name.as_str()).map(|(_, segment)| segment);
            let vips = || {
                let vips = owners.iter().flatten().filter(|(_, (_, theirs))| *theirs == wanted);
                list(vips.map(|(vip, _)| vip).filter(|vip| home.is_some() && cx.segment(**vip) == home))
            };
            ways_back.entry((router_name, home)).or_insert_with(vips).clone()
        };
        let families = target.fronts.iter().filter_map(|vip| target.address(cx, *vip));
        let families: BTreeSet<bool> = families.map(|address| address.0.is_ipv4()).collect();
        let missing = match host.gateway {
            Some(gateway) => families.iter().find(|v4| **v4 != gateway.0.is_ipv4()).copied(),
            None => None,
        };
        let Some(gateway) = host.gateway.filter(|_| missing.is_none()) else {
            let (way, label) = match missing {
                Some(v4) => {
                    let word = if v4 { "IPv4" } else { "IPv6" };
                    (format!("no way back to the director in {word}"), format!("`gateway` is not {word}"))
                }
                None => ("no way back to the director".to_owned(), "no `gateway`".to_owned()),
            };
            out.push(
                Diagnostic::new(
                    &codes::NAT_WITHOUT_GATEWAY,
                    cx.key(at!["hosts", host_name]),
                    format!("service `{name}` masquerades to host `{host_name}`, which has {way}"),
                    label,
                )
                .also(cx.value(&target.named_at()), "masqueraded")
                .hint(match ways() {
                    _ if missing.is_some() => {
                        "a host has one `gateway`: set the other with the host's own network \
                                               configuration, to a VIP of the directors"
                            .to_owned()
                    }
                    Some(vips) => format!("give the host `gateway = …`: a VIP of the directors, {vips}"),
                    None => "give the directors a VIP on the host's segment, and the host it as `gateway`"
                        .to_owned(),
                }),
            );
            continue;
        };
        let Some(owners) = &owners else { continue };
        let place = cx.value(at!["hosts", host_name, "gateway"]);
        match owners.get(&gateway) {
            Some((owner, _)) if *owner == router_name => {}
            Some((owner, theirs)) if *theirs == wanted => {
                let together = cx.cluster.sync_groups.values().any(|group| {
                    [*owner, router_name].iter().all(|router| {
                        group.virtual_routers.iter().any(|member| member.as_str() == router.as_str())
                    })
                });
                if together || !synced {
                    continue;
                }
                out.push(
                    Diagnostic::new(
                        &codes::NAT_GATEWAY_APART,
                        place,
                        format!(
                            "service `{name}` is on `{router_name}`, but the way back from `{host_name}` is \
                            on `{owner}`"
                        ),
                        format!("a VIP of `{owner}`"),
                    )
                    .also(cx.value(at!["services", name, "router"]), "may have another Master")
                    .hint(format!(
                        "keep them together: `sync_groups.nat.virtual_routers = \
                        [\"{router_name}\", \"{owner}\"]`"
                    )),
                );
            }
            found => {
                let label = match found {
                    Some((owner, theirs)) => {
                        format!(
                            "a VIP of `{owner}`, whose directors are {}",
                            list(theirs).unwrap_or_default()
                        )
                    }
                    None => "not a VIP".to_owned(),
                };
                out.push(
                    Diagnostic::new(
                        &codes::NAT_GATEWAY,
                        place,
                        format!(
                            "answers of host `{host_name}` go to {gateway}, not to the directors of service \
                            `{name}`"
                        ),
                        label,
                    )
                    .also(cx.value(&target.named_at()), "masqueraded")
                    .hint(match ways() {
                        Some(vips) => format!("choose a VIP of the directors: {vips}"),
                        None => "give the directors a VIP on the host's segment, and choose that".to_owned(),
                    }),
                );
            }
        }
    }
}

fn nat_same_segment(cx: &Context<'_>, out: &mut Findings) {
    for target in reached_by(cx, &[Forwarding::Nat]) {
        let name = target.service_name;
        // Packets with a mark may be for other VIPs as well.
        let by_mark =
            target.service.firewall_mark.is_some() || !cx.knows(at!["services", name, "firewall_mark"]);
        let shared = target.fronts.iter().filter(|_| !by_mark).find_map(|vip| {
            let home = cx.segment(*vip)?;
            (cx.segment(target.address(cx, *vip)?)? == home).then_some((vip, home))
        });
        if let Some((vip, home)) = shared {
            let words = target.words();
            out.push(
                Diagnostic::new(
                    &codes::NAT_SAME_SEGMENT,
                    cx.value(&target.named_at()),
                    format!("{words} of service `{name}` is on segment `{home}`, as VIP {vip} is"),
                    "masqueraded",
                )
                .note(format!("it answers clients on `{home}` directly, from an address they did not ask"))
                .hint("this is right when all clients are elsewhere; otherwise use `forwarding = \"dr\"`"),
            );
        }
    }
}
