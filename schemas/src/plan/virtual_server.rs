//! Virtual servers of a plan: IPVS services with their destinations and checks, and what IPVS has beside
//! them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::Check;
use super::{Encapsulation, Hook, is_false};
use crate::cluster::is_default;
pub use crate::cluster::{
    Below, Damping, Family, Floor, Forwarding, OnFailure, PersistenceEngine, Protocol, Quorum, Scheduler,
    SchedulerFlag, SyncMode,
};
use crate::scalars::{ConnectionLimit, FirewallMark, InterfaceName, Ip, Name, Port, Span, SyncId, Weight};

/// An IPVS service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualServer {
    /// Name in the cluster file.
    pub name: Name,
    /// Virtual address; absent with a firewall mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ip>,
    /// Virtual port; absent with a firewall mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Transport protocol; absent with a firewall mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Takes the packets that the firewall marks so; absent: those for `address`, `port` and `protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall_mark: Option<FirewallMark>,
    /// Address family of the marked packets, with `firewall_mark` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// VIPs that marked packets are for, with `firewall_mark` only. The host itself does not care.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vips: Vec<Ip>,
    /// Wanted only while this host is Master of this virtual router; absent: always. So it is where a
    /// director is a real server as well: as Backup it would send on what the Master has sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_as_master_of: Option<Name>,
    /// Scheduler.
    pub scheduler: Scheduler,
    /// Flags of the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Balance each datagram for itself.
    pub one_packet: bool,
    /// A client stays with its destination; absent when each connection is balanced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Treatment of a destination whose check fails; absent: it is removed from the table.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// Time at weight 0 after which a destination that failed is removed, with `on_failure = "quiesce"`;
    /// absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiesce_for: Option<Span>,
    /// Least healthy weight; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// Target of clients while the quorum is lost; absent: the destinations that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<Box<SorryServer>>,
    /// Number of destinations that are never taken out together; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// Time in which the weight of a destination that returns grows to its own; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// Makes a destination that flaps wait before it returns; absent: it returns at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<Damping>,
    /// Longest time for which the connections of a destination that leaves the plan go on; absent: they end
    /// at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
    /// Programs that run at changes; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Box<ServiceHooks>>,
    /// Whether `evenkeel apply` and `compile` refuse to remove this virtual server. The host itself does not
    /// care.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
    /// Destinations.
    #[serde(rename = "destination", default)]
    pub destinations: Vec<Destination>,
}

/// A client stays with its destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// Time from a client's last connection; whole seconds.
    pub timeout: Span,
    /// Clients are one when this many bits of their address are equal.
    #[schemars(range(min = 1, max = 128))]
    pub prefix: u8,
    /// Recognises clients by what they say; absent: by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PersistenceEngine>,
}

/// Target of clients while the quorum is lost: a destination of weight 1 that is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SorryServer {
    /// Name of the host in the cluster file; absent: an address outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// Address of the sorry server.
    pub address: Ip,
    /// Port of the sorry server; absent with a firewall mark where connections keep the port that they came
    /// to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Forwarding method.
    pub forwarding: Forwarding,
    /// Encapsulation of tunnelled packets; absent unless `forwarding` is `tun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<Encapsulation>,
}

impl SorryServer {
    /// The sorry server as a destination of the virtual server.
    #[must_use]
    pub fn destination(&self, name: &Name) -> Destination {
        let Self { host, address, port, forwarding, encapsulation } = self;
        let host = host.as_ref().unwrap_or(name).clone();
        let more = More { encapsulation: *encapsulation, ..More::default() };
        Destination::new(host, *address, *port, Weight::ONE, *forwarding).with(more)
    }
}

/// Programs that run at changes of a service. They run once for all virtual servers of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceHooks {
    /// All virtual servers of the service have their quorum again; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum_up: Option<Hook>,
    /// A virtual server of the service lost its quorum; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum_down: Option<Hook>,
    /// A destination is healthy again; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_server_up: Option<Hook>,
    /// A destination failed; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_server_down: Option<Hook>,
}

impl ServiceHooks {
    /// All hooks that there are.
    pub fn all(&self) -> impl Iterator<Item = &Hook> {
        let Self { quorum_up, quorum_down, real_server_up, real_server_down } = self;
        [quorum_up, quorum_down, real_server_up, real_server_down].into_iter().flatten()
    }
}

/// A real server as IPVS sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "Flat")]
#[schemars(with = "Flat")]
pub struct Destination {
    /// Name of the host in the cluster file.
    pub host: Name,
    /// Address of the real server.
    pub address: Ip,
    /// Port of the real server; absent with a firewall mark where connections keep the port that they came
    /// to.
    pub port: Option<Port>,
    /// Weight.
    pub weight: Weight,
    /// Forwarding method.
    pub forwarding: Forwarding,
    /// Properties apart from the others, so that all directors of a service can share them: a plan may have a
    /// hundred thousand destinations.
    more: Option<Arc<More>>,
}

