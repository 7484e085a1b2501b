//! A plan that was saved to be applied later: what was there, what is wanted, and every stage.
//!
//! One TOML file with the seal of [`crate::seal`]. It holds no secret: where plans name secrets
//! that are written in the cluster file, it says only whether the old or the new one is meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalars::Name;

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// A saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Format of this file. Always 1.
    pub format: u32,
    /// Version of the tool that wrote it.
    pub tool: String,
    /// Name of the cluster.
    pub cluster: Name,
    /// Base of the comparison, as given.
    pub against: String,
    /// The limit that the cluster file sets, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_change: Option<u8>,
    /// Every host before and after, by name.
    #[serde(rename = "host", default)]
    pub hosts: Vec<SavedHost>,
    /// The stages in their order.
    #[serde(rename = "stage", default)]
    pub stages: Vec<SavedStage>,
}

/// A host before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedHost {
    /// The host.
    pub host: Name,
    /// Generation of the plan that it had, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Generation of the plan that it gets; none when the host goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Names of the secrets that the cluster file holds for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The plan that it had; left out when it is the one that it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_plan: Option<String>,
    /// The plan that it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_plan: Option<String>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedStage {
    /// A few words.
    pub title: String,
    /// Why it is a stage of its own.
    pub why: String,
    /// Hosts that get a plan in it.
    #[serde(rename = "host", default)]
    pub hosts: Vec<SavedStep>,
}

/// Plan that a host gets in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedStep {
    /// The host.
    pub host: Name,
    /// The plan; none when its plan is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The compiled secrets that the plan names, and of which time each is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Era>,
}

/// One of the two values of a secret: the one before, or the one after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// The one before the change.
    Old,
    /// The one after.
    New,
}
