//! The real daemon with a log that takes nothing: a pipe that nobody reads, a closed one, a full disk, a slow
//! reader. It starts, answers, reads plans and ends as always. What clients notice is in the lab's tests.

#[path = "support/support.rs"]
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::plan::testing::{PlanText, router};
use evenkeel_schemas::seal;
use evenkeel_schemas::status::Status;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::alone;

/// Longest wait for anything but the end.
const LONG: Duration = Duration::from_secs(60);
/// Time for a daemon that was told to stop.
const END: Duration = Duration::from_secs(5);

struct Host {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("tempdir"), daemon: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a plan in place: a virtual router on an interface that does not exist, so that there are lines to
    /// log.
    fn plan(&self, vrid: u8) {
        let plan = PlanText::of("h").router(&router("VI_1", vrid, &["192.0.2.10/32"]));
        let new = self.path("new");
        std::fs::write(&new, plan.sealed()).expect("write");
        std::fs::rename(new, self.path("h.plan.toml")).expect("rename");
    }

    fn command(&self) -> Command {
        self.command_by(Path::new(env!("CARGO_BIN_EXE_evenkeeld")))
    }

    fn command_by(&self, program: &Path) -> Command {
        let mut command = alone(program);
        command.args(["run", "--host", "h", "--plan"]).arg(self.path("h.plan.toml"));
        command.arg("--state-dir").arg(self.path("state")).arg("--socket").arg(self.path("sock"));
        command.env_remove("EVENKEEL_LOG").stdin(Stdio::null());
        command
    }

    /// A command that asks the daemon.
    fn command_of(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
        command.args([name, "--socket"]).arg(self.path("sock"));
        command
    }

    fn start(&mut self, log: impl Into<Stdio>) {
        self.daemon = Some(self.command().stderr(log).spawn().expect("start"));
    }

