//! Plans on probation: begun, confirmed, rolled back. What becomes of a plan is decided in
//! [`crate::probation`]; here it is carried out.
//!
//! A probation is on the disk before its plan touches anything, a confirmation before it is acknowledged. A
//! rollback is in force first and written then, since the record on the disk leads to it anyway. While
//! content is at the desk (`desk`), plans and requests wait.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_health::Verdict;
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::Probation as Policy;
use evenkeel_schemas::status::RouterState;
use evenkeel_schemas::time::MonoTime;

use super::decided::{Begins, Confirms, Then};
use super::{Host, of};
use crate::election::ElectionSnapshot;
use crate::event::ProbationEvent;
use crate::io::{Content, ElectionAsk, NotWritten, OrderError, Output, Reply, RequestId};
use crate::loaded::LoadedPlan;
use crate::moment::Moment;
use crate::orders::Refusal;
use crate::probation::{
    self, Answer, Baseline, Decision, Next, ProbationRequest, Record, RolledBack, Trial, decide, late, short,
};
use crate::verdicts::Verdicts;

/// Time between two observations of the conditions for a confirmation by checks.
pub(super) const OBSERVE_PAUSE: Duration = Duration::from_millis(250);
/// Time until content that could not be written is tried again.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

/// A plan that goes on probation once the state of the host before it is known.
struct Comes {
    loaded: Arc<LoadedPlan>,
    policy: Policy,
    before: Arc<LoadedPlan>,
}

/// State of probations.
pub(super) struct Probation {
    pub(super) record: Record,
    /// Whether the record was damaged when the daemon started.
    damaged: bool,
    /// The plan to go back to, once it has been read.
    pub(super) before: Option<Arc<LoadedPlan>>,
    pub(super) deadline: MonoTime,
    /// Time when this daemon put the plan on probation in force.
    pub(super) since: MonoTime,
    /// Time since when all is as well as before, for a confirmation by checks.
    pub(super) well_since: Option<MonoTime>,
    pub(super) observe_at: MonoTime,
    /// A plan that could not be put on probation yet, and the time when it is tried again.
    again: Option<(MonoTime, Arc<LoadedPlan>)>,
    comes: Option<Comes>,
}

impl Probation {
    /// `record` as it was found at the start; none when it was damaged.
    pub(super) fn new(record: Option<Record>) -> Self {
        Self {
            damaged: record.is_none(),
            record: record.unwrap_or_default(),
            before: None,
            deadline: MonoTime::ZERO,
            since: MonoTime::ZERO,
            well_since: None,
            observe_at: MonoTime::ZERO,
            again: None,
            comes: None,
        }
    }

    /// The record as it was found at the start; none when it was damaged.
    pub(super) fn known_record(&self) -> Option<&Record> {
        (!self.damaged).then_some(&self.record)
    }

    /// Time when [`Host::probation_due`] has something to do.
    pub(super) fn due(&self) -> Option<MonoTime> {
        // As long as the plan before has not been read there is nothing to go back to.
        let trial = self.record.trial.as_ref().filter(|_| self.before.is_some());
        let trial = trial.map(|trial| match trial.confirm {
            Confirm::Operator => self.deadline,
            Confirm::Checks => self.deadline.min(self.observe_at),
        });
        let again = self.again.as_ref().map(|(at, _)| *at);
        [trial, again].into_iter().flatten().min()
    }

    /// Another plan comes: a plan that waits to be tried again is forgotten.
    pub(super) fn plan_comes(&mut self) {
        self.again = None;
    }

    /// Whether the election is being asked for the state of the host before a plan goes on probation.
    pub(super) const fn is_asking(&self) -> bool {
        self.comes.is_some()
    }

    /// A probation begins or goes on.
    pub(super) fn run(&mut self, before: Option<Arc<LoadedPlan>>, deadline: MonoTime, now: MonoTime) {
        self.before = before;
        self.deadline = deadline;
        self.since = now;
        self.well_since = None;
        self.observe_at = now;
    }
}

