//! Names of the fields of a destination's checks: those of the first are `check.…`, as in the cluster file,
//! and those of further ones have the kind in their names, so that a check that is added is one and not a
//! change of all.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Of the first check of a destination, and of its only one.
pub(super) const FIRST: &str = "check";

/// Of further checks: `checks.http.interval`, and `checks.http#2.interval` of the second of the kind.
pub(super) const FURTHER: &str = "checks";

/// Between the kind and its number.
const NUMBER: char = '#';

/// Takes the list of checks of a destination apart: a name for each, and its table.
pub(super) fn named(destination: &mut Map<String, Value>) -> Vec<(String, Value)> {
    let Some(Value::Array(checks)) = destination.remove(FURTHER) else { return Vec::new() };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let name = |(index, check): (usize, Value)| {
        if index == 0 {
            return (FIRST.to_owned(), check);
        }
        let kind = check.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = seen.entry(kind.clone()).or_default();
        *number += 1;
        let name = match *number {
            1 => format!("{FURTHER}.{kind}"),
            number => format!("{FURTHER}.{kind}{NUMBER}{number}"),
        };
        (name, check)
    };
    checks.into_iter().enumerate().map(name).collect()
}

/// A field of a check: the kind where it is one of a further check, and the key.
pub(super) fn field(name: &str) -> Option<(Option<&str>, &str)> {
    if let Some(key) = name.strip_prefix(FIRST).and_then(|rest| rest.strip_prefix('.')) {
        return Some((None, key));
    }
    let (check, key) = name.strip_prefix(FURTHER)?.strip_prefix('.')?.split_once('.')?;
    Some((check.split(NUMBER).next(), key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_check_has_the_name_of_one_and_others_their_kinds() {
        let checks = json!([{ "type": "tcp" }, { "type": "http" }, { "type": "tcp" }, { "type": "http" }]);
        let mut destination =
            Map::from_iter([("checks".to_owned(), checks), ("weight".to_owned(), json!(1))]);
        let names: Vec<String> = named(&mut destination).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["check", "checks.http", "checks.tcp", "checks.http#2"]);
        assert_eq!(destination.len(), 1);
        assert_eq!(field("check.interval"), Some((None, "interval")));
        assert_eq!(field("checks.http#2.headers.a"), Some((Some("http"), "headers.a")));
        assert_eq!(field("weight"), None);
        assert_eq!(field("checkers.x"), None);
    }
}
