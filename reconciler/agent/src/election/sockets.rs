//! The election's sockets: advertisements in and out, announcements of VIPs out, claims of others in. Bytes
//! only, no protocol.

mod announcer;
mod duplicates;
mod filter;
pub(crate) mod frames;
mod origins;
mod receiver;
mod sender;

use std::io::{self, Read};

use socket2::{SockAddr, Socket};

pub(crate) use announcer::Announcer;
pub(crate) use duplicates::{AddressClaim, Duplicates};
pub(crate) use origins::Origins;
pub(crate) use receiver::{Arrival, Receiver};
pub(crate) use sender::{Sender, source_works};

/// Largest datagram that is read whole, bytes: 255 IPv6 addresses need 4.1 KB.
const MAX_DATAGRAM: usize = 8 * 1024;

/// Room for one datagram.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; MAX_DATAGRAM].into_boxed_slice())
    }

    /// No room: stands in while the real buffer is lent out.
    pub(crate) fn empty() -> Self {
        Self(Box::default())
    }
}

/// The next datagram; `None` when none is waiting. One that is longer than the buffer is cut.
///
/// # Errors
/// The kernel's.
fn read<'a>(mut socket: &Socket, buffer: &'a mut Buffer) -> io::Result<Option<&'a [u8]>> {
    match socket.read(&mut buffer.0) {
        Ok(length) => Ok(buffer.0.get(..length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The packet(7) address to send a whole frame to an interface.
fn link_address_to_send(index: u32) -> io::Result<SockAddr> {
    link_address(index, libc::ETH_P_ARP)
}

/// The packet(7) address to receive a protocol (`ETH_P_*`) of an interface.
fn link_address_to_bind(index: u32, protocol: i32) -> io::Result<SockAddr> {
    link_address(index, protocol)
}

#[allow(unsafe_code, reason = "socket2 has no safe constructor of a sockaddr_ll")]
fn link_address(index: u32, protocol: i32) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    };
    // SAFETY: the storage is larger than a sockaddr_ll and aligned for every socket address; the
    // value written is whole, and the length given is its own.
    let ((), result) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(result)
}
