//! Plans on probation: begun, confirmed, rolled back. What becomes of which plan is decided in
//! `evenkeel_host::probation`; here it is carried out.
//!
//! A probation is on the disk before its plan touches anything, a confirmation before it is acknowledged; a
//! rollback is done first and written then, since the record on the disk leads to it anyway. While
//! something is written that decides (`desk`), plans and requests wait.

mod looks;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_health::Verdict;
use evenkeel_kernel::clock;
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::Probation as Policy;
use evenkeel_schemas::status::RouterState;
use evenkeel_schemas::time::MonoTime;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::Daemon;
use super::desk::{NotWritten, Then};
use crate::api::server::OrderError;
use crate::api::status;
use crate::source::directory::Loaded;
use crate::state::disk::{Content, File};
use crate::system::files;
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::orders::Refusal;
use evenkeel_host::probation::{
    self, Answer, Baseline, Moment, Next, Record, Request, RolledBack, Start, Told, Trial, short,
};
use evenkeel_host::verdicts::{self, Verdicts};

/// Time between two looks at what a confirmation by checks waits for.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long a start waits for the disk: a lease that an earlier daemon left goes on meanwhile.
pub(super) const FIRST_WRITE: Duration = Duration::from_millis(500);
/// Time until what could not be written is tried again.
const WRITE_PAUSE: Duration = Duration::from_secs(5);
pub(super) type Reply = oneshot::Sender<Result<Answer, OrderError>>;

/// The plan before, read again after a restart.
pub(super) type Before = Option<Box<LoadedPlan>>;

/// A probation at the desk.
pub(super) struct Begins {
    loaded: Box<LoadedPlan>,
    before: Arc<LoadedPlan>,
    record: Box<Record>,
}

/// A confirmation at the desk.
pub(super) struct Confirms {
    by: &'static str,
    reply: Option<Reply>,
}

/// What the daemon knows of probations.
pub(super) struct Probation {
    record: Record,
    /// Whether the record was damaged when the daemon started.
    damaged: bool,
    /// The plan that the one on probation goes back to, once it is there.
    before: Option<Arc<LoadedPlan>>,
    deadline: MonoTime,
    /// When the plan on probation was put in force by this daemon.
    since: MonoTime,
    /// Since when all is as well as before, for a confirmation by checks.
    well_since: Option<MonoTime>,
    look_at: MonoTime,
    /// A plan that could not be put on probation yet.
    again: Option<(MonoTime, Box<LoadedPlan>)>,
    befores: mpsc::Sender<Before>,
}

impl Probation {
    /// `record` as it was found, none when it was damaged.
    pub(super) fn new(record: Option<Record>, befores: mpsc::Sender<Before>) -> Self {
        Self {
            damaged: record.is_none(),
            record: record.unwrap_or_default(),
            before: None,
            deadline: MonoTime::ZERO,
            since: MonoTime::ZERO,
            well_since: None,
            look_at: MonoTime::ZERO,
            again: None,
            befores,
        }
    }

    /// When [`Daemon::probation_due`] has something to do.
    pub(super) fn due(&self) -> Option<MonoTime> {
        // Without the plan before there is nothing to go back to yet.
        let trial = self.record.trial.as_ref().filter(|_| self.before.is_some());
        let trial = trial.map(|trial| match trial.confirm {
            Confirm::Operator => self.deadline,
            Confirm::Checks => self.deadline.min(self.look_at),
        });
        let again = self.again.as_ref().map(|(at, _)| *at);
        [trial, again].into_iter().flatten().min()
    }

    /// Another plan comes: one that waits to be tried again is forgotten.
    pub(super) fn comes(&mut self) {
        self.again = None;
    }

    const fn on_trial(&self) -> bool {
        self.record.trial.is_some()
    }

    /// A probation begins or goes on.
    fn run(&mut self, before: Option<Arc<LoadedPlan>>, deadline: MonoTime) {
        self.before = before;
        self.deadline = deadline;
        self.since = clock::now();
        self.well_since = None;
        self.look_at = self.since;
    }
}

