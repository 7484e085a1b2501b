//! Errors of the TOML parser -> diagnostics in our words.
//!
//! One slip makes the parser stumble over the lines that follow, so of each run of neighbouring
//! errors only the first is reported.

use toml::de::{DeTable, DeValue, Error};

use super::bounded;
use crate::codes;
use crate::diagnostic::{Diagnostic, MAX_ERRORS, Place};

/// Errors that are so close to the last one that they are taken for its echo, in lines.
const ECHO_LINES: usize = 3;
/// Duplicate keys whose first place is searched; each search reads the file again up to there.
const MAX_SEARCHED: usize = 20;
/// Bytes that all these searches read, each a few times.
const MAX_SEARCHED_BYTES: usize = 4 * 1024 * 1024;

const DUPLICATE: &str = "duplicate key";

/// Diagnostics of `errors`, and whether there are more.
pub(super) fn diagnostics(text: &str, errors: &[Error]) -> (Vec<Diagnostic>, bool) {
    let end_of_text = text.trim_end().len();
    let mut errors: Vec<(Place, &str)> =
        errors.iter().map(|error| (in_text(text, end_of_text, error.span()), error.message())).collect();
    errors.sort_by_key(|(place, _)| place.start);
    let mut found = Vec::new();
    let mut last_line: Option<usize> = None;
    let mut lines = LineCounter { text, offset: 0, line: 0 };
    let mut brackets = Brackets { bytes: text.as_bytes(), at: 0, open: Vec::new() };
    let (mut searches, mut searched) = (0, 0);
    let mut again = 0;
    for (place, message) in errors {
        if found.len() > MAX_ERRORS {
            return (found, true);
        }
        if message == DUPLICATE {
            // The keys below a header that is there twice are all there twice.
            if place.start >= again {
                again = end_of_table(text, &place);
                searches += 1;
                searched += place.end;
                let search = searches <= MAX_SEARCHED && searched <= MAX_SEARCHED_BYTES;
                found.push(duplicate(text, place, search));
            }
            continue;
        }
        let line = lines.at(place.start);
        let echo = last_line.is_some_and(|last| line - last <= ECHO_LINES);
        last_line = Some(line);
        if !echo {
            found.push(syntax(text, &mut brackets, place, message));
        }
    }
    (found, false)
}

/// Counts lines forward.
struct LineCounter<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl LineCounter<'_> {
    fn at(&mut self, offset: usize) -> usize {
        let between = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.offset = self.offset.max(offset);
        self.line
    }
}

