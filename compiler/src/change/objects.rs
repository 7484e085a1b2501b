//! A plan as a set of objects: each with a kind, an identity and fields.
//!
//! Objects are references into the plan: a plan may have a hundred thousand of them. Their fields are those
//! of the serialised form, made when somebody asks, so that a field that the plan gains is compared without a
//! line here. What tells two objects of a kind apart is what the kernel or the wire tells them apart by: only
//! then does "add" mean that something new is made and "remove" that something goes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_schemas::plan::{
    Address, Destination, Family, Front, Gue, Plan, Route, Router, SyncGroup, Sysctl, Tracker, Tunnel,
    VirtualServer,
};
use evenkeel_schemas::scalars::{Cidr, Ip, Port};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::{Map, Value};

use super::{HostState, checks};

/// The kinds of objects, in the order in which they are shown; a destination stands right below its virtual
/// server.
pub(super) const KINDS: [&str; 12] = [
    "host",
    "router",
    "sync_group",
    "tracker",
    "virtual_server",
    "destination",
    "tunnel",
    "gue",
    "address",
    "route",
    "sysctl",
    "secret",
];

/// Between a virtual server and its destination.
pub(super) const ARROW: &str = " -> ";

/// Field of a secret; its value is never shown.
pub(super) const SECRET_FIELD: &str = "text";

/// The routing table `main`, which goes without saying.
const MAIN_TABLE: u32 = 254;

/// A name that sorts as people count: `eth9` before `eth10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Natural<'a>(pub(super) &'a str);

impl Ord for Natural<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (self.0, other.0);
        loop {
            let order = match (part(&mut a), part(&mut b)) {
                // Where `01` and `1` are all that differs, the texts decide.
                (None, None) => return self.0.cmp(other.0),
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(first), Some(second)) => match (number(first), number(second)) {
                    (Some(first), Some(second)) => first.cmp(&second),
                    _ => first.cmp(second),
                },
            };
            if order != Ordering::Equal {
                return order;
            }
        }
    }
}

