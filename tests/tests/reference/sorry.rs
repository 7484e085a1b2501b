//! A quorum that is lost and returns: the sorry server takes the clients meanwhile, and programs are told.

use std::os::unix::fs::PermissionsExt as _;

use lab::{LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE};

/// Without rs1, whose weight the quorum needs, rs2 alone takes the clients: with the weight of a sorry
/// server, although it is a healthy real server as well.
const SORRY: [&str; 2] =
    ["-A -t 192.168.188.120:80 -s wlc", "-a -t 192.168.188.120:80 -r 192.168.188.110:80 -g -w 1"];

#[test]
fn the_sorry_server_takes_the_clients_while_the_quorum_is_lost() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        let record = lab.path("told");
        let text = format!("#!/bin/sh\necho \"$*\" >> {}\n", record.display());
        let program = lab.write("record", text);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let program = program.display();
        let times = "interval = \"5s\", timeout = \"10s\", retries = 3, retry_delay = \"3s\"";
        let soon = "interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";
        let hook = |words: &str| format!("{{ command = [\"{program}\", {words}], user = \"root\" }}");
        let more = format!(
            "quorum = {{ weight = 150 }}\nsorry_server = {{ host = \"rs2\" }}\n\
             hooks = {{ quorum_up = {}, quorum_down = {}, real_server_up = {}, real_server_down = {} }}\n",
            hook("\"q\""),
            hook("\"q\""),
            hook("\"r\""),
            hook("\"r\"")
        );
        reference.compile_text(&(Reference::cluster_file().replace(times, soon) + &more));
        let daemons = reference.serving();
        let dir1 = reference.hosts.dir1.clone();
        let dir2 = reference.hosts.dir2.clone();
        eventually(PATIENCE, "both real servers serve", || {
            dir1.ipvsadm() == TABLE && dir2.ipvsadm() == TABLE
        });
        let client = reference.hosts.client.probe(reference.hosts.vip, 80);
        client.wait_ok(PATIENCE);
        let told = || {
            let text = std::fs::read_to_string(&record).unwrap_or_default();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(told(), Vec::<String>::new(), "nothing has changed since the start");

        reference.web1.stop();
        eventually(PATIENCE, "the sorry server is in the tables", || {
            dir1.ipvsadm() == SORRY && dir2.ipvsadm() == SORRY
        });
        client.wait_responder(&reference.hosts.rs2, PATIENCE);
        let status = &reference.status(&dir1)["virtual_servers"][0];
        assert_eq!(status["quorum"]["up"], false, "{status}");
        assert_eq!((&status["quorum"]["have"], &status["quorum"]["wanted"]), (&100.into(), &150.into()));
        // Master and Backup each tell once.
        let down = ["q VS web DOWN", "q VS web DOWN"];
        let failed = ["r RS 192.168.188.107:80 web DOWN", "r RS 192.168.188.107:80 web DOWN"];
        eventually(PATIENCE, "the programs were told", || told() == [down, failed].concat());

        // A daemon that starts anew finds the quorum lost, and does nothing about it.
        let killed = mark();
        daemons.dir1.kill9();
        let requests = dir1.netlink_capture();
        let again = reference.start(&dir1);
        again.wait_told(LogEvent::Master, PATIENCE);
        eventually(PATIENCE, "all checks have spoken", || {
            let destinations = &reference.status(&dir1)["virtual_servers"][0]["destinations"];
            destinations[0]["verdict"] == "down" && destinations[1]["last_result"] == "success"
        });
        assert_eq!(dir1.ipvsadm(), SORRY);
        assert_eq!(requests.changes_since(killed), Vec::<String>::new(), "the kernel was changed");
        assert_eq!(told().len(), 4, "nothing has changed: {:?}", told());

        reference.web1.start();
        eventually(PATIENCE, "both real servers serve again", || {
            dir1.ipvsadm() == TABLE && dir2.ipvsadm() == TABLE
        });
        eventually(PATIENCE, "the programs were told again", || told().len() == 8);
        let told = told();
        assert_eq!(told.iter().filter(|line| *line == "q VS web UP").count(), 2, "{told:?}");
        assert_eq!(
            told.iter().filter(|line| *line == "r RS 192.168.188.107:80 web UP").count(),
            2,
            "{told:?}"
        );
    });
}
