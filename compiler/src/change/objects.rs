//! A plan as a set of objects: each with a kind, an identity and fields.
//!
//! Works on the plan's serialised form, so that a field that the plan gains is compared without a
//! line here. What tells two objects of a kind apart is what the kernel or the wire tells them
//! apart by: only then does "add" mean that something new is made and "remove" that something goes.

use std::collections::BTreeMap;

use evenkeel_schemas::plan::{Plan, VirtualServer};
use serde_json::{Map, Value};

use super::HostState;

/// The kinds that are known, in the order in which they are shown.
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

/// What tells an object from all others of its host. Sorts by kind, then as people count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    rank: usize,
    natural: Vec<Part>,
    pub(super) kind: String,
    pub(super) id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl Key {
    pub(super) fn new(kind: &str, id: String) -> Self {
        // A destination stands right below its virtual server.
        let shown = if kind == "destination" { "virtual_server" } else { kind };
        let rank = KINDS.iter().position(|known| *known == shown).unwrap_or(KINDS.len());
        Self { rank, natural: natural(&id), kind: kind.to_owned(), id }
    }
}

fn natural(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(match part.parse() {
            Ok(number) if digit => Part::Number(number),
            _ => Part::Text(part.to_owned()),
        });
        rest = after;
    }
    parts
}

/// The fields of an object by name, nested tables as `table.field`.
pub(super) type Fields = BTreeMap<String, Value>;

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// Its name in the cluster file, if it has one that is not its identity; of a destination the host's.
    pub(super) name: Option<String>,
    pub(super) fields: Fields,
}

pub(super) type Objects = BTreeMap<Key, Object>;

/// All objects of a host, its secrets included.
pub(super) fn of_host(state: &HostState) -> Objects {
    let mut objects = of_plan(&state.plan);
    for name in state.secrets.keys() {
        let object = Object { name: None, fields: Fields::from([(SECRET_FIELD.to_owned(), Value::Null)]) };
        objects.insert(Key::new("secret", name.clone()), object);
    }
    objects
}

/// All objects of a plan.
pub(super) fn of_plan(plan: &Plan) -> Objects {
    let mut objects = Objects::new();
    let Ok(Value::Object(table)) = serde_json::to_value(plan) else {
        return objects;
    };
    take(&mut objects, "host", &table, None);
    objects
}

/// Adds the object `table` and those that are lists in it.
fn take(objects: &mut Objects, kind: &str, table: &Map<String, Value>, parent: Option<&str>) {
    let id = unused(objects, kind, identity(kind, table, parent));
    let mut fields = Fields::new();
    for (name, value) in table {
        match value {
            Value::Array(items) if is_list_of_objects(kind, name, items) => {
                for item in items.iter().filter_map(Value::as_object) {
                    take(objects, name, item, (kind != "host").then_some(id.as_str()));
                }
            }
            value => flatten(&mut fields, name, value),
        }
    }
    let name = text(table, if kind == "destination" { "host" } else { "name" }).filter(|name| *name != id);
    objects.insert(Key::new(kind, id), Object { name, fields });
}

/// A list of tables directly in the plan is a kind of object; deeper only destinations are.
fn is_list_of_objects(kind: &str, name: &str, items: &[Value]) -> bool {
    let known = KINDS.contains(&name);
    let tables = !items.is_empty() && items.iter().all(Value::is_object);
    known || (kind == "host" && tables)
}

fn identity(kind: &str, table: &Map<String, Value>, parent: Option<&str>) -> String {
    let get = |name: &str| text(table, name);
    let known = match kind {
        "host" => get("host"),
        "router" => (|| {
            let family = if get("source")?.contains(':') { " (IPv6)" } else { "" };
            Some(format!("vrid {} on {}{family}", get("vrid")?, get("interface")?))
        })(),
        "virtual_server" => (|| Some(format!("{} {}", get("protocol")?, socket(table)?)))().or_else(|| {
            let family = if get("family").as_deref() == Some("ipv6") { " (IPv6)" } else { "" };
            Some(format!("fwmark {}{family}", get("firewall_mark")?))
        }),
        "destination" => {
            (|| Some(format!("{}{ARROW}{}", parent?, socket(table).or_else(|| get("address"))?)))()
        }
        "tunnel" => get("interface"),
        "gue" => (|| Some(format!("{} port {}", get("family")?, get("port")?)))(),
        "address" => (|| Some(format!("{} on {}", get("address")?, get("interface")?)))(),
        "route" => (|| {
            let table = get("table").filter(|table| table != "254");
            let table = table.map(|table| format!(" table {table}")).unwrap_or_default();
            let metric = get("metric").filter(|metric| metric != "0");
            let metric = metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
            Some(format!("{} on {}{table}{metric}", get("destination")?, get("interface")?))
        })(),
        _ => None,
    };
    known
        .or_else(|| get("key"))
        .or_else(|| get("name"))
        .unwrap_or_else(|| Value::Object(table.clone()).to_string())
}

/// Identity of a virtual server.
pub(super) fn server_id(server: &VirtualServer) -> String {
    server.front().map(|front| front.to_string()).unwrap_or_default()
}

/// Address and port.
fn socket(table: &Map<String, Value>) -> Option<String> {
    let address = text(table, "address")?;
    let port = text(table, "port")?;
    Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
}

fn text(table: &Map<String, Value>, name: &str) -> Option<String> {
    match table.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Nothing may hide behind another object of the same identity.
fn unused(objects: &Objects, kind: &str, id: String) -> String {
    if !objects.contains_key(&Key::new(kind, id.clone())) {
        return id;
    }
    (2_u32..)
        .map(|number| format!("{id} #{number}"))
        .find(|id| !objects.contains_key(&Key::new(kind, id.clone())))
        .unwrap_or(id)
}

fn flatten(fields: &mut Fields, name: &str, value: &Value) {
    match value {
        Value::Object(table) if !table.is_empty() && !table.keys().any(|key| key.contains('.')) => {
            for (key, value) in table {
                flatten(fields, &format!("{name}.{key}"), value);
            }
        }
        value => _ = fields.insert(name.to_owned(), value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_object_in_a_plan_has_an_identity_of_its_own() {
        let schema = evenkeel_schemas::json::plan();
        let properties = schema["properties"].as_object().expect("properties");
        for (name, property) in properties {
            if property["type"] == "array"
                && property["items"]["$ref"].as_str().is_some_and(|r| !r.ends_with("/Ip"))
            {
                assert!(KINDS.contains(&name.as_str()), "`{name}`: say in objects.rs what tells them apart");
            }
        }
    }

    #[test]
    fn ids_sort_as_people_count() {
        let mut keys: Vec<Key> = ["tcp 10.0.0.10:80", "tcp 10.0.0.9:80", "tcp 10.0.0.9:80 -> 10.0.0.1:80"]
            .into_iter()
            .map(|id| {
                Key::new(if id.contains("->") { "destination" } else { "virtual_server" }, id.to_owned())
            })
            .collect();
        keys.sort();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["tcp 10.0.0.9:80", "tcp 10.0.0.9:80 -> 10.0.0.1:80", "tcp 10.0.0.10:80"]);
    }
}
