//! Packets as keepalived sends them, byte for byte in both directions, and what is wrong on the wire.
//!
//! The vectors were captured from keepalived 2.2.7. No transition of the state machine here.

#[path = "support/support.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_vrrp::{
    Advert, Auth, Checksum, Config, Delivery, GROUP_V4, GROUP_V6, Input, Ipv4Parts, Output, Rejection,
    Secret, SplitError, Version, VirtualRouter, WireInterval, decode, encode, split_ipv4,
};
use support::{ip, ips, priority, vrid};

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect(text)).collect()
}

/// Bytes and value are each other, with `checksum`, between `src` and the group of its family.
fn check(hex: &str, src: &str, checksum: Checksum, advert: &Advert) {
    let (src, wire) = (ip(src), unhex(hex));
    let dst = if src.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
    assert_eq!(decode(&wire, src, dst).as_ref(), Ok(advert), "decode {hex}");
    let mut out = vec![0xee; 3];
    encode(advert, src, dst, checksum, &mut out);
    assert_eq!(out, wire, "encode {advert:?}");
    // A short frame arrives padded to Ethernet's 46 bytes.
    let mut padded = wire.clone();
    padded.resize(46.max(wire.len()), 0);
    assert_eq!(decode(&padded, src, dst).as_ref(), Ok(advert), "padded {hex}");
}

fn v2(number: u8, priority: u8, auth: Auth, addresses: &[&str]) -> Advert {
    Advert {
        version: Version::V2,
        vrid: vrid(number),
        priority,
        interval: WireInterval::from_secs(1),
        auth,
        addresses: ips(addresses),
    }
}

#[test]
fn version_2_with_a_password_cut_to_eight_bytes() {
    let auth = Auth::Pass(Secret::from_text("longpassword123"));
    check(
        "21339602010174420a0900640a0900656c6f6e6770617373",
        "10.9.0.1",
        Checksum::WithPseudoHeader,
        &v2(51, 150, auth, &["10.9.0.100", "10.9.0.101"]),
    );
}

#[test]
fn version_2_with_a_padded_password() {
    let auth = Auth::Pass(Secret::from_text("abc"));
    check(
        "213464010101aaf70a0900666162630000000000",
        "10.9.0.1",
        Checksum::WithPseudoHeader,
        &v2(52, 100, auth, &["10.9.0.102"]),
    );
}

#[test]
fn version_2_without_authentication_has_eight_zero_bytes() {
    check(
        "213501010001d3580a0900670000000000000000",
        "10.9.0.1",
        Checksum::Without,
        &v2(53, 1, Auth::None, &["10.9.0.103"]),
    );
}

fn v3() -> Advert {
    Advert {
        version: Version::V3,
        vrid: vrid(54),
        priority: 254,
        interval: WireInterval::from_centis(50),
        auth: Auth::None,
        addresses: ips(&["10.9.0.104"]),
    }
}

#[test]
fn version_3_with_the_pseudo_header() {
    check("3136fe010032db8b0a090068", "10.9.0.1", Checksum::WithPseudoHeader, &v3());
}

/// RFC 9568 §5.2.8. The sum by hand: 3136 + fe01 + 0032 + 0a09 + 0068 = 139da, folded 39db,
/// complement c624.
#[test]
fn version_3_without_the_pseudo_header() {
    check("3136fe010032c6240a090068", "10.9.0.1", Checksum::Without, &v3());
}

#[test]
fn version_3_over_ipv6() {
    let advert = Advert {
        version: Version::V3,
        vrid: vrid(56),
        priority: 200,
        interval: WireInterval::from_centis(100),
        auth: Auth::None,
        addresses: ips(&["fe80::56", "2001:db8:9::56"]),
    };
    for checksum in [Checksum::WithPseudoHeader, Checksum::Without] {
        check(
            "3138c802006447e8fe80000000000000000000000000005620010db8000900000000000000000056",
            "fe80::48d9:17ff:fef0:3392",
            checksum,
            &advert,
        );
    }
}

