//! From statements to the model. This file has what all blocks share: noting what becomes of a keyword, and reading
//! numbers, times, switches, addresses and commands; the files below `read/` know one kind of block each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use evenkeel_schemas::scalars::Span;
use serde_json::Value;

use super::Request;
use super::keywords::{Block, Row};
use super::model::{At, Config, Draft, Target};
use super::notes::{Fate, Finding, Item, Notes, Owner};
use super::source::Spot;
use super::tree::Statement;
use crate::codes;
use crate::suggest::Suggester;

mod address;
mod as_tcp;
mod check;
mod command;
mod global;
mod instance;
mod service;
mod tracking;

/// Reads one director's statements.
pub(super) fn read(
    director: usize,
    request: &Request,
    statements: &[Statement],
    notes: &mut Notes,
) -> Config {
    let mut reader = Reader {
        director,
        request,
        notes,
        config: Config::default(),
        routers: Draft::default(),
        script_user: request.script_user.clone(),
        garp_groups: BTreeMap::new(),
        server_groups: BTreeMap::new(),
        suggester: Suggester::new(),
    };
    reader.run(statements);
    reader.config
}

struct Reader<'a> {
    director: usize,
    request: &'a Request,
    notes: &'a mut Notes,
    config: Config,
    /// What `global_defs` says for every instance.
    routers: Draft,
    script_user: Option<String>,
    /// Pause between announcements, by interface.
    garp_groups: BTreeMap<String, At<Value>>,
    /// Targets of a group, and which notes are about it until something uses it.
    server_groups: BTreeMap<String, (Vec<Target>, std::ops::Range<usize>)>,
    suggester: Suggester,
}

