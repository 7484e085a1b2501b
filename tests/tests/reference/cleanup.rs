//! Row 12: after `evenkeeld cleanup` a host is as it was before evenkeel.

use std::collections::BTreeMap;

use lab::{Host, Reference, guest};

use crate::support::PATIENCE;

const SYSCTLS: [&str; 10] = [
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.lo.arp_ignore",
    "net.ipv4.conf.lo.arp_announce",
    "net.ipv4.conf.all.forwarding",
    "net.ipv4.conf.eth0.forwarding",
    "net.ipv4.conf.lo.forwarding",
    "net.ipv4.conf.default.forwarding",
    "net.ipv4.conf.all.accept_redirects",
];

#[test]
fn cleanup_puts_every_host_back_byte_for_byte() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let hosts = &reference.hosts;
        let all = [&hosts.dir1, &hosts.dir2, &hosts.rs1, &hosts.rs2];
        // Values that nobody would set by accident must come back too, and those that the kernel changes
        // when forwarding is switched.
        hosts.rs1.set_sysctl("net.ipv4.conf.all.arp_announce", 1);
        hosts.dir1.set_sysctl("net.ipv4.conf.all.accept_redirects", 0);
        hosts.dir1.set_sysctl("net.ipv4.conf.eth0.forwarding", 1);
        let before = all.map(kernel_state);
        let daemons = reference.serving();
        for (host, before) in all.iter().zip(&before) {
            assert_ne!(kernel_state(host), *before, "{}: nothing was done", host.name());
        }
        let busy = reference.evenkeeld(&hosts.dir1, "cleanup", &[]);
        assert!(!busy.status.success() && busy.stderr.contains("is running already"), "{}", busy.stderr);
        for daemon in [&daemons.dir1, &daemons.dir2, &daemons.rs1, &daemons.rs2] {
            assert!(daemon.stop(PATIENCE).success(), "{}", daemon.log());
        }
        for (host, before) in all.iter().zip(&before) {
            let said = reference.evenkeeld(host, "cleanup", &[]).expect_success();
            lab.log(format!("{}: {}", host.name(), said.trim_end().replace('\n', "; ")));
            assert_eq!(kernel_state(host), *before, "{}", host.name());
            let again = reference.evenkeeld(host, "cleanup", &[]).expect_success();
            assert!(again.contains("Nothing to do"), "{again}");
        }
    });
}

/// `evenkeeld converge` for a real server without a daemon: once, twice, and undone.
#[test]
fn converge_does_once_what_the_daemon_keeps() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let rs1 = &reference.hosts.rs1;
        let before = kernel_state(rs1);
        let dry = reference.evenkeeld(rs1, "diff", &["--detailed-exitcode"]);
        assert_eq!(dry.status.code(), Some(2), "{}{}", dry.stdout, dry.stderr);
        lab.log(dry.stdout.trim_end().replace('\n', "; "));
        assert_eq!(kernel_state(rs1), before, "diff changed the kernel");
        reference.evenkeeld(rs1, "converge", &[]).expect_success();
        assert!(rs1.has_address("lo", reference.hosts.vip));
        let twice = reference.evenkeeld(rs1, "converge", &[]).expect_success();
        assert!(twice.contains("Nothing to do"), "{twice}");
        reference.evenkeeld(rs1, "cleanup", &[]).expect_success();
        assert_eq!(kernel_state(rs1), before);
    });
}

fn kernel_state(host: &Host) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for argv in [
        vec!["ip", "-j", "addr"],
        vec!["ip", "-j", "route"],
        vec!["ip", "-j", "route", "show", "table", "all"],
    ] {
        state.insert(argv.join(" "), host.run(argv));
    }
    state.insert("ipvsadm -Sn".to_owned(), host.run(["ipvsadm", "-Sn"]));
    for key in SYSCTLS {
        state.insert(key.to_owned(), host.sysctl(key));
    }
    state
}
