//! The daemon's main loop: everything meets here, nothing is decided here.
//!
//! ```text
//!   plan file ---> load ---> verdicts' board ---> desired ---> convergence thread
//!                    |             ^                                 | passes
//!                    |          probes                               v
//!                    +----------------------------> routers ---> election thread
//! ```
//!
//! One task owns all state; the threads and probes speak to it through bounded channels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{AddressKey, Desired, DestinationKey, Kind, ServiceKey, desired};
use evenkeel_health::{Board, Change, Outcome, Verdict};
use evenkeel_kernel::{Kernel, Scope, clock};
use evenkeel_schemas::plan::{Check, Destination, Plan, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{
    ConvergenceError, ObjectText, OperationRecord, Rejected, RouterState, Status,
};
use evenkeel_schemas::time::MonoTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::converger::{Converger, Message, Pass, Wanted};
use crate::drift;
use crate::election::{Command, Election, Notice, RouterSetup};
use crate::guard::{Guardian, Lease};
use crate::plan_file::{self, LoadedPlan};
use crate::probe;
use crate::report;
use crate::server::{Server, StatusRequest};
use crate::source;
use crate::state::StateDir;

/// Places in the channels from the threads.
const CHANNEL: usize = 1024;
/// Operations remembered for status.
const MAX_RECENT: usize = 64;
/// Least time between two starts of a guardian.
const GUARDIAN_PAUSE: Duration = Duration::from_secs(1);

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
    pub(crate) last_pass: Option<Pass>,
    pub(crate) recent: VecDeque<OperationRecord>,
    pub(crate) foreign: Vec<ObjectText>,
    pub(crate) errors: Vec<ConvergenceError>,
}

/// The plan in force.
pub(crate) struct InForce {
    pub(crate) loaded: LoadedPlan,
    pub(crate) since: String,
    pub(crate) from_last_good: bool,
}

struct Channels {
    passes: mpsc::Receiver<Pass>,
    notices: mpsc::Receiver<Notice>,
    outcomes: mpsc::Receiver<(Check, Outcome)>,
    requests: mpsc::Receiver<StatusRequest>,
}

