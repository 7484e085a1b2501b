//! What would change on a host now: the JSON of `evenkeeld diff --json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Name;
use crate::status::{ConnectionCounts, ObjectText};

/// Version of this document: grows when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// Changes that a host would make now, VIPs left out: they follow the election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "evenkeel host difference")]
pub struct HostDiff {
    /// Version of this document.
    pub version: u32,
    /// The host.
    pub host: Name,
    /// Generation of the plan that the kernel was compared with (64 hexadecimal digits).
    pub generation: String,
    /// Whether a daemon runs here and was asked for roles and verdicts; without one this host is Master of
    /// nothing and every destination is healthy.
    pub daemon: bool,
    /// Operations, in their order.
    pub operations: Vec<DiffOperation>,
    /// Foreign objects in the kernel beside ours: left alone.
    pub foreign: Vec<ObjectText>,
    /// Foreign things in the plan's way, as in the status document: left alone.
    #[serde(default)]
    pub in_the_way: Vec<ObjectText>,
    /// Sums.
    pub summary: DiffSummary,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffOperation {
    /// Operation, as in the log.
    pub operation: String,
    /// Connections of the destinations that it changes; absent when it changes none that are there.
    pub connections: Option<ConnectionCounts>,
    /// Effect on these connections; absent when they go on.
    pub effect: Option<ConnectionEffect>,
    /// Longest time for which they go on while they drain, milliseconds; absent: until they end.
    pub drain_ms: Option<u64>,
}

/// Effect on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionEffect {
    /// Their destination goes: they end.
    End,
    /// They go on, and no new ones come.
    Drain,
}

/// Sums over all operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffSummary {
    /// Operations.
    pub operations: u64,
    /// Active connections that would end.
    pub active_ended: u64,
    /// Inactive connections that would end.
    pub inactive_ended: u64,
    /// Active connections that would drain.
    pub active_draining: u64,
    /// Inactive connections that would drain.
    pub inactive_draining: u64,
}
