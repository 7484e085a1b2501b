//! Clients that would stay with a real server that failed: the kernel lets them go because the plan says so.

use std::time::Duration;

use lab::{Reference, eventually, guest, mark};

use crate::support::PATIENCE;

const SERVICES: &str = r#"
[services.names]
router = "VI_1"
protocol = "udp"
port = 5353
real_servers = [{ host = "rs1" }, { host = "rs2" }]
check = { type = "tcp", port = 80, interval = "1s", timeout = "1s", retries = 0 }

[services.sticky]
router = "VI_1"
protocol = "tcp"
port = 80
persistence = { timeout = "300s" }
on_failure = "quiesce"
real_servers = [{ host = "rs1" }, { host = "rs2" }]
check = { type = "tcp", interval = "1s", timeout = "1s", retries = 0 }
"#;

/// Until a check has failed, with all that a busy guest adds: far less than the 300 s for which the kernel
/// remembers a client.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn clients_do_not_stay_with_a_real_server_that_failed() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        let example = Reference::cluster_file();
        let (head, _) = example.split_once("[services.web]").expect("the example's service");
        reference.compile_text(&format!("{head}{SERVICES}"));
        let settings = ["net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.expire_quiescent_template"];
        let of_dir1 = |reference: &Reference<'_>| settings.map(|key| reference.hosts.dir1.sysctl(key));
        let before = of_dir1(&reference);
        assert_eq!(before, ["0", "0"]);
        // So that clients are bound to rs1.
        reference.web2.stop();
        let daemons = reference.serving();
        assert_eq!(of_dir1(&reference), ["1", "1"]);

        let std::net::IpAddr::V4(vip) = reference.hosts.vip else { panic!("an IPv6 VIP") };
        let answering = [&reference.hosts.rs1, &reference.hosts.rs2].map(|host| host.answer(vip, 5353));
        let [rs1_answers, _rs2_answers] = answering;
        let has = |reference: &Reference<'_>, of_rs2: [Option<u32>; 2]| {
            let weight = |port: u16| {
                let services = reference.hosts.dir1.ipvs();
                let mut all = services.iter().flat_map(|service| &service.destinations);
                let rs2 =
                    all.find(|to| to.address.ip() == reference.hosts.rs2.ip() && to.address.port() == port);
                rs2.map(|to| to.weight)
            };
            eventually(PATIENCE, &format!("rs2 has weights {of_rs2:?}"), || [5353, 80].map(weight) == of_rs2);
        };
        has(&reference, [None, Some(0)]);
        // One socket, so one port.
        let udp = reference.hosts.client.ask_every(vip, 5353, Duration::from_millis(100));
        udp.wait_answer(&reference.hosts.rs1, mark(), PATIENCE);
        let tcp = reference.hosts.client.probe(vip, 80);
        tcp.wait_responder(&reference.hosts.rs1, PATIENCE);
        reference.web2.start();
        has(&reference, [Some(1), Some(1)]);

        drop(rs1_answers);
        reference.web1.stop();
        let failed = mark();
        let answered = udp.wait_answer(&reference.hosts.rs2, failed, PATIENCE);
        lab.assert_within("UDP client", answered - failed, SOON, failed);
        let answered = tcp.wait_responder_since(&reference.hosts.rs2, failed, PATIENCE).at;
        lab.assert_within("client bound by persistence", answered - failed, SOON, failed);
        let quiesced = reference.hosts.dir1.run(["ipvsadm", "-Ln"]);
        assert!(quiesced.contains("192.168.188.107:80"), "quiesced, not removed: {quiesced}");

        for daemon in [&daemons.dir1, &daemons.dir2] {
            assert!(daemon.stop(PATIENCE).success(), "{}", daemon.log());
        }
        reference.evenkeeld(&reference.hosts.dir1, "cleanup", &[]).expect_success();
        eventually(PATIENCE, "the settings are as before", || of_dir1(&reference) == before);
    });
}
