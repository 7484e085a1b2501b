//! Words of an agent on a real server, HAProxy's `agent-check`: one line.
//!
//! ```text
//!   words, separated by blanks and commas, then perhaps `#` and why
//!   up ready 75%
//!   down,maint # disk is full
//! ```
//!
//! An agent that says nothing that is known says nothing of its target: any fault but [`FaultLabel::Said`] is
//! the agent's own.

use evenkeel_schemas::status::FaultLabel;

use super::{Dialogue, End, Step, excerpt};
use crate::fault::{Fault, Says, Share};

/// Most bytes of the line.
const LINE: usize = 1024;

/// A line of an agent.
#[derive(Debug)]
pub struct Agent {
    send: Vec<u8>,
    line: Vec<u8>,
}

impl Agent {
    /// Sends this, if it is not empty, and reads a line.
    #[must_use]
    pub fn new(send: Vec<u8>) -> Self {
        Self { send, line: Vec::new() }
    }
}

impl Dialogue for Agent {
    fn begin(&mut self) -> Step {
        match std::mem::take(&mut self.send) {
            nothing if nothing.is_empty() => Step::Read,
            bytes => Step::Send(bytes),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> Step {
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0));
        let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = LINE - self.line.len();
        self.line.extend_from_slice(text.get(..room).unwrap_or(text));
        if text.len() > room {
            let begins = excerpt(&self.line);
            return Step::fault(FaultLabel::TooLong, format!("the agent's line `{begins}` is too long"));
        }
        if end.is_some() { Step::Over(heard(&self.line)) } else { Step::Read }
    }

    fn ended(&mut self, end: End) -> Result<Says, Fault> {
        match end {
            End::Closed if !self.line.is_empty() => heard(&self.line),
            _ if self.line.is_empty() => Err(end.without("answer of the agent")),
            _ => Err(end.without("end of the agent's line")),
        }
    }
}

/// Meaning of a line. The last word of its kind counts, as HAProxy has it.
fn heard(line: &[u8]) -> Result<Says, Fault> {
    let text = String::from_utf8_lossy(line);
    let (words, why) = text.split_once('#').unwrap_or((&text, ""));
    let separates = |c: char| matches!(c, ' ' | '\t' | ',');
    let (mut known, mut failing, mut maintained, mut drain, mut share) = (false, None, false, false, None);
    for word in words.split(separates).filter(|word| !word.is_empty()) {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "up" => failing = None,
            "down" | "failed" | "stopped" => failing = Some(word.clone()),
            "ready" => (maintained, drain) = (false, false),
            "drain" => (maintained, drain) = (false, true),
            "maint" => (maintained, drain) = (true, false),
            other => match percent(other) {
                Some(percent) => share = Some(Share::Percent(percent)),
                // How many connections it wants is none of IPVS's business; others are not known.
                None if other.starts_with("maxconn:") => {}
                None => continue,
            },
        }
        known = true;
    }
    let said = failing.or_else(|| maintained.then(|| "maint".to_owned()));
    let why = why.trim();
    let colon = if why.is_empty() { "" } else { ": " };
    match said {
        Some(said) => Err(Fault::new(FaultLabel::Said, format!("agent says {said}{colon}{why}"))),
        None if known => {
            let remark = (drain || !why.is_empty()).then(|| {
                let word = if drain { "drain" } else { "up" };
                Fault::new(FaultLabel::Said, format!("agent says {word}{colon}{why}")).reason
            });
            Ok(Says { share, drain, remark })
        }
        None => {
            let begins = excerpt(line);
            Err(Fault::new(
                FaultLabel::Answer,
                format!("the agent's line `{begins}` has no word that is known"),
            ))
        }
    }
}

/// A part of the weight, `75%`; more than 255 is 255.
fn percent(word: &str) -> Option<u8> {
    let digits = word.strip_suffix('%')?;
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| digits.parse().unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{play, same, words};
    use super::*;

    const LATE: End = End::OutOfTime(Duration::from_secs(5));

    fn share(percent: u8) -> Says {
        Says { share: Some(Share::Percent(percent)), ..Says::default() }
    }

    #[test]
    fn what_an_agent_says_is_understood_however_it_comes() {
        let drained =
            Says { drain: true, remark: Some("agent says drain: going home".into()), ..Says::default() };
        for (line, wanted) in [
            ("up\n", Ok(Says::default())),
            ("UP READY\r\n", Ok(Says::default())),
            ("75%\n", Ok(share(75))),
            ("up 0%\n", Ok(share(0))),
            ("ready,up\t150%,maxconn:30\n", Ok(share(150))),
            ("1000%\n", Ok(share(255))),
            ("maxconn:10\n", Ok(Says::default())),
            ("drain # going home\nignored", Ok(drained)),
            ("drain ready\n", Ok(Says::default())),
            ("down up\n", Ok(Says::default())),
            ("down\n", Err("agent says down")),
            ("up,stopped # disk is full\n", Err("agent says stopped: disk is full")),
            ("failed\n", Err("agent says failed")),
            ("maint # upgrade\n", Err("agent says maint: upgrade")),
            ("up maint\n", Err("agent says maint")),
        ] {
            let (verdict, sent) = same(|| Agent::new(b"who\n".to_vec()), line.as_bytes(), LATE);
            assert_eq!(sent, "who\n");
            let wanted = wanted.map_err(|reason| Fault::new(FaultLabel::Said, reason));
            assert_eq!(verdict, wanted, "{line:?}");
        }
        let (verdict, _) = same(|| Agent::new(Vec::new()), b"up", End::Closed);
        assert_eq!(verdict, Ok(Says::default()), "a line that ends with the connection");
    }

    #[test]
    fn what_is_no_word_of_an_agent_says_nothing_of_its_target() {
        let long = "up ".repeat(1000);
        for (line, end, wanted) in [
            ("", LATE, "timeout: no answer of the agent in 5 s"),
            ("", End::Closed, "closed: no answer of the agent before the connection closed"),
            ("up", LATE, "timeout: no end of the agent's line in 5 s"),
            ("% hello\n", LATE, "answer: the agent's line `% hello` has no word that is known"),
            ("\n", LATE, "answer: the agent's line `` has no word that is known"),
            ("# why\n", LATE, "answer: the agent's line `# why` has no word that is known"),
        ] {
            let (verdict, _) = same(|| Agent::new(Vec::new()), line.as_bytes(), end);
            assert_eq!(words(&verdict), wanted, "{line:?}");
            assert!(verdict.is_err_and(|fault| fault.label != FaultLabel::Said), "{line:?}");
        }
        let (verdict, _) = play(Agent::new(Vec::new()), &[long.as_bytes()], LATE);
        assert!(words(&verdict).starts_with("too_long: the agent's line `up up"), "{verdict:?}");
    }
}
