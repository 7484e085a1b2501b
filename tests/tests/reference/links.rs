//! A director whose own link goes and comes back: what it knew of its destinations stays, and it takes
//! nothing over before it knows that again.

use std::time::Duration;

use lab::{Daemon, LogEvent, Prober, Reference, VipWatch, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE, steady_client, watch};

/// Longer than a takeover after the return takes, so that no regular check comes to its help.
const INTERVAL: Duration = Duration::from_secs(12);
/// How long the link is gone: in it every check has failed, with its retry.
const CUT: Duration = Duration::from_secs(18);
/// Gap that a client may feel at the return on a machine that does much else. Without destinations it is more
/// than twice as long: from the takeover to the next check.
const RETURN: Duration = Duration::from_secs(2);
const CHECK: &str = r#"{ type = "tcp", interval = "12s", timeout = "2s", retries = 1, retry_delay = "3s" }"#;

struct Scene<'l> {
    reference: Reference<'l>,
    dir1: Daemon,
    dir2: Daemon,
    _others: [Daemon; 2],
    vip: VipWatch,
    client: Prober,
}

#[test]
fn a_director_whose_link_was_gone_keeps_its_destinations_and_returns_with_what_is_alive() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let file = Reference::cluster_file();
        let (head, _) = file.rsplit_once("check = ").expect("a check");
        reference.compile_text(&format!("{head}check = {CHECK}\n"));
        let daemons = reference.serving();
        let (vip, client) = (watch(&reference), steady_client(&reference));
        let lab::Daemons { dir1, dir2, rs1, rs2 } = daemons;
        let mut scene = Scene { reference, dir1, dir2, _others: [rs1, rs2], vip, client };
        scene.without_a_carrier();
        scene.set_down_while_a_server_dies();
    });
}

impl Scene<'_> {
    fn table(&self) -> Vec<String> {
        self.reference.hosts.dir1.ipvsadm()
    }

    fn count(&self, since: lab::Mark, event: LogEvent) -> usize {
        self.dir1.count_since(since, event)
    }

    fn without_a_carrier(&self) {
        let (dir1, lab) = (&self.reference.hosts.dir1, self.reference.lab());
        let cut = mark();
        dir1.cut();
        self.dir2.wait_told_since(cut, LogEvent::Master, PATIENCE);
        std::thread::sleep(CUT.saturating_sub(cut.elapsed()));
        assert_eq!(self.table(), TABLE, "nothing was heard of them: {}", self.dir1.log());
        let destination = &self.reference.status(dir1)["virtual_servers"][0]["destinations"][0];
        assert_eq!(
            (destination["verdict"].as_str(), destination["unjudged"]["reason"].as_str()),
            (Some("up"), Some("eth0 has no carrier")),
            "{destination}"
        );
        assert_eq!(self.count(cut, LogEvent::SilenceBegins), 1, "{}", self.dir1.log());
        self.client.wait_ok(PATIENCE);

        let healed = mark();
        dir1.reconnect();
        self.vip.wait_holder(dir1, PATIENCE);
        assert_eq!(self.table(), TABLE);
        std::thread::sleep(Duration::from_secs(2));
        lab.assert_within("client gap at the return", self.client.gap_since(healed), RETURN, healed);
        assert_eq!(self.count(cut, LogEvent::CheckFailed), 0, "{}", self.dir1.log());
        assert_eq!(self.count(healed, LogEvent::SilenceOver), 1, "{}", self.dir1.log());
        assert!(healed.elapsed() < INTERVAL, "no regular check came between: {:?}", healed.elapsed());
    }

    fn set_down_while_a_server_dies(&mut self) {
        let cut = mark();
        self.reference.hosts.dir1.run(["ip", "link", "set", "eth0", "down"]);
        self.dir2.wait_told_since(cut, LogEvent::Master, PATIENCE);
        self.reference.web2.stop();
        self.dir2.wait_told_since(
            cut,
            LogEvent::CheckFailed.with("check", "rs2 (192.168.188.110:80) for web"),
            PATIENCE,
        );
        let (dir1, lab) = (&self.reference.hosts.dir1, self.reference.lab());
        assert_eq!(self.table(), TABLE, "nothing was heard of them: {}", self.dir1.log());
        self.client.wait_ok(PATIENCE);

        let healed = mark();
        dir1.run(["ip", "link", "set", "eth0", "up"]);
        eventually(PATIENCE, "status tells what it waits for", || {
            self.reference.status(dir1)["routers"][0]["waits_for"] == "1 of its checks"
        });
        self.vip.wait_holder(dir1, PATIENCE);
        assert_eq!(
            self.table(),
            &TABLE[..2],
            "who died meanwhile is out before clients come: {}",
            self.dir1.log()
        );
        std::thread::sleep(Duration::from_secs(2));
        lab.assert_within("client gap at the return", self.client.gap_since(healed), RETURN, healed);
        assert_eq!(self.count(cut, LogEvent::SilenceBegins), 1, "one silence: {}", self.dir1.log());
        let waits = LogEvent::NotReady.with("master", "192.168.188.109");
        assert_eq!(self.dir1.count_since(healed, waits), 1, "{}", self.dir1.log());
        assert_eq!(self.count(healed, LogEvent::ChecksSpoke), 1, "{}", self.dir1.log());
    }
}