impl PartialOrd for Natural<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn number(text: &str) -> Option<u64> {
    if text.starts_with(|c: char| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Takes the digits, or what are none, off the front.
fn part<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let digit = rest.chars().next()?.is_ascii_digit();
    let end = rest.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(rest.len());
    let (part, after) = rest.split_at(end);
    *rest = after;
    Some(part)
}

/// Identity of a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Served<'a> {
    Front(Front),
    /// One with which something is wrong.
    Name(&'a str),
}

impl<'a> Served<'a> {
    pub(super) fn of(server: &'a VirtualServer) -> Self {
        server.front().map_or_else(|| Self::Name(server.name.as_str()), Self::Front)
    }
}

impl fmt::Display for Served<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Front(front) => front.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Identity of an object on its host. Sorts by kind, then as people count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id<'a> {
    Host(&'a str),
    Router {
        vrid: u8,
        interface: Natural<'a>,
        v6: bool,
    },
    SyncGroup(Natural<'a>),
    Tracker(Natural<'a>),
    /// A virtual server, or one of its destinations. `nth` is that of the virtual server.
    Served {
        served: Served<'a>,
        nth: u32,
        destination: Option<(Ip, Option<Port>)>,
    },
    Tunnel(Natural<'a>),
    Gue {
        family: Family,
        port: Port,
    },
    Address {
        address: Cidr,
        interface: Natural<'a>,
    },
    Route {
        destination: Cidr,
        interface: Natural<'a>,
        table: u32,
        metric: u32,
    },
    Sysctl(Natural<'a>),
    Secret(Natural<'a>),
}

/// An identity, and which of several objects that have it: nothing may hide behind another object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectKey<'a> {
    pub(super) id: Id<'a>,
    /// From 1.
    nth: u32,
}

impl Id<'_> {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Router { .. } => "router",
            Self::SyncGroup(_) => "sync_group",
            Self::Tracker(_) => "tracker",
            Self::Served { destination: None, .. } => "virtual_server",
            Self::Served { destination: Some(_), .. } => "destination",
            Self::Tunnel(_) => "tunnel",
            Self::Gue { .. } => "gue",
            Self::Address { .. } => "address",
            Self::Route { .. } => "route",
            Self::Sysctl(_) => "sysctl",
            Self::Secret(_) => "secret",
        }
    }

    /// Whether clients are served with it: settings and empty plans do nothing by themselves.
    pub(super) const fn serves(&self) -> bool {
        matches!(self, Self::Router { .. } | Self::Served { .. } | Self::Address { .. })
    }
}

impl fmt::Display for ObjectKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = |v6: bool| if v6 { " (IPv6)" } else { "" };
        match &self.id {
            Id::Host(name) => f.write_str(name)?,
            Id::Router { vrid, interface, v6: is_v6 } => {
                write!(f, "vrid {vrid} on {}{}", interface.0, v6(*is_v6))?;
            }
            Id::SyncGroup(name)
            | Id::Tracker(name)
            | Id::Tunnel(name)
            | Id::Sysctl(name)
            | Id::Secret(name) => {
                f.write_str(name.0)?;
            }
            Id::Served { served, nth, destination } => {
                served.fmt(f)?;
                again(f, *nth)?;
                match destination {
                    None => {}
                    Some((address, None)) => write!(f, "{ARROW}{address}")?,
                    Some((address, Some(port))) if address.0.is_ipv6() => {
                        write!(f, "{ARROW}[{address}]:{port}")?;
                    }
                    Some((address, Some(port))) => write!(f, "{ARROW}{address}:{port}")?,
                }
            }
            Id::Gue { family, port } => write!(f, "{family} port {port}")?,
            Id::Address { address, interface } => write!(f, "{address} on {}", interface.0)?,
            Id::Route { destination, interface, table, metric } => {
                write!(f, "{destination} on {}", interface.0)?;
                if *table != MAIN_TABLE {
                    write!(f, " table {table}")?;
                }
                if *metric != 0 {
                    write!(f, " metric {metric}")?;
                }
            }
        }
        again(f, self.nth)
    }
}

fn again(f: &mut fmt::Formatter<'_>, nth: u32) -> fmt::Result {
    if nth > 1 { write!(f, " #{nth}") } else { Ok(()) }
}

/// The fields of an object by name, nested tables as `table.field`.
pub(super) type Fields = BTreeMap<String, Value>;

