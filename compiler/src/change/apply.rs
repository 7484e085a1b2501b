//! A change applied to the plans it was made from: the law that nothing is lost on the way.
//!
//! What `evenkeel apply` writes are the compiler's own bytes; this is how tests, and whoever reads
//! the JSON, know that the change is the whole difference.

use std::collections::BTreeMap;

use evenkeel_schemas::change::{Action, Change, ObjectChange};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use serde_json::{Map, Value};

use super::objects::{self, ARROW, Fields, Key, Objects};

/// The plans that `change` makes of `before`, in their normal form. Secrets are not part of plans.
///
/// # Errors
/// When the change was not made from these plans.
pub fn apply(change: &Change, before: &BTreeMap<Name, Plan>) -> Result<BTreeMap<Name, Plan>, String> {
    let mut after: BTreeMap<Name, Plan> =
        before.iter().map(|(name, plan)| (name.clone(), normal(plan))).collect();
    for host in &change.hosts {
        let mut objects = before.get(&host.host).map(objects::of_plan).unwrap_or_default();
        for object in host.objects.iter().filter(|object| object.kind != "secret") {
            apply_object(&mut objects, object).map_err(|error| format!("{}: {error}", host.host))?;
        }
        if host.action == Action::Remove {
            after.remove(&host.host);
        } else {
            after.insert(host.host.clone(), build(&objects)?);
        }
    }
    Ok(after)
}

fn apply_object(objects: &mut Objects, change: &ObjectChange) -> Result<(), String> {
    let key = Key::new(&change.kind, change.id.clone());
    let what = || format!("{} {}", change.kind, change.id);
    match change.action {
        Action::Remove => {
            objects.remove(&key).ok_or_else(|| format!("{} is not there", what()))?;
        }
        Action::Add | Action::Change => {
            let there = objects.contains_key(&key);
            if there != (change.action == Action::Change) {
                return Err(format!("{} is {}there", what(), if there { "" } else { "not " }));
            }
            let object = objects
                .entry(key)
                .or_insert_with(|| objects::Object { name: change.name.clone(), fields: Fields::new() });
            for field in &change.fields {
                if object.fields.get(&field.field) != field.old.as_ref() {
                    return Err(format!("{}: `{}` is not what it was", what(), field.field));
                }
                match &field.new {
                    Some(value) => _ = object.fields.insert(field.field.clone(), value.clone()),
                    None => _ = object.fields.remove(&field.field),
                }
            }
        }
    }
    Ok(())
}

/// A plan with its objects in one order, whatever order it had.
#[must_use]
pub fn normal(plan: &Plan) -> Plan {
    build(&objects::of_plan(plan)).unwrap_or_else(|_| plan.clone())
}

/// An object's identity and its table.
type Item<'a> = (&'a str, Map<String, Value>);

fn build(objects: &Objects) -> Result<Plan, String> {
    let mut plan = Map::new();
    let mut lists: BTreeMap<&str, Vec<Item<'_>>> = BTreeMap::new();
    for (key, object) in objects {
        let table = unflatten(&object.fields);
        match key.kind.as_str() {
            "host" => plan.extend(table),
            "destination" => {
                let parent = key.id.rsplit_once(ARROW).map(|(parent, _)| parent);
                let server = lists
                    .get_mut("virtual_server")
                    .and_then(|servers| servers.last_mut())
                    .filter(|(id, _)| Some(*id) == parent)
                    .ok_or_else(|| format!("destination {} has no virtual server", key.id))?;
                let list = server.1.entry("destination").or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::Object(table));
                }
            }
            kind => lists.entry(kind).or_default().push((&key.id, table)),
        }
    }
    for (kind, items) in lists {
        let items = items.into_iter().map(|(_, table)| Value::Object(table)).collect();
        plan.insert(kind.to_owned(), Value::Array(items));
    }
    serde_json::from_value(Value::Object(plan)).map_err(|error| error.to_string())
}

fn unflatten(fields: &Fields) -> Map<String, Value> {
    let mut root = Map::new();
    for (name, value) in fields {
        insert(&mut root, name, value);
    }
    root
}

fn insert(table: &mut Map<String, Value>, name: &str, value: &Value) {
    let Some((first, rest)) = name.split_once('.') else {
        table.insert(name.to_owned(), value.clone());
        return;
    };
    if let Value::Object(inner) = table.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        insert(inner, rest, value);
    }
}
