//! What a host reports: the JSON of `evenkeeld status` and of its socket.
//!
//! Times are RFC 3339 text in UTC, made by the agent; durations carry their unit in the name.

mod check;
mod drift;
mod ipvs;
mod log;
mod quorum;
mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Confirm;
use crate::scalars::Name;

pub use check::{CheckStatus, FaultLabel, FaultStatus, HealthStatus, OwnFaultStatus};
pub use drift::{DriftCount, DriftOutcome, DriftRecord};
pub use ipvs::*;
pub use log::LogStatus;
pub use quorum::{FloorStatus, QuorumStatus};
pub use source::{GitStatus, SourceStatus, SourceTrouble};

/// Version of this document: grows when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The state of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "evenkeel host status")]
pub struct Status {
    /// Version of this document.
    pub version: u32,
    /// Version of the daemon.
    pub daemon: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Start of the daemon.
    pub started: String,
    /// The host, when a plan is in force or `--host` was given.
    pub host: Option<Name>,
    /// Whether plans, secrets, programs and state are read whoever may write to them
    /// (`--allow-insecure-files`).
    #[serde(default)]
    pub insecure_files: bool,
    /// The plan.
    pub plan: PlanStatus,
    /// The source of plans; absent in documents of daemons before this field.
    #[serde(default)]
    pub source: Option<SourceStatus>,
    /// Virtual routers, by name.
    pub routers: Vec<RouterStatus>,
    /// Trackers of the elections, by name.
    pub trackers: Vec<TrackerStatus>,
    /// Orders of operators for virtual routers, by name.
    #[serde(default)]
    pub orders: Vec<OrderStatus>,
    /// Changes that never reached a hook since the daemon started, because its program did not keep up or the
    /// state changed more often than 20 times a minute. The last change is never among them.
    #[serde(default)]
    pub dropped_hook_changes: u64,
    /// The election's thread.
    pub election: ElectionStatus,
    /// Virtual servers and their destinations.
    pub virtual_servers: Vec<VirtualServerStatus>,
    /// Orders of operators to drain.
    #[serde(default)]
    pub drain_orders: Vec<DrainOrderStatus>,
    /// Synchronisation of connections; absent when the plan has none.
    #[serde(default)]
    pub connection_sync: Option<ConnectionSyncStatus>,
    /// How busy the host is with its checks.
    #[serde(default)]
    pub health: HealthStatus,
    /// Convergence of the kernel.
    pub convergence: ConvergenceStatus,
    /// The state directory; absent in documents of daemons before this field.
    #[serde(default)]
    pub state_directory: Option<StateDirectoryStatus>,
    /// Whether a guardian removes the VIPs if the daemon dies.
    pub guarded: bool,
    /// The daemon's log.
    #[serde(default)]
    pub log: LogStatus,
    /// Foreign objects in the kernel beside ours: left alone.
    pub foreign: Vec<ObjectText>,
    /// Foreign things in the plan's way, reported and left alone: `vip`, a VIP of the plan where the plan
    /// does not have it; `process`, keepalived in the same network namespace.
    #[serde(default)]
    pub in_the_way: Vec<ObjectText>,
}

/// The directory in which the daemon keeps what must outlive it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateDirectoryStatus {
    /// Path of the socket.
    pub path: String,
    /// Files that the disk does not hold as they should be; empty when all is well.
    pub waiting: Vec<WaitingFile>,
}

/// A file that waits for the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFile {
    /// Content of the file, for people.
    pub file: String,
    /// Time since which the file waits to be written.
    pub since: String,
    /// Why the disk refuses it; absent while the disk does not answer.
    pub reason: Option<String>,
}

/// State of the plan in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStatus {
    /// Path that is watched.
    pub path: String,
    /// Generation in force (64 hexadecimal digits); absent while there is none.
    pub generation: Option<String>,
    /// Time at which it came into force.
    pub since: Option<String>,
    /// Whether it was read from the state directory because the watched file is missing or bad.
    pub from_last_good: bool,
    /// Why the file now at `path` is not in force; absent when it is.
    pub rejected: Option<Rejected>,
    /// The probation of the plan in force; absent when it is not on probation.
    #[serde(default)]
    pub probation: Option<ProbationStatus>,
    /// Progress of the maintenance that the plan in force orders; absent when it orders none.
    #[serde(default)]
    pub maintenance: Option<MaintenanceStatus>,
}

