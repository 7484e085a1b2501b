//! The lines of the log on their way out: a bounded queue, and the thread that writes what is in it.
//!
//! ```text
//!   any thread --push, never waits--> queue --writer thread, the only one that waits--> standard error
//! ```
//!
//! Whoever reads the log may stop: a journal on a dead disk, a container's log driver. Then the queue fills up, and further lines are
//! dropped and counted. Once half of it has gone out, one line says how many are missing, at the place where they would be.
//! The writer allocates nothing: an allocator's arena of its own would take more memory than the queue in ordinary times.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use evenkeel_kernel::clock;
use evenkeel_schemas::status::LogStatus;
use evenkeel_schemas::time::MonoTime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;

/// Most that waits, bytes: some 2,500 lines, as many as a director says that takes over a thousand virtual routers. It holds as much
/// only while lines come faster than they go out.
const CAPACITY: usize = 256 * 1024;
/// After a gap lines are taken again once no more than this waits, bytes. So there is one word about a gap for every half of a queue,
/// not for every line that a slow reader takes.
const RESUME: usize = CAPACITY / 2;
/// Most that is written at once, bytes: what a pipe takes whole or not at all (`PIPE_BUF`), so that lines of the daemon and of its guardian,
/// which share one, are not mixed.
const PIECE: usize = 4096;
/// An empty queue that holds more memory than this gives it back, bytes.
const KEEP: usize = 16 * 1024;
/// How long one write may take before status says that nobody reads.
const SLOW: Duration = Duration::from_secs(1);
/// The writer's stack, bytes: its buffer and a few calls.
const STACK: usize = 128 * 1024;

/// The queue. Lines are whole in it: each ends with a newline.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something waits.
    filled: Condvar,
    /// Nothing waits and nothing is being written.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<u8>,
    /// Lines dropped since the queue was full, which nothing in it says yet.
    gap: u64,
    /// Lines that could not be written, which nothing that was written says yet.
    failed: u64,
    /// All lines that were dropped.
    dropped: u64,
    /// Since when a piece is being written.
    writing: Option<MonoTime>,
    /// Why the last write failed.
    error: Option<Errno>,
    /// Whether there is a thread that writes.
    has_writer: bool,
}

