//! HMAC on advertisements: the vectors of draft-cassen-vrrp-auth-hmac, every field of them flipped, modes,
//! marks and clocks.
//!
//! Lengths without HMAC are in `vectors`, changes while a pair runs in `hmac_changes`.

#[path = "support/signed.rs"]
mod signed;
#[path = "support/support.rs"]
mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_vrrp::{
    AntiReplay, Checksum, Config, Delivery, Directors, Hmac, HmacKey, HmacMode, Input, KeyError, NoticeKind,
    Output, Received, RejectKind, Sequence, TRAILER_BYTES, Version, VirtualRouter, WallClock,
};
use proptest::prelude::*;
use signed::{
    THEN, V4, V6, WINDOW, claim, hand, hmac, key, receiver, sender, started, transmitted, unhex, untouched,
    with,
};
use support::{at, drain, ip, ips, priority};

#[test]
fn the_vectors_are_sent_and_accepted() {
    for (vector, v6) in [(V4, false), (V6, true)] {
        let wire = unhex(vector);
        assert_eq!(claim(&sender(v6), THEN), wire);
        let src = sender(v6).source;
        let mut router = started(receiver(v6), THEN);
        assert_eq!(hand(&mut router, &wire, src, at(100)), []);
        assert_eq!((router.master(), router.counters().hmac_verified), (Some(src), 1));
    }
}

/// Advertisements of keepalived 2.4.3, captured, and the same of ours at the same time: both versions and
/// families, multicast and unicast, a key as text.
#[test]
fn keepalived_sends_the_same() {
    const TEXT: &str = "a text of thirty-two bytes or up to 64";
    let base = Config { checksum: Checksum::WithPseudoHeader, priority: priority(150), ..sender(false) };
    let peers = |peers: &[&str]| Delivery::Unicast { peers: ips(peers), ttl: 255, min_ttl: 255 };
    let text = with(&base, |hmac| {
        hmac.keys = [(7, HmacKey::parse(TEXT).expect("key"))].into();
        hmac.active = 7;
        hmac.mode = HmacMode::Permissive;
    });
    let v2 = Config { version: Version::V2, auth: None, ..base.clone() };
    let v6 = Config { delivery: Delivery::Multicast, priority: priority(150), ..sender(true) };
    let [one, both] = [&["198.51.100.21"][..], &["198.51.100.20", "198.51.100.21"]].map(peers);
    for (number, vip, config, hex) in [
        (
            51,
            "192.0.2.100",
            base,
            "3133960100646b35c0000264010100006b0e3878091100007493d66981aede4b878e58f9b4ee9877",
        ),
        (
            52,
            "192.0.2.101",
            v2,
            "2134960100018663c00002650000000000000000\
             010100006b0e38780c2700001d89b0571d983bffadf1b61676487300",
        ),
        (
            53,
            "fe80::100",
            v6,
            "3135960100640d1ffe800000000000000000000000000100\
             010100006b0e387809940000c3aa67ba7b6d64e3e89daa0d248abc73",
        ),
        (
            54,
            "192.0.2.103",
            Config { delivery: both, ..text.clone() },
            "31369601006420fac0000267010700006b0e387809c100002902094ac769930ebbfe2af3e4764e4e",
        ),
        (
            54,
            "192.0.2.103",
            Config { delivery: one, ..text },
            "31369601006420f9c0000267010700006b0e387809c100002902094ac769930ebbfe2af3e4764e4e",
        ),
    ] {
        let config = Config { vrid: support::vrid(number), vips: ips(&[vip]), ..config };
        let wire = unhex(hex);
        // The first moment with that fraction of a second.
        let [seconds, fraction] = [&wire[wire.len() - 24..][..4], &wire[wire.len() - 20..][..2]]
            .map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        let unix =
            Duration::from_secs(seconds) + Duration::from_nanos((fraction * 1_000_000_000).div_ceil(1 << 16));
        assert_eq!(claim(&config, unix), wire, "{hex}");
        let director = Config {
            source: ip(if vip.contains(':') { "fe80::21" } else { "198.51.100.22" }),
            delivery: Delivery::Multicast,
            priority: priority(100),
            ..config.clone()
        };
        let mut router = started(director, unix);
        let dst = config.destinations().next().expect("one");
        let received = Received { payload: &wire, src: config.source, dst, ttl: 255 };
        router.handle(Input::Packet(received), at(1));
        assert_eq!((router.master(), router.counters().rejected_total()), (Some(config.source), 0), "{hex}");
    }
}

