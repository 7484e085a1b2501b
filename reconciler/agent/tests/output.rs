//! Every command of `evenkeeld` with output that nobody reads, or that cannot be written: no command panics,
//! and the exit code is the command's own, or 1 where its output is lost.

use std::fs::File;
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::plan::testing::{PlanText, router};

/// Longest wait for the daemon to answer.
const LONG: Duration = Duration::from_secs(60);

/// Preparation that a command needs beside its arguments.
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

/// Every command. A command that fails says so on standard error only.
const RUNS: [(&[&str], Needs); 25] = [
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
    (&["pull"], Needs::Daemon),
    (&["pause", "--for", "1s"], Needs::Daemon),
    (&["resume"], Needs::Daemon),
    (&["accept", "0123456789012345678901234567890123456789"], Needs::Daemon),
    (&["status", "--socket", "/nowhere"], Needs::Nothing),
    (&["completions", "fish"], Needs::Nothing),
    (&["man", "/proc/nowhere"], Needs::Nothing),
];

/// Directories with plans; and a daemon with one virtual router, on an interface that does not exist.
struct Host {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let place = directory.path();
        let empty = PlanText::of("h");
        let plan = empty.clone().router(&router("VI_1", 51, &["192.0.2.10/32"]));
        std::fs::write(place.join("h.plan.toml"), plan.sealed()).expect("write");
        std::fs::write(place.join("empty.plan.toml"), empty.sealed()).expect("write");
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
        [
            "run --realtime 100",
            "status --socket /nowhere",
            "man /proc/nowhere",
            "drain rs1",
            "confirm",
            "rollback",
            "accept 0123456789012345678901234567890123456789"
        ]
    );
}

#[test]
fn a_usage_error_is_no_panic_even_if_nobody_reads_it() {
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

/// Usage lines of errors are those of the help: optional arguments stand in brackets.
#[test]
fn usage_lines_are_those_of_the_help() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    for (arguments, usage) in [
        (&["failover", "--force"][..], "evenkeeld failover [OPTIONS] <ROUTER|--all>"),
        (&["hold", "--all", "x"], "evenkeeld hold [OPTIONS] <ROUTER|--all>"),
        (&["drain", "--wait"], "evenkeeld drain [OPTIONS] <HOST|ADDRESS>"),
        (&["undrain"], "evenkeeld undrain [OPTIONS] <HOST|ADDRESS|--all>"),
        (&["confirm", "a", "b"], "evenkeeld confirm [OPTIONS] [GENERATION]"),
        (&["run", "x"], "evenkeeld run [OPTIONS]"),
    ] {
        let wrong = evenkeeld().args(arguments).output().expect("run");
        let help = evenkeeld().args([arguments[0], "--help"]).output().expect("run");
        let line = format!("Usage: {usage}\n");
        assert_eq!((wrong.status.code(), help.status.code()), (Some(2), Some(0)), "{arguments:?}");
        let (wrong, help) = (text(wrong.stderr), text(help.stdout));
        assert!(wrong.contains(&line) && help.contains(&line), "{wrong}\n{help}");
    }
}

