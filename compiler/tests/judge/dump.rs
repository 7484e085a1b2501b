//! What keepalived writes of its own understanding, as facts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::dump_services::services;
use super::facts::{Facts, program, seconds};
use super::room::Room;

/// Part of a dump: its first line, `key = value` lines, and lists below a heading.
#[derive(Debug, Default)]
pub(crate) struct Part {
    values: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
    pub(crate) lines: Vec<String>,
}

impl Part {
    pub(crate) fn line(&mut self, line: &str) {
        let text = line.trim();
        if line.starts_with("     ") && !self.lines.is_empty() {
            let heading = self.lines.iter().rev().find(|line| !line.starts_with("     "));
            let heading = heading.map_or("", |line| line.trim());
            let heading = heading.split([':', '(']).next().unwrap_or_default().trim().to_owned();
            // A blank at the end is part of the name of an interface.
            let text = if text.starts_with("Bind i/f") { line.trim_start() } else { text };
            self.lists.entry(heading).or_default().push(text.to_owned());
        } else if let Some((key, value)) = text.split_once(" = ") {
            // A blank at the end of a value is part of it.
            let blanks = &line[line.trim_end().len()..];
            self.values.insert(key.to_owned(), format!("{value}{blanks}"));
        }
        self.lines.push(line.to_owned());
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub(crate) fn list(&self, heading: &str) -> impl Iterator<Item = &str> {
        self.lists.get(heading).into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.trim() == text)
    }
}

/// What keepalived has that evenkeel has no word for: the line of its dump, its value when nobody asked for
/// it, and the keywords that ask for it. A `*` is any value.
pub(crate) const ROUTER_DEFAULTS: [(&str, &str); 12] = [
    ("Gratuitous ARP for each secondary VMAC", ""),
    ("Down timer adverts", "3"),
    ("Send advert after receive lower priority advert", "true"),
    ("Send advert after receive higher priority advert", "false"),
    ("Accept", "enabled"),
    ("Promote_secondaries", "disabled"),
    ("Kernel rx buffer size", ""),
    ("VRF", ""),
    ("Using smtp notification", "no"),
    ("Notify priority changes", "false"),
    ("Master rx lower pri state transition script", ""),
    ("Thread timer expired", ""),
];

/// The same for lines without a value.
pub(crate) const ROUTER_WORDS: [&str; 3] = [
    "VRRP interface tracking disabled",
    "Enforcing strict VRRP compliance",
    "Use VMAC for VIPs on other interfaces",
];

/// The same of `global_defs`.
pub(crate) const GLOBAL_DEFAULTS: [(&str, &str); 13] = [
    ("LVS flush", "false"),
    ("LVS flush on stop", "disabled"),
    ("Default smtp_alert", "unset"),
    ("Default smtp_alert_vrrp", "unset"),
    ("Default smtp_alert_checker", "unset"),
    ("Disable local IGMP", "no"),
    ("VRRP notify priority changes", "false"),
    ("VRRP IPv4 mcast group", "224.0.0.18"),
    ("VRRP IPv6 mcast group", "ff02::12"),
    ("Num adverts before down", "3"),
    ("Send advert after receive lower priority advert", "true"),
    ("Send advert after receive higher priority advert", "false"),
    ("VRRP strict mode", "false"),
];

/// Whether keepalived has read its configuration to the end: values that it sets last are numbers of its own
/// until then.
pub(crate) fn is_whole(text: &str) -> bool {
    let unset = ["= 4294967295", "= 18446744073709550", "VRRP Version = 0", "= 9223372036854775807"];
    // The identity of connection synchronisation is set when a daemon starts it.
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("LVS syncd syncid"));
    // Where it ends early even what is written last is missing.
    let written =
        ["VRRP Topology", "Interfaces"].iter().any(|part| text.contains(&format!("------< {part}")));
    written && lines.into_iter().all(|line| unset.iter().all(|mark| !line.contains(mark)))
}

