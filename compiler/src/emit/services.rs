//! The virtual servers of a director.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::Family;
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{Ip, Name, Port};

use super::checks;
use super::tasks::Tasks;
use crate::attach;
use crate::resolve::{Balanced, Front, RealServer, Taken};

/// By name, VIP and port.
pub(super) fn virtual_servers(tasks: &Tasks<'_>, director: &Name) -> Vec<plan::VirtualServer> {
    let accepted = &tasks.duties(director).accepted;
    let mut all = Vec::new();
    for (name, service) in tasks.services(director) {
        let maker = ServerMaker { name, service, accepted };
        for front in &service.fronts {
            match &service.taken {
                Taken::Transport { ports, .. } => {
                    let sockets =
                        front.vips.iter().flat_map(|vip| ports.iter().map(move |port| (*vip, *port)));
                    all.extend(sockets.map(|socket| maker.virtual_server(front, Some(socket))));
                }
                Taken::Mark { .. } => all.push(maker.virtual_server(front, None)),
            }
        }
    }
    all.sort_by(|a, b| (&a.name, a.front()).cmp(&(&b.name, b.front())));
    all
}

/// Material for the virtual servers of a service.
struct ServerMaker<'a> {
    name: &'a Name,
    service: &'a Balanced,
    /// VIPs that the director accepts as a real server.
    accepted: &'a BTreeSet<Ip>,
}

impl ServerMaker<'_> {
    fn virtual_server(&self, front: &Front, socket: Option<(Ip, Port)>) -> plan::VirtualServer {
        let service = self.service;
        let port = socket.map(|(_, port)| port);
        let (protocol, mark, family) = match service.taken {
            Taken::Transport { protocol, .. } => (Some(protocol), None, None),
            Taken::Mark { mark, family } => (None, Some(mark), Some(family)),
        };
        let width = match (socket, family) {
            (Some((vip, _)), _) => attach::Family::of(vip.0).width(),
            (None, Some(Family::Ipv6)) => attach::Family::V6.width(),
            (None, Some(Family::Ipv4) | None) => attach::Family::V4.width(),
        };
        let vips = if socket.is_some() { Vec::new() } else { front.vips.clone() };
        let accepts = |vip: &Ip| self.accepted.contains(vip);
        let loops = socket.as_ref().map_or_else(|| vips.iter().any(accepts), |(vip, _)| accepts(vip));
        let persistence = service.persistence.as_ref().map(|persistence| plan::Persistence {
            timeout: persistence.timeout,
            prefix: persistence.prefix.unwrap_or(width),
            engine: persistence.engine,
        });
        plan::VirtualServer {
            name: self.name.clone(),
            address: socket.map(|(vip, _)| vip),
            port,
            protocol,
            firewall_mark: mark,
            family,
            vips,
            only_as_master_of: loops.then(|| service.router.clone()),
            scheduler: service.scheduler,
            scheduler_flags: service.scheduler_flags.clone(),
            one_packet: service.one_packet,
            persistence,
            on_failure: service.on_failure,
            drain: service.drain,
            prevent_removal: service.prevent_removal,
            destinations: front.real_servers.iter().map(|server| self.destination(server, port)).collect(),
        }
    }

    fn destination(&self, server: &RealServer, port: Option<Port>) -> plan::Destination {
        let port = server.port.or(port);
        let checks = if server.checks.is_empty() { &self.service.checks } else { &server.checks };
        let more = plan::More {
            drain: server.drain,
            encapsulation: server.encapsulation,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            checks: checks.iter().filter_map(|check| checks::explicit(check, server, port)).collect(),
        };
        let (host, weight) = (server.host.clone(), server.weight);
        plan::Destination::new(host, server.address, port, weight, server.forwarding).with(more)
    }
}
