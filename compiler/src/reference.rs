//! The reference of the language and of the diagnostics, made from the schema and from `codes`.
//!
//! As Markdown for `docs/`, and as a manual page. There is no second list of keys to keep true.

use std::fmt::Write;

use roff::{Roff, bold, italic, roman};
use serde_json::Value;

use crate::codes::{self, Severity};
use crate::schema::{plain, schema};

/// One key of the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands, such as `services.<name>.port`.
    pub path: String,
    /// What it takes, with its range.
    pub takes: String,
    /// What it is when it is absent; `required` when it may not be.
    pub default: String,
    /// What it is for.
    pub description: String,
}

/// Every key in the order of the documentation.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    table(schema(), "", &mut keys);
    // The keys of defaults are those of what they are defaults of.
    keys.retain(|key| key.path.strip_prefix("defaults.").is_none_or(|rest| !rest.contains('.')));
    keys
}

/// The reference of the cluster file as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Every key of the cluster file\n\nEvery key of `cluster.toml`, made from its JSON Schema. `<name>` \
        stands for a name of \
         yours, `[]` for each item of a list. [The cluster file](language/file.md) and \
         the pages after it say how they work together.\n",
    );
    let mut section = String::new();
    for key in keys() {
        let of = key.path.split('.').next().unwrap_or_default();
        // Writing to a String cannot fail.
        if of != section {
            of.clone_into(&mut section);
            let _ = write!(out, "\n## `{of}`\n\n| key | takes | default | meaning |\n|---|---|---|---|\n");
        }
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            key.path,
            cell(&key.takes),
            cell(&key.default),
            cell(&key.description)
        );
    }
    out
}

/// All codes with their explanations as Markdown.
#[must_use]
pub fn diagnostics() -> String {
    let mut out = String::from(
        "# Diagnostics\n\nEverything `evenkeel` has to say about a cluster file, as `evenkeel explain` says \
        it. A code keeps \
         its meaning for ever.\n",
    );
    for code in codes::all() {
        let severity = word(code.severity);
        let _ = write!(
            out,
            "\n<a id=\"{}\"></a>\n\n## {}: {} ({severity})\n\n{}\n",
            code.id.to_lowercase(),
            code.id,
            code.title,
            code.explanation
        );
    }
    out
}

/// The manual page `evenkeel.toml(5)`.
#[must_use]
pub fn man() -> String {
    let mut page = Roff::new();
    page.control("TH", ["evenkeel.toml", "5", "", "evenkeel"]);
    page.control("SH", ["NAME"]);
    page.text([roman("evenkeel.toml - the cluster file of evenkeel(1)")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "One TOML file describes a whole cluster. <name> stands for a name of yours, [] for each item of a \
        list.",
    )]);
    page.control("SH", ["KEYS"]);
    for key in keys() {
        page.control("TP", []);
        page.text([bold(key.path)]);
        page.text([roman(key.description)]);
        page.control("RS", []);
        let plain = |text: String| text.replace('`', "");
        page.text([
            roman("Takes "),
            italic(plain(key.takes)),
            roman("; default: "),
            italic(plain(key.default)),
        ]);
        page.control("RE", []);
    }
    page.control("SH", ["DIAGNOSTICS"]);
    for code in codes::all() {
        page.control("TP", []);
        page.text([bold(code.id), roman(format!(" ({})", word(code.severity)))]);
        page.text([roman(code.title)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("evenkeel"), roman("(1)")]);
    page.render()
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Keys of a table, each followed by those in it.
fn table(rule: &'static Value, path: &str, out: &mut Vec<Key>) {
    let rule = plain(rule);
    for branch in branches(rule) {
        let one = branch.get("required").and_then(|required| required.get(0)).and_then(Value::as_str);
        let tag = tag(branch);
        properties(branch, path, out, |key, required| match (tag, one) {
            (Some((tag, word)), _) if key != tag => format!("{required} with `{tag} = \"{word}\"`"),
            (None, Some(_)) => "exactly one of these".to_owned(),
            _ => required.to_owned(),
        });
    }
    properties(rule, path, out, |_, required| required.to_owned());
    if let Some(inner) = named(rule) {
        table(inner, &format!("{path}.<name>"), out);
    }
}

fn properties(
    rule: &'static Value,
    path: &str,
    out: &mut Vec<Key>,
    when_absent: impl Fn(&str, &str) -> String,
) {
    let required: Vec<&str> = rule
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (key, inner) in rule.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let default = match inner.get("default") {
            Some(default) => shown(default),
            None if required.contains(&key.as_str()) => "required".to_owned(),
            None => "none".to_owned(),
        };
        let takes = takes(inner);
        let entry = Key {
            takes,
            default: when_absent(key, &default),
            description: match description(inner) {
                own if own.is_empty() => description(rule),
                own => own,
            },
            path: path.clone(),
        };
        // A tag stands in every branch, with a word of its own in each.
        match out.iter_mut().find(|other| other.path == entry.path) {
            Some(other) if other.takes == entry.takes => {
                other.default = format!("{}; {}", other.default, entry.default)
            }
            Some(other) => {
                other.takes = format!("{}, {}", other.takes, entry.takes);
                other.description = format!("{} {}", other.description, entry.description);
            }
            None => out.push(entry),
        }
        match plain(inner).get("items") {
            Some(items) => table(items, &format!("{path}[]"), out),
            None => table(inner, &path, out),
        }
    }
}

