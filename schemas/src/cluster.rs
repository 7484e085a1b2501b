//! What people write: `cluster.toml`.
//!
//! Shapes, ranges and documented defaults. Names are not resolved here and no rule that needs two
//! objects is checked here; a host never sees these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::{Cidr, Name, Span};

mod check;
mod defaults;
mod host;
mod policy;
mod router;
mod service;
mod tracker;

pub use check::*;
pub use defaults::*;
pub use host::*;
pub use policy::*;
pub use router::*;
pub use service::*;
pub use tracker::*;

/// One Linux Virtual Server cluster: directors, real servers, virtual IPs and virtual services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "evenkeel cluster")]
pub struct Cluster {
    /// Version of this file's language. Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the cluster, as it appears in plans, logs and status.
    pub name: Name,
    /// Further files of this cluster, relative to this one; `*` and `?` stand for parts of names.
    /// Their tables are added to those here; the same key in two files is an error. None unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Settings of virtual routers, services and checks that do not have them themselves. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: Defaults,
    /// Ethernet broadcast domains: where a VRID must be unique and where ARP matters.
    pub segments: BTreeMap<Name, Segment>,
    /// Directors and real servers.
    pub hosts: BTreeMap<Name, Host>,
    /// Virtual routers (VRRP instances): who holds which virtual IPs. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub virtual_routers: BTreeMap<Name, VirtualRouter>,
    /// Virtual routers that are Master together or not at all. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sync_groups: BTreeMap<Name, SyncGroup>,
    /// Trackers of the elections. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trackers: BTreeMap<Name, Tracker>,
    /// Real servers that several services share. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<Name, Pool>,
    /// Virtual services balanced by IPVS on the directors of their router. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Name, Service>,
    /// Connection synchronisation between the directors of a virtual router. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connection_sync: BTreeMap<Name, ConnectionSync>,
    /// Settings of IPVS on every director. Absent: the kernel's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipvs: Ipvs,
    /// Policy of convergence. Absent: the defaults of its keys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policy: Policy,
}

/// An Ethernet broadcast domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Networks on this segment. A host or VIP belongs to the segment whose subnet holds its address.
    #[schemars(length(min = 1))]
    pub subnets: Vec<Cidr>,
}

/// A program that is run without a shell, one at a time for each object, and never waited for by
/// what it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Absolute path of the program, and its arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// User that it runs as. Absent: `evenkeel_script` if the host has that user, or else `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Longest run, after which the program is killed. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Whether what happened follows the arguments of `command`: `INSTANCE|GROUP NAME STATE PRIORITY`, as
    /// with keepalived's `notify`; in a service `VS NAME UP|DOWN` or `RS ADDRESS:PORT NAME UP|DOWN`. `false`:
    /// the program gets the arguments of `command` and no more, as with keepalived's `notify_master`,
    /// `quorum_up` and `notify_up`. Absent: true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub state_arguments: bool,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_true(flag: &bool) -> bool {
    *flag
}

pub(crate) const fn yes() -> bool {
    true
}
