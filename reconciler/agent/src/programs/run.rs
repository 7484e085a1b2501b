//! Running a program of the plan: a tracker's script, a hook. No shell, a clean environment, its own user,
//! its own process group, a time limit. Nothing of it is left when it has ended, and only the end of its
//! output is kept.
//!
//! ```text
//!   daemon --Start--> evenkeeld-exec --fork, exec--> program --> what it starts, wherever that goes
//!          <--End---
//!   when the daemon's end of the socket closes, evenkeeld-exec ends the program, and itself
//! ```
//!
//! `exec` is the process in between, `user` finds the user that a program runs as. The meaning of a program's
//! end is decided by its callers.

mod exec;
mod user;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout, timeout_at};

use crate::system::descriptors;
use crate::system::files::Trust;
use crate::system::signals::unblocked;

pub use exec::main;
use user::Identity;

/// Length of a program's output that is kept, from its end, bytes.
const TAIL: usize = 512;
/// Time to wait for output after the program ended, and for processes that it left behind to end by
/// themselves.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Time limit for ending everything that a program started. A process stuck in the kernel dies when it comes
/// out of it.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Time after a program's limit until `evenkeeld-exec` is given up: it takes so long only when it hangs in
/// the kernel.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest message to `evenkeeld-exec`, bytes: the kernel accepts far less of arguments and environment
/// (execve(2)).
const MAX_START: u64 = 8 * 1024 * 1024;
/// Longest answer, bytes.
const MAX_END: u64 = 64 * 1024;
/// Search path of programs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program<'a> {
    /// Absolute path and arguments.
    pub(crate) command: &'a [String],
    /// Further arguments.
    pub(crate) arguments: &'a [String],
    /// Environment beside `PATH`.
    pub(crate) environment: &'a [(&'a str, String)],
    /// User that it runs as; the default user when absent.
    pub(crate) user: Option<&'a str>,
    /// Time limit, including the look-up of the user.
    pub(crate) limit: Duration,
    /// Owners whose programs are run.
    pub(crate) trust: Trust,
}

/// Bounds of a program that gets its input from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    /// Longest file that it may write, bytes (RLIMIT_FSIZE, setrlimit(2)).
    pub(crate) file: u64,
    /// Most memory of each of its processes, bytes (RLIMIT_AS).
    pub(crate) memory: u64,
}

/// Message to `evenkeeld-exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    /// Identity to take; absent: keep its own.
    identity: Option<Identity>,
    limit_ms: u64,
    trust: Trust,
    /// Soft and hard limit of file descriptors; absent: keep its own.
    descriptors: Option<(u64, u64)>,
    /// Directory that it runs in, entered before it takes its identity; absent: `/`.
    #[serde(default)]
    directory: Option<PathBuf>,
    /// Bounds; absent: none beside those of this process.
    #[serde(default)]
    bounds: Option<Bounds>,
}

/// Answer of `evenkeeld-exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    how: How,
    left_behind: bool,
}

/// End of a program, with its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Way in which it ended.
    pub(crate) how: How,
    /// Whether processes that it had started were still there at its end, and were killed.
    pub(crate) left_behind: bool,
    /// The end of its standard output and standard error, one line.
    pub(crate) output: String,
}

/// Way in which a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Killed after this time, with everything that it had started.
    Killed(Duration),
    /// Not started, with the reason for people.
    NotStarted(String),
}

impl Ended {
    /// Whether it ended with exit code 0.
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.how, How::Exit(0))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Exit(code) => write!(f, "exit code {code}"),
            How::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "ended by {signal}"),
                Err(_) => write!(f, "ended by signal {number}"),
            },
            How::Killed(after) => write!(f, "killed after {after:?}"),
            How::NotStarted(why) => f.write_str(why),
        }?;
        if self.left_behind {
            f.write_str(", and what it left behind was killed")?;
        }
        if self.output.is_empty() { Ok(()) } else { write!(f, ": {}", self.output) }
    }
}

/// Runs a program to its end. When this future is dropped, the program is killed with everything that it
/// started.
pub(crate) async fn run(program: Program<'_>) -> Ended {
    run_bounded(program, None, None, Outputs { out: &mut |_| {}, err: &mut |_| {} }).await
}

/// Takers of a program's output, piece by piece.
pub(crate) struct Outputs<'a> {
    /// Standard output.
    pub(crate) out: &'a mut (dyn FnMut(&[u8]) + Send),
    /// Standard error.
    pub(crate) err: &'a mut (dyn FnMut(&[u8]) + Send),
}