/// Rare properties of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct More {
    /// Whether it drains: weight 0, and out of the table when its connections have ended, after the `drain`
    /// of the virtual server at the latest.
    pub drain: bool,
    /// Encapsulation of tunnelled packets; absent unless the forwarding method is `tun`.
    pub encapsulation: Option<Encapsulation>,
    /// No new connections from this many on; absent: no limit.
    pub upper_threshold: Option<ConnectionLimit>,
    /// New connections again below this many; absent: three quarters of the upper one.
    pub lower_threshold: Option<ConnectionLimit>,
    /// Health checks, all of which must succeed; without one it always counts as healthy.
    pub checks: Vec<Check>,
}

/// A real server as IPVS sees it.
#[derive(Deserialize, JsonSchema)]
#[cfg_attr(test, derive(Serialize))]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Destination")]
struct Flat {
    /// Name of the host in the cluster file.
    host: Name,
    /// Address of the real server.
    address: Ip,
    /// Port of the real server; absent with a firewall mark where connections keep the port that they came
    /// to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    /// Weight.
    weight: Weight,
    /// Forwarding method.
    forwarding: Forwarding,
    /// Whether it drains: weight 0, and out of the table when its connections have ended, after the `drain`
    /// of the virtual server at the latest.
    #[serde(default, skip_serializing_if = "is_false")]
    drain: bool,
    /// Encapsulation of tunnelled packets; absent unless `forwarding` is `tun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encapsulation: Option<Encapsulation>,
    /// No new connections from this many on; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upper_threshold: Option<ConnectionLimit>,
    /// New connections again below this many; absent: three quarters of the upper one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lower_threshold: Option<ConnectionLimit>,
    /// Health check; without one, and without `checks`, it always counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
    /// Several health checks, all of which must succeed; absent: `check`, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

impl From<Flat> for Destination {
    fn from(flat: Flat) -> Self {
        let Flat {
            host,
            address,
            port,
            weight,
            forwarding,
            drain,
            encapsulation,
            upper_threshold,
            lower_threshold,
            check,
            checks,
        } = flat;
        let checks = check.into_iter().chain(checks).collect();
        let more = More { drain, encapsulation, upper_threshold, lower_threshold, checks };
        Self { host, address, port, weight, forwarding, more: None }.with(more)
    }
}

/// As [`Flat`], without making one: a plan may have a hundred thousand of them.
impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn optional<T: SerializeStruct>(
            fields: &mut T,
            key: &'static str,
            value: Option<&(impl Serialize + ?Sized)>,
        ) -> Result<(), T::Error> {
            match value {
                Some(value) => fields.serialize_field(key, value),
                None => fields.skip_field(key),
            }
        }
        let Self { host, address, port, weight, forwarding, more } = self;
        let more = more.as_deref().unwrap_or(const { &More::NONE });
        let More { drain, encapsulation, upper_threshold, lower_threshold, checks } = more;
        // One check is spelled as such.
        let (check, several) = match checks.as_slice() {
            [check] => (Some(check), None),
            several => (None, Some(several).filter(|several| !several.is_empty())),
        };
        let mut fields = serializer.serialize_struct("Destination", 11)?;
        fields.serialize_field("host", host)?;
        fields.serialize_field("address", address)?;
        optional(&mut fields, "port", port.as_ref())?;
        fields.serialize_field("weight", weight)?;
        fields.serialize_field("forwarding", forwarding)?;
        optional(&mut fields, "drain", Some(drain).filter(|drain| **drain))?;
        optional(&mut fields, "encapsulation", encapsulation.as_ref())?;
        optional(&mut fields, "upper_threshold", upper_threshold.as_ref())?;
        optional(&mut fields, "lower_threshold", lower_threshold.as_ref())?;
        optional(&mut fields, "check", check)?;
        optional(&mut fields, "checks", several)?;
        fields.end()
    }
}

impl More {
    const NONE: Self = Self {
        drain: false,
        encapsulation: None,
        upper_threshold: None,
        lower_threshold: None,
        checks: Vec::new(),
    };
}

impl Destination {
    /// One that has nothing beside.
    #[must_use]
    pub const fn new(
        host: Name,
        address: Ip,
        port: Option<Port>,
        weight: Weight,
        forwarding: Forwarding,
    ) -> Self {
        Self { host, address, port, weight, forwarding, more: None }
    }

    /// The same with this beside.
    #[must_use]
    pub fn with(self, more: More) -> Self {
        let more = (more != More::default()).then(|| Arc::new(more));
        Self { more, ..self }
    }

    /// The same without its checks.
    #[must_use]
    pub fn without_checks(self) -> Self {
        let more = self.more.as_deref().cloned().unwrap_or_default();
        self.with(More { checks: Vec::new(), ..more })
    }