/// Each bit of a vector in turn, as the only one that is wrong. The wrong packet changes nothing, and the
/// right one behind it counts.
#[test]
fn every_flipped_bit_is_rejected_and_changes_nothing() {
    for (vector, v6) in [(V4, false), (V6, true)] {
        let (wire, src) = (unhex(vector), sender(v6).source);
        let trailer = wire.len() - TRAILER_BYTES;
        // Without a window: else most bits of the seconds make it stale before it is hashed.
        let config = with(&receiver(v6), |hmac| hmac.anti_replay = AntiReplay::Monotonic);
        for bit in 0..wire.len() * 8 {
            let at_byte = bit / 8;
            let mut flipped = wire.clone();
            flipped[at_byte] ^= 0x80 >> (bit % 8);
            let mut router = started(config.clone(), THEN);
            let before = untouched(&router);
            let kinds = hand(&mut router, &flipped, src, at(100));
            let expected = match at_byte {
                0 if bit >= 4 => RejectKind::Type,
                // Version 2 has eight bytes more.
                0 if bit == 3 && !v6 => RejectKind::Length,
                0 if bit == 3 => RejectKind::Family,
                0 => RejectKind::Version,
                3 => RejectKind::Length,
                6 | 7 => RejectKind::Checksum,
                _ if at_byte < trailer => RejectKind::HmacBad,
                _ => match at_byte - trailer {
                    0 | 2 | 3 => RejectKind::HmacMalformed,
                    1 => RejectKind::HmacUnknownKey,
                    _ => RejectKind::HmacBad,
                },
            };
            assert_eq!(kinds, [expected], "bit {bit} of {vector}");
            assert_eq!(untouched(&router), before, "bit {bit} of {vector}");
            assert_eq!(hand(&mut router, &wire, src, at(200)), [], "no mark has moved");
        }
    }
}

#[test]
fn another_source_vrid_family_or_key_is_a_bad_hmac() {
    let wire = unhex(V4);
    let mut router = started(receiver(false), THEN);
    assert_eq!(hand(&mut router, &wire, ip("198.51.100.11"), at(1)), [RejectKind::HmacBad]);
    let mut other = wire.clone();
    other[1] = 52;
    assert_eq!(hand(&mut router, &other, ip("198.51.100.10"), at(2)), [RejectKind::HmacBad]);
    let mut stranger = started(with(&receiver(false), |hmac| hmac.keys = [(1, key(1))].into()), THEN);
    assert_eq!(hand(&mut stranger, &wire, ip("198.51.100.10"), at(3)), [RejectKind::HmacBad]);
}

#[test]
fn version_2_has_a_trailer_behind_its_authentication_data() {
    let config = Config { version: Version::V2, auth: None, ..sender(false) };
    let wire = claim(&config, THEN);
    assert_eq!(wire.len(), 8 + 4 + 8 + TRAILER_BYTES);
    let mut router = started(Config { version: Version::V2, ..receiver(false) }, THEN);
    assert_eq!(hand(&mut router, &wire, config.source, at(1)), []);
    let mut version_3 = started(receiver(false), THEN);
    assert_eq!(hand(&mut version_3, &wire, config.source, at(1)), [RejectKind::Version]);
}

/// What each mode makes of an advertisement with a right trailer, a wrong one, and none.
#[test]
fn modes() {
    use HmacMode::{Enforce, Permissive, ReceiveOnly};
    let src = sender(false).source;
    let signed = unhex(V4);
    let unsigned = claim(&Config { hmac: None, ..sender(false) }, THEN);
    let mut wrong = signed.clone();
    wrong[30] ^= 1;
    for (mode, missing, sends) in
        [(ReceiveOnly, &[][..], false), (Permissive, &[], true), (Enforce, &[RejectKind::HmacMissing], true)]
    {
        let config = with(&receiver(false), |hmac| hmac.mode = mode);
        let hear = |wire: &[u8]| hand(&mut started(config.clone(), THEN), wire, src, at(1));
        assert_eq!(hear(&signed), []);
        assert_eq!(hear(&wrong), [RejectKind::HmacBad]);
        assert_eq!(hear(&unsigned), missing, "{mode:?}");
        assert_eq!(claim(&config, THEN).len(), if sends { 40 } else { 12 }, "{mode:?}");
    }
    let mut without = started(Config { hmac: None, ..receiver(false) }, THEN);
    assert_eq!(hand(&mut without, &signed, src, at(1)), [RejectKind::Length]);
    assert_eq!(hand(&mut without, &unsigned, src, at(1)), []);
}

