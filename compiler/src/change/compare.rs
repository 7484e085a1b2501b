//! The one comparison: host by host, object by object, field by field.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::change::{Action, FieldChange, HostChange, ObjectChange};
use evenkeel_schemas::scalars::Name;

use super::objects::{self, Key, Object, Objects};
use super::origin::Causes;
use super::{Fleet, HostState, Inputs};

/// Hosts that differ.
pub(super) fn hosts(inputs: &Inputs<'_>) -> Vec<HostChange> {
    let causes = Causes::new(inputs);
    names(inputs.before, inputs.after)
        .into_iter()
        .filter_map(|name| host(name, inputs.before.get(name), inputs.after.get(name), &causes))
        .collect()
}

/// Hosts before and after together.
pub(super) fn names<'a>(before: &'a Fleet, after: &'a Fleet) -> BTreeSet<&'a Name> {
    before.keys().chain(after.keys()).collect()
}

fn host(
    name: &Name,
    before: Option<&HostState>,
    after: Option<&HostState>,
    causes: &Causes<'_>,
) -> Option<HostChange> {
    let action = match (before, after) {
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) => Action::Change,
        (None, Some(_)) => Action::Add,
        (Some(_), None) => Action::Remove,
        (None, None) => return None,
    };
    let old = before.map(objects::of_host).unwrap_or_default();
    let new = after.map(objects::of_host).unwrap_or_default();
    let mut changes = differences(&old, &new);
    if let (Some(before), Some(after)) = (before, after) {
        changes.extend(changed_secrets(before, after));
    }
    let objects: Vec<ObjectChange> = changes
        .into_iter()
        .map(|(key, mut change)| {
            let object = if change.action == Action::Remove { old.get(&key) } else { new.get(&key) };
            if let Some(object) = object {
                causes.explain(name, object, &mut change);
            }
            change
        })
        .collect();
    (!objects.is_empty()).then(|| HostChange { host: name.clone(), action, objects })
}

/// What differs between two sets of objects.
pub(super) fn differences(old: &Objects, new: &Objects) -> BTreeMap<Key, ObjectChange> {
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    let change = |key: &Key| {
        let (before, after) = (old.get(key), new.get(key));
        let fields = fields(before, after);
        let action = match (before, after) {
            (Some(_), Some(_)) => Action::Change,
            (Some(_), None) => Action::Remove,
            (None, _) => Action::Add,
        };
        if action == Action::Change && fields.is_empty() {
            return None;
        }
        let change = ObjectChange {
            kind: key.kind.clone(),
            id: key.id.clone(),
            name: after.or(before).and_then(|object| object.name.clone()),
            action,
            fields,
            origin: None,
        };
        Some((key.clone(), change))
    };
    keys.into_iter().filter_map(change).collect()
}

fn fields(before: Option<&Object>, after: Option<&Object>) -> Vec<FieldChange> {
    let empty = objects::Fields::new();
    let old = before.map_or(&empty, |object| &object.fields);
    let new = after.map_or(&empty, |object| &object.fields);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &&String| old.get(*name) != new.get(*name);
    names
        .into_iter()
        .filter(differs)
        .map(|name| {
            let secret = |value: Option<&serde_json::Value>| value.filter(|value| !value.is_null()).cloned();
            FieldChange {
                field: name.clone(),
                old: secret(old.get(name)),
                new: secret(new.get(name)),
                origin: None,
            }
        })
        .collect()
}

/// Secrets with another text; neither is told.
fn changed_secrets(before: &HostState, after: &HostState) -> BTreeMap<Key, ObjectChange> {
    let changed =
        after.secrets.iter().filter(|(name, text)| before.secrets.get(*name).is_some_and(|old| old != *text));
    changed
        .map(|(name, _)| {
            let field =
                FieldChange { field: objects::SECRET_FIELD.to_owned(), old: None, new: None, origin: None };
            let change = ObjectChange {
                kind: "secret".to_owned(),
                id: name.clone(),
                name: None,
                action: Action::Change,
                fields: vec![field],
                origin: None,
            };
            (Key::new("secret", name.clone()), change)
        })
        .collect()
}
