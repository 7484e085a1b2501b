//! Why an object of a plan is as it is: the line of the cluster file that it comes from.
//!
//! Plans are joined to the cluster file by names, not by hooks in `emit`: a new kind of object or a
//! new field is found by its name, or else points at what it belongs to, and nothing breaks.

use std::collections::BTreeMap;

use evenkeel_schemas::change::{Action, ObjectChange, Origin};
use evenkeel_schemas::plan::{Destination, Forwarding};
use evenkeel_schemas::scalars::Name;

use super::objects::{self, ARROW, Object};
use super::{Fleet, Inputs};
use crate::parse::{self, Document, Step};
use crate::source::{Lines, SourceFile};

/// Where everything in a cluster file is written.
#[derive(Debug)]
pub struct Origins<'s> {
    source: &'s SourceFile,
    document: Document<'s>,
    lines: Lines<'s>,
}

/// A step to something in a cluster file.
#[derive(Debug, Clone, Copy)]
enum Hop<'a> {
    Key(&'a str),
    /// The item of a list that has this text at this key.
    Item(&'a str, &'a str),
}

impl<'s> Origins<'s> {
    /// Looks into a cluster's files; none when it is not even TOML.
    #[must_use]
    pub fn new(source: &'s SourceFile) -> Option<Self> {
        let parsed = parse::parse(source).ok()?;
        Some(Self { source, document: parsed.document, lines: Lines::of(source) })
    }

    /// The line of the deepest thing on the way that is written, if at least `least` hops lead there.
    fn find(&self, way: &[Hop<'_>], least: usize) -> Option<Origin> {
        let mut path: Vec<Step<'_>> = Vec::with_capacity(way.len());
        for hop in way {
            match *hop {
                Hop::Key(key) => path.push(Step::Key(key)),
                Hop::Item(key, text) => match self.document.item_with(&path, key, text) {
                    Some(index) => path.push(Step::Index(index)),
                    None => break,
                },
            }
        }
        let reach = self.document.reach(&path);
        if reach < least.max(1) {
            return None;
        }
        let place = self.document.key(&path[..reach]);
        let file = self.source.piece_at(place.start).map_or(self.source.name(), |piece| &piece.name);
        Some(Origin { file: file.to_owned(), line: self.lines.position(place.start).line as u64 })
    }
}

/// What real servers hold a VIP for.
type Servers<'a> = BTreeMap<(String, &'a str), &'a str>;

/// Lines for the objects of a change.
pub(super) struct Causes<'a> {
    old: Option<&'a Origins<'a>>,
    new: Option<&'a Origins<'a>>,
    /// By VIP and real server, a service. Before and after.
    services: [Servers<'a>; 2],
    /// By real server, a service that is sent to it by tunnel. Before and after.
    tunnels: [BTreeMap<&'a str, &'a str>; 2],
    /// By identity of a virtual server, its service. Before and after.
    names: [BTreeMap<String, &'a str>; 2],
    /// By director, a virtual router. Before and after.
    routers: [BTreeMap<&'a str, &'a str>; 2],
}

impl<'a> Causes<'a> {
    pub(super) fn new(inputs: &Inputs<'a>) -> Self {
        let fleets = [inputs.before, inputs.after];
        Self {
            old: inputs.old_origins,
            new: inputs.new_origins,
            services: fleets.map(servers),
            tunnels: fleets.map(tunnels),
            names: fleets.map(|fleet| {
                let servers = fleet.values().flat_map(|state| &state.plan.virtual_servers);
                servers.map(|server| (objects::server_id(server), server.name.as_str())).collect()
            }),
            routers: fleets.map(|fleet| {
                let first = |(host, state): (&'a Name, &'a super::HostState)| {
                    Some((host.as_str(), state.plan.routers.first()?.name.as_str()))
                };
                fleet.iter().filter_map(first).collect()
            }),
        }
    }

    /// Names the lines that an object and its fields come from.
    pub(super) fn explain(&self, host: &Name, object: &Object, change: &mut ObjectChange) {
        let goes = change.action == Action::Remove;
        let (kind, id) = (change.kind.clone(), change.id.clone());
        let way = self.way(host.as_str(), object, (&kind, &id), usize::from(!goes));
        if goes {
            // What it was, or else what it is no longer in.
            let was = self.old.and_then(|old| old.find(&way, 1));
            change.origin = was.or_else(|| self.new.and_then(|new| new.find(&way, 2)));
            return;
        }
        let Some(new) = self.new else {
            return;
        };
        change.origin = new.find(&way, 1);
        if change.action == Action::Change {
            for field in &mut change.fields {
                let mut ways = field_ways(host.as_str(), object, &kind, &field.field, &way).into_iter();
                let origin = ways.find_map(|way| new.find(&way, way.len())).or_else(|| new.find(&way, 1));
                field.origin = origin.filter(|origin| Some(origin) != change.origin.as_ref());
            }
        }
    }

    fn way<'b>(
        &'b self,
        host: &'b str,
        object: &'b Object,
        (kind, id): (&str, &'b str),
        side: usize,
    ) -> Vec<Hop<'b>> {
        let name = object.name.as_deref().unwrap_or_default();
        match kind {
            "router" => vec![Hop::Key("virtual_routers"), Hop::Key(name)],
            "sync_group" => {
                let explicit = [Hop::Key("sync_groups"), Hop::Key(id)];
                // One that is not written is of a virtual router with VIPs of both families.
                let sides = [self.old, self.new];
                match sides[side].filter(|origins| origins.find(&explicit, 2).is_none()) {
                    Some(_) => vec![Hop::Key("virtual_routers"), Hop::Key(id)],
                    None => explicit.to_vec(),
                }
            }
            "tracker" => vec![Hop::Key("trackers"), Hop::Key(id)],
            "secret" => {
                vec![Hop::Key("virtual_routers"), Hop::Key(id), Hop::Key("auth"), Hop::Key("secret")]
            }
            "virtual_server" => vec![Hop::Key("services"), Hop::Key(name)],
            "destination" => {
                let server = id.split_once(ARROW).map_or("", |(server, _)| server);
                self.names[side].get(server).map_or_else(
                    || vec![Hop::Key("hosts"), Hop::Key(host)],
                    |service| real_server(service, name),
                )
            }
            "route" if object.fields.contains_key("via") => {
                vec![Hop::Key("hosts"), Hop::Key(host), Hop::Key("gateway")]
            }
            "tunnel" | "gue" => self.unwrapped(host, side),
            "address" | "route" => {
                let vip = id.split(['/', ' ']).next().unwrap_or_default();
                self.served(vip, host, side)
            }
            "sysctl" if id.contains("/ek-") => self.unwrapped(host, side),
            "sysctl" => match self.routers[side].get(host) {
                Some(router) if !id.contains("/arp_") => {
                    vec![Hop::Key("virtual_routers"), Hop::Key(router), Hop::Key("directors")]
                }
                _ => {
                    let served = self.services[side].iter().find(|((_, server), _)| *server == host);
                    served.map_or_else(
                        || vec![Hop::Key("hosts"), Hop::Key(host)],
                        |(_, service)| real_server(service, host),
                    )
                }
            },
            _ => vec![Hop::Key("hosts"), Hop::Key(host)],
        }
    }

    /// The first service that is sent to a host by tunnel.
    fn unwrapped<'b>(&'b self, host: &'b str, side: usize) -> Vec<Hop<'b>> {
        match self.tunnels[side].get(host) {
            Some(service) => real_server(service, host),
            None => vec![Hop::Key("hosts"), Hop::Key(host)],
        }
    }

    fn served<'b>(&'b self, vip: &str, host: &'b str, side: usize) -> Vec<Hop<'b>> {
        match self.services[side].get(&(vip.to_owned(), host)) {
            Some(service) => real_server(service, host),
            None => vec![Hop::Key("hosts"), Hop::Key(host)],
        }
    }
}

