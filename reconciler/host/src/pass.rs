//! The types between a host and its convergence: the wanted state, and the report of a pass over the kernel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Desired, Draining, ObjectKey, Op, Row};
use evenkeel_schemas::status::{ConvergenceError, DriftOutcome, ObjectText};
use evenkeel_schemas::time::MonoTime;

/// Wanted state of the kernel, and how often to observe it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Number of the wanted state, counted up with every change. A pass reports the one that it worked on.
    pub serial: u64,
    /// The wanted state.
    pub desired: Arc<Desired>,
    /// Longest time between two full observations.
    pub resync: Duration,
}

/// Changes of a wanted state.
#[derive(Debug, Clone)]
pub struct Adjusted {
    /// Number that continues [`Wanted::serial`].
    pub serial: u64,
    /// Virtual servers as they are wanted now.
    pub rows: Vec<Row>,
}

/// A pass, and the state of the whole after it.
#[derive(Debug, Clone)]
pub struct PassReport {
    /// [`Wanted::serial`] that the pass worked on.
    pub serial: u64,
    /// The pass itself.
    pub pass: Pass,
    /// Whether every kind was as wanted when it was last observed.
    pub converged: bool,
    /// Whether every kind was so, except for objects that the kernel has no means for: then nothing waits.
    pub ready: bool,
    /// Objects of all kinds that the kernel has no means for.
    pub lacking: BTreeSet<ObjectKey>,
    /// Failed operations of all kinds.
    pub errors: Vec<ConvergenceError>,
}

/// Effect of one pass.
#[derive(Debug, Clone)]
pub struct Pass {
    /// End of the pass.
    pub ended: MonoTime,
    /// Duration of the pass.
    pub took: Duration,
    /// Operations that changed the kernel to what is wanted.
    pub done: Vec<Op>,
    /// Operations that undid changes of others.
    pub repairs: Vec<Op>,
    /// Changes of others with their outcome, as far as they were not reported by the pass before.
    pub drifts: Vec<Drift>,
    /// Number of objects, of all kinds, that are left as others have changed them.
    pub reported_drift: u64,
    /// Failed operations: a bounded number, and a last one that counts the rest.
    pub errors: Vec<ConvergenceError>,
    /// Objects of others; none when the pass did not observe every kind.
    pub foreign: Option<Vec<ObjectText>>,
    /// Whether everything that was observed is as wanted, except for drift that is only reported.
    pub converged: bool,
    /// Whether everything that was observed is as wanted, except for `lacking`.
    pub ready: bool,
    /// Objects that the kernel has no means for, and new objects while the disk fails.
    pub lacking: BTreeSet<ObjectKey>,
    /// Whether `lacking` has new objects because the disk fails.
    pub unnamed: bool,
    /// Destinations that drain; none when the pass did not observe IPVS.
    pub drains: Option<DrainsFound>,
}

/// An object that somebody else has changed, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Kind of the object.
    pub kind: &'static str,
    /// Name of the object.
    pub object: String,
    /// State that it was found in.
    pub found: String,
    /// Outcome: repaired, reported or failed.
    pub outcome: DriftOutcome,
    /// Reason why it could not be put right.
    pub reason: Option<String>,
}

/// Drains that a pass found.
#[derive(Debug, Clone, Default)]
pub struct DrainsFound {
    /// Destinations that drain.
    pub draining: Vec<Draining>,
    /// Destinations that have drained and are removed now.
    pub ended: Vec<Draining>,
    /// Latest time of the next observation.
    pub next_look: Option<MonoTime>,
}

impl DrainsFound {
    /// Whether no destination drains.
    pub const fn is_empty(&self) -> bool {
        self.draining.is_empty() && self.ended.is_empty() && self.next_look.is_none()
    }
}