/// What was understood.
pub(crate) fn facts(text: &str, room: &Room) -> Facts {
    let mut facts = Facts::default();
    let mut section = "";
    let mut parts: Vec<(&str, String, Part)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix("------< ").and_then(|rest| rest.strip_suffix(" >------")) {
            section = name;
            if matches!(
                section,
                "Virtual server" | "Real server" | "Global definitions" | "Virtual server group"
            ) {
                parts.push((section, String::new(), Part::default()));
            }
            continue;
        }
        let begins = match section {
            "VRRP Topology" => trimmed.strip_prefix("VRRP Instance = "),
            "VRRP Sync groups" => trimmed.strip_prefix("VRRP Sync Group = "),
            "VRRP Scripts" => trimmed.strip_prefix("VRRP Script = "),
            "VRRP Track processes" => trimmed.strip_prefix("VRRP Track process = "),
            "VRRP Track files" => trimmed.strip_prefix("Track file = "),
            "Health checkers" if !line.starts_with("   ") => Some(trimmed),
            _ => None,
        };
        if let Some(name) = begins {
            parts.push((section, name.to_owned(), Part::default()));
        } else if let Some((_, _, part)) = parts.last_mut() {
            part.line(line);
        }
    }
    for (section, name, part) in &parts {
        match *section {
            "VRRP Topology" => router(&mut facts, name, part, room),
            "VRRP Sync groups" => group(&mut facts, name, part, room),
            "VRRP Scripts" => script(&mut facts, name, part, room),
            "VRRP Track processes" => {
                let object = format!("process {name}");
                facts.set(&object, "process", part.get("Process").unwrap_or_default());
                facts.set(&object, "quorum", part.get("Min processes").unwrap_or_default());
                for (line, property) in [("Max processes", "quorum_max"), ("Param match", "param_match")] {
                    if let Some(value) = part.get(line) {
                        facts.set(&object, property, value);
                    }
                }
                for (line, property) in [
                    ("Terminate delay", "terminate_delay"),
                    ("Fork delay", "fork_delay"),
                    ("Full command", "full_command"),
                ] {
                    if let Some(value) =
                        part.get(line).filter(|value| !["0.000000s", "false"].contains(value))
                    {
                        facts.set(&object, property, value);
                    }
                }
            }
            "VRRP Track files" => {
                facts.set(&format!("file {name}"), "path", part.get("File").unwrap_or_default())
            }
            "Global definitions" => global(&mut facts, part),
            _ => {}
        }
    }
    services(&mut facts, &parts, room);
    facts
}

fn global(facts: &mut Facts, part: &Part) {
    for (line, usual) in GLOBAL_DEFAULTS {
        if let Some(value) = part.get(line).filter(|value| *value != usual) {
            facts.set("global", format!("only:{line}"), value);
        }
    }
    let timeouts: Vec<(&str, &str)> = part
        .lines
        .iter()
        .filter_map(|line| line.trim().split_once(" = "))
        .filter(|(key, _)| key.starts_with("LVS TCP") || key.starts_with("LVS UDP"))
        .collect();
    for (number, (key, value)) in timeouts.iter().enumerate() {
        let name = match *key {
            "LVS TCP FIN timeout" => "timeout tcp_fin",
            "LVS UDP timeout" => "timeout udp",
            // The time of UDP is called that of TCP, too: alone it could be either.
            _ if timeouts.len() == 1 => continue,
            _ if number == 0 => "timeout tcp",
            _ => "timeout udp",
        };
        facts.set("global", name, *value);
    }
    for (line, property) in [
        ("LVS syncd interface", "sync interface"),
        ("LVS syncd vrrp name", "sync router"),
        ("LVS syncd syncid", "sync id"),
        ("LVS syncd maxlen", "sync max_length"),
        ("LVS syncd mcast port", "sync port"),
        ("LVS syncd mcast ttl", "sync ttl"),
        ("Startup delay", "startup_delay"),
        ("vrrp_startup_delay", "startup_delay"),
    ] {
        if let Some(value) = part.get(line).filter(|value| *value != "4294967295") {
            facts.set("global", property, value);
        }
    }
}

