//! The part of a kernel that evenkeel manages, as data.
//!
//! Values carry the kernel's own meaning (IPVS flags, scopes, metrics), complete enough that comparing
//! two of them decides whether anything must change. How they are read or written is not known here.

mod destinations;
mod ipvs;
mod link;
pub(crate) mod pairs;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_schemas::plan::Scope;
use evenkeel_schemas::scalars::Cidr;
use serde::{Deserialize, Serialize};

pub use destinations::{
    Destination, DestinationKey, Destinations, Encapsulation, Entries, Forward, GueChecksum,
};
pub use ipvs::{Service, ServiceKey, SyncDaemon, SyncRole, Timeouts};
pub use link::{GuePort, Link, LinkKind, Tunnel, TunnelMode, Unwrap};
pub use route::{IPV6_METRIC, Mark, Route, RouteKey, Rule, RuleKey, TABLE_MAIN};

/// Our tag on addresses (`IFA_PROTO`), routes (`rtm_protocol`) and rules (`FRA_PROTOCOL`), 0xEE: unused
/// in `/etc/iproute2/rt_protos`. Kernels before 5.18 drop it from addresses; the ledger stands in.
pub const PROTOCOL_TAG: u8 = 0xEE;

/// Our tag on interfaces (`IFLA_IFALIAS`).
pub const ALIAS_TAG: &str = "evenkeel";

/// Resource kinds: what is observed, compared and marked dirty together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Network interfaces of our making, and ports at which packets for them are unwrapped.
    Links,
    /// IP addresses.
    Addresses,
    /// Routes.
    Routes,
    /// Routing rules.
    Rules,
    /// Settings below `/proc/sys`.
    Sysctls,
    /// IPVS services and destinations, time-outs and synchronisation daemons.
    Ipvs,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Links, Self::Addresses, Self::Routes, Self::Rules, Self::Sysctls, Self::Ipvs];
    /// Kinds with objects that follow the election: see [`crate::Domain::Vips`].
    pub const ELECTION: [Self; 3] = [Self::Addresses, Self::Routes, Self::Rules];
}

/// State of a kernel, observed or wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// Interfaces by name; observed are those that were asked for and those with our tag.
    pub links: BTreeMap<String, Link>,
    /// UDP ports at which packets are unwrapped.
    pub gue: BTreeMap<GuePort, Unwrap>,
    /// Addresses by interface and prefix.
    pub addresses: BTreeMap<AddressKey, Address>,
    /// Routes that a plan can name.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Routes that a plan cannot name, as text: reported as foreign, never compared.
    pub other_routes: BTreeSet<String>,
    /// Routing rules that a plan can name; others are not observed.
    pub rules: BTreeMap<RuleKey, Rule>,
    /// Settings by path below `/proc/sys`; one that does not exist is absent.
    pub sysctls: BTreeMap<String, String>,
    /// IPVS services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Time-outs of IPVS connections; none wanted: as they are.
    pub timeouts: Option<Timeouts>,
    /// Daemons that synchronise IPVS connections.
    pub sync_daemons: BTreeMap<SyncRole, SyncDaemon>,
}

/// Identity of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddressKey {
    /// Interface name.
    pub interface: String,
    /// Address and prefix length.
    pub address: Cidr,
}

/// An address's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Label, when it is not the interface's name; IPv4 only.
    pub label: Option<String>,
    /// Scope; of an IPv6 address the kernel decides it.
    pub scope: Scope,
    /// Whether it carries our tag ([`PROTOCOL_TAG`]).
    pub tagged: bool,
    /// Whether it is used without duplicate address detection (`IFA_F_NODAD`); IPv6 only.
    pub no_dad: bool,
    /// Whether it is never chosen as the source of a new connection (`IFA_F_DEPRECATED`: its preferred
    /// lifetime is 0); IPv6 only.
    pub deprecated: bool,
    /// Whether the kernel does not use it: duplicate address detection is under way or has found another
    /// owner (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED`). Observed only, never wanted; IPv6 only.
    pub tentative: bool,
}

impl Address {
    /// An address as we make it. One of IPv6 is used at once, since a VIP moves between hosts; a single
    /// one (`/128`) is not chosen as a source, which Linux decides by label in IPv4 and by this in IPv6.
    #[must_use]
    pub const fn ours(address: Cidr, scope: Scope, label: Option<String>) -> Self {
        let v6 = address.address().is_ipv6();
        let deprecated = v6 && address.prefix() == 128;
        Self { label, scope, tagged: true, no_dad: v6, deprecated, tentative: false }
    }

    /// An address that someone else has made, with nothing special.
    #[must_use]
    pub const fn plain(scope: Scope) -> Self {
        Self { label: None, scope, tagged: false, no_dad: false, deprecated: false, tentative: false }
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.address, self.interface)
    }
}
