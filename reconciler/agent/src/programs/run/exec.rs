//! `evenkeeld-exec`: a process that runs one program and ends when nothing of it is left.
//!
//! It is the subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)) of the program: every process that the program
//! starts, in sessions of its own too, becomes this process's child when its parents end. So there is one
//! list of everything that a program left, and only processes are signalled that nobody else can have waited
//! for, so that no process number has been given away. The daemon itself could not be the subreaper: of
//! programs that run side by side it could not say whose child came to it.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getpgid, getpgrp};

use super::user::Identity;
use super::{Bounds, END_LIMIT, End, How, LAST_WORDS, MAX_START, Start};
use crate::system::files;
use crate::system::out;
use crate::system::scheduling;

pub(super) const NAME: &str = "evenkeeld-exec";
/// Most processes and threads that the user of a program may have, all programs of that user together: ending
/// them stays faster than their multiplying. Root is not bound by it.
const MAX_PROCESSES: u64 = 512;
/// Most children that are reaped at a time: of a program that multiplies there is always one more.
const MAX_REAPED: usize = 4096;
/// Time between two looks for processes that are left while these are being ended, milliseconds.
const LOOK_PAUSE_MS: u16 = 5;
/// Time during which processes that could not be ended in time are tried again, when nobody waits any more: a
/// program that multiplies in ever new sessions takes a while on a host that it keeps busy.
const STRAGGLER_LIMIT: Duration = Duration::from_secs(60);
/// Most of a list of children that is read at a time, bytes.
const CHILDREN_MAX: u64 = 64 * 1024;
/// Most of a process's `stat` that is read, bytes: the parent comes after a name of 15 bytes.
const STAT_MAX: u64 = 128;

/// A command that starts `evenkeeld-exec`.
///
/// When it is not installed.
#[cfg(not(test))]
pub(super) fn command() -> io::Result<Command> {
    crate::system::helpers::command(NAME)
}

/// The same in unit tests, which have no other program: their own plays its part, with standard output and
/// error in other places, since a test harness writes to those.
#[cfg(test)]
#[allow(unsafe_code, reason = "the way between fork and exec")]
pub(super) fn command() -> io::Result<Command> {
    let mut command = Command::new("/bin/sh");
    let own = std::env::current_exe()?;
    let script = "EVENKEEL_PART=1 exec \"$0\" --quiet --test-threads=1 --exact \
        programs::run::exec::tests::part \
                  3>&1 4>&2 >/dev/null 2>&1";
    command.args(["-c", script]).arg(own);
    // The harness has a thread of its own, which would take the signal away.
    let block = || {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block().map_err(io::Error::from)
    };
    // SAFETY: one async-signal-safe call between fork and exec.
    unsafe { command.pre_exec(block) };
    Ok(command)
}

/// The `evenkeeld-exec` program: reads a [`Start`] from standard input, runs the program, answers with an
/// [`End`], ends.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(code) = out::EXEC.arguments() {
        return code;
    }
    let Ok(daemon) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    serve(&UnixStream::from(daemon), Stdio::inherit(), Stdio::inherit())
}

fn serve(mut daemon: &UnixStream, out: Stdio, err: Stdio) -> ExitCode {
    let mut line = Vec::new();
    let read = BufReader::new(daemon).take(MAX_START).read_until(b'\n', &mut line);
    let start = read.map_err(|error| error.to_string());
    let start = start.and_then(|_| serde_json::from_slice::<Start>(&line).map_err(|error| error.to_string()));
    let start = match start {
        Ok(start) => start,
        Err(error) => {
            out::complain(format_args!("{NAME}: evenkeeld starts it, and tells it what to run: {error}"));
            return ExitCode::from(2);
        }
    };
    // A session of its own: no process of another session can join a group of the program's.
    nix::unistd::setsid().ok();
    let (end, left) = match Supervisor::run(&start, daemon, out, err) {
        Ok((end, left)) => (end, left),
        Err(error) => (Some(End { how: How::NotStarted(error.to_string()), left_behind: false }), None),
    };
    // Absent when nobody listens any more.
    let answered = end.map_or(Ok(()), |end| {
        let answer = serde_json::to_vec(&end).map_err(io::Error::from);
        answer.and_then(|answer| daemon.write_all(&answer))
    });
    // The daemon need not wait for the rest.
    daemon.shutdown(Shutdown::Both).ok();
    if let Some(mut keeper) = left {
        keeper.end_all(STRAGGLER_LIMIT);
    }
    if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A program and everything that it started.
struct Supervisor<'d> {
    daemon: &'d UnixStream,
    signals: SignalFd,
    program: Pid,
    /// End of the program, once it has ended.
    how: Option<How>,
}

/// Reason why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// A child may have ended.
    Child,
    /// The time is over.
    Time,
    /// The daemon does not wait for the program any more.
    Nobody,
}