#[test]
fn a_trailer_that_was_cut_or_follows_more_is_of_no_length() {
    let (wire, src) = (unhex(V4), sender(false).source);
    for mode in [HmacMode::Enforce, HmacMode::Permissive] {
        let config = with(&receiver(false), |hmac| hmac.mode = mode);
        for length in (0..60).filter(|length| *length != 40) {
            let mut cut = wire.clone();
            cut.resize(length, 0);
            let kinds = hand(&mut started(config.clone(), THEN), &cut, src, at(1));
            // What Ethernet could have filled up, and the message alone, have no trailer.
            let bare = length == 12 || (length > 12 && (length - 12) % 4 == 2);
            match (bare, mode) {
                (false, _) => assert_eq!(kinds, [RejectKind::Length], "{length}"),
                (true, HmacMode::Enforce) => assert_eq!(kinds, [RejectKind::HmacMissing], "{length}"),
                (true, _) => assert_eq!(kinds, [], "{length}"),
            }
        }
    }
}

/// The vector at several clocks of ours, then again.
#[test]
fn stale_and_replayed() {
    let (wire, src) = (unhex(V4), sender(false).source);
    let second = Duration::from_secs(1);
    let whole = THEN - Duration::from_millis(500);
    for (unix, kinds) in [
        (whole + second * 5, &[][..]),
        (whole + second * 6, &[RejectKind::HmacStale]),
        (whole - second * 5, &[]),
        (whole - second * 6, &[RejectKind::HmacStale]),
        (Duration::ZERO, &[RejectKind::HmacStale]),
    ] {
        let mut router = started(receiver(false), unix);
        assert_eq!(hand(&mut router, &wire, src, at(1)), kinds, "{unix:?}");
        let monotonic = with(&receiver(false), |hmac| hmac.anti_replay = AntiReplay::Monotonic);
        assert_eq!(hand(&mut started(monotonic, unix), &wire, src, at(1)), [], "{unix:?}");
    }
    let mut router = started(receiver(false), THEN);
    assert_eq!(hand(&mut router, &wire, src, at(100)), []);
    let before = untouched(&router);
    for millis in [101, 1000, 4000] {
        assert_eq!(hand(&mut router, &wire, src, at(millis)), [RejectKind::HmacReplay]);
    }
    // The earlier one that a stranger has kept.
    let earlier = claim(&sender(false), THEN - second);
    assert_eq!(hand(&mut router, &earlier, src, at(200)), [RejectKind::HmacReplay]);
    assert_eq!(untouched(&router), before);
    assert_eq!(hand(&mut router, &wire, src, at(6000)), [RejectKind::HmacStale]);
}

/// A director whose clock ran ahead and was set back is heard again, at the latest after the window.
#[test]
fn a_mark_outside_the_window_is_forgotten() {
    let src = sender(false).source;
    let mut router = started(receiver(false), THEN);
    let ahead = claim(&sender(false), THEN + Duration::from_secs(4));
    assert_eq!(hand(&mut router, &ahead, src, at(1)), []);
    let back = |millis| claim(&sender(false), THEN + Duration::from_millis(millis));
    assert_eq!(hand(&mut router, &back(1000), src, at(1000)), [RejectKind::HmacReplay]);
    // The clock of both is set back by a minute.
    router.set_wall_clock(WallClock::new(THEN - Duration::from_secs(60), at(1000)));
    let back = claim(&sender(false), THEN - Duration::from_secs(60));
    assert_eq!(hand(&mut router, &back, src, at(1000)), []);
}

#[test]
fn skew_is_told_from_half_the_window() {
    let src = sender(false).source;
    for (millis, told) in [(0, false), (2400, false), (2500, true), (4000, true)] {
        for ahead in [false, true] {
            let skew = Duration::from_millis(millis);
            let unix = if ahead { THEN + skew } else { THEN - skew };
            let mut router = started(receiver(false), THEN);
            assert_eq!(hand(&mut router, &claim(&sender(false), unix), src, at(0)), []);
            let events = drain(&mut router).into_iter().filter_map(|output| match output {
                Output::Event(event) => Some(event.notice.kind()),
                _ => None,
            });
            let events: Vec<_> = events.collect();
            assert_eq!(events.contains(&NoticeKind::ClockSkew), told, "{millis} {events:?}");
            let found = router.skew().expect("heard");
            let expected = i64::try_from(millis).expect("small") * if ahead { -1 } else { 1 };
            assert!((found.millis - expected).abs() <= 1, "{found:?}, {expected}");
        }
    }
}

