//! How daemons converge their hosts, and what stands in the way of a dangerous change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::scalars::{FirewallMark, InterfaceName, Ip, Percent, Port, Span, SyncId};

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
    /// Marks of the packets of checks that go through IPVS (`via = "service"`): one for each real server and
    /// way to it. No firewall, routing rule or service may use them for anything else. Absent: 1163264000 to
    /// 1163329535 (0x45560000 to 0x4556ffff).
    #[serde(default, skip_serializing_if = "is_default")]
    pub check_marks: CheckMarks,
}

/// A range of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckMarks {
    /// The lowest.
    pub first: FirewallMark,
    /// The highest.
    pub last: FirewallMark,
}

impl CheckMarks {
    /// Whether a mark is one of them.
    #[must_use]
    pub fn contains(&self, mark: FirewallMark) -> bool {
        (self.first..=self.last).contains(&mark)
    }

    /// Number of marks.
    #[must_use]
    pub const fn len(&self) -> u64 {
        (self.last.get() as u64 + 1).saturating_sub(self.first.get() as u64)
    }

    /// Whether it has none: it ends before it begins.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mark at a place, counted from 0.
    #[must_use]
    pub fn at(&self, place: u64) -> Option<FirewallMark> {
        let number = u64::from(self.first.get()).checked_add(place)?;
        let mark = FirewallMark::new(u32::try_from(number).ok()?).ok()?;
        self.contains(mark).then_some(mark)
    }
}

impl Default for CheckMarks {
    fn default() -> Self {
        Self { first: FirewallMark::FIRST_OF_CHECKS, last: FirewallMark::LAST_OF_CHECKS }
    }
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
    /// Longest time for which a director that starts, or comes back, leaves a living Master alone until it
    /// has received the Master's connections. `0s`: no time. Absent: 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt_after_sync: Option<Span>,
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
