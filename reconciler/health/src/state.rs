//! What is known of one check, as values.

use evenkeel_schemas::time::MonoTime;

pub use evenkeel_schemas::status::Verdict;

use crate::ailment::Ailment;

/// Number of a check. Whoever takes plans chooses it; a check that stays keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId(pub u32);

/// Outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Healthy.
    Success,
    /// Not healthy, and why, for people.
    Failure(String),
    /// Something ailed this host: says nothing about the target.
    Inconclusive(Ailment),
}

/// Knowledge of a target, as needed to decide whether this host can serve by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The verdict, which holds.
    Judged(Verdict),
    /// Nothing has been heard of it yet, since the daemon started or since its way is back.
    Unknown,
    /// This host has had no way to the target for as long as a check needs to find that a target fails.
    CutOff,
}

/// What a probe found, without the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The target is healthy.
    Success,
    /// It is not.
    Failure,
    /// Something ailed this host.
    Nothing,
}

/// A check's state, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Verdict.
    pub verdict: Verdict,
    /// Failed probes in a row.
    pub failures: u32,
    /// End and outcome of the last probe; none before the first.
    pub last: Option<(MonoTime, Outcome)>,
    /// Time since which the target is not judged, and the ailment of this host; none while it is judged.
    pub unjudged: Option<(MonoTime, Ailment)>,
}

/// What was told of a check.
pub(crate) type Told = (Verdict, bool, Reach, Option<Heard>);