/// [`run`] in a directory and within bounds, with takers of the whole output.
pub(crate) async fn run_bounded(
    program: Program<'_>,
    directory: Option<&Path>,
    bounds: Option<Bounds>,
    outputs: Outputs<'_>,
) -> Ended {
    let deadline = Instant::now() + program.limit;
    let not_started =
        |why: String| Ended { how: How::NotStarted(why), left_behind: false, output: String::new() };
    let asked = program.user.unwrap_or(user::OWN);
    let found = match timeout_at(deadline, user::find(program.user)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return not_started(error.to_string()),
        Err(_) => return not_started(format!("user {asked} was not found in time")),
    };
    let Some(path) = program.command.first() else { return not_started("there is no command".to_owned()) };
    let environment = program.environment.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let start = Start {
        command: program.command.iter().chain(program.arguments).cloned().collect(),
        environment: std::iter::once(("PATH".to_owned(), PATH.to_owned())).chain(environment).collect(),
        // A process that has the identity already needs no right to take it.
        identity: (!found.identity.is_ours()).then_some(found.identity),
        limit_ms: u64::try_from((deadline - Instant::now()).as_millis()).unwrap_or(u64::MAX),
        trust: program.trust,
        descriptors: descriptors::of_programs(),
        directory: directory.map(Path::to_owned),
        bounds,
    };
    let (end, output) = match converse(&start, deadline + PATIENCE, outputs).await {
        Ok(end) => end,
        Err(error) => return not_started(format!("cannot run {path}: {}: {error}", exec::NAME)),
    };
    let End { how, left_behind } = end;
    let how = match how {
        How::NotStarted(why) => How::NotStarted(format!("cannot run {path} as {}: {why}", found.name)),
        How::Killed(_) => How::Killed(program.limit),
        How::Exit(_) | How::Signal(_) => how,
    };
    Ended { how, left_behind, output }
}

/// Has a program run by `evenkeeld-exec`. Returns its end and its last line of output.
async fn converse(start: &Start, until: Instant, outputs: Outputs<'_>) -> io::Result<(End, String)> {
    let mut message = serde_json::to_vec(start)?;
    message.push(b'\n');
    let (ours, theirs) = Socket::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::from(exec::command()?);
    command
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = unblocked(|| command.spawn())?;
    // It still holds their end of the socket: `evenkeeld-exec` would never see that the daemon's end has
    // closed.
    drop(command);
    let mut socket = UnixStream::from_std(ours)?;
    let (mut out, mut err) = (Tail::default(), Tail::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let asking = async {
        socket.write_all(&message).await?;
        let mut answer = Vec::new();
        (&mut socket).take(MAX_END).read_to_end(&mut answer).await?;
        let end: End = serde_json::from_slice(&answer)
            .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer"))?;
        Ok(end)
    };
    let end = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(out.read(stdout, outputs.out), err.read(stderr, outputs.err))
        });
        let mut all_read = false;
        let end = {
            let mut asking = std::pin::pin!(timeout_at(until, asking));
            loop {
                tokio::select! {
                    end = &mut asking => break end,
                    _ = &mut reading, if !all_read => all_read = true,
                }
            }
        };
        if end.is_ok() && !all_read {
            timeout(LAST_WORDS, &mut reading).await.ok();
        }
        end
    };
    let end = match end {
        Ok(end) => end,
        Err(_) => {
            // Everything that it started has it as its parent, and dies with it at least.
            child.start_kill().ok();
            Ok(End { how: How::Killed(Duration::ZERO), left_behind: false })
        }
    };
    timeout(LAST_WORDS, child.wait()).await.ok();
    let output = if err.bytes.is_empty() { out } else { err };
    end.map(|end| (end, output.line()))
}

