//! HTTP_GET and SSL_GET: their `url`s, and the protocol that they speak.

use serde_json::{Map, Value, json};

use super::super::keywords::URL;
use super::super::notes::{Fate, Finding, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::expression::with_options;
use super::{Reader, shorten};
use crate::codes;

/// Status codes that keepalived knows.
const STATUS: std::ops::RangeInclusive<u16> = 100..=599;

/// Digits of an MD5 sum.
const MD5_DIGITS: usize = 32;

/// Most URLs of a check: what is more is no configuration.
const MAX_URLS: usize = 64;

/// Protocol of a check of web servers.
#[derive(Debug, Default)]
pub(super) struct Web {
    urls: Vec<Map<String, Value>>,
    /// `enable_sni`.
    names_server: bool,
    server_name: Option<String>,
    old_version: bool,
    /// The notes of each URL: that of its block, and those of what is in it.
    notes: Vec<std::ops::Range<usize>>,
}

impl Web {
    /// Whether it asks for nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }
}

impl Reader<'_> {
    /// Takes a statement of HTTP_GET or SSL_GET; whether it was one.
    pub(super) fn web(&mut self, statement: &Statement, owner: Owner, web: &mut Web) -> bool {
        match statement.keyword() {
            "url" if web.urls.len() >= MAX_URLS => {
                let message = format!("a check has more than {MAX_URLS} URLs");
                self.skip(statement, "there are too many URLs");
                let finding =
                    Finding::new(&codes::IMPORT_EXPANSION, statement.spot, message, "left out".to_owned());
                self.notes.finding(finding);
            }
            "url" => {
                let note = self.note;
                web.urls.extend(self.url(statement, owner));
                web.notes.push(note..self.notes.items.len());
            }
            "enable_sni" => {
                if let Some(on) = self.switch(statement) {
                    self.says("enable_sni");
                    web.names_server = on;
                }
            }
            "sni_name" => {
                if let Some(name) = self.word(statement) {
                    self.says("sni_name");
                    web.server_name = Some(name);
                }
            }
            "http_protocol" => match statement.value() {
                Some(version @ ("1.0" | "1.0C" | "1.0c" | "1.1")) => {
                    self.says("http_protocol");
                    web.old_version = version != "1.1";
                }
                _ => {
                    let message = "this is no value of `http_protocol`".to_owned();
                    self.bad(statement, message, "keepalived ignores the line");
                }
            },
            _ => return false,
        }
        true
    }

    /// Puts what is asked for into a check.
    pub(super) fn settle_web(&mut self, kind: &str, spot: Spot, web: Web, check: &mut Map<String, Value>) {
        let Web { mut urls, names_server, server_name, old_version, notes } = web;
        if old_version {
            check.insert("http_version".to_owned(), json!("1.0"));
        }
        if urls.len() > 1 {
            let why =
                "keepalived asks for one of them each time, and here all are asked for one after the other";
            self.web_differs(spot, "several `url`s", why);
            for range in notes {
                self.in_requests(range);
            }
        }
        if kind == "https" {
            self.settle_name(spot, &urls, names_server, server_name, check);
            self.settle_certificate(check);
        }
        match urls.as_mut_slice() {
            [one] => check.extend(std::mem::take(one)),
            _ => {
                check.insert("requests".to_owned(), json!(urls));
            }
        }
    }

    /// Says what is not quite the same about a check, unless it becomes a TCP check.
    fn web_differs(&mut self, spot: Spot, what: &str, why: &str) {
        if !self.request.checks_as_tcp {
            self.notes.say(Fate::Changed, vec![spot], what, why);
        }
    }

    /// Moves the notes of a URL that is one of several: its keys are those of a request.
    fn in_requests(&mut self, mut notes: std::ops::Range<usize>) {
        let keys = |ours: &str| ours.strip_prefix("check.").map(|key| format!("check.requests.{key}"));
        if let Some((_, item)) = notes.next().and_then(|note| self.notes.items.get_mut(note)) {
            item.ours = item.ours.take().map(|_| "check.requests".to_owned());
        }
        for (_, item) in self.notes.items.get_mut(notes).into_iter().flatten() {
            item.ours = item.ours.take().map(|ours| keys(&ours).unwrap_or(ours));
        }
    }

    /// The name that is asked for by TLS: ours is the host unless another one is said.
    fn settle_name(
        &mut self,
        spot: Spot,
        urls: &[Map<String, Value>],
        names_server: bool,
        server_name: Option<String>,
        check: &mut Map<String, Value>,
    ) {
        let of_urls = |url: &Map<String, Value>| url.get("host").or(check.get("host")).cloned();
        let first = urls.first().and_then(of_urls);
        if let Some(name) = server_name {
            check.insert("server_name".to_owned(), json!(name));
        } else if first.is_some() && !names_server {
            let why =
                "the host is asked for in TLS (SNI) as well, which keepalived does with `enable_sni` only";
            self.web_differs(spot, "no `enable_sni`", why);
        } else if names_server && urls.iter().map(of_urls).any(|host| host != first) {
            let why = "one name is asked for by TLS, that of the first `url`; keepalived takes that of each";
            self.web_differs(spot, "enable_sni", why);
        }
        // The check's own host is asked for anyway.
        let own = check.get("host").cloned();
        if let Some(name) = first.filter(|name| urls.len() > 1 && Some(name) != own.as_ref()) {
            check.entry("server_name").or_insert(name);
        }
    }

    fn url(&mut self, block: &Statement, owner: Owner) -> Option<Map<String, Value>> {
        let outer = std::mem::take(&mut self.spoken);
        let mark = self.notes.items.len();
        let mut url = Map::new();
        let mut codes: Vec<String> = Vec::new();
        let mut expression = Expression::default();
        for statement in block.inside() {
            if self.known(&URL, statement, owner).is_none() {
                continue;
            }
            let (thing, key, value) = match statement.keyword() {
                "path" => ("path", "path", self.word(statement)),
                "virtualhost" => ("virtualhost", "host", self.word(statement)),
                "digest" => {
                    if let Some(digest) = self.digest(statement)
                        && self.says_first("digest", statement)
                    {
                        url.insert("digest".to_owned(), json!(digest));
                    }
                    continue;
                }
                "status_code" => {
                    codes.extend(self.status(statement));
                    continue;
                }
                _ => {
                    self.expression_line(statement, &mut expression);
                    continue;
                }
            };
            if let Some(value) = value {
                self.says(thing);
                url.insert(key.to_owned(), Value::String(value));
            }
        }
        if !codes.is_empty() && codes != ["200-299"] {
            url.insert("status".to_owned(), json!(codes));
        }
        self.settle_expression(expression, &mut url);
        self.spoken = outer;
        if !url.contains_key("path") {
            self.missing(block.spot, "a `url` without `path`", "keepalived ignores it");
            self.leave_out(mark.saturating_sub(1), "keepalived ignores a `url` without `path`");
            return None;
        }
        Some(url)
    }

    /// The MD5 sum of a body.
    fn digest(&mut self, statement: &Statement) -> Option<String> {
        let text = self.word(statement)?;
        if text.len() == MD5_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Some(text.to_ascii_lowercase());
        }
        let message = "an MD5 sum is 32 hexadecimal digits".to_owned();
        self.bad(statement, message, "keepalived ignores the line");
        None
    }

    /// A line about the expression of a URL.
    fn expression_line(&mut self, statement: &Statement, expression: &mut Expression) {
        match statement.keyword() {
            "regex" => {
                if let Some(pattern) = self.expression(statement) {
                    self.says("regex");
                    expression.pattern = Some(pattern);
                }
            }
            "regex_no_match" => {
                expression.must_not_match = true;
                expression.notes.push(self.note);
            }
            "regex_options" => {
                let words: Vec<String> = statement.values().map(ToOwned::to_owned).collect();
                expression.notes.push(self.note);
                for word in words {
                    match OPTIONS.iter().find(|(name, _)| *name == word) {
                        Some((_, Some(flag))) if !expression.flags.contains(flag) => {
                            expression.flags.push(*flag)
                        }
                        Some((_, Some(_))) => {}
                        Some((_, None)) if FREE.contains(&word.as_str()) => {}
                        Some((_, None)) => {
                            let why =
                                format!("`{word}` has no counterpart: see that the expression does without");
                            self.instead(Fate::Changed, why);
                        }
                        None => {
                            let why =
                                format!("keepalived knows no option `{}` and ignores it", shorten(&word));
                            self.instead(Fate::Changed, why);
                        }
                    }
                }
            }
            "regex_min_offset" | "regex_max_offset" | "regex_stack" => expression.notes.push(self.note),
            _ => {}
        }
    }

    fn settle_expression(&mut self, expression: Expression, url: &mut Map<String, Value>) {
        let Expression { pattern, flags, must_not_match, notes } = expression;
        let Some(pattern) = pattern else {
            for note in notes {
                self.notes.without_effect(note, "there is no `regex`");
            }
            return;
        };
        let key = if must_not_match { "body_not" } else { "body" };
        url.insert(key.to_owned(), Value::String(with_options(&pattern, &flags)));
    }

    /// Status codes, which add up.
    fn status(&mut self, statement: &Statement) -> Vec<String> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| STATUS.contains(code));
        let mut codes = Vec::new();
        for text in statement.values() {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            match (code(first), code(last)) {
                (Some(first), Some(last)) if first <= last => codes.push(text.to_owned()),
                _ => {
                    let message = format!(
                        "a status is a number from 100 to 599 or a range such as 200-299, not `{}`",
                        shorten(text)
                    );
                    self.bad_word(statement, Some(text), message, "keepalived drops the word");
                }
            }
        }
        codes
    }
}