/// The destinations of a baseline that had failed, as verdicts.
pub(super) fn down(baseline: &Baseline) -> Verdicts {
    baseline.down.iter().map(|key| (*key, Verdict::Down)).collect()
}

impl Host {
    /// Whether the plan in force is on probation.
    pub(super) const fn on_trial(&self) -> bool {
        self.probation.record.trial.is_some()
    }

    /// Has a plan kept as the last good one.
    pub(super) fn keep_last_good(&mut self, loaded: Arc<LoadedPlan>) {
        self.persist_later(Content::LastGood(loaded));
    }

    fn persist_record(&mut self, record: Record) {
        self.probation.record = record;
        self.persist_later(Content::Probation(Box::new(self.probation.record.clone())));
    }

    /// Handles a plan that differs from the plan in force.
    pub(super) fn handle_changed_plan(&mut self, loaded: Arc<LoadedPlan>, at: &Moment) {
        let generation = loaded.generation.to_string();
        let confirmed = match (&self.probation.record.trial, &self.facts.in_force) {
            (Some(trial), _) => Some(trial.before.clone()),
            (None, in_force) => in_force.as_ref().map(|in_force| in_force.loaded.generation.to_string()),
        };
        match probation::next(&self.probation.record, &generation, &loaded.plan, confirmed.as_deref()) {
            Next::Refused(why) => self.reject(&why, at),
            Next::Take => {
                self.facts.rejected = None;
                let known = match self.probation.record.trial.take() {
                    Some(trial) => {
                        let (over, next) = (short(&trial.generation), short(&generation));
                        self.log(ProbationEvent::Over { generation: over.to_owned(), next: next.to_owned() });
                        if trial.before == generation {
                            self.as_before(&loaded, &trial.baseline)
                        } else {
                            self.known()
                        }
                    }
                    None => self.known(),
                };
                self.adopt(loaded, false, &known, at);
                self.forget_probation();
            }
            Next::Probation(policy) => self.begin_probation(loaded, policy, at),
        }
    }

    /// Verdicts of the plan in force.
    fn known(&self) -> Verdicts {
        self.plan().map(|loaded| self.checks.verdicts(&loaded.plan)).unwrap_or_default()
    }

    /// Verdicts with which the plan before continues: those that its own checks have found since, otherwise
    /// those of the baseline. Results of checks that only the plan on probation has say nothing about it.
    fn as_before(&self, before: &LoadedPlan, baseline: &Baseline) -> Verdicts {
        let mut known = down(baseline);
        known.extend(self.checks.verdicts_under(&before.plan, of(self.plan().as_ref())));
        known
    }

    /// The file has the plan in force: a plan that was rolled back may come again.
    pub(super) fn forget_rolled_back(&mut self) {
        if !self.on_trial() && self.probation.record != Record::default() {
            self.forget_probation();
        }
    }

    fn forget_probation(&mut self) {
        self.probation.before = None;
        self.persist_record(Record::default());
    }

    fn begin_probation(&mut self, loaded: Arc<LoadedPlan>, policy: Policy, at: &Moment) {
        let further = self.probation.record.trial.as_ref();
        match (further, self.probation.before.clone(), self.plan()) {
            (Some(trial), Some(before), _) => {
                let baseline = trial.baseline.clone();
                self.put_on_probation(Comes { loaded, policy, before }, baseline, at);
            }
            // The plan before is being read after a restart.
            (Some(_), None, _) => self.probation.again = Some((at.now + OBSERVE_PAUSE, loaded)),
            (None, _, Some(before)) if self.elected.started => {
                self.probation.comes = Some(Comes { loaded, policy, before });
                self.push(Output::AskElection(ElectionAsk::Baseline));
            }
            (None, _, Some(before)) => {
                // The election has not started: all routers of the plan are meant to take part.
                let routers = before.plan.routers.iter().map(|router| router.name.clone()).collect();
                let baseline = self.baseline(routers);
                self.put_on_probation(Comes { loaded, policy, before }, baseline, at);
            }
            (None, _, None) => {}
        }
    }

