//! Regular expressions, matched against bytes that come in pieces.
//!
//! Matching takes time in proportion to the bytes (crate `regex`). What has come is not matched anew for each
//! piece once there are many ([`Kept::matches`]), so that a target that sends byte by byte costs no more than
//! eight times the bytes either.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Look;

use super::MOST;

/// Largest compiled form. The compiler holds cluster files to the same.
const MAX_COMPILED: usize = 1 << 20;
/// Most memory of what matching remembers. With less it is slower, not wrong.
const MAX_REMEMBERED: usize = 1 << 18;
/// As many pieces of a short answer are each matched as they come.
const PIECES: u32 = 64;
/// A short answer, in bytes.
const SHORT: usize = 4096;
/// A longer one is matched when it has grown by this part of itself.
const GROWTH: usize = 8;

/// A regular expression for bytes.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// Whether a match at the end of what has come may be none when more comes: `$`, `\b` and the like.
    looks_ahead: bool,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPattern(String);

impl fmt::Display for NoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoPattern {}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// Where it is none, or too large.
    pub fn new(expression: &str) -> Result<Self, NoPattern> {
        let why = |error: &dyn fmt::Display| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            NoPattern(format!("`{expression}` is no expression: {last}"))
        };
        let regex = RegexBuilder::new(expression)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_REMEMBERED)
            .build()
            .map_err(|error| why(&error))?;
        let mut parser = regex_syntax::ParserBuilder::new().utf8(false).build();
        let looks = parser.parse(expression).map_err(|error| why(&error))?.properties().look_set();
        let starts = [Look::Start, Look::StartLF, Look::StartCRLF];
        let looks_ahead = looks.iter().any(|look| !starts.contains(&look));
        Ok(Self { regex, looks_ahead })
    }

    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether it matches, whatever comes after these bytes; when they are all, whether it matches them.
    #[must_use]
    pub fn matches(&self, bytes: &[u8], all: bool) -> bool {
        match self.regex.find(bytes) {
            Some(found) => all || !self.looks_ahead || found.end() < bytes.len(),
            None => false,
        }
    }
}

/// The beginning of an answer, as much of it as is kept.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    /// Number of bytes that were matched last, and how many times they were.
    matched: (usize, u32),
}

impl Kept {
    /// Takes what has come, as far as there is room.
    pub fn add(&mut self, bytes: &[u8]) {
        let room = MOST - self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= MOST
    }

    /// Whether the expression matches, whatever comes. It may be found later than it could be, where there
    /// are many pieces: [`Self::matches_at_last`].
    pub fn matches(&mut self, pattern: &Pattern) -> bool {
        let (before, times) = self.matched;
        let now = self.bytes.len();
        let often = now <= SHORT && times < PIECES;
        if !often && now - before < before / GROWTH + 1 {
            return false;
        }
        self.matched = (now, times.saturating_add(1));
        pattern.matches(&self.bytes, false)
    }

    /// Whether the expression matches, since no more comes; `all`: these bytes are the whole answer.
    #[must_use]
    pub fn matches_at_last(&self, pattern: &Pattern, all: bool) -> bool {
        pattern.matches(&self.bytes, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_that_more_bytes_can_undo_is_none_yet() {
        for (expression, bytes, so_far, at_last) in [
            ("OK", "xOK", true, true),
            ("^OK$", "OK", false, true),
            ("^OK$", "OKAY", false, false),
            ("(?m)^OK$", "OK\n", true, true),
            (r"OK\b", "OK", false, true),
            (r"OK\b", "OK!", true, true),
            (r"OK\z", "OK", false, true),
            (r"\$5", "$5", true, true),
            ("(?-u)\\xff", "x", false, false),
        ] {
            let pattern = Pattern::new(expression).expect(expression);
            assert_eq!(pattern.matches(bytes.as_bytes(), false), so_far, "{expression} {bytes}");
            assert_eq!(pattern.matches(bytes.as_bytes(), true), at_last, "{expression} {bytes}");
        }
        assert!(Pattern::new("(?-u)\\xff").expect("bytes").matches(b"\xff", false));
    }

    #[test]
    fn what_is_no_expression_says_why_in_a_line() {
        let said = |text: &str| Pattern::new(text).map(|_| ()).expect_err(text).to_string();
        assert_eq!(said("("), "`(` is no expression: unclosed group");
        assert!(!said("((a{1000}){1000}){1000}").contains('\n'));
    }

    /// Bytes that are matched in all, of an answer that comes byte by byte.
    #[test]
    fn the_work_is_in_proportion_to_the_bytes() {
        let pattern = Pattern::new("never").expect("expression");
        let mut kept = Kept::default();
        let mut work = 0;
        for _ in 0..2 * MOST {
            kept.add(b"x");
            let before = kept.matched;
            assert!(!kept.matches(&pattern));
            if kept.matched != before {
                work += kept.matched.0;
            }
        }
        assert!(kept.is_full() && kept.bytes().len() == MOST);
        assert!(work <= 10 * MOST, "{work}");
        assert!(work >= MOST / 2, "{work}");
    }
}
