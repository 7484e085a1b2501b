//! The guardian: a small process that takes the VIPs away when the election stops renewing them.
//!
//! ```text
//!   election thread --lease (VIPs, until)--> guardian --until passed, not renewed--> removes the VIPs
//!                   <-leases at connection--
//! ```
//!
//! A VIP is a lease. With each advertisement the election renews it until the time before which no Backup can
//! claim the VIPs. A daemon that was killed, or that hangs, stops renewing; the guardian removes the VIPs
//! just before the first Backup may claim them. A daemon that comes back earlier gets the leases that still
//! run, and goes on as Master without an election. Virtual services that only a Master may have go a little
//! later: see [`Bound`].
//!
//! Protocol: JSON, one message a packet, on a `SOCK_SEQPACKET` socket beside the status socket, whose file
//! only its owner may use; each side accepts only a peer of root or of its own user. A guardian acts on VIPs
//! of the plan only, which the daemon names first. It answers each beat ([`ToGuardian::Beat`]); one that does
//! not is ended and replaced. Here are the messages and the daemon's end; the process is in `process`.

pub(crate) mod keeper;
mod process;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use evenkeel_converge::{AddressKey, ServiceKey};
use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::debug;

use crate::system::helpers;
use crate::system::out;
use crate::system::private_socket::Peer;
use crate::system::signals::unblocked;

/// Name of the guardian's program, and of its process when there is only `evenkeeld`.
const PROGRAM: &str = "evenkeeld-guard";

/// The `evenkeeld-guard` program: the guardian that listens on the socket that is its argument.
#[must_use]
pub fn main() -> ExitCode {
    match out::GUARD.arguments().as_deref() {
        Ok([socket]) => run(Path::new(socket)),
        Ok(_) => ExitCode::from(out::USAGE),
        Err(code) => *code,
    }
}

pub(crate) use process::run;

/// Suffix of the guardian's socket: it has the name of the daemon's socket and this. Their directory is in
/// memory, so no disk in trouble keeps a daemon from its guardian.
const SUFFIX: &str = ".guard";
/// The guardian's socket in the state directory, where versions before this one had it.
const FORMER: &str = "guard.sock";
/// Longest path of a Unix socket, bytes: `sun_path` (unix(7)) less the terminator.
const MAX_PATH: usize = 107;
/// Largest message, bytes: a router of 255 IPv6 VIPs needs about 20 KB.
const MAX_MESSAGE: usize = 64 * 1024;
/// Longest time that a daemon waits for its guardian to start.
const START_LIMIT: Duration = Duration::from_secs(5);
/// Longest time that a daemon waits for a running guardian to answer. One that does not is replaced.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Most leases that a daemon takes over: a host has 255 routers a segment and family.
const MAX_LEASES: usize = 10_000;
/// Version of the messages. It grows when one is added or changes; a guardian of another version is replaced.
const PROTOCOL: u32 = 2;
/// Room for an answer to a beat, bytes.
const ANSWER_LENGTH: usize = 64;
/// Most answers read at once; there are a few a second.
const MAX_ANSWERS: usize = 16;

/// The VIPs of one router and until when they may stay without being renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Identifies the router on this host: interface, family and VRID.
    pub(crate) router: String,
    /// The VIPs.
    pub(crate) addresses: Vec<AddressKey>,
    /// When they must be gone.
    pub(crate) until: MonoTime,
}

/// Virtual services that this host may have only as Master of a router, since it is a real server of theirs:
/// as Backup it would forward what the Master sends to it. They are removed a second after the guardian has
/// removed the VIPs of the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// The name of the router's lease.
    pub(crate) router: String,
    /// Some of the services.
    pub(crate) services: Vec<ServiceKey>,
    /// Whether they are in addition to those of the messages before.
    pub(crate) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToGuardian {
    /// The VIPs of the plan: a lease may name no others.
    Vips(Vips),
    /// Take or renew a lease.
    Lease(Lease),
    /// New ends of leases that the guardian knows, by name.
    Renew(BTreeMap<String, MonoTime>),
    /// The VIPs of this router were removed by the daemon.
    Release(String),
    /// Virtual services that go with the VIPs of a router.
    Bound(Bound),
    /// To be answered at once, with the same number.
    Beat(u64),
    /// Another guardian takes over: forget everything, and end.
    Leave,
}

