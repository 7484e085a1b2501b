//! Real servers that only one director does not hear: its verdicts stay, and the other one becomes Master.

use lab::{Host, LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE, steady_client};

/// Packets from a director to the real servers go to nobody, and everything else goes on.
fn lose(director: &Host, lost: bool) {
    for address in ["192.168.188.107", "192.168.188.110"] {
        let entry = ["dev", "eth0", "lladdr", "02:00:00:00:00:99", "nud", "permanent"];
        if lost {
            director.run(["ip", "neigh", "replace", address].into_iter().chain(entry));
        } else {
            director.run(["ip", "neigh", "del", address, "dev", "eth0"]);
        }
    }
}

#[test]
fn a_director_that_hears_no_real_server_keeps_its_table_and_gives_way() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let times = "interval = \"5s\", timeout = \"10s\", retries = 3, retry_delay = \"3s\"";
        let text = Reference::cluster_file();
        assert!(text.contains(times), "the example's check");
        let soon = "interval = \"2s\", timeout = \"1s\", retries = 1, retry_delay = \"1s\"";
        reference.compile_text(&text.replace(times, soon));
        let daemons = reference.serving();
        let (dir1, dir2) = (reference.hosts.dir1.clone(), reference.hosts.dir2.clone());
        let client = steady_client(&reference);
        eventually(PATIENCE, "both real servers serve", || {
            dir1.ipvsadm() == TABLE && dir2.ipvsadm() == TABLE
        });

        let cut = mark();
        lose(&dir1, true);
        daemons.dir1.wait_told_since(cut, LogEvent::OwnFault.with("link", "eth0"), PATIENCE);
        lab.log(format!("own fault was found after {:?}", cut.elapsed()));
        daemons.dir2.wait_told_since(cut, LogEvent::Master, PATIENCE);
        daemons.dir1.wait_told_since(cut, LogEvent::Backup, PATIENCE);
        client.wait_ok(PATIENCE);
        eventually(PATIENCE, "the table of dir1 is whole", || dir1.ipvsadm() == TABLE);
        let status = reference.status(&dir1);
        let fault = &status["health"]["own_faults"][0];
        assert_eq!((&fault["link"], &fault["routers"][0]), (&"eth0".into(), &"VI_1".into()), "{fault}");
        assert_eq!(status["routers"][0]["priority"], 89, "{status}");
        assert_eq!(reference.status(&dir2)["health"]["own_faults"], serde_json::json!([]));

        let back = mark();
        lose(&dir1, false);
        daemons.dir1.wait_told_since(back, LogEvent::OwnFaultOver, PATIENCE);
        daemons.dir1.wait_told_since(back, LogEvent::Master, PATIENCE);
        client.wait_ok(PATIENCE);
        assert_eq!(dir1.ipvsadm(), TABLE);
        assert_eq!(dir2.ipvsadm(), TABLE);
    });
}
