//! TOML text -> a tree that knows its places, and the plain value of it.
//!
//! Syntax errors and duplicate keys are reported here; which keys exist is not known here.

use evenkeel_schemas::scalars::Name;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Place};

mod syntax;

/// Deepest nesting that is looked into; the language needs six levels.
const MAX_DEPTH: usize = 32;

/// One step of a path into the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a String> for Step<'a> {
    fn from(key: &'a String) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a Name> for Step<'a> {
    fn from(key: &'a Name) -> Self {
        Self::Key(key.as_str())
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path: `at!["hosts", name, "address"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { &[$($crate::parse::Step::from($step)),*][..] };
}
pub(crate) use at;

/// A path that outlives the document it was found in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnedStep {
    Key(String),
    Index(usize),
}

impl OwnedStep {
    pub(crate) fn borrow(&self) -> Step<'_> {
        match self {
            Self::Key(key) => Step::Key(key),
            Self::Index(index) => Step::Index(*index),
        }
    }
}

/// The parsed file with the place of every key and value.
#[derive(Debug)]
pub(crate) struct Document<'s> {
    root: DeTable<'s>,
    renamed: Vec<Renamed>,
}

/// A misspelled key that is read as the right one.
#[derive(Debug)]
struct Renamed {
    table: Vec<OwnedStep>,
    written: String,
    right: String,
}

/// A value that TOML has and the language has not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Odd {
    pub(crate) path: Vec<OwnedStep>,
    pub(crate) kind: OddKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OddKind {
    Decimal,
    Date,
    HugeInteger,
    TooDeep,
}

/// What [`parse`] gives.
#[derive(Debug)]
pub(crate) struct Parsed<'s> {
    pub(crate) document: Document<'s>,
    /// The same without places. Odd values are null in it.
    pub(crate) value: Value,
    pub(crate) odd: Vec<Odd>,
}

/// Parses the whole text.
pub(crate) fn parse(text: &str) -> Result<Parsed<'_>, Vec<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::diagnostics(text, &errors));
    }
    let document = Document { root: root.into_inner(), renamed: Vec::new() };
    let mut converter = Converter::default();
    let value = converter.table(&document.root);
    let odd = converter.odd;
    Ok(Parsed { document, value, odd })
}

#[derive(Default)]
struct Converter<'a> {
    path: Vec<Step<'a>>,
    odd: Vec<Odd>,
}

impl<'a> Converter<'a> {
    fn table(&mut self, table: &'a DeTable<'_>) -> Value {
        let mut map = Map::with_capacity(table.len());
        for (key, value) in table {
            let key: &str = key.get_ref();
            self.path.push(Step::Key(key));
            map.insert(key.to_owned(), self.value(value.get_ref()));
            self.path.pop();
        }
        Value::Object(map)
    }

    fn value(&mut self, value: &'a DeValue<'_>) -> Value {
        if self.path.len() > MAX_DEPTH {
            return self.odd(OddKind::TooDeep);
        }
        match value {
            DeValue::String(text) => Value::String(text.as_ref().to_owned()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Number(Number::from(number)),
                Err(_) => self.odd(OddKind::HugeInteger),
            },
            DeValue::Float(_) => self.odd(OddKind::Decimal),
            DeValue::Datetime(_) => self.odd(OddKind::Date),
            DeValue::Table(table) => self.table(table),
            DeValue::Array(array) => {
                let mut items = Vec::with_capacity(array.len());
                for (index, item) in array.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    items.push(self.value(item.get_ref()));
                    self.path.pop();
                }
                Value::Array(items)
            }
        }
    }

    fn odd(&mut self, kind: OddKind) -> Value {
        let owned = |step: &Step<'_>| match step {
            Step::Key(key) => OwnedStep::Key((*key).to_owned()),
            Step::Index(index) => OwnedStep::Index(*index),
        };
        self.odd.push(Odd { path: self.path.iter().map(owned).collect(), kind });
        Value::Null
    }
}

/// The places of one entry.
#[derive(Debug, Clone)]
struct Entry {
    key: Option<Place>,
    value: Place,
}

impl Document<'_> {
    /// The deepest entry that `path` leads to, and whether that is the whole path.
    fn find(&self, path: &[Step<'_>]) -> (Entry, bool) {
        let mut entry = Entry { key: None, value: 0..0 };
        let mut at: Option<&DeValue<'_>> = None;
        for (depth, step) in path.iter().enumerate() {
            let keyed = |table, key| keyed(table, key).or_else(|| keyed(table, self.written(path, depth)?));
            let next: Option<(Option<Place>, &Spanned<DeValue<'_>>)> = match (step, at) {
                (Step::Key(key), None) => keyed(&self.root, key),
                (Step::Key(key), Some(DeValue::Table(table))) => keyed(table, key),
                (Step::Index(index), Some(DeValue::Array(array))) => {
                    array.get(*index).map(|value| (None, value))
                }
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some((key, value)) = next else {
                return (entry, false);
            };
            entry = Entry { key, value: value.span() };
            at = Some(value.get_ref());
        }
        (entry, true)
    }

    /// How the key at `path[depth]` is written, when it is written wrong.
    fn written(&self, path: &[Step<'_>], depth: usize) -> Option<&str> {
        let here = |renamed: &&Renamed| {
            path[depth] == Step::Key(&renamed.right)
                && renamed.table.len() == depth
                && renamed.table.iter().zip(path).all(|(a, b)| a.borrow() == *b)
        };
        self.renamed.iter().find(here).map(|renamed| renamed.written.as_str())
    }

    /// From now on finds the key `written` in `table` by the name `right` too.
    pub(crate) fn rename(&mut self, table: &[OwnedStep], written: &str, right: &str) {
        let (written, right) = (written.to_owned(), right.to_owned());
        self.renamed.push(Renamed { table: table.to_vec(), written, right });
    }

    /// The place of the value at `path`; when it is not written, of what it would be written in.
    pub(crate) fn value(&self, path: &[Step<'_>]) -> Place {
        let (entry, whole) = self.find(path);
        if whole { entry.value } else { entry.key.unwrap_or(entry.value) }
    }

    /// The place of the key at `path`; of the value when it is an item of a list.
    pub(crate) fn key(&self, path: &[Step<'_>]) -> Place {
        let (entry, _) = self.find(path);
        entry.key.unwrap_or(entry.value)
    }
}

fn keyed<'t, 's>(table: &'t DeTable<'s>, key: &str) -> Option<(Option<Place>, &'t Spanned<DeValue<'s>>)> {
    table.get_key_value(key).map(|(key, value)| (Some(key.span()), value))
}
