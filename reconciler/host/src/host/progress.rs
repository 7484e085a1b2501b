//! Conditions that a plan on probation waits for: observed, and shown.

use std::time::Duration;

use evenkeel_converge::Position;
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::status::{ProbationStatus, RouterOrder};

use super::Host;
use crate::election::ElectionSnapshot;
use crate::moment::Moment;
use crate::probation::{self, PlanChange, RouterNow, View, short};

impl Host {
    /// The state of the election is known: confirms a plan whose checks have been well for long enough.
    pub(super) fn progress_known(&mut self, snapshot: &ElectionSnapshot, at: &Moment) {
        let by_checks =
            self.probation.record.trial.as_ref().is_some_and(|trial| trial.confirm == Confirm::Checks);
        if !by_checks || self.is_deciding() || at.now >= self.probation.deadline {
            return;
        }
        if !self.missing(snapshot).is_empty() {
            self.probation.well_since = None;
            return;
        }
        let since = *self.probation.well_since.get_or_insert(at.now);
        if at.now.since(since) >= self.quiet() {
            self.confirm("its checks", None, at);
        }
    }

    /// Time during which all must have been well.
    fn quiet(&self) -> Duration {
        match (&self.facts.in_force, &self.probation.record.trial) {
            (Some(in_force), Some(trial)) => probation::quiet(&in_force.loaded.plan, trial.timeout()),
            (None, _) | (_, None) => Duration::MAX,
        }
    }

    /// Conditions that a confirmation by checks still waits for, as sentences for people.
    fn missing(&self, snapshot: &ElectionSnapshot) -> Vec<String> {
        let probation = &self.probation;
        let (Some(in_force), Some(before), Some(trial)) =
            (&self.facts.in_force, &probation.before, &probation.record.trial)
        else {
            return vec!["the plan before is being read".to_owned()];
        };
        let routers: Vec<RouterNow> = snapshot
            .routers
            .iter()
            .map(|router| RouterNow {
                name: router.name.clone(),
                state: router.state,
                held: router.order.is_some_and(RouterOrder::keeps_out),
                reason: router.reason.clone(),
            })
            .collect();
        let change =
            PlanChange { before: &before.plan, baseline: &trial.baseline, plan: &in_force.loaded.plan };
        let failed = self.facts.last.as_ref().is_none_or(|last| !last.errors.is_empty());
        // Objects that the kernel had no means for before the change are not the change's fault.
        let as_before = self.lacks_nothing_but(&trial.baseline.lacking);
        let converged = self.elected.pending.is_none() && (self.has_plan() && !failed || as_before);
        let state = |at: Position| self.checks.state(at);
        probation::missing(change, View { converged, routers: &routers, state: &state })
    }

    /// Status of the probation; none without one.
    pub(super) fn probation_status(
        &self,
        snapshot: &ElectionSnapshot,
        at: &Moment,
    ) -> Option<ProbationStatus> {
        let trial = self.probation.record.trial.as_ref()?;
        let mut waits_for = match trial.confirm {
            Confirm::Operator => {
                vec![format!("`evenkeeld confirm {}`", short(&trial.generation))]
            }
            Confirm::Checks => self.missing(snapshot),
        };
        if waits_for.is_empty() {
            let since = self.probation.well_since.map_or(Duration::ZERO, |since| at.now.since(since));
            let left = self.quiet().saturating_sub(since);
            waits_for.push(format!("all is well, and must stay so for another {:.1} s", left.as_secs_f64()));
        }
        let remaining = at.now.until(self.probation.deadline).as_millis();
        Some(ProbationStatus {
            before: trial.before.clone(),
            since: trial.since.clone(),
            deadline: at.wall(self.probation.deadline),
            remaining_ms: u64::try_from(remaining).unwrap_or(u64::MAX),
            confirm: trial.confirm,
            waits_for,
        })
    }
}
