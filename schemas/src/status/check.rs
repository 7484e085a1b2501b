//! What status says of one check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
