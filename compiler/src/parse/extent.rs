//! How much is in a text, before anything is made of it: the parser takes some hundred bytes for each table,
//! and some dozen for each word, so a text of 16 MiB can stand for gigabytes. What a cluster may hold is far
//! below.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use crate::codes;
use crate::diagnostic::{Diagnostic, Place};

/// Tables and lists of all files together. 20,000 services with 40 real servers each have fewer, and have
/// used up most of [`crate::MAX_BYTES`].
const MAX_TABLES: usize = 1_000_000;
/// Keys, values and punctuation marks of all files together. A table with one key and a comma has six.
const MAX_TOKENS: usize = 8_000_000;
/// Brackets that are open at once. The language needs six, the parser looks no deeper than 80.
const MAX_OPEN: usize = 1000;
/// Length up to which texts are not counted: they cannot hold too much, and their nesting costs nothing.
const SMALL: usize = 1024 * 1024;

/// Marks of a byte: it may begin a table, be tokens, be a bracket.
const TABLE: u8 = 1;
const TOKENS: u8 = 2;
const BRACKET: u8 = 4;
const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let mut byte = 0;
    while byte < marks.len() {
        marks[byte] = match byte as u8 {
            b'[' | b'{' => TABLE | TOKENS | BRACKET,
            b']' | b'}' => TOKENS | BRACKET,
            b'.' => TABLE | TOKENS,
            b'=' | b',' | b'\n' | b' ' | b'\t' | b'"' | b'\'' => TOKENS,
            _ => 0,
        };
        byte += 1;
    }
    marks
};

/// Estimate from bytes alone: at least as much as there is, since bytes in texts and comments are counted as
/// well.
#[derive(Debug, Default)]
struct Guess {
    bytes: usize,
    tables: usize,
    tokens: usize,
    open: usize,
}

/// Size of what the parser would build.
#[derive(Debug, Default)]
struct Extent {
    tables: usize,
    tokens: usize,
}

/// The diagnostic where texts hold too much. Each text comes with its offset in the text of all.
pub(crate) fn excess<'t>(texts: impl Iterator<Item = (&'t str, usize)> + Clone) -> Option<Diagnostic> {
    let mut guess = Guess::default();
    texts.clone().for_each(|(text, _)| guess.add(text));
    // Nearly always that is enough to know, and it takes a fraction of what parsing takes.
    let fits = guess.open <= MAX_OPEN && guess.tables <= MAX_TABLES && guess.tokens <= MAX_TOKENS;
    if fits || guess.bytes <= SMALL {
        return None;
    }
    let mut extent = Extent::default();
    texts.into_iter().find_map(|(text, start)| Some(extent.add(text)?.shifted(start)))
}

impl Extent {
    /// Adds a text; returns the diagnostic where there is too much.
    fn add(&mut self, text: &str) -> Option<Diagnostic> {
        let mut open: Vec<usize> = Vec::new();
        // Whether nothing has stood on the line yet but brackets.
        let mut begins = true;
        for token in Source::new(text).lex() {
            let place = token.span().start()..token.span().end();
            match token.kind() {
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                    // Those of a header stand for what its words are, see below.
                    self.tables += usize::from(!begins);
                    open.push(place.start);
                    if open.len() > MAX_OPEN {
                        return Some(too_deep(place, &open));
                    }
                }
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => _ = open.pop(),
                // A part of a key, each a table; a decimal number has one as well.
                TokenKind::Dot => self.tables += 1,
                TokenKind::Newline => {
                    begins = true;
                    continue;
                }
                TokenKind::Whitespace | TokenKind::Comment | TokenKind::Eof => continue,
                TokenKind::Equals
                | TokenKind::Comma
                | TokenKind::LiteralString
                | TokenKind::BasicString
                | TokenKind::MlLiteralString
                | TokenKind::MlBasicString
                | TokenKind::Atom => {
                    self.tables += usize::from(begins && !open.is_empty());
                    begins = false;
                }
            }
            self.tokens += 1;
            let (what, most) = match (self.tables > MAX_TABLES, self.tokens > MAX_TOKENS) {
                (true, _) => ("tables and lists", MAX_TABLES),
                (false, true) => ("keys, values and punctuation marks", MAX_TOKENS),
                (false, false) => continue,
            };
            return Some(
                Diagnostic::new(
                    &codes::TOO_MUCH,
                    place,
                    format!("the cluster has more than {most} {what}"),
                    "no more are read",
                )
                .hint("check that this is the cluster file; a larger cluster is better split in two"),
            );
        }
        None
    }
}

