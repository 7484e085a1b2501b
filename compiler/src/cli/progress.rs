//! What a command that takes long is doing: a line on standard error that is gone when it is done. Only
//! people at a terminal see it, and only of what takes over a second.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time before a line of progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Often enough for seconds that are counted.
const REFRESH: Duration = Duration::from_millis(250);

/// Back to the beginning of the line, and away with what stands there.
const CLEAR: &str = "\r\u{1b}[K";

/// Shows what is being done until it is dropped.
pub(super) struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    doing: &'static str,
    begun: Instant,
    /// Whether the line stands there.
    shown: bool,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            // There is nowhere else to say that it cannot be written.
            let _ = io::stderr().lock().write_all(CLEAR.as_bytes());
        }
    }
}

impl Progress {
    /// Begins; none where nobody would see it.
    pub(super) fn begin(doing: &'static str) -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return None;
        }
        let state = State { doing, begun: Instant::now(), shown: false, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("progress".to_owned()).spawn(move || show(&of_thread)).ok()?;
        Some(Self { shared, thread: Some(thread) })
    }

    /// From now on it is doing this.
    pub(super) fn now(&self, doing: &'static str) {
        self.shared.state().doing = doing;
    }

    /// Writes something else to standard error; the line comes back below it.
    pub(super) fn beside(&self, write: impl FnOnce()) {
        let mut state = self.shared.state();
        state.clear();
        write();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(shared: &Shared) {
    let mut state = shared.state();
    let mut wait = PATIENCE;
    while !state.ended {
        (state, _) = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        let taken = state.begun.elapsed();
        if !state.ended && taken >= PATIENCE {
            state.shown = true;
            let line = format!("{CLEAR}{} … {} s", state.doing, taken.as_secs());
            let _ = io::stderr().lock().write_all(line.as_bytes());
            wait = REFRESH;
        }
    }
    state.clear();
}
