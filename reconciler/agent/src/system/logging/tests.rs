//! A process of its own, whose thread panics: the line about it, and its reader.

use std::io::{Read, pipe};
use std::process::{Command, Stdio};
use std::time::Instant;

use tracing::level_filters::LevelFilter;

use super::*;

/// Set for the process that panics.
const PANICS: &str = "EVENKEEL_TEST_PANICS";
/// Exit code of that process.
const ENDED: i32 = 7;
/// Longest wait for its end.
const LONG: Duration = Duration::from_secs(30);

/// Does nothing except where it is started by [`a_panic_is_a_line_and_waits_for_nobody`].
#[test]
fn panics_where_it_is_told_to() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    let mut log = Log::begin(Targets::new().with_default(LevelFilter::OFF));
    log.ends_in_time();
    log.write().expect("a thread");
    let thread = std::thread::Builder::new().name("unlucky".to_owned());
    let panicked = thread.spawn(|| panic!("out of luck")).expect("a thread").join();
    drop(log);
    std::process::exit(if panicked.is_err() { ENDED } else { 1 });
}

fn panicking(stderr: impl Into<Stdio>) -> Option<i32> {
    let mut child = Command::new(std::env::current_exe().expect("the own path"))
        .args(["--exact", "system::logging::tests::panics_where_it_is_told_to", "--nocapture"])
        .env(PANICS, "1")
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("start");
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    None
}

#[test]
fn a_panic_is_a_line_and_waits_for_nobody() {
    let (mut reader, writer) = pipe().expect("pipe");
    assert_eq!(panicking(writer), Some(ENDED));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    let line = text.lines().find(|line| line.contains("panicked")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(" ERROR thread \"unlucky\" panicked at "), "{line}");
    assert!(line.ends_with(": out of luck"), "{line}");

    let (_reader, writer) = queue::tests::full_pipe();
    assert_eq!(panicking(writer), Some(ENDED));
}
