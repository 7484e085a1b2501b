//! Reads TOML in which anything may be wrong: no more mistakes are gathered than are told.
//!
//! The parser gathers all mistakes or only the first, and each takes some hundred bytes: a file of
//! 16 MiB can hold millions. So a text with mistakes is read from its beginning, further each time,
//! until it has shown enough of them.

use toml::de::{DeTable, Error};

/// Mistakes after which no more is read. Of neighbours only the first is told.
const ENOUGH: usize = crate::diagnostic::MAX_ERRORS;
/// What a cut makes look wrong that is not.
const BY_THE_CUT: usize = 16;

/// Bytes that are read first. A text with many mistakes mostly has them from the beginning.
const FIRST: usize = 64 * 1024;
/// Most bytes by which a text is read further: if all of them are mistakes, these are what is gathered.
const MAX_STEP: usize = 1024 * 1024;

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
        match first_mistake(text) {
            Ok(root) => return Read { root, errors: Vec::new(), stopped: false },
            Err(at) => end = end.max(beginning(text, at)),
        }
        let mut step = FIRST;
        loop {
            step = (2 * step).min(MAX_STEP);
            end = beginning(text, end + step);
            if end == text.len() {
                break;
            }
            if let Some(stopped) = stop_at(text, end) {
                return stopped;
            }
        }
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    let stopped = errors.len() > ENOUGH;
    Read { root: root.into_inner(), errors: if stopped { first(errors) } else { errors }, stopped }
}

/// About where the first mistake is. The parser tells first what is wrong with the syntax, and then what
/// is wrong with values and keys: there may be one of those before.
fn first_mistake(text: &str) -> Result<DeTable<'_>, usize> {
    let place = |error: Error| error.span().map_or(0, |span| span.start);
    let syntax = match DeTable::parse(text) {
        Ok(root) => return Ok(root.into_inner()),
        Err(error) => place(error),
    };
    let before = beginning(text, syntax);
    Err(DeTable::parse(&text[..before]).err().map_or(before, place))
}

/// What there is up to `end`, when that is enough.
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

/// Where a piece of about `length` bytes from the beginning ends: after a line, if there is any.
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