/// Reason why a program cannot be started.
#[derive(Debug)]
enum StartError {
    /// A file of the command is refused. `path` names it where it is not the program itself.
    File { path: Option<String>, error: files::FileError },
    /// This process cannot become the parent of all that the program starts.
    Adopting(Errno),
    /// Signals cannot be held.
    Signals(Errno),
    /// The kernel starts no process.
    Spawn(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { error: files::FileError::Insecure(why), .. } => why.fmt(f),
            Self::File { path: Some(path), error } => write!(f, "{path}: {error}"),
            Self::File { path: None, error } => error.fmt(f),
            Self::Adopting(error) => write!(f, "cannot adopt what it starts: {error}"),
            Self::Signals(error) => write!(f, "signals: {error}"),
            Self::Spawn(error) => {
                let hint = match error.raw_os_error() {
                    Some(libc::EPERM) => "; to run as somebody else takes CAP_SETUID and CAP_SETGID",
                    Some(libc::EAGAIN) => "; its user has as many processes as it may have",
                    _ => "",
                };
                write!(f, "{error}{hint}")
            }
        }
    }
}

impl<'d> Supervisor<'d> {
    /// Runs a program to its end or its limit, and ends the processes that are left. The answer is absent
    /// when nobody waits for it; the keeper is there when a process could not be ended yet.
    ///
    /// # Errors
    /// When the program cannot be started.
    fn run(
        start: &Start,
        daemon: &'d UnixStream,
        out: Stdio,
        err: Stdio,
    ) -> Result<(Option<End>, Option<Self>), StartError> {
        let limit = Duration::from_millis(start.limit_ms);
        let deadline = clock::now() + limit;
        files::check_program(&start.command, start.trust).map_err(|(path, error)| StartError::File {
            path: (start.command.first() != Some(&path)).then_some(path),
            error,
        })?;
        prctl::set_child_subreaper(true).map_err(StartError::Adopting)?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        let held = signals
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC));
        let signals = held.map_err(StartError::Signals)?;
        let child = spawn(start, out, err).map_err(StartError::Spawn)?;
        // The kernel numbers processes with 22 bits.
        let program =
            Pid::from_raw(i32::try_from(child).map_err(|error| StartError::Spawn(io::Error::other(error)))?);
        let mut keeper = Self { daemon, signals, program, how: None };
        let mut any = keeper.reap();
        let mut came = Came::Child;
        while keeper.how.is_none() && came == Came::Child {
            came = keeper.wait(deadline);
            any = keeper.reap();
        }
        // The program has ended by itself: processes that are nearly done are not cut off.
        let last_words = deadline.min(clock::now() + LAST_WORDS);
        while any && came == Came::Child {
            came = keeper.wait(last_words);
            any = keeper.reap();
        }
        let ended_by_itself = keeper.how.clone();
        let killed = any && keeper.end_all(END_LIMIT);
        let end = match ended_by_itself {
            Some(how) => End { how, left_behind: killed },
            None => End { how: How::Killed(limit), left_behind: false },
        };
        let any = keeper.reap();
        Ok(((came != Came::Nobody).then_some(end), any.then_some(keeper)))
    }

    fn wait(&mut self, until: MonoTime) -> Came {
        let left = clock::now().until(until);
        if left.is_zero() {
            return Came::Time;
        }
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.daemon.as_fd(), PollFlags::POLLIN),
        ];
        // Rounded up, so that the last millisecond is not polled again and again.
        let most = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, most).ok();
        let came =
            |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        let nobody = came(fds.get(1));
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        if nobody { Came::Nobody } else { Came::Child }
    }

    /// Reaps children that have ended. Returns whether others are left.
    fn reap(&mut self) -> bool {
        for _ in 0..MAX_REAPED {
            let how = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.program => How::Exit(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.program => How::Signal(signal as i32),
                Ok(WaitStatus::StillAlive) => return true,
                // Ended by a real-time signal, for which the library has no value: whose end it was shows
                // when no child is left.
                Ok(_) | Err(Errno::EINTR | Errno::EINVAL) => continue,
                Err(_) => {
                    self.how.get_or_insert(How::Signal(libc::SIGRTMIN()));
                    return false;
                }
            };
            self.how = Some(how);
        }
        true
    }

    /// Kills every process that is left, and those that come from them, until none is or the limit is over.
    /// Returns whether there was one.
    ///
    /// A group is killed in one call, which no fork escapes. No group has processes of somebody else: its
    /// number is not given away while a child of ours is in it, and it lies in a session that this process or
    /// a descendant began.
    fn end_all(&mut self, limit: Duration) -> bool {
        let until = clock::now() + limit;
        let ours = getpgrp();
        let mut killed = false;
        if self.how.is_none() {
            killpg(self.program, Signal::SIGKILL).ok();
        }
        if self.reap() {
            // A program that multiplies must not get ahead of this process.
            scheduling::go_ahead();
        }
        while self.reap() && clock::now() < until {
            let mut groups = BTreeSet::new();
            for child in children() {
                match getpgid(Some(child)) {
                    Ok(group) if group != ours => drop(groups.insert(group)),
                    Ok(_) | Err(_) => killed |= kill(child, Signal::SIGKILL).is_ok(),
                }
            }
            for group in groups {
                killed |= killpg(group, Signal::SIGKILL).is_ok();
            }
            let mut signals = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            poll(&mut signals, LOOK_PAUSE_MS).ok();
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        }
        killed
    }
}

