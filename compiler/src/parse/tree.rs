//! The tree of a cluster file: every key and value with its place, as small as it can be, in the order of the
//! text.
//!
//! The tree is read as the cluster (`read`), judged by the schema (`schema/instance`) and asked for places:
//! nothing else is made of a large file. Mistakes of a text are not known here.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{MAX_DEPTH, OddKind};
use crate::diagnostic::Place;

/// Tables with more entries than this are looked up in by halves.
const FEW: usize = 16;

/// A [`Place`] in half the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeSpot {
    start: u32,
    end: u32,
}

impl TreeSpot {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // A source has no more than 16 MiB.
        let short = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: short(start), end: short(end) }
    }

    /// Of what is not written.
    #[cfg(test)]
    pub(crate) const NOWHERE: Self = Self { start: 0, end: 0 };

    /// From the beginning of this to the end of another.
    pub(super) const fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    pub(crate) const fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) const fn place(self) -> Place {
        self.start as usize..self.end as usize
    }
}

/// A value and where it is written.
#[derive(Debug, PartialEq)]
pub(crate) struct TreeItem<'s> {
    pub(crate) spot: TreeSpot,
    pub(crate) node: TreeNode<'s>,
}

/// A value.
#[derive(Debug, PartialEq)]
pub(crate) enum TreeNode<'s> {
    Text(Cow<'s, str>),
    Integer(i64),
    Boolean(bool),
    /// A value that TOML has and the language has not.
    Odd(OddKind),
    Table(Table<'s>),
    List(Vec<TreeItem<'s>>),
}

/// A key with its place, and its value.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry<'s> {
    pub(crate) key: Cow<'s, str>,
    pub(crate) spot: TreeSpot,
    pub(crate) item: TreeItem<'s>,
}

/// How a table came to be, which says what may be added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TableKind {
    /// In braces, or whole for another reason: nothing is added.
    #[default]
    Whole,
    /// By a header of its own, or the document itself.
    Headed,
    /// By the header of a table in it.
    Implied,
    /// By a key with a dot.
    Dotted,
}

/// A table. Its keys are different.
#[derive(Debug, Default)]
pub(crate) struct Table<'s> {
    entries: Vec<Entry<'s>>,
    /// Of a table with many entries: their indices by key.
    #[expect(
        clippy::box_collection,
        reason = "nearly all have none, and there are a hundred thousand tables"
    )]
    by_key: Option<Box<Vec<u32>>>,
    kind: TableKind,
}

/// However they came to be.
impl PartialEq for Table<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<'s> Table<'s> {
    /// One without entries.
    pub(super) const NONE: Self = Self::begin(TableKind::Whole, Vec::new());

    /// A table to which entries are added, before it is [`settled`](Self::settle).
    pub(super) const fn begin(kind: TableKind, entries: Vec<Entry<'s>>) -> Self {
        Self { entries, by_key: None, kind }
    }

    /// One that is made at once, of different keys.
    #[cfg(test)]
    pub(crate) fn whole(entries: Vec<Entry<'s>>) -> Self {
        let mut table = Self::begin(TableKind::Whole, entries);
        table.settle().expect("different keys");
        table
    }

    /// How it came to be.
    pub(super) const fn kind(&self) -> TableKind {
        self.kind
    }

    pub(super) const fn entries_mut(&mut self) -> &mut Vec<Entry<'s>> {
        &mut self.entries
    }

    /// Makes it and all below it that is not whole ready to be looked up in. None when a key is there twice.
    pub(super) fn settle(&mut self) -> Option<()> {
        let open = |node: &mut TreeNode<'s>| match node {
            TreeNode::Table(below) if below.kind != TableKind::Whole => below.settle(),
            _ => Some(()),
        };
        for entry in &mut self.entries {
            match &mut entry.item.node {
                TreeNode::List(items) if of_blocks(items) => {
                    items.iter_mut().try_for_each(|item| open(&mut item.node))?;
                }
                node => open(node)?,
            }
        }
        if self.entries.len() <= FEW {
            let earlier = |index: usize| self.entries[..index].iter();
            let mut entries = self.entries.iter().enumerate();
            let twice = entries.any(|(index, entry)| earlier(index).any(|other| other.key == entry.key));
            return (!twice).then_some(());
        }
        let key = |index: &u32| &*self.entries[*index as usize].key;
        let mut by_key: Vec<u32> = (0..u32::try_from(self.entries.len()).ok()?).collect();
        by_key.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if by_key.windows(2).any(|pair| key(&pair[0]) == key(&pair[1])) {
            return None;
        }
        self.by_key = Some(Box::new(by_key));
        Some(())
    }

    /// In the order of the text.
    pub(crate) fn entries(&self) -> &[Entry<'s>] {
        &self.entries
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'s>> {
        match &self.by_key {
            None => self.entries.iter().find(|entry| entry.key == key),
            Some(by_key) => {
                let of = |index: &u32| &self.entries[*index as usize];
                let at = by_key.binary_search_by(|index| (*of(index).key).cmp(key)).ok()?;
                Some(of(&by_key[at]))
            }
        }
    }
}

/// Whether the items of a list have headers of their own, so that more of them may follow.
pub(super) fn of_blocks(items: &[TreeItem<'_>]) -> bool {
    items
        .first()
        .is_some_and(|first| matches!(&first.node, TreeNode::Table(table) if table.kind == TableKind::Headed))
}

/// The entry of a key in a table that is being made: the last one, nearly always. Only the last entries are
/// searched; a key that stands before them is taken for new, and [`Table::settle`] finds it twice.
pub(super) fn latest<'t, 's>(entries: &'t mut [Entry<'s>], key: &str) -> Option<&'t mut Entry<'s>> {
    let far = entries.len().saturating_sub(FEW);
    entries[far..].iter_mut().rev().find(|entry| entry.key == key)
}

impl<'s> From<DeTable<'s>> for Table<'s> {
    fn from(table: DeTable<'s>) -> Self {
        table_at(1, table)
    }
}

/// `depth`: how many steps lead to its entries.
fn table_at(depth: usize, table: DeTable<'_>) -> Table<'_> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let place = key.span();
        let spot = TreeSpot::new(place.start, place.end);
        entries.push(Entry { key: key.into_inner(), spot, item: item_at(depth, value) });
    }
    let mut table = Table::begin(TableKind::Whole, entries);
    let settled = table.settle();
    debug_assert!(settled.is_some(), "the parser has told of every key that is there twice");
    table
}

fn item_at(depth: usize, value: Spanned<DeValue<'_>>) -> TreeItem<'_> {
    let place = value.span();
    let node = match value.into_inner() {
        // Nobody looks so deep, and a text can be nested thousands of times.
        DeValue::Table(_) | DeValue::Array(_) if depth > MAX_DEPTH => TreeNode::Odd(OddKind::TooDeep),
        DeValue::String(text) => TreeNode::Text(text),
        DeValue::Boolean(flag) => TreeNode::Boolean(flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => TreeNode::Integer(number),
            Err(_) => TreeNode::Odd(OddKind::HugeInteger),
        },
        DeValue::Float(_) => TreeNode::Odd(OddKind::Decimal),
        DeValue::Datetime(_) => TreeNode::Odd(OddKind::Date),
        DeValue::Table(table) => TreeNode::Table(table_at(depth + 1, table)),
        DeValue::Array(array) => {
            let mut items = Vec::with_capacity(array.len());
            for value in array {
                items.push(item_at(depth + 1, value));
            }
            TreeNode::List(items)
        }
    };
    TreeItem { spot: TreeSpot::new(place.start, place.end), node }
}
