//! The daemon's main loop: everything meets here, nothing is decided here.
//!
//! ```text
//!   source ---plan---> board of checks ---> desired ---> convergence thread
//!                 |         ^                                 | reports
//!                 |       probes                              v
//!                 +---------------------------> routers ---> election thread
//! ```
//!
//! One task owns all state; the threads and probes speak to it through bounded channels. Nothing here
//! waits for a disk or for long: what may take time runs on the runtime's blocking threads.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Desired, Kind, Ledger, desired};
use evenkeel_health::{Board, Change, Outcome, Verdict};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Check, Plan};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ObjectText, OperationRecord, Rejected, RouterState};
use evenkeel_schemas::time::MonoTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::converger::{Converger, Report, Wanted};
use crate::election::{Command, Election, ElectionSnapshot, Notice, RouterSetup, Scheduling};
use crate::guard::{Guardian, Lease};
use crate::plan_file::{self, LoadedPlan};
use crate::server::{Server, StatusRequest};
use crate::source::{self, Loaded};
use crate::state::StateDir;
use crate::verdicts::{self, Verdicts};
use crate::{drift, handover, probe, report};

/// Places in the channels from the threads.
const CHANNEL: usize = 1024;
/// Operations remembered for status.
const MAX_RECENT: usize = 64;
/// Operations of one pass that are logged one by one.
const MAX_LOGGED: usize = 100;
/// Probes under way at a time.
const MAX_PROBES: usize = 1024;
/// Least time between two starts of a guardian.
const GUARDIAN_PAUSE: Duration = Duration::from_secs(1);
/// How long verdicts are collected before they are passed on together.
const VERDICT_PAUSE: Duration = Duration::from_millis(20);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) plan: PathBuf,
    pub(crate) host: Name,
    pub(crate) state_dir: PathBuf,
    pub(crate) socket: PathBuf,
}

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
}

/// The plan in force.
pub(crate) struct InForce {
    pub(crate) loaded: Arc<LoadedPlan>,
    pub(crate) since: String,
    pub(crate) from_last_good: bool,
}

struct Channels {
    plans: mpsc::Receiver<Box<Loaded>>,
    reports: mpsc::Receiver<Report>,
    notices: mpsc::Receiver<Notice>,
    outcomes: mpsc::Receiver<(Check, Outcome)>,
    guardians: mpsc::Receiver<std::io::Result<Guardian>>,
    requests: mpsc::Receiver<StatusRequest>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let handler = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hangup: handler(SignalKind::hangup())?,
        })
    }
}

struct Daemon {
    options: Options,
    state: Arc<StateDir>,
    converger: Converger,
    election: Election,
    board: Board,
    facts: Facts,
    /// Serial of the last wanted state.
    serial: u64,
    /// Serial of the first wanted state of the plan in force.
    plan_serial: u64,
    /// The routers that the election has.
    routers: Vec<RouterSetup>,
    /// Routers to be configured once they can be served.
    pending: Option<Vec<RouterSetup>>,
    started: bool,
    /// When changed verdicts are passed on.
    verdicts_at: Option<MonoTime>,
    guardian_at: Option<MonoTime>,
    outcomes: mpsc::Sender<(Check, Outcome)>,
    guardians: mpsc::Sender<std::io::Result<Guardian>>,
    probes: Arc<Semaphore>,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// What keeps the daemon from running at all: a sentence for people.
pub(crate) async fn run(options: Options) -> Result<(), String> {
    let signals = Signals::new()?;
    let state = Arc::new(StateDir::open(&options.state_dir).map_err(|error| error.to_string())?);
    let ledger = state.ledger_or_put_aside().map_err(|error| error.to_string())?;
    let server = Server::bind(&options.socket).map_err(|error| error.to_string())?;
    let (guardian, leases) = Guardian::connect(state.path()).map_err(|error| format!("guardian: {error}"))?;
    let (report_tx, reports) = mpsc::channel(CHANNEL);
    let (notice_tx, notices) = mpsc::channel(CHANNEL);
    let (outcome_tx, outcomes) = mpsc::channel(CHANNEL);
    let (guardian_tx, guardians) = mpsc::channel(1);
    let (request_tx, requests) = mpsc::channel(16);
    let (look, looks) = mpsc::channel(1);
    let converger = Converger::start(Arc::clone(&state), ledger.clone(), report_tx)
        .map_err(|error| format!("convergence: {error}"))?;
    let election = Election::start(guardian, leases.clone(), Scheduling::default(), notice_tx)
        .map_err(|error| format!("election: {error}"))?;
    info!(host = %options.host, plan = %options.plan.display(), "evenkeeld {} started", env!("CARGO_PKG_VERSION"));
    let mut daemon = Daemon {
        options: options.clone(),
        state,
        converger,
        election,
        board: Board::new(),
        facts: Facts::new(),
        serial: 0,
        plan_serial: 0,
        routers: Vec::new(),
        pending: None,
        started: false,
        verdicts_at: None,
        guardian_at: None,
        outcomes: outcome_tx,
        guardians: guardian_tx,
        probes: Arc::new(Semaphore::new(MAX_PROBES)),
    };
    daemon.first_plan(&leases, &ledger);
    drift::watch(daemon.converger.mailbox().clone());
    let plans = source::watch(options.plan, options.host, looks);
    let mut channels = Channels { plans, reports, notices, outcomes, guardians, requests };
    let result = tokio::select! {
        result = daemon.serve(&mut channels, signals, look) => result,
        () = server.serve(request_tx) => Ok(()),
    };
    daemon.stop(channels, result)
}

impl Facts {
    fn new() -> Self {
        Self {
            started: clock::now(),
            in_force: None,
            rejected: None,
            passes: 0,
            operations: 0,
            last: None,
            recent: VecDeque::new(),
            foreign: Vec::new(),
        }
    }

