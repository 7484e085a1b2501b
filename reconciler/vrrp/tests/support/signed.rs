//! Two directors with HMAC, as the vectors of draft-cassen-vrrp-auth-hmac have them, and their packets.
//!
//! No expectation lives here.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AntiReplay, Checksum, Config, Delivery, GROUP_V4, Hmac, HmacKey, HmacMode, Input, Output, Received,
    RejectKind, VirtualRouter, WallClock,
};

use crate::support::{self, at, drain, ip, ips, priority};

pub(crate) const V4: &str =
    "3133c80100644402c00002640101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265";
pub(crate) const V6: &str = "3133c8010064a2e9fe800000000000000000000000000100\
                  010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78";
/// Unix time of the vectors.
pub(crate) const THEN: Duration = Duration::from_millis(0x6800_0000 * 1000 + 500);
pub(crate) const WINDOW: u16 = 5;

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect(text)).collect()
}

pub(crate) fn key(first: u8) -> HmacKey {
    let bytes: Vec<u8> = (0..32).map(|offset| first + offset).collect();
    HmacKey::new(&bytes).expect("key")
}

pub(crate) fn hmac(mode: HmacMode) -> Hmac {
    Hmac {
        keys: BTreeMap::from([(1, key(0))]),
        active: 1,
        mode,
        anti_replay: AntiReplay::Time { window: WINDOW },
    }
}

/// The sender of the vectors.
pub(crate) fn sender(v6: bool) -> Config {
    let (source, vip) = if v6 { ("fe80::10", "fe80::100") } else { ("198.51.100.10", "192.0.2.100") };
    let peers = Delivery::Unicast { peers: vec![ip("fe80::20")], ttl: 255, min_ttl: 255 };
    Config {
        priority: priority(200),
        source: ip(source),
        vips: ips(&[vip]),
        delivery: if v6 { peers } else { Delivery::Multicast },
        checksum: Checksum::Without,
        hmac: Some(Arc::new(hmac(HmacMode::Enforce))),
        ..support::config_v3()
    }
}

/// A lower director beside it.
pub(crate) fn receiver(v6: bool) -> Config {
    let peers = Delivery::Unicast { peers: vec![ip("fe80::10")], ttl: 255, min_ttl: 255 };
    Config {
        priority: priority(100),
        source: ip(if v6 { "fe80::20" } else { "198.51.100.20" }),
        delivery: if v6 { peers } else { Delivery::Multicast },
        ..sender(v6)
    }
}

pub(crate) fn with(config: &Config, change: impl FnOnce(&mut Hmac)) -> Config {
    let mut hmac = config.hmac.as_deref().expect("HMAC").clone();
    change(&mut hmac);
    Config { hmac: Some(Arc::new(hmac)), ..config.clone() }
}

/// A router that takes part since 0, at which it is `unix`.
pub(crate) fn started(config: Config, unix: Duration) -> VirtualRouter {
    let mut router = VirtualRouter::new(config);
    router.set_wall_clock(WallClock::new(unix, at(0)));
    router.handle(Input::Startup, at(0));
    drain(&mut router);
    router
}

/// Hands bytes to a router at `now`. Returns the kinds of rejections that they caused.
pub(crate) fn hand(
    router: &mut VirtualRouter,
    payload: &[u8],
    src: IpAddr,
    now: MonoTime,
) -> Vec<RejectKind> {
    let before = RejectKind::ALL.map(|kind| router.counters().rejected(kind));
    let dst = if src.is_ipv4() { GROUP_V4.into() } else { ip("fe80::20") };
    router.handle(Input::Packet(Received { payload, src, dst, ttl: 255 }), now);
    let after = RejectKind::ALL.map(|kind| router.counters().rejected(kind));
    let kinds = RejectKind::ALL.into_iter().zip(before.into_iter().zip(after));
    kinds.filter(|(_, (before, after))| after > before).map(|(kind, _)| kind).collect()
}

/// All that a packet which is rejected must not move.
pub(crate) fn untouched(router: &VirtualRouter) -> impl PartialEq + std::fmt::Debug + use<> {
    (router.state(), router.poll_timeout(), router.master(), router.strangers().to_vec(), router.skew())
}

/// The advertisement that a router sends at `now`, as a claim of a Master before a restart.
pub(crate) fn claim(config: &Config, unix: Duration) -> Vec<u8> {
    let mut router = VirtualRouter::new(config.clone());
    router.set_wall_clock(WallClock::new(unix, at(0)));
    router.handle(Input::Adopt, at(0));
    transmitted(&mut router).swap_remove(0)
}

pub(crate) fn transmitted(router: &mut VirtualRouter) -> Vec<Vec<u8>> {
    let bytes = |output| match output {
        Output::Transmit { bytes, .. } => Some(bytes),
        _ => None,
    };
    drain(router).into_iter().filter_map(bytes).collect()
}