/// A plan that goes back to the one before unless it is confirmed in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbationStatus {
    /// Generation that it goes back to (64 hexadecimal digits).
    pub before: String,
    /// Beginning of the probation.
    pub since: String,
    /// End of the probation.
    pub deadline: String,
    /// Milliseconds until then.
    pub remaining_ms: u64,
    /// Party that confirms; an operator may in any case.
    pub confirm: Confirm,
    /// Conditions that are not met yet, for people.
    pub waits_for: Vec<String>,
}

/// A plan file that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// Time of the event.
    pub at: String,
    /// Why, a sentence for people.
    pub reason: String,
}

/// State of a virtual router (RFC 9568 §6.4; Master is its Active).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterState {
    /// Out of the election.
    Initialize,
    /// Listening.
    Backup,
    /// Holding the VIPs. RFC 9568 calls it Active.
    Master,
}

impl std::fmt::Display for RouterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Master => "Master",
        })
    }
}

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterStatus {
    /// Name in the cluster file.
    pub name: Name,
    /// Interface.
    pub interface: String,
    /// VRRP version.
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Address family: 4 or 6.
    pub family: u8,
    /// Priority of this host: that of the plan with the weights of trackers.
    pub priority: u8,
    /// Priority in the plan.
    pub base_priority: u8,
    /// Virtual routers of one group are Master together or not at all.
    pub sync_group: Option<Name>,
    /// Order of an operator, which stays until released, or of the plan.
    pub order: Option<RouterOrder>,
    /// State.
    pub state: RouterState,
    /// Why it is in this state, for people.
    pub reason: String,
    /// Condition before it preempts a Master of lower priority, for people; absent when there is none.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Time at which it entered the state.
    pub since: Option<String>,
    /// Address of the Master as last heard; this host's own while Master.
    pub master: Option<String>,
    /// Time of the last advertisement of another Master of this virtual router; absent when there was none
    /// since the daemon started. Backups are silent: a Master hears nobody while all is well.
    #[serde(default)]
    pub other_heard: Option<String>,
    /// Virtual addresses.
    pub vips: Vec<String>,
    /// Counters since the daemon started.
    pub counters: RouterCounters,
    /// Hosts that are none of its directors and use its VRID, heard within the last hour; at most eight.
    #[serde(default)]
    pub strangers: Vec<StrangerStatus>,
}

/// A host that is none of the directors of a virtual router and uses its VRID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StrangerStatus {
    /// Source address of its advertisements.
    pub address: String,
    /// Hardware address that they come from; absent when that was not seen.
    pub mac: Option<String>,
    /// Number of its advertisements.
    pub adverts: u64,
    /// VIPs of the last one.
    pub vips: u32,
    /// Number of its VIPs that are this virtual router's.
    pub our_vips: u32,
    /// Whether its advertisements count: it has exactly our VIPs, or the plan lets everybody speak. Else they
    /// move nothing.
    pub counts: bool,
    /// Time of its first advertisement.
    pub first: String,
    /// Time of its last advertisement.
    pub last: String,
}

/// Order for a virtual router, by an operator (`evenkeeld failover`, `evenkeeld hold`) or by the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterOrder {
    /// It has handed over and becomes Master only when no other director is.
    Yield,
    /// Out of the election.
    Hold,
    /// Out of the election, since the plan says `maintenance = true`. No operator's order.
    Maintenance,
}

impl RouterOrder {
    /// Whether a router with this order is out of the election.
    #[must_use]
    pub const fn keeps_out(self) -> bool {
        match self {
            Self::Yield => false,
            Self::Hold | Self::Maintenance => true,
        }
    }
}

/// Progress of `maintenance = true` in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceStatus {
    /// Virtual routers that this host still serves, because no other director has taken over. None: it is out
    /// of all elections.
    pub serving: Vec<Name>,
    /// Reason why they were not taken over, for people; absent before others were asked.
    pub reason: Option<String>,
}

