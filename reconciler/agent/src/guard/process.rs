//! The guardian process: `evenkeeld-guard`.
//!
//! It has a session of its own, a socket, the right to remove addresses and virtual services, and nothing
//! else. It ends by itself once there is neither a daemon nor a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use caps::{CapSet, Capability};
use evenkeel_converge::{AddressKey, Kind, Op, ServiceKey};
use evenkeel_kernel::{Alarm, Kernel, Scope, clock};
use evenkeel_schemas::time::MonoTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use socket2::{Domain, Socket, Type};
use tracing::{error, info, warn};

use crate::system::logging::{self, Log};
use crate::system::private_socket::{self, Peer};
use crate::system::scheduling;

use super::{Bound, FromGuardian, Lease, PROTOCOL, ToGuardian, Vips, at, new_buffer, receive, send};

/// How long a guardian without a lease waits for a daemon to connect.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Time between two attempts to remove a VIP that could not be removed.
const RETRY: Duration = Duration::from_millis(100);
/// Time between the removal of a router's VIPs and that of its services: a daemon that was only late has
/// renewed its lease by then.
const SERVICES_LATER: Duration = Duration::from_secs(1);
/// Longest time that a daemon may take to read the greeting: everything else waits meanwhile.
const GREETING_LIMIT: Duration = Duration::from_millis(500);
/// Most connections: there is one daemon, which may connect anew before it closes the old connection.
const MAX_DAEMONS: usize = 4;
/// Most VIPs of a plan: 255 routers of 255 VIPs, and as many again for the plan before.
const MAX_VIPS: usize = 2 * 255 * 255;
/// Shortest time between two log lines about refused connections, messages and leases.
const QUIET: Duration = Duration::from_secs(60);
/// Makes the guardian the last process but the unkillable to be killed when memory is short (proc(5)).
const OOM_SCORE: &str = "-999";

