//! Text -> tree, for texts that are right: all of them nearly always, so this is the way that is quick.
//!
//! A text is cut where a line begins with a bracket, the pieces are taken apart on all processors, and their
//! sections (a header and the keys below it) are put together in the order of the text. Grammar and values
//! are the parser's own; this file only knows to which table a key belongs. A text that is wrong, or right by
//! a rule that is not here, gives no tree: then the whole text is read again by the parser that can name the
//! mistake (`bounded`).

use std::borrow::Cow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use super::bounded::MAX_DEPTH;
use super::tree::{Entry, Table, TableKind, TreeItem, TreeNode, TreeSpot, latest, of_blocks};
use crate::parallel::in_parallel;

/// Most words of a key, together with those of the tables in braces around it. The language needs six levels.
const MAX_WORDS: usize = 32;

/// Length of a piece in bytes, about.
const PIECE: usize = 256 * 1024;

/// The tree of a text that stands at `base` in that of the source. None when another must read it.
pub(super) fn read(text: &str, base: usize) -> Option<Table<'_>> {
    read_pieces(&cut(text, PIECE), base)
}

fn read_pieces<'s>(pieces: &[(usize, &'s str)], base: usize) -> Option<Table<'s>> {
    let mut root: Option<Table<'_>> = None;
    for piece in in_parallel(pieces, |(at, piece)| sections(piece, base + at)) {
        let Sections { before, sections } = piece?;
        match &mut root {
            // A further piece begins with a header.
            Some(_) => before.is_empty().then_some(())?,
            None => root = Some(Table::begin(TableKind::Headed, before)),
        }
        let root = root.as_mut()?;
        for section in sections {
            add(root, section)?;
        }
    }
    let mut root = root?;
    root.settle()?;
    Some(root)
}

/// Pieces of about `length` bytes with their offsets, cut where a right text can be cut: one that is cut
/// within a text or a list is wrong in two pieces.
fn cut(text: &str, length: usize) -> Vec<(usize, &str)> {
    let mut pieces = Vec::with_capacity(text.len() / length + 1);
    let mut start = 0;
    loop {
        let from = text.ceil_char_boundary(start + length);
        let end = text[from..].find("\n[").map_or(text.len(), |newline| from + newline + 1);
        pieces.push((start, &text[start..end]));
        if end == text.len() {
            return pieces;
        }
        start = end;
    }
}

/// Content of a piece.
struct Sections<'s> {
    /// Entries before the first header.
    before: Vec<Entry<'s>>,
    sections: Vec<HeadedSection<'s>>,
}

/// A header with the keys below it.
struct HeadedSection<'s> {
    /// The words of the header; at least one.
    words: Vec<KeyWord<'s>>,
    /// The header with its brackets.
    spot: TreeSpot,
    /// Whether it is one of several: `[[…]]`.
    block: bool,
    table: Table<'s>,
}

struct KeyWord<'s> {
    text: Cow<'s, str>,
    spot: TreeSpot,
}

/// Adds a section to the document.
fn add<'s>(root: &mut Table<'s>, section: HeadedSection<'s>) -> Option<()> {
    let HeadedSection { mut words, spot, block, table } = section;
    let last = words.pop()?;
    let mut parent = root;
    for word in words {
        parent = below(parent.entries_mut(), 0, word, TableKind::Implied)?;
    }
    let entries = parent.entries_mut();
    let node = TreeNode::Table(table);
    match latest(entries, &last.text) {
        None if block => {
            let item = TreeItem { spot, node: TreeNode::List(vec![TreeItem { spot, node }]) };
            entries.push(Entry { key: last.text, spot: last.spot, item });
        }
        None => entries.push(Entry { key: last.text, spot: last.spot, item: TreeItem { spot, node } }),
        Some(Entry { item: TreeItem { node: TreeNode::List(items), .. }, .. })
            if block && of_blocks(items) =>
        {
            items.push(TreeItem { spot, node });
        }
        Some(_) => return None,
    }
    Some(())
}