impl Guess {
    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        let mut open: usize = 0;
        for byte in text.bytes() {
            let mark = MARKS[usize::from(byte)];
            self.tables += usize::from(mark & TABLE);
            self.tokens += usize::from(mark & TOKENS);
            if mark & BRACKET != 0 {
                if mark & TABLE != 0 {
                    open += 1;
                    self.open = self.open.max(open);
                } else {
                    open = open.saturating_sub(1);
                }
            }
        }
    }
}

fn too_deep(place: Place, open: &[usize]) -> Diagnostic {
    let diagnostic = Diagnostic::new(&codes::SYNTAX, place, "this is nested too deeply", "too deep").hint(
        "nothing in a cluster file is nested more than six levels deep; close the brackets that are open",
    );
    match open.first() {
        Some(first) => diagnostic.also(*first..*first + 1, "the outermost bracket that is open"),
        None => diagnostic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str]) -> Option<(&'static str, usize)> {
        let mut start = 0;
        let placed: Vec<(&str, usize)> = texts
            .iter()
            .map(|text| {
                start += text.len() + 1;
                (*text, start - text.len() - 1)
            })
            .collect();
        let fault = excess(placed.into_iter())?;
        Some((fault.code.id, fault.primary.as_ref().map_or(usize::MAX, |label| label.place.start)))
    }

    #[test]
    fn too_much_is_refused_where_it_becomes_too_much() {
        assert_eq!(told(&[&"a = {".repeat(300_000)]), Some(("EK0006", 5 * MAX_OPEN + 4)));
        let headers: String = (0..MAX_TABLES / 2).map(|n| format!("[a.t{n}]\n")).collect();
        assert_eq!(told(&[&headers]), None, "as many as may be");
        assert_eq!(told(&[&format!("{headers}[b]\n")]), Some(("EK0012", headers.len() + 1)));
        let lists = format!("a = [{}]", "[],".repeat(MAX_TABLES));
        assert_eq!(told(&[&lists]), Some(("EK0012", 5 + 3 * (MAX_TABLES - 1))));
        let keys = "k=1\n".repeat(MAX_TOKENS / 3 + 1);
        assert_eq!(told(&[&keys]).map(|(code, _)| code), Some("EK0012"));
    }

    #[test]
    fn several_files_count_together_also_small_ones() {
        let piece = "[a.b]\n[a.c]\n".repeat(SMALL / 12);
        let files = MAX_TABLES / (4 * (SMALL / 12)) + 1;
        assert!(piece.len() <= SMALL && files > 1);
        let texts = vec![piece.as_str(); files];
        assert_eq!(told(&texts[1..]), None);
        let (code, place) = told(&texts).expect("too much");
        assert!(code == "EK0012" && place > (files - 1) * (piece.len() + 1), "{place}: in the last one");
    }

    #[test]
    fn what_stands_in_texts_and_comments_is_nothing() {
        let brackets = "[{.,= ".repeat(400_000);
        for text in
            [format!("# {brackets}\na = 1\n"), format!("a = '{brackets}'\n"), format!("a = \"{brackets}\"\n")]
        {
            assert_eq!(told(&[&text]), None);
        }
        assert_eq!(told(&["a = [[[[["]), None, "what is small is the parser's");
    }
}
