//! Many routers on one host: dispatch, live configuration, the order of outputs.

#[path = "support/support.rs"]
mod support;

use evenkeel_schemas::scalars::{InterfaceName, Name};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AdvertKind, Config, Election, Family, Input, Member, Output, Received, RouterKey, State, Version, Why,
};
use support::{advert, at, bytes, config, config_v3, ip, ips, line, received, vrid};

fn interface(name: &str) -> InterfaceName {
    name.parse().expect("interface")
}

fn entry(on: &str, number: u8) -> Member {
    let config = Config { vrid: vrid(number), ..config() };
    let key = RouterKey::new(interface(on), &config);
    Member { key, name: format!("r{number}").parse().expect("name"), group: None, config }
}

fn outputs(election: &mut Election) -> Vec<(RouterKey, Output)> {
    std::iter::from_fn(|| election.poll_output()).collect()
}

fn text(outputs: &[(RouterKey, Output)]) -> String {
    let texts: Vec<String> = outputs
        .iter()
        .map(|(key, output)| format!("{}: {}", key.vrid, line(std::slice::from_ref(output))))
        .collect();
    texts.join("; ")
}

fn election(entries: Vec<Member>) -> Election {
    let mut election = Election::new();
    election.configure(entries, at(10_000));
    assert_eq!(outputs(&mut election), []);
    election
}

#[test]
fn packets_go_to_the_router_of_interface_family_and_vrid() {
    let mut election = election(vec![entry("eth0", 51), entry("eth0", 52), entry("eth1", 51)]);
    let keys: Vec<RouterKey> = election.iter().map(|(key, ..)| key.clone()).collect();
    for key in &keys {
        assert!(election.handle(key, Input::Startup, at(10_000)));
    }
    outputs(&mut election);
    let src = ip("10.9.0.1");
    let payload = bytes(&advert(&config(), 200), src);
    election.handle_packet(&interface("eth0"), received(&payload, src), at(11_000));
    let accepted: Vec<u64> =
        election.iter().map(|(_, _, router)| router.counters().adverts_received).collect();
    assert_eq!(accepted, [1, 0, 0]);
    // Another interface, another family, too short for a VRID, VRID 0.
    election.handle_packet(&interface("eth2"), received(&payload, src), at(11_000));
    let v6 = Received { payload: &payload, src: ip("fe80::1"), dst: ip("ff02::12"), ttl: 255 };
    election.handle_packet(&interface("eth0"), v6, at(11_000));
    election.handle_packet(&interface("eth0"), received(&[0x21], src), at(11_000));
    election.handle_packet(&interface("eth0"), received(&[0x21, 0], src), at(11_000));
    let unknown: Vec<(String, u8, u64)> =
        election.unknown_vrids().map(|(on, number, count)| (on.to_string(), number, count)).collect();
    let expected = [("eth0", 0, 2), ("eth0", 51, 1), ("eth2", 51, 1)];
    assert_eq!(unknown, expected.map(|(on, number, count)| (on.to_owned(), number, count)));
    assert_eq!(election.unknown_total(), 4);
    let nobody = RouterKey { interface: interface("eth9"), family: Family::V4, vrid: vrid(1) };
    assert!(!election.handle(&nobody, Input::Startup, at(11_000)));
}

#[test]
fn unknown_vrids_take_bounded_memory() {
    let mut election = election(Vec::new());
    for n in 0..20_000_u32 {
        let payload = [0x21, (n % 256) as u8];
        let on = interface(&format!("eth{}", n / 256));
        election.handle_packet(&on, received(&payload, ip("10.9.0.1")), at(10_000));
    }
    assert_eq!(election.unknown_vrids().count(), 256);
    assert_eq!(election.unknown_total(), 20_000);
}

