//! UDP_CHECK: the bytes that it sends, and the answer that must come back.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::super::notes::Fate;
use super::super::tree::Statement;
use super::super::versions;
use super::Reader;

/// keepalived's longest answer where none is said.
const LONGEST_ANSWER: u16 = 255;

/// Most bytes that are sent, or compared.
const MAX_BYTES: usize = 512;

/// The answer that a check wants.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The first bytes, each with the half of it that counts: none where any will do.
    bytes: Vec<[Option<u8>; 2]>,
    /// The line that says so.
    note: usize,
    least: Option<(u16, usize)>,
    most: Option<(u16, usize)>,
}

impl Reader<'_> {
    /// Takes a statement of UDP_CHECK; whether it was one.
    pub(super) fn datagram(
        &mut self,
        statement: &Statement,
        answer: &mut Answer,
        check: &mut Map<String, Value>,
    ) -> bool {
        match statement.keyword() {
            "payload" => {
                let text: String = statement.values().map(pairs).collect();
                let good = !text.is_empty()
                    && text.len() <= 2 * MAX_BYTES
                    && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                if good && self.ends_with_ff(&text, statement) {
                    let taken = "keepalived does not understand it and sends nothing; left out";
                    self.bad(statement, "a payload whose last byte is ff".to_owned(), taken);
                } else if good {
                    self.says("payload");
                    check.insert("payload".to_owned(), json!(text));
                } else {
                    self.bad(statement, "a payload is 1 to 512 bytes in hexadecimal".to_owned(), "left out");
                }
            }
            "require_reply" => self.require_reply(statement, answer, check),
            key @ ("min_reply_length" | "max_reply_length") => {
                if let Some(length) =
                    self.number(statement, 0..=65_535).and_then(|number| u16::try_from(number).ok())
                {
                    let thing =
                        if key == "min_reply_length" { "min_reply_length" } else { "max_reply_length" };
                    self.says(thing);
                    let of = if key == "min_reply_length" { &mut answer.least } else { &mut answer.most };
                    *of = Some((length, self.note));
                }
            }
            _ => return false,
        }
        true
    }

    fn require_reply(&mut self, statement: &Statement, answer: &mut Answer, check: &mut Map<String, Value>) {
        check.insert("require_reply".to_owned(), json!(true));
        let text: String = statement.values().map(pairs).collect();
        if text.is_empty() {
            return;
        }
        let digit = |byte: u8| match char::from(byte) {
            'x' | 'X' => Some(None),
            digit => digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(Some),
        };
        let halves: Option<Vec<Option<u8>>> = text.bytes().map(digit).collect();
        let any = "keepalived does not understand it, and any answer will do";
        let Some(halves) = halves.filter(|halves| halves.len() <= 2 * MAX_BYTES) else {
            return self.bad(
                statement,
                "an answer is 1 to 512 bytes in hexadecimal, `X` any digit".to_owned(),
                any,
            );
        };
        if self.ends_with_ff(&text, statement) {
            return self.bad(statement, "an answer whose last byte is ff".to_owned(), any);
        }
        self.says("require_reply");
        answer.note = self.note;
        answer.bytes = halves.as_chunks::<2>().0.to_vec();
    }

    /// Whether keepalived takes the end of bytes for a mistake.
    fn ends_with_ff(&mut self, hex: &str, statement: &Statement) -> bool {
        let ends = hex.len() >= 2 && hex.ends_with(['f', 'F']) && hex[..hex.len() - 1].ends_with(['f', 'F']);
        ends && !self.newer(&versions::HEX_END, statement.spot)
    }

    /// keepalived looks at an answer, and at its length, only where bytes are given.
    pub(super) fn settle_answer(&mut self, answer: Answer, check: &mut Map<String, Value>) {
        let Answer { bytes, note, least, most } = answer;
        if bytes.is_empty() {
            let why = "keepalived looks at the length only where `require_reply` gives bytes";
            for (_, note) in least.into_iter().chain(most) {
                self.notes.without_effect(note, why);
            }
            return;
        }
        let shortest = least.map_or(0, |(length, _)| length);
        let longest = most.map_or(LONGEST_ANSWER, |(length, _)| length);
        if usize::from(shortest) < bytes.len() {
            let why = "an answer that is shorter than these bytes fails; keepalived compares as many as come";
            self.notes.instead_at(note, Fate::Changed, why);
        }
        if shortest > longest {
            // Neither of them ever takes an answer.
            let notes: Vec<usize> = least.into_iter().chain(most).map(|(_, note)| note).collect();
            for note in notes {
                let why = "no answer has such a length, so that keepalived's check always fails; left out";
                self.notes.instead_at(note, Fate::Decide, why);
            }
        } else {
            if shortest > 0 {
                check.insert("min_reply_length".to_owned(), json!(shortest));
            }
            check.insert("max_reply_length".to_owned(), json!(longest));
        }
        check.insert("expect".to_owned(), json!(expression(&bytes)));
    }
}

/// An expression for the first bytes of an answer.
fn expression(bytes: &[[Option<u8>; 2]]) -> String {
    let mut out = String::from("(?s-u)\\A");
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = match byte {
            [Some(high), Some(low)] => write!(out, "\\x{high:x}{low:x}"),
            [Some(high), None] => write!(out, "[\\x{high:x}0-\\x{high:x}f]"),
            [None, Some(low)] => {
                out.push('[');
                (0..16).for_each(|high| _ = write!(out, "\\x{high:x}{low:x}"));
                out.push(']');
                Ok(())
            }
            [None, None] => {
                out.push('.');
                Ok(())
            }
        };
    }
    out
}

/// Hexadecimal digits as whole bytes: a digit left alone stands for itself.
fn pairs(text: &str) -> String {
    if text.len().is_multiple_of(2) {
        return text.to_owned();
    }
    let (most, last) = text.split_at(text.floor_char_boundary(text.len().saturating_sub(1)));
    format!("{most}0{last}")
}

#[cfg(test)]
mod tests {
    use super::{expression, pairs};

    #[test]
    fn a_digit_alone_is_a_byte() {
        let text: String = ["Ab12f", "3", "456"].into_iter().map(pairs).collect();
        assert_eq!(text, "Ab120f034506");
    }

    #[test]
    fn bytes_and_halves_of_them_are_matched() {
        let text = expression(&[[Some(0), Some(15)], [Some(1), None], [None, Some(2)], [None, None]]);
        let expression = regex::bytes::Regex::new(&text).expect("an expression");
        for (answer, good) in [
            (&b"\x0f\x1a\x72\xff more"[..], true),
            (b"\x0f\x10\x02\n", true),
            (b"\x0f\x20\x02\n", false),
            (b"\x0f\x10\x03\n", false),
            (b"\x0f\x10\x02", false),
            (b" \x0f\x10\x02\n", false),
        ] {
            assert_eq!(expression.is_match(answer), good, "{text}: {answer:?}");
        }
    }
}
