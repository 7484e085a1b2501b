//! What the schema says of tables by their path: which are a choice among several shapes, and in
//! which order their keys are documented.

use serde_json::{Value, json};

use super::flatten::{only_key, tag};
use super::mend::{member, referred};
use super::shape::schema;
use crate::parse::Choice;

/// Choice of the table at `path` among several shapes; none when it has one shape.
pub(crate) fn choice(path: &[String]) -> Option<Choice> {
    let rule = rule_of(path)?;
    let branches = branches(rule);
    if let Some((key, _)) = branches.first().and_then(tag) {
        return Some(Choice::Tag(key));
    }
    // One shape, in which the keys that mean something depend on a word.
    let required = rule.get("required").and_then(Value::as_array).into_iter().flatten();
    if required.into_iter().any(|key| key == "type") {
        return Some(Choice::Tag("type"));
    }
    let one = branches
        .iter()
        .any(|branch| branch.get("type") == Some(&json!("object")) && only_key(branch).is_some());
    one.then_some(Choice::OneKey)
}

/// The keys of the table at `path` in the order of the documentation; none where keys are names.
pub(crate) fn order(path: &[String]) -> Vec<&'static str> {
    let Some(rule) = rule_of(path) else {
        return Vec::new();
    };
    let mut keys: Vec<&'static str> = Vec::new();
    for rule in std::iter::once(rule).chain(branches(rule)) {
        let known = rule.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (key, _) in known {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
    }
    // The word that decides what the others mean comes first.
    if let Some((tag, _)) = branches(rule).first().and_then(tag) {
        keys.sort_by_key(|key| *key != tag);
    }
    keys
}

/// The rule for the value at `path`. Items of lists have the path of their list.
fn rule_of(path: &[String]) -> Option<&'static Value> {
    let mut rule = plain(schema());
    for key in path {
        let inside = |rule: &'static Value| member(rule, key).map(|(rule, _)| rule);
        let next = inside(rule).or_else(|| branches(rule).iter().find_map(inside));
        rule = plain(next?);
        if let Some(items) = rule.get("items") {
            rule = plain(items);
        }
    }
    Some(rule)
}

/// Without references, and without the alternative of nothing.
pub(crate) fn plain(mut rule: &'static Value) -> &'static Value {
    loop {
        let there = referred(rule);
        let list = there.get("anyOf").and_then(Value::as_array);
        let something =
            list.and_then(|list| list.iter().find(|rule| rule.get("type") != Some(&json!("null"))));
        match something {
            Some(next) => rule = next,
            None if std::ptr::eq(there, rule) => return rule,
            None => rule = there,
        }
    }
}

fn branches(rule: &'static Value) -> &'static [Value] {
    rule.get("oneOf").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_found_in_the_schema() {
        let at = |path: &str| choice(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(at("services.web.check"), Some(Choice::Tag("type")));
        assert_eq!(at("trackers.uplink"), Some(Choice::Tag("type")));
        assert_eq!(at("virtual_routers.VI_1.auth"), Some(Choice::Tag("type")));
        assert_eq!(at("virtual_routers.VI_1.auth.secret"), Some(Choice::OneKey));
        for plain in ["hosts", "hosts.dir1", "services.web", "services.web.scheduler", "no.such.key", ""] {
            assert_eq!(at(plain), None, "{plain}");
        }
    }
}