    /// Whether it drains: [`More::drain`].
    #[must_use]
    pub fn drains(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.drain)
    }

    /// Encapsulation of tunnelled packets: [`More::encapsulation`].
    #[must_use]
    pub fn encapsulation(&self) -> Option<Encapsulation> {
        self.more.as_ref()?.encapsulation
    }

    /// [`More::upper_threshold`].
    #[must_use]
    pub fn upper_threshold(&self) -> Option<ConnectionLimit> {
        self.more.as_ref()?.upper_threshold
    }

    /// [`More::lower_threshold`].
    #[must_use]
    pub fn lower_threshold(&self) -> Option<ConnectionLimit> {
        self.more.as_ref()?.lower_threshold
    }

    /// Health checks: [`More::checks`].
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        self.more.as_ref().map_or(&[], |more| &more.checks)
    }

    /// Target of packets: `192.0.2.1:80`, `[2001:db8::1]:80`, or the address where they keep their port.
    #[must_use]
    pub fn socket(&self) -> String {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.address.0, port.get()).to_string(),
            None => self.address.to_string(),
        }
    }
}

/// What takes a packet to a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// Destination of the packet.
    Transport {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address.
        address: Ip,
        /// Virtual port.
        port: Port,
    },
    /// Mark of the firewall.
    Mark {
        /// Address family.
        family: Family,
        /// The mark.
        mark: FirewallMark,
    },
}

impl Front {
    /// Whether it is about IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        match self {
            Self::Transport { address, .. } => address.0.is_ipv6(),
            Self::Mark { family, .. } => matches!(family, Family::Ipv6),
        }
    }
}

/// As it is called in changes, logs and status: `tcp 192.168.188.120:80`, `fwmark 1`, `fwmark 1 (IPv6)`.
impl std::fmt::Display for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport { protocol, address, port } if address.0.is_ipv6() => {
                write!(f, "{protocol} [{address}]:{port}")
            }
            Self::Transport { protocol, address, port } => write!(f, "{protocol} {address}:{port}"),
            Self::Mark { family: Family::Ipv4, mark } => write!(f, "fwmark {mark}"),
            Self::Mark { family: Family::Ipv6, mark } => write!(f, "fwmark {mark} (IPv6)"),
        }
    }
}

impl VirtualServer {
    /// Property by which the virtual server is chosen; none when the plan says neither or both, for which it
    /// is refused.
    #[must_use]
    pub const fn front(&self) -> Option<Front> {
        match (self.protocol, self.address, self.port, self.firewall_mark, self.family) {
            (Some(protocol), Some(address), Some(port), None, None) => {
                Some(Front::Transport { protocol, address, port })
            }
            (None, None, None, Some(mark), Some(family)) => Some(Front::Mark { family, mark }),
            _ => None,
        }
    }

    /// The VIPs that its clients speak to.
    pub fn client_addresses(&self) -> impl Iterator<Item = Ip> + '_ {
        self.address.iter().chain(&self.vips).copied()
    }
}

/// Time-outs of idle connections (`ipvsadm --set`); whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpvsTimeouts {
    /// TCP connections.
    pub tcp: Span,
    /// TCP connections after a FIN.
    pub tcp_fin: Span,
    /// UDP.
    pub udp: Span,
}

/// Synchronisation of IPVS connections (`ipvsadm --start-daemon`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSync {
    /// Halves of the synchronisation that run in each state.
    pub mode: SyncMode,
    /// The virtual router whose state `mode` may follow.
    pub router: Name,
    /// Interface.
    pub interface: InterfaceName,
    /// Identity of the group of directors.
    pub id: SyncId,
    /// Multicast group.
    pub group: Ip,
    /// UDP port.
    pub port: Port,
    /// TTL or hop limit.
    #[schemars(range(min = 1, max = 255))]
    pub ttl: u8,
    /// Longest packet in bytes; absent: what the interface carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65507))]
    pub max_length: Option<u32>,
    /// Longest time for which the router leaves a living Master alone until it has received the Master's
    /// connections; absent: no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt_after_sync: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_written_as_it_is_read() {
        let check = concat!(
            r#"{"type":"tcp","address":"192.0.2.1","port":80,"interval":"5s","timeout":"10s","retries":3,"#,
            r#""retry_delay":"3s"}"#
        );
        let least = r#"{"host":"a","address":"192.0.2.1","weight":1,"forwarding":"dr"}"#.to_owned();
        let most = [
            r#"{"host":"a","address":"192.0.2.1","port":80,"weight":0,"forwarding":"tun","drain":true,"#,
            r#""encapsulation":{"type":"ipip"},"upper_threshold":9,"lower_threshold":5,"check":"#,
            check,
            "}",
        ];
        let most = most.concat();
        for text in [least, most] {
            let flat: Flat = serde_json::from_str(&text).expect("a destination");
            assert_eq!(serde_json::to_string(&flat).expect("text"), text, "every key of the type is here");
            let destination: Destination = serde_json::from_str(&text).expect("a destination");
            assert_eq!(serde_json::to_string(&destination).expect("text"), text);
        }
    }
}
