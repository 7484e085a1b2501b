//! Services of a resolved cluster: what takes packets to them, and where these go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_schemas::cluster::{
    self, Check, Cluster, Damping, Floor, Forwarding, OnFailure, Persistence, Protocol, Quorum, Scheduler,
    SchedulerFlag, Service, TunnelChecksum, TunnelType,
};
use evenkeel_schemas::plan::{self, Encapsulation, GueChecksum};
use evenkeel_schemas::scalars::{ConnectionLimit, FirewallMark, Ip, Name, Port, Span, Weight};

use super::routers::explicit_hook;
use crate::attach::{Subnets, is_link_local};
use crate::members::{self, Member, Members};

/// UDP port of GUE (IANA).
const GUE_PORT: u16 = 6080;

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Balanced {
    pub(crate) router: Name,
    pub(crate) taken: Taken,
    /// Addresses that its packets come to, and go from there.
    pub(crate) fronts: Vec<Front>,
    pub(crate) scheduler: Scheduler,
    pub(crate) scheduler_flags: Vec<SchedulerFlag>,
    pub(crate) one_packet: bool,
    pub(crate) persistence: Option<Persistence>,
    /// Health checks of its real servers, but those that have their own.
    pub(crate) checks: Vec<Check>,
    pub(crate) on_failure: OnFailure,
    pub(crate) quiesce_for: Option<Span>,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) floor: Option<Floor>,
    pub(crate) slow_start: Option<Span>,
    pub(crate) damping: Option<Damping>,
    pub(crate) drain: Option<Span>,
    pub(crate) hooks: plan::ServiceHooks,
    pub(crate) prevent_removal: bool,
}

impl Balanced {
    /// Whether one of its real servers has a check.
    pub(crate) fn is_checked(&self) -> bool {
        let mut servers = self.fronts.iter().flat_map(|front| &front.real_servers);
        servers.any(|server| !server.checks.is_empty() || !self.checks.is_empty())
    }
}

/// Property of packets by which a service is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Destination of the packets.
    Transport {
        protocol: Protocol,
        /// Ascending.
        ports: Vec<Port>,
    },
    /// Mark of the firewall.
    Mark { mark: FirewallMark, family: cluster::Family },
}

/// VIPs whose packets go to the same real servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Front {
    /// Ascending. With a firewall mark those of the router that marked packets may be for.
    pub(crate) vips: Vec<Ip>,
    /// By address and port, ascending.
    pub(crate) real_servers: Vec<RealServer>,
    /// Recipient while the quorum is lost.
    pub(crate) sorry_server: Option<SorryServer>,
}

/// Target of a service's packets while its quorum is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SorryServer {
    /// Host of the cluster, where it is one.
    pub(crate) host: Option<Name>,
    pub(crate) address: Ip,
    /// Port, where it is not that of the virtual server.
    pub(crate) port: Option<Port>,
    pub(crate) forwarding: Forwarding,
    /// With forwarding by tunnel only.
    pub(crate) encapsulation: Option<Encapsulation>,
    /// Whether it is on the segment of the VIP.
    pub(crate) beside_vip: bool,
}

/// Duties of a host that is a target of a service's packets, as its real server or its sorry server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) host: &'a Name,
    pub(crate) address: Ip,
    pub(crate) forwarding: Forwarding,
    pub(crate) encapsulation: Option<Encapsulation>,
    pub(crate) beside_vip: bool,
}

impl Front {
    /// The hosts that packets go to, now or while the quorum is lost.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Recipient<'_>> {
        let servers = self.real_servers.iter().map(|server| Recipient {
            host: &server.host,
            address: server.address,
            forwarding: server.forwarding,
            encapsulation: server.encapsulation,
            beside_vip: server.beside_vip,
        });
        let sorry = self.sorry_server.as_ref().and_then(|sorry| {
            Some(Recipient {
                host: sorry.host.as_ref()?,
                address: sorry.address,
                forwarding: sorry.forwarding,
                encapsulation: sorry.encapsulation,
                beside_vip: sorry.beside_vip,
            })
        });
        servers.chain(sorry)
    }
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RealServer {
    pub(crate) host: Name,
    pub(crate) address: Ip,
    /// Port, where it is not that of the virtual server.
    pub(crate) port: Option<Port>,
    pub(crate) weight: Weight,
    /// Whether its host is drained.
    pub(crate) drain: bool,
    pub(crate) forwarding: Forwarding,
    /// With forwarding by tunnel only.
    pub(crate) encapsulation: Option<Encapsulation>,
    pub(crate) upper_threshold: Option<ConnectionLimit>,
    pub(crate) lower_threshold: Option<ConnectionLimit>,
    /// Health checks of its own; empty: those of the service.
    pub(crate) checks: Vec<Check>,
    /// Whether it is on the segment of the VIP.
    pub(crate) beside_vip: bool,
}

/// Encapsulation of a service's tunnels.
fn encapsulation(tunnel: &cluster::Tunnel) -> Option<Encapsulation> {
    Some(match tunnel.kind {
        TunnelType::Ipip => Encapsulation::Ipip {},
        TunnelType::Gue => Encapsulation::Gue {
            port: tunnel.port.or_else(|| Port::new(GUE_PORT).ok())?,
            checksum: match tunnel.checksum {
                TunnelChecksum::None => GueChecksum::None,
                TunnelChecksum::Full => GueChecksum::Udp,
                TunnelChecksum::Remote => GueChecksum::Remote,
            },
        },
        TunnelType::Gre => Encapsulation::Gre { checksum: tunnel.checksum != TunnelChecksum::None },
    })
}

