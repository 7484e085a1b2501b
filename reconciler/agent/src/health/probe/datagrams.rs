//! Datagrams of probes, to one target and from it only. What others say of them (ICMP errors) is an error of
//! the next call.

use std::io;
use std::os::fd::AsRawFd;

use evenkeel_health::Found;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use socket2::{Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Whom, socket};

/// Longest datagram, bytes.
const LONGEST: usize = 64 * 1024;

/// Events that wake a probe: a datagram, or an ICMP error, which does not make a socket readable.
const WAKES: Interest = Interest::READABLE.add(Interest::ERROR);

/// A socket to the target.
pub(super) struct Datagrams(UdpSocket);

impl Datagrams {
    /// Of UDP.
    pub(super) fn udp(whom: Whom<'_>) -> Result<Self, Found> {
        Self::begin(whom, socket::open(whom, Type::DGRAM, Protocol::UDP)?)
    }

    /// By a socket that is not connected yet. The library's type for UDP serves for any datagrams.
    pub(super) fn begin(whom: Whom<'_>, socket: Socket) -> Result<Self, Found> {
        // Without it, that a host or network cannot be reached would show as no answer.
        let told = if whom.target.is_ipv4() {
            setsockopt(&socket, Ipv4RecvErr, &true)
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)
        };
        told.map_err(|error| socket::failed(&error.into()))?;
        socket.connect(&whom.target.into()).map_err(|error| socket::refused_here(&error))?;
        UdpSocket::from_std(socket.into()).map(Self).map_err(|error| socket::failed(&error))
    }

    /// Sends a datagram. An error is this host's: nothing has left it yet.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<(), Found> {
        self.0.send(bytes).await.map(drop).map_err(|error| socket::refused_here(&error))
    }

    /// Takes the datagrams that come, until `take` makes something of one.
    pub(super) async fn take<T>(&self, mut take: impl FnMut(&[u8]) -> Option<T>) -> Result<T, Found> {
        loop {
            self.0.ready(WAKES).await.map_err(|error| socket::failed(&error))?;
            match self.one(&mut take) {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(socket::failed(&error)),
            }
        }
    }

    /// The bytes are on the stack only while they are looked at: many probes wait at a time.
    fn one<T>(&self, take: &mut impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let mut bytes = [0; LONGEST];
        let mut receive = || Ok(recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT)?);
        // The library forgets what has woken it only by the one of the two that has.
        let length = match self.0.try_io(Interest::READABLE, &mut receive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.try_io(Interest::ERROR, &mut receive)?
            }
            received => received?,
        };
        Ok(take(bytes.get(..length).unwrap_or_default()))
    }
}
