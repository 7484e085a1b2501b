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
    /// What was compared with, as it was given: `git:HEAD`, a directory, `none`.
    pub against: String,
    /// How much changes.
    pub summary: Summary,
    /// Hosts that change, by name.
    pub hosts: Vec<HostChange>,
    /// In which order hosts should take their plans.
    pub stages: Vec<Stage>,
    /// What whoever applies this should know.
    pub warnings: Vec<Warning>,
    /// What `evenkeel apply` and `compile` refuse unless it is overridden by name.
    pub refusals: Vec<Refusal>,
}

/// How much changes, in objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
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

/// What happens to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It comes.
    Add,
    /// It stays and is not the same afterwards.
    Change,
    /// It goes.
    Remove,
}

/// What changes on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostChange {
    /// The host.
    pub host: Name,
    /// Whether the host itself comes or goes.
    pub action: Action,
    /// Its objects that change.
    pub objects: Vec<ObjectChange>,
}

/// What changes of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectChange {
    /// What it is: `host`, `router`, `virtual_server`, `destination`, `address`, `route`, `sysctl`, `secret`.
    pub kind: String,
    /// What tells it from others of its kind on the host, as the kernel or the wire does.
    pub id: String,
    /// Its name in the cluster file, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens to it.
    pub action: Action,
    /// Its fields: all of them when it comes or goes, else those that differ.
    pub fields: Vec<FieldChange>,
    /// The line that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What changes of a field. Secrets have neither value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Name of the field in the plan.
    pub field: String,
    /// Its value before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// Its value after.
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

/// One step of a rollout. All hosts of a stage may take their plans in any order; the next stage
/// begins when all have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// From 1.
    pub number: u64,
    /// A few words.
    pub title: String,
    /// Why it is a stage of its own.
    pub why: String,
    /// The hosts that take a plan in it.
    pub hosts: Vec<StageHost>,
}

/// A host in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageHost {
    /// The host.
    pub host: Name,
    /// What it takes.
    pub step: StepKind,
    /// What that changes on it, in a few words each.
    pub does: Vec<String>,
}

/// What a host takes in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Its new plan.
    Whole,
    /// A plan between the old and the new one; another stage brings the rest.
    Part,
    /// Its plan is removed from the directory.
    Remove,
}

/// Something to know before applying.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// What happens, and what to do about it.
    pub message: String,
}

/// What a warning is about.
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
    /// A real server takes no new connections.
    Drain,
    /// Hosts take the change back unless it is confirmed.
    Probation,
    /// A host is no longer part of the cluster.
    HostGoes,
}

/// Something that `evenkeel apply` and `compile` do only when it is told to by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// What to give to `--override`: `max_change`, `empty`, `prevent_removal=services.web`.
    pub guard: String,
    /// Code of the diagnostic.
    pub code: String,
    /// What the guard has seen.
    pub message: String,
}
