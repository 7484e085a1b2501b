//! Knowledge of both sides of a guest: the parts that its processes play, the shared directory, options, and
//! the verdict with which a test or a program for people ends. Booting is in `uml`, running in `guest` and
//! `story`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

/// Tells a process inside the guest which part it plays: `init` or `test`.
pub(crate) const STAGE: &str = "EVENKEEL_LAB";
/// Host path of the directory shared with the guest.
pub(crate) const SHARE: &str = "EVENKEEL_LAB_SHARE";
/// Seconds the guest may run.
pub(crate) const LIMIT: &str = "EVENKEEL_LAB_LIMIT";
/// Modules that are not loaded beforehand, between commas.
pub(crate) const ON_DEMAND: &str = "EVENKEEL_LAB_ON_DEMAND";
/// Modules that the kernel's modprobe refuses, between commas.
pub(crate) const REFUSED: &str = "EVENKEEL_LAB_REFUSED";
/// Where the guest sees the shared directory.
pub(crate) const SHARE_IN_GUEST: &str = "/run/share";
/// Console lines between these two are the test's own.
pub(crate) const OUTPUT_STARTS: &str = "=== lab: output starts ===";
pub(crate) const OUTPUT_ENDS: &str = "=== lab: output ends ===";
/// First line of the result file.
pub(crate) const PASSED: &str = "passed";
pub(crate) const FAILED: &str = "failed";
/// The program has told why it ended: exit code, and text for people.
pub(crate) const TOLD: &str = "told";

/// Resources of a guest.
#[derive(Clone, Debug)]
pub struct Options {
    /// Wall-clock time from the start of the test in the guest after which it has failed.
    pub time_limit: Duration,
    /// The guest's memory. Pages are taken from the host only when touched.
    pub memory_megabytes: u32,
    /// Whether the kernel has IPv6 (`ipv6.disable=1` if not). Without it, lab hosts have no IPv6 addresses.
    pub ipv6: bool,
    /// Modules of the lab that are not loaded beforehand, so that whoever needs one has to ask for it.
    pub on_demand: &'static [&'static str],
    /// Names and aliases of modules that the kernel asks for in vain, as it would where they are not
    /// installed. One that is a part of another one's needs still comes with that.
    pub refused: &'static [&'static str],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(180),
            memory_megabytes: 512,
            ipv6: true,
            on_demand: &[],
            refused: &[],
        }
    }
}

/// Why a guest did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The host lacks programs; the text says how to install them.
    Missing(String),
    /// The kernel did not come up as far as the test. The text is its console.
    NotBooted(String),
    /// The test panicked; the text is the panic's message and place.
    Panicked(String),
    /// The test, or the kernel under it, ended without a verdict: killed, aborted, kernel panic.
    Died(String),
    /// The time limit passed.
    TimedOut(Duration),
    /// A program for people says itself why it ended.
    Told(Ended),
    /// A signal ended a program for people.
    Interrupted(Signal),
    /// Nobody reads what a program for people prints.
    Unread,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(out, "the lab cannot run here: {what}"),
            Self::NotBooted(console) => write!(out, "the guest did not boot:\n{console}"),
            Self::Panicked(message) => write!(out, "failed in the guest: {message}"),
            Self::Died(how) => write!(out, "the guest died: {how}"),
            Self::TimedOut(limit) => write!(out, "the guest was not done within {limit:?}"),
            Self::Told(ended) => out.write_str(&ended.text),
            Self::Interrupted(signal) => write!(out, "interrupted by {signal}"),
            Self::Unread => out.write_str("nobody reads the output"),
        }
    }
}

/// Why a program ended early, for people: what happened, and lines that begin with `cause:` and `hint:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code of the program.
    pub code: u8,
    /// Text that is printed behind `error: `.
    pub text: String,
}

/// Writes the verdict for the host, whole or not at all.
pub(crate) fn leave_verdict(verdict: &str, message: &str) {
    let file = verdict_file(Path::new(SHARE_IN_GUEST));
    let draft = file.with_extension("draft");
    let written =
        std::fs::write(&draft, format!("{verdict}\n{message}")).and_then(|()| std::fs::rename(&draft, &file));
    if let Err(error) = written {
        println!("cannot leave a verdict: {error}");
    }
}

/// The verdict's place in a shared directory.
pub(crate) fn verdict_file(share: &Path) -> PathBuf {
    share.join("verdict")
}