/// The clocks now.
fn moment() -> Moment {
    let boot = files::kernel_line(Path::new("/proc/sys/kernel/random/boot_id"));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { now: clock::now(), boot, wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

fn down(baseline: &Baseline) -> Verdicts {
    baseline.down.iter().map(|key| (*key, Verdict::Down)).collect()
}

impl Daemon {
    /// The plan to begin with, whether it is the last good one, and the verdicts until now when the kernel
    /// does not tell them.
    pub(super) fn first_choice(&mut self, read: Loaded) -> Option<(LoadedPlan, bool, Option<Verdicts>)> {
        let (now, at) = (moment(), status::wall(clock::now()));
        let kept = self.state.last_good_generation(&self.options.host);
        let file = read.as_ref().ok();
        let file = file.map(|loaded| (loaded.generation.to_string(), loaded.plan.policy.probation.is_some()));
        let record = (!self.probation.damaged).then_some(&self.probation.record);
        let start = probation::start(record, file.as_ref(), kept.as_deref(), &now, &at);
        let trial = self.probation.record.trial.take();
        let known = trial.as_ref().map(|trial| down(&trial.baseline));
        let loaded = match (start, read) {
            (Start::File, Ok(loaded)) => {
                self.write_first(Record::default());
                return Some((loaded, false, None));
            }
            (Start::OnProbation(trial), Ok(loaded)) => return Some(self.go_on(trial, loaded, &now)),
            (Start::NothingBefore, Ok(loaded)) => return Some(self.nothing_before(loaded)),
            (Start::Back(back), read) => {
                warn!("generation {} is rolled back: {}", short(&back.generation), back.why);
                self.write_first(Record { trial: None, rolled_back: Some(back.clone()) });
                self.reject(&back.refusal());
                read.ok()
            }
            (Start::LastGood, Ok(loaded)) => {
                self.write_first(Record::default());
                Some(loaded)
            }
            (_, Err(why)) => {
                let rolled_back = self.probation.record.rolled_back.take();
                self.write_first(Record { trial: None, rolled_back });
                self.reject(&why.to_string());
                None
            }
        };
        match (self.state.last_good(&self.options.host), loaded) {
            (Some(kept), _) => {
                warn!("the last good plan, generation {}, is put in force", kept.generation.short());
                Some((kept, true, known))
            }
            (None, Some(loaded)) => Some(self.nothing_before(loaded)),
            (None, None) => {
                warn!("there is no plan to obey yet: waiting for {}", self.file().display());
                None
            }
        }
    }

    fn go_on(
        &mut self,
        trial: Trial,
        loaded: LoadedPlan,
        now: &Moment,
    ) -> (LoadedPlan, bool, Option<Verdicts>) {
        let deadline = trial.deadline(now);
        info!(
            "generation {} is on probation still, until {}",
            loaded.generation.short(),
            status::wall(deadline)
        );
        self.write_first(Record { trial: Some(trial), rolled_back: None });
        self.probation.run(None, deadline);
        let (state, host) = (Arc::clone(&self.state), self.options.host.clone());
        let befores = self.probation.befores.clone();
        tokio::task::spawn_blocking(move || befores.blocking_send(state.last_good(&host).map(Box::new)).ok());
        (loaded, false, None)
    }

    fn nothing_before(&mut self, loaded: LoadedPlan) -> (LoadedPlan, bool, Option<Verdicts>) {
        error!(
            "generation {} was not confirmed, but there is no last good plan to go back to: it is put in force",
            loaded.generation.short()
        );
        self.facts.rejected = None;
        self.write_first(Record::default());
        (loaded, false, None)
    }

    /// What is known of probations.
    pub(super) const fn record(&self) -> &Record {
        &self.probation.record
    }

    /// Has the record written before anything is made of a plan, if the disk answers.
    fn write_first(&mut self, record: Record) {
        self.write(record);
        self.disk.wait(File::Probation, FIRST_WRITE);
    }

    fn write(&mut self, record: Record) {
        self.probation.record = record;
        self.disk.keep(Content::Probation(Box::new(self.probation.record.clone())));
    }

    /// Keeps the plan in force as the last good one.
    pub(super) fn keep(&self, loaded: Arc<LoadedPlan>) {
        self.disk.keep(Content::LastGood(loaded));
    }

    /// Takes a plan that differs from the one in force.
    pub(super) async fn changed_plan(&mut self, loaded: LoadedPlan) {
        let generation = loaded.generation.to_string();
        let confirmed = match (&self.probation.record.trial, &self.facts.in_force) {
            (Some(trial), _) => Some(trial.before.clone()),
            (None, in_force) => in_force.as_ref().map(|in_force| in_force.loaded.generation.to_string()),
        };
        match probation::next(&self.probation.record, &generation, &loaded.plan, confirmed.as_deref()) {
            Next::Refused(why) => self.reject(&why),
            Next::Take => {
                self.facts.rejected = None;
                let known = match self.probation.record.trial.take() {
                    Some(trial) => {
                        let over = short(&trial.generation);
                        info!(
                            "the probation of generation {over} is over: generation {} comes",
                            short(&generation)
                        );
                        if trial.before == generation {
                            self.as_before(&loaded, &trial.baseline)
                        } else {
                            self.known()
                        }
                    }
                    None => self.known(),
                };
                self.adopt(loaded, false, &known);
                self.forget_probation();
            }
            Next::Probation(policy) => self.begin(loaded, &policy).await,
        }
    }

    /// The verdicts under the plan in force.
    fn known(&self) -> Verdicts {
        self.facts.plan().map(|loaded| verdicts::in_force(&loaded.plan, &self.board)).unwrap_or_default()
    }

    /// The verdicts with which the plan before goes on: what its own checks found since, and else what they
    /// had found before. What the checks of the plan on probation found says nothing about it.
    fn as_before(&self, before: &LoadedPlan, baseline: &Baseline) -> Verdicts {
        let mut known = down(baseline);
        known.extend(verdicts::in_force(&before.plan, &self.board));
        known
    }

    /// The file has the plan in force: what was rolled back before may come again.
    pub(super) fn forget_rolled_back(&mut self) {
        if !self.on_trial() && self.probation.record != Record::default() {
            self.forget_probation();
        }
    }

    fn forget_probation(&mut self) {
        self.probation.before = None;
        self.write(Record::default());
    }

    pub(super) const fn on_trial(&self) -> bool {
        self.probation.on_trial()
    }

    async fn begin(&mut self, loaded: LoadedPlan, policy: &Policy) {
        let further = self.probation.record.trial.as_ref();
        let (before, baseline) = match (further, self.probation.before.clone(), self.facts.plan()) {
            (Some(trial), Some(before), _) => (before, trial.baseline.clone()),
            (Some(_), None, _) => {
                // It is being read: after a restart.
                self.probation.again = Some((clock::now() + LOOK_PAUSE, Box::new(loaded)));
                return;
            }
            (None, _, Some(in_force)) => (in_force, self.baseline().await),
            (None, _, None) => return,
        };
        let trial = Trial::new(
            loaded.generation.to_string(),
            before.generation.to_string(),
            policy,
            baseline,
            status::wall(clock::now()),
            &moment(),
        );
        let record = Box::new(Record { trial: Some(trial), rolled_back: None });
        let content = Content::Trial(Arc::clone(&before), record.clone());
        self.persist(content, Then::Trial(Begins { loaded: Box::new(loaded), before, record }));
    }

    async fn baseline(&self) -> Baseline {
        let down = self.known().into_iter().filter(|(_, verdict)| *verdict == Verdict::Down);
        let plan = self.facts.plan();
        let routers = if self.started {
            let snapshot = self.ask_election().await;
            let takes_part = snapshot.routers.into_iter().filter(|r| r.state != RouterState::Initialize);
            takes_part.map(|router| router.name).collect()
        } else {
            // Nobody has started yet: all of them are meant to.
            plan.iter().flat_map(|loaded| &loaded.plan.routers).map(|router| router.name.clone()).collect()
        };
        let lacking = self.facts.last.as_ref().map(|last| last.lacking.clone()).unwrap_or_default();
        Baseline { down: down.map(|(key, _)| key).collect(), routers, lacking }
    }

    /// A rollback is on the disk, or could not be written yet.
    pub(super) fn rolled_back_written(&self, reply: Reply, result: Result<(), NotWritten>) {
        let answer = result.map(|()| self.done()).map_err(|error| {
            OrderError::NotKept(format!(
                "the plan before is in force, but that cannot be written, and a restart now could bring the other one back: \
                 {error}"
            ))
        });
        reply.send(answer).ok();
    }

    fn done(&self) -> Answer {
        let generation = self.facts.plan().map(|loaded| loaded.generation.to_string()).unwrap_or_default();
        Answer { generation, already: false }
    }

    /// A probation is on the disk, or could not be written.
    pub(super) fn began(&mut self, begins: Begins, result: Result<(), NotWritten>) {
        let Begins { loaded, before, record } = begins;
        if let Err(error) = result {
            self.reject(&format!(
                "its probation cannot be written, and is tried again: state directory: {error}"
            ));
            self.probation.again = Some((clock::now() + WRITE_PAUSE, loaded));
            return;
        }
        let Some(trial) = &record.trial else { return };
        let deadline = trial.deadline(&moment());
        let (until, back) = (status::wall(deadline), before.generation.short().to_owned());
        self.facts.rejected = None;
        self.probation.record = *record;
        self.probation.run(Some(before), deadline);
        let known = self.known();
        info!("generation {} is on probation until {until}, then back to {back}", loaded.generation.short());
        self.adopt(*loaded, false, &known);
    }

    /// The plan that the one on probation goes back to was read after a restart.
    pub(super) fn read_before(&mut self, before: Before) {
        self.understand_before(before);
        self.next_request();
    }

    /// Whether that plan is still being read.
    pub(super) const fn is_loading_before(&self) -> bool {
        self.on_trial() && self.probation.before.is_none()
    }

    fn understand_before(&mut self, before: Before) {
        let Some(trial) = &self.probation.record.trial else { return };
        match before {
            Some(before) => self.probation.before = Some(Arc::new(*before)),
            None => {
                error!(
                    "the probation of generation {} is over: the plan before cannot be read, so there is nothing to go \
                     back to",
                    short(&trial.generation)
                );
                self.forget_probation();
                if let Some(loaded) = self.facts.plan() {
                    self.keep(loaded);
                }
            }
        }
    }

    /// Carries a request out, or refuses it.
    pub(super) fn told(&mut self, request: Request, reply: Reply) {
        let in_force = self.facts.plan().map(|loaded| loaded.generation.to_string());
        match probation::told(&request, &self.probation.record, in_force.as_deref()) {
            Ok(Told::Confirm) => self.confirm("an operator", Some(reply)),
            Ok(Told::Rollback) => self.roll_back("an operator said so", Some(reply)),
            Ok(Told::Already(generation)) => drop(reply.send(Ok(Answer { generation, already: true }))),
            Err(why) => drop(reply.send(Err(OrderError::Refused(Refusal::NotNow(why))))),
        }
    }

    fn confirm(&mut self, by: &'static str, reply: Option<Reply>) {
        let Some(loaded) = self.facts.plan() else { return };
        // That the last good plan is the one on probation says that it was confirmed.
        self.persist(Content::LastGood(loaded), Then::Confirmed(Confirms { by, reply }));
    }

    /// The plan on probation is the last good one now, or could not be written.
    pub(super) fn confirmed(&mut self, confirms: Confirms, result: Result<(), NotWritten>) {
        let Confirms { by, reply } = confirms;
        if let Err(error) = result {
            error!("the plan cannot be kept as the last good one and is not confirmed: {error}");
            self.probation.look_at = clock::now() + WRITE_PAUSE;
            if let Some(reply) = reply {
                reply.send(Err(OrderError::NotKept(format!("not confirmed: {error}")))).ok();
            }
            return;
        }
        let answer = self.done();
        info!("generation {} is confirmed by {by}", short(&answer.generation));
        self.forget_probation();
        if let Some(reply) = reply {
            reply.send(Ok(answer)).ok();
        }
    }

    fn roll_back(&mut self, why: &str, reply: Option<Reply>) {
        let (Some(before), Some(trial)) = (self.probation.before.take(), self.probation.record.trial.take())
        else {
            return;
        };
        let back =
            RolledBack { generation: trial.generation, at: status::wall(clock::now()), why: why.to_owned() };
        warn!(
            "generation {} is rolled back to {}: {why}",
            short(&back.generation),
            before.generation.short()
        );
        let known = self.as_before(&before, &trial.baseline);
        let refusal = back.refusal();
        self.adopt(before, true, &known);
        self.reject(&refusal);
        let record = Record { trial: None, rolled_back: Some(back) };
        match reply {
            None => self.write(record),
            Some(reply) => {
                self.probation.record = record.clone();
                self.persist(Content::Probation(Box::new(record)), Then::RolledBack(reply));
            }
        }
    }

    /// Something is due: the deadline, a look at what is waited for, a plan or a record that is tried
    /// again.
    pub(super) async fn probation_due(&mut self) {
        let now = clock::now();
        if let Some((_, loaded)) = self.probation.again.take_if(|(at, _)| *at <= now) {
            self.read(Ok(*loaded)).await;
        }
        let Some(trial) = &self.probation.record.trial else { return };
        if self.desk.is_busy() || self.probation.before.is_none() {
            return;
        }
        if now >= self.probation.deadline {
            let why = probation::late(trial);
            self.roll_back(&why, None);
        } else if trial.confirm == Confirm::Checks && now >= self.probation.look_at {
            self.look_at_checks(now).await;
        }
    }
}
