//! Health checks: what is asked of a target, and when.
//!
//! A check of another kind is a variant of [`CheckKind`] and one of `Text`, which is how a plan spells it.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::{Ip, Port, Retries, Span};

/// A health check with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Text", into = "Text")]
#[schemars(with = "Text", rename = "Check")]
pub struct Check {
    /// Whom it asks.
    pub target: Target,
    /// When it asks, and how often before its verdict changes.
    pub times: Times,
    /// What it asks.
    pub kind: CheckKind,
}

/// Whom a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address to connect to.
    pub address: Ip,
    /// Port to connect to.
    pub port: Port,
}

impl Target {
    /// Both together.
    #[must_use]
    pub const fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.address.0, self.port.get())
    }
}

/// When a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// Time from the start of one probe to the start of the next.
    pub interval: Span,
    /// How long a probe may take.
    pub timeout: Span,
    /// How many times a failed probe is tried again before the verdict changes.
    pub retries: Retries,
    /// Time from a failed probe to its next try.
    pub retry_delay: Span,
}

impl Times {
    /// How long it takes a check at most to say that its target fails, with all its retries.
    #[must_use]
    pub fn turn(&self) -> Duration {
        let retries = u32::from(self.retries.get());
        let probes = self.timeout.as_duration().saturating_mul(retries + 1);
        probes + self.retry_delay.as_duration().saturating_mul(retries)
    }
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckKind {
    /// Healthy when a TCP connection opens.
    Tcp,
}

/// A check as a plan spells it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Text {
    /// Healthy when a TCP connection opens.
    Tcp {
        /// Address to connect to.
        address: Ip,
        /// Port to connect to.
        port: Port,
        /// Time from the start of one check to the start of the next.
        interval: Span,
        /// How long the connection may take to open.
        timeout: Span,
        /// How many times a failed check is tried again before the verdict changes.
        retries: Retries,
        /// Time from a failed check to its next try.
        retry_delay: Span,
    },
}

impl From<Text> for Check {
    fn from(text: Text) -> Self {
        let Text::Tcp { address, port, interval, timeout, retries, retry_delay } = text;
        Self {
            target: Target { address, port },
            times: Times { interval, timeout, retries, retry_delay },
            kind: CheckKind::Tcp,
        }
    }
}

impl From<Check> for Text {
    fn from(check: Check) -> Self {
        let Check { target, times, kind: CheckKind::Tcp } = check;
        let (Target { address, port }, Times { interval, timeout, retries, retry_delay }) = (target, times);
        Self::Tcp { address, port, interval, timeout, retries, retry_delay }
    }
}
