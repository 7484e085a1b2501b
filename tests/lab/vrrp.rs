//! Every VRRP advertisement crossing a segment, decoded by the lab's own few lines. It judges nothing: wrong
//! packets are recorded too.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::capture::{self, Way, vrrp_filter};
use crate::check::Expected;
use crate::journal::{Journal, Listener, Record};
use crate::net::Host;
use crate::netlink::{Netlink, ip_of};
use crate::process::execute;
use crate::time::Mark;

/// An advertisement as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The IP header's source.
    pub source: IpAddr,
    /// The IP header's destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 2 or 3, or whatever the packet says.
    pub version: u8,
    /// The virtual router.
    pub vrid: u8,
    /// 0 when the master leaves.
    pub priority: u8,
    /// Version 2 counts seconds, version 3 centiseconds.
    pub interval: Duration,
    /// The virtual addresses.
    pub vips: Vec<IpAddr>,
    /// The VRRP message, header to trailer.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Advert {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, version, vrid, priority, interval, vips, .. } = self;
        write!(
            out,
            "v{version} from {source} vrid {vrid} priority {priority} every {interval:?} for {vips:?}"
        )
    }
}

/// A running record; see [`Lab::capture_vrrp`](crate::Lab::capture_vrrp).
pub struct VrrpCapture {
    journal: Journal<Advert>,
    _listener: Listener,
}

impl Host {
    /// Records every VRRP advertisement that leaves an interface of this host from now on, at the moment that
    /// it does: how long the segment takes is not in it.
    #[track_caller]
    pub fn capture_vrrp_sent(&self, interface: &str) -> VrrpCapture {
        VrrpCapture::read(self.enter(|| {
            let link = Netlink::route(0).link(interface);
            capture::open(&vrrp_filter(link, Way::Out))
        }))
    }
}

impl VrrpCapture {
    /// Multicast reaches the bridge's own device by itself; unicast does only when it is promiscuous.
    pub(crate) fn start(segment: &str, link: u32) -> Self {
        let promiscuous = ["ip", "link", "set", segment, "promisc", "on"].map(str::to_owned);
        execute(&promiscuous).or_fail("ip").expect_success();
        Self::read(capture::open(&vrrp_filter(link, Way::In)))
    }

    fn read(socket: OwnedFd) -> Self {
        let journal = Journal::new();
        let writer = journal.clone();
        let sources = vec![socket];
        let listener = Listener::start("vrrp-capture", sources, move |_, socket| {
            capture::drain(socket, |packet| {
                if let Some(advert) = decode(packet.bytes) {
                    writer.push(packet.at, advert);
                }
            });
        });
        Self { journal, _listener: listener }
    }

    /// Every advertisement so far.
    pub fn all(&self) -> Vec<Record<Advert>> {
        self.journal.with(<[_]>::to_vec)
    }

    /// Those seen since the mark.
    pub fn since(&self, mark: Mark) -> Vec<Record<Advert>> {
        self.journal.since(mark)
    }

    /// Those of one sender.
    pub fn from(&self, source: impl Into<IpAddr>) -> Vec<Record<Advert>> {
        let source = source.into();
        self.all().into_iter().filter(|record| record.what.source == source).collect()
    }

    /// Waits for an advertisement that `wanted` accepts, those already seen included; panics after `timeout`.
    #[track_caller]
    pub fn wait(&self, timeout: Duration, wanted: impl FnMut(&Record<Advert>) -> bool) -> Record<Advert> {
        match self.journal.wait(None, timeout, wanted) {
            Some(record) => record,
            None => panic!("no such advertisement within {timeout:?}; seen: {}", self.describe()),
        }
    }

