//! TOML text -> a tree that knows its places, and the plain value of it. Of several files one tree.
//!
//! Syntax errors and duplicate keys are reported here; which keys exist is not known here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, MAX_ERRORS, Place};
use crate::path::{OwnedStep, Step};
use crate::source::SourceFile;

pub(crate) mod bounded;
pub(crate) mod extent;
mod merge;
pub(crate) mod read;
mod sections;
mod syntax;
pub(crate) mod tree;

use tree::{Entry, Table, TreeItem, TreeNode};

pub(crate) use merge::{Choice, ChoiceAt};

/// Deepest nesting that is looked into; the language needs six levels.
const MAX_DEPTH: usize = 32;

/// The parsed file with the place of every key and value.
#[derive(Debug)]
pub(crate) struct Document<'s> {
    /// A table.
    root: TreeNode<'s>,
    /// Paths under which values with a misspelled key are written, by the path at which they are read.
    written: BTreeMap<Vec<OwnedStep>, Vec<OwnedStep>>,
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

/// Parses all files and makes one tree of them: each layer of those that belong together, the
/// layers laid over one another. `choice` answers which tables are a choice among several shapes.
///
/// # Errors
/// What is wrong, in the order of the text, and whether there is more of it.
pub(crate) fn parse(source: &SourceFile, choice: ChoiceAt) -> Result<Document<'_>, (Vec<Diagnostic>, bool)> {
    let mut union = merge::Union { text: source.text(), diagnostics: Vec::new() };
    let mut layers: Vec<(usize, DeTable<'_>)> = Vec::new();
    let texts = source.pieces().iter().map(|piece| (source.text_of(piece), piece.range.start));
    if let Some(excess) = extent::excess(texts) {
        return Err((vec![excess], false));
    }
    if let [piece] = source.pieces()
        && let Some(root) = sections::read(source.text_of(piece), piece.range.start)
    {
        return Ok(Document::new(root));
    }
    for piece in source.pieces() {
        let text = source.text_of(piece);
        if union.diagnostics.len() > MAX_ERRORS {
            return Err((union.diagnostics, true));
        }
        let bounded::Read { root, errors, stopped } = bounded::read(text);
        if !errors.is_empty() {
            let (found, more) = syntax::diagnostics(text, &errors);
            let found = found.into_iter().map(|diagnostic| diagnostic.shifted(piece.range.start));
            union.diagnostics.extend(found);
            if stopped || more {
                return Err((union.diagnostics, true));
            }
            continue;
        }
        let root = merge::shift(root, piece.range.start);
        match layers.last_mut() {
            Some((layer, base)) if *layer == piece.layer => union.add(base, root),
            Some(_) | None => layers.push((piece.layer, root)),
        }
    }
    if !union.diagnostics.is_empty() {
        return Err((union.diagnostics, false));
    }
    let mut layers = layers.into_iter().map(|(_, root)| root);
    let mut root = layers.next().unwrap_or_default();
    layers.for_each(|layer| merge::lay_over(&mut root, layer, choice));
    Ok(Document::new(Table::from(root)))
}

/// A tree without places, and what is odd in it.
#[derive(Default)]
struct Converter<'a> {
    path: Vec<Step<'a>>,
    odd: Vec<Odd>,
}

impl<'a> Converter<'a> {
    fn table(&mut self, table: &'a Table<'_>) -> Value {
        let mut map = Map::with_capacity(table.entries().len());
        for Entry { key, item, .. } in table.entries() {
            self.path.push(Step::Key(key));
            map.insert(key.as_ref().to_owned(), self.value(&item.node));
            self.path.pop();
        }
        Value::Object(map)
    }

    fn value(&mut self, node: &'a TreeNode<'_>) -> Value {
        if self.path.len() > MAX_DEPTH {
            return self.odd(OddKind::TooDeep);
        }
        match node {
            TreeNode::Text(text) => Value::String(text.as_ref().to_owned()),
            TreeNode::Boolean(flag) => Value::Bool(*flag),
            TreeNode::Integer(number) => Value::from(*number),
            TreeNode::Odd(kind) => self.odd(*kind),
            TreeNode::Table(table) => self.table(table),
            TreeNode::List(list) => {
                let mut items = Vec::with_capacity(list.len());
                for (index, item) in list.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    items.push(self.value(&item.node));
                    self.path.pop();
                }
                Value::Array(items)
            }
        }
    }

    fn odd(&mut self, kind: OddKind) -> Value {
        self.odd.push(Odd { path: self.path.iter().map(OwnedStep::from).collect(), kind });
        Value::Null
    }
}

