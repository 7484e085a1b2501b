//! `[defaults]`: puts its keys into the objects that do not have them.
//!
//! Done before the shape is checked, so that a key that must be there may come from the defaults.
//! The document finds such a value where it is written. What is wrong with it is told there, once.

use serde_json::{Map, Value};

use crate::parse::Document;
use crate::path::OwnedStep;

/// Paths of values that came from the defaults.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Paths of the objects' keys, ascending.
    keys: Vec<Vec<OwnedStep>>,
}

impl Inherited {
    /// Whether the value at `path` came from the defaults.
    pub(super) fn has(&self, path: &[OwnedStep]) -> bool {
        let after = self.keys.partition_point(|key| key.as_slice() <= path);
        after.checked_sub(1).and_then(|last| self.keys.get(last)).is_some_and(|key| path.starts_with(key))
    }
}

/// Fills in what objects lack.
pub(super) fn defaults(root: &mut Value, document: &mut Document<'_>) -> Inherited {
    let Some(mut defaults) = root.get("defaults").and_then(Value::as_object).cloned() else {
        return Inherited::default();
    };
    let mut inherited = Inherited::default();
    let mut take = |name: &str| match defaults.remove(name) {
        Some(Value::Object(keys)) if !keys.is_empty() => Some(keys),
        _ => None,
    };
    let (router, service, check) = (take("virtual_router"), take("service"), take("check"));
    for (section, kind, keys) in
        [("virtual_routers", "virtual_router", router), ("services", "service", service)]
    {
        let Some(keys) = keys else { continue };
        for (name, object) in objects(root, section) {
            fill(object, &keys, &[key(section), key(name)], kind, document, &mut inherited);
        }
    }
    if let Some(keys) = check {
        for (name, service) in objects(root, "services") {
            let Some(service) = service.as_object_mut() else { continue };
            let path = |last: &str| vec![key("services"), key(name), key(last)];
            if let Some(check) = service.get_mut("check") {
                fill(check, &keys, &path("check"), "check", document, &mut inherited);
            }
            let checks = service.get_mut("checks").and_then(Value::as_array_mut);
            for (index, check) in checks.into_iter().flatten().enumerate() {
                let mut path = path("checks");
                path.push(OwnedStep::Index(index));
                fill(check, &keys, &path, "check", document, &mut inherited);
            }
        }
    }
    inherited.keys.sort_unstable();
    inherited
}

fn objects<'v>(root: &'v mut Value, section: &str) -> impl Iterator<Item = (&'v String, &'v mut Value)> {
    root.get_mut(section).and_then(Value::as_object_mut).into_iter().flat_map(Map::iter_mut)
}

fn fill(
    object: &mut Value,
    keys: &Map<String, Value>,
    path: &[OwnedStep],
    kind: &str,
    document: &mut Document<'_>,
    inherited: &mut Inherited,
) {
    let Some(object) = object.as_object_mut() else { return };
    for (name, value) in keys {
        if object.contains_key(name) {
            continue;
        }
        object.insert(name.clone(), value.clone());
        let mut right = path.to_vec();
        right.push(key(name));
        document.rename(vec![key("defaults"), key(kind), key(name)], right.clone());
        inherited.keys.push(right);
    }
}

fn key(name: &str) -> OwnedStep {
    OwnedStep::Key(name.to_owned())
}
