//! A plan on probation: it goes back to the one before unless it is confirmed in time. Values only: kept
//! in the state directory by `state`, carried out by the daemon.
//!
//! ```text
//!   new plan --on disk first--> in force, on probation --confirmed--> last good plan
//!                                        |
//!                                        +--deadline, `rollback`--> the last good plan again, this one refused
//! ```
//!
//! What it goes back to is the last good plan, the last one that was confirmed or needed no confirmation. A
//! further plan during a probation does not change that, and has its own time. Time is an argument.

mod checks;

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_converge::{DestinationKey, ObjectKey, ServiceKey};
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::{Plan, Probation as Policy};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

pub use checks::{Change, RouterNow, View, missing, quiet};

/// Least number of digits of a generation that a person must give.
const MIN_DIGITS: usize = 6;

/// What is kept of probations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The generation that was rolled back last, until another plan comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
}

/// A probation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The generation on probation.
    pub generation: String,
    /// The one that it goes back to.
    pub before: String,
    /// Who confirms.
    pub confirm: Confirm,
    /// All of its time, milliseconds.
    timeout_ms: u64,
    /// When it began, RFC 3339.
    pub since: String,
    clock: Clock,
    /// How the host stood before.
    pub baseline: Baseline,
}

/// A deadline that means something after a reboot, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    /// The boot that `at` belongs to.
    boot: String,
    /// The deadline.
    at: MonoTime,
    /// Wall clock when this was written, milliseconds since 1970.
    written_ms: u64,
    /// Time that was left then, milliseconds.
    left_ms: u64,
}

/// How the host stood under the plan before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Destinations that had failed.
    pub down: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Virtual routers that took part in the election.
    pub routers: BTreeSet<Name>,
    /// What the kernel had no means for.
    #[serde(default)]
    pub lacking: BTreeSet<ObjectKey>,
}

/// A generation that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// Which.
    pub generation: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why, for people.
    pub why: String,
}

impl RolledBack {
    /// Why the plan is refused, for people.
    pub fn refusal(&self) -> String {
        let Self { generation, at, why } = self;
        format!(
            "generation {} was rolled back at {at}: {why}; deliver another plan, or the one before and then this one again",
            short(generation)
        )
    }
}

impl Trial {
    /// A probation that begins now, of `generation` over the confirmed one `before`.
    pub fn new(
        generation: String,
        before: String,
        policy: &Policy,
        baseline: Baseline,
        since: String,
        moment: &Moment,
    ) -> Self {
        let timeout = policy.timeout.as_duration();
        let clock = Clock::new(timeout, moment);
        Self {
            generation,
            before,
            confirm: policy.confirm,
            timeout_ms: millis(timeout),
            since,
            clock,
            baseline,
        }
    }

    /// All of its time.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// When it ends. After a reboot the wall clock tells how much time has passed, and one that was set
    /// back gives no more than was left.
    pub fn deadline(&self, moment: &Moment) -> MonoTime {
        let Clock { boot, at, written_ms, left_ms } = &self.clock;
        let left = Duration::from_millis(*left_ms);
        if !boot.is_empty() && **boot == *moment.boot {
            return (*at).min(moment.now + left);
        }
        moment.now + left.saturating_sub(Duration::from_millis(moment.wall_ms.saturating_sub(*written_ms)))
    }

    /// The same after a restart, with the deadline by the clock of this boot.
    pub fn resumed(mut self, moment: &Moment) -> Self {
        let left = moment.now.until(self.deadline(moment));
        if self.clock.boot.is_empty() || *self.clock.boot != *moment.boot {
            self.clock = Clock::new(left, moment);
        }
        self
    }
}

