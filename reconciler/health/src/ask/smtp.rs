//! SMTP (RFC 5321): the greeting, EHLO, or HELO where the server knows no other, and QUIT.
//!
//! A server that takes our name is healthy. What it says to QUIT does not matter.

use evenkeel_schemas::status::FaultLabel;

use super::{Dialogue, End, Step, excerpt};
use crate::fault::{Fault, Says};

/// Most bytes of a reply, 16 KiB: 32 lines of the longest that there may be (RFC 5321 §4.5.3.1.5).
const REPLY: usize = 16 * 1024;
/// Bytes of a reply that are kept for people.
const KEPT: usize = 128;

/// A greeting and a farewell.
#[derive(Debug)]
pub struct Smtp {
    name: String,
    place: Stage,
    reply: Reply,
}

/// Stage of the dialogue, called after the answer that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    Quit,
}

impl Stage {
    const fn what(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Ehlo => "answer to EHLO",
            Self::Helo => "answer to HELO",
            Self::Quit => "answer to QUIT",
        }
    }
}

/// A reply, line by line.
#[derive(Debug, Default)]
struct Reply {
    /// The beginning of its first line.
    first: Vec<u8>,
    /// Number of its lines that have ended.
    lines: usize,
    /// The code of the line that is read, and how many of its bytes have come.
    code: u16,
    column: usize,
    /// Whether the line is the last one.
    last: bool,
    length: usize,
}

/// A reply is none.
struct NoReply;

impl Reply {
    /// Takes a byte; the code when it ends the reply.
    fn add(&mut self, byte: u8) -> Result<Option<u16>, NoReply> {
        self.length += 1;
        if self.lines == 0 && self.first.len() < KEPT && !matches!(byte, b'\r' | b'\n') {
            self.first.push(byte);
        }
        let column = self.column;
        self.column += 1;
        match (column, byte) {
            (0..3, b'0'..=b'9') => {
                let code = if column == 0 { 0 } else { self.code };
                self.code = code * 10 + u16::from(byte - b'0');
            }
            (0..3, _) => return Err(NoReply),
            (3, b'-') => self.last = false,
            (3, b' ' | b'\r' | b'\n') => self.last = true,
            (3, _) => return Err(NoReply),
            _ => {}
        }
        if byte != b'\n' {
            return Ok(None);
        }
        self.lines += 1;
        self.column = 0;
        Ok(self.last.then_some(self.code))
    }
}

impl Smtp {
    /// Greets with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = name.chars().filter(char::is_ascii_graphic).collect();
        Self { name, place: Stage::Greeting, reply: Reply::default() }
    }

    fn replied(&mut self, code: u16) -> Step {
        let reply = std::mem::take(&mut self.reply);
        let (next, line) = match (self.place, code) {
            (Stage::Greeting, 220) => (Stage::Ehlo, format!("EHLO {}\r\n", self.name)),
            (Stage::Ehlo | Stage::Helo, 250) => (Stage::Quit, "QUIT\r\n".to_owned()),
            // The server does not know the word, or does not take it (RFC 5321 §3.2).
            (Stage::Ehlo, 500..=599) => (Stage::Helo, format!("HELO {}\r\n", self.name)),
            (Stage::Quit, _) => return Step::healthy(),
            (stage, _) => {
                let wanted = if stage == Stage::Greeting { 220 } else { 250 };
                let reason = format!("{} `{}`, wanted {wanted}", stage.what(), excerpt(&reply.first));
                return Step::fault(FaultLabel::Answer, reason);
            }
        };
        self.place = next;
        Step::Send(line.into_bytes())
    }
}

impl Dialogue for Smtp {
    fn begin(&mut self) -> Step {
        Step::Read
    }

