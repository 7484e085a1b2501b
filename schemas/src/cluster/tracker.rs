//! Trackers: what elections watch besides advertisements.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::scalars::{InterfaceName, Retries, Span};

/// Something that succeeds or fails on a director. Which keys it takes depends on its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracker {
    /// Object of the tracker.
    #[serde(rename = "type")]
    pub kind: TrackerType,
    /// `interface`: fails while this interface is down or has no carrier. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// `script`: program and arguments, run without a shell; success is exit code 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// `script`: user that it runs as. Absent: `evenkeel_script` if the host has that user, or else `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `script`, `file`: time from one look to the next. Absent: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// `script`: how long it may run. Absent: the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// `script`: successes in a row until it counts as succeeding. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<Retries>,
    /// `script`: failures in a row until it counts as failing. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<Retries>,
    /// `process`: name of the program (`comm`, or the first argument when it has a slash). Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// `process`: how many must run. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub quorum: Option<u32>,
    /// `file`: absolute path; its first line is a number that is added to the priority times the
    /// weight, and a negative one or no file is a failure. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `service`: name of the service; fails while it lacks its quorum. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whether it counts as succeeding until the first look. Absent: `up`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub initially: Initially,
}

/// Object of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackerType {
    /// A network interface.
    Interface,
    /// A program that is run again and again.
    Script,
    /// Running processes.
    Process,
    /// A number in a file.
    File,
    /// The quorum of a service.
    Service,
}

/// State of a tracker before its first examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Initially {
    /// Succeeding.
    #[default]
    Up,
    /// Failing.
    Down,
}