impl Clock {
    fn new(left: Duration, moment: &Moment) -> Self {
        Self {
            boot: moment.boot.to_string(),
            at: moment.now + left,
            written_ms: moment.wall_ms,
            left_ms: millis(left),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first digits of a generation, for people.
pub fn short(generation: &str) -> &str {
    generation.get(..12).unwrap_or(generation)
}

/// Which plan a daemon begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The file's, confirmed or without need of it.
    File,
    /// The file's, on probation still.
    OnProbation(Trial),
    /// The last good one. If the file has another it is looked at when it is read again, with this one in force.
    LastGood,
    /// The last good one, because the file's (or what it was) was not confirmed.
    Back(RolledBack),
    /// The file's, although it was not confirmed: there is nothing to go back to.
    NothingBefore,
}

/// Decides what a daemon begins with. `record` is none when it was damaged, `file` none when it cannot be
/// used; `last_good` is the generation that was kept.
pub fn start(
    record: Option<&Record>,
    file: Option<&(String, bool)>,
    last_good: Option<&str>,
    moment: &Moment,
    at: &str,
) -> Start {
    let back = |generation: &str, why: &str| {
        Start::Back(RolledBack { generation: generation.to_owned(), at: at.to_owned(), why: why.to_owned() })
    };
    let Some((generation, wants_probation)) = file else {
        let trial = record.and_then(|record| record.trial.as_ref());
        return match trial.filter(|trial| last_good.is_some_and(|kept| *kept != trial.generation)) {
            Some(trial) => back(
                &trial.generation,
                "not confirmed, and its file could not be used when the daemon started",
            ),
            None => Start::LastGood,
        };
    };
    if last_good == Some(generation.as_str()) {
        return Start::File;
    }
    let Some(record) = record else {
        return match (wants_probation, last_good) {
            (true, Some(_)) => {
                back(generation, "whether it was confirmed is not known: the record was damaged")
            }
            (true, None) | (false, _) => Start::File,
        };
    };
    let unconfirmed = record.rolled_back.as_ref().filter(|back| back.generation == *generation);
    let trial = record.trial.as_ref().filter(|trial| trial.generation == *generation);
    match (unconfirmed, trial, last_good) {
        (Some(_), _, None) | (_, Some(_), None) => Start::NothingBefore,
        (Some(rolled_back), _, Some(_)) => Start::Back(rolled_back.clone()),
        (None, Some(trial), Some(_)) if trial.deadline(moment) <= moment.now => {
            back(generation, &late(trial))
        }
        (None, Some(trial), Some(_)) => Start::OnProbation(trial.clone().resumed(moment)),
        (None, None, Some(_)) if *wants_probation => Start::LastGood,
        (None, None, _) => Start::File,
    }
}

/// Why a trial is over when its time is.
pub fn late(trial: &Trial) -> String {
    let by = match trial.confirm {
        Confirm::Operator => "",
        Confirm::Checks => " by its checks",
    };
    format!("not confirmed{by} within {}", humantime::format_duration(trial.timeout()))
}

/// What becomes of a plan that differs from the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is refused, and why.
    Refused(String),
    /// It is put in force, and any probation is over.
    Take,
    /// It is put on probation over the last confirmed one.
    Probation(Policy),
}

/// Decides about a new plan; `confirmed` is the generation that was confirmed last, none when no plan is
/// in force.
pub fn next(record: &Record, generation: &str, plan: &Plan, confirmed: Option<&str>) -> Next {
    match (&record.rolled_back, &plan.policy.probation) {
        (Some(back), _) if back.generation == generation => Next::Refused(back.refusal()),
        (_, Some(policy)) if confirmed.is_some_and(|confirmed| confirmed != generation) => {
            Next::Probation(policy.clone())
        }
        _ => Next::Take,
    }
}

/// What a probation is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The plan stays.
    Confirm,
    /// Back to the plan before, now.
    Rollback,
}

/// The body of `POST /probation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// The first digits of the generation that is meant; absent: whichever is on probation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The generation in force.
    pub generation: String,
    /// Whether there was nothing to do: it was confirmed already.
    pub already: bool,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The plan on probation is confirmed.
    Confirm,
    /// The plan on probation goes.
    Rollback,
    /// It was confirmed already.
    Already(String),
}

/// Decides about a request; `in_force` is the generation in force.
///
/// # Errors
/// Why nothing is done: a sentence for people.
pub fn told(request: &Request, record: &Record, in_force: Option<&str>) -> Result<Told, String> {
    if let Some(digits) = &request.generation {
        let hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !hex || digits.len() < MIN_DIGITS {
            return Err(format!(
                "a generation is told by at least {MIN_DIGITS} of its first digits (0-9, a-f)"
            ));
        }
    }
    let meant =
        |generation: &str| request.generation.as_ref().is_none_or(|digits| generation.starts_with(digits));
    let named = |generation: &str| request.generation.is_some() && meant(generation);
    match (&record.trial, &record.rolled_back, in_force) {
        (Some(trial), _, _) if meant(&trial.generation) => Ok(match request.action {
            Action::Confirm => Told::Confirm,
            Action::Rollback => Told::Rollback,
        }),
        (Some(trial), _, _) => {
            Err(format!("it is generation {} that is on probation", short(&trial.generation)))
        }
        (None, _, Some(in_force)) if request.action == Action::Confirm && named(in_force) => {
            Ok(Told::Already(in_force.to_owned()))
        }
        (None, Some(back), _) if meant(&back.generation) => Err(format!(
            "generation {} was rolled back at {}: {}",
            short(&back.generation),
            back.at,
            back.why
        )),
        (None, _, Some(in_force)) => {
            let state = format!("no plan is on probation; generation {} is in force", short(in_force));
            Err(match request.action {
                Action::Confirm => state,
                // The plan before is not kept any more: where it is, is the operator's repository.
                Action::Rollback => format!(
                    "{state} and stays: `rollback` ends a probation, and a plan that was confirmed, or needed no \
                     confirmation, has none. To go back deliver the plan before"
                ),
            })
        }
        (None, _, None) => Err("no plan is on probation, and none is in force".to_owned()),
    }
}

#[cfg(test)]
mod tests;
