//! Dialogues with targets over a stream of bytes, a file for each protocol. Pure: bytes in, bytes out, a
//! verdict. Whoever has the connection carries them and keeps the time.
//!
//! ```text
//!   begin ------+             +--> Send, Read: the dialogue goes on
//!   received ---+--> Dialogue-+
//!   ended ------+             +--> Over: healthy, or why not
//! ```
//!
//! However the bytes of an answer are cut into pieces, the verdict is the same. Of an answer at most [`MOST`]
//! bytes are kept, and it takes time in proportion to its length.

use std::time::Duration;

use evenkeel_schemas::status::FaultLabel;

use crate::fault::{Fault, Says, Words};

pub mod agent;
pub mod body;
pub mod certificate;
pub mod chunks;
pub mod dns;
pub mod expect;
pub mod file;
pub mod grpc;
pub mod http;
pub mod icmp;
pub mod pattern;
pub mod script;
pub mod smtp;

/// Most bytes of an answer that are kept, 64 KiB: a thousand probes under way keep 64 MiB at most.
pub const MOST: usize = 64 * 1024;

/// Most bytes of an answer that are shown to people.
const SHOWN: usize = 64;

/// Next step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// More is to be read.
    Read,
    /// This is to be sent, and then read on.
    Send(Vec<u8>),
    /// The dialogue is over.
    Over(Result<Says, Fault>),
}

impl Step {
    /// The target is healthy.
    #[must_use]
    pub fn healthy() -> Self {
        Self::Over(Ok(Says::default()))
    }

    /// The target fails.
    #[must_use]
    pub fn fault(label: FaultLabel, reason: impl Into<String>) -> Self {
        Self::Over(Err(Fault::new(label, reason)))
    }
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The target has closed the connection in order.
    Closed,
    /// The time of the probe is over, which was so long.
    OutOfTime(Duration),
}

impl End {
    /// The fault of a target of which `what` has not come.
    #[must_use]
    pub fn without(self, what: &str) -> Fault {
        match self {
            Self::Closed => Fault::new(FaultLabel::Closed, format!("no {what} before the connection closed")),
            Self::OutOfTime(limit) => {
                // The connection is open.
                Fault::new(FaultLabel::Timeout, format!("no {what} in {}", Words(limit))).after_an_answer()
            }
        }
    }
}

/// A dialogue with a target.
pub trait Dialogue {
    /// The connection is open.
    fn begin(&mut self) -> Step;

    /// Bytes have come, one at least.
    fn received(&mut self, bytes: &[u8]) -> Step;

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// Why the target is not healthy.
    fn ended(&mut self, end: End) -> Result<Says, Fault>;
}

/// The beginning of what a target said, for people: escaped and cut.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut text: String = String::from_utf8_lossy(shown.trim_ascii()).escape_debug().collect();
    if shown.len() < bytes.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
pub(crate) mod testing {
    //! A table of byte streams: each is cut at every position, and told byte by byte.

    use super::{Dialogue, End, Fault, Says, Step};

    /// Plays a dialogue to its end; also what was sent.
    pub(crate) fn play<D: Dialogue>(
        mut dialogue: D,
        pieces: &[&[u8]],
        end: End,
    ) -> (Result<Says, Fault>, Vec<u8>) {
        let mut sent = Vec::new();
        let mut step = dialogue.begin();
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        loop {
            match step {
                Step::Over(verdict) => return (verdict, sent),
                Step::Send(bytes) => sent.extend(bytes),
                Step::Read => {}
            }
            match pieces.next() {
                Some(piece) => step = dialogue.received(piece),
                None => return (dialogue.ended(end), sent),
            }
        }
    }

    /// The verdict, which is the same however the bytes are cut but for what a reason shows of them, and what
    /// is sent to a target that waits for it.
    pub(crate) fn same<D: Dialogue>(
        dialogue: impl Fn() -> D,
        bytes: &[u8],
        end: End,
    ) -> (Result<Says, Fault>, String) {
        let (whole, _) = play(dialogue(), &[bytes], end);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let (by_byte, sent) = play(dialogue(), &single, end);
        let cut = (0..=bytes.len()).map(|at| bytes.split_at(at));
        let cut = cut.map(|(first, rest)| play(dialogue(), &[first, rest], end).0);
        for (at, verdict) in cut.chain([by_byte]).enumerate() {
            let label = |verdict: &Result<Says, Fault>| verdict.clone().map_err(|fault| fault.label);
            assert_eq!(label(&verdict), label(&whole), "cut at {at} of {}", bytes.escape_ascii());
        }
        (whole, String::from_utf8_lossy(&sent).into_owned())
    }

    /// The verdict in words: `healthy`, or label and reason.
    pub(crate) fn words(verdict: &Result<Says, Fault>) -> String {
        match verdict {
            Ok(says) if *says == Says::default() => "healthy".to_owned(),
            Ok(says) => format!("healthy, {says:?}"),
            Err(fault) => format!("{}: {}", fault.label.as_str(), fault.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_said_is_shown_escaped_and_cut() {
        assert_eq!(excerpt(b"-ERR \"x\"\r\n"), "-ERR \\\"x\\\"");
        assert_eq!(excerpt(b"\x1b[31m\xff"), "\\u{1b}[31m\u{fffd}");
        let long = excerpt(&[b'x'; 1000]);
        assert_eq!(long, format!("{}…", "x".repeat(SHOWN)));
    }
}
