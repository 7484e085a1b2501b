//! A change applied to the plans it was made from: the law that nothing is lost on the way.
//!
//! What `evenkeel apply` writes are the compiler's own bytes; this is how tests, and whoever reads
//! the JSON, know that the change is the whole difference.

use std::collections::BTreeMap;

use evenkeel_schemas::change::{Action, Change, ObjectChange};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use serde_json::{Map, Value};

use super::objects::{self, ARROW, Fields};

/// An object's kind and identity.
type PlainKey = (String, String);

/// The objects of a plan, each with its fields.
type Objects = BTreeMap<PlainKey, Fields>;

fn objects(plan: &Plan) -> Objects {
    let key = |key: objects::ObjectKey<'_>| (key.id.kind().to_owned(), key.to_string());
    objects::of_plan(plan).into_iter().map(|(id, object)| (key(id), object.fields())).collect()
}

/// The plans that `change` makes of `before`, in their normal form. Secrets are not part of plans.
///
/// # Errors
/// When the change was not made from these plans.
pub fn apply(change: &Change, before: &BTreeMap<Name, Plan>) -> Result<BTreeMap<Name, Plan>, String> {
    let mut after: BTreeMap<Name, Plan> =
        before.iter().map(|(name, plan)| (name.clone(), normal(plan))).collect();
    for host in &change.hosts {
        let mut objects = before.get(&host.host).map(objects).unwrap_or_default();
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
    let key = (change.kind.clone(), change.id.clone());
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
            let object = objects.entry(key).or_default();
            for field in &change.fields {
                if object.get(&field.field) != field.old.as_ref() {
                    return Err(format!("{}: `{}` is not what it was", what(), field.field));
                }
                match &field.new {
                    Some(value) => _ = object.insert(field.field.clone(), value.clone()),
                    None => _ = object.remove(&field.field),
                }
            }
        }
    }
    Ok(())
}

/// A plan with its objects in one order, whatever order it had.
#[must_use]
pub fn normal(plan: &Plan) -> Plan {
    build(&objects(plan)).unwrap_or_else(|_| plan.clone())
}

/// An object's identity and its table.
type Item<'a> = (&'a str, Map<String, Value>);

fn build(objects: &Objects) -> Result<Plan, String> {
    let mut plan = Map::new();
    let mut lists: BTreeMap<&str, Vec<Item<'_>>> = BTreeMap::new();
    let mut destinations: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for ((kind, id), fields) in objects {
        let table = unflatten(fields);
        match kind.as_str() {
            "host" => plan.extend(table),
            "destination" => {
                let (parent, _) = id.rsplit_once(ARROW).ok_or_else(|| format!("{id} is no destination"))?;
                destinations.entry(parent).or_default().push(Value::Object(table));
            }
            kind => lists.entry(kind).or_default().push((id, table)),
        }
    }
    for (id, server) in lists.get_mut("virtual_server").into_iter().flatten() {
        if let Some(list) = destinations.remove(*id) {
            server.insert("destination".to_owned(), Value::Array(list));
        }
    }
    if let Some(parent) = destinations.keys().next() {
        return Err(format!("there are destinations of {parent}, which is not there"));
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
