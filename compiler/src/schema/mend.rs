//! Puts placeholders into the tree where its shape is wrong, and remembers where.
//!
//! The schema says what a placeholder looks like: any value of the right shape will do, because
//! nothing may be concluded from it.

use serde_json::{Map, Value, json};

use super::flatten::{likeliest, only_key, tag};
use super::shape::schema;
use crate::path::OwnedStep;
use crate::unknown::Unknowns;

/// Stands for every text whose content is not known. A name, too.
const TEXT: &str = "unknown";

/// Replaces what is wrong at `path`, or missing there.
pub(super) fn mend(root: &mut Value, path: &[OwnedStep], unknowns: &mut Unknowns) {
    let depth = replace(root, schema(), path);
    unknowns.placeholder(&path[..depth]);
}

/// Something that is read as if it were written elsewhere: where it is, and where it is read.
pub(super) type Moved = (Vec<OwnedStep>, Vec<OwnedStep>);

/// Takes out the unknown key at `path`, and puts what it holds to the key `near` if there is room.
pub(super) fn take_out(
    root: &mut Value,
    path: &[OwnedStep],
    near: Option<&str>,
    unknowns: &mut Unknowns,
) -> Vec<Moved> {
    let Some((OwnedStep::Key(written), owner)) = path.split_last() else {
        return Vec::new();
    };
    let Some((table, rule)) = find(root, owner) else {
        return Vec::new();
    };
    let Some(removed) = table.remove(written) else {
        return Vec::new();
    };
    let known = rule.get("properties").and_then(Value::as_object);
    match near.and_then(|near| Some((near, known?.get(near)?))) {
        Some((near, _)) if !table.contains_key(near) => {
            table.insert(near.to_owned(), removed);
            return vec![(path.to_vec(), below(owner, near))];
        }
        Some((near, rule)) if has_names(rule) && removed.is_object() => {
            return merge(table, path, &below(owner, near), removed);
        }
        Some(_) | None => {}
    }
    if has_names(rule) {
        unknowns.open(owner);
    }
    // Any key that is not there may be what the unknown key was meant to be, and any table of names
    // may lack what is in it.
    for (key, rule) in known.into_iter().flatten().filter(|(_, rule)| may_hold(rule, &removed)) {
        if !table.contains_key(key) {
            unknowns.placeholder(&below(owner, key));
        } else if has_names(rule) {
            unknowns.open(&below(owner, key));
        }
    }
    // `[hosts.rs1.example]` is often meant to be one name with a dot in it.
    if let [section, OwnedStep::Key(_)] = owner
        && removed.is_object()
    {
        unknowns.open(std::slice::from_ref(section));
    }
    Vec::new()
}

/// Puts the entries of a table whose name is misspelled to those of the right one, as far as their
/// own names are free. The others have their names there already.
fn merge(
    owner: &mut Map<String, Value>,
    written: &[OwnedStep],
    right: &[OwnedStep],
    entries: Value,
) -> Vec<Moved> {
    let (Some(OwnedStep::Key(near)), Value::Object(entries)) = (right.last(), entries) else {
        return Vec::new();
    };
    let Some(table) = owner.get_mut(near).and_then(Value::as_object_mut) else {
        return Vec::new();
    };
    let mut moved = Vec::new();
    for (name, entry) in entries {
        if !table.contains_key(&name) {
            moved.push((below(written, &name), below(right, &name)));
            table.insert(name, entry);
        }
    }
    moved
}

fn below(path: &[OwnedStep], key: &str) -> Vec<OwnedStep> {
    path.iter().cloned().chain([OwnedStep::Key(key.to_owned())]).collect()
}

/// Whether it is a table whose keys are names of things.
fn has_names(rule: &Value) -> bool {
    rule.get("patternProperties").is_some()
}

/// The table at `path` and its schema.
fn find<'v>(root: &'v mut Value, path: &[OwnedStep]) -> Option<(&'v mut Map<String, Value>, &'static Value)> {
    let mut value = root;
    let mut rule = schema();
    for step in path {
        rule = resolve(rule, value);
        (rule, value) = match step {
            OwnedStep::Key(key) => (member(rule, key)?.0, value.get_mut(key)?),
            OwnedStep::Index(index) => (rule.get("items")?, value.get_mut(index)?),
        };
    }
    rule = resolve(rule, value);
    Some((value.as_object_mut()?, rule))
}

