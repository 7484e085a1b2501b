//! Reasons why a daemon cannot run, or stops without having been told to.

use std::fmt;
use std::io;

use crate::election::LeftBehind;

/// Reason why a daemon cannot run.
#[derive(Debug)]
pub(crate) enum DaemonError {
    /// Another daemon runs, or a file or the socket cannot be had: the error names it.
    Begin(io::Error),
    /// A part of the daemon cannot be started.
    Part(&'static str, io::Error),
    /// A thread has ended although nobody told it to.
    Ended(&'static str),
    /// The election could not leave the host as it should.
    Left(LeftBehind),
    /// The convergence thread ended with a panic.
    ConvergencePanicked,
}

impl DaemonError {
    /// For an error of a part that does not say of which.
    pub(super) fn of(part: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Part(part, error)
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(error) => error.fmt(f),
            Self::Part(part, error) => write!(f, "{part}: {error}"),
            Self::Ended(thread) => write!(f, "the {thread} thread ended"),
            Self::Left(left) => left.fmt(f),
            Self::ConvergencePanicked => f.write_str("the convergence thread ended with a panic"),
        }
    }
}

impl From<io::Error> for DaemonError {
    fn from(error: io::Error) -> Self {
        Self::Begin(error)
    }
}
