//! Entry points: the same call is the host side (boots a kernel), the guest's first process, and the test
//! itself. Which of the three it is, the environment tells. Booting is in `uml`, the first process in `init`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use crate::cluster::Lab;
use crate::journal::lock;
use crate::verdict::{
    FAILED, Failure, LIMIT, OUTPUT_ENDS, OUTPUT_STARTS, Options, PASSED, SHARE_IN_GUEST, STAGE, leave_verdict,
};
use crate::{init, uml};

/// Runs `test` inside a fresh guest; the calling test fails if it does. Call it once a test, as the test's
/// whole body: the guest runs the same `#[test]` from its beginning.
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

/// Runs `program` in a guest from an ordinary `main`, its output going live to the terminal. The guest runs
/// this same executable with this process's arguments.
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

/// The closure's type is named after the function it stands in, which under libtest is the test's name; the
/// thread's name is not
/// always (`--test-threads=1` uses the main thread).
fn test_name(type_name: &str) -> String {
    let mut path = type_name;
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    assert_ne!(path, type_name, "lab::guest wants a closure written inside the #[test] function");
    path.split_once("::").expect("a crate and a function").1.to_owned()
}

/// A second guest in the same test would run the first one's closure: refuse it. (Tests in one process are
/// told apart by thread.)
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

/// Ends an overlong test from within, while its logs can still be written out. The host has a later limit of
/// its own.
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

#[cfg(test)]
mod tests {
    use super::test_name;

    #[test]
    fn test_names_are_taken_from_closures() {
        assert_eq!(test_name("lab::lab_boots::{{closure}}"), "lab_boots");
        assert_eq!(test_name("a::b::c::{{closure}}::{{closure}}"), "b::c");
    }
}