/// The table at `key` among the entries from `from` on, which is made where there is none.
fn below<'t, 's>(
    entries: &'t mut Vec<Entry<'s>>,
    from: usize,
    key: KeyWord<'s>,
    kind: TableKind,
) -> Option<&'t mut Table<'s>> {
    if latest(&mut entries[from..], &key.text).is_none() {
        let node = TreeNode::Table(Table::begin(kind, Vec::new()));
        let item = TreeItem { spot: key.spot, node };
        entries.push(Entry { key: key.text.clone(), spot: key.spot, item });
    }
    let entry = latest(&mut entries[from..], &key.text)?;
    match &mut entry.item.node {
        TreeNode::Table(table)
            if table.kind() == kind || kind == TableKind::Implied && table.kind() == TableKind::Headed =>
        {
            Some(table)
        }
        _ => None,
    }
}

fn sections(piece: &str, base: usize) -> Option<Sections<'_>> {
    let source = Source::new(piece);
    let tokens = source.lex().into_vec();
    let mut maker = Maker::new(piece, base);
    let mut wrong = false;
    let mut note = |_: ParseError| wrong = true;
    let mut spaces = ValidateWhitespace::new(&mut maker, source);
    let mut receiver = RecursionGuard::new(&mut spaces, MAX_DEPTH);
    parse_document(&tokens, &mut receiver, &mut note);
    maker.end_section();
    (!wrong && !maker.wrong).then_some(maker.done)
}

/// Takes the events of the parser.
struct Maker<'s> {
    text: &'s str,
    base: usize,
    done: Sections<'s>,
    /// The header of the section that is being read.
    header: Option<Header<'s>>,
    /// Words of keys whose values are being read, those of the outer ones first.
    words: Vec<KeyWord<'s>>,
    /// Entries and items of tables and lists that are open, those of the outer ones first.
    entries: Vec<Entry<'s>>,
    items: Vec<TreeItem<'s>>,
    open: Vec<Open>,
    /// Whether another must read it.
    wrong: bool,
}

struct Header<'s> {
    words: Vec<KeyWord<'s>>,
    spot: TreeSpot,
    block: bool,
}

/// A table in braces or a list in brackets: where it begins, and how much there was of everything.
struct Open {
    start: usize,
    kind: OpenKind,
    words: usize,
    entries: usize,
    items: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenKind {
    Table,
    List,
}

impl<'s> Maker<'s> {
    const fn new(text: &'s str, base: usize) -> Self {
        Self {
            text,
            base,
            done: Sections { before: Vec::new(), sections: Vec::new() },
            header: None,
            words: Vec::new(),
            entries: Vec::new(),
            items: Vec::new(),
            open: Vec::new(),
            wrong: false,
        }
    }

    fn spot(&self, span: Span) -> TreeSpot {
        TreeSpot::new(self.base + span.start(), self.base + span.end())
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'s> {
        Raw::new_unchecked(self.text.get(span.start()..span.end()).unwrap_or_default(), encoding, span)
    }

    fn end_section(&mut self) {
        // Of a text that is wrong anything may be left over.
        self.wrong |= !self.open.is_empty() || !self.words.is_empty();
        self.open.clear();
        self.words.clear();
        self.items.clear();
        let entries = self.entries.drain(..).collect();
        match self.header.take() {
            None => self.done.before = entries,
            Some(Header { words, spot, block }) => {
                let table = Table::begin(TableKind::Headed, entries);
                self.done.sections.push(HeadedSection { words, spot, block, table });
            }
        }
    }

    fn begin_section(&mut self, span: Span, block: bool) {
        self.end_section();
        self.header = Some(Header { words: Vec::new(), spot: self.spot(span), block });
    }

    fn end_header(&mut self, span: Span) {
        let end = self.spot(span);
        match &mut self.header {
            Some(header) if !self.words.is_empty() => {
                header.words = self.words.drain(..).collect();
                header.spot = header.spot.to(end);
            }
            _ => self.wrong = true,
        }
    }

    fn begin(&mut self, span: Span, kind: OpenKind) {
        let (words, entries, items) = (self.words.len(), self.entries.len(), self.items.len());
        self.open.push(Open { start: span.start(), kind, words, entries, items });
    }

    fn end(&mut self, span: Span, kind: OpenKind) {
        let open = match self.open.pop() {
            Some(open) if open.kind == kind && open.words == self.words.len() => open,
            _ => return self.wrong = true,
        };
        let node = match kind {
            OpenKind::Table => {
                let mut table = Table::begin(TableKind::Whole, self.entries.drain(open.entries..).collect());
                self.wrong |= table.settle().is_none();
                TreeNode::Table(table)
            }
            OpenKind::List => TreeNode::List(self.items.drain(open.items..).collect()),
        };
        let spot = TreeSpot::new(self.base + open.start, self.base + span.end());
        self.value(TreeItem { spot, node });
    }

