//! Shows from which hardware address somebody advertises, which IP sockets do not.
//!
//! Open only while there is somebody to find: each frame of IP that the interface gets goes through its
//! filter, and a director gets many.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_vrrp::{Family, PROTOCOL};
use socket2::{Domain, Protocol, Socket, Type};

use super::frames::Mac;
use super::{Buffer, filter, link_address_to_bind, read};

/// Receive buffer, bytes: a few hundred frames. Frames that find it full are lost, which does no harm.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// A packet socket that gets the advertisements of one family and interface with their Ethernet headers.
#[derive(Debug)]
pub(crate) struct Origins {
    socket: Socket,
}

impl Origins {
    /// Opens a socket on the interface with this index.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without `CAP_NET_RAW`.
    pub(crate) fn open(index: u32, family: Family) -> io::Result<Self> {
        // Protocol 0 receives nothing until the filter stands and the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let (at, protocol) = match family {
            Family::V4 => (ETHERNET + 9, libc::ETH_P_IP),
            Family::V6 => (ETHERNET + 6, libc::ETH_P_IPV6),
        };
        socket.attach_filter(&filter::protocol(at as u32, PROTOCOL))?;
        socket.bind(&link_address_to_bind(index, protocol)?)?;
        Ok(Self { socket })
    }

    /// Reads the next frame: its source and hardware source, if it has both. `None` when none is waiting.
    /// Whoever reads in a loop limits the number.
    pub(crate) fn next(&self, buffer: &mut Buffer) -> Option<Option<(IpAddr, Mac)>> {
        read(&self.socket, buffer).ok().flatten().map(origin)
    }

    /// Closes it on another thread: closing a packet socket waits until no processor of the host uses it any
    /// more.
    pub(crate) fn close(self) {
        // Where no thread can be started it is closed here, which is late but right.
        std::thread::Builder::new().name("close".to_owned()).spawn(move || drop(self)).ok();
    }
}

/// Source and hardware source of an IP packet with its Ethernet header.
fn origin(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let mac: Mac = frame.get(6..12)?.try_into().ok()?;
    let source: IpAddr = match *frame.get(12..ETHERNET)? {
        [0x08, 0x00] => Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(26..30)?).ok()?).into(),
        [0x86, 0xdd] => Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(22..38)?).ok()?).into(),
        _ => return None,
    };
    Some((source, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_source_and_hardware_source() {
        let mut frame = [0; 60];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[26..30].copy_from_slice(&[10, 9, 0, 9]);
        assert_eq!(origin(&frame), Some(("10.9.0.9".parse().expect("address"), [2, 0, 0, 0, 0, 9])));
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[22..24].copy_from_slice(&[0xfe, 0x80]);
        frame[24..37].fill(0);
        frame[37] = 9;
        assert_eq!(origin(&frame), Some(("fe80::9".parse().expect("address"), [2, 0, 0, 0, 0, 9])));
        for length in 0..30 {
            assert_eq!(origin(&frame[..length]), None, "{length}");
        }
        assert_eq!(origin(&[0; 60]), None);
    }
}