/// An order that stays until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderStatus {
    /// Name of the virtual router that it was given to; all that move with it obey.
    pub router: Name,
    /// The order.
    pub order: RouterOrder,
    /// Time of the order.
    pub since: String,
    /// Whether the plan in force has this router; if not, the order waits for it.
    pub in_plan: bool,
}

/// A tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackerStatus {
    /// Name in the cluster file.
    pub name: Name,
    /// Whether it succeeds.
    pub up: bool,
    /// The number in the file that it watches; absent for other trackers.
    pub value: Option<i64>,
    /// Reason of the last finding, for people.
    pub reason: String,
    /// Milliseconds since the last examination; absent before the first.
    pub last_look_age_ms: Option<u64>,
}

/// The election's thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ElectionStatus {
    /// Real-time priority (`SCHED_RR`); absent with ordinary scheduling.
    pub realtime_priority: Option<u8>,
    /// Nice value, -20..=19: -20, ahead of all others of ordinary scheduling, where the host permits it.
    #[serde(default)]
    pub nice: i32,
    /// Whether the daemon's memory is locked.
    pub memory_locked: bool,
    /// Lateness of the election's timers since the daemon started.
    pub timer_lateness: Vec<LatenessBucket>,
    /// Sum of all that lateness, microseconds.
    #[serde(default)]
    pub timer_lateness_sum_us: u64,
    /// Largest lateness of a timer, microseconds.
    pub max_timer_lateness_us: u64,
    /// Notices of the election that were lost because the daemon was busy.
    pub lost_notices: u64,
    /// Advertisements for VRIDs that no router of this host has, since the daemon started.
    #[serde(default)]
    pub unknown_adverts: u64,
    /// The same by interface and VRID; at most 256 of them, those that came first.
    #[serde(default)]
    pub unknown_vrids: Vec<UnknownVrid>,
}

/// Advertisements on an interface for a VRID that no router of this host has there. Others on the
/// segment send them, or a director whose plan says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownVrid {
    /// The interface.
    pub interface: String,
    /// The VRID; 0 for a packet that is too short to have one.
    pub vrid: u8,
    /// How many.
    pub adverts: u64,
}

/// Timers that were late by no more than so much, and by more than the bucket before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatenessBucket {
    /// Upper bound, microseconds; absent in the last bucket, which has none.
    pub up_to_us: Option<u64>,
    /// Number of timers.
    pub timers: u64,
}

/// Counters of a virtual router since the daemon started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterCounters {
    /// Times it became Master.
    pub became_master: u64,
    /// Advertisements sent.
    pub adverts_sent: u64,
    /// Advertisements received and accepted.
    pub adverts_received: u64,
    /// Of the received, those with priority 0.
    pub priority_zero_received: u64,
    /// Rejected advertisements by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Advertisements whose HMAC was right.
    #[serde(default)]
    pub hmac_verified: u64,
    /// Advertisements without HMAC that were let through, because the plan does not enforce it yet.
    #[serde(default)]
    pub hmac_absent: u64,
    /// Advertisements whose VIP list differs from ours, accepted or from a stranger with some of ours.
    pub vip_list_mismatch: u64,
    /// Times another host was Master beside this one.
    pub rival_masters: u64,
    /// Advertisements of our VRID for VIPs none of which is ours: somebody else uses the VRID.
    pub vrid_in_use: u64,
    /// Times somebody else was found to have one of our VIPs.
    pub duplicate_addresses: u64,
    /// Advertisements that were sent over 50 ms after they were due.
    pub late_adverts: u64,
    /// Largest lateness of an advertisement, microseconds.
    pub max_lateness_us: u64,
    /// Times that a removed VIP was put back.
    pub vip_repairs: u64,
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VirtualServerStatus {
    /// Name in the cluster file.
    pub name: Name,
    /// `tcp 192.168.188.120:80`.
    pub service: String,
    /// Traffic; absent when it was not asked for, or the kernel does not have it.
    #[serde(default)]
    pub counters: Option<TrafficCounters>,
    /// Quorum; absent when the plan has none of quorum, sorry server and programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumStatus>,
    /// Floor; absent when the plan has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorStatus>,
    /// Target of clients while the quorum is lost: `192.168.188.90:80`; absent when the plan has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<String>,
    /// Destinations.
    pub destinations: Vec<DestinationStatus>,
    /// Destinations that have left the plan and drain.
    #[serde(default)]
    pub leaving: Vec<LeavingStatus>,
}

