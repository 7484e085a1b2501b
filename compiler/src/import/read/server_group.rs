//! `virtual_server_group`: the addresses and marks that a virtual server of the group balances.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::keywords::VIRTUAL_SERVER_GROUP;
use super::super::model::Target;
use super::super::notes::{Fate, Finding, Owner};
use super::super::tree::Statement;
use super::ip::network;
use super::{Reader, shorten};
use crate::codes;

/// Most addresses that one range of a group stands for.
const MAX_RANGE: u128 = 1024;

impl Reader<'_> {
    pub(super) fn server_group(&mut self, block: &Statement) {
        let Some(name) = self.word(block) else { return };
        let mark = self.notes.items.len();
        let mut targets = Vec::new();
        for line in block.inside() {
            if line.keyword() == "fwmark" {
                if self.known(&VIRTUAL_SERVER_GROUP, line, Owner::Cluster).is_some() {
                    let range = 1..=i64::from(u32::MAX);
                    let mark = self.loose(line, range).and_then(|mark| u32::try_from(mark).ok());
                    let family = line.values().nth(1).filter(|family| !matches!(*family, "inet" | "inet6"));
                    if let Some(family) = family {
                        let message = format!("`{}` is no family", shorten(family));
                        self.bad_word(line, Some(family), message, "keepalived ignores the mark");
                        continue;
                    }
                    targets.extend(mark.map(Target::Mark));
                }
                continue;
            }
            self.line_item(line, Owner::Cluster, block.keyword(), Some("services.*.vips"));
            let Ok(port) = self.port_of(line, 0, "keepalived ignores the line") else { continue };
            let addresses = range(line.keyword());
            if addresses.is_empty() {
                let message =
                    format!("`{}` is no address and no range of addresses", shorten(line.keyword()));
                self.bad_word(line, Some(line.keyword()), message, "left out");
                continue;
            }
            targets.extend(addresses.into_iter().map(|address| Target::Address(address, port)));
        }
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() {
            self.missing(block.spot, "a `virtual_server_group` without entries", "keepalived drops it");
            let why = "it has no entries, and keepalived drops it";
            self.notes.say(Fate::NotCarried, vec![block.spot], shorten(&block.text()), why);
        }
        if self.server_groups.contains_key(&name) {
            let message = format!("the group `{}` is defined twice", shorten(&name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            self.left_out(mark..self.notes.items.len(), "keepalived finds the first group of a name");
            return self.notes.finding(finding.at(name));
        }
        self.server_groups.insert(name, (targets, mark..self.notes.items.len()));
    }
}

/// The addresses of `A`, `A-N`, `A-B` and `A/PREFIX`; none when it is neither or too many.
fn range(text: &str) -> Vec<IpAddr> {
    let span = |first: u128, last: u128, v6: bool| -> Vec<IpAddr> {
        if last < first || last - first >= MAX_RANGE {
            return Vec::new();
        }
        let address = |bits: u128| -> Option<IpAddr> {
            if v6 {
                Some(Ipv6Addr::from_bits(bits).into())
            } else {
                Some(Ipv4Addr::from_bits(u32::try_from(bits).ok()?).into())
            }
        };
        (first..=last).filter_map(address).collect()
    };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    if let Some((first, last)) = text.split_once('-') {
        let Ok(first) = first.parse::<IpAddr>() else { return Vec::new() };
        let v6 = first.is_ipv6();
        let last = match last.parse::<IpAddr>() {
            Ok(last) if last.is_ipv6() == v6 => bits(last),
            Ok(_) => return Vec::new(),
            Err(_) if v6 => match u128::from_str_radix(last, 16) {
                Ok(last) if last <= 0xffff => bits(first) & !0xffff | last,
                _ => return Vec::new(),
            },
            Err(_) => match last.parse::<u8>() {
                Ok(last) => bits(first) & !0xff | u128::from(last),
                Err(_) => return Vec::new(),
            },
        };
        return span(bits(first), last, v6);
    }
    match network(text) {
        Some((address, None)) => vec![address],
        Some((address, Some(prefix))) => {
            let width = if address.is_ipv4() { 32 } else { 128 };
            let host = 1_u128.checked_shl(u32::from(width - prefix)).map_or(u128::MAX, |size| size - 1);
            // keepalived takes only the first address of a network for one.
            if prefix == 0 || bits(address) & host != 0 {
                return Vec::new();
            }
            span(bits(address), bits(address).saturating_add(host), address.is_ipv6())
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_of_addresses() {
        let shown = |text: &str| range(text).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown("10.0.0.1"), "10.0.0.1");
        assert_eq!(shown("10.0.0.1-3"), "10.0.0.1 10.0.0.2 10.0.0.3");
        assert_eq!(shown("10.0.0.255-10.0.1.1"), "10.0.0.255 10.0.1.0 10.0.1.1");
        assert_eq!(shown("10.0.0.8/30"), "10.0.0.8 10.0.0.9 10.0.0.10 10.0.0.11");
        assert_eq!(shown("fd00::1-2"), "fd00::1 fd00::2");
        for none in
            ["", "x", "10.0.0.3-1", "10.0.0.0/8", "::/0", "10.0.0.1-::2", "10.0.0.1-300", "10.0.0.9/30"]
        {
            assert_eq!(shown(none), "", "{none}");
        }
    }
}
