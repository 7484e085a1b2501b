//! Runs a program of the plan: a tracker's script, a hook. No shell, a clean environment, its own
//! user, its own process group, a time limit, and no more of its output than its end.
//!
//! What the end of a program means is decided by those who ask.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, User, getgrouplist};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::stop_signals::unblocked;

/// How much of a program's output is kept: its end, bytes.
const TAIL: usize = 512;
/// How long output is waited for after the program ended: somebody it left behind may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Where programs find other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Questions to the user database at a time: it may be on a network, and hang.
static LOOKUPS: Semaphore = Semaphore::const_new(8);

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program<'a> {
    /// Its absolute path and its arguments.
    pub(crate) command: &'a [String],
    /// More arguments.
    pub(crate) arguments: &'a [String],
    /// Its environment beside `PATH`.
    pub(crate) environment: &'a [(&'a str, String)],
    /// User that it runs as.
    pub(crate) user: &'a str,
    /// How long it may run, the look at the user database included.
    pub(crate) limit: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How.
    pub(crate) how: How,
    /// The end of what it wrote to standard output and standard error, one line.
    pub(crate) output: String,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It ran for too long and was killed with its process group.
    Killed(Duration),
    /// It could not be started.
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
        if self.output.is_empty() { Ok(()) } else { write!(f, ": {}", self.output) }
    }
}

/// Who a program runs as.
#[derive(Clone)]
struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Runs a program to its end. When this future is dropped, the program's process group is killed.
pub(crate) async fn run(program: Program<'_>) -> Ended {
    let deadline = Instant::now() + program.limit;
    let not_started = |why: String| Ended { how: How::NotStarted(why), output: String::new() };
    let identity = match timeout_at(deadline, identity(program.user)).await {
        Ok(Ok(identity)) => identity,
        Ok(Err(why)) => return not_started(why),
        Err(_) => return not_started(format!("user {} was not found in time", program.user)),
    };
    let Some(path) = program.command.first() else { return not_started("there is no command".to_owned()) };
    let mut child = match start(&program, path, identity) {
        Ok(child) => child,
        Err(error) => {
            let hint = match error.raw_os_error() {
                Some(libc::EPERM) => "; to run as somebody else takes CAP_SETUID and CAP_SETGID",
                _ => "",
            };
            return not_started(format!("cannot run {path} as {}: {error}{hint}", program.user));
        }
    };
    let mut group = Group::of(&child);
    let (mut out, mut err) = (Tail::default(), Tail::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = {
        let reading = async { tokio::join!(out.read(stdout), err.read(stderr)) };
        let mut reading = std::pin::pin!(reading);
        let mut all_read = false;
        let status = {
            let mut wait = std::pin::pin!(timeout_at(deadline, child.wait()));
            loop {
                tokio::select! {
                    status = &mut wait => break status,
                    _ = &mut reading, if !all_read => all_read = true,
                }
            }
        };
        if status.is_ok() && !all_read {
            timeout(LAST_WORDS, &mut reading).await.ok();
        }
        status
    };
    let how = match ended {
        Ok(Ok(status)) => {
            group.forget();
            how(status)
        }
        Ok(Err(error)) => How::NotStarted(format!("cannot wait for {path}: {error}")),
        Err(_) => {
            drop(group);
            // One that is stuck in the kernel dies when it comes out of it.
            timeout(LAST_WORDS, child.wait()).await.ok();
            How::Killed(program.limit)
        }
    };
    let output = if err.bytes.is_empty() { out } else { err };
    Ended { how, output: output.line() }
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exit(code),
        (None, signal) => How::Signal(signal.unwrap_or_default()),
    }
}

/// Users that were found once. A directory server that is out of reach later must not make every
/// tracker fail on every host.
static FOUND: Mutex<BTreeMap<String, Identity>> = Mutex::new(BTreeMap::new());

fn found() -> MutexGuard<'static, BTreeMap<String, Identity>> {
    // A panic in between leaves a whole map.
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks a user up, once as long as the daemon runs.
async fn identity(user: &str) -> Result<Identity, String> {
    let name = user.to_owned();
    if let Some(known) = found().get(user) {
        return Ok(known.clone());
    }
    let Ok(place) = LOOKUPS.acquire().await else { return Err("the daemon is stopping".to_owned()) };
    let look = move || {
        // Kept until the answer is there, also when nobody waits for it any more.
        let _place = place;
        let entry = User::from_name(&name).map_err(|error| format!("user {name}: {error}"))?;
        let entry = entry.ok_or_else(|| format!("there is no user {name} on this host"))?;
        let c_name = CString::new(name.as_str()).map_err(|_| format!("{name:?} is no user name"))?;
        let groups =
            getgrouplist(&c_name, entry.gid).map_err(|error| format!("groups of user {name}: {error}"))?;
        let identity = Identity { uid: entry.uid, gid: entry.gid, groups };
        found().insert(name, identity.clone());
        Ok(identity)
    };
    tokio::task::spawn_blocking(look)
        .await
        .unwrap_or_else(|_| Err(format!("user {user}: the look-up failed")))
}