/// `'/bin/true' 'a', uid:gid 0:0`, in 2.3 with `PATH, params = ` before the arguments.
pub(crate) fn hook(facts: &mut Facts, object: &str, property: &str, text: &str, room: &Room) {
    let (command, ids) = text.rsplit_once(", uid:gid ").unwrap_or((text, "0:0"));
    facts.set(object, property, argv(command));
    facts.set(object, format!("{property} user"), room.user(ids.split(':').next().unwrap_or_default()));
}

pub(crate) fn argv(command: &str) -> String {
    let shown = command.split_once(", params = ").map_or(command, |(_, shown)| shown);
    let words: Vec<String> = match shown.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.split("' '").map(ToOwned::to_owned).collect(),
        None => shown.split(' ').map(ToOwned::to_owned).collect(),
    };
    program(&words)
}

fn hooks(facts: &mut Facts, object: &str, part: &Part, room: &Room) {
    for (line, name) in
        [("Master", "master"), ("Backup", "backup"), ("Fault", "fault"), ("Stop", "stop"), ("Generic", "any")]
    {
        if let Some(text) = part.get(&format!("{line} state transition script")) {
            hook(facts, object, &format!("hook {name}"), text, room);
            facts.set(object, format!("hook {name} appends"), if name == "any" { "yes" } else { "no" });
        }
    }
}

fn tracks(facts: &mut Facts, object: &str, part: &Part) {
    for (heading, kind) in [
        ("Tracked interfaces", "interface"),
        ("Tracked scripts", "script"),
        ("Tracked files", "file"),
        ("Tracked processes", "process"),
        ("Tracked process", "process"),
        ("Tracked BFDs", "bfd"),
    ] {
        for item in part.list(heading) {
            let (name, weight) = item.split_once(" weight ").unwrap_or((item, "0"));
            facts.set(object, format!("track {kind} {}", name.trim_end_matches(',')), weight.trim());
        }
    }
}

