//! What a host reports of IPVS beside verdicts: connections, traffic, drains, synchronisation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Name;

/// Connections of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionCounts {
    /// Established connections.
    pub active: u32,
    /// Connections in any other state; UDP has no other.
    pub inactive: u32,
    /// Clients that persistence binds to it.
    pub persistent: u32,
}

/// Traffic since the kernel's object was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficCounters {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; none where real servers answer by themselves.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// Progress of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// Weight 0: it keeps the connections that it has.
    Draining,
    /// Drained: the destination is out of the table.
    Drained,
}

/// A destination that drains or has drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainStatus {
    /// Progress.
    pub state: DrainState,
    /// Beginning of the drain; absent when it has ended, and until the kernel has the weight 0.
    pub since: Option<String>,
    /// Time at which the destination is removed even with connections left; absent: not before they have
    /// ended.
    pub deadline: Option<String>,
    /// Connections left at the last count; absent when unknown.
    pub left: Option<ConnectionCounts>,
    /// Whether the plan orders the drain (`drain = true`); if not, an operator does, or the destination has
    /// left the plan.
    #[serde(default)]
    pub by_plan: bool,
}

/// A destination that is not in the plan any more and is in the kernel until it has drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeavingStatus {
    /// `192.168.188.107:80`.
    pub address: String,
    /// Drain of the destination.
    pub drain: DrainStatus,
}

/// An operator's order to drain, which stays until it is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainOrderStatus {
    /// Name of a host or address of a real server.
    pub target: String,
    /// The virtual server that it is for; absent: all.
    pub service: Option<Name>,
    /// Time of the order.
    pub since: String,
    /// Longest time for which connections go on, milliseconds; absent: as the plan says of destinations that
    /// leave it.
    pub timeout_ms: Option<u32>,
    /// Whether a destination of the plan in force fits it; if not, the order waits for one.
    pub in_plan: bool,
}

/// Half of connection synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncHalf {
    /// Sends the connections of this director.
    Master,
    /// Takes those of others.
    Backup,
}

impl std::fmt::Display for SyncHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// Synchronisation of connections with other directors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionSyncStatus {
    /// Halves that the plan and the election want here now.
    pub wanted: Vec<SyncHalf>,
    /// Halves that run in the kernel as wanted.
    pub running: Vec<SyncHalf>,
    /// Interface.
    pub interface: String,
    /// Identity.
    pub id: u8,
    /// Reason why not all run, for people; absent when all do.
    pub problem: Option<String>,
    /// Connections of the kernel's table that came from another director.
    pub received_connections: u64,
    /// Connections that began at this one.
    pub own_connections: u64,
    /// Whether there are more of both than these: not all of a large table is counted.
    pub more: bool,
}
