//! Virtual servers, real servers and checkers of a dump.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::dump::{Part, argv, hook};
use super::facts::{Facts, seconds};
use super::room::Room;

pub(crate) fn services(facts: &mut Facts, parts: &[(&str, String, Part)], room: &Room) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current: Vec<String> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    // Checkers come after all services, in the order of their real servers.
    let mut checks: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for (section, name, part) in parts {
        match *section {
            "Virtual server group" => {
                let name = part
                    .get("Virtual Server Group")
                    .and_then(|text| text.split(',').next())
                    .unwrap_or_default();
                groups.insert(name, part.lines.iter().map(|line| line.trim()).collect());
            }
            "Virtual server" => {
                current = fronts(part, &groups);
                seen.extend(current.clone());
                for object in &current {
                    service(facts, object, part, room);
                    if let Some(host) = part.get("VirtualHost") {
                        hosts.insert(object.clone(), host.to_owned());
                    }
                }
                names.insert(label(part), current.clone());
            }
            "Real server" => {
                for object in &current {
                    let object = real(facts, object, part, room);
                    if let Some(host) = part.get("VirtualHost") {
                        hosts.insert(object, host.trim_matches('\'').to_owned());
                    }
                }
            }
            "Health checkers" => {
                let (front, back) = name.split_once(" -> ").unwrap_or((name, ""));
                let back = back_of(back);
                for object in names.get(front).into_iter().flatten() {
                    let real = format!("{object} -> {back}");
                    let host = [&real, object].into_iter().find_map(|object| hosts.get(object));
                    let count = checks.entry(real.clone()).or_default();
                    let object = format!("{real} check {count}");
                    check(facts, &object, part, room);
                    let urls = urls(part, host.map(String::as_str));
                    let many = urls.len() > 1;
                    for (number, url) in urls.into_iter().enumerate() {
                        for (property, value) in url {
                            facts.set(&object, of_request(many, number, &property), value);
                        }
                    }
                    *count += 1;
                }
            }
            _ => {}
        }
    }
}

/// How a checker calls its virtual server.
fn label(part: &Part) -> String {
    if let Some(group) = part.get("VS GROUP") {
        group.to_owned()
    } else if let Some(mark) = part.get("VS FWMARK") {
        format!("FWM {mark}")
    } else {
        let (address, port) = front(part);
        format!("[{address}]:{}:{port}", part.get("protocol").unwrap_or_default().to_lowercase())
    }
}

/// `[192.0.2.21]:tcp:80` as `192.0.2.21:80`.
fn back_of(text: &str) -> String {
    let Some((address, rest)) = text.trim_start_matches('[').split_once(']') else { return text.to_owned() };
    socket(address, rest.rsplit(':').next().unwrap_or_default())
}