/// What the key says of itself, or else its type.
fn description(rule: &'static Value) -> String {
    let own = rule.get("description").or_else(|| plain(rule).get("description"));
    own.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::Object(table) if table.is_empty() => "empty".to_owned(),
        Value::Array(items) if items.is_empty() => "empty".to_owned(),
        Value::Object(_) => "as below".to_owned(),
        plain => format!("`{plain}`"),
    }
}

/// What a value looks like, in a few words.
fn takes(rule: &'static Value) -> String {
    let rule = plain(rule);
    let word = |keyword: &str| rule.get(keyword).and_then(Value::as_str).unwrap_or_default();
    if let Some(only) = rule.get("const") {
        return format!("`{only}`");
    }
    let words: Vec<String> = branches(rule)
        .iter()
        .filter_map(|branch| branch.get("const"))
        .chain(rule.get("enum").and_then(Value::as_array).into_iter().flatten())
        .map(|word| format!("`{word}`"))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    // What may be absent is of its type or nothing.
    let alternatives = rule.get("type").and_then(Value::as_array).into_iter().flatten();
    let some = alternatives.filter_map(Value::as_str).find(|kind| *kind != "null");
    match (some.unwrap_or(word("type")), word("format")) {
        ("string", "ip") => "an address".to_owned(),
        ("string", "cidr") => "a network".to_owned(),
        ("string", "span" | "advert-interval") => "a duration".to_owned(),
        ("string", "part") => "a number or a share, as text".to_owned(),
        ("string", _) => "a text".to_owned(),
        ("integer", _) => match (rule.get("minimum"), rule.get("maximum")) {
            (Some(low), Some(high)) if low == high => format!("{low}"),
            (Some(low), Some(high)) => format!("{low} to {high}"),
            (Some(low), None) => format!("a number from {low}"),
            (None, _) => "a whole number".to_owned(),
        },
        ("boolean", _) => "`true` or `false`".to_owned(),
        ("array", _) => {
            let some = if rule.get("minItems").is_some() { "a list, not empty, of" } else { "a list of" };
            format!("{some}: {}", rule.get("items").map(takes).unwrap_or_default())
        }
        _ if named(rule).is_some() => "a table by name".to_owned(),
        _ => "a table".to_owned(),
    }
}

/// The rule of what has a name in a table of names.
fn named(rule: &'static Value) -> Option<&'static Value> {
    let patterns = rule.get("patternProperties").and_then(Value::as_object);
    let any = patterns.and_then(|patterns| patterns.values().next());
    any.or_else(|| rule.get("additionalProperties").filter(|rule| rule.is_object()))
}

fn tag(branch: &Value) -> Option<(&str, &str)> {
    let properties = branch.get("properties")?.as_object()?;
    properties.iter().find_map(|(key, rule)| Some((key.as_str(), rule.get("const")?.as_str()?)))
}

fn branches(rule: &'static Value) -> &'static [Value] {
    rule.get("oneOf").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
