//! One line of keepalived's language: its comment, its words, its quotes, and its braces.
//!
//! Blanks are ASCII: any other, such as a no-break space, is part of a word. Only `"` quotes; a backslash is
//! a sign like any other but before `#` and `!`. Programs are read a second time, with the quotes and escapes
//! of a shell: [`arguments`]. Nothing here knows a keyword or looks beyond the line.

use std::borrow::Cow;

/// A piece of a line: keepalived reads what stands before, between and after braces as lines of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinePiece<'a> {
    /// Words.
    Text(&'a str),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// Whether a sign separates words.
pub(super) const fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\u{c}' | '\n' | '\r' | '\u{b}')
}

/// A line without the blanks around it.
pub(super) fn trimmed(line: &str) -> &str {
    line.trim_start_matches([' ', '\t']).trim_end_matches([' ', '\t', '\r'])
}

/// The beginning of a text that may be of any length, on one line.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    let clean: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if clean.chars().count() <= MOST {
        return clean;
    }
    let short: String = clean.chars().take(MOST - 1).collect();
    format!("{short}…")
}

/// The first sign of a text that looks like a blank and is none.
pub(super) fn false_blank(text: &str) -> Option<char> {
    if text.is_ascii() {
        return None;
    }
    text.chars().find(|char| {
        (char.is_whitespace() && !is_blank(*char)) || matches!(char, '\u{feff}' | '\u{200b}'..='\u{200d}')
    })
}

/// A line up to its comment, which `#` or `!` begins outside quotes; before them a backslash takes that
/// meaning away, and goes.
pub(super) fn without_comment(line: &str) -> Cow<'_, str> {
    let bytes = line.as_bytes();
    let mut quoted = false;
    let mut taken: Vec<usize> = Vec::new();
    let mut end = line.len();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => {
                if !quoted && matches!(bytes.get(at + 1), Some(b'#' | b'!')) {
                    taken.push(at);
                }
                at += 1;
            }
            b'#' | b'!' if !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
        at += 1;
    }
    let kept = &line[..end];
    if taken.is_empty() {
        return Cow::Borrowed(trimmed(kept));
    }
    let mut out = String::with_capacity(kept.len());
    let mut from = 0;
    for backslash in taken {
        out.push_str(&kept[from..backslash]);
        from = backslash + 1;
    }
    out.push_str(&kept[from..]);
    Cow::Owned(trimmed(&out).to_owned())
}

/// Whether a line has a comment that ends with a backslash, which 2.2 takes for the end of the line before
/// it.
pub(super) fn comment_continues(line: &str) -> bool {
    let kept = without_comment(line);
    line.trim_end().ends_with('\\') && !kept.is_empty() && !kept.ends_with('\\')
}

/// The pieces of a line without its comment.
pub(super) fn pieces(line: &str) -> Vec<LinePiece<'_>> {
    let mut out = Vec::new();
    let mut rest = trimmed(line);
    while !rest.is_empty() {
        let piece = match rest.as_bytes().first() {
            Some(b'{') => Some(LinePiece::Open),
            Some(b'}') => Some(LinePiece::Close),
            _ => None,
        };
        let length = match piece {
            Some(piece) => {
                out.push(piece);
                1
            }
            None => {
                let length = brace(rest).unwrap_or(rest.len());
                out.push(LinePiece::Text(trimmed(&rest[..length])));
                length
            }
        };
        rest = trimmed(&rest[length..]);
    }
    out
}

/// Offset of the first brace outside quotes.
fn brace(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        !quoted && matches!(byte, b'{' | b'}')
    })
}

/// The words of a piece, and whether a quotation mark is left open: what stands after it is lost.
pub(super) fn words(text: &str) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_blank);
        if rest.is_empty() {
            return (out, false);
        }
        if let Some(inside) = rest.strip_prefix('"') {
            let Some((word, after)) = inside.split_once('"') else {
                return (out, true);
            };
            out.push(word.to_owned());
            rest = after;
        } else {
            let end = rest.find(|char| is_blank(char) || char == '"').unwrap_or(rest.len());
            out.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
}

/// The words of a text as a shell reads them, with `"`, `'` and escapes but nothing else of a shell. `None`
/// when a quotation mark is left open or nothing follows a backslash.
pub(super) fn arguments(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (_, '\\') => escape(&mut chars, word.get_or_insert_default())?,
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == char => quote = None,
            (None, _) if is_blank(char) => out.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return None;
    }
    out.extend(word);
    Some(out)
}

