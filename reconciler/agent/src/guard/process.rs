//! The guardian process: `evenkeeld-guard`.
//!
//! It is its own session, holds nothing but a socket and the right to remove addresses and virtual services, and ends by
//! itself once there is neither a daemon nor a lease.

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
/// How long after its VIPs the services of a router go: a daemon that was late and is Master still has said so by then.
const SERVICES_LATER: Duration = Duration::from_secs(1);
/// How long a daemon that connects may take to listen; everything else waits meanwhile.
const GREETING_LIMIT: Duration = Duration::from_millis(500);
/// Most connections; there is one daemon, which may connect anew before it leaves the old connection.
const MAX_DAEMONS: usize = 4;
/// Most VIPs of a plan that are known: 255 routers of 255 VIPs, and as many again for what a plan before had.
const MAX_VIPS: usize = 2 * 255 * 255;
/// Least time between two words about calls and leases that are refused.
const QUIET: Duration = Duration::from_secs(60);
/// The least likely to be killed when memory is short (proc(5)), short of never.
const OOM_SCORE: &str = "-999";

/// Runs the guardian that listens on `socket` until it has nothing left to guard.
pub(crate) fn run(socket: &Path) -> ExitCode {
    // Nobody would guard instead: an environment that the daemon has refused is no reason to do as it does.
    let (wanted, refused) = match logging::wanted() {
        Ok(wanted) => (wanted, None),
        Err(why) => (logging::usual(), Some(why)),
    };
    let mut log = Log::begin(wanted);
    log.ends_in_time();
    settle_down();
    // With no more rights than the guardian has itself. Without a log it guards as well.
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

/// Of its own session, deaf to what stops the daemon, hard to kill, and with no more rights than its
/// work takes. What of this the host does not allow is done without.
fn settle_down() {
    scheduling::go_ahead();
    nix::unistd::setsid().ok();
    let mut deaf = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        deaf.add(signal);
    }
    deaf.thread_block().ok();
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
    // Without the right there is nothing to keep: removing will say so.
    let kept = caps::read(None, CapSet::Permitted)?.into_iter().filter(|held| *held == keep).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// The host's addresses and virtual services, as far as the guardian is concerned.
trait Addresses {
    /// Those of the addresses that are there.
    fn present(&mut self, addresses: &[AddressKey]) -> Result<Vec<AddressKey>, String>;

    /// Removes those that are there, and tells how many.
    fn remove(&mut self, addresses: &[AddressKey]) -> Result<usize, String>;

    /// Removes those of the services that are there.
    fn remove_services(&mut self, services: &[ServiceKey]) -> Result<(), String>;
}

impl Addresses for Kernel {
    fn present(&mut self, addresses: &[AddressKey]) -> Result<Vec<AddressKey>, String> {
        let interfaces: BTreeSet<String> = addresses.iter().map(|key| key.interface.clone()).collect();
        let scope = Scope { kinds: BTreeSet::from([Kind::Addresses]), interfaces, ..Scope::default() };
        let observed = self.observe(&scope).map_err(|error| error.to_string())?;
        Ok(addresses.iter().filter(|key| observed.addresses.contains_key(key)).cloned().collect())
    }

    fn remove(&mut self, addresses: &[AddressKey]) -> Result<usize, String> {
        let ops: Vec<Op> = self.present(addresses)?.into_iter().map(Op::DelAddress).collect();
        let refused: Vec<String> =
            self.apply(&ops).into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        if refused.is_empty() { Ok(ops.len()) } else { Err(refused.join("; ")) }
    }

    fn remove_services(&mut self, services: &[ServiceKey]) -> Result<(), String> {
        let ops: Vec<Op> = services.iter().copied().map(Op::DelService).collect();
        let refused = self.apply(&ops).into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |error| Err(error.to_string()))
    }
}

/// Which file a path leads to.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A connection.
struct Daemon {
    socket: Socket,
    /// The VIPs of its plan: it may lease no others.
    vips: BTreeSet<AddressKey>,
}