impl Reader<'_> {
    /// What others refer to comes first, wherever it stands.
    fn run(&mut self, statements: &[Statement]) {
        let known: Vec<&Statement> = statements
            .iter()
            .filter(|statement| self.known(&super::keywords::TOP, statement, Owner::Cluster).is_some())
            .collect();
        for wanted in [
            &["global_defs", "SSL", "garp_group", "bfd_instance"][..],
            &["vrrp_script", "vrrp_track_process", "track_file", "vrrp_track_file", "virtual_server_group"],
            &["vrrp_instance"],
            &["vrrp_sync_group", "virtual_server"],
        ] {
            for statement in known.iter().filter(|statement| wanted.contains(&statement.keyword())) {
                self.top(statement);
            }
        }
        self.all_ports();
        for (_, notes) in std::mem::take(&mut self.server_groups).into_values() {
            self.left_out(notes, "no virtual server uses its group");
        }
    }

    fn top(&mut self, statement: &Statement) {
        match statement.keyword() {
            "global_defs" => self.global_defs(statement),
            "garp_group" => self.garp_group(statement),
            "vrrp_script" => self.script(statement),
            "vrrp_track_process" => self.process(statement),
            "track_file" | "vrrp_track_file" => self.track_file(statement),
            "virtual_server_group" => self.server_group(statement),
            "vrrp_instance" => self.instance(statement),
            "vrrp_sync_group" => self.sync_group(statement),
            "virtual_server" => self.virtual_server(statement),
            "SSL" => self.each(&super::keywords::SSL, statement),
            "bfd_instance" => self.each(&super::keywords::BFD_INSTANCE, statement),
            _ => {}
        }
    }

    /// Notes the keywords of a block of which nothing is carried.
    fn each(&mut self, block: &'static Block, statement: &Statement) {
        for inside in statement.inside() {
            self.known(block, inside, Owner::Cluster);
        }
    }

    /// Looks a statement up and notes what becomes of it; `None` when the block does not have it.
    fn known(&mut self, block: &'static Block, statement: &Statement, owner: Owner) -> Option<&'static Row> {
        let keyword = statement.keyword();
        if keyword.is_empty() {
            return None;
        }
        let Some(row) = block.find(keyword) else {
            let near = self.suggester.closest(keyword, block.names());
            let finding = Finding::new(
                &codes::IMPORT_UNKNOWN,
                statement.spot,
                format!("`{}` is no keyword of {}", shorten(keyword), block.name),
                "without effect in keepalived",
            )
            .at(keyword);
            self.notes.finding(match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding,
            });
            return None;
        };
        // Below the object: `services.*.check` is `check` of its service.
        let below = block.place.splitn(3, '.').nth(2).map_or_else(String::new, |below| format!("{below}."));
        let ours = (!row.ours.is_empty()).then(|| format!("{below}{}", row.ours));
        let why = (!row.why.is_empty()).then(|| row.why.to_owned());
        let what = shown(statement);
        self.notes.item(owner, Item { fate: row.fate, spots: vec![statement.spot], what, ours, why });
        Some(row)
    }

    /// Notes a block that becomes an object of the cluster file.
    fn object(&mut self, statement: &Statement, owner: Owner) {
        let item = Item {
            fate: Fate::Carried,
            spots: vec![statement.spot],
            what: shown(statement),
            ours: Some(String::new()),
            why: None,
        };
        self.notes.item(owner, item);
    }

    /// Notes a line of a block that has values and no keyword.
    fn value_of(&mut self, line: &Statement, owner: Owner, ours: &str) {
        let what = shorten(&line.text());
        let ours = Some(ours.to_owned());
        self.notes.item(owner, Item { fate: Fate::Carried, spots: vec![line.spot], what, ours, why: None });
    }

    fn bad(&mut self, statement: &Statement, message: String, taken: &str) {
        self.bad_word(statement, statement.value(), message, taken);
    }

    fn bad_word(&mut self, statement: &Statement, word: Option<&str>, message: String, taken: &str) {
        if let Some((_, item)) = self.notes.items.last()
            && item.spots.first() == Some(&statement.spot)
            && item.fate != Fate::NotCarried
        {
            let fate = if taken.ends_with("left out") { Fate::NotCarried } else { Fate::Changed };
            self.notes.instead(fate, format!("its value cannot be understood: {taken}"));
        }
        let word = word.map(ToOwned::to_owned);
        let mut finding = Finding::new(&codes::IMPORT_VALUE, statement.spot, message, taken.to_owned());
        finding.word = word.filter(|_| !is_secret(statement.keyword()));
        self.notes.finding(finding);
    }

    /// The first value as a whole number within `range`.
    fn number(&mut self, statement: &Statement, range: RangeInclusive<i64>) -> Option<i64> {
        self.number_at(statement, 0, range)
    }

    fn number_at(&mut self, statement: &Statement, index: usize, range: RangeInclusive<i64>) -> Option<i64> {
        let text = statement.values().nth(index);
        let number = text.and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let what = text.map_or_else(|| "nothing".to_owned(), |text| format!("`{}`", shorten(text)));
            let key = index.checked_sub(1).and_then(|before| statement.values().nth(before));
            let key = shorten(key.unwrap_or(statement.keyword()));
            let message =
                format!("`{key}` is a whole number from {} to {}, not {what}", range.start(), range.end());
            self.bad_word(statement, text, message, "the default was taken");
        }
        number
    }

    /// The first value as seconds, in milliseconds; what is shorter than one becomes one.
    fn millis(&mut self, statement: &Statement) -> Option<u32> {
        let text = statement.value().unwrap_or_default().to_owned();
        let Some(micros) = micros(&text) else {
            let message = format!("`{}` is a time in seconds, not `{}`", statement.keyword(), shorten(&text));
            self.bad(statement, message, "the default was taken");
            return None;
        };
        let millis = micros.div_ceil(1000);
        if millis * 1000 != micros {
            self.notes.instead(Fate::Changed, "times are multiples of 1 ms: rounded up");
        }
        let Some(millis) = u32::try_from(millis).ok().filter(|millis| *millis <= Span::MAX_MILLIS) else {
            self.bad(
                statement,
                format!("`{}` is longer than a day", statement.keyword()),
                "the default was taken",
            );
            return None;
        };
        Some(millis)
    }

    /// The first value as a switch; without one it is on.
    fn switch(&mut self, statement: &Statement) -> bool {
        match statement.value() {
            None => true,
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" => true,
                "off" | "false" | "no" => false,
                _ => {
                    let message = format!("`{}` is on or off", statement.keyword());
                    self.bad(statement, message, "taken as on");
                    true
                }
            },
        }
    }

    /// The first value as an address.
    fn address(&mut self, statement: &Statement) -> Option<IpAddr> {
        let text = statement.value().unwrap_or_default();
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("`{}` is no IP address", shorten(text));
            self.bad(statement, message, "left out");
        }
        address
    }

    fn word(&mut self, statement: &Statement) -> Option<String> {
        let word = statement.value().map(ToOwned::to_owned);
        if word.is_none() {
            self.bad(statement, format!("`{}` needs a value", statement.keyword()), "left out");
        }
        word
    }

    /// Leaves a block out: nothing of it was carried after all.
    fn leave_out(&mut self, from: usize) {
        self.left_out(from..self.notes.items.len(), "its block was left out");
    }

    fn left_out(&mut self, notes: std::ops::Range<usize>, why: &str) {
        let items = self.notes.items.get(notes).into_iter().flatten();
        for spot in items.flat_map(|(_, item)| item.spots.clone()).collect::<Vec<_>>() {
            self.notes.dropped(spot, Fate::NotCarried, why);
        }
    }

    fn missing(&mut self, spot: Spot, message: impl Into<String>, taken: &str) {
        self.notes.finding(Finding::new(&codes::IMPORT_INCOMPLETE, spot, message, taken.to_owned()));
    }
}

