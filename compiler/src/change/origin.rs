//! Why an object of a plan is as it is: the line of the cluster file that it comes from.
//!
//! Plans are joined to the cluster file by names, not by hooks in `emit`: a new kind of object or a
//! new field is found by its name, or else points at what it belongs to, and nothing breaks.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_schemas::change::{Action, Origin};
use evenkeel_schemas::plan::{Destination, Forwarding};

use super::checks;
use super::compare::Delta;
use super::objects::{Id, Object, Served};
use super::places::Origins;
use super::{Fleet, Inputs};

/// A step to something in a cluster file.
#[derive(Debug, Clone, Copy)]
enum Hop<'a> {
    Key(&'a str),
    /// The item of a list that has this text at this key.
    Item(&'a str, &'a str),
}

/// The line of the deepest thing on the way that is written, if at least `least` hops lead there.
fn find(origins: &Origins, way: &[Hop<'_>], least: usize) -> Option<Origin> {
    let (mut at, mut reach) = (origins.walk(), 0);
    for hop in way {
        let next = match *hop {
            Hop::Key(key) => at.key(key),
            Hop::Item(key, text) => at.item_with(key, text),
        };
        let Some(next) = next else { break };
        at = next;
        reach += 1;
    }
    if reach < least { None } else { at.origin() }
}

/// By VIP and real server, what it holds the VIP for: a service.
type Servers<'a> = BTreeMap<(IpAddr, &'a str), &'a str>;

/// Cluster as the plans of one time have it, looked up on demand: most changes need little of it.
struct FleetSide<'a> {
    fleet: &'a Fleet,
    origins: Option<&'a Origins>,
    services: OnceCell<Servers<'a>>,
    /// By real server, the first of these services.
    first_services: OnceCell<BTreeMap<&'a str, &'a str>>,
    /// By real server, a service that is sent to it by tunnel.
    tunnels: OnceCell<BTreeMap<&'a str, &'a str>>,
    /// By identity of a virtual server, its service.
    names: OnceCell<BTreeMap<Served<'a>, &'a str>>,
    /// The last of them that was asked for: destinations ask one after the other.
    last_name: Cell<Option<(Served<'a>, Option<&'a str>)>>,
}

impl<'a> FleetSide<'a> {
    const fn new(fleet: &'a Fleet, origins: Option<&'a Origins>) -> Self {
        Self {
            fleet,
            origins,
            services: OnceCell::new(),
            first_services: OnceCell::new(),
            tunnels: OnceCell::new(),
            names: OnceCell::new(),
            last_name: Cell::new(None),
        }
    }

    fn services(&self) -> &Servers<'a> {
        self.services.get_or_init(|| servers(self.fleet))
    }

    fn first_service(&self, host: &str) -> Option<&'a str> {
        let first = || {
            let mut first = BTreeMap::new();
            for ((_, host), service) in self.services() {
                first.entry(*host).or_insert(*service);
            }
            first
        };
        self.first_services.get_or_init(first).get(host).copied()
    }

    fn tunnel(&self, host: &str) -> Option<&'a str> {
        self.tunnels.get_or_init(|| tunnels(self.fleet)).get(host).copied()
    }

    fn name(&self, served: &Served<'a>) -> Option<&'a str> {
        if let Some((last, name)) = self.last_name.get()
            && last == *served
        {
            return name;
        }
        let names = || {
            let servers = self.fleet.values().flat_map(|state| &state.plan.virtual_servers);
            servers.map(|server| (Served::of(server), server.name.as_str())).collect()
        };
        let name = self.names.get_or_init(names).get(served).copied();
        self.last_name.set(Some((*served, name)));
        name
    }

    /// The first service of a director whose checks go through IPVS.
    fn asked(&self, host: &str) -> Option<&'a str> {
        let goes =
            |destination: &Destination| destination.checks().iter().any(|check| check.through.is_some());
        let mut servers = self.fleet.get(host)?.plan.virtual_servers.iter();
        Some(servers.find(|server| server.destinations.iter().any(goes))?.name.as_str())
    }

    /// The first virtual router of a director.
    fn router(&self, host: &str) -> Option<&'a str> {
        Some(self.fleet.get(host)?.plan.routers.first()?.name.as_str())
    }
}

/// Lines for the objects of a change.
pub(super) struct Causes<'a> {
    old: FleetSide<'a>,
    new: FleetSide<'a>,
}

impl<'a> Causes<'a> {
    pub(super) const fn new(inputs: &Inputs<'a>) -> Self {
        Self {
            old: FleetSide::new(inputs.before, inputs.old_origins),
            new: FleetSide::new(inputs.after, inputs.new_origins),
        }
    }

    /// The line that an object of a host comes from.
    pub(super) fn of_object(&self, host: &'a str, delta: &Delta<'a>) -> Option<Origin> {
        let (old, new) = (self.old.origins, self.new.origins);
        if delta.action() == Action::Remove {
            // What it was, or else what it is no longer in.
            let way = self.way(host, delta, &self.old);
            let was = old.and_then(|old| find(old, &way, 1));
            return was.or_else(|| new.and_then(|new| find(new, &way, 2)));
        }
        find(new?, &self.way(host, delta, &self.new), 1)
    }

