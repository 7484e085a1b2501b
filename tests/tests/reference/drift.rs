//! Rows 8 and 13: what is changed by hand is repaired, what is not ours is left alone and told.

use std::time::Duration;

use lab::{LogEvent, Reference, eventually, guest, mark};

use crate::support::{DIR1, PATIENCE, TABLE, steady_client, watch};

/// Time for the repair of an address.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Time for the repair of what has no events: the resync deadline, and the work itself.
const RESYNC: Duration = Duration::from_millis(5_500);
/// Time for a repair at the next resync, on a busy machine.
const REPAIRED: Duration = Duration::from_millis(9_500);

#[test]
fn a_vip_taken_from_a_master_is_put_back_at_once_and_it_stays_master() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let adverts = lab.capture_vrrp();
        let vip = watch(&reference);
        let client = steady_client(&reference);
        let begun = mark();
        for _ in 0..3 {
            let deleted = mark();
            reference.hosts.dir1.run(["ip", "addr", "del", "192.168.188.120/32", "dev", "eth0"]);
            let took = vip.wait_holder(&reference.hosts.dir1, PATIENCE);
            lab.log(format!(
                "VIP was back {took:?} after it was deleted, gone for {:?}",
                vip.none_since(deleted)
            ));
            lab.assert_within("VIP gone", vip.none_since(deleted), AT_ONCE, deleted);
        }
        std::thread::sleep(Duration::from_secs(2));
        client.wait_ok(PATIENCE);
        lab.log(format!("client gap {:?}", client.gap_since(begun)));
        let others = adverts.since(begun).iter().filter(|advert| advert.what.source != DIR1).count();
        assert_eq!(others, 0, "dir2 sent {others} adverts");
        assert!(adverts.since(begun).iter().all(|advert| advert.what.priority == 100), "dir1 left");
        assert_eq!(daemons.dir1.count(LogEvent::Master), 1, "{}", daemons.dir1.log());
        assert_eq!(reference.status(&reference.hosts.dir1)["routers"][0]["counters"]["vip_repairs"], 3);
    });
}

#[test]
fn what_is_changed_by_hand_on_a_director_is_repaired_within_the_resync_deadline() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let _daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let service = ["-t", "192.168.188.120:80"];
        for (what, argv) in [
            (
                "a destination is deleted",
                vec!["ipvsadm", "-d", service[0], service[1], "-r", "192.168.188.107:80"],
            ),
            (
                "a weight is changed",
                vec!["ipvsadm", "-e", service[0], service[1], "-r", "192.168.188.107:80", "-g", "-w", "7"],
            ),
            ("the scheduler is changed", vec!["ipvsadm", "-E", service[0], service[1], "-s", "rr"]),
            (
                "a destination is added",
                vec!["ipvsadm", "-a", service[0], service[1], "-r", "192.168.188.99:80", "-g", "-w", "1"],
            ),
            ("the service is deleted", vec!["ipvsadm", "-D", service[0], service[1]]),
            ("the table is cleared", vec!["ipvsadm", "-C"]),
        ] {
            dir1.run(argv);
            assert_ne!(dir1.ipvsadm(), TABLE, "{what}: nothing changed");
            let took = eventually(REPAIRED, &format!("{what}: repaired"), || dir1.ipvsadm() == TABLE);
            lab.log(format!("{what}: repaired after {took:?}"));
        }
        dir1.set_sysctl("net.ipv4.ip_forward", 0);
        let took = eventually(REPAIRED, "ip_forward is 1", || dir1.sysctl("net.ipv4.ip_forward") == "1");
        lab.log(format!("ip_forward: repaired after {took:?}"));
    });
}

