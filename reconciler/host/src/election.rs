//! The types between a host and its election: notices, changes of state, snapshots.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ElectionStatus, RouterCounters, RouterOrder, RouterState};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{RouterKey, Stranger};

use crate::pass::Drift;

/// One thing that the election reports to the host.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A router changed its state.
    State(StateChange),
    /// A warning about a router, for its operator.
    Router {
        /// Name of the router in the log.
        label: String,
        /// A sentence.
        text: String,
    },
    /// A router that has become Master announces its VIPs: a line for the log.
    Announced(String),
    /// A router leaves a Master of lower priority alone because it is not ready.
    Waits {
        /// Name of the router.
        router: Name,
        /// Name of the router in the log.
        label: String,
        /// A sentence.
        text: String,
    },
    /// An address that is none of the router's directors uses its VRID.
    Stranger {
        /// Name of the router in the log.
        label: String,
        /// Source of the advertisements.
        address: IpAddr,
        /// Hardware address of the sender, when it is known.
        mac: Option<String>,
        /// A sentence.
        text: String,
    },
    /// Operations on VIPs that were done because a router changed its state.
    Done(Vec<String>),
    /// Others have changed VIPs, or routes and rules that move with them.
    Drifted {
        /// Operations that undid the changes.
        repairs: Vec<String>,
        /// Each change that was found, with its outcome.
        drifts: Vec<Drift>,
    },
    /// Something does not work.
    Problem(String),
    /// There is no guardian: a new one is needed. Repeated every second until there is one.
    GuardianLost(Lost),
}

/// A change of a router's state.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// Name of the router.
    pub router: Name,
    /// Name of the router in the log. Where two routers have one name, the label adds the address family.
    pub label: String,
    /// Sync group of the router.
    pub group: Option<Name>,
    /// State of the router now.
    pub to: RouterState,
    /// Whether something keeps it from taking part.
    pub fault: bool,
    /// Priority of the router now.
    pub priority: u8,
    /// Reason, a sentence for people.
    pub why: String,
}

/// Why there is no guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The guardian has ended.
    Gone,
    /// The guardian did not answer and was ended.
    Hung {
        /// Whether it is certain that the old guardian does nothing more.
        harmless: bool,
    },
}

/// State of the election.
#[derive(Debug, Clone, Default)]
pub struct ElectionSnapshot {
    /// The routers of the election.
    pub routers: Vec<RouterSnapshot>,
    /// Whether a guardian listens.
    pub guarded: bool,
    /// State of the election's thread.
    pub thread: ElectionStatus,
}

/// State of one router.
#[derive(Debug, Clone)]
pub struct RouterSnapshot {
    /// Interface, address family and VRID.
    pub key: RouterKey,
    /// Name of the router in the plan.
    pub name: Name,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// Priority now, after trackers.
    pub priority: u8,
    /// Priority by the plan.
    pub base_priority: u8,
    /// Sync group of the router.
    pub group: Option<Name>,
    /// Order in force for the router.
    pub order: Option<RouterOrder>,
    /// State of the router.
    pub state: RouterState,
    /// Whether it leaves a Master of lower priority alone because it is not ready.
    pub waits: bool,
    /// Why it has this state, for people.
    pub reason: String,
    /// Start of this state; none before the first one.
    pub since: Option<MonoTime>,
    /// The Master, as far as the router knows.
    pub master: Option<String>,
    /// Time when another director was heard last.
    pub other_heard: Option<MonoTime>,
    /// VIPs of the router.
    pub vips: Vec<String>,
    /// Counts of packets and changes.
    pub counters: RouterCounters,
    /// Strangers on its VRID, each with its hardware address when that is known.
    pub strangers: Vec<(Stranger, Option<String>)>,
}

impl RouterSnapshot {
    /// Name of the router for people. Where two routers have one name, the label adds the address family.
    #[must_use]
    pub fn label(&self, all: &[Self]) -> String {
        let twin = |other: &Self| other.name == self.name && other.key.family != self.key.family;
        if all.iter().any(twin) {
            format!("{} {}", self.name, self.key.family)
        } else {
            self.name.to_string()
        }
    }

    /// The state as a [`Notice::State`] would report it.
    #[must_use]
    pub fn change(&self, label: String) -> StateChange {
        StateChange {
            // Nothing but an order or the plan keeps a router out in good order.
            fault: self.state == RouterState::Initialize && !self.order.is_some_and(RouterOrder::keeps_out),
            label,
            router: self.name.clone(),
            group: self.group.clone(),
            to: self.state,
            priority: self.priority,
            why: self.reason.clone(),
        }
    }
}

/// Routers that other directors are asked to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Names of the routers.
    pub routers: BTreeSet<Name>,
    /// Whether routers that were taken over stay with the other director when some were not. If false, all
    /// return to this host.
    pub partly: bool,
}

/// A router for which no other director was heard when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Name of the router.
    pub router: Name,
    /// Name of the router in the log.
    pub label: String,
    /// Whether this host is Master of the router.
    pub master: bool,
    /// Time that was spent listening for another director.
    pub waited: Duration,
    /// Time when another Master was heard last; none if never.
    pub heard: Option<MonoTime>,
}