fn start(program: &Program<'_>, path: &str, identity: Identity) -> io::Result<Child> {
    let mut command = Command::new(path);
    command
        .args(program.command.get(1..).unwrap_or_default())
        .args(program.arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(program.environment.iter().map(|(key, value)| (key, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // Who it is already needs no right to become it.
    if (identity.uid, identity.gid) != (nix::unistd::geteuid(), nix::unistd::getegid()) {
        become_user(&mut command, identity);
    }
    unblocked(|| command.spawn())
}

/// Lets a command drop all rights of this process but those of the user. The standard library's own
/// way would leave the user without supplementary groups.
#[allow(unsafe_code, reason = "the way between fork and exec")]
fn become_user(command: &mut Command, Identity { uid, gid, groups }: Identity) {
    let switch = move || {
        nix::unistd::setgroups(&groups)?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls
    // are allowed: it makes three system calls with values prepared before, and allocates nothing.
    unsafe { command.pre_exec(switch) };
}

/// The process group of a program that runs: killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The program has ended by itself: what it left running is its own affair, and its number may be
    /// given to somebody else.
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// The end of a stream of bytes.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut piece = [0_u8; 1024];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            self.bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
            let over = self.bytes.len().saturating_sub(TAIL);
            self.bytes.drain(..over);
        }
    }

    /// The last line that has something in it, fit for a log.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
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
        let program =
            Program { command: &command, arguments: &arguments, environment: &environment, user, limit };
        run(program).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn exit_code_signal_and_output_are_told() {
        // As in the daemon.
        let _held = crate::stop_signals::StopSignals::hold().expect("held");
        let me = me();
        assert!(sh("exit 0", &me, LONG).await.is_success());
        assert_eq!(sh("echo out; exit 3", &me, LONG).await.to_string(), "exit code 3: out");
        assert_eq!(
            sh("echo out; echo first >&2; echo last >&2; exit 1", &me, LONG).await.to_string(),
            "exit code 1: last"
        );
        assert_eq!(sh("kill -TERM $$", &me, LONG).await.to_string(), "ended by SIGTERM");
        let much = sh("yes | head -c 1000000; echo end; exit 1", &me, LONG).await;
        assert_eq!(much.output, "end");
    }

    #[tokio::test]
    async fn environment_and_arguments_are_what_was_given_and_no_more() {
        let script = "echo $0 $(pwd) $(env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort)";
        let ended = sh(script, &me(), LONG).await;
        assert_eq!(ended.output, format!("more / EVENKEEL_STATE=MASTER PATH={PATH}"));
    }

    #[tokio::test]
    async fn who_runs_too_long_is_killed_with_its_children() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let pid = scratch.path().join("pid");
        // The grandchild holds the output open and is in the group.
        let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
        let ended = sh(&script, &me(), Duration::from_millis(500)).await;
        assert_eq!(ended.how, How::Killed(Duration::from_millis(500)));
        let child = std::fs::read_to_string(pid).expect("pid").trim().to_owned();
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the grandchild {child} lives");
    }

    #[tokio::test]
    async fn what_is_left_behind_holds_nothing_up() {
        let began = Instant::now();
        assert!(sh("sleep 20 & exit 0", &me(), LONG).await.is_success());
        assert!(began.elapsed() < Duration::from_secs(15), "it waited for the output of what it left behind");
    }

    #[tokio::test]
    async fn a_user_or_program_that_is_not_there_is_told() {
        let ended = sh("exit 0", "no-such-user-here", LONG).await;
        assert_eq!(ended.to_string(), "there is no user no-such-user-here on this host");
        let (command, user) = (["/no/such/program".to_owned()], me());
        let program =
            Program { command: &command, arguments: &[], environment: &[], user: &user, limit: LONG };
        assert!(run(program).await.to_string().starts_with("cannot run /no/such/program as "));
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
    async fn the_groups_of_the_user_replace_ours() {
        let nobody = User::from_name("nobody").expect("users").expect("nobody");
        let groups = vec![nobody.gid, Gid::from_raw(54_321)];
        let command = argv("id -G");
        let program =
            Program { command: &command, arguments: &[], environment: &[], user: "nobody", limit: LONG };
        let identity = Identity { uid: nobody.uid, gid: nobody.gid, groups };
        let started = start(&program, "/bin/sh", identity);
        if !nix::unistd::geteuid().is_root() {
            assert_eq!(started.expect_err("no right").raw_os_error(), Some(libc::EPERM));
            return;
        }
        let child = started.expect("start");
        let output = child.wait_with_output().await.expect("end");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{} 54321", nobody.gid));
    }
}