/// What the writer has in its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// The next so many bytes of the queue.
    Lines(usize),
    /// A sentence of so many bytes about lines that could not be written.
    Failure(usize),
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), idle: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a text of one or more lines, or drops it. Waits for nothing but the copying of a piece.
    pub(super) fn push(&self, text: &[u8]) {
        let newline: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
        let mut state = self.lock();
        if state.gap > 0 || state.waiting.len() + text.len() + newline.len() > CAPACITY {
            let lines = lines(text) + lines(newline);
            state.gap += lines;
            state.dropped += lines;
        } else {
            state.waiting.extend(text);
            state.waiting.extend(newline);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Starts the thread that writes to `output`; until then lines wait. It handles no signal, and has the rights that the
    /// calling thread has now.
    ///
    /// # Errors
    /// When no thread can be made: lines then wait for ever, and are dropped in the end.
    pub(super) fn write_to(self: &Arc<Self>, output: impl AsFd + Send + 'static) -> io::Result<()> {
        let before = SigSet::thread_get_mask();
        SigSet::all().thread_block().ok();
        let queue = Arc::clone(self);
        let thread = std::thread::Builder::new().name("log".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || queue.write(&output)).map(drop);
        before.and_then(|before| before.thread_set_mask()).ok();
        self.lock().has_writer = started.is_ok();
        started
    }

    /// Waits until everything is written, for at most so long.
    pub(super) fn flush(&self, limit: Option<Duration>) {
        let until = limit.map(|limit| clock::now() + limit);
        let mut state = self.lock();
        while state.has_writer && (!state.waiting.is_empty() || state.writing.is_some()) {
            let left = until.map_or(Duration::MAX, |until| clock::now().until(until));
            if left.is_zero() {
                return;
            }
            (state, _) = self.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What status says of it.
    pub(super) fn status(&self) -> LogStatus {
        let state = self.lock();
        let stuck = state.writing.map(|since| clock::now().since(since)).filter(|taken| *taken >= SLOW);
        let problem = match (stuck, state.error) {
            (Some(taken), _) => Some(format!("it has taken no line for {} s", taken.as_secs())),
            (None, error) => error.map(|error| error.desc().to_owned()),
        };
        LogStatus { dropped: state.dropped, problem }
    }

    /// The writer's work, without end.
    fn write(&self, output: &impl AsFd) {
        let mut buffer = [0; PIECE];
        // Whether the output ends within a line.
        let mut torn = false;
        loop {
            let piece = self.next(&mut buffer);
            let (Piece::Lines(length) | Piece::Failure(length)) = piece;
            let mut left = buffer.get(..length).unwrap_or_default();
            let mut written = Ok(());
            if torn {
                written = write_all(output, &mut b"\n".as_slice());
                torn = written.is_err();
            }
            if written.is_ok() {
                written = write_all(output, &mut left);
                torn = match left.len() {
                    0 => false,
                    rest if rest == length => torn,
                    rest => buffer.get(length - rest - 1) != Some(&b'\n'),
                };
            }
            self.written(piece, left, written);
        }
    }

    /// Waits for something to write and puts it into the buffer.
    fn next(&self, buffer: &mut [u8]) -> Piece {
        let mut state = self.lock();
        loop {
            if state.gap > 0 && state.waiting.len() <= RESUME {
                let lines = std::mem::take(&mut state.gap);
                let length = sentence(buffer, lines, "their reader did not keep up");
                state.waiting.extend(buffer.get(..length).unwrap_or_default());
            }
            if !state.waiting.is_empty() {
                break;
            }
            if state.waiting.capacity() > KEEP {
                state.waiting = VecDeque::new();
            }
            self.idle.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = Some(clock::now());
        match state.error {
            Some(why) if state.failed > 0 => Piece::Failure(sentence(buffer, state.failed, why.desc())),
            _ => Piece::Lines(take_lines(&mut state.waiting, buffer)),
        }
    }

    /// Notes what became of a piece, of which so much could not be written.
    fn written(&self, piece: Piece, left: &[u8], written: Result<(), Errno>) {
        let mut state = self.lock();
        state.writing = None;
        state.error = written.err();
        let lost = match (piece, written) {
            (Piece::Lines(_), Ok(())) => 0,
            (Piece::Failure(_), Ok(())) => {
                state.failed = 0;
                0
            }
            // The end of a line that was begun is a line that is not there.
            (Piece::Lines(_), Err(_)) => lines(left).max(1),
            // One attempt for all that waits.
            (Piece::Failure(_), Err(_)) => {
                let (front, back) = state.waiting.as_slices();
                let lost = lines(front) + lines(back);
                state.waiting.clear();
                lost
            }
        };
        state.failed += lost;
        state.dropped += lost;
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Moves as many whole lines as fit, or as much of a long one.
fn take_lines(waiting: &mut VecDeque<u8>, buffer: &mut [u8]) -> usize {
    let fits = waiting.len().min(buffer.len());
    let end = waiting.range(..fits).rposition(|byte| *byte == b'\n');
    let length = end.map_or(fits, |end| end + 1);
    for (place, byte) in buffer.iter_mut().zip(waiting.drain(..length)) {
        *place = byte;
    }
    length
}

/// Writes a line about dropped lines, as others of the log look; its length.
fn sentence(buffer: &mut [u8], lines: u64, why: &str) -> usize {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    let what = if lines == 1 { "line of the log was" } else { "lines of the log were" };
    let room = buffer.len();
    let mut left = buffer;
    writeln!(left, "{now}  WARN {lines} {what} dropped: {why}").ok();
    room - left.len()
}

/// Writes all of it, waiting for as long as it takes; what could not be written is left.
fn write_all(output: &impl AsFd, left: &mut &[u8]) -> Result<(), Errno> {
    while !left.is_empty() {
        match nix::unistd::write(output, left) {
            Ok(0) => return Err(Errno::EIO),
            Ok(length) => *left = left.get(length..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // Somebody who shares it has made it so.
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE).ok();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