#[test]
fn what_is_changed_by_hand_on_a_real_server_is_repaired() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let _daemons = reference.serving();
        let (rs1, vip) = (&reference.hosts.rs1, reference.hosts.vip);
        let client = steady_client(&reference);
        let lo_vip = lab.watch_vip(vip, &[rs1], "lo");
        rs1.run(["ip", "addr", "del", "192.168.188.120/32", "dev", "lo"]);
        let took = lo_vip.wait_holder(rs1, PATIENCE);
        lab.log(format!("the lo VIP was back after {took:?}"));
        let begun = mark() - lab.elapsed();
        lab.assert_within("lo VIP gone", lo_vip.none_since(begun), AT_ONCE, begun);
        let labels = crate::support::ip_addresses(rs1, "lo");
        assert!(labels.iter().any(|address| address.2 == "lo:0"), "{labels:?}");

        rs1.run(["ip", "route", "del", "192.168.188.120/32", "dev", "lo", "table", "main"]);
        let took = eventually(Duration::from_secs(4), "the host route is back", || {
            rs1.run(["ip", "route", "show", "table", "main"]).contains("192.168.188.120 dev lo")
        });
        lab.log(format!("the host route was back after {took:?}"));

        for (key, wrong, right) in [
            ("net.ipv4.conf.all.arp_ignore", 0, "1"),
            ("net.ipv4.conf.lo.arp_ignore", 0, "1"),
            ("net.ipv4.conf.lo.arp_announce", 0, "2"),
        ] {
            rs1.set_sysctl(key, wrong);
            let took = eventually(REPAIRED, &format!("{key} is {right}"), || rs1.sysctl(key) == right);
            lab.log(format!("{key}: repaired after {took:?}"));
        }
        client.wait_ok(PATIENCE);
    });
}

#[test]
fn drift_that_is_to_be_reported_is_left_over_a_restart_and_changes_are_still_made() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let policy = "\n[policy]\nresync = \"1s\"\ndrift = { ipvs = \"report\", sysctls = \"report\" }\n";
        let text = Reference::cluster_file() + policy;
        reference.compile_text(&text);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        assert_eq!(dir1.ipvsadm(), TABLE);
        let edit = ["ipvsadm", "-e", "-t", "192.168.188.120:80", "-r", "192.168.188.107:80", "-g", "-w", "7"];
        dir1.run(edit);
        dir1.set_sysctl("net.ipv4.ip_forward", 0);
        let edited = dir1.ipvsadm();
        let reported = || {
            let convergence = reference.status(dir1)["convergence"].clone();
            convergence["reported_drift"] == 2 && convergence["converged"] == true
        };
        eventually(PATIENCE, "both are reported", reported);
        dir1.run(["ip", "addr", "del", "192.168.188.120/32", "dev", "eth0"]);
        eventually(PATIENCE, "the VIP is back", || dir1.has_address("eth0", "192.168.188.120"));
        let drifts = || -> Vec<String> {
            let status = reference.status(dir1);
            let drifts = status["convergence"]["drifts"].as_array().cloned().unwrap_or_default();
            let words = |drift: &serde_json::Value| {
                let words = ["kind", "object", "found", "outcome", "count"].map(|key| drift[key].to_string());
                words.join(" ").replace('"', "")
            };
            drifts.iter().map(words).collect()
        };
        let mut wanted = vec![
            "address 192.168.188.120/32 on eth0 missing repaired 1",
            "destination 192.168.188.107:80 of tcp 192.168.188.120:80 Route weight 7 reported 1",
            "sysctl net/ipv4/ip_forward 0 reported 1",
        ];
        let sorted = || {
            let mut drifts = drifts();
            drifts.sort();
            drifts
        };
        eventually(PATIENCE, "the VIP is told", || sorted().len() == 3);
        assert_eq!(sorted(), wanted);

        let begun = mark();
        daemons.dir1.kill9();
        let again = reference.start(dir1);
        again.wait_told(LogEvent::Drift.with("what", "192.168.188.107:80"), PATIENCE);
        eventually(PATIENCE, "both are reported by the next daemon", reported);
        std::thread::sleep(RESYNC);
        assert_eq!(dir1.ipvsadm(), edited, "left by the next daemon");
        assert_eq!(dir1.sysctl("net.ipv4.ip_forward"), "0");
        wanted.remove(0);
        assert_eq!(sorted(), wanted);
        lab.log(format!("{:?} after the kill: {:?}", begun.elapsed(), sorted()));

        // The other real server changes: that is made, and the drift is left.
        let changed = text.replace("{ host = \"rs2\", weight = 100 }", "{ host = \"rs2\", weight = 50 }");
        assert_ne!(changed, text);
        reference.compile_text(&changed);
        let with = |from: &[String], before: &str, after: &str| -> Vec<String> {
            from.iter().map(|rule| rule.replace(before, after)).collect()
        };
        let wanted = with(&edited, "188.110:80 -g -w 100", "188.110:80 -g -w 50");
        eventually(PATIENCE, "the change is made", || dir1.ipvsadm() == wanted);
        std::thread::sleep(RESYNC);
        assert_eq!(dir1.ipvsadm(), wanted);

        // And the one that has drifted, whatever it is now.
        let changed = changed.replace("{ host = \"rs1\", weight = 100 }", "{ host = \"rs1\", weight = 20 }");
        reference.compile_text(&changed);
        let wanted = with(&wanted, "188.107:80 -g -w 7", "188.107:80 -g -w 20");
        eventually(PATIENCE, "the change is made", || dir1.ipvsadm() == wanted);
        eventually(PATIENCE, "one is left", || {
            let convergence = reference.status(dir1)["convergence"].clone();
            convergence["reported_drift"] == 1 && convergence["converged"] == true
        });
        assert_eq!(dir1.sysctl("net.ipv4.ip_forward"), "0");

        // To repair from now on is to put right what was left.
        reference.compile_text(&Reference::cluster_file());
        eventually(PATIENCE, "all is as in the plan", || {
            dir1.ipvsadm() == TABLE && dir1.sysctl("net.ipv4.ip_forward") == "1"
        });
    });
}

