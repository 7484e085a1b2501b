//! A line of a daemon's log as the event that it tells of, and what tests wait for. The sentences are not
//! here, but in `event`.

use std::fmt;
use std::time::Instant;

use crate::event::{LogEvent, SENTENCES, Sentence};

/// The words before the sentence in a line of evenkeeld.
const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// A line that a daemon printed.
#[derive(Clone)]
pub struct Line {
    /// When it came, on the monotonic clock.
    pub at: Instant,
    /// All of it, as it was printed.
    pub text: String,
    event: Option<(LogEvent, Vec<(&'static str, String)>)>,
}

/// Only the text, so that a list of lines reads like the log.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Line {
    /// Reads a line that came at that time.
    pub(crate) fn read(at: Instant, text: &str) -> Self {
        let told = sentence(text);
        let event = SENTENCES.iter().find_map(|row| Some((row.event, fields(row, told)?)));
        Self { at, text: text.to_owned(), event }
    }

    /// The line without time and level.
    pub fn sentence(&self) -> &str {
        sentence(&self.text)
    }

    /// The event that it tells of; `None` when it is in no table.
    pub fn event(&self) -> Option<LogEvent> {
        self.event.as_ref().map(|(event, _)| *event)
    }

    /// Whether it tells of this.
    pub fn is(&self, wanted: impl Into<Wanted>) -> bool {
        self.tells(&wanted.into())
    }

    pub(crate) fn tells(&self, wanted: &Wanted) -> bool {
        self.event() == Some(wanted.event) && wanted.fields.iter().all(|field| self.has(field))
    }

    /// Whether a router enters a state.
    pub fn enters_a_state(&self) -> bool {
        matches!(self.event(), Some(LogEvent::Master | LogEvent::Backup | LogEvent::Fault))
    }

    /// A field of its event; panics when the line has none of that name.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no field {name} in `{}`", self.text))
    }

    fn find(&self, name: &str) -> Option<&str> {
        let (_, fields) = self.event.as_ref()?;
        fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, (name, matching): &(&'static str, Matching)) -> bool {
        self.find(name).is_some_and(|value| match matching {
            Matching::Is(wanted) => value == wanted,
            Matching::Contains(part) => value.contains(part.as_str()),
        })
    }
}

#[derive(Clone, Debug)]
enum Matching {
    Is(String),
    Contains(String),
}

/// An event that a test waits for or counts, and what its fields must be.
#[derive(Clone, Debug)]
pub struct Wanted {
    event: LogEvent,
    fields: Vec<(&'static str, Matching)>,
}

impl From<LogEvent> for Wanted {
    #[track_caller]
    fn from(event: LogEvent) -> Self {
        assert!(SENTENCES.iter().any(|row| row.event == event), "{event:?} has no sentence");
        Self { event, fields: Vec::new() }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.event)?;
        for (name, matching) in &self.fields {
            match matching {
                Matching::Is(wanted) => write!(f, ", {name} = `{wanted}`")?,
                Matching::Contains(part) => write!(f, ", {name} with `{part}`")?,
            }
        }
        Ok(())
    }
}

impl Wanted {
    /// Only of a router with that name.
    #[must_use]
    #[track_caller]
    pub fn of(self, router: &str) -> Self {
        self.and("router", Matching::Is(router.to_owned()))
    }

    /// Only when a field contains that.
    #[must_use]
    #[track_caller]
    pub fn with(self, field: &'static str, part: impl fmt::Display) -> Self {
        self.and(field, Matching::Contains(part.to_string()))
    }

    #[track_caller]
    fn and(mut self, field: &'static str, matching: Matching) -> Self {
        let mut rows = SENTENCES.iter().filter(|row| row.event == self.event);
        assert!(rows.any(|row| has_field(row, field)), "{:?} has no field {field}", self.event);
        self.fields.push((field, matching));
        self
    }
}

impl LogEvent {
    /// Only of a router with that name.
    #[must_use]
    #[track_caller]
    pub fn of(self, router: &str) -> Wanted {
        Wanted::from(self).of(router)
    }

    /// Only when a field contains that.
    #[must_use]
    #[track_caller]
    pub fn with(self, field: &'static str, part: impl fmt::Display) -> Wanted {
        Wanted::from(self).with(field, part)
    }
}

fn has_field(row: &Sentence, field: &str) -> bool {
    let hole = format!("{{{field}}}");
    row.fields.contains(&field)
        || row.words.contains(&hole)
        || row.before.iter().any(|words| words.contains(&hole))
}

/// A line without what evenkeeld (`2026-01-02T03:04:05.678901Z  INFO …`) or keepalived
/// (`Fri Jan  2 03:04:05 2026: …`) writes before each.
fn sentence(text: &str) -> &str {
    if let Some((time, rest)) = text.split_once(' ')
        && time.ends_with('Z')
        && let Some((level, rest)) = rest.trim_start().split_once(' ')
        && LEVELS.contains(&level)
    {
        return rest;
    }
    match text.split_once(": ") {
        Some((head, rest)) if head.rsplit(' ').next().is_some_and(is_year) => rest,
        _ => text,
    }
}

fn is_year(word: &str) -> bool {
    word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Texts in the places of a sentence's fields; `None` when it is another sentence.
fn fields(row: &Sentence, text: &str) -> Option<Vec<(&'static str, String)>> {
    let mut found = Vec::new();
    let mut inner = text;
    for before in row.before {
        inner = holes(before.strip_suffix("{}")?, inner, &mut found)?;
    }
    holes(row.words, inner, &mut found)?;
    for name in row.fields {
        let (_, value) = text.split_once(&format!(" {name}="))?;
        found.push((*name, value_of(value)));
    }
    Some(found)
}

/// Reads text by words with fields in them, and returns what is left.
fn holes<'t>(words: &'static str, text: &'t str, found: &mut Vec<(&'static str, String)>) -> Option<&'t str> {
    let mut pieces = words.split('{');
    let mut text = text.strip_prefix(pieces.next().unwrap_or_default())?;
    for piece in pieces {
        let (name, literal) = piece.split_once('}').expect("a field ends");
        // A field at the end takes all that is left.
        let end = if literal.is_empty() { text.len() } else { text.find(literal)? };
        found.push((name, text[..end].to_owned()));
        text = &text[end + literal.len()..];
    }
    Some(text)
}

/// The value of a field, at the beginning of a text: in quotes, or up to the next field.
fn value_of(text: &str) -> String {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split('"').next().unwrap_or_default().to_owned();
    }
    let mut value = String::new();
    for word in text.split(' ') {
        let is_field = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        if is_field && !value.is_empty() {
            break;
        }
        value += if value.is_empty() { "" } else { " " };
        value += word;
    }
    value
}

#[cfg(test)]
mod tests;