/// VIPs of the plan, some of them where there are many.
#[derive(Debug, Serialize, Deserialize)]
struct Vips {
    addresses: Vec<AddressKey>,
    /// Whether they are in addition to those of the messages before.
    more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FromGuardian {
    /// A lease that still runs.
    Lease(Lease),
    /// The end of the leases, from a guardian of protocol 1.
    End,
    /// The end of the leases, and the protocol that the guardian speaks.
    Ready { protocol: u32 },
    /// The answer to a beat: its number.
    Alive(u64),
}

/// A daemon's connection to its guardian.
#[derive(Debug)]
pub(crate) struct Guardian {
    socket: Socket,
    process: Peer,
}

/// Why there is no connection.
struct Failure {
    error: io::Error,
    /// The process that accepted the connection and did not answer.
    mute: Option<Peer>,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { error, mute: None }
    }
}

impl Guardian {
    /// Connects to the guardian at `path`, starting one if there is none that answers, and returns the leases
    /// that an earlier daemon left running. The guardian of an earlier version is looked for in `state_dir`.
    /// Blocks for a few seconds at most.
    ///
    /// # Errors
    /// When no guardian can be started or connected to.
    pub(crate) fn connect(path: &Path, state_dir: &Path) -> io::Result<(Self, Vec<Lease>)> {
        check_length(path)?;
        let mut inherited = Vec::new();
        match Self::try_connect(path) {
            Ok((guardian, leases, PROTOCOL)) => return Ok((guardian, leases)),
            // A guardian of another version: its leases go to the next one.
            Ok((guardian, leases, _)) => {
                inherited = leases;
                guardian.end();
            }
            // It hangs, and will act on old leases when it wakes up.
            Err(Failure { mute: Some(process), .. }) => drop(process.kill()),
            Err(Failure { .. }) => {}
        }
        if let Ok((guardian, leases, _)) = Self::try_connect(&state_dir.join(FORMER)) {
            inherited.extend(leases);
            guardian.end();
        }
        // A guardian that hangs still listens here: it must not take the connections of its successor.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path, &error)),
            Ok(()) | Err(_) => {}
        }
        let mut child = start(path)?;
        let found = Self::wait_for(path, &mut child);
        // The guardian outlives the daemon; while the daemon lives, it is the one to reap it.
        std::thread::Builder::new().name("guard-wait".to_owned()).spawn(move || drop(child.wait()))?;
        let (guardian, leases) = found?;
        inherited.extend(leases);
        Ok((guardian, inherited))
    }

    /// The connection to a guardian that was just started.
    fn wait_for(path: &Path, child: &mut Child) -> io::Result<(Self, Vec<Lease>)> {
        let deadline = clock::now() + START_LIMIT;
        loop {
            match Self::try_connect(path) {
                Ok((guardian, leases, PROTOCOL)) => return Ok((guardian, leases)),
                Ok((.., protocol)) => {
                    let text = format!(
                        "{PROGRAM} speaks protocol {protocol}, not {PROTOCOL}: it is of another version"
                    );
                    return Err(io::Error::other(text));
                }
                Err(Failure { error, .. }) if clock::now() >= deadline => return Err(at(path, &error)),
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("it ended at once with {status}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The connection, the leases that run, and the protocol that it speaks.
    fn try_connect(path: &Path) -> Result<(Self, Vec<Lease>, u32), Failure> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        // Also the longest wait for a place in its queue of connections.
        socket.set_write_timeout(Some(ANSWER_LIMIT))?;
        socket.connect(&SockAddr::unix(path)?)?;
        let process = Peer::of(&socket)?;
        match greeting(&socket) {
            Ok((leases, protocol)) => {
                socket.set_nonblocking(true)?;
                Ok((Self { socket, process }, leases, protocol))
            }
            Err(error) => {
                use io::ErrorKind::{InvalidData, TimedOut, WouldBlock};
                let mute = matches!(error.kind(), InvalidData | TimedOut | WouldBlock).then_some(process);
                Err(Failure { error, mute })
            }
        }
    }

    /// Ends the guardian, which removes no VIPs: its leases are looked after otherwise. Does not block.
    /// Returns whether it is certain that it does nothing more.
    pub(crate) fn end(&self) -> bool {
        // Should it wake up, it reads this before it acts on its leases.
        let sent = send(&self.socket, &ToGuardian::Leave).is_ok();
        self.process.kill() || sent
    }

    /// Names VIPs of the plan; with `more` in addition to those named before. Does not block.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn name_vips(&self, addresses: Vec<AddressKey>, more: bool) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Vips(Vips { addresses, more }))
    }

    /// Sends a beat, which the guardian answers with its number. Does not block.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn beat(&self, number: u64) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Beat(number))
    }

    /// The number of the last beat that was answered since the last call; `None` when none was. Does not
    /// block.
    ///
    /// # Errors
    /// When the guardian is gone.
    pub(crate) fn answered(&self) -> io::Result<Option<u64>> {
        let (mut last, mut buffer) = (None, [0; ANSWER_LENGTH]);
        for _ in 0..MAX_ANSWERS {
            match receive(&self.socket, &mut buffer) {
                Ok(FromGuardian::Alive(number)) => last = Some(number),
                Ok(FromGuardian::Lease(_) | FromGuardian::End | FromGuardian::Ready { .. }) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(last)
    }

    /// Takes a lease, or renews it with other VIPs. Does not block.
    ///
    /// # Errors
    /// `WouldBlock` when the guardian does not keep up; anything else when it is gone.
    pub(crate) fn take(&self, lease: Lease) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Lease(lease))
    }

    /// Renews leases that the guardian knows. Does not block.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn renew(&self, leases: BTreeMap<String, MonoTime>) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Renew(leases))
    }

    /// Ends a lease: the VIPs are gone. Does not block.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn release(&self, router: &str) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Release(router.to_owned()))
    }

    /// Binds virtual services to the VIPs of a router. Does not block.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn bind(&self, bound: Bound) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Bound(bound))
    }

    /// Waits until the guardian has room for a message again, for `limit` at most.
    pub(crate) fn wait_for_room(&self, limit: Duration) {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO)).ok();
    }

    /// Both ends of a connection without a process.
    #[cfg(test)]
    pub(crate) fn pair() -> io::Result<(Self, Socket)> {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Self { process: Peer::of(&ours)?, socket: ours }, theirs))
    }
}

