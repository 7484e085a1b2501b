//! A thread for what waits for a disk and must be done in order.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// The running thread.
pub(crate) struct Disk {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        let thread = std::thread::Builder::new().name("disk".to_owned());
        let thread = thread.spawn(move || inbox.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs, thread })
    }

    /// Has something done after all that was given before.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // Fails only when a job has panicked, which ends what waits for its answer.
        self.jobs.send(Box::new(job)).ok();
    }

    /// Ends the thread when all is done.
    pub(crate) fn stop(self) {
        drop(self.jobs);
        self.thread.join().ok();
    }
}
