//! The advertisement on the wire: VRRPv2 (RFC 3768, with the password of RFC 2338) and VRRPv3
//! (RFC 9568), over IPv4 and IPv6.
//!
//! Only bytes and values live here: no rule that needs the configuration of a router.
//!
//! ```text
//!     0                   1                   2                   3
//!     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!    +-------+-------+---------------+---------------+---------------+
//!    |Version| Type  | Virtual Rtr ID|   Priority    | Address count |
//!    +-------+-------+---------------+---------------+---------------+
//! v2 |   Auth type   |  Interval, s  |           Checksum            |  RFC 3768 §5.1
//! v3 | rsvd  |   Interval, cs (12)   |           Checksum            |  RFC 9568 §5.1
//!    +---------------+---------------+-------------------------------+
//!    |               addresses, 4 or 16 bytes each                   |
//!    +---------------------------------------------------------------+
//! v2 |               authentication data, 8 bytes                    |  RFC 2338 §5.3.10
//!    +---------------------------------------------------------------+
//! ```
//!
//! A trailer may follow ([`crate::trailer`]). It is no part of the message, and IPv6 alone has it in the
//! checksum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_schemas::scalars::{AdvertInterval, Vrid};

use crate::rejection::Rejection;
use crate::trailer::TRAILER_BYTES;
use crate::wire::{
    AUTH_BYTES, AUTH_NONE, AUTH_PASS, Auth, CHECKSUM_AT, Checksum, Secret, Version, WireInterval,
};

/// Multicast group of IPv4 advertisements (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Multicast group of IPv6 advertisements (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// IP protocol number (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of every advertisement, sent and received (RFC 9568 §5.1.1.3).
pub const TTL: u8 = 255;

/// The only packet type, ADVERTISEMENT (RFC 9568 §5.2.2).
const TYPE_ADVERTISEMENT: u8 = 1;
/// Bytes before the addresses, both versions.
const HEADER_BYTES: usize = 8;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER_BYTES: usize = 20;
/// Bytes that Ethernet pads a packet to.
const ETHERNET_BYTES: usize = 46;
/// The address count is one byte.
const MAX_ADDRESSES: usize = 255;

/// An advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Protocol version.
    pub version: Version,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Sender's priority; 0 says that the Master leaves (RFC 9568 §5.2.4).
    pub priority: u8,
    /// Sender's advertisement interval.
    pub interval: WireInterval,
    /// Authentication; `None` in version 3.
    pub auth: Auth,
    /// Virtual addresses in the sender's order, all of the family of the packet.
    pub addresses: Vec<IpAddr>,
}

/// Writes the VRRP message into `out`, which is emptied first and keeps its capacity.
///
/// `src` and `dst` are those of the IP header. Addresses of another family than `src`, and those
/// after the 255th, have no place on the wire and are left out.
pub fn encode(advert: &Advert, src: IpAddr, dst: IpAddr, checksum: Checksum, out: &mut Vec<u8>) {
    encode_signed(advert, src, dst, checksum, None, out);
}

/// [`encode`], with a trailer behind the message.
pub(crate) fn encode_signed(
    advert: &Advert,
    src: IpAddr,
    dst: IpAddr,
    checksum: Checksum,
    trailer: Option<&[u8; TRAILER_BYTES]>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend([advert.version.number() << 4 | TYPE_ADVERTISEMENT, advert.vrid.get(), advert.priority, 0]);
    let centis = advert.interval.as_centis();
    match advert.version {
        Version::V2 => {
            // 255 at most: the field is built from a byte of seconds or from 40.95 s at most.
            out.extend([advert.auth.wire_type(), (centis / 100) as u8]);
        }
        Version::V3 => out.extend(centis.min(AdvertInterval::MAX_CENTIS).to_be_bytes()),
    }
    out.extend([0, 0]);
    let addresses = advert.addresses.iter().filter(|ip| ip.is_ipv4() == src.is_ipv4()).take(MAX_ADDRESSES);
    let mut count = 0_u8;
    for address in addresses {
        count += 1;
        match address {
            IpAddr::V4(v4) => out.extend(v4.octets()),
            IpAddr::V6(v6) => out.extend(v6.octets()),
        }
    }
    out[3] = count;
    match (advert.version, advert.auth) {
        (Version::V2, Auth::Pass(Secret(bytes))) => out.extend(bytes),
        (Version::V2, Auth::None) => out.extend([0; AUTH_BYTES]),
        (Version::V3, Auth::None | Auth::Pass(_)) => {}
    }
    let message = out.len();
    out.extend(trailer.into_iter().flatten());
    let summed = summed(src, message, out.len());
    let pseudo = match (advert.version, src, checksum) {
        (Version::V2, _, _) | (Version::V3, IpAddr::V4(_), Checksum::Without) => 0,
        (Version::V3, IpAddr::V6(_), _) | (Version::V3, IpAddr::V4(_), Checksum::WithPseudoHeader) => {
            pseudo_header_sum(src, dst, summed)
        }
    };
    let sum = fold(pseudo + sum(&out[..summed]));
    out[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&(!sum).to_be_bytes());
}

