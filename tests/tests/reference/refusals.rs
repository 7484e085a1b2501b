//! Refusals of the kernel: a host that cannot do its part takes no part, says why, and does once it can.

use std::time::Duration;

use lab::{Line, LogEvent, Reference, eventually, guest};

use crate::support::{NO_ELECTION, PATIENCE, steady_client, watch};

/// Where the kernel finds the program that loads modules.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

#[test]
fn a_director_whose_services_the_kernel_refuses_takes_no_part_in_the_election() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let dir1 = &reference.hosts.dir1;
        // A scheduler whose module cannot be loaded.
        let modprobe = std::fs::read_to_string(MODPROBE).expect("modprobe");
        std::fs::write(MODPROBE, "/bin/false").expect("modprobe");
        reference.compile_text(&Reference::cluster_file().replace("\"wlc\"", "\"sed\""));
        let vip = watch(&reference);
        let daemon = reference.start(dir1);
        daemon.wait_told(LogEvent::LeftToOthers, PATIENCE);
        // Looks at other kinds, which are all right, must not count as convergence.
        for _ in 0..5 {
            dir1.add_address("eth0", "192.168.188.77/32");
            dir1.delete_address("eth0", "192.168.188.77/32");
            std::thread::sleep(Duration::from_millis(800));
        }
        let status = reference.status(dir1);
        assert_eq!(status["routers"][0]["state"], "initialize", "{status}");
        assert_eq!(status["convergence"]["converged"], false);
        let errors = &status["convergence"]["errors"];
        lab.log(format!("{errors}"));
        assert!(
            errors[0]["operation"].as_str().unwrap_or_default().contains("add virtual server"),
            "{errors}"
        );
        assert!(errors[0]["reason"].as_str().unwrap_or_default().contains("sed"), "{errors}");
        assert_eq!(vip.holders(), Vec::<String>::new());

        std::fs::write(MODPROBE, modprobe).expect("modprobe");
        daemon.wait_told(LogEvent::Master, PATIENCE);
        vip.wait_holder(dir1, PATIENCE);
        assert_eq!(reference.status(dir1)["convergence"]["errors"], serde_json::json!([]));
    });
}

#[test]
fn a_real_server_whose_arp_settings_cannot_be_written_gets_no_vip() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (rs1, vip) = (&reference.hosts.rs1, reference.hosts.vip);
        rs1.run(["mount", "--bind", "/proc/sys/net", "/proc/sys/net"]);
        rs1.run(["mount", "-o", "remount,bind,ro", "/proc/sys/net"]);
        let daemon = reference.start(rs1);
        daemon.wait_told(LogEvent::OperationFailed.with("operation", "arp_ignore"), PATIENCE);
        std::thread::sleep(Duration::from_secs(2));
        assert!(!rs1.has_address("lo", vip), "it would answer ARP for the VIP");
        lab.log(format!("{}", reference.status(rs1)["convergence"]["errors"]));
        rs1.run(["mount", "-o", "remount,bind,rw", "/proc/sys/net"]);
        let took = eventually(PATIENCE, "the VIP is on lo", || rs1.has_address("lo", vip));
        lab.log(format!("the VIP was on lo {took:?} after the settings could be written"));
        assert_eq!(rs1.sysctl("net.ipv4.conf.all.arp_ignore"), "1");
    });
}

/// VIPs move with a plan: one comes, one goes, and the Master stays Master throughout.
#[test]
fn a_vip_that_comes_or_goes_with_a_plan_causes_no_election() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let client = steady_client(&reference);
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        let begun = lab::mark();
        let two = Reference::cluster_file()
            .replace("vips = [\"192.168.188.120\"]", "vips = [\"192.168.188.120\", \"192.168.188.121\"]")
            .replace("protocol = \"tcp\"", "vip = \"192.168.188.120\"\nprotocol = \"tcp\"");
        reference.compile_text(&two);
        eventually(PATIENCE, "dir1 has the new VIP", || dir1.has_address("eth0", "192.168.188.121"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!dir2.has_address("eth0", "192.168.188.121"));
        reference.compile_text(&Reference::cluster_file());
        eventually(PATIENCE, "the new VIP is gone", || !dir1.has_address("eth0", "192.168.188.121"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(dir1.has_address("eth0", reference.hosts.vip));
        // Which of them was Master first is chance.
        for daemon in [&daemons.dir1, &daemons.dir2] {
            assert!(!daemon.lines_since(begun).iter().any(Line::enters_a_state), "{}", daemon.log());
        }
        lab.log(format!("client gap {:?}", client.gap_since(begun)));
        lab.assert_within("client gap", client.gap_since(begun), NO_ELECTION, begun);
    });
}
