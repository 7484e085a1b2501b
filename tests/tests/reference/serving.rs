//! Rows 1, 2 and 6: four hosts as they should be, both real servers answering, one leaving and returning.

use std::time::Duration;

use lab::{Host, LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE, ip_addresses, steady_client};

#[test]
fn four_hosts_come_up_as_the_cluster_file_says() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let _daemons = reference.serving();
        lab.log("serving");
        let hosts = &reference.hosts;
        let vip = ("192.168.188.120".to_owned(), 32, "eth0".to_owned());
        assert!(ip_addresses(&hosts.dir1, "eth0").contains(&vip), "{:?}", ip_addresses(&hosts.dir1, "eth0"));
        for (host, interface) in
            [(&hosts.dir1, "lo"), (&hosts.dir2, "eth0"), (&hosts.dir2, "lo"), (&hosts.rs1, "eth0")]
        {
            assert!(!host.has_address(interface, hosts.vip), "{}'s {interface} has the VIP", host.name());
        }
        for director in [&hosts.dir1, &hosts.dir2] {
            assert_eq!(director.ipvsadm(), TABLE, "{}", director.name());
            let table = director.run(["ipvsadm", "-Ln"]);
            for line in ["TCP  192.168.188.120:80 wlc", "-> 192.168.188.107:80", "-> 192.168.188.110:80"] {
                assert!(table.contains(line), "{table}");
            }
            assert_eq!(director.sysctl("net.ipv4.ip_forward"), "1");
        }
        for real_server in [&hosts.rs1, &hosts.rs2] {
            real_server_is_set_up(real_server);
        }
        assert!(!hosts.rs1.read("/proc/thread-self/net/dev").is_empty());
        eventually(PATIENCE, "all are converged", || {
            [&hosts.dir1, &hosts.dir2, &hosts.rs1, &hosts.rs2]
                .into_iter()
                .all(|host| reference.status(host)["convergence"]["converged"] == true)
        });
        let page =
            reference.evenkeeld(&hosts.dir1, "status", &["--socket", &socket(&hosts.dir1)]).expect_success();
        print!("{page}");
        assert!(page.contains("Master") && page.contains("192.168.188.107:80 weight 100: up"), "{page}");
        let diff = reference.evenkeeld(&hosts.dir1, "diff", &["--detailed-exitcode"]).expect_success();
        assert!(diff.contains("No changes"), "{diff}");
    });
}

fn socket(host: &Host) -> String {
    host.scratch().join("evenkeeld.sock").display().to_string()
}

fn real_server_is_set_up(host: &Host) {
    let vip = ("192.168.188.120".to_owned(), 32, "lo:0".to_owned());
    assert!(ip_addresses(host, "lo").contains(&vip), "{}: {:?}", host.name(), ip_addresses(host, "lo"));
    let routes = host.json(["ip", "-j", "route", "show", "table", "main"]);
    let route = |route: &&serde_json::Value| route["dst"] == "192.168.188.120" && route["dev"] == "lo";
    let routes = routes.as_array().cloned().unwrap_or_default();
    assert!(routes.iter().any(|candidate| route(&candidate)), "{}: {routes:?}", host.name());
    for interface in ["all", "lo"] {
        assert_eq!(host.sysctl(&format!("net.ipv4.conf.{interface}.arp_ignore")), "1", "{}", host.name());
        assert_eq!(host.sysctl(&format!("net.ipv4.conf.{interface}.arp_announce")), "2", "{}", host.name());
    }
}

#[test]
fn both_real_servers_answer_at_the_vip() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let _daemons = reference.serving();
        let client = steady_client(&reference);
        client.wait_responder(&reference.hosts.rs1, PATIENCE);
        client.wait_responder(&reference.hosts.rs2, PATIENCE);
        lab.log(format!("{:?}", client.responders_since(mark() - lab.elapsed())));
    });
}

#[test]
fn a_web_server_that_stops_is_removed_after_its_retries_and_returns_at_its_first_success() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        let daemons = reference.serving();
        let client = steady_client(&reference);
        let dir1 = reference.hosts.dir1.clone();
        // A download from rs2, which must not feel any of it.
        let download = loop {
            let download = reference.hosts.client.download(reference.hosts.vip, 80);
            if download.responder(PATIENCE) == "rs2" {
                break download;
            }
        };

        let stopped = mark();
        reference.web1.stop();
        daemons.dir1.wait_told_since(stopped, LogEvent::CheckFailed, PATIENCE);
        eventually(PATIENCE, "rs1 is out of the table", || dir1.ipvsadm() == [TABLE[0], TABLE[2]]);
        let out = stopped.elapsed();
        lab.log(format!("rs1 was taken out {out:?} after its web server stopped"));
        // First failure within 5 s, then three retries 3 s apart.
        assert!(out >= Duration::from_secs(9), "taken out after {out:?}");
        lab.assert_within("taken out", out, Duration::from_millis(15_500), stopped);
        let without = mark();
        client.wait_ok(PATIENCE);
        lab.log(format!(
            "dir1's log has: {:?}",
            daemons.dir1.lines_since(stopped).last().map(|line| line.text.clone())
        ));

        let started = mark();
        reference.web1.start();
        eventually(PATIENCE, "rs1 is back in the table", || dir1.ipvsadm() == TABLE);
        let back = started.elapsed();
        lab.log(format!("rs1 was back {back:?} after its web server started"));
        lab.assert_within("back", back, Duration::from_millis(6500), started);
        client.wait_responder(&reference.hosts.rs1, PATIENCE);
        let errors = client.errors_since(without);
        lab.log(format!("client's errors since rs1 was out: {errors:?}"));
        // A refusal or a reset would come from rs1; a lost packet on a busy machine is no verdict on anyone.
        assert!(errors.keys().all(|error| error.contains("in time")), "{errors:?}");
        assert!(errors.values().sum::<usize>() <= 2, "{errors:?}");
        assert!(download.alive(), "the download from rs2 ended: {:?}", download.end());
        lab.assert_within("the download stalled", download.max_stall(), Duration::from_secs(1), stopped);
        eventually(PATIENCE, "dir2 saw the same", || reference.hosts.dir2.ipvsadm() == TABLE);
    });
}