/// One object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Object<'a> {
    Host(&'a Plan),
    Router(&'a Router),
    SyncGroup(&'a SyncGroup),
    Tracker(&'a Tracker),
    VirtualServer(&'a VirtualServer),
    Destination(&'a Destination),
    Tunnel(&'a Tunnel),
    Gue(&'a Gue),
    Address(&'a Address),
    Route(&'a Route),
    Sysctl(&'a Sysctl),
    Secret,
}

impl<'a> Object<'a> {
    /// Name in the cluster file, if it has one that is not its identity; of a destination the host's.
    pub(super) fn name(self) -> Option<&'a str> {
        match self {
            Self::Router(router) => Some(router.name.as_str()),
            Self::VirtualServer(server) => match Served::of(server) {
                Served::Front(_) => Some(server.name.as_str()),
                Served::Name(_) => None,
            },
            Self::Destination(destination) => Some(destination.host.as_str()),
            Self::Host(_)
            | Self::SyncGroup(_)
            | Self::Tracker(_)
            | Self::Tunnel(_)
            | Self::Gue(_)
            | Self::Address(_)
            | Self::Route(_)
            | Self::Sysctl(_)
            | Self::Secret => None,
        }
    }

    /// Whether both are of one kind and have the same fields.
    pub(super) fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Host(a), Self::Host(b)) => std::ptr::eq(a, b) || header(a) == header(b),
            (Self::Router(a), Self::Router(b)) => a == b,
            (Self::SyncGroup(a), Self::SyncGroup(b)) => a == b,
            (Self::Tracker(a), Self::Tracker(b)) => a == b,
            (Self::VirtualServer(a), Self::VirtualServer(b)) => std::ptr::eq(a, b) || alone(a) == alone(b),
            (Self::Destination(a), Self::Destination(b)) => a == b,
            (Self::Tunnel(a), Self::Tunnel(b)) => a == b,
            (Self::Gue(a), Self::Gue(b)) => a == b,
            (Self::Address(a), Self::Address(b)) => a == b,
            (Self::Route(a), Self::Route(b)) => a == b,
            (Self::Sysctl(a), Self::Sysctl(b)) => a == b,
            (Self::Secret, Self::Secret) => true,
            _ => false,
        }
    }

    /// Fields of the object.
    pub(super) fn fields(self) -> Fields {
        let mut fields = Fields::new();
        if let Ok(Value::Object(mut table)) = self.serialize(serde_json::value::Serializer) {
            if let Self::Destination(_) = self {
                let checks = checks::named(&mut table).into_iter();
                checks.for_each(|(name, check)| flatten(&mut fields, name, check));
            }
            // What is a kind of object is no field.
            let own = table
                .into_iter()
                .filter(|(name, value)| !(value.is_array() && KINDS.contains(&name.as_str())));
            own.for_each(|(name, value)| flatten(&mut fields, name, value));
        }
        fields
    }

    /// Serialises it without the objects that belong to it.
    pub(super) fn serialize<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Host(plan) => header(plan).serialize(serializer),
            Self::Router(router) => router.serialize(serializer),
            Self::SyncGroup(group) => group.serialize(serializer),
            Self::Tracker(tracker) => tracker.serialize(serializer),
            Self::VirtualServer(server) => alone(server).serialize(serializer),
            Self::Destination(destination) => destination.serialize(serializer),
            Self::Tunnel(tunnel) => tunnel.serialize(serializer),
            Self::Gue(gue) => gue.serialize(serializer),
            Self::Address(address) => address.serialize(serializer),
            Self::Route(route) => route.serialize(serializer),
            Self::Sysctl(sysctl) => sysctl.serialize(serializer),
            Self::Secret => {
                let mut table = serializer.serialize_struct("Secret", 1)?;
                table.serialize_field(SECRET_FIELD, &())?;
                table.end()
            }
        }
    }
}

/// A plan without its lists of objects. Whoever adds one to plans is stopped here and adds it to [`of_plan`].
pub(super) fn header(plan: &Plan) -> Plan {
    let Plan {
        format,
        cluster,
        host,
        host_addresses,
        prevent_removal,
        maintenance,
        policy,
        routers: _,
        sync_groups: _,
        trackers: _,
        virtual_servers: _,
        ipvs_timeouts,
        connection_sync,
        tunnels: _,
        gue: _,
        addresses: _,
        routes: _,
        sysctls: _,
    } = plan;
    Plan {
        format: *format,
        cluster: cluster.clone(),
        host: host.clone(),
        host_addresses: host_addresses.clone(),
        prevent_removal: *prevent_removal,
        maintenance: *maintenance,
        policy: policy.clone(),
        routers: Vec::new(),
        sync_groups: Vec::new(),
        trackers: Vec::new(),
        virtual_servers: Vec::new(),
        ipvs_timeouts: ipvs_timeouts.clone(),
        connection_sync: connection_sync.clone(),
        tunnels: Vec::new(),
        gue: Vec::new(),
        addresses: Vec::new(),
        routes: Vec::new(),
        sysctls: Vec::new(),
    }
}

/// A plan without its virtual servers.
pub(super) fn without_servers(plan: &Plan) -> Plan {
    Plan {
        routers: plan.routers.clone(),
        sync_groups: plan.sync_groups.clone(),
        trackers: plan.trackers.clone(),
        tunnels: plan.tunnels.clone(),
        gue: plan.gue.clone(),
        addresses: plan.addresses.clone(),
        routes: plan.routes.clone(),
        sysctls: plan.sysctls.clone(),
        ..header(plan)
    }
}

/// A virtual server without its destinations.
pub(super) fn alone(server: &VirtualServer) -> VirtualServer {
    let VirtualServer {
        name,
        address,
        port,
        protocol,
        firewall_mark,
        family,
        vips,
        only_as_master_of,
        scheduler,
        scheduler_flags,
        one_packet,
        persistence,
        on_failure,
        quorum,
        sorry_server,
        floor,
        slow_start,
        damping,
        quiesce_for,
        drain,
        hooks,
        prevent_removal,
        destinations: _,
    } = server;
    VirtualServer {
        name: name.clone(),
        address: *address,
        port: *port,
        protocol: *protocol,
        firewall_mark: *firewall_mark,
        family: *family,
        vips: vips.clone(),
        only_as_master_of: only_as_master_of.clone(),
        scheduler: *scheduler,
        scheduler_flags: scheduler_flags.clone(),
        one_packet: *one_packet,
        persistence: persistence.clone(),
        on_failure: *on_failure,
        quorum: quorum.clone(),
        sorry_server: sorry_server.clone(),
        floor: floor.clone(),
        slow_start: *slow_start,
        damping: damping.clone(),
        quiesce_for: *quiesce_for,
        drain: *drain,
        hooks: hooks.clone(),
        prevent_removal: *prevent_removal,
        destinations: Vec::new(),
    }
}

/// Objects in the order of their keys.
pub(super) type Objects<'a> = Vec<(ObjectKey<'a>, Object<'a>)>;

/// All objects of a host, its secrets included.
pub(super) fn of_host(state: &HostState) -> Objects<'_> {
    let mut objects = of_plan(&state.plan);
    // In order, and the last kind.
    objects.extend(secrets(state).map(|id| (ObjectKey { id, nth: 1 }, Object::Secret)));
    objects
}

/// The secrets of a host.
pub(super) fn secrets(state: &HostState) -> impl Iterator<Item = Id<'_>> {
    let names: BTreeSet<Natural<'_>> = state.secrets.keys().map(|name| Natural(name)).collect();
    names.into_iter().map(Id::Secret)
}

/// Number of objects of a host, its secrets included.
pub(super) fn count(state: &HostState) -> usize {
    count_of_plan(&state.plan) + state.secrets.len()
}

fn count_of_plan(plan: &Plan) -> usize {
    let destinations: usize = plan.virtual_servers.iter().map(|server| server.destinations.len()).sum();
    1 + plan.routers.len()
        + plan.sync_groups.len()
        + plan.trackers.len()
        + plan.virtual_servers.len()
        + destinations
        + plan.tunnels.len()
        + plan.gue.len()
        + plan.addresses.len()
        + plan.routes.len()
        + plan.sysctls.len()
}

/// Number of objects that clients are served with: [`Id::serves`].
pub(super) fn count_serving(plan: &Plan) -> usize {
    let destinations: usize = plan.virtual_servers.iter().map(|server| server.destinations.len()).sum();
    plan.routers.len() + plan.virtual_servers.len() + destinations + plan.addresses.len()
}

/// All objects of a plan.
pub(super) fn of_plan(plan: &Plan) -> Objects<'_> {
    let mut all = Objects::with_capacity(count_of_plan(plan));
    let mut add = |id, object| all.push((ObjectKey { id, nth: 1 }, object));
    add(Id::Host(plan.host.as_str()), Object::Host(plan));
    for router in &plan.routers {
        let (vrid, interface) = (router.vrid.get(), Natural(router.interface.as_str()));
        add(Id::Router { vrid, interface, v6: router.source.0.is_ipv6() }, Object::Router(router));
    }
    for group in &plan.sync_groups {
        add(Id::SyncGroup(Natural(group.name.as_str())), Object::SyncGroup(group));
    }
    for tracker in &plan.trackers {
        add(Id::Tracker(Natural(tracker.name.as_str())), Object::Tracker(tracker));
    }
    served(plan, &mut add);
    for tunnel in &plan.tunnels {
        add(Id::Tunnel(Natural(tunnel.interface.as_str())), Object::Tunnel(tunnel));
    }
    for gue in &plan.gue {
        add(Id::Gue { family: gue.family, port: gue.port }, Object::Gue(gue));
    }
    for address in &plan.addresses {
        let interface = Natural(address.interface.as_str());
        add(Id::Address { address: address.address, interface }, Object::Address(address));
    }
    for route in &plan.routes {
        let (destination, interface) = (route.destination, Natural(route.interface.as_str()));
        let id = Id::Route { destination, interface, table: route.table, metric: route.metric };
        add(id, Object::Route(route));
    }
    for sysctl in &plan.sysctls {
        add(Id::Sysctl(Natural(sysctl.key.as_str())), Object::Sysctl(sysctl));
    }
    all.sort_by_key(|(key, _)| *key);
    let mut last: Option<ObjectKey<'_>> = None;
    for (key, _) in &mut all {
        if let Some(last) = last.filter(|last| last.id == key.id) {
            key.nth = last.nth + 1;
        }
        last = Some(*key);
    }
    all
}

/// Virtual servers with their destinations.
fn served<'a>(plan: &'a Plan, add: &mut impl FnMut(Id<'a>, Object<'a>)) {
    let mut servers: Vec<(Served<'a>, &VirtualServer)> =
        plan.virtual_servers.iter().map(|server| (Served::of(server), server)).collect();
    servers.sort_by_key(|(served, _)| *served);
    let (mut last, mut nth) = (None, 1);
    for (served, server) in servers {
        nth = if last == Some(served) { nth + 1 } else { 1 };
        last = Some(served);
        add(Id::Served { served, nth, destination: None }, Object::VirtualServer(server));
        for destination in &server.destinations {
            let socket = Some((destination.address, destination.port));
            add(Id::Served { served, nth, destination: socket }, Object::Destination(destination));
        }
    }
}

fn flatten(fields: &mut Fields, name: String, value: Value) {
    match value {
        Value::Object(table) if has_fields(&table) => {
            for (key, value) in table {
                flatten(fields, format!("{name}.{key}"), value);
            }
        }
        value => _ = fields.insert(name, value),
    }
}

/// Whether the fields of a table are fields of the object, and not the whole table one.
pub(super) fn has_fields(table: &Map<String, Value>) -> bool {
    !table.is_empty() && !table.keys().any(|key| key.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_people_count() {
        let served = |address: &str| {
            Served::Front(Front::Transport {
                protocol: evenkeel_schemas::plan::Protocol::Tcp,
                address: address.parse().expect("address"),
                port: Port::new(80).expect("port"),
            })
        };
        let server = |address, destination| {
            let id = Id::Served { served: served(address), nth: 1, destination };
            ObjectKey { id, nth: 1 }
        };
        let to = Some(("10.0.0.1".parse().expect("address"), Some(Port::new(80).expect("port"))));
        let mut keys = [server("10.0.0.10", None), server("10.0.0.9", to), server("10.0.0.9", None)];
        keys.sort();
        let ids: Vec<String> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["tcp 10.0.0.9:80", "tcp 10.0.0.9:80 -> 10.0.0.1:80", "tcp 10.0.0.10:80"]);
        let mut names = ["eth10", "eth9", "eth", "eth9.1", "9", "eth09"].map(Natural);
        names.sort();
        assert_eq!(names.map(|name| name.0), ["9", "eth", "eth09", "eth9", "eth9.1", "eth10"]);
    }
}