fn socket(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn front(part: &Part) -> (&str, &str) {
    let text = part.get("VS VIP").unwrap_or_default();
    text.split_once(", VPORT = ").unwrap_or((text, "0"))
}

/// The objects that a virtual server is: one for each address, port and mark.
fn fronts(part: &Part, groups: &BTreeMap<&str, Vec<&str>>) -> Vec<String> {
    let protocol = part.get("protocol").unwrap_or_default().to_lowercase();
    let v6 = part.get("Address family").is_some_and(|family| family.contains('6'));
    let mark = |number: &str, v6: bool| format!("service fwmark {number}{}", if v6 { " ipv6" } else { "" });
    if let Some(number) = part.get("VS FWMARK") {
        return vec![mark(number, v6)];
    }
    let Some(group) = part.get("VS GROUP") else {
        let (address, port) = front(part);
        return vec![format!("service {protocol} {}", socket(address, port))];
    };
    let name = group.rsplit_once(']').map_or(group, |(name, _)| name).trim_start_matches('[');
    let mut out = Vec::new();
    for line in groups.get(name).into_iter().flatten() {
        if let Some(number) = line.strip_prefix("FWMARK = ") {
            let (number, family) = number.split_once(' ').unwrap_or((number, ""));
            out.push(mark(number, family == "IPv6" || (family.is_empty() && v6)));
        } else if let Some((address, port)) =
            line.strip_prefix("VIP = ").and_then(|rest| rest.split_once(", VPORT = "))
        {
            out.push(format!("service {protocol} {}", socket(address, port)));
        } else if let Some((range, port)) =
            line.strip_prefix("VIP Range = ").and_then(|rest| rest.split_once(", VPORT = "))
            && let Some((first, last)) = range.split_once('-')
            && let (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) = (first.parse(), last.parse())
        {
            for number in u32::from(first)..=u32::from(last) {
                out.push(format!(
                    "service {protocol} {}",
                    socket(&std::net::Ipv4Addr::from(number).to_string(), port)
                ));
            }
        }
    }
    out
}

fn service(facts: &mut Facts, object: &str, part: &Part, room: &Room) {
    facts.set(object, "scheduler", part.get("lvs_sched").unwrap_or_default());
    let mut flags = Vec::new();
    for line in ["sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3"] {
        if part.get(line) == Some("enabled") {
            // The first flag of sh and mh is fallback, the second port.
            flags.push(match line {
                "flag-1" | "sh-fallback" | "mh-fallback" => "fallback",
                "flag-2" | "sh-port" | "mh-port" => "port",
                other => other,
            });
        }
    }
    flags.sort_unstable();
    facts.set(object, "flags", flags.join(" "));
    let ops = part.get("One packet scheduling").unwrap_or_default();
    facts.set(object, "one_packet", if ops == "enabled" { "yes" } else { "no" });
    if let Some(value) = part.get("persistence timeout") {
        facts.set(object, "persistence", value);
        let prefix =
            part.get("persistence granularity").map(|text| match text.parse::<std::net::Ipv4Addr>() {
                Ok(mask) => u32::from(mask).count_ones().to_string(),
                Err(_) => text.to_owned(),
            });
        let v6 = part.get("Address family").is_some_and(|family| family.contains('6'));
        let whole = if v6 { "128" } else { "32" };
        facts.set(object, "persistence prefix", prefix.unwrap_or_else(|| whole.to_owned()));
        if let Some(engine) =
            part.lines.iter().find_map(|line| line.trim().strip_prefix("persistence engine = "))
        {
            facts.set(object, "persistence engine", engine);
        }
    }
    if part.says("omega is ON") {
        facts.set(object, "only:omega", "yes");
    }
    if let Some((quorum, hysteresis)) = part.get("quorum").and_then(|text| text.split_once(", hysteresis = "))
    {
        facts.set(object, "quorum", quorum);
        facts.set(object, "hysteresis", hysteresis);
    }
    for (line, property) in
        [("Quorum up notify script", "hook quorum_up"), ("Quorum down notify script", "hook quorum_down")]
    {
        if let Some(text) = part.get(line) {
            hook(facts, object, property, text, room);
            facts.set(object, format!("{property} appends"), "no");
        }
    }
    if part.get("Using smtp notification") == Some("yes") {
        facts.set(object, "only:Using smtp notification", "yes");
    }
    if let Some(text) = part.get("sorry server").or(part.get("sorry server (duplicates rs)")) {
        facts.set(object, "sorry_server", back_of(text));
        let lines: Vec<&str> = part.lines.iter().map(|line| line.trim()).collect();
        let at = lines.iter().position(|line| line.starts_with("sorry server")).unwrap_or_default();
        let method = lines[at..].iter().find_map(|line| line.strip_prefix("forwarding method = "));
        facts.set(object, "sorry_server forwarding", forwarding(method.unwrap_or_default()));
        if lines[at..].contains(&"Inhibit on failure is ON") {
            facts.set(object, "only:sorry_server_inhibit", "yes");
        }
    }
}

/// `TUN, type = IPIP` as `tun`.
fn forwarding(text: &str) -> String {
    let (method, kind) = text.split_once(", type = ").unwrap_or((text, ""));
    let method = method.to_lowercase();
    if kind.is_empty() || kind == "IPIP" { method } else { format!("{method} {}", kind.to_lowercase()) }
}

fn real(facts: &mut Facts, service: &str, part: &Part, room: &Room) -> String {
    let text = part.get("RIP").unwrap_or_default();
    let (address, rest) = text.split_once(", RPORT = ").unwrap_or((text, "0"));
    let port = rest.split(',').next().unwrap_or_default();
    let object = format!("{service} -> {}", socket(address, port));
    if facts.has(&object) {
        // Two that have the port of the virtual server are one to the kernel, which keeps what came first.
        return object;
    }
    facts.set(&object, "weight", part.get("initial weight").unwrap_or_default());
    let way = forwarding(part.get("forwarding method").unwrap_or_default());
    let (way, tunnel) = way.split_once(' ').unwrap_or((&way, ""));
    facts.set(&object, "forwarding", way);
    if !tunnel.is_empty() {
        facts.set(&object, "tunnel", tunnel);
    }
    if let Some((lower, upper)) = part.get("connection limit range").and_then(|text| text.split_once(" -> "))
    {
        facts.set(&object, "upper_threshold", upper);
        facts.set(&object, "lower_threshold", lower);
    }
    if part.list("Tracked Files").next().is_some() {
        facts.set(&format!("{object} check of a file"), "type", "file");
    }
    facts.set(&object, "inhibit", if part.says("Inhibit on failure is ON") { "yes" } else { "no" });
    for (line, property) in
        [("RS up notify script", "hook real_server_up"), ("RS down notify script", "hook real_server_down")]
    {
        let text = part.get(line).or_else(|| {
            part.lines.iter().find_map(|text| text.trim().strip_prefix(line)?.strip_prefix(" = "))
        });
        if let Some(text) = text {
            hook(facts, &object, property, text, room);
            facts.set(&object, format!("{property} appends"), "no");
        }
    }
    object
}

fn check(facts: &mut Facts, object: &str, part: &Part, room: &Room) {
    let method = part.get("Keepalive method").unwrap_or_default();
    let kind = match method.split(',').next().unwrap_or_default() {
        "TCP_CHECK" => "tcp",
        "HTTP_GET" => "http",
        "SSL_GET" => "https",
        "MISC_CHECK" => "script",
        "UDP_CHECK" => "udp",
        "DNS_CHECK" => "dns",
        "PING_CHECK" => "ping",
        "SMTP_CHECK" => "smtp",
        "FILE_CHECK" => "file",
        other => other,
    };
    facts.set(object, "type", kind);
    let micro = |line: &str| {
        let value: f64 = part.get(line)?.trim_end_matches(" us").parse().ok()?;
        Some(seconds(value / 1_000_000.0))
    };
    let interval = micro("Delay loop").unwrap_or_default();
    if let Some(warmup) = micro("Warmup").filter(|value| *value != interval) {
        facts.set(object, "warmup", warmup);
    }
    facts.set(object, "interval", interval);
    let retries = part.get("Retries").unwrap_or_default();
    facts.set(object, "retries", retries);
    if retries != "0" {
        let delay = micro("Delay before retry").or_else(|| micro("Default delay before retry"));
        facts.set(object, "retry_delay", delay.unwrap_or_default());
    }
    facts.set(object, "initially_down", if part.get("Alpha") == Some("yes") { "yes" } else { "no" });
    let inner = |name: &str| {
        let found =
            part.list("Connection").find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix("= "));
        found.map(ToOwned::to_owned)
    };
    if let Some(target) = inner("Dest").filter(|_| !["ping", "script", "file"].contains(&kind)) {
        facts.set(object, "target", target.replace(['[', ']'], ""));
    } else if let Some(target) = inner("Dest") {
        let address = target.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
        facts.set(object, "target", address);
    }
    if let Some(timeout) = inner("Timeout").and_then(|text| text.parse::<f64>().ok()) {
        facts.set(object, "timeout", seconds(timeout));
    }
    if let Some(source) = inner("Bind to") {
        let address = source.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
        let port = source.rsplit(':').next().unwrap_or("0").to_owned();
        facts.set(object, "source", address);
        if port != "0" {
            facts.set(object, "only:bind_port", port);
        }
    }
    for name in ["Bind i/f", "Bind if"] {
        if let Some(interface) = inner(name) {
            facts.set(object, "interface", interface);
        }
    }
    if let Some(mark) = inner("Mark").or_else(|| inner("Fwmark")).filter(|mark| mark != "0") {
        facts.set(object, "only:fwmark", mark);
    }
    match kind {
        "script" => {
            facts.set(object, "command", argv(part.get("script").unwrap_or_default()));
            if let Some(timeout) = part.get("timeout") {
                let timeout = Some(timeout.to_owned()).filter(|timeout| timeout != "0");
                let interval = facts.get(object, "interval").unwrap_or_default().to_owned();
                facts.set(object, "timeout", timeout.unwrap_or(interval));
            }
            facts.set(
                object,
                "dynamic_weight",
                if part.get("dynamic") == Some("YES") { "yes" } else { "no" },
            );
            facts.set(
                object,
                "user",
                room.user(part.get("uid:gid").and_then(|ids| ids.split(':').next()).unwrap_or_default()),
            );
        }
        "dns" => {
            facts.set(object, "record", part.get("Type").unwrap_or_default());
            facts.set(object, "name", part.get("Name").filter(|name| !name.is_empty()).unwrap_or("."));
        }
        "udp" => {
            let value = part.get("Require reply") == Some("yes");
            facts.set(object, "require_reply", if value { "yes" } else { "no" });
            facts.set(object, "payload bytes", part.get("Payload len").unwrap_or("0"));
            for (line, property, usual) in [
                ("Min reply length", "min_reply_length", "0"),
                ("Max reply length", "max_reply_length", "255"),
                ("Reply data len", "answer bytes", "0"),
            ] {
                let value = part
                    .list("Require reply = yes")
                    .find_map(|text| text.strip_prefix(line)?.strip_prefix(" = "));
                if let Some(value) = value.filter(|value| *value != usual) {
                    facts.set(object, property, value);
                }
            }
        }
        "smtp" => facts.set(object, "helo", part.get("helo").unwrap_or_default()),
        _ => {}
    }
}

