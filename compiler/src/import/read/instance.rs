//! `vrrp_instance`: a director's part of a virtual router, line by line. What its settings make of each other
//! is in `settle`.

use std::net::IpAddr;

use evenkeel_schemas::scalars::InterfaceName;
use serde_json::{Map, Value};

use super::super::keywords::{AUTH_HMAC, AUTHENTICATION, VRRP_INSTANCE};
use super::super::model::{At, Draft, Instance};
use super::super::notes::{Fate, Finding, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::super::versions;
use super::tracking::Tracks;
use super::values::{ANY_TIME, MICROS_IN_U32, Reading, span};
use super::{Reader, ip, shorten};
use crate::codes;

/// Longest password of VRRP version 2 in bytes.
const PASSWORD_BYTES: usize = 8;

/// Longest name of an interface in bytes.
const INTERFACE_BYTES: usize = 15;

/// Most instances of one director. Each is compared with each, so there is an end to them.
const MAX_INSTANCES: usize = 5000;

/// `advert_int`, in microseconds: what keepalived does not ignore.
const ADVERTS: std::ops::RangeInclusive<u64> = 10_000..=255_000_000;

/// `preempt_delay`, in microseconds.
const PREEMPT_DELAY: std::ops::RangeInclusive<u64> = 0..=1_000_000_000;

/// Key of a virtual router: VRID, interface, IPv6, unicast.
pub(super) type Identity = (Option<u8>, Option<String>, bool, bool);

/// Settings of an instance before its defaults are known.
#[derive(Default)]
pub(super) struct Said {
    /// `state`, whether it is MASTER, and the number of its note.
    pub(super) state: Option<(bool, usize)>,
    pub(super) priority: Option<At<u8>>,
    /// In microseconds.
    pub(super) interval: Option<At<u64>>,
    /// Whether a Master of lower priority is left alone, and the number of the note that says so.
    pub(super) nopreempt: Option<(bool, usize)>,
    pub(super) preempt_delay: Option<(u32, usize)>,
    pub(super) version: Option<At<u64>>,
    pub(super) strict: Option<bool>,
    /// `accept` or `no_accept`.
    pub(super) accept: Option<(bool, usize)>,
    /// Whether it is of IPv6: the first address decides.
    pub(super) family: Option<bool>,
    pub(super) auth_type: Option<(AuthType, usize)>,
    pub(super) auth_pass: Option<(String, Spot, usize)>,
    /// Number of the first note of an `authentication`.
    pub(super) auth: Option<usize>,
    pub(super) unicast: Map<String, Value>,
    /// Whether a keyword of unicast is there, peers or not.
    pub(super) unicast_said: bool,
    pub(super) ttl: Option<usize>,
    /// `use_vmac` and the number of its note.
    pub(super) mac: Option<(Map<String, Value>, Spot, usize)>,
    /// Number of the note of `vmac_xmit_base`.
    pub(super) xmit_base: Option<usize>,
    pub(super) tracks: Tracks,
}

/// Kinds of VRRP authentication that keepalived knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthType {
    Password,
    Header,
}

impl Said {
    /// Whether an address is of the instance's family; the first one decides it.
    pub(super) fn is_of_family(&mut self, address: IpAddr) -> bool {
        *self.family.get_or_insert(address.is_ipv6()) == address.is_ipv6()
    }
}

