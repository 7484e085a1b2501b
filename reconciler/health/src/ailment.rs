//! What can ail this host, so that a check says nothing about its target.
//!
//! Values and their words. Whether something ails it is `way`'s to find.

use std::fmt;
use std::net::IpAddr;

/// Fault of this host. A check that fails because of one says nothing about its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ailment {
    /// The interface on the way does not exist any more.
    NoInterface(String),
    /// The interface on the way is set down.
    SetDown(String),
    /// The interface on the way has no carrier.
    NoCarrier(String),
    /// The interface on the way has a carrier and does not work (RFC 2863: not operational).
    NotOperational(String),
    /// No route leads to the target.
    NoRoute,
    /// The target was on the link of this interface when it answered last, and is not any more: packets to it
    /// go another way, from which none has come back yet.
    Elsewhere(String),
    /// Several targets behind this interface or gateway are silent, and all answered until now: more likely
    /// our link fails than all of them ([`crate::own_fault`]).
    NoAnswers(String),
    /// The kernel has no source address for it.
    NoSource,
    /// The kernel does not permit it.
    NotPermitted,
    /// The check is to come from this address, which this host has not.
    NotOurs(IpAddr),
    /// The check is to go through this interface, which it cannot be bound to: why, for people.
    NotBound(String, String),
    /// The check cannot be made as the plan has it, for want of a file of this host: why, for people.
    NotPrepared(String),
    /// The program of the check cannot be run: why, for people.
    NoProgram(String),
    /// There are no file descriptors left.
    NoDescriptors,
    /// There is no memory left.
    NoMemory,
}

impl Ailment {
    /// Whether it is the way to the target that is gone: nothing could be served by it either.
    #[must_use]
    pub const fn is_of_the_way(&self) -> bool {
        match self {
            Self::NoInterface(_)
            | Self::SetDown(_)
            | Self::NoCarrier(_)
            | Self::NotOperational(_)
            | Self::NoRoute
            | Self::Elsewhere(_)
            | Self::NoAnswers(_)
            | Self::NoSource => true,
            Self::NotPermitted
            | Self::NotOurs(_)
            | Self::NotBound(..)
            | Self::NotPrepared(_)
            | Self::NoProgram(_)
            | Self::NoDescriptors
            | Self::NoMemory => false,
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface(name) => write!(f, "{name} is gone"),
            Self::SetDown(name) => write!(f, "{name} is set down"),
            Self::NoCarrier(name) => write!(f, "{name} has no carrier"),
            Self::NotOperational(name) => write!(f, "{name} is not operational"),
            Self::NoRoute => f.write_str("this host has no route to it"),
            Self::Elsewhere(name) => write!(f, "its network is no longer on {name}"),
            Self::NoAnswers(name) => write!(f, "nothing behind {name} answers"),
            Self::NoSource => f.write_str("this host has no address to speak to it from"),
            Self::NotPermitted => f.write_str("this host does not permit it"),
            Self::NotOurs(address) => write!(f, "this host has no address {address} to check from"),
            Self::NotBound(name, why) => write!(f, "checks cannot be bound to {name}: {why}"),
            Self::NotPrepared(why) | Self::NoProgram(why) => f.write_str(why),
            Self::NoDescriptors => f.write_str("too many open files on this host"),
            Self::NoMemory => f.write_str("no memory left on this host"),
        }
    }
}