/// Settings of a URL's expression.
#[derive(Debug, Default)]
struct Expression {
    pattern: Option<String>,
    /// Flags of the daemon's library.
    flags: Vec<char>,
    must_not_match: bool,
    /// Lines that have no effect without a pattern.
    notes: Vec<usize>,
}

/// Options of PCRE2 that keepalived knows, each with the flag that says the same. `$` stands for the one of
/// which the daemon's library makes no option.
const OPTIONS: [(&str, Option<char>); 24] = [
    ("caseless", Some('i')),
    ("multiline", Some('m')),
    ("dotall", Some('s')),
    ("extended", Some('x')),
    ("ungreedy", Some('U')),
    ("dollar_endonly", Some('$')),
    ("allow_empty_class", None),
    ("alt_bsux", None),
    ("auto_callout", None),
    ("dupnames", None),
    ("firstline", None),
    ("match_unset_backref", None),
    ("never_ucp", None),
    ("never_utf", None),
    ("no_auto_capture", None),
    ("no_auto_possess", None),
    ("no_dotstar_anchor", None),
    ("no_start_optimize", None),
    ("ucp", None),
    ("utf", None),
    ("never_backslash_c", None),
    ("alt_circumflex", None),
    ("alt_verbnames", None),
    ("use_offset_limit", None),
];

/// Options that change nothing about what matches, of expressions that both libraries read alike.
const FREE: [&str; 12] = [
    "auto_callout",
    "dupnames",
    "match_unset_backref",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "never_backslash_c",
    "alt_verbnames",
    "use_offset_limit",
];
