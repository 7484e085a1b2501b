//! The receiving half of a netlink socket: several datagrams in one system call, never waiting for ever.
//!
//! A dump's answer is two datagrams or more, the data and the end; the kernel makes the next one while
//! it hands over the last. Reading them together saves a third of the system calls of reading IPVS, where
//! each service is a dump of its own.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};

/// Datagrams read at once.
const SLOTS: usize = 4;
/// Largest datagram that is read. The kernel fills dump datagrams up to the size of the reader's buffer
/// and at most 32 KiB (`netlink_recvmsg`).
const SLOT_BYTES: usize = 32 * 1024;
/// Longest wait for an answer. The kernel answers within the request, so that a longer silence means
/// that the answer was lost or that the machine is stalled.
pub(crate) const ANSWER_TIMEOUT_MS: u16 = 2_000;
/// Most times a system call is repeated because of a signal.
const MAX_INTERRUPTS: usize = 100;
/// Receive buffer asked for; granted with CAP_NET_ADMIN.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// An open socket with what was received and not yet read. Both go together, so that no answer
/// outlives the socket it came from.
#[derive(Debug)]
pub(crate) struct Inbox {
    socket: Socket,
    storage: Vec<u8>,
    lengths: [usize; SLOTS],
    filled: usize,
    next: usize,
}

impl Inbox {
    /// Opens a socket that speaks with the kernel only.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // Other processes may send to a socket that is not connected.
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // Older kernels lack these; answers are checked here as well.
        socket.set_ext_ack(true).ok();
        socket.set_netlink_get_strict_chk(true).ok();
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES))
            .ok();
        let storage = vec![0; SLOTS * SLOT_BYTES];
        Ok(Self { socket, storage, lengths: [0; SLOTS], filled: 0, next: 0 })
    }

    /// Sends a datagram.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        retry_interrupted(|| self.socket.send(bytes, 0)).map(drop)
    }

    /// The next datagram.
    ///
    /// # Errors
    /// `TimedOut` when none comes within [`ANSWER_TIMEOUT_MS`], `ENOBUFS` when the kernel dropped some,
    /// `InvalidData` when it is larger than any the kernel makes.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        if self.next == self.filled {
            self.fill()?;
        }
        let slot = self.next;
        self.next += 1;
        let length = self.lengths.get(slot).copied().unwrap_or_default();
        if length > SLOT_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.storage.get(slot * SLOT_BYTES..slot * SLOT_BYTES + length).unwrap_or_default())
    }

    fn fill(&mut self) -> io::Result<()> {
        (self.filled, self.next) = (0, 0);
        // The kernel has usually answered already: asking first saves a poll.
        match retry_interrupted(|| self.read_now()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::from(ANSWER_TIMEOUT_MS);
        if retry_interrupted(|| poll(&mut fds, timeout).map_err(io::Error::from))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        retry_interrupted(|| self.read_now())
    }

    fn read_now(&mut self) -> io::Result<()> {
        let mut slots: Vec<[IoSliceMut<'_>; 1]> =
            self.storage.chunks_exact_mut(SLOT_BYTES).map(|slot| [IoSliceMut::new(slot)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(SLOTS, None);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let results = recvmmsg(self.socket.as_raw_fd(), &mut headers, &mut slots, flags, None)?;
        for (result, length) in results.zip(&mut self.lengths) {
            *length = result.bytes;
            self.filled += 1;
        }
        Ok(())
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..MAX_INTERRUPTS {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    Err(Errno::EINTR.into())
}