fn router(facts: &mut Facts, name: &str, part: &Part, room: &Room) {
    let object = format!("router {name}");
    let own = part.get("Configured interface").or(part.get("Interface")).unwrap_or_default();
    let virtual_mac =
        part.get("Interface").filter(|text| text.contains(", vmac")).and_then(|text| text.split(',').next());
    let copy = |facts: &mut Facts, property: &str, line: &str| {
        if let Some(value) = part.get(line) {
            facts.set(&object, property, value);
        }
    };
    // With a virtual MAC address, or an interface of IPVLAN, the interface below is not always said.
    let above = [format!("Use IPVLAN, i/f {own},"), format!("Use VMAC, i/f {own},")];
    let is_above = part.lines.iter().any(|line| above.iter().any(|start| line.trim().starts_with(start)));
    if !own.contains(',') && !is_above {
        facts.set(&object, "interface", own);
    }
    for (property, line) in [
        ("version", "VRRP Version"),
        ("sync group", "Sync group"),
        ("vrid", "Virtual Router ID"),
        ("priority", "Priority"),
        ("password", "Password"),
        ("garp repeat", "Gratuitous ARP repeat"),
        ("garp delay", "Gratuitous ARP delay"),
        ("unicast ttl", "Unicast TTL"),
    ] {
        copy(facts, property, line);
    }
    if let Some(value) = part.get("Gratuitous ARP refresh").filter(|value| *value != "0") {
        facts.set(&object, "garp refresh", value);
        copy(facts, "garp refresh repeat", "Gratuitous ARP refresh repeat");
    }
    copy(facts, "garp lower priority delay", "Gratuitous ARP lower priority delay");
    copy(facts, "garp lower priority repeat", "Gratuitous ARP lower priority repeat");
    if part.get("Authentication type").is_some_and(|value| value == "IPSEC_AH") {
        facts.set(&object, "password", "IPSEC_AH");
    }
    if let Some((value, unit)) = part.get("Advert interval").and_then(|text| text.split_once(' ')) {
        let value: f64 = value.parse().unwrap_or_default();
        facts.set(&object, "advert_interval", seconds(if unit == "sec" { value } else { value / 1000.0 }));
    }
    if let Some(value) = part.get("Preempt") {
        facts.set(&object, "preempt", if value == "enabled" { "yes" } else { "no" });
    }
    if let Some(value) = part.get("Preempt delay") {
        let value: f64 = value.trim_end_matches(" secs").parse().unwrap_or_default();
        facts.set(&object, "preempt_delay", seconds(value));
    }
    if let Some(source) = part.get("Using src_ip").and_then(|text| text.strip_suffix(" (from configuration)"))
    {
        facts.set(&object, "source", source);
    }
    if part.lines.iter().any(|line| line.trim().starts_with("Use VMAC, ")) {
        let xmit = part.lines.iter().any(|line| line.contains("xmit_base = true"));
        facts.set(&object, "virtual_mac", if xmit { "from base" } else { "yes" });
    }
    if part.lines.iter().any(|line| line.trim().starts_with("Use IPVLAN")) {
        facts.set(&object, "only:IPVLAN", "yes");
    }
    for (heading, property) in [("Virtual IP", "vip"), ("Virtual IP Excluded", "excluded")] {
        for item in part.list(heading) {
            vip(facts, &object, property, item, virtual_mac.map(|name| (name, own)));
        }
    }
    for item in part.list("Unicast Peer") {
        let mut words = item.split(' ');
        let address = words.next().unwrap_or_default();
        let ttl = words.collect::<Vec<_>>().join(" ");
        facts.set(&object, format!("peer {address}"), if ttl == "min_ttl 0 max_ttl 255" { "" } else { &ttl });
    }
    for (heading, property) in [("Virtual Routes", "route"), ("Virtual Rules", "rule")] {
        for item in part.list(heading) {
            let known = if property == "route" { route(item, own) } else { rule(item) };
            facts.set(&object, format!("{property} {known}"), "yes");
        }
    }
    tracks(facts, &object, part);
    hooks(facts, &object, part, room);
    for (line, usual) in ROUTER_DEFAULTS {
        if let Some(value) = part.get(line).filter(|value| *value != usual) {
            facts.set(&object, format!("only:{line}"), value);
        }
    }
    for line in ROUTER_WORDS {
        if part.says(line) {
            facts.set(&object, format!("only:{line}"), "yes");
        }
    }
    let multicast = part.lines.iter().find_map(|line| line.trim().strip_prefix("Multicast address "));
    let multicast = multicast.map(|text| text.split(',').next().unwrap_or_default());
    if let Some(group) = multicast.filter(|group| !["224.0.0.18", "ff02::12"].contains(group)) {
        facts.set(&object, "only:Multicast address", group);
    }
}

/// `192.0.2.100/24 brd 192.0.2.255 dev eth1 scope link label eth1:1`.
fn vip(facts: &mut Facts, object: &str, property: &str, item: &str, virtual_mac: Option<(&str, &str)>) {
    let mut words = item.split(' ');
    let address = words.next().unwrap_or_default();
    let (address, prefix) = address.split_once('/').unwrap_or((address, ""));
    let v6 = address.contains(':');
    let whole = if v6 { "128" } else { "32" };
    let property = format!("{property} {address}");
    facts.set(object, &*property, if prefix.is_empty() { whole } else { prefix });
    while let Some(word) = words.next() {
        let value = match word {
            "brd" | "dev" | "scope" | "label" | "peer" | "preferred_lft" | "track_group" => {
                words.next().unwrap_or_default()
            }
            _ => "yes",
        };
        match word {
            "dev" => {
                let name = value.split('@').next().unwrap_or_default();
                let name = virtual_mac.filter(|(own, _)| *own == name).map_or(name, |(_, base)| base);
                facts.set(object, format!("{property} dev"), name);
            }
            "scope" if value == "global" => {}
            // What a /128 gets, and what all others get.
            "preferred_lft" if v6 => {}
            // What a /128 gets, too.
            "no_track" | "deprecated" => {}
            _ => facts.set(object, format!("{property} {word}"), value),
        }
    }
}