/// Helpers started by hand say what they are: none waits, and none takes a flag for the name of a socket.
#[test]
fn helpers_explain_themselves() {
    let directory = tempfile::tempdir().expect("tempdir");
    for program in [
        env!("CARGO_BIN_EXE_evenkeeld-plan"),
        env!("CARGO_BIN_EXE_evenkeeld-exec"),
        env!("CARGO_BIN_EXE_evenkeeld-guard"),
    ] {
        let name = Path::new(program).file_name().expect("a name").to_string_lossy().into_owned();
        let say = |arguments: &[&str]| {
            let mut command = Command::new(program);
            // Somebody keeps its standard input open and writes nothing.
            let (_held, never) = std::os::unix::net::UnixStream::pair().expect("socket");
            let never: std::os::fd::OwnedFd = never.into();
            let child = command.args(arguments).current_dir(directory.path()).stdin(never);
            let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
            let begun = Instant::now();
            while child.try_wait().expect("wait").is_none() {
                if begun.elapsed() > LONG {
                    child.kill().expect("kill");
                    panic!("{name} {arguments:?} waits");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let Output { status, stdout, stderr } = child.wait_with_output().expect("output");
            let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
            (status.code(), text(stdout), text(stderr))
        };
        for flag in ["--help", "-h"] {
            let (code, out, err) = say(&[flag]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{name}: {out}");
            assert!(out.contains(&format!("Usage: {name}")) && out.contains("evenkeeld starts it"), "{out}");
        }
        for flag in ["--version", "-V"] {
            let (code, out, _) = say(&[flag]);
            assert_eq!((code, out), (Some(0), format!("{name} {}\n", env!("CARGO_PKG_VERSION"))));
        }
        for wrong in [&["--nonsense"][..], &["non", "sense"]] {
            let (code, out, err) = say(wrong);
            assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
            assert!(err.starts_with("error: unexpected argument '") && err.contains("Usage: "), "{err}");
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("directory").count(), 0, "none made a socket");
}

#[test]
fn completions_and_manual_pages_are_there() {
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef evenkeeld"), ("fish", "complete -c evenkeeld")]
    {
        let output = evenkeeld().args(["completions", shell]).output().expect("run");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && text.contains(word) && text.contains("failover"), "{text}");
    }
    let directory = tempfile::tempdir().expect("tempdir");
    let output = evenkeeld().arg("man").arg(directory.path()).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    for page in ["evenkeeld.8", "evenkeeld-status.8", "evenkeeld-exec.8"] {
        let text = std::fs::read_to_string(directory.path().join("man8").join(page)).expect("a page");
        assert!(text.contains(".TH "), "{text}");
    }
}

/// Levels are words: with numbers nobody knows which end is the loud one.
#[test]
fn an_unknown_level_is_refused_with_the_levels_there_are() {
    for level in ["5", "loud", "info,5", "evenkeel_agent=9"] {
        let output = evenkeeld().args(["status", "--socket", "/nowhere"]).env("EVENKEEL_LOG", level).output();
        let Output { status, stderr, .. } = output.expect("run");
        let told = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{level}: {told}");
        assert!(told.contains("off, error, warn (or warning), info, debug, trace"), "{told}");
    }
}

/// The unit and the commands in it that install its programs name the same places.
#[test]
fn the_unit_runs_what_its_commands_install() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unit = std::fs::read_to_string(root.join("examples/systemd/evenkeeld.service")).expect("the unit");
    let line = |begin: &str| {
        unit.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_else(|| panic!("{begin}"))
    };
    let program = line("ExecStart=").split(' ').next().expect("a program");
    let install = line("#     cargo install ");
    let mut words = install.split_whitespace();
    let prefix = words.find(|word| *word == "--root").and_then(|_| words.next()).expect("where to");
    assert_eq!(program, format!("{prefix}/bin/evenkeeld"));
    assert!(install.contains("--path reconciler/agent"), "{install}");
    // Files that it copies are there, and it says where each goes.
    for (file, place) in [
        ("evenkeeld.service", "/etc/systemd/system/"),
        ("modules-load.conf", "/etc/modules-load.d/evenkeel.conf"),
    ] {
        assert!(unit.contains(&format!("#     cp examples/systemd/{file} {place}\n")), "{file}");
        assert!(root.join("examples/systemd").join(file).is_file(), "{file}");
    }
    assert!(unit.contains("#     systemctl enable --now evenkeeld\n"));
    let help = evenkeeld().args(["run", "--help"]).output().expect("run").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    for (key, path) in [("StateDirectory=", "/var/lib/"), ("RuntimeDirectory=", "/run/")] {
        assert!(help.contains(&format!("{path}{}", line(key))), "{key}: {help}");
    }
    assert!(
        line("ExecStart=").ends_with(" run --plan /etc/evenkeel")
            && help.contains("[default: /etc/evenkeel]")
    );
}
