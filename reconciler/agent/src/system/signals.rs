//! The signals that end the daemon, SIGTERM and SIGINT. They are blocked and read from a descriptor
//! (signalfd(2)) by the election's own thread: a host that is told to stop gives its VIPs away before any
//! other thread has its turn.
//!
//! Programs inherit blocked signals, so they are started with [`unblocked`]. A signal that comes just then
//! reaches the handlers that the main loop has as well.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

fn signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals
}

/// Starts a program with the signals unblocked.
pub(crate) fn unblocked<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::thread_get_mask();
    signals().thread_unblock().ok();
    let started = start();
    before.and_then(|before| before.thread_set_mask()).ok();
    started
}

/// Descriptor on which the signals arrive.
#[derive(Debug)]
pub(crate) struct StopSignals(SignalFd);

impl StopSignals {
    /// Blocks the signals in the calling thread and in those that it starts from now on.
    ///
    /// Errors of the kernel, mostly that the process has no descriptor left.
    pub(crate) fn hold() -> nix::Result<Self> {
        let signals = signals();
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Whether a signal has arrived since the last call.
    pub(crate) fn arrived(&mut self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn they_arrive_here_and_programs_have_them_as_always() {
        let (arrived, ended) = std::thread::spawn(|| {
            let mut signals = StopSignals::hold().expect("held");
            let before = signals.arrived();
            nix::sys::signal::raise(Signal::SIGTERM).expect("raised");
            let arrived = [before, signals.arrived(), signals.arrived()];
            let ended = unblocked(|| Command::new("sh").args(["-c", "kill -TERM $$"]).status().expect("sh"));
            nix::sys::signal::raise(Signal::SIGINT).expect("raised");
            assert!(signals.arrived(), "blocked again");
            (arrived, ended)
        })
        .join()
        .expect("the thread ends");
        assert_eq!(arrived, [false, true, false]);
        assert_eq!(ended.signal(), Some(Signal::SIGTERM as i32));
    }
}
