//! What a host obeys: `<host>.plan.toml`, written by the compiler only.
//!
//! Fully explicit: every field is always present, no default is left to the host. Holds what this
//! host needs and no secret. A file on disk carries a seal, see [`crate::seal`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::is_default;
pub use crate::cluster::{Drift, Probation};
use crate::scalars::{Cidr, InterfaceName, Ip, Name, Span};

mod check;
mod router;
pub mod testing;
mod tracker;
mod tunnel;
mod virtual_server;

pub use check::*;
pub use router::*;
pub use tracker::*;
pub use tunnel::*;
pub use virtual_server::*;

/// The plan format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// File name of a host's plan in a directory of plans.
#[must_use]
pub fn file_name(host: &Name) -> String {
    format!("{host}.plan.toml")
}

/// File name of a host's compiled secrets, beside its plan: a table of secret name -> text, mode 0600.
#[must_use]
pub fn secrets_file_name(host: &Name) -> String {
    format!("{host}.secrets.toml")
}

/// Everything one host must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "evenkeel host plan")]
pub struct Plan {
    /// Plan format. Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub format: u32,
    /// Name of the cluster.
    pub cluster: Name,
    /// Name of the host that this plan is for.
    pub host: Name,
    /// The host's own addresses, which are its administrator's: never touched, never reported as foreign.
    pub host_addresses: Vec<Ip>,
    /// Whether `evenkeel apply` and `compile` refuse to remove this host. The host itself does not care.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
    /// Whether this host takes no part in the elections of its virtual routers. While it is Master it hands
    /// over first, and stays Master until another director has taken over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub maintenance: bool,
    /// Policy of convergence.
    pub policy: Policy,
    /// Virtual routers of this host.
    #[serde(rename = "router", default)]
    pub routers: Vec<Router>,
    /// Virtual routers that are Master together or not at all.
    #[serde(rename = "sync_group", default, skip_serializing_if = "Vec::is_empty")]
    pub sync_groups: Vec<SyncGroup>,
    /// Trackers of the elections.
    #[serde(rename = "tracker", default, skip_serializing_if = "Vec::is_empty")]
    pub trackers: Vec<Tracker>,
    /// Virtual servers (IPVS services) of a director.
    #[serde(rename = "virtual_server", default)]
    pub virtual_servers: Vec<VirtualServer>,
    /// Time-outs of IPVS connections; absent: as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvs_timeouts: Option<IpvsTimeouts>,
    /// Synchronisation of IPVS connections between directors; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_sync: Option<ConnectionSync>,
    /// Ends of tunnels: a real server unwraps what directors send through them.
    #[serde(rename = "tunnel", default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<Tunnel>,
    /// Ports at which a real server unwraps GUE packets; what is in them goes to a tunnel's end.
    #[serde(rename = "gue", default, skip_serializing_if = "Vec::is_empty")]
    pub gue: Vec<Gue>,
    /// Addresses that are always present: a real server's VIPs on `lo`.
    #[serde(rename = "address", default)]
    pub addresses: Vec<Address>,
    /// Routes that are always present.
    #[serde(rename = "route", default)]
    pub routes: Vec<Route>,
    /// Kernel settings below `/proc/sys`.
    #[serde(rename = "sysctl", default)]
    pub sysctls: Vec<Sysctl>,
}

/// Policy of convergence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Longest time between two observations of kernel state that has no change events (IPVS, sysctls).
    pub resync: Span,
    /// Whether foreign IPVS services are removed.
    pub exclusive_ipvs: bool,
    /// Treatment of drift, by kind of object.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift: Drift,
    /// Probation of a change of the plan: without a confirmation in time the host rolls back; absent: the
    /// change stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probation: Option<Probation>,
}

/// An address of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Interface.
    pub interface: InterfaceName,
    /// Address with prefix length.
    pub address: Cidr,
    /// Label (`ip address … label`), such as `lo:0`; the interface's name is no label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[!-~]{1,15}$"))]
    pub label: Option<String>,
    /// Scope.
    pub scope: Scope,
}

/// Scope of an address or route (rtnetlink(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `RT_SCOPE_UNIVERSE`.
    Global,
    /// `RT_SCOPE_LINK`.
    Link,
    /// `RT_SCOPE_HOST`.
    Host,
}

/// A unicast route of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination network.
    pub destination: Cidr,
    /// Output interface.
    pub interface: InterfaceName,
    /// Scope.
    pub scope: Scope,
    /// Routing table; 254 is `main`.
    #[schemars(range(min = 1))]
    pub table: u32,
    /// Next hop; absent: the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Ip>,
    /// Metric; smaller ones win. Absent: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metric: u32,
}

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Path below `/proc/sys` with slashes: `net/ipv4/conf/lo/arp_ignore`. Slashes, because an
    /// interface's name may hold dots.
    #[schemars(regex(pattern = "^net(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)+$"))]
    pub key: String,
    /// The value as read from the file, without the newline.
    #[schemars(regex(pattern = "^[!-~]([ -~]{0,254}[!-~])?$"))]
    pub value: String,
}

/// Leaves keys that only the compiler reads out of plans that do not use them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}
