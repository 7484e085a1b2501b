//! The words between a host and its election: what the election has to say, and its state.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ElectionStatus, RouterCounters, RouterOrder, RouterState};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{RouterKey, Stranger};

use crate::pass::Drift;

/// What the election has to say.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A router changed its state.
    State(StateChange),
    /// Something about a router that its operator wants to know.
    Router {
        /// What the router is called in the log.
        label: String,
        /// A sentence.
        text: String,
    },
    /// A router that has become Master announces its VIPs: a line for the log.
    Announced(String),
    /// A router leaves a Master of lower priority alone because it is not ready.
    Waits {
        /// Its name.
        router: Name,
        /// What it is called in the log.
        label: String,
        /// A sentence.
        text: String,
    },
    /// Somebody who is none of its directors uses a router's VRID.
    Stranger {
        /// What the router is called in the log.
        label: String,
        /// Source of the advertisements.
        address: IpAddr,
        /// Hardware address that they came from, when it is known.
        mac: Option<String>,
        /// A sentence.
        text: String,
    },
    /// Operations on VIPs that were done because a router changed its state.
    Done(Vec<String>),
    /// VIPs, or what goes with them, that others have changed.
    Drifted {
        /// Operations that were done to undo it.
        repairs: Vec<String>,
        /// What was found, and what was done about it.
        drifts: Vec<Drift>,
    },
    /// Something does not work.
    Problem(String),
    /// There is no guardian: a new one is needed. Said every second until there is one.
    GuardianLost(Lost),
}

/// A change of a router's state.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// Its name.
    pub router: Name,
    /// What it is called in the log: of two with one name each says its family.
    pub label: String,
    /// Its sync group.
    pub group: Option<Name>,
    /// Its state now.
    pub to: RouterState,
    /// Whether something keeps it from taking part.
    pub fault: bool,
    /// Its priority now.
    pub priority: u8,
    /// Why.
    pub why: String,
}

/// Why there is no guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It has ended.
    Gone,
    /// It did not answer and was ended.
    Hung {
        /// Whether it is certain that it does nothing more.
        harmless: bool,
    },
}

/// State of the election.
#[derive(Debug, Clone, Default)]
pub struct ElectionSnapshot {
    /// Every router that it has.
    pub routers: Vec<RouterSnapshot>,
    /// Whether a guardian listens.
    pub guarded: bool,
    /// Its thread.
    pub thread: ElectionStatus,
}

/// State of one router.
#[derive(Debug, Clone)]
pub struct RouterSnapshot {
    /// Interface, address family and VRID.
    pub key: RouterKey,
    /// Its name in the plan.
    pub name: Name,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// Its priority now, after trackers.
    pub priority: u8,
    /// Its priority by the plan.
    pub base_priority: u8,
    /// Its sync group.
    pub group: Option<Name>,
    /// What it was ordered.
    pub order: Option<RouterOrder>,
    /// Its state.
    pub state: RouterState,
    /// Whether it leaves a Master of lower priority alone because it is not ready.
    pub waits: bool,
    /// Why it has this state, for people.
    pub reason: String,
    /// Since when it has this state; none before the first one.
    pub since: Option<MonoTime>,
    /// Who is Master, as far as it knows.
    pub master: Option<String>,
    /// When another director was heard last.
    pub other_heard: Option<MonoTime>,
    /// Its VIPs.
    pub vips: Vec<String>,
    /// Counts of packets and changes.
    pub counters: RouterCounters,
    /// Who uses its VRID beside its directors, and from which hardware address.
    pub strangers: Vec<(Stranger, Option<String>)>,
}

impl RouterSnapshot {
    /// What it is called where people read it: of two with one name each says its family.
    #[must_use]
    pub fn label(&self, all: &[Self]) -> String {
        let twin = |other: &Self| other.name == self.name && other.key.family != self.key.family;
        if all.iter().any(twin) {
            format!("{} {}", self.name, self.key.family)
        } else {
            self.name.to_string()
        }
    }

    /// Its state as a notice would say it.
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

/// Which routers other directors are asked to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// By name.
    pub routers: BTreeSet<Name>,
    /// Whether those that were taken over stay where they are when others were not. If not, all come back then.
    pub partly: bool,
}

/// A router for which no other director was heard when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Its name.
    pub router: Name,
    /// What it is called in the log.
    pub label: String,
    /// Whether this host is its Master.
    pub master: bool,
    /// How long it was listened for.
    pub waited: Duration,
    /// When another Master was heard last, if ever.
    pub heard: Option<MonoTime>,
}
