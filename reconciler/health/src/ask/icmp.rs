//! Echo requests and replies (RFC 792, RFC 4443).
//!
//! A reply is taken only with the payload of its own request, which is made by chance: the reply to another
//! check, or to a `ping` that somebody runs, is none.

use std::net::IpAddr;

/// Length of a header.
const HEADER: usize = 8;
/// Code of requests and replies.
const CODE: u8 = 0;
/// Most bytes of an IPv4 header that lies before the message (RFC 791).
const IPV4_MAX: usize = 60;

/// An echo request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoRequest {
    message: Vec<u8>,
    reply_type: u8,
}

impl EchoRequest {
    /// A request to a target. The identifier counts only where the kernel sets none of its own.
    #[must_use]
    pub fn new(target: IpAddr, identifier: u16, nonce: [u8; 16]) -> Self {
        let (request_type, reply_type) = match target {
            IpAddr::V4(_) => (8, 0),
            IpAddr::V6(_) => (128, 129),
        };
        let mut message = vec![request_type, CODE, 0, 0];
        message.extend(identifier.to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message.extend(nonce);
        // The kernel puts in that of ICMPv6, which covers addresses that it knows.
        if target.is_ipv4() {
            let sum = checksum(&message).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
        }
        Self { message, reply_type }
    }

    /// The message to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether a message is the reply to this. Sockets of IPv4 may put the header of IP before it.
    #[must_use]
    pub fn is_answered_by(&self, datagram: &[u8]) -> bool {
        self.is_reply(datagram) || without_ipv4(datagram).is_some_and(|message| self.is_reply(message))
    }

    fn is_reply(&self, message: &[u8]) -> bool {
        message.get(..2) == Some(&[self.reply_type, CODE])
            && message.get(6..).is_some_and(|rest| Some(rest) == self.message.get(6..))
    }
}

/// Message behind the header of IPv4; none where there is no such header.
fn without_ipv4(datagram: &[u8]) -> Option<&[u8]> {
    let first = *datagram.first()?;
    let length = usize::from(first & 0xf) * 4;
    let is_one = first >> 4 == 4 && (20..=IPV4_MAX).contains(&length);
    datagram.get(length..).filter(|_| is_one)
}

/// The checksum of RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words =
        message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Length of an echo message, bytes.
pub const ECHO: usize = HEADER + 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; 16] = *b"0123456789abcdef";

    fn v4() -> EchoRequest {
        EchoRequest::new("192.0.2.1".parse().expect("an address"), 7, NONCE)
    }

    /// The reply to a request, whose identifier the kernel has set.
    fn reply(request: &EchoRequest) -> Vec<u8> {
        let mut message = request.message().to_vec();
        message[0] = request.reply_type;
        message[4..6].copy_from_slice(&[0xab, 0xcd]);
        message
    }

    #[test]
    fn a_request_is_as_the_rfcs_have_it() {
        let request = v4();
        assert_eq!(request.message().len(), ECHO);
        assert_eq!(request.message()[..2], [8, 0]);
        assert_eq!(request.message()[4..8], [0, 7, 0, 1]);
        assert_eq!(checksum(request.message()), 0, "with its checksum the sum is zero");
        let request = EchoRequest::new("2001:db8::1".parse().expect("an address"), 7, NONCE);
        assert_eq!(request.message()[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn only_its_own_reply_answers_a_request() {
        let request = v4();
        let good = reply(&request);
        assert!(request.is_answered_by(&good));
        let mut header = vec![0x45; 1];
        header.resize(20, 0);
        assert!(request.is_answered_by(&[&header[..], &good].concat()));
        header[0] = 0x46;
        header.resize(24, 0);
        assert!(request.is_answered_by(&[&header[..], &good].concat()), "with options");
        assert!(!request.is_answered_by(request.message()), "the request itself, as the loopback brings it");
        for at in [0, 1, 6, 7, 8, 23] {
            let mut other = good.clone();
            other[at] ^= 1;
            assert!(!request.is_answered_by(&other), "byte {at}");
        }
        assert!(!request.is_answered_by(&good[..23]));
        assert!(!request.is_answered_by(&[&good[..], b"x"].concat()));
        let other = EchoRequest::new("192.0.2.1".parse().expect("an address"), 7, [0; 16]);
        assert!(!other.is_answered_by(&good), "of another check of the same target");
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(!v4().is_answered_by(&bytes));
        }
    }
}