/// Verdict on a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Healthy: in the table.
    Up,
    /// Failed: out of the table.
    Down,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationStatus {
    /// Name of the host.
    pub host: Name,
    /// `192.168.188.107:80`.
    pub address: String,
    /// Weight in the plan.
    pub weight: u16,
    /// Verdict.
    pub verdict: Verdict,
    /// Time since which it is the verdict; absent without a check.
    #[serde(default)]
    pub since: Option<String>,
    /// Whether it is checked at all.
    pub checked: bool,
    /// Failed checks in a row.
    pub failures: u32,
    /// Result of the last check, for people.
    pub last_result: Option<String>,
    /// Milliseconds since the last check ended.
    pub last_check_age_ms: Option<u64>,
    /// Why checks say nothing of it; absent when the last one did. The verdict stays meanwhile.
    #[serde(default)]
    pub unjudged: Option<Unjudged>,
    /// Its checks, each by itself. Verdict, failures and result above are those of the one that tells most.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// Connections; absent when they were not asked for, or the destination is not in the kernel.
    #[serde(default)]
    pub connections: Option<ConnectionCounts>,
    /// Drain, when one is ordered.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
    /// Why a destination that failed is in the table still, or one that is healthy is out of it or has
    /// another weight than the plan's, for people; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Weight that it has in the table because of `held`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_weight: Option<u16>,
}

/// Something ails the host itself, so that a check which fails says nothing of its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unjudged {
    /// Time since which checks say nothing.
    pub since: String,
    /// Ailment of this host, for people: `eth0 has no carrier`.
    pub reason: String,
}

/// Convergence of the kernel to the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConvergenceStatus {
    /// Whether the last pass left the kernel exactly as the plan in force wants it; false until there was a
    /// pass over it.
    pub converged: bool,
    /// Whether nothing is missing but objects that this kernel has no means for (errors of class
    /// `unsupported`): then this host takes part in the election.
    #[serde(default)]
    pub ready: bool,
    /// Passes since the daemon started.
    pub passes: u64,
    /// Kernel operations done since the daemon started.
    pub operations: u64,
    /// Milliseconds since the last pass ended.
    pub last_pass_age_ms: Option<u64>,
    /// Duration of the last pass, microseconds.
    pub last_pass_us: Option<u64>,
    /// Operations of the last passes that had any, newest last; at most 64.
    pub recent_operations: Vec<OperationRecord>,
    /// Operations that fail now.
    pub errors: Vec<ConvergenceError>,
    /// Objects that somebody else has changed and that are left so, as `policy.drift` says, now. They do not
    /// count against `converged`.
    #[serde(default)]
    pub reported_drift: u64,
    /// Drift and its treatment, newest last; at most 64. VIPs are among it.
    #[serde(default)]
    pub drifts: Vec<DriftRecord>,
    /// All drift since the daemon started, by kind and outcome.
    #[serde(default)]
    pub drift_counts: Vec<DriftCount>,
}

/// An operation that was done on the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationRecord {
    /// Time of the operation.
    pub at: String,
    /// Operation: `set weight 50 of 192.168.188.107:80 in tcp 192.168.188.120:80`.
    pub operation: String,
}

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConvergenceError {
    /// Operation.
    pub operation: String,
    /// The kernel's words and the likely cause.
    pub reason: String,
    /// Class of the failure. In any class the operation is repeated, with growing pauses.
    pub class: FailureClass,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Transient: it may pass.
    Transient,
    /// Permanent: it stays until someone changes the plan, the kernel or our rights.
    Permanent,
    /// Something that is not ours is in the way.
    Conflict,
    /// Unsupported: this kernel has no means for it, since a module, an address family or a setting is
    /// missing. It costs this object and what is on it or in it; nothing else waits for it.
    Unsupported,
}

/// An object in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ObjectText {
    /// `address`, `route`, `virtual_server`, `vip` or `process`; `more` counts what is not listed.
    pub kind: String,
    /// The object, as ipvsadm(8) or ip(8) would name it.
    pub object: String,
}
