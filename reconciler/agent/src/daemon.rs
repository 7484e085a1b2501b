//! The daemon's main loop: it carries events to the head of the host, and the head's outputs to those that
//! carry them out. Nothing is decided here.
//!
//! ```text
//! inbox (every channel) --inputs--> evenkeel_host::Host --outputs--> carry --> election, convergence,
//! probes, disk, ...
//! ```
//!
//! One task owns the head; threads and probes speak to it through bounded channels (`inbox`). Nothing here
//! waits for a disk or for long: work that may take time runs on the runtime's blocking threads.

mod carry;
mod errands;
mod error;
mod inbox;
mod log;
mod persisting;
mod pulling;
mod recall;

pub(crate) mod in_the_way;

pub(crate) use error::DaemonError;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_host::loaded::PlanRefusal;
use evenkeel_host::{Host, Input, Start};
use evenkeel_schemas::scalars::Name;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::api::listener;
use crate::api::metrics::Detail;
use crate::api::scrapes::Scrapes;
use crate::api::server::Server;
use crate::convergence::events;
use crate::convergence::thread::{Converger, Mailbox};
use crate::election::{Election, ElectionCommand};
use crate::guard::keeper::Keeper;
use crate::guard::{self, Guardian, Lease};
use crate::health::lookout::Lookout;
use crate::health::thread::Health;
use crate::health::trackers::Watching;
use crate::programs::hooks::Runner;
use crate::source::kept::{Kept, wall_text};
use crate::source::{Keeping, Look, Source};
use crate::state::StateDir;
use crate::state::disk::{Content, Disk, File, Wake};
use crate::system::claim::{CLAIM, Claim};
use crate::system::files::Trust;
use crate::system::moment;
use crate::system::scheduling::Scheduling;
use crate::system::signals::StopSignals;

use errands::Errands;
use inbox::{Event, Inbox, Signals};
use persisting::Persisting;

/// Most changes of ways that wait for the health thread.
const WAYS: usize = 1024;
/// Time for the last pass when the daemon stops.
const LAST_PASS: Duration = Duration::from_secs(2);
/// Time for the disk to keep the rest when the daemon stops.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// Time for programs of hooks when the daemon stops: less than service managers wait.
const LAST_HOOKS: Duration = Duration::from_secs(10);
/// Time that a start waits for the disk: a lease that an earlier daemon left continues meanwhile.
const FIRST_WRITE: Duration = Duration::from_millis(500);

/// Options of the command line.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) source: Source,
    pub(crate) host: Name,
    pub(crate) state_dir: PathBuf,
    pub(crate) socket: PathBuf,
    /// Address at which metrics are served over TCP; none: by the socket only.
    pub(crate) metrics: Option<SocketAddr>,
    /// Amount of detail of metrics.
    pub(crate) metrics_detail: Detail,
    pub(crate) scheduling: Scheduling,
    /// Owners whose plans, secrets, programs and state are read.
    pub(crate) trust: Trust,
}