    fn value(&mut self, item: TreeItem<'s>) {
        if self.put(item).is_none() {
            self.wrong = true;
        }
    }

    /// Puts a value where it belongs: into the list that is open, or at its key.
    fn put(&mut self, item: TreeItem<'s>) -> Option<()> {
        let (words, from) = match self.open.last() {
            Some(Open { kind: OpenKind::List, .. }) => {
                self.items.push(item);
                return Some(());
            }
            Some(open) => (open.words, open.entries),
            None => (0, 0),
        };
        // A value without a key is told by the parser.
        let last = if self.words.len() > words { self.words.pop()? } else { return None };
        let mut above = self.words.drain(words..);
        let entries = match above.next() {
            None => &mut self.entries,
            Some(first) => {
                let mut table = below(&mut self.entries, from, first, TableKind::Dotted)?;
                for word in above {
                    table = below(table.entries_mut(), 0, word, TableKind::Dotted)?;
                }
                table.entries_mut()
            }
        };
        entries.push(Entry { key: last.text, spot: last.spot, item });
        Some(())
    }
}

impl EventReceiver for Maker<'_> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.begin_section(span, false);
    }

    fn std_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.end_header(span);
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.begin_section(span, true);
    }

    fn array_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.end_header(span);
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.begin(span, OpenKind::Table);
        true
    }

    fn inline_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.end(span, OpenKind::Table);
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.begin(span, OpenKind::List);
        true
    }

    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.end(span, OpenKind::List);
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        if self.words.len() >= MAX_WORDS {
            // A key of so many words would make a tree as deep, which ends in recursion.
            return self.wrong = true;
        }
        let mut text = Cow::Borrowed("");
        self.raw(span, encoding).decode_key(&mut text, errors);
        let spot = self.spot(span);
        self.words.push(KeyWord { text, spot });
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let mut text = Cow::Borrowed("");
        let node = match self.raw(span, encoding).decode_scalar(&mut text, errors) {
            ScalarKind::String => TreeNode::Text(text),
            ScalarKind::Boolean(flag) => TreeNode::Boolean(flag),
            ScalarKind::Integer(radix) => match i64::from_str_radix(&text, radix.value()) {
                Ok(number) => TreeNode::Integer(number),
                Err(_) => return self.wrong = true,
            },
            ScalarKind::DateTime | ScalarKind::Float => return self.wrong = true,
        };
        let spot = self.spot(span);
        self.value(TreeItem { spot, node });
    }

    fn error(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.wrong = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::*;

    /// The tree of the general parser.
    fn generally(text: &str) -> Option<Table<'_>> {
        DeTable::parse(text).ok().map(|root| Table::from(root.into_inner()))
    }

    /// Reads a text in pieces of every size, which must all be the same, and as the general parser reads it.
    fn quickly(text: &str) -> Option<Table<'_>> {
        let whole = read_pieces(&[(0, text)], 0);
        for length in 1..text.len() {
            let pieces = read_pieces(&cut(text, length), 0);
            assert!(pieces.is_none() || pieces == whole, "{text:?} in pieces of {length}");
        }
        if whole.is_some() {
            assert_eq!(whole, generally(text), "{text:?}");
        }
        whole
    }

    #[test]
    fn texts_that_people_write_are_read_quickly_and_as_they_are_generally() {
        for text in [
            "",
            "# nothing\n",
            "\u{feff}a = 1",
            "a = 1\r\nb = 'x'\r\n",
            "[a]\nb = 1\n[a.c]\nd = 2\n[a.e]\n",
            "[a.b.c]\nd = 1\n[a.b.e]\nf = '''\n[x]\n'''\n[g]\n",
            "[[a]]\nb = 1\n[[a]]\n[c]\n[[c.d]]\ne = 1\n[[c.d]]\ne = 2\n",
            "a.b = 1\na.c.d = 2\na.c.e = { f.g = 1, f.h = [{ i = 1 }, {}] }\n[b]\nc.d = 1\nc.e = 2\n",
            "a = [\n  1, # one\n  2,\n]\n[b]\nc = -1_000\nd = 0xff\ne = \"\\u00e9\\n\"\n'f g' = true\n",
        ] {
            assert!(quickly(text).is_some(), "{text:?}");
        }
        let many: String =
            (0..40).map(|n| format!("[t.k{n}]\na{n} = {n}\n[t.k{n}.b]\n[[t.k{n}.c]]\n")).collect();
        let root = quickly(&many).expect("quickly");
        let Some(TreeNode::Table(table)) = root.get("t").map(|entry| &entry.item.node) else {
            panic!("{root:?}")
        };
        assert_eq!(table.get("k39").map(|entry| &*entry.key), Some("k39"));
        assert_eq!(table.get("k40"), None);
    }

    #[test]
    fn wrong_and_rare_texts_are_left_to_the_general_parser() {
        let many: String = (0..40).map(|n| format!("[t.k{n}]\n")).collect();
        for text in [
            "a = 1\na = 2\n",
            "[a]\n[a]\n",
            "[a]\nb = 1\n[a.b]\n",
            "[a]\nb = {}\n[a.b.c]\n",
            "[a]\nb.c = 1\n[a.b]\n",
            "a = [{}]\n[[a]]\n",
            "a = []\n[[a]]\n",
            "[[a]]\n[a]\n",
            "[[a]]\nb = 1\nb = 2\n",
            "[[a]]\n[[a]]\nb.c = 1\nb.c = 2\n",
            "[a.b]\n[a]\n",
            "a = { b = 1, b = 2 }\n",
            "a = { b.c = 1, b = 2 }\n",
            "a = { b.c = 1, b.c = 2 }\n",
            "a.b = 1\na = 2\n",
            "a = 1.5\n",
            "a = 2000-01-01\n",
            "a = 99999999999999999999\n",
            "a = [1\n",
            "a = '''\n[b]\n",
            "[a\n",
            "a = 1 b = 2\n",
            "[]\n",
            "a = { 1 }\n",
            "a = { [1] }\n",
            "a = { b = { 1, c = 2 }\n[d]\n} ]\n",
            &format!("{many}[t.k3]\n"),
            &format!("{many}[t.k3.a]\n"),
            &format!("a = {}1{}\n", "[".repeat(100), "]".repeat(100)),
            &format!("[a{}]\n", ".a".repeat(MAX_WORDS)),
            &format!("a{} = 1\n", ".a".repeat(MAX_WORDS)),
        ] {
            assert_eq!(quickly(text), None, "{text:?}");
        }
    }

    /// Pieces of which anything can become, right or wrong.
    fn line() -> impl Strategy<Value = String> {
        let key = || prop::sample::select(vec!["a", "b", "c", "a.b", "b.a", "a.b.c", "'a'", "\"b\""]);
        let value = prop::sample::select(vec![
            "1",
            "'x'",
            "\"y\\n\"",
            "true",
            "[]",
            "[1, 2]",
            "{}",
            "{ a = 1 }",
            "{ a.b = 1, a.c = 2 }",
            "[{ a = 1 }, {}]",
            "[\n[1],\n[2]\n]",
            "\"\"\"\n[a]\n\"\"\"",
            "'''",
            "[",
            "]",
            "{",
            "1.5",
            "0x1f",
        ]);
        prop_oneof![
            4 => (key(), value).prop_map(|(key, value)| format!("{key} = {value}")),
            3 => key().prop_map(|key| format!("[{key}]")),
            2 => key().prop_map(|key| format!("[[{key}]]")),
            1 => prop::sample::select(vec!["# [x]", "", "]", "\u{e9}", "[a", "= 1", "'''"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn a_text_that_is_read_quickly_is_read_the_same_generally(
            lines in prop::collection::vec(line(), 0..12),
        ) {
            quickly(&lines.join("\n"));
        }

        #[test]
        fn texts_that_are_no_toml_are_not_read(
            marks in prop::collection::vec(
                prop::sample::select(vec![
                    "[", "]", "{", "}", "[[", "]]", "=", ",", ".", "\n", " ", "\"", "'", "#", "a", "1",
                ]),
                0..24,
            )
        ) {
            quickly(&marks.concat());
        }
    }
}
