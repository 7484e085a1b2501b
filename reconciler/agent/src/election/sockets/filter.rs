//! Filters in the kernel (classic BPF, packet(7)): only frames that matter wake the election thread.
//!
//! Programs only; which socket gets one is decided where the socket is opened.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_vrrp::{GROUP_V4, PROTOCOL};
use socket2::SockFilter;

/// Most addresses of a family that a filter names: it then has at most 2,300 of the 4,096 instructions
/// that the kernel takes. With more addresses every claim passes.
const MAX_NAMED: usize = 255;

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_LD | BPF_H | BPF_ABS`, `BPF_LD | BPF_B | BPF_ABS`,
/// `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K` (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Bytes of a frame that pass: all, since a checksum covers all.
const WHOLE: u32 = u32::MAX;
/// Bytes that pass where only headers are read: Ethernet and IPv6.
const HEADERS: u32 = 54;

fn load(size: u16, at: u32) -> SockFilter {
    SockFilter::new(size, 0, 0, at)
}

/// Goes on when the loaded value equals `value`, skips `otherwise` instructions when not.
fn equal(value: u32, otherwise: u8) -> SockFilter {
    SockFilter::new(JUMP_IF_EQUAL, 0, otherwise, value)
}

fn give(bytes: u32) -> SockFilter {
    SockFilter::new(RETURN, 0, 0, bytes)
}

/// Passes ARP of senders with one of these addresses.
pub(super) fn arp(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    if addresses.len() > MAX_NAMED {
        program.push(give(WHOLE));
        return program;
    }
    // The sender's address (RFC 826), behind the Ethernet header.
    program.push(load(LOAD_WORD, 28));
    for address in addresses {
        program.extend([equal(address.to_bits(), 1), give(WHOLE)]);
    }
    program.push(give(0));
    program
}

/// Passes neighbour advertisements for one of these addresses.
pub(super) fn neighbour_advertisements(addresses: &[Ipv6Addr]) -> Vec<SockFilter> {
    // IPv6, next header ICMPv6 (58), type 136 (RFC 4861 §4.4). What fails a test goes to the `give(0)`
    // below; what passes the last one skips it.
    let mut program = vec![load(LOAD_HALF, 12), equal(0x86dd, 4), load(LOAD_BYTE, 20), equal(58, 2)];
    program.extend([load(LOAD_BYTE, 54), SockFilter::new(JUMP_IF_EQUAL, 1, 0, 136), give(0)]);
    if addresses.len() > MAX_NAMED {
        program.push(give(WHOLE));
        return program;
    }
    for address in addresses {
        let words = address.to_bits().to_be_bytes();
        let (words, _) = words.as_chunks::<4>();
        for (index, word) in words.iter().enumerate() {
            let left = (words.len() - index) as u8 * 2 - 1;
            program.push(load(LOAD_WORD, 62 + index as u32 * 4));
            program.push(equal(u32::from_be_bytes(*word), left));
        }
        program.push(give(WHOLE));
    }
    program.push(give(0));
    program
}

/// Passes packets of a protocol, whose number stands at byte `at`.
pub(super) fn protocol(at: u32, number: u8) -> Vec<SockFilter> {
    vec![load(LOAD_BYTE, at), equal(u32::from(number), 1), give(HEADERS), give(0)]
}

/// Passes VRRP (protocol 112) to its IPv4 group; packets begin with their IP header.
pub(super) fn multicast_advertisements() -> Vec<SockFilter> {
    vec![
        load(LOAD_BYTE, 9),
        equal(u32::from(PROTOCOL), 3),
        load(LOAD_WORD, 16),
        equal(GROUP_V4.to_bits(), 1),
        give(u32::MAX),
        give(0),
    ]
}

/// The addresses of one family, in order.
pub(super) fn split(addresses: impl IntoIterator<Item = IpAddr>) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.push(address),
            IpAddr::V6(address) => v6.push(address),
        }
    }
    (v4, v6)
}

#[cfg(test)]
mod tests {
    use super::super::frames::{announcement, probe};
    use super::*;
    use socket2::{Domain, Socket, Type};

    /// Whether the kernel lets a frame through.
    fn passes(program: &[SockFilter], frame: &[u8]) -> bool {
        let (to, from) = Socket::pair(Domain::UNIX, Type::DGRAM, None).expect("pair");
        to.attach_filter(program).expect("the kernel takes the program");
        to.set_nonblocking(true).expect("nonblocking");
        from.send(frame).ok();
        to.peek(&mut [std::mem::MaybeUninit::uninit(); 8]).is_ok()
    }

    #[test]
    fn claims_of_named_addresses_pass_and_nothing_else_does() {
        let mac = [2, 0, 0, 0, 0, 1];
        let v4: Vec<Ipv4Addr> = (0..MAX_NAMED as u32).map(|n| Ipv4Addr::from_bits(0x0a09_0000 + n)).collect();
        let v6: Vec<Ipv6Addr> = v4.iter().map(|v4| v4.to_ipv6_mapped()).collect();
        let (arp, advertisements) = (arp(&v4), neighbour_advertisements(&v6));
        for (v4, v6) in v4.iter().zip(&v6) {
            assert!(passes(&arp, &announcement(mac, (*v4).into(), false)), "{v4}");
            assert!(passes(&advertisements, &announcement(mac, (*v6).into(), false)), "{v6}");
            assert!(!passes(&advertisements, &probe(mac, (*v6).into())), "{v6}");
        }
        let stranger = Ipv4Addr::new(10, 9, 1, 0);
        assert!(!passes(&arp, &announcement(mac, stranger.into(), false)));
        assert!(!passes(&arp, &probe(mac, v4[0].into())));
        assert!(!passes(&advertisements, &announcement(mac, stranger.to_ipv6_mapped().into(), false)));
        assert!(!passes(&advertisements, &[0; 100]));
        assert!(!passes(&advertisements, &[]));
    }

    #[test]
    fn advertisements_to_the_group_pass_and_other_packets_do_not() {
        let packet = |protocol: u8, destination: [u8; 4]| {
            let mut packet = vec![0x45; 40];
            packet[9] = protocol;
            packet[16..20].copy_from_slice(&destination);
            packet
        };
        let program = multicast_advertisements();
        assert!(passes(&program, &packet(112, [224, 0, 0, 18])));
        assert!(!passes(&program, &packet(17, [224, 0, 0, 18])));
        assert!(!passes(&program, &packet(112, [10, 9, 0, 1])));
        assert!(!passes(&program, &[0x45; 12]));
    }

    #[test]
    fn with_too_many_addresses_to_name_every_claim_passes() {
        let many: Vec<Ipv6Addr> = (0..300_u128).map(Ipv6Addr::from_bits).collect();
        let program = neighbour_advertisements(&many);
        let stranger = announcement([2, 0, 0, 0, 0, 1], "2001:db8::9".parse().expect("address"), false);
        assert!(passes(&program, &stranger));
        assert!(!passes(&program, &[0; 100]));
    }
}