/// Returns how many steps of `path` lead to what was replaced.
fn replace(value: &mut Value, rule: &'static Value, path: &[OwnedStep]) -> usize {
    let rule = resolve(rule, value);
    match (path, &mut *value) {
        ([OwnedStep::Key(key), rest @ ..], Value::Object(table))
            if let Some((rule, required)) = member(rule, key) =>
        {
            match table.get_mut(key) {
                Some(inner) if required || !rest.is_empty() => return 1 + replace(inner, rule, rest),
                None if required => _ = table.insert(key.clone(), sample(rule)),
                Some(_) | None => _ = table.remove(key),
            }
            1
        }
        ([OwnedStep::Index(index), rest @ ..], Value::Array(items)) if *index < items.len() => {
            1 + replace(&mut items[*index], rule.get("items").unwrap_or(rule), rest)
        }
        (_, _) => {
            *value = sample(rule);
            0
        }
    }
}

/// The schema of the entry `key` of a table, and whether the entry must be there. An entry whose
/// name is free is there because somebody named it.
pub(super) fn member(rule: &'static Value, key: &str) -> Option<(&'static Value, bool)> {
    if let Some(known) = rule.get("properties").and_then(|known| known.get(key)) {
        let required = rule.get("required").and_then(Value::as_array);
        return Some((known, required.into_iter().flatten().any(|required| required == key)));
    }
    let patterns = rule.get("patternProperties").and_then(Value::as_object);
    let any = patterns.and_then(|patterns| patterns.values().next());
    let any = any.or_else(|| rule.get("additionalProperties").filter(|rule| rule.is_object()));
    Some((any?, true))
}

/// Target of a reference; anything else is itself.
pub(super) fn referred(rule: &'static Value) -> &'static Value {
    let pointer = rule.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| schema().pointer(pointer)).unwrap_or(rule)
}

