//! IPVS services and destinations, as data: values carry the kernel's own meaning (`linux/ip_vs.h`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use evenkeel_schemas::cluster::{Forwarding, Protocol};
use serde::{Deserialize, Serialize};

/// What makes an IPVS service one object (`ip_vs(8)`: address, port and protocol, or a mark).
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
    /// The key of a plan's virtual server.
    #[must_use]
    pub const fn new(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        let protocol = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        };
        Self::Transport { protocol, address, port }
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
    pub scheduler: String,
    /// `IP_VS_SVC_F_*`, without `HASHED`, which is the kernel's own.
    pub flags: u32,
    /// Persistence time-out, seconds.
    pub timeout_secs: u32,
    /// Persistence granularity: IPv4 mask, or IPv6 prefix length.
    pub netmask: u32,
    /// Persistence engine.
    pub persistence_engine: Option<String>,
    /// Destinations.
    pub destinations: BTreeMap<DestinationKey, Destination>,
}

impl Service {
    /// A service without persistence and flags.
    #[must_use]
    pub fn plain(scheduler: &str, v6: bool) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            flags: 0,
            timeout_secs: 0,
            netmask: if v6 { 128 } else { u32::MAX },
            persistence_engine: None,
            destinations: BTreeMap::new(),
        }
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

/// What makes a destination one object within its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DestinationKey {
    /// Address of the real server.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// A destination's properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Forwarding method.
    pub forward: Forward,
    /// Weight.
    pub weight: u32,
    /// Upper connection threshold, 0 for none.
    pub upper_threshold: u32,
    /// Lower connection threshold, 0 for none.
    pub lower_threshold: u32,
}

/// Forwarding method as the kernel knows it (`IP_VS_CONN_F_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Masquerading.
    Masquerade,
    /// Local node.
    Local,
    /// Tunnelling.
    Tunnel,
    /// Direct routing.
    DirectRoute,
    /// Bypass.
    Bypass,
}

impl From<Forwarding> for Forward {
    fn from(forwarding: Forwarding) -> Self {
        match forwarding {
            Forwarding::Dr => Self::DirectRoute,
            Forwarding::Tun => Self::Tunnel,
            Forwarding::Nat => Self::Masquerade,
        }
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

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_endpoint(f, self.address, self.port)
    }
}

fn write_endpoint(f: &mut fmt::Formatter<'_>, address: IpAddr, port: u16) -> fmt::Result {
    match address {
        IpAddr::V4(v4) => write!(f, "{v4}:{port}"),
        IpAddr::V6(v6) => write!(f, "[{v6}]:{port}"),
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Masquerade => "Masq",
            Self::Local => "Local",
            Self::Tunnel => "Tunnel",
            Self::DirectRoute => "Route",
            Self::Bypass => "Bypass",
        })
    }
}