/// A place that lies in the text, on the boundaries of its characters.
fn in_text(text: &str, end_of_text: usize, span: Option<Place>) -> Place {
    let span = span.unwrap_or(end_of_text..end_of_text);
    let start = text.floor_char_boundary(span.start.min(end_of_text));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// Beginnings of the parser's messages, and our words: cause, label, hint.
const WORDS: &[(&str, &str, &str, &str)] = &[
    (
        "invalid basic string",
        "this text is not closed",
        "the closing quote is missing",
        "close it with `\"` on the same line",
    ),
    (
        "invalid literal string",
        "this text is not closed",
        "the closing quote is missing",
        "close it with `'`",
    ),
    ("unclosed table", "this table header is not closed", "`]` is missing", "write it as `[hosts]`"),
    ("unclosed array table", "this table header is not closed", "`]]` is missing", "write it as `[hosts]`"),
    (
        "missing comma between",
        "a comma is missing",
        "a comma belongs before this",
        "separate the items with commas",
    ),
    ("extra comma", "there is one comma too many", "nothing stands before this comma", "remove it"),
    (
        "key with no value",
        "this key has no value",
        "`=` and a value are missing",
        "write it as `key = value`; a line of explanation begins with `#`",
    ),
    (
        "missing assignment",
        "this key has no value",
        "`=` and a value are missing",
        "write it as `key = value`",
    ),
    ("extra `=`", "there is one `=` too many", "not expected", "write it as `key = value`"),
    (
        "invalid key-value pair",
        "there is no key here",
        "a key is expected here",
        "a cluster file is TOML: lines of `key = value` below `[table]` headers",
    ),
    (
        "invalid unquoted key",
        "a key holds only letters, digits, `-` and `_`",
        "not part of a key",
        "write `key = value`, with `=` between the two",
    ),
    (
        "unexpected leading zero",
        "a number cannot begin with 0",
        "remove this zero",
        "write it without leading zeros",
    ),
    (
        NOT_QUOTED,
        "there is more on this line than one entry",
        "not in quotes",
        "write one `key = value` on a line; text with spaces stands in quotes",
    ),
    (
        "unexpected key or value",
        "there is more on this line than one entry",
        "not expected here",
        "write one `key = value` on a line; text with spaces stands in quotes",
    ),
    ("cannot recurse", "this is nested too deeply", "too deep", SHALLOW),
    ("recursion limit", "this key has too many parts", "too deep", SHALLOW),
    (
        "cannot extend value",
        "this adds to something that is complete, or is no table",
        "cannot be added to",
        "a table in braces, a list or a plain value is complete: write the key inside it",
    ),
];

const SHALLOW: &str = "nothing in a cluster file is nested more than six levels deep";
const NOT_QUOTED: &str = "string values must be quoted";

fn syntax(text: &str, brackets: &mut Brackets<'_>, place: Place, message: &str) -> Diagnostic {
    let found = text.get(place.clone()).unwrap_or_default().trim();
    if !found.starts_with(',')
        && ["missing comma between", "unclosed array", "unclosed inline table"]
            .iter()
            .any(|words| message.starts_with(words))
        && let Some(open) = brackets.unclosed(place.start)
    {
        return not_closed(text, place, open);
    }
    if message.starts_with("missing value") || (message.starts_with(NOT_QUOTED) && found.is_empty()) {
        return Diagnostic::new(&codes::SYNTAX, place, "there is no value after `=`", "a value belongs here")
            .hint("write a text in quotes, a whole number, true or false, a list or a table");
    }
    if message.starts_with(NOT_QUOTED) && !found.contains(char::is_whitespace) {
        let number = found.starts_with(|first: char| first.is_ascii_digit());
        let cause =
            if number { "this is neither a number nor a text" } else { "a text must stand in quotes" };
        let hint =
            if number { "write digits only, or put quotes around a text" } else { "put `\"` around it" };
        return Diagnostic::new(&codes::SYNTAX, place, cause, "not in quotes").hint(hint);
    }
    if (message.starts_with("invalid basic string") && !found.is_empty())
        || message.starts_with("missing escaped value")
    {
        return Diagnostic::new(
            &codes::SYNTAX,
            place,
            "a backslash in a text begins an escape, and this is none",
            "no escape",
        )
        .hint("write a backslash as `\\\\` and a quote as `\\\"`, or use single quotes");
    }
    for (words, cause, label, hint) in WORDS {
        if message.starts_with(words) {
            return Diagnostic::new(&codes::SYNTAX, place, *cause, *label).hint(*hint);
        }
    }
    Diagnostic::new(
        &codes::SYNTAX,
        place,
        "this is not valid TOML",
        message.split(", expected").next().unwrap_or_default(),
    )
    .hint("the rules of TOML are at https://toml.io")
}

/// A bracket that was opened and not closed before something that cannot stand in it.
fn not_closed(text: &str, place: Place, open: usize) -> Diagnostic {
    let (what, close) = match text.as_bytes().get(open) {
        Some(b'[') => ("list", "]"),
        Some(_) | None => ("table", "}"),
    };
    let same_line = !text.get(open..place.start).unwrap_or_default().contains('\n');
    let (cause, hint) = if same_line {
        (
            "a comma or bracket is missing".to_owned(),
            format!("separate items with commas; close the {what} with `{close}`"),
        )
    } else {
        (format!("a {what} is not closed"), format!("close the {what} with `{close}`"))
    };
    Diagnostic::new(&codes::SYNTAX, place, cause, format!("`,` or `{close}` is missing before this"))
        .also(open..open + 1, format!("this {what} is open"))
        .hint(hint)
}

/// Open brackets from the beginning of a text on. Brackets in texts and comments do not count.
struct Brackets<'a> {
    bytes: &'a [u8],
    /// Offset up to which the text was read.
    at: usize,
    open: Vec<usize>,
}