/// The payload of an IP packet, taken apart by its length alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// Message and trailer, without padding.
    whole: &'a [u8],
    /// The VRRP message.
    pub(crate) message: &'a [u8],
    /// The trailer behind it.
    pub(crate) trailer: Option<&'a [u8; TRAILER_BYTES]>,
}

/// Takes a payload from `src` apart. Behind the message may be a trailer, if `trailers` are expected, or
/// Ethernet padding, but nothing else.
///
/// # Errors
/// When it is no VRRP message, or not of the length that its header announces.
pub(crate) fn split(bytes: &[u8], src: IpAddr, trailers: bool) -> Result<Frame<'_>, Rejection> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Rejection::Length { bytes: bytes.len(), needed: HEADER_BYTES });
    };
    let [version_and_type, _, _, count, ..] = *header;
    let version = Version::from_number(version_and_type >> 4)
        .ok_or(Rejection::Version { received: version_and_type >> 4 })?;
    if version_and_type & 0x0f != TYPE_ADVERTISEMENT {
        return Err(Rejection::Type { received: version_and_type & 0x0f });
    }
    if version == Version::V2 && src.is_ipv6() {
        return Err(Rejection::Family);
    }
    let address_bytes = usize::from(count) * if src.is_ipv4() { 4 } else { 16 };
    let auth_bytes = match version {
        Version::V2 => AUTH_BYTES,
        Version::V3 => 0,
    };
    let needed = HEADER_BYTES + address_bytes + auth_bytes;
    let wrong = Rejection::Length { bytes: bytes.len(), needed };
    let Some((message, rest)) = bytes.split_at_checked(needed) else { return Err(wrong) };
    let trailer = rest.first_chunk().filter(|_| trailers && rest.len() == TRAILER_BYTES);
    match trailer {
        Some(_) => Ok(Frame { whole: bytes, message, trailer }),
        None if rest.is_empty() || is_padding(rest.len(), needed, src) => {
            Ok(Frame { whole: message, message, trailer: None })
        }
        None => Err(wrong),
    }
}

/// Whether so many bytes behind a message may be Ethernet padding, by keepalived's rule: it fills a short
/// packet to 46 bytes, or to fewer by the four of each VLAN tag that was taken off.
const fn is_padding(rest: usize, message: usize, src: IpAddr) -> bool {
    let packet = match src {
        IpAddr::V4(_) => IPV4_HEADER_BYTES + message,
        IpAddr::V6(_) => message,
    };
    packet < ETHERNET_BYTES && rest % 4 == ETHERNET_BYTES % 4
}

/// Bytes that a checksum is over.
const fn summed(src: IpAddr, message: usize, whole: usize) -> usize {
    match src {
        IpAddr::V4(_) => message,
        IpAddr::V6(_) => whole,
    }
}

/// Reads a VRRP message: the payload of an IP packet from `src` to `dst`. Bytes after the message may only be
/// Ethernet padding.
///
/// A version 3 checksum over IPv4 is accepted with and without the pseudo-header.
///
/// # Errors
/// When the message is malformed: the first of the checks of RFC 9568 §7.1 (RFC 3768 §7.1) that
/// need no configuration and that it fails.
pub fn decode(bytes: &[u8], src: IpAddr, dst: IpAddr) -> Result<Advert, Rejection> {
    decode_frame(&split(bytes, src, false)?, src, dst)
}

