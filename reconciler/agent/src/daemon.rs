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

mod checks;
mod desk;
mod drains;
mod elections;
mod facts;
pub(crate) mod in_the_way;
mod maintenance;
mod orders;
mod plans;
mod probation;
mod recall;
mod unserved;
mod ways;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Kind, Op, ServiceKey};
use evenkeel_health::Board;
use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::ObjectText;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::RouterKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::api::server::{Ask, Server};
use crate::convergence::events;
use crate::convergence::thread::{Converger, Mailbox};
use crate::election::{Command, Election};
use crate::guard::{self, Guardian};
use crate::health::lookout::{Lookout, News};
use crate::health::trackers::{Found, Watching};
use crate::programs::hooks::{Done, Hooks};
use crate::source::directory::{self, Loaded};
use crate::state::StateDir;
use crate::state::disk::{Content, Disk, Wake};
use crate::system::claim::{CLAIM, Claim};
use crate::system::files::Trust;
use crate::system::memory;
use crate::system::scheduling::Scheduling;
use crate::system::signals::StopSignals;
use evenkeel_host::election::Notice;
use evenkeel_host::handover;
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::orders::drains::DrainOrders;
use evenkeel_host::orders::routers::Orders;
use evenkeel_host::pass::Report;
use evenkeel_host::routers::RouterSetup;

use checks::{Checks, Probed, in_from_now};
use desk::Desk;
pub(crate) use facts::Facts;
use facts::log_notice;
use probation::{Before, Probation};
use unserved::Means;

/// Places in the channels from the threads.
const CHANNEL: usize = 1024;
/// Operations of one pass that are logged one by one.
const MAX_LOGGED: usize = 100;
/// Least time between two starts of a guardian.
const GUARDIAN_PAUSE: Duration = Duration::from_secs(1);
/// Time between two questions to the election whether something it had to say was lost.
const LOST_PAUSE: Duration = Duration::from_secs(5);
/// How long after a plan is in the kernel what taking it took is given back.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the last pass may take when the daemon stops.
const LAST_PASS: Duration = Duration::from_secs(2);
/// How long the disk may take for what is still to be kept when the daemon stops.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// How long verdicts are collected before they are passed on together.
const VERDICT_PAUSE: Duration = Duration::from_millis(20);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) plan: PathBuf,
    pub(crate) host: Name,
    pub(crate) state_dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) scheduling: Scheduling,
    /// From whom plans, secrets, programs and what is in the state directory are taken.
    pub(crate) trust: Trust,
}

