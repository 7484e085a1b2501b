//! `evenkeeld-plan`: a process that parses one plan and ends. Both of its ends are here.
//!
//! So the daemon has neither the code nor the memory of a TOML parser and a schema validator, and a text that
//! exploits them finds a process without rights. The daemon parses the answer as strictly as if it came from
//! outside.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitCode, Stdio};
use std::time::Duration;

use caps::CapSet;
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Plan, VirtualServer};
use evenkeel_schemas::seal;
use evenkeel_schemas::time::MonoTime;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::understand::{Part, understand};
use crate::system::helpers;
use crate::system::out;
use crate::system::scheduling;
use crate::system::signals::unblocked;
use evenkeel_host::loaded::PlanRefusal as Refusal;

const NAME: &str = "evenkeeld-plan";
/// Longest time for one plan: the largest that is allowed takes a small part of it.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Most memory that it may use, bytes: a value of TOML takes about 20 times its text.
const MEMORY_LIMIT: u64 = 4 << 30;
/// Longest answer, bytes: JSON is somewhat longer than TOML.
const MAX_ANSWER: u64 = 4 * seal::MAX_BYTES as u64;
/// Most of its standard error that is reported, bytes.
const MAX_COMPLAINT: usize = 512;
/// Most that is read or written at once, bytes: as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// Answer about a text. The last one is a plan or a refusal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The next virtual server.
    Server(Box<VirtualServer>),
    /// All virtual servers so far are void.
    Anew,
    /// The text is this plan, without its virtual servers.
    Plan(Box<Plan>),
    /// The text is no plan, with the reason.
    Refused(String),
}

/// Has a plan's text, without its seal, parsed by another process.
///
/// # Errors
/// As [`understand`], or when the process does not do its work.
#[cfg_attr(test, expect(dead_code, reason = "unit tests have no other process"))]
pub(super) fn ask(body: &str) -> Result<Plan, Refusal> {
    converse(body).unwrap_or_else(|error| Err(Refusal::new(format!("{NAME}, which reads plans: {error}"))))
}

fn converse(body: &str) -> io::Result<Result<Plan, Refusal>> {
    let mut command = helpers::command(NAME)?;
    // Its standard error too is read here: the reader of the daemon's log may not read at all, and the
    // process would wait for it.
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = unblocked(|| command.spawn())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot be started: {error}")))?;
    let answer = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => exchange(body, input, output, &mut child),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    child.kill().ok();
    let status = child.wait()?;
    // The exit status says why there was no answer.
    answer.map_err(|error| {
        let complaint = child.stderr.take().map(complaint).unwrap_or_default();
        io::Error::new(error.kind(), format!("{error} ({status}){complaint}"))
    })
}

/// The beginning of a process's standard error after its end: a panic, or memory that it was refused.
fn complaint(mut stderr: ChildStderr) -> String {
    // No other process should have the other end; if one has, it is not waited for.
    let flags = OFlag::O_NONBLOCK;
    let mut some = [0; MAX_COMPLAINT];
    let read = fcntl(&stderr, FcntlArg::F_SETFL(flags)).map_err(io::Error::from);
    let length = read.and_then(|_| stderr.read(&mut some)).unwrap_or_default();
    let text = String::from_utf8_lossy(some.get(..length).unwrap_or_default());
    let text: Vec<&str> = text.split_whitespace().collect();
    if text.is_empty() { String::new() } else { format!(": {}", text.join(" ")) }
}

fn exchange(
    body: &str,
    mut input: ChildStdin,
    output: ChildStdout,
    child: &mut Child,
) -> io::Result<Result<Plan, Refusal>> {
    std::thread::scope(|scope| {
        // A process that ends without reading everything says why in its answer.
        let writer = std::thread::Builder::new().name("plan".to_owned());
        writer.spawn_scoped(scope, move || input.write_all(body.as_bytes()).ok())?;
        let answer = listen(Patient { output, until: clock::now() + TIME_LIMIT });
        // A writer still blocked on its input would wait for ever.
        child.kill().ok();
        answer
    })
}

fn listen(output: Patient) -> io::Result<Result<Plan, Refusal>> {
    let mut lines = BufReader::with_capacity(PIECE, output.take(MAX_ANSWER));
    let (mut servers, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "ended without an answer"));
        }
        let answer = serde_json::from_slice(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("its answer: {error}")))?;
        match answer {
            Answer::Server(mut server) => {
                // Parsing leaves spare room, which the plan would hold for as long as it is in force.
                server.destinations.shrink_to_fit();
                servers.push(*server);
            }
            Answer::Anew => servers.clear(),
            Answer::Plan(plan) if plan.virtual_servers.is_empty() => {
                servers.shrink_to_fit();
                return Ok(Ok(Plan { virtual_servers: servers, ..*plan }));
            }
            Answer::Plan(_) => return Err(io::Error::other("its answer contradicts itself")),
            Answer::Refused(why) => return Ok(Err(Refusal::new(why))),
        }
    }
}

/// Output that is read until a deadline only.
struct Patient {
    output: ChildStdout,
    until: MonoTime,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = clock::now().until(self.until) + Duration::from_millis(1);
        let mut fds = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.output.read(buffer),
        }
    }
}

/// The `evenkeeld-plan` program: reads a text from standard input, answers, ends.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(code) = out::PLAN.arguments() {
        return code;
    }
    give_up_rights();
    scheduling::give_way();
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(seal::MAX_BYTES as u64).read_to_end(&mut bytes);
    let mut output = io::BufWriter::with_capacity(PIECE, io::stdout().lock());
    let mut say = |answer: &Answer| {
        let line = serde_json::to_writer(&mut output, answer).map_err(io::Error::from);
        if line.and_then(|()| output.write_all(b"\n")).is_err() {
            // The daemon does not read any more.
            std::process::exit(1);
        }
    };
    let take = |part| match part {
        Part::Server(server) => say(&Answer::Server(server)),
        Part::Anew => say(&Answer::Anew),
    };
    let understood = match read {
        Ok(_) => std::str::from_utf8(&bytes)
            .map_err(|_| Refusal::new("the plan is not UTF-8 text"))
            .and_then(|body| understand(body, take)),
        Err(error) => Err(Refusal::new(format!("the plan cannot be read: {error}"))),
    };
    say(&match understood {
        Ok(plan) => Answer::Plan(Box::new(plan)),
        Err(why) => Answer::Refused(why.to_string()),
    });
    match output.flush() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up every capability, every file beyond those that are open, and a life longer than the daemon's.
/// Where the host does not allow a part of this, that part is left out.
fn give_up_rights() {
    prctl::set_pdeathsig(Signal::SIGKILL).ok();
    prctl::set_no_new_privs().ok();
    let limits = [
        (Resource::RLIMIT_CPU, TIME_LIMIT.as_secs()),
        (Resource::RLIMIT_AS, MEMORY_LIMIT),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, limit, limit).ok();
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).ok();
    }
}
