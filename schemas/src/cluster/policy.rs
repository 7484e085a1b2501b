//! How daemons converge their hosts, and what stands in the way of a dangerous change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::scalars::{InterfaceName, Ip, Percent, Port, Span, SyncId};

/// Policy of convergence for all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Longest time until drift that the kernel does not announce (IPVS, sysctls) is noticed.
    #[serde(default = "default_resync")]
    pub resync: Span,
    /// Whether the IPVS table of a director is wholly ours: foreign services are removed
    /// (`ipvsadm -C` of the scripts this replaces) instead of only reported.
    #[serde(default)]
    pub exclusive_ipvs: bool,
    /// Treatment of drift. Absent: it is put right.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift: Drift,
    /// Largest share of objects that one `apply` or `compile` may change or remove without an override.
    /// Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_change: Option<Percent>,
    /// A change of a host's plan is taken back unless it is confirmed in time. Absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probation: Option<Probation>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            resync: default_resync(),
            exclusive_ipvs: false,
            drift: Drift::default(),
            max_change: None,
            probation: None,
        }
    }
}

/// A change of a host's plan is taken back unless it is confirmed in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probation {
    /// Time for which the host waits for the confirmation; whole seconds, at least 5s.
    pub timeout: Span,
    /// Party that confirms. Absent: `operator`.
    #[serde(default)]
    pub confirm: Confirm,
}

/// Party that confirms a change of a host's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Somebody, with `evenkeeld confirm`.
    #[default]
    Operator,
    /// The host itself, once it has converged and no more of its destinations fail than did before.
    Checks,
}

/// Treatment of drift, by kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// Interfaces of ours: ends of tunnels, virtual MAC addresses. Absent: `repair`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: DriftMode,
    /// Addresses of real servers. The VIPs of a Master are always put back. Absent: `repair`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub addresses: DriftMode,
    /// Routes. Absent: `repair`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub routes: DriftMode,
    /// Kernel settings. Absent: `repair`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sysctls: DriftMode,
    /// IPVS services and destinations. Absent: `repair`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipvs: DriftMode,
}

/// Treatment of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftMode {
    /// Drift is put right.
    #[default]
    Repair,
    /// Drift is reported and left.
    Report,
}

/// Settings of IPVS on every director.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipvs {
    /// Time-outs of idle connections (`ipvsadm --set`). Absent: as they are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: IpvsTimeouts,
    /// Kernel settings below `net.ipv4.vs`, such as `conn_reuse_mode = 0`. Absent: the kernel's values, and 1
    /// for `expire_nodest_conn` where failed real servers of UDP, or of what the firewall marks, are removed
    /// and for `expire_quiescent_template` where those of persistent services are quiesced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, i64>,
}

/// Time-outs of idle connections; whole seconds. The kernel sets all three at once: where one is written,
/// those that are not are set to the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpvsTimeouts {
    /// TCP connections. Absent: the kernel's, 15 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Span>,
    /// TCP connections after a FIN. Absent: the kernel's, 2 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<Span>,
    /// UDP. Absent: the kernel's, 5 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<Span>,
}

/// Connection synchronisation: Backups learn of the Master's connections, so that they survive a failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSync {
    /// The virtual router whose Master sends and whose Backups receive.
    pub router: String,
    /// States in which a director sends and receives. Absent: `follow`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: SyncMode,
    /// Identity of the group of directors. Absent: the VRID of the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SyncId>,
    /// Interface on every director. Absent: the one on the router's segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Multicast group. Absent: 224.0.0.81, or ff02::81 where a director has no IPv4 address on the
    /// interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Ip>,
    /// UDP port. Absent: 8848.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// TTL of the packets. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub ttl: Option<u8>,
    /// Longest packet in bytes. Absent: what the interface carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65507))]
    pub max_length: Option<u32>,
}

/// States in which a director sends connections and receives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// It sends as Master and receives otherwise.
    #[default]
    Follow,
    /// It always does both.
    Both,
    /// It always sends.
    Master,
    /// It always receives.
    Backup,
}

const fn default_resync() -> Span {
    Span::from_secs(5)
}
