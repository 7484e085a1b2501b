//! Announces VIPs on the segment of one interface, and probes it for others who have them.

use std::io;
use std::net::IpAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::frames::{Mac, announcement, probe};
use super::link_address_to_send;

/// Send buffer, bytes: a burst for 255 VIPs, five packets each, at the kernel's cost of such a packet, which
/// is under 1 KB.
const BUFFER: usize = 2 * 1024 * 1024;

/// Sends gratuitous ARP and unsolicited neighbour advertisements on one interface.
#[derive(Debug)]
pub(crate) struct Announcer {
    socket: Socket,
    index: u32,
    mac: Mac,
}

impl Announcer {
    /// Opens a socket on the interface with this index, whose hardware address is `mac`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub(crate) fn open(index: u32, mac: Mac) -> io::Result<Self> {
        // Protocol 0 receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::SndBufForce, &BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &BUFFER))
            .ok();
        Ok(Self { socket, index, mac })
    }

    /// Announces that `vip` is here. `forwards` is whether this host forwards IPv6. Never blocks.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn announce(&self, vip: IpAddr, forwards: bool) -> io::Result<()> {
        self.send(&announcement(self.mac, vip, forwards))
    }

    /// Probes the segment for others with `vip`. Never blocks.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn probe(&self, vip: IpAddr) -> io::Result<()> {
        self.send(&probe(self.mac, vip))
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &link_address_to_send(self.index)?).map(drop)
    }
}
