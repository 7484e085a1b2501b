//! Listens on one interface for others who claim addresses that we hold. No protocol of VRRP: whoever
//! answers ARP for a VIP is found, configured by hand or not.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::frames::{self, Mac};
use super::{Buffer, filter, link_address_to_bind, read};

/// Two packet sockets: ARP, and IPv6 for neighbour advertisements.
#[derive(Debug)]
pub(crate) struct Duplicates {
    arp: Option<Socket>,
    neighbours: Option<Socket>,
}

impl Duplicates {
    /// Listens for claims of these addresses on the interface with this index.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without `CAP_NET_RAW`.
    pub(crate) fn open(index: u32, addresses: impl IntoIterator<Item = IpAddr>) -> io::Result<Self> {
        let (v4, v6) = filter::split(addresses);
        let open = |protocol: i32, program: &[socket2::SockFilter]| {
            // Protocol 0 receives nothing until the filter stands and the socket is bound.
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
            socket.set_nonblocking(true)?;
            socket.attach_filter(program)?;
            socket.bind(&link_address_to_bind(index, protocol)?)?;
            Ok::<_, io::Error>(socket)
        };
        let arp = (!v4.is_empty()).then(|| open(libc::ETH_P_ARP, &filter::arp(&v4)));
        let neighbours =
            (!v6.is_empty()).then(|| open(libc::ETH_P_IPV6, &filter::neighbour_advertisements(&v6)));
        Ok(Self { arp: arp.transpose()?, neighbours: neighbours.transpose()? })
    }

    /// What to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.arp, &self.neighbours].into_iter().flatten().map(AsFd::as_fd)
    }

    /// The next frame. Whoever reads in a loop counts them: anybody can send any number.
    pub(crate) fn next(&self, ours: Mac, buffer: &mut Buffer) -> Claim {
        for socket in [&self.arp, &self.neighbours].into_iter().flatten() {
            if let Ok(Some(frame)) = read(socket, buffer) {
                return match frames::claim(frame) {
                    Some((mac, address)) if mac != ours => Claim::Of(mac, address),
                    Some(_) | None => Claim::Ours,
                };
            }
        }
        Claim::Nothing
    }
}

/// A frame that was waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Somebody with another hardware address claims this.
    Of(Mac, IpAddr),
    /// One of ours that came back, or something else.
    Ours,
    /// None was.
    Nothing,
}
