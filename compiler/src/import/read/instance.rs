//! `vrrp_instance`: a director's part of a virtual router.

use std::net::IpAddr;

use evenkeel_schemas::scalars::InterfaceName;
use serde_json::{Map, Value, json};

use super::super::keywords::{AUTH_HMAC, AUTHENTICATION, VRRP_INSTANCE};
use super::super::model::{At, Draft, Instance};
use super::super::notes::{Fate, Finding, Item, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::{Reader, shorten, span};
use crate::codes;

/// Longest password of VRRP version 2 in bytes.
const PASSWORD_BYTES: usize = 8;

/// Hop limit of IPv6 unicast as keepalived 2.2.7 sends it, whatever its configuration says.
const KEEPALIVED_HOP_LIMIT: u8 = 64;

/// Most instances of one director. Each is compared with each, so there is an end to them.
const MAX_INSTANCES: usize = 5000;

/// What an instance says before its defaults are known.
#[derive(Default)]
struct Said {
    master: Option<Spot>,
    priority: Option<At<u8>>,
    interval: Option<At<u32>>,
    preempt: Option<(bool, Spot)>,
    /// The password, where its block stands, and the number of its note.
    auth: Option<(String, Spot, usize)>,
    unicast: Map<String, Value>,
    mac: Option<(Map<String, Value>, Spot)>,
}

impl Reader<'_> {
    pub(super) fn instance(&mut self, block: &Statement) {
        let Some(name) = self.word(block) else { return };
        if self.config.instances.len() >= MAX_INSTANCES {
            let message = format!("there are more than {MAX_INSTANCES} instances");
            return self.notes.finding(Finding::new(
                &codes::IMPORT_EXPANSION,
                block.spot,
                message,
                "left out",
            ));
        }
        if let Some(before) = self.config.instances.iter().find(|instance| instance.name == name) {
            let message = format!("the instance `{}` is defined twice", shorten(&name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            return self.notes.finding(finding.at(name).also(before.spot, "first here"));
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
            draft: self.routers.clone(),
        };
        let mark = self.notes.items.len();
        self.object(block, Owner::Router(self.director, self.config.instances.len()));
        let mut said = Said::default();
        // The interface first: addresses compare theirs with it.
        let lines = block.inside();
        let interface = lines.iter().find(|line| line.keyword() == "interface").and_then(Statement::value);
        let interface = interface.map(ToOwned::to_owned);
        for statement in lines {
            let owner = Owner::Router(self.director, self.config.instances.len());
            if self.known(&VRRP_INSTANCE, statement, owner).is_some() {
                self.setting(statement, owner, interface.as_deref(), &mut instance, &mut said);
                self.timing(statement, owner, &mut instance, &mut said);
            }
        }
        self.settle(&mut instance, said);
        if instance.vrid.is_none() {
            let message = format!("the instance `{}` has no `virtual_router_id`", shorten(&instance.name));
            self.leave_out(mark);
            return self.missing(instance.spot, message, "left out");
        }
        if let Some(before) = self.config.instances.iter().find(|other| same_router(other, &instance)) {
            let message =
                format!("`{}` has the VRID and the interface of another instance", shorten(&instance.name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, instance.spot, message, "both are carried");
            self.notes.finding(finding.also(before.spot, "the other"));
        }
        self.config.instances.push(instance);
    }

    fn setting(
        &mut self,
        statement: &Statement,
        owner: Owner,
        interface: Option<&str>,
        instance: &mut Instance,
        said: &mut Said,
    ) {
        let spot = statement.spot;
        let draft = &mut instance.draft;
        match statement.keyword() {
            "state" => match statement.value() {
                Some("MASTER") => said.master = Some(spot),
                Some("BACKUP") => {}
                _ => self.bad(statement, "`state` is MASTER or BACKUP".to_owned(), "taken as BACKUP"),
            },
            "interface" => {
                let word = self.word(statement);
                match word.filter(|word| word.parse::<InterfaceName>().is_ok()) {
                    Some(value) => instance.interface = Some(At { value, spot }),
                    None => {
                        self.bad(statement, "this cannot be the name of an interface".to_owned(), "left out")
                    }
                }
            }
            "virtual_router_id" => {
                let vrid = self.number(statement, 1..=255).and_then(|number| u8::try_from(number).ok());
                instance.vrid = vrid.map(|value| At { value, spot });
            }
            "virtual_ipaddress" => instance.vips.extend(self.vips(statement, owner, "vips", interface)),
            "virtual_ipaddress_excluded" => {
                instance.excluded.extend(self.vips(statement, owner, "unadvertised_vips", interface));
            }
            "unicast_src_ip" | "mcast_src_ip" => {
                instance.source = self.address(statement).map(|value| At { value, spot });
            }
            "unicast_peer" => self.peers(statement, instance, said),
            "unicast_ttl" => {
                if let Some(ttl) = self.number(statement, 1..=255) {
                    said.unicast.insert("ttl".to_owned(), Value::from(ttl));
                }
            }
            "authentication" => said.auth = self.authentication(statement),
            "auth_hmac" => self.each(&AUTH_HMAC, statement),
            "track_interface" | "track_script" | "track_process" | "track_file" => {
                self.track(statement, owner, draft)
            }
            "virtual_routes" => {
                for line in statement.inside() {
                    if let Some(route) = self.route(line, owner) {
                        draft.push("routes", route, line.spot);
                    }
                }
            }
            "virtual_rules" => {
                // keepalived numbers rules downwards from the kernel's last one.
                for (line, next) in statement.inside().iter().zip((1..=32_765).rev()) {
                    if let Some(rule) = self.rule(line, owner, next) {
                        draft.push("rules", rule, line.spot);
                    }
                }
            }
            "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop"
            | "notify_deleted" => {
                self.router_hook(statement, draft);
            }
            "use_vmac" => {
                let names = statement.values().filter(|word| !matches!(*word, "name" | "netlink_notify_msg"));
                let name = names.into_iter().find(|word| word.parse::<InterfaceName>().is_ok());
                let (mac, _) = said.mac.get_or_insert_with(|| (Map::new(), spot));
                if let Some(name) = name {
                    mac.insert("interface".to_owned(), Value::String(name.to_owned()));
                }
            }
            "vmac_xmit_base" => {
                let (mac, _) = said.mac.get_or_insert_with(|| (Map::new(), spot));
                mac.insert("advertise_from_base".to_owned(), Value::Bool(true));
            }
            "lvs_sync_daemon_interface" => {
                let mut draft = Draft::default();
                if let Some(interface) = self.word(statement) {
                    draft.set("interface", interface, spot);
                    self.config.sync = Some((draft, Some(instance.name.clone()), spot));
                }
            }
            "strict_mode" if !self.switch(statement) => self.notes.instead(Fate::Carried, "the default"),
            _ => {}
        }
    }

    /// What has to do with priorities and time.
    fn timing(&mut self, statement: &Statement, _owner: Owner, instance: &mut Instance, said: &mut Said) {
        let spot = statement.spot;
        let draft = &mut instance.draft;
        match statement.keyword() {
            "priority" => {
                let priority = self.number(statement, 1..=255).and_then(|number| u8::try_from(number).ok());
                said.priority = priority.map(|value| At { value, spot });
            }
            "advert_int" => {
                said.interval = self.some_time(statement).map(|value| At { value, spot });
            }
            "version" => self.version(statement, Some(draft)),
            "nopreempt" => said.preempt = Some((false, spot)),
            "preempt" => said.preempt = Some((true, spot)),
            "preempt_delay" => {
                if let Some(delay) = self.millis(statement).filter(|delay| *delay > 0) {
                    draft.set("preempt_delay", span(delay), spot);
                }
            }
            "garp_master_repeat" => self.garp_repeat(statement, Some(draft)),
            "garp_master_delay" => self.garp_time(statement, Some(draft), "garp.delay"),
            "garp_master_refresh" => self.garp_time(statement, Some(draft), "garp.refresh"),
            "v3_checksum_as_v2" => {
                let kind = if self.switch(statement) { "message_only" } else { "pseudo_header" };
                draft.set("checksum", kind, spot);
            }
            _ => {}
        }
    }

    fn peers(&mut self, block: &Statement, instance: &mut Instance, said: &mut Said) {
        for line in block.inside() {
            let text = line.keyword();
            let Ok(value) = text.parse::<IpAddr>() else {
                let message = format!("`{}` is no IP address", shorten(text));
                let finding = Finding::new(&codes::IMPORT_VALUE, line.spot, message, "left out");
                self.notes.finding(finding.at(text));
                continue;
            };
            self.value_of(line, Owner::Router(self.director, self.config.instances.len()), "unicast");
            instance.peers.push(At { value, spot: line.spot });
            let options: Vec<&str> = line.values().collect();
            for pair in options.chunks(2) {
                let number = pair.get(1).and_then(|text| text.parse::<u8>().ok()).filter(|ttl| *ttl > 0);
                match (pair.first().copied(), number) {
                    (Some("min_ttl"), Some(ttl)) => {
                        let least = said.unicast.get("min_ttl").and_then(Value::as_u64).unwrap_or(255);
                        said.unicast.insert("min_ttl".to_owned(), Value::from(least.min(u64::from(ttl))));
                    }
                    (Some("max_ttl"), _) => {
                        let why = "only the lowest TTL is checked";
                        self.notes.say(Fate::NotCarried, vec![line.spot], shorten(&line.text()), why);
                    }
                    _ => self.bad(
                        line,
                        "a peer has the options `min_ttl` and `max_ttl`".to_owned(),
                        "left out",
                    ),
                }
            }
        }
    }

    /// The password, and where the note of its block is.
    fn authentication(&mut self, block: &Statement) -> Option<(String, Spot, usize)> {
        let mark = self.notes.items.len() - 1;
        let mut kind = None;
        let mut password = None;
        for statement in block.inside() {
            let owner = Owner::Router(self.director, self.config.instances.len());
            if self.known(&AUTHENTICATION, statement, owner).is_none() {
                continue;
            }
            if let Some((_, item)) = self.notes.items.last_mut() {
                item.ours = Some("auth".to_owned());
            }
            match statement.keyword() {
                "auth_type" => {
                    kind = statement.value().map(str::to_ascii_uppercase);
                    match kind.as_deref() {
                        Some("PASS" | "SIMPLE") => {}
                        Some("AH") => self.notes.instead(
                            Fate::NotCarried,
                            "AH was taken out of VRRP in 2004: use PASS while both daemons run, then no password and version 3",
                        ),
                        _ => self.bad(statement, "`auth_type` is PASS or AH".to_owned(), "left out"),
                    }
                }
                _ => match statement.value() {
                    Some(text) => {
                        if text.len() > PASSWORD_BYTES {
                            self.notes.instead(
                                Fate::Changed,
                                "cut to its first 8 bytes, which are all that keepalived sends",
                            );
                        }
                        let cut = text.floor_char_boundary(PASSWORD_BYTES);
                        password = Some((text[..cut].to_owned(), statement.spot, self.notes.items.len() - 1));
                    }
                    None => self.bad(statement, "`auth_pass` needs a value".to_owned(), "left out"),
                },
            }
        }
        match kind.as_deref() {
            Some("PASS" | "SIMPLE") if password.is_none() => {
                self.missing(block.spot, "an authentication without `auth_pass`", "left out");
                None
            }
            Some("PASS" | "SIMPLE") => password,
            _ => {
                self.leave_out(mark);
                None
            }
        }
    }

    /// Defaults, and what keepalived makes of settings that do not go together.
    fn settle(&mut self, instance: &mut Instance, mut said: Said) {
        let spot = instance.spot;
        let mut say = |fate, spots, what: &str, why: &str| self.notes.say(fate, spots, what, why);
        instance.priority = match (said.priority, said.master) {
            (Some(priority), _) => priority,
            (None, Some(spot)) => {
                say(
                    Fate::Changed,
                    vec![spot],
                    "state MASTER without `priority`",
                    "keepalived takes priority 255, and so does the import",
                );
                At { value: 255, spot }
            }
            (None, None) => At { value: 100, spot },
        };
        let draft = &mut instance.draft;
        let version = draft.get("version").and_then(Value::as_u64).unwrap_or(2);
        let v6 = instance.vips.first().is_some_and(|vip| vip.address.is_ipv6());
        let version = if v6 { 3 } else { version };
        let place = draft.remove("version").map_or(spot, |at| at.spot);
        draft.set("version", version, place);
        let interval = said.interval.unwrap_or(At { value: 1000, spot });
        let unit = if version == 2 { 1000 } else { 10 };
        let most = if version == 2 { 40_000 } else { 40_950 };
        let rounded = ((interval.value + unit / 2) / unit * unit).clamp(unit, most);
        if rounded != interval.value {
            let what = format!("advert_int of {} ms", interval.value);
            let why = format!("version {version} can say {rounded} ms, which was taken");
            say(Fate::Changed, vec![interval.spot], &what, &why);
        }
        draft.set("advert_interval", span(rounded), interval.spot);
        if let (Some(master), Some(delay)) = (said.master, draft.0.get("preempt_delay").map(|at| at.spot)) {
            let why = "keepalived ignores the delay then, and so it is not carried";
            say(Fate::Changed, vec![delay, master], "preempt_delay with state MASTER", why);
            draft.remove("preempt_delay");
        }
        let master = said.master.or((instance.priority.value == 255).then_some(instance.priority.spot));
        match (said.preempt, master) {
            (Some((false, spot)), Some(master)) => say(
                Fate::Changed,
                vec![spot, master],
                "nopreempt with state MASTER or priority 255",
                "keepalived ignores `nopreempt` then, and so it is not carried",
            ),
            (Some((false, spot)), None) => draft.set("preempt", false, spot),
            _ => {}
        }
        // Without peers keepalived goes on with multicast.
        if !instance.peers.is_empty() {
            if said.unicast.contains_key("ttl") && !said.unicast.contains_key("min_ttl") {
                // Who sends with a lower TTL means to be received with one.
                said.unicast.insert("min_ttl".to_owned(), Value::from(1));
            } else if !said.unicast.contains_key("min_ttl") {
                let spots = instance.peers.iter().map(|peer| peer.spot).collect();
                let why = if instance.peers.iter().any(|peer| peer.value.is_ipv6()) {
                    said.unicast.insert("min_ttl".to_owned(), Value::from(KEEPALIVED_HOP_LIMIT));
                    "keepalived 2.2.7 sends IPv6 unicast with hop limit 64, so `min_ttl = 64` takes it; remove it when \
                     no director runs keepalived any more"
                } else {
                    "advertisements with a TTL below 255, which came through a router, are rejected unless \
                     `unicast.min_ttl` allows them; keepalived takes any"
                };
                say(Fate::Changed, spots, "unicast_peer without min_ttl", why);
            }
            let place = instance.peers.first().map_or(spot, |peer| peer.spot);
            draft.set("unicast", Value::Object(said.unicast), place);
        }
        if let Some((mac, spot)) = said.mac {
            draft.set("virtual_mac", Value::Object(mac), spot);
        }
        let pause = instance.interface.as_ref().and_then(|interface| self.garp_groups.get(&interface.value));
        if let Some(pause) = pause {
            draft.set("garp.interval", pause.value.clone(), pause.spot);
        }
        if let Some((password, spot, note)) = said.auth {
            if version == 2 {
                draft.set("auth", json!({ "type": "pass", "secret": { "literal": password } }), spot);
            } else if let Some((_, Item { fate, ours, why, .. })) = self.notes.items.get_mut(note) {
                *fate = Fate::NotCarried;
                *ours = None;
                *why = Some("version 3 has no authentication, and keepalived sends none".to_owned());
            }
        }
    }
}

/// Whether two instances of one director are the same virtual router to the network.
fn same_router(a: &Instance, b: &Instance) -> bool {
    let value = |instance: &Instance| instance.vrid.as_ref().map(|at| at.value);
    value(a) == value(b)
        && a.interface.as_ref().map(|at| &at.value) == b.interface.as_ref().map(|at| &at.value)
        && a.is_v6() == b.is_v6()
        && a.peers.is_empty() == b.peers.is_empty()
}
