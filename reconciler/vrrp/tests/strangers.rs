//! Who may speak for a VRID: an advertisement from nobody of ours moves nothing, whatever is in it; one of
//! ours moves no more than a director of the plan may.
//!
//! Which bytes are well-formed is in `vectors`; floods of what is rejected are in `starvation`.

#[path = "support/support.rs"]
mod support;

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_vrrp::{
    Advert, Cause, Config, Delivery, Directors, GROUP_V6, Input, Notice, NoticeKind, Output, Received,
    RejectKind, State, Strangers, VirtualRouter, Why, WireInterval, encode,
};
use proptest::prelude::*;
use support::{advert, at, bytes, centis, config, config_v3, drain, hear, ip, ips, line, priority};

const DIRECTOR: &str = "10.9.0.1";
const STRANGER: &str = "10.9.0.9";

fn directors(addresses: &[&str], strangers: Strangers) -> Option<Directors> {
    Some(Directors { addresses: ips(addresses), unnamed: 0, strangers })
}

fn known(base: Config) -> Config {
    Config { directors: directors(&[DIRECTOR, "10.9.0.3"], Strangers::SameVips), ..base }
}

/// One that is Master, or Backup of [`DIRECTOR`], at 11 s.
fn settled(config: Config, state: State) -> VirtualRouter {
    let mut router = VirtualRouter::new(config.clone());
    match state {
        State::Master => router.handle(Input::Adopt, at(10_000)),
        State::Backup | State::Initialize => router.handle(Input::Startup, at(10_000)),
    }
    if state == State::Backup {
        hear(&mut router, &advert(&config, 200), ip(DIRECTOR), at(11_000));
    }
    drain(&mut router);
    router
}

/// Facts that must be the same before and after a stranger: state, timer, what is adopted, who is taken for
/// the Master.
fn stand(
    router: &VirtualRouter,
) -> (State, Option<(evenkeel_schemas::time::MonoTime, Why)>, Duration, Option<IpAddr>) {
    (router.state(), router.poll_timeout(), router.master_down_interval(), router.master())
}

