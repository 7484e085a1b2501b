//! Routes and routing rules, as data (rtnetlink(7), ip-route(8), ip-rule(8)).

use std::fmt;
use std::net::IpAddr;

use evenkeel_schemas::plan::Scope;
use evenkeel_schemas::scalars::Cidr;
use serde::{Deserialize, Serialize};

/// `IP6_RT_PRIO_USER` (`net/ip6_route.h`): what the kernel makes of metric 0 in IPv6.
pub const IPV6_METRIC: u32 = 1024;
/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;

/// Identity of a route: the kernel refuses a second one with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// Routing table, 254 is `main`.
    pub table: u32,
    /// Destination network.
    pub destination: Cidr,
    /// Metric, smaller ones win; as the kernel shows it, so never 0 in IPv6.
    #[serde(default)]
    pub metric: u32,
}

impl RouteKey {
    /// A key; metric 0 of IPv6 becomes what the kernel makes of it ([`IPV6_METRIC`]).
    #[must_use]
    pub const fn new(table: u32, destination: Cidr, metric: u32) -> Self {
        let metric = if metric == 0 && destination.address().is_ipv6() { IPV6_METRIC } else { metric };
        Self { table, destination, metric }
    }
}

/// A route's properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Output interface. A wanted route may leave it to the kernel, which finds it by the gateway.
    pub interface: Option<String>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Source address of packets from this host that follow the route.
    pub source: Option<IpAddr>,
    /// Scope; IPv6 has none.
    pub scope: Scope,
    /// Whether it carries our tag ([`PROTOCOL_TAG`](super::PROTOCOL_TAG)).
    pub tagged: bool,
}

impl Route {
    /// A route of ours out of an interface, nothing else.
    #[must_use]
    pub fn out_of(interface: &str, scope: Scope) -> Self {
        let interface = Some(interface.to_owned());
        Self { interface, gateway: None, source: None, scope, tagged: true }
    }

    /// Whether this wanted route leads where one that is there does: with another next hop it is another
    /// route.
    #[must_use]
    pub(crate) fn has_next_hop_of(&self, have: &Self) -> bool {
        self.gateway == have.gateway && (self.interface.is_none() || self.interface == have.interface)
    }
}

/// A routing rule, complete: rules have no properties beside those that make them one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    /// Whether it is about IPv6.
    pub v6: bool,
    /// Preference; smaller ones are asked first.
    pub preference: u32,
    /// Source network of the packets; absent for all.
    pub from: Option<Cidr>,
    /// Destination network of the packets; absent for all.
    pub to: Option<Cidr>,
    /// Interface that the packets came in by; absent for all.
    pub iif: Option<String>,
    /// Firewall mark of the packets; absent for all.
    pub mark: Option<Mark>,
    /// Routing table that packets are then looked up in.
    pub table: u32,
}

/// A firewall mark with the bits of it that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The mark.
    pub value: u32,
    /// Bits that count; all by default.
    pub mask: u32,
}

/// Properties of a rule beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Whether it carries our tag ([`PROTOCOL_TAG`](super::PROTOCOL_TAG)).
    pub tagged: bool,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        let usual = if self.destination.address().is_ipv6() { IPV6_METRIC } else { 0 };
        if self.metric != usual {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table == TABLE_MAIN { Ok(()) } else { write!(f, " table {}", self.table) }
    }
}

/// Words after a route's destination.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        let mut word = |f: &mut fmt::Formatter<'_>, word: &str, value: &dyn fmt::Display| {
            write!(f, "{space}{word} {value}")?;
            space = " ";
            Ok(())
        };
        self.gateway.as_ref().map_or(Ok(()), |gateway| word(f, "via", gateway))?;
        self.interface.as_ref().map_or(Ok(()), |interface| word(f, "dev", interface))?;
        self.source.as_ref().map_or(Ok(()), |source| word(f, "src", source))
    }
}

impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v6 && self.from.is_none() && self.to.is_none() {
            f.write_str("IPv6 ")?;
        }
        write!(f, "{}:", self.preference)?;
        match &self.from {
            Some(from) => write!(f, " from {from}")?,
            None => f.write_str(" from all")?,
        }
        self.to.map_or(Ok(()), |to| write!(f, " to {to}"))?;
        self.iif.as_ref().map_or(Ok(()), |iif| write!(f, " iif {iif}"))?;
        if let Some(Mark { value, mask }) = self.mark {
            write!(f, " fwmark {value:#x}")?;
            if mask != u32::MAX {
                write!(f, "/{mask:#x}")?;
            }
        }
        write!(f, " lookup {}", self.table)
    }
}
