//! How long the guest itself stood still: its one processor is an ordinary process of a machine that may be
//! busy with others. What is asserted of times in the guest allows for that, and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::journal::Journal;
use crate::time::Mark;

/// How often it beats.
const BEAT: Duration = Duration::from_millis(10);
/// A beat that is later than this had to wait; below it is what a timer costs.
const LATE: Duration = Duration::from_millis(3);

/// A thread that wants to run every 10 ms, and sees how often it cannot. Dropped, it stops.
pub struct Pulse {
    late: Journal<Duration>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// From now on.
    pub fn start() -> Self {
        let late = Journal::new();
        let stop = Arc::new(AtomicBool::new(false));
        let (writer, stopped) = (late.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let slept = Instant::now();
                std::thread::sleep(BEAT);
                writer.push(Instant::now(), slept.elapsed().saturating_sub(BEAT));
            }
        });
        Self { late, stop, thread: Some(thread) }
    }

    /// The longest time since the mark that this thread waited for the processor.
    pub fn stalled_since(&self, mark: Mark) -> Duration {
        self.late.with(|all| {
            let recent = all.iter().rev().take_while(|record| record.at >= mark);
            recent.map(|record| record.what).max().unwrap_or_default()
        })
    }

    /// The sum of what it waited between the two, beats that were hardly late left out: for things that take
    /// several turns of the processor.
    pub fn lost_between(&self, from: Mark, to: Mark) -> Duration {
        self.late.with(|all| {
            let recent = all.iter().rev().take_while(|record| record.at >= from);
            let late = recent.filter(|record| record.what > LATE && record.at - record.what <= to);
            late.map(|record| record.what).sum()
        })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