/// Anything that a host which is nobody of ours can put into an advertisement, but for exactly our VIPs.
fn any_of_a_stranger(config: Config) -> impl Strategy<Value = (Advert, u8)> {
    let vips = prop_oneof![
        Just(ips(&["10.9.9.9"])),
        Just(ips(&["10.9.0.100", "10.9.9.9"])),
        Just(ips(&["10.9.9.8", "10.9.9.9"])),
        Just(Vec::new()),
    ];
    (any::<u8>(), 0_u16..4096, vips, 1..=255_u8, 0..4_u8).prop_map(
        move |(priority, interval, addresses, ttl, odd)| {
            let wire = WireInterval::from_centis(interval);
            let interval = if odd == 0 { wire } else { config.effective_interval().into() };
            let advert = Advert { interval, addresses, ..advert(&config, priority) };
            (advert, if odd < 2 { ttl } else { 255 })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stranger_moves_nothing(
        (v3, unicast, as_master) in any::<(bool, bool, bool)>(),
        frames in prop::collection::vec(
            (any_of_a_stranger(config()), any_of_a_stranger(config_v3()), 5..40_u8),
            1..40,
        ),
    ) {
        let base = known(if v3 { config_v3() } else { config() });
        let peers = ips(&[DIRECTOR, "10.9.0.3"]);
        let delivery = Delivery::Unicast { peers, ttl: 255, min_ttl: 255 };
        let base = if unicast { Config { delivery, ..base } } else { base };
        let mut router = settled(base.clone(), if as_master { State::Master } else { State::Backup });
        let before = stand(&router);
        for (n, (second, third, host)) in frames.iter().enumerate() {
            let (advert, ttl) = if v3 { third } else { second };
            let src = ip(&format!("10.9.0.{}", u32::from(*host)));
            let payload = bytes(advert, src);
            let packet = Received { payload: &payload, src, dst: evenkeel_vrrp::GROUP_V4.into(), ttl: *ttl };
            router.handle(Input::Packet(packet), at(11_000 + n as u64 * 3));
            prop_assert_eq!(&stand(&router), &before, "{:?} from {}", advert, src);
            let outputs = drain(&mut router);
            prop_assert!(outputs.iter().all(|output| matches!(output, Output::Event(_))), "{:?}", outputs);
        }
        // All of them are accounted for.
        prop_assert_eq!(router.counters().rejected_total(), frames.len() as u64);
    }
}

#[test]
fn five_frames_of_a_stranger_leave_the_master_where_it_is() {
    for state in [State::Master, State::Backup] {
        let mut router = settled(known(config_v3()), state);
        let before = stand(&router);
        let bogus = Advert {
            interval: WireInterval::from_centis(4095),
            addresses: ips(&["10.9.9.9"]),
            ..advert(&config_v3(), 255)
        };
        for n in 0..5 {
            hear(&mut router, &bogus, ip(STRANGER), at(11_000 + n));
        }
        assert_eq!(stand(&router), before);
        let outputs = drain(&mut router);
        assert_eq!(line(&outputs), "event VridInUse", "once");
        let Some(Output::Event(mut event)) = outputs.into_iter().next() else { panic!("an event") };
        let Notice::VridInUse { mac, .. } = &mut event.notice else { panic!("{event}") };
        *mac = Some([2, 0, 0, 0, 0, 9]);
        assert_eq!(
            event.to_string(),
            "VRID 51 in use by 10.9.0.9 (02:00:00:00:00:09) for a VIP that is not ours: it is nobody of ours \
            and \
             moves nothing; one of us needs another VRID"
        );
        assert_eq!(router.counters().rejected(RejectKind::Stranger), 5);
        let told: Vec<_> =
            router.strangers().iter().map(|one| (one.address, one.adverts, one.counts)).collect();
        assert_eq!(told, [(ip(STRANGER), 5, false)]);
    }
}

#[test]
fn an_unknown_address_with_exactly_our_vips_is_a_director_unless_strangers_are_rejected() {
    for (strangers, after, kind) in [
        (Strangers::SameVips, State::Backup, "advert LastWords, Backup"),
        (Strangers::Reject, State::Master, ""),
    ] {
        let config = Config {
            directors: directors(&[DIRECTOR], strangers),
            vips: ips(&["10.9.0.101", "10.9.0.100"]),
            ..config()
        };
        let mut router = settled(config.clone(), State::Master);
        let theirs = Advert { addresses: ips(&["10.9.0.100", "10.9.0.101"]), ..advert(&config, 200) };
        hear(&mut router, &theirs, ip(STRANGER), at(11_000));
        assert_eq!(router.state(), after, "{strangers:?}");
        let said = line(&drain(&mut router));
        assert_eq!(
            said,
            ["event VridInUse", kind]
                .iter()
                .filter(|s| !s.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
}

#[test]
fn a_stranger_with_our_vips_and_another_password_is_nobody() {
    let config = known(config());
    let mut router = settled(config.clone(), State::Master);
    let before = stand(&router);
    let theirs = Config { auth: Some(evenkeel_vrrp::Secret::from_text("guess")), ..config };
    for src in [STRANGER, DIRECTOR] {
        hear(&mut router, &advert(&theirs, 255), ip(src), at(11_000));
        hear(&mut router, &advert(&theirs, 0), ip(src), at(11_000));
    }
    assert_eq!(stand(&router), before);
    assert_eq!(router.counters().rejected(RejectKind::AuthSecret), 4);
}

/// A sender that was taken for a director stays one while a plan with other VIPs comes to one host after
/// another.
#[test]
fn a_change_of_vips_makes_no_stranger_of_a_director() {
    let config = known(config());
    let mut router = settled(config.clone(), State::Backup);
    hear(&mut router, &advert(&config, 200), ip(STRANGER), at(11_500));
    let grown = Config { vips: ips(&["10.9.0.100", "10.9.0.101"]), ..config.clone() };
    router.handle(Input::Reconfigure(grown.clone()), at(11_600));
    hear(&mut router, &advert(&config, 200), ip(STRANGER), at(12_000));
    assert_eq!(
        router.poll_timeout(),
        Some((at(12_000) + Duration::from_nanos(3_609_375_000), Why::MasterDown))
    );
    // Until its address is written, or it is to be rejected.
    router.handle(
        Input::Reconfigure(Config { directors: directors(&[DIRECTOR], Strangers::Reject), ..grown }),
        at(12_100),
    );
    let before = stand(&router);
    hear(&mut router, &advert(&config, 200), ip(STRANGER), at(12_200));
    assert_eq!(stand(&router), before);
}

#[test]
fn link_local_addresses_that_nobody_has_written_are_learnt() {
    let directors = Some(Directors { addresses: vec![], unnamed: 1, strangers: Strangers::SameVips });
    let config = Config {
        source: ip("fe80::2"),
        vips: ips(&["2001:db8::1", "2001:db8::2"]),
        directors,
        ..config_v3()
    };
    let say = |router: &mut VirtualRouter, src: &str, vips: &[&str], ms: u64| {
        let advert = Advert { addresses: ips(vips), ..advert(&config, 200) };
        let mut payload = Vec::new();
        encode(&advert, ip(src), GROUP_V6.into(), config.checksum, &mut payload);
        let packet = Received { payload: &payload, src: ip(src), dst: GROUP_V6.into(), ttl: 255 };
        router.handle(Input::Packet(packet), at(ms));
        line(&drain(router))
    };
    let mut router = settled(config.clone(), State::Master);
    // Whoever has none of our VIPs is nobody, and takes no director's place.
    let before = stand(&router);
    for (vips, told) in
        [(&["2001:db8::9"][..], "event VridInUse"), (&["2001:db8::8", "2001:db8::9"], "nothing")]
    {
        assert_eq!(say(&mut router, "fe80::7", vips, 10_900), told);
        assert_eq!(stand(&router), before, "{vips:?}");
    }
    // Before a plan has come to it that has one VIP more or less, a director is known by those it has.
    assert_eq!(
        say(&mut router, "fe80::1", &["2001:db8::1"], 11_000),
        "event VipListMismatch, advert LastWords, Backup"
    );
    assert_eq!(router.strangers().len(), 1, "the one before");
    // It is the only one that may be learnt: the next must have exactly our VIPs, and is told of.
    let before = stand(&router);
    assert_eq!(say(&mut router, "fe80::9", &["2001:db8::1"], 11_100), "event VridInUse");
    assert_eq!(stand(&router), before);
    say(&mut router, "fe80::8", &["2001:db8::2", "2001:db8::1"], 11_200);
    assert_eq!(router.master(), Some(ip("fe80::8")));
    // A global address is no director's that was not written.
    let mut router = settled(config.clone(), State::Master);
    say(&mut router, "2001:db8::9", &["2001:db8::1"], 11_000);
    assert_eq!(router.state(), State::Master);
}

#[test]
fn invented_strangers_take_bounded_memory() {
    let mut router = settled(known(config()), State::Master);
    for n in 0..10_000_u32 {
        let src = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a0a_0000 + n));
        let advert = match n % 3 {
            0 => advert(&config(), 50),
            1 => Advert { addresses: ips(&["10.9.9.9"]), ..advert(&config(), 50) },
            _ => Advert { addresses: ips(&["10.9.0.100", "10.9.9.9"]), ..advert(&config(), 50) },
        };
        hear(&mut router, &advert, src, at(11_000 + u64::from(n)));
        drain(&mut router);
    }
    assert_eq!(router.strangers().len(), 8);
    assert!(format!("{router:?}").len() < 16_384);
}

/// The longest wait after one advertisement of a director, forged or not: the VIPs are with nobody for so
/// long at most.
#[test]
fn an_interval_that_no_director_has_is_not_adopted() {
    let waits = |ours: u16, theirs: u16| {
        let config = Config { interval: centis(ours), ..known(config_v3()) };
        let mut router = settled(config.clone(), State::Backup);
        let advert = Advert { interval: WireInterval::from_centis(theirs), ..advert(&config, 255) };
        hear(&mut router, &advert, ip(DIRECTOR), at(11_500));
        (router.master_down_interval().as_millis(), line(&drain(&mut router)))
    };
    assert_eq!(waits(100, 4095), (10_828, "event IntervalBounded".to_owned()));
    assert_eq!(waits(10, 4095), (3609, "event IntervalBounded".to_owned()));
    // A keepalived beside us may have its own, within reason.
    assert_eq!(waits(100, 300), (10_828, "event IntervalAdopted".to_owned()));
    assert_eq!(waits(100, 50), (1804, "event IntervalAdopted".to_owned()));
    assert_eq!(waits(10, 100), (3609, "event IntervalAdopted".to_owned()));
    assert_eq!(waits(4095, 4095), (147_803, "nothing".to_owned()));
}

#[test]
fn the_interval_before_a_change_is_one_of_ours_until_the_master_has_the_new_one() {
    let old = Config { interval: centis(2000), ..known(config_v3()) };
    let new = Config { interval: centis(100), ..old.clone() };
    let mut router = settled(old.clone(), State::Backup);
    router.handle(Input::Reconfigure(new.clone()), at(11_500));
    hear(&mut router, &advert(&old, 200), ip(DIRECTOR), at(12_000));
    assert_eq!(router.master_down_interval().as_millis(), 72_187);
    hear(&mut router, &advert(&new, 200), ip(DIRECTOR), at(13_000));
    hear(&mut router, &advert(&old, 200), ip(DIRECTOR), at(14_000));
    assert_eq!(router.master_down_interval().as_millis(), 10_828, "now it would be a lie");
}

/// A rival, or somebody with its address, that makes us yield and is silent, and again, for ten minutes.
#[test]
fn elections_that_serve_nobody_are_damped() {
    for base in [known(config()), known(config_v3()), Config { interval: centis(1), ..known(config_v3()) }] {
        let mut router = settled(base.clone(), State::Master);
        let (mut claims, mut served, mut damped) = (0_u32, 0_u32, 0_u32);
        let last = 600_000;
        for ms in 0..last {
            let now = at(12_000 + ms);
            while let Some((due, _)) = router.poll_timeout().filter(|(due, _)| *due <= now) {
                router.handle(Input::Timer, due.max(at(12_000)));
            }
            // As soon as we serve.
            if router.state() == State::Master {
                hear(&mut router, &advert(&base, 200), ip(DIRECTOR), now);
            }
            served += u32::from(router.state() == State::Master);
            for output in drain(&mut router) {
                match output {
                    Output::StateChanged {
                        to: State::Master,
                        cause: Cause::MasterDown | Cause::MasterLeft,
                        ..
                    } => claims += 1,
                    Output::Event(event) => damped += u32::from(event.notice.kind() == NoticeKind::Damped),
                    _ => {}
                }
            }
        }
        assert!(claims <= 50, "{claims}: five a minute");
        assert!(served > 450_000, "served {served} ms of {last}");
        assert!((1..=10).contains(&damped), "{damped}");
    }
}

/// A rival that stays is Master in the end, and one Master is all there is.
#[test]
fn a_rival_that_lasts_is_yielded_to_although_elections_are_damped() {
    let config = known(config());
    let mut router = settled(config.clone(), State::Master);
    let mut now = 12_000;
    for _ in 0..5 {
        hear(&mut router, &advert(&config, 200), ip(DIRECTOR), at(now));
        now += 3700;
        router.handle(Input::Timer, at(now));
        drain(&mut router);
        assert_eq!(router.state(), State::Master);
        now += 100;
    }
    let begun = now;
    while router.state() == State::Master {
        hear(&mut router, &advert(&config, 200), ip(DIRECTOR), at(now));
        now += 1000;
        assert!(now < begun + 10_000, "it never yields");
    }
    assert!(now - begun >= 4000, "the first advert is not enough");
    // A farewell of it makes us wait for a whole master-down interval: it may be forged as well.
    hear(&mut router, &advert(&config, 0), ip(DIRECTOR), at(now));
    assert!(matches!(router.poll_timeout(), Some((due, Why::MasterDown)) if due >= at(now + 2000)));
    // In another ten minutes all is forgotten.
    hear(&mut router, &advert(&config, 0), ip(DIRECTOR), at(now + 600_000));
    assert!(matches!(router.poll_timeout(), Some((_, Why::MasterLeft))));
}

/// Farewells with the address of a Master that lives make a Backup claim a few times, not each time.
#[test]
fn forged_farewells_are_damped() {
    let config = Config { priority: priority(200), ..known(config()) };
    let mut router = settled(config.clone(), State::Backup);
    let mut claims = 0;
    for tick in 0..6000 {
        let now = at(11_000 + tick * 100);
        if router.poll_timeout().is_some_and(|(due, _)| due <= now) {
            router.handle(Input::Timer, now);
        }
        // The true Master asserts itself each second, and when it hears a claim.
        if tick % 10 == 0 || router.state() == State::Master {
            hear(&mut router, &advert(&config, 250), ip(DIRECTOR), now);
        }
        hear(&mut router, &advert(&config, 0), ip(DIRECTOR), now);
        let log = drain(&mut router);
        claims += log
            .iter()
            .filter(|output| matches!(output, Output::StateChanged { to: State::Master, .. }))
            .count();
    }
    assert!((1..=60).contains(&claims), "{claims} in ten minutes, of 6000 farewells");
}
