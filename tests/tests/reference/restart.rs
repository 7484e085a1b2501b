//! Rows 10 and 14: a daemon that is killed, and comes back or does not; and one that hangs.

use std::time::Duration;

use lab::{LogEvent, Reference, eventually, guest, mark};
use nix::sys::signal::Signal;

use crate::support::{
    DIR1, MASTER_DOWN, NO_ELECTION, PATIENCE, TABLE, TOLERANCE, find_guardian, steady_client, watch,
};

#[test]
fn a_killed_master_that_is_back_within_two_seconds_goes_on_without_an_election() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let adverts = lab.capture_vrrp();
        let vip = watch(&reference);
        let client = steady_client(&reference);
        let download = reference.hosts.client.download(reference.hosts.vip, 80);
        download.responder(PATIENCE);
        let requests = dir1.netlink_capture();

        let killed = mark();
        daemons.dir1.kill9();
        // What a service manager would wait before it starts the daemon again, and a busy machine needs a
        // while for that.
        std::thread::sleep(Duration::from_millis(800));
        let again = reference.start(dir1);
        again.wait_told(LogEvent::Master, PATIENCE);
        lab.log(format!("dir1 was Master again {:?} after it was killed", killed.elapsed()));
        std::thread::sleep(Duration::from_secs(6));
        assert_eq!(vip.none_since(killed), Duration::ZERO, "the VIP went");
        assert_eq!(vip.both_since(killed), Duration::ZERO, "the VIP was on both");
        assert_eq!(vip.holders(), ["dir1"]);
        assert_eq!(dir1.ipvsadm(), TABLE);
        assert_eq!(requests.changes_since(killed), Vec::<String>::new(), "the kernel was changed");
        assert!(adverts.since(killed).iter().all(|advert| advert.what.source == DIR1), "an election");
        assert_eq!(daemons.dir2.count_since(killed, LogEvent::Master), 0, "{}", daemons.dir2.log());
        let gap = client.gap_since(killed);
        lab.log(format!("client gap {gap:?}, download's longest stall {:?}", download.max_stall()));
        lab.assert_within("client gap", gap, NO_ELECTION, killed);
        assert!(download.alive(), "the download ended: {:?}", download.end());
    });
}

#[test]
fn a_killed_master_that_stays_away_loses_its_vip_before_the_backup_claims_it() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let vip = watch(&reference);
        let client = steady_client(&reference);
        let killed = mark();
        daemons.dir1.kill9();
        let took = vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        let (both, gap) = (vip.both_since(killed), client.gap_since(killed));
        lab.log(format!("dir2 alone had the VIP after {took:?}; on both for {both:?}; client gap {gap:?}"));
        lab.assert_within("dir2 was Master", took, MASTER_DOWN + TOLERANCE, killed);
        lab.assert_within("VIP on both", both, TOLERANCE, killed);
        lab.assert_within("client gap", gap, MASTER_DOWN + TOLERANCE, killed);
        // The guardian has done its work and ends.
        eventually(PATIENCE, "no evenkeeld process of dir1 is left", || {
            !reference.hosts.dir1.scratch().join("evenkeeld.sock.guard").exists()
        });
        // And the host comes back as if nothing had been.
        let again = reference.start(&reference.hosts.dir1);
        again.wait_told(LogEvent::Master, PATIENCE);
        vip.wait_holder(&reference.hosts.dir1, PATIENCE);
    });
}

#[test]
fn a_master_that_hangs_loses_its_vip_and_takes_its_place_again_when_it_goes_on() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let vip = watch(&reference);
        let client = steady_client(&reference);
        let hung = mark();
        daemons.dir1.signal(Signal::SIGSTOP);
        vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        let (both, gap) = (vip.both_since(hung), client.gap_since(hung));
        lab.log(format!("hung: on both for {both:?}; client gap {gap:?}"));
        lab.assert_within("VIP on both", both, TOLERANCE, hung);
        lab.assert_within("client gap", gap, MASTER_DOWN + TOLERANCE, hung);
        let resumed = mark();
        daemons.dir1.signal(Signal::SIGCONT);
        vip.wait_holder(&reference.hosts.dir1, PATIENCE);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(vip.holders(), ["dir1"]);
        lab.log(format!("went on: client gap {:?}", client.gap_since(resumed)));
    });
}

#[test]
fn a_killed_guardian_is_replaced_and_guards() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let vip = watch(&reference);
        let guardian = find_guardian(&reference, daemons.dir1.pid()).expect("a guardian");
        lab.run(["kill", "-9", &guardian]);
        daemons.dir1.wait_told(LogEvent::GuardianGone, PATIENCE);
        eventually(PATIENCE, "there is a new guardian", || {
            find_guardian(&reference, daemons.dir1.pid()).is_some_and(|pid| pid != guardian)
        });
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(vip.holders(), ["dir1"]);
        let killed = mark();
        daemons.dir1.kill9();
        vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        lab.assert_within("VIP on both", vip.both_since(killed), TOLERANCE, killed);
    });
}