#[test]
fn foreign_objects_are_listed_and_never_touched() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let dir1 = &reference.hosts.dir1;
        dir1.run(["ip", "addr", "add", "192.168.188.200/24", "dev", "eth0"]);
        dir1.run(["ip", "route", "add", "10.99.0.0/16", "via", "192.168.188.1", "dev", "eth0", "onlink"]);
        dir1.run(["ip", "route", "add", "10.98.0.0/16", "dev", "eth0"]);
        dir1.run(["ipvsadm", "-A", "-t", "192.168.188.200:443", "-s", "rr"]);
        dir1.run(["ipvsadm", "-a", "-t", "192.168.188.200:443", "-r", "192.168.188.107:443", "-m"]);
        let before = foreign_state(&reference);
        let daemons = reference.serving();
        let mut foreign = Vec::new();
        eventually(PATIENCE, "the foreign objects are listed", || {
            let status = reference.status(dir1);
            foreign = status["foreign"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|object| format!("{} {}", object["kind"], object["object"]).replace('"', ""))
                .collect();
            foreign.len() >= 4
        });
        lab.log(format!("{foreign:?}"));
        assert_eq!(
            foreign,
            [
                "address 192.168.188.200/24 on eth0",
                "route 10.98.0.0/16 dev eth0",
                "route 10.99.0.0/16 via 192.168.188.1 dev eth0",
                "virtual_server tcp 192.168.188.200:443",
            ]
        );
        std::thread::sleep(RESYNC);
        assert_eq!(foreign_state(&reference), before, "while running");
        daemons.dir1.stop(PATIENCE);
        reference.evenkeeld(dir1, "cleanup", &[]).expect_success();
        assert_eq!(foreign_state(&reference), before, "after the clean-up");
    });
}

fn foreign_state(reference: &Reference<'_>) -> (bool, String, Vec<String>) {
    let dir1 = &reference.hosts.dir1;
    let table = dir1.ipvsadm().into_iter().filter(|rule| rule.contains("192.168.188.200"));
    (
        dir1.has_address("eth0", "192.168.188.200"),
        dir1.run(["ip", "route", "show", "root", "10.96.0.0/13"]),
        table.collect(),
    )
}
