//! Any bytes as a datagram and as an advertisement: taken apart without panic, and what is read can be
//! written and read again as the same.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_vrrp::{Checksum, GROUP_V4, GROUP_V6, decode, encode, split_ipv4};

/// Where the checksum of a message stands.
const CHECKSUM: std::ops::Range<usize> = 6..8;

fn round_trip(message: &[u8], src: IpAddr, dst: IpAddr) {
    let Ok(advert) = decode(message, src, dst) else { return };
    let mut out = Vec::new();
    for checksum in [Checksum::WithPseudoHeader, Checksum::Without] {
        encode(&advert, src, dst, checksum, &mut out);
        assert_eq!(decode(&out, src, dst).as_ref(), Ok(&advert), "{out:?}");
        assert!(out.len() <= message.len(), "{out:?}");
        for at in 0..out.len().min(8) {
            out[at] ^= 0x10;
            assert_ne!(decode(&out, src, dst).as_ref(), Ok(&advert), "byte {at} of {out:?}");
            out[at] ^= 0x10;
        }
    }
}

/// The message with a checksum that is right, or nothing gets past it.
fn mended(message: &[u8], version: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(first) = message.first_mut() {
        *first = version << 4 | 1;
    }
    let addresses = usize::from(message.get(3).copied().unwrap_or(0)) * 4;
    let end = (8 + addresses + if version == 2 { 8 } else { 0 }).min(message.len());
    if message.len() >= CHECKSUM.end {
        message[CHECKSUM].fill(0);
        let words = message[..end].chunks(2);
        let mut sum: u32 =
            words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        message[CHECKSUM].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    message
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(parts) = split_ipv4(bytes) {
        assert!(parts.payload.len() + 20 <= bytes.len());
        round_trip(parts.payload, parts.src.into(), parts.dst.into());
    }
    let v4 = Ipv4Addr::new(10, 9, 0, 1).into();
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into();
    round_trip(bytes, v4, GROUP_V4.into());
    round_trip(bytes, v6, GROUP_V6.into());
    round_trip(&mended(bytes, 2), v4, GROUP_V4.into());
    round_trip(&mended(bytes, 3), v4, GROUP_V4.into());
});