/// Follows references and chooses among alternatives: the one that `value` is, or the first.
fn resolve(mut rule: &'static Value, value: &Value) -> &'static Value {
    let list = |rule: &'static Value, keyword| rule.get(keyword).and_then(Value::as_array);
    loop {
        let next = if rule.get("$ref").is_some() {
            Some(referred(rule))
        } else if let Some(branches) = list(rule, "anyOf") {
            branches.iter().find(|branch| branch.get("type") != Some(&json!("null")))
        } else if let Some(branches) = list(rule, "oneOf") {
            let meant = branches.iter().find(|branch| fits(branch, value));
            meant.or_else(|| branches.get(likeliest(branches, value)))
        } else {
            None
        };
        match next {
            Some(next) if !std::ptr::eq(next, rule) => rule = next,
            Some(_) | None => return rule,
        }
    }
}

/// Whether `value` may have been meant for a key that something depends on: a list for a list, a
/// table for a table, and one scalar is easily written as another. A key with one possible value
/// has it whatever is written.
fn may_hold(rule: &'static Value, value: &Value) -> bool {
    let words = referred(rule).get("oneOf").and_then(Value::as_array);
    if words.is_some_and(|words| words.len() == 1 && words[0].get("const").is_some()) {
        return false;
    }
    match resolve(rule, &Value::Null).get("type").and_then(Value::as_str) {
        Some("array") => value.is_array() || value.is_null(),
        Some("object") => value.is_object() || value.is_null(),
        _ => !value.is_array() && !value.is_object(),
    }
}

fn fits(branch: &Value, value: &Value) -> bool {
    match tag(branch) {
        Some((key, word)) => value.get(key).and_then(Value::as_str) == Some(&word),
        None => only_key(branch).is_some_and(|key| value.get(key).is_some()),
    }
}

/// A value of the right shape.
fn sample(rule: &'static Value) -> Value {
    let rule = resolve(rule, &Value::Null);
    if let Some(constant) = rule.get("const") {
        return constant.clone();
    }
    let word = |keyword| rule.get(keyword).and_then(Value::as_str).unwrap_or_default();
    match word("type") {
        "integer" => rule.get("minimum").cloned().unwrap_or_else(|| json!(0)),
        "boolean" => json!(false),
        "array" => match (rule.get("minItems"), rule.get("items")) {
            (Some(least), Some(item)) => {
                // The schema's own numbers are small.
                let least = usize::try_from(least.as_u64().unwrap_or(1)).unwrap_or(1);
                Value::Array(vec![sample(item); least])
            }
            (_, _) => json!([]),
        },
        "object" => {
            let required = rule.get("required").and_then(Value::as_array).into_iter().flatten();
            let entry = |key: &str| Some((key.to_owned(), sample(member(rule, key)?.0)));
            Value::Object(required.filter_map(|key| entry(key.as_str()?)).collect())
        }
        _ => json!(match word("format") {
            "ip" => "0.0.0.0",
            "cidr" => "0.0.0.0/0",
            "span" | "advert-interval" => "1s",
            "part" => "1",
            _ => TEXT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::cluster::Cluster;

    use super::*;
    use crate::path::{Step, at};

    fn steps(path: &str) -> Vec<OwnedStep> {
        let step = |text: &str| match text.parse() {
            Ok(index) => OwnedStep::Index(index),
            Err(_) => OwnedStep::Key(text.to_owned()),
        };
        path.split('.').map(step).collect()
    }

    /// Every key of the language, each entry complete.
    fn full() -> Value {
        json!({
            "version": 1, "name": "demo",
            "segments": { "front": { "subnets": ["192.0.2.0/24"] } },
            "hosts": { "a": { "address": "192.0.2.1", "interface": "eth0" } },
            "virtual_routers": { "r": {
                "vrid": 5, "vips": ["192.0.2.9"], "directors": ["a"], "priorities": { "a": 9 },
                "advert_interval": "1s", "version": 2, "preempt": true,
                "auth": { "type": "pass", "secret": { "credential": "vrrp" } },
            } },
            "services": { "s": {
                "router": "r", "vip": "192.0.2.9", "protocol": "udp", "port": 80, "scheduler": "mh",
                "forwarding": "dr", "real_servers": [{ "host": "a", "weight": 2, "port": 80 }],
                "check": {
                    "type": "tcp", "interval": "1s", "timeout": "1s", "retries": 3,
                    "retry_delay": "1s", "port": 81,
                },
            } },
            "sync_groups": { "g": { "virtual_routers": ["r", "t"] } },
            "policy": { "resync": "5s", "exclusive_ipvs": true },
        })
    }

    fn paths(value: &Value, path: &mut Vec<OwnedStep>, out: &mut Vec<Vec<OwnedStep>>) {
        let steps: Vec<OwnedStep> = match value {
            Value::Object(table) => table.keys().map(|key| OwnedStep::Key(key.clone())).collect(),
            Value::Array(items) => (0..items.len()).map(OwnedStep::Index).collect(),
            _ => Vec::new(),
        };
        for step in steps {
            let inner = match &step {
                OwnedStep::Key(key) => &value[key.as_str()],
                OwnedStep::Index(index) => &value[*index],
            };
            path.push(step);
            out.push(path.clone());
            paths(inner, path, out);
            path.pop();
        }
    }

    #[test]
    fn whatever_is_replaced_the_shape_is_right() {
        let mut all = Vec::new();
        paths(&full(), &mut Vec::new(), &mut all);
        assert!(all.len() > 40, "{}", all.len());
        for path in &all {
            let mut value = full();
            let mut unknowns = Unknowns::default();
            mend(&mut value, path, &mut unknowns);
            let errors: Vec<String> =
                super::super::shape::errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{path:?}: {errors:?}");
            let borrowed: Vec<Step<'_>> = path.iter().map(OwnedStep::borrow).collect();
            assert!(
                !unknowns.knows(&borrowed) && unknowns.knows(&borrowed[..borrowed.len() - 1]),
                "{path:?}"
            );
            serde_json::from_value::<Cluster>(value).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        }
    }

    #[test]
    fn what_is_wrong_on_the_way_is_replaced_instead() {
        let mut value = full();
        value["virtual_routers"]["r"]["vrid"] = json!({ "a": { "b": null } });
        let mut unknowns = Unknowns::default();
        mend(&mut value, &steps("virtual_routers.r.vrid.a.b"), &mut unknowns);
        assert_eq!(value["virtual_routers"]["r"]["vrid"], json!(1));
    }

    #[test]
    fn an_unknown_key_is_renamed_or_makes_what_is_absent_unknown() {
        let mut value = full();
        let router = value["virtual_routers"]["r"].as_object_mut().expect("table");
        router.remove("version");
        router.insert("vrrp".into(), json!(2));
        let mut unknowns = Unknowns::default();
        assert_eq!(take_out(&mut value, &steps("virtual_routers.r.vrrp"), None, &mut unknowns), []);
        assert!(!unknowns.knows(at!["virtual_routers", "r", "version"]));
        assert!(unknowns.knows(at!["virtual_routers", "r", "vrid"]));
        value["services"]["s"]["real_servers"][0] = json!({ "hots": "a" });
        let written = steps("services.s.real_servers.0.hots");
        let moved = take_out(&mut value, &written, Some("host"), &mut unknowns);
        assert_eq!(moved, [(written, steps("services.s.real_servers.0.host"))]);
        assert_eq!(value["services"]["s"]["real_servers"][0], json!({ "host": "a" }));
    }
}