    fn record(&mut self, operation: String) {
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(OperationRecord { at: report::wall(clock::now()), operation });
    }

    fn plan(&self) -> Option<Arc<LoadedPlan>> {
        self.in_force.as_ref().map(|in_force| Arc::clone(&in_force.loaded))
    }
}

impl Daemon {
    async fn serve(
        &mut self,
        channels: &mut Channels,
        mut signals: Signals,
        look: mpsc::Sender<()>,
    ) -> Result<(), String> {
        loop {
            let probes_in = self.board.poll_timeout().map(in_from_now);
            let verdicts_in = self.verdicts_at.map(in_from_now);
            let guardian_in = self.guardian_at.map(in_from_now);
            tokio::select! {
                Some(loaded) = channels.plans.recv() => self.read(*loaded),
                _ = signals.hangup.recv() => drop(look.try_send(())),
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                report = channels.reports.recv() => {
                    self.passed(report.ok_or("the convergence thread ended")?);
                }
                notice = channels.notices.recv() => self.noticed(notice.ok_or("the election thread ended")?),
                Some((check, outcome)) = channels.outcomes.recv() => self.probed(&check, outcome),
                Some(request) = channels.requests.recv() => self.answer(request).await,
                Some(guardian) = channels.guardians.recv() => self.guardian_started(guardian),
                () = sleep_some(probes_in) => self.start_probes(),
                () = sleep_some(verdicts_in) => self.want(&[Kind::Ipvs]),
                () = sleep_some(guardian_in) => self.start_guardian(),
            }
        }
    }

    fn stop(mut self, mut channels: Channels, result: Result<(), String>) -> Result<(), String> {
        // VIPs first; what stays in the kernel serves until the next start or `evenkeeld cleanup`.
        let (election, next) = (self.election, Facts::new());
        let left = election.stop();
        let mut facts = std::mem::replace(&mut self.facts, next);
        while let Ok(notice) = channels.notices.try_recv() {
            log_notice(&notice, &mut facts);
        }
        drop(channels);
        let in_order = self.converger.stop();
        result?;
        left?;
        if in_order {
            info!("stopped; VIPs are released, addresses, routes, settings and IPVS stay as they are");
            Ok(())
        } else {
            Err("the convergence thread ended with a panic".to_owned())
        }
    }

    fn file(&self) -> PathBuf {
        plan_file::plan_path(&self.options.plan, &self.options.host)
    }

    /// The first plan: the file, or else the last good one. Routers that an earlier daemon was Master
    /// of until just now cannot wait: all that they serve is in the kernel still.
    fn first_plan(&mut self, leases: &[Lease], ledger: &Ledger) {
        let (loaded, from_last_good) = match plan_file::load(&self.file(), &self.options.host) {
            Ok(loaded) => (loaded, false),
            Err(why) => {
                self.reject(&why.to_string());
                match self.state.last_good(&self.options.host) {
                    Some(loaded) => {
                        warn!(
                            "the last good plan, generation {}, is put in force",
                            loaded.generation.short()
                        );
                        (loaded, true)
                    }
                    None => {
                        warn!("there is no plan to obey yet: waiting for {}", self.file().display());
                        return;
                    }
                }
            }
        };
        if !leases.is_empty() {
            self.configure(setups(&loaded));
        }
        let known = verdicts::left_behind(&loaded.plan, ledger);
        self.adopt(loaded, from_last_good, &known);
    }

