//! Network interfaces of our making, as data: virtual MACs (RFC 9568 §7.3) and tunnels of real servers.

use std::fmt;
use std::net::IpAddr;

pub use evenkeel_schemas::plan::TunnelMode;
use serde::{Deserialize, Serialize};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kind of the interface.
    pub kind: LinkKind,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
    /// Whether it makes no IPv6 address by itself (`IFLA_INET6_ADDR_GEN_MODE` is `none`): a virtual MAC's
    /// link-local address would be the same on all directors. Not compared where IPv6 is off.
    pub no_own_address: bool,
    /// Whether it carries our tag ([`ALIAS_TAG`](super::ALIAS_TAG)).
    pub tagged: bool,
}

impl Link {
    /// An interface as we make it: up, with our tag.
    #[must_use]
    pub const fn ours(kind: LinkKind) -> Self {
        let no_own_address = matches!(kind, LinkKind::Macvlan { .. });
        Self { kind, up: true, no_own_address, tagged: true }
    }
}

/// Kind of an interface. Properties that are here cannot be changed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// A second MAC address on an interface, `macvlan` in private mode.
    Macvlan {
        /// The interface below; empty when it is in another network namespace.
        parent: String,
        /// MAC address.
        mac: [u8; 6],
    },
    /// A tunnel's end.
    Tunnel(Tunnel),
    /// Anything else, as `IFLA_INFO_KIND` has it (empty for hardware): never wanted.
    Other(String),
}

/// A tunnel's end: packets in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// Protocols inside and outside.
    pub mode: TunnelMode,
    /// Outer address of this end; absent for any.
    pub local: Option<IpAddr>,
    /// Outer address of the other end; absent for any.
    pub remote: Option<IpAddr>,
    /// GRE: whether packets have a checksum.
    pub checksum: bool,
}

/// A UDP port at which packets are unwrapped (`ip fou add port PORT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuePort {
    /// Whether the outer packets are IPv6.
    pub v6: bool,
    /// UDP port.
    pub port: u16,
}

/// Unwrapping of packets at a UDP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwrap {
    /// Generic UDP Encapsulation.
    Gue,
    /// Anything else: never wanted.
    Other {
        /// IP protocol of what is in the packets.
        protocol: u8,
    },
}

impl fmt::Display for GuePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {} of IPv{}", self.port, if self.v6 { 6 } else { 4 })
    }
}

impl LinkKind {
    /// The kernel's name for it (`IFLA_INFO_KIND`).
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Macvlan { .. } => "macvlan",
            Self::Tunnel(tunnel) => tunnel.mode.name(),
            Self::Other(name) => name,
        }
    }

    /// The interface that it cannot be without.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        match self {
            Self::Macvlan { parent, .. } => Some(parent),
            Self::Tunnel(_) | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan { parent, mac: [a, b, c, d, e, g] } => {
                write!(f, "macvlan on {parent} with MAC {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Tunnel(tunnel) => {
                f.write_str(tunnel.mode.name())?;
                for (word, address) in [("local", tunnel.local), ("remote", tunnel.remote)] {
                    address.map_or(Ok(()), |address| write!(f, " {word} {address}"))?;
                }
                if tunnel.checksum { f.write_str(" csum") } else { Ok(()) }
            }
            Self::Other(name) if name.is_empty() => f.write_str("hardware"),
            Self::Other(name) => f.write_str(name),
        }
    }
}
