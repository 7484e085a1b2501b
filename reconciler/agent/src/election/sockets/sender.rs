//! Sends advertisements, and finds out whether the host can send from an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use evenkeel_vrrp::{GROUP_V4, PROTOCOL};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Type of service of advertisements: Internetwork control (RFC 791), as keepalived's.
const INTERNETWORK_CONTROL: u32 = 0xc0;
/// Receive buffer of a socket that only sends, bytes.
const NO_BUFFER: usize = 1;
/// Port that a test of a source address connects to without sending anything (RFC 863, discard).
const PROBE_PORT: u16 = 9;

/// Sends advertisements from one address through one interface.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
    index: u32,
}

impl Sender {
    /// Opens a socket that sends from `source` with this TTL or hop limit.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when the host does not have the address; `EPERM` without `CAP_NET_RAW`, `ENODEV`
    /// when the interface is gone.
    pub(crate) fn open(interface: &str, index: u32, source: IpAddr, ttl: u8) -> io::Result<Self> {
        let protocol = Some(Protocol::from(i32::from(PROTOCOL)));
        let (domain, address) = match source {
            IpAddr::V4(source) => (Domain::IPV4, SocketAddr::from(SocketAddrV4::new(source, 0))),
            IpAddr::V6(source) => (Domain::IPV6, SocketAddr::from(SocketAddrV6::new(source, 0, 0, index))),
        };
        let socket = Socket::new(domain, Type::RAW, protocol)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(NO_BUFFER).ok();
        // Multicast leaves through the interface that the socket is bound to, too.
        socket.bind_device(Some(interface.as_bytes()))?;
        let ttl = u32::from(ttl);
        match source {
            IpAddr::V4(_) => {
                socket.bind(&address.into())?;
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_ttl_v4(ttl)?;
                socket.set_ttl_v4(ttl)?;
                socket.set_tos_v4(INTERNETWORK_CONTROL)?;
                // When the source was taken away, priority 0 can still leave from it.
                socket.set_ip_transparent_v4(true).ok();
            }
            IpAddr::V6(_) => {
                // With a virtual MAC address the source is another interface's.
                socket.set_ip_transparent_v6(true).ok();
                socket.bind(&address.into())?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_hops_v6(ttl)?;
                socket.set_unicast_hops_v6(ttl)?;
                socket.set_tclass_v6(INTERNETWORK_CONTROL)?;
            }
        }
        Ok(Self { socket, index })
    }

    /// Sends a packet without blocking.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn send(&self, bytes: &[u8], destination: IpAddr) -> io::Result<()> {
        let address: SockAddr = match destination {
            IpAddr::V4(destination) => SocketAddrV4::new(destination, 0).into(),
            IpAddr::V6(destination) => SocketAddrV6::new(destination, 0, 0, self.index).into(),
        };
        self.socket.send_to(bytes, &address).map(drop)
    }
}

/// Finds out whether packets can leave the interface from this source. Sends nothing.
///
/// # Errors
/// `EADDRNOTAVAIL` when the host does not have the address, when it has not yet made sure that nobody else
/// has it (IPv6), and when the interface is down; else the kernel's.
pub(crate) fn source_works(interface: &str, index: u32, source: IpAddr) -> io::Result<()> {
    match source {
        IpAddr::V4(source) => v4_works(interface, source),
        IpAddr::V6(source) => v6_works(interface, index, source),
    }
}

fn v4_works(interface: &str, source: Ipv4Addr) -> io::Result<()> {
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

fn v6_works(interface: &str, index: u32, source: Ipv6Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SockAddr::from(SocketAddrV6::new(source, 0, 0, index)))
}