/// The first advertisement of a Master with this configuration.
fn claim(config: Config) -> (String, IpAddr, u8) {
    let mut router = VirtualRouter::new(config);
    router.handle(Input::Adopt, support::at(0));
    match router.poll_output() {
        Some(Output::Transmit { bytes, dst, ttl, .. }) => {
            (bytes.iter().map(|byte| format!("{byte:02x}")).collect(), dst, ttl)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn routers_send_what_keepalived_sends() {
    let v2 = |number: u8, rank: u8, auth: Option<&str>, vips: &[&str]| Config {
        vrid: vrid(number),
        priority: priority(rank),
        auth: auth.map(Secret::from_text),
        source: ip("10.9.0.1"),
        vips: ips(vips),
        ..support::config()
    };
    let v3 = |number: u8, rank: u8, cs: u16, source: &str, vips: &[&str]| Config {
        version: Version::V3,
        interval: support::centis(cs),
        source: ip(source),
        ..v2(number, rank, None, vips)
    };
    let ll = "fe80::48d9:17ff:fef0:3392";
    for (config, wire) in [
        (
            v2(51, 150, Some("longpassword123"), &["10.9.0.100", "10.9.0.101"]),
            "21339602010174420a0900640a0900656c6f6e6770617373",
        ),
        (v2(52, 100, Some("abc"), &["10.9.0.102"]), "213464010101aaf70a0900666162630000000000"),
        (v2(53, 1, None, &["10.9.0.103"]), "213501010001d3580a0900670000000000000000"),
        (v3(54, 254, 50, "10.9.0.1", &["10.9.0.104"]), "3136fe010032db8b0a090068"),
        (
            v3(56, 200, 100, ll, &["fe80::56", "2001:db8:9::56"]),
            "3138c802006447e8fe80000000000000000000000000005620010db8000900000000000000000056",
        ),
    ] {
        let group = if config.source.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
        assert_eq!(claim(config), (wire.to_owned(), group, 255));
    }
}

/// Version 2 has the same bytes for everybody; the pseudo-header of version 3 has the peer in it. The sum by
/// hand: 224.0.0.18 adds e000 + 0012, 10.9.0.7 adds 0a09 + 0007, so the complement grows by d602.
#[test]
fn the_pseudo_header_has_the_peer() {
    let delivery = || Delivery::Unicast { peers: ips(&["10.9.0.7"]), ttl: 64, min_ttl: 64 };
    let v3 = Config {
        vrid: vrid(54),
        priority: priority(254),
        interval: support::centis(50),
        source: ip("10.9.0.1"),
        vips: ips(&["10.9.0.104"]),
        delivery: delivery(),
        ..support::config_v3()
    };
    // db8b + d602 = 1b18d, folded b18e.
    assert_eq!(claim(v3), ("3136fe010032b18e0a090068".to_owned(), ip("10.9.0.7"), 64));
    let v2 = Config {
        vrid: vrid(52),
        auth: Some(Secret::from_text("abc")),
        source: ip("10.9.0.1"),
        vips: ips(&["10.9.0.102"]),
        delivery: delivery(),
        ..support::config()
    };
    assert_eq!(claim(v2).0, "213464010101aaf70a0900666162630000000000");
}

/// Recomputes the checksum (the plain one, which both versions accept over IPv4) after an edit.
fn edited(hex: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut wire = unhex(hex);
    edit(&mut wire);
    wire[6..8].fill(0);
    let mut sum: u32 =
        wire.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    wire[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    wire
}

fn rejects(wire: &[u8], rejection: Rejection) {
    assert_eq!(decode(wire, ip("10.9.0.1"), GROUP_V4.into()), Err(rejection), "{wire:02x?}");
}

#[test]
fn malformed_messages_are_rejected_with_the_reason() {
    const V2: &str = "213464010101aaf70a0900666162630000000000";
    const V3: &str = "3136fe010032db8b0a090068";
    rejects(&[], Rejection::Length { bytes: 0, needed: 8 });
    rejects(&unhex("21346401010101"), Rejection::Length { bytes: 7, needed: 8 });
    rejects(&unhex(V2)[..19], Rejection::Length { bytes: 19, needed: 20 });
    rejects(&unhex(V3)[..11], Rejection::Length { bytes: 11, needed: 12 });
    rejects(&edited(V2, |w| w[3] = 2), Rejection::Length { bytes: 20, needed: 24 });
    rejects(&edited(V2, |w| w[0] = 0x11), Rejection::Version { received: 1 });
    rejects(&edited(V2, |w| w[0] = 0x41), Rejection::Version { received: 4 });
    rejects(&edited(V2, |w| w[0] = 0x22), Rejection::Type { received: 2 });
    rejects(&edited(V3, |w| w[0] = 0x30), Rejection::Type { received: 0 });
    rejects(&edited(V2, |w| w[1] = 0), Rejection::Vrid { received: 0 });
    rejects(&edited(V2, |w| w[4] = 2), Rejection::AuthType { received: 2 });
    rejects(&edited("3136fe000032db8b", |_| {}), Rejection::NoAddresses);
    for flipped in 0..20 {
        let mut wire = unhex(V2);
        // The low bit of the version would be another rejection.
        wire[flipped] ^= if flipped == 0 { 0 } else { 0x04 };
        if flipped != 0 && flipped != 3 {
            rejects(&wire, Rejection::Checksum);
        }
    }
}

#[test]
fn families_must_fit() {
    let wire = unhex("213464010101aaf70a0900666162630000000000");
    assert_eq!(decode(&wire, ip("fe80::1"), GROUP_V6.into()), Err(Rejection::Family));
    assert_eq!(decode(&wire, ip("10.9.0.1"), GROUP_V6.into()), Err(Rejection::Family));
}

/// RFC 9568 §5.2.6: reserved bits MUST be ignored.
#[test]
fn reserved_bits_of_version_3_are_ignored() {
    let wire = edited("3136fe010032db8b0a090068", |w| w[4] |= 0xf0);
    assert_eq!(decode(&wire, ip("10.9.0.1"), GROUP_V4.into()), Ok(v3()));
}

#[test]
fn version_2_may_have_no_address_and_any_interval() {
    let wire = edited("213464000001000000000000000000000000", |w| {
        w.truncate(16);
        w[5] = 255;
    });
    let advert = decode(&wire, ip("10.9.0.1"), GROUP_V4.into()).expect("accepted");
    assert_eq!((advert.addresses.len(), advert.interval.as_centis()), (0, 25_500));
    assert_eq!(advert.interval.to_interval(), None);
}

#[test]
fn encoding_leaves_out_what_has_no_place() {
    let mut advert = v3();
    advert.addresses = (0..300).map(|n| IpAddr::from(Ipv4Addr::from_bits(n))).collect();
    advert.addresses.insert(0, ip("2001:db8::1"));
    let (src, mut out) = (ip("10.9.0.1"), Vec::new());
    encode(&advert, src, GROUP_V4.into(), Checksum::Without, &mut out);
    let decoded = decode(&out, src, GROUP_V4.into()).expect("decodes");
    assert_eq!(decoded.addresses, advert.addresses[1..256]);
}

#[test]
fn passwords_are_not_shown() {
    let advert = v2(1, 1, Auth::Pass(Secret::from_text("hell>com")), &[]);
    let mut router = evenkeel_vrrp::VirtualRouter::new(support::config());
    router.handle(evenkeel_vrrp::Input::Adopt, support::at(0));
    let undrained = format!("{router:?}");
    let payload = support::bytes(&advert, ip("10.9.0.1"));
    let input = evenkeel_vrrp::Input::Packet(support::received(&payload, ip("10.9.0.1")));
    let texts = [format!("{advert:?}"), format!("{:?}", support::config()), format!("{input:?}")];
    for text in texts.into_iter().chain([undrained]) {
        assert!(!text.contains("hell") && !text.contains("104"), "{text}");
    }
}

/// A header for `payload` bytes, with options up to `header_bytes`.
fn datagram(header_bytes: u8, payload: usize) -> Vec<u8> {
    let total = u16::from(header_bytes) + payload as u16;
    let mut bytes =
        vec![0x40 | (header_bytes / 4), 0xc0, (total >> 8) as u8, total as u8, 0, 0, 0x40, 0, 255, 112];
    bytes.extend([0, 0, 10, 9, 0, 1, 224, 0, 0, 18]);
    bytes.resize(usize::from(header_bytes), 1);
    bytes.extend((0..payload).map(|n| n as u8));
    bytes
}

#[test]
fn ipv4_headers_are_split_off() {
    for (header_bytes, padding) in [(20, 0), (20, 10), (24, 0), (60, 3)] {
        let mut bytes = datagram(header_bytes, 12);
        bytes.resize(bytes.len() + padding, 0xee);
        let parts = split_ipv4(&bytes).expect("splits");
        let payload: Vec<u8> = (0..12).collect();
        let (src, dst) = (Ipv4Addr::new(10, 9, 0, 1), GROUP_V4);
        assert_eq!(parts, Ipv4Parts { src, dst, ttl: 255, protocol: 112, payload: &payload });
    }
}

#[test]
fn broken_ipv4_headers_are_refused() {
    let broken = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = datagram(20, 12);
        edit(&mut bytes);
        split_ipv4(&bytes).map(|_| ())
    };
    assert_eq!(broken(|_| {}), Ok(()));
    assert_eq!(broken(Vec::clear), Err(SplitError::Truncated));
    assert_eq!(broken(|b| b.truncate(19)), Err(SplitError::Truncated));
    assert_eq!(broken(|b| b[0] = 0x65), Err(SplitError::Version));
    assert_eq!(broken(|b| b[0] = 0x44), Err(SplitError::HeaderLength));
    assert_eq!(broken(|b| b[3] = 19), Err(SplitError::HeaderLength));
    assert_eq!(broken(|b| b[0] = 0x4f), Err(SplitError::HeaderLength));
    assert_eq!(broken(|b| b[3] = 33), Err(SplitError::TotalLength));
    assert_eq!(broken(|b| b[6] = 0x20), Err(SplitError::Fragment));
    assert_eq!(broken(|b| b[7] = 1), Err(SplitError::Fragment));
}
