//! `virtual_server_group`, `virtual_server` and `real_server`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::super::keywords::{REAL_SERVER, VIRTUAL_SERVER, VIRTUAL_SERVER_GROUP};
use super::super::model::{At, Draft, Real, Service, Target};
use super::super::notes::{Fate, Finding, Item, Owner};
use super::super::tree::Statement;
use super::address::{length, network};
use super::check::Times;
use super::{Reader, shorten, span};
use crate::codes;

/// Most addresses that one range of a group stands for.
const MAX_RANGE: u128 = 1024;

/// Most real servers of one virtual server. Each is compared with each, so there is an end to them.
const MAX_REALS: usize = 5000;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "mh", "sed", "nq", "fo", "ovf", "twos"];

impl Reader<'_> {
    pub(super) fn server_group(&mut self, block: &Statement) {
        let Some(name) = self.word(block) else { return };
        let mark = self.notes.items.len();
        let mut targets = Vec::new();
        for line in block.inside() {
            if line.keyword() == "fwmark" {
                if self.known(&VIRTUAL_SERVER_GROUP, line, Owner::Cluster).is_some() {
                    let mark =
                        self.number(line, 1..=i64::from(u32::MAX)).and_then(|mark| u32::try_from(mark).ok());
                    targets.extend(mark.map(Target::Mark));
                }
                continue;
            }
            let port = self.port_of(line, 0);
            let addresses = range(line.keyword());
            if addresses.is_empty() {
                let message =
                    format!("`{}` is no address and no range of addresses", shorten(line.keyword()));
                let finding = Finding::new(&codes::IMPORT_VALUE, line.spot, message, "left out");
                self.notes.finding(finding.at(line.keyword()));
                continue;
            }
            self.notes.item(
                Owner::Cluster,
                Item {
                    fate: Fate::Carried,
                    spots: vec![line.spot],
                    what: shorten(&line.text()),
                    ours: Some("services.*.vips".to_owned()),
                    why: None,
                },
            );
            targets.extend(addresses.into_iter().map(|address| Target::Address(address, port)));
        }
        targets.sort_unstable();
        targets.dedup();
        self.server_groups.insert(name, (targets, mark..self.notes.items.len()));
    }

    /// A port among the values; 0 and none are all ports.
    fn port_of(&mut self, line: &Statement, index: usize) -> Option<u16> {
        let text = line.values().nth(index)?;
        match text.parse::<u16>() {
            Ok(port) => Some(port).filter(|port| *port > 0),
            Err(_) => {
                let message = format!("`{}` is no port", shorten(text));
                let finding = Finding::new(&codes::IMPORT_VALUE, line.spot, message, "taken as none");
                self.notes.finding(finding.at(text));
                None
            }
        }
    }

    pub(super) fn virtual_server(&mut self, block: &Statement) {
        let spot = block.spot;
        let mark = self.notes.items.len();
        let Some((targets, group)) = self.targets(block) else { return };
        let mut service =
            Service { spot, group, targets, draft: Draft::default(), reals: Vec::new(), sorry: None };
        let owner = Owner::Service(self.director, self.config.services.len());
        self.object(block, owner);
        let mut times = Times::default();
        let lines = block.inside();
        for statement in lines.iter().filter(|statement| statement.keyword() != "real_server") {
            if self.known(&VIRTUAL_SERVER, statement, owner).is_some() && !self.time(statement, &mut times) {
                self.service(statement, &mut service);
            }
        }
        if service.draft.get("scheduler").is_none() {
            service.draft.set("scheduler", "wlc", spot);
        }
        if service.draft.get("forwarding").is_none() {
            service.draft.set("forwarding", "nat", spot);
        }
        for statement in lines.iter().filter(|statement| statement.keyword() == "real_server") {
            if self.known(&VIRTUAL_SERVER, statement, owner).is_some() {
                self.real_server(statement, owner, &times, &mut service);
            }
        }
        if service.draft.get("quorum.hysteresis").is_some() && service.draft.get("quorum.weight").is_none() {
            service.draft.set("quorum.weight", 1, spot);
        }
        if service.reals.is_empty() {
            self.leave_out(mark);
            return self.missing(spot, "a virtual server without real servers", "left out");
        }
        self.config.services.push(service);
    }

    fn targets(&mut self, block: &Statement) -> Option<(Vec<Target>, Option<String>)> {
        let words: Vec<&str> = block.values().collect();
        match words.as_slice() {
            ["fwmark", _, ..] => {
                let mark = self.number_at(block, 1, 1..=i64::from(u32::MAX))?;
                Some((vec![Target::Mark(u32::try_from(mark).ok()?)], None))
            }
            ["group", name, ..] => match self.server_groups.get_mut(*name) {
                Some((targets, notes)) => {
                    *notes = 0..0;
                    Some((targets.clone(), Some((*name).to_owned())))
                }
                None => {
                    let message = format!("the group `{}` is defined nowhere", shorten(name));
                    let finding = Finding::new(&codes::IMPORT_REFERENCE, block.spot, message, "left out");
                    self.notes.finding(finding.at(*name));
                    None
                }
            },
            [address, ..] => match address.parse() {
                Ok(address) => Some((vec![Target::Address(address, self.port_of(block, 1))], None)),
                Err(_) => {
                    self.bad(
                        block,
                        format!("`{}` is no IP address", shorten(address)),
                        "the virtual server was left out",
                    );
                    None
                }
            },
            [] => {
                self.bad(
                    block,
                    "`virtual_server` needs an address, a firewall mark or a group".to_owned(),
                    "left out",
                );
                None
            }
        }
    }

    fn service(&mut self, statement: &Statement, service: &mut Service) {
        let spot = statement.spot;
        let draft = &mut service.draft;
        match statement.keyword() {
            "lb_algo" | "lvs_sched" => match statement.value().filter(|name| SCHEDULERS.contains(name)) {
                Some(name) => draft.set("scheduler", name, spot),
                None => self.bad(
                    statement,
                    "there is no such scheduler".to_owned(),
                    "wlc was taken, as keepalived does",
                ),
            },
            "lb_kind" | "lvs_method" => self.forwarding(statement, draft, 0),
            "protocol" => match statement.value().map(str::to_ascii_lowercase).as_deref() {
                Some(name @ ("tcp" | "udp" | "sctp")) => draft.set("protocol", name, spot),
                _ => self.bad(statement, "`protocol` is TCP, UDP or SCTP".to_owned(), "left out"),
            },
            "persistence_timeout" => {
                let seconds =
                    if statement.value().is_some() { self.number(statement, 1..=86_400) } else { Some(360) };
                let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(360);
                draft.set("persistence.timeout", span(seconds * 1000), spot);
            }
            "persistence_granularity" => {
                let prefix = statement.value().and_then(|text| match text.parse::<Ipv4Addr>() {
                    Ok(mask) => length(mask),
                    Err(_) => text.parse().ok().filter(|prefix| (1..=128).contains(prefix)),
                });
                match prefix.filter(|prefix| *prefix > 0) {
                    Some(prefix) => draft.set("persistence.prefix", prefix, spot),
                    None => {
                        self.bad(statement, "this is no netmask and no prefix length".to_owned(), "left out")
                    }
                }
            }
            "persistence_engine" => match statement.value() {
                Some("sip") => draft.set("persistence.engine", "sip", spot),
                _ => self.bad(statement, "the only engine is `sip`".to_owned(), "left out"),
            },
            "sh-port" | "mh-port" | "flag-2" => draft.push_new("scheduler_flags", json!("port"), spot),
            "sh-fallback" | "mh-fallback" | "flag-1" => {
                draft.push_new("scheduler_flags", json!("fallback"), spot)
            }
            "ops" => draft.set("one_packet", true, spot),
            "ip_family" if statement.value() == Some("inet6") => draft.set("family", "ipv6", spot),
            "quorum" => {
                if let Some(weight) = self.number(statement, 1..=i64::from(u32::MAX)) {
                    draft.set("quorum.weight", weight, spot);
                }
            }
            "hysteresis" => {
                if let Some(weight) = self.number(statement, 0..=i64::from(u32::MAX)) {
                    draft.set("quorum.hysteresis", weight, spot);
                }
            }
            key @ ("quorum_up" | "quorum_down") => {
                if let Some(command) = self.notified(statement) {
                    draft.set(&format!("hooks.{key}"), command.hook(key), spot);
                }
            }
            "inhibit_on_failure" if self.switch(statement) => draft.set("on_failure", "quiesce", spot),
            "sorry_server" => {
                let port = self.port_of(statement, 1);
                service.sorry = self.address(statement).map(|address| At { value: (address, port), spot });
            }
            "sorry_server_lvs_method" => {
                let mut method = Draft::default();
                self.forwarding(statement, &mut method, 0);
                if let Some(at) = method.remove("forwarding") {
                    draft.set("sorry_server.forwarding", at.value, spot);
                }
            }
            _ => {}
        }
    }

    /// `NAT`, `DR`, or `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`.
    fn forwarding(&mut self, statement: &Statement, draft: &mut Draft, index: usize) {
        let spot = statement.spot;
        let method = match statement.values().nth(index).map(str::to_ascii_uppercase).as_deref() {
            Some("NAT") => "nat",
            Some("DR") => "dr",
            Some("TUN") => "tun",
            _ => return self.bad(statement, "this is NAT, DR or TUN".to_owned(), "left out"),
        };
        draft.set("forwarding", method, spot);
        let mut tunnel = Map::new();
        let mut rest = statement.values().skip(index + 1);
        let mut wrong = false;
        while let Some(word) = rest.next() {
            match word {
                "type" => match rest.next() {
                    Some(kind @ ("ipip" | "gue" | "gre")) => {
                        tunnel.insert("type".to_owned(), json!(kind));
                    }
                    _ => wrong = true,
                },
                "port" => match rest.next().and_then(|text| text.parse::<u16>().ok()) {
                    Some(port) => {
                        tunnel.insert("port".to_owned(), json!(port));
                    }
                    None => wrong = true,
                },
                "csum" => {
                    tunnel.insert("checksum".to_owned(), json!("full"));
                }
                "remcsum" => {
                    tunnel.insert("checksum".to_owned(), json!("remote"));
                }
                "nocsum" => {}
                _ => wrong = true,
            }
        }
        if wrong {
            self.bad(
                statement,
                "a tunnel has `type ipip|gue|gre`, `port`, and a checksum".to_owned(),
                "the option was left out",
            );
        }
        if !tunnel.is_empty() {
            draft.set("tunnel", Value::Object(tunnel), spot);
        }
    }

    fn real_server(&mut self, block: &Statement, owner: Owner, above: &Times, service: &mut Service) {
        let Some(address) = self.address(block) else { return };
        let port = self.port_of(block, 1);
        if let Some(before) = service.reals.iter().find(|real| (real.address, real.port) == (address, port)) {
            let finding = Finding::new(
                &codes::IMPORT_DUPLICATE,
                block.spot,
                format!("the real server {address} is listed twice"),
                "left out",
            );
            self.notes.instead(Fate::NotCarried, "it is listed twice");
            return self.notes.finding(finding.at(address.to_string()).also(before.spot, "first here"));
        }
        if service.reals.len() >= MAX_REALS {
            let message = format!("a virtual server has more than {MAX_REALS} real servers");
            return self.notes.finding(Finding::new(
                &codes::IMPORT_EXPANSION,
                block.spot,
                message,
                "left out",
            ));
        }
        let mut real = Real { spot: block.spot, address, port, draft: Draft::default(), checks: Vec::new() };
        let mut times = above.clone();
        let check =
            |statement: &&Statement| statement.block.is_some() || statement.keyword().ends_with("_CHECK");
        for statement in block.inside().iter().filter(|statement| !check(statement)) {
            if self.known(&REAL_SERVER, statement, owner).is_none() || self.time(statement, &mut times) {
                continue;
            }
            let spot = statement.spot;
            match statement.keyword() {
                "weight" => {
                    if let Some(weight) = self.number(statement, 0..=65_535) {
                        real.draft.set("weight", weight, spot);
                    }
                }
                "lb_kind" | "lvs_method" => {
                    self.forwarding(statement, &mut real.draft, 0);
                    if let Some(tunnel) = real.draft.remove("tunnel") {
                        let why = "one tunnel for all real servers of a service";
                        self.notes.instead(Fate::Changed, why);
                        service.draft.0.entry("tunnel".to_owned()).or_insert(tunnel);
                    }
                }
                "uthreshold" | "lthreshold" => {
                    let key = if statement.keyword() == "uthreshold" {
                        "upper_threshold"
                    } else {
                        "lower_threshold"
                    };
                    if let Some(number) = self.number(statement, 1..=i64::from(u32::MAX)) {
                        real.draft.set(key, number, spot);
                    }
                }
                "inhibit_on_failure" if self.switch(statement) => {
                    service.draft.set("on_failure", "quiesce", spot)
                }
                key @ ("notify_up" | "notify_down") => {
                    let key =
                        if key == "notify_up" { "hooks.real_server_up" } else { "hooks.real_server_down" };
                    if let Some(command) = self.notified(statement) {
                        let hook = command.hook(statement.keyword());
                        match service.draft.get(key) {
                            Some(first) if *first != hook => self.notes.instead(
                                Fate::Decide,
                                "one program a service is told of all its real servers: that of the first was taken",
                            ),
                            Some(_) => {}
                            None => service.draft.set(key, hook, spot),
                        }
                    }
                }
                _ => {}
            }
        }
        for statement in block.inside().iter().filter(check) {
            if self.known(&REAL_SERVER, statement, owner).is_some() {
                real.checks.extend(self.check(statement, owner, &times, address));
            }
        }
        if real.draft.get("weight").is_none() {
            real.draft.set("weight", 1, block.spot);
        }
        service.reals.push(real);
    }

    /// A virtual server without a port is every port, which the cluster file says by a firewall mark.
    pub(super) fn all_ports(&mut self) {
        for service in &self.config.services {
            if service.targets.iter().any(|target| matches!(target, Target::Address(_, None))) {
                self.notes.say(
                    Fate::Decide,
                    vec![service.spot],
                    "a virtual server without port",
                    "it balances every port: list them in `ports`, or mark the packets and use `firewall_mark`",
                );
            }
        }
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
            let first = bits(address) & !host;
            span(first, first.saturating_add(host), address.is_ipv6())
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
        for none in ["", "x", "10.0.0.3-1", "10.0.0.0/8", "::/0", "10.0.0.1-::2", "10.0.0.1-300"] {
            assert_eq!(shown(none), "", "{none}");
        }
    }
}