/// The places of one entry.
#[derive(Debug, Clone)]
struct EntryPlace {
    key: Option<Place>,
    value: Place,
}

impl<'s> Document<'s> {
    const fn new(root: Table<'s>) -> Self {
        Self { root: TreeNode::Table(root), written: BTreeMap::new() }
    }

    /// The same without places, and what is odd in it, which is null there.
    pub(crate) fn value_of_all(&self) -> (Value, Vec<Odd>) {
        let mut converter = Converter::default();
        let value = converter.table(self.root());
        (value, converter.odd)
    }

    /// The deepest entry that `path` leads to, and its value if that is the whole path.
    fn find(&self, path: &[Step<'_>]) -> (EntryPlace, Option<&TreeNode<'s>>) {
        let mut entry = EntryPlace { key: None, value: 0..0 };
        let mut at: Option<&TreeNode<'s>> = None;
        for (depth, step) in path.iter().enumerate() {
            let next: Option<(Option<Place>, &TreeItem<'s>)> = match (step, at) {
                (Step::Key(key), None) => keyed(self.root(), key),
                (Step::Key(key), Some(TreeNode::Table(table))) => keyed(table, key),
                (Step::Index(index), Some(TreeNode::List(items))) => {
                    items.get(*index).map(|item| (None, item))
                }
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            if let Some((key, item)) = next {
                entry = EntryPlace { key, value: item.spot.place() };
                at = Some(&item.node);
            } else if let Some((elsewhere, value)) = self.find_written(&path[..=depth]) {
                entry = elsewhere;
                at = Some(value);
            } else {
                return (entry, None);
            }
        }
        (entry, at)
    }

    /// The entry at `path`, when it is written elsewhere.
    fn find_written(&self, path: &[Step<'_>]) -> Option<(EntryPlace, &TreeNode<'s>)> {
        if self.written.is_empty() {
            return None;
        }
        let path: Vec<OwnedStep> = path.iter().map(OwnedStep::from).collect();
        let written: Vec<Step<'_>> = self.written.get(&path)?.iter().map(OwnedStep::borrow).collect();
        let (entry, value) = self.find(&written);
        Some((entry, value?))
    }

    /// The whole tree as it is written.
    pub(crate) fn root(&self) -> &Table<'s> {
        match &self.root {
            TreeNode::Table(root) => root,
            _ => const { &Table::NONE },
        }
    }

    /// The same as a value.
    pub(crate) const fn node(&self) -> &TreeNode<'s> {
        &self.root
    }

    /// From now on finds what is written at `written` at `right`.
    pub(crate) fn rename(&mut self, written: Vec<OwnedStep>, right: Vec<OwnedStep>) {
        self.written.insert(right, written);
    }

    /// Whether the key of the whole cluster is written elsewhere.
    pub(crate) fn is_renamed(&self, key: &str) -> bool {
        self.written.contains_key([OwnedStep::Key(key.to_owned())].as_slice())
    }

    /// The place of the value at `path`; when it is not written, of what it would be written in.
    pub(crate) fn value(&self, path: &[Step<'_>]) -> Place {
        let (entry, value) = self.find(path);
        if path.is_empty() || value.is_some() { entry.value } else { entry.key.unwrap_or(entry.value) }
    }

    /// The place of the key at `path`; of the value when it is an item of a list.
    pub(crate) fn key(&self, path: &[Step<'_>]) -> Place {
        let (entry, _) = self.find(path);
        entry.key.unwrap_or(entry.value)
    }
}

fn keyed<'t, 's>(table: &'t Table<'s>, key: &str) -> Option<(Option<Place>, &'t TreeItem<'s>)> {
    table.get(key).map(|entry| (Some(entry.spot.place()), &entry.item))
}
