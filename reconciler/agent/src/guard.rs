//! The guardian: a small process that takes the VIPs away when the election stops renewing them.
//!
//! ```text
//!   election thread --lease (VIPs, until)--> guardian --until passed, not renewed--> removes the VIPs
//!                   <-leases at connection--
//! ```
//!
//! A VIP is a lease. With each advertisement that the election sends it tells the guardian until
//! when no backup can have claimed the VIPs. A daemon that was killed, or that hangs, stops renewing;
//! the guardian removes the VIPs just before the first backup may claim them. A daemon that comes
//! back earlier is told of the leases that still run, and goes on as Master without an election.
//!
//! The guardian is its own session, holds nothing but a socket, and ends by itself once there is
//! neither a daemon nor a lease. Protocol: JSON, one message a packet, on a `SOCK_SEQPACKET`
//! socket in the state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use evenkeel_converge::{AddressKey, Kind, Op};
use evenkeel_kernel::{Kernel, Scope, clock};
use evenkeel_schemas::time::MonoTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{error, info, warn};

const SOCKET: &str = "guard.sock";
/// Largest message: a router of 255 IPv6 VIPs needs about 20 KB.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long a daemon waits for its guardian to start.
const START_LIMIT: Duration = Duration::from_secs(5);
/// How long a guardian without a lease waits for a daemon to connect.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Time between two attempts to remove a VIP that could not be removed.
const RETRY: Duration = Duration::from_millis(100);

/// The VIPs of one router and until when they may stay without being renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Identifies the router on this host: interface, family and VRID.
    pub(crate) router: String,
    /// Its VIPs.
    pub(crate) addresses: Vec<AddressKey>,
    /// When they must be gone.
    pub(crate) until: MonoTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToGuardian {
    /// Take or renew a lease.
    Lease(Lease),
    /// The VIPs of this router were removed by the daemon.
    Release(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FromGuardian {
    /// A lease that still runs.
    Lease(Lease),
    /// That was all of them.
    End,
}

/// A daemon's connection to its guardian.
#[derive(Debug)]
pub(crate) struct Guardian {
    socket: Socket,
}

impl Guardian {
    /// Connects to the guardian of `state_dir`, starting one if there is none, and returns the leases
    /// that an earlier daemon left running. Blocks for at most a few seconds.
    ///
    /// # Errors
    /// When no guardian can be started or spoken to.
    pub(crate) fn connect(state_dir: &Path) -> io::Result<(Self, Vec<Lease>)> {
        let path = state_dir.join(SOCKET);
        if let Ok(found) = Self::try_connect(&path) {
            return Ok(found);
        }
        start(state_dir)?;
        let deadline = clock::now() + START_LIMIT;
        loop {
            match Self::try_connect(&path) {
                Ok(found) => return Ok(found),
                Err(error) if clock::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn try_connect(path: &Path) -> io::Result<(Self, Vec<Lease>)> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.set_read_timeout(Some(START_LIMIT))?;
        socket.connect(&SockAddr::unix(path)?)?;
        let mut leases = Vec::new();
        while let FromGuardian::Lease(lease) = receive(&socket)? {
            leases.push(lease);
        }
        socket.set_nonblocking(true)?;
        Ok((Self { socket }, leases))
    }

    /// Renews a lease. Does not block.
    ///
    /// # Errors
    /// When the guardian is gone or does not keep up.
    pub(crate) fn renew(&self, lease: Lease) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Lease(lease))
    }

    /// Ends a lease: the VIPs are gone. Does not block.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub(crate) fn release(&self, router: &str) -> io::Result<()> {
        send(&self.socket, &ToGuardian::Release(router.to_owned()))
    }
}

impl AsFd for Guardian {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn start(state_dir: &Path) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("evenkeeld-guard")
        .arg("guard")
        .arg("--state-dir")
        .arg(state_dir)
        .stdin(Stdio::null())
        .spawn()?;
    // The guardian outlives the daemon; while the daemon lives, it is the one to reap it.
    std::thread::Builder::new().name("guard-wait".to_owned()).spawn(move || drop(child.wait()))?;
    Ok(())
}

fn send<T: Serialize>(socket: &Socket, message: &T) -> io::Result<()> {
    socket.send(&serde_json::to_vec(message)?).map(drop)
}

fn receive<T: for<'de> Deserialize<'de>>(mut socket: &Socket) -> io::Result<T> {
    use io::Read;
    let mut buffer = vec![0; MAX_MESSAGE];
    match socket.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(serde_json::from_slice(&buffer[..length])?),
    }
}

