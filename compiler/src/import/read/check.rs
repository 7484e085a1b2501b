//! Health checks, with the times that they take from their real server and virtual server.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::keywords::{CHECK, CONNECTION, Level};
use super::super::model::At;
use super::super::notes::{Fate, Item, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::super::versions;
use super::datagrams::Answer;
use super::file_check::FileWeight;
use super::url::Web;
use super::values::{CONNECT_TIME, Reading, SOME_TIME, leading_number, span};
use super::{Reader, shorten};

/// Defaults of checks from the blocks above them. Times in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pub(super) delay_loop: Option<u32>,
    timeout: Option<u32>,
    retry: Option<u32>,
    retry_delay: Option<u32>,
    warmup: Option<u32>,
    alpha: bool,
    virtualhost: Option<String>,
    /// Numbers of the notes of those who said it, above the checks.
    pub(super) notes: Vec<usize>,
}

/// Why a time has no effect.
pub(super) const NO_CHECK: &str = "there is no check";

/// The block that says a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    VirtualServer,
    RealServer,
    Check,
}

/// Target of a check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) address: IpAddr,
    /// Its port as it is written, which is where keepalived's check goes.
    pub(super) port: Option<u16>,
    /// The time between checks that the virtual server says.
    pub(super) delay_loop: Option<u32>,
}

/// keepalived's time between checks.
const DELAY_LOOP: u32 = 60_000;

/// A keyword of HTTP_GET that stands in many configurations in other checks, too.
const OLD_RETRY: &str = "nb_get_retry";

/// Parts of a connection, of which a check of mail servers may have several.
type Connection = Map<String, Value>;

