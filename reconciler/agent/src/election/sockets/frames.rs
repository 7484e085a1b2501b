//! Frames that announce an address, or probe for it: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC
//! 4861), with their Ethernet headers. Bytes only, no socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// A hardware address as people write it: `02:00:00:00:00:01`.
pub(crate) fn mac_text(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Bytes of an ARP packet for IPv4 over Ethernet, with its Ethernet header.
const ARP_FRAME: usize = 42;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an IPv6 header without extensions.
const IPV6: usize = 40;
/// Neighbour discovery's protocol.
const ICMPV6: u8 = 58;
/// Types of messages (RFC 4861 §4.3, §4.4).
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Flags of a neighbour advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Options with a link-layer address.
const TARGET_LINK_LAYER: u8 = 2;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A frame by which the segment learns that `vip` is at `mac`. `forwards` is whether the host forwards IPv6:
/// its neighbours take an advertisement without the router flag for the end of a router (RFC 4861 §7.2.5).
pub(crate) fn announcement(mac: Mac, vip: IpAddr, forwards: bool) -> Vec<u8> {
    match vip {
        // A request of the address for itself (RFC 5227 §3).
        IpAddr::V4(vip) => arp_request(mac, vip, vip, BROADCAST),
        IpAddr::V6(vip) => {
            let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0];
            message.extend([if forwards { OVERRIDE | ROUTER } else { OVERRIDE }, 0, 0, 0]);
            message.extend(vip.octets());
            message.extend([TARGET_LINK_LAYER, 1]);
            message.extend(mac);
            icmpv6(mac, [0x33, 0x33, 0, 0, 0, 1], vip, ALL_NODES, message)
        }
    }
}

/// A probe for others with `vip`, without a sender's address (RFC 5227 §2.1.1,
/// RFC 4862 §5.4.2).
pub(crate) fn probe(mac: Mac, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp_request(mac, Ipv4Addr::UNSPECIFIED, vip, [0; 6]),
        IpAddr::V6(vip) => {
            let [.., a, b, c] = vip.octets();
            let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
            let mut message = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            message.extend(vip.octets());
            icmpv6(mac, [0x33, 0x33, 0xff, a, b, c], Ipv6Addr::UNSPECIFIED, group, message)
        }
    }
}

/// The hardware address and the IP address that a frame claims; `None` when it is neither ARP nor a neighbour
/// advertisement that hosts take.
pub(crate) fn claim(frame: &[u8]) -> Option<(Mac, IpAddr)> {
    let mac = |at: usize| frame.get(at..at + 6)?.try_into().ok();
    match *frame.get(12..ETHERNET)? {
        // Ethernet and IPv4, addresses of 6 and 4 bytes.
        [0x08, 0x06] if *frame.get(14..20)? == [0, 1, 8, 0, 6, 4] => {
            // Request or reply.
            if !matches!(*frame.get(20..22)?, [0, 1 | 2]) {
                return None;
            }
            let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            Some((mac(22)?, Ipv4Addr::from(sender).into()))
        }
        [0x86, 0xdd] => Some((mac(6)?, advertised(frame.get(ETHERNET..)?)?.into())),
        _ => None,
    }
}

/// The address that an IPv6 packet advertises, if it is a neighbour advertisement that a host must take (RFC
/// 4861 §7.1.2): hop limit 255, so that it was not routed; a right checksum; code 0; 24 bytes or more; no
/// option of length 0; a target that is no group; not solicited if it is sent to a group. Anything else
/// claims nothing.
fn advertised(packet: &[u8]) -> Option<Ipv6Addr> {
    let (header, rest) = packet.split_first_chunk::<IPV6>()?;
    let [version, _, _, _, high, low, next, hops, addresses @ ..] = header;
    // What follows the message is padding; one that is cut cannot be checked.
    let message = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
    let (fields, options) = message.split_first_chunk::<24>()?;
    let [kind, code, _, _, flags, _, _, _, target @ ..] = fields;
    if version >> 4 != 6 || *next != ICMPV6 || *hops != 255 {
        return None;
    }
    if *kind != NEIGHBOUR_ADVERTISEMENT || *code != 0 {
        return None;
    }
    let (source, destination) = addresses.split_at_checked(16)?;
    let [source, destination] =
        [source, destination].map(|address| <[u8; 16]>::try_from(address).map(Ipv6Addr::from));
    let (source, destination, target) = (source.ok()?, destination.ok()?, Ipv6Addr::from(*target));
    // The sum over all, its own complement included, is zero.
    if checksum(source, destination, message) != 0 || target.is_multicast() {
        return None;
    }
    if destination.is_multicast() && flags & SOLICITED != 0 {
        return None;
    }
    options_are_whole(options).then_some(target)
}

/// Whether each option has a length and fits (RFC 4861 §4.6: in units of 8 bytes, zero is invalid).
fn options_are_whole(mut options: &[u8]) -> bool {
    while let [_, length, ..] = options {
        match options.get(usize::from(*length) * 8..) {
            Some(rest) if *length > 0 => options = rest,
            _ => return false,
        }
    }
    options.is_empty()
}

