//! Where everything in a cluster file is written, small enough to be kept while plans are compared: the tree
//! that the parser makes takes several times as much, and to parse a file once more takes a third of
//! compiling it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use evenkeel_schemas::change::Origin;

use crate::parse::Document;
use crate::parse::tree::{Entry, Table, TreeNode};
use crate::source::{Lines, SourceFile};

/// The lines of a cluster's files.
#[derive(Debug)]
pub struct Origins {
    /// Names of the files.
    files: Vec<String>,
    root: PlaceNode,
}

/// A line of a file.
#[derive(Debug, Clone, Copy)]
struct FileLine {
    /// Number of the file.
    file: u32,
    /// From 1.
    line: u32,
}

#[derive(Debug)]
struct PlacedKey {
    key: Arc<str>,
    spot: FileLine,
    node: PlaceNode,
}

#[derive(Debug)]
enum PlaceNode {
    /// A value in which nobody looks anything up.
    Value,
    /// A text, by which items of lists are found.
    Text(Arc<str>),
    /// By key.
    Table(Box<[PlacedKey]>),
    List(Box<[(FileLine, PlaceNode)]>),
}

impl Origins {
    pub(crate) fn new(source: &SourceFile, document: &Document<'_>) -> Self {
        let pieces = source.pieces();
        let names = pieces.iter().map(|piece| piece.name.clone());
        let files = names.chain([source.name().to_owned()]).collect();
        let mut maker = PlaceMaker {
            source,
            lines: Lines::of(source),
            texts: BTreeSet::new(),
            last: (0..0, FileLine { file: 0, line: 0 }),
        };
        Self { files, root: maker.table(document.root()) }
    }

    /// The beginning of a way into the files.
    pub(super) const fn walk(&self) -> PlaceWalk<'_> {
        PlaceWalk { origins: self, node: &self.root, spot: None }
    }

    fn origin(&self, spot: FileLine) -> Option<Origin> {
        let file = self.files.get(usize::try_from(spot.file).ok()?)?.clone();
        Some(Origin { file, line: u64::from(spot.line) })
    }
}

/// A place that is reached step by step.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaceWalk<'o> {
    origins: &'o Origins,
    node: &'o PlaceNode,
    spot: Option<FileLine>,
}

impl PlaceWalk<'_> {
    /// The value of `key` here; none when this is no table, or has no such key.
    pub(super) fn key(self, key: &str) -> Option<Self> {
        let PlaceNode::Table(entries) = self.node else { return None };
        let place = entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        let PlacedKey { spot, node, .. } = &entries[place];
        Some(Self { node, spot: Some(*spot), ..self })
    }

    /// The first item here that is a table with `text` at `key`.
    pub(super) fn item_with(self, key: &str, text: &str) -> Option<Self> {
        let PlaceNode::List(items) = self.node else { return None };
        let (spot, node) = items.iter().find(|(_, item)| match item {
            PlaceNode::Table(entries) => entries.iter().any(|entry| {
                matches!(&entry.node, PlaceNode::Text(found) if &**found == text) && &*entry.key == key
            }),
            PlaceNode::Value | PlaceNode::Text(_) | PlaceNode::List(_) => false,
        })?;
        Some(Self { node, spot: Some(*spot), ..self })
    }

    /// The line of the last step; none when there was no step.
    pub(super) fn origin(self) -> Option<Origin> {
        self.origins.origin(self.spot?)
    }
}

struct PlaceMaker<'s> {
    source: &'s SourceFile,
    lines: Lines<'s>,
    /// Most keys and names are there a thousand times.
    texts: BTreeSet<Arc<str>>,
    /// The last line that was looked up, with its range: real servers stand many on a line.
    last: (Range<usize>, FileLine),
}

impl PlaceMaker<'_> {
    fn table(&mut self, table: &Table<'_>) -> PlaceNode {
        let mut entries = Vec::with_capacity(table.entries().len());
        for Entry { key, spot, item } in table.entries() {
            let spot = self.spot(spot.start());
            entries.push(PlacedKey { key: self.text(key), spot, node: self.node(&item.node) });
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        PlaceNode::Table(entries.into_boxed_slice())
    }

    fn node(&mut self, node: &TreeNode<'_>) -> PlaceNode {
        match node {
            TreeNode::Table(table) => self.table(table),
            TreeNode::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push((self.spot(item.spot.start()), self.node(&item.node)));
                }
                PlaceNode::List(list.into_boxed_slice())
            }
            TreeNode::Text(text) => PlaceNode::Text(self.text(text)),
            TreeNode::Integer(_) | TreeNode::Boolean(_) | TreeNode::Odd(_) => PlaceNode::Value,
        }
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn spot(&mut self, at: usize) -> FileLine {
        if self.last.0.contains(&at) {
            return self.last.1;
        }
        let pieces = self.source.pieces();
        // As `SourceFile::piece_at` does. Where there are no pieces, the first name is the file's own.
        let file = pieces.partition_point(|piece| piece.range.start <= at).saturating_sub(1);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (start, line) = self.lines.line(at);
        let line = FileLine { file: number(file), line: number(line) };
        let begin = pieces.get(file).map_or(0, |piece| piece.range.start);
        self.last = (start.max(begin)..self.lines.next(at), line);
        line
    }
}
