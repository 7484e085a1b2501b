//! Listens on one interface for others who claim our VIPs, by ARP or neighbour advertisements. It needs no
//! VRRP: a host on which somebody has configured a VIP by hand is found as well.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::frames::{self, Mac};
use super::{Buffer, filter, link_address_to_bind, read};

/// Two packet sockets: ARP, and IPv6 for neighbour advertisements. Each exists from the first address of its
/// family on. When the addresses change the socket gets another filter. It is not closed: that waits until no
/// processor of the host uses it any more (`synchronize_net`), for 10 ms and more, in which the election
/// would stand still.
#[derive(Debug)]
pub(crate) struct Duplicates {
    index: u32,
    arp: Option<Socket>,
    neighbours: Option<Socket>,
}

impl Duplicates {
    /// Listens for nothing yet, on the interface with this index.
    pub(crate) const fn new(index: u32) -> Self {
        Self { index, arp: None, neighbours: None }
    }

    /// Listens for claims of these addresses, and of no others any more.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without `CAP_NET_RAW`.
    pub(crate) fn watch(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> io::Result<()> {
        let (v4, v6) = filter::split(addresses);
        let index = self.index;
        let follow =
            |socket: &mut Option<Socket>, protocol: i32, any: bool, program: &[SockFilter]| match socket {
                Some(socket) => socket.attach_filter(program),
                None if any => {
                    *socket = Some(open(index, protocol, program)?);
                    Ok(())
                }
                None => Ok(()),
            };
        follow(&mut self.arp, libc::ETH_P_ARP, !v4.is_empty(), &filter::arp(&v4))?;
        let program = filter::neighbour_advertisements(&v6);
        follow(&mut self.neighbours, libc::ETH_P_IPV6, !v6.is_empty(), &program)
    }

    /// The sockets to poll.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.arp, &self.neighbours].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Reads the next frame. Whoever reads in a loop limits the number: anybody can send any number of
    /// frames.
    pub(crate) fn next(&self, ours: Mac, buffer: &mut Buffer) -> AddressClaim {
        for socket in [&self.arp, &self.neighbours].into_iter().flatten() {
            if let Ok(Some(frame)) = read(socket, buffer) {
                return match frames::claim(frame) {
                    Some((mac, address)) if mac != ours => AddressClaim::Of(mac, address),
                    Some(_) | None => AddressClaim::Ours,
                };
            }
        }
        AddressClaim::Nothing
    }
}

fn open(index: u32, protocol: i32, program: &[SockFilter]) -> io::Result<Socket> {
    // Protocol 0 receives nothing until the filter stands and the socket is bound.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(program)?;
    socket.bind(&link_address_to_bind(index, protocol)?)?;
    Ok(socket)
}

/// What the sockets had to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressClaim {
    /// A claim of this address by somebody with another hardware address than ours.
    Of(Mac, IpAddr),
    /// A frame of ours that came back, or one that claims nothing.
    Ours,
    /// No frame.
    Nothing,
}