#[test]
fn configuring_keeps_what_stays_and_shuts_down_what_goes() {
    let (first, second, third) = (entry("eth0", 51), entry("eth0", 52), entry("eth0", 53));
    let mut election = election(vec![first.clone(), second.clone()]);
    for key in [&first.key, &second.key] {
        election.handle(key, Input::Adopt, at(10_000));
    }
    outputs(&mut election);
    // Router 51 gets a VIP and a new name, 52 goes, 53 comes.
    let changed = Config { vips: ips(&["10.9.0.100", "10.9.0.101"]), ..first.config.clone() };
    let renamed: Name = "renamed".parse().expect("name");
    election.configure(
        vec![Member { name: renamed.clone(), config: changed, ..first.clone() }, third.clone()],
        at(10_500),
    );
    assert_eq!(
        text(&outputs(&mut election)),
        "52: Initialize; 52: advert PriorityZero; 51: advert Immediate; 51: announce 5"
    );
    let (name, router) = election.get(&first.key).expect("stays");
    assert_eq!((name, router.state(), router.since()), (&renamed, State::Master, Some(at(10_000))));
    assert!(election.get(&second.key).is_none());
    assert_eq!(election.get(&third.key).map(|(_, router)| router.state()), Some(State::Initialize));
    assert_eq!(election.masters(), 1);
    // The same again changes nothing.
    let same = election.iter().map(|(key, name, router)| Member {
        key: key.clone(),
        name: name.clone(),
        group: None,
        config: router.config().clone(),
    });
    let same = same.collect();
    election.configure(same, at(10_600));
    assert_eq!(outputs(&mut election), []);
}

#[test]
fn another_version_is_another_router() {
    let old = entry("eth0", 51);
    let mut election = election(vec![old.clone()]);
    election.handle(&old.key, Input::Adopt, at(10_000));
    outputs(&mut election);
    election.configure(vec![Member { config: config_v3(), ..old.clone() }], at(10_500));
    assert_eq!(text(&outputs(&mut election)), "51: Initialize; 51: advert PriorityZero");
    let (_, router) = election.get(&old.key).expect("new one");
    assert_eq!((router.state(), router.config().version), (State::Initialize, Version::V3));
    // Outputs of the new router come out although the old one stood in the queue.
    election.handle(&old.key, Input::Startup, at(10_600));
    assert_eq!(text(&outputs(&mut election)), "51: Backup");
}

#[test]
fn outputs_that_were_not_drained_survive_a_removal() {
    let (first, second) = (entry("eth0", 51), entry("eth0", 52));
    let mut election = election(vec![first.clone(), second.clone()]);
    election.handle(&first.key, Input::Adopt, at(10_000));
    election.handle(&second.key, Input::Startup, at(10_000));
    election.configure(vec![second.clone()], at(10_100));
    assert_eq!(
        text(&outputs(&mut election)),
        "51: advert Claim; 51: Master; 51: announce 5; 51: Initialize; 51: advert PriorityZero; 52: Backup"
    );
}

#[test]
fn an_advert_that_waits_to_be_read_counts_although_the_timer_is_over() {
    let (master, backup) = (entry("eth0", 51), entry("eth0", 52));
    let mut election = election(vec![master.clone(), backup.clone()]);
    election.handle(&master.key, Input::Adopt, at(10_000));
    election.handle(&backup.key, Input::Startup, at(10_000));
    outputs(&mut election);
    // The host stood still for 5 s, in which the other Master went on.
    let (now, src) = (at(15_000), ip("10.9.0.1"));
    election.handle_masters(now);
    let sent = text(&outputs(&mut election));
    assert!(sent.starts_with("51: advert Periodic") && !sent.contains("52"), "{sent}");
    let payload = bytes(&advert(&backup.config, 200), src);
    election.handle_packet(&interface("eth0"), received(&payload, src), now);
    election.handle_timers(now);
    assert_eq!(text(&outputs(&mut election)), "");
    // Without one it claims.
    let down =
        election.get(&backup.key).map(|(_, router)| router.master_down_interval()).expect("it is there");
    election.handle_masters(now + down);
    assert!(!text(&outputs(&mut election)).contains("52"));
    election.handle_timers(now + down);
    assert_eq!(text(&outputs(&mut election)), "52: advert Claim; 52: Master; 52: announce 5");
}