impl AsFd for Guardian {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads a guardian's greeting: the leases that run, and the protocol that it speaks.
fn greeting(socket: &Socket) -> io::Result<(Vec<Lease>, u32)> {
    let (mut leases, mut buffer) = (Vec::new(), new_buffer());
    let deadline = clock::now() + START_LIMIT;
    for _ in 0..=MAX_LEASES {
        if clock::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match receive(socket, &mut buffer)? {
            FromGuardian::Lease(lease) => leases.push(lease),
            FromGuardian::End => return Ok((leases, 1)),
            FromGuardian::Ready { protocol } => return Ok((leases, protocol)),
            FromGuardian::Alive(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("over {MAX_LEASES} leases")))
}

/// The path of the guardian's socket for a daemon with this status socket.
pub(crate) fn socket_beside(status: &Path) -> PathBuf {
    let mut path = status.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

fn check_length(path: &Path) -> io::Result<()> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is {length} bytes long, and the path of a Unix socket may have {MAX_PATH}: \
                 use a status socket with a shorter path",
                path.display()
            ),
        ));
    }
    Ok(())
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Starts a guardian. Its own program takes a fifth of the memory of a second `evenkeeld`, which is started
/// where that program is missing.
fn start(socket: &Path) -> io::Result<Child> {
    let mut command = helpers::command(PROGRAM).unwrap_or_else(|error| {
        debug!("{error}");
        let mut command = Command::new("/proc/self/exe");
        command.arg0(PROGRAM).args(["guard", "--socket"]);
        command
    });
    command.arg(socket).stdin(Stdio::null());
    unblocked(|| command.spawn())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot be started: {error}")))
}

fn send<T: Serialize>(socket: &Socket, message: &T) -> io::Result<()> {
    socket.send(&serde_json::to_vec(message)?).map(drop)
}

/// Room for a message.
fn new_buffer() -> Box<[u8]> {
    vec![0; MAX_MESSAGE].into_boxed_slice()
}

fn receive<T: for<'de> Deserialize<'de>>(mut socket: &Socket, buffer: &mut [u8]) -> io::Result<T> {
    use io::Read;
    match socket.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => serde_json::from_slice(buffer.get(..length).unwrap_or_default())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_too_long_a_path_is_refused_at_once_and_named() {
        let socket = socket_beside(&Path::new("/run").join("x".repeat(100)));
        let begun = clock::now();
        let error = Guardian::connect(&socket, Path::new("/var/lib/evenkeel")).expect_err("too long");
        assert!(begun.until(clock::now()) < Duration::from_secs(1));
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("x.guard is 111 bytes long"), "{text}");
        assert!(check_length(&socket_beside(Path::new("/run/evenkeel/evenkeeld.sock"))).is_ok());
    }
}
