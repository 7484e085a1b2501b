//! `global_defs` and `garp_group`: what holds for every instance, and for IPVS.

use std::collections::btree_map::Entry;

use serde_json::Value;

use super::super::keywords::{GARP_GROUP, GLOBAL_DEFS};
use super::super::model::Draft;
use super::super::notes::{Fate, Finding, Owner};
use super::super::tree::Statement;
use super::super::versions;
use super::values::{MICROS_IN_U32, Reading, span};
use super::{Reader, shorten};
use crate::codes;

impl Reader<'_> {
    pub(super) fn global_defs(&mut self, block: &Statement) {
        for statement in block.inside() {
            if self.known(&GLOBAL_DEFS, statement, Owner::Cluster).is_some() {
                self.global(statement);
            }
        }
    }

    fn global(&mut self, statement: &Statement) {
        let spot = statement.spot;
        match statement.keyword() {
            "vrrp_version" => {
                if let Some(version) = self.loose(statement, 2..=3) {
                    self.says("version");
                    self.routers.set("version", version, spot);
                }
            }
            "vrrp_garp_master_repeat" => self.garp_repeat(statement, None),
            "vrrp_garp_master_delay" => self.garp_seconds(statement, None, "garp.delay", MICROS_IN_U32),
            "vrrp_garp_master_refresh" => {
                self.garp_seconds(statement, None, "garp.refresh", 0..=i64::from(u32::MAX));
            }
            "vrrp_garp_interval" | "vrrp_gna_interval" => self.garp_pause(statement),
            "vrrp_min_garp" => self.min_garp(statement),
            "vrrp_startup_delay" => {
                let range = 1_000..=u64::from(u32::MAX);
                if let Some(delay) = self.millis(statement, range, "keepalived ignores the line") {
                    self.says("startup_delay");
                    self.routers.set("startup_delay", span(delay), spot);
                }
            }
            "v3_checksum_as_v2" => {
                if let Some(on) = self.switch(statement) {
                    self.says("checksum");
                    let kind = if on { "message_only" } else { "pseudo_header" };
                    self.routers.set("checksum", kind, spot);
                }
            }
            "script_user" => {
                if let Some(user) = self.user(statement) {
                    self.says("script_user");
                    self.script_user = Some(user);
                }
            }
            "lvs_flush" => self.config.cluster.set("policy.exclusive_ipvs", true, spot),
            "lvs_timeouts" => self.lvs_timeouts(statement),
            "lvs_sync_daemon" => self.lvs_sync_daemon(statement),
            "vrrp_mcast_group4" if statement.value() == Some("224.0.0.18") => {
                self.instead(Fate::Carried, "the default")
            }
            "vrrp_mcast_group6" if statement.value() == Some("ff02::12") => {
                self.instead(Fate::Carried, "the default")
            }
            "vrrp_strict" => {
                let switched = statement.value().is_some() && self.newer(&versions::GLOBAL_SWITCH, spot);
                self.strict = if switched {
                    let on = self.switch(statement);
                    if on == Some(false) {
                        self.instead(Fate::Carried, "the default");
                    }
                    on.unwrap_or(self.strict)
                } else {
                    self.always_on(statement)
                };
            }
            "vrrp_skip_check_adv_addr" if statement.value().is_some() => {
                self.newer(&versions::GLOBAL_SWITCH, spot);
            }
            _ => {}
        }
    }

    /// `vrrp_min_garp`: one announcement and no second burst, where nothing else was said before.
    fn min_garp(&mut self, statement: &Statement) {
        match self.switch(statement) {
            Some(true) => {}
            Some(false) => return self.instead(Fate::Carried, "the default"),
            None => return,
        }
        for (key, default, least) in [
            ("garp.repeat", Value::from(5), Value::from(1)),
            ("garp.delay", Value::from("5s"), Value::from("0s")),
        ] {
            if self.routers.get(key).is_none_or(|value| *value == default) {
                self.routers.set(key, least, statement.spot);
            }
        }
    }

    pub(super) fn garp_repeat(&mut self, statement: &Statement, draft: Option<&mut Draft>) {
        let Some(number) = self.loose(statement, 0..=i64::from(u32::MAX)) else { return };
        self.says("garp.repeat");
        if number == 0 {
            self.bad(statement, "at least one announcement is sent".to_owned(), "keepalived takes 1");
        } else if number > 100 {
            self.instead(Fate::Changed, "at most 100 at once: 100 was taken");
        }
        draft.unwrap_or(&mut self.routers).set("garp.repeat", number.clamp(1, 100), statement.spot);
    }

    /// Whether nothing asked for connection synchronisation before: keepalived keeps the first.
    pub(super) fn no_sync_yet(&mut self, statement: &Statement) -> bool {
        let Some((_, _, place)) = self.config.sync.clone() else { return true };
        self.instead(Fate::NotCarried, "keepalived keeps the first and ignores this one");
        let message = "connection synchronisation is asked for twice".to_owned();
        let finding = Finding::new(&codes::IMPORT_DUPLICATE, statement.spot, message, "ignored");
        self.notes.finding(finding.at(statement.keyword()).also(place, "first here"));
        false
    }

    /// `lvs_timeouts [tcp N] [tcpfin N] [udp N]`; 0 leaves the kernel's.
    fn lvs_timeouts(&mut self, statement: &Statement) {
        const LONGEST: i64 = 31 * 86_400;
        let words: Vec<&str> = statement.values().collect();
        if words.len() < 2 {
            let message = "`lvs_timeouts` has pairs: `tcp`, `tcpfin` or `udp`, and seconds".to_owned();
            return self.bad(statement, message, "keepalived ignores the line");
        }
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let key = match *word {
                "tcp" => "ipvs.timeouts.tcp",
                "tcpfin" => "ipvs.timeouts.tcp_fin",
                "udp" => "ipvs.timeouts.udp",
                other => {
                    let message = format!("`{}` is none of `tcp`, `tcpfin` and `udp`", shorten(other));
                    self.bad_word(statement, Some(other), message, "keepalived drops the word");
                    continue;
                }
            };
            if words.get(at).is_none() {
                let message = format!("`{word}` lacks its seconds");
                self.bad_word(statement, Some(word), message, "keepalived drops the word");
                break;
            }
            let seconds =
                self.number_or(statement, at, 0..=LONGEST, Reading::Exact, "keepalived drops the pair");
            at += 1;
            match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
                Some(0) => self.config.cluster.0.remove(key).map_or((), |_| ()),
                Some(seconds) => {
                    let millis = self.whole_millis(seconds * 1_000_000);
                    self.config.cluster.set(key, span(millis), statement.spot);
                }
                None => {}
            }
        }
    }

    /// `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [[id] N] [maxlen N] [port N] [ttl N] [group A]`.
    fn lvs_sync_daemon(&mut self, statement: &Statement) {
        if !self.no_sync_yet(statement) {
            return;
        }
        let Some(interface) = self.word(statement) else { return };
        let mut draft = Draft::default();
        draft.set("interface", interface, statement.spot);
        let mut instance = None;
        let words: Vec<&str> = statement.values().collect();
        let mut at = 1;
        while let Some(word) = words.get(at) {
            let place = at;
            at += 1;
            let (key, range) = match *word {
                "inst" => {
                    instance = instance.or_else(|| words.get(at).map(|name| (*name).to_owned()));
                    at += 1;
                    continue;
                }
                "id" => ("id", 0..=255),
                "maxlen" => ("max_length", 1..=65_507),
                "port" => ("port", 1..=65_535),
                "ttl" => ("ttl", 1..=255),
                "group" => {
                    match words.get(at).and_then(|text| super::ip::plain(text)) {
                        Some(group) if group.is_multicast() => {
                            draft.set("group", group.to_string(), statement.spot);
                        }
                        _ => {
                            let message = "`group` is a multicast address".to_owned();
                            self.bad_word(statement, words.get(at).copied(), message, "keepalived drops it");
                        }
                    }
                    at += 1;
                    continue;
                }
                // As versions before 1.2.20 had it.
                name if place == 1 => {
                    instance = Some(name.to_owned());
                    continue;
                }
                _ if place == 2 => {
                    let taken = "keepalived takes the VRID";
                    if let Some(id) = self.number_or(statement, place, 0..=255, Reading::Exact, taken) {
                        draft.set("id", id, statement.spot);
                    }
                    continue;
                }
                other => {
                    let message = format!("`{}` is no option of `lvs_sync_daemon`", shorten(other));
                    self.bad_word(statement, Some(other), message, "keepalived drops the word");
                    continue;
                }
            };
            if let Some(number) =
                self.number_or(statement, at, range, Reading::Exact, "keepalived drops the option")
            {
                draft.set(key, number, statement.spot);
            }
            at += 1;
        }
        self.config.sync = Some((draft, instance, statement.spot));
    }

    /// A pause between announcements, for the interfaces that are listed. The first group of an interface
    /// counts.
    pub(super) fn garp_group(&mut self, block: &Statement) {
        let mark = self.notes.items.len();
        let (mut arp, mut neighbour) = (None, None);
        let mut interfaces = Vec::new();
        for statement in block.inside() {
            if self.known(&GARP_GROUP, statement, Owner::Cluster).is_none() {
                continue;
            }
            let range = 0..=u64::from(i32::MAX.unsigned_abs());
            match statement.keyword() {
                key @ ("garp_interval" | "gna_interval") => {
                    let pause = self.millis(statement, range, "keepalived takes 0: no pause");
                    if statement.value().is_none() {
                        continue;
                    }
                    // A wrong one makes a group, too, whose pause is none.
                    let millis = pause.unwrap_or(0);
                    self.says(if key == "garp_interval" { "garp_interval" } else { "gna_interval" });
                    *if key == "garp_interval" { &mut arp } else { &mut neighbour } =
                        Some((millis, self.note));
                }
                "interface" => {
                    interfaces.extend(self.word(statement).map(|interface| (interface, statement.spot)));
                }
                _ => {
                    for line in statement.inside() {
                        self.line_item(
                            line,
                            Owner::Cluster,
                            "interfaces",
                            Some("virtual_routers.*.garp.interval"),
                        );
                        interfaces.extend(line.words.iter().map(|interface| (interface.clone(), line.spot)));
                    }
                }
            }
        }
        if let (Some((arp, _)), Some((neighbour, note))) = (arp, neighbour)
            && arp != neighbour
        {
            let why = "one pause for both families: that of `garp_interval` was taken";
            self.notes.instead_at(note, Fate::Changed, why);
        }
        let Some((pause, _)) = arp.or(neighbour) else {
            self.leave_out(mark, "keepalived drops a `garp_group` without an interval");
            return self.missing(block.spot, "a `garp_group` without an interval", "keepalived drops it");
        };
        for (interface, spot) in interfaces {
            match self.garp_groups.entry(interface) {
                Entry::Occupied(known) => {
                    let message = format!("`{}` is in a `garp_group` already", shorten(known.key()));
                    let finding = Finding::new(&codes::IMPORT_DUPLICATE, spot, message, "ignored");
                    self.notes.finding(finding.at(known.key()).also(known.get().spot, "first here"));
                    let what = format!("`{}` in a second `garp_group`", shorten(known.key()));
                    let why = "keepalived keeps the first group of an interface and ignores it in this one";
                    self.notes.say(Fate::NotCarried, vec![spot], what, why);
                }
                Entry::Vacant(free) => {
                    free.insert(super::At { value: span(pause), spot });
                }
            }
        }
    }
}