#[test]
fn a_host_of_255_masters_advertises_on_time() {
    let mut election = election((1..=255).map(|number| entry("eth0", number)).collect());
    let keys: Vec<RouterKey> = election.iter().map(|(key, ..)| key.clone()).collect();
    for (index, key) in keys.iter().enumerate() {
        // Spread over the second, as a started host is.
        let now = MonoTime::from_nanos(at(10_000).as_nanos() + index as u64 * 3_000_000);
        election.handle(key, Input::Adopt, now);
    }
    outputs(&mut election);
    let mut sent = 0;
    while let Some((deadline, _)) = election.poll_timeout().filter(|(deadline, _)| *deadline < at(14_000)) {
        election.handle_timers(deadline);
        for (_, output) in outputs(&mut election) {
            if let Output::Transmit { due, kind, .. } = output {
                assert_eq!((due, kind), (deadline, AdvertKind::Periodic));
                sent += 1;
            }
        }
    }
    assert_eq!(sent, 255 * 3);
    assert_eq!(election.poll_timeout(), Some((at(14_000), Why::AdvertDue)));
    election.shutdown(at(14_000));
    let farewells = outputs(&mut election);
    assert_eq!(farewells.len(), 255);
    assert_eq!(election.masters(), 255, "they serve until another director does");
    let (end, why) = election.poll_timeout().expect("not for ever");
    assert_eq!(why, Why::LeavingOver);
    election.handle_timers(end);
    assert_eq!(outputs(&mut election).len(), 255);
    assert_eq!((election.masters(), election.poll_timeout()), (0, None));
}

/// So many routers, which all take part from the same moment on.
fn started_together(count: u8) -> Election {
    let members: Vec<Member> = (1..=count).map(|number| entry("eth0", number)).collect();
    let keys: Vec<RouterKey> = members.iter().map(|member| member.key.clone()).collect();
    let mut election = election(members);
    for key in &keys {
        election.handle(key, Input::Startup, at(10_000));
    }
    election
}

/// Advertisements that each turn sends, by time, of an election that is driven as the daemon does it.
fn adverts_by_turn(election: &mut Election, until: MonoTime) -> Vec<(MonoTime, Vec<RouterKey>)> {
    let mut turns = Vec::new();
    while let Some((now, _)) = election.poll_timeout().filter(|(now, _)| *now < until) {
        election.handle_masters(now);
        election.handle_timers(now);
        let sent = outputs(election).into_iter();
        let sent: Vec<RouterKey> = sent
            .filter(|(_, output)| matches!(output, Output::Transmit { .. }))
            .map(|(key, _)| key)
            .collect();
        if !sent.is_empty() {
            turns.push((now, sent));
        }
    }
    turns
}

#[test]
fn many_masters_do_not_advertise_all_at_once_for_long_and_none_waits_longer_than_its_interval() {
    let mut election = started_together(255);
    let turns = adverts_by_turn(&mut election, at(40_000));
    assert_eq!(turns[0].1.len(), 255, "they claim together");
    let mut last: std::collections::BTreeMap<&RouterKey, (MonoTime, usize)> = Default::default();
    for (now, sent) in &turns {
        for key in sent {
            let (before, count) = last.get(key).copied().unwrap_or((*now, 0));
            assert!(now.since(before) <= std::time::Duration::from_secs(1), "{key:?} at {now:?}");
            last.insert(key, (*now, count + 1));
        }
    }
    assert_eq!(last.len(), 255);
    assert!(
        last.values().all(|(_, count)| (25..=29).contains(count)),
        "one early advertisement each, no more"
    );
    let settled: Vec<usize> =
        turns.iter().filter(|(now, _)| *now > at(20_000)).map(|(_, sent)| sent.len()).collect();
    assert!(settled.iter().all(|sent| *sent <= 64), "{settled:?}");
    assert!(settled.len() >= 4 * 19, "all over the interval");
}

#[test]
fn few_masters_keep_the_interval_to_the_letter() {
    let mut election = started_together(64);
    let turns = adverts_by_turn(&mut election, at(20_000));
    assert!(turns.iter().all(|(_, sent)| sent.len() == 64));
    assert!(turns.windows(2).all(|pair| pair[1].0.since(pair[0].0) == std::time::Duration::from_secs(1)));
}