    fn read(&mut self, loaded: Loaded) {
        match loaded {
            Ok(loaded) => {
                self.facts.rejected = None;
                if let Some(in_force) = &mut self.facts.in_force
                    && in_force.loaded.bytes == loaded.bytes
                    && in_force.loaded.secrets == loaded.secrets
                {
                    in_force.from_last_good = false;
                    return;
                }
                let known = match self.facts.plan() {
                    Some(before) => verdicts::in_force(&before.plan, &self.board),
                    None => Verdicts::new(),
                };
                self.adopt(loaded, false, &known);
            }
            Err(why) => self.reject(&why.to_string()),
        }
    }

    fn reject(&mut self, reason: &str) {
        if self.facts.rejected.as_ref().is_some_and(|before| before.reason == reason) {
            return;
        }
        let stays = self.facts.in_force.as_ref().map_or("no plan is in force".to_owned(), |in_force| {
            format!("generation {} stays in force", in_force.loaded.generation.short())
        });
        error!("plan refused: {reason}; {stays}");
        let at = report::wall(clock::now());
        self.facts.rejected = Some(Rejected { at, reason: reason.to_owned() });
    }

    /// Puts a plan in force; `known` are the verdicts until now.
    fn adopt(&mut self, loaded: LoadedPlan, from_last_good: bool, known: &Verdicts) {
        let loaded = Arc::new(loaded);
        if !from_last_good {
            let (state, loaded) = (Arc::clone(&self.state), Arc::clone(&loaded));
            tokio::task::spawn_blocking(move || {
                if let Err(error) = state.save_last_good(&loaded) {
                    warn!("cannot keep the plan as the last good one: {error}");
                }
            });
        }
        let plan = &loaded.plan;
        let initial = verdicts::by_check(plan, known);
        let checks: BTreeSet<Check> = verdicts::checks(plan).map(|(_, _, check)| check.clone()).collect();
        let initial = |check: &Check| initial.get(check).copied().unwrap_or(Verdict::Up);
        self.board.configure(checks, initial, clock::now());
        let (routers, virtual_servers) = (plan.routers.len(), plan.virtual_servers.len());
        info!(generation = loaded.generation.short(), routers, virtual_servers, "plan is in force");
        let next = setups(&loaded);
        if let Some(staying) = handover::without_leaving(&self.routers, &next) {
            self.configure(staying);
        }
        let since = report::wall(clock::now());
        self.facts.in_force = Some(InForce { loaded, since, from_last_good });
        self.pending = Some(next);
        self.want(&Kind::ALL);
        self.plan_serial = self.serial;
    }

    fn configure(&mut self, setups: Vec<RouterSetup>) {
        self.routers.clone_from(&setups);
        self.election.send(Command::Configure(setups));
    }

    /// Tells the convergence thread what is wanted now.
    fn want(&mut self, kinds: &[Kind]) {
        self.verdicts_at = None;
        let Some(loaded) = self.facts.plan() else { return };
        let plan: &Plan = &loaded.plan;
        let verdicts = verdicts::in_force(plan, &self.board);
        let mut desired: Desired = desired(plan, |service, destination| {
            verdicts.get(&(*service, *destination)) != Some(&Verdict::Down)
        });
        // VIPs of the plan before are the election's until it has the new one.
        desired.vips.extend(handover::vips(&self.routers));
        self.serial += 1;
        let wanted = Wanted { serial: self.serial, desired, resync: plan.policy.resync.as_duration() };
        self.converger.mailbox().want(wanted, kinds);
    }

    fn passed(&mut self, report: Report) {
        self.facts.passes += 1;
        self.log_done(&report);
        let before = self.facts.last.as_ref().map(|last| last.errors.as_slice()).unwrap_or_default();
        for error in report.errors.iter().filter(|error| !before.contains(error)) {
            error!("cannot {}: {}", error.operation, error.reason);
        }
        let first_failure = before.is_empty();
        if let Some(foreign) = &report.pass.foreign {
            self.facts.foreign.clone_from(foreign);
        }
        if report.serial >= self.plan_serial {
            // Before the start a router announces nothing, and status shows why.
            let early = report.converged || !self.started;
            let ready = |next: &mut Vec<RouterSetup>| early || !handover::comes(&self.routers, next);
            if let Some(next) = self.pending.take_if(ready) {
                debug!("the election gets its routers");
                let left = handover::vips(&self.routers) != handover::vips(&next);
                self.configure(next);
                if left {
                    self.want(&[Kind::Addresses]);
                }
            }
            if !self.started {
                self.started = report.converged;
                if report.converged {
                    self.election.send(Command::Start);
                } else if first_failure && self.facts.plan().is_some_and(|p| !p.plan.routers.is_empty()) {
                    warn!("no part in the election until everything but the VIPs is in the kernel");
                }
            }
        }
        self.facts.last = Some(report);
    }