fn real_server<'a>(service: &'a str, host: &'a str) -> Vec<Hop<'a>> {
    vec![Hop::Key("services"), Hop::Key(service), Hop::Key("real_servers"), Hop::Item("host", host)]
}

fn servers(fleet: &Fleet) -> Servers<'_> {
    let mut servers = Servers::new();
    for server in fleet.values().flat_map(|state| &state.plan.virtual_servers) {
        for vip in server.client_addresses() {
            let holds = |destination: &&Destination| destination.forwarding != Forwarding::Nat;
            for destination in server.destinations.iter().filter(holds) {
                servers.entry((vip.to_string(), destination.host.as_str())).or_insert(server.name.as_str());
            }
        }
    }
    servers
}

fn tunnels(fleet: &Fleet) -> BTreeMap<&str, &str> {
    let mut tunnels = BTreeMap::new();
    for server in fleet.values().flat_map(|state| &state.plan.virtual_servers) {
        let wrapped = |destination: &&Destination| destination.encapsulation().is_some();
        for destination in server.destinations.iter().filter(wrapped) {
            tunnels.entry(destination.host.as_str()).or_insert(server.name.as_str());
        }
    }
    tunnels
}

/// The ways to a field, the likeliest first: most are called in the cluster file as in the plan.
fn field_ways<'b>(
    host: &'b str,
    object: &'b Object,
    kind: &str,
    field: &'b str,
    way: &[Hop<'b>],
) -> Vec<Vec<Hop<'b>>> {
    let below = |base: &[Hop<'b>], field: &'b str| {
        base.iter().copied().chain(field.split('.').map(Hop::Key)).collect::<Vec<_>>()
    };
    let of_host = |host: &'b str, key: &'b str| vec![Hop::Key("hosts"), Hop::Key(host), Hop::Key(key)];
    let block = way.get(..2).unwrap_or_default();
    match (kind, field) {
        ("host", _) if field.starts_with("policy") => vec![below(&[], field)],
        ("host", _) if field.starts_with("connection_sync") => vec![vec![Hop::Key("connection_sync")]],
        ("host", _) if field.starts_with("ipvs_timeouts") => {
            let timeouts = [Hop::Key("ipvs"), Hop::Key("timeouts")];
            let key = field.strip_prefix("ipvs_timeouts.").unwrap_or_default();
            vec![below(&timeouts, key), timeouts.to_vec(), timeouts[..1].to_vec()]
        }
        ("host", "host_addresses") | ("router", "source") => vec![of_host(host, "address")],
        ("router", "interface") => vec![of_host(host, "interface")],
        ("router", "priority") => {
            let mut own = below(block, "priorities");
            own.push(Hop::Key(host));
            vec![own, below(block, "directors")]
        }
        ("router", _) if field.starts_with("auth") => vec![below(block, "auth")],
        ("router", _) if field.starts_with("garp_") => vec![below(block, "garp")],
        ("tracker", _) => {
            vec![below(block, field.strip_prefix("watch.").unwrap_or(field)), below(block, "type")]
        }
        ("destination", "drain") => vec![of_host(object.name.as_deref().unwrap_or_default(), "drain")],
        ("destination", "address") => vec![of_host(object.name.as_deref().unwrap_or_default(), "address")],
        ("destination", _) if field.starts_with("encapsulation") => {
            vec![below(block, "tunnel"), below(block, "forwarding")]
        }
        ("destination", "forwarding") => vec![below(way, field), below(block, field)],
        ("destination", _) if field.starts_with("check") => vec![below(block, field), below(block, "check")],
        _ => vec![below(way, field)],
    }
}
