//! A kernel in memory: applies operations to a [`KernelState`] as the real one would.
//!
//! For tests of pure code. It is strict: an operation on an object that is not there is an error.

use std::fmt;

use crate::drift::interface_of;
use crate::ledger::{IP_FORWARD, implied_by_forwarding};
use crate::model::{KernelState, Link, Rule, Service, SyncDaemon, Unwrap};
use crate::op::Op;

/// Answer of this kernel to an operation that it refuses; each names the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The object to change is missing.
    Missing(String),
    /// The object to add is already there.
    Exists(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(object) => write!(f, "{object}: no such object"),
            Self::Exists(object) => write!(f, "{object}: exists"),
        }
    }
}

/// Applies one operation.
///
/// # Errors
/// When the object to change is missing, or the one to add is already there.
pub fn apply(state: &mut KernelState, op: &Op) -> Result<(), Refused> {
    let missing = |what: &dyn fmt::Display| Refused::Missing(what.to_string());
    let exists = |what: &dyn fmt::Display| Refused::Exists(what.to_string());
    match op {
        Op::DelAddress(key) => state.addresses.remove(key).map(drop).ok_or_else(|| missing(key)),
        Op::AddAddress { key, value, .. } => {
            if state.addresses.insert(key.clone(), value.clone()).is_some() {
                Err(exists(key))
            } else {
                Ok(())
            }
        }
        Op::AddLink(name, value) => {
            if state.links.insert(name.clone(), value.clone()).is_some() {
                Err(exists(name))
            } else {
                Ok(())
            }
        }
        Op::SetLink(name, value) => {
            let link = state.links.get_mut(name).ok_or_else(|| missing(name))?;
            *link = Link { tagged: link.tagged || value.tagged, ..value.clone() };
            Ok(())
        }
        Op::DelLink { name, .. } => {
            state.links.remove(name).ok_or_else(|| missing(name))?;
            remove_interface(state, name);
            Ok(())
        }
        Op::AddGue(key) => {
            if state.gue.contains_key(key) {
                return Err(exists(key));
            }
            state.gue.insert(*key, Unwrap::Gue);
            Ok(())
        }
        Op::DelGue(key) => state.gue.remove(key).map(drop).ok_or_else(|| missing(key)),
        Op::DelRoute(key, value) => match state.routes.get(key) {
            Some(have) if have == value => {
                state.routes.remove(key);
                Ok(())
            }
            _ => Err(missing(key)),
        },
        Op::AddRoute { key, value, .. } => {
            if state.routes.insert(*key, value.clone()).is_some() {
                Err(exists(key))
            } else {
                Ok(())
            }
        }
        Op::DelRule(key) => state.rules.remove(key).map(drop).ok_or_else(|| missing(key)),
        Op::AddRule { key, .. } => {
            if state.rules.insert(key.clone(), Rule { tagged: true }).is_some() {
                Err(exists(key))
            } else {
                Ok(())
            }
        }
        Op::SetSysctl { key, value, .. } => {
            let before = state.sysctls.insert(key.clone(), value.clone());
            if key == IP_FORWARD && before.as_ref() != Some(value) {
                for (key, follower) in &mut state.sysctls {
                    if let Some(implied) = implied_by_forwarding(key, value) {
                        implied.clone_into(follower);
                    }
                }
            }
            Ok(())
        }
        Op::AddService(key, value) => {
            if state.services.insert(*key, value.clone()).is_some() {
                Err(exists(key))
            } else {
                Ok(())
            }
        }
        Op::SetService(key, value) => {
            let service = state.services.get_mut(key).ok_or_else(|| missing(key))?;
            let destinations = std::mem::take(&mut service.destinations);
            *service = Service { destinations, ..value.clone() };
            Ok(())
        }
        Op::DelService(key) => state.services.remove(key).map(drop).ok_or_else(|| missing(key)),
        Op::AddDestination(service, key, value) => {
            let service = state.services.get_mut(service).ok_or_else(|| missing(service))?;
            if service.destinations.insert(*key, *value).is_some() { Err(exists(key)) } else { Ok(()) }
        }
        Op::SetDestination { service, key, value, .. } => {
            let service = state.services.get_mut(service).ok_or_else(|| missing(service))?;
            *service.destinations.get_mut(key).ok_or_else(|| missing(key))? = *value;
            Ok(())
        }
        Op::SetTimeouts { value, .. } => {
            state.timeouts = Some(*value);
            Ok(())
        }
        Op::StopSync(role) => state.sync_daemons.remove(role).map(drop).ok_or_else(|| missing(role)),
        Op::StartSync(role, daemon) => {
            // The kernel chooses the length that the MTU of an Ethernet allows.
            let daemon = SyncDaemon { maxlen: daemon.maxlen.or(Some(1_472)), ..daemon.clone() };
            if state.sync_daemons.insert(*role, daemon).is_some() { Err(exists(role)) } else { Ok(()) }
        }
        Op::DelDestination(service, key) => {
            let service = state.services.get_mut(service).ok_or_else(|| missing(service))?;
            service.destinations.remove(key).map(drop).ok_or_else(|| missing(key))
        }
    }
}

/// Takes away what an interface has on it, as the kernel does when the interface goes. Rules stay.
pub(crate) fn remove_interface(state: &mut KernelState, name: &str) {
    state.addresses.retain(|key, _| key.interface != name);
    state.routes.retain(|_, route| route.interface.as_deref() != Some(name));
    state.sysctls.retain(|key, _| interface_of(key) != Some(name));
}
