//! Hosts and their interfaces.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::scalars::{InterfaceName, Ip, Name};

/// A director or a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The host's own address: the source of its advertisements, and where it is reached as a real server.
    pub address: Ip,
    /// The network interface that has this address.
    pub interface: InterfaceName,
    /// More addresses of the same interface, such as its IPv6 address. A link-local one is the source of
    /// IPv6 advertisements by multicast; without it the host finds it by itself. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Ip>,
    /// Further interfaces and their addresses, by interface name. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: BTreeMap<InterfaceName, Interface>,
    /// Labels by which services choose real servers. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Name>,
    /// Default gateway of a real server: with masquerade its answers must go back through the directors,
    /// so it is a VIP that they share. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ip>,
    /// The host gets no new connections as a real server, in whatever services and by whatever address: its
    /// weight is 0, and it is out of the table when its connections have ended, after the `drain` of the
    /// service at the latest. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drain: bool,
    /// The host takes no part in the elections of its virtual routers as a director. While it is Master it
    /// hands over first, and stays Master until another director has taken over. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub maintenance: bool,
    /// Refuse plans in which this host no longer appears. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prevent_removal: bool,
}

/// A further interface of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Addresses of the interface.
    #[schemars(length(min = 1))]
    pub addresses: Vec<Ip>,
}

impl Host {
    /// Every address of the host with its interface, the main one first.
    pub fn all_addresses(&self) -> impl Iterator<Item = (Ip, &InterfaceName)> {
        let main = std::iter::once(&self.address).chain(&self.addresses).map(|ip| (*ip, &self.interface));
        let further = self.interfaces.iter();
        main.chain(
            further.flat_map(|(name, interface)| interface.addresses.iter().map(move |ip| (*ip, name))),
        )
    }
}