    /// The status document; none while the daemon does not answer.
    fn status(&self) -> Option<Status> {
        let Output { status, stdout, .. } = Command::new("timeout")
            .args(["5", env!("CARGO_BIN_EXE_evenkeeld"), "status", "--json", "--socket"])
            .arg(self.path("sock"))
            .output()
            .expect("run");
        status.success().then(|| serde_json::from_slice(&stdout).expect("status"))
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            match self.status() {
                Some(status) if is_so(&status) => return status,
                status if began.elapsed() > LONG => panic!("no {what}: {status:#?}"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn wait_vrid(&self, vrid: u8) -> Status {
        self.wait("plan in force", |status| status.routers.iter().any(|router| router.vrid == vrid))
    }

    /// Sends the daemon a signal to stop, and waits for its end.
    fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        let told = Instant::now();
        kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).expect("SIGTERM");
        loop {
            match daemon.try_wait().expect("wait") {
                Some(status) => return assert!(status.success(), "{status}"),
                None if told.elapsed() > END => {
                    daemon.kill().expect("kill");
                    daemon.wait().expect("wait");
                    panic!("still runs {END:?} after SIGTERM");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("pipe");
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).expect("flags"));
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("flags");
    for piece in [&[b'x'; 4096][..], b"x"] {
        while writer.write(piece).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("flags");
    (reader, writer)
}

/// Starts, reads two plans, and ends, all in time.
fn works(log: impl Into<Stdio>) -> Status {
    let mut host = Host::new();
    host.plan(51);
    host.start(log);
    host.wait_vrid(51);
    host.plan(52);
    let status = host.wait_vrid(52);
    host.stop();
    status
}

#[test]
fn a_log_that_nobody_reads_delays_nothing() {
    let (_reader, writer) = full_pipe();
    works(writer);
}

#[test]
fn a_log_whose_reader_has_gone_delays_nothing() {
    let (reader, writer) = pipe().expect("pipe");
    drop(reader);
    works(writer);
}

#[test]
fn a_log_on_a_full_disk_holds_nothing_up() {
    works(File::options().write(true).open("/dev/full").expect("/dev/full"));
}

#[test]
fn a_log_whose_reader_is_slow_delays_nothing() {
    let (mut reader, writer) = full_pipe();
    let slow = std::thread::spawn(move || {
        let mut some = [0; 100];
        while reader.read(&mut some).is_ok_and(|length| length > 0) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    works(writer);
    drop(slow);
}

#[test]
fn lost_log_lines_are_shown_by_status() {
    let (_reader, writer) = full_pipe();
    let mut host = Host::new();
    host.plan(51);
    host.start(writer);
    let status = host.wait("word of the log", |status| status.log.problem.is_some());
    assert!(status.log.problem.is_some_and(|why| why.starts_with("it has taken no line for")));
    let page = host.command_of("status").output().expect("run").stdout;
    let page = String::from_utf8(page).expect("UTF-8");
    assert!(page.contains("log DOES NOT GET OUT: it has taken no line for"), "{page}");
    host.stop();
}

#[test]
fn a_reader_that_comes_back_gets_the_waiting_and_the_last_lines() {
    let (mut reader, writer) = full_pipe();
    let mut host = Host::new();
    host.plan(51);
    host.start(writer);
    host.wait_vrid(51);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    host.stop();
    // The guardian, which has the same log, ends with the daemon.
    let text = reading.join().expect("a thread").expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let at = |what: &str| lines.iter().position(|line| line.contains(what));
    assert!(at(" started").is_some_and(|at| at == 0), "{lines:#?}");
    assert!(at("stopped; VIPs are released") > at(" started"), "{lines:#?}");
    assert_eq!(at("dropped"), None, "{lines:#?}");
}

#[test]
fn a_daemon_that_cannot_start_says_so_and_ends_whoever_reads() {
    let (_reader, writer) = full_pipe();
    for log in [Stdio::from(writer), Stdio::piped()] {
        let mut host = Host::new();
        // A directory is in the place of the socket.
        std::fs::create_dir_all(host.path("sock/there")).expect("a directory");
        host.start(log);
        let begun = Instant::now();
        let mut daemon = host.daemon.take().expect("a daemon");
        let status = loop {
            match daemon.try_wait().expect("wait") {
                Some(status) => break status,
                None if begun.elapsed() > LONG => {
                    daemon.kill().expect("kill");
                    daemon.wait().expect("wait");
                    panic!("still runs");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(status.code(), Some(1));
        if let Some(mut stderr) = daemon.stderr.take() {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("UTF-8");
            assert!(text.lines().last().is_some_and(|line| line.starts_with("error: ")), "{text}");
        }
    }
}

#[test]
fn a_level_that_there_is_not_is_refused_with_those_that_there_are() {
    let host = Host::new();
    for text in ["bogus", "info,bogus", "evenkeel_agent=bogus", "tokio=debug"] {
        let Output { status, stderr, .. } = host.command().env("EVENKEEL_LOG", text).output().expect("run");
        let told = String::from_utf8(stderr).expect("UTF-8");
        assert_eq!(status.code(), Some(2), "{text}: {told}");
        assert!(told.starts_with("error: EVENKEEL_LOG: "), "{told}");
        assert!(told.contains("levels are off, error, warn (or warning), info, debug, trace"), "{told}");
    }
    // A guardian is started where nobody reads what it refuses: it guards.
    let socket = host.path("guard.sock");
    let mut guard = Command::new(env!("CARGO_BIN_EXE_evenkeeld-guard"))
        .arg(&socket)
        .env("EVENKEEL_LOG", "bogus")
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    let told = BufReader::new(guard.stderr.take().expect("a pipe")).lines().next();
    let told = told.expect("a line").expect("UTF-8");
    assert!(told.contains(" WARN guardian: EVENKEEL_LOG: \"bogus\" is no level"), "{told}");
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < LONG, "no guardian");
        std::thread::sleep(Duration::from_millis(10));
    }
    guard.kill().expect("kill");
    guard.wait().expect("wait");
}

#[test]
fn a_warning_is_a_warning_in_any_case() {
    let mut host = Host::new();
    host.plan(51);
    for text in ["warning", "WARN"] {
        let daemon = host.command().env("EVENKEEL_LOG", text).stderr(Stdio::piped()).spawn();
        host.daemon = Some(daemon.expect("start"));
        host.wait_vrid(51);
        let mut stderr = host.daemon.as_mut().and_then(|daemon| daemon.stderr.take()).expect("a pipe");
        host.stop();
        let mut told = String::new();
        stderr.read_to_string(&mut told).expect("UTF-8");
        assert!(told.contains(" WARN ") && !told.contains(" INFO "), "{text}: {told}");
    }
}

/// The helper does not write to the daemon's log, which may take nothing.
#[test]
fn the_standard_error_of_the_plan_reader_is_the_reason_of_the_refusal() {
    let (_reader, writer) = full_pipe();
    let mut host = Host::new();
    let programs = host.path("programs");
    std::fs::create_dir(&programs).expect("a directory");
    for (name, from) in [
        ("evenkeeld", env!("CARGO_BIN_EXE_evenkeeld")),
        ("evenkeeld-guard", env!("CARGO_BIN_EXE_evenkeeld-guard")),
    ] {
        std::fs::copy(from, programs.join(name)).expect("copy");
    }
    let reader = programs.join("evenkeeld-plan");
    std::fs::write(
        &reader,
        "#!/bin/sh\ncat >/dev/null\necho 'thread main panicked:\nout of luck' >&2\nexit 3\n",
    )
    .expect("write");
    std::fs::set_permissions(&reader, std::fs::Permissions::from_mode(0o755)).expect("mode");
    // Not as the compiler writes it, which the daemon reads by itself.
    std::fs::write(host.path("h.plan.toml"), seal::seal("format = 1 # by hand\n")).expect("write");
    let daemon = host.command_by(&programs.join("evenkeeld")).stderr(writer).spawn().expect("start");
    host.daemon = Some(daemon);
    let status = host.wait("refusal", |status| status.plan.rejected.is_some());
    let reason = status.plan.rejected.map(|rejected| rejected.reason).unwrap_or_default();
    assert!(reason.contains("(exit status: 3): thread main panicked: out of luck"), "{reason}");
    host.stop();
}
