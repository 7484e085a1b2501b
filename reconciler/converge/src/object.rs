//! Which object of the kernel an operation is about, and what an object is like in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::model::{
    Address, AddressKey, Destination, DestinationKey, GuePort, KernelState, Kind, Link, RouteKey, RuleKey,
    Service, ServiceKey, SyncRole, Unwrap,
};
use crate::op::{Method, Op};

/// One object of the kernel, whatever becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKey {
    /// An interface, by name.
    Link(String),
    /// A port at which GUE is unwrapped.
    Gue(GuePort),
    /// An address.
    Address(AddressKey),
    /// A route.
    Route(RouteKey),
    /// A routing rule.
    Rule(RuleKey),
    /// A setting, by its path below `/proc/sys`.
    Sysctl(String),
    /// An IPVS service without its destinations.
    Service(ServiceKey),
    /// A destination of a service.
    Destination(ServiceKey, DestinationKey),
    /// All destinations of a service, where they are not distinguished.
    Destinations(ServiceKey),
    /// The time-outs of IPVS.
    Timeouts,
    /// A synchronisation daemon.
    Sync(SyncRole),
}

impl ObjectKey {
    /// Object of an operation.
    #[must_use]
    pub fn of(op: &Op) -> Self {
        match op {
            Op::AddLink(name, _) | Op::SetLink(name, _) | Op::DelLink { name, .. } => {
                Self::Link(name.clone())
            }
            Op::AddGue(key) | Op::DelGue(key) => Self::Gue(*key),
            Op::DelAddress(key) | Op::AddAddress { key, .. } => Self::Address(key.clone()),
            Op::DelRoute(key, _) | Op::AddRoute { key, .. } => Self::Route(*key),
            Op::DelRule(key) | Op::AddRule { key, .. } => Self::Rule(key.clone()),
            Op::SetSysctl { key, .. } => Self::Sysctl(key.clone()),
            Op::AddService(key, _) | Op::SetService(key, _) | Op::DelService(key) => Self::Service(*key),
            Op::AddDestination(service, key, _)
            | Op::SetDestination { service, key, .. }
            | Op::DelDestination(service, key) => Self::Destination(*service, *key),
            Op::SetTimeouts { .. } => Self::Timeouts,
            Op::StopSync(role) | Op::StartSync(role, _) => Self::Sync(*role),
        }
    }

    /// The kind of resource that it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Link(_) | Self::Gue(_) => Kind::Links,
            Self::Address(_) => Kind::Addresses,
            Self::Route(_) => Kind::Routes,
            Self::Rule(_) => Kind::Rules,
            Self::Sysctl(_) => Kind::Sysctls,
            Self::Service(_)
            | Self::Destination(..)
            | Self::Destinations(_)
            | Self::Timeouts
            | Self::Sync(_) => Kind::Ipvs,
        }
    }

    /// Kind of the object, as a word of status documents.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Link(_) => "interface",
            Self::Gue(_) => "gue_port",
            Self::Address(_) => "address",
            Self::Route(_) => "route",
            Self::Rule(_) => "rule",
            Self::Sysctl(_) => "sysctl",
            Self::Service(_) => "virtual_server",
            Self::Destination(..) | Self::Destinations(_) => "destination",
            Self::Timeouts => "ipvs_timeouts",
            Self::Sync(_) => "sync_daemon",
        }
    }

    /// Object in `observed` where it is not as wanted, for people: `missing`, `not in the plan`, or its
    /// properties.
    #[must_use]
    pub fn found(&self, desired: &Desired, observed: &KernelState) -> String {
        let (wanted, found) = (self.words(&desired.state), self.words(observed));
        match (wanted, found) {
            (_, None) => "missing".to_owned(),
            (Some(_), Some(found)) => found,
            (None, Some(_)) if matches!(self, Self::Sysctl(_) | Self::Timeouts) => "not put back".to_owned(),
            (None, Some(_)) => "not in the plan".to_owned(),
        }
    }

    /// Properties in words; none when the object is not there.
    fn words(&self, state: &KernelState) -> Option<String> {
        match self {
            Self::Link(name) => state.links.get(name).map(link),
            Self::Gue(key) => state.gue.get(key).map(|value| match value {
                Unwrap::Gue => "there".to_owned(),
                Unwrap::Other { protocol } => format!("unwrapping IP protocol {protocol}"),
            }),
            Self::Address(key) => state.addresses.get(key).map(|value| address(key, value)),
            Self::Route(key) => state.routes.get(key).map(|value| format!("{value}")),
            Self::Rule(key) => state.rules.get(key).map(|_| "there".to_owned()),
            Self::Sysctl(key) => state.sysctls.get(key).cloned(),
            Self::Service(key) => state.services.get(key).map(service),
            Self::Destination(service, key) => {
                state.services.get(service)?.destinations.get(key).map(destination)
            }
            Self::Destinations(key) => {
                state.services.get(key).map(|service| format!("{} destinations", service.destinations.len()))
            }
            Self::Timeouts => state.timeouts.map(|timeouts| timeouts.to_string()),
            Self::Sync(role) => state.sync_daemons.get(role).map(|daemon| daemon.to_string()),
        }
    }
}

fn link(link: &Link) -> String {
    let mut words = link.kind.to_string();
    if !link.up {
        words.push_str(", down");
    }
    if !link.no_own_address {
        words.push_str(", with an address of its own");
    }
    words
}

fn address(key: &AddressKey, value: &Address) -> String {
    let Address { label, scope, no_dad, deprecated, tentative, .. } = value;
    if key.address.address().is_ipv6() {
        let words = [
            (*tentative, "not usable: duplicate address detection runs or failed"),
            (!*no_dad, "with duplicate address detection"),
            (*deprecated, "not chosen as a source"),
            (!*deprecated, "chosen as a source"),
        ];
        let words: Vec<&str> = words.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
        return words.join(", ");
    }
    let label = label.as_deref().unwrap_or("none");
    format!("scope {}, label {label}", format!("{scope:?}").to_lowercase())
}

fn service(service: &Service) -> String {
    let Service { scheduler, flags, timeout_secs, netmask, persistence_engine, .. } = service;
    let mut words = format!("{scheduler}, flags {flags:#x}");
    if *timeout_secs > 0 {
        words.push_str(&format!(", persistent {timeout_secs} s, netmask {netmask:#x}"));
    }
    if let Some(engine) = persistence_engine {
        words.push_str(&format!(", engine {engine}"));
    }
    words
}

fn destination(value: &Destination) -> String {
    let Destination { weight, upper_threshold, lower_threshold, .. } = value;
    let mut words = format!("{} weight {weight}", Method(value));
    if *upper_threshold > 0 || *lower_threshold > 0 {
        words.push_str(&format!(", thresholds {lower_threshold} and {upper_threshold}"));
    }
    words
}

/// As ip(8) and ipvsadm(8) name it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => f.write_str(name),
            Self::Gue(key) => write!(f, "{key}"),
            Self::Address(key) => write!(f, "{key}"),
            Self::Route(key) => write!(f, "{key}"),
            Self::Rule(key) => write!(f, "{key}"),
            Self::Sysctl(key) => f.write_str(key),
            Self::Service(key) => write!(f, "{key}"),
            Self::Destination(service, key) => write!(f, "{key} of {service}"),
            Self::Destinations(service) => write!(f, "destinations of {service}"),
            Self::Timeouts => f.write_str("time-outs of connections"),
            Self::Sync(role) => write!(f, "{role}"),
        }
    }
}
