//! What a host reports: the JSON of `evenkeeld status` and of its socket.
//!
//! Times are RFC 3339 text in UTC, made by the agent; durations carry their unit in the name.

mod ipvs;
mod log;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Confirm;
use crate::scalars::Name;

pub use ipvs::*;
pub use log::LogStatus;

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
    /// When the daemon started.
    pub started: String,
    /// The host, when a plan is in force or `--host` was given.
    pub host: Option<Name>,
    /// Whether plans, secrets, programs and state are taken whoever may write to them (`--allow-insecure-files`).
    #[serde(default)]
    pub insecure_files: bool,
    /// The plan.
    pub plan: PlanStatus,
    /// Virtual routers, by name.
    pub routers: Vec<RouterStatus>,
    /// What the elections watch besides advertisements, by name.
    pub trackers: Vec<TrackerStatus>,
    /// What operators told virtual routers, by name.
    #[serde(default)]
    pub orders: Vec<OrderStatus>,
    /// Changes that hooks were never told because their programs did not keep up, or because a state changed more often than 20 times a
    /// minute, since the daemon started. The last change is never among them.
    #[serde(default)]
    pub dropped_hook_changes: u64,
    /// The election's thread.
    pub election: ElectionStatus,
    /// Virtual servers and their destinations.
    pub virtual_servers: Vec<VirtualServerStatus>,
    /// What operators told to drain.
    #[serde(default)]
    pub drain_orders: Vec<DrainOrderStatus>,
    /// Synchronisation of connections; absent when the plan has none.
    #[serde(default)]
    pub connection_sync: Option<ConnectionSyncStatus>,
    /// Convergence of the kernel.
    pub convergence: ConvergenceStatus,
    /// The state directory; absent in documents of daemons before this field.
    #[serde(default)]
    pub state_directory: Option<StateDirectoryStatus>,
    /// Whether a guardian is there to take the VIPs away if the daemon dies.
    pub guarded: bool,
    /// The daemon's log.
    #[serde(default)]
    pub log: LogStatus,
    /// What stands in the kernel beside ours: left alone.
    pub foreign: Vec<ObjectText>,
    /// What of others gets in the plan's way, told and left alone: `vip`, a VIP of the plan where the plan does not have it;
    /// `process`, keepalived in the same network namespace.
    #[serde(default)]
    pub in_the_way: Vec<ObjectText>,
}

/// The directory in which the daemon keeps what must outlive it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateDirectoryStatus {
    /// Its path.
    pub path: String,
    /// Files that the disk does not hold as they should be; empty when all is well.
    pub waiting: Vec<WaitingFile>,
}

/// A file that waits for the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFile {
    /// What it holds, for people.
    pub file: String,
    /// Since when it waits.
    pub since: String,
    /// Why the disk refuses it; absent while the disk does not answer.
    pub reason: Option<String>,
}

/// Which plan is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStatus {
    /// Path that is watched.
    pub path: String,
    /// Generation in force (64 hexadecimal digits); absent while there is none.
    pub generation: Option<String>,
    /// When it came into force.
    pub since: Option<String>,
    /// Whether it was read from the state directory because the watched file is missing or bad.
    pub from_last_good: bool,
    /// Why the file now at `path` is not in force; absent when it is.
    pub rejected: Option<Rejected>,
    /// The probation of the plan in force; absent when it is not on probation.
    #[serde(default)]
    pub probation: Option<ProbationStatus>,
    /// How far the maintenance that the plan in force says has got; absent when it says none.
    #[serde(default)]
    pub maintenance: Option<MaintenanceStatus>,
}

/// A plan that goes back to the one before unless it is confirmed in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbationStatus {
    /// Generation that it goes back to (64 hexadecimal digits).
    pub before: String,
    /// When the probation began.
    pub since: String,
    /// When it ends.
    pub deadline: String,
    /// Milliseconds until then.
    pub remaining_ms: u64,
    /// Who confirms; an operator may in any case.
    pub confirm: Confirm,
    /// What is waited for, for people.
    pub waits_for: Vec<String>,
}

