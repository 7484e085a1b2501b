//! The command line of `evenkeeld`.

mod client;
mod diff;
mod drain;
mod error;
pub(crate) mod once;
mod page;
mod pages;
mod source;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use drain::{DRAIN_EXAMPLES, Drain, UNDRAIN_EXAMPLES, Undrain};
use error::CommandError;
use evenkeel_converge::Op;
use evenkeel_schemas::scalars::{Name, ScalarError};
use pages::{Completions, Man};
use source::{
    ACCEPT_EXAMPLES, Accept, Around, PAUSE_EXAMPLES, PULL_EXAMPLES, Pause, Pull, Resume, SourceOptions,
};

use crate::api::metrics::Detail;
use crate::api::requests;
use crate::daemon::{self, Options};
use crate::guard;
use crate::system::descriptors;
use crate::system::files::Trust;
use crate::system::logging;
use crate::system::logging::Log;
use crate::system::memory;
use crate::system::out;
use crate::system::scheduling::Scheduling;
use crate::system::signals::StopSignals;
use evenkeel_host::orders::routers::Action;
use evenkeel_host::probation;

const EXAMPLES: &str = "\
Examples:
  evenkeeld run --plan /etc/evenkeel                  obey /etc/evenkeel/<hostname>.plan.toml
  evenkeeld diff --plan /etc/evenkeel                 what would change on this host now
  evenkeeld converge --plan rs1.plan.toml --host rs1  once, without a daemon
  evenkeeld status                                    what the daemon holds and sees
  evenkeeld failover VI_1                             hand VI_1 over and stay back until released
  evenkeeld hold --all                                maintenance: take no part in any election
  evenkeeld release --all                             as the plan says again
  evenkeeld drain rs1                                 no new connections to rs1 until undrained
  evenkeeld confirm                                   the plan on probation stays
  evenkeeld rollback                                  back to the plan before, now
  evenkeeld pull                                      look at the source of plans now
  evenkeeld pause --for 2h                            nothing new for two hours
  evenkeeld cleanup                                   put this host back as it was

Exit codes: 0 success, 1 error (also: a router did not do what it was told within 5 s), 2 wrong usage; \
`diff --detailed-exitcode`: 2 when something would change.
Logs go to standard error; EVENKEEL_LOG sets their level (off, error, warn, info, debug, trace).";

const FAILOVER_EXAMPLES: &str = "\
Examples:
  evenkeeld failover VI_1     VI_1 and all that moves with it
  evenkeeld failover --all    everything, before this host is worked on
  evenkeeld release VI_1      afterwards: as the plan says again";
const HOLD_EXAMPLES: &str = "\
Examples:
  evenkeeld hold VI_1         VI_1 and all that moves with it takes no part
  evenkeeld hold --all        all of this host's virtual routers
  evenkeeld hold --all --force  even if nobody serves then
  evenkeeld release --all     afterwards";
const RELEASE_EXAMPLES: &str = "\
Examples:
  evenkeeld release VI_1      VI_1 and all that moves with it
  evenkeeld release --all     all orders, those for routers that left the plan included";
const CONFIRM_EXAMPLES: &str = "\
Examples:
  evenkeeld confirm                 whichever generation is on probation
  evenkeeld confirm 3f2a90c1d4e5    only this one: its first digits, at least 6; \
success too if it was confirmed before

Exit codes: 0 it is confirmed, 1 it is not (nothing is on probation, it was rolled back, \
it is another generation), 2 wrong usage.";
const ROLLBACK_EXAMPLES: &str = "\
Examples:
  evenkeeld rollback                whichever generation is on probation
  evenkeeld rollback 3f2a90c1d4e5   only this one: its first digits, at least 6

Exit codes: 0 the plan before is in force and in the kernel, 1 it is not (nothing is on probation, \
since it was confirmed for one; or the kernel is not so after 5 s), 2 wrong usage.";
const CLEANUP_EXAMPLES: &str = "\
Examples:
  evenkeeld cleanup                    after the daemon was stopped
  evenkeeld cleanup --without-ledger   when what it has written down is damaged";

/// Time that the end of the daemon waits for the last jobs of its runtime's threads: parsing a plan, a user
/// database on a network. Nobody needs their results any more.
const LAST_JOBS: Duration = Duration::from_millis(500);

