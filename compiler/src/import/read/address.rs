//! Virtual IPs, and virtual routes and rules: lines that look like arguments of ip(8).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::keywords::ADDRESS;
use super::super::model::{Instance, Vip};
use super::super::notes::{Fate, Finding, Item, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::super::versions;
use super::instance::Said;
use super::ip::{exact, network, network_text};
use super::values::leading_number;
use super::{Reader, shorten};
use crate::codes;

/// Options of an address that have no value.
const ALONE: [&str; 8] =
    ["no_track", "home", "-nodad", "nodad", "mngtmpaddr", "noprefixroute", "autojoin", "use_vmac"];

/// Longest label of an address in bytes.
const LABEL_BYTES: usize = 15;

impl Reader<'_> {
    /// `ADDRESS[/PREFIX] [option value]…`, one of them a line.
    pub(super) fn vips(
        &mut self,
        block: &Statement,
        owner: Owner,
        excluded: bool,
        instance: &mut Instance,
        said: &mut Said,
    ) {
        let own = instance.interface.as_ref().map(|at| at.value.clone());
        let mut before: BTreeMap<IpAddr, (Option<u8>, Spot)> = instance
            .vips
            .iter()
            .chain(&instance.excluded)
            .map(|vip| (vip.address, (vip.prefix, vip.spot)))
            .collect();
        for line in block.inside() {
            let key = if excluded { "unadvertised_vips" } else { "vips" };
            let Some(mut vip) = self.vip(line, owner, key) else { continue };
            if !excluded && !said.is_of_family(vip.address) {
                let message = format!("{} is not of the family of the instance's addresses", vip.address);
                self.bad_word(line, Some(line.keyword()), message, "keepalived ignores it");
                continue;
            }
            if let Some((prefix, first)) = before.get(&vip.address).copied() {
                let once = self.newer(&versions::DOUBLE_VIP, line.spot);
                let why = if once {
                    "it is listed twice, and keepalived ignores the second"
                } else if excluded && prefix == vip.prefix {
                    "it is listed twice: once is enough"
                } else if excluded {
                    "it is listed twice, with two prefix lengths: keepalived adds both, here the first counts"
                } else {
                    "it is listed twice, and keepalived advertises it twice: up to 2.3.2 it rejects \
                    advertisements \
                     with another number of VIPs, so take it out on all directors first"
                };
                let fate = match once {
                    true => Fate::NotCarried,
                    false if excluded && prefix == vip.prefix && self.is_as_written() => Fate::Carried,
                    false if excluded => Fate::NotCarried,
                    false => Fate::Decide,
                };
                self.instead(fate, why);
                let message = format!("{} is listed twice", vip.address);
                let finding = Finding::new(&codes::IMPORT_DUPLICATE, line.spot, message, "left out");
                self.notes.finding(finding.at(vip.address.to_string()).also(first, "first here"));
                continue;
            }
            before.insert(vip.address, (vip.prefix, line.spot));
            if vip.interface.is_some() && vip.interface == own {
                vip.interface = None;
            }
            if excluded { &mut instance.excluded } else { &mut instance.vips }.push(vip);
        }
    }

    /// Notes a line of a list.
    pub(super) fn line_item(&mut self, line: &Statement, owner: Owner, block: &str, ours: Option<&str>) {
        let what = format!("{block} {}", shorten(&line.text()));
        self.note = self.notes.items.len();
        let ours = ours.map(ToOwned::to_owned);
        self.notes.item(owner, Item { fate: Fate::Carried, spots: vec![line.spot], what, ours, why: None });
    }

    fn vip(&mut self, line: &Statement, owner: Owner, key: &str) -> Option<Vip> {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        let text = words.first().copied().unwrap_or_default();
        let item = |fate, what: &str, ours: &str, why: &str| Item {
            fate,
            spots: vec![line.spot],
            what: shorten(what),
            ours: (!ours.is_empty()).then(|| ours.to_owned()),
            why: (!why.is_empty()).then(|| why.to_owned()),
        };
        let note = self.notes.items.len();
        self.note = note;
        self.notes.item(owner, item(Fate::Carried, text, key, ""));
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let Some(address) = exact(address) else {
            let message = format!("`{}` is no IP address", shorten(text));
            self.bad_word(line, Some(text), message, "keepalived ignores it");
            return None;
        };
        let prefix = prefix.and_then(|prefix| self.prefix(line, text, address, prefix));
        let mut vip = Vip { address, prefix, interface: None, label: None, spot: line.spot };
        let mut rest = words.iter().copied().skip(1);
        while let Some(option) = rest.next() {
            self.note = note;
            let Some(row) = ADDRESS.find(option).filter(|_| option != "track_group") else {
                let message = format!("`{}` is no option of an address", shorten(option));
                let finding =
                    Finding::new(&codes::IMPORT_UNKNOWN, line.spot, message, "keepalived ignores the word");
                self.notes.finding(finding.at(option));
                if self.is_as_written() {
                    let why = format!(
                        "`{}` is no option of an address: keepalived ignores the word",
                        shorten(option)
                    );
                    self.instead(Fate::Changed, why);
                }
                continue;
            };
            let value = if ALONE.contains(&option) { None } else { rest.next() };
            let refused = match (option, value) {
                _ if value.is_none() && !ALONE.contains(&option) => Some("it lacks a value"),
                ("dev", _) if vip.interface.is_some() => Some("the interface is said twice"),
                ("label", Some(label)) if label.len() > LABEL_BYTES => Some("the label is too long"),
                ("brd" | "broadcast", _) if address.is_ipv6() => Some("IPv6 has no broadcast"),
                ("brd" | "broadcast", Some(value))
                    if !matches!(value, "+" | "-") && value.parse::<std::net::Ipv4Addr>().is_err() =>
                {
                    Some("this is no broadcast address")
                }
                _ => None,
            };
            if let Some(why) = refused {
                let message = format!("`{}` of {address}: {why}", shorten(option));
                self.bad_word(line, Some(option), message, "keepalived ignores the address");
                return None;
            }
            let (mut fate, mut why) = (row.fate, row.why);
            match (option, value) {
                ("dev", Some(device)) => vip.interface = Some(device.to_owned()),
                ("label", Some(_)) if address.is_ipv6() => {
                    (fate, why) =
                        (Fate::NotCarried, "IPv6 addresses have no label, and keepalived ignores it");
                }
                ("label", Some(label)) => vip.label = Some(label.to_owned()),
                _ => {}
            }
            let what = format!("{text} {option} {}", value.unwrap_or_default());
            self.notes.item(owner, item(fate, what.trim_end(), "", why));
        }
        self.note = note;
        Some(vip)
    }

    /// The prefix length of a VIP; none for the whole address.
    fn prefix(&mut self, line: &Statement, text: &str, address: IpAddr, prefix: &str) -> Option<u8> {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let (number, clean) = leading_number(prefix);
        let length = number.and_then(|number| u8::try_from(number).ok()).filter(|length| *length <= whole);
        if length.is_none() || !clean {
            let message = format!("a prefix length is a number from 0 to {whole}, not `{}`", shorten(prefix));
            let taken = match length {
                Some(length) => format!(
                    "keepalived takes /{length} when it runs, and /{whole} when it tests its configuration"
                ),
                None => format!("keepalived takes /{whole}"),
            };
            self.bad_word(line, Some(text), message, &taken);
        }
        if length == Some(0) {
            self.instead(
                Fate::Decide,
                "with /0 keepalived makes the interface the way to every address, which is hardly meant: \
                left out",
            );
        }
        length.filter(|length| *length != whole && *length > 0)
    }

    /// `[src A] [to] NETWORK [via A] [dev D] [table N] [metric N]`.
    pub(super) fn route(&mut self, line: &Statement, owner: Owner) -> Option<Value> {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        let mut route = Map::new();
        let mut rest = words.iter().copied();
        let mut lost = Vec::new();
        let mut plain = true;
        while let Some(word) = rest.next() {
            let key = match word {
                // Another kind of route, or one with several gateways: nothing that could be left out.
                "blackhole" | "unreachable" | "prohibit" | "throw" | "nat" | "local" | "broadcast"
                | "multicast" | "nexthop" | "or" | "encap" => {
                    plain = false;
                    continue;
                }
                "to" => "destination",
                "via" | "gw" => "via",
                "dev" => "interface",
                "src" => "source",
                "table" => "table",
                "metric" | "priority" | "preference" => "metric",
                "no_track" => continue,
                _ if !route.contains_key("destination") && (network(word).is_some() || word == "default") => {
                    route.insert("destination".to_owned(), Value::String(network_text(word)));
                    continue;
                }
                _ => {
                    lost.push(word);
                    continue;
                }
            };
            let Some(value) = rest.next() else {
                lost.push(word);
                break;
            };
            let value = match key {
                "table" | "metric" => match number(value) {
                    Some(number) => Value::from(number),
                    None => {
                        lost.push(word);
                        continue;
                    }
                },
                "via" | "source" if exact(value).is_none() => {
                    let message = format!("`{}` is no IP address", shorten(value));
                    let finding = Finding::new(
                        &codes::IMPORT_VALUE,
                        line.spot,
                        message,
                        "keepalived ignores the route",
                    );
                    self.notes.finding(finding.at(value));
                    plain = false;
                    continue;
                }
                "destination" => Value::String(network_text(value)),
                _ => Value::String(value.to_owned()),
            };
            route.insert(key.to_owned(), value);
        }
        let whole = plain && route.contains_key("destination");
        self.line(line, owner, "routes", whole, &lost);
        if whole && lost.is_empty() && !route.contains_key("interface") && !words.contains(&"no_track") {
            let why =
                "keepalived does not watch a route without `dev`; the daemon puts it back when it is gone";
            self.instead(Fate::Changed, why);
        }
        whole.then_some(Value::Object(route))
    }

    /// `[from NETWORK] [to NETWORK] table N [iif D] [fwmark N] [preference N]`.
    pub(super) fn rule(&mut self, line: &Statement, owner: Owner) -> Option<Value> {
        let next = self.next_preference(line);
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        let mut rule = Map::new();
        let mut rest = words.iter().copied();
        let mut lost = Vec::new();
        while let Some(word) = rest.next() {
            let key = match word {
                "from" | "to" => word,
                "table" | "lookup" => "table",
                "iif" | "dev" => "input_interface",
                "fwmark" => "firewall_mark",
                "preference" | "priority" | "order" => "preference",
                "no_track" => continue,
                _ => {
                    lost.push(word);
                    continue;
                }
            };
            let value = rest.next().unwrap_or_default();
            let value = match key {
                "from" | "to" => network(value).map(|_| Value::String(network_text(value))),
                "input_interface" => Some(Value::String(value.to_owned())),
                _ => number(value).map(Value::from),
            };
            match value {
                Some(value) => {
                    rule.insert(key.to_owned(), value);
                }
                None => lost.push(word),
            }
        }
        // A selector of a rule cannot be left out: the rule would match more.
        let whole = rule.contains_key("table") && lost.is_empty();
        if let Some(next) = next {
            rule.insert("preference".to_owned(), Value::from(next));
        }
        self.line(line, owner, "rules", whole, &lost);
        if whole && let Some(next) = next {
            let taken = format!("keepalived takes {next}, one less for each such rule of the file");
            self.instead(Fate::Changed, format!("it has no `preference`: {taken}, and so does the import"));
            self.missing(line.spot, "a rule without `preference`", &taken);
        }
        whole.then_some(Value::Object(rule))
    }

    /// The preference of a rule that says none: keepalived counts them downwards, for each family through the
    /// whole file.
    pub(super) fn next_preference(&mut self, line: &Statement) -> Option<u32> {
        if line.words.iter().any(|word| matches!(word.as_str(), "preference" | "priority" | "order")) {
            return None;
        }
        let v6 = line.words.iter().any(|word| word == "inet6" || word.contains(':'));
        let next = if v6 { &mut self.next_rules.1 } else { &mut self.next_rules.0 };
        let preference = *next;
        *next = next.saturating_sub(1);
        Some(preference)
    }

    /// Notes what became of a route or a rule.
    fn line(&mut self, line: &Statement, owner: Owner, key: &str, whole: bool, lost: &[&str]) {
        let (fate, why) = match (whole, lost) {
            (true, []) => (Fate::Carried, None),
            (true, lost) => {
                (Fate::Changed, Some(format!("without `{}`, which is not carried", shorten(&lost.join(" ")))))
            }
            (false, _) => (
                Fate::NotCarried,
                Some("only plain routes and rules into a table are carried: make it with a hook".to_owned()),
            ),
        };
        let ours = whole.then(|| key.to_owned());
        self.note = self.notes.items.len();
        self.notes.item(owner, Item { fate, spots: vec![line.spot], what: shorten(&line.text()), ours, why });
    }
}

/// Numbers of tables and marks, and the tables that have a name everywhere.
fn number(text: &str) -> Option<u32> {
    match text {
        "main" => Some(254),
        "local" => Some(255),
        "default" => Some(253),
        _ => match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
    }
}
