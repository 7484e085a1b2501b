//! `global_defs` and `garp_group`: what holds for every instance, and for IPVS.

use super::super::keywords::{GARP_GROUP, GLOBAL_DEFS};
use super::super::model::Draft;
use super::super::notes::{Fate, Owner};
use super::super::tree::Statement;
use super::{Reader, span};

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
            "vrrp_version" => self.version(statement, None),
            "vrrp_garp_master_repeat" => self.garp_repeat(statement, None),
            "vrrp_garp_master_delay" => self.garp_time(statement, None, "garp.delay"),
            "vrrp_garp_master_refresh" => self.garp_time(statement, None, "garp.refresh"),
            "vrrp_garp_interval" | "vrrp_gna_interval" => self.garp_time(statement, None, "garp.interval"),
            "vrrp_min_garp" if self.switch(statement) => {
                self.routers.set("garp.repeat", 1, spot);
                self.routers.set("garp.delay", "0s", spot);
            }
            "vrrp_startup_delay" => {
                if let Some(delay) = self.some_time(statement) {
                    self.routers.set("startup_delay", span(delay), spot);
                }
            }
            "v3_checksum_as_v2" if self.switch(statement) => {
                self.routers.set("checksum", "message_only", spot)
            }
            "script_user" => self.script_user = self.user(statement),
            "lvs_flush" => self.config.cluster.set("policy.exclusive_ipvs", true, spot),
            "lvs_timeouts" => self.lvs_timeouts(statement),
            "lvs_sync_daemon" => self.lvs_sync_daemon(statement),
            "vrrp_mcast_group4" if statement.value() == Some("224.0.0.18") => {
                self.notes.instead(Fate::Carried, "the default")
            }
            "vrrp_mcast_group6" if statement.value() == Some("ff02::12") => {
                self.notes.instead(Fate::Carried, "the default")
            }
            "vrrp_strict" if !self.switch(statement) => self.notes.instead(Fate::Carried, "the default"),
            _ => {}
        }
    }

    /// The version of an instance, or of all when there is none.
    pub(super) fn version(&mut self, statement: &Statement, draft: Option<&mut Draft>) {
        if let Some(version) = self.number(statement, 2..=3) {
            draft.unwrap_or(&mut self.routers).set("version", version, statement.spot);
        }
    }

    pub(super) fn garp_repeat(&mut self, statement: &Statement, draft: Option<&mut Draft>) {
        let Some(number) = self.number(statement, 0..=i64::from(u16::MAX)) else { return };
        if !(1..=100).contains(&number) {
            self.notes.instead(Fate::Changed, "1 to 100 at once; the nearest was taken");
        }
        draft.unwrap_or(&mut self.routers).set("garp.repeat", number.clamp(1, 100), statement.spot);
    }

    pub(super) fn garp_time(&mut self, statement: &Statement, draft: Option<&mut Draft>, key: &str) {
        let Some(millis) = self.millis(statement) else { return };
        // No refresh and no pause are what their absence says; no second burst is a value.
        if millis > 0 || key == "garp.delay" {
            draft.unwrap_or(&mut self.routers).set(key, span(millis), statement.spot);
        }
    }

    fn lvs_timeouts(&mut self, statement: &Statement) {
        let values: Vec<&str> = statement.values().collect();
        for pair in values.chunks(2) {
            let key = match pair.first().copied() {
                Some("tcp") => "ipvs.timeouts.tcp",
                Some("tcpfin") => "ipvs.timeouts.tcp_fin",
                Some("udp") => "ipvs.timeouts.udp",
                _ => "",
            };
            let seconds = pair
                .get(1)
                .and_then(|text| text.parse::<u32>().ok())
                .filter(|secs| (1..=86_400).contains(secs));
            match seconds {
                Some(seconds) if !key.is_empty() => {
                    self.config.cluster.set(key, span(seconds * 1000), statement.spot)
                }
                _ => self.bad(
                    statement,
                    "`lvs_timeouts` has pairs: `tcp`, `tcpfin` or `udp`, and 1 to 86400 seconds".to_owned(),
                    "left out",
                ),
            }
        }
    }

    /// `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group A]`.
    fn lvs_sync_daemon(&mut self, statement: &Statement) {
        let mut draft = Draft::default();
        let mut instance = None;
        let mut values = statement.values();
        let Some(interface) = values.next() else {
            return self.bad(statement, "`lvs_sync_daemon` needs an interface".to_owned(), "left out");
        };
        draft.set("interface", interface, statement.spot);
        let mut wrong = false;
        let mut first = true;
        while let Some(word) = values.next() {
            let key = match word {
                "inst" => {
                    instance = values.next().map(ToOwned::to_owned);
                    first = false;
                    continue;
                }
                "id" | "port" | "ttl" => word,
                "maxlen" => "max_length",
                "group" => "group",
                _ if first => {
                    instance = Some(word.to_owned());
                    first = false;
                    continue;
                }
                _ => {
                    wrong = true;
                    continue;
                }
            };
            first = false;
            let value = values.next().unwrap_or_default();
            match (key, value.parse::<u32>()) {
                ("group", _) => draft.set(key, value, statement.spot),
                (_, Ok(number)) => draft.set(key, number, statement.spot),
                (_, Err(_)) => wrong = true,
            }
        }
        if wrong {
            self.bad(
                statement,
                "`lvs_sync_daemon` has an option that is none".to_owned(),
                "the option was left out",
            );
        }
        self.config.sync = Some((draft, instance, statement.spot));
    }

    /// A pause between announcements, for the interfaces that are listed.
    pub(super) fn garp_group(&mut self, block: &Statement) {
        let mut pause = None;
        let mut interfaces = Vec::new();
        for statement in block.inside() {
            if self.known(&GARP_GROUP, statement, Owner::Cluster).is_none() {
                continue;
            }
            match statement.keyword() {
                "garp_interval" => pause = self.span(statement).or(pause),
                "gna_interval" => {
                    let interval = self.span(statement);
                    pause = pause.or(interval);
                }
                "interface" => interfaces.extend(statement.value().map(ToOwned::to_owned)),
                _ => {
                    for line in statement.inside() {
                        self.value_of(line, Owner::Cluster, "virtual_routers.*.garp.interval");
                    }
                    let words = statement.inside().iter().flat_map(|line| &line.words);
                    interfaces.extend(words.map(|word| word.text.clone()));
                }
            }
        }
        if let Some(pause) = pause.filter(|pause| pause.as_str() != Some("0s")) {
            for interface in interfaces {
                self.garp_groups.insert(interface, super::At { value: pause.clone(), spot: block.spot });
            }
        }
    }
}