struct Channels {
    plans: mpsc::Receiver<Box<Loaded>>,
    reports: mpsc::Receiver<Report>,
    notices: mpsc::Receiver<Notice>,
    outcomes: mpsc::Receiver<Probed>,
    lookouts: mpsc::Receiver<News>,
    found: mpsc::Receiver<Found>,
    hooks: mpsc::UnboundedReceiver<Done>,
    guardians: mpsc::Receiver<std::io::Result<Guardian>>,
    ways: mpsc::Receiver<Result<Vec<ObjectText>, String>>,
    asks: mpsc::Receiver<Ask>,
    asked: mpsc::Receiver<orders::Asked>,
    befores: mpsc::Receiver<Before>,
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

pub(crate) struct Daemon {
    pub(crate) options: Options,
    state: Arc<StateDir>,
    converger: Converger,
    election: Election,
    pub(crate) board: Board,
    checks: Checks,
    pub(crate) watching: Watching,
    pub(crate) hooks: Hooks,
    pub(crate) facts: Facts,
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
    /// When trackers of services look at the verdicts.
    services_at: Option<MonoTime>,
    /// When it is found out whether the election had something to say that was lost.
    lost_at: MonoTime,
    /// How much was lost when it was last found out.
    lost: u64,
    guardian_at: Option<MonoTime>,
    /// When the last guardian was started, or was found running.
    guardian_begun: MonoTime,
    /// When to look for what is in the way; none while somebody looks, and without a plan.
    way_at: Option<MonoTime>,
    ways: mpsc::Sender<Result<Vec<ObjectText>, String>>,
    guardians: mpsc::Sender<std::io::Result<Guardian>>,
    /// What operators told routers.
    pub(crate) orders: Orders,
    /// What of the plan's routers serves on in maintenance.
    pub(crate) maintenance: Maintenance,
    going: maintenance::Progress,
    /// Whether other directors are being asked to take over.
    offering: bool,
    asked: mpsc::Sender<orders::Asked>,
    /// The plan before, until the election has the routers of the one in force.
    leaving: Option<Arc<LoadedPlan>>,
    /// What operators told to drain.
    pub(crate) drain_orders: DrainOrders,
    pub(crate) disk: Disk,
    desk: Desk,
    /// That something has changed on the disk.
    written: Arc<Notify>,
    probation: Probation,
    /// Virtual servers that the kernel has no means for.
    lacking: BTreeSet<ServiceKey>,
    /// The routers that the election was told to leave to others.
    unserved: BTreeSet<RouterKey>,
    /// What this host could do when `lacking` was found.
    means: Means,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// What keeps the daemon from running at all: a sentence for people.
pub(crate) async fn run(options: Options, stop: StopSignals) -> Result<(), String> {
    let signals = Signals::new()?;
    let claim = Claim::take(CLAIM).map_err(|error| error.to_string())?;
    claim.answer();
    let state =
        Arc::new(StateDir::open(&options.state_dir, options.trust).map_err(|error| error.to_string())?);
    let ledger = state.ledger_or_put_aside().map_err(|error| error.to_string())?;
    let orders = state.orders_or_put_aside().map_err(|error| error.to_string())?;
    let drain_orders = state.drain_orders_or_put_aside().map_err(|error| error.to_string())?;
    let maintenance = state.maintenance();
    let record = state.probation_or_put_aside().map_err(|error| error.to_string())?;
    let mut server = Server::bind(&options.socket).map_err(|error| error.to_string())?;
    let guard_socket = guard::socket_beside(&options.socket);
    let (guardian, leases) =
        Guardian::connect(&guard_socket, state.path()).map_err(|error| format!("guardian: {error}"))?;
    let (report_tx, reports) = mpsc::channel(CHANNEL);
    let (notice_tx, notices) = mpsc::channel(CHANNEL);
    let (outcome_tx, outcomes) = mpsc::channel(CHANNEL);
    let (lookout_tx, lookouts) = mpsc::channel(CHANNEL);
    let (found_tx, found) = mpsc::channel(CHANNEL);
    let (hooks, hooks_done) = Hooks::new(options.trust);
    let (guardian_tx, guardians) = mpsc::channel(1);
    let (way_tx, ways) = mpsc::channel(1);
    let (ask_tx, asks) = mpsc::channel(16);
    let (asked_tx, asked) = mpsc::channel(1);
    let (before_tx, befores) = mpsc::channel(1);
    let (look, looks) = mpsc::channel(1);
    let (mailbox, written) = (Mailbox::default(), Arc::new(Notify::new()));
    let (named, wakes) = (mailbox.clone(), Arc::clone(&written));
    let wake = move |wake| match wake {
        Wake::Changed => wakes.notify_one(),
        Wake::Named => named.dirty(&Kind::ALL.into()),
    };
    let disk = Disk::start(Arc::clone(&state), wake).map_err(|error| format!("disk: {error}"))?;
    disk.found(Content::Orders(orders.clone()));
    disk.found(Content::DrainOrders(drain_orders.clone()));
    disk.found(Content::Maintenance(Arc::new(maintenance.clone())));
    disk.found(Content::Probation(Box::new(record.clone().unwrap_or_default())));
    let converger = Converger::start(mailbox, &state, &disk, ledger.clone(), report_tx)
        .map_err(|error| format!("convergence: {error}"))?;
    let election = Election::start(guardian, leases.clone(), options.scheduling, stop, notice_tx)
        .map_err(|error| format!("election: {error}"))?;
    let lookout = Lookout::start(lookout_tx).map_err(|error| format!("lookout: {error}"))?;
    info!(host = %options.host, plan = %options.plan.display(), "evenkeeld {} started", env!("CARGO_PKG_VERSION"));
    if options.trust == Trust::Anybody {
        warn!(
            "--allow-insecure-files: plans, secrets, programs and state are taken whoever may write to them"
        );
    }
    let mut daemon = Daemon {
        options: options.clone(),
        state,
        converger,
        election,
        board: Board::new(),
        checks: Checks::new(outcome_tx, lookout),
        watching: Watching::new(found_tx, options.trust),
        hooks,
        facts: Facts::new(),
        serial: 0,
        plan_serial: 0,
        routers: Vec::new(),
        pending: None,
        started: false,
        verdicts_at: None,
        services_at: None,
        lost_at: clock::now() + LOST_PAUSE,
        lost: 0,
        guardian_at: None,
        guardian_begun: clock::now(),
        way_at: None,
        ways: way_tx,
        guardians: guardian_tx,
        orders,
        maintenance,
        going: maintenance::Progress::default(),
        offering: false,
        asked: asked_tx,
        leaving: None,
        drain_orders,
        disk,
        desk: Desk::default(),
        written,
        probation: Probation::new(record, before_tx),
        lacking: BTreeSet::new(),
        unserved: BTreeSet::new(),
        means: Means::default(),
    };
    daemon.first_plan(&leases, &ledger);
    events::watch(daemon.converger.mailbox().clone(), daemon.election.nudge());
    let copies = daemon.state.path().to_owned();
    let plans =
        directory::watch(options.plan, options.host, copies, options.trust, daemon.disk.clone(), looks);
    let mut channels = Channels {
        plans,
        reports,
        notices,
        outcomes,
        lookouts,
        found,
        hooks: hooks_done,
        guardians,
        ways,
        asks,
        asked,
        befores,
    };
    let result = tokio::select! {
        result = daemon.serve(&mut channels, signals, look) => result,
        () = server.serve(ask_tx) => Ok(()),
    };
    daemon.stop(channels, result).await
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
            let services_in = self.services_at.map(in_from_now);
            let lost_in = in_from_now(self.lost_at);
            let guardian_in = self.guardian_at.map(in_from_now);
            let probation_in = self.probation.due().filter(|_| !self.desk.is_busy()).map(in_from_now);
            let maintenance_in = self.going.due().map(in_from_now);
            let desk_in = self.desk.due().map(in_from_now);
            let checks_in = self.checks.due().map(in_from_now);
            let written = Arc::clone(&self.written);
            let way_in = self.way_at.map(in_from_now);
            tokio::select! {
                Some(loaded) = channels.plans.recv(), if !self.desk.is_busy() => self.read(*loaded).await,
                _ = signals.hangup.recv() => drop(look.try_send(())),
                // Mostly the election has had them already.
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                report = channels.reports.recv() => {
                    self.passed(report.ok_or("the convergence thread ended")?);
                }
                notice = channels.notices.recv() => match notice {
                    Some(notice) => self.noticed(notice),
                    None if self.election.was_told_to_stop() => return Ok(()),
                    None => return Err("the election thread ended".to_owned()),
                },
                Some(news) = channels.lookouts.recv() => self.way_news(news),
                Some(probed) = channels.outcomes.recv() => {
                    // What was told of its way before it ended is known when it is judged.
                    while let Ok(news) = channels.lookouts.try_recv() {
                        self.way_news(news);
                    }
                    self.probed(probed);
                }
                Some(found) = channels.found.recv() => self.found(found),
                Some(done) = channels.hooks.recv() => self.hooks.done(done),
                Some(ask) = channels.asks.recv() => self.answer(ask).await,
                Some(asked) = channels.asked.recv() => self.others_answered(asked),
                () = written.notified() => {
                    self.tell_of_disk();
                    self.persisted();
                }
                () = sleep_some(desk_in) => self.persisted(),
                () = sleep_some(maintenance_in) => self.ask_for_maintenance(),
                Some(before) = channels.befores.recv() => self.read_before(before),
                () = sleep_some(probation_in) => self.probation_due().await,
                Some(guardian) = channels.guardians.recv() => self.guardian_started(guardian),
                Some(found) = channels.ways.recv() => self.found_in_the_way(found),
                () = sleep_some(way_in) => self.look_in_the_way(),
                () = sleep_some(probes_in) => self.start_probes(),
                () = sleep_some(checks_in) => self.checks_due(),
                () = sleep_some(verdicts_in) => self.want(&[Kind::Ipvs]),
                () = sleep_some(services_in) => self.look_at_services(),
                () = sleep(lost_in) => {
                    self.tell_of_disk();
                    self.look_for_guardian();
                    self.find_lost(&mut channels.notices).await;
                }
                () = sleep_some(guardian_in) => self.start_guardian(),
            }
        }
    }

