//! Send bytes, and wait for an answer that matches: recipes for Redis, LDAP, IMAP and the like are made of
//! this.
//!
//! The first part of the answer that matches is success. `$` stands for the end of the answer: the target
//! closes, or the time is over.

use std::sync::Arc;

use evenkeel_schemas::status::FaultLabel;

use super::pattern::{Kept, Pattern};
use super::{Dialogue, End, MOST, Step, excerpt};
use crate::fault::{Fault, Says, Words};

/// Sends, and waits for an answer.
#[derive(Debug)]
pub struct Expect {
    send: Vec<u8>,
    pattern: Arc<Pattern>,
    kept: Kept,
}

impl Expect {
    /// Sends this, if it is not empty, and waits for what the expression matches.
    #[must_use]
    pub fn new(send: Vec<u8>, pattern: Arc<Pattern>) -> Self {
        Self { send, pattern, kept: Kept::default() }
    }
}

impl Dialogue for Expect {
    fn begin(&mut self) -> Step {
        match std::mem::take(&mut self.send) {
            nothing if nothing.is_empty() => Step::Read,
            bytes => Step::Send(bytes),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> Step {
        self.kept.add(bytes);
        if self.kept.is_full() {
            if self.kept.matches_at_last(&self.pattern, false) {
                return Step::healthy();
            }
            let begins = excerpt(self.kept.bytes());
            let reason = format!("the first {} KiB of the answer do not match: `{begins}`", MOST >> 10);
            return Step::fault(FaultLabel::TooLong, reason);
        }
        if self.kept.matches(&self.pattern) { Step::healthy() } else { Step::Read }
    }

    fn ended(&mut self, end: End) -> Result<Says, Fault> {
        let answer = self.kept.bytes();
        if answer.is_empty() {
            return Err(end.without("answer"));
        }
        if self.kept.matches_at_last(&self.pattern, true) {
            return Ok(Says::default());
        }
        let begins = excerpt(answer);
        Err(match end {
            End::Closed => Fault::new(FaultLabel::Answer, format!("answer `{begins}` does not match")),
            End::OutOfTime(limit) => {
                let limit = Words(limit);
                Fault::new(FaultLabel::Answer, format!("answer `{begins}` does not match within {limit}"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{play, same, words};
    use super::*;

    const LATE: End = End::OutOfTime(Duration::from_secs(5));

    fn ask(send: &str, expression: &str) -> Expect {
        Expect::new(send.as_bytes().to_vec(), Arc::new(Pattern::new(expression).expect(expression)))
    }

    #[test]
    fn what_is_said_is_judged_alike_however_it_comes() {
        for (expression, answer, end, wanted) in [
            (r"^\+PONG\r\n", "+PONG\r\n", LATE, "healthy"),
            (r"^\+PONG", "+PONG\r\n", LATE, "healthy"),
            (r"^\+PONG\r\n$", "+PONG\r\n", LATE, "healthy"),
            (r"^\+PONG\r\n$", "+PONG\r\n", End::Closed, "healthy"),
            ("^OK$", "OKAY", End::Closed, "answer: answer `OKAY` does not match"),
            ("^OK$", "OKAY", LATE, "answer: answer `OKAY` does not match within 5 s"),
            (r"^\+PONG", "-LOADING\r\n", LATE, "answer: answer `-LOADING` does not match within 5 s"),
            ("x", "", LATE, "timeout: no answer in 5 s"),
            ("x", "", End::Closed, "closed: no answer before the connection closed"),
            (
                r"(?-u)^\x30\x0c.*\x0a\x01\x00",
                "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04",
                LATE,
                "healthy",
            ),
        ] {
            let (verdict, sent) = same(|| ask("PING\r\n", expression), answer.as_bytes(), end);
            assert_eq!(words(&verdict), wanted, "{expression} {answer:?}");
            assert_eq!(sent, "PING\r\n");
        }
    }

    #[test]
    fn an_endless_answer_ends_at_the_bound() {
        let piece = [b'x'; 4096];
        let pieces = vec![piece.as_slice(); 1000];
        let (verdict, sent) = play(ask("", "y"), &pieces, LATE);
        let fault = verdict.expect_err("no match");
        assert_eq!(fault.label, FaultLabel::TooLong);
        assert!(fault.reason.starts_with("the first 64 KiB of the answer do not match: `xxx"), "{fault}");
        assert!(sent.is_empty());
        let late = [[b'x'; MOST - 1].as_slice(), b"y"];
        assert_eq!(play(ask("", "y"), &late, LATE).0, Ok(Says::default()), "the last byte that is kept");
    }
}
