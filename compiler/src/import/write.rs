//! The cluster file as text: canonical layout, and comments where something must be decided.

use std::collections::BTreeMap;
use std::fmt::Write;

use evenkeel_schemas::cluster::Cluster;
use serde_json::{Map, Value};

/// Longest line of a list or table before it is broken.
const WIDTH: usize = 100;

/// Writes the cluster file. Keys have the order of the language, and defaults that it leaves out are left
/// out.
pub(super) fn write(
    head: &str,
    cluster: &Map<String, Value>,
    comments: &BTreeMap<(String, String), String>,
) -> String {
    // Through the types of the language, so that no key can be misspelt. What they refuse is written as it
    // is: the compiler then says what is wrong with it, at its place.
    let typed = serde_json::from_value::<Cluster>(Value::Object(cluster.clone())).ok();
    let whole = match typed.and_then(|cluster| serde_json::to_value(cluster).ok()) {
        Some(Value::Object(whole)) => whole,
        _ => cluster.clone(),
    };
    let mut out = String::new();
    for line in head.lines() {
        push(&mut out, format_args!("# {line}\n"));
    }
    let (tables, plain): (Vec<_>, Vec<_>) = whole.iter().partition(|(_, value)| value.is_object());
    for (key, value) in plain {
        push(&mut out, format_args!("{} = {}\n", bare(key), inline(value)));
    }
    for (section, value) in tables {
        let Value::Object(objects) = value else { continue };
        if matches!(section.as_str(), "policy" | "ipvs" | "defaults" | "hosts") {
            push(&mut out, format_args!("\n[{}]\n", bare(section)));
            for (key, value) in objects {
                comment(&mut out, comments, section, key);
                push(&mut out, format_args!("{} = {}\n", bare(key), inline(value)));
            }
            continue;
        }
        for (name, object) in objects {
            push(&mut out, format_args!("\n[{}.{}]\n", bare(section), bare(name)));
            comment(&mut out, comments, section, name);
            table(&mut out, &format!("{}.{}", bare(section), bare(name)), object);
        }
    }
    out
}

/// The keys of a table; tables in it that do not fit on a line follow with a header of their own.
fn table(out: &mut String, path: &str, table: &Value) {
    let keys = || table.as_object().into_iter().flatten();
    let long = |value: &Value| value.is_object() && inline(value).len() > WIDTH;
    for (key, value) in keys().filter(|(_, value)| !long(value)) {
        push(out, format_args!("{} = {}\n", bare(key), broken(value)));
    }
    for (key, value) in keys().filter(|(_, value)| long(value)) {
        push(out, format_args!("\n[{path}.{}]\n", bare(key)));
        for (key, value) in value.as_object().into_iter().flatten() {
            push(out, format_args!("{} = {}\n", bare(key), broken(value)));
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn comment(out: &mut String, comments: &BTreeMap<(String, String), String>, section: &str, name: &str) {
    if let Some(text) = comments.get(&(section.to_owned(), name.to_owned())) {
        push(out, format_args!("# {text}\n"));
    }
}

/// A list that does not fit on a line has one item a line.
fn broken(value: &Value) -> String {
    let line = inline(value);
    match value {
        Value::Array(items) if line.len() > WIDTH => {
            let items: Vec<String> = items.iter().map(|item| format!("    {},\n", inline(item))).collect();
            format!("[\n{}]", items.concat())
        }
        _ => line,
    }
}

fn inline(value: &Value) -> String {
    match value {
        // TOML has no null, and nothing of the cluster file makes one.
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let keys: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", bare(key), inline(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
    }
}

fn bare(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(plain) { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            _ if char.is_control() => push(&mut out, format_args!("\\u{:04X}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_read_back() {
        for text in ["", "a\"b\\c", "tab\tnew\nline", "\u{7f}\u{0}\u{1b}é💥", "# no comment"] {
            let file = format!("k = {}", quoted(text));
            let table: toml::Table = file.parse().expect(&file);
            assert_eq!(table["k"].as_str(), Some(text));
        }
        assert_eq!(bare("a.b"), "\"a.b\"");
    }
}
