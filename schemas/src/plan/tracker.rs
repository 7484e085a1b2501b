//! Trackers of a plan: what the elections watch besides advertisements.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::cluster::Initially;
use crate::scalars::{InterfaceName, Name, Retries, Span};

/// Something that succeeds or fails on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracker {
    /// Name in the cluster file.
    pub name: Name,
    /// State before the first examination.
    pub initially: Initially,
    /// Object of the tracker.
    pub watch: Watch,
}

/// Object of a tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Watch {
    /// Fails while this interface is missing, down or without carrier.
    Interface {
        /// Name of the interface.
        interface: InterfaceName,
    },
    /// Succeeds when a program ends with exit code 0.
    Script {
        /// Absolute path of the program, and its arguments; run without a shell.
        #[schemars(length(min = 1))]
        command: Vec<String>,
        /// User that it runs as. Absent: `evenkeel_script` if the host has that user, or else `nobody`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Time from one start to the next.
        interval: Span,
        /// Longest run, after which the program is killed and counts as failed.
        timeout: Span,
        /// Successes in a row until it counts as succeeding.
        rise: Retries,
        /// Failures in a row until it counts as failing.
        fall: Retries,
    },
    /// Succeeds while enough processes run.
    Process {
        /// Name of the program: `comm`, or the first argument when it has a slash.
        process: String,
        /// Least number of running processes.
        #[schemars(range(min = 1, max = 65535))]
        quorum: u32,
    },
    /// The number in the first line of a file, times the weight, is added to the priority. A negative
    /// number or no file is a failure.
    File {
        /// Absolute path.
        path: String,
        /// Time from one examination to the next.
        interval: Span,
    },
    /// Fails while fewer destinations of a service than its quorum are healthy.
    Service {
        /// Name of the service: `name` of its virtual servers, each of which must have its quorum.
        service: Name,
        /// Least number of healthy destinations.
        #[schemars(range(min = 1, max = 65535))]
        quorum: u32,
    },
}
