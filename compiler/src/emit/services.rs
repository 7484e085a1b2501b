//! The virtual servers of a director.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use evenkeel_schemas::cluster::{Check, Family, OnFailure};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{Ip, Name, Port};

use super::paths::Asker;
use super::tasks::Tasks;
use super::{checks, paths};
use crate::parallel::in_parallel;
use crate::resolve::{Balanced, Front, RealServer, Resolved, Taken};
use crate::{attach, canonical};

/// The key of virtual servers in a plan.
pub(super) const KEY: &str = "virtual_server";

/// How many services a processor writes before it takes the next ones.
const AT_ONCE: usize = 64;

/// A product of each service, made once for all of its directors but those that are real servers of it.
/// Services whose checks go through IPVS differ from director to director.
pub(super) struct OfServices<'a, T>(BTreeMap<&'a Name, T>);

impl<'a, T: Send> OfServices<'a, T> {
    fn new(cluster: &'a Resolved, make: impl Fn(&ServerMaker<'_>) -> T + Sync) -> Self {
        let services = cluster.services.iter().filter(|(_, service)| !paths::is_asked(service));
        let services: Vec<(&Name, &Balanced)> = services.collect();
        let chunks: Vec<&[(&Name, &Balanced)]> = services.chunks(AT_ONCE).collect();
        let made = in_parallel(&chunks, |services| {
            let one = |(name, service): &(&'a Name, &'a Balanced)| {
                (*name, make(&ServerMaker { name, service, accepted: &BTreeSet::new(), asker: None }))
            };
            services.iter().map(one).collect::<Vec<_>>()
        });
        Self(made.into_iter().flatten().collect())
    }

    /// The products of a director by name: one that was made for all, or else the maker of one for this
    /// director.
    fn of<'t>(
        &'t self,
        tasks: &'t Tasks<'a>,
        director: &Name,
    ) -> impl Iterator<Item = Result<&'t T, ServerMaker<'t>>> {
        let accepted = &tasks.duties(director).accepted;
        let accepts = |service: &Balanced| {
            service.fronts.iter().flat_map(|front| &front.vips).any(|vip| accepted.contains(vip))
        };
        let asker = tasks.asker(director).map(Rc::new);
        let mut services: Vec<_> = tasks.services(director).collect();
        services.sort_unstable_by_key(|(name, _)| *name);
        services.into_iter().map(move |(name, service)| match self.0.get(name) {
            Some(made) if !accepts(service) => Ok(made),
            _ => Err(ServerMaker { name, service, accepted, asker: asker.clone() }),
        })
    }
}

/// The virtual servers of each service.
pub(super) type Servers<'a> = OfServices<'a, Vec<plan::VirtualServer>>;

impl<'a> Servers<'a> {
    pub(super) fn made(cluster: &'a Resolved) -> Self {
        Self::new(cluster, |maker| maker.all())
    }

    /// The virtual servers of a director by name, VIP and port.
    pub(super) fn all(&self, tasks: &Tasks<'a>, director: &Name) -> Vec<plan::VirtualServer> {
        let mut all = Vec::new();
        for made in self.of(tasks, director) {
            match made {
                Ok(made) => all.extend_from_slice(made),
                Err(maker) => all.extend(maker.all()),
            }
        }
        all
    }
}

/// Text of the virtual servers of each service.
pub(super) type ServiceTexts<'a> = OfServices<'a, String>;

impl<'a> ServiceTexts<'a> {
    pub(super) fn made(cluster: &'a Resolved) -> Self {
        Self::new(cluster, text)
    }

    /// Appends those of a director.
    pub(super) fn append(&self, tasks: &Tasks<'a>, director: &Name, out: &mut String) {
        let texts: Vec<_> = self.of(tasks, director).collect();
        out.reserve(texts.iter().map(|made| made.as_ref().map_or(0, |text| text.len())).sum());
        for made in texts {
            match made {
                Ok(made) => out.push_str(made),
                Err(maker) => out.push_str(&text(&maker)),
            }
        }
    }
}

