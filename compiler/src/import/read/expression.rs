//! `regex`: keepalived's expressions are PCRE2's, the daemon's are those of the crate `regex`. What both read
//! alike is carried; of the rest the report says which of the two does not take it. No expression is run
//! here.

use regex::Regex;

use super::super::notes::{Fate, Finding};
use super::super::tree::Statement;
use super::{Reader, shorten};
use crate::codes;

/// Meaning of an expression to PCRE2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpressionReading {
    /// The same meaning in both libraries, where both take it.
    Common,
    /// An expression that ends too early or repeats what cannot be repeated: PCRE2 does not take it.
    Broken,
    /// An expression with something that only PCRE2 has, or that it reads otherwise.
    Own(&'static str),
}

impl Reader<'_> {
    /// A regular expression is one word, with the quotes and escapes of a shell. `None`: it is left out.
    pub(super) fn expression(&mut self, statement: &Statement) -> Option<String> {
        let arguments = statement.arguments();
        let Some([_, pattern]) = arguments.as_deref() else {
            let message = "a regular expression is one word: quote it".to_owned();
            self.bad(statement, message, "keepalived ignores the line");
            return None;
        };
        match reading(pattern) {
            ExpressionReading::Broken => {
                let message = format!("`{}` is no regular expression", shorten(pattern));
                let taken =
                    "keepalived says so and goes on with memory that it has freed; here it is left out";
                self.bad(statement, message, taken);
                return None;
            }
            ExpressionReading::Own(what) => {
                let why = format!(
                    "it has {what}, which keepalived's library and the daemon's do not read alike: write it \
                        in another way"
                );
                self.instead(Fate::Decide, why);
            }
            ExpressionReading::Common if Regex::new(pattern).is_err() => {
                let why = "the daemon's library does not take the expression, and keepalived's may: write it \
                    in another way";
                self.instead(Fate::Decide, why);
                let message = format!("`{}` is no regular expression for the daemon", shorten(pattern));
                let finding =
                    Finding::new(&codes::IMPORT_VALUE, statement.spot, message, "to decide".to_owned());
                self.notes.finding(finding.at(pattern));
            }
            ExpressionReading::Common => {}
        }
        Some(pattern.clone())
    }
}

/// An expression that both libraries read alike, with the flags of its options, as the daemon's library says
/// the same. `$` among them is PCRE2's `dollar_endonly`: without it, and with one line, `$` stands before a
/// last end of line, too.
pub(super) fn with_options(pattern: &str, flags: &[char]) -> String {
    let strict = flags.iter().any(|flag| matches!(flag, '$' | 'm'));
    let pattern = if strict { pattern.to_owned() } else { with_last_line(pattern) };
    let flags: String = flags.iter().filter(|flag| **flag != '$').collect();
    if flags.is_empty() { pattern } else { format!("(?{flags}){pattern}") }
}

/// A `$` that the end of a line may follow.
pub(super) const LAST_LINE: &str = "(?:\\n?\\z)";

fn with_last_line(pattern: &str) -> String {
    let bytes = pattern.as_bytes();
    let mut out = String::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'\\' => at + 2,
            b'[' => class(bytes, at + 1).0.unwrap_or(bytes.len()),
            b'$' => {
                out.push_str(LAST_LINE);
                at += 1;
                continue;
            }
            _ => at + 1,
        };
        // Up to the beginning of the next character.
        let end = (end..bytes.len()).find(|end| pattern.is_char_boundary(*end)).unwrap_or(bytes.len());
        out.push_str(pattern.get(at..end).unwrap_or_default());
        at = end;
    }
    out
}

/// Reads an expression once from its beginning to its end.
fn reading(pattern: &str) -> ExpressionReading {
    let bytes = pattern.as_bytes();
    let mut own = None;
    let mut groups = 0_usize;
    // Set while the element before can be repeated.
    let mut repeatable = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => {
                let Some(escaped) = bytes.get(at) else { return ExpressionReading::Broken };
                at += 1;
                // The daemon's library reads these letters as PCRE2 does.
                if escaped.is_ascii_alphanumeric() && !b"dDsSwWbBnrtfxAz".contains(escaped) {
                    own = own.or(Some("an escape such as `\\h` or `\\1`"));
                    if *escaped == b'Q' {
                        // Text up to `\E`, taken as it is.
                        return ExpressionReading::Own("a quotation with `\\Q`");
                    }
                }
                repeatable = !b"bBAz".contains(escaped);
            }
            b'[' => {
                let (end, strange) = class(bytes, at);
                let Some(end) = end else { return ExpressionReading::Broken };
                if strange {
                    own = own.or(Some("a class of signs with `[`, `&&`, `--` or `~~` in it"));
                }
                at = end;
                repeatable = true;
            }
            b'(' => {
                groups += 1;
                repeatable = false;
                if bytes.get(at) == Some(&b'?') {
                    let rest = &bytes[at + 1..];
                    let named = rest.starts_with(b"P<")
                        || (rest.starts_with(b"<") && !matches!(rest.get(1), Some(b'=' | b'!')));
                    let flags = rest.iter().take_while(|byte| b"imsx-".contains(byte)).count();
                    let plain = matches!(rest.get(flags), Some(b':' | b')'));
                    if !named && !plain {
                        own = own.or(Some("a look ahead or back, or another group of PCRE2's own"));
                    }
                    at += 1;
                    if plain {
                        at += flags;
                        if rest.get(flags) == Some(&b':') {
                            at += 1;
                        }
                    } else {
                        // Up to the end of the group's sign.
                        at += rest.iter().take_while(|byte| b"P<=!>:#|".contains(byte)).count();
                    }
                } else if bytes.get(at) == Some(&b'*') {
                    return ExpressionReading::Own("a group that begins with `(*`");
                }
            }
            b')' => {
                let Some(left) = groups.checked_sub(1) else { return ExpressionReading::Broken };
                groups = left;
                repeatable = true;
            }
            b'*' | b'+' | b'?' => {
                if !repeatable {
                    return ExpressionReading::Broken;
                }
                match bytes.get(at) {
                    Some(b'?') => at += 1,
                    Some(b'+') => {
                        at += 1;
                        own = own.or(Some("a repetition that gives nothing back, such as `a++`"));
                    }
                    _ => {}
                }
                repeatable = false;
            }
            b'{' => match counted(&bytes[at..]) {
                Some(count) if repeatable && count.ordered => {
                    at += count.length;
                    match bytes.get(at) {
                        Some(b'?') => at += 1,
                        Some(b'+') => {
                            at += 1;
                            own = own.or(Some("a repetition that gives nothing back, such as `a{2}+`"));
                        }
                        _ => {}
                    }
                    repeatable = false;
                }
                Some(_) => return ExpressionReading::Broken,
                // PCRE2 takes it for a sign.
                None => {
                    own = own.or(Some("a `{` that counts nothing"));
                    repeatable = true;
                }
            },
            b'^' | b'$' | b'|' => repeatable = false,
            _ => repeatable = true,
        }
    }
    match (groups, own) {
        (0, None) => ExpressionReading::Common,
        (0, Some(what)) => ExpressionReading::Own(what),
        _ => ExpressionReading::Broken,
    }
}

