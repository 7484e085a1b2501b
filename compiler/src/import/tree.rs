//! From lines to statements: words, and the statements in their braces, as keepalived reads them. Which
//! keywords have a block is `keywords::Level`'s to know; no keyword has another meaning here.
//!
//! keepalived knows no braces but those of its keywords: the `{` of an unknown keyword is ignored, so that
//! its `}` closes the block around it, and a forgotten `}` makes the next block's lines lines of the open
//! one. The tree has what keepalived has, and a finding says so.

use super::keywords::{Level, Shape};
use super::notes::{Fate, Finding, Notes};
use super::source::{ExpandedLine, Spot};
use super::versions::{self, Version};
use super::words::{self, LinePiece, pieces};
use crate::codes;

/// Largest depth of blocks within each other; keepalived's own keywords go five deep.
pub(super) const MAX_DEPTH: usize = 8;

/// A keyword, its values, and its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) spot: Spot,
    pub(super) words: Vec<String>,
    /// The line as it was, when its words do not say it: with quotes or backslashes.
    raw: Option<Box<str>>,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    /// The first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words after the first.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(String::as_str)
    }

    /// The first value.
    pub(super) fn value(&self) -> Option<&str> {
        self.values().next()
    }

    /// The statements of its block, none when it has no block.
    pub(super) fn inside(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The words as a line, without the block.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }

    /// Its words as a program has them: with the quotes and escapes of a shell. `None` when a quotation mark
    /// is left open.
    pub(super) fn arguments(&self) -> Option<Vec<String>> {
        match &self.raw {
            Some(raw) => words::arguments(raw),
            None => Some(self.words.clone()),
        }
    }
}

/// The statements of a file, as a version of keepalived reads it.
pub(super) fn statements(lines: Vec<ExpandedLine>, version: Version, notes: &mut Notes) -> Vec<Statement> {
    let mut builder = Builder { top: Vec::new(), open: Vec::new(), version, notes };
    for line in lines {
        builder.line(&line);
    }
    while let Some(frame) = builder.open.last() {
        let finding =
            Finding::new(&codes::IMPORT_BRACE, frame.opened, "a block is never closed", "opened here")
                .hint("add `}` where it ends; keepalived reads it up to the end of the file");
        builder.notes.finding(finding);
        builder.close();
    }
    builder.top
}

/// A block that is open.
struct Frame {
    level: Level,
    statements: Vec<Statement>,
    opened: Spot,
    /// Whether its `{` is still to come.
    bare: bool,
}

struct Builder<'a> {
    top: Vec<Statement>,
    /// Open blocks, the outermost first; as many as the language has levels.
    open: Vec<Frame>,
    version: Version,
    notes: &'a mut Notes,
}

