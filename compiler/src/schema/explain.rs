//! Verdicts on the shape -> diagnostics in our words, each at its place.

use std::collections::BTreeSet;

use evenkeel_schemas::scalars::{AdvertInterval, Cidr, InterfaceName, Ip, Name, Span};
use serde_json::Value;

use super::flatten::{Expected, Flat, ShapeFault, flatten};
use super::{Lookup, ShapeFinding, Wrong, words};
use crate::codes;
use crate::diagnostic::{Diagnostic, MAX_ERRORS};
use crate::parse::{Document, Odd};
use crate::path::{OwnedStep, Step};
use crate::suggest::list;

/// Findings about the shape of `value`, at most a few more than are reported.
pub(super) fn findings(
    document: &Document<'_>,
    value: &Value,
    odd: &[Odd],
    told: &dyn Fn(&ShapeFinding) -> bool,
) -> Vec<ShapeFinding> {
    let lookup = Lookup::new(document);
    let mut flats = Vec::new();
    for error in super::shape::errors(value) {
        flatten(&error, lookup.schema, &mut flats);
    }
    let oddities: BTreeSet<&[OwnedStep]> = odd.iter().map(|odd| odd.path.as_slice()).collect();
    flats.retain(|flat| !oddities.contains(flat.path.as_slice()));
    let mut meant = BTreeSet::new();
    let mut findings: Vec<ShapeFinding> = Vec::new();
    let mut enough = Enough { told, count: 0 };
    for flat in flats.iter().filter(|flat| matches!(flat.fault, ShapeFault::UnknownKeys(_))) {
        unknown_keys(&lookup, flat, &mut findings, &mut meant, &mut enough);
    }
    let mut seen = BTreeSet::new();
    for flat in &flats {
        if enough.is_reached() {
            break;
        }
        let Some(finding) = explain(&lookup, flat, value) else {
            continue;
        };
        let key = (finding.path.clone(), finding.diagnostic.code.id);
        let covered = matches!(flat.fault, ShapeFault::Missing(_)) && meant.contains(&finding.path);
        if !covered && seen.insert(key) {
            enough.count(&finding);
            findings.push(finding);
        }
    }
    findings
}

/// Counter that stops the search when there are more findings than are reported.
struct Enough<'a> {
    told: &'a dyn Fn(&ShapeFinding) -> bool,
    count: usize,
}

impl Enough<'_> {
    fn count(&mut self, finding: &ShapeFinding) {
        self.count += usize::from((self.told)(finding));
    }

    const fn is_reached(&self) -> bool {
        self.count > MAX_ERRORS
    }
}

fn explain(lookup: &Lookup<'_, '_>, flat: &Flat, root: &Value) -> Option<ShapeFinding> {
    let path: Vec<Step<'_>> = flat.path.iter().map(OwnedStep::borrow).collect();
    let value = at(root, &path)?;
    let mut broken = flat.path.clone();
    let diagnostic = match &flat.fault {
        ShapeFault::UnknownKeys(_) => return None,
        ShapeFault::Missing(key) => {
            broken.push(OwnedStep::Key(key.clone()));
            missing(lookup, &path, key)
        }
        ShapeFault::WrongType(expected) => wrong_type(lookup, flat, &path, value, *expected),
        ShapeFault::NotAllowed(words) => not_allowed(lookup, &path, value, words),
        ShapeFault::Range => range(lookup, flat, &path, value),
        ShapeFault::Malformed => malformed(lookup, flat, &path, value),
        ShapeFault::TooFewItems if value.as_array().is_some_and(|items| !items.is_empty()) => {
            lonely(lookup, flat, &path, value)
        }
        ShapeFault::TooFewItems => {
            let name = dotted(&path);
            let message = format!("`{name}` is empty");
            Diagnostic::new(
                &codes::EMPTY_LIST,
                lookup.document.value(&path),
                message,
                "at least one is needed",
            )
            .hint(format!("write it as `{}`", example(key_of(&path), &path)))
        }
        ShapeFault::ExactlyOne(keys) => exactly_one(lookup, &path, value, keys),
        ShapeFault::Other => {
            let message = format!("`{}` is not valid", dotted(&path));
            Diagnostic::new(&codes::MALFORMED, lookup.document.value(&path), message, "not valid")
        }
    };
    let wrong = match flat.fault {
        ShapeFault::WrongType(_) if value.is_null() => Wrong::Odd,
        ShapeFault::WrongType(_) => Wrong::Type,
        _ => Wrong::Value,
    };
    Some(ShapeFinding { path: broken, wrong, diagnostic })
}

