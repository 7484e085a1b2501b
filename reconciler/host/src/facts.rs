//! Facts that a host remembers beside the state of its loops: the plan in force, passes, drift. Status is
//! made from them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use evenkeel_converge::Draining;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ObjectText, OperationRecord, Rejected, RouterState};
use evenkeel_schemas::time::MonoTime;

use crate::election::StateChange;
use crate::event::ElectionEvent;
use crate::history::DriftHistory;
use crate::line_limit::LineLimit;
use crate::loaded::LoadedPlan;
use crate::moment::Moment;
use crate::pass::{Drift, PassReport};

/// Operations that are remembered for status.
const MAX_RECENT: usize = 64;
/// Changes of one router's state that are logged within a minute.
const MAX_CHANGES: u32 = 20;

/// Facts of a host for status.
pub(crate) struct Facts {
    /// Start of this daemon.
    pub(crate) started: MonoTime,
    pub(crate) in_force: Option<InForce>,
    pub(crate) rejected: Option<Rejected>,
    pub(crate) passes: u64,
    pub(crate) operations: u64,
    pub(crate) last: Option<PassReport>,
    pub(crate) recent: VecDeque<OperationRecord>,
    pub(crate) foreign: Vec<ObjectText>,
    /// Objects of others that are in the way of the plan.
    pub(crate) in_the_way: Vec<ObjectText>,
    pub(crate) drifts: DriftHistory,
    /// Virtual routers of which this host is Master.
    pub(crate) masters: BTreeSet<Name>,
    /// Limit of logged changes of state, by the router's label.
    changes: BTreeMap<String, LineLimit>,
    /// Destinations that drain, as of the last pass that read them.
    pub(crate) draining: Vec<Draining>,
    /// Serial of the wanted state of that pass.
    pub(crate) drains_seen: u64,
    /// Serial of the first wanted state that has the last order to drain.
    pub(crate) drains_serial: u64,
}

/// The plan in force.
pub(crate) struct InForce {
    pub(crate) loaded: Arc<LoadedPlan>,
    /// Time when the plan came into force, RFC 3339.
    pub(crate) since: String,
    pub(crate) from_last_good: bool,
    /// Whether the kernel has been as the plan says at least once, VIPs aside.
    pub(crate) converged: bool,
}

impl Facts {
    pub(crate) fn new(started: MonoTime) -> Self {
        Self {
            started,
            in_force: None,
            rejected: None,
            passes: 0,
            operations: 0,
            last: None,
            recent: VecDeque::new(),
            foreign: Vec::new(),
            in_the_way: Vec::new(),
            drifts: DriftHistory::default(),
            masters: BTreeSet::new(),
            changes: BTreeMap::new(),
            draining: Vec::new(),
            drains_seen: 0,
            drains_serial: 0,
        }
    }

    /// Remembers a router's state. Returns whether this host became Master of the router or ceased to be.
    pub(crate) fn state_changed(&mut self, change: &StateChange) -> bool {
        match change.to {
            RouterState::Master => self.masters.insert(change.router.clone()),
            RouterState::Backup | RouterState::Initialize => self.masters.remove(&change.router),
        }
    }

    /// Remembers an operation that was done.
    pub(crate) fn record(&mut self, operation: String, at: &Moment) {
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(OperationRecord { at: at.text(), operation });
    }

    /// Remembers changes that others have made and the operations that undid them. Returns the lines for the
    /// log, except those that [`DriftHistory`] suppresses.
    pub(crate) fn drifted(&mut self, repairs: &[String], drifts: Vec<Drift>, at: &Moment) -> Vec<String> {
        self.operations += repairs.len() as u64;
        // More than status shows would only push one another out.
        for operation in repairs.iter().skip(repairs.len().saturating_sub(MAX_RECENT)) {
            self.record(operation.clone(), at);
        }
        let wall = at.text();
        drifts.into_iter().filter_map(|drift| self.drifts.record(drift, at.now, &wall)).collect()
    }

    /// Whether a change of this router's state is logged: others can make it change as often as they like.
    pub(crate) fn logs_state(&mut self, label: &str, now: MonoTime) -> bool {
        let limit = self.changes.entry(label.to_owned()).or_insert_with(|| LineLimit::new(MAX_CHANGES));
        limit.admit(now)
    }

    /// The changes of state that were not logged, once a minute.
    pub(crate) fn dropped_states(&mut self, now: MonoTime) -> Vec<ElectionEvent> {
        let mut events = Vec::new();
        for (label, limit) in &mut self.changes {
            if let Some((changes, seconds)) = limit.dropped(now) {
                events.push(ElectionEvent::StatesDropped { label: label.clone(), changes, seconds });
            }
        }
        self.changes.retain(|_, limit| !limit.is_idle(now));
        events
    }

    pub(crate) fn plan(&self) -> Option<Arc<LoadedPlan>> {
        self.in_force.as_ref().map(|in_force| Arc::clone(&in_force.loaded))
    }
}
