//! What people write: `cluster.toml`.
//!
//! Shapes, ranges and documented defaults. Names are not resolved here and no rule that needs two
//! objects is checked here; a host never sees these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::{
    AdvertInterval, Cidr, InterfaceName, Ip, Name, Port, Priority, Retries, Span, Vrid, Weight,
};

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
    /// Ethernet broadcast domains: where a VRID must be unique and where ARP matters.
    pub segments: BTreeMap<Name, Segment>,
    /// Directors and real servers.
    pub hosts: BTreeMap<Name, Host>,
    /// Virtual routers (VRRP instances): who holds which virtual IPs.
    #[serde(default)]
    pub virtual_routers: BTreeMap<Name, VirtualRouter>,
    /// Virtual services balanced by IPVS on the directors of their router.
    #[serde(default)]
    pub services: BTreeMap<Name, Service>,
    /// How the daemons converge their host.
    #[serde(default)]
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

/// A host's interface on a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The host's own address on the segment: the source of its advertisements.
    pub address: Ip,
    /// The network interface that has this address.
    pub interface: InterfaceName,
    /// Whether `evenkeel apply` refuses to remove this host.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// A virtual router: virtual IPs that one of several directors holds (RFC 9568).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualRouter {
    /// Virtual router identifier, unique on its segment.
    pub vrid: Vrid,
    /// Virtual IP addresses, all on one segment.
    #[schemars(length(min = 1))]
    pub vips: Vec<Ip>,
    /// Directors in order of preference: priorities 100, 90, 80, … unless `priorities` says otherwise.
    #[schemars(length(min = 1))]
    pub directors: Vec<String>,
    /// Priority by director, for all of them or none. The highest becomes Master.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub priorities: BTreeMap<String, Priority>,
    /// Time between advertisements: multiples of 10ms up to 40950ms; whole seconds with version 2.
    #[serde(default = "default_advert_interval")]
    pub advert_interval: AdvertInterval,
    /// VRRP version on the wire: 3 (RFC 9568), or 2 (RFC 3768) to speak to routers that need it.
    #[serde(default = "default_vrrp_version")]
    #[schemars(range(min = 2, max = 3))]
    pub version: u8,
    /// Authentication; version 2 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whether a director with a higher priority takes over from a Master with a lower one.
    #[serde(default = "yes")]
    pub preempt: bool,
    /// Whether `evenkeel apply` refuses to remove this virtual router.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// VRRP version 2 authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A password of up to 8 bytes, readable by everyone on the segment (RFC 2338 §10.2).
    Pass {
        /// Where the password comes from.
        secret: SecretSource,
    },
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// Written here, so it is in version control. Compiled into a file beside the plan, never into it.
    Literal(String),
    /// Absolute path of a file on each director; a newline at its end does not count.
    File(String),
    /// Name of a systemd credential of the daemon's unit (`LoadCredential=`).
    Credential(Name),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Credential(name) => f.debug_tuple("Credential").field(name).finish(),
        }
    }
}

/// A virtual service: what IPVS balances on a VIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The virtual router whose VIP and directors it uses.
    pub router: String,
    /// Which of the router's VIPs; may be left out when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<Ip>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the virtual service.
    pub port: Port,
    /// IPVS scheduler.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// How packets reach the real servers.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// The real servers.
    #[schemars(length(min = 1))]
    pub real_servers: Vec<RealServer>,
    /// Health check of each real server; without one a real server always counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Whether `evenkeel apply` refuses to remove this service.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// Transport protocol of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// IPVS scheduler (`ipvsadm -s`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections: the kernel's and keepalived's default.
    #[default]
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// Locality-based least connections with replication.
    Lblcr,
    /// Source hashing.
    Sh,
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Power of two choices.
    Twos,
}

impl Scheduler {
    /// The kernel's name: module `ip_vs_<name>`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Mh => "mh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
        }
    }
}

/// Forwarding method of IPVS.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// Direct routing (`ipvsadm -g`): real servers hold the VIP on `lo` and answer clients themselves.
    #[default]
    Dr,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RealServer {
    /// Name of the host.
    pub host: String,
    /// Its weight; 0 takes no new connections.
    #[serde(default = "default_weight")]
    pub weight: Weight,
    /// Its port; the service's own unless given. Direct routing cannot translate ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// Health check of the real servers of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// Healthy when a TCP connection opens.
    Tcp {
        /// Time from the start of one check to the start of the next.
        #[serde(default = "default_check_interval")]
        interval: Span,
        /// How long the connection may take to open.
        #[serde(default = "default_check_timeout")]
        timeout: Span,
        /// How many times a failed check is tried again before the real server is taken out.
        #[serde(default = "default_check_retries")]
        retries: Retries,
        /// Time from a failed check to its next try.
        #[serde(default = "default_check_retry_delay")]
        retry_delay: Span,
        /// Port to connect to; the destination's own unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<Port>,
    },
}

/// How the daemons converge their host.
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
    /// Percentage of what is there that one `evenkeel apply` may change or remove; no limit unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_change: Option<u8>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { resync: default_resync(), exclusive_ipvs: false, max_change: None }
    }
}

fn default_advert_interval() -> AdvertInterval {
    AdvertInterval::ONE_SECOND
}

const fn default_vrrp_version() -> u8 {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn yes() -> bool {
    true
}

fn default_weight() -> Weight {
    Weight::ONE
}

const fn default_check_interval() -> Span {
    Span::from_secs(5)
}

const fn default_check_timeout() -> Span {
    Span::from_secs(5)
}

fn default_check_retries() -> Retries {
    Retries::ONE
}

const fn default_check_retry_delay() -> Span {
    Span::from_secs(1)
}

const fn default_resync() -> Span {
    Span::from_secs(5)
}
