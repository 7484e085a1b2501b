//! Receives the advertisements of one interface and family, by multicast and unicast, with the time that each
//! has waited.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use evenkeel_vrrp::{Family, GROUP_V4, GROUP_V6, PROTOCOL, Received, split_ipv4};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{Buffer, filter, link_address_to_bind};

/// Receive buffer, bytes: a few thousand advertisements while the thread is held up.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// Greatest age of a packet that is believed. An ordinary thread waits about as long for its turn on a busy
/// processor.
const MAX_AGE: Duration = Duration::from_millis(10);
/// Most packets that are discarded from a new socket.
const MAX_STRAY: usize = 65_536;

/// A socket that gets the packets of VRRP.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
    family: Family,
    /// Keeps the interface in the group where the socket itself cannot be.
    _member: Option<Socket>,
}

/// What the socket had to read.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    /// A packet, and how long ago the kernel got it.
    Packet(Received<'a>, Duration),
    /// Something that is no whole packet.
    Malformed,
    /// No packet.
    Nothing,
}

impl Receiver {
    /// Joins the VRRP group on the interface. Unicast to any of its addresses arrives here, too.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without `CAP_NET_RAW`, `ENODEV` when the interface is gone.
    pub(crate) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        prepare(&socket);
        match family {
            Family::V4 => {
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
            }
            Family::V6 => {
                socket.join_multicast_v6(&GROUP_V6, index)?;
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        let receiver = Self { socket, family, _member: None };
        // Until it was bound it got the packets of every interface: those are discarded.
        let mut buffer = Buffer::new();
        let stray =
            |_: &usize| matches!(receiver.receive(&mut buffer), Ok(Arrival::Packet(..) | Arrival::Malformed));
        (0..MAX_STRAY).take_while(stray).for_each(drop);
        Ok(receiver)
    }

    /// [`Self::open`] on the interface of a virtual MAC address, for the group only. Linux gives a packet
    /// from the Master's virtual MAC address to the interface that has the same one, and to nobody else
    /// (`macvlan_handle_frame`). While that interface has no address, the filter of reverse paths drops all
    /// that IPv4 gets there, so it is listened to below IP.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_virtual(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        if family == Family::V6 {
            return Self::open(interface, index, family);
        }
        let member = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        member.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
        // Protocol 0 receives nothing until the filter stands and the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        prepare(&socket);
        socket.attach_filter(&filter::multicast_advertisements())?;
        socket.bind(&link_address_to_bind(index, libc::ETH_P_IP)?)?;
        Ok(Self { socket, family, _member: Some(member) })
    }

    /// Reads the next packet. One that is longer than the buffer is cut.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Arrival<'a>> {
        match self.family {
            Family::V4 => self.receive_v4(buffer),
            Family::V6 => self.receive_v6(buffer),
        }
    }

    fn receive_v4<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Arrival<'a>> {
        let mut control = nix::cmsg_space!(libc::timespec);
        let mut room = [io::IoSliceMut::new(&mut buffer.0)];
        let received =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut room, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let (length, age) = match received {
            Ok(message) => (message.bytes, message.cmsgs()?.find_map(|data| age(&data)).unwrap_or_default()),
            Err(Errno::EAGAIN) => return Ok(Arrival::Nothing),
            Err(error) => return Err(error.into()),
        };
        let datagram = buffer.0.get(..length).unwrap_or_default();
        let Ok(parts) = split_ipv4(datagram) else { return Ok(Arrival::Malformed) };
        let (src, dst) = (parts.src.into(), parts.dst.into());
        Ok(Arrival::Packet(Received { payload: parts.payload, src, dst, ttl: parts.ttl }, age))
    }

    /// The kernel keeps the IPv6 header to itself and gives what matters of it as ancillary data (RFC 3542
    /// §6).
    fn receive_v6<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Arrival<'a>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::timespec);
        let mut parts = [io::IoSliceMut::new(&mut buffer.0)];
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let (length, source, dst, ttl, waited) =
            match recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => {
                    let (mut dst, mut ttl, mut waited) = (None, None, Duration::ZERO);
                    for data in message.cmsgs()? {
                        match data {
                            ControlMessageOwned::Ipv6PacketInfo(info) => dst = Some(info.ipi6_addr.s6_addr),
                            ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).ok(),
                            other => waited = age(&other).unwrap_or(waited),
                        }
                    }
                    (message.bytes, message.address, dst, ttl, waited)
                }
                Err(Errno::EAGAIN) => return Ok(Arrival::Nothing),
                Err(error) => return Err(error.into()),
            };
        let (Some(source), Some(dst), Some(ttl)) = (source, dst, ttl) else { return Ok(Arrival::Malformed) };
        let payload = buffer.0.get(..length).unwrap_or_default();
        let (src, dst) = (IpAddr::V6(source.ip()), IpAddr::V6(dst.into()));
        Ok(Arrival::Packet(Received { payload, src, dst, ttl }, waited))
    }
}

/// How long ago the kernel got a packet, by the time of day with which it was stamped; `None` without a
/// stamp.
fn age(data: &ControlMessageOwned) -> Option<Duration> {
    let ControlMessageOwned::ScmTimestampns(stamp) = data else { return None };
    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
    Some(believed(Duration::from(*stamp), Duration::from(now)))
}

/// The age of a packet that was stamped at `stamp`. A clock that was set meanwhile makes it wrong: one of
/// over [`MAX_AGE`], or a negative one, counts as none.
fn believed(stamp: Duration, now: Duration) -> Duration {
    now.checked_sub(stamp).filter(|age| *age <= MAX_AGE).unwrap_or_default()
}

/// Asks for a large buffer, beyond what the host allows everybody (`net.core.rmem_max`) where permitted, and
/// for stamps on packets.
fn prepare(socket: &Socket) {
    // Without stamps packets count from when they are read.
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).ok();
    setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER))
        .ok();
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_age_that_can_be_is_believed() {
        let now = Duration::from_secs(1_000_000);
        for (age, seen) in [(0, 0), (3, 3), (10, 10), (11, 0), (3_600_000, 0)] {
            assert_eq!(
                believed(now - Duration::from_millis(age), now),
                Duration::from_millis(seen),
                "{age} ms"
            );
        }
        assert_eq!(believed(now + Duration::from_millis(1), now), Duration::ZERO, "the clock was set back");
    }
}
