//! Entry points: the same call is the host side (boots a kernel), the guest's first process, and the test itself.
//! Which of the three it is, the environment tells. Booting is in `uml`, the first process in `init`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::Lab;
use crate::journal::lock;
use crate::story::Ended;
use crate::{init, uml};

/// Tells a process inside the guest which part it plays: `init` or `test`.
pub(crate) const STAGE: &str = "EVENKEEL_LAB";
/// Host path of the directory shared with the guest.
pub(crate) const SHARE: &str = "EVENKEEL_LAB_SHARE";
/// Seconds the guest may run.
pub(crate) const LIMIT: &str = "EVENKEEL_LAB_LIMIT";
/// Modules that are not loaded beforehand, between commas.
pub(crate) const ON_DEMAND: &str = "EVENKEEL_LAB_ON_DEMAND";
/// What the kernel's modprobe refuses, between commas.
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

/// What a guest is given.
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
    /// Names and aliases of modules that the kernel asks for in vain, as it would where they are not installed. One that is a part of
    /// another one's needs still comes with that.
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

/// Runs `test` inside a fresh guest; the calling test fails if it does. Call it once a test, as the test's whole body: the
/// guest runs the same `#[test]` from its beginning.
#[track_caller]
pub fn guest(test: impl FnOnce(&Lab)) {
    guest_with(Options::default(), test);
}

/// [`guest`] with other limits.
#[track_caller]
pub fn guest_with(options: Options, test: impl FnOnce(&Lab)) {
    if let Err(failure) = attempt(options, test) {
        panic!("{failure}");
    }
}

/// [`guest`] that returns the failure, for tests of the lab itself.
pub fn attempt<F: FnOnce(&Lab)>(options: Options, test: F) -> Result<(), Failure> {
    match std::env::var(STAGE).as_deref() {
        Ok("init") => init::run(),
        Ok("test") => run_in_guest(test),
        _ => {
            once();
            let name = test_name(std::any::type_name::<F>());
            let arguments = ["--exact", &name, "--nocapture", "--test-threads=1", "--include-ignored"];
            uml::boot(&options, &arguments.map(str::to_owned))
        }
    }
}

/// Runs `program` in a guest from an ordinary `main`, its output going live to the terminal. The guest runs this same executable with
/// this process's arguments.
pub fn run_main<F: FnOnce(&Lab)>(options: Options, program: F) -> ExitCode {
    match std::env::var(STAGE).as_deref() {
        Ok("init") => init::run(),
        Ok("test") => run_in_guest(program),
        _ => {
            let arguments: Vec<String> = std::env::args().skip(1).collect();
            match uml::boot(&options, &arguments) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    eprintln!("{failure}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// The closure's type is named after the function it stands in, which under libtest is the test's name; the thread's name is not
/// always (`--test-threads=1` uses the main thread).
fn test_name(type_name: &str) -> String {
    let mut path = type_name;
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    assert_ne!(path, type_name, "lab::guest wants a closure written inside the #[test] function");
    path.split_once("::").expect("a crate and a function").1.to_owned()
}

/// A second guest in the same test would run the first one's closure: refuse it. (Tests in one process are told apart by thread.)
fn once() {
    static BOOTED: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
    let name = std::thread::current().name().map(str::to_owned);
    let me = std::thread::current().id();
    let mut booted = lock(&BOOTED);
    assert!(!booted.contains(&me) || name.as_deref() == Some("main"), "one lab::guest a test");
    booted.push(me);
}

/// The guest's second process: runs the test and leaves a verdict in the shared directory.
fn run_in_guest<F: FnOnce(&Lab)>(test: F) -> ! {
    // libtest has begun a line of its own.
    println!("\n{OUTPUT_STARTS}");
    let finished = Arc::new(AtomicBool::new(false));
    start_watchdog(time_limit(), Arc::clone(&finished));

    let message = Arc::new(Mutex::new(String::new()));
    record_panics(Arc::clone(&message));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::new(Path::new(SHARE_IN_GUEST));
        test(&lab);
    }));
    finished.store(true, Ordering::SeqCst);
    println!("{OUTPUT_ENDS}");
    let code = match outcome {
        Ok(()) => {
            leave_verdict(PASSED, "");
            0
        }
        Err(_) => {
            leave_verdict(FAILED, &lock(&message));
            101
        }
    };
    std::process::exit(code)
}

/// How long the test may run in the guest.
pub(crate) fn time_limit() -> Duration {
    let seconds = std::env::var(LIMIT).ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.expect("the time limit is a number"))
}

/// Ends an overlong test from within, while its logs can still be written out. The host has a later limit of its own.
pub(crate) fn start_watchdog(limit: Duration, finished: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if !finished.load(Ordering::SeqCst) {
            println!("{OUTPUT_ENDS}");
            leave_verdict(FAILED, uml::TIME_IS_UP);
            std::process::exit(102);
        }
    });
}

/// Keeps the last message: the test fails by its own panic, or by one it carries on from a thread on a host.
fn record_panics(message: Arc<Mutex<String>>) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        *lock(&message) = info.to_string();
        usual(info);
    }));
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

#[cfg(test)]
mod tests {
    use super::test_name;

    #[test]
    fn test_names_are_taken_from_closures() {
        assert_eq!(test_name("lab::lab_boots::{{closure}}"), "lab_boots");
        assert_eq!(test_name("a::b::c::{{closure}}::{{closure}}"), "b::c");
    }
}