/// Keeps this host's VIPs, IPVS table, addresses, routes and settings as its plan says.
#[derive(Debug, Parser)]
#[command(name = "evenkeeld", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: watch the plan, converge the kernel, take part in the election, check health
    Run(Run),
    /// Show what would change on this host and whose connections feel it, VIPs aside; changes nothing
    ///
    /// The running daemon is asked for roles and verdicts. Without one this host counts as Master of nothing,
    /// and every destination as healthy.
    Diff(Diff),
    /// Converge this host once, VIPs aside, without election and checks
    Converge(Once),
    /// Remove everything that evenkeeld made on this host and put its settings back
    #[command(after_help = CLEANUP_EXAMPLES)]
    Cleanup(Cleanup),
    /// Show what the running daemon holds and sees
    Status(Status),
    /// Hand a virtual router over to another director, and stay back until released
    ///
    /// It becomes Backup, and Master again only while no other director is. The order outlives restarts
    /// and new plans. The routers of a sync group move together. Another director is asked first, and this
    /// one serves until it has
    /// taken over; if none answers the order is refused.
    #[command(after_help = FAILOVER_EXAMPLES)]
    Failover(Leave),
    /// Keep a virtual router out of the election until released
    ///
    /// It hands over if it is Master, and then takes no part, even if no other director is Master. The
    /// order outlives restarts and new plans. The routers of a sync group are held together. It is refused
    /// where no other director is heard: a Master asks for one that takes over and serves until it has, a
    /// Backup listens for its Master.
    #[command(after_help = HOLD_EXAMPLES)]
    Hold(Leave),
    /// Take back `failover` and `hold`
    #[command(after_help = RELEASE_EXAMPLES)]
    Release(Order),
    /// Take a host's destinations out of service, and let their connections end
    ///
    /// They get weight 0 and keep the connections that they have, until these end or their time is over; then
    /// they are out of the table. The order outlives restarts and new plans, and stays until `undrain`. It
    /// is for this director only.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Drain),
    /// Take back `drain`
    #[command(after_help = UNDRAIN_EXAMPLES)]
    Undrain(Undrain),
    /// Confirm the plan on probation: it stays
    ///
    /// A plan with `policy.probation` goes back to the one before unless it is confirmed in time. `status`
    /// shows what is on probation and until when.
    #[command(after_help = CONFIRM_EXAMPLES)]
    Confirm(Generation),
    /// Put the plan before in force again, without waiting for the end of the probation
    ///
    /// Only while a plan is on probation. After it was confirmed the one before is not kept any more: to go
    /// back deliver it again. The generation that is rolled back stays refused, over restarts too, until the
    /// file has another plan.
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(Generation),
    /// Look at the source of plans now, and say what came of it
    #[command(after_help = PULL_EXAMPLES)]
    Pull(Pull),
    /// Take no new plan until a time that ends by itself
    ///
    /// The plan in force stays, over restarts too. `status` shows until when.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Pause),
    /// Take back `pause`
    #[command(after_help = PAUSE_EXAMPLES)]
    Resume(Resume),
    /// Take a commit of the source although it does not descend from the one that was accepted last
    ///
    /// Also the first commit, where the source has `require_newer`. The commit has to be the tip of its
    /// branch, and signed as any other.
    #[command(after_help = ACCEPT_EXAMPLES)]
    Accept(Accept),
    /// Print a shell's completions of this command
    #[command(after_help = pages::COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the manual pages: of evenkeeld, of every command of it, and of its helpers
    #[command(after_help = pages::MAN_EXAMPLES)]
    Man(Man),
    /// The guardian process; started by the daemon
    #[command(hide = true)]
    Guard(Socket),
}

#[derive(Debug, Args)]
struct Plan {
    /// Plan file, or directory with <host>.plan.toml
    #[arg(long, value_name = "FILE|DIR", default_value = "/etc/evenkeel")]
    plan: PathBuf,
    /// Name of this host in the cluster file [default: the machine's host name]
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    host: Option<Name>,
}

#[derive(Debug, Args)]
struct StateDirectory {
    /// Directory for the ledger, the last good plan, probation and the lock
    #[arg(long, value_name = "DIR", default_value = "/var/lib/evenkeel")]
    state_dir: PathBuf,
}

#[derive(Debug, Args)]
struct Files {
    /// Take plans, secrets, programs and state from whoever may write to them
    ///
    /// Without it each file, all directories on the way to it and all symbolic links must belong to root or
    /// to the user that this runs as,
    /// and nobody else may write to them.
    #[arg(long)]
    allow_insecure_files: bool,
}

impl Files {
    const fn trust(&self) -> Trust {
        if self.allow_insecure_files { Trust::Anybody } else { Trust::Owned }
    }
}

