//! Operations on the kernel and the phases that order them.
//!
//! An operation names one object and what becomes of it. How it is done is the kernel crate's.

use std::borrow::Cow;
use std::fmt;

use crate::ledger::IP_FORWARD;
use crate::model::{
    Address, AddressKey, Destination, DestinationKey, Encapsulation, GuePort, Kind, Link, Route, RouteKey,
    RuleKey, Service, ServiceKey, SyncDaemon, SyncRole, Timeouts,
};

/// Order of operations within a host. Stopping after any of them is safe:
/// a real server never holds a VIP while its ARP settings are not in force, and a director never
/// announces what it cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Take away rules, routes and addresses that must not be here.
    Retract,
    /// Interfaces of ours, which settings and addresses need, and what unwraps packets for them.
    Devices,
    /// Kernel settings that the following phases rely on.
    Tune,
    /// Addresses that are always present, then routes, then rules.
    Links,
    /// IPVS services and destinations: adding before removing.
    Ipvs,
    /// VIPs of routers that are Master, then their routes, then their rules.
    Announce,
    /// Put back settings that nothing relies on any more, then remove interfaces of ours.
    Reap,
}

/// One change of one kernel object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `ip link add`, and set up.
    AddLink(String, Link),
    /// `ip link set`; the tag is set when the value has it.
    SetLink(String, Link),
    /// `ip link del`, with all that is on it.
    DelLink {
        /// Name of the interface.
        name: String,
        /// Whether another one is made in its place at once.
        replaced: bool,
    },
    /// `ip fou add port PORT gue`
    AddGue(GuePort),
    /// `ip fou del port PORT`
    DelGue(GuePort),
    /// `ip address del`
    DelAddress(AddressKey),
    /// `ip address replace`; `announce` when it is a VIP of a Master.
    AddAddress {
        /// Address.
        key: AddressKey,
        /// Properties.
        value: Address,
        /// Whether it is the VIP of a Master: last of all.
        announce: bool,
    },
    /// `ip route del`, as it is.
    DelRoute(RouteKey, Route),
    /// `ip route add`
    AddRoute {
        /// Route.
        key: RouteKey,
        /// Properties.
        value: Route,
        /// Whether it goes with a VIP of a Master.
        announce: bool,
    },
    /// `ip rule del`
    DelRule(RuleKey),
    /// `ip rule add`
    AddRule {
        /// Rule.
        key: RuleKey,
        /// Whether it goes with a VIP of a Master.
        announce: bool,
    },
    /// Write a setting.
    SetSysctl {
        /// Path below `/proc/sys`.
        key: String,
        /// New value.
        value: String,
        /// Old value.
        from: String,
        /// Whether this puts back the value from before us.
        restore: bool,
    },
    /// `ipvsadm -A`; destinations follow as operations of their own, or are in it where a change is large:
    /// then it is `ipvsadm -a` for each of them as well.
    AddService(ServiceKey, Service),
    /// `ipvsadm -E`
    SetService(ServiceKey, Service),
    /// `ipvsadm -D`
    DelService(ServiceKey),
    /// `ipvsadm -a`
    AddDestination(ServiceKey, DestinationKey, Destination),
    /// `ipvsadm -e`, with what it was.
    SetDestination {
        /// Service.
        service: ServiceKey,
        /// Destination.
        key: DestinationKey,
        /// New properties.
        value: Destination,
        /// Old properties.
        from: Destination,
    },
    /// `ipvsadm -d`
    DelDestination(ServiceKey, DestinationKey),
    /// `ipvsadm --set`
    SetTimeouts {
        /// New ones.
        value: Timeouts,
        /// Old ones.
        from: Timeouts,
        /// Whether this puts back those from before us.
        restore: bool,
    },
    /// `ipvsadm --stop-daemon`
    StopSync(SyncRole),
    /// `ipvsadm --start-daemon`
    StartSync(SyncRole, SyncDaemon),
}

