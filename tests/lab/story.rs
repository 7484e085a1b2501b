//! Programs for people that run in a guest. What ends one early is told in a few lines with cause and hint,
//! never as a panic's trace; whoever interrupts one leaves nothing behind. Booting is in `uml`, what a
//! program tells is its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::Lab;
use crate::guest;
use crate::verdict::{
    Ended, Failure, OUTPUT_ENDS, OUTPUT_STARTS, Options, PASSED, SHARE_IN_GUEST, STAGE, TOLD, leave_verdict,
};
use crate::{init, uml};

/// Exit code of what has failed.
const FAILED: u8 = 1;

/// Runs `program` in a guest from an ordinary `main`, its output going live to the terminal. The guest runs
/// this same executable with this process's arguments. Ctrl-C ends the guest and removes what it had on this
/// machine.
pub fn run_story<F: FnOnce(&Lab) -> Result<(), Ended>>(options: Options, program: F) -> ExitCode {
    match std::env::var(STAGE).as_deref() {
        Ok("init") => init::run(),
        Ok("test") => tell_in_guest(program),
        _ => {
            let arguments: Vec<String> = std::env::args().skip(1).collect();
            let Err(failure) = uml::boot_for_people(&options, &arguments) else { return ExitCode::SUCCESS };
            let Ended { code, text } = told(failure);
            if !text.is_empty() {
                eprintln!("error: {text}");
            }
            ExitCode::from(code)
        }
    }
}

/// Whether this process is no part of a guest: there the kernel adds arguments of its own.
pub fn is_outside() -> bool {
    std::env::var_os(STAGE).is_none()
}

/// A failure in words.
fn told(failure: Failure) -> Ended {
    let failed = |what: &str, cause: &str, hint: &str| Ended {
        code: FAILED,
        text: format!("{what}\n  cause: {cause}\n  hint: {hint}"),
    };
    let busy = "look at what else runs here (`uptime`, `top`), and try again when it does less";
    match failure {
        Failure::Told(ended) => ended,
        Failure::Interrupted(signal) => Ended {
            code: u8::try_from(128 + signal as i32).unwrap_or(FAILED),
            text: format!("interrupted by {signal}; the kernel is ended and nothing is left behind"),
        },
        // Nobody reads any more.
        Failure::Unread => Ended { code: FAILED, text: String::new() },
        Failure::Missing(what) => match what.split_once("install: ") {
            Some((what, how)) => failed("the lab cannot run here", what.trim_end_matches([' ', '.']), how),
            None => failed("the lab cannot run here", &what, "make that possible and try again"),
        },
        Failure::NotBooted(console) => {
            let said = console.lines().find(|line| line.contains(uml::KERNEL_PANIC));
            let last = said.or_else(|| console.lines().rfind(|line| !line.trim().is_empty()));
            let words =
                last.map_or("it said nothing".to_owned(), |last| format!("it said `{}`", last.trim()));
            failed("the kernel did not boot", &format!("{words}; {}", how_busy()), busy)
        }
        Failure::TimedOut(limit) => {
            let cause = format!("it was given {} s, far more than it takes; {}", limit.as_secs(), how_busy());
            failed("it did not come to an end", &cause, busy)
        }
        Failure::Died(how) => failed(
            "the kernel or the program in it ended early",
            how.lines()
                .find(|line| line.contains(uml::KERNEL_PANIC))
                .or(how.lines().next())
                .unwrap_or_default(),
            "where memory is short, free some; if it happens again, report it with the logs that \
            EVENKEEL_LAB_KEEP=1 keeps",
        ),
        Failure::Panicked(message) => failed(
            "the program in the kernel has failed",
            &message,
            "report it with the logs that EVENKEEL_LAB_KEEP=1 keeps",
        ),
    }
}

/// How much is going on here.
fn how_busy() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("this machine has a load of {load} on {processors} processors")
}

/// Words of a panic.
pub fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given").to_owned()
}

/// The guest's second process: runs the program and leaves a verdict in the shared directory.
fn tell_in_guest<F: FnOnce(&Lab) -> Result<(), Ended>>(program: F) -> ! {
    println!("\n{OUTPUT_STARTS}");
    let finished = Arc::new(AtomicBool::new(false));
    guest::start_watchdog(guest::time_limit(), Arc::clone(&finished));
    // What a panic says is told in the end, in words for people.
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = catch_unwind(AssertUnwindSafe(|| program(&Lab::new(Path::new(SHARE_IN_GUEST)))));
    finished.store(true, Ordering::SeqCst);
    println!("{OUTPUT_ENDS}");
    let ended = match outcome {
        Ok(Ok(())) => {
            leave_verdict(PASSED, "");
            std::process::exit(0);
        }
        Ok(Err(ended)) => ended,
        Err(panic) => told(Failure::Panicked(words(&*panic))),
    };
    leave_verdict(TOLD, &format!("{}\n{}", ended.code, ended.text));
    std::process::exit(i32::from(ended.code))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn every_failure_is_told_with_cause_and_hint() {
        let all = [
            Failure::Missing("no linux.uml. install: apt-get install user-mode-linux".to_owned()),
            Failure::Missing("a pipe: too many open files".to_owned()),
            Failure::NotBooted("one\ntwo\n\n".to_owned()),
            Failure::TimedOut(Duration::from_secs(9)),
            Failure::Died("killed by SIGKILL\n".to_owned()),
            Failure::Died("without a verdict\nKernel panic - not syncing\n [<6>] a+0x1/0x2\n".to_owned()),
            Failure::Panicked("index out of bounds".to_owned()),
        ];
        for failure in all {
            let Ended { code, text } = told(failure.clone());
            assert_eq!(code, 1, "{failure:?}");
            let lines: Vec<&str> = text.lines().collect();
            let is_whole = lines.len() == 3
                && lines[1].starts_with("  cause: ")
                && lines[2].starts_with("  hint: ")
                && !text.contains("panicked");
            assert!(is_whole, "{failure:?}: {text}");
        }
        let text = told(Failure::Missing("no linux.uml. install: apt-get install x".to_owned())).text;
        assert_eq!(text, "the lab cannot run here\n  cause: no linux.uml\n  hint: apt-get install x");
        assert_eq!(told(Failure::Interrupted(Signal::SIGINT)).code, 130);
        assert_eq!(told(Failure::Unread).text, "");
    }
}