/// `prepend 198.51.100.0/24 src 192.0.2.100 via inet 192.0.2.1 dev eth0 proto 18 metric 10`, in words that
/// both sides use.
fn route(item: &str, own: &str) -> String {
    let mut words: Vec<&str> = item.split_whitespace().skip(1).collect();
    let mut out = BTreeMap::new();
    let mut rest = Vec::new();
    if words.first().is_some_and(|word| word.contains(['.', ':']) || *word == "default") {
        out.insert("to", whole_network(words.remove(0)));
    }
    out.insert("dev", own.to_owned());
    let mut at = 0;
    while at < words.len() {
        let value = |ahead: usize| words.get(at + ahead).copied().unwrap_or_default().to_owned();
        match words[at] {
            "via" if words.get(at + 1).is_some_and(|word| word.starts_with("inet")) => {
                out.insert("via", value(2));
                at += 3;
            }
            "dev" | "src" | "metric" | "table" => {
                let key = words[at];
                if key != "table" || !["254", "main"].contains(&value(1).as_str()) {
                    out.insert(key, value(1));
                }
                at += 2;
            }
            "proto" | "pref" => at += 2,
            "no_track" => at += 1,
            word => {
                rest.push(word.to_owned());
                at += 1;
            }
        }
    }
    if !rest.is_empty() {
        out.insert("with", rest.join(" "));
    }
    out.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(" ")
}

/// `from 192.0.2.0/24 priority 16384 tos 0x0 protocol 18 lookup 7`.
fn rule(item: &str) -> String {
    let words: Vec<&str> = item.split_whitespace().collect();
    let mut out = BTreeMap::new();
    let mut rest = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let value = words.get(at + 1).copied().unwrap_or_default();
        match words[at] {
            "from" | "to" => {
                if value != "all" {
                    out.insert(words[at], whole_network(value));
                }
            }
            "priority" | "lookup" | "iif" | "fwmark" => {
                let hexadecimal =
                    value.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
                out.insert(words[at], hexadecimal.map_or(value.to_owned(), |number| number.to_string()));
            }
            "tos" if value == "0x0" => {}
            "protocol" => {}
            word => {
                rest.push(format!("{word} {value}"));
            }
        }
        at += 2;
    }
    if !rest.is_empty() {
        out.insert("with", rest.join(" "));
    }
    out.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(" ")
}

/// A network with its prefix length.
pub(crate) fn whole_network(text: &str) -> String {
    let text = if text == "default" { "0.0.0.0/0" } else { text };
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("{text}/32"),
        Ok(IpAddr::V6(_)) => format!("{text}/128"),
        Err(_) => text.to_owned(),
    }
}

fn group(facts: &mut Facts, name: &str, part: &Part, room: &Room) {
    let object = format!("group {}", name.split(',').next().unwrap_or_default());
    let mut members: Vec<&str> = part.list("VRRP member instances").collect();
    members.sort_unstable();
    facts.set(&object, "members", members.join(" "));
    tracks(facts, &object, part);
    hooks(facts, &object, part, room);
    if part.says("sync group tracking weight set") {
        facts.set(&object, "only:sync_group_tracking_weight", "yes");
    }
    for (line, usual) in [("Using smtp notification", "no"), ("Notify priority changes", "no")] {
        if let Some(value) = part.get(line).filter(|value| *value != usual) {
            facts.set(&object, format!("only:{line}"), value);
        }
    }
}

fn script(facts: &mut Facts, name: &str, part: &Part, room: &Room) {
    let object = format!("script {name}");
    let number =
        |line: &str| part.get(line).and_then(|value| value.split(' ').next()).unwrap_or_default().to_owned();
    facts.set(&object, "command", argv(part.get("Command").unwrap_or_default()));
    facts.set(&object, "interval", number("Interval"));
    let timeout = Some(number("Timeout")).filter(|value| value != "0").unwrap_or_else(|| number("Interval"));
    facts.set(&object, "timeout", timeout);
    facts.set(&object, "rise", number("Rise"));
    facts.set(&object, "fall", number("Fall"));
    // 2.2.7 forgets `init_fail` when an instance tracks the script.
    if part.get("Init state").is_some_and(|state| state.contains("FAILED")) {
        facts.set(&object, "initially", "down");
    }
    let ids = part.get("Script uid:gid").unwrap_or_default();
    facts.set(&object, "user", room.user(ids.split(':').next().unwrap_or_default()));
}
