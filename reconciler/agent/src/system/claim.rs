//! One daemon a network namespace, whatever happens to files: the claim is a socket without a name in any
//! file system (`unix(7)`, abstract), which `rm` does not remove and which ends with its process. It carries
//! no data.
//!
//! Any user of the host may bind such a name, so a claim counts only when its owner is root or this daemon's
//! user. A name that a stranger holds is logged, and the next one is tried.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use tracing::warn;

/// Name of the daemon's claim.
pub(crate) const CLAIM: &str = "evenkeeld";
/// Number of names that are tried in order: a stranger would have to hold all of them, and each is logged.
const NAMES: usize = 8;
/// Time during which a name is asked for whose owner accepts no connections.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two questions, and least time between two answers.
const PAUSE: Duration = Duration::from_millis(10);

/// A claim, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    listener: Option<UnixListener>,
}

/// Owner of a name.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// A process of root or of this user.
    Daemon(u32),
    /// A process of another user.
    Stranger {
        user: u32,
        process: u32,
    },
    /// A process that accepts no connections, so that its user is not known.
    Silent,
}

impl Claim {
    /// Claims this network namespace.
    ///
    /// `ResourceBusy` when another daemon has it; any error that keeps sockets from being made.
    pub(crate) fn take(what: &str) -> io::Result<Self> {
        let names: Vec<String> = (0..NAMES).map(|n| name(what, n)).collect();
        // All names first: a daemon may hold a later one because a stranger held the first.
        for name in &names {
            match owner(name)? {
                Owner::Daemon(process) => {
                    return Err(io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        format!("{what} (process {process}) is running already in this network namespace"),
                    ));
                }
                Owner::Stranger { user, process } => {
                    warn!(
                        user,
                        process,
                        socket = name,
                        "user {user} (process {process}) sits on the socket @{name}: another name is taken"
                    );
                }
                Owner::Silent => {
                    warn!(
                        socket = name,
                        "somebody sits on the socket @{name} and does not answer: another name is taken"
                    )
                }
                Owner::Nobody => {}
            }
        }
        for name in &names {
            match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
                Ok(listener) => {
                    listener.set_nonblocking(true)?;
                    return Ok(Self { listener: Some(listener) });
                }
                // Bound since the owner was looked up, or by a stranger.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if let Owner::Daemon(process) = owner(name)? {
                        return Err(io::Error::new(
                            io::ErrorKind::ResourceBusy,
                            format!("{what} (process {process}) has just started in this network namespace"),
                        ));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        warn!("strangers sit on all names of {what}: whether another one is running cannot be told");
        Ok(Self { listener: None })
    }

    /// Accepts connections, so that the claim can be told from a stranger's. Must be called within a tokio
    /// runtime.
    pub(crate) fn answer(&self) {
        let Some(Ok(listener)) = self.listener.as_ref().map(UnixListener::try_clone) else { return };
        tokio::spawn(async move {
            let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
            loop {
                drop(listener.accept().await);
                // A caller without end costs no more than this.
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

fn name(what: &str, n: usize) -> String {
    format!("{what}.{n}")
}

fn owner(name: &str) -> io::Result<Owner> {
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    let mut waited = Duration::ZERO;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => {
                let peer = getsockopt(&stream.as_fd(), sockopt::PeerCredentials)?;
                let process = u32::try_from(peer.pid()).unwrap_or_default();
                let ours = nix::unistd::geteuid().as_raw();
                let user = peer.uid();
                return Ok(if user != 0 && user != ours {
                    Owner::Stranger { user, process }
                } else if process != 0 && has_ended(process) {
                    // A daemon that was killed while it waits for a disk still has its sockets, and does
                    // nothing any more.
                    Owner::Silent
                } else {
                    Owner::Daemon(process)
                });
            }
            Err(nix::errno::Errno::ECONNREFUSED) => return Ok(Owner::Nobody),
            // The queue of connections is full: a living daemon empties its own.
            Err(nix::errno::Errno::EAGAIN) if waited >= PATIENCE => return Ok(Owner::Silent),
            Err(nix::errno::Errno::EAGAIN) => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a process has ended, except for a thread that cannot be woken.
pub(crate) fn has_ended(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name is in parentheses and may contain anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_there_has_ended() {
        assert!(!has_ended(std::process::id()) && has_ended(u32::MAX));
    }
    use crate::system::private_socket::tests::{STRANGER, as_a_stranger};

    #[tokio::test]
    async fn one_claim_at_a_time_and_it_ends_with_its_owner() {
        let what = format!("evenkeel-test-{}", std::process::id());
        let claim = Claim::take(&what).expect("free");
        claim.answer();
        let again = what.clone();
        let refused = tokio::task::spawn_blocking(move || Claim::take(&again)).await.expect("ran");
        let error = refused.expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        // Filling its queue does not take its place.
        let first = name(&what, 0);
        let address = SocketAddr::from_abstract_name(&first).expect("name");
        let flood: Vec<_> = (0..50).map(|_| UnixStream::connect_addr(&address)).collect();
        let again = what.clone();
        let refused = tokio::task::spawn_blocking(move || Claim::take(&again)).await.expect("ran");
        assert!(refused.is_err());
        drop(flood);
    }

    #[test]
    fn a_name_that_a_stranger_has_is_passed_over() {
        let what = format!("evenkeel-stranger-{}", std::process::id());
        let bind = || {
            let address = SocketAddr::from_abstract_name(name(&what, 0)).expect("name");
            UnixListener::bind_addr(&address).expect("bound")
        };
        let _stranger = as_a_stranger(bind);
        let found = owner(&name(&what, 0)).expect("asked");
        assert_eq!(found, Owner::Stranger { user: STRANGER, process: std::process::id() });
        let claim = Claim::take(&what).expect("another name");
        assert!(matches!(owner(&name(&what, 1)).expect("asked"), Owner::Daemon(_)));
        assert_eq!(Claim::take(&what).expect_err("taken").kind(), io::ErrorKind::ResourceBusy);
        drop(claim);
    }

    #[test]
    fn a_name_that_is_not_answered_is_passed_over() {
        let what = format!("evenkeel-silent-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name(&what, 0)).expect("name");
        let silent = UnixListener::bind_addr(&address).expect("bound");
        // No process accepts the connections: the queue is full before long.
        let flood: Vec<_> =
            (0..).map(|_| owner_of_queue(&name(&what, 0))).take_while(Option::is_some).take(10_000).collect();
        assert_eq!(owner(&name(&what, 0)).expect("asked"), Owner::Silent);
        let claim = Claim::take(&what).expect("another name");
        assert!(claim.listener.is_some());
        assert!(matches!(owner(&name(&what, 1)).expect("asked"), Owner::Daemon(_)));
        drop((silent, flood));
    }

    /// A connection that stays in the queue; none when the queue is full.
    fn owner_of_queue(name: &str) -> Option<UnixStream> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?);
        let address = UnixAddr::new_abstract(name.as_bytes()).ok()?;
        connect(stream.as_raw_fd(), &address).ok().map(|()| stream)
    }
}
