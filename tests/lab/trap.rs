//! Kills a running program between two of its operations on the kernel, exactly: one of its threads is
//! traced, and its requests, writes to settings and renames of files are counted as it makes them. The
//! program itself knows nothing of it.
//!
//! Many requests go to the kernel in one send, which SIGKILL cannot divide: the kernel has handled all of
//! them before it looks at signals. A send that reaches beyond the last operation to be done is cut short
//! before the kernel sees it, so that the state after every single operation can be seen as well.

use std::fmt;
use std::fs::{File, read_dir, read_link, read_to_string};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::check::Expected;
use crate::journal::{Journal, Record};
use crate::netlink::{Received, generic_family, messages};
use crate::nlmon::request_name;
use crate::process::Daemon;

/// Longest path that is read from a traced program.
const PATH_LENGTH_MAX: usize = 512;
/// A buffer longer than this is no request.
const REQUEST_LENGTH_MAX: usize = 1 << 20;

/// An operation of a traced thread on the kernel or on its own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation(pub String);

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A thread under observation; see [`Daemon::trap`]. Ends with the program.
pub struct Trap {
    done: Journal<Operation>,
    tracer: Option<JoinHandle<()>>,
}

impl Daemon {
    /// From now on counts the operations of the thread of that name, and kills the program when the next one
    /// after `limit` of them is about to be done. Without a limit it only counts.
    #[track_caller]
    pub fn trap(&self, thread: &str, limit: Option<usize>) -> Trap {
        let process = Pid::from_raw(self.pid().cast_signed());
        let tid = find_thread(process, thread);
        let done = Journal::new();
        let (begun, begin) = std::sync::mpsc::channel();
        let tracer = Tracer {
            process,
            tid,
            memory: File::open(format!("/proc/{tid}/mem")).or_fail("a program's memory"),
            ipvs: generic_family("IPVS"),
            limit: limit.unwrap_or(usize::MAX),
            count: 0,
            done: done.clone(),
        };
        let tracer = std::thread::Builder::new()
            .name("trap".to_owned())
            .spawn(move || tracer.run(&begun))
            .expect("a thread");
        begin.recv_timeout(Duration::from_secs(10)).expect("the thread can be traced");
        Trap { done, tracer: Some(tracer) }
    }
}

impl Trap {
    /// Operations done so far, in order.
    pub fn done(&self) -> Vec<Record<Operation>> {
        self.done.with(<[_]>::to_vec)
    }

    /// Waits until the program has ended.
    pub fn wait(mut self) -> Vec<Record<Operation>> {
        if let Some(tracer) = self.tracer.take() {
            assert!(tracer.join().is_ok(), "the tracer panicked");
        }
        self.done()
    }
}

#[track_caller]
fn find_thread(process: Pid, name: &str) -> Pid {
    let tasks = read_dir(format!("/proc/{process}/task")).or_fail("threads of a program");
    let names: Vec<(i32, String)> = tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let tid = task.file_name().to_str()?.parse().ok()?;
            Some((tid, read_to_string(task.path().join("comm")).ok()?.trim_end().to_owned()))
        })
        .collect();
    match names.iter().find(|(_, thread)| thread == name) {
        Some((tid, _)) => Pid::from_raw(*tid),
        None => panic!("no thread {name} among {names:?}"),
    }
}

struct Tracer {
    process: Pid,
    tid: Pid,
    memory: File,
    ipvs: u16,
    limit: usize,
    count: usize,
    done: Journal<Operation>,
}

/// Fate of a system call that begins.
enum Verdict {
    /// The call goes on, and these operations will have been done when it returns.
    Pass(Vec<Operation>),
    /// The call goes on with a buffer of only that length, and is the last.
    Cut(u64, Vec<Operation>),
    /// The call is not to be done.
    Kill,
}

