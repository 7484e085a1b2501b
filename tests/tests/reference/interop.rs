//! Row 7: one director runs keepalived 2.2.7, the other evenkeeld, both ways round.

use std::time::Duration;

use lab::{Daemon, Host, Lab, LogEvent, Reference, eventually, guest, mark};

use crate::support::{
    DIR1, MASTER_DOWN, NO_ELECTION, PATIENCE, ROUNDS, SKEW, TABLE, TOLERANCE, ip_addresses, median,
    steady_client, wait_priority_zero, watch,
};

/// Words of keepalived's log when it rejects an advertisement.
const REJECTIONS: [&str; 6] = ["invalid", "mismatch", "expected", "rejected", "bad ", "ignored"];

/// keepalived's configuration as in an ordinary set-up of two directors.
fn keepalived_conf(state: &str, priority: u8) -> String {
    let real_server = |address: &str| {
        format!(
            "  real_server {address} 80 {{\n    weight 100\n    TCP_CHECK {{\n      connect_timeout \
            10\n      \
             retry 3\n      delay_before_retry 3\n    }}\n  }}\n"
        )
    };
    format!(
        "global_defs {{\n  router_id LVS\n}}\n\
         vrrp_instance VI_1 {{\n  state {state}\n  interface eth0\n  virtual_router_id 51\n  priority \
         {priority}\n  \
         advert_int 1\n  authentication {{\n    auth_type PASS\n    auth_pass hell>com\n  }}\n  \
         virtual_ipaddress {{\n    192.168.188.120\n  }}\n}}\n\
         virtual_server 192.168.188.120 80 {{\n  delay_loop 5\n  lb_algo wlc\n  lb_kind DR\n  protocol \
         TCP\n{}{}}}\n",
        real_server("192.168.188.107"),
        real_server("192.168.188.110"),
    )
}

/// The two kinds of director daemons.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Evenkeeld,
    Keepalived,
}

fn start(reference: &Reference<'_>, host: &Host, kind: Kind) -> Daemon {
    match (kind, host.name()) {
        (Kind::Evenkeeld, _) => reference.start(host),
        (Kind::Keepalived, "dir1") => host.keepalived(&keepalived_conf("MASTER", 100)),
        (Kind::Keepalived, _) => host.keepalived(&keepalived_conf("BACKUP", 90)),
    }
}

#[test]
fn dir1_evenkeeld_with_dir2_keepalived() {
    guest(|lab| together(lab, Kind::Evenkeeld, Kind::Keepalived));
}

#[test]
fn dir1_keepalived_with_dir2_evenkeeld() {
    guest(|lab| together(lab, Kind::Keepalived, Kind::Evenkeeld));
}

fn together(lab: &Lab, first: Kind, second: Kind) {
    let reference = Reference::new(lab);
    let hosts = &reference.hosts;
    let _rs1 = reference.start(&hosts.rs1);
    let _rs2 = reference.start(&hosts.rs2);
    // keepalived does not set it: the director's administrator does.
    hosts.dir1.set_sysctl("net.ipv4.ip_forward", 1);
    hosts.dir2.set_sysctl("net.ipv4.ip_forward", 1);
    let adverts = lab.capture_vrrp();
    let vip = watch(&reference);
    let begun = mark();
    let dir1 = start(&reference, &hosts.dir1, first);
    let dir2 = start(&reference, &hosts.dir2, second);
    dir2.wait_told(LogEvent::Backup, PATIENCE);

    // Rows 1 and 2.
    vip.wait_holder(&hosts.dir1, PATIENCE);
    let client = steady_client(&reference);
    for director in [&hosts.dir1, &hosts.dir2] {
        eventually(PATIENCE, "the table is complete", || director.ipvsadm() == TABLE);
    }
    assert!(ip_addresses(&hosts.dir1, "eth0").iter().any(|a| a.0 == "192.168.188.120" && a.1 == 32));
    client.wait_responder(&hosts.rs1, PATIENCE);
    client.wait_responder(&hosts.rs2, PATIENCE);

    // Rows 3 and 5.
    let (mut dir1, mut stops, mut starts) = (dir1, Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stopped = mark();
        dir1.stop(PATIENCE);
        wait_priority_zero(&adverts, DIR1, stopped);
        vip.wait_holder(&hosts.dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        stops.push(client.gap_since(stopped));

        let started = mark();
        dir1 = start(&reference, &hosts.dir1, first);
        vip.wait_holder(&hosts.dir1, PATIENCE);
        client.wait_ok(PATIENCE);
        std::thread::sleep(Duration::from_secs(2));
        starts.push(client.gap_since(started));
    }
    lab.log(format!("dir1 stopped: client gaps {stops:?}; started: {starts:?}"));
    let stopped = if first == Kind::Evenkeeld { NO_ELECTION } else { SKEW + TOLERANCE };
    lab.assert_within("client gap, dir1 stopped", median(stops), stopped, begun);
    lab.assert_within("client gap, dir1 started", median(starts), NO_ELECTION, begun);
    let overlap = vip.both_since(begun);
    lab.log(format!("with the link up, longest VIP overlap {overlap:?}"));
    lab.assert_within("VIP on both directors", overlap, TOLERANCE, begun);

    // Row 4.
    let cut = mark();
    hosts.dir1.cut();
    eventually(PATIENCE, "dir2 has the VIP", || vip.holders().iter().any(|host| host == "dir2"));
    client.wait_ok(PATIENCE);
    let gap = client.gap_since(cut);
    lab.log(format!("dir1's link cut: client gap {gap:?}"));
    lab.assert_within("client gap", gap, MASTER_DOWN + TOLERANCE, cut);
    hosts.dir1.reconnect();
    vip.wait_holder(&hosts.dir1, PATIENCE);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(vip.holders(), ["dir1"]);

    for (kind, host, daemon) in [(first, &hosts.dir1, &dir1), (second, &hosts.dir2, &dir2)] {
        nothing_was_rejected(&reference, kind, host, daemon);
    }
}

fn nothing_was_rejected(reference: &Reference<'_>, kind: Kind, host: &Host, daemon: &Daemon) {
    match kind {
        Kind::Evenkeeld => assert_eq!(reference.rejected(host), 0, "{}", daemon.log()),
        Kind::Keepalived => {
            let log = daemon.log();
            let line = log
                .lines()
                .filter(|line| line.contains("VI_1"))
                .find(|line| REJECTIONS.iter().any(|word| line.to_lowercase().contains(word)));
            assert_eq!(line, None, "{log}");
        }
    }
}