/// The guardian process: `evenkeeld guard`.
pub(crate) fn main(state_dir: &Path) -> ExitCode {
    match Process::new(state_dir).and_then(Process::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("guardian: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Process {
    path: PathBuf,
    listener: Socket,
    daemon: Option<Socket>,
    leases: BTreeMap<String, Lease>,
    kernel: Kernel,
    /// When to end if there is neither a daemon nor a lease.
    idle_until: MonoTime,
}

impl Process {
    fn new(state_dir: &Path) -> io::Result<Self> {
        // Of its own session, and deaf to what stops the daemon: it ends when its work is done.
        nix::unistd::setsid().ok();
        let mut deaf = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            deaf.add(signal);
        }
        deaf.thread_block()?;
        let path = state_dir.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        listener.bind(&SockAddr::unix(&path)?)?;
        listener.listen(4)?;
        listener.set_nonblocking(true)?;
        let kernel = Kernel::new().map_err(io::Error::other)?;
        let idle_until = clock::now() + IDLE_LIMIT;
        Ok(Self { path, listener, daemon: None, leases: BTreeMap::new(), kernel, idle_until })
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            let now = clock::now();
            self.retract(now);
            if self.daemon.is_none() && self.leases.is_empty() && now >= self.idle_until {
                std::fs::remove_file(&self.path).ok();
                return Ok(());
            }
            self.wait(now)?;
            self.accept();
            self.read();
        }
    }

    fn wait(&self, now: MonoTime) -> io::Result<()> {
        let next = self.leases.values().map(|lease| lease.until).min();
        let idle = self.daemon.is_none().then_some(self.idle_until);
        let wait = next.or(idle).map(|at| now.until(at) + Duration::from_millis(1));
        let timeout =
            wait.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.daemon.as_ref().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A new daemon takes the place of the old one and hears of the leases.
    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        let told = socket.set_write_timeout(Some(START_LIMIT)).and_then(|()| {
            for lease in self.leases.values() {
                send(&socket, &FromGuardian::Lease(lease.clone()))?;
            }
            send(&socket, &FromGuardian::End)
        });
        match told.and_then(|()| socket.set_nonblocking(true)) {
            Ok(()) => self.daemon = Some(socket),
            Err(error) => warn!("guardian: a daemon connected and went: {error}"),
        }
    }

    fn read(&mut self) {
        while let Some(socket) = &self.daemon {
            match receive(socket) {
                Ok(ToGuardian::Lease(lease)) => self.lease(lease),
                Ok(ToGuardian::Release(router)) => drop(self.leases.remove(&router)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => warn!("guardian: {error}"),
                Err(_) => {
                    self.daemon = None;
                    self.idle_until = clock::now();
                    if !self.leases.is_empty() {
                        info!("guardian: the daemon is gone; its VIPs stay until their leases run out");
                    }
                }
            }
        }
    }

    fn lease(&mut self, lease: Lease) {
        if !self.leases.contains_key(&lease.router) {
            // Everything that the removal will need has then been used once: no page of it has to
            // be read from a disk at the moment that matters.
            self.present(&lease.addresses).ok();
        }
        self.leases.insert(lease.router.clone(), lease);
    }

    /// Removes the VIPs whose lease has run out.
    fn retract(&mut self, now: MonoTime) {
        let expired: Vec<String> = self
            .leases
            .values()
            .filter(|lease| lease.until <= now)
            .map(|lease| lease.router.clone())
            .collect();
        for router in expired {
            let Some(lease) = self.leases.remove(&router) else { continue };
            match self.remove(&lease.addresses) {
                Ok(0) => {}
                Ok(count) => warn!("guardian: lease of {router} ran out: removed {count} VIPs"),
                Err(why) => {
                    error!("guardian: lease of {router} ran out, but its VIPs cannot be removed: {why}");
                    self.leases.insert(router, Lease { until: now + RETRY, ..lease });
                }
            }
        }
    }

    /// Those of the addresses that the kernel has.
    fn present<'a>(&mut self, addresses: &'a [AddressKey]) -> Result<Vec<&'a AddressKey>, String> {
        let interfaces: BTreeSet<String> = addresses.iter().map(|key| key.interface.clone()).collect();
        let scope = Scope { kinds: BTreeSet::from([Kind::Addresses]), interfaces, ..Scope::default() };
        let observed = self.kernel.observe(&scope).map_err(|error| error.to_string())?;
        Ok(addresses.iter().filter(|key| observed.addresses.contains_key(key)).collect())
    }

    fn remove(&mut self, addresses: &[AddressKey]) -> Result<usize, String> {
        let ops: Vec<Op> =
            self.present(addresses)?.into_iter().map(|key| Op::DelAddress(key.clone())).collect();
        for result in self.kernel.apply(&ops) {
            result.map_err(|error| error.to_string())?;
        }
        Ok(ops.len())
    }
}
