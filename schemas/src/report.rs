//! What the compiler reports: the JSON of `evenkeel validate --format json`.
//!
//! Places are given twice: as lines and columns from 1, where a column is a character, and as bytes
//! from 0. Secrets are in none of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Name;

/// Version of this document: grows when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// Everything the compiler has to say about a cluster file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "evenkeel report")]
pub struct Report {
    /// Version of this document, 1.
    pub format: u32,
    /// Version of the compiler.
    pub compiler: String,
    /// The cluster file.
    pub file: String,
    /// Numbers of findings, and size of the cluster.
    pub summary: Summary,
    /// The findings in the order of the files: at most 100 errors, 100 warnings of one code, and 1000 in all.
    /// Where there are more of a kind, the last one of it has a note that says so.
    pub diagnostics: Vec<Finding>,
}

/// Numbers of findings, and size of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Whether plans can be compiled: there may still be warnings.
    pub valid: bool,
    /// Number of reported errors.
    pub errors: usize,
    /// Whether there are more errors than are reported; absent when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// Number of reported warnings.
    pub warnings: usize,
    /// Size of the cluster; absent when it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSize>,
}

/// Size of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterSize {
    /// Name of the cluster.
    pub name: Name,
    /// Number of hosts.
    pub hosts: usize,
    /// Number of virtual routers.
    pub virtual_routers: usize,
    /// Number of services.
    pub services: usize,
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Compiled, but probably not what was meant.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Code of the rule, such as `EK0305`. A code keeps its meaning for ever.
    pub code: String,
    /// Severity.
    pub severity: Severity,
    /// Title of the rule.
    pub title: String,
    /// The cause, one sentence without a full stop.
    pub message: String,
    /// The file.
    pub file: String,
    /// Place in the file; empty, and mostly the beginning, where the file is no text or is meant as a whole.
    pub place: Place,
    /// A few words on what is at that place; absent when the place is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Other places that have part in it.
    pub related: Vec<Related>,
    /// Facts that explain the cause.
    pub notes: Vec<String>,
    /// Advice.
    pub hints: Vec<String>,
    /// The command that explains the rule.
    pub explain: String,
    /// The page that explains the rule, below the root of the project.
    pub documentation: String,
}

/// A place that has part in a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// The file.
    pub file: String,
    /// Place in the file.
    pub place: Place,
    /// Words for the place.
    pub label: String,
}

/// A range of a file. Its end is the first character that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// First character.
    pub start: Position,
    /// End.
    pub end: Position,
}

/// A place between two characters of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Line, from 1.
    #[schemars(range(min = 1))]
    pub line: usize,
    /// Character of the line, from 1.
    #[schemars(range(min = 1))]
    pub column: usize,
    /// Byte of the file, from 0.
    pub byte: usize,
}
