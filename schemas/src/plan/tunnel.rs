//! Tunnels of a plan: what directors wrap packets in, and what real servers unwrap them with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::{Family, is_default};
use crate::scalars::{InterfaceName, Ip, Port};

/// Encapsulation of the packets that a director sends (`ipvsadm --tun-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encapsulation {
    /// An outer IP header, nothing else.
    Ipip {},
    /// UDP (Generic UDP Encapsulation).
    Gue {
        /// UDP port of the real server.
        port: Port,
        /// Checksum of the outer packet.
        checksum: GueChecksum,
    },
    /// GRE (RFC 2784).
    Gre {
        /// Whether there is a checksum.
        checksum: bool,
    },
}

/// Checksum of a GUE packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GueChecksum {
    /// None.
    None,
    /// In the UDP header.
    Udp,
    /// Of the inner packet, left to the real server (remote checksum offload).
    Remote,
}

/// The end of a tunnel on a real server: an interface that accepts packets of any director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Name of the interface.
    pub interface: InterfaceName,
    /// Protocols inside and outside.
    pub mode: TunnelMode,
    /// Outer address of this end: the real server's own.
    pub local: Ip,
    /// GRE: whether packets have a checksum. The kernel accepts only packets that do as this says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: bool,
}

/// Protocols inside and outside of a tunnel (`IFLA_INFO_KIND`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TunnelMode {
    /// IPv4 in IPv4 (RFC 2003).
    Ipip,
    /// IPv6 in IPv4 (RFC 4213).
    Sit,
    /// Anything in IPv4 with a GRE header (RFC 2784).
    Gre,
    /// IPv4 or IPv6 in IPv6 (RFC 2473).
    Ip6tnl,
    /// Anything in IPv6 with a GRE header.
    Ip6gre,
}

impl TunnelMode {
    /// All modes.
    pub const ALL: [Self; 5] = [Self::Ipip, Self::Sit, Self::Gre, Self::Ip6tnl, Self::Ip6gre];

    /// The kernel's name (`IFLA_INFO_KIND`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Gre => "gre",
            Self::Ip6tnl => "ip6tnl",
            Self::Ip6gre => "ip6gre",
        }
    }

    /// Whether the outer packets are IPv6.
    #[must_use]
    pub const fn is_outer_v6(self) -> bool {
        matches!(self, Self::Ip6tnl | Self::Ip6gre)
    }

    /// Whether there is a GRE header, which may have a checksum.
    #[must_use]
    pub const fn is_gre(self) -> bool {
        matches!(self, Self::Gre | Self::Ip6gre)
    }

    /// The kind of interface out of which what a director has wrapped comes on a real server. What GUE
    /// unwraps goes the way of what was wrapped in IP alone.
    #[must_use]
    pub const fn unwrapping(encapsulation: Encapsulation, outer_v6: bool, inner_v6: bool) -> Self {
        match (encapsulation, outer_v6, inner_v6) {
            (Encapsulation::Gre { .. }, false, _) => Self::Gre,
            (Encapsulation::Gre { .. }, true, _) => Self::Ip6gre,
            (Encapsulation::Ipip {} | Encapsulation::Gue { .. }, true, _) => Self::Ip6tnl,
            (Encapsulation::Ipip {} | Encapsulation::Gue { .. }, false, true) => Self::Sit,
            (Encapsulation::Ipip {} | Encapsulation::Gue { .. }, false, false) => Self::Ipip,
        }
    }
}

impl Encapsulation {
    /// Whether it is GRE with a checksum.
    #[must_use]
    pub const fn is_gre_with_checksum(self) -> bool {
        matches!(self, Self::Gre { checksum: true })
    }
}

/// A port at which GUE packets are unwrapped (`ip fou add port PORT gue`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gue {
    /// UDP port.
    pub port: Port,
    /// Address family of the outer packets.
    pub family: Family,
}
