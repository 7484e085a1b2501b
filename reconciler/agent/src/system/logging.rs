//! The log: to standard error, as much of it as `EVENKEEL_LOG` asks for. No line delays any work: `queue` has
//! the lines that were not written yet, and the thread that waits for their reader. `filter` decides which
//! lines are logged.

mod filter;
mod queue;

use std::env::VarError;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use evenkeel_schemas::status::LogStatus;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use queue::Queue;

/// Environment variable that sets how much is logged.
const VARIABLE: &str = "EVENKEEL_LOG";
/// Time that the end of a daemon waits for its last lines to be read. Service managers wait longer, and its
/// VIPs are gone by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The queue of this process: log lines and panics come from every thread.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// `EVENKEEL_LOG` is set to a text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongFilter(filter::FilterError);

impl fmt::Display for WrongFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}: {}", self.0)
    }
}

/// The filter of `EVENKEEL_LOG`.
///
/// # Errors
/// When it is no filter.
pub(crate) fn wanted() -> Result<Targets, WrongFilter> {
    let text = match std::env::var(VARIABLE) {
        Ok(text) => text,
        Err(VarError::NotPresent) => String::new(),
        // Bytes that are not UTF-8 are no level, whatever they are.
        Err(VarError::NotUnicode(text)) => text.to_string_lossy().into_owned(),
    };
    filter::parse(&text).map_err(WrongFilter)
}

/// The filter when none is set.
pub(crate) fn usual() -> Targets {
    Targets::new().with_default(filter::USUAL)
}

/// The log of this process. When dropped, it waits for its last lines to be written.
#[derive(Debug)]
pub(crate) struct Log {
    /// Time to wait; no limit when absent.
    patience: Option<Duration>,
}

impl Log {
    /// Begins to accept lines. They are written once [`Self::write`] was called.
    pub(crate) fn begin(wanted: Targets) -> Self {
        let queue = QUEUE.get_or_init(|| Arc::new(Queue::new()));
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(Lines(queue))
            .with_ansi(color)
            .with_target(false)
            // They would go to standard error at once, and could wait for its reader.
            .log_internal_errors(false);
        tracing_subscriber::registry().with(lines).with(wanted).init();
        std::panic::set_hook(Box::new(|panic| queue.push(last_words(panic).as_bytes())));
        Self { patience: None }
    }

    /// Writes the lines from now on, on a thread that has the rights of the calling one and handles no
    /// signal.
    ///
    /// When no thread can be made.
    pub(crate) fn write(&self) -> io::Result<()> {
        QUEUE.get().map_or(Ok(()), |queue| queue.write_to(io::stderr()))
    }

    /// Bounds the wait at the end, whoever reads the log. (A command waits for the reader of its log as for
    /// that of its output.)
    pub(crate) fn ends_in_time(&mut self) {
        self.patience = Some(LAST_WORDS);
    }

    /// Logs a line for people, whatever the filter.
    pub(crate) fn say(&self, text: impl fmt::Display) {
        if let Some(queue) = QUEUE.get() {
            queue.push(text.to_string().as_bytes());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(self.patience);
        }
    }
}

/// Lines of the log that were lost, and why lines do not get out now.
pub(crate) fn status() -> LogStatus {
    QUEUE.get().map(|queue| queue.status()).unwrap_or_default()
}

/// A panic as a line of the log. The standard library would write its own text to standard error at once.
fn last_words(panic: &PanicHookInfo<'_>) -> String {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let mut text =
        format!("{now} ERROR thread {:?} panicked{place}", thread.name().unwrap_or("without a name"));
    if let Some(message) = panic.payload_as_str() {
        text += ": ";
        text += message;
    }
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        text += &format!("\n{backtrace}");
    }
    text
}

/// Writer that puts each line of the log into the queue.
#[derive(Clone, Copy)]
struct Lines(&'static Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests;