/// Runs the guardian that listens on `socket` until it has nothing left to guard.
pub(crate) fn run(socket: &Path) -> ExitCode {
    // A refused environment ends a daemon. It does not end a guardian, in whose place nobody would guard.
    let (wanted, refused) = match logging::wanted() {
        Ok(wanted) => (wanted, None),
        Err(why) => (logging::usual(), Some(why)),
    };
    let mut log = Log::begin(wanted);
    log.ends_in_time();
    isolate();
    // After the rights were dropped, so that the log's thread has no more. Without a log it guards as well.
    log.write().ok();
    if let Some(why) = refused {
        warn!("guardian: {why}");
    }
    let kernel = Kernel::new().map_err(io::Error::other);
    match kernel.and_then(|kernel| Process::new(socket, kernel)).and_then(Process::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("guardian: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the process a session of its own, blocks the signals that stop a daemon, makes it hard to kill, and
/// drops all rights but one. Whatever the host does not allow is done without.
fn isolate() {
    scheduling::go_ahead();
    nix::unistd::setsid().ok();
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        blocked.add(signal);
    }
    blocked.thread_block().ok();
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE).ok();
    if let Err(error) = drop_rights() {
        warn!("guardian: keeps more rights than it needs: {error}");
    }
}

/// Keeps `CAP_NET_ADMIN` and nothing else.
fn drop_rights() -> Result<(), caps::errors::CapsError> {
    let keep = Capability::CAP_NET_ADMIN;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for other in caps::runtime::thread_all_supported().into_iter().filter(|other| *other != keep) {
            caps::drop(None, CapSet::Bounding, other)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Where the right is missing there is nothing to keep: the removals will fail, and say so.
    let kept = caps::read(None, CapSet::Permitted)?.into_iter().filter(|held| *held == keep).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// What the guardian does with the kernel.
trait Addresses {
    /// Those of the addresses that are in the kernel.
    fn present(&mut self, addresses: &[AddressKey]) -> io::Result<Vec<AddressKey>>;

    /// Removes those of the addresses that are in the kernel, and returns how many were.
    fn remove(&mut self, addresses: &[AddressKey]) -> io::Result<usize>;

    /// Removes those of the services that are in the kernel.
    fn remove_services(&mut self, services: &[ServiceKey]) -> io::Result<()>;
}

impl Addresses for Kernel {
    fn present(&mut self, addresses: &[AddressKey]) -> io::Result<Vec<AddressKey>> {
        let interfaces: BTreeSet<String> = addresses.iter().map(|key| key.interface.clone()).collect();
        let scope = Scope { kinds: BTreeSet::from([Kind::Addresses]), interfaces, ..Scope::default() };
        let observed = self.observe(&scope).map_err(io::Error::other)?;
        Ok(addresses.iter().filter(|key| observed.addresses.contains_key(key)).cloned().collect())
    }

    fn remove(&mut self, addresses: &[AddressKey]) -> io::Result<usize> {
        let ops: Vec<Op> = self.present(addresses)?.into_iter().map(Op::DelAddress).collect();
        let refused: Vec<String> =
            self.apply(&ops).into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        if refused.is_empty() { Ok(ops.len()) } else { Err(io::Error::other(refused.join("; "))) }
    }

    fn remove_services(&mut self, services: &[ServiceKey]) -> io::Result<()> {
        let ops: Vec<Op> = services.iter().copied().map(Op::DelService).collect();
        let refused = self.apply(&ops).into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |error| Err(io::Error::other(error)))
    }
}

/// Device and inode of the file at a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A connection to a daemon.
struct Connected {
    socket: Socket,
    /// The VIPs of its plan: it may lease no others.
    vips: BTreeSet<AddressKey>,
}

struct Process<A> {
    path: PathBuf,
    /// The file of our own socket: another one at `path` is a successor's.
    file: (u64, u64),
    listener: Socket,
    /// The connections, the newest last.
    daemons: Vec<Connected>,
    /// The leases that run, by name.
    leases: BTreeMap<String, Lease>,
    /// Leases that ran out while their daemon is still connected: it may renew one that it takes for running,
    /// without naming the VIPs again.
    lapsed: BTreeMap<String, Lease>,
    /// Virtual services that go with the VIPs of a router, by the name of its lease, as of the newest daemon.
    bound: BTreeMap<String, Vec<ServiceKey>>,
    /// Services that are to be removed, and when.
    going: BTreeMap<String, (MonoTime, Vec<ServiceKey>)>,
    buffer: Box<[u8]>,
    kernel: A,
    /// Whether the addresses were read once.
    rehearsed: bool,
    alarm: Alarm,
    /// When to end if there is neither a daemon nor a lease.
    idle_until: MonoTime,
    /// Why VIPs could not be removed, by lease, as logged last: each reason is logged once.
    stuck: BTreeMap<String, String>,
    /// Until when refusals are not logged.
    quiet_until: MonoTime,
    /// Whether the daemon has told this guardian to leave.
    dismissed: bool,
}

impl<A: Addresses> Process<A> {
    fn new(path: &Path, kernel: A) -> io::Result<Self> {
        let path = path.to_owned();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path, &error)),
            Ok(()) | Err(_) => {}
        }
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        private_socket::bind(&listener, &path).map_err(|error| at(&path, &error))?;
        listener.listen(4)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            file: identity(&path).map_err(|error| at(&path, &error))?,
            path,
            listener,
            daemons: Vec::new(),
            leases: BTreeMap::new(),
            lapsed: BTreeMap::new(),
            bound: BTreeMap::new(),
            going: BTreeMap::new(),
            buffer: new_buffer(),
            kernel,
            rehearsed: false,
            alarm: Alarm::new()?,
            idle_until: clock::now() + IDLE_LIMIT,
            stuck: BTreeMap::new(),
            quiet_until: MonoTime::ZERO,
            dismissed: false,
        })
    }

    fn run(mut self) -> io::Result<()> {
        while self.turn(clock::now()) {
            self.wait()?;
        }
        // Another file at the path is a successor's socket.
        if !self.dismissed && identity(&self.path).is_ok_and(|file| file == self.file) {
            std::fs::remove_file(&self.path).ok();
        }
        Ok(())
    }

    /// Reads what has come and acts on what is due at `now`. Returns whether to go on.
    ///
    /// `now` is from before the reading: a lease that had run out by then was not renewed in time.
    /// Were it from after, a guardian that was stopped in between would take every lease for run out.
    fn turn(&mut self, now: MonoTime) -> bool {
        self.read(now);
        self.accept();
        if self.dismissed {
            return false;
        }
        if (self.daemons.is_empty() || self.is_due(now)) && self.replaced() {
            if !self.leases.is_empty() {
                warn!("guardian: another one has taken over, with all leases that are left");
            }
            return false;
        }
        self.retract(now);
        self.unbind(now);
        let idle = self.daemons.is_empty() && self.leases.is_empty() && self.going.is_empty();
        !(idle && now >= self.idle_until)
    }

    /// Whether a lease or a service is to be removed now.
    fn is_due(&self, now: MonoTime) -> bool {
        let leases = self.leases.values().map(|lease| lease.until);
        leases.chain(self.going.values().map(|(at, _)| *at)).any(|at| at <= now)
    }

    /// Whether another guardian listens at our path. Our leases are then old: a daemon found this process
    /// hanging, and has looked after the VIPs since. (A path that is gone proves nothing: whoever removed it
    /// may have killed the daemon too.)
    fn replaced(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file != self.file)
    }

    fn wait(&mut self) -> io::Result<()> {
        let leases = self.leases.values().map(|lease| lease.until);
        let next = leases.chain(self.going.values().map(|(at, _)| *at)).min();
        let idle = self.daemons.is_empty().then_some(self.idle_until);
        match next.or(idle) {
            Some(at) => self.alarm.set(at)?,
            None => self.alarm.unset()?,
        }
        let daemons = self.daemons.iter().map(|daemon| &daemon.socket);
        let sockets = std::iter::once(&self.listener).chain(daemons).map(AsFd::as_fd);
        let sockets = sockets.chain([self.alarm.as_fd()]);
        let mut fds: Vec<PollFd<'_>> = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Accepts a daemon and sends it the leases. A daemon that connects anew closes its old connection
    /// itself.
    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        if let Err(error) = Peer::of(&socket) {
            return self.refuse(&format!("a connection: {error}"));
        }
        let greeted = socket.set_write_timeout(Some(GREETING_LIMIT)).and_then(|()| {
            for lease in self.leases.values() {
                send(&socket, &FromGuardian::Lease(lease.clone()))?;
            }
            send(&socket, &FromGuardian::Ready { protocol: PROTOCOL })
        });
        match greeted.and_then(|()| socket.set_nonblocking(true)) {
            Ok(()) => {
                // It sends what goes with VIPs, and nothing where nothing does.
                self.bound.clear();
                if self.daemons.len() == MAX_DAEMONS {
                    self.daemons.remove(0);
                }
                self.daemons.push(Connected { socket, vips: BTreeSet::new() });
            }
            Err(error) => self.refuse(&format!("a daemon that connected and went: {error}")),
        }
    }

    /// Logs what was refused, once in [`QUIET`].
    fn refuse(&mut self, what: &str) {
        let now = clock::now();
        if now >= self.quiet_until {
            self.quiet_until = now + QUIET;
            warn!("guardian: refused {what}");
        }
    }

    /// Reads everything that the daemons have sent.
    fn read(&mut self, now: MonoTime) {
        let before = self.daemons.len();
        for mut daemon in std::mem::take(&mut self.daemons) {
            if self.read_one(&mut daemon) {
                self.daemons.push(daemon);
            }
        }
        if self.daemons.is_empty() && before > 0 {
            self.lapsed.clear();
            self.idle_until = now;
            if !self.leases.is_empty() {
                info!("guardian: the daemon is gone; its VIPs stay until their leases run out");
            }
        }
    }

    /// Reads one connection and returns whether it is still there.
    fn read_one(&mut self, daemon: &mut Connected) -> bool {
        loop {
            match receive(&daemon.socket, &mut self.buffer) {
                Ok(ToGuardian::Vips(Vips { addresses, more })) => daemon.name(addresses, more),
                Ok(ToGuardian::Lease(lease)) => match daemon.foreign(&lease) {
                    None => self.lease(lease),
                    Some(key) => {
                        self.refuse(&format!(
                            "the lease of {}: {key} is not a VIP of the plan",
                            lease.router
                        ));
                    }
                },
                Ok(ToGuardian::Renew(leases)) => {
                    for (router, until) in leases {
                        if let Some(lease) = self.lapsed.remove(&router) {
                            self.leases.insert(router.clone(), lease);
                        }
                        if let Some(lease) = self.leases.get_mut(&router) {
                            lease.until = until;
                            self.going.remove(&router);
                        }
                    }
                }
                Ok(ToGuardian::Bound(bound)) => {
                    match bound.services.iter().find(|service| !daemon.has(service)) {
                        None => self.bind(bound),
                        Some(service) => {
                            self.refuse(&format!(
                                "to go with {}: {service} is not at a VIP of the plan",
                                bound.router
                            ));
                        }
                    }
                }
                // A daemon that has no room for the answer gets the next one.
                Ok(ToGuardian::Beat(number)) => drop(send(&daemon.socket, &FromGuardian::Alive(number))),
                Ok(ToGuardian::Leave) => {
                    self.leases.clear();
                    self.going.clear();
                    self.dismissed = true;
                    return false;
                }
                Ok(ToGuardian::Release(router)) => {
                    self.leases.remove(&router);
                    self.lapsed.remove(&router);
                    self.stuck.remove(&router);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.refuse(&format!("a message: {error}"));
                }
                Err(_) => return false,
            }
        }
    }

    fn lease(&mut self, lease: Lease) {
        if !std::mem::replace(&mut self.rehearsed, true) {
            // Everything that a removal needs is used once: no page of it has to be read from a disk when it
            // matters.
            self.kernel.present(&lease.addresses).ok();
        }
        self.lapsed.remove(&lease.router);
        self.going.remove(&lease.router);
        self.leases.insert(lease.router.clone(), lease);
    }

    fn bind(&mut self, Bound { router, mut services, more }: Bound) {
        match self.bound.get_mut(&router).filter(|_| more) {
            Some(bound) => bound.append(&mut services),
            None if services.is_empty() => drop(self.bound.remove(&router)),
            None => drop(self.bound.insert(router, services)),
        }
    }

    /// Removes services whose VIPs were removed [`SERVICES_LATER`] ago.
    fn unbind(&mut self, now: MonoTime) {
        for (router, (_, services)) in self.going.extract_if(.., |_, (at, _)| *at <= now) {
            match self.kernel.remove_services(&services) {
                Ok(()) => {
                    warn!(
                        lease = router,
                        services = services.len(),
                        "guardian: removed the virtual services that only the Master of {router} has"
                    );
                }
                Err(why) => {
                    error!(
                        lease = router,
                        "guardian: the virtual services that only the Master of {router} has cannot be \
                         removed: {why}"
                    );
                }
            }
        }
    }

    /// Removes the VIPs whose leases have run out.
    fn retract(&mut self, now: MonoTime) {
        let expired: Vec<String> = self
            .leases
            .values()
            .filter(|lease| lease.until <= now)
            .map(|lease| lease.router.clone())
            .collect();
        for router in expired {
            let Some(lease) = self.leases.remove(&router) else { continue };
            match self.kernel.remove(&lease.addresses) {
                Ok(count) => {
                    self.stuck.remove(&router);
                    if count > 0 {
                        warn!(
                            lease = router,
                            vips = count,
                            "guardian: lease of {router} ran out: removed {count} VIPs"
                        );
                    }
                    if let Some(services) = self.bound.get(&router) {
                        self.going.insert(router.clone(), (now + SERVICES_LATER, services.clone()));
                    }
                    if !self.daemons.is_empty() {
                        self.lapsed.insert(router, lease);
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    if self.stuck.get(&router) != Some(&why) {
                        error!(
                            lease = router,
                            "guardian: lease of {router} ran out, but its VIPs cannot be removed: {why}"
                        );
                        self.stuck.insert(router.clone(), why);
                    }
                    self.leases.insert(router, Lease { until: now + RETRY, ..lease });
                }
            }
        }
    }
}

impl Connected {
    /// Learns VIPs of the plan; with `more` in addition to those known.
    fn name(&mut self, addresses: Vec<AddressKey>, more: bool) {
        if !more {
            self.vips.clear();
        }
        let room = MAX_VIPS.saturating_sub(self.vips.len());
        self.vips.extend(addresses.into_iter().take(room));
    }

    /// The first address of a lease that is no VIP of the plan.
    fn foreign<'l>(&self, lease: &'l Lease) -> Option<&'l AddressKey> {
        lease.addresses.iter().find(|key| !self.vips.contains(key))
    }

    /// Whether a service may be of the plan: at a VIP of it, or by a firewall mark.
    fn has(&self, service: &ServiceKey) -> bool {
        match service {
            ServiceKey::Transport { address, .. } => {
                self.vips.iter().any(|vip| vip.address.address() == *address)
            }
            ServiceKey::Mark { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests;
