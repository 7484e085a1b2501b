//! Packet sockets with a filter in the kernel, and the time the kernel saw each packet. What packets mean is
//! decoded elsewhere.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recv, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Longest packet kept.
const SNAP_LENGTH: usize = 64 << 10;
const RECEIVE_BUFFER_SIZE: usize = 8 << 20;
const ETH_P_ALL: u16 = 3;
const PACKET_OUTGOING: u32 = 4;

/// Where classic BPF keeps facts about the packet that are not in it.
const ANCILLARY: u32 = 0xffff_f000;
const ANCILLARY_PACKET_TYPE: u32 = ANCILLARY + 4;
const ANCILLARY_LINK: u32 = ANCILLARY + 8;
const ANCILLARY_HARDWARE: u32 = ANCILLARY + 28;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// They arrive.
    In,
    /// They leave.
    Out,
}

/// VRRP over IPv4 or IPv6 arriving at, or leaving from, the link of that index.
pub(crate) fn vrrp_filter(link: u32, way: Way) -> Vec<SockFilter> {
    const IPV4: u32 = 0x0800;
    const IPV6: u32 = 0x86dd;
    const VRRP: u32 = 112;
    let (leaving, arriving) = if way == Way::Out { (0, 7) } else { (7, 0) };
    vec![
        SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY_LINK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 9, link),
        SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY_PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, leaving, arriving, PACKET_OUTGOING),
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, IPV4),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 9),
        SockFilter::new(JUMP_IF_EQUAL, 4, 3, VRRP),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, IPV6),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, VRRP),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

/// ARP, and IPv6 neighbour discovery's advertisements, arriving at the link of that index.
pub(crate) fn announcement_filter(link: u32) -> Vec<SockFilter> {
    const ARP: u32 = 0x0806;
    const IPV6: u32 = 0x86dd;
    const ICMPV6: u32 = 58;
    const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
    vec![
        SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY_LINK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 9, link),
        SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY_PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 7, 0, PACKET_OUTGOING),
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 6, 0, ARP),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, IPV6),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, ICMPV6),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 40),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, NEIGHBOUR_ADVERTISEMENT),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

/// Protocol of nlmon devices: netlink messages.
pub(crate) fn netlink_filter() -> Vec<SockFilter> {
    const ARPHRD_NETLINK: u32 = 824;
    vec![
        SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY_HARDWARE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, ARPHRD_NETLINK),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// A packet and what the kernel said of it.
pub(crate) struct Packet<'a> {
    pub(crate) at: Instant,
    /// The link layer's protocol number; on nlmon the netlink protocol.
    pub(crate) protocol: u16,
    pub(crate) bytes: &'a [u8],
}

/// A packet socket in the calling thread's namespace that sees what `filter` lets through.
pub(crate) fn open(filter: &[SockFilter]) -> OwnedFd {
    let everything = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(everything)).expect("a packet socket");
    socket.attach_filter(filter).expect("a packet filter");
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_SIZE).expect("a big receive buffer");
    // What came between opening and filtering was not filtered.
    while recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).is_ok() {}
    socket.into()
}

/// Hands over every packet that is waiting.
pub(crate) fn drain(socket: &OwnedFd, mut each: impl FnMut(Packet<'_>)) {
    let mut buffer = vec![0; SNAP_LENGTH];
    let mut control = nix::cmsg_space!(TimeSpec);
    loop {
        let mut pieces = [IoSliceMut::new(&mut buffer)];
        let Ok(message) =
            recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::MSG_DONTWAIT)
        else {
            return;
        };
        let stamp = message.cmsgs().into_iter().flatten().find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        let protocol = message.address.map_or(0, |address| u16::from_be(address.protocol()));
        let length = message.bytes;
        each(Packet { at: monotonic(stamp), protocol, bytes: &buffer[..length] });
    }
}

/// The kernel stamps packets with the time of day; the lab's clock is the monotonic one. Nothing steps the
/// guest's clocks.
fn monotonic(stamp: Option<Duration>) -> Instant {
    let (now, today) = same_moment();
    let age =
        stamp.and_then(|stamp| today.duration_since(SystemTime::UNIX_EPOCH + stamp).ok()).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

/// Both clocks at one moment. Between two readings this thread may lose the processor, and what came
/// meanwhile would be taken for older than it is.
fn same_moment() -> (Instant, SystemTime) {
    const CLOSE: Duration = Duration::from_micros(50);
    let mut best = (Duration::MAX, Instant::now(), SystemTime::now());
    for _ in 0..20 {
        let (before, today) = (Instant::now(), SystemTime::now());
        let apart = before.elapsed();
        if apart < best.0 {
            best = (apart, before, today);
        }
        if apart <= CLOSE {
            break;
        }
    }
    (best.1, best.2)
}
