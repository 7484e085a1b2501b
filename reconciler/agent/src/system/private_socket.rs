//! Unix sockets that only their owner can call, and the identity of the other end.
//!
//! Only the identity; the messages are the business of the sockets' owners.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use socket2::{SockAddr, Socket};

/// Mode of a socket's file: only its owner may call.
const OWNER_ONLY: u32 = 0o600;

/// Binds a socket to a path where nothing is yet. The file has mode 0600 from its first moment, whatever the
/// umask.
///
/// # Errors
/// The kernel's.
pub(crate) fn bind(socket: &Socket, path: &Path) -> io::Result<()> {
    bind_closed(socket, path)?;
    // A strict umask may have removed the owner's rights too.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(OWNER_ONLY))
}

/// The kernel gives the file the mode of the socket itself, less the umask (`unix_bind`,
/// `net/unix/af_unix.c`).
fn bind_closed(socket: &Socket, path: &Path) -> io::Result<()> {
    fchmod(socket, Mode::from_bits_truncate(OWNER_ONLY))?;
    socket.bind(&SockAddr::unix(path)?)
}

/// A process at the other end of a Unix socket, of root or of our own user.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Option<OwnedFd>,
}

impl Peer {
    /// The process at the other end: the caller of an accepted connection, or the listener of one that we
    /// made.
    ///
    /// # Errors
    /// `PermissionDenied` when it is neither root nor our own user.
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let caller = getsockopt(socket, sockopt::PeerCredentials)?;
        if caller.uid() != 0 && caller.uid() != geteuid().as_raw() {
            let text = format!("process {} of user {} is not root's", caller.pid(), caller.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        if caller.pid() == std::process::id().cast_signed() {
            return Ok(Self { process: None });
        }
        // Kernels before 6.5 do not give it. Then it is found by its number, which is valid as long as it has
        // not hung up.
        let process = getsockopt(socket, sockopt::PeerPidfd).ok();
        let by_number = || {
            let process = pidfd_open(Pid::from_raw(caller.pid())?, PidfdFlags::empty()).ok()?;
            is_there(socket).then_some(process)
        };
        Ok(Self { process: process.or_else(by_number) })
    }

    /// Kills the process: it does nothing more, even if it cannot end yet. Does not block. Returns whether
    /// that was allowed.
    pub(crate) fn kill(&self) -> bool {
        self.process.as_ref().is_some_and(|process| pidfd_send_signal(process, Signal::KILL).is_ok())
    }
}

/// Whether the other end has not hung up.
fn is_there(socket: &impl AsFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
}

#[cfg(test)]
pub(crate) mod tests {
    use socket2::{Domain, Type};

    use super::*;

    /// User of strangers.
    pub(crate) const STRANGER: u32 = 65_534;

    /// Runs a closure as another user than the tests': the kernel knows users by thread.
    #[allow(unsafe_code, reason = "the library's call is for all threads of the process")]
    pub(crate) fn as_a_stranger<T: Send>(what: impl FnOnce() -> T + Send) -> T {
        assert!(geteuid().is_root(), "this test needs root, to be somebody else");
        std::thread::scope(|scope| {
            let stranger = scope.spawn(|| {
                // SAFETY: numbers in, a number out.
                let changed = unsafe { libc::syscall(libc::SYS_setresuid, STRANGER, STRANGER, STRANGER) };
                assert_eq!(changed, 0, "{}", io::Error::last_os_error());
                what()
            });
            stranger.join().expect("no panic")
        })
    }

    #[test]
    fn a_peer_of_another_user_is_refused_on_both_ends() {
        let pair = || Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a pair");
        let (ours, theirs) = pair();
        assert!(Peer::of(&ours).is_ok() && Peer::of(&theirs).is_ok());
        let (caller, listener) = as_a_stranger(pair);
        for socket in [caller, listener] {
            let error = Peer::of(&socket).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains(&format!("user {STRANGER} is not root's")), "{error}");
        }
    }

    #[test]
    fn the_file_is_closed_to_others_before_anything_else_is_done() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let mode = |path: &Path| std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777;
        let bound = |umask: u32| {
            // A thread may have a umask of its own.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("unshared");
            nix::sys::stat::umask(Mode::from_bits_truncate(umask));
            let [first, path] =
                ["first", "path"].map(|name| scratch.path().join(format!("{name}-{umask:o}")));
            let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
            bind_closed(&socket, &first).expect("bound");
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
            bind(&socket, &path).expect("bound");
            (mode(&first), mode(&path))
        };
        for umask in [0, 0o022, 0o077, 0o777] {
            let (first, then) =
                std::thread::scope(|scope| scope.spawn(|| bound(umask)).join()).expect("no panic");
            assert_eq!((first & !OWNER_ONLY, then), (0, OWNER_ONLY), "umask {umask:o}: {first:o} {then:o}");
        }
    }

    #[test]
    fn a_hanging_peer_is_killed_and_this_process_is_not() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("s");
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
        bind(&listener, &path).expect("bound");
        listener.listen(1).expect("listens");
        let caller = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
        caller.connect(&SockAddr::unix(&path).expect("path")).expect("called");
        assert!(!Peer::of(&caller).expect("our own").kill(), "it is this process");

        // A child that has the other end and does nothing.
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .expect("sleep");
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("pidfd");
        assert!(is_there(&ours));
        assert!(Peer { process: Some(process) }.kill());
        child.wait().expect("it ended");
        assert!(!is_there(&ours), "it has hung up");
    }
}
