//! A plan on probation: the host goes back to the plan before unless it is confirmed in time. Values only:
//! kept in the state directory by `state`, carried out by [`crate::Host`].
//!
//! ```text
//!   new plan --on disk first--> in force, on probation --confirmed--> last good plan
//!                                        |
//! +--deadline, `rollback`--> the last good plan again, this one refused
//! ```
//!
//! The plan to go back to is the last good one: the last that was confirmed or needed no confirmation. A
//! further plan during a probation does not change that, and has its own time. Time is an argument.

mod checks;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use evenkeel_converge::{DestinationKey, ObjectKey, ServiceKey};
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::{Plan, Probation as Policy};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

pub use checks::{PlanChange, RouterNow, View, missing, quiet};

/// Least number of digits of a generation that a person must give.
const MIN_DIGITS: usize = 6;

/// Record of probations on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The probation under way.
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
    /// The generation to go back to.
    pub before: String,
    /// Way of confirmation: an operator or the checks.
    pub confirm: Confirm,
    /// Length of the probation, milliseconds.
    timeout_ms: u64,
    /// Start of the probation, RFC 3339.
    pub since: String,
    clock: Clock,
    /// State of the host before.
    pub baseline: Baseline,
}

/// A deadline that stays meaningful after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    /// Identity of the boot that `at` belongs to.
    boot: String,
    /// The deadline, by the clock of that boot.
    at: MonoTime,
    /// Wall clock at the time of writing, milliseconds since 1970.
    written_ms: u64,
    /// Time that was left at the time of writing, milliseconds.
    left_ms: u64,
}

/// State of the host under the plan before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Destinations that had failed.
    pub down: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Virtual routers that took part in the election.
    pub routers: BTreeSet<Name>,
    /// Objects that the kernel had no means for.
    #[serde(default)]
    pub lacking: BTreeSet<ObjectKey>,
}

/// A generation that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The generation.
    pub generation: String,
    /// Time of the rollback, RFC 3339.
    pub at: String,
    /// Reason, a sentence for people.
    pub why: String,
}

impl RolledBack {
    /// Reason why the plan is refused, a sentence for people.
    pub fn refusal(&self) -> String {
        let Self { generation, at, why } = self;
        format!(
            "generation {} was rolled back at {at}: {why}; deliver another plan, or the one before and then \
                this one again",
            short(generation)
        )
    }
}

impl Trial {
    /// A probation that begins now, of `generation` over the confirmed generation `before`.
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

    /// Length of the probation.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// End of the probation. After a reboot the wall clock says how much time has passed; a clock that was
    /// set back gives no more than was left.
    pub fn deadline(&self, moment: &Moment) -> MonoTime {
        let Clock { boot, at, written_ms, left_ms } = &self.clock;
        let left = Duration::from_millis(*left_ms);
        // On the boot that wrote it the deadline itself counts. `left` bounds it, should the record have been
        // damaged.
        if !boot.is_empty() && **boot == *moment.boot {
            return (*at).min(moment.now + left);
        }
        moment.now + left.saturating_sub(Duration::from_millis(moment.wall_ms.saturating_sub(*written_ms)))
    }

    /// The probation after a restart, with its deadline by the clock of this boot.
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

/// The first digits of a generation, for people; all of a shorter one.
pub fn short(generation: &str) -> &str {
    generation.get(..12).unwrap_or(generation)
}

/// Plan that a daemon begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPlan {
    /// The file's plan: confirmed, or without need of it.
    File,
    /// The file's plan, still on probation.
    OnProbation(Trial),
    /// The last good plan. If the file has another one, it is decided about once it is read again with the
    /// last good one in force.
    LastGood,
    /// The last good plan, because the file's plan (now or before) was not confirmed.
    Back(RolledBack),
    /// The file's plan, although it was not confirmed: there is nothing to go back to.
    NothingBefore,
}

/// Decides which plan a daemon begins with. `record` is none when it was damaged. `file` has the generation
/// of the file's plan and whether it asks for probation; none when the file cannot be used. `last_good` is
/// the generation that was kept.
pub fn start(
    record: Option<&Record>,
    file: Option<&(String, bool)>,
    last_good: Option<&str>,
    moment: &Moment,
    at: &str,
) -> FirstPlan {
    let back = |generation: &str, why: &str| {
        FirstPlan::Back(RolledBack {
            generation: generation.to_owned(),
            at: at.to_owned(),
            why: why.to_owned(),
        })
    };
    let Some((generation, wants_probation)) = file else {
        let trial = record.and_then(|record| record.trial.as_ref());
        // With the last good plan equal to the one on trial, it was confirmed: the daemon ended before it
        // cleared the record.
        return match trial.filter(|trial| last_good.is_some_and(|kept| *kept != trial.generation)) {
            Some(trial) => back(
                &trial.generation,
                "not confirmed, and its file could not be used when the daemon started",
            ),
            None => FirstPlan::LastGood,
        };
    };
    if last_good == Some(generation.as_str()) {
        return FirstPlan::File;
    }
    // A damaged record may hide a rollback: a plan that asks for probation is held back where there is
    // another one.
    let Some(record) = record else {
        return match (wants_probation, last_good) {
            (true, Some(_)) => {
                back(generation, "whether it was confirmed is not known: the record was damaged")
            }
            (true, None) | (false, _) => FirstPlan::File,
        };
    };
    let unconfirmed = record.rolled_back.as_ref().filter(|back| back.generation == *generation);
    let trial = record.trial.as_ref().filter(|trial| trial.generation == *generation);
    match (unconfirmed, trial, last_good) {
        (Some(_), _, None) | (_, Some(_), None) => FirstPlan::NothingBefore,
        (Some(rolled_back), _, Some(_)) => FirstPlan::Back(rolled_back.clone()),
        (None, Some(trial), Some(_)) if trial.deadline(moment) <= moment.now => {
            back(generation, &late(trial))
        }
        (None, Some(trial), Some(_)) => FirstPlan::OnProbation(trial.clone().resumed(moment)),
        (None, None, Some(_)) if *wants_probation => FirstPlan::LastGood,
        (None, None, _) => FirstPlan::File,
    }
}

