//! Programs on hosts: run to the end, or kept running with their output recorded line by line. Also the two
//! daemons tests are about. What they do to the network is asserted elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write, pipe};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::check::Expected;
use crate::journal::{Journal, Record, lock};
use crate::line::{Line, Wanted};
use crate::net::Host;
use crate::time::Mark;

/// How long a dropped or killed daemon may take to be gone.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

/// Line that the lab writes to the output of a program that has ended. No program prints it.
const LAST_LINE: &[u8] = b"\0ended\n";

/// Output and exit status of a finished program.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output; panics unless the program succeeded.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.status.success(), "`{}`: {}\n{}{}", self.command, self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a program in the calling thread's namespaces; the error is that it does not start.
pub(crate) fn execute(argv: &[String]) -> io::Result<Output> {
    let (mut command, text) = command(argv);
    let output = command.stdin(Stdio::null()).output()?;
    Ok(Output {
        command: text,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Words of any kind as the programs' arguments.
pub(crate) fn owned<A: AsRef<str>>(argv: impl IntoIterator<Item = A>) -> Vec<String> {
    argv.into_iter().map(|argument| argument.as_ref().to_owned()).collect()
}

fn command(argv: &[String]) -> (Command, String) {
    let (program, arguments) = argv.split_first().expect("a program to run");
    let mut command = Command::new(program);
    command.args(arguments);
    (command, argv.join(" "))
}

impl Host {
    /// Runs a program on this host; its standard output. Panics when it fails.
    #[track_caller]
    pub fn run<A: AsRef<str>>(&self, argv: impl IntoIterator<Item = A>) -> String {
        self.output(argv).expect_success()
    }

    /// Runs a program on this host, whatever comes of it.
    #[track_caller]
    pub fn output<A: AsRef<str>>(&self, argv: impl IntoIterator<Item = A>) -> Output {
        let argv = owned(argv);
        self.enter(|| execute(&argv)).or_fail(format_args!("{}: `{}`", self.name(), argv.join(" ")))
    }

    /// Runs a program that prints JSON, such as `ip -j addr`.
    #[track_caller]
    pub fn json<A: AsRef<str>>(&self, argv: impl IntoIterator<Item = A>) -> serde_json::Value {
        let text = self.run(argv);
        serde_json::from_str(&text).or_fail(format_args!("not JSON: {text}"))
    }

    /// Starts a program that keeps running. `name` is that of its log.
    #[track_caller]
    pub fn spawn<A: AsRef<str>>(
        &self,
        name: &str,
        argv: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Daemon {
        let (mut command, text) = command(&owned(argv));
        command.envs(environment.iter().copied());
        Daemon::start(self, name, command, &text)
    }

    /// Starts `evenkeeld run` with state and socket under [`Host::scratch`]: `state/` and `evenkeeld.sock`.
    #[track_caller]
    pub fn evenkeeld<A: AsRef<str>>(
        &self,
        plan: impl AsRef<Path>,
        more: impl IntoIterator<Item = A>,
    ) -> Daemon {
        let mut argv =
            vec![built_program("evenkeeld", "evenkeel-agent").display().to_string(), "run".to_owned()];
        argv.extend(["--plan".to_owned(), plan.as_ref().display().to_string()]);
        argv.extend(["--host".to_owned(), self.name().to_owned()]);
        argv.extend(["--state-dir".to_owned(), self.scratch().join("state").display().to_string()]);
        argv.extend(["--socket".to_owned(), self.scratch().join("evenkeeld.sock").display().to_string()]);
        argv.extend(owned(more));
        self.spawn("evenkeeld", argv, &[])
    }

    /// Starts Debian's keepalived with that configuration, which it finds in
    /// [`Host::scratch`]`/keepalived.conf`.
    #[track_caller]
    pub fn keepalived(&self, configuration: &str) -> Daemon {
        let file = self.scratch().join("keepalived.conf");
        std::fs::write(&file, configuration).expect("keepalived.conf");
        let own = |name: &str| self.scratch().join(name).display().to_string();
        let argv = ["keepalived", "--dont-fork", "--no-syslog", "--log-console", "--log-detail", "-f"]
            .map(str::to_owned);
        let files = [own("keepalived.conf")].into_iter().chain(
            [("-p", "keepalived.pid"), ("-r", "vrrp.pid"), ("-c", "checkers.pid")]
                .into_iter()
                .flat_map(|(option, name)| [option.to_owned(), own(name)]),
        );
        self.spawn("keepalived", argv.into_iter().chain(files), &[])
    }
}

/// Tests lie in `target/PROFILE/deps`, examples in `target/PROFILE/examples`, programs in `target/PROFILE`.
#[track_caller]
pub(crate) fn built_program(name: &str, package: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the own path");
    match own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|file| file.is_file()) {
        Some(file) => file,
        None => panic!("no {name} beside {}: run cargo build -p {package}", own.display()),
    }
}

/// A running program. Dropped, it is killed with its process group.
pub struct Daemon {
    name: String,
    pid: Pid,
    log: Journal<String>,
    ended: Arc<(Mutex<Option<ExitStatus>>, Condvar)>,
}

impl Daemon {
    #[track_caller]
    fn start(host: &Host, name: &str, mut command: Command, text: &str) -> Self {
        let label = format!("{}-{name}", host.name());
        let file = host.shared().artefacts.join(format!("{label}.log"));
        let mut file = OpenOptions::new().append(true).create(true).open(&file).expect("a log file");
        let (output, writer) = pipe().expect("a pipe");
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer.try_clone().expect("a pipe"))
            .process_group(0);
        let child = host.enter(|| command.spawn()).or_fail(format_args!("`{text}`"));
        drop(command);

        let _ = writeln!(file, "--- {text}");
        let log = Journal::new();
        let lines = log.clone();
        let (last, all_recorded) = channel();
        thread(&format!("{label}-log"), move || record_lines(output, file, &lines, &last));
        let daemon = Self {
            name: label.clone(),
            pid: Pid::from_raw(child.id().cast_signed()),
            log,
            ended: Arc::new((Mutex::new(None), Condvar::new())),
        };
        let ended = Arc::clone(&daemon.ended);
        thread(&format!("{label}-wait"), move || await_end(child, writer, &all_recorded, &ended));
        daemon
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Sends a signal to the program itself; nothing happens when it has ended.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let ended = lock(&self.ended.0);
        if ended.is_none() {
            kill(self.pid, signal).or_fail(format_args!("{signal} to {}", self.name));
        }
    }

    /// Sends a signal to its whole process group: with keepalived the processes that do the work. evenkeeld's
    /// guardian is in a group of its own.
    #[track_caller]
    pub fn signal_group(&self, signal: Signal) {
        let ended = lock(&self.ended.0);
        if ended.is_none() {
            killpg(self.pid, signal).or_fail(format_args!("{signal} to the group of {}", self.name));
        }
    }

    /// Asks it to end and waits; panics after `timeout`.
    #[track_caller]
    pub fn stop(&self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(timeout)
    }

    /// Kills the program itself, giving it no chance to clean up. Its children are left to fate.
    #[track_caller]
    pub fn kill9(&self) {
        self.signal(Signal::SIGKILL);
        self.wait(DEATH_LIMIT);
    }

    /// Kills the program and its whole process group.
    #[track_caller]
    pub fn kill9_group(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.wait(DEATH_LIMIT);
    }

    /// Waits for the program to end; panics with its log after `timeout`.
    #[track_caller]
    pub fn wait(&self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        let mut ended = lock(&self.ended.0);
        loop {
            if let Some(status) = *ended {
                return status;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} still runs after {timeout:?}; its log:\n{}", self.name, self.log());
            (ended, _) = self.ended.1.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        lock(&self.ended.0).is_none()
    }

    /// Everything it has printed, standard output and error together.
    pub fn log(&self) -> String {
        self.log.with(|lines| lines.iter().flat_map(|line| [line.what.as_str(), "\n"]).collect())
    }

    /// The lines it printed, each with its event and the time it came.
    pub fn lines(&self) -> Vec<Line> {
        self.log.with(|lines| lines.iter().map(read).collect())
    }

    /// The lines it printed since the mark.
    pub fn lines_since(&self, mark: Mark) -> Vec<Line> {
        self.log.since(mark).iter().map(read).collect()
    }

    /// How often it has told of that.
    pub fn count(&self, wanted: impl Into<Wanted>) -> usize {
        let wanted = wanted.into();
        self.lines().iter().filter(|line| line.tells(&wanted)).count()
    }

    /// How often it has told of that since the mark.
    pub fn count_since(&self, mark: Mark, wanted: impl Into<Wanted>) -> usize {
        let wanted = wanted.into();
        self.lines_since(mark).iter().filter(|line| line.tells(&wanted)).count()
    }

    /// Waits until it tells of that, or has done so already; panics with the log after `timeout`.
    #[track_caller]
    pub fn wait_told(&self, wanted: impl Into<Wanted>, timeout: Duration) -> Line {
        self.await_line(None, &wanted.into(), timeout)
    }

    /// Waits until it tells of that, or has done so since the mark.
    #[track_caller]
    pub fn wait_told_since(&self, mark: Mark, wanted: impl Into<Wanted>, timeout: Duration) -> Line {
        self.await_line(Some(mark), &wanted.into(), timeout)
    }

    #[track_caller]
    fn await_line(&self, mark: Option<Mark>, wanted: &Wanted, timeout: Duration) -> Line {
        match self.log.wait(mark, timeout, |line| read(line).tells(wanted)) {
            Some(line) => read(&line),
            None => {
                panic!("{} did not tell of {wanted} within {timeout:?}; its log:\n{}", self.name, self.log())
            }
        }
    }
}

fn read(line: &Record<String>) -> Line {
    Line::read(line.at, &line.what)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The group may outlive its leader, and then keeps the leader's number from being given away.
        let _ = killpg(self.pid, Signal::SIGKILL);
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread");
}

/// Until the program and all who inherited its output are gone.
fn record_lines(output: PipeReader, mut file: File, log: &Journal<String>, last: &Sender<()>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let at = Instant::now();
        let is_last = line.ends_with(LAST_LINE);
        if is_last {
            line.truncate(line.len() - LAST_LINE.len());
        }
        // A program that was killed may have begun a line.
        if !is_last || !line.is_empty() {
            let _ = file.write_all(&line);
            log.push(at, String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
        }
        if is_last {
            let _ = last.send(());
        }
        line.clear();
    }
}

/// Once the program counts as ended, all that it printed is recorded: a test reads its log at once.
fn await_end(
    mut child: Child,
    mut output: PipeWriter,
    all_recorded: &Receiver<()>,
    ended: &(Mutex<Option<ExitStatus>>, Condvar),
) {
    // Not reaped before the lock is held: until then the number is the child's and signals go to nobody else.
    let pid = Pid::from_raw(child.id().cast_signed());
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    if output.write_all(LAST_LINE).is_ok() {
        let _ = all_recorded.recv_timeout(DEATH_LIMIT);
    }
    drop(output);
    let mut status = lock(&ended.0);
    *status = child.wait().ok();
    ended.1.notify_all();
}