    fn received(&mut self, bytes: &[u8]) -> Step {
        let mut send = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            let fault = |label, why: &str, reply: &Reply| {
                let begins = excerpt(&reply.first);
                Step::fault(label, format!("{} `{begins}` {why}", self.place.what()))
            };
            match self.reply.add(*byte) {
                _ if self.place == Stage::Quit => return Step::healthy(),
                Err(NoReply) => {
                    // For people: what else has come with it.
                    let room = KEPT - self.reply.first.len();
                    self.reply.first.extend(bytes.iter().skip(at + 1).take(room));
                    return fault(FaultLabel::Answer, "is not SMTP", &self.reply);
                }
                Ok(None) if self.reply.length >= REPLY => {
                    return fault(FaultLabel::TooLong, "has no end", &self.reply);
                }
                Ok(None) => {}
                Ok(Some(code)) => match self.replied(code) {
                    Step::Send(line) => send.extend(line),
                    step => return step,
                },
            }
        }
        if send.is_empty() { Step::Read } else { Step::Send(send) }
    }

    fn ended(&mut self, end: End) -> Result<Says, Fault> {
        if self.place == Stage::Quit {
            return Ok(Says::default());
        }
        Err(end.without(if self.reply.length > 0 {
            match self.place {
                Stage::Greeting => "end of the greeting",
                _ => "end of the answer to the greeting",
            }
        } else {
            self.place.what()
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{play, same, words};
    use super::*;

    const LATE: End = End::OutOfTime(Duration::from_secs(5));

    #[test]
    fn what_is_said_is_judged_alike_however_it_comes() {
        let ehlo = "EHLO lb1.example\r\n";
        let quit = "EHLO lb1.example\r\nQUIT\r\n";
        for (said, end, wanted, sent) in [
            ("220 mx ESMTP\r\n250-mx\r\n250 SIZE\r\n221 bye\r\n", End::Closed, "healthy", quit),
            ("220-mx\r\n220-more\r\n220 ESMTP\r\n250 mx\r\n", LATE, "healthy", quit),
            ("220 mx\n250 mx\n", End::Closed, "healthy", quit),
            ("220 mx\r\n250 mx\r\ngarbage", LATE, "healthy", quit),
            (
                "220 mx\r\n502 unknown\r\n250 mx\r\n221\r\n",
                LATE,
                "healthy",
                "EHLO lb1.example\r\nHELO lb1.example\r\nQUIT\r\n",
            ),
            ("", LATE, "timeout: no greeting in 5 s", ""),
            ("", End::Closed, "closed: no greeting before the connection closed", ""),
            ("220 mx", LATE, "timeout: no end of the greeting in 5 s", ""),
            ("220-mx\r\n", LATE, "timeout: no end of the greeting in 5 s", ""),
            ("220 mx\r\n", LATE, "timeout: no answer to EHLO in 5 s", ehlo),
            ("554 no service\r\n", End::Closed, "answer: greeting `554 no service`, wanted 220", ""),
            ("421 mx busy\r\n", End::Closed, "answer: greeting `421 mx busy`, wanted 220", ""),
            ("220 mx\r\n421 busy\r\n", End::Closed, "answer: answer to EHLO `421 busy`, wanted 250", ehlo),
            ("SSH-2.0-OpenSSH\r\n", LATE, "answer: greeting `SSH-2.0-OpenSSH` is not SMTP", ""),
            ("2200 mx\r\n", LATE, "answer: greeting `2200 mx` is not SMTP", ""),
            ("\x00\x01", LATE, "answer: greeting `\\0\\u{1}` is not SMTP", ""),
        ] {
            let (verdict, heard) = same(|| Smtp::new("lb1.example"), said.as_bytes(), end);
            assert_eq!(words(&verdict), wanted, "{said:?}");
            assert_eq!(heard, sent, "{said:?}");
        }
    }

    #[test]
    fn an_endless_greeting_ends_at_the_bound() {
        let line = b"220-more of it\r\n".repeat(100);
        let pieces = vec![line.as_slice(); 1000];
        let (verdict, _) = play(Smtp::new("lb"), &pieces, LATE);
        assert_eq!(words(&verdict), "too_long: greeting `220-more of it` has no end");
    }
}
