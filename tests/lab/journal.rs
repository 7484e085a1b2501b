//! A growing, time-stamped list that one thread writes while others read it and wait for entries. Also the
//! background thread that fills one from file descriptors. What the entries mean is the caller's business.

use std::io::{PipeWriter, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Something seen, and when.
#[derive(Clone, Debug)]
pub struct Record<T> {
    /// When it was seen, on the monotonic clock.
    pub at: Instant,
    /// The thing seen.
    pub what: T,
}

/// The list. Clones share it.
pub(crate) struct Journal<T>(Arc<(Mutex<Vec<Record<T>>>, Condvar)>);

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(Vec::new()), Condvar::new())))
    }

    pub(crate) fn push(&self, at: Instant, what: T) {
        lock(&self.0.0).push(Record { at, what });
        self.0.1.notify_all();
    }

    /// Looks at all entries while the writer waits.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[Record<T>]) -> R) -> R {
        look(&lock(&self.0.0))
    }

    pub(crate) fn since(&self, mark: Instant) -> Vec<Record<T>> {
        self.with(|all| all.iter().filter(|record| record.at >= mark).cloned().collect())
    }

    /// The first entry not older than `mark`, past or future, that `wanted` accepts; `None` after `timeout`.
    pub(crate) fn wait(
        &self,
        mark: Option<Instant>,
        timeout: Duration,
        mut wanted: impl FnMut(&Record<T>) -> bool,
    ) -> Option<Record<T>> {
        let deadline = Instant::now() + timeout;
        let mut entries = lock(&self.0.0);
        let mut looked_at = 0;
        loop {
            let found = entries[looked_at..]
                .iter()
                .find(|record| mark.is_none_or(|mark| record.at >= mark) && wanted(record))
                .cloned();
            if found.is_some() {
                return found;
            }
            looked_at = entries.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            (entries, _) = self.0.1.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Locks, also after a panic elsewhere: a failing test still wants to see what was recorded.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that waits for file descriptors and calls `readable(index)` for each that has something; ends
/// when dropped.
pub(crate) struct Listener {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(
        name: &str,
        sources: Vec<OwnedFd>,
        mut readable: impl FnMut(usize, &OwnedFd) + Send + 'static,
    ) -> Self {
        let (stopped, stop) = pipe().expect("pipe");
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                loop {
                    let mut waits: Vec<PollFd> =
                        sources.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
                    waits.push(PollFd::new(stopped.as_fd(), PollFlags::POLLIN));
                    match poll(&mut waits, PollTimeout::NONE) {
                        Ok(_) => {}
                        Err(Errno::EINTR) => continue,
                        Err(error) => panic!("poll: {error}"),
                    }
                    let ready: Vec<bool> = waits.iter().map(|wait| wait.any().unwrap_or(true)).collect();
                    if ready[sources.len()] {
                        return;
                    }
                    for (index, source) in sources.iter().enumerate().filter(|(index, _)| ready[*index]) {
                        readable(index, source);
                    }
                }
            })
            .expect("a listening thread");
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
