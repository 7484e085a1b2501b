//! Floods: whatever others send, a Master's adverts go out on time and a Backup claims on time.
//!
//! keepalived's Master can be silenced by one rejected packet a second; these tests are why ours
//! cannot.

#[path = "support/support.rs"]
mod support;

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, AdvertKind, Auth, Config, Delivery, Input, NoticeKind, Output, Received, RejectKind, Secret,
    State, Version, VirtualRouter, WireInterval,
};
use support::{advert, at, bytes, config, drain, ip, priority, received, vrid};

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

/// Outputs of a flood, with the time.
type Log = Vec<(MonoTime, Output)>;

/// Drives `router` for `secs` from 10 s on as the agent does, with one packet every millisecond.
fn flood(
    router: &mut VirtualRouter,
    secs: u64,
    packet: impl FnMut(&Config, u64) -> (Vec<u8>, u8, std::net::IpAddr),
) -> Log {
    flood_from(router, 10, secs, packet)
}

fn flood_from(
    router: &mut VirtualRouter,
    start: u64,
    secs: u64,
    mut packet: impl FnMut(&Config, u64) -> (Vec<u8>, u8, std::net::IpAddr),
) -> Log {
    let mut log = Log::new();
    for tick in 1..=secs * 1000 {
        let now = at(start * 1000 + tick);
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

/// Higher, priority 0, higher, ...: without a bound it makes us yield and claim 50 times a second.
#[test]
fn a_flood_that_makes_us_yield_is_damped() {
    let mut router = VirtualRouter::new(Config { priority: priority(253), ..config() });
    router.handle(Input::Adopt, at(10_000));
    drain(&mut router);
    let log = flood(&mut router, 20, |config, tick| {
        let src = ip("10.9.0.3");
        // Priority 253 waits 12 ms after a farewell, so it is Master again before the next higher advert.
        let number = if tick % 20 == 0 { 254 } else { 0 };
        (bytes(&advert(config, number), src), 255, src)
    });
    let yields = log.iter().filter(|(_, output)| is_change_to(output, State::Backup)).count();
    assert!((5..=8).contains(&yields), "{yields}");
    assert!(times(&log, AdvertKind::LastWords).len() <= yields);
    let damped =
        |output: &Output| matches!(output, Output::Event(event) if event.notice.kind() == NoticeKind::Damped);
    assert_eq!(log.iter().filter(|(_, output)| damped(output)).count(), 1, "told once");
}

fn is_change_to(output: &Output, state: State) -> bool {
    matches!(output, Output::StateChanged { to, .. } if *to == state)
}

#[test]
fn a_flood_of_farewells_is_not_answered_packet_by_packet() {
    let mut router = master();
    let log = flood(&mut router, 10, |config, tick| {
        let src = source(tick);
        (bytes(&advert(config, 0), src), 255, src)
    });
    let sent = times(&log, AdvertKind::Immediate).len() + times(&log, AdvertKind::Periodic).len();
    assert!((1000..=2000).contains(&sent), "{sent}");
    assert_eq!(router.state(), State::Master);
    // And the last of them is answered like the first.
    assert!(router.poll_timeout().is_some_and(|(due, _)| due <= at(20_011)));
}

#[test]
fn invented_rivals_neither_fill_memory_nor_stop_announcements() {
    let mut router = master();
    let log = flood(&mut router, 20, |config, tick| {
        let src = source(tick);
        (bytes(&advert(config, 50), src), 255, src)
    });
    assert_eq!(times(&log, AdvertKind::Periodic), (11..=30).map(|s| s * 1000).collect::<Vec<u64>>());
    // Eight at a time, each for 3.6 s.
    assert!((8..=48).contains(&router.counters().rival_masters), "{}", router.counters().rival_masters);
    let bursts = log.iter().filter(|(_, output)| matches!(output, Output::Announce { .. })).count();
    assert!((20..=60).contains(&bursts), "{bursts}");
}

/// A Backup with a preempt delay is held off by one flood of lower adverts no longer than by one Master.
#[test]
fn a_preempt_delay_ends_under_a_flood() {
    let mut router = VirtualRouter::new(Config { preempt_delay: Duration::from_secs(5), ..config() });
    router.handle(Input::Startup, at(10_000));
    drain(&mut router);
    let log = flood(&mut router, 10, |config, tick| {
        let src = source(tick);
        (bytes(&advert(config, 99), src), 255, src)
    });
    // The first at 10.001 s, the last that counts at 15 s.
    assert_eq!(times(&log, AdvertKind::Claim), [18_609]);
}

/// By unicast: strangers, and packets from too far away.
#[test]
fn strangers_delay_nothing() {
    let peers = vec![ip("10.9.0.1"), ip("10.9.0.3")];
    let delivery = Delivery::Unicast { peers, ttl: 255, min_ttl: 250 };
    let mut router = VirtualRouter::new(Config { delivery, ..config() });
    router.handle(Input::Adopt, at(10_000));
    drain(&mut router);
    let log = flood(&mut router, 10, |config, tick| match tick % 3 {
        0 => (bytes(&advert(config, 254), source(tick)), 255, source(tick)),
        1 => (bytes(&advert(config, 0), source(tick)), 255, source(tick)),
        _ => (bytes(&advert(config, 254), ip("10.9.0.1")), 254, ip("10.9.0.1")),
    });
    let twice: Vec<u64> = (11..=20).flat_map(|second| [second * 1000, second * 1000]).collect();
    assert_eq!(times(&log, AdvertKind::Periodic), twice);
    assert_eq!(router.counters().rejected(RejectKind::UnknownPeer), 6667);
    assert_eq!(router.counters().rejected(RejectKind::Ttl), 3333);
    assert_eq!(times(&log, AdvertKind::Immediate), [0; 0]);
}

/// The memory of a router after a minute of everything at once is that after three.
#[test]
fn nothing_grows_with_time() {
    let mut router = master();
    let mut sizes = Vec::new();
    for minute in 0..3 {
        flood_from(&mut router, 10 + minute * 60, 60, |config, tick| {
            let src = source(tick);
            let foreign = Advert { addresses: vec![ip("10.9.0.200")], ..advert(config, 50) };
            match tick % 4 {
                0 => (bytes(&advert(config, 0), src), 255, src),
                1 => (bytes(&advert(config, 50), src), 255, src),
                2 => (bytes(&foreign, src), 255, src),
                _ => {
                    let (payload, ttl) = bogus(config, tick);
                    (payload, ttl, src)
                }
            }
        });
        sizes.push(format!("{router:?}").len());
    }
    assert!(sizes[2].abs_diff(sizes[0]) < 200, "numbers get longer, lists do not: {sizes:?}");
}
