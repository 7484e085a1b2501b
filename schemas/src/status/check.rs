//! Checks in the status document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Unjudged, Verdict};
use crate::cluster::CheckType;
use crate::scalars::Name;

/// How busy a host is with its checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthStatus {
    /// Time since which the checks have said nothing at all, because they hang: all verdicts stay; absent
    /// while they work.
    pub stalled_since: Option<String>,
    /// Checks that are being made.
    pub under_way: u64,
    /// Checks that are due and wait, because as many are being made as this host can.
    pub waiting: u64,
    /// How long the first of those has waited, milliseconds.
    pub waits_ms: u64,
    /// Largest lateness of a check since the daemon started, microseconds: from when it was due to when it
    /// began.
    pub max_lateness_us: u64,
    /// Checks that were made since the daemon started.
    pub checks: u64,
    /// Links of this host through which nothing is heard, although all behind them answered until then: its
    /// own fault, more likely than theirs.
    #[serde(default)]
    pub own_faults: Vec<OwnFaultStatus>,
}

/// A link of a host that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnFaultStatus {
    /// Interface, or `gateway` and its address.
    pub link: String,
    /// Time since which it is.
    pub since: String,
    /// Checks behind it, whose verdicts stay.
    pub checks: u64,
    /// Virtual routers whose real servers are behind links that are at fault: their priorities are lower.
    pub routers: Vec<Name>,
}

/// A check of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckStatus {
    /// Kind of the check.
    #[serde(rename = "type")]
    pub kind: CheckType,
    /// Target: `192.0.2.1:80`, a program, a file.
    pub subject: String,
    /// Verdict.
    pub verdict: Verdict,
    /// Time since which it is the verdict.
    pub since: String,
    /// Changes of the verdict since the check came.
    pub transitions: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Result of the last one, for people; absent before the first.
    pub last_result: Option<String>,
    /// Milliseconds since it ended; absent before the first.
    pub last_check_age_ms: Option<u64>,
    /// How long the last one took that succeeded or failed, microseconds; absent before the first.
    pub latency_us: Option<u64>,
    /// Milliseconds until the next one; absent while one is being made.
    pub next_in_ms: Option<u64>,
    /// The last failure; absent when none has failed.
    pub last_fault: Option<FaultStatus>,
    /// Why it says nothing; absent when the last one did. The verdict stays meanwhile.
    pub unjudged: Option<Unjudged>,
    /// Weight that the real server asks for; absent: the plan's.
    pub weight: Option<u16>,
    /// Hundredths of the plan's weight that the real server asks for; absent: all.
    pub weight_percent: Option<u8>,
    /// Whether the real server asks to be drained.
    pub drain: bool,
    /// Remark for people, such as a certificate that expires soon; absent: none.
    pub remark: Option<String>,
}

/// A failure of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultStatus {
    /// Time at which it was found.
    pub at: String,
    /// Kind of the failure.
    pub label: FaultLabel,
    /// Reason, for people.
    pub reason: String,
}

/// Kind of a failure of a check, for logs and metrics. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultLabel {
    /// The connection or datagram was refused.
    Refused,
    /// A router or host on the way says that the target cannot be reached.
    Unreachable,
    /// Nothing, or not enough, came in time.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer was whole.
    Closed,
    /// TLS could not be agreed on.
    Tls,
    /// The certificate is not one that is accepted, or has expired.
    Certificate,
    /// The answer has another status code than is wanted.
    Status,
    /// The answer has another content than is wanted.
    Body,
    /// The answer is none of the protocol.
    Answer,
    /// The answer is longer than is read.
    TooLong,
    /// The program ended otherwise than by success.
    Exit,
    /// The target says so itself.
    Said,
    /// The check was made and never reported, or its held connection was lost.
    Lost,
}

impl FaultLabel {
    /// All labels.
    pub const ALL: [Self; 14] = [
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::Reset,
        Self::Closed,
        Self::Tls,
        Self::Certificate,
        Self::Status,
        Self::Body,
        Self::Answer,
        Self::TooLong,
        Self::Exit,
        Self::Said,
        Self::Lost,
    ];

    /// The word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Status => "status",
            Self::Body => "body",
            Self::Answer => "answer",
            Self::TooLong => "too_long",
            Self::Exit => "exit",
            Self::Said => "said",
            Self::Lost => "lost",
        }
    }

    /// Whether the target, or a program that asked it, has answered: then there is a way to it.
    #[must_use]
    pub const fn is_an_answer(self) -> bool {
        match self {
            Self::Certificate
            | Self::Status
            | Self::Body
            | Self::Answer
            | Self::TooLong
            | Self::Exit
            | Self::Said => true,
            Self::Refused
            | Self::Unreachable
            | Self::Timeout
            | Self::Reset
            | Self::Closed
            | Self::Tls
            | Self::Lost => false,
        }
    }
}

impl std::fmt::Display for FaultLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
