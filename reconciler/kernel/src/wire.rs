//! Netlink's byte format: messages, attributes, both ways.
//!
//! Knows `struct nlmsghdr` and `struct nlattr` (`linux/netlink.h`) and nothing of what they carry. Bytes
//! from the kernel are never trusted: reading gives an error where a length does not fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER_LEN: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// `NLA_F_NESTED`: the attribute holds attributes.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: an attribute's type without its flags.
const TYPE_MASK: u16 = 0x3fff;

/// Bytes that are no netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Requests to be sent together, each complete but for its sequence number.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    /// Appends a message; `NLM_F_REQUEST` is set by itself.
    pub(crate) fn message(&mut self, kind: u16, flags: i32, body: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        self.starts.push(start);
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or_default();
        let mut writer = Writer { bytes: &mut self.bytes };
        writer.raw(&[0; 4]);
        writer.raw(&kind.to_ne_bytes());
        writer.raw(&flags.to_ne_bytes());
        writer.raw(&[0; 8]);
        body(&mut writer);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        put(&mut self.bytes, start, &length.to_ne_bytes());
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Takes all messages away.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// Number of messages.
    pub(crate) const fn len(&self) -> usize {
        self.starts.len()
    }

    /// Number of messages from `first` on that fit one send of at most `max_messages` and `max_bytes`; at
    /// least one.
    pub(crate) fn window(&self, first: usize, max_messages: usize, max_bytes: usize) -> usize {
        let start = self.start(first);
        let most = max_messages.min(self.len() - first);
        (1..=most).rev().find(|count| self.start(first + count) - start <= max_bytes).unwrap_or(1)
    }

    /// The bytes of `count` messages from `first` on, numbered from `sequence` on, the last one
    /// asking for an acknowledgement when `acknowledge` is set.
    pub(crate) fn numbered(&mut self, first: usize, count: usize, sequence: u32, acknowledge: bool) -> &[u8] {
        let mut number = sequence;
        for index in first..first + count {
            let start = self.start(index);
            put(&mut self.bytes, start + 8, &number.to_ne_bytes());
            number = number.wrapping_add(1);
        }
        if acknowledge {
            let at = self.start(first + count - 1) + 6;
            let flags = u16_at(&self.bytes, at).unwrap_or_default();
            let flags = flags | u16::try_from(libc::NLM_F_ACK).unwrap_or_default();
            put(&mut self.bytes, at, &flags.to_ne_bytes());
        }
        self.bytes.get(self.start(first)..self.start(first + count)).unwrap_or_default()
    }

    fn start(&self, index: usize) -> usize {
        self.starts.get(index).copied().unwrap_or(self.bytes.len())
    }
}