    /// The line that a field of an object that changes comes from, unless it is the object's.
    pub(super) fn of_field(
        &self,
        host: &'a str,
        delta: &Delta<'a>,
        field: &str,
        object: Option<&Origin>,
    ) -> Option<Origin> {
        if delta.action() != Action::Change {
            return None;
        }
        let new = self.new.origins?;
        let way = self.way(host, delta, &self.new);
        let mut ways = field_ways(host, delta, field, &way).into_iter();
        let origin = ways.find_map(|way| find(new, &way, way.len())).or_else(|| find(new, &way, 1));
        origin.filter(|origin| Some(origin) != object)
    }

    fn way(&self, host: &'a str, delta: &Delta<'a>, side: &FleetSide<'a>) -> Vec<Hop<'a>> {
        let name = delta.name().unwrap_or_default();
        let of_host = || vec![Hop::Key("hosts"), Hop::Key(host)];
        match delta.key.id {
            Id::Router { .. } => vec![Hop::Key("virtual_routers"), Hop::Key(name)],
            Id::SyncGroup(id) => {
                let explicit = [Hop::Key("sync_groups"), Hop::Key(id.0)];
                // One that is not written is of a virtual router with VIPs of both families.
                match side.origins.filter(|origins| find(origins, &explicit, 2).is_none()) {
                    Some(_) => vec![Hop::Key("virtual_routers"), Hop::Key(id.0)],
                    None => explicit.to_vec(),
                }
            }
            Id::Tracker(id) => vec![Hop::Key("trackers"), Hop::Key(id.0)],
            Id::Secret(id) => {
                vec![Hop::Key("virtual_routers"), Hop::Key(id.0), Hop::Key("auth"), Hop::Key("secret")]
            }
            Id::Served { destination: None, .. } => vec![Hop::Key("services"), Hop::Key(name)],
            Id::Served { served, destination: Some(_), .. } => {
                side.name(&served).map_or_else(of_host, |service| real_server(service, name))
            }
            Id::Route { .. } if is_gateway(delta) => {
                vec![Hop::Key("hosts"), Hop::Key(host), Hop::Key("gateway")]
            }
            Id::Address { address: vip, .. } | Id::Route { destination: vip, .. } => {
                let service = side.services().get(&(vip.address(), host));
                service.map_or_else(of_host, |service| real_server(service, host))
            }
            Id::Tunnel(_) | Id::Gue { .. } => unwrapped(host, side),
            Id::Sysctl(key) if key.0.contains("/ek-") => unwrapped(host, side),
            Id::Sysctl(key) if key.0.ends_with("/accept_local") => match side.asked(host) {
                Some(service) => {
                    vec![Hop::Key("services"), Hop::Key(service), Hop::Key(checks::FIRST)]
                }
                None => of_host(),
            },
            Id::Sysctl(key) => match side.router(host) {
                Some(router) if !key.0.contains("/arp_") => {
                    vec![Hop::Key("virtual_routers"), Hop::Key(router), Hop::Key("directors")]
                }
                _ => side.first_service(host).map_or_else(of_host, |service| real_server(service, host)),
            },
            Id::Host(_) => of_host(),
        }
    }
}

fn is_gateway(delta: &Delta<'_>) -> bool {
    match delta.new.or(delta.old) {
        Some(Object::Route(route)) => route.via.is_some(),
        _ => false,
    }
}

/// The first service that is sent to a host by tunnel.
fn unwrapped<'a>(host: &'a str, side: &FleetSide<'a>) -> Vec<Hop<'a>> {
    match side.tunnel(host) {
        Some(service) => real_server(service, host),
        None => vec![Hop::Key("hosts"), Hop::Key(host)],
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
                servers.entry((vip.0, destination.host.as_str())).or_insert(server.name.as_str());
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

/// The ways to a field of a check: the real server's own, or else the service's.
fn of_check<'b>(field: &'b str, way: &[Hop<'b>], block: &[Hop<'b>]) -> Vec<Vec<Hop<'b>>> {
    let check = |base: &[Hop<'b>]| match checks::field(field) {
        Some((Some(kind), _)) => [base, &[Hop::Key(checks::FURTHER), Hop::Item("type", kind)]].concat(),
        _ => [base, &[Hop::Key(checks::FIRST)]].concat(),
    };
    let keys = || checks::field(field).into_iter().flat_map(|(_, key)| key.split('.')).map(Hop::Key);
    let key = |base: &[Hop<'b>]| check(base).into_iter().chain(keys()).collect();
    vec![key(way), check(way), key(block), check(block)]
}

/// The ways to a field, the likeliest first: most are called in the cluster file as in the plan.
fn field_ways<'b>(host: &'b str, delta: &Delta<'b>, field: &'b str, way: &[Hop<'b>]) -> Vec<Vec<Hop<'b>>> {
    let below = |base: &[Hop<'b>], field: &'b str| {
        base.iter().copied().chain(field.split('.').map(Hop::Key)).collect::<Vec<_>>()
    };
    let of_host = |host: &'b str, key: &'b str| vec![Hop::Key("hosts"), Hop::Key(host), Hop::Key(key)];
    let block = way.get(..2).unwrap_or_default();
    match (delta.kind(), field) {
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
        ("destination", "drain") => vec![of_host(delta.name().unwrap_or_default(), "drain")],
        ("destination", "address") => vec![of_host(delta.name().unwrap_or_default(), "address")],
        ("destination", _) if field.starts_with("encapsulation") => {
            vec![below(block, "tunnel"), below(block, "forwarding")]
        }
        ("destination", "forwarding") => vec![below(way, field), below(block, field)],
        ("destination", _) if checks::field(field).is_some() || field == checks::FIRST => {
            of_check(field, way, block)
        }
        _ => vec![below(way, field)],
    }
}
