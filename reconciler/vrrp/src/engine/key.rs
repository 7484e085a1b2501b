//! What tells virtual routers of one host apart.
//!
//! Identity only: no state and no configuration lives here.

use std::fmt;
use std::net::IpAddr;

use evenkeel_schemas::scalars::{InterfaceName, Vrid};

use crate::router::Config;

/// Address family of a virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Unique key of a virtual router on a host (RFC 9568 §5.2.3); its name may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterKey {
    /// Interface of its advertisements.
    pub interface: InterfaceName,
    /// Address family.
    pub family: Family,
    /// Virtual router identifier.
    pub vrid: Vrid,
}

impl RouterKey {
    /// The key of a router with this configuration on `interface`.
    #[must_use]
    pub const fn new(interface: InterfaceName, config: &Config) -> Self {
        Self { interface, family: Family::of(config.source), vrid: config.vrid }
    }
}

impl fmt::Display for RouterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} VRID {}", self.interface, self.family, self.vrid)
    }
}