impl Tracer {
    /// All requests of ptrace must come from the thread that began.
    fn run(mut self, begun: &std::sync::mpsc::Sender<()>) {
        ptrace::seize(self.tid, Options::PTRACE_O_TRACESYSGOOD).expect("trace a thread");
        ptrace::interrupt(self.tid).expect("stop a traced thread");
        let mut entered: Option<Vec<Operation>> = None;
        let mut last = false;
        let mut announced = false;
        loop {
            let mut signal = None;
            match waitpid(self.tid, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::PtraceSyscall(_)) => match entered.take() {
                    Some(operations) => {
                        self.note(operations);
                        if last {
                            self.kill();
                        }
                    }
                    None => match self.judge() {
                        Verdict::Pass(operations) => entered = Some(operations),
                        Verdict::Cut(length, operations) => {
                            self.cut(length);
                            (entered, last) = (Some(operations), true);
                        }
                        Verdict::Kill => self.kill(),
                    },
                },
                Ok(WaitStatus::Stopped(_, sent)) => signal = Some(sent),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return,
                Ok(_) => {}
            }
            if ptrace::syscall(self.tid, signal).is_err() {
                // Killed meanwhile: the next wait tells.
                continue;
            }
            if !announced {
                announced = true;
                let _ = begun.send(());
            }
        }
    }

    fn note(&mut self, operations: Vec<Operation>) {
        self.count += operations.len();
        let now = std::time::Instant::now();
        operations.into_iter().for_each(|operation| self.done.push(now, operation));
    }

    fn kill(&self) {
        kill(self.process, Signal::SIGKILL).expect("kill a traced program");
    }

    fn judge(&self) -> Verdict {
        let registers = ptrace::getregs(self.tid).expect("registers of a stopped thread");
        let call = registers.orig_rax.cast_signed();
        let (first, second, third) = (registers.rdi, registers.rsi, registers.rdx);
        let left = self.limit - self.count;
        let single = |operation| if left == 0 { Verdict::Kill } else { Verdict::Pass(vec![operation]) };
        match call {
            libc::SYS_sendto => self.judge_requests(first, second, third, left),
            libc::SYS_write => match read_link(format!("/proc/{}/fd/{first}", self.tid)) {
                Ok(path) if path.starts_with("/proc/sys") => single(Operation(format!(
                    "write {}",
                    path.strip_prefix("/proc/sys").unwrap_or(&path).display()
                ))),
                _ => Verdict::Pass(Vec::new()),
            },
            libc::SYS_rename => single(Operation(format!("rename to {}", self.file_name(second)))),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                single(Operation(format!("rename to {}", self.file_name(registers.r10))))
            }
            _ => Verdict::Pass(Vec::new()),
        }
    }

    fn judge_requests(&self, fd: u64, buffer: u64, length: u64, left: usize) -> Verdict {
        let Some(protocol) = self.netlink_protocol(fd) else { return Verdict::Pass(Vec::new()) };
        let bytes = self.read(buffer, usize::try_from(length).unwrap_or(usize::MAX).min(REQUEST_LENGTH_MAX));
        let mut operations = Vec::new();
        let mut end = 0;
        for message in messages(&bytes) {
            let Received { kind, flags, body, .. } = message;
            let (name, reads) = request_name(protocol, kind, flags, body, self.ipvs);
            if !reads {
                if operations.len() == left {
                    return if operations.is_empty() { Verdict::Kill } else { Verdict::Cut(end, operations) };
                }
                operations.push(Operation(name));
            }
            end += (16 + body.len()).next_multiple_of(4) as u64;
        }
        Verdict::Pass(operations)
    }

    fn cut(&self, length: u64) {
        let mut registers = ptrace::getregs(self.tid).expect("registers of a stopped thread");
        registers.rdx = length;
        ptrace::setregs(self.tid, registers).expect("change a system call");
    }

    /// The protocol of a netlink socket; none when it is something else.
    fn netlink_protocol(&self, fd: u64) -> Option<u16> {
        let link = read_link(format!("/proc/{}/fd/{fd}", self.tid)).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        let table = read_to_string(format!("/proc/{}/net/netlink", self.tid)).ok()?;
        table.lines().skip(1).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.last() == Some(&inode.as_str()) { words.get(1)?.parse().ok() } else { None }
        })
    }

    fn file_name(&self, address: u64) -> String {
        let bytes = self.read(address, PATH_LENGTH_MAX);
        let text =
            String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        Path::new(&text).file_name().map_or(text.clone(), |name| name.to_string_lossy().into_owned())
    }

    /// As much as can be read of so many bytes.
    fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            // A page at a time: the next one may not be there.
            let end = (have + 4096 - (address as usize + have) % 4096).min(length);
            match self.memory.read_at(&mut bytes[have..end], address + have as u64) {
                Ok(count) if count > 0 => have += count,
                _ => break,
            }
        }
        bytes.truncate(have);
        bytes
    }
}
