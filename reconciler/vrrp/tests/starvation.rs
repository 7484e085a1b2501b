//! Floods: whatever others send, a Master's adverts go out on time and a Backup claims on time.
//!
//! keepalived's Master can be silenced by one rejected packet a second; these tests are why ours
//! cannot.

mod support;

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, AdvertKind, Auth, Config, Input, Output, Received, RejectKind, Secret, State, Version,
    VirtualRouter, WireInterval,
};
use support::{advert, at, bytes, config, drain, ip, received, vrid};

/// A bogus packet of the given sort, and its TTL. From an invented address, to spoil rate limits too.
fn bogus(config: &Config, sort: u64) -> (Vec<u8>, u8) {
    let good = advert(config, 250);
    let src = source(sort);
    let other = Advert { version: Version::V3, auth: Auth::None, ..good.clone() };
    let secret = Auth::Pass(Secret::from_text("guess"));
    let mut damaged = bytes(&good, src);
    damaged[6] ^= 0x55;
    match sort % 9 {
        0 => (bytes(&good, src), 64),
        1 => (bytes(&Advert { auth: secret, ..good }, src), 255),
        2 => (bytes(&Advert { auth: Auth::None, ..good }, src), 255),
        3 => (bytes(&Advert { interval: WireInterval::from_secs(3), ..good }, src), 255),
        4 => (bytes(&Advert { interval: WireInterval::from_secs(0), ..good }, src), 255),
        5 => (bytes(&Advert { vrid: vrid(9), ..good }, src), 255),
        6 => (bytes(&other, src), 255),
        7 => (damaged, 255),
        _ => (vec![0x21, 51], 255),
    }
}

fn source(sort: u64) -> std::net::IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a0a_0000 + (sort as u32 & 0xffff)).into()
}

/// What came out of a flood, with the time.
type Log = Vec<(MonoTime, Output)>;

/// Drives `router` for `secs` as the agent does, with one packet every millisecond.
fn flood(
    router: &mut VirtualRouter,
    secs: u64,
    mut packet: impl FnMut(&Config, u64) -> (Vec<u8>, u8, std::net::IpAddr),
) -> Log {
    let mut log = Log::new();
    for tick in 1..=secs * 1000 {
        let now = at(10_000 + tick);
        while let Some((deadline, _)) = router.poll_timeout().filter(|(deadline, _)| *deadline <= now) {
            router.handle(Input::Timer, deadline);
            log.extend(drain(router).into_iter().map(|output| (deadline, output)));
        }
        let (payload, ttl, src) = packet(router.config(), tick);
        router.handle(Input::Packet(Received { ttl, ..received(&payload, src) }), now);
        log.extend(drain(router).into_iter().map(|output| (now, output)));
    }
    log
}

fn master() -> VirtualRouter {
    let mut router = VirtualRouter::new(config());
    router.handle(Input::Adopt, at(10_000));
    drain(&mut router);
    router
}

fn backup() -> VirtualRouter {
    let mut router = VirtualRouter::new(config());
    router.handle(Input::Startup, at(10_000));
    drain(&mut router);
    router
}

fn times(log: &Log, wanted: AdvertKind) -> Vec<u64> {
    log.iter()
        .filter(|(_, output)| matches!(output, Output::Transmit { kind, .. } if *kind == wanted))
        .map(|(at, _)| at.as_nanos() / 1_000_000)
        .collect()
}

#[test]
fn a_thousand_bogus_adverts_a_second_delay_nothing() {
    let mut router = master();
    let log = flood(&mut router, 60, |config, tick| {
        let (payload, ttl) = bogus(config, tick);
        (payload, ttl, source(tick))
    });
    let every_second: Vec<u64> = (11..=70).map(|second| second * 1000).collect();
    assert_eq!(times(&log, AdvertKind::Periodic), every_second);
    assert_eq!(router.counters().max_lateness, Duration::ZERO);
    assert_eq!(router.counters().rejected_total(), 60_000);
    assert_eq!(router.counters().rejected(RejectKind::Ttl), 6666);
    assert_eq!(times(&log, AdvertKind::Immediate), [0; 0]);
    // 9 kinds, 8 sources each, a new set once a minute at most.
    let events = log.iter().filter(|(_, output)| matches!(output, Output::Event(_))).count();
    assert!((72..=144).contains(&events), "{events} events");
}

#[test]
fn a_backup_claims_on_time_under_bogus_adverts() {
    let mut router = backup();
    let log = flood(&mut router, 5, |config, tick| {
        let (payload, ttl) = bogus(config, tick);
        (payload, ttl, source(tick))
    });
    assert_eq!(times(&log, AdvertKind::Claim), [13_609]);
}

/// A genuine rival that does not hear us.
#[test]
fn a_deaf_rival_neither_delays_adverts_nor_causes_a_storm() {
    let mut router = master();
    let log = flood(&mut router, 10, |config, _| {
        let src = ip("10.9.0.3");
        (bytes(&advert(config, 50), src), 255, src)
    });
    assert_eq!(times(&log, AdvertKind::Periodic), (11..=20).map(|s| s * 1000).collect::<Vec<u64>>());
    assert_eq!(times(&log, AdvertKind::Immediate).len(), 1000, "one in 10 ms");
    let bursts = log.iter().filter(|(_, output)| matches!(output, Output::Announce { .. })).count();
    assert_eq!(bursts, 10, "one a second");
    assert_eq!(router.state(), State::Master);
}

#[test]
fn a_stream_of_priority_zero_does_not_put_off_the_claim() {
    let mut router = backup();
    let log = flood(&mut router, 3, |config, _| {
        let src = ip("10.9.0.3");
        (bytes(&advert(config, 0), src), 255, src)
    });
    // The first at 10.001 s, and the skew time.
    assert_eq!(times(&log, AdvertKind::Claim), [10_610]);
}

#[test]
fn lower_adverts_do_not_put_off_the_claim() {
    let mut router = backup();
    let log = flood(&mut router, 5, |config, _| {
        let src = ip("10.9.0.3");
        (bytes(&advert(config, 99), src), 255, src)
    });
    assert_eq!(times(&log, AdvertKind::Claim), [13_609]);
}
