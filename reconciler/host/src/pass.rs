//! The words between a host and its convergence: what is wanted, and what a pass over the kernel did.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Desired, Draining, ObjectKey, Op, Row};
use evenkeel_schemas::status::{ConvergenceError, DriftOutcome, ObjectText};
use evenkeel_schemas::time::MonoTime;

/// What the kernel should look like and how often to look.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Counts up with every change of it; a pass says which it worked on.
    pub serial: u64,
    /// The state.
    pub desired: Arc<Desired>,
    /// Longest time between two full observations.
    pub resync: Duration,
}

/// What has changed of a wanted state.
#[derive(Debug, Clone)]
pub struct Adjusted {
    /// Counts on from [`Wanted::serial`].
    pub serial: u64,
    /// Virtual servers as they are wanted now.
    pub rows: Vec<Row>,
}

/// A pass and where the whole stands after it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The [`Wanted::serial`] that it worked on.
    pub serial: u64,
    /// The pass.
    pub pass: Pass,
    /// Whether every kind was as wanted when it was last looked at.
    pub converged: bool,
    /// Whether it was so but for what the kernel has no means for: then nothing waits.
    pub ready: bool,
    /// What the kernel has no means for, of all kinds.
    pub lacking: BTreeSet<ObjectKey>,
    /// What could not be done, of all kinds.
    pub errors: Vec<ConvergenceError>,
}

/// What a pass did.
#[derive(Debug, Clone)]
pub struct Pass {
    /// When it ended.
    pub ended: MonoTime,
    /// How long it took.
    pub took: Duration,
    /// What was done to change the kernel.
    pub done: Vec<Op>,
    /// What was done to undo what others did.
    pub repairs: Vec<Op>,
    /// What others have changed and what was done about it, as far as that is news.
    pub drifts: Vec<Drift>,
    /// How many objects, of all kinds, are left as others have made them.
    pub reported_drift: u64,
    /// What could not be done, a bounded number and a last one that counts the others.
    pub errors: Vec<ConvergenceError>,
    /// What is there beside ours; none when the pass did not look at everything.
    pub foreign: Option<Vec<ObjectText>>,
    /// Whether everything that was looked at is as wanted, but for drift that is only reported.
    pub converged: bool,
    /// Whether it is so but for `lacking`.
    pub ready: bool,
    /// What the kernel has no means for, and what is new while the disk is in trouble.
    pub lacking: BTreeSet<ObjectKey>,
    /// Whether some of that is new while the disk is in trouble.
    pub unnamed: bool,
    /// What drains; none when the pass did not look at IPVS.
    pub drains: Option<DrainsFound>,
}

/// An object that somebody else has changed, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What sort of object.
    pub kind: &'static str,
    /// Which.
    pub object: String,
    /// What it was.
    pub found: String,
    /// What was done.
    pub outcome: DriftOutcome,
    /// Why it could not be put right.
    pub reason: Option<String>,
}

/// What was found of drains.
#[derive(Debug, Clone, Default)]
pub struct DrainsFound {
    /// What drains.
    pub draining: Vec<Draining>,
    /// What has drained and goes now.
    pub ended: Vec<Draining>,
    /// When to look again, at the latest.
    pub next_look: Option<MonoTime>,
}

impl DrainsFound {
    /// Whether nothing drains.
    pub const fn is_empty(&self) -> bool {
        self.draining.is_empty() && self.ended.is_empty() && self.next_look.is_none()
    }
}
