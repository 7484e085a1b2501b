//! What `evenkeel plan` found, for programs: the difference between two sets of plans, its stages
//! and its warnings.
//!
//! Data only: how it is computed is the compiler's. `--format json` writes exactly this.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scalars::Name;

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// The difference between the plans that are there and the plans that are wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "evenkeel change")]
pub struct Change {
    /// Format of this document. Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub format: u32,
    /// Name of the cluster.
    pub cluster: Name,
    /// Base of the comparison, as given: `git:HEAD`, a directory, `none`.
    pub against: String,
    /// Numbers of changes.
    pub summary: ChangeSummary,
    /// Hosts that change, by name.
    pub hosts: Vec<HostChange>,
    /// Order in which hosts should get their plans.
    pub stages: Vec<Stage>,
    /// Warnings for those who apply the change.
    pub warnings: Vec<Warning>,
    /// Changes that `evenkeel apply` and `compile` refuse unless they are overridden by name.
    pub refusals: Vec<Refusal>,
}

/// Numbers of changes, in objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSummary {
    /// Objects that come.
    pub add: u64,
    /// Objects that stay and change.
    pub change: u64,
    /// Objects that go.
    pub remove: u64,
    /// Hosts with any of these.
    pub hosts_changed: u64,
    /// Hosts before and after together.
    pub hosts: u64,
}

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The object is new.
    Add,
    /// The object stays with other properties.
    Change,
    /// The object is removed.
    Remove,
}

/// Changes on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostChange {
    /// The host.
    pub host: Name,
    /// Whether the host itself comes or goes.
    pub action: Action,
    /// Objects that change.
    pub objects: Vec<ObjectChange>,
}

/// Change of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectChange {
    /// Kind of the object: `host`, `router`, `virtual_server`, `destination`, `address`, `route`, `sysctl`,
    /// `secret`.
    pub kind: String,
    /// Identity among the objects of its kind on the host, as in the kernel or on the wire.
    pub id: String,
    /// Name in the cluster file, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Kind of the change.
    pub action: Action,
    /// Fields: all of them of an object that is new or removed, else those that differ.
    pub fields: Vec<FieldChange>,
    /// The line that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Change of a field. Secrets have neither value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Name of the field in the plan.
    pub field: String,
    /// Value before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// Value after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// The line that it comes from, when it is not the object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// A line of a cluster file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// One step of a rollout. All hosts of a stage may get their plans in any order; the next stage begins when
/// all have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// From 1.
    pub number: u64,
    /// A few words.
    pub title: String,
    /// Why it is a stage of its own.
    pub why: String,
    /// Hosts that get a plan in it.
    pub hosts: Vec<StageHost>,
}

/// A host in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageHost {
    /// The host.
    pub host: Name,
    /// Plan that the host gets.
    pub step: StepKind,
    /// Effects on the host, in a few words each.
    pub does: Vec<String>,
}

/// Kind of plan that a host gets in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The new plan.
    Whole,
    /// A plan between the old and the new one; another stage brings the rest.
    Part,
    /// The plan is removed from the directory.
    Remove,
}

/// Something to know before applying.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// Kind of the warning.
    pub kind: WarningKind,
    /// The effect, and the advice.
    pub message: String,
}

/// Kind of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A VIP has no owner for a while.
    Gap,
    /// Another director becomes Master.
    Election,
    /// A parameter that peers reject while it differs.
    Mismatch,
    /// A service has nobody to send to.
    NoDestination,
    /// Open connections are cut.
    Cut,
    /// A real server gets no new connections.
    Drain,
    /// Hosts roll the change back unless it is confirmed.
    Probation,
    /// A host is no longer part of the cluster.
    HostGoes,
}

/// A change that `evenkeel apply` and `compile` make only when it is overridden by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Word for `--override`: `max_change`, `empty`, `prevent_removal=services.web`.
    pub guard: String,
    /// Code of the diagnostic.
    pub code: String,
    /// Reason of the guard.
    pub message: String,
}