impl Op {
    /// The operations that it stands for, each on one object: itself, but for a service with its
    /// destinations.
    pub fn singles(&self) -> impl Iterator<Item = Cow<'_, Self>> {
        let (first, rest) = match self {
            Self::AddService(key, service) if !service.destinations.is_empty() => {
                (Cow::Owned(Self::AddService(*key, service.alone())), Some((*key, &service.destinations)))
            }
            single => (Cow::Borrowed(single), None),
        };
        let destinations = rest.into_iter().flat_map(|(service, destinations)| {
            let add = move |(key, value): (&DestinationKey, &Destination)| {
                Cow::Owned(Self::AddDestination(service, *key, *value))
            };
            destinations.iter().map(add)
        });
        std::iter::once(first).chain(destinations)
    }

    /// Number of operations that it stands for.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::AddService(_, service) => 1 + service.destinations.len(),
            _ => 1,
        }
    }

    /// Phase of a pass in which it is carried out.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self {
            Self::DelRule(_) | Self::DelRoute(..) | Self::DelAddress(_) => Phase::Retract,
            Self::AddLink(..)
            | Self::SetLink(..)
            | Self::DelLink { replaced: true, .. }
            | Self::AddGue(_) => Phase::Devices,
            Self::SetSysctl { restore: false, .. } => Phase::Tune,
            Self::AddAddress { announce: false, .. }
            | Self::AddRoute { announce: false, .. }
            | Self::AddRule { announce: false, .. } => Phase::Links,
            Self::AddService(..)
            | Self::SetService(..)
            | Self::DelService(_)
            | Self::AddDestination(..)
            | Self::SetDestination { .. }
            | Self::DelDestination(..)
            | Self::SetTimeouts { restore: false, .. }
            | Self::StopSync(_)
            | Self::StartSync(..) => Phase::Ipvs,
            Self::AddAddress { announce: true, .. }
            | Self::AddRoute { announce: true, .. }
            | Self::AddRule { announce: true, .. } => Phase::Announce,
            Self::SetSysctl { restore: true, .. }
            | Self::SetTimeouts { restore: true, .. }
            | Self::DelGue(_)
            | Self::DelLink { replaced: false, .. } => Phase::Reap,
        }
    }

    /// Order within a phase. IPVS: a service comes before its destinations, new destinations before
    /// the removal of old ones, services go last.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::DelRule(_) => 0,
            Self::DelRoute(..) => 1,
            Self::DelAddress(_) => 2,
            Self::DelLink { replaced: true, .. } => 0,
            Self::AddLink(..) => 1,
            Self::SetLink(..) => 2,
            // Unwrapped packets go to an interface, which must be there first.
            Self::AddGue(_) => 3,
            Self::AddAddress { .. } => 0,
            Self::AddRoute { .. } => 1,
            Self::AddRule { .. } => 2,
            // Forwarding changes other settings: it goes before them.
            Self::SetSysctl { key, .. } => u8::from(key != IP_FORWARD),
            Self::AddService(..) => 0,
            Self::SetService(..) => 1,
            Self::AddDestination(..) => 2,
            Self::SetDestination { .. } => 3,
            Self::DelDestination(..) => 4,
            Self::DelService(_) => 5,
            Self::SetTimeouts { .. } => 6,
            Self::StopSync(_) => 7,
            Self::StartSync(..) => 8,
            Self::DelGue(_) => 8,
            Self::DelLink { replaced: false, .. } => 9,
        }
    }

    /// The kind of resource it changes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::DelAddress(_) | Self::AddAddress { .. } => Kind::Addresses,
            Self::AddLink(..)
            | Self::SetLink(..)
            | Self::DelLink { .. }
            | Self::AddGue(_)
            | Self::DelGue(_) => Kind::Links,
            Self::DelRoute(..) | Self::AddRoute { .. } => Kind::Routes,
            Self::DelRule(_) | Self::AddRule { .. } => Kind::Rules,
            Self::SetSysctl { .. } => Kind::Sysctls,
            Self::AddService(..)
            | Self::SetService(..)
            | Self::DelService(_)
            | Self::AddDestination(..)
            | Self::SetDestination { .. }
            | Self::DelDestination(..)
            | Self::SetTimeouts { .. }
            | Self::StopSync(_)
            | Self::StartSync(..) => Kind::Ipvs,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DelAddress(key) => write!(f, "remove address {key}"),
            Self::AddAddress { key, value, .. } => {
                write!(f, "add address {key}")?;
                value.label.as_ref().map_or(Ok(()), |label| write!(f, " label {label}"))
            }
            Self::AddLink(name, link) => write!(f, "add interface {name}, {}", link.kind),
            Self::SetLink(name, _) => write!(f, "set interface {name} up"),
            Self::DelLink { name, .. } => write!(f, "remove interface {name}"),
            Self::AddGue(key) => write!(f, "unwrap GUE at {key}"),
            Self::DelGue(key) => write!(f, "stop unwrapping GUE at {key}"),
            Self::DelRoute(key, value) => write!(f, "remove route {key} {value}"),
            Self::AddRoute { key, value, .. } => write!(f, "add route {key} {value}"),
            Self::DelRule(key) => write!(f, "remove rule {key}"),
            Self::AddRule { key, .. } => write!(f, "add rule {key}"),
            Self::SetSysctl { key, value, from, restore } => {
                let verb = if *restore { "put back" } else { "set" };
                write!(f, "{verb} {key} to {value} (was {from})")
            }
            Self::AddService(key, service) => {
                write!(f, "add virtual server {key} {}", service.scheduler)?;
                match service.destinations.len() {
                    0 => Ok(()),
                    1 => f.write_str(" with 1 destination"),
                    some => write!(f, " with {some} destinations"),
                }
            }
            Self::SetService(key, service) => write!(f, "edit virtual server {key} {}", service.scheduler),
            Self::DelService(key) => write!(f, "remove virtual server {key}"),
            Self::AddDestination(service, key, value) => {
                write!(f, "add destination {key} {} weight {} to {service}", Method(value), value.weight)
            }
            Self::SetDestination { service, key, value, from }
                if (value.forward, value.encapsulation) == (from.forward, from.encapsulation) =>
            {
                write!(
                    f,
                    "set weight {} (was {}) of destination {key} in {service}",
                    value.weight, from.weight
                )
            }
            Self::SetDestination { service, key, value, from } => write!(
                f,
                "set {} weight {} (was {} weight {}) of destination {key} in {service}",
                Method(value),
                value.weight,
                Method(from),
                from.weight
            ),
            Self::SetTimeouts { value, from, restore } => {
                let verb = if *restore { "put back" } else { "set" };
                write!(f, "{verb} IPVS time-outs to {value} (were {from})")
            }
            Self::StopSync(role) => write!(f, "stop connection synchronisation as {role}"),
            Self::StartSync(role, daemon) => {
                write!(f, "start connection synchronisation as {role} {daemon}")
            }
            Self::DelDestination(service, key) => write!(f, "remove destination {key} from {service}"),
        }
    }
}

/// A forwarding method in full.
pub(crate) struct Method<'a>(pub(crate) &'a Destination);

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.encapsulation {
            Encapsulation::Ipip => write!(f, "{}", self.0.forward),
            other => write!(f, "{} ({other})", self.0.forward),
        }
    }
}