    fn log_done(&mut self, report: &Report) {
        let done = &report.pass.done;
        self.facts.operations += done.len() as u64;
        if done.len() > MAX_LOGGED {
            info!("{} operations done in {:?}", done.len(), report.pass.took);
        }
        for op in done.iter().skip(done.len().saturating_sub(MAX_LOGGED)) {
            if done.len() <= MAX_LOGGED {
                info!("{op}");
            }
            self.facts.record(op.to_string());
        }
    }

    fn noticed(&mut self, notice: Notice) {
        log_notice(&notice, &mut self.facts);
        if matches!(notice, Notice::GuardianLost) && self.guardian_at.is_none() {
            warn!("the guardian is gone: starting another");
            self.guardian_at = Some(clock::now() + GUARDIAN_PAUSE);
        }
    }

    fn start_guardian(&mut self) {
        // Until the answer comes: a start takes a few seconds at most.
        self.guardian_at = Some(clock::now() + Duration::from_secs(60));
        let (state, guardians) = (Arc::clone(&self.state), self.guardians.clone());
        tokio::task::spawn_blocking(move || {
            let started = Guardian::connect(state.path()).map(|(guardian, _)| guardian);
            guardians.blocking_send(started).ok();
        });
    }

    fn guardian_started(&mut self, guardian: std::io::Result<Guardian>) {
        match guardian {
            Ok(guardian) => {
                self.guardian_at = None;
                self.election.send(Command::Guardian(guardian));
            }
            Err(error) => {
                error!("guardian: {error}");
                self.guardian_at = Some(clock::now() + GUARDIAN_PAUSE);
            }
        }
    }

    fn start_probes(&mut self) {
        let (probes, changes) = self.board.start(clock::now());
        for check in probes {
            let (outcomes, places) = (self.outcomes.clone(), Arc::clone(&self.probes));
            tokio::spawn(async move {
                let Ok(_place) = places.acquire_owned().await else { return };
                let outcome = probe::run(&check).await;
                outcomes.send((check, outcome)).await.ok();
            });
        }
        self.changed(&changes);
    }

    fn probed(&mut self, check: &Check, outcome: Outcome) {
        if let Outcome::Inconclusive(why) = &outcome {
            warn!("{why}");
        }
        let change = self.board.finish(check, outcome, clock::now());
        self.changed(change.as_slice());
    }

    fn changed(&mut self, changes: &[Change]) {
        for change in changes {
            let Check::Tcp { address, port, .. } = &change.check;
            match change.verdict {
                Verdict::Up => info!("check of {address}:{port} succeeded: destination returns"),
                Verdict::Down => {
                    warn!("check of {address}:{port} failed: {}; destination is taken out", change.reason);
                }
            }
        }
        if !changes.is_empty() && self.verdicts_at.is_none() {
            self.verdicts_at = Some(clock::now() + VERDICT_PAUSE);
        }
    }

    async fn answer(&mut self, request: StatusRequest) {
        let (reply, snapshot) = tokio::sync::oneshot::channel();
        self.election.send(Command::Snapshot(reply));
        let snapshot: ElectionSnapshot = snapshot.await.unwrap_or_default();
        let path = self.file();
        let status = report::status(&self.options.host, &path, &self.facts, &self.board, snapshot);
        request.send(status).ok();
    }
}

fn setups(loaded: &LoadedPlan) -> Vec<RouterSetup> {
    let routers = loaded.plan.routers.iter();
    routers.filter_map(|router| RouterSetup::new(router, loaded.secrets.get(&router.name).copied())).collect()
}

fn log_notice(notice: &Notice, facts: &mut Facts) {
    match notice {
        Notice::State { router, to, why, fault, .. } => {
            info!("({router}) {why}");
            match to {
                RouterState::Initialize if *fault => warn!("({router}) Entering FAULT STATE"),
                RouterState::Initialize => info!("({router}) sent 0 priority, stopped"),
                RouterState::Backup => info!("({router}) Entering BACKUP STATE"),
                RouterState::Master => info!("({router}) Entering MASTER STATE"),
            }
        }
        Notice::Router { router, text } => warn!("({router}) {text}"),
        Notice::Done(operations) => {
            for operation in operations {
                info!("{operation}");
                facts.operations += 1;
                facts.record(operation.clone());
            }
        }
        Notice::Problem(text) => error!("{text}"),
        Notice::GuardianLost => {}
    }
}

fn in_from_now(at: MonoTime) -> Duration {
    clock::now().until(at)
}

async fn sleep_some(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}