/// A plan file that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// When.
    pub at: String,
    /// Why, a sentence for people.
    pub reason: String,
}

/// State of a virtual router (RFC 9568 §6.4; Master is its Active).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterState {
    /// Not taking part.
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
    /// This host's priority: that of the plan with what trackers add.
    pub priority: u8,
    /// Priority in the plan.
    pub base_priority: u8,
    /// Virtual routers of one group are Master together or not at all.
    pub sync_group: Option<Name>,
    /// What an operator told it, which stays until released, or the plan.
    pub order: Option<RouterOrder>,
    /// State.
    pub state: RouterState,
    /// Why it is in this state, for people.
    pub reason: String,
    /// What it waits for before it takes over from a Master of lower priority, for people; absent when it does not.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// When it entered the state.
    pub since: Option<String>,
    /// Address of the Master as last heard; this host's own while Master.
    pub master: Option<String>,
    /// When another Master of this virtual router was last heard; absent when none was since the daemon started. Backups are
    /// silent: a Master hears nobody while all is well.
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
    /// How many.
    pub adverts: u64,
    /// VIPs of the last one.
    pub vips: u32,
    /// How many of these are this virtual router's.
    pub our_vips: u32,
    /// Whether its advertisements count: it has exactly our VIPs, or the plan lets everybody speak. Else they move nothing.
    pub counts: bool,
    /// When the first was heard.
    pub first: String,
    /// When the last was heard.
    pub last: String,
}

/// What an operator told a virtual router to do (`evenkeeld failover`, `evenkeeld hold`), or the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterOrder {
    /// It has handed over and becomes Master only when no other director is.
    Yield,
    /// It takes no part in the election.
    Hold,
    /// It takes no part in the election, since the plan says `maintenance = true`. No operator's order.
    Maintenance,
}

impl RouterOrder {
    /// Whether a router that obeys takes no part in the election.
    #[must_use]
    pub const fn keeps_out(self) -> bool {
        match self {
            Self::Yield => false,
            Self::Hold | Self::Maintenance => true,
        }
    }
}

/// What became of `maintenance = true` in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceStatus {
    /// The virtual routers that this host still takes part in, because no other director has taken over. None: it is out of all.
    pub serving: Vec<Name>,
    /// Why they were not taken over, for people; absent before others were asked.
    pub reason: Option<String>,
}

/// An order that stays until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderStatus {
    /// Name of the virtual router that it was given to; all that move with it obey.
    pub router: Name,
    /// What it was told.
    pub order: RouterOrder,
    /// When.
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
    /// What it found last, for people.
    pub reason: String,
    /// Milliseconds since its last look; absent before the first.
    pub last_look_age_ms: Option<u64>,
}

/// The election's thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ElectionStatus {
    /// Its real-time priority (`SCHED_RR`); absent with ordinary scheduling.
    pub realtime_priority: Option<u8>,
    /// Its nice value, -20..=19: -20, ahead of all others of ordinary scheduling, where the host permits it.
    #[serde(default)]
    pub nice: i32,
    /// Whether the daemon's memory is locked.
    pub memory_locked: bool,
    /// How late its timers were, since the daemon started.
    pub timer_lateness: Vec<LatenessBucket>,
    /// Largest lateness of a timer, microseconds.
    pub max_timer_lateness_us: u64,
    /// What it had to say and was lost because the daemon was busy.
    pub lost_notices: u64,
}

