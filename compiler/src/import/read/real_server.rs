//! `real_server`: one of a virtual server's, with its checks.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::keywords::{Level, REAL_SERVER, Shape};
use super::super::model::{At, Draft, Real, Service};
use super::super::notes::{Fate, Finding, Owner};
use super::super::tree::Statement;
use super::check::{NO_CHECK, Of, Place};
use super::service::Whole;
use super::{Reader, ip, shorten};
use crate::codes;

/// Most real servers of one virtual server. Each is compared with each, so there is an end to them.
const MAX_REALS: usize = 5000;

/// Of two blocks with one address and port.
const KEPT_FIRST: &str = "keepalived keeps the first";

/// Of two blocks whose ports do not count. Seen with keepalived 2.2.7 and the kernel's IPVS.
const ONE_DESTINATION: &str = "\
    the kernel has one destination for both, as ports do not count here: keepalived begins with the \
    weight of the first, a failed check of either takes it away, and the one that recovers puts it back \
    with its own weight; here the first counts alone";

impl Reader<'_> {
    /// A real server; `way`: how its virtual server forwarded when it began.
    pub(super) fn real_server(
        &mut self,
        block: &Statement,
        owner: Owner,
        way: Option<Value>,
        service: &mut Service,
        whole: &mut Whole,
    ) {
        let Some((address, written)) = self.place(block) else { return };
        if service.reals.len() >= MAX_REALS {
            let message = format!("a virtual server has more than {MAX_REALS} real servers");
            self.skip(block, "there are too many real servers");
            return self.notes.finding(Finding::new(
                &codes::IMPORT_EXPANSION,
                block.spot,
                message,
                "left out",
            ));
        }
        let mark = self.notes.items.len();
        let mut real = Real {
            spot: block.spot,
            address,
            port: written,
            written,
            draft: Draft::default(),
            times: Vec::new(),
            checks: Vec::new(),
        };
        let mut times = whole.times.clone();
        let mut inhibit = (None, 0);
        let is_check =
            |statement: &&Statement| matches!(Level::RealServer.shape(statement.keyword()), Shape::Block(_));
        for statement in block.inside().iter().filter(|statement| !is_check(statement)) {
            if self.known(&REAL_SERVER, statement, owner).is_some()
                && !self.time(statement, &mut times, Place::RealServer)
            {
                self.of_real_server(statement, &mut real, service, &mut inhibit);
            }
        }
        let method = real.draft.get("forwarding").cloned().or(way).unwrap_or_else(|| json!("nat"));
        if whole.family.is_some_and(|v6| v6 != address.is_ipv6()) && method != json!("tun") {
            let message = format!("{address} is not of the virtual server's family");
            self.note = mark.saturating_sub(1);
            self.bad_word(block, Some(&address.to_string()), message, "keepalived ignores the real server");
            return self.leave_out(mark, "its real server is of the other family, and keepalived ignores it");
        }
        if method != json!("tun") {
            whole.family = Some(address.is_ipv6());
        }
        if Some(&method) != service.draft.get("forwarding") {
            real.draft.set("forwarding", method.clone(), block.spot);
        }
        self.settle_port(&mut real, method == json!("nat"), whole);
        let double = |other: &&Real| (other.address, other.port) == (real.address, real.port);
        if let Some((before, port)) = service.reals.iter().find(double).map(|real| (real.spot, real.written))
        {
            let message = format!("the real server {address} is listed twice");
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            let why = if port == written { KEPT_FIRST } else { ONE_DESTINATION };
            self.notes.instead_at(
                mark.saturating_sub(1),
                Fate::NotCarried,
                format!("it is listed twice, and {why}"),
            );
            let why = format!("its real server is listed twice, and {why}");
            self.left_out(mark..self.notes.items.len(), &why);
            for statement in block.inside().iter().filter(is_check) {
                self.skip(statement, &why);
            }
            return self.notes.finding(finding.at(address.to_string()).also(before, "first here"));
        }
        let of = Of { address, port: written, delay_loop: whole.times.delay_loop };
        let outer = std::mem::take(&mut self.spoken);
        for statement in block.inside().iter().filter(is_check) {
            self.spoken.clear();
            if self.known(&REAL_SERVER, statement, owner).is_some() {
                let checks = self.check(statement, owner, &times, of);
                real.checks.extend(checks);
            }
        }
        self.spoken = outer;
        if real.checks.is_empty() {
            for note in times.notes.iter().skip(whole.times.notes.len()) {
                self.idle_time(*note);
            }
        }
        real.times = self.spots(times.notes.get(whole.times.notes.len()..).unwrap_or_default());
        whole.inhibits.push(inhibit);
        service.reals.push(real);
    }

    /// A time of checks that nothing is checked by.
    pub(super) fn idle_time(&mut self, note: usize) {
        let told = self.notes.items.get(note).is_some_and(|(_, item)| item.fate == Fate::NotCarried);
        if !told {
            self.notes.without_effect(note, NO_CHECK);
        }
    }

    /// Its address and port.
    fn place(&mut self, block: &Statement) -> Option<(IpAddr, Option<u16>)> {
        let Some(text) = block.value() else {
            self.lacks_value(block);
            self.skip(block, "keepalived does not start where a real server has no address");
            return None;
        };
        let taken = "keepalived skips the real server";
        let Some(address) = ip::plain(text) else {
            self.bad(block, format!("`{}` is no IP address", shorten(text)), taken);
            self.skip_inside(block, "its address is none, and keepalived skips the real server");
            return None;
        };
        match self.port_of(block, 1, taken) {
            Ok(port) => Some((address, port)),
            Err(()) => {
                self.instead(Fate::NotCarried, "its port is none, and keepalived skips the real server");
                self.skip_inside(block, "its port is none, and keepalived skips the real server");
                None
            }
        }
    }

    fn skip_inside(&mut self, block: &Statement, why: &str) {
        for statement in block.inside() {
            self.skip(statement, why);
        }
    }

    fn of_real_server(
        &mut self,
        statement: &Statement,
        real: &mut Real,
        service: &mut Service,
        inhibit: &mut (Option<bool>, usize),
    ) {
        let spot = statement.spot;
        match statement.keyword() {
            "weight" => {
                if let Some(weight) = self.loose(statement, 0..=65_535) {
                    self.says("weight");
                    real.draft.set("weight", weight, spot);
                }
            }
            "lvs_method" => {
                let Some(way) = self.forwarding(statement) else { return };
                self.says("lvs_method");
                real.draft.set("forwarding", way.method, spot);
                if !way.tunnel.is_empty() {
                    let why = "one tunnel for all real servers of a service";
                    self.instead(Fate::Changed, why);
                    let tunnel = At { value: Value::Object(way.tunnel), spot };
                    service.draft.0.entry("tunnel".to_owned()).or_insert(tunnel);
                }
            }
            key @ ("uthreshold" | "lthreshold") => {
                let (thing, ours) = if key == "uthreshold" {
                    ("uthreshold", "upper_threshold")
                } else {
                    ("lthreshold", "lower_threshold")
                };
                match self.loose(statement, 0..=i64::from(u32::MAX)) {
                    None => {}
                    Some(0) => {
                        self.says(thing);
                        real.draft.remove(ours);
                    }
                    Some(number) => {
                        self.says(thing);
                        real.draft.set(ours, number, spot);
                    }
                }
            }
            "inhibit_on_failure" => {
                if let Some(on) = self.switch(statement) {
                    self.says("inhibit_on_failure");
                    *inhibit = (Some(on), self.note);
                }
            }
            key @ ("notify_up" | "notify_down") => {
                let (thing, ours) = if key == "notify_up" {
                    ("notify_up", "hooks.real_server_up")
                } else {
                    ("notify_down", "hooks.real_server_down")
                };
                let Some(command) = self.notified(statement) else { return };
                if !self.says_first(thing, statement) {
                    return;
                }
                let hook = command.hook(statement.keyword());
                match service.draft.get(ours) {
                    Some(first) if *first != hook => self.instead(
                        Fate::Decide,
                        "one program a service is told of all its real servers: that of the first was taken",
                    ),
                    Some(_) => {}
                    None => service.draft.set(ours, hook, spot),
                }
            }
            _ => {}
        }
    }

    /// The port that the kernel gets: only masquerade has one of its own.
    fn settle_port(&mut self, real: &mut Real, nat: bool, whole: &Whole) {
        let Some(port) = real.port else {
            if !whole.mark && !whole.group {
                real.port = whole.port;
            }
            return;
        };
        if nat || whole.group {
            return;
        }
        let why = if whole.mark {
            "a firewall mark has no port, and keepalived drops it"
        } else if Some(port) != whole.port {
            "only masquerade translates ports: keepalived takes the virtual server's own port"
        } else {
            return;
        };
        let what = format!("port {port} of {}", real.address);
        self.notes.say(Fate::Changed, vec![real.spot], what, why);
        let message = format!("port {port} does not count here");
        let finding =
            Finding::new(&codes::IMPORT_VALUE, real.spot, message, "dropped by keepalived".to_owned());
        self.notes.finding(finding.at(port.to_string()).hint(why));
        real.port = if whole.mark { None } else { whole.port };
    }
}
