//! Every command of `evenkeeld` whose output nobody reads, or which cannot be written: nobody panics, and the exit code is that of the
//! command, or 1 where its output is lost.

use std::fs::File;
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::seal;

/// Longest wait for the daemon to answer.
const LONG: Duration = Duration::from_secs(60);

/// What a run needs beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The socket of the daemon.
    Daemon,
    /// A plan, and a state directory of its own.
    Plan,
    /// A state directory of its own.
    State,
}

/// Every command. Those that fail say so on standard error only.
const RUNS: [(&[&str], Needs); 19] = [
    (&["--version"], Needs::Nothing),
    (&["--help"], Needs::Nothing),
    (&["help", "run"], Needs::Nothing),
    (&["run", "--realtime", "100"], Needs::Plan),
    (&["diff"], Needs::Plan),
    (&["diff", "--json", "--detailed-exitcode"], Needs::Plan),
    (&["converge"], Needs::Plan),
    (&["cleanup"], Needs::State),
    (&["status"], Needs::Daemon),
    (&["status", "--json"], Needs::Daemon),
    (&["status", "--usage"], Needs::Daemon),
    (&["failover", "--all"], Needs::Daemon),
    (&["hold", "VI_1"], Needs::Daemon),
    (&["release", "VI_1"], Needs::Daemon),
    (&["drain", "rs1"], Needs::Daemon),
    (&["undrain", "--all"], Needs::Daemon),
    (&["confirm"], Needs::Daemon),
    (&["rollback"], Needs::Daemon),
    (&["status", "--socket", "/nowhere"], Needs::Nothing),
];

/// Plans; and a daemon with one virtual router, on an interface that does not exist.
struct Host {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let place = directory.path();
        let head = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n";
        let router = "[[router]]\nname = \"VI_1\"\ninterface = \"no-such-if0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
             vrid = 51\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
             garp_delay = \"0s\"\nvips = [\"192.0.2.10/32\"]\n";
        std::fs::write(place.join("h.plan.toml"), seal::seal(&format!("{head}{router}"))).expect("write");
        std::fs::write(place.join("empty.plan.toml"), seal::seal(head)).expect("write");
        Self { directory, daemon: None }
    }

    fn start(&mut self) {
        let place = self.directory.path();
        let daemon = evenkeeld()
            .args(["run", "--host", "h", "--plan"])
            .arg(place.join("h.plan.toml"))
            .arg("--state-dir")
            .arg(place.join("state"))
            .arg("--socket")
            .arg(place.join("sock"))
            .stderr(File::create(place.join("log")).expect("log"))
            .spawn()
            .expect("start");
        self.daemon = Some(daemon);
        let begun = Instant::now();
        while !self.run(&["status"], Needs::Daemon, Stdio::piped(), Stdio::piped()).status.success() {
            assert!(begun.elapsed() < LONG, "no status");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(
        &self,
        arguments: &[&str],
        needs: Needs,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Output {
        let mut command = evenkeeld();
        command.args(arguments);
        let own = tempfile::tempdir().expect("tempdir");
        let with = |command: &mut Command, option: &str, path: &Path| {
            command.arg(option).arg(path);
        };
        if needs == Needs::Daemon {
            with(&mut command, "--socket", &self.path("sock"));
        }
        if matches!(needs, Needs::Plan | Needs::State) {
            with(&mut command, "--state-dir", own.path());
        }
        if needs == Needs::Plan {
            with(&mut command, "--plan", &self.path("empty.plan.toml"));
            command.args(["--host", "h"]);
        }
        if arguments.first() == Some(&"diff") {
            with(&mut command, "--socket", &own.path().join("none"));
        }
        let child = command.stdout(stdout).stderr(stderr).spawn();
        child.and_then(Child::wait_with_output).expect("run evenkeeld")
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

fn evenkeeld() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
    command.env_remove("EVENKEEL_LOG").stdin(Stdio::null());
    command
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().expect("pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

#[test]
fn every_command_is_among_those_that_are_tried() {
    let help = String::from_utf8(evenkeeld().arg("--help").output().expect("run").stdout).expect("UTF-8");
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        let tried = RUNS.iter().any(|(run, _)| run.first() == Some(&command));
        assert!(tried, "evenkeeld {command} is not tried");
    }
}

#[test]
fn commands_end_as_always_without_a_reader_and_fail_without_a_place_to_write() {
    let mut host = Host::new();
    let mut silent = Vec::new();
    // What works on the host itself does so only without a daemon.
    let (with, without): (Vec<_>, Vec<_>) = RUNS.into_iter().partition(|(_, needs)| *needs == Needs::Daemon);
    for (arguments, needs) in without.into_iter().chain(with) {
        if needs == Needs::Daemon && host.daemon.is_none() {
            host.start();
        }
        let usual = host.run(arguments, needs, Stdio::piped(), Stdio::piped());
        let code = usual.status.code();
        assert!(code.is_some_and(|code| code <= 2), "{arguments:?}: {usual:?}");

        let ended = host.run(arguments, needs, closed(), Stdio::piped());
        assert_eq!(ended.status.code(), code, "{arguments:?} without a reader: {ended:?}");
        assert_eq!(ended.stderr.is_empty(), usual.stderr.is_empty(), "{arguments:?}: {ended:?}");
        for stderr in [closed(), full()] {
            let ended = host.run(arguments, needs, Stdio::piped(), stderr);
            assert_eq!(ended.status.code(), code, "{arguments:?} with nobody to complain to");
        }
        if usual.stdout.is_empty() {
            silent.push(arguments.join(" "));
            continue;
        }
        let ended = host.run(arguments, needs, full(), Stdio::piped());
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {ended:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        let wanted = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert!(told.ends_with(wanted), "{arguments:?}: {told}");
    }
    // What has nothing to print here but an error.
    assert_eq!(
        silent,
        ["run --realtime 100", "status --socket /nowhere", "drain rs1", "confirm", "rollback"]
    );
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_or_not_and_is_no_panic() {
    for arguments in [&["bogus"][..], &["hold"], &[]] {
        for stderr in [Stdio::piped(), closed(), full()] {
            let status = evenkeeld().args(arguments).stderr(stderr).status().expect("run");
            assert_eq!(status.code(), Some(2), "{arguments:?}");
        }
    }
    let guard = || Command::new(env!("CARGO_BIN_EXE_evenkeeld-guard"));
    for stderr in [Stdio::piped(), closed(), full()] {
        assert_eq!(guard().stderr(stderr).status().expect("run").code(), Some(2));
    }
}