/// A list that has something, and too little of it.
fn lonely(lookup: &Lookup<'_, '_>, flat: &Flat, path: &[Step<'_>], value: &Value) -> Diagnostic {
    let place = lookup.document.value(path);
    if let [Step::Key("sync_groups"), Step::Key(group), Step::Key("virtual_routers")] = path
        && let Some(only) = value.get(0).and_then(Value::as_str)
    {
        let message = format!(
            "sync group `{}` has one member, and a sync group needs two virtual routers",
            group.escape_debug()
        );
        return Diagnostic::new(&codes::GROUP_OF_ONE, place, message, "the only one").hint(format!(
            "add the virtual router that is to move with `{}`, or remove the group",
            only.escape_debug()
        ));
    }
    let least = lookup.schema.pointer(&flat.schema).and_then(|schema| schema.get("minItems"));
    let least = least.and_then(Value::as_u64).unwrap_or(1);
    let message = format!("`{}` has too few items: at least {least} are needed", dotted(path));
    Diagnostic::new(&codes::EMPTY_LIST, place, message, "too few")
        .hint(format!("write it as `{}`", example(key_of(path), path)))
}

fn unknown_keys(
    lookup: &Lookup<'_, '_>,
    flat: &Flat,
    findings: &mut Vec<ShapeFinding>,
    meant: &mut BTreeSet<Vec<OwnedStep>>,
    enough: &mut Enough<'_>,
) {
    let ShapeFault::UnknownKeys(unexpected) = &flat.fault else {
        return;
    };
    let schema = lookup.schema.pointer(&flat.schema);
    let names = schema.is_some_and(|schema| schema.get("patternProperties").is_some());
    let known: Vec<&str> = schema
        .and_then(|schema| schema.get("properties")?.as_object())
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    for key in unexpected {
        if enough.is_reached() {
            return;
        }
        let mut path = flat.path.clone();
        path.push(OwnedStep::Key(key.clone()));
        let steps: Vec<Step<'_>> = path.iter().map(OwnedStep::borrow).collect();
        let place = lookup.document.key(&steps);
        if names {
            let message = format!("`{}` cannot be a name", key.escape_debug());
            let diagnostic = Diagnostic::new(&codes::BAD_NAME, place, message, "not a name")
                .hint("use 1 to 63 letters, digits, `_`, `.` or `-`, with a letter or digit at both ends");
            findings.push(ShapeFinding { path, wrong: Wrong::Key { near: None }, diagnostic });
            findings.last().into_iter().for_each(|finding| enough.count(finding));
            continue;
        }
        let owner = &steps[..steps.len() - 1];
        let message = match owner {
            [] => format!("`{}` is no key of a cluster file", key.escape_debug()),
            owner => format!("`{}` is no key of `{}`", key.escape_debug(), dotted(owner)),
        };
        let word = words::key(key, owner);
        let near = match &word {
            Some(word) => word.near.filter(|near| known.contains(near)),
            None => lookup.suggester.closest(key, known.iter().copied()),
        };
        if let Some(near) = near {
            let mut right = flat.path.clone();
            right.push(OwnedStep::Key(near.to_owned()));
            meant.insert(right);
        }
        let hint = match near {
            _ if let Some(word) = word => word.hint,
            Some(near) => format!("did you mean `{near}`?"),
            None if matches!(key.as_str(), "version" | "name") => {
                meant.insert(vec![OwnedStep::Key(key.clone())]);
                format!(
                    "`{key}` of the cluster belongs at the top of the file, before the first [table] header"
                )
            }
            None => format!("keys here: {}", list(&known).unwrap_or_default()),
        };
        let diagnostic = Diagnostic::new(&codes::UNKNOWN_KEY, place, message, "unknown key").hint(hint);
        let near = near.map(str::to_owned);
        findings.push(ShapeFinding { path, wrong: Wrong::Key { near }, diagnostic });
        findings.last().into_iter().for_each(|finding| enough.count(finding));
    }
}

fn missing(lookup: &Lookup<'_, '_>, path: &[Step<'_>], key: &str) -> Diagnostic {
    let place = lookup.document.value(path);
    let mut inside = path.to_vec();
    inside.push(Step::Key(key));
    let example = example(key, &inside);
    if path.is_empty() {
        let message = format!("the cluster has no `{key}`");
        let hint = match key {
            "segments" | "hosts" => format!("add {example}"),
            _ => format!("add `{example}` at the top of the file, before the first [table] header"),
        };
        return Diagnostic::new(&codes::MISSING_KEY, place, message, format!("`{key}` is missing"))
            .hint(hint);
    }
    let name = dotted(path);
    Diagnostic::new(
        &codes::MISSING_KEY,
        place,
        format!("`{name}` has no `{key}`"),
        format!("`{key}` is missing"),
    )
    .hint(format!("add `{example}` to it"))
}

fn wrong_type(
    lookup: &Lookup<'_, '_>,
    flat: &Flat,
    path: &[Step<'_>],
    value: &Value,
    expected: Expected,
) -> Diagnostic {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    let wanted = match expected {
        Expected::Text => "a text",
        Expected::Number => "a whole number",
        Expected::Flag => "true or false",
        Expected::List => "a list",
        Expected::Table => "a table",
    };
    let definition = definition(&flat.schema);
    let hint = match (expected, value) {
        (Expected::Number, Value::String(text)) if text.parse::<i64>().is_ok() => {
            "write it without quotes".to_owned()
        }
        (Expected::Flag, Value::String(_)) => "write true or false without quotes".to_owned(),
        (Expected::Text, Value::Number(number)) if matches!(definition, "Span" | "AdvertInterval") => {
            format!("give it a unit and quotes, such as \"{number}s\" or \"500ms\"")
        }
        (Expected::Text, Value::Number(_) | Value::Bool(_))
            if matches!(definition, "Name" | "InterfaceName" | "SecretSource" | "Segment") =>
        {
            "put it in quotes".to_owned()
        }
        (Expected::List, Value::String(_) | Value::Number(_)) => "put it in `[ ]`".to_owned(),
        (Expected::Table, _) if path.len() == 1 && definition.is_empty() => {
            format!("write {}", example(key_of(path), path))
        }
        (Expected::Table, _) => format!("write it as `{}`", table_example(definition, path)),
        (_, _) => format!("write it as `{}`", example(key_of(path), path)),
    };
    let message = format!("`{}` must be {wanted}, not {found}", dotted(path));
    Diagnostic::new(&codes::WRONG_TYPE, lookup.document.value(path), message, format!("this is {found}"))
        .hint(hint)
}

fn not_allowed(lookup: &Lookup<'_, '_>, path: &[Step<'_>], value: &Value, words: &[String]) -> Diagnostic {
    let found = value.as_str().unwrap_or_default();
    let message = format!("`{}` cannot be \"{}\"", dotted(path), found.escape_debug());
    let diagnostic =
        Diagnostic::new(&codes::NOT_ALLOWED, lookup.document.value(path), message, "not an allowed value");
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let allowed = match quoted.as_slice() {
        [only] => format!("the only value of this version is {only}"),
        many => format!("allowed: {}", many.join(", ")),
    };
    let near = words::value(found, words);
    match near.or_else(|| lookup.suggester.closest(found, words.iter().map(String::as_str))) {
        Some(near) => diagnostic.note(allowed).hint(format!("did you mean \"{near}\"?")),
        None => diagnostic.hint(allowed),
    }
}

fn range(lookup: &Lookup<'_, '_>, flat: &Flat, path: &[Step<'_>], value: &Value) -> Diagnostic {
    let place = lookup.document.value(path);
    if matches!(path, [Step::Key("version")]) {
        let message = format!("the file is written in version {value} of the language");
        return Diagnostic::new(&codes::LANGUAGE_VERSION, place, message, "this evenkeel reads version 1")
            .hint("write `version = 1`, or use an evenkeel that knows this version");
    }
    let limit = |keyword| lookup.schema.pointer(&flat.schema).and_then(|schema| schema.get(keyword));
    let range = match (limit("minimum"), limit("maximum")) {
        (Some(min), Some(max)) if max.as_i64() == min.as_i64().map(|min| min + 1) => {
            format!("{min} or {max}")
        }
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "a smaller number".to_owned(),
    };
    let name = dotted(path);
    let message = format!("`{name}` is {value}, but must be {range}");
    let diagnostic = Diagnostic::new(&codes::OUT_OF_RANGE, place, message, "out of range");
    diagnostic.hint(match definition(&flat.schema) {
        "Vrid" => "choose a VRID that no other VRRP router on the segment uses",
        "Priority" => "priorities are 1 to 254; the highest becomes Master",
        "Weight" => "only the proportion of weights counts: 2 and 1 do what 60000 and 30000 do",
        "Port" => "write the port that clients connect to",
        _ if key_of(path) == "version" => "VRRP has version 2 (RFC 3768) and version 3 (RFC 9568)",
        _ => "choose a number in this range",
    })
}

/// The scalar's own words say what is wrong with it.
fn malformed(lookup: &Lookup<'_, '_>, flat: &Flat, path: &[Step<'_>], value: &Value) -> Diagnostic {
    fn reason<T: std::str::FromStr>(text: &str) -> Option<String>
    where
        T::Err: std::fmt::Display,
    {
        text.parse::<T>().err().map(|error| error.to_string())
    }
    let text = value.as_str().unwrap_or_default();
    let reason = match definition(&flat.schema) {
        "Ip" => reason::<Ip>(text),
        "Cidr" => reason::<Cidr>(text),
        "Span" => reason::<Span>(text),
        "AdvertInterval" => reason::<AdvertInterval>(text),
        "Name" => reason::<Name>(text),
        "InterfaceName" => reason::<InterfaceName>(text),
        _ => None,
    };
    let reason = reason.unwrap_or_else(|| format!("\"{}\" is not well formed", text.escape_debug()));
    let reason = reason.replace("..=", " to ");
    let (cause, hint) = match (reason.split_once(": "), reason.split_once(", such as ")) {
        (Some((cause, hint)), _) if hint.starts_with(|first: char| first.is_ascii_digit()) => {
            (cause, Some(format!("use {hint}")))
        }
        (Some((cause, hint)), _) => (cause, Some(hint.to_owned())),
        (None, Some((cause, _))) => (cause, None),
        (None, None) => (reason.as_str(), None),
    };
    let message = format!("`{}`: {cause}", dotted(path));
    let diagnostic =
        Diagnostic::new(&codes::MALFORMED, lookup.document.value(path), message, "not well formed");
    diagnostic.hint(hint.unwrap_or_else(|| format!("write it as `{}`", example(key_of(path), path))))
}

fn exactly_one(lookup: &Lookup<'_, '_>, path: &[Step<'_>], value: &Value, keys: &[String]) -> Diagnostic {
    let present: Vec<&String> = keys.iter().filter(|key| value.get(key.as_str()).is_some()).collect();
    let found = match list(&present) {
        Some(found) => format!("has {found}"),
        None => "has none".to_owned(),
    };
    let keys = list(keys).unwrap_or_default();
    let message = format!("`{}` needs exactly one of {keys}, but {found}", dotted(path));
    let diagnostic =
        Diagnostic::new(&codes::EXACTLY_ONE, lookup.document.value(path), message, "exactly one is needed");
    let unknown = value.as_object().into_iter().flat_map(|table| table.keys());
    for key in unknown {
        if let Some(near) = lookup.suggester.closest(key, ["literal", "file", "credential"])
            && near != key
        {
            return diagnostic.hint(format!("did you mean `{near}` instead of `{}`?", key.escape_debug()));
        }
    }
    diagnostic.hint("write it as `{ file = \"/etc/evenkeel/vrrp.pass\" }`")
}

fn at<'v>(root: &'v Value, path: &[Step<'_>]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.get(*key),
        Step::Index(index) => value.get(*index),
    })
}

/// `services.web.real_servers[0]`
pub(super) fn dotted(path: &[Step<'_>]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for step in path {
        // Writing to a String cannot fail.
        let _ = match step {
            Step::Key(key) if text.is_empty() => write!(text, "{}", key.escape_debug()),
            Step::Key(key) => write!(text, ".{}", key.escape_debug()),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

/// Name of the type that a schema pointer leads to: `/$defs/Vrid` -> `Vrid`; of a key in a type none.
fn definition(schema: &str) -> &str {
    schema
        .strip_prefix("/$defs/")
        .filter(|name| !name.contains("/properties/"))
        .map_or("", |name| name.split('/').next().unwrap_or_default())
}

/// The last key of a path: of an item its list's.
fn key_of<'a>(path: &[Step<'a>]) -> &'a str {
    let key = |step: &Step<'a>| match step {
        Step::Key(key) => Some(*key),
        Step::Index(_) => None,
    };
    path.iter().rev().find_map(key).unwrap_or_default()
}

/// Example of a key with a right value.
fn example(key: &str, path: &[Step<'_>]) -> String {
    let parent = path.len().checked_sub(2).and_then(|index| path.get(index));
    let text = match key {
        "version" => "version = 1",
        "name" => "name = \"my-cluster\"",
        "include" => "include = [\"services/*.toml\"]",
        "segments" => "a table `[segments.front]` with `subnets = [\"192.0.2.0/24\"]`",
        "hosts" => {
            "a table `[hosts]` with a line for each machine: `dir1 = { address = \"192.0.2.11\", interface \
            = \"eth0\" }`"
        }
        "virtual_routers" if path.len() > 1 => "virtual_routers = [\"VI_1\", \"VI_2\"]",
        "virtual_routers" => "a table `[virtual_routers.VI_1]` with `vrid`, `vips` and `directors`",
        "services" => "a table `[services.web]` with `router`, `protocol`, `port` and `real_servers`",
        "policy" => "a table `[policy]`",
        "subnets" => "subnets = [\"192.0.2.0/24\"]",
        "address" => "address = \"192.0.2.11\"",
        "interface" => "interface = \"eth0\"",
        "vrid" => "vrid = 51",
        "vips" => "vips = [\"192.0.2.100\"]",
        "vip" => "vip = \"192.0.2.100\"",
        "directors" => "directors = [\"dir1\", \"dir2\"]",
        "priorities" => "priorities = { dir1 = 100, dir2 = 90 }",
        "advert_interval" => "advert_interval = \"1s\"",
        "preempt" => "preempt = true",
        "auth" => "auth = { type = \"pass\", secret = { file = \"/etc/evenkeel/vrrp.pass\" } }",
        "secret" => "secret = { file = \"/etc/evenkeel/vrrp.pass\" }",
        "type" if parent == Some(&Step::Key("auth")) => "type = \"pass\"",
        "type" => "type = \"tcp\"",
        "router" => "router = \"VI_1\"",
        "protocol" => "protocol = \"tcp\"",
        "port" => "port = 80",
        "scheduler" => "scheduler = \"wlc\"",
        "forwarding" => "forwarding = \"dr\"",
        "real_servers" => "real_servers = [{ host = \"rs1\" }, { host = \"rs2\" }]",
        "host" => "host = \"rs1\"",
        "weight" => "weight = 1",
        "check" => "check = { type = \"tcp\", interval = \"5s\" }",
        "interval" | "timeout" | "retry_delay" | "resync" => return format!("{key} = \"5s\""),
        "exclusive_ipvs" => "exclusive_ipvs = false",
        _ => return format!("{key} = …"),
    };
    text.to_owned()
}

/// Example of a table with right keys.
fn table_example(definition: &str, path: &[Step<'_>]) -> String {
    let text = match definition {
        "RealServer" => "{ host = \"rs1\" }",
        "Host" => "{ address = \"192.0.2.11\", interface = \"eth0\" }",
        "Segment" => "{ subnets = [\"192.0.2.0/24\"] }",
        "SecretSource" => "{ file = \"/etc/evenkeel/vrrp.pass\" }",
        "Auth" => "{ type = \"pass\", secret = { file = \"/etc/evenkeel/vrrp.pass\" } }",
        "Check" => "{ type = \"tcp\", interval = \"5s\" }",
        "VirtualRouter" => "{ vrid = 51, vips = [\"192.0.2.100\"], directors = [\"dir1\", \"dir2\"] }",
        "Service" => {
            "{ router = \"VI_1\", protocol = \"tcp\", port = 80, real_servers = [{ host = \"rs1\" }] }"
        }
        "Policy" => "{ resync = \"5s\" }",
        "Track" => "{ tracker = \"uplink\" }",
        _ if key_of(path) == "priorities" => "{ dir1 = 100, dir2 = 90 }",
        _ if matches!(path.last(), Some(Step::Index(_))) => "{ … }",
        _ => return format!("[{}]", dotted(path)),
    };
    text.to_owned()
}