/// Starts the program. Returns its process number.
#[allow(unsafe_code, reason = "the way between fork and exec")]
fn spawn(start: &Start, out: Stdio, err: Stdio) -> io::Result<u32> {
    let Some((program, arguments)) = start.command.split_first() else {
        return Err(io::Error::other("there is no command"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(start.environment.iter().map(|(key, value)| (key, value)))
        // Entered before the identity is taken: it may lie where that has no way to.
        .current_dir(start.directory.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    let (descriptors, bounds, identity) = (start.descriptors, start.bounds, start.identity.clone());
    let processes =
        getrlimit(Resource::RLIMIT_NPROC).map_or(MAX_PROCESSES, |(_, hard)| hard.min(MAX_PROCESSES));
    let groups: Vec<Gid> =
        identity.iter().flat_map(|who| who.groups.iter().copied().map(Gid::from_raw)).collect();
    let prepare = move || {
        SigSet::empty().thread_set_mask()?;
        if let Some((soft, hard)) = descriptors {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        if let Some(Bounds { file, memory }) = bounds {
            setrlimit(Resource::RLIMIT_FSIZE, file, file)?;
            setrlimit(Resource::RLIMIT_AS, memory, memory)?;
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        }
        if let Some(Identity { uid, gid, .. }) = identity {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            if !uid.is_root() {
                setrlimit(Resource::RLIMIT_NPROC, processes, processes)?;
            }
            nix::unistd::setgroups(&groups)?;
            nix::unistd::setresgid(gid, gid, gid)?;
            nix::unistd::setresuid(uid, uid, uid)?;
        }
        // After the change of identity, which clears it: whatever kills this process also ends the program.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls
    // are allowed: it makes system calls with values prepared before, and allocates nothing. The standard
    // library's own way would leave
    // the user without supplementary groups.
    unsafe { command.pre_exec(prepare) };
    Ok(command.spawn()?.id())
}

/// Children of this process.
fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task").map(|tasks| tasks.flatten().map(|task| task.path()));
    let lists =
        tasks.map(|tasks| tasks.map(|task| files::read_beginning(&task.join("children"), CHILDREN_MAX)));
    let listed: Result<Vec<Vec<u8>>, _> = match lists {
        Ok(lists) => lists.collect(),
        Err(error) => Err(error.into()),
    };
    match listed {
        Ok(lists) => lists.iter().flat_map(|list| numbers(list)).map(Pid::from_raw).collect(),
        // The kernel was built without such lists (CONFIG_PROC_CHILDREN).
        Err(_) => children_among_all(Path::new("/proc"), std::process::id()),
    }
}

/// Numbers of a list in which each is followed by a blank. A number that was cut off is left out.
fn numbers(list: &[u8]) -> Vec<i32> {
    let whole =
        list.iter().rposition(|byte| *byte == b' ').and_then(|end| list.get(..end)).unwrap_or_default();
    let text = std::str::from_utf8(whole).unwrap_or_default();
    text.split(' ').filter_map(|number| number.parse().ok()).collect()
}

/// Processes whose parent is `parent`.
fn children_among_all(proc: &Path, parent: u32) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let stat = files::read_beginning(&proc.join(pid.to_string()).join("stat"), STAT_MAX);
        stat.is_ok_and(|stat| parent_in(&stat) == Some(parent))
    };
    numbers.filter(ours).map(Pid::from_raw).collect()
}

/// Number of the parent in `stat` (proc(5)): after the name, which may have anything in it, and the state.
fn parent_in(stat: &[u8]) -> Option<u32> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Not a test: plays the part of the program `evenkeeld-exec`, see [`command`].
    #[test]
    fn part() {
        if std::env::var_os("EVENKEEL_PART").is_none() {
            return;
        }
        let place =
            |path: &str| Stdio::from(File::options().write(true).open(path).expect("a place for output"));
        let daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().expect("a socket"));
        let (out, err) = (place("/proc/self/fd/3"), place("/proc/self/fd/4"));
        let code = serve(&daemon, out, err);
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }

    #[test]
    fn numbers_and_parents_are_read_and_nothing_is_guessed() {
        assert_eq!(numbers(b"12 345 6 "), [12, 345, 6]);
        assert_eq!(numbers(b"12 34"), [12], "cut off");
        for none in [&b""[..], b"12", b" ", b"x y "] {
            assert_eq!(numbers(none), [0; 0], "{none:?}");
        }
        assert_eq!(parent_in(b"12 (sh) S 7 12 12"), Some(7));
        assert_eq!(parent_in(b"12 (a) R 9) S 7 12"), Some(7));
        for none in [&b""[..], b"12 (sh", b"12 (sh) S", b"12 (sh) S x"] {
            assert_eq!(parent_in(none), None);
        }
    }

    #[test]
    fn both_ways_to_find_children_find_them() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = Pid::from_raw(child.id().cast_signed());
        assert!(children().contains(&pid));
        assert!(children_among_all(Path::new("/proc"), std::process::id()).contains(&pid));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
