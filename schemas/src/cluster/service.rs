//! Services, their real servers, and pools of real servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, Hook, is_default, is_false};
use crate::scalars::{ConnectionLimit, FirewallMark, Ip, Name, Part, Port, PortRange, Span, Weight};

/// A virtual service: what IPVS balances on a VIP. Each VIP and port of it is an IPVS service of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The virtual router whose VIPs and directors it uses.
    pub router: String,
    /// One of the router's VIPs; may be left out when it has one, or when `vips` or `firewall_mark` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<Ip>,
    /// Several of the router's VIPs, instead of `vip`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vips: Vec<Ip>,
    /// Transport protocol. Must be there unless `firewall_mark` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Port of the virtual service. One of `port`, `ports` and `firewall_mark` must be there.
    /// Absent: `ports` or `firewall_mark`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Several ports or ranges of ports, such as `["80", "443", "8000-8010"]`, instead of `port`. Absent:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortRange>,
    /// Balance the packets that the firewall marks with this number, instead of a VIP, protocol and port.
    /// Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall_mark: Option<FirewallMark>,
    /// Address family of a service by firewall mark. Absent: `ipv4`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub family: Family,
    /// IPVS scheduler.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Flags of the scheduler (`ipvsadm -b`): `fallback` and `port` of sh and mh. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Forwarding method.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Encapsulation of forwarding method `tun`. Absent: `ipip`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tunnel: Tunnel,
    /// A client stays with its real server. Absent: each connection is balanced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Balance each datagram for itself (`ipvsadm -o`); UDP only. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_packet: bool,
    /// The real servers.
    #[schemars(length(min = 1))]
    pub real_servers: Vec<RealServer>,
    /// Health check of each real server; without one a real server always counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<Check>>,
    /// Further health checks: a real server is healthy when all of them succeed. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Treatment of a real server whose check fails. Absent: `remove`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// With `on_failure = "quiesce"`: time at weight 0 after which a failed real server is removed. Absent:
    /// it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiesce_for: Option<Span>,
    /// Least healthy weight with which the service counts as up. Absent: a weight of 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// Target of clients while the quorum is lost, in place of all real servers. Absent: the real servers
    /// that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<SorryServer>,
    /// Number of real servers that are never taken out together, because that many checks that fail say more
    /// of the checks than of the real servers. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// Time in which the weight of a real server that returns grows to its own, in ten steps. Absent: at
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// Makes a real server that flaps wait before it returns: each return within a window doubles the wait.
    /// Absent: it returns at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<Damping>,
    /// Treatment of the connections of a real server that leaves. Absent: they end at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Programs that run at changes. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: ServiceHooks,
    /// Refuse plans in which this service no longer appears. Absent: no.
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
    /// SCTP.
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Address family.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
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

/// A flag of the hashing schedulers sh and mh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerFlag {
    /// Choose another real server when the hashed one takes no connections (`sh-fallback`, `mh-fallback`).
    Fallback,
    /// Hash the source port, too (`sh-port`, `mh-port`).
    Port,
}

impl SchedulerFlag {
    /// The word in the cluster file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Port => "port",
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
    /// Tunnel (`ipvsadm -i`): packets are encapsulated to real servers, which hold the VIP and answer
    /// clients themselves.
    Tun,
    /// Masquerade (`ipvsadm -m`): addresses and ports are translated, and answers come back through the
    /// director.
    Nat,
}

impl std::fmt::Display for Forwarding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Dr => "direct routing",
            Self::Tun => "tunnel",
            Self::Nat => "masquerade",
        })
    }
}

/// Encapsulation of forwarding method `tun`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Kind of tunnel.
    #[serde(default, rename = "type")]
    pub kind: TunnelType,
    /// UDP port of the real servers, with `gue` only. Absent: 6080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Checksum of the outer header, with `gue` and `gre`. Absent: `none`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: TunnelChecksum,
}

/// Kind of tunnel.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TunnelType {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
}

/// Checksum of a tunnel's outer header.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// Made by the director.
    Full,
    /// Left to the network card of the real server (`remcsum`), with `gue` only.
    Remote,
}