/// Ranges of numbers, joined where one follows the other.
pub(crate) fn numbers(text: &str) -> String {
    let mut ranges: Vec<(u32, u32)> = text
        .split_whitespace()
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect();
    ranges.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(" ")
}

/// A property of one of the requests of a check.
pub(crate) fn of_request(many: bool, number: usize, property: &str) -> String {
    if many { format!("request {number} {property}") } else { property.to_owned() }
}

/// Requests of the URLs of a checker.
fn urls(part: &Part, inherited: Option<&str>) -> Vec<BTreeMap<String, String>> {
    let host = part.get("Virtualhost").or(inherited);
    let mut out: Vec<BTreeMap<String, String>> = Vec::new();
    let mut lines = part.lines.iter().map(|line| line.trim()).peekable();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("Checked url = ") {
            let mut url = BTreeMap::from([("path".to_owned(), path.to_owned())]);
            if let Some(host) = host {
                url.insert("host".to_owned(), host.to_owned());
            }
            out.push(url);
            continue;
        }
        let Some(url) = out.last_mut() else { continue };
        let mut set = |property: &str, value: &str| url.insert(property.to_owned(), value.to_owned());
        if line.starts_with("HTTP Status Code(s)") {
            let mut ranges = Vec::new();
            while let Some(range) =
                lines.next_if(|line| line.starts_with(|first: char| first.is_ascii_digit()))
            {
                ranges.push(range);
            }
            set("status", &numbers(&ranges.join(" ")));
        } else if let Some(host) = line.strip_prefix("Virtual host = ") {
            set("host", host.trim_matches('\''));
        } else if let Some(expression) = line.strip_prefix("Regex = ") {
            set("body", expression.trim_start_matches('"').trim_end_matches('"'));
        } else if let Some(digest) = line.strip_prefix("digest = ") {
            set("digest", digest);
        } else if line.starts_with("Regex no match") {
            set("must not match", "yes");
        } else if line.starts_with("Regex min offset") {
            set("only:regex_min_offset", line);
        }
    }
    out
}