/// Reason of a rollback at the deadline, for people.
pub fn late(trial: &Trial) -> String {
    let by = match trial.confirm {
        Confirm::Operator => "",
        Confirm::Checks => " by its checks",
    };
    format!("not confirmed{by} within {}", humantime::format_duration(trial.timeout()))
}

/// Decision about a plan that differs from the plan in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The plan is refused, with the reason.
    Refused(String),
    /// The plan is put in force, and any probation is over.
    Take,
    /// The plan is put on probation over the last confirmed one.
    Probation(Policy),
}

/// Decides about a new plan; `confirmed` is the generation that was confirmed last, none when no plan is in
/// force.
pub fn next(record: &Record, generation: &str, plan: &Plan, confirmed: Option<&str>) -> Next {
    match (&record.rolled_back, &plan.policy.probation) {
        (Some(back), _) if back.generation == generation => Next::Refused(back.refusal()),
        (_, Some(policy)) if confirmed.is_some_and(|confirmed| confirmed != generation) => {
            Next::Probation(policy.clone())
        }
        _ => Next::Take,
    }
}

/// Action of a request about a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbationAction {
    /// The plan stays.
    Confirm,
    /// The plan before comes back, now.
    Rollback,
}

/// The body of `POST /probation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbationRequest {
    /// Action of the request.
    pub action: ProbationAction,
    /// First digits of the generation; absent: whichever is on probation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

/// Effect of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The generation in force.
    pub generation: String,
    /// Whether there was nothing to do because the generation was confirmed already.
    pub already: bool,
}

/// Decision about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The plan on probation is to be confirmed.
    Confirm,
    /// The plan on probation is to be rolled back.
    Rollback,
    /// This generation was confirmed already.
    Already(String),
}

/// Reason why a request about a probation changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbationRefusal {
    /// The request names its generation by too few digits, or by other characters.
    NotDigits,
    /// Another generation is on probation: this one.
    Other(String),
    /// The generation was rolled back before.
    RolledBack(RolledBack),
    /// No plan is on probation, and this generation is in force.
    NotOnProbation(ProbationAction, String),
    /// No plan is on probation, and none is in force.
    NoPlan,
}

impl fmt::Display for ProbationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDigits => {
                write!(f, "a generation is told by at least {MIN_DIGITS} of its first digits (0-9, a-f)")
            }
            Self::Other(generation) => {
                write!(f, "it is generation {} that is on probation", short(generation))
            }
            Self::RolledBack(RolledBack { generation, at, why }) => {
                write!(f, "generation {} was rolled back at {at}: {why}", short(generation))
            }
            Self::NotOnProbation(action, in_force) => {
                write!(f, "no plan is on probation; generation {} is in force", short(in_force))?;
                match action {
                    ProbationAction::Confirm => Ok(()),
                    // The plan before is not kept any more; the operator's repository has it.
                    ProbationAction::Rollback => f.write_str(
                        " and stays: `rollback` ends a probation, and a plan that was confirmed, or needed \
                         no confirmation, has none. To go back deliver the plan before",
                    ),
                }
            }
            Self::NoPlan => f.write_str("no plan is on probation, and none is in force"),
        }
    }
}

/// Decides about a request; `in_force` is the generation in force.
///
/// # Errors
/// When nothing is to be done.
pub fn decide(
    request: &ProbationRequest,
    record: &Record,
    in_force: Option<&str>,
) -> Result<Decision, ProbationRefusal> {
    if let Some(digits) = &request.generation {
        let hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !hex || digits.len() < MIN_DIGITS {
            return Err(ProbationRefusal::NotDigits);
        }
    }
    let meant =
        |generation: &str| request.generation.as_ref().is_none_or(|digits| generation.starts_with(digits));
    let named = |generation: &str| request.generation.is_some() && meant(generation);
    match (&record.trial, &record.rolled_back, in_force) {
        (Some(trial), _, _) if meant(&trial.generation) => Ok(match request.action {
            ProbationAction::Confirm => Decision::Confirm,
            ProbationAction::Rollback => Decision::Rollback,
        }),
        (Some(trial), _, _) => Err(ProbationRefusal::Other(trial.generation.clone())),
        (None, _, Some(in_force)) if request.action == ProbationAction::Confirm && named(in_force) => {
            Ok(Decision::Already(in_force.to_owned()))
        }
        (None, Some(back), _) if meant(&back.generation) => Err(ProbationRefusal::RolledBack(back.clone())),
        (None, _, Some(in_force)) => {
            Err(ProbationRefusal::NotOnProbation(request.action, in_force.to_owned()))
        }
        (None, _, None) => Err(ProbationRefusal::NoPlan),
    }
}

#[cfg(test)]
mod tests;