pub(super) fn resolve(
    cluster: &Cluster,
    subnets: &Subnets<'_>,
    members: &Members<'_>,
    service: &Service,
) -> Option<Balanced> {
    let (router_name, router) = cluster.virtual_routers.get_key_value(service.router.as_str())?;
    let tunnel = encapsulation(&service.tunnel)?;
    let members = members.of(service);
    let to = |vip: Ip| -> Vec<RealServer> {
        let resolved = members.iter().map(|member| real_server(subnets, service, tunnel, member, vip));
        let mut real_servers: Vec<RealServer> = resolved.collect();
        real_servers.sort_unstable_by_key(|server| (server.address, server.port));
        real_servers
    };
    let sorry = |vip: Ip| sorry_server(cluster, subnets, service, tunnel, vip);
    let (taken, fronts) = match service.firewall_mark {
        Some(mark) => {
            let family = service.family;
            let v6 = family == cluster::Family::Ipv6;
            let all = router.vips.iter().chain(&router.unadvertised_vips);
            // One that is link-local is of an interface, and none of `lo`.
            let of_family = |vip: &&Ip| vip.0.is_ipv6() == v6 && !is_link_local(**vip);
            let mut vips: Vec<Ip> = all.filter(of_family).copied().collect();
            vips.sort_unstable();
            // Without a VIP of the family the host's first address of it.
            let unspecified =
                if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
            let first = vips.first().copied().unwrap_or(Ip(unspecified));
            let front = Front { vips, real_servers: to(first), sorry_server: sorry(first) };
            (Taken::Mark { mark, family }, vec![front])
        }
        None => {
            let mut vips = members::vips(service, &router.vips).to_vec();
            vips.sort_unstable();
            let mut fronts: Vec<Front> = Vec::with_capacity(1);
            for vip in vips {
                let (real_servers, sorry_server) = (to(vip), sorry(vip));
                let alike = |front: &&mut Front| {
                    front.real_servers == real_servers && front.sorry_server == sorry_server
                };
                match fronts.iter_mut().find(alike) {
                    Some(front) => front.vips.push(vip),
                    None => fronts.push(Front { vips: vec![vip], real_servers, sorry_server }),
                }
            }
            let ports: BTreeSet<Port> = members::ports(service)
                .flat_map(|(_, first, last)| first.get()..=last.get())
                .filter_map(|port| Port::new(port).ok())
                .collect();
            let ports = ports.into_iter().collect();
            (Taken::Transport { protocol: service.protocol?, ports }, fronts)
        }
    };
    if fronts.is_empty() {
        return None;
    }
    let mut scheduler_flags = service.scheduler_flags.clone();
    scheduler_flags.sort_unstable();
    scheduler_flags.dedup();
    Some(Balanced {
        router: router_name.clone(),
        taken,
        fronts,
        scheduler: service.scheduler,
        scheduler_flags,
        one_packet: service.one_packet,
        persistence: service.persistence.clone(),
        checks: service.check.as_deref().into_iter().chain(&service.checks).cloned().collect(),
        on_failure: service.on_failure,
        quorum: service.quorum.clone(),
        floor: service.floor.clone(),
        slow_start: service.slow_start,
        damping: service.damping.clone(),
        quiesce_for: service.quiesce_for,
        drain: service.drain.as_ref().map(|drain| drain.timeout),
        hooks: hooks(&service.hooks),
        prevent_removal: service.prevent_removal,
    })
}

fn hooks(hooks: &cluster::ServiceHooks) -> plan::ServiceHooks {
    let cluster::ServiceHooks { quorum_up, quorum_down, real_server_up, real_server_down } = hooks;
    plan::ServiceHooks {
        quorum_up: explicit_hook(quorum_up.as_ref()),
        quorum_down: explicit_hook(quorum_down.as_ref()),
        real_server_up: explicit_hook(real_server_up.as_ref()),
        real_server_down: explicit_hook(real_server_down.as_ref()),
    }
}

fn sorry_server(
    cluster: &Cluster,
    subnets: &Subnets<'_>,
    service: &Service,
    tunnel: Encapsulation,
    vip: Ip,
) -> Option<SorryServer> {
    let sorry = service.sorry_server.as_ref()?;
    let (host, address) = match (&sorry.host, sorry.address) {
        (Some(host), _) => {
            let (name, host) = cluster.hosts.get_key_value(host.as_str())?;
            (Some(name.clone()), members::address_of(host, subnets, vip))
        }
        (None, address) => (None, address?),
    };
    let forwarding = sorry.forwarding.unwrap_or(service.forwarding);
    Some(SorryServer {
        host,
        address,
        port: sorry.port,
        forwarding,
        encapsulation: (forwarding == Forwarding::Tun).then_some(tunnel),
        beside_vip: is_beside(subnets, address, vip),
    })
}

/// Whether two addresses are on one segment.
fn is_beside(subnets: &Subnets<'_>, address: Ip, vip: Ip) -> bool {
    let segment = |address| subnets.of(address).map(|(segment, _)| segment);
    segment(vip).is_some_and(|home| segment(address) == Some(home))
}

fn real_server(
    subnets: &Subnets<'_>,
    service: &Service,
    tunnel: Encapsulation,
    member: &Member<'_>,
    vip: Ip,
) -> RealServer {
    let (upper_threshold, lower_threshold) = member.thresholds();
    let forwarding = member.forwarding(service);
    let address = member.address(subnets, vip);
    RealServer {
        host: member.name.clone(),
        address,
        port: member.port(),
        weight: member.weight(),
        drain: member.host.drain,
        forwarding,
        encapsulation: (forwarding == Forwarding::Tun).then_some(tunnel),
        upper_threshold,
        lower_threshold,
        checks: member.own_checks().cloned().collect(),
        beside_vip: is_beside(subnets, address, vip),
    }
}