/// The head of the host, and everything that carries out its outputs.
struct Daemon {
    options: Options,
    host: Host,
    persisting: Persisting,
    converger: Converger,
    election: Election,
    health: Health,
    trackers: Watching,
    hooks: Runner,
    keeper: Keeper,
    errands: Errands,
    /// What the source remembers.
    kept: Kept,
    /// Asks the source to read the plan again.
    look: mpsc::Sender<Look>,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// When something keeps the daemon from running at all.
pub(crate) async fn run(options: Options, stop: StopSignals) -> Result<(), DaemonError> {
    let signals = Signals::new()?;
    // Claimed before any file is opened: a second daemon must not touch the first one's.
    let claim = Claim::take(CLAIM)?;
    claim.answer();
    let state = Arc::new(StateDir::open(&options.state_dir, options.trust)?);
    let ledger = state.ledger_or_put_aside()?;
    let orders = state.orders_or_put_aside()?;
    let drain_orders = state.drain_orders_or_put_aside()?;
    let maintenance = state.maintenance();
    let record = state.probation_or_put_aside()?;
    let source_memory = state.source_or_put_aside()?;
    let mut server = Server::bind(&options.socket)?;
    let guard_socket = guard::socket_beside(&options.socket);
    let (guardian, leases) =
        Guardian::connect(&guard_socket, state.path()).map_err(DaemonError::of("guardian"))?;
    let (mut inbox, senders) = Inbox::new(signals);
    let mailbox = Mailbox::default();
    let (named, written) = (mailbox.clone(), inbox.written());
    let wake = move |wake| match wake {
        Wake::Changed => written.notify_one(),
        Wake::Named => named.dirty(&evenkeel_converge::Kind::ALL.into()),
    };
    let disk = Disk::start(Arc::clone(&state), wake).map_err(DaemonError::of("disk"))?;
    disk.found(Content::Orders(orders.clone()));
    disk.found(Content::DrainOrders(drain_orders.clone()));
    disk.found(Content::Maintenance(Arc::new(maintenance.clone())));
    disk.found(Content::Probation(Box::new(record.clone().unwrap_or_default())));
    disk.found(Content::Source(Arc::new(source_memory.clone())));
    let source_disk = disk.clone();
    let kept = Kept::new(source_memory, move |memory| source_disk.put_source(memory));
    let converger = Converger::start(mailbox, &state, &disk, ledger.clone(), senders.reports)
        .map_err(DaemonError::of("convergence"))?;
    let election = Election::start(guardian, leases.clone(), options.scheduling, stop, senders.notices)
        .map_err(DaemonError::of("election"))?;
    let (ways_in, ways) = mpsc::channel(WAYS);
    let lookout = Lookout::start(ways_in).map_err(DaemonError::of("lookout"))?;
    let health =
        Health::start(lookout, ways, senders.checks, options.trust).map_err(DaemonError::of("health"))?;
    info!(host = %options.host, plan = %options.source.place(), "evenkeeld {} \
        started", env!("CARGO_PKG_VERSION"));
    if options.trust == Trust::Anybody {
        warn!(
            "--allow-insecure-files: plans, secrets, programs and state are taken whoever may write to them"
        );
    }
    let host = {
        // A first write shows whether the disk answers, before the start depends on it.
        disk.keep(Content::Probation(Box::new(record.clone().unwrap_or_default())));
        disk.wait(File::Probation, FIRST_WRITE);
        let keep = Keeping::keep(&disk, state.path());
        let plan = match kept.paused_until(moment::now().wall_ms) {
            Some(until) if !options.source.is_taken_before() => {
                Err(PlanRefusal::new(format!("nothing new is taken until {}", wall_text(until))))
            }
            Some(_) | None => options.source.read(keep).map(Arc::new),
        };
        let start = Start {
            name: options.host.clone(),
            orders,
            drain_orders,
            maintenance,
            record,
            leases: leases.into_iter().map(|Lease { router, .. }| router).collect(),
            plan,
            last_good: state.last_good_generation(&options.host),
        };
        Host::new(start, &moment::now())
    };
    let mut daemon = Daemon {
        host,
        converger,
        election,
        health,
        trackers: Watching::new(senders.found, options.trust),
        hooks: Runner::new(options.trust, senders.hooks),
        keeper: Keeper::new(guard_socket, state.path().to_owned(), senders.guardians),
        errands: Errands::new(senders.errands),
        persisting: Persisting::new(disk.clone(), state, ledger),
        options,
        kept: kept.clone(),
        look: inbox.look(),
    };
    daemon.carry_all();
    events::watch(daemon.converger.mailbox().clone(), daemon.election.nudge());
    let (source, copies) = (daemon.options.source.clone(), daemon.persisting.directory().to_owned());
    let metrics = daemon.options.metrics;
    let scrapes = Scrapes::new(senders.asks.clone(), daemon.options.metrics_detail);
    inbox.plans_from(|look| source.watch(copies, disk, kept, look));
    let result = tokio::select! {
        result = daemon.serve(&mut inbox) => result,
        () = server.serve(senders.asks, scrapes.clone()) => Ok(()),
        () = listener::serve(metrics, scrapes.clone()) => Ok(()),
    };
    daemon.stop(inbox, result).await
}

impl Daemon {
    async fn serve(&mut self, inbox: &mut Inbox) -> Result<(), DaemonError> {
        loop {
            let due = self.host.poll_timeout().map(|(due, _)| due);
            match inbox.next(due, self.keeper.due()).await {
                Event::Input(input) => self.handle(input),
                Event::Notice(notice) => {
                    self.keeper.notice(&notice);
                    self.handle(Input::Notice(notice));
                }
                Event::Pass(report) => self.handle_pass(*report),
                Event::Found(found) => {
                    if let Some(input) = self.trackers.found(found) {
                        self.handle(input);
                    }
                }
                Event::Ask(ask) => self.handle_ask(ask),
                Event::Status(asked) => self.answer_status(*asked),
                Event::Written => {
                    self.persisting.log_news();
                    if let Some(input) = self.persisting.outcome() {
                        self.handle(input);
                    }
                }
                Event::Housekeeping => {
                    self.persisting.log_news();
                    self.keeper.check_socket();
                }
                Event::GuardianDue => self.keeper.start(),
                Event::Guardian(started) => {
                    if let Some(guardian) = self.keeper.started(started) {
                        self.election.send(ElectionCommand::Guardian(guardian));
                    }
                }
                // The election ends once other directors serve, or none can be expected.
                Event::Stop => self.election.stop(),
                Event::ConvergenceEnded => return Err(DaemonError::Ended("convergence")),
                Event::HealthEnded => return Err(DaemonError::Ended("health")),
                Event::ElectionEnded if self.election.was_told_to_stop() => return Ok(()),
                Event::ElectionEnded => return Err(DaemonError::Ended("election")),
            }
        }
    }

