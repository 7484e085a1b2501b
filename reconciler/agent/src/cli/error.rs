//! Reasons why a command fails, and the sentence for each.

use std::fmt;
use std::io;
use std::path::PathBuf;

use evenkeel_converge::Op;
use evenkeel_host::loaded::PlanRefusal;
use evenkeel_kernel::{ApplyError, KernelError};
use evenkeel_schemas::scalars::ScalarError;
use evenkeel_schemas::status::ConvergenceError;
use nix::errno::Errno;

use crate::api::requests::RequestError;
use crate::daemon::DaemonError;
use crate::daemon::in_the_way::SearchError;
use crate::state::disk::Waiting;
use crate::system::out::OutputError;

/// Hint for a cleanup without the ledger.
pub(super) const WITHOUT_LEDGER: &str = "Addresses, routes, rules and interfaces carry evenkeel's mark and \
    go; virtual servers, the time-outs of IPVS and settings carry none and stay: `ipvsadm -Ln` and \
    `sysctl -a` show them";

/// Reason why a command fails.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The log cannot be written.
    Log(io::Error),
    /// The result cannot be written.
    Output(OutputError),
    /// The runtime cannot be had.
    Runtime(io::Error),
    /// Signals cannot be held.
    Signals(Errno),
    /// The machine has no host name.
    HostName(Errno),
    /// The machine's host name is no name of a host in a plan.
    WrongHostName(ScalarError),
    /// The working directory, to which this path is relative, is not known.
    Path(PathBuf, io::Error),
    /// A file cannot be read or written, or another daemon holds it: the error names it.
    File(io::Error),
    /// The state directory cannot be emptied.
    Forget(io::Error),
    /// The thread that writes files cannot be made.
    Disk(io::Error),
    /// Manual pages cannot be written to this directory.
    Pages(PathBuf, io::Error),
    /// The source of plans is not understood.
    Source(String),
    /// The plan is refused.
    Plan(PlanRefusal),
    /// The kernel does not answer.
    Kernel(KernelError),
    /// Objects in the way of the plan cannot be looked for.
    Search(SearchError),
    /// The ledger is damaged, so nothing was removed.
    Ledger(io::Error),
    /// A damaged ledger cannot be put aside.
    LedgerStays {
        /// Damage of the file.
        damage: io::Error,
        /// Why it stays.
        error: io::Error,
    },
    /// Operations of the last pass failed.
    Convergence(Vec<ConvergenceError>),
    /// Objects cannot be removed.
    Cleanup(Vec<(Op, ApplyError)>),
    /// The kernel is as the plan says, but these files are not on the disk.
    NotKept(Vec<Waiting>),
    /// The daemon does not carry the request out.
    Request(RequestError),
    /// The daemon cannot run.
    Daemon(DaemonError),
    /// A document cannot be made.
    Document(serde_json::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(f, "log: {error}"),
            Self::Output(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Signals(error) => write!(f, "signals: {error}"),
            Self::HostName(error) => write!(f, "host name: {error}"),
            Self::WrongHostName(error) => {
                write!(f, "the machine's host name cannot be used ({error}): give --host")
            }
            Self::Path(path, error) => write!(f, "{}: {error}", path.display()),
            Self::File(error) => error.fmt(f),
            Self::Forget(error) => write!(f, "state directory: {error}"),
            Self::Disk(error) => write!(f, "disk: {error}"),
            Self::Pages(directory, error) => write!(f, "cannot write {}: {error}", directory.display()),
            Self::Source(why) => f.write_str(why),
            Self::Plan(refusal) => refusal.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::Search(error) => error.fmt(f),
            Self::Ledger(error) => write!(
                f,
                "{error}\nIt says which virtual servers and settings are evenkeel's, so nothing was removed. \
                 Put a copy of it in its place if there is one. Or run `evenkeeld cleanup --without-ledger`: \
                 it puts the file aside and removes what can be told without it. {WITHOUT_LEDGER}"
            ),
            Self::LedgerStays { damage, error } => write!(f, "{damage}; {error}"),
            Self::Convergence(errors) => {
                let line = |error: &ConvergenceError| format!("cannot {}: {}", error.operation, error.reason);
                f.write_str(&errors.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            Self::Cleanup(errors) => {
                let line = |(op, error): &(Op, ApplyError)| format!("cannot {op}: {error}");
                f.write_str(&errors.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            Self::NotKept(waiting) => {
                let line = |Waiting { file, reason, .. }: &Waiting| {
                    let reason = reason.as_deref().unwrap_or("the disk does not answer");
                    format!("{file} cannot be written: {reason}")
                };
                let lines: Vec<String> = waiting.iter().map(line).collect();
                write!(f, "this host is as its plan says, but {}", lines.join("; "))
            }
            Self::Request(error) => error.fmt(f),
            Self::Daemon(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
        }
    }
}

impl From<OutputError> for CommandError {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

impl From<PlanRefusal> for CommandError {
    fn from(refusal: PlanRefusal) -> Self {
        Self::Plan(refusal)
    }
}

impl From<KernelError> for CommandError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl From<RequestError> for CommandError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}