impl Brackets<'_> {
    /// The innermost bracket that is open at `end`, which grows from question to question.
    fn unclosed(&mut self, end: usize) -> Option<usize> {
        while let Some(byte) = self.bytes.get(..end).and_then(|bytes| bytes.get(self.at)) {
            match byte {
                b'#' => self.at += self.bytes[self.at..].iter().take_while(|byte| **byte != b'\n').count(),
                b'"' | b'\'' => self.at = end_of_text(self.bytes, self.at),
                b'[' | b'{' => self.open.push(self.at),
                b']' | b'}' => _ = self.open.pop(),
                _ => {}
            }
            self.at += 1;
        }
        self.open.last().copied()
    }
}

/// The index of the quote that closes the text opened at `at`, or of the end of its line.
fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let mut end = if triple { at + 3 } else { at + 1 };
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\\' if quote == b'"' => end += 1,
            b'\n' if !triple => return end,
            byte if *byte == quote && !triple => return end,
            byte if *byte == quote && bytes[end..].starts_with(&[quote; 3]) => return end + 2,
            _ => {}
        }
        end += 1;
    }
    end
}

/// End of the table whose header `place` is in; end of `place` when it is in none.
fn end_of_table(text: &str, place: &Place) -> usize {
    if header(text, place).is_none() {
        return place.end;
    }
    let rest = text.get(place.end..).unwrap_or_default();
    rest.find("\n[").map_or(text.len(), |next| place.end + next)
}

/// The table header that `place` is in.
fn header<'t>(text: &'t str, place: &Place) -> Option<&'t str> {
    let start = text.get(..place.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.lines().next()?.trim();
    let close = line.rfind(']')?;
    line.starts_with('[').then(|| &line[..=close])
}

fn duplicate(text: &str, place: Place, search: bool) -> Diagnostic {
    let key = header(text, &place).or(text.get(place.clone())).unwrap_or_default();
    let diagnostic = Diagnostic::new(
        &codes::DUPLICATE_KEY,
        place.clone(),
        format!("`{key}` is defined twice"),
        "defined again here",
    )
    .hint("keep one of them, or give the second another name");
    match search.then(|| first_definition(text, &place)).flatten() {
        Some(first) if first != place => diagnostic.also(first, "first defined here"),
        Some(_) | None => diagnostic,
    }
}

/// Place of the first definition of the key that is defined again at `place`. The parser does not say, and
/// drops one of the two. With the second key replaced by a word of its own, both are neighbours.
fn first_definition(text: &str, place: &Place) -> Option<Place> {
    const STAND_IN: &str = "evenkeel-looks-for-the-first";
    let key = text.get(place.clone())?;
    let name: String = match DeValue::parse(key).ok().map(toml::Spanned::into_inner) {
        Some(DeValue::String(name)) => name.into_owned(),
        Some(_) | None => key.to_owned(),
    };
    if text[..place.start].contains(STAND_IN) {
        return None;
    }
    // The rest of its line makes it a header or a key again; what follows cannot come before it.
    let rest = text[place.end..].split_inclusive('\n').next().unwrap_or_default();
    let changed = format!("{}{STAND_IN}{rest}", &text[..place.start]);
    let root = bounded::read(&changed).root;
    let siblings = table_with(&root, STAND_IN)?;
    let (first, _) = siblings.get_key_value(name.as_str())?;
    let span = first.span();
    (span.end <= place.start).then_some(span)
}

fn table_with<'t, 's>(table: &'t DeTable<'s>, key: &str) -> Option<&'t DeTable<'s>> {
    if table.contains_key(key) {
        return Some(table);
    }
    table.iter().find_map(|(_, value)| inside(value.get_ref(), key))
}

fn inside<'t, 's>(value: &'t DeValue<'s>, key: &str) -> Option<&'t DeTable<'s>> {
    match value {
        DeValue::Table(table) => table_with(table, key),
        DeValue::Array(items) => items.iter().find_map(|item| inside(item.get_ref(), key)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}