impl Reader<'_> {
    /// The lines of notes.
    pub(super) fn spots(&self, notes: &[usize]) -> Vec<Spot> {
        let items = notes.iter().filter_map(|note| self.notes.items.get(*note));
        items.filter_map(|(_, item)| item.spots.first().copied()).collect()
    }

    /// Takes a statement that is one of the times; whether it was.
    pub(super) fn time(&mut self, statement: &Statement, times: &mut Times, place: Place) -> bool {
        let ignored = "keepalived ignores the line";
        match statement.keyword() {
            "delay_loop" => {
                if let Some(time) = self.millis(statement, SOME_TIME, ignored) {
                    self.says("delay_loop");
                    times.delay_loop = Some(time);
                }
            }
            "connect_timeout" => {
                if let Some(time) = self.millis(statement, CONNECT_TIME, ignored) {
                    self.says("connect_timeout");
                    times.timeout = Some(time);
                }
            }
            "retry" | OLD_RETRY => self.retry(statement, times, place),
            "delay_before_retry" => {
                if let Some(time) = self.any_time(statement) {
                    self.says("delay_before_retry");
                    times.retry_delay = Some(time);
                }
            }
            "warmup" => {
                if let Some(time) = self.any_time(statement) {
                    self.says("warmup");
                    times.warmup = Some(time);
                }
            }
            "alpha" if place == Place::VirtualServer => times.alpha = self.always_on(statement),
            "alpha" => {
                if let Some(on) = self.switch(statement) {
                    self.says("alpha");
                    times.alpha = on;
                }
            }
            "virtualhost" => {
                if let Some(host) = self.word(statement) {
                    self.says("virtualhost");
                    times.virtualhost = Some(host);
                }
            }
            _ => return false,
        }
        if place != Place::Check {
            times.notes.push(self.note);
        }
        self.not_as_tcp(statement);
        true
    }

    fn retry(&mut self, statement: &Statement, times: &mut Times, place: Place) {
        let (range, reading) = match place {
            Place::Check => (0..=i64::from(u32::MAX), Reading::Loose),
            Place::VirtualServer | Place::RealServer => (1..=i64::from(u32::MAX), Reading::Exact),
        };
        let number = self.number_or(statement, 0, range, reading, "keepalived ignores the line");
        let Some(number) = number else { return };
        self.says("retry");
        if number > 100 {
            self.instead(Fate::Changed, "at most 100");
        } else if statement.keyword() == OLD_RETRY && self.is_as_written() {
            self.instead(Fate::Carried, "keepalived asks for `retry` instead");
        }
        times.retry = u32::try_from(number.min(100)).ok();
    }

    /// A check of a real server: one table of the cluster file, or one for each host.
    pub(super) fn check(&mut self, block: &Statement, owner: Owner, above: &Times, of: Of) -> Vec<At<Value>> {
        // The note of the block itself is the last one.
        let mark = self.notes.items.len().saturating_sub(1);
        let checks = self.own_check(block, owner, above, of);
        self.as_tcp(block, mark, checks)
    }

    fn own_check(&mut self, block: &Statement, owner: Owner, above: &Times, of: Of) -> Vec<At<Value>> {
        let spot = block.spot;
        let mark = self.notes.items.len();
        let level = Level::RealServer.below(block.keyword()).unwrap_or(Level::List);
        let kind = match block.keyword() {
            "TCP_CHECK" => "tcp",
            "HTTP_GET" => "http",
            "SSL_GET" => "https",
            "MISC_CHECK" => "script",
            "UDP_CHECK" => "udp",
            "DNS_CHECK" => "dns",
            "SMTP_CHECK" => "smtp",
            "PING_CHECK" => "ping",
            "FILE_CHECK" => "file",
            _ => {
                for inside in block.inside() {
                    self.known_in(level.tables(), block.keyword(), inside, owner);
                }
                return Vec::new();
            }
        };
        let mut times = above.clone();
        let mut check = Map::new();
        check.insert("type".to_owned(), json!(kind));
        let mut web = Web::default();
        let mut answer = Answer::default();
        let mut file = FileWeight::default();
        let mut hosts: Vec<Connection> = Vec::new();
        let mut connection = Connection::new();
        // A check that says anything of its own connection is one beside those of its hosts.
        let mut own_connection = false;
        let mut program: Option<(Vec<String>, usize)> = None;
        for statement in block.inside() {
            if statement.keyword() == OLD_RETRY && level.block(OLD_RETRY).is_none() {
                self.unknown_retry(statement, block.keyword(), owner, &mut times);
            }
            if self.known_in(level.tables(), block.keyword(), statement, owner).is_none() {
                continue;
            }
            let timed = self.time(statement, &mut times, Place::Check);
            own_connection |= self.connects(statement);
            if timed {
                continue;
            }
            match statement.keyword() {
                "host" => hosts.push(self.host(statement, owner, of)),
                "misc_path" => {
                    if let Some(words) = self.program(statement) {
                        self.says("misc_path");
                        check.insert("command".to_owned(), json!(words));
                        program = Some((words, self.note));
                    }
                }
                _ if self.web(statement, owner, &mut web)
                    || self.datagram(statement, &mut answer, &mut check)
                    || self.file_line(statement, &mut file, &mut check)
                    || self.connection(statement, &mut connection, of.address) => {}
                _ => self.special(statement, &mut check),
            }
        }
        let lacking = match kind {
            "script" if program.is_none() => Some("misc_path"),
            "file" if !check.contains_key("file") => Some("track_file"),
            "http" | "https" if web.is_empty() => Some("url"),
            _ => None,
        };
        self.settle_answer(answer, &mut check);
        if let Some(missing) = lacking {
            self.missing(
                spot,
                format!("`{}` has no `{missing}`", block.keyword()),
                "keepalived ignores the check",
            );
            let why = format!("keepalived ignores a check without `{missing}`");
            self.left_out(mark.saturating_sub(1)..self.notes.items.len(), &why);
            return Vec::new();
        }
        if let Some((words, note)) = program {
            let user = check.get("user").and_then(Value::as_str).map(ToOwned::to_owned);
            let user = user.or_else(|| self.default_user());
            self.settle_program(note, &words, user.as_deref());
            check.extend(user.map(|user| ("user".to_owned(), json!(user))));
        }
        self.settle_file(spot, file);
        self.times_of(kind, &times, of, &mut check);
        if matches!(kind, "http" | "https") {
            self.settle_web(kind, spot, web, &mut check);
        }
        if !hosts.is_empty() && !self.newer(&versions::SMTP_HOST, spot) {
            let why = "keepalived gives what is in `host` a time of 0, whatever the check says: \
                       here that of the check holds for its hosts, too";
            self.notes.say(Fate::Changed, vec![spot], "the time of a check's hosts", why);
        }
        let mut places = hosts;
        if places.is_empty() || own_connection {
            places.insert(0, connection);
        }
        let checks = self.connections(kind, spot, check, places, of).into_iter();
        checks.map(|check| At { value: Value::Object(check), spot }).collect()
    }

    /// `nb_get_retry` where keepalived does not know it, which is asked about: nearly everybody means it.
    fn unknown_retry(&mut self, statement: &Statement, check: &str, owner: Owner, times: &mut Times) {
        let why = format!(
            "keepalived does not know it in {check} and ignores it, so that it tries {} more; \
             the number that is written was taken: remove `retries` if nothing is to change",
            if check == "MISC_CHECK" { "not once" } else { "once" },
        );
        self.note = self.notes.items.len();
        self.notes.item(
            owner,
            Item {
                fate: Fate::Decide,
                spots: vec![statement.spot],
                what: shorten(&statement.text()),
                ours: Some("check.retries".to_owned()),
                why: Some(why),
            },
        );
        let number = statement.value().and_then(|text| text.parse::<u32>().ok());
        times.retry = number.map(|number| number.min(100)).or(times.retry);
    }

    /// Settings of the blocks above, and keepalived's defaults, of which some differ by the kind of check.
    fn times_of(&mut self, kind: &str, times: &Times, of: Of, check: &mut Map<String, Value>) {
        let interval = times.delay_loop.unwrap_or(DELAY_LOOP);
        let (retries, delay) = match kind {
            "script" => (0, 1000),
            "dns" => (3, interval),
            "http" | "https" => (1, 3000),
            _ => (1, 1000),
        };
        let timeout = match kind {
            "script" => of.delay_loop.unwrap_or(DELAY_LOOP),
            _ => times.timeout.unwrap_or(5000),
        };
        for (key, value) in [
            ("interval", span(interval)),
            ("timeout", span(timeout)),
            ("retries", json!(times.retry.unwrap_or(retries))),
            ("retry_delay", span(times.retry_delay.unwrap_or(delay))),
        ] {
            check.entry(key).or_insert(value);
        }
        if let Some(warmup) = times.warmup {
            check.insert("warmup".to_owned(), span(warmup));
        }
        if times.alpha {
            check.insert("initially_down".to_owned(), json!(true));
        }
        if let ("http" | "https", Some(host)) = (kind, &times.virtualhost) {
            check.entry("host").or_insert_with(|| json!(host));
        }
    }

    /// The check once for each place that it connects to.
    fn connections(
        &mut self,
        kind: &str,
        spot: Spot,
        check: Map<String, Value>,
        places: Vec<Connection>,
        of: Of,
    ) -> Vec<Map<String, Value>> {
        let connects = !matches!(kind, "script" | "file" | "ping");
        if connects && of.port.is_none() && places.iter().any(|place| !place.contains_key("port")) {
            let why = "the real server has no port, so that keepalived's check asks for port 0 and fails; \
                here it asks for \
                       the port of the service";
            self.notes.say(Fate::Changed, vec![spot], "a check without a port", why);
        }
        let whole = |mut place: Connection| {
            if connects && let Some(port) = of.port {
                place.entry("port").or_insert_with(|| json!(port));
            }
            let mut check = check.clone();
            check.extend(place);
            check
        };
        places.into_iter().map(whole).collect()
    }

    /// Whether the statement that was read gives a check a connection of its own: one whose value keepalived
    /// ignores does not.
    fn connects(&self, statement: &Statement) -> bool {
        let number = || statement.value().and_then(|text| leading_number(text).0);
        match statement.keyword() {
            "bind_port" => number().is_some_and(|port| (1..=65_535).contains(&port)),
            "fwmark" => number().is_some_and(|mark| mark > 0 && u32::try_from(mark).is_ok()),
            keyword => {
                let told = self.notes.items.get(self.note);
                CONNECTION.find(keyword).is_some()
                    && told.is_some_and(|(_, item)| item.fate != Fate::NotCarried)
            }
        }
    }

    /// Addresses that a check connects to and from.
    fn connection(&mut self, statement: &Statement, check: &mut Connection, real: IpAddr) -> bool {
        match statement.keyword() {
            "connect_ip" => {
                let address = self.address(statement);
                if address.is_none() && statement.value().is_some() {
                    self.newer(&versions::CONNECT_NOWHERE, statement.spot);
                }
                if let Some(address) = address {
                    self.says("connect_ip");
                    if address == real {
                        check.remove("address");
                    } else {
                        check.insert("address".to_owned(), json!(address));
                    }
                }
            }
            "connect_port" => {
                if let Some(port) = self.loose(statement, 1..=65_535) {
                    self.says("connect_port");
                    check.insert("port".to_owned(), json!(port));
                }
            }
            "bindto" => {
                if let Some(address) = self.address(statement) {
                    self.says("bindto");
                    check.insert("source".to_owned(), json!(address));
                }
            }
            "bind_if" => {
                if let Some(interface) = self.word(statement) {
                    self.says("bind_if");
                    check.insert("interface".to_owned(), json!(interface));
                }
            }
            _ => return false,
        }
        true
    }

    /// A host of a check of mail servers.
    fn host(&mut self, block: &Statement, owner: Owner, of: Of) -> Connection {
        let outer = std::mem::take(&mut self.spoken);
        let mut connection = Connection::new();
        for line in block.inside() {
            if self.known_in(&[&CHECK, &CONNECTION], "host (in SMTP_CHECK)", line, owner).is_some()
                && !self.connection(line, &mut connection, of.address)
            {
                let why = "the time of a check holds for all its hosts";
                if line.keyword() != "bind_port" && line.keyword() != "fwmark" {
                    self.instead(Fate::NotCarried, why);
                }
            }
        }
        self.spoken = outer;
        connection
    }

    /// Settings that only one kind of check has.
    fn special(&mut self, statement: &Statement, check: &mut Map<String, Value>) {
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                check.insert(key.to_owned(), value);
            }
        };
        match statement.keyword() {
            "misc_timeout" => match self.seconds(statement, super::values::MICROS_IN_U32) {
                Some(0) if !self.is_as_written() => {}
                Some(0) => self.instead(Fate::Carried, "0 is the default: the time between checks"),
                Some(time) => {
                    self.says("misc_timeout");
                    set("timeout", Some(span(time)));
                }
                None => {}
            },
            "misc_dynamic" => set("dynamic_weight", Some(json!(true))),
            "user" => {
                if let Some(user) = self.user(statement) {
                    self.says("user");
                    set("user", Some(Value::String(user)));
                }
            }
            "type" => match statement.value().map(str::to_ascii_uppercase).as_deref() {
                Some(record @ ("A" | "AAAA" | "CNAME" | "MX" | "NS" | "SOA" | "TXT")) => {
                    self.says("type");
                    set("record", Some(json!(record)));
                }
                None => self.lacks_value(statement),
                _ => {
                    let message = "no check asks for such a type of record".to_owned();
                    self.bad(statement, message, "left out: SOA is asked for");
                }
            },
            "name" => {
                if let Some(name) = self.word(statement)
                    && self.says_first("name", statement)
                {
                    set("name", Some(Value::String(name)));
                }
            }
            "helo_name" => {
                if let Some(name) = self.word(statement) {
                    self.says("helo_name");
                    let greeting = super::named(&name);
                    if greeting != name {
                        let why = format!("a name has letters, digits and `-._`: `{greeting}` was taken");
                        self.instead(Fate::Changed, why);
                    }
                    set("helo", Some(json!(greeting)));
                }
            }
            _ => {}
        }
    }
}
