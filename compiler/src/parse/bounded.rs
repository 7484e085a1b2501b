//! Reads TOML in which anything may be wrong: no more mistakes are gathered than are told.
//!
//! The parser gathers all mistakes or only the first, and each takes some hundred bytes: a file of 16 MiB can
//! hold millions. So a text with mistakes is read from its beginning, four times as far each time, until it
//! has shown enough of them: all of that together takes no longer than a third of the last. Where its syntax
//! has enough mistakes is found out before, without keeping any.

use toml::de::{DeTable, Error};
use toml_parser::parser::{RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ParseError, Source};

/// Number of mistakes after which reading stops. Of neighbours only the first is reported.
const ENOUGH: usize = crate::diagnostic::MAX_ERRORS;
/// Most mistakes that a cut may add to a text.
const BY_THE_CUT: usize = 16;

/// Bytes that are read first. A text with many mistakes mostly has them from the beginning.
const FIRST: usize = 64 * 1024;
/// Factor by which the next piece is longer.
const FURTHER: usize = 4;
/// Deepest nesting of brackets for the parser, as for the one that builds tables.
pub(super) const MAX_DEPTH: u32 = 80;

/// A text that was read.
pub(crate) struct Read<'s> {
    pub(crate) root: DeTable<'s>,
    /// Nothing when the text is right.
    pub(crate) errors: Vec<Error>,
    /// Whether there are more than `errors`.
    pub(crate) stopped: bool,
}

pub(crate) fn read(text: &str) -> Read<'_> {
    let mut end = beginning(text, FIRST);
    if end < text.len() {
        if let Some(stopped) = stop_at(text, end) {
            return stopped;
        }
        if let Ok(root) = DeTable::parse(text) {
            return Read { root: root.into_inner(), errors: Vec::new(), stopped: false };
        }
        if let Some(enough) = enough_syntax(text) {
            let (root, errors) = DeTable::parse_recoverable(&text[..enough]);
            return Read { root: root.into_inner(), errors: first(errors), stopped: true };
        }
        // What is left are mistakes in values and keys, of which each has a line or an item of its own.
        while let next = beginning(text, FURTHER * end)
            && next < text.len()
        {
            end = next;
            if let Some(stopped) = stop_at(text, end) {
                return stopped;
            }
        }
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    let stopped = errors.len() > ENOUGH;
    Read { root: root.into_inner(), errors: if stopped { first(errors) } else { errors }, stopped }
}

/// Length of the beginning that has more mistakes of syntax than are reported; none when the text has fewer.
fn enough_syntax(text: &str) -> Option<usize> {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let (mut count, mut last) = (0_usize, 0);
    let mut note = |error: ParseError| {
        count += 1;
        if count <= ENOUGH + BY_THE_CUT {
            last = error.unexpected().map_or(last, |span| last.max(span.end()));
        }
    };
    let mut nothing = ();
    let mut spaces = ValidateWhitespace::new(&mut nothing, source);
    let mut receiver = RecursionGuard::new(&mut spaces, MAX_DEPTH);
    parse_document(&tokens, &mut receiver, &mut note);
    let line =
        text.get(last..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| last + newline + 1);
    (count > ENOUGH + BY_THE_CUT).then_some(line)
}

/// Mistakes up to `end`, when they are enough.
fn stop_at(text: &str, end: usize) -> Option<Read<'_>> {
    let (root, errors) = DeTable::parse_recoverable(&text[..end]);
    // What was cut through looks wrong, too: that is at the end.
    (errors.len() > ENOUGH + BY_THE_CUT).then(|| Read {
        root: root.into_inner(),
        errors: first(errors),
        stopped: true,
    })
}

/// The first ones of the text.
fn first(mut errors: Vec<Error>) -> Vec<Error> {
    errors.sort_by_key(|error| error.span().map_or(usize::MAX, |span| span.start));
    errors.truncate(ENOUGH);
    errors.shrink_to_fit();
    errors
}

/// End of a piece of about `length` bytes from the beginning: after a line, if there is any.
fn beginning(text: &str, length: usize) -> usize {
    if length >= text.len() {
        return text.len();
    }
    let end = text.floor_char_boundary(length);
    let from = text.floor_char_boundary(end.saturating_sub(FIRST));
    text[from..end].rfind('\n').map_or(end, |newline| from + newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_read_whole_and_what_is_wrong_as_far_as_it_must_be() {
        let right: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
        let whole = read(&right);
        assert_eq!((whole.root.len(), whole.errors.len(), whole.stopped), (20_000, 0, false));
        let late = format!("{right}]\n");
        assert_eq!((read(&late).errors.len(), read(&late).stopped), (1, false));
        for wrong in ["]\n", "a = 1\n", "[t]\n", "x y\n", "k = 01\n", "\"\n", "[[1 2\n"] {
            for text in [wrong.repeat(40_000), format!("{right}{}", wrong.repeat(40_000))] {
                let read = read(&text);
                assert!(read.stopped && read.errors.len() <= ENOUGH && !read.errors.is_empty(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_cut_does_not_divide_a_character() {
        let text = "é".repeat(FIRST);
        assert!(text.is_char_boundary(beginning(&text, FIRST + 1)));
        assert_eq!(beginning("a\nb\n", 3), 2);
    }
}
