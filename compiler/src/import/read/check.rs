//! Health checks, with the times that they take from their real server and virtual server.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::keywords::{CHECK, HTTP_GET, MISC_CHECK, OTHER_CHECKS, SMTP_HOST, URL};
use super::super::model::At;
use super::super::notes::{Fate, Finding, Owner};
use super::super::tree::Statement;
use super::{Reader, shorten, span};
use crate::codes;

/// What checks take from above when they do not say it themselves. Times in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    delay_loop: Option<u32>,
    timeout: Option<u32>,
    retry: Option<u32>,
    retry_delay: Option<u32>,
    warmup: Option<u32>,
    alpha: bool,
    virtualhost: Option<String>,
}

/// keepalived's time between checks.
const DELAY_LOOP: u32 = 60_000;

impl Reader<'_> {
    /// Takes a statement that is one of the times; whether it was.
    pub(super) fn time(&mut self, statement: &Statement, times: &mut Times) -> bool {
        match statement.keyword() {
            "delay_loop" => times.delay_loop = self.some_time(statement).or(times.delay_loop),
            "connect_timeout" => times.timeout = self.some_time(statement).or(times.timeout),
            "retry" | "nb_get_retry" => {
                let number = self.number(statement, 0..=i64::from(u32::MAX));
                if number.is_some_and(|number| number > 100) {
                    self.notes.instead(Fate::Changed, "at most 100");
                }
                times.retry = number.and_then(|number| u32::try_from(number.min(100)).ok()).or(times.retry);
            }
            "delay_before_retry" => times.retry_delay = self.millis(statement).or(times.retry_delay),
            "warmup" => times.warmup = self.millis(statement).or(times.warmup),
            "alpha" => times.alpha = self.switch(statement),
            "virtualhost" => times.virtualhost = self.word(statement).or(times.virtualhost.take()),
            _ => return false,
        }
        self.not_as_tcp(statement);
        true
    }

    /// A check of a real server: one table of the cluster file, or one for each URL.
    pub(super) fn check(
        &mut self,
        block: &Statement,
        owner: Owner,
        above: &Times,
        real: IpAddr,
    ) -> Vec<At<Value>> {
        // The note of the block itself is the last one.
        let mark = self.notes.items.len().saturating_sub(1);
        let checks = self.own_check(block, owner, above, real);
        self.as_tcp(block, mark, checks)
    }

    fn own_check(&mut self, block: &Statement, owner: Owner, above: &Times, real: IpAddr) -> Vec<At<Value>> {
        let spot = block.spot;
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
                self.each(&OTHER_CHECKS, block);
                return Vec::new();
            }
        };
        let mut times = above.clone();
        // Of what stands above, only these differ by the kind of check.
        let (retries, delay) = match kind {
            "script" => (0, 1000),
            "dns" => (3, above.delay_loop.unwrap_or(DELAY_LOOP)),
            "http" | "https" => (1, 3000),
            _ => (1, 1000),
        };
        let mut check = Map::new();
        check.insert("type".to_owned(), json!(kind));
        let mut urls = Vec::new();
        for statement in block.inside() {
            let special = match kind {
                "http" | "https" => &HTTP_GET,
                "script" => &MISC_CHECK,
                _ => &OTHER_CHECKS,
            };
            let special = special.find(statement.keyword()).map(|_| special);
            if self.known(special.unwrap_or(&CHECK), statement, owner).is_none()
                || self.time(statement, &mut times)
            {
                continue;
            }
            if statement.keyword() == "url" {
                urls.push(self.url(statement, owner));
            } else if !self.connection(statement, &mut check, real) {
                self.special(statement, owner, &mut check, real);
            }
        }
        let interval = times.delay_loop.unwrap_or(DELAY_LOOP);
        let timeout = if kind == "script" { interval } else { times.timeout.unwrap_or(5000) };
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
        if let Some(missing) = lacks(kind, &check) {
            self.missing(spot, format!("`{}` has no `{missing}`", block.keyword()), "left out");
            return Vec::new();
        }
        if urls.is_empty() {
            return vec![At { value: Value::Object(check), spot }];
        }
        let whole = |url: Map<String, Value>| {
            let mut check = check.clone();
            check.extend(url);
            At { value: Value::Object(check), spot }
        };
        urls.into_iter().map(whole).collect()
    }

    /// Where a check connects to, and from.
    fn connection(&mut self, statement: &Statement, check: &mut Map<String, Value>, real: IpAddr) -> bool {
        match statement.keyword() {
            "connect_ip" => {
                if let Some(address) = self.address(statement).filter(|address| *address != real) {
                    check.insert("address".to_owned(), json!(address));
                }
            }
            "connect_port" => {
                if let Some(port) = self.number(statement, 1..=65_535) {
                    check.insert("port".to_owned(), json!(port));
                }
            }
            "bindto" => {
                if let Some(address) = self.address(statement) {
                    check.insert("source".to_owned(), json!(address));
                }
            }
            "bind_if" => {
                if let Some(interface) = self.word(statement) {
                    check.insert("interface".to_owned(), json!(interface));
                }
            }
            _ => return false,
        }
        true
    }

    /// What only one kind of check has.
    fn special(&mut self, statement: &Statement, owner: Owner, check: &mut Map<String, Value>, real: IpAddr) {
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                check.insert(key.to_owned(), value);
            }
        };
        match statement.keyword() {
            "sni_name" => set("host", self.word(statement).map(Value::String)),
            "misc_path" => {
                if let Some(command) = self.program(statement) {
                    set("command", Some(json!(command.words)));
                    set("user", command.user.map(Value::String));
                }
            }
            "misc_timeout" => set("timeout", self.some_time(statement).map(span)),
            "misc_dynamic" => set("dynamic_weight", Some(json!(true))),
            "user" => set("user", self.user(statement).map(Value::String)),
            "payload" => {
                let hex: String = statement.values().map(pairs).collect();
                let good =
                    !hex.is_empty() && hex.len() <= 1024 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                if good {
                    set("payload", Some(json!(hex)));
                } else {
                    self.bad(statement, "a payload is 1 to 512 bytes in hexadecimal".to_owned(), "left out");
                }
            }
            "require_reply" => {
                if statement.value().is_none() {
                    self.notes.instead(Fate::Carried, "any answer will do, as in keepalived");
                }
                set("require_reply", Some(json!(true)));
            }
            "type" => match statement.value().map(str::to_ascii_uppercase).as_deref() {
                Some(record @ ("A" | "AAAA" | "CNAME" | "MX" | "NS" | "SOA" | "TXT")) => {
                    set("record", Some(json!(record)))
                }
                _ => self.bad(statement, "there is no such type of record".to_owned(), "SOA is asked for"),
            },
            "name" => set("name", self.word(statement).map(Value::String)),
            "helo_name" => set("helo", self.word(statement).map(|name| json!(super::named(&name)))),
            "track_file" => {
                let name = statement.value().unwrap_or_default();
                let index = self.config.trackers.iter().position(|tracker| tracker.name == name);
                let tracker = index.and_then(|index| self.config.trackers.get_mut(index));
                let path = tracker.and_then(|tracker| {
                    tracker.checked = true;
                    tracker.draft.get("path").cloned()
                });
                match path {
                    Some(path) => set("file", Some(path)),
                    None => {
                        let message = format!("the file `{}` is defined nowhere", shorten(name));
                        let finding =
                            Finding::new(&codes::IMPORT_REFERENCE, statement.spot, message, "left out");
                        self.notes.finding(finding.at(name));
                    }
                }
            }
            "host" => {
                for line in statement.inside() {
                    if self.known(&SMTP_HOST, line, owner).is_some() {
                        self.connection(line, check, real);
                    }
                }
            }
            _ => {}
        }
    }

    fn url(&mut self, block: &Statement, owner: Owner) -> Map<String, Value> {
        let mut url = Map::new();
        for statement in block.inside() {
            if self.known(&URL, statement, owner).is_none() {
                continue;
            }
            let (key, value) = match statement.keyword() {
                "path" => ("path", self.word(statement).map(Value::String)),
                "virtualhost" => ("host", self.word(statement).map(Value::String)),
                "regex" => ("body", self.word(statement).map(Value::String)),
                "status_code" => ("status", self.status(statement)),
                _ => continue,
            };
            if let Some(value) = value {
                url.insert(key.to_owned(), value);
            }
        }
        url
    }

    fn status(&mut self, statement: &Statement) -> Option<Value> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=999).contains(code));
        let good = |text: &&str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            matches!((code(first), code(last)), (Some(first), Some(last)) if first <= last)
        };
        let codes: Vec<&str> = statement.values().filter(good).collect();
        if codes.is_empty() || codes.len() < statement.values().count() {
            self.bad(
                statement,
                "a status is a number such as 200, or a range such as 200-299".to_owned(),
                "left out",
            );
        }
        (!codes.is_empty() && codes != ["200-299"]).then(|| json!(codes))
    }
}

/// What a check cannot do without.
fn lacks(kind: &str, check: &Map<String, Value>) -> Option<&'static str> {
    match kind {
        "script" if !check.contains_key("command") => Some("misc_path"),
        "file" if !check.contains_key("file") => Some("track_file"),
        _ => None,
    }
}

/// Hexadecimal digits as whole bytes: a digit left alone stands for itself.
fn pairs(text: &str) -> String {
    let text = text.strip_prefix("0x").unwrap_or(text);
    if text.len().is_multiple_of(2) {
        return text.to_owned();
    }
    let (most, last) = text.split_at(text.floor_char_boundary(text.len().saturating_sub(1)));
    format!("{most}0{last}")
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn a_digit_alone_is_a_byte() {
        let text: String = ["Ab12f", "3", "456"].into_iter().map(pairs).collect();
        assert_eq!(text, "Ab120f034506");
    }
}