/// The character that a backslash and the text after it stand for.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) -> Option<()> {
    let char = chars.next()?;
    let digits =
        |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize, first: u32| {
            let mut value = first;
            let mut count = 0;
            while count < most
                && let Some(digit) = chars.peek().and_then(|char| char.to_digit(radix))
            {
                value = (value * radix + digit) & 0xff;
                chars.next();
                count += 1;
            }
            char::from_u32(value).unwrap_or('\u{fffd}')
        };
    text.push(match char {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => digits(chars, 16, usize::MAX, 0),
        'c' if chars.peek().is_some() => {
            let control = chars.next().unwrap_or('@');
            char::from_u32(u32::from(control) & 0x1f).unwrap_or('\u{fffd}')
        }
        '0'..='7' => digits(chars, 8, 2, char.to_digit(8).unwrap_or_default()),
        other => other,
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let line = without_comment(line);
        let mut out: Vec<String> = Vec::new();
        for piece in pieces(&line) {
            match piece {
                LinePiece::Text(text) => {
                    let (words, open) = words(text);
                    out.extend(words.into_iter().map(|word| format!("«{word}»")));
                    out.extend(open.then(|| "open".to_owned()));
                }
                LinePiece::Open => out.push("{".to_owned()),
                LinePiece::Close => out.push("}".to_owned()),
            }
        }
        out.join(" ")
    }

    /// Measured on keepalived 2.2.7: what its dump shows of such lines.
    #[test]
    fn words_quotes_braces_and_comments() {
        for (line, words) in [
            ("priority 100 # high", "«priority» «100»"),
            ("priority 100! high", "«priority» «100»"),
            ("auth_pass ab#cd", "«auth_pass» «ab»"),
            (r"auth_pass ab\#cd", "«auth_pass» «ab#cd»"),
            (r#"auth_pass "ab#cd""#, "«auth_pass» «ab#cd»"),
            ("auth_pass 'ab#cd'", "«auth_pass» «'ab»"),
            ("auth_pass 'a b'", "«auth_pass» «'a» «b'»"),
            (r"auth_pass a\tb", r"«auth_pass» «a\tb»"),
            ("vrrp_instance VI_1{", "«vrrp_instance» «VI_1» {"),
            ("a { b } c", "«a» { «b» } «c»"),
            ("x}y", "«x» } «y»"),
            ("{}{ }", "{ } { }"),
            (r#"notify "/a b" user"#, "«notify» «/a b» «user»"),
            (r#"label"eth0:1"x"#, "«label» «eth0:1» «x»"),
            (r#"x "{ 'y' }" {"#, "«x» «{ 'y' }» {"),
            (r#"a "" b"#, "«a» «» «b»"),
            ("end\\", "«end\\»"),
            (r#"a un"closed b"#, "«a» «un» open"),
            ("router_id bob's # comment", "«router_id» «bob's»"),
            ("! it's a comment", ""),
            ("\t \r", ""),
            ("priority\u{b}100\u{c}", "«priority» «100»"),
            ("priority\u{a0}100", "«priority\u{a0}100»"),
            ("\u{3000}priority 100", "«\u{3000}priority» «100»"),
        ] {
            assert_eq!(shown(line), words, "{line}");
        }
    }

    #[test]
    fn programs_have_the_quotes_of_a_shell() {
        let shown = |text: &str| arguments(text).map(|words| words.join("|"));
        for (text, words) in [
            ("/a b  'c d' \"e\"f ''", Some("/a|b|c d|ef|")),
            (r"\x41\101\tz", Some("AA\tz")),
            (r"a\ b", Some("a b")),
            (r"\cA", Some("\u{1}")),
            (r#"a "b'c" 'd"e'"#, Some("a|b'c|d\"e")),
            ("  ", Some("")),
            ("a 'b", None),
            ("a \\", None),
        ] {
            assert_eq!(shown(text).as_deref(), words, "{text}");
        }
    }

    #[test]
    fn blanks_that_are_none_are_found() {
        assert_eq!(false_blank("a b"), None);
        assert_eq!(false_blank("é"), None);
        assert_eq!(false_blank("a\u{a0}b"), Some('\u{a0}'));
        assert_eq!(false_blank("\u{feff}a"), Some('\u{feff}'));
        assert!(comment_continues("priority 1 # x \\"));
        assert!(!comment_continues("priority 1 \\") && !comment_continues("# x \\"));
    }
}
