//! Keeps a guardian running: one that is gone, hangs, or whose socket was removed is replaced.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_host::election::{Lost, Notice};
use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::Guardian;

/// Shortest time between two starts of a guardian.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time that a start takes.
const LONGEST_START: Duration = Duration::from_secs(60);

/// Keeps a guardian running. Lives within a tokio runtime.
pub(crate) struct Keeper {
    socket: PathBuf,
    state_dir: PathBuf,
    /// When a guardian is to be started; `None` while there is one.
    due: Option<MonoTime>,
    /// When the last one was started or found running.
    begun: MonoTime,
    /// Takes the outcome of each start.
    started: mpsc::Sender<io::Result<Guardian>>,
}

impl Keeper {
    /// Keeps the guardian that listens on `socket`. Those that are started later come through `started`.
    pub(crate) fn new(
        socket: PathBuf,
        state_dir: PathBuf,
        started: mpsc::Sender<io::Result<Guardian>>,
    ) -> Self {
        Self { socket, state_dir, due: None, begun: clock::now(), started }
    }

    /// When [`Self::start`] is to be called.
    pub(crate) const fn due(&self) -> Option<MonoTime> {
        self.due
    }

    /// Schedules a start when a notice says that the election has lost its guardian.
    pub(crate) fn notice(&mut self, notice: &Notice) {
        let Notice::GuardianLost(lost) = notice else { return };
        if self.due.is_some() {
            return;
        }
        match lost {
            Lost::Gone => warn!("the guardian is gone: starting another"),
            Lost::Hung { harmless: true } => {
                warn!("the guardian did not answer for most of a second and was ended: starting another");
            }
            Lost::Hung { harmless: false } => warn!(
                "the guardian did not answer for most of a second and cannot be ended: starting another, \
                 to which it gives way"
            ),
        }
        // At once, unless the last start was a moment ago.
        self.due = Some(clock::now().max(self.begun + PAUSE));
    }

    /// Replaces a guardian whose socket was removed: it still guards, but no later daemon would find it.
    pub(crate) fn check_socket(&mut self) {
        if self.due.is_none() && !self.socket.exists() {
            warn!("somebody removed the guardian's socket {}: it is made again", self.socket.display());
            self.start();
        }
    }

    /// Starts a guardian, on a thread that may wait.
    pub(crate) fn start(&mut self) {
        // Until the outcome comes, within a few seconds.
        self.due = Some(clock::now() + LONGEST_START);
        let (socket, state_dir, started) =
            (self.socket.clone(), self.state_dir.clone(), self.started.clone());
        tokio::task::spawn_blocking(move || {
            let guardian = Guardian::connect(&socket, &state_dir).map(|(guardian, _)| guardian);
            started.blocking_send(guardian).ok();
        });
    }

    /// The outcome of a start. Returns the guardian for the election.
    pub(crate) fn started(&mut self, guardian: io::Result<Guardian>) -> Option<Guardian> {
        match guardian {
            Ok(guardian) => {
                self.due = None;
                self.begun = clock::now();
                info!("another guardian is there");
                Some(guardian)
            }
            Err(error) => {
                error!("guardian: {error}");
                self.due = Some(clock::now() + PAUSE);
                None
            }
        }
    }
}
