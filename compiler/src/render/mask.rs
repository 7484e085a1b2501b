//! Secrets in the excerpts of a cluster file.
//!
//! A diagnostic shows lines of the file, and diagnostics end up in logs of build servers. So what
//! stands after `literal =`, or where people put a password by mistake, is shown as asterisks. By
//! the text alone, for it must also work where the file is not valid TOML.

use std::borrow::Cow;
use std::ops::Range;

use super::escape::excerpt;
use crate::source::SourceFile;

const KEYS: [&str; 4] = ["literal", "secret", "password", "pass"];
/// The keys of a table that stands for a secret. In one with any other key that may be the secret, under a
/// name with a mistake.
const KNOWN: [&str; 3] = ["literal", "file", "credential"];

/// The text of a source with the same number of bytes and lines, without secrets and without what acts on
/// a terminal. File by file: a
/// quote that one leaves open does not reach into the next.
#[must_use]
pub fn mask_all(source: &SourceFile) -> String {
    let mut out = String::with_capacity(source.text().len());
    for piece in source.pieces() {
        if !out.is_empty() || piece.range.start > 0 {
            out.push('\n');
        }
        out.push_str(&excerpt(&mask(source.text_of(piece))));
    }
    out
}

/// `text` with the same number of bytes and lines, without secrets.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let after = |key: &'static str| text.match_indices(key).map(move |(at, _)| at + key.len());
    let mut places: Vec<usize> = KEYS.into_iter().flat_map(after).collect();
    places.sort_unstable();
    // Until where everything is masked, because somebody forgot the quotes.
    let mut bare = 0;
    let mut secrets: Vec<Range<usize>> = Vec::new();
    for range in places.into_iter().filter_map(|at| secret(text, at, &mut bare)) {
        match secrets.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => secrets.push(range),
        }
    }
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    for range in secrets {
        for byte in &mut bytes[range] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // Whole runs of bytes became ASCII, from one ASCII quote to the next.
    String::from_utf8(bytes).map_or(Cow::Borrowed(""), Cow::Owned)
}

/// The bytes between the quotes, when `after` a key stands a text. Without quotes it is the rest of
/// the line; up to `bare` that is known already.
fn secret(text: &str, after: usize, bare: &mut usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let skip = |mut at: usize| {
        while bytes.get(at).is_some_and(blank) {
            at += 1;
        }
        at
    };
    let mut at = skip(after);
    if matches!(bytes.get(at), Some(b'"' | b'\'')) {
        at = skip(at + 1);
    }
    if bytes.get(at) == Some(&b']') && at >= *bare {
        // The table's lines, up to the next header.
        let end = text.get(at..)?.find("\n[").map_or(bytes.len(), |length| at + length);
        return table(text, at + 1..end, bare);
    }
    if bytes.get(at) != Some(&b'=') {
        return None;
    }
    at = skip(at + 1);
    let Some(quote @ (b'"' | b'\'')) = bytes.get(at).copied() else {
        if at < *bare {
            return None;
        }
        if bytes.get(at) == Some(&b'{') {
            let inside = bytes[at + 1..].iter().take_while(|byte| !matches!(byte, b'\n' | b'}')).count();
            return table(text, at + 1..at + 1 + inside, bare);
        }
        let line = bytes[at..].iter().take_while(|byte| !matches!(byte, b'\n' | b'}')).count();
        *bare = at + line;
        return Some(at..*bare);
    };
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let start = if triple { at + 3 } else { at + 1 };
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\\' if quote == b'"' => end += 1,
            b'\n' if !triple => break,
            byte if *byte == quote && (!triple || bytes[end..].starts_with(&[quote; 3])) => break,
            _ => {}
        }
        end += 1;
    }
    Some(start..end.min(bytes.len()))
}

/// A table that stands for a secret, when it has a key that is not known.
fn table(text: &str, inside: Range<usize>, bare: &mut usize) -> Option<Range<usize>> {
    let unknown = |piece: &str| {
        let key = piece.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        key.is_some_and(|key| !key.starts_with('#') && !KNOWN.contains(&key))
    };
    if !text.get(inside.clone())?.split([',', '\n']).any(unknown) {
        return None;
    }
    *bare = inside.end;
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_moves() {
        for (text, masked) in [
            (r#"secret = { literal = "hell>com" } }"#, r#"secret = { literal = "********" } }"#),
            (r#"literal='it"s' # c"#, r#"literal='****' # c"#),
            (r#"literal = "a\"b", x = 1"#, r#"literal = "****", x = 1"#),
            (r#""literal" = "ab""#, r#""literal" = "**""#),
            ("literal = \"open\nnext = 1", "literal = \"****\nnext = 1"),
            ("literal = \"\"\"a\nb\"\"\"\nx", "literal = \"\"\"*\n*\"\"\"\nx"),
            ("literal = hell>com }", "literal = *********}"),
            ("literal = \"é\"", "literal = \"**\""),
            ("literal = \"\\", "literal = \"*"),
            ("a literal statement", "a literal statement"),
            ("literal = a literal = b } literal = c", "literal = **************} literal = *"),
            ("literal = a literal = \"b}c\"", "literal = ****************\""),
            ("secret = \"ab\"\nauth_pass = 12", "secret = \"**\"\nauth_pass = **"),
            ("secret = {literall = \"ab\"}", "secret = {***************}"),
            ("secret = {file = \"/x\", lit = \"ab\"}", "secret = {***********************}"),
            ("[a.secret]\nliterall = \"ab\"\n[b]\nx = 1", "[a.secret]\n***************\n[b]\nx = 1"),
            ("[a.secret]\nfile = \"/x\"\n", "[a.secret]\nfile = \"/x\"\n"),
            ("secret = { file = \"/x\" }, type = \"pass\"", "secret = { file = \"/x\" }, type = \"pass\""),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask(text).len(), text.len());
        }
    }
}