/// A client stays with its real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// Time from a client's last connection; whole seconds.
    #[serde(default = "default_persistence")]
    pub timeout: Span,
    /// Clients are one when this many bits of their address are equal. Absent: 32, or 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub prefix: Option<u8>,
    /// Recognise clients by what they say, not by their address. Absent: by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PersistenceEngine>,
}

/// Recognises clients by what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersistenceEngine {
    /// Call-ID of SIP over UDP (`ip_vs_pe_sip`).
    Sip,
}

/// Real servers of a service: one of `host`, `label` and `pool`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RealServer {
    /// Name of a host. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Every host with this label. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Name>,
    /// Every real server of this pool. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// One of the host's addresses. Absent: one of the VIP's segment, or the host's first of the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ip>,
    /// Weight; with 0 it gets no new connections. Absent: that of the pool, or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Port of the real server. Absent: that of the pool, or the service's own. Only masquerade translates
    /// ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Forwarding method. Absent: as the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// No new connections from this many on (`ipvsadm -x`). Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<ConnectionLimit>,
    /// New connections again below this many (`ipvsadm -y`). Absent: three quarters of the upper one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<ConnectionLimit>,
    /// Health check of this real server, instead of those of the service. Absent: those of the pool, or of
    /// the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<Check>>,
    /// Further health checks of this real server, instead of those of the service. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// Real servers that several services share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The real servers: each with `host` or `label`.
    #[schemars(length(min = 1))]
    pub real_servers: Vec<RealServer>,
}

/// Treatment of a real server whose check fails.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is removed, its connections end.
    #[default]
    Remove,
    /// Its weight becomes 0, its connections stay (keepalived: `inhibit_on_failure`).
    Quiesce,
}

/// Waits of real servers that flap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Damping {
    /// Returns count while the next failure comes within this time; each such time without a failure takes
    /// one back.
    #[serde(default = "default_damping_window")]
    pub window: Span,
    /// Wait before the second return; it doubles with each further one.
    #[serde(default = "default_damping_delay")]
    pub delay: Span,
    /// Longest wait.
    #[serde(default = "default_damping_max_delay")]
    pub max_delay: Span,
}

const fn default_damping_window() -> Span {
    Span::from_secs(60)
}

const fn default_damping_delay() -> Span {
    Span::from_secs(5)
}

const fn default_damping_max_delay() -> Span {
    Span::from_secs(300)
}

/// Least healthy weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// Sum of the weights of healthy real servers at which the service is up.
    #[schemars(range(min = 1, max = 4294967295_u32))]
    pub weight: u32,
    /// The service goes down below `weight` less this, and comes up at `weight` plus this. Absent: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hysteresis: u32,
}

/// Number of real servers that are never taken out together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Least healthy real servers of those that have a weight and do not drain: a number, `"2"`, or a share
    /// of them, `"50%"`, rounded up.
    pub min_healthy: Part,
    /// Treatment of a service with fewer. Absent: `keep`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub below: Below,
}

/// Treatment of a service with too few healthy real servers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Below {
    /// Of those that failed, the last ones stay, as many as are missing.
    #[default]
    Keep,
    /// The quorum counts as lost.
    Sorry,
    /// The virtual router of the service takes no part in the election, so that its VIPs go to another
    /// director.
    Withdraw,
}

/// Target of clients while the quorum is lost: one of `host` and `address`. It may be a real server of the
/// service. It is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SorryServer {
    /// Name of a host. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// An address outside the cluster. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ip>,
    /// Port of the sorry server. Absent: the service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Forwarding method. Absent: as the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
}

/// Treatment of the connections of a real server that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Longest time for which its connections go on.
    pub timeout: Span,
}

/// Programs that run at changes of a service, on every director, Master or not. Each is called with the
/// arguments that are written, then `VS NAME UP|DOWN` for the quorum and `RS ADDRESS:PORT NAME UP|DOWN` for a
/// real server, unless `state_arguments = false`. NAME is the service's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceHooks {
    /// The service has its quorum again, at all of its VIPs and ports. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum_up: Option<Hook>,
    /// The service lost its quorum, at one of its VIPs and ports. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum_down: Option<Hook>,
    /// A real server that failed is healthy again. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_server_up: Option<Hook>,
    /// A real server failed. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_server_down: Option<Hook>,
}

/// The kernel's and keepalived's default.
const fn default_persistence() -> Span {
    Span::from_secs(360)
}
