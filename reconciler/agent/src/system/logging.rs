//! The log: to standard error, as much of it as `EVENKEEL_LOG` says. No line of it delays any work: `queue` has the lines that were not
//! written yet, and the thread that waits for whoever reads them. `filter` knows what is logged at all.

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

/// The variable that says how much is logged.
const VARIABLE: &str = "EVENKEEL_LOG";
/// How long the end of a daemon waits for its last lines to be taken. Service managers wait longer, and its VIPs are gone by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The queue of this process: log lines and panics come from everywhere.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// What `EVENKEEL_LOG` says.
///
/// # Errors
/// It is no filter: a sentence for people.
pub(crate) fn wanted() -> Result<Targets, String> {
    let text = match std::env::var(VARIABLE) {
        Ok(text) => text,
        Err(VarError::NotPresent) => String::new(),
        // Its words are not levels, whatever they are.
        Err(VarError::NotUnicode(text)) => text.to_string_lossy().into_owned(),
    };
    filter::parse(&text).map_err(|error| format!("{VARIABLE}: {error}"))
}

/// What is logged unless something else is said.
pub(crate) fn usual() -> Targets {
    Targets::new().with_default(filter::USUAL)
}

/// The log of this process. Dropped, it waits for its last lines to be written.
#[derive(Debug)]
pub(crate) struct Log {
    /// How long; for ever when absent.
    patience: Option<Duration>,
}

impl Log {
    /// Begins to take lines. They are written once [`Self::write`] was called.
    pub(crate) fn begin(wanted: Targets) -> Self {
        let queue = QUEUE.get_or_init(|| Arc::new(Queue::new()));
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(Lines(queue))
            .with_ansi(color)
            .with_target(false)
            // They would go to standard error at once, whoever reads it.
            .log_internal_errors(false);
        tracing_subscriber::registry().with(lines).with(wanted).init();
        std::panic::set_hook(Box::new(|panic| queue.push(last_words(panic).as_bytes())));
        Self { patience: None }
    }

    /// Writes the lines from now on, on a thread that has the rights of the calling one and handles no signal.
    ///
    /// # Errors
    /// When no thread can be made.
    pub(crate) fn write(&self) -> io::Result<()> {
        QUEUE.get().map_or(Ok(()), |queue| queue.write_to(io::stderr()))
    }

    /// The process must end in time, whoever reads its log. (A command waits for its reader as for that of its output.)
    pub(crate) fn ends_in_time(&mut self) {
        self.patience = Some(LAST_WORDS);
    }

    /// A line for people, whatever is logged otherwise.
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

/// What of the log did not get out.
pub(crate) fn status() -> LogStatus {
    QUEUE.get().map(|queue| queue.status()).unwrap_or_default()
}

/// The standard library's own words on a panic would be written where they come up.
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

/// Puts each line of the log into the queue.
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
