//! `evenkeeld-plan`: a process that understands one plan and ends. Both of its ends are here.
//!
//! ```text
//!   daemon --the plan's text-----------> standard input,  evenkeeld-plan
//!          <--[`Answer`]s, JSON, a line each-- standard output,
//! ```
//! So the daemon holds neither the code nor the memory of a TOML parser and a schema validator, and a text that outwits them
//! finds a process without rights. The daemon takes the answer as strictly as if it came from outside.

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
/// Longest time for one plan, in which the largest that is allowed is understood many times over.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Most memory that it may take: a value of TOML takes about 20 times its text.
const MEMORY_LIMIT: u64 = 4 << 30;
/// Longest answer: JSON is somewhat longer than TOML.
const MAX_ANSWER: u64 = 4 * seal::MAX_BYTES as u64;
/// Most of its complaints that is told, bytes.
const MAX_COMPLAINT: usize = 512;
/// What is read or written at once: as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// What it says of a text. The last one is a plan or a refusal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The next virtual server.
    Server(Box<VirtualServer>),
    /// Those until now are void.
    Anew,
    /// It is this plan, without its virtual servers.
    Plan(Box<Plan>),
    /// It is none.
    Refused(String),
}

/// Has a plan's text, without its seal, understood by another process.
///
/// # Errors
/// As [`understand`], or when the process does not do its work.
#[cfg_attr(test, expect(dead_code, reason = "unit tests have no other process"))]
pub(super) fn ask(body: &str) -> Result<Plan, Refusal> {
    converse(body).unwrap_or_else(|error| Err(Refusal::new(format!("{NAME}, which reads plans: {error}"))))
}

fn converse(body: &str) -> io::Result<Result<Plan, Refusal>> {
    let mut command = helpers::command(NAME)?;
    // Its complaints too: whoever reads the daemon's log may not read at all, and it would wait for him.
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = unblocked(|| command.spawn())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot be started: {error}")))?;
    let answer = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => exchange(body, input, output, &mut child),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    child.kill().ok();
    let status = child.wait()?;
    // How it ended says why it did not answer.
    answer.map_err(|error| {
        let complaint = child.stderr.take().map(complaint).unwrap_or_default();
        io::Error::new(error.kind(), format!("{error} ({status}){complaint}"))
    })
}

/// What a process that has ended said of it: of a panic, or of memory that it was not given. The beginning is what matters.
fn complaint(mut stderr: ChildStderr) -> String {
    // Nobody else should have the other end; if somebody has, it is not waited for.
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
        // One that ends without reading all of it says why in its answer.
        let writer = std::thread::Builder::new().name("plan".to_owned());
        writer.spawn_scoped(scope, move || input.write_all(body.as_bytes()).ok())?;
        let answer = listen(Patient { output, until: clock::now() + TIME_LIMIT });
        // Whoever still writes to it would wait for ever.
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

/// What is waited for until some time only.
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

/// The `evenkeeld-plan` program: reads a text, answers, ends.
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
            // Nobody listens.
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

/// No capability, no file beyond those that are open, no end later than the daemon's. What of this the host does not allow is
/// done without.
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