impl Reader<'_> {
    pub(super) fn instance(&mut self, block: &Statement) {
        let Some(name) = self.name(block) else { return };
        if self.config.instances.len() >= MAX_INSTANCES {
            let message = format!("there are more than {MAX_INSTANCES} instances");
            let finding = Finding::new(&codes::IMPORT_EXPANSION, block.spot, message, "left out");
            self.skip(block, "there are too many instances");
            return self.notes.finding(finding);
        }
        let before = self.instances.get(&name).and_then(|at| self.config.instances.get(*at));
        if let Some(before) = before.map(|instance| instance.spot) {
            let message = format!("the instance `{}` is defined twice", shorten(&name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            self.skip(block, "keepalived keeps the first instance of a name and skips this one");
            return self.notes.finding(finding.at(name).also(before, "first here"));
        }
        let mut instance = Instance {
            name,
            spot: block.spot,
            interface: None,
            vrid: None,
            priority: At { value: 100, spot: block.spot },
            vips: Vec::new(),
            excluded: Vec::new(),
            source: None,
            peers: Vec::new(),
            v6: false,
            draft: self.routers.clone(),
        };
        let mark = self.notes.items.len();
        let owner = Owner::Router(self.director, self.config.instances.len());
        self.object(block, owner);
        let mut said = Said::default();
        for statement in block.inside() {
            if self.known(&VRRP_INSTANCE, statement, owner).is_some() {
                self.setting(statement, owner, &mut instance, &mut said);
                self.timing(statement, owner, &mut instance, &mut said);
            }
        }
        self.settle(&mut instance, said);
        if instance.vrid.is_none() {
            let message = format!("the instance `{}` has no `virtual_router_id`", shorten(&instance.name));
            self.leave_out(mark, "an instance without `virtual_router_id` is left out");
            return self.missing(
                instance.spot,
                message,
                "keepalived runs no virtual router at all then; this one is left out",
            );
        }
        let identity: Identity = (
            instance.vrid.as_ref().map(|at| at.value),
            instance.interface.as_ref().map(|at| at.value.clone()),
            instance.v6,
            !instance.peers.is_empty(),
        );
        let index = self.config.instances.len();
        match self.virtual_routers.get(&identity).and_then(|at| self.config.instances.get(*at)) {
            Some(before) => {
                let message = format!(
                    "`{}` has the VRID and the interface of another instance",
                    shorten(&instance.name)
                );
                let finding = Finding::new(
                    &codes::IMPORT_DUPLICATE,
                    instance.spot,
                    message,
                    "keepalived runs no virtual router at all then; both are carried",
                );
                let before = before.spot;
                self.notes.finding(finding.also(before, "the other"));
            }
            None => {
                self.virtual_routers.insert(identity, index);
            }
        }
        self.instances.insert(instance.name.clone(), index);
        self.config.instances.push(instance);
    }

    fn setting(&mut self, statement: &Statement, owner: Owner, instance: &mut Instance, said: &mut Said) {
        let spot = statement.spot;
        let draft = &mut instance.draft;
        match statement.keyword() {
            "state" => self.state(statement, said),
            "interface" => {
                let Some(value) = self.word(statement) else { return };
                if value.len() > INTERFACE_BYTES {
                    let message = format!("`{}` is too long for the name of an interface", shorten(&value));
                    self.bad(statement, message, "keepalived ignores the line");
                } else if value.parse::<InterfaceName>().is_err() {
                    self.bad(statement, "this cannot be the name of an interface".to_owned(), "left out");
                } else {
                    self.says("interface");
                    instance.interface = Some(At { value, spot });
                }
            }
            "virtual_router_id" => {
                if let Some(vrid) =
                    self.number(statement, 1..=255).and_then(|number| u8::try_from(number).ok())
                {
                    self.says("virtual_router_id");
                    instance.vrid = Some(At { value: vrid, spot });
                }
            }
            "virtual_ipaddress" => self.vips(statement, owner, false, instance, said),
            "virtual_ipaddress_excluded" => self.vips(statement, owner, true, instance, said),
            key @ ("unicast_src_ip" | "mcast_src_ip") => {
                said.unicast_said |= key == "unicast_src_ip";
                self.source(statement, instance, said);
            }
            "unicast_peer" => self.peers(statement, owner, instance, said),
            "unicast_ttl" => {
                if let Some(ttl) = self.number(statement, 0..=255) {
                    self.says("unicast_ttl");
                    if ttl == 0 {
                        self.instead(Fate::Changed, "a TTL of 0 goes nowhere: left out, so that it is 255");
                        said.unicast.remove("ttl");
                    } else {
                        said.unicast.insert("ttl".to_owned(), Value::from(ttl));
                    }
                    said.ttl = Some(self.note);
                }
            }
            "check_unicast_src" | "unicast_fault_no_peer" | "old_unicast_checksum" => {
                said.unicast_said = true
            }
            "native_ipv6" if said.family == Some(false) => {
                let message = "the instance has IPv4 addresses".to_owned();
                self.bad(statement, message, "keepalived ignores the line");
            }
            "native_ipv6" => {
                said.family = Some(true);
                said.version = Some(At { value: 3, spot });
            }
            "mcast_dst_ip" => {
                if let Some(address) = statement.value().and_then(ip::plain) {
                    said.is_of_family(address);
                }
            }
            "authentication" => self.authentication(statement, owner, said),
            "auth_hmac" => self.each(&AUTH_HMAC, statement),
            "track_interface" | "track_script" | "track_process" | "track_file" => {
                self.track(statement, owner, &mut said.tracks)
            }
            "virtual_routes" => {
                for line in statement.inside() {
                    if let Some(route) = self.route(line, owner) {
                        draft.push("routes", route, line.spot);
                    }
                }
            }
            "virtual_rules" => {
                for line in statement.inside() {
                    if let Some(rule) = self.rule(line, owner) {
                        draft.push("rules", rule, line.spot);
                    }
                }
            }
            "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop"
            | "notify_deleted" => {
                self.router_hook(statement, draft);
            }
            "use_vmac" => self.use_vmac(statement, said),
            "vmac_xmit_base" => said.xmit_base = Some(self.note),
            "accept" => {
                self.says("accept");
                said.accept = Some((true, self.note));
            }
            "no_accept" => {
                self.says("accept");
                said.accept = Some((false, self.note));
            }
            "lvs_sync_daemon_interface" => {
                if let Some(interface) = self.word(statement)
                    && self.no_sync_yet(statement)
                {
                    let mut draft = Draft::default();
                    draft.set("interface", interface, spot);
                    self.config.sync = Some((draft, Some(instance.name.clone()), spot));
                }
            }
            "strict_mode" => {
                if let Some(strict) = self.switch(statement) {
                    self.says("strict_mode");
                    said.strict = Some(strict);
                    if !strict {
                        self.instead(Fate::Carried, "the rules of the RFCs are not forced here either");
                    }
                }
            }
            _ => {}
        }
    }

    fn state(&mut self, statement: &Statement, said: &mut Said) {
        let Some(word) = self.word(statement) else { return };
        let master = match word.as_str() {
            "MASTER" => true,
            "BACKUP" if said.state.is_some_and(|(master, _)| master) => {
                let message = "`state` is MASTER already".to_owned();
                return self.bad(statement, message, "keepalived ignores BACKUP after it");
            }
            "BACKUP" => false,
            _ => {
                let message = format!("`state` is MASTER or BACKUP, not `{}`", shorten(&word));
                self.bad(statement, message, "keepalived takes BACKUP");
                false
            }
        };
        self.says("state");
        said.state = Some((master, self.note));
    }

    fn source(&mut self, statement: &Statement, instance: &mut Instance, said: &mut Said) {
        let Some(address) = self.address(statement) else {
            instance.source = None;
            return;
        };
        if !said.is_of_family(address) {
            let message = format!("{address} is not of the family of the instance's addresses");
            self.bad(statement, message, "keepalived ignores it");
            instance.source = None;
            return;
        }
        self.says("source");
        instance.source = Some(At { value: address, spot: statement.spot });
    }

    fn use_vmac(&mut self, statement: &Statement, said: &mut Said) {
        let mut name = None;
        let mut further = None;
        for word in statement.values() {
            if word.contains(':') {
                let why =
                    "the virtual MAC address is that of the RFC; the address that is written is not carried";
                self.instead(Fate::Changed, why);
            } else if !matches!(word, "name" | "netlink_notify_msg") {
                match name {
                    None => name = Some(word),
                    Some(_) => further = Some(word),
                }
            }
        }
        if further.is_some() {
            let message = "the virtual MAC address has one interface".to_owned();
            self.bad_word(statement, further, message, "keepalived drops the further name");
        }
        let again = said.mac.as_ref().map(|(mac, _, note)| (mac.contains_key("interface"), *note));
        match (again, name) {
            (Some((false, before)), Some(_)) => {
                self.notes.without_effect(before, "a further `use_vmac` says it again, with a name");
            }
            (Some(_), None) => self.notes.without_effect(self.note, "`use_vmac` is said already"),
            _ => {}
        }
        let (mac, _, note) = said.mac.get_or_insert_with(|| (Map::new(), statement.spot, self.note));
        if again.is_none() || name.is_some() {
            *note = self.note;
        }
        let Some(name) = name else { return };
        let message = if name.parse::<InterfaceName>().is_err() {
            "this cannot be the name of an interface"
        } else if mac.contains_key("interface") {
            "the virtual MAC address has an interface already"
        } else {
            mac.insert("interface".to_owned(), Value::String(name.to_owned()));
            return;
        };
        self.bad_word(statement, Some(name), message.to_owned(), "keepalived drops the name");
    }

    /// Keywords of priorities and times.
    fn timing(&mut self, statement: &Statement, _owner: Owner, instance: &mut Instance, said: &mut Said) {
        let spot = statement.spot;
        let draft = &mut instance.draft;
        match statement.keyword() {
            "priority" => {
                if statement.value().is_none() {
                    return self.lacks_value(statement);
                }
                let number =
                    self.number_or(statement, 0, 1..=255, Reading::Exact, "keepalived takes priority 100");
                let priority = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(100);
                self.says("priority");
                said.priority = Some(At { value: priority, spot });
            }
            "advert_int" => {
                if let Some(value) = self.micros(statement, ADVERTS, "keepalived ignores the line") {
                    self.says("advert_int");
                    said.interval = Some(At { value, spot });
                }
            }
            "version" => self.version_of(statement, said),
            "nopreempt" => {
                self.says("preempt");
                said.nopreempt = Some((true, self.note));
            }
            "preempt" => {
                self.says("preempt");
                said.nopreempt = Some((false, self.note));
            }
            "preempt_delay" => {
                if statement.value().is_none() {
                    return self.lacks_value(statement);
                }
                let delay =
                    self.millis(statement, PREEMPT_DELAY, "keepalived takes 0 s instead, which is ignored");
                self.says("preempt_delay");
                said.preempt_delay = Some((delay.unwrap_or_default(), self.note));
            }
            "garp_master_repeat" => self.garp_repeat(statement, Some(draft)),
            "garp_master_delay" => self.garp_seconds(statement, Some(draft), "garp.delay", MICROS_IN_U32),
            "garp_master_refresh" => {
                self.garp_seconds(statement, Some(draft), "garp.refresh", 0..=i64::from(u32::MAX));
            }
            "v3_checksum_as_v2" => {
                let Some(on) = self.switch(statement) else { return };
                self.says("checksum");
                draft.set("checksum", if on { "message_only" } else { "pseudo_header" }, spot);
            }
            _ => {}
        }
    }

    fn version_of(&mut self, statement: &Statement, said: &mut Said) {
        let Some(version) = self.loose(statement, 2..=3).and_then(|number| u64::try_from(number).ok()) else {
            return;
        };
        let before = said.version.as_ref().map(|at| at.value);
        let conflict =
            before.is_some_and(|before| before != version) || (version == 2 && said.family == Some(true));
        if conflict {
            let message = "the version is said already, or follows from an IPv6 address".to_owned();
            return self.bad(statement, message, "keepalived ignores the line");
        }
        self.says("version");
        said.version = Some(At { value: version, spot: statement.spot });
    }

    fn peers(&mut self, block: &Statement, owner: Owner, instance: &mut Instance, said: &mut Said) {
        said.unicast_said = true;
        for line in block.inside() {
            let text = line.keyword();
            self.line_item(line, owner, block.keyword(), Some("unicast"));
            let Some(value) = ip::plain(text) else {
                let message = format!("`{}` is no IP address", shorten(text));
                self.bad_word(line, Some(text), message, "keepalived ignores the peer");
                continue;
            };
            if !said.is_of_family(value) {
                let message = format!("{value} is not of the family of the instance's addresses");
                self.bad_word(line, Some(text), message, "keepalived ignores the peer");
                continue;
            }
            if let Some(first) = instance.peers.iter().find(|peer| peer.value == value).map(|peer| peer.spot)
            {
                let once = self.newer(&versions::DOUBLE_PEER, line.spot);
                let why = if once {
                    "it is listed twice, and keepalived ignores the second"
                } else {
                    "it is listed twice, and keepalived sends it each advertisement twice: once is enough"
                };
                self.instead(Fate::NotCarried, why);
                let finding = Finding::new(
                    &codes::IMPORT_DUPLICATE,
                    line.spot,
                    format!("{value} is listed twice"),
                    "left out",
                );
                self.notes.finding(finding.at(text).also(first, "first here"));
                continue;
            }
            instance.peers.push(At { value, spot: line.spot });
            let options: Vec<&str> = line.values().collect();
            for (index, pair) in options.chunks(2).enumerate() {
                let known = matches!(pair.first().copied(), Some("min_ttl" | "max_ttl"));
                if !known || pair.len() < 2 {
                    let message =
                        "a peer has the options `min_ttl` and `max_ttl`, each with a number".to_owned();
                    self.bad_word(
                        line,
                        pair.first().copied(),
                        message,
                        "keepalived ignores the rest of the line",
                    );
                    self.instead(
                        Fate::Changed,
                        "what follows is no option of a peer, and keepalived ignores it",
                    );
                    break;
                }
                let Some(ttl) =
                    self.number_or(line, index * 2 + 1, 0..=255, Reading::Exact, "the option is dropped")
                else {
                    continue;
                };
                if pair.first() == Some(&"max_ttl") {
                    let why = "only the lowest TTL is checked";
                    self.instead(Fate::Changed, why);
                } else if ttl > 0 {
                    let least = said.unicast.get("min_ttl").and_then(Value::as_i64).unwrap_or(255);
                    said.unicast.insert("min_ttl".to_owned(), Value::from(least.min(ttl)));
                }
            }
        }
    }

    /// `authentication`: what it says counts together with other blocks of the kind.
    fn authentication(&mut self, block: &Statement, owner: Owner, said: &mut Said) {
        said.auth.get_or_insert(self.note);
        for statement in block.inside() {
            if self.known(&AUTHENTICATION, statement, owner).is_none() {
                continue;
            }
            if let Some((_, item)) = self.notes.items.get_mut(self.note) {
                item.ours = Some("auth".to_owned());
            }
            let Some(word) = self.word(statement) else { continue };
            match statement.keyword() {
                "auth_type" => {
                    let kind = match word.as_str() {
                        "PASS" => AuthType::Password,
                        "AH" => AuthType::Header,
                        _ => {
                            let message = format!("`auth_type` is PASS or AH, not `{}`", shorten(&word));
                            self.bad(statement, message, "keepalived ignores the line");
                            continue;
                        }
                    };
                    self.says("auth_type");
                    said.auth_type = Some((kind, self.note));
                }
                _ => {
                    self.says("auth_pass");
                    if word.len() > PASSWORD_BYTES {
                        let why = "cut to its first 8 bytes, which are all that keepalived sends";
                        self.instead(Fate::Changed, why);
                    }
                    let cut = word.floor_char_boundary(PASSWORD_BYTES);
                    if word.len() > PASSWORD_BYTES && cut < PASSWORD_BYTES {
                        let why = "its eighth byte is within a letter: write a password of ASCII letters on \
                            both sides";
                        self.instead(Fate::Decide, why);
                    }
                    said.auth_pass = Some((word[..cut].to_owned(), statement.spot, self.note));
                }
            }
        }
    }

    /// A time of announcements in whole seconds.
    pub(super) fn garp_seconds(
        &mut self,
        statement: &Statement,
        draft: Option<&mut Draft>,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) {
        let Some(millis) = self.seconds(statement, range) else { return };
        self.says(key);
        self.set_garp(statement.spot, draft, key, millis);
    }

    /// A pause between announcements.
    pub(super) fn garp_pause(&mut self, statement: &Statement) {
        let Some(millis) = self.millis(statement, 1..=u64::from(u32::MAX), "keepalived ignores the line")
        else {
            return;
        };
        self.set_garp(statement.spot, None, "garp.interval", millis);
    }

    fn set_garp(&mut self, spot: Spot, draft: Option<&mut Draft>, key: &'static str, millis: u32) {
        let draft = draft.unwrap_or(&mut self.routers);
        // No refresh and no pause are what their absence says; no second burst is a value.
        if millis > 0 || key == "garp.delay" {
            draft.set(key, span(millis), spot);
        } else {
            draft.remove(key);
        }
    }

    /// Any time, in milliseconds.
    pub(super) fn any_time(&mut self, statement: &Statement) -> Option<u32> {
        self.millis(statement, ANY_TIME, "keepalived ignores the line")
    }
}