    async fn stop(mut self, mut inbox: Inbox, result: Result<(), DaemonError>) -> Result<(), DaemonError> {
        // VIPs first, if no signal was the reason. Everything else stays in the kernel and serves until the
        // next start or `evenkeeld cleanup`.
        self.election.stop();
        let left = self.election.join();
        let serial = self.host.serial();
        self.handle(Input::Leaving);
        if self.host.serial() > serial {
            // The new Master's traffic may reach this host as a destination: it must not forward it again.
            tokio::time::timeout(LAST_PASS, inbox.pass_over(self.host.serial())).await.ok();
        }
        while let Some(notice) = inbox.notice_left() {
            self.handle(Input::Notice(notice));
        }
        self.handle(Input::Stop);
        let deadline = Instant::now() + LAST_HOOKS;
        while !self.host.hooks_are_done() {
            match tokio::time::timeout_at(deadline, inbox.hooks_ended()).await {
                Ok(subject) => self.handle(Input::HooksEnded(subject)),
                Err(_) => {
                    let late: Vec<String> = self.host.running_hooks().collect();
                    let subjects = late.join(", ");
                    warn!(%subjects, "hooks of {subjects} are still running and are killed");
                    break;
                }
            }
        }
        self.hooks.stop().await;
        let in_order = self.converger.stop();
        for waiting in self.persisting.stop(LAST_WRITES) {
            error!(file = %waiting.file, "{} is not kept: the disk refuses or does not answer", waiting.file);
        }
        result?;
        left.map_err(DaemonError::Left)?;
        if in_order {
            info!("stopped; VIPs are released, addresses, routes, settings and IPVS stay as they are");
            Ok(())
        } else {
            Err(DaemonError::ConvergencePanicked)
        }
    }
}
