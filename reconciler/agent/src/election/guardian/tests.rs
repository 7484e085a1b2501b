//! What a guardian at the other end of a connection hears, with time as the tests want it.

use std::io::Read;

use socket2::Socket;

use super::*;

fn lease(until: MonoTime) -> Lease {
    Lease { router: "eth0 IPv4 VRID 51".to_owned(), addresses: Vec::new(), until }
}

fn heard(mut socket: &Socket) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = socket.read(&mut buffer) {
        heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    heard
}

/// Fills the connection and returns when it was full.
fn fill(session: &mut GuardianSession, now: MonoTime) {
    while session.guarded() {
        session.lease(lease(now + BEAT * 99));
        session.flush(now);
    }
}

#[test]
fn a_slow_guardian_is_kept_and_hears_releases_later() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::ZERO);
    fill(&mut session, now);
    session.release("eth0 IPv4 VRID 51".to_owned(), now);
    assert_eq!(session.request(now), None, "it is not lost");
    heard(&theirs);
    session.flush(now);
    assert!(session.guarded());
    assert_eq!(heard(&theirs), [r#"{"release":"eth0 IPv4 VRID 51"}"#]);
    session.flush(now);
    assert_eq!(heard(&theirs), Vec::<String>::new());
}

/// Answers all beats that have come.
fn answer(theirs: &Socket) {
    for message in heard(theirs) {
        if let Some(number) = message.strip_prefix(r#"{"beat":"#) {
            theirs.send(format!(r#"{{"alive":{number}"#).as_bytes()).expect("room");
        }
    }
}

#[test]
fn a_guardian_that_stops_answering_is_replaced() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, mut now) = (GuardianSession::new(guardian), MonoTime::from_millis(1000));
    for _ in 0..20 {
        session.beat_if_due(now);
        assert!(session.guarded() && session.request(now).is_none());
        answer(&theirs);
        session.read_answers();
        assert_eq!(session.due(), now + BEAT);
        now = session.due();
    }
    // It hangs from here on.
    let hung = now;
    session.beat_if_due(now);
    now = now + BEAT;
    session.beat_if_due(now);
    assert!(!session.guarded() && session.request(now).is_none(), "not guarded, but not given up");
    answer(&theirs);
    session.beat_if_due(now);
    session.read_answers();
    assert!(session.guarded(), "it was only slow");
    while session.request(now).is_none() {
        now = now + BEAT;
        session.beat_if_due(now);
    }
    assert!(hung.until(now) <= Duration::from_millis(1300), "{:?}", hung.until(now));
    assert!(heard(&theirs).contains(&r#""leave""#.to_owned()), "in case that it wakes up");
    assert_eq!(session.request(now), None);
    assert_eq!(session.request(now + ASK_GAP), Some(Lost::Hung { harmless: true }));
    let (guardian, theirs) = Guardian::pair().expect("pair");
    session.replace(guardian);
    session.beat_if_due(now);
    assert!(session.guarded() && session.request(now + ASK_GAP * 2).is_none());
    drop(theirs);
    session.read_answers();
    assert_eq!((session.guarded(), session.request(now + ASK_GAP * 2)), (false, Some(Lost::Gone)));
}

#[test]
fn beats_that_are_sent_late_are_counted_only_after_many_of_them() {
    let (guardian, _theirs) = Guardian::pair().expect("pair");
    let (mut session, mut now) = (GuardianSession::new(guardian), MonoTime::from_millis(1000));
    let mut late = 0;
    while session.request(now).is_none() {
        session.beat_if_due(now);
        now = now + BEAT + LATE;
        late += 1;
    }
    assert_eq!(late, MISSED_LATE + 1);
    // A hanging guardian is found within a second, and within five when this thread is late itself.
    assert!(BEAT * (MISSED + 1) < Duration::from_secs(1));
    assert!((BEAT + LATE) * late < Duration::from_secs(5));
}

#[test]
fn the_vips_of_the_plan_are_sent_before_any_lease() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::ZERO);
    let vip = |number: usize| AddressKey {
        interface: "eth0".to_owned(),
        address: format!("10.9.{}.{}/32", number / 256, number % 256).parse().expect("address"),
    };
    let names = |count: usize| -> BTreeSet<AddressKey> { (0..count).map(vip).collect() };
    session.name_vips(names(CHUNK + 1));
    assert!(session.lease(lease(now + BEAT)));
    let messages = heard(&theirs);
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(
        messages[0].starts_with(r#"{"vips":"#) && messages[0].ends_with(r#""more":false}}"#),
        "{messages:?}"
    );
    assert!(
        messages[1].ends_with(r#""more":true}}"#) && messages[2].starts_with(r#"{"lease":"#),
        "{messages:?}"
    );
    session.name_vips(names(CHUNK + 1));
    session.flush(now);
    assert_eq!(heard(&theirs), Vec::<String>::new(), "it knows");
    // Each guardian hears the VIPs, and none a lease while there was no room for them.
    let (guardian, theirs) = Guardian::pair().expect("pair");
    session.replace(guardian);
    while session.guarded() {
        session.beat_at = None;
        session.beat_if_due(now);
        session.answered = session.beat;
    }
    assert!(!session.lease(lease(now + BEAT)));
    heard(&theirs);
    assert!(session.lease(lease(now + BEAT)));
    let messages = heard(&theirs);
    assert!(messages.len() == 3 && messages[0].starts_with(r#"{"vips":"#), "{messages:?}");
}

#[test]
fn a_removal_is_sent_once_and_ended() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::ZERO);
    let vip = |last: u8| AddressKey {
        interface: "eth0".to_owned(),
        address: format!("192.0.2.{last}/32").parse().expect("address"),
    };
    session.remove(&BTreeSet::new(), now);
    assert_eq!(heard(&theirs), Vec::<String>::new());
    session.remove(&BTreeSet::from([vip(1), vip(2)]), now);
    session.remove(&BTreeSet::from([vip(1), vip(2)]), now);
    let messages = heard(&theirs);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("removal 0") && messages[0].contains("192.0.2.2/32"), "{messages:?}");
    session.remove(&BTreeSet::new(), now);
    let messages = heard(&theirs);
    assert!(messages.len() == 1 && messages[0].starts_with(r#"{"release":"removal 0 of"#), "{messages:?}");
}

#[test]
fn renewals_are_sent_together_and_an_ended_lease_in_full() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::from_millis(1000));
    let lease = |vrid: u8, until: u64| Lease {
        router: format!("VRID {vrid}"),
        addresses: Vec::new(),
        until: MonoTime::from_millis(until),
    };
    for vrid in [51, 52] {
        assert!(session.lease(lease(vrid, 4000)));
    }
    assert_eq!(heard(&theirs).len(), 2);
    for vrid in [51, 52] {
        session.lease(lease(vrid, 5000));
        assert!(session.renew_known(&lease(vrid, 0).router, [].iter(), MonoTime::from_millis(6000)));
    }
    let other = AddressKey { interface: "eth0".to_owned(), address: "192.0.2.1/32".parse().expect("VIP") };
    assert!(!session.renew_known("VRID 51", [&other].into_iter(), MonoTime::from_millis(7000)));
    assert!(!session.renew_known("VRID 53", [].iter(), MonoTime::from_millis(7000)));
    session.flush(now);
    assert_eq!(heard(&theirs), [r#"{"renew":{"VRID 51":6000000000,"VRID 52":6000000000}}"#]);
    session.flush(now);
    assert_eq!(heard(&theirs), Vec::<String>::new());
    let late = MonoTime::from_millis(6000);
    session.lease(lease(51, 9000));
    session.flush(late);
    let messages = heard(&theirs);
    assert!(
        messages.len() == 1 && messages[0].starts_with(r#"{"lease":{"router":"VRID 51""#),
        "{messages:?}"
    );
}

#[test]
fn bound_services_are_sent_when_they_change_and_to_each_guardian() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::ZERO);
    let services = |count: u32| -> Vec<ServiceKey> {
        (1..=count).map(|mark| ServiceKey::Mark { v6: false, mark }).collect()
    };
    let bind = |session: &mut GuardianSession, count: u32, theirs: &Socket| {
        session.bind("VRID 51", &services(count));
        session.bind("VRID 52", &[]);
        session.flush(now);
        heard(theirs)
    };
    assert_eq!(bind(&mut session, 0, &theirs), Vec::<String>::new());
    let messages = bind(&mut session, 2, &theirs);
    assert!(
        messages.len() == 1 && messages[0].starts_with(r#"{"bound":{"router":"VRID 51""#),
        "{messages:?}"
    );
    assert_eq!(bind(&mut session, 2, &theirs), Vec::<String>::new());
    let (guardian, theirs) = Guardian::pair().expect("pair");
    session.replace(guardian);
    assert_eq!(bind(&mut session, 2, &theirs), messages);
    let many = u32::try_from(CHUNK).expect("small") + 1;
    let messages = bind(&mut session, many, &theirs);
    assert!(messages.len() == 2 && messages[1].ends_with(r#""more":true}}"#), "{messages:?}");
    let messages = bind(&mut session, 0, &theirs);
    assert!(messages.len() == 1 && messages[0].contains(r#""services":[]"#), "{messages:?}");
}

#[test]
fn a_lease_of_many_vips_is_sent_in_parts_and_joined_again() {
    let (guardian, theirs) = Guardian::pair().expect("pair");
    let (mut session, now) = (GuardianSession::new(guardian), MonoTime::from_millis(1000));
    let vip = |number: usize| AddressKey {
        interface: "eth0".to_owned(),
        address: format!("10.9.{}.{}/32", number / 256, number % 256).parse().expect("address"),
    };
    let lease = |count: usize| Lease {
        router: "VRID 51".to_owned(),
        addresses: (0..count).map(vip).collect(),
        until: MonoTime::from_millis(4000),
    };
    assert!(session.lease(lease(1000)));
    assert_eq!(heard(&theirs).len(), 4);
    let first = lease(CHUNK);
    assert!(!session.renew_known(&first.router, first.addresses.iter(), now), "there are more");
    assert_eq!(joined(parts(lease(1000))), [lease(1000)]);
    assert_eq!(joined(parts(lease(3))), [lease(3)]);
    session.lease(lease(400));
    session.flush(now);
    let messages = heard(&theirs);
    assert!(messages.iter().any(|message| message == r#"{"release":"VRID 51, part 3"}"#), "{messages:?}");
    session.release("VRID 51".to_owned(), now);
    assert_eq!(heard(&theirs).len(), 2);
}