/// [`decode`], of a payload that was taken apart.
pub(crate) fn decode_frame(frame: &Frame<'_>, src: IpAddr, dst: IpAddr) -> Result<Advert, Rejection> {
    let Frame { whole, message, .. } = *frame;
    let Some((header, rest)) = message.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Rejection::Length { bytes: message.len(), needed: HEADER_BYTES });
    };
    let [version_and_type, vrid, priority, count, high, low, _, _] = *header;
    let version = Version::from_number(version_and_type >> 4)
        .ok_or(Rejection::Version { received: version_and_type >> 4 })?;
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(Rejection::Family);
    }
    if !checksum_is_good(&whole[..summed(src, message.len(), whole.len())], version, src, dst) {
        return Err(Rejection::Checksum);
    }
    // RFC 9568 §5.2.3: 1..=255.
    let vrid = Vrid::new(vrid).map_err(|_| Rejection::Vrid { received: 0 })?;
    let (interval, auth) = match version {
        Version::V2 => (WireInterval::from_secs(low), read_auth(high, message)?),
        Version::V3 => (WireInterval::from_centis(u16::from_be_bytes([high, low])), Auth::None),
    };
    // RFC 9568 §5.2.5, erratum 8299: version 3 without addresses MUST be ignored. RFC 3768 §5.3.5
    // sets no minimum, and keepalived sends none when all its VIPs are excluded ones.
    if version == Version::V3 && count == 0 {
        return Err(Rejection::NoAddresses);
    }
    let address_bytes = usize::from(count) * if src.is_ipv4() { 4 } else { 16 };
    let addresses = read_addresses(rest.get(..address_bytes).unwrap_or_default(), src.is_ipv4());
    Ok(Advert { version, vrid, priority, interval, auth, addresses })
}

/// The authentication of a complete version 2 message (RFC 3768 §7.1).
fn read_auth(kind: u8, message: &[u8]) -> Result<Auth, Rejection> {
    match (kind, message.last_chunk::<AUTH_BYTES>()) {
        // The data is ignored (RFC 3768 §5.3.10).
        (AUTH_NONE, _) => Ok(Auth::None),
        (AUTH_PASS, Some(bytes)) => Ok(Auth::Pass(Secret(*bytes))),
        (_, _) => Err(Rejection::AuthType { received: kind }),
    }
}

fn read_addresses(bytes: &[u8], ipv4: bool) -> Vec<IpAddr> {
    if ipv4 {
        bytes.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets)).collect()
    } else {
        bytes.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets)).collect()
    }
}

fn checksum_is_good(message: &[u8], version: Version, src: IpAddr, dst: IpAddr) -> bool {
    // A sum that includes its own complement folds to all ones (RFC 1071 §1).
    let plain = sum(message);
    let good = |total: u32| fold(total) == u16::MAX;
    match (version, src) {
        (Version::V2, _) => good(plain),
        (Version::V3, IpAddr::V4(_)) => {
            good(plain + pseudo_header_sum(src, dst, message.len())) || good(plain)
        }
        (Version::V3, IpAddr::V6(_)) => good(plain + pseudo_header_sum(src, dst, message.len())),
    }
}

/// Sum of the 16-bit words (RFC 1071), not folded: a message is under 5 KB, so it fits.
fn sum(bytes: &[u8]) -> u32 {
    let (words, odd) = bytes.as_chunks::<2>();
    let last = odd.first().map_or(0, |byte| u32::from(*byte) << 8);
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>() + last
}

/// Sum of the pseudo-header of RFC 793 §3.1 (IPv4) or RFC 8200 §8.1 (IPv6), not folded.
fn pseudo_header_sum(src: IpAddr, dst: IpAddr, length: usize) -> u32 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    // A message is under 5 KB, so its length is one word.
    address(src) + address(dst) + u32::from(PROTOCOL) + length as u32
}

fn fold(mut sum: u32) -> u16 {
    while sum > u32::from(u16::MAX) {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