#[test]
fn strangers_without_the_key_are_in_no_table() {
    let directors = Directors { addresses: vec![sender(false).source], ..Directors::default() };
    let multicast = Config { directors: Some(directors), ..receiver(false) };
    let peers = vec![sender(false).source];
    let unicast = Config { delivery: Delivery::Unicast { peers, ttl: 255, min_ttl: 255 }, ..receiver(false) };
    for config in [multicast, unicast] {
        let mut router = started(config, THEN);
        let before = untouched(&router);
        let forged = Config { priority: priority(254), ..sender(false) };
        let other = with(&forged, |hmac| hmac.keys = [(1, key(9))].into());
        for last in 1..=250 {
            for config in [&other, &Config { hmac: None, ..forged.clone() }] {
                let config = Config { source: IpAddr::from([198, 51, 100, last]), ..config.clone() };
                let wire = claim(&config, THEN);
                assert_eq!(hand(&mut router, &wire, config.source, at(1)).len(), 1);
            }
        }
        assert_eq!(untouched(&router), before);
        assert_eq!(router.counters().vrid_in_use, 0);
    }
}

#[test]
fn one_trailer_goes_to_all_peers() {
    let peers = ips(&["198.51.100.20", "198.51.100.21", "198.51.100.22"]);
    let delivery = Delivery::Unicast { peers, ttl: 255, min_ttl: 255 };
    let config = Config { delivery, checksum: Checksum::WithPseudoHeader, ..sender(false) };
    let mut router = VirtualRouter::new(config);
    router.handle(Input::Adopt, at(0));
    let sent = transmitted(&mut router);
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|bytes| bytes[12..] == sent[0][12..]));
    assert_ne!(sent[0][6..8], sent[1][6..8], "the checksum is of each");
}

#[test]
fn keys() {
    assert_eq!(HmacKey::parse(&"k".repeat(31)), Err(KeyError::Length(31)));
    assert_eq!(HmacKey::parse(&"k".repeat(65)), Err(KeyError::Length(65)));
    assert!(HmacKey::parse(&"k".repeat(32)).is_ok() && HmacKey::parse(&"k".repeat(64)).is_ok());
    let hexadecimal = format!("hex:{}", "0aF1".repeat(16));
    let parsed = HmacKey::parse(&hexadecimal).expect("key");
    assert_eq!(parsed.as_bytes(), [0x0a, 0xf1].repeat(16));
    assert_eq!(HmacKey::parse("hex:0g"), Err(KeyError::Hexadecimal));
    assert_eq!(HmacKey::parse("hex:012"), Err(KeyError::Hexadecimal));
    assert_eq!(HmacKey::parse(&format!("hex:{}", "00".repeat(31))), Err(KeyError::Length(31)));
    assert_eq!(HmacKey::parse("hex:+1"), Err(KeyError::Hexadecimal));
    assert_eq!(format!("{parsed:?}"), "HmacKey(…)");
}

#[test]
fn sequences_of_a_sender() {
    let time = AntiReplay::Time { window: WINDOW };
    let first = Sequence::next(None, THEN, time);
    assert_eq!(first, Sequence::from_bits(0x6800_0000_8000_0000));
    assert_eq!(Sequence::next(Some(first), THEN, time), Sequence::from_bits(0x6800_0000_8000_0001));
    for mode in [time, AntiReplay::Monotonic] {
        // Set back by no more than the window: growth by one.
        let back = THEN - Duration::from_secs(5);
        assert_eq!(Sequence::next(Some(first), back, mode), Sequence::from_bits(0x6800_0000_8000_0001));
    }
    let back = THEN - Duration::from_secs(6);
    assert_eq!(Sequence::next(Some(first), back, time), Sequence::from_unix(back));
    let grown = Sequence::next(Some(first), back, AntiReplay::Monotonic);
    assert_eq!(grown, Sequence::from_bits(0x6800_0000_8000_0001));
}

