//! A cluster's source as one text: what its files are called, what is in them, and whether it is
//! text at all.
//!
//! Files stand one behind the other, so that a place is a range of bytes whatever file it is in.
//! Nothing here knows TOML; nothing here reads a file: `load` puts the files together.

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, FileSpot, Place};
use crate::limits::{Limits, MAX_BYTES};

/// A cluster file with the files that it includes and those that are laid over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    pieces: Vec<Piece>,
    /// Limits of what was read, and of what is made of it.
    pub(crate) limits: Limits,
    /// Findings from when the files were put together.
    pub(crate) troubles: Vec<Diagnostic>,
}

/// One of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Name in messages.
    pub name: String,
    /// Place of its text in that of the source.
    pub range: Place,
    /// 0 for the cluster file and what it includes, 1 for the first overlay, and so on.
    pub layer: usize,
    /// Whether its lines may be shown in excerpts.
    pub shown: bool,
}

/// A line and a column, both from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line in its file.
    pub line: usize,
    /// The character in its line.
    pub column: usize,
}

impl SourceFile {
    /// A file named `name` in messages.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), text.into());
        let pieces = vec![Piece { name: name.clone(), range: 0..text.len(), layer: 0, shown: true }];
        Self { name, text, pieces, limits: Limits::OWN, troubles: Vec::new() }
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// When they are no UTF-8 text, or too many.
    pub fn decode(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        match text_of(bytes, MAX_BYTES) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(fault) => Err(Box::new(fault.diagnostic())),
        }
    }

    /// A source without any file yet.
    pub(crate) fn empty(name: &str, limits: Limits) -> Self {
        let (pieces, troubles) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), text: String::new(), pieces, limits, troubles }
    }

    /// Adds a file, and returns where its text begins.
    pub(crate) fn add(&mut self, name: String, text: &str, layer: usize, shown: bool) -> usize {
        if !self.pieces.is_empty() {
            // The end of one file is not the beginning of the next.
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.pieces.push(Piece { name, range: start..self.text.len(), layer, shown });
        start
    }

    /// The cluster file's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of all files.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files in the order of their text. Empty when the cluster file could not be read.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The file that `offset` is in.
    #[must_use]
    pub fn piece_at(&self, offset: usize) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.range.start <= offset);
        self.pieces.get(next.saturating_sub(1))
    }

    /// The text of one file.
    pub(crate) fn text_of(&self, piece: &Piece) -> &str {
        self.text.get(piece.range.clone()).unwrap_or_default()
    }

    /// Why the text is not worth parsing.
    pub(crate) fn unusable(&self) -> Option<Diagnostic> {
        unusable(&self.text, self.limits.bytes).map(Fault::diagnostic)
    }
}

/// Why a file is no use.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: &'static Code,
    pub(crate) cause: String,
    pub(crate) hint: String,
    /// Place in the file; `None` when it is meant as a whole.
    pub(crate) at: Option<FileSpot>,
}

impl Fault {
    pub(crate) fn new(code: &'static Code, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, cause: cause.into(), hint: hint.into(), at: None }
    }

    /// The same behind the text `before`.
    fn behind(mut self, before: &str) -> Self {
        let line = before.rsplit('\n').next().unwrap_or_default();
        self.at = Some(FileSpot {
            line: before.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
            byte: before.len(),
        });
        self
    }

    pub(crate) fn diagnostic(self) -> Diagnostic {
        let at = self.at.unwrap_or(FileSpot::BEGINNING);
        Diagnostic::of_file(self.code, self.cause).at_spot(at).hint(self.hint)
    }
}

/// The text that `bytes` are.
pub(crate) fn text_of(bytes: Vec<u8>, limit: usize) -> Result<String, Fault> {
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = std::str::from_utf8(error.as_bytes().get(..valid).unwrap_or_default());
        let bad = error.as_bytes().get(valid).copied().unwrap_or_default();
        let cause = format!("this is not UTF-8 text: byte 0x{bad:02x} at offset {valid}");
        Fault::new(&codes::NOT_UTF8, cause, "save the file as UTF-8").behind(before.unwrap_or_default())
    })
}

/// Why a text is not worth parsing.
pub(crate) fn unusable(text: &str, limit: usize) -> Option<Fault> {
    if text.len() > limit {
        return Some(too_large(limit));
    }
    if let Some(offset) = text.find('\0') {
        let fault = Fault::new(
            &codes::NOT_TEXT,
            "a NUL byte stands here: this is not a text file",
            "check that this is the cluster file, and that it was copied whole",
        );
        return Some(fault.behind(text.get(..offset).unwrap_or_default()));
    }
    let nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.trim_start_matches('\u{feff}').lines().all(nothing) {
        return Some(Fault::new(
            &codes::EMPTY,
            "the file is empty",
            "begin with `version = 1` and `name = \"…\"`, then [segments] and [hosts]",
        ));
    }
    None
}

fn too_large(limit: usize) -> Fault {
    Fault::new(
        &codes::TOO_LARGE,
        format!("the file is too large: at most {} MiB are read", limit / 1024 / 1024),
        "check that this is the cluster file; a larger cluster is better split in two",
    )
}

/// Beginnings of the lines of a source, for many look-ups.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    source: &'a SourceFile,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(source: &'a SourceFile) -> Self {
        let after = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(after).collect() }
    }

    /// Number of the line that `offset` is in, from 0 and over all files.
    fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The offset at which the line of `offset` begins, and the line's number in its file.
    pub(crate) fn line(&self, offset: usize) -> (usize, usize) {
        let index = self.index(offset);
        let piece = self.source.piece_at(offset).map_or(0, |piece| self.index(piece.range.start));
        (self.starts.get(index).copied().unwrap_or_default(), index - piece.min(index) + 1)
    }

    /// The offset at which the line after that of `offset` begins, at most the end of its file.
    pub(crate) fn next(&self, offset: usize) -> usize {
        let end = self.source.piece_at(offset).map_or(self.source.text.len(), |piece| piece.range.end);
        self.starts.get(self.index(offset) + 1).map_or(end, |next| (*next).min(end))
    }

    /// Line and column of `offset`.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let (start, line) = self.line(offset);
        let before = self.source.text.get(start..offset).unwrap_or_default();
        Position { line, column: before.trim_start_matches('\u{feff}').chars().count() + 1 }
    }
}