#[derive(Debug, Args)]
struct Cleanup {
    #[command(flatten)]
    state: StateDirectory,
    /// Also when the ledger cannot be understood: put it aside, and remove what carries evenkeel's mark
    ///
    /// Addresses, routes, rules and interfaces do (addresses from Linux 5.18 on). Virtual servers and
    /// settings do not, and stay as they are.
    #[arg(long)]
    without_ledger: bool,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Socket {
    /// The status socket
    #[arg(long, value_name = "PATH", default_value = "/run/evenkeel/evenkeeld.sock")]
    socket: PathBuf,
}

#[derive(Debug, Args)]
struct MetricsOptions {
    /// Serve metrics for Prometheus at this address over TCP, to everybody who reaches it
    ///
    /// Without it they are served by the socket only: `GET /metrics`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Leave metrics of single destinations out: for tables of many thousands
    #[arg(long)]
    metrics_without_destinations: bool,
}

impl MetricsOptions {
    const fn detail(&self) -> Detail {
        if self.metrics_without_destinations { Detail::Services } else { Detail::Destinations }
    }
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    state: StateDirectory,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    metrics: MetricsOptions,
    /// Run the election with real-time scheduling (SCHED_RR) of this priority
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=99))]
    realtime: Option<u8>,
    /// Keep the daemon's memory out of swap
    #[arg(long)]
    lock_memory: bool,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Order {
    #[command(flatten)]
    which: RouterChoice,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
struct Leave {
    #[command(flatten)]
    order: Order,
    /// Even if no other director is heard: nobody may serve then
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Generation {
    /// The first digits of the generation that is meant [default: whichever is on probation]
    generation: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RouterChoice {
    /// A virtual router or sync group
    #[arg(value_parser = host_name)]
    router: Option<Name>,
    /// All virtual routers of this host
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Once {
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    state: StateDirectory,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Diff {
    #[command(flatten)]
    once: Once,
    #[command(flatten)]
    socket: Socket,
    /// Exit with 2 when something would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// The whole as a JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    socket: Socket,
    /// The whole status document as JSON
    #[arg(long)]
    json: bool,
    /// With the connections of each destination and the traffic of each virtual server
    #[arg(long)]
    usage: bool,
}

/// The whole command line, as clap has it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The `evenkeeld` program.
#[must_use]
pub fn main() -> ExitCode {
    match out::arguments::<Cli>() {
        Ok(Cli { command: Command::Guard(own) }) => guard::run(&own.socket),
        Ok(Cli { command }) => command.run(),
        Err(code) => code,
    }
}

impl Command {
    fn run(self) -> ExitCode {
        let is_daemon = matches!(self, Self::Run(_));
        if is_daemon {
            memory::fix_limits();
        }
        let wanted = match logging::wanted() {
            Ok(wanted) => wanted,
            Err(why) => {
                let error = Cli::command().error(ErrorKind::InvalidValue, why);
                if !is_daemon {
                    return out::explain(&error);
                }
                // A service manager waits for the end, whoever reads the log.
                let mut log = Log::begin(logging::usual());
                log.ends_in_time();
                log.say(error.render());
                log.write().ok();
                return ExitCode::from(out::USAGE);
            }
        };
        let mut log = Log::begin(wanted);
        if is_daemon {
            log.ends_in_time();
        }
        let result = log.write().map_err(CommandError::Log).and_then(|()| self.carry_out());
        result.unwrap_or_else(|error| {
            if is_daemon {
                log.say(format_args!("error: {error}"));
            } else {
                drop(log);
                out::complain(format_args!("error: {error}"));
            }
            ExitCode::FAILURE
        })
    }

    fn carry_out(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Run(run) => run_daemon(run),
            Self::Diff(diff) => show_difference(&diff),
            Self::Converge(once) => {
                let host = host(once.plan.host)?;
                let done = once::converge(&once.plan.plan, &host, &once.state.state_dir, once.files.trust())?;
                report_done(&done, "Converged: ", "Nothing to do: the kernel is as the plan says.")
            }
            Self::Cleanup(Cleanup { state, without_ledger, files }) => {
                let done = once::cleanup(&state.state_dir, files.trust(), without_ledger)?;
                report_done(&done, "Cleaned up: ", "Nothing to do: nothing here is evenkeel's.")
            }
            Self::Status(status) => show_status(&status),
            Self::Failover(leave) => give(leave.order, Action::Failover, leave.force),
            Self::Hold(leave) => give(leave.order, Action::Hold, leave.force),
            Self::Release(order) => give(order, Action::Release, false),
            Self::Drain(drain) => drain.run(),
            Self::Undrain(undrain) => undrain.run(),
            Self::Confirm(which) => end_probation(which, probation::ProbationAction::Confirm),
            Self::Rollback(which) => end_probation(which, probation::ProbationAction::Rollback),
            Self::Pull(pull) => pull.run(),
            Self::Pause(pause) => pause.run(),
            Self::Resume(resume) => resume.run(),
            Self::Accept(accept) => accept.run(),
            Self::Completions(which) => which.run(),
            Self::Man(man) => man.run(),
            // `main` runs it with a log of its own.
            Self::Guard(_) => Ok(ExitCode::FAILURE),
        }
    }
}

fn host_name(text: &str) -> Result<Name, ScalarError> {
    text.parse()
}

/// The host's name: as given, or the machine's up to the first dot.
fn host(given: Option<Name>) -> Result<Name, CommandError> {
    if let Some(name) = given {
        return Ok(name);
    }
    let machine = nix::unistd::gethostname().map_err(CommandError::HostName)?;
    let machine = machine.to_string_lossy();
    let short = machine.split('.').next().unwrap_or_default();
    host_name(short).map_err(CommandError::WrongHostName)
}

fn run_daemon(run: Run) -> Result<ExitCode, CommandError> {
    descriptors::raise_limit();
    let (host, plan) = (host(run.plan.host)?, absolute(&run.plan.plan)?);
    let (state_dir, trust) = (absolute(&run.state.state_dir)?, run.files.trust());
    let around = Around { plan: &plan, host: &host, state: &state_dir, trust };
    let options = Options {
        source: run.source.source(&around)?,
        host,
        state_dir,
        socket: absolute(&run.socket.socket)?,
        metrics: run.metrics.metrics,
        metrics_detail: run.metrics.detail(),
        scheduling: Scheduling { realtime: run.realtime, lock_memory: run.lock_memory },
        trust,
    };
    // Signals are held before there is any other thread that could get them; the log's thread blocks them
    // all.
    let stop = StopSignals::hold().map_err(CommandError::Signals)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(daemon::run(options, stop));
    runtime.shutdown_timeout(LAST_JOBS);
    ended.map(|()| ExitCode::SUCCESS).map_err(CommandError::Daemon)
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| CommandError::Path(path.to_owned(), error))
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)
}

fn show_difference(diff: &Diff) -> Result<ExitCode, CommandError> {
    let Once { plan, state, files } = &diff.once;
    let socket = &diff.socket.socket;
    // Without a daemon there is no socket. A daemon that does not answer is an error: its roles cannot be
    // guessed.
    let status = if socket.exists() { Some(runtime()?.block_on(requests::fetch(socket))?) } else { None };
    let host = host(plan.host.clone())?;
    let found = diff::difference(&plan.plan, &host, &state.state_dir, status.as_ref(), files.trust())?;
    if diff.json {
        out::print(json(&found)?)?;
    } else {
        out::print(diff::page(&found, out::with_color()))?;
    }
    let changes = diff.detailed_exitcode && !found.operations.is_empty();
    Ok(if changes { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn report_done(done: &[Op], title: &str, nothing: &str) -> Result<ExitCode, CommandError> {
    out::print_with(|output| {
        for operation in done.iter().flat_map(Op::singles) {
            writeln!(output, "{operation}")?;
        }
        match done.iter().map(Op::count).sum::<usize>() {
            0 => writeln!(output, "{nothing}"),
            1 => writeln!(output, "{title}1 operation."),
            count => writeln!(output, "{title}{count} operations."),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn give(order: Order, action: Action, force: bool) -> Result<ExitCode, CommandError> {
    let give = client::give(&order.socket.socket, action, order.which.router, force);
    let (text, obeyed) = runtime()?.block_on(give)?;
    out::print(text)?;
    Ok(if obeyed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn end_probation(which: Generation, action: probation::ProbationAction) -> Result<ExitCode, CommandError> {
    let request = probation::ProbationRequest { action, generation: which.generation };
    let (text, done) = runtime()?.block_on(client::end_probation(&which.socket.socket, &request))?;
    out::print(text)?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_status(args: &Status) -> Result<ExitCode, CommandError> {
    let socket = &args.socket.socket;
    let runtime = runtime()?;
    let status = if args.usage {
        runtime.block_on(requests::fetch_usage(socket))
    } else {
        runtime.block_on(requests::fetch(socket))
    }?;
    if args.json {
        out::print(json(&status)?)?;
    } else {
        out::print(page::page(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A document for programs, as JSON with a newline.
fn json(document: &impl serde::Serialize) -> Result<String, CommandError> {
    serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(CommandError::Document)
}
