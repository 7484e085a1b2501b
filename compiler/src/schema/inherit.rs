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
        for section in ["services", "pools"] {
            for (name, object) in objects(root, section) {
                let Some(object) = object.as_object_mut() else { continue };
                let path = [key(section), key(name)];
                checks(object, &keys, &path, document, &mut inherited);
                let entries = object.get_mut("real_servers").and_then(Value::as_array_mut);
                for (index, entry) in entries.into_iter().flatten().enumerate() {
                    let Some(entry) = entry.as_object_mut() else { continue };
                    let path = [&path[..], &[key("real_servers"), OwnedStep::Index(index)]].concat();
                    checks(entry, &keys, &path, document, &mut inherited);
                }
            }
        }
    }
    inherited.keys.sort_unstable();
    inherited
}

/// Fills in what the checks of an object lack.
fn checks(
    object: &mut Map<String, Value>,
    keys: &Map<String, Value>,
    path: &[OwnedStep],
    document: &mut Document<'_>,
    inherited: &mut Inherited,
) {
    let mut fill = |check: &mut Value, below: &[OwnedStep]| {
        let mut keys = keys.clone();
        // A default is not lacking where the object says it in another way.
        for (instead, of) in INSTEAD {
            if check.get(instead).is_some() {
                keys.retain(|name, _| !of.contains(&name.as_str()));
            }
        }
        fill(check, &keys, &[path, below].concat(), "check", document, inherited);
    };
    if let Some(check) = object.get_mut("check") {
        fill(check, &[key("check")]);
    }
    let checks = object.get_mut("checks").and_then(Value::as_array_mut);
    for (index, check) in checks.into_iter().flatten().enumerate() {
        fill(check, &[key("checks"), OwnedStep::Index(index)]);
    }
}

/// Keys of a check that say what others would say.
const INSTEAD: [(&str, &[&str]); 8] = [
    ("requests", &["path", "method", "body", "body_not", "digest"]),
    ("path", &["requests"]),
    ("method", &["requests"]),
    ("body", &["requests"]),
    ("body_not", &["requests"]),
    ("digest", &["requests"]),
    ("payload", &["send"]),
    ("send", &["payload"]),
];

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
