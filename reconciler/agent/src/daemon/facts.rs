//! What the daemon knows beside what the threads answer: the plan in force, what convergence did.
//! Status is made of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use evenkeel_converge::Draining;
use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ObjectText, OperationRecord, Rejected, RouterState};
use evenkeel_schemas::time::MonoTime;
use tracing::{error, info, warn};

use crate::api::status;
use evenkeel_host::election::{Notice, StateChange};
use evenkeel_host::history::DriftHistory;
use evenkeel_host::line_limit::LineLimit;
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::pass::Drift;
use evenkeel_host::pass::Report;

/// Operations remembered for status.
const MAX_RECENT: usize = 64;
/// Changes of one router's state that are logged within a minute.
const MAX_CHANGES: u32 = 20;

/// What status needs beside the threads' own answers.
pub(crate) struct Facts {
    pub(crate) started: MonoTime,
    pub(crate) in_force: Option<InForce>,
    pub(crate) rejected: Option<Rejected>,
    pub(crate) passes: u64,
    pub(crate) operations: u64,
    pub(crate) last: Option<Report>,
    pub(crate) recent: VecDeque<OperationRecord>,
    pub(crate) foreign: Vec<ObjectText>,
    /// What of others is in the way of the plan.
    pub(crate) in_the_way: Vec<ObjectText>,
    pub(crate) drifts: DriftHistory,
    /// The virtual routers that this host is Master of.
    pub(crate) masters: BTreeSet<Name>,
    /// Changes of state that were logged, by router.
    pub(crate) changes: BTreeMap<String, LineLimit>,
    /// What drains, as it was seen last.
    pub(crate) draining: Vec<Draining>,
    /// Serial of the wanted state that this was seen with.
    pub(crate) drains_seen: u64,
    /// Serial of the first wanted state with the last order to drain.
    pub(crate) drains_serial: u64,
}

/// The plan in force.
pub(crate) struct InForce {
    pub(crate) loaded: Arc<LoadedPlan>,
    pub(crate) since: String,
    pub(crate) from_last_good: bool,
    /// Whether everything but the VIPs was once as it says.
    pub(crate) converged: bool,
}

impl Facts {
    pub(super) fn new() -> Self {
        Self {
            started: clock::now(),
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

    /// Notes a router's state. Returns whether this host became Master of it, or is no longer.
    pub(super) fn note_state(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::State(change) if change.to == RouterState::Master => {
                self.masters.insert(change.router.clone())
            }
            Notice::State(change) => self.masters.remove(&change.router),
            Notice::Router { .. }
            | Notice::Announced(_)
            | Notice::Waits { .. }
            | Notice::Stranger { .. }
            | Notice::Done(_)
            | Notice::Drifted { .. }
            | Notice::Problem(_)
            | Notice::GuardianLost(_) => false,
        }
    }

    pub(super) fn record(&mut self, operation: String) {
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(OperationRecord { at: status::wall(clock::now()), operation });
    }

    /// Notes what others have changed and what was done to undo it, and logs as much of it as is news.
    pub(super) fn drifted(&mut self, repairs: &[String], drifts: Vec<Drift>) {
        self.operations += repairs.len() as u64;
        for operation in repairs.iter().skip(repairs.len().saturating_sub(MAX_RECENT)) {
            self.record(operation.clone());
        }
        let now = clock::now();
        let at = status::wall(now);
        for drift in drifts {
            if let Some(line) = self.drifts.note(drift, now, &at) {
                warn!("{line}");
            }
        }
    }

    /// Whether a change of this router's state is logged: others can make it change as often as they like.
    fn logs_state(&mut self, label: &str) -> bool {
        let now = clock::now();
        let limit = self.changes.entry(label.to_owned()).or_insert_with(|| LineLimit::new(MAX_CHANGES));
        limit.admit(now)
    }

    /// Tells of changes of state that were not logged.
    pub(super) fn tell_dropped(&mut self) {
        let now = clock::now();
        for (label, limit) in &mut self.changes {
            if let Some((changes, seconds)) = limit.dropped(now) {
                warn!("({label}) {changes} more changes of its state in the last {seconds} s");
            }
        }
        self.changes.retain(|_, limit| !limit.is_idle(now));
    }

    pub(super) fn plan(&self) -> Option<Arc<LoadedPlan>> {
        self.in_force.as_ref().map(|in_force| Arc::clone(&in_force.loaded))
    }
}

/// Logs what the election has to say, and notes it.
pub(super) fn log_notice(notice: &Notice, facts: &mut Facts) {
    match notice {
        Notice::State(change) if !facts.logs_state(&change.label) => {}
        Notice::State(StateChange { label, to, why, fault, .. }) => {
            info!("({label}) {why}");
            match to {
                RouterState::Initialize if *fault => warn!("({label}) Entering FAULT STATE"),
                RouterState::Initialize => info!("({label}) sent 0 priority, stopped"),
                RouterState::Backup => info!("({label}) Entering BACKUP STATE"),
                RouterState::Master => info!("({label}) Entering MASTER STATE"),
            }
        }
        Notice::Router { label, text } => warn!("({label}) {text}"),
        Notice::Announced(line) => info!("{line}"),
        Notice::Waits { label, text, .. } => info!("({label}) {text}"),
        Notice::Stranger { label, address, mac, text } => {
            let mac = mac.as_deref().unwrap_or("unknown");
            warn!(router = label, %address, mac, "({label}) {text}");
        }
        Notice::Done(operations) => {
            for operation in operations {
                info!("{operation}");
                facts.operations += 1;
                facts.record(operation.clone());
            }
        }
        Notice::Drifted { repairs, drifts } => facts.drifted(repairs, drifts.clone()),
        Notice::Problem(text) => error!("{text}"),
        Notice::GuardianLost(_) => {}
    }
}
