//! `virtual_server`. Groups are in `server_group`, real servers in `real_server`, and what becomes of the
//! whole in `settle_service`.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::super::keywords::VIRTUAL_SERVER;
use super::super::model::{At, Draft, Service, Target};
use super::super::notes::{Fate, Finding, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::check::{Place, Times};
use super::ip::{self, length};
use super::values::{Reading, leading_number, span};
use super::{Reader, shorten};
use crate::codes;

/// keepalived's `persistence_timeout` without a value, in seconds.
const PERSISTENCE: u64 = 360;

/// Longest `persistence_timeout` of keepalived, in seconds.
const LONGEST_PERSISTENCE: i64 = 31 * 86_400;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "mh", "sed", "nq", "fo", "ovf", "twos"];

/// Settings of a virtual server that only its whole makes sense of.
pub(super) struct Whole {
    /// Whether it is of IPv6, once an address says so.
    pub(super) family: Option<bool>,
    /// Its own port.
    pub(super) port: Option<u16>,
    /// Whether it balances packets with a mark.
    pub(super) mark: bool,
    /// Whether it balances a group.
    pub(super) group: bool,
    /// Weight of a real server that says none.
    pub(super) weight: u64,
    pub(super) quorum: At<u64>,
    pub(super) hysteresis: At<u64>,
    /// `inhibit_on_failure`.
    pub(super) inhibit: bool,
    /// `inhibit_on_failure` of real servers, and the numbers of their notes.
    pub(super) inhibits: Vec<(Option<bool>, usize)>,
    /// The way of forwarding at the beginning of each real server.
    ways: Vec<Option<Value>>,
    pub(super) times: Times,
}

