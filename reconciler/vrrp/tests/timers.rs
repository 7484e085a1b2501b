//! When things happen: intervals in numbers, lateness, bursts, leases, live changes step by step.

#[path = "support/support.rs"]
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
    assert_eq!(line(&drain(&mut router)), "advert LastWords, Backup");
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
    let end = at(12_500) + Duration::from_nanos(246_093_750);
    assert_eq!(router.lease_until(), Some(end), "for as long as it serves");
    router.handle(Input::Timer, end);
    assert_eq!((drain(&mut router).len(), router.lease_until()), (1, None));
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
fn a_master_advertises_a_change_and_keeps_the_nearer_deadline() {
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

/// A Backup whose Master has priority 50, heard every second from 11 s on; a step may do something else at
/// its second. Gives the millisecond at which the Backup claims.
fn claims(delay_secs: u64, step: impl Fn(&mut VirtualRouter, u64) -> bool) -> u64 {
    let mut router =
        VirtualRouter::new(Config { preempt_delay: Duration::from_secs(delay_secs), ..config() });
    router.handle(Input::Startup, at(10_000));
    for second in 11..100 {
        let now = at(second * 1000);
        if let Some((due, _)) = router.poll_timeout().filter(|(due, _)| *due <= now) {
            return millis(due);
        }
        if !step(&mut router, second) {
            hear(&mut router, &advert(&config(), 50), ip("10.9.0.1"), now);
        }
        drain(&mut router);
    }
    panic!("never claims")
}

/// keepalived's preempt_delay; what is ours is documented at `Config::preempt_delay`.
#[test]
fn the_preempt_delay_runs_from_the_first_lower_advert() {
    let nothing = |_: &mut VirtualRouter, _| false;
    assert_eq!(claims(0, nothing), 13_609, "none of them counts");
    // The last that counts is at 20 s: 9 s after the first.
    assert_eq!(claims(10, nothing), 23_609);
    // Changes do not start it again, and a new delay is measured from the same moment.
    let touched = |router: &mut VirtualRouter, second: u64| {
        let changed = Config { vips: ips(&["10.9.0.100", "10.9.0.101"]), ..router.config().clone() };
        router.handle(Input::Reconfigure(Config { garp_repeat: second as u8, ..changed }), at(second * 1000));
        false
    };
    assert_eq!(claims(10, touched), 23_609);
    let longer = |router: &mut VirtualRouter, second: u64| {
        let delay = Duration::from_secs(if second < 18 { 10 } else { 15 });
        let changed = Config { preempt_delay: delay, ..router.config().clone() };
        router.handle(Input::Reconfigure(changed), at(second * 1000));
        false
    };
    assert_eq!(claims(10, longer), 28_609);
    // An advert of our priority or more ends it; the next lower one, at 19 s, begins anew.
    let higher = |router: &mut VirtualRouter, second: u64| {
        if second == 18 {
            hear(router, &advert(&config(), 200), ip("10.9.0.3"), at(18_000));
        }
        second == 18
    };
    assert_eq!(claims(10, higher), 31_609);
    // So does our own priority when it makes the Master's the higher one for a while.
    let sinks = |router: &mut VirtualRouter, second: u64| {
        let number = if (15..18).contains(&second) { 40 } else { 100 };
        let changed = Config { priority: priority(number), ..router.config().clone() };
        router.handle(Input::Reconfigure(changed), at(second * 1000));
        false
    };
    assert_eq!(claims(10, sinks), 30_609);
    // Another Master of lower priority does not.
    let another = |router: &mut VirtualRouter, second: u64| {
        hear(router, &advert(&config(), 60), ip("10.9.0.3"), at(second * 1000));
        second > 15
    };
    assert_eq!(claims(10, another), 23_609);
    // Nor is a Master that leaves waited for: the skew time.
    let leaves = |router: &mut VirtualRouter, second: u64| {
        if second == 15 {
            hear(router, &advert(&config(), 0), ip("10.9.0.1"), at(15_000));
        }
        second >= 15
    };
    assert_eq!(claims(10, leaves), 15_609);
}

/// When a Master with these settings announces, from 10 s to 30 s.
fn announcements(delay: u64, refresh: Option<u64>, step: impl Fn(&mut VirtualRouter, MonoTime)) -> Vec<u64> {
    let mut router = master_with(Config {
        garp_delay: Duration::from_millis(delay),
        garp_refresh: refresh.map(Duration::from_millis),
        ..config()
    });
    let mut bursts = Vec::new();
    while let Some((due, _)) = router.poll_timeout().filter(|(due, _)| *due < at(30_000)) {
        step(&mut router, due);
        router.handle(Input::Timer, due);
        let announced = drain(&mut router).iter().filter(|o| matches!(o, Output::Announce { .. })).count();
        assert!(announced <= 1, "{announced} bursts at once");
        bursts.extend((announced > 0).then_some(millis(due)));
    }
    bursts
}

#[test]
fn gratuitous_arp_is_refreshed_while_master() {
    let nothing = |_: &mut VirtualRouter, _| {};
    assert_eq!(announcements(5_000, Some(4_500), nothing), [14_500, 15_000, 19_000, 23_500, 28_000]);
    assert_eq!(announcements(5_000, Some(5_000), nothing), [15_000, 20_000, 25_000], "one burst for two");
    assert_eq!(announcements(0, Some(8_000), nothing), [18_000, 26_000]);
    assert_eq!(announcements(0, Some(0), nothing), [0; 0]);
    assert_eq!(announcements(0, None, nothing), [0; 0]);
    let router = master_with(Config { garp_refresh: Some(Duration::from_millis(300)), ..config() });
    assert_eq!(router.poll_timeout(), Some((at(10_300), Why::GarpRefresh)));
}

#[test]
fn no_series_of_changes_puts_a_refresh_off() {
    let change = |to: Option<u64>| {
        move |router: &mut VirtualRouter, now: MonoTime| {
            let refresh = to.map(Duration::from_millis);
            let even = now.as_nanos() / 1_000_000_000 % 2;
            let changed =
                Config { garp_refresh: refresh, garp_repeat: 1 + even as u8, ..router.config().clone() };
            router.handle(Input::Reconfigure(changed), now);
        }
    };
    assert_eq!(announcements(0, Some(8_000), change(Some(8_000))), [18_000, 26_000]);
    assert_eq!(announcements(0, Some(8_000), change(Some(12_000))), [18_000]);
    assert_eq!(announcements(0, Some(15_000), change(Some(6_000))), [17_000, 23_000, 29_000]);
    assert_eq!(announcements(0, Some(8_000), change(None)), [0; 0]);
    assert_eq!(announcements(0, None, change(Some(6_000))), [17_000, 23_000, 29_000]);
}

#[test]
fn a_late_refresh_is_not_made_up_for() {
    let mut router = master_with(Config { garp_refresh: Some(Duration::from_secs(1)), ..config() });
    router.handle(Input::Timer, at(13_500));
    assert_eq!(line(&drain(&mut router)), "advert Periodic, announce 5");
    assert_eq!(router.poll_timeout(), Some((at(14_500), Why::AdvertDue)));
}

/// When a Master that heard a rival once, at 10.5 s, says that it is gone.
fn rival_gone(mut router: VirtualRouter, theirs: &Config, sleep_at: Option<u64>) -> u64 {
    hear(&mut router, &advert(theirs, 50), ip("10.9.0.1"), at(10_500));
    loop {
        let (due, _) = router.poll_timeout().expect("a Master advertises");
        let asleep = sleep_at.is_some_and(|sleep| (sleep..sleep + 8000).contains(&millis(due)));
        let now = if asleep { at(sleep_at.unwrap_or(0) + 8000) } else { due };
        router.handle(Input::Timer, now);
        let gone = |output: &Output| match output {
            Output::Event(event) => matches!(event.notice, Notice::RivalGone { .. }),
            _ => false,
        };
        if drain(&mut router).iter().any(gone) {
            return millis(now);
        }
        assert!(now < at(200_000), "never");
    }
}

#[test]
fn a_rival_is_gone_after_its_own_silence() {
    assert_eq!(rival_gone(master_with(config()), &config(), None), 14_109);
    // A slow one is not gone between two of its adverts, a fast one not between two of ours.
    let [slow, fast] = [3000, 10].map(|cs| Config { interval: centis(cs), ..config_v3() });
    assert_eq!(rival_gone(master_with(config_v3()), &slow, None), 118_781);
    assert_eq!(rival_gone(master_with(config_v3()), &fast, None), 14_109);
}

/// Stopped from 12 s to 20 s: what the rival said meanwhile is still in the socket.
#[test]
fn our_own_sleep_is_no_silence_of_a_rival() {
    assert_eq!(rival_gone(master_with(config()), &config(), Some(12_000)), 23_609);
}

#[test]
fn a_rival_again_is_another_episode() {
    let mut router = master_with(config());
    for (start, episodes) in [(11, 1), (20, 2), (100, 3)] {
        for second in start..start + 3 {
            while let Some((due, _)) = router.poll_timeout().filter(|(due, _)| *due <= at(second * 1000)) {
                router.handle(Input::Timer, due);
                drain(&mut router);
            }
            hear(&mut router, &advert(&config(), 50), ip("10.9.0.1"), at(second * 1000));
            drain(&mut router);
        }
        assert_eq!(router.counters().rival_masters, episodes);
    }
    assert_eq!(router.counters().to_status().rival_masters, 3);
    // An episode ends with the mastership, untold.
    hear(&mut router, &advert(&config(), 200), ip("10.9.0.3"), at(102_100));
    assert_eq!(line(&drain(&mut router)), "advert LastWords, Backup");
}

#[test]
fn a_vrid_is_in_use_only_by_others_with_vips() {
    let others = ips(&["10.9.0.200"]);
    let (peer, own) = ("10.9.0.1", "10.9.0.2");
    // Our VIPs, theirs, their address, what is told.
    for (ours, theirs, src, told) in [
        (ips(&["10.9.0.100"]), others.clone(), peer, "event VridInUse"),
        (ips(&["10.9.0.100", "10.9.0.200"]), others.clone(), peer, "event VipListMismatch"),
        (ips(&["10.9.0.100"]), others.clone(), own, "event Rejected(OwnAddress)"),
        (ips(&["10.9.0.100"]), Vec::new(), peer, "event VipListMismatch"),
        (Vec::new(), others.clone(), peer, "event VipListMismatch"),
        (Vec::new(), Vec::new(), peer, "nothing"),
    ] {
        let mut router = VirtualRouter::new(Config { vips: ours, ..config() });
        let theirs = evenkeel_vrrp::Advert { addresses: theirs, ..advert(&config(), 200) };
        hear(&mut router, &theirs, ip(src), at(9_000));
        let in_initialize = line(&drain(&mut router));
        assert_eq!(in_initialize == "event VridInUse", told == "event VridInUse");
        assert!(in_initialize == "nothing" || in_initialize == told);
        let mut router = VirtualRouter::new(router.config().clone());
        router.handle(Input::Startup, at(10_000));
        drain(&mut router);
        hear(&mut router, &theirs, ip(src), at(10_500));
        assert_eq!(line(&drain(&mut router)), told, "{theirs:?}");
        let (mismatch, in_use) = (router.counters().vip_list_mismatch, router.counters().vrid_in_use);
        assert_eq!((mismatch == 1, in_use == 1), (told.contains("Mismatch"), told.contains("InUse")));
    }
}
