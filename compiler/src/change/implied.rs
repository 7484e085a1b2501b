//! Which fields of a new object go without saying: those that its identity tells, and those that have the
//! value which they have when a cluster file says nothing.

use evenkeel_schemas::change::FieldChange;
use serde_json::Value;

use super::checks;

/// Fields that the line with an object's name and identity shows, by kind of object.
const TOLD: [(&str, &[&str]); 11] = [
    ("host", &["format", "cluster", "host", "host_addresses"]),
    ("router", &["name", "interface", "vrid"]),
    ("sync_group", &["name"]),
    ("tracker", &["name"]),
    ("virtual_server", &["name", "address", "port", "protocol", "firewall_mark", "family"]),
    ("destination", &["host", "address", "port"]),
    ("tunnel", &["interface"]),
    ("gue", &["family", "port"]),
    ("address", &["interface", "address"]),
    ("route", &["destination", "interface", "table", "metric"]),
    ("sysctl", &["key"]),
];

/// A value in JSON that a field has when a cluster file says nothing of it. A test compiles such a file and
/// compares.
const DEFAULTS: [(&str, &str, &str); 20] = [
    ("host", "policy.resync", "\"5s\""),
    ("host", "policy.exclusive_ipvs", "false"),
    ("router", "version", "3"),
    ("router", "advert_interval", "\"1s\""),
    ("router", "preempt", "true"),
    ("router", "garp_repeat", "5"),
    ("router", "garp_delay", "\"5s\""),
    ("virtual_server", "scheduler", "\"wlc\""),
    ("virtual_server", "one_packet", "false"),
    ("destination", "weight", "1"),
    ("destination", "forwarding", "\"dr\""),
    ("destination", "check.interval", "\"5s\""),
    ("destination", "check.timeout", "\"5s\""),
    ("destination", "check.retries", "1"),
    ("destination", "check.retry_delay", "\"1s\""),
    ("tracker", "initially", "\"up\""),
    ("address", "scope", "\"global\""),
    ("address", "label", "\"lo:0\""),
    ("route", "scope", "\"link\""),
    ("route", "table", "254"),
];

/// Whether the line with an object's name and identity shows this field.
pub(super) fn is_told(kind: &str, field: &str) -> bool {
    TOLD.iter().any(|(of, told)| *of == kind && told.contains(&field))
}

/// When a field of a new object goes without saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Implied {
    /// Always: the line with the object's name and identity shows it.
    Told,
    /// When its value is this, in JSON.
    Default(&'static str),
    /// When its value is that of this other field.
    Like(&'static str),
    Never,
}

impl Implied {
    /// Of a field of objects of this kind.
    pub(super) fn of(kind: &str, field: &str) -> Self {
        if is_told(kind, field) {
            return Self::Told;
        }
        let key = if kind == "destination" { checks::field(field) } else { None };
        // A check looks where connections go, unless it is told otherwise.
        match key {
            Some((_, "address")) => return Self::Like("address"),
            Some((_, "port")) => return Self::Like("port"),
            Some(_) | None => {}
        }
        let of_first = key.map(|(_, key)| format!("{}.{key}", checks::FIRST));
        let name = of_first.as_deref().unwrap_or(field);
        let default = DEFAULTS.iter().find(|(of, field, _)| *of == kind && *field == name);
        default.map_or(Self::Never, |(.., json)| Self::Default(json))
    }
}

/// Whether a field of a new object of this kind, with these fields, goes without saying.
pub(crate) fn is_implied(kind: &str, field: &FieldChange, fields: &[FieldChange]) -> bool {
    let value = field.new.as_ref();
    match Implied::of(kind, &field.field) {
        Implied::Told => true,
        Implied::Default(json) => value.is_some_and(|value| is(value, json)),
        Implied::Like(same) => {
            value.is_some() && fields.iter().any(|other| other.field == same && other.new.as_ref() == value)
        }
        Implied::Never => false,
    }
}

/// Whether a value is written so in JSON.
fn is(value: &Value, json: &str) -> bool {
    match value {
        Value::String(text) => json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) == Some(text),
        Value::Bool(flag) => json == if *flag { "true" } else { "false" },
        Value::Number(number) => number.to_string() == json,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{compiled, objects};
    use super::*;
    use crate::{SourceFile, compile};

    const NOTHING_SAID: &str = r#"
        version = 1
        name = "least"
        segments.front.subnets = ["192.0.2.0/24"]
        [hosts]
        dir1 = { address = "192.0.2.11", interface = "eth0" }
        dir2 = { address = "192.0.2.12", interface = "eth0" }
        rs1 = { address = "192.0.2.21", interface = "eth0" }
        [trackers.uplink]
        type = "interface"
        interface = "eth1"
        [virtual_routers.VI_1]
        vrid = 51
        vips = ["192.0.2.100"]
        directors = ["dir1", "dir2"]
        track = [{ tracker = "uplink" }]
        [services.web]
        router = "VI_1"
        protocol = "tcp"
        port = 80
        real_servers = [{ host = "rs1" }]
        check = { type = "tcp" }
    "#;

    #[test]
    fn defaults_are_what_comes_of_a_file_that_says_nothing() {
        let compilation = compile(&SourceFile::new("cluster.toml", NOTHING_SAID));
        let cluster = compilation.cluster.unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics));
        let fleet = compiled(&cluster);
        let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (key, object) in fleet.values().flat_map(objects::of_host) {
            let fields = object.fields();
            for (kind, field, json) in DEFAULTS.iter().filter(|(kind, ..)| *kind == key.id.kind()) {
                let value = fields.get(*field).unwrap_or_else(|| panic!("{kind} {key} has no `{field}`"));
                assert!(is(value, json), "{kind} {key} {field}: {value}, not {json}");
                seen.insert((kind, field));
            }
            let told = TOLD.iter().filter(|(kind, _)| *kind == key.id.kind()).flat_map(|(_, told)| *told);
            let text = key.to_string() + object.name().unwrap_or_default();
            for field in told
                .filter(|field| !["format", "cluster", "host_addresses", "table", "metric"].contains(field))
            {
                let shown = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
                assert!(fields.get(*field).is_none_or(|value| text.contains(&shown(value))), "{key} {field}");
            }
        }
        assert_eq!(seen.len(), DEFAULTS.len(), "some kinds are not in the file: {seen:?}");
    }
}
