//! Rows 3, 4 and 5: the Master stops, loses its link, comes back.

use std::time::Duration;

use nix::sys::signal::Signal;

use lab::{Host, Lab, LogEvent, Reference, eventually, guest, mark};

use crate::support::{
    DIR1, HANDOVER, MASTER_DOWN, NO_ELECTION, PATIENCE, ROUNDS, TOLERANCE, median, steady_client,
    wait_priority_zero, watch,
};

/// The time until announcements are repeated is 20 ms, less what the clock of a captured packet may be off.
const ANNOUNCED_LATER: Duration = Duration::from_millis(5);
/// Longest time for which a Master leaves: the longest skew time, and a quarter of a second.
const LEAVES: Duration = Duration::from_millis(1_250);

#[test]
fn a_master_that_stops_serves_until_another_one_does_and_preempts_when_it_is_back() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let mut daemons = reference.serving();
        let adverts = lab.capture_vrrp();
        let announcements = lab.capture_announcements();
        let vip = watch(&reference);
        let client = steady_client(&reference);
        let begun = mark();
        let (mut stops, mut starts, mut lost) = (Vec::new(), Vec::new(), 0);
        let (mut both, mut none) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let stopped = mark();
            daemons.dir1.stop(PATIENCE);
            vip.wait_holder(&reference.hosts.dir2, PATIENCE);
            client.wait_ok(PATIENCE);
            wait_priority_zero(&adverts, DIR1, stopped);
            stops.push(client.gap_since(stopped));
            none.push(vip.none_since(stopped));
            both.push(vip.both_since(stopped));
            lost += client.errors_since(stopped).values().sum::<usize>();
            daemons.dir2.wait_told_since(stopped, LogEvent::Master, PATIENCE);
            // One at once; the others wait until all that clients wait for is done.
            let mac = reference.hosts.dir2.mac("eth0");
            let announced = || -> Vec<_> {
                let all = announcements.of(reference.hosts.vip, stopped).into_iter();
                all.filter(|record| record.what.mac == mac).map(|record| record.at).collect()
            };
            eventually(PATIENCE, "five announcements", || announced().len() >= 5);
            let pause = announced()[1].saturating_duration_since(announced()[0]);
            assert!(pause > ANNOUNCED_LATER, "repeated after {pause:?}");
            let last = announcements.of(reference.hosts.vip, stopped).pop().map(|record| record.what.mac);
            assert_eq!(last, Some(mac), "the new Master has the last word");

            let started = mark();
            daemons.dir1 = reference.start(&reference.hosts.dir1);
            daemons.dir1.wait_told(LogEvent::Master, PATIENCE);
            vip.wait_holder(&reference.hosts.dir1, PATIENCE);
            client.wait_ok(PATIENCE);
            std::thread::sleep(Duration::from_secs(2));
            starts.push(client.gap_since(started));
            assert_eq!(vip.holders(), ["dir1"]);
        }
        lab.log(format!("dir1 stopped: client gaps {stops:?}, {lost} requests lost"));
        lab.log(format!("dir1 stopped: VIP on both {both:?}, on none {none:?}"));
        lab.log(format!("dir1 started again and preempted: client gaps {starts:?}"));
        lab.assert_within("client gap, dir1 stopped", median(stops), NO_ELECTION, begun);
        lab.assert_within("VIP on both, dir1 stopped", median(both), HANDOVER, begun);
        lab.assert_within("VIP on none, dir1 stopped", median(none), HANDOVER, begun);
        lab.assert_within("client gap, dir1 started", median(starts), NO_ELECTION, begun);
        assert_eq!(reference.rejected(&reference.hosts.dir1), 0);
        assert_eq!(reference.rejected(&reference.hosts.dir2), 0);
    });
}

/// Nobody else is there: it serves for as long as a Backup of the lowest priority would have needed. A second
/// signal ends that.
#[test]
fn a_master_that_stops_alone_serves_until_a_backup_would_have_claimed() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let vip = watch(&reference);
        for twice in [false, true] {
            let director = reference.start(&reference.hosts.dir1);
            vip.wait_holder(&reference.hosts.dir1, PATIENCE);
            let stopped = mark();
            director.signal(Signal::SIGTERM);
            if twice {
                director.signal(Signal::SIGINT);
            }
            let ended = director.wait(PATIENCE);
            assert!(ended.success(), "{ended}");
            let served = vip.held_since(stopped).get("dir1").copied().unwrap_or_default();
            lab.log(format!(
                "stopped alone, {}: served for {served:?}",
                if twice { "twice" } else { "once" }
            ));
            if twice {
                lab.assert_within("served after two signals", served, LEAVES / 2, stopped);
            } else {
                assert!(served > LEAVES / 2, "{served:?}");
                lab.assert_within("served alone", served, LEAVES + TOLERANCE, stopped);
            }
            assert!(vip.holders().is_empty());
        }
    });
}

/// The link goes down, carrier and all.
#[test]
fn a_master_whose_link_is_cut_is_replaced_within_the_master_down_interval() {
    guest(|lab| link_lost(lab, Host::cut));
}

/// Packets are lost, and both directors believe that their link is up: two Masters until it heals.
#[test]
fn a_master_whose_packets_are_lost_is_replaced_and_the_conflict_ends_with_the_loss() {
    guest(|lab| link_lost(lab, Host::blackhole));
}

fn link_lost(lab: &Lab, lose: fn(&Host)) {
    let reference = Reference::new(lab);
    let _daemons = reference.serving();
    let adverts = lab.capture_vrrp();
    let vip = watch(&reference);
    let client = steady_client(&reference);

    let lost = mark();
    lose(&reference.hosts.dir1);
    eventually(PATIENCE, "dir2 has the VIP", || vip.holders().iter().any(|host| host == "dir2"));
    client.wait_ok(PATIENCE);
    let gap = client.gap_since(lost);
    lab.log(format!("dir1's link lost: client gap {gap:?} (bound {MASTER_DOWN:?})"));
    lab.assert_within("client gap", gap, MASTER_DOWN + TOLERANCE, lost);

    let healed = mark();
    reference.hosts.dir1.reconnect();
    let back = adverts.wait(PATIENCE, |advert| advert.at > healed && advert.what.source == DIR1);
    vip.wait_holder(&reference.hosts.dir1, PATIENCE);
    client.wait_ok(PATIENCE);
    std::thread::sleep(Duration::from_secs(3));
    let rivals = adverts.since(back.at).iter().filter(|advert| advert.what.source != DIR1).count();
    lab.log(format!(
        "dir1's link back: client gap {:?}, {rivals} adverts of dir2 after dir1's first",
        client.gap_since(healed)
    ));
    assert_eq!(vip.holders(), ["dir1"]);
    assert!(rivals <= 1, "dir2 went on sending: {rivals} adverts after dir1's first");
}