impl Reader<'_> {
    /// A port among the values; 0 and none are all ports. `taken`: what keepalived does about another number.
    pub(super) fn port_of(&mut self, line: &Statement, index: usize, taken: &str) -> Result<Option<u16>, ()> {
        let Some(text) = line.values().nth(index) else { return Ok(None) };
        if text.bytes().all(|byte| byte == b'0') {
            return Ok(None);
        }
        let (number, whole) = leading_number(text);
        let port = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
        if port.is_none() || !whole {
            let message = format!("`{}` is no port", shorten(text));
            let instead =
                port.map_or_else(|| taken.to_owned(), |port| format!("keepalived takes port {port}"));
            self.bad_word(line, Some(text), message, &instead);
        }
        port.map(Some).ok_or(())
    }

    pub(super) fn virtual_server(&mut self, block: &Statement) {
        let spot = block.spot;
        let mark = self.notes.items.len();
        let Some((targets, group)) = self.targets(block) else { return };
        let mut service = Service {
            spot,
            group,
            targets,
            draft: Draft::default(),
            reals: Vec::new(),
            sorry: None,
            times: Vec::new(),
        };
        let owner = Owner::Service(self.director, self.config.services.len());
        self.object(block, owner);
        let mut whole = Whole {
            family: match service.targets.first() {
                Some(Target::Address(address, _)) if service.group.is_none() => Some(address.is_ipv6()),
                _ => None,
            },
            port: match service.targets.as_slice() {
                [Target::Address(_, port)] => *port,
                _ => None,
            },
            mark: service.targets.iter().any(|target| matches!(target, Target::Mark(_))),
            group: service.group.is_some(),
            weight: 1,
            quorum: At { value: 1, spot },
            hysteresis: At { value: 0, spot },
            inhibit: false,
            inhibits: Vec::new(),
            ways: Vec::new(),
            times: Times::default(),
        };
        let lines = block.inside();
        for statement in lines {
            if statement.keyword() == "real_server" {
                whole.ways.push(service.draft.get("forwarding").cloned());
            } else if self.known(&VIRTUAL_SERVER, statement, owner).is_some() {
                let mut times = std::mem::take(&mut whole.times);
                if !self.time(statement, &mut times, Place::VirtualServer) {
                    self.service(statement, &mut service, &mut whole);
                }
                whole.times = times;
            }
        }
        let ways = std::mem::take(&mut whole.ways);
        let spoken = std::mem::take(&mut self.spoken);
        let servers = lines.iter().filter(|statement| statement.keyword() == "real_server");
        for (statement, way) in servers.zip(ways) {
            if self.known(&VIRTUAL_SERVER, statement, owner).is_some() {
                self.spoken.clear();
                let way = way.or_else(|| service.draft.get("forwarding").cloned());
                self.real_server(statement, owner, way, &mut service, &mut whole);
            }
        }
        self.spoken = spoken;
        if service.reals.is_empty() {
            self.leave_out(mark, "keepalived ignores a virtual server without real servers");
            return self.missing(spot, "a virtual server without real servers", "keepalived ignores it");
        }
        service.times = self.spots(&whole.times.notes);
        self.settle_service(&mut service, &mut whole);
        self.add_service(mark, service);
    }

    /// Keeps a virtual server, or adds the real servers of one that is written twice to the first.
    fn add_service(&mut self, mark: usize, service: Service) {
        let protocol = service.draft.get("protocol").and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (service.targets.clone(), protocol);
        let Some(first) = self.targets.get(&key).copied() else {
            self.targets.insert(key, self.config.services.len());
            return self.config.services.push(service);
        };
        let own = Owner::Service(self.director, self.config.services.len());
        for (owner, _) in self.notes.items.get_mut(mark..).into_iter().flatten() {
            if *owner == own {
                *owner = Owner::Service(self.director, first);
            }
        }
        let Some(known) = self.config.services.get_mut(first) else { return };
        let place = known.spot;
        for real in service.reals {
            if !known.reals.iter().any(|other| (other.address, other.port) == (real.address, real.port)) {
                known.reals.push(real);
            }
        }
        let why = "the kernel has one of the kind: keepalived adds the real servers of the second to the \
            first and \
                   keeps the first one's scheduler and persistence, and so does the import; put both into \
                   one block";
        self.notes.say(Fate::Decide, vec![service.spot, place], "the virtual server is written twice", why);
        let message = "the virtual server is written twice".to_owned();
        let finding = Finding::new(&codes::IMPORT_DUPLICATE, service.spot, message, "added to the first");
        self.notes.finding(finding.also(place, "first here"));
    }

    fn targets(&mut self, block: &Statement) -> Option<(Vec<Target>, Option<String>)> {
        let words: Vec<&str> = block.values().collect();
        match words.as_slice() {
            ["fwmark", ..] => {
                let range = 1..=i64::from(u32::MAX);
                let mark =
                    self.number_or(block, 1, range, Reading::Loose, "keepalived ignores the virtual server");
                let mark = mark.and_then(|mark| u32::try_from(mark).ok());
                if mark.is_none() {
                    self.skip(block, "its mark is none, and keepalived ignores the virtual server");
                }
                Some((vec![Target::Mark(mark?)], None))
            }
            ["group", name, ..] => match self.server_groups.get_mut(*name) {
                Some((targets, notes)) if !targets.is_empty() => {
                    *notes = 0..0;
                    Some((targets.clone(), Some((*name).to_owned())))
                }
                found => {
                    let what = if found.is_some() { "has no entry" } else { "is defined nowhere" };
                    let message = format!("the group `{}` {what}", shorten(name));
                    let finding = Finding::new(
                        &codes::IMPORT_REFERENCE,
                        block.spot,
                        message,
                        "keepalived ignores the virtual server",
                    );
                    self.notes.finding(finding.at(*name));
                    self.skip(block, "its group is none, and keepalived ignores the virtual server");
                    None
                }
            },
            [text, ..] => {
                let taken = "keepalived skips the virtual server";
                let Some(address) = ip::plain(text) else {
                    let message = format!("`{}` is no IP address", shorten(text));
                    self.bad(block, message, taken);
                    self.skip(block, "its address is none, and keepalived skips the virtual server");
                    return None;
                };
                match self.port_of(block, 1, taken) {
                    Ok(port) => Some((vec![Target::Address(address, port)], None)),
                    Err(()) => {
                        self.skip(block, "its port is none, and keepalived skips the virtual server");
                        None
                    }
                }
            }
            [] => {
                self.lacks_value(block);
                self.skip(block, "keepalived does not start where a virtual server has no address");
                None
            }
        }
    }

    fn service(&mut self, statement: &Statement, service: &mut Service, whole: &mut Whole) {
        let spot = statement.spot;
        let draft = &mut service.draft;
        match statement.keyword() {
            "lb_algo" | "lvs_sched" => match statement.value() {
                None => self.lacks_value(statement),
                Some(name) if SCHEDULERS.contains(&name) => {
                    self.says("lb_algo");
                    draft.set("scheduler", name, spot);
                }
                Some(name) => {
                    let message = format!("there is no scheduler `{}`", shorten(name));
                    let taken = "keepalived ignores the line, so that it is wlc unless another line says one";
                    self.bad(statement, message, taken);
                }
            },
            "lb_kind" | "lvs_method" => {
                if let Some(way) = self.forwarding(statement) {
                    self.says("lb_kind");
                    way.into_draft(draft, spot);
                }
            }
            "protocol" => match statement.value().map(str::to_ascii_lowercase).as_deref() {
                None => self.lacks_value(statement),
                Some(name @ ("tcp" | "udp" | "sctp")) => {
                    self.says("protocol");
                    draft.set("protocol", name, spot);
                    if whole.mark
                        && !service.targets.iter().any(|target| matches!(target, Target::Address(..)))
                    {
                        draft.remove("protocol");
                        let why = "a firewall mark has no protocol, and keepalived ignores it";
                        self.instead(Fate::NotCarried, why);
                    }
                }
                Some(_) => {
                    let message = "`protocol` is TCP, UDP or SCTP".to_owned();
                    self.bad(statement, message, "keepalived ignores the line");
                }
            },
            "persistence_timeout" => self.persistence_timeout(statement, draft),
            "persistence_granularity" => self.granularity(statement, draft, whole),
            "persistence_engine" => match statement.value() {
                None => self.lacks_value(statement),
                Some("sip") => {
                    self.says("persistence_engine");
                    draft.set("persistence.engine", "sip", spot);
                }
                Some(_) => {
                    let message = "the only engine of the kernel is `sip`".to_owned();
                    self.bad(statement, message, "left out");
                }
            },
            "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" => self.scheduler_flag(statement, draft),
            "flag-1" => draft.push_new("scheduler_flags", json!("fallback"), spot),
            "flag-2" => draft.push_new("scheduler_flags", json!("port"), spot),
            "ops" => draft.set("one_packet", true, spot),
            "ip_family" => self.family(statement, draft, whole),
            "weight" => {
                if let Some(weight) = self.loose(statement, 1..=65_535) {
                    self.says("weight");
                    whole.weight = u64::try_from(weight).unwrap_or(1);
                }
            }
            "quorum" => {
                if statement.value().is_none() {
                    return self.lacks_value(statement);
                }
                let range = 1..=i64::from(u32::MAX);
                let weight =
                    self.number_or(statement, 0, range, Reading::Loose, "keepalived takes 1").unwrap_or(1);
                self.says("quorum");
                whole.quorum = At { value: u64::try_from(weight).unwrap_or(1), spot };
            }
            "hysteresis" => {
                if let Some(weight) = self.loose(statement, 0..=i64::from(u32::MAX)) {
                    self.says("hysteresis");
                    whole.hysteresis = At { value: u64::try_from(weight).unwrap_or(0), spot };
                }
            }
            key @ ("quorum_up" | "quorum_down") => {
                let thing = if key == "quorum_up" { "quorum_up" } else { "quorum_down" };
                if let Some(command) = self.notified(statement)
                    && self.says_first(thing, statement)
                {
                    draft.set(&format!("hooks.{key}"), command.hook(key), spot);
                }
            }
            "inhibit_on_failure" => whole.inhibit = self.always_on(statement),
            "sorry_server" => {
                let Ok(port) = self.port_of(statement, 1, "keepalived ignores the sorry server") else {
                    return;
                };
                if let Some(address) = self.address(statement) {
                    self.says("sorry_server");
                    service.sorry = Some(At { value: (address, port), spot });
                    // A real server goes the way that was said before it.
                    match draft.get("forwarding").cloned() {
                        Some(way) => draft.set("sorry_server.forwarding", way, spot),
                        None => draft.remove("sorry_server.forwarding").map_or((), |_| ()),
                    }
                }
            }
            "sorry_server_lvs_method" if service.sorry.is_none() => {
                let message = "there is no `sorry_server` before it".to_owned();
                self.bad(statement, message, "keepalived ignores the line");
            }
            "sorry_server_lvs_method" => {
                if let Some(way) = self.forwarding(statement) {
                    self.says("sorry_server_lvs_method");
                    draft.set("sorry_server.forwarding", way.method, spot);
                }
            }
            _ => {}
        }
    }

    fn persistence_timeout(&mut self, statement: &Statement, draft: &mut Draft) {
        let seconds = match statement.value() {
            None => Some(PERSISTENCE),
            Some(_) => {
                let taken =
                    "keepalived ignores the line, so that it is no persistence unless another line says one";
                self.number_or(statement, 0, 1..=LONGEST_PERSISTENCE, Reading::Exact, taken)
                    .and_then(|seconds| u64::try_from(seconds).ok())
            }
        };
        let Some(seconds) = seconds else { return };
        self.says("persistence_timeout");
        let millis = self.whole_millis(seconds * 1_000_000);
        draft.set("persistence.timeout", span(millis), statement.spot);
    }

    fn granularity(&mut self, statement: &Statement, draft: &mut Draft, whole: &mut Whole) {
        let Some(text) = statement.value().map(ToOwned::to_owned) else {
            return self.lacks_value(statement);
        };
        let v6 = whole.family.unwrap_or(!text.contains('.'));
        let ignored = "keepalived ignores the line";
        let prefix = if v6 {
            self.number_or(statement, 0, 1..=128, Reading::Exact, ignored)
                .and_then(|prefix| u8::try_from(prefix).ok())
        } else {
            match text.parse::<Ipv4Addr>().ok() {
                Some(mask) if length(mask).is_some_and(|length| length > 0) => length(mask),
                Some(_) => {
                    let message = "the ones of this netmask are not together at its front".to_owned();
                    self.bad(statement, message, "left out: keepalived takes it all the same");
                    return self.instead(
                        Fate::Decide,
                        "keepalived takes such a netmask; write `persistence.prefix`, a prefix length",
                    );
                }
                None if text.parse::<u32>().is_ok() => {
                    let message = "a netmask is written as 255.255.255.0".to_owned();
                    self.bad(statement, message, "left out: keepalived takes the number for an address");
                    return self.instead(
                        Fate::Decide,
                        "keepalived takes the number for an address, which is hardly meant; write \
                        `persistence.prefix`",
                    );
                }
                None => {
                    self.bad(statement, "this is no netmask".to_owned(), ignored);
                    None
                }
            }
        };
        let Some(prefix) = prefix else { return };
        self.says("persistence_granularity");
        whole.family = Some(v6);
        // The whole address is what there is without it.
        if prefix < if v6 { 128 } else { 32 } {
            draft.set("persistence.prefix", prefix, statement.spot);
        } else {
            draft.remove("persistence.prefix");
        }
        if draft.get("persistence.timeout").is_none() {
            let why = "without `persistence_timeout` keepalived takes 360 s";
            self.instead(Fate::Carried, why);
            draft.set("persistence.timeout", span(360_000), statement.spot);
        }
    }

    /// `sh-port` and its like have an effect only after the scheduler that they are of.
    fn scheduler_flag(&mut self, statement: &Statement, draft: &mut Draft) {
        let keyword = statement.keyword();
        let (scheduler, flag) = keyword.split_once('-').unwrap_or((keyword, ""));
        if draft.get("scheduler").and_then(Value::as_str) == Some(scheduler) {
            return draft.push_new("scheduler_flags", json!(flag), statement.spot);
        }
        let message = format!("no `lb_algo {scheduler}` stands before `{keyword}`");
        let finding =
            Finding::new(&codes::IMPORT_VALUE, statement.spot, message, "keepalived ignores it".to_owned());
        self.notes.finding(finding.at(keyword));
        let why = format!("keepalived ignores it where no `lb_algo {scheduler}` stands before it");
        self.instead(Fate::NotCarried, why);
    }

    fn family(&mut self, statement: &Statement, draft: &mut Draft, whole: &mut Whole) {
        let v6 = match statement.value() {
            None => return self.lacks_value(statement),
            Some("inet") => false,
            Some("inet6") => true,
            Some(other) => {
                let message = format!("`{}` is no family: it is `inet` or `inet6`", shorten(other));
                return self.bad(statement, message, "keepalived ignores the line");
            }
        };
        if whole.family.is_some_and(|family| family != v6) {
            let message = "the virtual server is of the other family".to_owned();
            return self.bad(statement, message, "keepalived ignores the line");
        }
        whole.family = Some(v6);
        if v6 {
            draft.set("family", "ipv6", statement.spot);
        }
    }

    /// `NAT`, `DR`, or `TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum]`. Wrong options of a tunnel
    /// leave it the default one.
    pub(super) fn forwarding(&mut self, statement: &Statement) -> Option<Way> {
        let method = match statement.value() {
            None => {
                self.lacks_value(statement);
                return None;
            }
            Some("NAT") => "nat",
            Some("DR") => "dr",
            Some("TUN") => "tun",
            Some(other) => {
                let message = format!("this is NAT, DR or TUN, not `{}`", shorten(other));
                let taken = "keepalived ignores the line, so that it is NAT unless another line says a way";
                self.bad(statement, message, taken);
                return None;
            }
        };
        let mut tunnel = Map::new();
        let mut rest = statement.values().skip(1);
        let mut wrong = None;
        while let Some(word) = rest.next() {
            match word {
                "type" => match rest.next() {
                    Some("ipip") => {}
                    Some(kind @ ("gue" | "gre")) => {
                        tunnel.insert("type".to_owned(), json!(kind));
                    }
                    _ => wrong = Some("the type of a tunnel is `ipip`, `gue` or `gre`"),
                },
                "port" => {
                    match rest.next().and_then(|text| text.parse::<u16>().ok()).filter(|port| *port > 0) {
                        Some(port) => {
                            tunnel.insert("port".to_owned(), json!(port));
                        }
                        None => wrong = Some("the port of a tunnel is a number from 1 to 65535"),
                    }
                }
                "csum" => {
                    tunnel.insert("checksum".to_owned(), json!("full"));
                }
                "remcsum" => {
                    tunnel.insert("checksum".to_owned(), json!("remote"));
                }
                "nocsum" => {}
                _ => wrong = Some("a tunnel has `type ipip|gue|gre`, `port`, and a checksum"),
            }
        }
        let kind = tunnel.get("type").and_then(Value::as_str).unwrap_or("ipip");
        let checksum = tunnel.get("checksum").and_then(Value::as_str);
        if wrong.is_none() {
            wrong = match (kind, checksum) {
                _ if (kind == "gue") != tunnel.contains_key("port") => {
                    Some("a `gue` tunnel has a port, and no other has one")
                }
                ("ipip", Some(_)) => Some("an `ipip` tunnel has no checksum"),
                ("gre", Some("remote")) => Some("a `gre` tunnel has no remote checksum"),
                _ => None,
            };
        }
        if let Some(wrong) = wrong {
            self.bad(statement, wrong.to_owned(), "keepalived drops all options of the line");
            tunnel.clear();
        }
        Some(Way { method, tunnel })
    }
}

/// A way of forwarding, and its tunnel.
pub(super) struct Way {
    pub(super) method: &'static str,
    pub(super) tunnel: Map<String, Value>,
}

impl Way {
    pub(super) fn into_draft(self, draft: &mut Draft, spot: Spot) {
        draft.set("forwarding", self.method, spot);
        if self.tunnel.is_empty() {
            draft.remove("tunnel");
        } else {
            draft.set("tunnel", Value::Object(self.tunnel), spot);
        }
    }
}
