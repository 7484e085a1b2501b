//! Findings of a probe, in words: why a target failed, and what a healthy one says beside.
//!
//! Values only. Whose fault a failure is, is `way`'s to find.

use std::fmt;
use std::time::Duration;

use evenkeel_schemas::status::FaultLabel;

/// Most bytes of a reason: part of it may come from the target.
const REASON_MAX: usize = 400;

/// Why a target failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of failure.
    pub label: FaultLabel,
    /// A sentence that stands alone, for people: "connection refused". One line.
    pub reason: Box<str>,
    /// Whether nothing came from the target, not a packet: then it may as well be the way to it that fails.
    pub silent: bool,
}

impl Fault {
    /// A fault with its reason. Control characters in it are escaped, and what is too long is cut: it may
    /// come from the target.
    #[must_use]
    pub fn new(label: FaultLabel, reason: impl Into<String>) -> Self {
        let silent = matches!(label, FaultLabel::Unreachable | FaultLabel::Timeout | FaultLabel::Lost);
        Self { label, reason: one_line(reason.into()).into(), silent }
    }

    /// The same in other words.
    #[must_use]
    pub fn worded(self, reason: impl Into<String>) -> Self {
        Self { silent: self.silent, ..Self::new(self.label, reason) }
    }

    /// This fault, of a target from which something had come.
    #[must_use]
    pub fn after_an_answer(self) -> Self {
        Self { silent: false, ..self }
    }

    /// Nothing came in time.
    #[must_use]
    pub fn no_answer(limit: Duration) -> Self {
        Self::new(FaultLabel::Timeout, format!("no answer in {}", Words(limit)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Words of a healthy target beside its health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Says {
    /// The part of traffic that it asks for; none: its weight in the plan.
    pub share: Option<Share>,
    /// Whether it asks to be drained: no new connections.
    pub drain: bool,
    /// Remark for people: "certificate expires in 6 days". One line.
    pub remark: Option<Box<str>>,
}

/// The part of traffic that a target asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// This weight, instead of the plan's.
    Weight(u16),
    /// So many hundredths of the plan's weight, 0..=100 as agents have it; more is possible.
    Percent(u8),
}

/// A time as people write it: `10 s`, `1.5 s`, `200 ms`.
#[derive(Debug, Clone, Copy)]
pub struct Words(pub Duration);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match (ms / 1000, ms % 1000) {
            (0, ms) => write!(f, "{ms} ms"),
            (s, 0) => write!(f, "{s} s"),
            (s, ms) => write!(f, "{s}.{} s", format!("{ms:03}").trim_end_matches('0')),
        }
    }
}

/// Text from outside on one line: control characters are escaped, and what is too long is cut.
fn one_line(text: String) -> String {
    if text.len() <= REASON_MAX && !text.contains(char::is_control) {
        return text;
    }
    let mut line = String::with_capacity(REASON_MAX);
    for one in text.chars() {
        let before = line.len();
        if one.is_control() {
            line.extend(one.escape_default());
        } else {
            line.push(one);
        }
        if line.len() > REASON_MAX {
            line.truncate(before);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        for (ms, words) in
            [(0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (1500, "1.5 s"), (61_001, "61.001 s")]
        {
            assert_eq!(Words(Duration::from_millis(ms)).to_string(), words);
        }
        assert_eq!(Fault::no_answer(Duration::from_secs(10)).to_string(), "no answer in 10 s");
    }

    #[test]
    fn a_reason_is_one_line_and_not_long_whatever_the_target_says() {
        let said = |text: &str| Fault::new(FaultLabel::Said, text).reason;
        assert_eq!(&*said("no\nway\u{1b}[31m"), "no\\nway\\u{1b}[31m");
        assert_eq!(&*said("größer"), "größer");
        for text in ["x".repeat(100_000), "ö".repeat(100_000), "\u{7}".repeat(100_000)] {
            let reason = said(&text);
            assert!(reason.len() <= REASON_MAX + '…'.len_utf8(), "{}", reason.len());
            assert!(reason.ends_with('…'), "{reason}");
        }
    }
}