struct Process<A> {
    path: PathBuf,
    /// The file of our own socket: another one at `path` is a successor's.
    file: (u64, u64),
    listener: Socket,
    /// Connections, the newest last.
    daemons: Vec<Daemon>,
    leases: BTreeMap<String, Lease>,
    /// Leases that ran out while their daemon is still connected: it may have renewed one that it
    /// thought running, and does not say the VIPs again.
    lapsed: BTreeMap<String, Lease>,
    /// What goes with the VIPs of a router, by the name of its lease, as the newest daemon has it.
    bound: BTreeMap<String, Vec<ServiceKey>>,
    /// What goes of them, and when.
    going: BTreeMap<String, (MonoTime, Vec<ServiceKey>)>,
    buffer: Box<[u8]>,
    kernel: A,
    /// Whether the addresses have been looked at.
    rehearsed: bool,
    alarm: Alarm,
    /// When to end if there is neither a daemon nor a lease.
    idle_until: MonoTime,
    /// Why the VIPs of these routers could not be removed, so that it is told once.
    stuck: BTreeMap<String, String>,
    /// Until when nothing is told of what was refused.
    quiet_until: MonoTime,
    /// Whether the daemon has another guardian.
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
        // What is there after that may be a successor's already.
        if !self.dismissed && identity(&self.path).is_ok_and(|file| file == self.file) {
            std::fs::remove_file(&self.path).ok();
        }
        Ok(())
    }

    /// Takes in what came and acts on what is due at `now`. Returns whether to go on.
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
                warn!("guardian: another one has taken over: what is left to guard is its business");
            }
            return false;
        }
        self.retract(now);
        self.unbind(now);
        let idle = self.daemons.is_empty() && self.leases.is_empty() && self.going.is_empty();
        !(idle && now >= self.idle_until)
    }

    /// Whether there is something to take away.
    fn is_due(&self, now: MonoTime) -> bool {
        let leases = self.leases.values().map(|lease| lease.until);
        leases.chain(self.going.values().map(|(at, _)| *at)).any(|at| at <= now)
    }

    /// Whether another guardian listens in our place. The leases that we know are then old ones: a
    /// daemon found us hanging, and has looked after the VIPs since. (A path that is gone proves
    /// nothing: whoever removed it may have killed the daemon too.)
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

    /// A daemon connects: it hears of the leases. One that connects anew leaves its old connection
    /// by itself.
    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        if let Err(error) = Peer::of(&socket) {
            return self.refuse(&format!("a call: {error}"));
        }
        let told = socket.set_write_timeout(Some(GREETING_LIMIT)).and_then(|()| {
            for lease in self.leases.values() {
                send(&socket, &FromGuardian::Lease(lease.clone()))?;
            }
            send(&socket, &FromGuardian::Ready { protocol: PROTOCOL })
        });
        match told.and_then(|()| socket.set_nonblocking(true)) {
            Ok(()) => {
                // It will say what goes with VIPs, and nothing where nothing does.
                self.bound.clear();
                if self.daemons.len() == MAX_DAEMONS {
                    self.daemons.remove(0);
                }
                self.daemons.push(Daemon { socket, vips: BTreeSet::new() });
            }
            Err(error) => self.refuse(&format!("a daemon that called and went: {error}")),
        }
    }

    /// Tells what was refused, once in a while.
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
    fn read_one(&mut self, daemon: &mut Daemon) -> bool {
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
                // One that does not listen hears of the next.
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
            // Everything that the removal will need has then been used once: no page of it has to
            // be read from a disk at the moment that matters.
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

    /// Removes what goes with VIPs that have been gone for a while.
    fn unbind(&mut self, now: MonoTime) {
        for (router, (_, services)) in self.going.extract_if(.., |_, (at, _)| *at <= now) {
            match self.kernel.remove_services(&services) {
                Ok(()) => {
                    warn!("guardian: removed the virtual services that only the Master of {router} has")
                }
                Err(why) => {
                    error!(
                        "guardian: the virtual services that only the Master of {router} has cannot be removed: {why}"
                    );
                }
            }
        }
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
            match self.kernel.remove(&lease.addresses) {
                Ok(count) => {
                    self.stuck.remove(&router);
                    if count > 0 {
                        warn!("guardian: lease of {router} ran out: removed {count} VIPs");
                    }
                    if let Some(services) = self.bound.get(&router) {
                        self.going.insert(router.clone(), (now + SERVICES_LATER, services.clone()));
                    }
                    if !self.daemons.is_empty() {
                        self.lapsed.insert(router, lease);
                    }
                }
                Err(why) => {
                    if self.stuck.get(&router) != Some(&why) {
                        error!("guardian: lease of {router} ran out, but its VIPs cannot be removed: {why}");
                        self.stuck.insert(router.clone(), why);
                    }
                    self.leases.insert(router, Lease { until: now + RETRY, ..lease });
                }
            }
        }
    }
}

impl Daemon {
    /// These are VIPs of the plan.
    fn name(&mut self, addresses: Vec<AddressKey>, more: bool) {
        if !more {
            self.vips.clear();
        }
        let room = MAX_VIPS.saturating_sub(self.vips.len());
        self.vips.extend(addresses.into_iter().take(room));
    }

    /// What of a lease is no VIP of the plan.
    fn foreign<'l>(&self, lease: &'l Lease) -> Option<&'l AddressKey> {
        lease.addresses.iter().find(|key| !self.vips.contains(key))
    }

    /// Whether a service may be one of the plan: at a VIP of it, or by a mark.
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
