//! What is known of one check, as values.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

pub use evenkeel_schemas::status::Verdict;

use crate::ailment::Ailment;
use crate::fault::{Fault, Says};

/// Number of a check. Whoever takes plans chooses it; a check that stays keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId(pub u32);

/// Outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Healthy, and what the target says beside.
    Success(Says),
    /// Not healthy, and why.
    Failure(Fault),
    /// The agent that is asked is not there, and why, for people: nothing changes.
    Silent(Box<str>),
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
    /// The agent that is asked is not there.
    Silence,
    /// Something ailed this host.
    Nothing,
}

/// A check's state, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Verdict.
    pub verdict: Verdict,
    /// Time since which it is the verdict: when it changed last, or the check came.
    pub since: MonoTime,
    /// Changes of the verdict since the check came.
    pub transitions: u64,
    /// Failed probes in a row.
    pub failures: u32,
    /// End and outcome of the last probe; none before the first.
    pub last: Option<(MonoTime, Outcome)>,
    /// How long the last probe took that succeeded or failed; none before.
    pub latency: Option<Duration>,
    /// End and reason of the last probe that failed; none when none has.
    pub fault: Option<(MonoTime, Fault)>,
    /// Words of the target beside its last success.
    pub says: Says,
    /// Time of the next probe; none while one is under way.
    pub next: Option<MonoTime>,
    /// Time since which the target is not judged, and the ailment of this host; none while it is judged.
    pub unjudged: Option<(MonoTime, Ailment)>,
}

impl Outcome {
    /// Without the reason.
    #[must_use]
    pub const fn heard(&self) -> Heard {
        match self {
            Self::Success(_) => Heard::Success,
            Self::Failure(_) => Heard::Failure,
            Self::Silent(_) => Heard::Silence,
            Self::Inconclusive(_) => Heard::Nothing,
        }
    }
}

/// What was told of a check.
pub(crate) type Told = (Verdict, bool, Reach, Option<Heard>, Says);