/// Where a class of signs ends, that begins at `at` behind its `[`, and whether the libraries read it
/// differently.
fn class(bytes: &[u8], at: usize) -> (Option<usize>, bool) {
    let mut strange = false;
    let mut here = at;
    if bytes.get(here) == Some(&b'^') {
        here += 1;
    }
    let first = here;
    while let Some(byte) = bytes.get(here) {
        let next = bytes.get(here + 1);
        match byte {
            // The first one is a sign.
            b']' if here > first => return (Some(here + 1), strange),
            b'\\' => {
                strange |=
                    next.is_some_and(|next| next.is_ascii_alphanumeric() && !b"dDsSwWnrtfx".contains(next));
                here += 1;
            }
            b'[' if next == Some(&b':') => match bytes[here..].windows(2).position(|pair| pair == b":]") {
                Some(length) => here += length + 1,
                None => strange = true,
            },
            b'[' => strange = true,
            b'&' | b'-' | b'~' if next == Some(byte) => strange = true,
            _ => {}
        }
        here += 1;
    }
    (None, strange)
}

/// `2}`, `2,}` or `2,3}`.
struct ExpressionCounts {
    length: usize,
    /// Whether the first number is not above the second.
    ordered: bool,
}

fn counted(rest: &[u8]) -> Option<ExpressionCounts> {
    let end = rest.iter().position(|byte| *byte == b'}')?;
    let mut parts = rest[..end].splitn(2, |byte| *byte == b',');
    let number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let first = parts.next().filter(|part| number(part))?;
    let second = parts.next();
    if second.is_some_and(|part| !part.is_empty() && !number(part)) {
        return None;
    }
    let value = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<u32>().ok();
    let ordered = second.is_none_or(|last| last.is_empty() || value(first) <= value(last));
    Some(ExpressionCounts { length: end + 1, ordered })
}

#[cfg(test)]
mod tests {
    use super::{ExpressionReading, reading, with_options};

    #[test]
    fn options_become_flags_and_a_last_line_may_end() {
        for (pattern, flags, ours) in [
            ("ok", &[][..], "ok"),
            ("ok", &['i', 's'], "(?is)ok"),
            ("^ok$", &[], "^ok(?:\\n?\\z)"),
            ("^ok$", &['m'], "(?m)^ok$"),
            ("^ok$", &['$'], "^ok$"),
            ("[$]\\$é$", &[], "[$]\\$é(?:\\n?\\z)"),
        ] {
            assert_eq!(with_options(pattern, flags), ours, "{pattern}");
        }
        let ours = regex::Regex::new(&with_options("ok$", &[])).expect("an expression");
        assert!(ours.is_match("ok") && ours.is_match("ok\n") && !ours.is_match("ok\n\n"));
    }

    #[test]
    fn what_both_libraries_read_alike_is_common() {
        for pattern in [
            "ok",
            "^ok$",
            "a.*b",
            "(a|b)+c",
            r"\d{2,3}?",
            "[]a]",
            "[^]a]",
            "[[:alpha:]]",
            r"\(x\)",
            "(?i)ok",
            "(?:a)b",
            "(?P<n>a)",
            "x{2}",
            "",
        ] {
            assert_eq!(reading(pattern), ExpressionReading::Common, "{pattern}");
            assert!(regex::Regex::new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn what_pcre_does_not_take_is_broken() {
        for pattern in [
            "[", "[a", "[]", "(", "(a", ")", "a)", "*", "a**", "+a", "a\\", "(?:", "^*", "$*", r"\b+", "{2}",
            "a{3,2}",
        ] {
            assert_eq!(reading(pattern), ExpressionReading::Broken, "{pattern}");
        }
    }

    #[test]
    fn what_only_pcre_has_is_its_own() {
        for pattern in [
            "a(?=b)", "(?<!a)b", r"(a)\1", "a++", "[a[b]", "[a&&b]", "a{", r"\Q[\E", r"\h", "(?>a)",
            "(?|a|b)", "(*UTF)a",
        ] {
            assert!(matches!(reading(pattern), ExpressionReading::Own(_)), "{pattern}");
        }
    }
}
