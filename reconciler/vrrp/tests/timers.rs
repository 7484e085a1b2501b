//! When things happen: intervals in numbers, lateness, bursts, leases, live changes step by step.

mod support;

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AdvertKind, Cause, Config, Input, Notice, Output, Rejection, State, Version, VirtualRouter, Why,
    master_down_interval, skew_time,
};
use support::{advert, at, centis, config, config_v3, drain, hear, ip, ips, line, priority};

fn millis(time: MonoTime) -> u64 {
    time.as_nanos() / 1_000_000
}

fn master_with(config: Config) -> VirtualRouter {
    let mut router = VirtualRouter::new(config);
    router.handle(Input::Adopt, at(10_000));
    drain(&mut router);
    router
}

#[test]
fn intervals_in_numbers() {
    // Version, priority, interval in cs, skew in ns, master-down interval in ns.
    for (version, number, interval, skew, down) in [
        (Version::V2, 100, 100, 609_375_000, 3_609_375_000),
        (Version::V2, 100, 300, 609_375_000, 9_609_375_000),
        (Version::V2, 255, 100, 3_906_250, 3_003_906_250),
        (Version::V2, 1, 100, 996_093_750, 3_996_093_750),
        (Version::V3, 100, 100, 609_375_000, 3_609_375_000),
        (Version::V3, 100, 50, 304_687_500, 1_804_687_500),
        (Version::V3, 254, 1, 78_125, 30_078_125),
        (Version::V3, 1, 4095, 40_790_039_062, 163_640_039_062),
    ] {
        let (priority, interval) = (priority(number), centis(interval));
        assert_eq!(skew_time(version, priority, interval).as_nanos(), skew, "{version} {number}");
        assert_eq!(master_down_interval(version, priority, interval).as_nanos(), down, "{version} {number}");
    }
}

#[test]
fn neighbouring_priorities_never_share_a_skew_time() {
    for version in [Version::V2, Version::V3] {
        for number in 1..255 {
            let [lower, higher] = [number, number + 1].map(|n| skew_time(version, priority(n), centis(1)));
            assert!(lower > higher, "{version} {number}");
        }
    }
}

#[test]
fn version_2_intervals_are_whole_seconds() {
    for (interval, effective) in [(1, 100), (99, 100), (100, 100), (250, 200), (4095, 4000)] {
        let config = Config { interval: centis(interval), ..config() };
        assert_eq!(config.effective_interval().as_centis(), effective);
        let config = Config { interval: centis(interval), ..config_v3() };
        assert_eq!(config.effective_interval().as_centis(), interval);
    }
}

#[test]
fn lateness_does_not_add_up() {
    let mut router = master_with(config());
    for (second, late) in [(11, 3), (12, 40), (13, 0), (14, 80)] {
        let due = at(second * 1000);
        assert_eq!(router.poll_timeout(), Some((due, Why::AdvertDue)));
        router.handle(Input::Timer, due + Duration::from_millis(late));
        let outputs = drain(&mut router);
        let reported = outputs.iter().find_map(|output| match output {
            Output::Transmit { due, kind: AdvertKind::Periodic, .. } => Some(*due),
            Output::Transmit { .. } | Output::StateChanged { .. } => None,
            Output::Announce { .. } | Output::Event(_) => None,
        });
        assert_eq!(reported, Some(due));
    }
    assert_eq!(router.counters().late_adverts, 1);
    assert_eq!(router.counters().max_lateness, Duration::from_millis(80));
    assert_eq!(router.counters().to_status().max_lateness_us, 80_000);
}

#[test]
fn gratuitous_arp_is_repeated_once() {
    let mut router = master_with(config());
    let mut bursts = Vec::new();
    while let Some((deadline, why)) = router.poll_timeout().filter(|(deadline, _)| *deadline < at(30_000)) {
        router.handle(Input::Timer, deadline);
        if drain(&mut router).contains(&Output::Announce { repeat: 5 }) {
            bursts.push((millis(deadline), why));
        }
    }
    // At 15 s an advert is due as well, and goes first.
    assert_eq!(bursts, [(15_000, Why::AdvertDue)]);
    let mut router = master_with(Config { garp_delay: Duration::from_millis(1500), ..config() });
    router.handle(Input::Timer, at(11_000));
    assert_eq!(router.poll_timeout(), Some((at(11_500), Why::SecondBurst)));
    let mut router = master_with(Config { garp_delay: Duration::ZERO, ..config() });
    router.handle(Input::Timer, at(11_000));
    assert_eq!(router.poll_timeout(), Some((at(12_000), Why::AdvertDue)));
}

