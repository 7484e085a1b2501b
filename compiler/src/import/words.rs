//! One line of keepalived's language: its comment, its words, quotes and escapes, and its braces.
//!
//! Nothing here knows a keyword or looks beyond the line.

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, its quotes removed.
    Word(Word),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A word and whether any of it was quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// What is odd about a line, to be told with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Odd {
    /// A quotation mark has no partner on the line.
    OpenQuote(char),
    /// A backslash means something to newer versions and nothing to older ones.
    Escape,
}

/// `line` up to its comment: `#` or `!` anywhere outside quotes begins one.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, char) in line.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (quote, char) {
            (_, '\\') => escaped = true,
            (None, '#' | '!') => return &line[..at],
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            _ => {}
        }
    }
    if quote.is_none() {
        return line;
    }
    // A quote that is never closed hides no comment: an apostrophe alone is a slip.
    [" #", "\t#", " !", "\t!"].iter().filter_map(|sign| line.find(sign)).min().map_or(line, |at| &line[..at])
}

/// The words and braces of a line without its comment.
pub(super) fn tokens(line: &str) -> (Vec<Token>, Vec<Odd>) {
    let mut out = Vec::new();
    let mut odd = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (_, '\\') => {
                let word = word.get_or_insert_with(empty);
                // The comment signs and quotes are the same to all versions.
                if !matches!(chars.peek(), Some('#' | '!' | '"' | '\'' | '\\') | None) {
                    odd.push(Odd::Escape);
                }
                escape(&mut chars, &mut word.text);
            }
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_with(empty).quoted = true;
            }
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => word.get_or_insert_with(empty).text.push(char),
            (None, '{' | '}') => {
                out.extend(word.take().map(Token::Word));
                out.push(if char == '{' { Token::Open } else { Token::Close });
            }
            (None, _) if char.is_whitespace() => out.extend(word.take().map(Token::Word)),
            (None, _) => word.get_or_insert_with(empty).text.push(char),
        }
    }
    out.extend(word.map(Token::Word));
    odd.extend(quote.map(Odd::OpenQuote));
    odd.sort_unstable();
    odd.dedup();
    (out, odd)
}

const fn empty() -> Word {
    Word { text: String::new(), quoted: false }
}

/// What stands after a backslash.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) {
    let Some(char) = chars.next() else {
        text.push('\\');
        return;
    };
    let digits =
        |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize, first: u32| {
            let mut value = first;
            let mut count = 0;
            while count < most
                && let Some(digit) = chars.peek().and_then(|char| char.to_digit(radix))
            {
                value = value * radix + digit;
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
        'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => digits(chars, 16, 2, 0),
        'c' if chars.peek().is_some_and(char::is_ascii) => {
            let control = chars.next().unwrap_or('@');
            char::from(u8::try_from(u32::from(control) & 0x1f).unwrap_or_default())
        }
        '0'..='7' => digits(chars, 8, 2, char.to_digit(8).unwrap_or_default()),
        other => other,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let (tokens, odd) = tokens(without_comment(line));
        let mut out: Vec<String> = tokens
            .into_iter()
            .map(|token| match token {
                Token::Word(word) if word.quoted => format!("«{}»", word.text),
                Token::Word(word) => word.text,
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
            })
            .collect();
        out.extend(odd.into_iter().map(|odd| format!("{odd:?}")));
        out.join(" ")
    }

    #[test]
    fn words_quotes_braces_and_comments() {
        for (line, words) in [
            ("priority 100 # high", "priority 100"),
            ("priority 100! high", "priority 100"),
            ("auth_pass ab#cd", "auth_pass ab"),
            (r"auth_pass ab\#cd", "auth_pass ab#cd"),
            (r#"auth_pass "ab#cd""#, "auth_pass «ab#cd»"),
            ("vrrp_instance VI_1{", "vrrp_instance VI_1 {"),
            ("a { b } c", "a { b } c"),
            ("x}y", "x } y"),
            (r#"notify "/a b" user"#, "notify «/a b» user"),
            (r#"abcd" efg h jkl "mnop"#, "«abcd efg h jkl mnop»"),
            (r#"abcd "efg h jkl" mnop"#, "abcd «efg h jkl» mnop"),
            (r#"x "{ 'y' }""#, "x «{ 'y' }»"),
            (r#"a "" b"#, "a «» b"),
            (r#"a\"b"#, "a\"b"),
            (r"\x41\101\tz", "AA\tz Escape"),
            (r"\cA", "\u{1} Escape"),
            ("end\\", "end\\"),
            (r#"un"closed"#, "«unclosed» OpenQuote('\"')"),
            ("router_id bob's # comment", "router_id «bobs» OpenQuote('\\'')"),
            ("! it's a comment", ""),
            ("\t \r", ""),
        ] {
            assert_eq!(shown(line), words, "{line}");
        }
    }
}
