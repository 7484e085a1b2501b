//! What status says of the daemon's log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The daemon's log on standard error. Nothing waits for whoever reads it: what does not get out is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogStatus {
    /// Lines that were dropped since the daemon started, because their reader did not keep up or they could
    /// not be written.
    pub dropped: u64,
    /// Why lines do not get out now, for people; absent when they do.
    pub problem: Option<String>,
}