#[test]
fn a_burst_is_dropped_with_the_mastership() {
    let mut router = master_with(config());
    hear(&mut router, &advert(&config(), 200), ip("10.9.0.1"), at(12_000));
    assert_eq!(line(&drain(&mut router)), "Backup");
    assert_eq!(
        router.reason().to_string(),
        "Master received advert from 10.9.0.1 with higher priority 200, ours 100"
    );
    assert_eq!(
        router.poll_timeout(),
        Some((at(15_000) + Duration::from_nanos(609_375_000), Why::MasterDown))
    );
}

#[test]
fn a_lease_is_what_a_lower_backup_waits() {
    let mut router = VirtualRouter::new(config());
    assert_eq!(router.lease_until(), None);
    router.handle(Input::Adopt, at(10_000));
    assert_eq!(router.lease_until(), None, "nothing is handed out yet");
    drain(&mut router);
    let wait = Duration::from_nanos(3_609_375_000);
    assert_eq!(router.lease_until(), Some(at(10_000) + wait));
    router.handle(Input::Timer, at(11_020));
    assert_eq!(router.lease_until(), Some(at(10_000) + wait), "still queued");
    drain(&mut router);
    assert_eq!(router.lease_until(), Some(at(11_020) + wait));
    router.handle(Input::Shutdown, at(11_500));
    drain(&mut router);
    assert_eq!(router.lease_until(), None);
}

#[test]
fn an_advert_after_a_long_sleep_comes_with_announcements() {
    let mut router = master_with(config());
    router.handle(Input::Timer, at(13_500));
    assert_eq!(line(&drain(&mut router)), "advert Periodic", "within the lease: nobody has claimed");
    router.handle(Input::Timer, at(30_000));
    let outputs = drain(&mut router);
    assert_eq!(line(&outputs), "advert Periodic, event Overslept, announce 5");
    let Some(Output::Event(event)) = outputs.get(1) else { panic!("{outputs:?}") };
    assert_eq!(event.notice, Notice::Overslept { late: Duration::from_millis(15_500) });
}

#[test]
fn a_version_3_backup_follows_the_masters_interval() {
    let slow = Config { interval: centis(300), ..config_v3() };
    let mut router = VirtualRouter::new(config_v3());
    router.handle(Input::Startup, at(10_000));
    hear(&mut router, &advert(&slow, 200), ip("10.9.0.1"), at(11_000));
    assert_eq!(router.master_down_interval(), Duration::from_nanos(10_828_125_000));
    assert_eq!(router.master(), Some(ip("10.9.0.1")));
    // Skew time is a share of the Master's interval too (RFC 9568 §6.1).
    hear(&mut router, &advert(&slow, 0), ip("10.9.0.1"), at(12_000));
    let skew = Duration::from_nanos(1_828_125_000);
    assert_eq!(router.poll_timeout(), Some((at(12_000) + skew, Why::MasterLeft)));
    assert_eq!(router.master(), None);
    drain(&mut router);
    router.handle(Input::Timer, at(12_000) + skew);
    assert_eq!(router.reason(), Cause::MasterLeft);
    // As Master it has its own interval again.
    assert_eq!(router.poll_timeout(), Some((at(13_000) + skew, Why::AdvertDue)));
    assert_eq!(router.master_down_interval(), Duration::from_nanos(3_609_375_000));
}

/// The Master slows down later than we do: no election although our base is old.
#[test]
fn a_shorter_interval_waits_for_the_master_to_have_it_too() {
    let slow = Config { interval: centis(1000), ..config() };
    let mut router = VirtualRouter::new(slow.clone());
    router.handle(Input::Startup, at(10_000));
    hear(&mut router, &advert(&slow, 200), ip("10.9.0.1"), at(12_000));
    router.handle(Input::Reconfigure(config()), at(21_900));
    let whole_wait = at(21_900) + Duration::from_nanos(3_609_375_000);
    assert_eq!(router.poll_timeout(), Some((whole_wait, Why::MasterDown)));
    // The old Master's advert is a mismatch now and changes nothing.
    hear(&mut router, &advert(&slow, 200), ip("10.9.0.1"), at(22_000));
    assert_eq!(router.poll_timeout(), Some((whole_wait, Why::MasterDown)));
    hear(&mut router, &advert(&config(), 200), ip("10.9.0.1"), at(23_000));
    assert_eq!(router.state(), State::Backup);
    assert_eq!(router.poll_timeout().map(|(deadline, _)| millis(deadline)), Some(26_609));
}

