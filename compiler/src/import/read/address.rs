//! Virtual IPs, and virtual routes and rules: lines that look like arguments of ip(8).

use std::net::IpAddr;

use evenkeel_schemas::scalars::Cidr;
use serde_json::{Map, Value};

use super::super::keywords::ADDRESS;
use super::super::model::Vip;
use super::super::notes::{Fate, Finding, Item, Owner};
use super::super::tree::Statement;
use super::{Reader, shorten};
use crate::codes;

impl Reader<'_> {
    /// `ADDRESS[/PREFIX] [option value]…`, one of them a line.
    pub(super) fn vips(
        &mut self,
        block: &Statement,
        owner: Owner,
        key: &str,
        interface: Option<&str>,
    ) -> Vec<Vip> {
        let mut vips: Vec<Vip> = Vec::new();
        for line in block.inside() {
            let Some(vip) = self.vip(line, owner, key, interface) else { continue };
            if let Some(before) = vips.iter().find(|before| before.address == vip.address) {
                let finding = Finding::new(
                    &codes::IMPORT_DUPLICATE,
                    line.spot,
                    format!("{} is listed twice", vip.address),
                    "left out",
                );
                self.notes.instead(Fate::NotCarried, "it is listed twice");
                self.notes.finding(finding.at(vip.address.to_string()).also(before.spot, "first here"));
                continue;
            }
            vips.push(vip);
        }
        vips
    }

    fn vip(&mut self, line: &Statement, owner: Owner, key: &str, interface: Option<&str>) -> Option<Vip> {
        let words: Vec<&str> = line.words.iter().map(|word| word.text.as_str()).collect();
        let text = words.first().copied().unwrap_or_default();
        let (address, prefix) = match network(text) {
            Some(network) => network,
            None => {
                let finding = Finding::new(
                    &codes::IMPORT_VALUE,
                    line.spot,
                    format!("`{}` is no IP address", shorten(text)),
                    "left out",
                );
                self.notes.finding(finding.at(text));
                return None;
            }
        };
        let item = |fate, what: &str, ours: &str, why: &str| Item {
            fate,
            spots: vec![line.spot],
            what: shorten(what),
            ours: (!ours.is_empty()).then(|| ours.to_owned()),
            why: (!why.is_empty()).then(|| why.to_owned()),
        };
        self.notes.item(owner, item(Fate::Carried, text, key, ""));
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.filter(|prefix| *prefix != whole);
        let mut vip = Vip { address, prefix, interface: None, label: None, spot: line.spot };
        let mut rest = words.iter().skip(1);
        while let Some(option) = rest.next() {
            let Some(row) = ADDRESS.find(option) else {
                let message = format!("`{}` is no option of an address", shorten(option));
                let finding = Finding::new(&codes::IMPORT_UNKNOWN, line.spot, message, "left out");
                self.notes.finding(finding.at(*option));
                continue;
            };
            let alone = [
                "no_track",
                "home",
                "-nodad",
                "nodad",
                "mngtmpaddr",
                "noprefixroute",
                "autojoin",
                "use_vmac",
            ];
            let value = if alone.contains(option) { None } else { rest.next().copied() };
            match (*option, value) {
                ("dev", Some(device)) if Some(device) != interface => vip.interface = Some(device.to_owned()),
                ("label", Some(label)) => vip.label = Some(label.to_owned()),
                _ => {}
            }
            let what = format!("{text} {option} {}", value.unwrap_or_default());
            self.notes.item(owner, item(row.fate, what.trim_end(), "", row.why));
        }
        Some(vip)
    }

    /// `[src A] [to] NETWORK [via A] [dev D] [table N] [metric N]`.
    pub(super) fn route(&mut self, line: &Statement, owner: Owner) -> Option<Value> {
        let words: Vec<&str> = line.words.iter().map(|word| word.text.as_str()).collect();
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
                "destination" => Value::String(network_text(value)),
                _ => Value::String(value.to_owned()),
            };
            route.insert(key.to_owned(), value);
        }
        let whole = plain && route.contains_key("destination");
        self.line(line, owner, "routes", whole, &lost);
        whole.then_some(Value::Object(route))
    }

    /// `[from NETWORK] [to NETWORK] table N [iif D] [fwmark N] [preference N]`.
    pub(super) fn rule(&mut self, line: &Statement, owner: Owner, next: u32) -> Option<Value> {
        let words: Vec<&str> = line.words.iter().map(|word| word.text.as_str()).collect();
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
        // What a rule looks at cannot be left out: it would match more.
        let whole = rule.contains_key("table") && lost.is_empty();
        let preference = rule.contains_key("preference");
        rule.entry("preference").or_insert_with(|| Value::from(next));
        self.line(line, owner, "rules", whole, &lost);
        if whole && !preference {
            let why = format!("it has no preference: {next} was taken");
            self.notes.instead(Fate::Changed, why);
        }
        whole.then_some(Value::Object(rule))
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

/// An address and its prefix length.
pub(super) fn network(text: &str) -> Option<(IpAddr, Option<u8>)> {
    match text.split_once('/') {
        None => Some((text.parse().ok()?, None)),
        Some((address, prefix)) => {
            let address = address.parse().ok()?;
            let prefix = match prefix.parse::<std::net::Ipv4Addr>() {
                Ok(mask) => length(mask)?,
                Err(_) => prefix.parse().ok()?,
            };
            Cidr::new(address, prefix).ok()?;
            Some((address, Some(prefix)))
        }
    }
}

/// The prefix length of a netmask.
pub(super) fn length(mask: std::net::Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.checked_shl(ones).unwrap_or(0) == 0).then(|| u8::try_from(ones).ok()).flatten()
}

/// A network as the cluster file writes it, its host bits gone.
fn network_text(text: &str) -> String {
    if text == "default" {
        return "0.0.0.0/0".to_owned();
    }
    let Some((address, prefix)) = network(text) else {
        return text.to_owned();
    };
    let prefix = prefix.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
    Cidr::new(address, prefix).map_or_else(|_| text.to_owned(), |cidr| format!("{}/{prefix}", cidr.network()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_with_prefix_mask_or_neither() {
        for (text, prefix) in [
            ("10.0.0.1", Some(None)),
            ("10.0.0.1/24", Some(Some(24))),
            ("10.0.0.1/255.255.0.0", Some(Some(16))),
            ("10.0.0.1/33", None),
            ("10.0.0.1/255.0.255.0", None),
            ("x", None),
            ("::1/64", Some(Some(64))),
        ] {
            assert_eq!(network(text).map(|(_, prefix)| prefix), prefix, "{text}");
        }
        assert_eq!(network_text("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(network_text("default"), "0.0.0.0/0");
    }
}
