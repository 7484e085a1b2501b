//! From lines to statements: words, and the statements in their braces. No keyword has a meaning here.

use super::expand::Line;
use super::notes::{Finding, Notes};
use super::source::Spot;
use super::words::{Odd, Token, Word, tokens};
use crate::codes;

/// How deep blocks stand in each other; keepalived's own keywords go four deep.
pub(super) const MAX_DEPTH: usize = 16;

/// Keywords that stand at the top of a file and nowhere else: where one of them is inside a block, the brace
/// before it was forgotten.
const TOP: [&str; 9] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "virtual_server",
    "virtual_server_group",
    "static_ipaddress",
    "static_routes",
];

/// A keyword, its values, and its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) spot: Spot,
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    /// The first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// The words after the first.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(|word| word.text.as_str())
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
        let words: Vec<&str> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }
}

/// The statements of a file.
pub(super) fn statements(lines: &[Line], notes: &mut Notes) -> Vec<Statement> {
    let mut builder = Builder { levels: vec![Vec::new()], opened: Vec::new(), notes };
    for line in lines {
        builder.line(line);
    }
    while let Some(opened) = builder.opened.last().copied() {
        builder.notes.finding(
            Finding::new(&codes::IMPORT_BRACE, opened, "a block is never closed", "opened here")
                .hint("add `}` where it ends"),
        );
        builder.close();
    }
    builder.levels.pop().unwrap_or_default()
}

struct Builder<'a> {
    /// Statements of the open blocks, the outermost first.
    levels: Vec<Vec<Statement>>,
    /// Where each but the outermost was opened.
    opened: Vec<Spot>,
    notes: &'a mut Notes,
}

impl Builder<'_> {
    fn line(&mut self, line: &Line) {
        let spot = line.spot;
        let (tokens, odd) = tokens(&line.text);
        for odd in odd {
            self.odd(odd, spot);
        }
        let mut words = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    self.statement(&mut words, spot);
                    self.open(spot);
                }
                Token::Close => {
                    self.statement(&mut words, spot);
                    if self.opened.is_empty() {
                        self.notes.finding(
                            Finding::new(
                                &codes::IMPORT_BRACE,
                                spot,
                                "`}` closes nothing",
                                "no block is open here",
                            )
                            .at("}")
                            .hint("take it away, or look for a `{` that is missing before it"),
                        );
                    } else {
                        self.close();
                    }
                }
            }
        }
        self.statement(&mut words, spot);
    }

    fn odd(&mut self, odd: Odd, spot: Spot) {
        self.notes.finding(match odd {
            Odd::OpenQuote(quote) => Finding::new(
                &codes::IMPORT_QUOTE,
                spot,
                format!("a quotation mark {quote} is not closed on its line"),
                "not closed",
            )
            .at(quote)
            .hint("close it; the rest of the line was taken as quoted"),
            Odd::Escape => Finding::new(
                &codes::IMPORT_ESCAPE,
                spot,
                "a backslash is read differently by versions of keepalived",
                "has a backslash",
            )
            .at("\\")
            .hint("read as keepalived's manual says, as in a shell; older versions keep the backslash"),
        });
    }

    /// Ends the statement whose words were read.
    fn statement(&mut self, words: &mut Vec<Word>, spot: Spot) {
        if words.is_empty() {
            return;
        }
        let words = std::mem::take(words);
        let first = words.first().map_or("", |word| word.text.as_str());
        if let Some(opened) = self.opened.last().copied()
            && TOP.contains(&first)
            && words.len() <= 3
        {
            self.notes.finding(
                Finding::new(
                    &codes::IMPORT_BRACE,
                    spot,
                    format!("`{first}` inside another block: a `}}` is missing before it"),
                    "stands at the top of a file only",
                )
                .at(first)
                .also(opened, "the block that is still open")
                .hint("close the block before it; it was read as if that had been done"),
            );
            while !self.opened.is_empty() {
                self.close();
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.push(Statement { spot, words, block: None });
        }
    }

    /// A block belongs to the statement before it, on this line or on one before.
    fn open(&mut self, spot: Spot) {
        let level = self.levels.last_mut();
        let owned = level.is_some_and(|level| {
            let owner = level.last_mut().filter(|statement| statement.block.is_none());
            owner.map(|owner| owner.block = Some(Vec::new())).is_some()
        });
        if !owned {
            self.notes.finding(
                Finding::new(&codes::IMPORT_BRACE, spot, "a block belongs to no keyword", "opened here")
                    .at("{"),
            );
            if let Some(level) = self.levels.last_mut() {
                level.push(Statement { spot, words: Vec::new(), block: Some(Vec::new()) });
            }
        }
        if self.opened.len() == MAX_DEPTH {
            self.notes.finding(Finding::new(
                &codes::IMPORT_BRACE,
                spot,
                format!("blocks stand in each other more than {MAX_DEPTH} deep"),
                "too deep",
            ));
        }
        self.opened.push(spot);
        self.levels.push(Vec::new());
    }

    /// Ends the innermost block. What is too deep is let go, so that no tree is deeper than it may be.
    fn close(&mut self) {
        let depth = self.opened.len();
        if self.opened.pop().is_none() {
            return;
        }
        let inside = self.levels.pop().unwrap_or_default();
        let owner = self.levels.last_mut().and_then(|level| level.last_mut());
        if let Some(owner) = owner
            && depth <= MAX_DEPTH
        {
            owner.block = Some(inside);
        }
    }
}
