//! Drift in the status document: objects that somebody else has changed, and what was done about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often objects of a kind were found changed, with the same outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftCount {
    /// Kind of the objects, as in a [`DriftRecord`].
    pub kind: String,
    /// Outcome.
    pub outcome: DriftOutcome,
    /// Number of times.
    pub count: u64,
}

/// An object that was as wanted and that somebody else has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftRecord {
    /// Time at which it was last found.
    pub at: String,
    /// Time at which it was first found, with the same outcome.
    pub first: String,
    /// Number of times.
    pub count: u64,
    /// `interface`, `address`, `route`, `rule`, `sysctl`, `virtual_server`, `destination`, `ipvs_timeouts`,
    /// `sync_daemon` or `gue_port`.
    pub kind: String,
    /// The object, as ipvsadm(8) or ip(8) would name it.
    pub object: String,
    /// State that was found: `missing`, `not in the plan`, or the properties.
    pub found: String,
    /// Outcome.
    pub outcome: DriftOutcome,
    /// Why it could not be repaired; absent otherwise.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Outcome of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftOutcome {
    /// Repaired: put right.
    Repaired,
    /// Reported: left, as the plan says.
    Reported,
    /// Failed: could not be put right.
    Failed,
}

impl std::fmt::Display for DriftOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Repaired => "repaired",
            Self::Reported => "reported and left",
            Self::Failed => "not repaired",
        })
    }
}
