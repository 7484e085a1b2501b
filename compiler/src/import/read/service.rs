//! `virtual_server_group` and `virtual_server`; real servers are in `real_server`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::super::keywords::{VIRTUAL_SERVER, VIRTUAL_SERVER_GROUP};
use super::super::model::{At, Draft, Service, Target};
use super::super::notes::{Fate, Finding, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::address::{self, length, network};
use super::check::{Place, Times};
use super::{Reader, Reading, leading_number, shorten};
use crate::codes;

/// Most addresses that one range of a group stands for.
const MAX_RANGE: u128 = 1024;

/// keepalived's `persistence_timeout` without a value, in seconds.
const PERSISTENCE: u64 = 360;

/// Longest `persistence_timeout` of keepalived, in seconds.
const LONGEST_PERSISTENCE: i64 = 31 * 86_400;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "mh", "sed", "nq", "fo", "ovf", "twos"];

/// What a virtual server says that only its whole makes sense of.
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
    weight: u64,
    quorum: At<u64>,
    hysteresis: At<u64>,
    /// `inhibit_on_failure`.
    pub(super) inhibit: bool,
    /// `inhibit_on_failure` of real servers, and the numbers of their notes.
    pub(super) inhibits: Vec<(Option<bool>, usize)>,
    /// What was the way of forwarding when each real server began.
    ways: Vec<Option<Value>>,
    pub(super) times: Times,
}

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
        }
        if self.server_groups.contains_key(&name) {
            let message = format!("the group `{}` is defined twice", shorten(&name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            self.left_out(mark..self.notes.items.len(), "keepalived finds the first group of a name");
            return self.notes.finding(finding.at(name));
        }
        self.server_groups.insert(name, (targets, mark..self.notes.items.len()));
    }

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
        let mut service =
            Service { spot, group, targets, draft: Draft::default(), reals: Vec::new(), sorry: None };
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
        let why = "the kernel has one of the kind: keepalived adds the real servers of the second to the first and \
                   keeps the first one's scheduler and persistence, and so does the import; put both into one block";
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
                let Some(address) = address::plain(text) else {
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
                    // It goes the way that was said before it.
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
        draft.set("persistence.timeout", super::span(millis), statement.spot);
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
                        "keepalived takes the number for an address, which is hardly meant; write `persistence.prefix`",
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
            draft.set("persistence.timeout", super::span(360_000), statement.spot);
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

    /// `NAT`, `DR`, or `TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum]`. Wrong options of a tunnel leave it
    /// the default one.
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

    /// What keepalived makes of a virtual server as a whole.
    fn settle_service(&mut self, service: &mut Service, whole: &mut Whole) {
        let spot = service.spot;
        let draft = &mut service.draft;
        if draft.get("scheduler").is_none() {
            self.notes.say(Fate::Carried, vec![spot], "no `lb_algo`", "keepalived takes wlc");
            draft.set("scheduler", "wlc", spot);
        }
        if draft.get("forwarding").is_none() {
            self.notes.say(Fate::Carried, vec![spot], "no `lb_kind`", "keepalived takes NAT");
            draft.set("forwarding", "nat", spot);
        }
        let only_marks = service.targets.iter().all(|target| matches!(target, Target::Mark(_)));
        if !only_marks && draft.get("protocol").is_none() {
            let why = "keepalived takes UDP, and so does the import: write `tcp` if that is meant";
            self.notes.say(Fate::Decide, vec![spot], "a virtual server without `protocol`", why);
            draft.set("protocol", "udp", spot);
        }
        if !only_marks
            && draft.get("protocol") != Some(&json!("udp"))
            && let Some(at) = draft.remove("one_packet")
        {
            let why = "keepalived ignores it without UDP";
            self.notes.say(Fate::NotCarried, vec![at.spot], "ops", why);
        }
        let portless = service.targets.iter().any(|target| matches!(target, Target::Address(_, None)));
        if portless && draft.get("persistence.timeout").is_none() {
            let why = "without a port keepalived needs persistence, and takes 360 s";
            self.notes.say(Fate::Changed, vec![spot], "persistence", why);
            draft.set("persistence.timeout", super::span(360_000), spot);
        }
        for real in &mut service.reals {
            if real.draft.get("weight").is_none() {
                real.draft.set("weight", whole.weight, real.spot);
            }
        }
        if service.reals.iter().all(|real| real.checks.is_empty()) {
            for note in std::mem::take(&mut whole.times.notes) {
                self.idle_time(note);
            }
        }
        self.settle_thresholds(service);
        self.settle_quorum(service, whole);
        self.settle_inhibit(service, whole);
        self.settle_sorry(service, whole);
    }

    /// The kernel refuses a real server that stops before it resumes.
    fn settle_thresholds(&mut self, service: &mut Service) {
        for real in &mut service.reals {
            let number = |key: &str| real.draft.get(key).and_then(Value::as_u64);
            let (Some(upper), Some(lower)) = (number("upper_threshold"), number("lower_threshold")) else {
                continue;
            };
            if lower <= upper {
                continue;
            }
            let why = "the kernel refuses such a real server, so that keepalived has it not at all: it was taken without `lthreshold`";
            let spot = real.draft.remove("lower_threshold").map_or(real.spot, |at| at.spot);
            self.notes.say(Fate::Decide, vec![spot], "lthreshold above uthreshold", why);
        }
    }

    fn settle_quorum(&mut self, service: &mut Service, whole: &Whole) {
        let weight = |real: &super::super::model::Real| real.draft.get("weight").and_then(Value::as_u64);
        let total: u64 = service.reals.iter().filter_map(weight).sum();
        let (mut quorum, mut hysteresis) = (whole.quorum.value, whole.hysteresis.value);
        if quorum > total {
            let what = format!("quorum {quorum}");
            let why = format!(
                "the weights of the real servers are {total} together, and keepalived lowers the quorum to that; so does the import"
            );
            self.quorum_finding(whole.quorum.spot, "quorum", &why);
            self.notes.say(Fate::Changed, vec![whole.quorum.spot], what, why);
            quorum = total.max(1);
        }
        if hysteresis >= quorum && hysteresis > 0 {
            let what = format!("hysteresis {hysteresis}");
            hysteresis = quorum - 1;
            let why =
                format!("it must be below the quorum, and keepalived takes {hysteresis}; so does the import");
            self.quorum_finding(whole.hysteresis.spot, "hysteresis", &why);
            self.notes.say(Fate::Changed, vec![whole.hysteresis.spot], what, why);
        }
        if quorum != 1 || hysteresis > 0 {
            service.draft.set("quorum.weight", quorum, whole.quorum.spot);
        }
        if hysteresis > 0 {
            service.draft.set("quorum.hysteresis", hysteresis, whole.hysteresis.spot);
        }
    }

    fn quorum_finding(&mut self, spot: Spot, word: &str, why: &str) {
        let message = format!("`{word}` is too high");
        let finding = Finding::new(&codes::IMPORT_VALUE, spot, message, "keepalived takes less".to_owned());
        self.notes.finding(finding.at(word).hint(why));
    }

    /// One answer to failures for all real servers of a service.
    fn settle_inhibit(&mut self, service: &mut Service, whole: &Whole) {
        let effective: Vec<bool> =
            whole.inhibits.iter().map(|(own, _)| own.unwrap_or(whole.inhibit)).collect();
        let alike = effective.iter().all(|one| Some(one) == effective.first());
        for (own, note) in &whole.inhibits {
            if own.is_some() && alike {
                self.notes.instead_at(*note, Fate::Carried, "all real servers of the service have it");
            } else if own.is_some() {
                let why =
                    "it holds for the whole service, and its real servers differ: make two services of it";
                self.notes.instead_at(*note, Fate::Decide, why);
            }
        }
        if effective.iter().any(|inhibit| *inhibit) || (effective.is_empty() && whole.inhibit) {
            service.draft.set("on_failure", "quiesce", service.spot);
        }
    }

    fn settle_sorry(&mut self, service: &mut Service, whole: &Whole) {
        let Some(sorry) = service.sorry.clone() else { return };
        let way = service.draft.get("sorry_server.forwarding").or(service.draft.get("forwarding")).cloned();
        let of_family = whole.family.is_none_or(|v6| v6 == sorry.value.0.is_ipv6());
        if !of_family && way != Some(json!("tun")) {
            let why = "it is of the other family, and keepalived ignores it";
            self.notes.say(Fate::NotCarried, vec![sorry.spot], "sorry_server", why);
            let message = "the sorry server is of the other family".to_owned();
            self.notes.finding(Finding::new(
                &codes::IMPORT_VALUE,
                sorry.spot,
                message,
                "ignored by keepalived".to_owned(),
            ));
            service.sorry = None;
            service.draft.remove("sorry_server.forwarding");
            return;
        }
        if way == service.draft.get("forwarding").cloned() {
            service.draft.remove("sorry_server.forwarding");
        }
        if way != Some(json!("nat"))
            && !whole.group
            && let (_, Some(port)) = sorry.value
            && Some(port) != whole.port
        {
            let why = "only masquerade translates ports: keepalived takes the service's own port";
            self.notes.say(Fate::Changed, vec![sorry.spot], format!("port {port} of the sorry server"), why);
            if let Some(at) = &mut service.sorry {
                at.value.1 = None;
            }
        }
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