/// The end of a stream of bytes.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>, all: &mut (dyn FnMut(&[u8]) + Send)) {
        let Some(mut stream) = stream else { return };
        let mut piece = [0_u8; 1024];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            let read = piece.get(..length).unwrap_or_default();
            all(read);
            self.bytes.extend_from_slice(read);
            let over = self.bytes.len().saturating_sub(TAIL);
            self.bytes.drain(..over);
        }
    }

    /// The last line that is not blank, without control characters.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::unistd::User;

    use super::*;

    fn argv(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn me() -> String {
        User::from_uid(nix::unistd::geteuid()).expect("users").expect("a user").name
    }

    async fn sh(script: &str, user: &str, limit: Duration) -> Ended {
        let environment = [("EVENKEEL_STATE", "MASTER".to_owned())];
        let arguments = ["more".to_owned()];
        let command = argv(script);
        run(Program {
            command: &command,
            arguments: &arguments,
            environment: &environment,
            user: Some(user),
            limit,
            trust: Trust::Owned,
        })
        .await
    }

    /// Waits until a process that wrote its number to a file is gone.
    async fn is_gone(file: &Path) {
        let number = std::fs::read_to_string(file).expect("a number").trim().to_owned();
        assert!(!number.is_empty(), "it never ran");
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {number} lives");
    }

    const LONG: Duration = Duration::from_secs(60);

    fn silent() -> Outputs<'static> {
        Outputs { out: Box::leak(Box::new(|_: &[u8]| {})), err: Box::leak(Box::new(|_: &[u8]| {})) }
    }

    #[tokio::test]
    async fn exit_code_signal_and_output_are_reported() {
        // As in the daemon.
        let _held = crate::system::signals::StopSignals::hold().expect("held");
        let me = me();
        assert!(sh("exit 0", &me, LONG).await.is_success());
        assert_eq!(sh("echo out; exit 3", &me, LONG).await.to_string(), "exit code 3: out");
        assert_eq!(
            sh("echo out; echo first >&2; echo last >&2; exit 1", &me, LONG).await.to_string(),
            "exit code 1: last"
        );
        assert_eq!(sh("kill -TERM $$", &me, LONG).await.to_string(), "ended by SIGTERM");
        assert!(sh("kill -40 $$", &me, LONG).await.to_string().starts_with("ended by signal "));
        let much = sh("yes | head -c 1000000; echo end; exit 1", &me, LONG).await;
        assert_eq!(much.output, "end");
    }

    #[tokio::test]
    async fn a_program_gets_only_the_given_environment_and_arguments() {
        let script = "echo $0 $(pwd) $(env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort)";
        let ended = sh(script, &me(), LONG).await;
        assert_eq!(ended.output, format!("more / EVENKEEL_STATE=MASTER PATH={PATH}"));
    }

    #[tokio::test]
    async fn a_program_over_its_limit_is_killed_with_its_children() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let pid = scratch.path().join("pid");
        // The grandchild holds the output open and is in the group.
        let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
        let ended = sh(&script, &me(), Duration::from_secs(2)).await;
        assert_eq!(ended.how, How::Killed(Duration::from_secs(2)));
        is_gone(&pid).await;
    }

    /// A process as daemons are: in a session of its own, deaf to SIGTERM, with closed output, its parents
    /// gone.
    fn daemon(pid: &Path) -> String {
        format!(
            "setsid sh -c 'trap \"\" TERM HUP; (sh -c \"echo \\$\\$ > {0}.new; mv {0}.new {0}; exec sleep \
                300\" &) ; exit 0' \
             >/dev/null 2>&1 </dev/null; while ! [ -e {0} ]; do sleep 0.01; done",
            pid.display()
        )
    }

    #[tokio::test]
    async fn no_process_outlives_its_program_whatever_its_session() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let pid = |name: &str| scratch.path().join(name);
        let ended = sh(&format!("{}; exit 3", daemon(&pid("ended"))), &me(), LONG).await;
        assert_eq!(ended.to_string(), "exit code 3, and what it left behind was killed");
        is_gone(&pid("ended")).await;
        let ended = sh(&format!("{}; sleep 300", daemon(&pid("late"))), &me(), Duration::from_secs(4)).await;
        assert_eq!(ended.how, How::Killed(Duration::from_secs(4)));
        is_gone(&pid("late")).await;
        // The plan is replaced, or the daemon stops, while the program runs.
        let script = format!("{}; sleep 300", daemon(&pid("dropped")));
        let (user, file) = (me(), pid("dropped"));
        let task = tokio::spawn(async move { sh(&script, &user, LONG).await });
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        task.abort();
        is_gone(&file).await;
    }

    #[tokio::test]
    async fn a_process_left_behind_delays_nothing() {
        let began = Instant::now();
        assert!(sh("sleep 20 & exit 0", &me(), LONG).await.is_success());
        assert!(began.elapsed() < Duration::from_secs(15), "it waited for the output of what it left behind");
        // A process that is about to end may still write its last line.
        let ended = sh("(sleep 0.02; echo late >&2) & exit 1", &me(), LONG).await;
        assert!(
            ["exit code 1: late", "exit code 1, and what"]
                .iter()
                .any(|text| ended.to_string().starts_with(text)),
            "{ended}"
        );
    }

    /// Ends the groups of a user's processes.
    fn end(user: u32) {
        use std::os::unix::fs::MetadataExt;

        let ids = std::fs::read_dir("/proc").expect("proc").flatten().filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            (entry.metadata().ok()?.uid() == user).then_some(nix::unistd::Pid::from_raw(id))
        });
        let groups: std::collections::BTreeSet<_> =
            ids.filter_map(|id| nix::unistd::getpgid(Some(id)).ok()).collect();
        for group in groups {
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }

    /// The user may have only so many processes, and all of them are found.
    #[tokio::test]
    async fn a_program_that_multiplies_is_ended() {
        /// Nobody's, so that no other program shares its limit.
        const USER: u32 = 54_322;
        if !nix::unistd::geteuid().is_root() {
            // A limit for our own user would count everything that it runs.
            return;
        }
        let theirs = || {
            let processes = std::fs::read_dir("/proc").expect("proc").flatten();
            let theirs = processes.filter(|entry| {
                let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
                status.contains(&format!("Uid:\t{USER}\t")) && !status.contains("State:\tZ")
            });
            theirs.count()
        };
        let start = Start {
            command: argv("(setsid perl -e 'fork while 1' || true) & exec sleep 300"),
            environment: vec![("PATH".to_owned(), PATH.to_owned())],
            identity: Some(Identity { uid: USER, gid: USER, groups: vec![USER] }),
            limit_ms: 300,
            trust: Trust::Owned,
            descriptors: None,
            directory: None,
            bounds: None,
        };
        let answer = converse(&start, Instant::now() + LONG, silent()).await;
        let left = theirs();
        // A test that fails must not leave them on the host.
        if left > 0 {
            end(USER);
        }
        assert_eq!(left, 0, "{answer:?}");
        answer.expect("an answer");
    }

    #[tokio::test]
    async fn a_program_that_others_may_replace_is_not_run() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("program");
        std::fs::write(&path, "#!/bin/sh\nexit 5\n").expect("write");
        let (command, user) = ([path.display().to_string()], me());
        let program = |trust| Program {
            command: &command,
            arguments: &[],
            environment: &[],
            user: Some(&user),
            limit: LONG,
            trust,
        };
        for (mode, runs) in [(0o755, true), (0o777, false), (0o755, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
            let ended = run(program(Trust::Owned)).await;
            assert_eq!(ended.how == How::Exit(5), runs, "{mode:o}: {ended}");
            if !runs {
                assert!(ended.to_string().contains(&format!("`chmod go-w {}`", path.display())), "{ended}");
                assert_eq!(run(program(Trust::Anybody)).await.how, How::Exit(5));
            }
        }
    }

    #[tokio::test]
    async fn a_missing_user_or_program_is_reported() {
        let ended = sh("exit 0", "no-such-user-here", LONG).await;
        assert_eq!(ended.to_string(), "there is no user no-such-user-here on this host");
        let (command, user) = (["/no/such/program".to_owned()], me());
        let program = Program {
            command: &command,
            arguments: &[],
            environment: &[],
            user: Some(&user),
            limit: LONG,
            trust: Trust::Owned,
        };
        let ended = run(program).await.to_string();
        assert_eq!(ended, format!("cannot run /no/such/program as {user}: no such file"));
    }

    #[tokio::test]
    async fn root_becomes_the_user_and_nobody_else_can() {
        let ended = sh("echo $(id -u) $(id -G); id -u | grep -qv ^0$", "nobody", LONG).await;
        if nix::unistd::geteuid().is_root() {
            let nobody = User::from_name("nobody").expect("users").expect("nobody");
            assert!(ended.is_success(), "{ended}");
            assert_eq!(ended.output, format!("{} {}", nobody.uid, nobody.gid));
        } else if me() != "nobody" {
            assert!(matches!(ended.how, How::NotStarted(_)), "{ended}");
        }
    }

    #[tokio::test]
    async fn the_groups_of_the_user_and_the_limits_from_before_replace_ours() {
        let nobody = User::from_name("nobody").expect("users").expect("nobody");
        let groups = vec![nobody.gid.as_raw(), 54_321];
        let identity = Identity { uid: nobody.uid.as_raw(), gid: nobody.gid.as_raw(), groups };
        let start = Start {
            command: argv("echo $(id -G) $(ulimit -n) $(ulimit -Hn)"),
            environment: vec![("PATH".to_owned(), PATH.to_owned())],
            identity: Some(identity),
            limit_ms: 60_000,
            trust: Trust::Owned,
            descriptors: Some((100, 200)),
            directory: None,
            bounds: None,
        };
        let (end, output) = converse(&start, Instant::now() + LONG, silent()).await.expect("an answer");
        if nix::unistd::geteuid().is_root() {
            assert_eq!(output, format!("{} 54321 100 200", nobody.gid));
        } else {
            assert!(matches!(end.how, How::NotStarted(why) if why.contains("CAP_SETUID")));
        }
    }
}
