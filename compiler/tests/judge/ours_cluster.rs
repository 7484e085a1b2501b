//! Facts of a cluster file.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::dump::whole_network;
use super::dump_services::{numbers, of_request};
use super::facts::{Facts, program, seconds};

pub(crate) fn table<'a>(of: &'a Table, key: &str) -> impl Iterator<Item = (&'a String, &'a Table)> {
    of.get(key)
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name, value.as_table()?)))
}

pub(crate) fn list<'a>(of: &'a Table, key: &str) -> impl Iterator<Item = &'a Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Boolean(true) => "yes".to_owned(),
        Value::Boolean(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn text(of: &Table, key: &str) -> Option<String> {
    of.get(key).map(word)
}

/// A duration of the cluster file in seconds.
pub(crate) fn span(of: &Table, key: &str) -> Option<String> {
    let text = of.get(key)?.as_str()?;
    let digits = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Some(seconds(number * factor))
}

pub(crate) fn or(value: Option<String>, usual: &str) -> String {
    value.unwrap_or_else(|| usual.to_owned())
}

pub(crate) fn command(of: &Table) -> String {
    program(&list(of, "command").map(word).collect::<Vec<_>>())
}

pub(crate) fn hooks(facts: &mut Facts, object: &str, of: &Table) {
    for (name, hook) in table(of, "hooks") {
        facts.set(object, format!("hook {name}"), command(hook));
        facts.set(object, format!("hook {name} user"), or(text(hook, "user"), "(by default)"));
        let appends = hook.get("state_arguments").and_then(Value::as_bool).unwrap_or(true);
        facts.set(object, format!("hook {name} appends"), if appends { "yes" } else { "no" });
    }
}

pub(crate) fn tracks(facts: &mut Facts, object: &str, of: &Table, kinds: &BTreeMap<String, String>) {
    for track in list(of, "track").filter_map(Value::as_table) {
        let name = or(text(track, "tracker"), "");
        let weight = or(text(track, "weight"), "0");
        let reverse =
            if track.get("reverse").and_then(Value::as_bool) == Some(true) { " reverse" } else { "" };
        let what = kinds.get(&name).cloned().unwrap_or(name);
        facts.set(object, format!("track {what}"), format!("{weight}{reverse}"));
    }
}

pub(crate) fn from_cluster(facts: &mut Facts, document: &Table, director: &str) {
    let mut kinds = BTreeMap::new();
    for (name, tracker) in table(document, "trackers") {
        kinds.insert(name.clone(), watched(facts, name, tracker, text(tracker, "initially")));
    }
    let of_others = |router: &Table| {
        let mut directors = list(router, "directors").map(word).peekable();
        directors.peek().is_some() && !directors.any(|name| name == director)
    };
    for (name, router) in table(document, "virtual_routers").filter(|(_, router)| !of_others(router)) {
        cluster_router(facts, name, router, &kinds, director);
    }
    for (name, group) in table(document, "sync_groups") {
        let mut members: Vec<String> = list(group, "virtual_routers").map(word).collect();
        for member in &members {
            facts.set(&format!("router {member}"), "sync group", name);
        }
        members.sort();
        let object = format!("group {name}");
        facts.set(&object, "members", members.join(" "));
        tracks(facts, &object, group, &kinds);
        hooks(facts, &object, group);
    }
    let hosts: BTreeMap<&String, String> =
        table(document, "hosts").filter_map(|(name, host)| Some((name, text(host, "address")?))).collect();
    for (_, service) in table(document, "services") {
        cluster_service(facts, document, service, &hosts);
    }
    for (_, sync) in table(document, "connection_sync") {
        for (key, property) in [
            ("interface", "sync interface"),
            ("router", "sync router"),
            ("id", "sync id"),
            ("max_length", "sync max_length"),
            ("port", "sync port"),
            ("ttl", "sync ttl"),
        ] {
            if let Some(value) = text(sync, key) {
                facts.set("global", property, value);
            }
        }
    }
    if let Some(timeouts) =
        document.get("ipvs").and_then(|ipvs| ipvs.get("timeouts")).and_then(Value::as_table)
    {
        for key in ["tcp", "tcp_fin", "udp"] {
            if let Some(value) = span(timeouts, key) {
                facts.set("global", format!("timeout {key}"), value);
            }
        }
    }
}

/// Facts of what is tracked; how tracks call it.
pub(crate) fn watched(facts: &mut Facts, name: &str, watch: &Table, initially: Option<String>) -> String {
    match or(text(watch, "type"), "").as_str() {
        "interface" => format!("interface {}", or(text(watch, "interface"), "")),
        "script" => {
            let object = format!("script {name}");
            let interval = or(span(watch, "interval"), "1");
            facts.set(&object, "command", command(watch));
            facts.set(&object, "timeout", span(watch, "timeout").unwrap_or_else(|| interval.clone()));
            facts.set(&object, "interval", interval);
            facts.set(&object, "rise", or(text(watch, "rise"), "1"));
            facts.set(&object, "fall", or(text(watch, "fall"), "1"));
            facts.set(&object, "user", or(text(watch, "user"), "(by default)"));
            facts.set(&object, "initially", or(initially, "up"));
            object
        }
        "process" => {
            let object = format!("process {name}");
            facts.set(&object, "process", or(text(watch, "process"), ""));
            facts.set(&object, "quorum", or(text(watch, "quorum"), "1"));
            object
        }
        "file" => {
            let object = format!("file {name}");
            facts.set(&object, "path", or(text(watch, "path"), ""));
            object
        }
        other => format!("{other} {name}"),
    }
}

pub(crate) fn cluster_router(
    facts: &mut Facts,
    name: &str,
    router: &Table,
    kinds: &BTreeMap<String, String>,
    director: &str,
) {
    let object = format!("router {name}");
    let priority = router.get("priorities").and_then(|table| table.get(director)).map(word);
    facts.set(&object, "version", or(text(router, "version"), "3"));
    facts.set(&object, "vrid", or(text(router, "vrid"), ""));
    facts.set(&object, "priority", or(priority, "100"));
    facts.set(&object, "advert_interval", or(span(router, "advert_interval"), "1"));
    facts.set(&object, "preempt", or(text(router, "preempt"), "yes"));
    if let Some(delay) = span(router, "preempt_delay") {
        facts.set(&object, "preempt_delay", delay);
    }
    if let Some(delay) = span(router, "startup_delay") {
        facts.set("global", "startup_delay", delay);
    }
    let secret =
        router.get("auth").and_then(|auth| auth.get("secret")).and_then(|secret| secret.get("literal"));
    if let Some(secret) = secret {
        facts.set(&object, "password", word(secret));
    }
    let garp = router.get("garp").and_then(Value::as_table).cloned().unwrap_or_default();
    facts.set(&object, "garp repeat", or(text(&garp, "repeat"), "5"));
    facts.set(&object, "garp delay", or(span(&garp, "delay"), "5"));
    if let Some(refresh) = span(&garp, "refresh") {
        facts.set(&object, "garp refresh", refresh);
        facts.set(&object, "garp refresh repeat", or(text(&garp, "repeat"), "5"));
    }
    // Every burst is the same.
    facts.set(&object, "garp lower priority delay", or(span(&garp, "delay"), "5"));
    facts.set(&object, "garp lower priority repeat", or(text(&garp, "repeat"), "5"));
    if let Some(virtual_mac) = router.get("virtual_mac").and_then(Value::as_table) {
        let base = virtual_mac.get("advertise_from_base").and_then(Value::as_bool) == Some(true);
        facts.set(&object, "virtual_mac", if base { "from base" } else { "yes" });
    }
    if let Some(ttl) = router.get("unicast").and_then(|unicast| unicast.get("ttl")) {
        facts.set(&object, "unicast ttl", word(ttl));
    }
    for (key, property) in [("vips", "vip"), ("unadvertised_vips", "excluded")] {
        for address in list(router, key).map(word) {
            let settings = router
                .get("vip_settings")
                .and_then(|settings| settings.get(&address))
                .and_then(Value::as_table);
            let settings = settings.cloned().unwrap_or_default();
            let property = format!("{property} {address}");
            let whole = if address.contains(':') { "128" } else { "32" };
            facts.set(&object, &*property, or(text(&settings, "prefix"), whole));
            facts.set(&object, format!("{property} dev"), or(text(&settings, "interface"), "(own)"));
            if let Some(label) = text(&settings, "label") {
                facts.set(&object, format!("{property} label"), label);
            }
        }
    }
    for (key, property) in [("routes", "route"), ("rules", "rule")] {
        for item in list(router, key).filter_map(Value::as_table) {
            facts.set(&object, format!("{property} {}", routed(item, key == "rules")), "yes");
        }
    }
    tracks(facts, &object, router, kinds);
    hooks(facts, &object, router);
}

/// A route or rule in the words of the dump.
pub(crate) fn routed(item: &Table, rule: bool) -> String {
    let names: &[(&str, &str)] = if rule {
        &[
            ("firewall_mark", "fwmark"),
            ("from", "from"),
            ("input_interface", "iif"),
            ("table", "lookup"),
            ("preference", "priority"),
            ("to", "to"),
        ]
    } else {
        &[
            ("interface", "dev"),
            ("metric", "metric"),
            ("source", "src"),
            ("table", "table"),
            ("destination", "to"),
            ("via", "via"),
        ]
    };
    let mut out = BTreeMap::new();
    for (key, name) in names {
        if let Some(value) = text(item, key)
            && !(*key == "metric" && value == "0")
            && !(!rule && *key == "table" && value == "254")
        {
            let value = if ["from", "to"].contains(name) { whole_network(&value) } else { value };
            out.insert(*name, value);
        }
    }
    if !rule {
        out.entry("dev").or_insert_with(|| "(own)".to_owned());
    }
    out.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn socket(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The objects that a service is: one for each VIP and port.
pub(crate) fn fronts(document: &Table, service: &Table) -> Vec<(String, String)> {
    let port = or(text(service, "port"), "0");
    if let Some(mark) = text(service, "firewall_mark") {
        let v6 = text(service, "family").is_some_and(|family| family == "ipv6");
        return vec![(format!("service fwmark {mark}{}", if v6 { " ipv6" } else { "" }), "0".to_owned())];
    }
    let router = or(text(service, "router"), "");
    let of_router = || -> Vec<String> {
        let router = document
            .get("virtual_routers")
            .and_then(|routers| routers.get(&router))
            .and_then(Value::as_table);
        router.into_iter().flat_map(|router| list(router, "vips").map(word).collect::<Vec<_>>()).collect()
    };
    let vips: Vec<String> = match (text(service, "vip"), service.contains_key("vips")) {
        (Some(vip), _) => vec![vip],
        (None, true) => list(service, "vips").map(word).collect(),
        (None, false) => of_router(),
    };
    let mut ports = vec![port];
    if service.contains_key("ports") {
        ports = list(service, "ports").map(word).collect();
    }
    let protocol = or(text(service, "protocol"), "none");
    let mut out = Vec::new();
    for vip in &vips {
        for port in &ports {
            out.push((format!("service {protocol} {}", socket(vip, port)), port.clone()));
        }
    }
    out
}

pub(crate) fn cluster_service(
    facts: &mut Facts,
    document: &Table,
    service: &Table,
    hosts: &BTreeMap<&String, String>,
) {
    for (object, port) in fronts(document, service) {
        facts.set(&object, "scheduler", or(text(service, "scheduler"), "wlc"));
        let mut flags: Vec<String> = list(service, "scheduler_flags").map(word).collect();
        flags.sort();
        facts.set(&object, "flags", flags.join(" "));
        facts.set(&object, "one_packet", or(text(service, "one_packet"), "no"));
        if let Some(persistence) = service.get("persistence").and_then(Value::as_table) {
            facts.set(&object, "persistence", or(span(persistence, "timeout"), "360"));
            let whole = if object.contains("ipv6") || object.contains('[') { "128" } else { "32" };
            facts.set(&object, "persistence prefix", or(text(persistence, "prefix"), whole));
            if let Some(engine) = text(persistence, "engine") {
                facts.set(&object, "persistence engine", engine);
            }
        }
        let quorum = service.get("quorum").and_then(Value::as_table).cloned().unwrap_or_default();
        facts.set(&object, "quorum", or(text(&quorum, "weight"), "1"));
        facts.set(&object, "hysteresis", or(text(&quorum, "hysteresis"), "0"));
        let method = or(text(service, "forwarding"), "dr");
        if let Some(sorry) = service.get("sorry_server").and_then(Value::as_table) {
            let address = text(sorry, "address").or_else(|| hosts.get(&text(sorry, "host")?).cloned());
            let target = socket(&or(address, ""), &or(text(sorry, "port"), &port));
            facts.set(&object, "sorry_server", target);
            facts.set(&object, "sorry_server forwarding", or(text(sorry, "forwarding"), &method));
        }
        let mut of_service = Facts::default();
        hooks(&mut of_service, "", service);
        for (property, value) in of_service.0.get("").into_iter().flatten() {
            if property.starts_with("hook quorum") {
                facts.set(&object, property, value);
            }
        }
        for real in list(service, "real_servers").filter_map(Value::as_table) {
            let address = text(real, "address").or_else(|| hosts.get(&text(real, "host")?).cloned());
            let address = or(address, "");
            let real_port = or(text(real, "port"), &port);
            let name = format!("{object} -> {}", socket(&address, &real_port));
            facts.set(&name, "weight", or(text(real, "weight"), "1"));
            let way = or(text(real, "forwarding"), &method);
            if let Some(tunnel) = service.get("tunnel").and_then(Value::as_table).filter(|_| way == "tun") {
                let mut parts = vec![or(text(tunnel, "type"), "ipip")];
                parts.extend(text(tunnel, "port").map(|port| format!("port = {port}")));
                parts.extend(text(tunnel, "checksum").map(|kind| match kind.as_str() {
                    "full" => "checksum".to_owned(),
                    other => format!("{other} checksum"),
                }));
                facts.set(&name, "tunnel", parts.join(", "));
            }
            facts.set(&name, "forwarding", way);
            facts.set(&name, "upper_threshold", or(text(real, "upper_threshold"), "0"));
            facts.set(&name, "lower_threshold", or(text(real, "lower_threshold"), "0"));
            let quiesce = text(service, "on_failure").is_some_and(|action| action == "quiesce");
            facts.set(&name, "inhibit", if quiesce { "yes" } else { "no" });
            for (property, value) in of_service.0.get("").into_iter().flatten() {
                if property.starts_with("hook real_server") {
                    facts.set(&name, property, value);
                }
            }
            let own = real.contains_key("check") || real.contains_key("checks");
            let holder = if own { real } else { service };
            let first = holder.get("check").and_then(Value::as_table).into_iter();
            let further = list(holder, "checks").filter_map(Value::as_table);
            for (number, check) in first.chain(further).enumerate() {
                // keepalived counts files apart from checkers.
                if text(check, "type").is_some_and(|kind| kind == "file") {
                    facts.set(&format!("{name} check of a file"), "type", "file");
                } else {
                    cluster_check(facts, &format!("{name} check {number}"), check, &address, &real_port);
                }
            }
        }
    }
}

pub(crate) fn cluster_check(facts: &mut Facts, object: &str, check: &Table, address: &str, port: &str) {
    let kind = or(text(check, "type"), "");
    let interval = or(span(check, "interval"), "5");
    let retries = or(text(check, "retries"), "1");
    if let Some(warmup) = span(check, "warmup").filter(|warmup| *warmup != interval) {
        facts.set(object, "warmup", warmup);
    }
    facts.set(object, "interval", &*interval);
    if retries != "0" {
        facts.set(object, "retry_delay", or(span(check, "retry_delay"), "1"));
    }
    facts.set(object, "retries", retries);
    facts.set(object, "initially_down", or(text(check, "initially_down"), "no"));
    if kind != "file" {
        facts.set(object, "timeout", or(span(check, "timeout"), "5"));
    }
    if kind == "ping" {
        facts.set(object, "target", or(text(check, "address"), address));
    } else if !["script", "file"].contains(&kind.as_str()) {
        let address = or(text(check, "address"), address);
        facts.set(object, "target", format!("{address}:{}", or(text(check, "port"), port)));
    }
    for key in ["source", "interface"] {
        if let Some(value) = text(check, key) {
            facts.set(object, key, value);
        }
    }
    match kind.as_str() {
        "http" | "https" => {
            let requests: Vec<&Table> = list(check, "requests").filter_map(Value::as_table).collect();
            let requests = if requests.is_empty() { vec![check] } else { requests };
            let many = requests.len() > 1;
            for (number, request) in requests.into_iter().enumerate() {
                let mut set = |property: &str, value: String| {
                    facts.set(object, of_request(many, number, property), value);
                };
                set("path", or(text(request, "path"), "/"));
                if let Some(host) = text(request, "host").or_else(|| text(check, "host")) {
                    set("host", host);
                }
                let status: Vec<String> = list(request, "status").map(word).collect();
                set(
                    "status",
                    if status.is_empty() { "200-299".to_owned() } else { numbers(&status.join(" ")) },
                );
                for key in ["body", "body_not"] {
                    // A `$` as keepalived's library reads it, and without the options, which its dump shows
                    // wrongly.
                    if let Some(body) = text(request, key) {
                        let body = body.replace("(?:\\n?\\z)", "$");
                        let flags = body.strip_prefix("(?").and_then(|rest| rest.split_once(')'));
                        let plain =
                            flags.filter(|(flags, _)| flags.chars().all(|flag| "imsxU".contains(flag)));
                        set("body", plain.map_or(body.clone(), |(_, rest)| rest.to_owned()));
                    }
                }
                if request.contains_key("body_not") {
                    set("must not match", "yes".to_owned());
                }
                if let Some(digest) = text(request, "digest") {
                    set("digest", digest);
                }
            }
        }
        "script" => {
            facts.set(object, "command", command(check));
            facts.set(object, "dynamic_weight", or(text(check, "dynamic_weight"), "no"));
            facts.set(object, "user", or(text(check, "user"), "(by default)"));
        }
        "dns" => {
            facts.set(object, "record", or(text(check, "record"), "SOA"));
            facts.set(object, "name", or(text(check, "name"), "."));
        }
        "udp" => {
            facts.set(object, "require_reply", or(text(check, "require_reply"), "no"));
            facts.set(object, "payload bytes", (or(text(check, "payload"), "").len() / 2).to_string());
            for (key, usual) in [("min_reply_length", "0"), ("max_reply_length", "255")] {
                if let Some(length) = text(check, key).filter(|length| length != usual) {
                    facts.set(object, key, length);
                }
            }
            if let Some(expect) = text(check, "expect") {
                facts.set(object, "answer bytes", expect.matches("\\x").count().to_string());
            }
        }
        "smtp" => {
            if let Some(helo) = text(check, "helo") {
                facts.set(object, "helo", helo);
            }
        }
        _ => {}
    }
    facts.set(object, "type", kind);
}