proptest! {
    /// A sender's sequence grows whatever its clock does, unless that is set back beyond the window.
    #[test]
    fn a_sequence_grows(
        steps in prop::collection::vec(-4_999_i64..20_000, 1..50),
        start in 0x7fff_f000_u64..0x1_0000_1000,
        monotonic in any::<bool>(),
    ) {
        let anti_replay =
            if monotonic { AntiReplay::Monotonic } else { AntiReplay::Time { window: WINDOW } };
        let mut unix = Duration::from_secs(start);
        let mut last = Sequence::next(None, unix, anti_replay);
        for step in steps {
            let ahead = Duration::from_millis(step.unsigned_abs());
            // A clock that is set back stays within the window of the furthest that it was.
            let furthest = last.seconds_before(unix);
            unix = if step >= 0 { unix + ahead } else if furthest >= 0 { unix - ahead } else { unix };
            let next = Sequence::next(Some(last), unix, anti_replay);
            prop_assert!(next.is_after(last), "{last:?} {next:?}");
            prop_assert!(!last.is_after(next));
            last = next;
        }
    }

    /// Whoever has no key moves nothing, whatever the bytes and the source.
    #[test]
    fn bytes_without_a_key_move_nothing(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        like_ours in any::<bool>(),
        source in any::<[u8; 4]>(),
        millis in 0_u64..3000,
        enforce in any::<bool>(),
    ) {
        if like_ours {
            let tail = bytes.split_off(bytes.len().min(40));
            let wire = unhex(V4);
            for (at, byte) in wire.iter().enumerate() {
                match bytes.get_mut(at) {
                    // The head is that of the vector, so that it gets further.
                    Some(to) if at < 12 && *to < 200 => *to = *byte,
                    Some(_) => {}
                    None => bytes.push(*byte),
                }
            }
            bytes.extend(tail);
        }
        prop_assume!(bytes != unhex(V4));
        let mode = if enforce { HmacMode::Enforce } else { HmacMode::Permissive };
        let mut router = started(with(&receiver(false), |hmac| hmac.mode = mode), THEN);
        let before = untouched(&router);
        let kinds = hand(&mut router, &bytes, IpAddr::from(source), at(millis));
        if enforce {
            prop_assert_eq!(kinds.len(), 1);
            prop_assert_eq!(untouched(&router), before);
        }
        prop_assert_eq!(router.counters().hmac_verified, 0);
    }

    /// What one router signs, another with the key accepts, once.
    #[test]
    fn what_is_signed_is_accepted_once(
        priority in 1_u8..=255,
        version in prop::sample::select(vec![Version::V2, Version::V3]),
        vips in prop::collection::vec(any::<[u8; 4]>(), 1..60),
        v6 in any::<bool>(),
        skew in -4_i64..=4,
        key in prop::collection::vec(any::<u8>(), 32..=64),
        id in 1_u8..=255,
    ) {
        let version = if v6 { Version::V3 } else { version };
        let vip = |octets: [u8; 4]| {
            if v6 {
                let [a, b, c, d] = octets.map(u16::from);
                IpAddr::from([0xfe80, 0, 0, 0, a, b, c, d])
            } else {
                IpAddr::from(octets)
            }
        };
        let vips: Vec<IpAddr> = vips.into_iter().map(vip).collect();
        let hmac = Hmac {
            keys: [(id, HmacKey::new(&key).expect("key"))].into(),
            active: id,
            ..hmac(HmacMode::Enforce)
        };
        let hmac = Some(Arc::new(hmac));
        let sender = Config {
            version, vips: vips.clone(), hmac: hmac.clone(), priority: support::priority(priority),
            ..sender(v6)
        };
        let unix = THEN.saturating_add_signed(skew);
        let wire = claim(&sender, unix);
        let mut router = started(Config { version, vips, hmac, ..receiver(v6) }, THEN);
        prop_assert_eq!(hand(&mut router, &wire, sender.source, at(1)), []);
        prop_assert_eq!(router.counters().hmac_verified, 1);
        prop_assert_eq!(hand(&mut router, &wire, sender.source, at(2)), [RejectKind::HmacReplay]);
    }
}

/// Seconds added to a duration, or taken from it.
trait AddSigned {
    fn saturating_add_signed(self, seconds: i64) -> Self;
}

impl AddSigned for Duration {
    fn saturating_add_signed(self, seconds: i64) -> Self {
        let by = Self::from_secs(seconds.unsigned_abs());
        if seconds < 0 { self.saturating_sub(by) } else { self + by }
    }
}
