//! Virtual servers as wholes: quorum and floor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Below;

/// Quorum of a virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuorumStatus {
    /// Healthy weight that it needs to stay up while it is up, or to come up while it is not.
    pub wanted: u64,
    /// Healthy weight that it has: destinations that drain, or are not heard of since a restart, have none.
    pub have: u64,
    /// Whether the quorum is there. While it is not, the sorry server takes the clients, if there is one.
    pub up: bool,
    /// Time since which it is there or lost.
    pub since: String,
}

/// Floor of a virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FloorStatus {
    /// Least healthy destinations.
    pub wanted: u64,
    /// Healthy destinations that have a weight and do not drain.
    pub have: u64,
    /// Treatment when there are fewer.
    pub below: Below,
    /// Time since which there are fewer, or enough.
    pub since: String,
}
