//! Drains: destinations that keep the connections they have and get no new ones, until they are gone.
//!
//! What drains is found by comparing, as everything is: a destination that is in the kernel and is wanted
//! there no longer. Only since when it drains is remembered. Its weight is 0 until it has no connections or
//! its deadline passes, and then it is not wanted any more. Whether to look at connections is decided here,
//! looking is not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::model::{DestinationKey, KernelState, ServiceKey, pairs};

/// Time from a destination's weight 0 to the first count of its connections: connections that were scheduled
/// in the meantime are then in it.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Connections that a destination still has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established connections.
    pub active: u32,
    /// Connections in any other state; UDP has no other.
    pub inactive: u32,
    /// Clients that persistence binds to the destination: their next connection goes to it even at weight 0,
    /// unless `net.ipv4.vs.expire_quiescent_template` is set.
    pub persistent: u32,
}

impl Connections {
    /// Whether there are none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.active == 0 && self.inactive == 0 && self.persistent == 0
    }
}

/// Connections by service and destination.
pub type Usage = BTreeMap<ServiceKey, BTreeMap<DestinationKey, Connections>>;

/// Beginnings of drains, kept over a restart so that no deadline starts again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drains {
    #[serde(with = "pairs")]
    since: BTreeMap<(ServiceKey, DestinationKey), MonoTime>,
}

/// A destination that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// Service of the destination.
    pub service: ServiceKey,
    /// The destination.
    pub destination: DestinationKey,
    /// Beginning of the drain.
    pub since: MonoTime,
    /// Time at which the destination is removed even with connections left; none: not before they have ended.
    pub deadline: Option<MonoTime>,
    /// Connections left; none when unknown.
    pub left: Option<Connections>,
}

/// Step of all drains at one time.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Wanted state, with draining destinations at weight 0.
    pub desired: Cow<'a, Desired>,
    /// To be kept before anything is changed.
    pub drains: Drains,
    /// Destinations that drain, by service and destination.
    pub draining: Vec<Draining>,
    /// Destinations whose drain has ended: they are there still, and no longer wanted.
    pub ended: Vec<Draining>,
    /// Latest time of the next step; none when nothing drains.
    pub next_look: Option<MonoTime>,
}

/// Services with a destination that may have to drain: their connections must be counted.
#[must_use]
pub fn concerned(desired: &Desired, observed: &KernelState) -> BTreeSet<ServiceKey> {
    let mut concerned = BTreeSet::new();
    visit(desired, observed, |service, _, _, _| {
        concerned.insert(service);
    });
    concerned
}

/// Calls `found` for each destination that is there, is not wanted, and may go on for a while: service,
/// destination, its weight, how long.
fn visit(
    desired: &Desired,
    observed: &KernelState,
    mut found: impl FnMut(ServiceKey, DestinationKey, u32, Option<Duration>),
) {
    for (service, rules) in &desired.drains {
        let both = (desired.state.services.get(service), observed.services.get(service));
        let (Some(want), Some(have)) = both else { continue };
        for (key, value) in &have.destinations {
            if want.destinations.contains_key(key) || rules.failed.contains(key) {
                continue;
            }
            let limit = rules.told.get(key).copied().or(rules.leaving.map(Some));
            if let Some(limit) = limit {
                found(*service, *key, value.weight, limit);
            }
        }
    }
}

impl Drains {
    /// Whether nothing drains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Whether a destination drains.
    #[must_use]
    pub fn contains(&self, service: ServiceKey, destination: DestinationKey) -> bool {
        self.since.contains_key(&(service, destination))
    }

    /// Puts in a destination that has been draining since then.
    pub fn insert(&mut self, service: ServiceKey, destination: DestinationKey, since: MonoTime) {
        self.since.insert((service, destination), since);
    }

    /// Decides what happens to destinations that are there and not wanted. `usage` must have been read after
    /// `observed`; of a destination that is not in it nothing is known.
    #[must_use]
    pub fn step<'a>(
        &self,
        desired: &'a Desired,
        observed: &KernelState,
        usage: &Usage,
        now: MonoTime,
    ) -> Step<'a> {
        let mut step = Step {
            desired: Cow::Borrowed(desired),
            drains: Self::default(),
            draining: Vec::new(),
            ended: Vec::new(),
            next_look: None,
        };
        visit(desired, observed, |service, destination, weight, limit| {
            let since = self.since.get(&(service, destination)).copied().unwrap_or(now);
            let deadline = limit.map(|limit| since + limit);
            let left = usage.get(&service).and_then(|usage| usage.get(&destination)).copied();
            let entry = Draining { service, destination, since, deadline, left };
            // The beginning is kept until the destination is gone: a drain whose destination cannot be
            // removed does not start again.
            step.drains.insert(service, destination, since);
            let over = deadline.is_some_and(|deadline| now >= deadline);
            // At a weight above 0 the destination may have got a connection just now.
            if over || (weight == 0 && left.is_some_and(|left| left.is_none())) {
                step.ended.push(entry);
                return;
            }
            step.draining.push(entry);
            // The weight becomes 0 now; connections are counted when no more can come.
            let soon = if weight == 0 { None } else { Some(now + SETTLE) };
            step.next_look = [step.next_look, deadline, soon].into_iter().flatten().min();
        });
        for Draining { service, destination, .. } in &step.draining {
            let have = observed.services.get(service).and_then(|have| have.destinations.get(destination));
            let want = step.desired.to_mut().state.services.get_mut(service);
            if let (Some(have), Some(want)) = (have, want) {
                let mut quiet = *have;
                quiet.weight = 0;
                want.destinations.insert(*destination, quiet);
            }
        }
        step
    }
}