/// Timers that were late by no more than so much, and by more than the bucket before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatenessBucket {
    /// Upper bound, microseconds; absent in the last bucket, which has none.
    pub up_to_us: Option<u64>,
    /// How many.
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
    /// Times a VIP that someone took away was put back.
    pub vip_repairs: u64,
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VirtualServerStatus {
    /// Name in the cluster file.
    pub name: Name,
    /// `tcp 192.168.188.120:80`.
    pub service: String,
    /// Its traffic; absent when it was not asked for, or the kernel does not have it.
    #[serde(default)]
    pub counters: Option<TrafficCounters>,
    /// Its destinations.
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
    /// Whether it is checked at all.
    pub checked: bool,
    /// Failed checks in a row.
    pub failures: u32,
    /// What the last check found, for people.
    pub last_result: Option<String>,
    /// Milliseconds since the last check ended.
    pub last_check_age_ms: Option<u64>,
    /// Why checks say nothing of it; absent when the last one did. The verdict stays meanwhile.
    #[serde(default)]
    pub unjudged: Option<Unjudged>,
    /// Its connections; absent when they were not asked for, or it is not in the kernel.
    #[serde(default)]
    pub connections: Option<ConnectionCounts>,
    /// Its drain, when it is told to.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
}

/// Something ails the host itself, so that a check which fails says nothing of its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unjudged {
    /// Since when.
    pub since: String,
    /// What ails it, for people: `eth0 has no carrier`.
    pub reason: String,
}

/// Convergence of the kernel to the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConvergenceStatus {
    /// Whether the last pass left the kernel exactly as the plan in force wants it; false until there was a pass over it.
    pub converged: bool,
    /// Whether nothing is missing but what this kernel has no means for (errors of class `unsupported`): then this host takes part in the
    /// election.
    #[serde(default)]
    pub ready: bool,
    /// Passes since the daemon started.
    pub passes: u64,
    /// Kernel operations done since the daemon started.
    pub operations: u64,
    /// Milliseconds since the last pass ended.
    pub last_pass_age_ms: Option<u64>,
    /// How long the last pass took, microseconds.
    pub last_pass_us: Option<u64>,
    /// Operations of the last passes that had any, newest last; at most 64.
    pub recent_operations: Vec<OperationRecord>,
    /// What could not be done, now.
    pub errors: Vec<ConvergenceError>,
    /// Objects that somebody else has changed and that are left so, as `policy.drift` says, now. They do not
    /// count against `converged`.
    #[serde(default)]
    pub reported_drift: u64,
    /// What others have changed and what was done about it, newest last; at most 64. VIPs are among them.
    #[serde(default)]
    pub drifts: Vec<DriftRecord>,
}

/// An object that was as wanted and that somebody else has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftRecord {
    /// When it was last found.
    pub at: String,
    /// When it was first found so, with the same outcome.
    pub first: String,
    /// How often.
    pub count: u64,
    /// `interface`, `address`, `route`, `rule`, `sysctl`, `virtual_server`, `destination`, `ipvs_timeouts`,
    /// `sync_daemon` or `gue_port`.
    pub kind: String,
    /// The object, as ipvsadm(8) or ip(8) would name it.
    pub object: String,
    /// What it was: `missing`, `not in the plan`, or its properties.
    pub found: String,
    /// What was done.
    pub outcome: DriftOutcome,
    /// Why it could not be repaired; absent otherwise.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What was done about an object that somebody else has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftOutcome {
    /// It was put right.
    Repaired,
    /// It was left, as the plan says.
    Reported,
    /// It could not be put right.
    Failed,
}

impl std::fmt::Display for DriftOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Repaired => "repaired",
            Self::Reported => "reported and left",
            Self::Failed => "not repaired",
        })
    }
}

/// An operation that was done on the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationRecord {
    /// When.
    pub at: String,
    /// What: `set weight 50 of 192.168.188.107:80 in tcp 192.168.188.120:80`.
    pub operation: String,
}

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConvergenceError {
    /// What was tried.
    pub operation: String,
    /// The kernel's words and the likely cause.
    pub reason: String,
    /// What kind of failure. It is tried again by itself in any case, with growing pauses.
    pub class: FailureClass,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It may pass.
    Transient,
    /// It stays until someone changes the plan, the kernel or our rights.
    Permanent,
    /// Something that is not ours is in the way.
    Conflict,
    /// This kernel has no means for it: a module, an address family or a setting is missing. It costs this object and what is on it or
    /// in it; nothing else waits for it.
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