struct Daemon {
    options: Options,
    state: Arc<StateDir>,
    converger: Converger,
    election: Election,
    board: Board,
    facts: Facts,
    serial: u64,
    /// Routers to be configured once the pass of this serial is over.
    pending: Option<(u64, Vec<RouterSetup>)>,
    /// VIPs that the election holds until it is configured anew.
    election_vips: BTreeSet<AddressKey>,
    election_started: bool,
    outcomes: mpsc::Sender<(Check, Outcome)>,
    guardian_at: Option<MonoTime>,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// What keeps the daemon from running at all: a sentence for people.
pub(crate) async fn run(options: Options) -> Result<(), String> {
    let state = Arc::new(StateDir::open(&options.state_dir).map_err(|error| error.to_string())?);
    let server = Server::bind(&options.socket).map_err(|error| error.to_string())?;
    let (guardian, leases) = Guardian::connect(state.path()).map_err(|error| format!("guardian: {error}"))?;
    let (pass_tx, passes) = mpsc::channel(CHANNEL);
    let (notice_tx, notices) = mpsc::channel(CHANNEL);
    let (outcome_tx, outcomes) = mpsc::channel(CHANNEL);
    let (request_tx, requests) = mpsc::channel(16);
    let converger =
        Converger::start(Arc::clone(&state), pass_tx).map_err(|error| format!("convergence: {error}"))?;
    let election =
        Election::start(guardian, leases.clone(), notice_tx).map_err(|error| format!("election: {error}"))?;
    info!(host = %options.host, plan = %options.plan.display(), "evenkeeld {} started", env!("CARGO_PKG_VERSION"));
    let mut daemon = Daemon {
        options,
        state,
        converger,
        election,
        board: Board::new(),
        facts: Facts::new(),
        serial: 0,
        pending: None,
        election_vips: BTreeSet::new(),
        election_started: false,
        outcomes: outcome_tx,
        guardian_at: None,
    };
    daemon.first_plan(&leases);
    let channels = Channels { passes, notices, outcomes, requests };
    let result = tokio::select! {
        result = daemon.serve(channels) => result,
        () = server.serve(request_tx) => Ok(()),
    };
    daemon.stop(result)
}

impl Facts {
    fn new() -> Self {
        Self {
            started: clock::now(),
            in_force: None,
            rejected: None,
            passes: 0,
            operations: 0,
            last_pass: None,
            recent: VecDeque::new(),
            foreign: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn record(&mut self, operation: String) {
        self.operations += 1;
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(OperationRecord { at: report::wall(clock::now()), operation });
    }

    fn plan(&self) -> Option<&Plan> {
        self.in_force.as_ref().map(|in_force| &in_force.loaded.plan)
    }
}

impl Daemon {
    async fn serve(&mut self, mut channels: Channels) -> Result<(), String> {
        let handler = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        let mut terminate = handler(SignalKind::terminate())?;
        let mut interrupt = handler(SignalKind::interrupt())?;
        let mut hangup = handler(SignalKind::hangup())?;
        let mut hints = drift::watch();
        let mut plans = source::watch(self.options.plan.clone(), self.options.host.clone());
        loop {
            let probes_in = self.board.poll_timeout().map(|at| clock::now().until(at));
            let guardian_in = self.guardian_at.map(|at| clock::now().until(at));
            tokio::select! {
                Some(()) = plans.recv() => self.reload(),
                _ = hangup.recv() => self.reload(),
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                pass = channels.passes.recv() => self.passed(pass.ok_or("the convergence thread ended")?),
                notice = channels.notices.recv() => self.noticed(notice.ok_or("the election thread ended")?),
                Some((check, outcome)) = channels.outcomes.recv() => self.probed(&check, outcome),
                Some(request) = channels.requests.recv() => self.answer(request).await,
                Some(kinds) = hints.recv() => self.converger.send(Message::Dirty(kinds)),
                () = sleep_some(probes_in) => self.start_probes(),
                () = sleep_some(guardian_in) => self.replace_guardian(),
            }
        }
    }

    fn stop(self, result: Result<(), String>) -> Result<(), String> {
        // VIPs first; what stays in the kernel serves until the next start or `evenkeeld cleanup`.
        let election = self.election.stop();
        let converger = self.converger.stop();
        result?;
        if election && converger {
            info!("stopped; addresses, routes, settings and IPVS stay as they are, VIPs are released");
            Ok(())
        } else {
            Err("a thread ended with a panic".to_owned())
        }
    }

    fn file(&self) -> PathBuf {
        plan_file::plan_path(&self.options.plan, &self.options.host)
    }

    /// The first plan: the file, or else the last good one.
    fn first_plan(&mut self, leases: &[Lease]) {
        match plan_file::load(&self.file(), &self.options.host) {
            Ok(loaded) => self.adopt(loaded, false),
            Err(why) => {
                self.reject(&why.to_string());
                match self.state.last_good(&self.options.host) {
                    Some(loaded) => {
                        warn!(
                            "the last good plan, generation {}, is put in force",
                            loaded.generation.short()
                        );
                        self.adopt(loaded, true);
                    }
                    None => warn!("there is no plan to obey yet: waiting for {}", self.file().display()),
                }
            }
        }
        // An earlier daemon was Master until just now, and all it served is in the kernel still:
        // its routers cannot wait for a pass.
        if !leases.is_empty()
            && let Some((_, setups)) = &self.pending
        {
            self.election.send(Command::Configure(setups.clone()));
        }
    }

    fn reload(&mut self) {
        match plan_file::load(&self.file(), &self.options.host) {
            Ok(loaded) => {
                let same = |in_force: &InForce| {
                    in_force.loaded.bytes == loaded.bytes && in_force.loaded.secrets == loaded.secrets
                };
                self.facts.rejected = None;
                match &mut self.facts.in_force {
                    Some(in_force) if same(in_force) => in_force.from_last_good = false,
                    Some(_) | None => self.adopt(loaded, false),
                }
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

    /// Puts a plan in force.
    fn adopt(&mut self, loaded: LoadedPlan, from_last_good: bool) {
        if !from_last_good && let Err(error) = self.state.save_last_good(&loaded) {
            warn!("cannot keep the plan as the last good one: {error}");
        }
        let known = match self.facts.plan() {
            Some(plan) => verdicts(plan, &self.board),
            None => left_behind(&loaded.plan, &self.state),
        };
        let initial = by_check(&loaded.plan, &known);
        let wanted: BTreeSet<Check> = checks(&loaded.plan).map(|(_, _, check)| check.clone()).collect();
        let initial = |check: &Check| initial.get(check).copied().unwrap_or(Verdict::Up);
        self.board.configure(wanted, initial, clock::now());
        info!(
            generation = loaded.generation.short(),
            routers = loaded.plan.routers.len(),
            virtual_servers = loaded.plan.virtual_servers.len(),
            "plan is in force"
        );
        let setups = loaded
            .plan
            .routers
            .iter()
            .filter_map(|router| RouterSetup::new(router, loaded.secrets.get(&router.name).copied()));
        let setups: Vec<RouterSetup> = setups.collect();
        let since = report::wall(clock::now());
        self.facts.in_force = Some(InForce { loaded, since, from_last_good });
        self.want();
        self.pending = Some((self.serial, setups));
    }

    /// Tells the convergence thread what is wanted now.
    fn want(&mut self) {
        let Some(plan) = self.facts.plan() else { return };
        let verdicts = verdicts(plan, &self.board);
        let mut desired: Desired = desired(plan, |service, destination| {
            verdicts.get(&(*service, *destination)) != Some(&Verdict::Down)
        });
        // VIPs of the plan before are the election's until it has the new one.
        desired.vips.extend(self.election_vips.iter().cloned());
        self.serial += 1;
        let wanted = Wanted { serial: self.serial, desired, resync: plan.policy.resync.as_duration() };
        self.converger.send(Message::Wanted(Arc::new(wanted)));
    }

    fn passed(&mut self, pass: Pass) {
        self.facts.passes += 1;
        for op in &pass.done {
            info!("{op}");
            self.facts.record(op.to_string());
        }
        for error in pass.errors.iter().filter(|error| !self.facts.errors.contains(error)) {
            error!("cannot {}: {}", error.operation, error.reason);
        }
        self.facts.errors.clone_from(&pass.errors);
        if let Some(foreign) = &pass.foreign {
            self.facts.foreign.clone_from(foreign);
        }
        if let Some((serial, setups)) = self.pending.take_if(|(serial, _)| *serial <= pass.serial) {
            debug!(serial, "the election gets its routers");
            let vips: BTreeSet<AddressKey> =
                setups.iter().flat_map(|setup| setup.vips.keys().cloned()).collect();
            self.election.send(Command::Configure(setups));
            let left = self.election_vips.iter().any(|vip| !vips.contains(vip));
            self.election_vips = vips;
            if left {
                self.want();
            }
        }
        if pass.converged && pass.serial == self.serial && !self.election_started {
            self.election_started = true;
            self.election.send(Command::Start);
        }
        self.facts.last_pass = Some(pass);
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::State { router, to, why } => {
                info!("({router}) {why}");
                match to {
                    RouterState::Initialize => info!("({router}) Entering FAULT STATE or stopping"),
                    RouterState::Backup => info!("({router}) Entering BACKUP STATE"),
                    RouterState::Master => info!("({router}) Entering MASTER STATE"),
                }
            }
            Notice::Router { router, text } => warn!("({router}) {text}"),
            Notice::Done(operations) => {
                for operation in operations {
                    info!("{operation}");
                    self.facts.record(operation);
                }
            }
            Notice::Problem(text) => error!("{text}"),
            Notice::GuardianLost => {
                warn!("the guardian is gone: starting another");
                self.guardian_at = Some(clock::now() + GUARDIAN_PAUSE);
            }
        }
    }

    fn replace_guardian(&mut self) {
        match Guardian::connect(self.state.path()) {
            Ok((guardian, _)) => {
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
            let outcomes = self.outcomes.clone();
            tokio::spawn(async move {
                let outcome = probe::run(&check).await;
                outcomes.send((check, outcome)).await.ok();
            });
        }
        self.changed(&changes);
    }

    fn probed(&mut self, check: &Check, outcome: Outcome) {
        let change = self.board.finish(check, outcome, clock::now());
        self.changed(change.as_slice());
    }

    fn changed(&mut self, changes: &[Change]) {
        for change in changes {
            let Check::Tcp { address, port, .. } = &change.check;
            match change.verdict {
                Verdict::Up => info!("check of {address}:{port} succeeded: destination returns"),
                Verdict::Down => {
                    warn!("check of {address}:{port} failed: {}; destination is taken out", change.reason)
                }
            }
        }
        if !changes.is_empty() {
            self.want();
        }
    }

    async fn answer(&mut self, request: StatusRequest) {
        let (reply, snapshot) = tokio::sync::oneshot::channel();
        self.election.send(Command::Snapshot(reply));
        let routers = snapshot.await.unwrap_or_default();
        let path = self.file();
        let status: Status = report::status(&self.options.host, &path, &self.facts, &self.board, routers);
        request.send(status).ok();
    }
}

async fn sleep_some(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Every checked destination of a plan.
fn checks(plan: &Plan) -> impl Iterator<Item = (ServiceKey, DestinationKey, &Check)> {
    plan.virtual_servers.iter().flat_map(|server| {
        let service = service_key(server);
        server.destinations.iter().filter_map(move |destination| {
            destination.check.as_ref().map(|check| (service, destination_key(destination), check))
        })
    })
}

pub(crate) fn service_key(server: &VirtualServer) -> ServiceKey {
    ServiceKey::new(server.protocol, server.address.0, server.port.get())
}

pub(crate) fn destination_key(destination: &Destination) -> DestinationKey {
    DestinationKey { address: destination.address.0, port: destination.port.get() }
}

type Verdicts = BTreeMap<(ServiceKey, DestinationKey), Verdict>;

/// The verdicts in force, by destination: a check that changes its options keeps its verdict.
fn verdicts(plan: &Plan, board: &Board) -> Verdicts {
    checks(plan)
        .filter_map(|(service, key, check)| board.verdict(check).map(|verdict| ((service, key), verdict)))
        .collect()
}

/// What each check starts with: down only when every destination that it speaks for was down.
fn by_check(plan: &Plan, known: &Verdicts) -> BTreeMap<Check, Verdict> {
    let mut initial = BTreeMap::new();
    for (service, destination, check) in checks(plan) {
        let before = known.get(&(service, destination)).copied().unwrap_or(Verdict::Up);
        let verdict = initial.entry(check.clone()).or_insert(before);
        if before == Verdict::Up {
            *verdict = Verdict::Up;
        }
    }
    initial
}

/// The verdicts that an earlier daemon left in the kernel: a destination that is missing from a
/// service of ours had failed.
fn left_behind(plan: &Plan, state: &StateDir) -> Verdicts {
    let ours = state.ledger().services;
    if ours.is_empty() {
        return Verdicts::new();
    }
    let scope = Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() };
    let observed = match Kernel::new().and_then(|mut kernel| kernel.observe(&scope)) {
        Ok(observed) => observed,
        Err(error) => {
            warn!("cannot read the verdicts of the daemon before from the kernel: {error}");
            return Verdicts::new();
        }
    };
    checks(plan)
        .filter(|(service, _, _)| ours.contains_key(service))
        .filter_map(|(service, key, _)| {
            let found = observed.services.get(&service)?.destinations.contains_key(&key);
            Some(((service, key), if found { Verdict::Up } else { Verdict::Down }))
        })
        .collect()
}