    /// The state of the host before a plan goes on probation is known.
    pub(super) fn baseline_known(&mut self, snapshot: &ElectionSnapshot, at: &Moment) {
        let Some(comes) = self.probation.comes.take() else { return };
        let takes_part = snapshot.routers.iter().filter(|router| router.state != RouterState::Initialize);
        let baseline = self.baseline(takes_part.map(|router| router.name.clone()).collect());
        self.put_on_probation(comes, baseline, at);
    }

    fn baseline(&self, routers: std::collections::BTreeSet<evenkeel_schemas::scalars::Name>) -> Baseline {
        let down = self.known().into_iter().filter(|(_, verdict)| *verdict == Verdict::Down);
        let lacking = self.facts.last.as_ref().map(|last| last.lacking.clone()).unwrap_or_default();
        Baseline { down: down.map(|(key, _)| key).collect(), routers, lacking }
    }

    fn put_on_probation(&mut self, comes: Comes, baseline: Baseline, at: &Moment) {
        let Comes { loaded, policy, before } = comes;
        let (generation, confirmed) = (loaded.generation.to_string(), before.generation.to_string());
        let trial = Trial::new(generation, confirmed, &policy, baseline, at.text(), at);
        let record = Box::new(Record { trial: Some(trial), rolled_back: None });
        let content = Content::Trial(Arc::clone(&before), record.clone());
        self.persist(content, Then::Trial(Begins { loaded, before, record }), at);
    }

    /// A rollback is on the disk, or could not be written yet.
    pub(super) fn rolled_back_written(&mut self, id: RequestId, result: Result<(), NotWritten>) {
        let answer = result.map(|()| self.done()).map_err(|error| {
            OrderError::NotKept(format!(
                "the plan before is in force, but that cannot be written, and a restart now could bring the \
                    other one back: \
                 {error}"
            ))
        });
        self.answer_probation(id, answer);
    }

    fn answer_probation(&mut self, id: RequestId, answer: Result<Answer, OrderError>) {
        self.push(Output::Reply(id, Reply::Probation(answer)));
    }

    fn done(&self) -> Answer {
        let generation = self.plan().map(|loaded| loaded.generation.to_string()).unwrap_or_default();
        Answer { generation, already: false }
    }

    /// A probation is on the disk, or could not be written.
    pub(super) fn trial_written(&mut self, begins: Begins, result: Result<(), NotWritten>, at: &Moment) {
        let Begins { loaded, before, record } = begins;
        if let Err(error) = result {
            let reason =
                format!("its probation cannot be written, and is tried again: state directory: {error}");
            self.reject(&reason, at);
            self.probation.again = Some((at.now + WRITE_PAUSE, loaded));
            return;
        }
        let Some(trial) = &record.trial else { return };
        let deadline = trial.deadline(at);
        self.facts.rejected = None;
        self.log(ProbationEvent::Begins {
            generation: loaded.generation.short().to_owned(),
            until: at.wall(deadline),
            before: before.generation.short().to_owned(),
        });
        self.probation.record = *record;
        self.probation.run(Some(before), deadline, at.now);
        let known = self.known();
        self.adopt(loaded, false, &known, at);
    }

    /// Whether the plan to go back to is being read, after a restart.
    pub(super) const fn is_loading_before(&self) -> bool {
        self.on_trial() && self.probation.before.is_none()
    }

    /// The plan to go back to was read after a restart; none when it cannot be read.
    pub(super) fn before_read(&mut self, before: Option<Arc<LoadedPlan>>) {
        let Some(trial) = &self.probation.record.trial else { return };
        if before.is_some() {
            self.probation.before = before;
            return;
        }
        let generation = short(&trial.generation).to_owned();
        self.log(ProbationEvent::NothingToGoBackTo { generation });
        self.forget_probation();
        if let Some(loaded) = self.plan() {
            self.keep_last_good(loaded);
        }
    }