fn text(maker: &ServerMaker<'_>) -> String {
    let mut text = String::new();
    canonical::blocks(&mut text, KEY, &maker.all());
    text.shrink_to_fit();
    text
}

/// Material for the virtual servers of a service.
struct ServerMaker<'a> {
    name: &'a Name,
    service: &'a Balanced,
    /// VIPs that the director accepts as a real server.
    accepted: &'a BTreeSet<Ip>,
    /// The director, where checks go through IPVS.
    asker: Option<Rc<Asker<'a>>>,
}

impl ServerMaker<'_> {
    /// By VIP and port.
    fn all(&self) -> Vec<plan::VirtualServer> {
        let mut all = Vec::new();
        let checks = with_kinds(&self.service.checks);
        for front in &self.service.fronts {
            match &self.service.taken {
                Taken::Transport { ports, .. } => {
                    let sockets =
                        front.vips.iter().flat_map(|vip| ports.iter().map(move |port| (*vip, *port)));
                    all.extend(sockets.map(|socket| self.virtual_server(front, Some(socket), &checks)));
                }
                Taken::Mark { .. } => all.push(self.virtual_server(front, None, &checks)),
            }
        }
        all.sort_by_key(plan::VirtualServer::front);
        all
    }

    fn virtual_server(
        &self,
        front: &Front,
        socket: Option<(Ip, Port)>,
        checks: &[CheckWithKind<'_>],
    ) -> plan::VirtualServer {
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
            quorum: service.quorum.clone(),
            sorry_server: front.sorry_server.as_ref().map(|sorry| {
                Box::new(plan::SorryServer {
                    host: sorry.host.clone(),
                    address: sorry.address,
                    port: sorry.port.or(port),
                    forwarding: sorry.forwarding,
                    encapsulation: sorry.encapsulation,
                })
            }),
            floor: service.floor.clone(),
            damping: service.damping.clone(),
            quiesce_for: service.quiesce_for.filter(|_| service.on_failure == OnFailure::Quiesce),
            slow_start: service.slow_start.filter(|span| span.as_millis() > 0),
            drain: service.drain,
            hooks: (service.hooks != plan::ServiceHooks::default()).then(|| Box::new(service.hooks.clone())),
            prevent_removal: service.prevent_removal,
            destinations: {
                let vip = socket.map(|(vip, _)| vip).or_else(|| front.vips.first().copied());
                let servers = front.real_servers.iter();
                servers.map(|server| self.destination(server, port, (front, vip), checks)).collect()
            },
        }
    }

    /// `checks` are those of the service.
    fn destination(
        &self,
        server: &RealServer,
        vip_port: Option<Port>,
        (front, vip): (&Front, Option<Ip>),
        checks: &[CheckWithKind<'_>],
    ) -> plan::Destination {
        let port = server.port.or(vip_port);
        let own = with_kinds(&server.checks);
        let checks = if server.checks.is_empty() { checks } else { &own };
        let through = |check| self.asker.as_ref()?.through(check, server, (front, vip?), (vip_port, port));
        let more = plan::More {
            drain: server.drain,
            encapsulation: server.encapsulation,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            checks: checks
                .iter()
                .filter_map(|(check, kind)| checks::explicit(check, kind, server, port, through(check)))
                .collect(),
        };
        let (host, weight) = (server.host.clone(), server.weight);
        plan::Destination::new(host, server.address, port, weight, server.forwarding).with(more)
    }
}

/// A check, and what it asks.
type CheckWithKind<'a> = (&'a Check, plan::CheckKind);

fn with_kinds(checks: &[Check]) -> Vec<CheckWithKind<'_>> {
    checks.iter().filter_map(|check| Some((check, checks::kind(check)?))).collect()
}