    /// The longest time between two advertisements of one sender, or from its last one to now, since the
    /// mark.
    pub fn max_interval(&self, source: impl Into<IpAddr>, since: Mark) -> Duration {
        let source = source.into();
        let times: Vec<Instant> = self
            .since(since)
            .iter()
            .filter(|record| record.what.source == source)
            .map(|record| record.at)
            .collect();
        let ends = times.iter().skip(1).copied().chain([Instant::now()]);
        times
            .iter()
            .zip(ends)
            .map(|(start, end)| end.saturating_duration_since(*start))
            .max()
            .unwrap_or_default()
    }

    fn describe(&self) -> String {
        self.all().iter().map(|record| format!("\n  {}", record.what)).collect()
    }
}

/// Reads an Ethernet frame holding VRRP; `None` when it is cut short.
fn decode(frame: &[u8]) -> Option<Advert> {
    let packet = frame.get(14..)?;
    let (source, destination, ttl, bytes) = if packet.first()? >> 4 == 4 {
        let header = usize::from(packet[0] & 15) * 4;
        // Short frames are padded: the packet knows its own length.
        let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        (packet.get(12..16)?, packet.get(16..20)?, *packet.get(8)?, packet.get(header..length)?)
    } else {
        let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
        (packet.get(8..24)?, packet.get(24..40)?, *packet.get(7)?, packet.get(40..40 + length)?)
    };
    let (source, destination) = (ip_of(source)?, ip_of(destination)?);
    let version = bytes.first()? >> 4;
    let interval = if version == 2 {
        Duration::from_secs(u64::from(*bytes.get(5)?))
    } else {
        Duration::from_millis(10 * u64::from(u16::from_be_bytes([bytes.get(4)? & 15, *bytes.get(5)?])))
    };
    let size = if source.is_ipv4() { 4 } else { size_of::<Ipv6Addr>() };
    let count = usize::from(*bytes.get(3)?);
    let vips = bytes.get(8..8 + count * size)?.chunks(size).filter_map(ip_of).collect();
    let (vrid, priority) = (*bytes.get(1)?, *bytes.get(2)?);
    Some(Advert { source, destination, ttl, version, vrid, priority, interval, vips, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keepalived_packet_is_decoded() {
        let mut frame = vec![0; 14];
        frame.extend([0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18]);
        frame.extend([0x21, 0x33, 0x96, 1, 1, 1, 0, 0, 10, 9, 0, 100, b'a', b'b', b'c', 0, 0, 0, 0, 0]);
        frame.resize(60, 0);
        let advert = decode(&frame).unwrap();
        assert_eq!((advert.version, advert.vrid, advert.priority, advert.ttl), (2, 51, 150, 255));
        assert_eq!(advert.interval, Duration::from_secs(1));
        assert_eq!(advert.vips, [IpAddr::from([10, 9, 0, 100])]);
        assert_eq!(advert.bytes.len(), 20);
        assert_eq!(decode(&frame[..30]), None);
    }

    #[test]
    fn a_keepalived_packet_over_ipv6_is_decoded() {
        let source = "fe80::48d9:17ff:fef0:3392".parse::<Ipv6Addr>().unwrap();
        let group = "ff02::12".parse::<Ipv6Addr>().unwrap();
        let vips = ["fe80::56", "2001:db8:9::56"].map(|vip| vip.parse::<Ipv6Addr>().unwrap());
        let mut frame = vec![0; 14];
        frame.extend([0x6c, 0, 0, 0, 0, 40, 112, 255]);
        frame.extend([source.octets(), group.octets()].concat());
        frame.extend([0x31, 0x38, 200, 2, 0, 100, 0x47, 0xe8]);
        frame.extend(vips.map(|vip| vip.octets()).concat());
        let advert = decode(&frame).unwrap();
        assert_eq!((advert.version, advert.vrid, advert.priority, advert.ttl), (3, 56, 200, 255));
        assert_eq!((advert.source, advert.destination), (source.into(), group.into()));
        assert_eq!(advert.interval, Duration::from_secs(1));
        assert_eq!(advert.vips, vips.map(IpAddr::from));
    }
}