    /// Carries a request out, or refuses it.
    pub(super) fn probation_request(&mut self, id: RequestId, request: &ProbationRequest, at: &Moment) {
        let in_force = self.plan().map(|loaded| loaded.generation.to_string());
        match decide(request, &self.probation.record, in_force.as_deref()) {
            Ok(Decision::Confirm) => self.confirm("an operator", Some(id), at),
            Ok(Decision::Rollback) => self.roll_back("an operator said so", Some(id), at),
            Ok(Decision::Already(generation)) => {
                self.answer_probation(id, Ok(Answer { generation, already: true }));
            }
            Err(refusal) => {
                let refusal = Refusal::NotNow(refusal.to_string());
                self.answer_probation(id, Err(OrderError::Refused(refusal)));
            }
        }
    }

    pub(super) fn confirm(&mut self, by: &'static str, id: Option<RequestId>, at: &Moment) {
        let Some(loaded) = self.plan() else { return };
        // The plan on probation becomes the last good one: that is how a later start sees that it was
        // confirmed.
        self.persist(Content::LastGood(loaded), Then::Confirmed(Confirms { by, id }), at);
    }

    /// The plan on probation is the last good one now, or could not be written.
    pub(super) fn confirmation_written(
        &mut self,
        confirms: Confirms,
        result: Result<(), NotWritten>,
        at: &Moment,
    ) {
        let Confirms { by, id } = confirms;
        if let Err(error) = result {
            self.log(ProbationEvent::NotConfirmed { reason: error.to_string() });
            self.probation.observe_at = at.now + WRITE_PAUSE;
            if let Some(id) = id {
                self.answer_probation(id, Err(OrderError::NotKept(format!("not confirmed: {error}"))));
            }
            return;
        }
        let answer = self.done();
        self.log(ProbationEvent::Confirmed { generation: short(&answer.generation).to_owned(), by });
        self.forget_probation();
        if let Some(id) = id {
            self.answer_probation(id, Ok(answer));
        }
    }

    fn roll_back(&mut self, why: &str, id: Option<RequestId>, at: &Moment) {
        let (Some(before), Some(trial)) = (self.probation.before.take(), self.probation.record.trial.take())
        else {
            return;
        };
        let back = RolledBack { generation: trial.generation, at: at.text(), why: why.to_owned() };
        self.log(ProbationEvent::RolledBack {
            generation: short(&back.generation).to_owned(),
            to: Some(before.generation.short().to_owned()),
            why: why.to_owned(),
        });
        let known = self.as_before(&before, &trial.baseline);
        let refusal = back.refusal();
        self.adopt(before, true, &known, at);
        self.reject(&refusal, at);
        let record = Record { trial: None, rolled_back: Some(back) };
        match id {
            None => self.persist_record(record),
            Some(id) => {
                self.probation.record = record.clone();
                self.persist(Content::Probation(Box::new(record)), Then::RolledBack(id), at);
            }
        }
    }

    /// Something is due: the deadline, an observation, or a plan that is tried again.
    pub(super) fn probation_due(&mut self, at: &Moment) {
        if let Some((_, loaded)) = self.probation.again.take_if(|(again, _)| *again <= at.now) {
            self.handle_plan(Ok(loaded), at);
        }
        let Some(trial) = &self.probation.record.trial else { return };
        if self.is_deciding() || self.probation.before.is_none() {
            return;
        }
        if at.now >= self.probation.deadline {
            let why = late(trial);
            self.roll_back(&why, None, at);
        } else if trial.confirm == Confirm::Checks && at.now >= self.probation.observe_at {
            self.probation.observe_at = at.now + OBSERVE_PAUSE;
            self.push(Output::AskElection(ElectionAsk::Progress));
        }
    }
}
