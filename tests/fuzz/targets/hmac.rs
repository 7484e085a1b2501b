//! Any bytes as an advertisement with a trailer, to routers of each mode: no panic, and without the key
//! nothing moves. The first bytes are the configuration, the clock and the source.
#![no_main]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AntiReplay, Checksum, Config, Delivery, GROUP_V4, GROUP_V6, Hmac, HmacKey, HmacMode, Input, Received,
    TRAILER_BYTES, TTL, Version, VirtualRouter, WallClock,
};

/// Unix time of the vectors that the seeds are.
const THEN: Duration = Duration::from_millis(0x6800_0000 * 1000 + 500);

fn config(choice: u8, v6: bool) -> Config {
    let modes = [HmacMode::ReceiveOnly, HmacMode::Permissive, HmacMode::Enforce, HmacMode::Enforce];
    let source = if v6 { "fe80::20" } else { "198.51.100.20" };
    let peer: IpAddr = if v6 { "fe80::10" } else { "198.51.100.10" }.parse().expect("address");
    let unicast = Delivery::Unicast { peers: vec![peer], ttl: 255, min_ttl: 255 };
    let key: Vec<u8> = (0..32).collect();
    let hmac = Hmac {
        keys: BTreeMap::from([(1, HmacKey::new(&key).expect("key"))]),
        active: 1,
        mode: modes[usize::from(choice & 3)],
        anti_replay: if choice & 4 == 0 { AntiReplay::Time { window: 5 } } else { AntiReplay::Monotonic },
    };
    Config {
        version: if choice & 8 == 0 || v6 { Version::V3 } else { Version::V2 },
        vrid: Vrid::new(51).expect("VRID"),
        priority: Priority::new(100).expect("priority"),
        interval: AdvertInterval::ONE_SECOND,
        preempt: true,
        preempt_delay: Duration::ZERO,
        unready: false,
        auth: None,
        hmac: Some(Arc::new(hmac)),
        source: source.parse().expect("address"),
        delivery: if choice & 16 == 0 { Delivery::Multicast } else { unicast },
        vips: vec![if v6 { "fe80::100" } else { "192.0.2.100" }.parse().expect("address")],
        garp_repeat: 5,
        garp_delay: Duration::ZERO,
        garp_refresh: None,
        directors: None,
        checksum: Checksum::WithPseudoHeader,
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([choice, skew, last], payload)) = bytes.split_first_chunk::<3>() else { return };
    let v6 = choice & 32 != 0;
    let config = config(*choice, v6);
    let enforces = config.hmac.as_ref().is_some_and(|hmac| hmac.mode == HmacMode::Enforce);
    let mut router = VirtualRouter::new(config);
    let unix = THEN + Duration::from_millis(u64::from(*skew) * 40) - Duration::from_secs(5);
    router.set_wall_clock(WallClock::new(unix, MonoTime::ZERO));
    router.handle(Input::Startup, MonoTime::ZERO);
    while router.poll_output().is_some() {}
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(*last)]), GROUP_V6.into())
    } else {
        (IpAddr::from([198, 51, 100, *last]), GROUP_V4.into())
    };
    let state = |router: &VirtualRouter| {
        (router.state(), router.poll_timeout(), router.master(), router.strangers().len(), router.skew())
    };
    let before = state(&router);
    let now = MonoTime::from_millis(10);
    router.handle(Input::Packet(Received { payload, src, dst, ttl: TTL }), now);
    while router.poll_output().is_some() {}
    let verified = router.counters().hmac_verified;
    if enforces && verified == 0 {
        assert_eq!(state(&router), before, "bytes without a key have moved something");
        assert_eq!(router.counters().rejected_total(), 1);
    }
    if verified > 0 {
        assert!(payload.len() > TRAILER_BYTES);
        let moved = state(&router);
        router.handle(Input::Packet(Received { payload, src, dst, ttl: TTL }), now);
        assert_eq!(router.counters().hmac_verified, verified, "a packet counts once");
        assert_eq!(state(&router), moved);
    }
});
