//! IPVS services and destinations, as data: values carry the kernel's own meaning (`linux/ip_vs.h`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_schemas::cluster::{Family, Protocol};
use evenkeel_schemas::plan::{Front, VirtualServer};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::destinations::{Destinations, write_endpoint};

/// Identity of an IPVS service (`ip_vs(8)`: address, port and protocol, or a mark).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceKey {
    /// By address.
    Transport {
        /// IP protocol number: 6 TCP, 17 UDP, 132 SCTP.
        protocol: u8,
        /// Virtual address.
        address: IpAddr,
        /// Virtual port, 0 for all.
        port: u16,
    },
    /// By firewall mark.
    Mark {
        /// Whether it is IPv6.
        v6: bool,
        /// The mark.
        mark: u32,
    },
}

impl ServiceKey {
    /// The key of a service by address, port and protocol.
    #[must_use]
    pub const fn new(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        let protocol = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        };
        Self::Transport { protocol, address, port }
    }

    /// The key of a plan's virtual server; none for one without a front, which no plan that was
    /// accepted has.
    #[must_use]
    pub fn of(server: &VirtualServer) -> Option<Self> {
        Some(match server.front()? {
            Front::Transport { protocol, address, port } => Self::new(protocol, address.0, port.get()),
            Front::Mark { family, mark } => Self::Mark { v6: family == Family::Ipv6, mark: mark.get() },
        })
    }

    /// Whether the service is of the IPv6 family.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        match self {
            Self::Transport { address, .. } => address.is_ipv6(),
            Self::Mark { v6, .. } => *v6,
        }
    }
}

/// An IPVS service's properties and destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Scheduler name.
    pub scheduler: SmolStr,
    /// `IP_VS_SVC_F_*`, without `HASHED`, which is the kernel's own.
    pub flags: u32,
    /// Persistence time-out, seconds.
    pub timeout_secs: u32,
    /// Persistence granularity: IPv4 mask, or IPv6 prefix length.
    pub netmask: u32,
    /// Persistence engine.
    pub persistence_engine: Option<SmolStr>,
    /// Destinations.
    pub destinations: Destinations,
}

impl Service {
    /// A service without persistence and flags.
    #[must_use]
    pub fn plain(scheduler: &str, v6: bool) -> Self {
        Self {
            scheduler: scheduler.into(),
            flags: 0,
            timeout_secs: 0,
            netmask: if v6 { 128 } else { u32::MAX },
            persistence_engine: None,
            destinations: Destinations::new(),
        }
    }

    /// The same without destinations.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self { destinations: Destinations::new(), ..self.clone() }
    }

    /// Whether all but the destinations is equal.
    #[must_use]
    pub fn same_service(&self, other: &Self) -> bool {
        self.scheduler == other.scheduler
            && self.flags == other.flags
            && self.timeout_secs == other.timeout_secs
            && self.netmask == other.netmask
            && self.persistence_engine == other.persistence_engine
    }
}

/// Time-outs of connections without traffic, seconds (`ipvsadm --set`); all are 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// Half of connection synchronisation that a daemon of the kernel does (`IP_VS_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncRole {
    /// Sends the connections of this director.
    Master,
    /// Takes those of others.
    Backup,
}

/// A synchronisation daemon of the kernel (`ipvsadm --start-daemon`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Interface.
    pub interface: String,
    /// Synchronisation id, 0..=255. A Backup accepts only messages with its own id; with 0 it accepts all.
    pub id: u32,
    /// Most bytes of a datagram; absent when wanted: what the interface's MTU allows.
    pub maxlen: Option<u16>,
    /// Multicast group; the kernel's own choice is 224.0.0.81.
    pub group: IpAddr,
    /// UDP port; the kernel's own choice is 8848.
    pub port: u16,
    /// TTL or hop limit, 1..=255; the kernel's own choice is 1.
    pub ttl: u8,
}

impl SyncDaemon {
    /// A daemon with the kernel's own choices.
    #[must_use]
    pub fn plain(interface: &str, id: u32) -> Self {
        let group = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
        Self { interface: interface.to_owned(), id, maxlen: None, group, port: 8848, ttl: 1 }
    }

    /// Whether one that runs is as this one, which is wanted.
    #[must_use]
    pub fn is_met_by(&self, have: &Self) -> bool {
        let maxlen = if self.maxlen.is_none() { None } else { have.maxlen };
        *self == Self { maxlen, ..have.clone() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Transport { protocol, address, port } => {
                match protocol {
                    6 => f.write_str("tcp ")?,
                    17 => f.write_str("udp ")?,
                    132 => f.write_str("sctp ")?,
                    other => write!(f, "protocol {other} ")?,
                }
                write_endpoint(f, address, port)
            }
            Self::Mark { v6, mark } => write!(f, "fwmark {mark}{}", if v6 { " (IPv6)" } else { "" }),
        }
    }
}

impl fmt::Display for Timeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp {} s, tcp after FIN {} s, udp {} s", self.tcp, self.tcp_fin, self.udp)
    }
}

impl fmt::Display for SyncRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

impl fmt::Display for SyncDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} with id {}", self.interface, self.id)
    }
}