impl Builder<'_> {
    fn line(&mut self, line: &ExpandedLine) {
        for piece in pieces(&line.text) {
            match piece {
                LinePiece::Text(text) => self.text(text, line.spot),
                LinePiece::Open => self.opening(line.spot),
                LinePiece::Close => self.closing(line.spot),
            }
        }
    }

    fn level(&self) -> Level {
        self.open.last().map_or(Level::Top, |frame| frame.level)
    }

    /// Meaning of a word to the version at a level.
    fn shape(&self, level: Level, word: &str) -> Shape {
        let since = level.block(word).and_then(|block| versions::since(block.name, word));
        if since.is_some_and(|since| since > self.version) { Shape::Unknown } else { level.shape(word) }
    }

    fn push(&mut self, statement: Statement) {
        self.open.last_mut().map_or(&mut self.top, |frame| &mut frame.statements).push(statement);
    }

    /// The keyword whose block is open.
    fn around(&self) -> String {
        let level = self.open.len().checked_sub(2).and_then(|at| self.open.get(at));
        let list = level.map_or(&self.top, |frame| &frame.statements);
        list.last().map_or_else(String::new, |statement| super::words::shorten(&statement.text()))
    }

    fn text(&mut self, text: &str, spot: Spot) {
        self.expect_opening(spot);
        let (words, unclosed) = words::words(text);
        if unclosed {
            let finding = Finding::new(
                &codes::IMPORT_QUOTE,
                spot,
                "a quotation mark \" is not closed on its line",
                "keepalived drops what follows it",
            );
            self.notes.finding(finding.at("\"").hint("close it"));
            let why = "keepalived drops what follows it";
            self.notes.say(Fate::Changed, vec![spot], "a quotation mark is not closed", why);
        }
        for word in &words {
            if let Some(blank) = words::false_blank(word) {
                let message = format!(
                    "U+{:04X} looks like a blank and is none: keepalived takes it as part of a word",
                    u32::from(blank)
                );
                let finding = Finding::new(&codes::IMPORT_BLANK, spot, message, "not a blank");
                self.notes.finding(finding.at(blank).hint("write a space"));
            }
        }
        let Some(first) = words.first() else { return };
        let shape = self.shape(self.level(), first);
        let raw = text.contains(['"', '\'', '\\']).then(|| text.into());
        let block = matches!(shape, Shape::Block(_)).then(Vec::new);
        self.push(Statement { spot, words, raw, block });
        if let Shape::Block(level) = shape {
            self.open.push(Frame { level, statements: Vec::new(), opened: spot, bare: true });
        }
    }

    /// The text where a `{` should be.
    fn expect_opening(&mut self, spot: Spot) {
        let Some(frame) = self.open.last_mut() else { return };
        if !std::mem::take(&mut frame.bare) {
            return;
        }
        let opened = frame.opened;
        let finding = Finding::new(
            &codes::IMPORT_BRACE,
            spot,
            format!("a `{{` is missing before this line: `{}` is a block", self.around()),
            "read as a line of the block",
        );
        self.notes.finding(finding.also(opened, "the block begins here").hint("add the `{`"));
    }

    fn opening(&mut self, spot: Spot) {
        if let Some(frame) = self.open.last_mut()
            && std::mem::take(&mut frame.bare)
        {
            return;
        }
        let level = self.level();
        let before = self.open.last().map_or(&self.top, |frame| &frame.statements).last();
        let keyword = before.map(|statement| super::words::shorten(statement.keyword())).unwrap_or_default();
        let finding = |message: String, label: &str| {
            Finding::new(&codes::IMPORT_BRACE, spot, message, label.to_owned()).at("{")
        };
        let ignored = "keepalived ignores the `{`";
        let Some(opened) = self.open.last().map(|frame| frame.opened) else {
            let what = if keyword.is_empty() {
                "a block belongs to no keyword".to_owned()
            } else {
                format!("`{keyword}` has no block: its lines are read as if they stood outside")
            };
            return self.notes.finding(finding(what, ignored).hint("take the block out"));
        };
        let around = self.around();
        let finding = if Level::Top.shape(&keyword) != Shape::Unknown
            && self.shape(level, &keyword) == Shape::Unknown
        {
            let what = format!(
                "`{keyword}` inside another block: a `}}` is missing before it, and keepalived reads its \
                lines as lines of `{around}`"
            );
            finding(what, ignored).hint("close the block before it")
        } else {
            let what = format!(
                "`{keyword}` has no block in `{around}`: its lines are read as lines of that, and its `}}` \
                ends that"
            );
            finding(what, ignored).hint("take the block out; what follows it is lost in keepalived")
        };
        self.notes.finding(finding.also(opened, "the block that is open"));
    }

    fn closing(&mut self, spot: Spot) {
        self.expect_opening(spot);
        if self.open.is_empty() {
            let finding =
                Finding::new(&codes::IMPORT_BRACE, spot, "`}` closes nothing", "no block is open here");
            let hint = "take it away, or look for a `{` that is missing before it";
            return self.notes.finding(finding.at("}").hint(hint));
        }
        self.close();
    }

    /// Ends the innermost block.
    fn close(&mut self) {
        let Some(frame) = self.open.pop() else { return };
        let list = self.open.last_mut().map_or(&mut self.top, |frame| &mut frame.statements);
        if let Some(owner) = list.last_mut() {
            owner.block = Some(frame.statements);
        }
    }
}
