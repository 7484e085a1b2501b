//! Receives the advertisements of one interface and family, however they were sent, and tells how long they have waited.

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

/// Receive buffer: a few thousand advertisements while the thread is held up.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// Oldest packet whose age is believed. An ordinary thread waits about as long for its turn on a busy processor.
const MAX_AGE: Duration = Duration::from_millis(10);
/// Most packets that are thrown away from a new socket.
const MAX_STRAY: usize = 65_536;

/// A socket that gets VRRP's packets.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
    family: Family,
    /// Keeps the interface in the group where the socket itself cannot be.
    _member: Option<Socket>,
}

/// What a look at the socket brought.
#[derive(Debug)]
pub(crate) enum Got<'a> {
    /// A packet, and how long ago the kernel got it.
    Packet(Received<'a>, Duration),
    /// Something that is no whole packet: not to be told from noise.
    Noise,
    /// Nothing is waiting.
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
        // Until it was bound it took the packets of every interface: those are not for this one.
        let mut buffer = Buffer::new();
        let stray = |_: &usize| matches!(receiver.receive(&mut buffer), Ok(Got::Packet(..) | Got::Noise));
        (0..MAX_STRAY).take_while(stray).for_each(drop);
        Ok(receiver)
    }

    /// The same on the interface of a virtual MAC address, for the group only. Linux gives a packet from the
    /// Master's virtual MAC address to the interface that has the same one, and to nobody else
    /// (`macvlan_handle_frame`). While that interface has no address, the filter of reverse paths drops all
    /// that IPv4 brings there, so it is listened to below IP.
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

    /// The next packet, if one is waiting. One that is too long is cut.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Got<'a>> {
        match self.family {
            Family::V4 => self.receive_v4(buffer),
            Family::V6 => self.receive_v6(buffer),
        }
    }

    fn receive_v4<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Got<'a>> {
        let mut control = nix::cmsg_space!(libc::timespec);
        let mut room = [io::IoSliceMut::new(&mut buffer.0)];
        let received =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut room, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let (length, age) = match received {
            Ok(message) => (message.bytes, message.cmsgs()?.find_map(|told| age(&told)).unwrap_or_default()),
            Err(Errno::EAGAIN) => return Ok(Got::Nothing),
            Err(error) => return Err(error.into()),
        };
        let datagram = buffer.0.get(..length).unwrap_or_default();
        let Ok(parts) = split_ipv4(datagram) else { return Ok(Got::Noise) };
        let (src, dst) = (parts.src.into(), parts.dst.into());
        Ok(Got::Packet(Received { payload: parts.payload, src, dst, ttl: parts.ttl }, age))
    }

    /// The kernel keeps the IPv6 header to itself and tells what matters of it (RFC 3542 §6).
    fn receive_v6<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Got<'a>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::timespec);
        let mut parts = [io::IoSliceMut::new(&mut buffer.0)];
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let (length, source, dst, ttl, waited) =
            match recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => {
                    let (mut dst, mut ttl, mut waited) = (None, None, Duration::ZERO);
                    for told in message.cmsgs()? {
                        match told {
                            ControlMessageOwned::Ipv6PacketInfo(info) => dst = Some(info.ipi6_addr.s6_addr),
                            ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).ok(),
                            other => waited = age(&other).unwrap_or(waited),
                        }
                    }
                    (message.bytes, message.address, dst, ttl, waited)
                }
                Err(Errno::EAGAIN) => return Ok(Got::Nothing),
                Err(error) => return Err(error.into()),
            };
        let (Some(source), Some(dst), Some(ttl)) = (source, dst, ttl) else { return Ok(Got::Noise) };
        let payload = buffer.0.get(..length).unwrap_or_default();
        let (src, dst) = (IpAddr::V6(source.ip()), IpAddr::V6(dst.into()));
        Ok(Got::Packet(Received { payload, src, dst, ttl }, waited))
    }
}

/// How long ago the kernel got a packet, by the time of day that it was stamped with.
fn age(told: &ControlMessageOwned) -> Option<Duration> {
    let ControlMessageOwned::ScmTimestampns(stamp) = told else { return None };
    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
    Some(believed(Duration::from(*stamp), Duration::from(now)))
}

/// The age of what was stamped then. A clock that was set meanwhile makes that wrong, so one of over [`MAX_AGE`] or
/// under nothing is not believed.
fn believed(stamp: Duration, now: Duration) -> Duration {
    now.checked_sub(stamp).filter(|age| *age <= MAX_AGE).unwrap_or_default()
}

/// A large buffer, beyond what the host allows everybody (`net.core.rmem_max`) where permitted; and the time of packets.
fn prepare(socket: &Socket) {
    // Without it packets count from when they are read.
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
