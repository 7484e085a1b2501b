//! The IPv4 header that a raw socket delivers in front of the payload (RFC 791 §3.1).
//!
//! Only what stands between a datagram and [`crate::decode`]; the kernel has checked the header's
//! checksum.

use std::fmt;
use std::net::Ipv4Addr;

/// Bytes of a header without options.
const MIN_HEADER_BYTES: usize = 20;

/// Parts of an IPv4 datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Parts<'a> {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload; VRRP is [`crate::PROTOCOL`].
    pub protocol: u8,
    /// The payload, without options and without Ethernet padding.
    pub payload: &'a [u8],
}

/// Why bytes are not a whole IPv4 datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitError {
    /// Fewer bytes than a header has, or than its header length says.
    Truncated,
    /// Not version 4.
    Version,
    /// A header length below 20 bytes, or beyond the total length.
    HeaderLength,
    /// A total length beyond what was received.
    TotalLength,
    /// A fragment: an advertisement is never one, and raw sockets deliver whole datagrams.
    Fragment,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "IPv4 header is truncated",
            Self::Version => "not an IPv4 packet",
            Self::HeaderLength => "IPv4 header length is wrong",
            Self::TotalLength => "IPv4 packet is longer than what was received",
            Self::Fragment => "IPv4 packet is a fragment",
        })
    }
}

impl std::error::Error for SplitError {}

/// Takes a datagram from a raw socket apart.
///
/// # Errors
/// When it is not one whole IPv4 datagram.
pub fn split_ipv4(datagram: &[u8]) -> Result<Ipv4Parts<'_>, SplitError> {
    let Some(header) = datagram.first_chunk::<MIN_HEADER_BYTES>() else {
        return Err(SplitError::Truncated);
    };
    if header[0] >> 4 != 4 {
        return Err(SplitError::Version);
    }
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_bytes < MIN_HEADER_BYTES || total_bytes < header_bytes {
        return Err(SplitError::HeaderLength);
    }
    // More fragments (0x2000) or a fragment offset (0x1fff); "don't fragment" is fine.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(SplitError::Fragment);
    }
    let payload = datagram.get(header_bytes..total_bytes).ok_or(SplitError::TotalLength)?;
    Ok(Ipv4Parts {
        src: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
        dst: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        ttl: header[8],
        protocol: header[9],
        payload,
    })
}