    async fn stop(mut self, mut channels: Channels, result: Result<(), String>) -> Result<(), String> {
        // VIPs first, if no signal was the reason; what stays in the kernel serves until the next start or `evenkeeld cleanup`.
        self.election.send(Command::Stop);
        let last = self.without_mastership();
        let (election, next) = (self.election, Facts::new());
        let left = election.stop();
        if let Some(last) = last {
            // Whoever is Master now sends to this host, which must not send on.
            let serial = last.serial;
            self.converger.mailbox().want(last, &[Kind::Ipvs]);
            let done =
                async { while channels.reports.recv().await.is_some_and(|report| report.serial < serial) {} };
            tokio::time::timeout(LAST_PASS, done).await.ok();
        }
        let mut facts = std::mem::replace(&mut self.facts, next);
        while let Ok(notice) = channels.notices.try_recv() {
            log_notice(&notice, &mut facts);
            self.hooks.noticed(&notice);
        }
        let Channels { hooks, .. } = channels;
        self.hooks.stop(hooks).await;
        let in_order = self.converger.stop();
        for waiting in self.disk.stop(LAST_WRITES) {
            error!("{} is not kept: the disk refuses or does not answer", waiting.file);
        }
        result?;
        left?;
        if in_order {
            info!("stopped; VIPs are released, addresses, routes, settings and IPVS stay as they are");
            Ok(())
        } else {
            Err("the convergence thread ended with a panic".to_owned())
        }
    }

