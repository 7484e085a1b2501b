//! VRRP advertisements of a test's own making, right or wrong in any field, and a host that sends them by the
//! thousand. Encoded here and not by the reconciler, so that both cannot be wrong in the same way. What is
//! seen is decoded in `vrrp`.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::Host;

/// RFC 9568 §5.1.1.2.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub(crate) const VRRP: u8 = 112;
/// Between two batches: a system call costs tens of microseconds in the guest, so packets leave several at a
/// time.
const BATCH_EVERY: Duration = Duration::from_millis(10);

/// An advertisement. [`Forged::default`] is right for VRID 1 of version 3.
#[derive(Clone, Debug)]
pub struct Forged {
    /// 0..=15.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// The addresses.
    pub vips: Vec<Ipv4Addr>,
    /// The same of IPv6, in their place.
    pub vips6: Vec<Ipv6Addr>,
    /// The count of addresses, when it is not theirs.
    pub count: Option<u8>,
    /// Seconds in version 2, centiseconds in version 3.
    pub interval: u16,
    /// Version 2 only: 0 none, 1 password.
    pub auth_type: u8,
    /// Version 2 only: what fills the authentication data; cut to 8 bytes.
    pub password: String,
    /// Whether the checksum is right.
    pub checksum_right: bool,
    /// Cut to so many bytes.
    pub cut_to: Option<usize>,
    /// TTL.
    pub ttl: u8,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            version: 3,
            vrid: 1,
            priority: 50,
            vips: Vec::new(),
            vips6: Vec::new(),
            count: None,
            interval: 100,
            auth_type: 0,
            password: String::new(),
            checksum_right: true,
            cut_to: None,
            ttl: 255,
        }
    }
}

impl Forged {
    /// The VRRP message as `source` sends it to the group of IPv4.
    pub fn message(&self, source: Ipv4Addr) -> Vec<u8> {
        self.message_between(source.into(), GROUP.into())
    }

    /// The VRRP message as `source` sends it to `destination`.
    pub fn message_between(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let own_count = u8::try_from(self.vips.len() + self.vips6.len()).expect("at most 255 addresses");
        let mut bytes =
            vec![self.version << 4 | 1, self.vrid, self.priority, self.count.unwrap_or(own_count)];
        let [high, low] = self.interval.to_be_bytes();
        bytes.extend(if self.version == 3 { [high & 15, low] } else { [self.auth_type, low] });
        bytes.extend([0, 0]);
        bytes.extend(self.vips.iter().flat_map(Ipv4Addr::octets));
        bytes.extend(self.vips6.iter().flat_map(Ipv6Addr::octets));
        let mut summed = bytes.clone();
        if self.version == 3 {
            let length = u8::try_from(bytes.len() % 256).expect("a byte");
            summed.extend(octets(source).into_iter().chain(octets(destination)));
            summed.extend([0, VRRP, u8::try_from(bytes.len() / 256).expect("a short message"), length]);
        } else {
            let mut data = self.password.clone().into_bytes();
            data.resize(8, 0);
            bytes.extend(&data);
            summed.extend(data);
        }
        let sum = checksum(&summed) ^ if self.checksum_right { 0 } else { 0x0101 };
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes.truncate(self.cut_to.unwrap_or(bytes.len()));
        bytes
    }
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

/// Outcome of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Packets that the kernel took.
    pub sent: usize,
    /// From the first to the last.
    pub took: Duration,
}

impl Flood {
    /// Packets a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64()
    }
}

impl Host {
    /// Sends that advertisement to the group from `interface`'s address `source`, evenly and so many a
    /// second, for that long.
    #[track_caller]
    pub fn flood(&self, source: Ipv4Addr, forged: &Forged, per_second: u32, duration: Duration) -> Flood {
        let message = forged.message(source);
        let ttl = u32::from(forged.ttl);
        self.enter(move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))))
                .expect("a raw socket");
            socket.set_multicast_if_v4(&source).expect("the interface to send from");
            socket.set_multicast_ttl_v4(ttl).expect("a TTL");
            socket.set_multicast_loop_v4(false).expect("no copies for ourselves");
            socket
                .connect(&std::net::SocketAddr::new(IpAddr::V4(GROUP), 0).into())
                .expect("connect to the group");
            send_evenly(&socket, &message, per_second, duration)
        })
    }
}

fn send_evenly(socket: &Socket, message: &[u8], per_second: u32, duration: Duration) -> Flood {
    let batch = (f64::from(per_second) * BATCH_EVERY.as_secs_f64()).ceil();
    let pause = Duration::from_secs_f64(batch / f64::from(per_second));
    let pieces = vec![[IoSlice::new(message)]; batch as usize];
    let nowhere: Vec<Option<SockaddrIn>> = vec![None; pieces.len()];
    let mut headers = MultiHeaders::preallocate(pieces.len(), None);
    let started = Instant::now();
    let (mut sent, mut next) = (0, started);
    while started.elapsed() < duration {
        // The kernel may take fewer when its buffers are full; what it does not take is not sent.
        sent += sendmmsg(socket.as_raw_fd(), &mut headers, &pieces, &nowhere, [], MsgFlags::empty())
            .map_or(0, Iterator::count);
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Flood { sent, took: started.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Packets that keepalived 2.2.7 was seen to send.
    #[test]
    fn forged_packets_are_those_of_keepalived_byte_for_byte() {
        let source = Ipv4Addr::new(10, 9, 0, 1);
        let password = Forged {
            version: 2,
            vrid: 51,
            priority: 150,
            vips: vec![Ipv4Addr::new(10, 9, 0, 100), Ipv4Addr::new(10, 9, 0, 101)],
            interval: 1,
            auth_type: 1,
            password: "longpassword123".chars().take(8).collect(),
            ..Forged::default()
        };
        assert_eq!(hex(&password.message(source)), "21339602010174420a0900640a0900656c6f6e6770617373");
        let third = Forged {
            vrid: 54,
            priority: 254,
            vips: vec![Ipv4Addr::new(10, 9, 0, 104)],
            interval: 50,
            ..Forged::default()
        };
        assert_eq!(hex(&third.message(source)), "3136fe010032db8b0a090068");
    }
}
