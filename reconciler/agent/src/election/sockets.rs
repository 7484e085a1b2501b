//! The election's sockets: VRRP in and out, gratuitous ARP out. Bytes only, no protocol.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use evenkeel_vrrp::{GROUP_V4, PROTOCOL, TTL};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

/// Type of service of advertisements: Internetwork control (RFC 791), as keepalived's.
const TOS_INTERNETWORK_CONTROL: u32 = 0xc0;
/// Largest datagram that is looked at: 255 IPv6 addresses need 4.1 KB.
const MAX_DATAGRAM: usize = 8 * 1024;
/// Receive buffer: a few thousand advertisements while the thread is held up.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// Receive buffer of a socket that only sends.
const NO_BUFFER: usize = 1;
/// Send buffer of gratuitous ARP: a burst for 255 VIPs, five packets each, at the kernel's cost of
/// such a packet, which is under 1 KB.
const ANNOUNCE_BUFFER: usize = 2 * 1024 * 1024;
/// Most packets that are thrown away from a new socket.
const MAX_STRAY: usize = 65_536;
/// Where a probe of a source address would send to, if it sent anything (RFC 863, discard).
const PROBE_PORT: u16 = 9;
/// An ARP packet for IPv4 over Ethernet, with its Ethernet header.
const ARP_FRAME: usize = 42;

/// Receives the advertisements of one interface.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
}

impl Receiver {
    /// Joins the VRRP group on the interface.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without `CAP_NET_RAW`, `ENODEV` when the interface is gone.
    pub(crate) fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
        // Until it was bound it took the packets of every interface: those are not for this one.
        let stray = |_: &usize| (&socket).read(&mut [0]).is_ok();
        (0..MAX_STRAY).take_while(stray).for_each(drop);
        Ok(Self { socket })
    }

    /// The next datagram with its IPv4 header, if one is waiting. One that is too long is cut.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Option<&'a [u8]>> {
        match (&self.socket).read(&mut buffer.0) {
            Ok(length) => Ok(buffer.0.get(..length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for one datagram.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; MAX_DATAGRAM].into_boxed_slice())
    }

    /// No room: stands in while the real one is lent out.
    pub(crate) fn empty() -> Self {
        Self(Box::default())
    }
}

/// Sends advertisements from one address on one interface.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
}

impl Sender {
    /// # Errors
    /// `EADDRNOTAVAIL` when the interface does not have the address, and as [`Receiver::open`].
    pub(crate) fn open(interface: &str, source: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(NO_BUFFER).ok();
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(source, 0)))?;
        socket.set_multicast_if_v4(&source)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(u32::from(TTL))?;
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_tos_v4(TOS_INTERNETWORK_CONTROL)?;
        // It can then still say that we leave (priority 0) when the source was taken away from us.
        socket.set_ip_transparent_v4(true).ok();
        Ok(Self { socket })
    }

    /// # Errors
    /// The kernel's. It never blocks.
    pub(crate) fn send(&self, bytes: &[u8], destination: IpAddr) -> io::Result<()> {
        self.socket.send_to(bytes, &SockAddr::from(SocketAddr::new(destination, 0))).map(drop)
    }
}

/// Whether a packet to the VRRP group can leave the interface from this source. Sends nothing.
///
/// # Errors
/// `EADDRNOTAVAIL` when the host does not have the address, or the interface is down; else what stands
/// in the way.
pub(crate) fn source_works(interface: &str, source: Ipv4Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(source, 0)))?;
    // With net.ipv4.ip_nonlocal_bind any source can be bound. The search for a route still refuses one
    // that is not here, in newer kernels with ENETUNREACH, as on an
    // interface that is down.
    match socket.connect(&SockAddr::from(SocketAddrV4::new(GROUP_V4, PROBE_PORT))) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENETUNREACH)) => {
            Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))
        }
        result => result,
    }
}

/// Sends gratuitous ARP on one interface.
#[derive(Debug)]
pub(crate) struct Announcer {
    socket: Socket,
    index: u32,
    mac: [u8; 6],
}

impl Announcer {
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub(crate) fn open(index: u32, mac: [u8; 6]) -> io::Result<Self> {
        // Protocol 0 receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::SndBufForce, &ANNOUNCE_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &ANNOUNCE_BUFFER))
            .ok();
        Ok(Self { socket, index, mac })
    }

    /// Tells the segment that `vip` is here.
    ///
    /// # Errors
    /// The kernel's. It never blocks.
    pub(crate) fn gratuitous_arp(&self, vip: Ipv4Addr) -> io::Result<()> {
        let address = link_address(self.index)?;
        self.socket.send_to(&arp_frame(self.mac, vip), &address).map(drop)
    }
}

/// An ARP request for `vip` from `vip` (RFC 5227 §3), to everyone.
fn arp_frame(mac: [u8; 6], vip: Ipv4Addr) -> [u8; ARP_FRAME] {
    const BROADCAST: [u8; 6] = [0xff; 6];
    let mut frame = [0; ARP_FRAME];
    let parts: [&[u8]; 7] = [
        &BROADCAST,
        &mac,
        // EtherType ARP; hardware Ethernet, protocol IPv4, lengths 6 and 4, operation request.
        &[0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01],
        &mac,
        &vip.octets(),
        &BROADCAST,
        &vip.octets(),
    ];
    let mut at = 0;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

/// The packet(7) address of an interface.
#[allow(unsafe_code, reason = "socket2 has no safe constructor of a sockaddr_ll")]
fn link_address(index: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    };
    // SAFETY: the storage is larger than a sockaddr_ll and aligned for every socket address; the
    // value written is whole, and the length told is its own.
    let ((), result) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gratuitous_arp_is_a_request_of_the_vip_for_itself() {
        let frame = arp_frame([2, 0, 0, 0, 0, 1], Ipv4Addr::new(192, 168, 188, 120));
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "ffffffffffff02000000000108060001080006040001020000000001c0a8bc78ffffffffffffc0a8bc78"
        );
    }
}