    fn passed(&mut self, report: Report) {
        self.facts.passes += 1;
        self.note_drains(&report);
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
            self.find_unserved(&report.lacking, report.pass.unnamed);
            if report.ready
                && let Some(in_force) = self.facts.in_force.as_mut().filter(|in_force| !in_force.converged)
            {
                in_force.converged = true;
                let generation = in_force.loaded.generation.short();
                if report.converged {
                    info!("converged: generation {generation} is in the kernel");
                } else {
                    let lacking = report.lacking.len();
                    warn!(
                        lacking,
                        "generation {generation} is in the kernel but for what cannot be made here"
                    );
                }
                // By then the election has taken its routers as well.
                tokio::spawn(async move {
                    sleep(SETTLED).await;
                    tokio::task::spawn_blocking(memory::give_back).await.ok();
                });
            }
            // Before the start a router announces nothing, and status shows why.
            let early = report.ready || !self.started;
            let ready = |next: &mut Vec<RouterSetup>| early || !handover::comes(&self.routers, next);
            if let Some(next) = self.pending.take_if(ready) {
                debug!("the election gets its routers");
                let left = handover::vips(&self.routers) != handover::vips(&next);
                self.configure(next);
                self.settled();
                if left {
                    self.want(&[Kind::Addresses]);
                }
            }
            if !self.started {
                self.started = report.ready;
                if report.ready {
                    self.election.send(Command::Start);
                    self.go_into_maintenance();
                } else if first_failure && self.facts.plan().is_some_and(|p| !p.plan.routers.is_empty()) {
                    warn!("no part in the election until everything but the VIPs is in the kernel");
                }
            }
        }
        self.facts.last = Some(report);
    }

    fn log_done(&mut self, report: &Report) {
        let done = &report.pass.done;
        let operations: usize = done.iter().map(Op::count).sum();
        self.facts.operations += operations as u64;
        if done.len() > MAX_LOGGED {
            info!("{operations} operations done in {:?}", report.pass.took);
        }
        for op in done.iter().skip(done.len().saturating_sub(MAX_LOGGED)) {
            if done.len() <= MAX_LOGGED {
                info!("{op}");
            }
            self.facts.record(op.to_string());
        }
        let repairs: Vec<String> = report.pass.repairs.iter().map(ToString::to_string).collect();
        self.facts.drifted(&repairs, report.pass.drifts.clone());
    }

    fn start_guardian(&mut self) {
        // Until the answer comes: a start takes a few seconds at most.
        self.guardian_at = Some(clock::now() + Duration::from_secs(60));
        let (state, guardians) = (Arc::clone(&self.state), self.guardians.clone());
        let socket = guard::socket_beside(&self.options.socket);
        tokio::task::spawn_blocking(move || {
            let started = Guardian::connect(&socket, state.path()).map(|(guardian, _)| guardian);
            guardians.blocking_send(started).ok();
        });
    }

    /// A guardian whose socket somebody removed guards, but no later daemon would find it: another one takes its place.
    fn look_for_guardian(&mut self) {
        let socket = guard::socket_beside(&self.options.socket);
        if self.guardian_at.is_none() && !socket.exists() {
            warn!("somebody removed the guardian's socket {}: it is made again", socket.display());
            self.start_guardian();
        }
    }

    fn guardian_started(&mut self, guardian: std::io::Result<Guardian>) {
        match guardian {
            Ok(guardian) => {
                self.guardian_at = None;
                self.guardian_begun = clock::now();
                info!("another guardian is there");
                self.election.send(Command::Guardian(guardian));
            }
            Err(error) => {
                error!("guardian: {error}");
                self.guardian_at = Some(clock::now() + GUARDIAN_PAUSE);
            }
        }
    }
}

async fn sleep_some(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}
