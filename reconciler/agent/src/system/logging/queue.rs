//! Lines of the log on their way out: a bounded queue, and the thread that writes its content.
//!
//! ```text
//!   any thread --push, never waits--> queue --writer thread, the only one that waits--> standard error
//! ```
//!
//! The reader of the log may stop: a journal on a dead disk, a container's log driver. Then the queue fills
//! up, and further lines are dropped and counted. Once half of it has gone out, one line gives the number of
//! missing lines, in their place. The writer allocates nothing: an allocator's arena of its own would take
//! more memory than the queue in ordinary times.

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

/// Most that waits, bytes: some 2,500 lines, as many as a director logs that takes over a thousand virtual
/// routers. The queue grows to that only while lines come faster than they go out.
const CAPACITY: usize = 256 * 1024;
/// After a gap lines are accepted again once no more than this waits, bytes. So there is one line about a gap
/// for every half of a queue, not for every line that a slow reader takes.
const RESUME: usize = CAPACITY / 2;
/// Most that is written at once, bytes: what a pipe takes whole or not at all (`PIPE_BUF`), so that lines of
/// the daemon and of its guardian, which share one, are not mixed.
const PIECE: usize = 4096;
/// An empty queue with more memory than this releases it, bytes.
const KEEP: usize = 16 * 1024;
/// Time that one write may take before status reports that nobody reads.
const SLOW: Duration = Duration::from_secs(1);
/// Stack of the writer, bytes: its buffer and a few calls.
const STACK: usize = 128 * 1024;

/// The queue. Lines are whole in it: each ends with a newline.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// Notified when something waits.
    filled: Condvar,
    /// Notified when nothing waits and nothing is being written.
    idle: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<u8>,
    /// Lines dropped since the queue was full, of which no line in it reports yet.
    gap: u64,
    /// Lines that could not be written, of which no written line reports yet.
    failed: u64,
    /// All lines that were dropped.
    dropped: u64,
    /// Start of the write under way.
    writing: Option<MonoTime>,
    /// Reason of the last write's failure.
    error: Option<Errno>,
    /// Whether there is a thread that writes.
    has_writer: bool,
}

/// Content of the writer's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// The next bytes of the queue, so many.
    Lines(usize),
    /// A line about lines that could not be written, of so many bytes.
    Failure(usize),
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), idle: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing that panics is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a text of one or more lines, or drops it. Waits for nothing but the copying of a piece.
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

    /// Starts the thread that writes to `output`; until then lines wait. It handles no signal, and has the
    /// rights that the calling thread has now.
    ///
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

    /// Waits until everything is written, at most for `limit`.
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

    /// Status of the log.
    pub(super) fn status(&self) -> LogStatus {
        let state = self.lock();
        let stuck = state.writing.map(|since| clock::now().since(since)).filter(|taken| *taken >= SLOW);
        let problem = match (stuck, state.error) {
            (Some(taken), _) => Some(format!("it has taken no line for {} s", taken.as_secs())),
            (None, error) => error.map(|error| error.desc().to_owned()),
        };
        LogStatus { dropped: state.dropped, problem }
    }

    /// The writer's loop, without end.
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

    /// Records the result of writing a piece, of which `left` could not be written.
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
            // A line that was begun and not finished counts as lost.
            (Piece::Lines(_), Err(_)) => lines(left).max(1),
            // One attempt for everything that waits.
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

/// Moves as many whole lines as fit, or as much of a long one. Returns the number of bytes.
fn take_lines(waiting: &mut VecDeque<u8>, buffer: &mut [u8]) -> usize {
    let fits = waiting.len().min(buffer.len());
    let end = waiting.range(..fits).rposition(|byte| *byte == b'\n');
    let length = end.map_or(fits, |end| end + 1);
    for (place, byte) in buffer.iter_mut().zip(waiting.drain(..length)) {
        *place = byte;
    }
    length
}

/// Writes a line about dropped lines, in the form of the log's lines. Returns its length, bytes.
fn sentence(buffer: &mut [u8], lines: u64, why: &str) -> usize {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    let what = if lines == 1 { "line of the log was" } else { "lines of the log were" };
    let room = buffer.len();
    let mut left = buffer;
    writeln!(left, "{now}  WARN {lines} {what} dropped: {why}").ok();
    room - left.len()
}

/// Writes everything, waiting for as long as it takes; `left` is the rest that could not be written.
fn write_all(output: &impl AsFd, left: &mut &[u8]) -> Result<(), Errno> {
    while !left.is_empty() {
        match nix::unistd::write(output, left) {
            Ok(0) => return Err(Errno::EIO),
            Ok(length) => *left = left.get(length..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // A process that shares the output has made it non-blocking.
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