/// A time as the cluster file writes it.
fn span(millis: u32) -> Value {
    let text = format!("{millis}ms");
    text.parse::<Span>().map_or(Value::String(text), |span| Value::String(span.to_string()))
}

/// Decimal seconds in microseconds; what is finer is rounded up.
fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || whole.len() > 9 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let finer = fraction.bytes().skip(6).any(|byte| byte != b'0');
    Some(whole * 1_000_000 + kept.parse::<u64>().ok()? + u64::from(finer))
}

/// Words that must not appear in a report.
pub(super) fn is_secret(keyword: &str) -> bool {
    matches!(keyword, "auth_pass" | "password" | "key")
}

/// A statement as the report shows it.
fn shown(statement: &Statement) -> String {
    if is_secret(statement.keyword()) {
        return format!("{} ********", statement.keyword());
    }
    shorten(&statement.text())
}

/// The beginning of a text that may be of any length, on one line.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    let clean: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if clean.chars().count() <= MOST {
        return clean;
    }
    let short: String = clean.chars().take(MOST - 1).collect();
    format!("{short}…")
}

/// A text made into a name: what may not be in one becomes `-`.
pub(super) fn named(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-') { char } else { '-' })
        .take(63)
        .collect();
    let clean = clean.trim_matches(['_', '.', '-']);
    if clean.is_empty() { "unnamed".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_are_microseconds() {
        for (text, value) in [
            ("1", Some(1_000_000)),
            ("0.5", Some(500_000)),
            (".25", Some(250_000)),
            ("3.", Some(3_000_000)),
            ("0.0000001", Some(1)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1s", None),
            ("1e3", None),
            ("99999999999", None),
        ] {
            assert_eq!(micros(text), value, "{text}");
        }
    }

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in
            [("VI_1", "VI_1"), ("a b/c", "a-b-c"), ("_x_", "x"), ("é", "unnamed"), ("", "unnamed")]
        {
            assert_eq!(named(text), name);
            assert!(named(text).parse::<evenkeel_schemas::scalars::Name>().is_ok());
        }
    }
}