#[test]
fn a_master_tells_a_change_and_keeps_the_nearer_deadline() {
    let mut router = master_with(config_v3());
    router.handle(Input::Reconfigure(Config { interval: centis(20), ..config_v3() }), at(10_300));
    assert_eq!(line(&drain(&mut router)), "advert Immediate");
    assert_eq!(router.poll_timeout(), Some((at(10_500), Why::AdvertDue)));
    router.handle(Input::Reconfigure(Config { interval: centis(3000), ..config_v3() }), at(10_400));
    assert_eq!(line(&drain(&mut router)), "advert Immediate");
    assert_eq!(router.poll_timeout(), Some((at(10_500), Why::AdvertDue)), "the old interval once more");
    let vips = ips(&["10.9.0.101", "10.9.0.100"]);
    router.handle(Input::Reconfigure(Config { vips, interval: centis(3000), ..config_v3() }), at(10_450));
    assert_eq!(line(&drain(&mut router)), "advert Immediate, announce 5");
    assert_eq!(router.state(), State::Master);
    assert_eq!(router.counters().became_master, 1);
}

#[test]
fn vip_lists_are_compared_without_order() {
    let vips = ips(&["10.9.0.102", "10.9.0.100", "10.9.0.101"]);
    let mut router = VirtualRouter::new(Config { vips: vips.clone(), ..config() });
    router.handle(Input::Startup, at(10_000));
    drain(&mut router);
    let mut theirs = advert(router.config(), 200);
    theirs.addresses.reverse();
    hear(&mut router, &theirs, ip("10.9.0.1"), at(10_500));
    assert_eq!(line(&drain(&mut router)), "nothing");
    theirs.addresses[0] = ip("10.9.0.109");
    hear(&mut router, &theirs, ip("10.9.0.1"), at(10_600));
    let outputs = drain(&mut router);
    let Some(Output::Event(event)) = outputs.first() else { panic!("{outputs:?}") };
    assert_eq!(event.to_string(), "the 3 VIPs from 10.9.0.1 are not our 3 VIPs");
    theirs.addresses.pop();
    hear(&mut router, &theirs, ip("10.9.0.7"), at(10_700));
    let outputs = drain(&mut router);
    let Some(Output::Event(event)) = outputs.first() else { panic!("{outputs:?}") };
    assert_eq!(event.to_string(), "expected 3 VIPs but received 2 from 10.9.0.7");
    assert_eq!(router.counters().vip_list_mismatch, 2);
    assert_eq!(router.poll_timeout().map(|(deadline, _)| millis(deadline)), Some(14_309));
}

#[test]
fn a_password_is_compared_whole() {
    for (theirs, rejection) in [
        ("hell>com", None),
        ("hell>comX", None),
        ("hell>co", Some(Rejection::AuthSecret)),
        ("Hell>com", Some(Rejection::AuthSecret)),
        ("", Some(Rejection::AuthSecret)),
    ] {
        let mut router = VirtualRouter::new(config());
        router.handle(Input::Startup, at(10_000));
        drain(&mut router);
        let other = Config { auth: Some(evenkeel_vrrp::Secret::from_text(theirs)), ..config() };
        hear(&mut router, &advert(&other, 200), ip("10.9.0.1"), at(10_500));
        let told = drain(&mut router).into_iter().find_map(|output| match output {
            Output::Event(event) => Some(event.notice),
            Output::Transmit { .. } | Output::StateChanged { .. } | Output::Announce { .. } => None,
        });
        assert_eq!(told, rejection.map(Notice::Rejected), "{theirs:?}");
    }
}

#[test]
fn the_other_family_is_rejected() {
    let mut router = master_with(config_v3());
    let (src, dst) = (ip("fe80::1"), ip("ff02::12"));
    let mut payload = Vec::new();
    let theirs = evenkeel_vrrp::Advert { addresses: ips(&["fe80::56"]), ..advert(&config_v3(), 200) };
    evenkeel_vrrp::encode(&theirs, src, dst, evenkeel_vrrp::Checksum::default(), &mut payload);
    let packet = evenkeel_vrrp::Received { payload: &payload, src, dst, ttl: 255 };
    router.handle(Input::Packet(packet), at(10_500));
    assert_eq!(line(&drain(&mut router)), "event Rejected(Family)");
    assert_eq!(router.state(), State::Master);
}