fn arp_request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr, target_mac: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ARP_FRAME);
    frame.extend(BROADCAST);
    frame.extend(mac);
    // EtherType ARP; hardware Ethernet, protocol IPv4, lengths 6 and 4, operation request.
    frame.extend([0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend(target_mac);
    frame.extend(target.octets());
    frame
}

/// A neighbour discovery message with its headers; its checksum field is zero before.
fn icmpv6(mac: Mac, to: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(source, destination, &message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = Vec::with_capacity(ETHERNET + IPV6 + message.len());
    frame.extend(to);
    frame.extend(mac);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    // A message is at most 32 bytes.
    frame.extend((message.len() as u16).to_be_bytes());
    // Hop limit 255: what was routed is ignored (RFC 4861 §7.1).
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

/// RFC 4443 §2.3.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let parts: [&[u8]; 5] = [&source.octets(), &destination.octets(), &length, &[0, 0, 0, ICMPV6], message];
    let words = parts.iter().flat_map(|part| part.as_chunks::<2>().0);
    let odd = message.as_chunks::<2>().1.first().map_or(0, |last| u32::from(*last) << 8);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>() + odd;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn gratuitous_arp_is_a_request_of_the_vip_for_itself() {
        let frame = announcement(MAC, "192.168.188.120".parse().expect("address"), false);
        assert_eq!(
            hex(&frame),
            "ffffffffffff02000000000108060001080006040001020000000001c0a8bc78ffffffffffffc0a8bc78"
        );
        assert_eq!(claim(&frame), Some((MAC, "192.168.188.120".parse().expect("address"))));
    }

    #[test]
    fn an_advertisement_of_a_neighbour_overrides_and_tells_of_a_router_that_forwards() {
        let vip: IpAddr = "2001:db8::56".parse().expect("address");
        let frame = announcement(MAC, vip, false);
        let headers = "33330000000102000000000186dd6000000000203aff";
        assert_eq!(hex(&frame[..22]), headers);
        assert_eq!(hex(&frame[22..54]), "20010db8000000000000000000000056ff020000000000000000000000000001");
        assert_eq!((hex(&frame[54..56]), hex(&frame[58..62])), ("8800".to_owned(), "20000000".to_owned()));
        assert_eq!(hex(&frame[62..]), "20010db80000000000000000000000560201020000000001");
        assert_eq!(claim(&frame), Some((MAC, vip)));
        assert_eq!(announcement(MAC, vip, true)[58], 0xa0);
        // The sum over all, its checksum included, is zero.
        let source = "2001:db8::56".parse().expect("address");
        assert_eq!(checksum(source, ALL_NODES, &frame[54..]), 0);
    }

    /// RFC 4861 §7.1.2, each rule by itself. A changed field of the message gets a right checksum, unless the
    /// checksum is what is wrong.
    #[test]
    fn an_advertisement_that_no_host_may_take_claims_nothing() {
        let vip: Ipv6Addr = "2001:db8::56".parse().expect("address");
        let good = announcement(MAC, vip.into(), false);
        let changed = |at: usize, value: u8, sealed: bool| {
            let mut frame = good.clone();
            frame[at] = value;
            if sealed {
                frame[56..58].fill(0);
                let address =
                    |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).expect("16"));
                let sum = checksum(address(22), address(38), &frame[54..]);
                frame[56..58].copy_from_slice(&sum.to_be_bytes());
            }
            claim(&frame)
        };
        assert_eq!(changed(58, 0x20, true), Some((MAC, vip.into())), "as it was");
        assert_eq!(changed(21, 64, false), None, "hop limit");
        assert_eq!(changed(21, 254, false), None, "routed once");
        assert_eq!(changed(56, good[56] ^ 1, false), None, "checksum");
        assert_eq!(changed(70, good[70] ^ 1, false), None, "target, by a bit");
        assert_eq!(changed(54, 135, true), None, "a solicitation");
        assert_eq!(changed(55, 1, true), None, "code");
        assert_eq!(changed(58, 0x60, true), None, "solicited, to a group");
        assert_eq!(changed(62, 0xff, true), None, "the target is a group");
        assert_eq!(changed(79, 0, true), None, "an option without length");
        assert_eq!(changed(79, 2, true), None, "an option that is cut");
        assert_eq!(changed(14, 0x40, true), None, "version");
        assert_eq!(changed(20, 17, false), None, "protocol");
        assert_eq!(changed(19, 31, true), None, "a length that cuts its option");
        assert_eq!(changed(19, 33, true), None, "longer than the frame");
        assert_eq!(changed(19, 23, true), None, "too short");
        // Behind the message there may be padding, and without options it is whole as well.
        let padded = [good.clone(), vec![0; 8]].concat();
        assert_eq!(claim(&padded), Some((MAC, vip.into())));
        let mut short = good[..78].to_vec();
        short[19] = 24;
        short[56..58].fill(0);
        let sum = checksum(vip, ALL_NODES, &short[54..]);
        short[56..58].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(claim(&short), Some((MAC, vip.into())));
    }

    #[test]
    fn a_probe_claims_nothing() {
        let v4 = probe(MAC, "192.168.188.120".parse().expect("address"));
        assert_eq!(claim(&v4), Some((MAC, Ipv4Addr::UNSPECIFIED.into())));
        let v6 = probe(MAC, "2001:db8::1:56".parse().expect("address"));
        assert_eq!(claim(&v6), None);
        assert_eq!(hex(&v6[..6]), "3333ff010056");
        assert_eq!(hex(&v6[38..54]), "ff0200000000000000000001ff010056");
    }

    #[test]
    fn what_is_cut_off_or_something_else_claims_nothing() {
        for vip in ["192.168.188.120", "2001:db8::56"] {
            let frame = announcement(MAC, vip.parse().expect("address"), false);
            for length in 0..frame.len() {
                let cut = claim(&frame[..length]);
                assert!(cut.is_none() || (length >= 32 && vip.contains('.')), "{length}");
            }
        }
        let mut arp = announcement(MAC, "192.168.188.120".parse().expect("address"), false);
        arp[21] = 3;
        assert_eq!(claim(&arp), None, "an operation of RARP");
        assert_eq!(claim(&[0; 60]), None);
    }
}