/// Overwrites bytes that are there; what is not there is not written.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Appends a message's body.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Bytes as they are: the family's fixed header.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// An attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        // A value that is too long gives a length that the kernel refuses.
        let length = u16::try_from(value.len() + ATTRIBUTE_HEADER_LEN).unwrap_or(u16::MAX);
        self.bytes.resize(aligned(self.bytes.len()), 0);
        self.raw(&length.to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// An 8-bit number.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.attribute(kind, &[value]);
    }

    /// A 16-bit number of the host's byte order.
    pub(crate) fn u16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// A 16-bit number of network byte order.
    pub(crate) fn be16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// A 32-bit number of the host's byte order.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// A text with its terminator.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// An address, 4 or 16 bytes.
    pub(crate) fn ip(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(v4) => self.attribute(kind, &v4.octets()),
            IpAddr::V6(v6) => self.attribute(kind, &v6.octets()),
        }
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        put(self.bytes, start, &length.to_ne_bytes());
    }
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`.
    pub(crate) sequence: u32,
    /// Bytes after the header.
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; ends after the first that is malformed.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut bytes);
        Some(split_message(rest).map(|(message, after)| {
            bytes = after;
            message
        }))
    })
}

fn split_message(bytes: &[u8]) -> Result<(Message<'_>, &[u8]), Malformed> {
    let length = usize::try_from(u32_at(bytes, 0)?).map_err(|_| Malformed)?;
    let message = Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        body: bytes.get(HEADER_LEN..length).ok_or(Malformed)?,
    };
    Ok((message, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// Type without flags.
    pub(crate) kind: u16,
    /// Value without padding.
    pub(crate) value: &'a [u8],
}

/// The attributes in `bytes`; ends after the first that is malformed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut bytes);
        Some(split_attribute(rest).map(|(attribute, after)| {
            bytes = after;
            attribute
        }))
    })
}

fn split_attribute(bytes: &[u8]) -> Result<(Attribute<'_>, &[u8]), Malformed> {
    let length = usize::from(u16_at(bytes, 0)?);
    let kind = u16_at(bytes, 2)? & TYPE_MASK;
    let value = bytes.get(ATTRIBUTE_HEADER_LEN..length).ok_or(Malformed)?;
    Ok((Attribute { kind, value }, bytes.get(aligned(length)..).unwrap_or_default()))
}

impl<'a> Attribute<'a> {
    /// An 8-bit number.
    pub(crate) fn u8(self) -> Result<u8, Malformed> {
        self.value.first().copied().ok_or(Malformed)
    }

    /// A 16-bit number of the host's byte order.
    pub(crate) fn u16(self) -> Result<u16, Malformed> {
        u16_at(self.value, 0)
    }

    /// A 16-bit number of network byte order.
    pub(crate) fn be16(self) -> Result<u16, Malformed> {
        self.u16().map(u16::from_be)
    }

    /// A 32-bit number of the host's byte order.
    pub(crate) fn u32(self) -> Result<u32, Malformed> {
        u32_at(self.value, 0)
    }

    /// A 64-bit number of the host's byte order.
    pub(crate) fn u64(self) -> Result<u64, Malformed> {
        let value = self.value.first_chunk().ok_or(Malformed)?;
        Ok(u64::from_ne_bytes(*value))
    }

    /// A text, up to its terminator.
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end).unwrap_or_default()).map_err(|_| Malformed)
    }

    /// An address: IPv4 of 4 bytes or IPv6 of 16.
    pub(crate) fn ip(self) -> Result<IpAddr, Malformed> {
        if let Ok(v4) = <[u8; 4]>::try_from(self.value) {
            return Ok(Ipv4Addr::from(v4).into());
        }
        <[u8; 16]>::try_from(self.value).map(|v6| Ipv6Addr::from(v6).into()).map_err(|_| Malformed)
    }
}

/// The byte at `at`.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, Malformed> {
    bytes.get(at).copied().ok_or(Malformed)
}

/// The 16-bit number of the host's byte order at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let value = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u16::from_ne_bytes(*value))
}

/// The 32-bit number of the host's byte order at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let value = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u32::from_ne_bytes(*value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let mut batch = Batch::default();
        batch.message(20, libc::NLM_F_CREATE, |w| {
            w.raw(&[2, 32, 0, 0]);
            w.u8(11, 0xEE);
            w.nest(1, |w| w.be16(2, 80));
        });
        let bytes = batch.numbered(0, 1, 7, true);
        #[rustfmt::skip]
        let wanted: [u8; 40] = [
            40, 0, 0, 0,  20, 0,  0x05, 0x04,  7, 0, 0, 0,  0, 0, 0, 0,
            2, 32, 0, 0,
            5, 0, 11, 0,  0xEE, 0, 0, 0,
            12, 0, 1, 0x80,  6, 0, 2, 0,  0, 80, 0, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(bytes, wanted);
        }
        let message = messages(bytes).next().expect("one message").expect("well-formed");
        assert_eq!((message.kind, message.sequence), (20, 7));
        let found: Vec<_> = attributes(&message.body[4..]).collect::<Result<_, _>>().expect("well-formed");
        assert_eq!(found[0].u8(), Ok(0xEE));
        let inner = attributes(found[1].value).next().expect("one").expect("well-formed");
        assert_eq!(inner.be16(), Ok(80));
    }

    #[test]
    fn windows_keep_both_limits_and_never_stall() {
        let mut batch = Batch::default();
        for _ in 0..10 {
            batch.message(1, 0, |w| w.raw(&[0; 84]));
        }
        assert_eq!(batch.window(0, 4, 10_000), 4);
        assert_eq!(batch.window(8, 4, 10_000), 2);
        assert_eq!(batch.window(0, 10, 250), 2);
        assert_eq!(batch.window(0, 10, 50), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for message in messages(&bytes) {
                prop_assert!(message.is_err() || message.is_ok_and(|m| m.body.len() < bytes.len()));
            }
            for attribute in attributes(&bytes).flatten() {
                let _ = (attribute.u8(), attribute.be16(), attribute.u32(), attribute.text(), attribute.ip());
            }
        }

        #[test]
        fn attributes_survive_the_round_trip(
            values in prop::collection::vec((1_u16..100, prop::collection::vec(any::<u8>(), 0..40)), 0..10),
        ) {
            let mut batch = Batch::default();
            batch.message(1, 0, |w| values.iter().for_each(|(kind, value)| w.attribute(*kind, value)));
            let bytes = batch.numbered(0, 1, 0, false);
            let message = messages(bytes).next().expect("one message").expect("well-formed");
            let read: Vec<(u16, Vec<u8>)> = attributes(message.body)
                .map(|a| a.map(|a| (a.kind, a.value.to_vec())))
                .collect::<Result<_, _>>()
                .expect("well-formed");
            prop_assert_eq!(read, values);
        }
    }
}
