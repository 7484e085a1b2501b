//! Directors that share connections, and directors that are real servers as well.

use std::time::Duration;

use lab::{Host, LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, steady_client};

const SYNC: &str = r#"
[connection_sync]
mode = "follow"
router = "VI_1"
interface = "eth0"
id = 51
group = "224.0.0.81"
port = 8848
ttl = 1
"#;

fn runs(reference: &Reference<'_>, host: &Host, role: &str) {
    eventually(PATIENCE, &format!("{} is {role}", host.name()), || {
        let sync = &reference.status(host)["connection_sync"];
        sync["running"] == serde_json::json!([role]) && sync["problem"].is_null() && sync["id"] == 51
    });
}

#[test]
fn a_download_goes_on_through_the_new_master_which_was_told_of_it() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        for director in [dir1, dir2] {
            reference.plans.rewrite(director, |plan| format!("{plan}{SYNC}"));
        }
        let daemons = reference.serving();
        runs(&reference, dir1, "master");
        runs(&reference, dir2, "backup");
        steady_client(&reference);
        let download = reference.hosts.client.download(reference.hosts.vip, 80);
        let responder = download.responder(PATIENCE);
        eventually(PATIENCE, "the Backup knows of the connection", || {
            reference.status(dir2)["connection_sync"]["received_connections"].as_u64() >= Some(1)
        });
        assert_eq!(reference.status(dir1)["connection_sync"]["received_connections"], 0);

        daemons.dir1.stop(Duration::from_secs(10));
        runs(&reference, dir2, "master");
        download.wait_progress(PATIENCE);
        lab.log(format!("{responder} went on, after at most {:?}", download.max_stall()));
        assert!(download.alive(), "{:?}", download.end());

        // A Master that is killed and started again was never anything else.
        daemons.dir2.kill9();
        let killed = mark();
        let again = reference.start(dir2);
        again.wait_told_since(killed, LogEvent::WasMaster, PATIENCE);
        runs(&reference, dir2, "master");
        download.wait_progress(PATIENCE);
        for event in [LogEvent::SyncStarted, LogEvent::SyncStopped, LogEvent::OperationFailed] {
            assert_eq!(again.count_since(killed, event), 0, "{}", again.log());
        }
    });
}

/// A director's plan with itself as a real server, and the other one as its destination.
fn director_that_serves(plan: &str) -> String {
    let (head, rest) = plan.split_once("[[virtual_server]]").expect("a virtual server");
    let (_, tail) = rest.split_once("[[sysctl]]").expect("a setting");
    let mut text = format!(
        "{head}[[virtual_server]]\nname = \"web\"\naddress = \"192.168.188.120\"\nport = 80\nprotocol \
        = \"tcp\"\n\
         only_as_master_of = \"VI_1\"\nscheduler = \"rr\"\none_packet = false\n"
    );
    for (host, last) in [("dir1", 108), ("dir2", 109)] {
        text += &format!(
            "[[virtual_server.destination]]\nhost = \"{host}\"\naddress = \"192.168.188.{last}\"\nport = 80\n\
             weight = 1\nforwarding = \"dr\"\n"
        );
    }
    text += "[[address]]\ninterface = \"lo\"\naddress = \"192.168.188.120/32\"\nscope = \"host\"\n";
    for (key, value) in [("arp_ignore", 1), ("arp_announce", 2)] {
        for interface in ["all", "lo"] {
            text += &format!("[[sysctl]]\nkey = \"net/ipv4/conf/{interface}/{key}\"\nvalue = \"{value}\"\n");
        }
    }
    format!("{text}[[sysctl]]{tail}")
}

/// Downloads of clients while a director is away.
const DOWNLOADS: usize = 12;

#[test]
fn a_director_that_returns_takes_over_once_it_has_the_connections() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        for director in [dir1, dir2] {
            reference.plans.rewrite(director, |plan| format!("{plan}{SYNC}preempt_after_sync = \"20s\"\n"));
        }
        let daemons = reference.serving();
        steady_client(&reference);
        daemons.dir1.stop(Duration::from_secs(10));
        runs(&reference, dir2, "master");
        // What begins now dir1 has never heard of.
        let client = &reference.hosts.client;
        // A connection of so few packets is sent each 5 s.
        let path = "/stream?ms=100&bytes=64";
        let downloads: Vec<_> =
            (0..DOWNLOADS).map(|_| client.download_path(reference.hosts.vip, 80, path)).collect();
        downloads.iter().for_each(|one| one.wait_progress(PATIENCE));

        let began = mark();
        let again = reference.start(dir1);
        again.wait_told_since(began, LogEvent::NotReady, PATIENCE);
        let router = reference.plans.router(dir1, "VI_1");
        let waits_for = router["waits_for"].as_str().unwrap_or_default();
        assert!(waits_for.ends_with("the connections of the Master"), "{router}");
        again.wait_told_since(began, LogEvent::ConnectionsArrived, PATIENCE);
        runs(&reference, dir1, "master");
        // A packet of a connection that nobody knows is answered with a reset.
        std::thread::sleep(Duration::from_secs(1));
        for download in &downloads {
            download.wait_progress(PATIENCE);
            assert!(download.alive(), "{:?}", download.end());
        }
        let longest = downloads.iter().map(|one| one.max_stall()).max();
        lab.log(format!("{DOWNLOADS} downloads went on, after at most {longest:?}"));

        // Its own link fails for a while, and connections of that time are missing: it waits again.
        let cut = mark();
        dir1.cut();
        runs(&reference, dir2, "master");
        dir1.reconnect();
        again.wait_told_since(cut, LogEvent::ConnectionsArrived, PATIENCE);
        runs(&reference, dir1, "master");
    });
}

#[test]
fn directors_that_are_real_servers_serve_each_others_clients_without_a_loop() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        let _webs = [dir1.web(80), dir2.web(80)];
        for director in [dir1, dir2] {
            reference.plans.rewrite(director, director_that_serves);
        }
        let first = reference.start(dir1);
        let _second = reference.start(dir2);
        first.wait_told(LogEvent::Master, PATIENCE);
        let client = steady_client(&reference);
        let both_serve = |master: &Host, backup: &Host| {
            eventually(PATIENCE, "only the Master has the service", || {
                master.ipvs().len() == 1 && backup.ipvs().is_empty()
            });
            client.wait_responder(dir1, PATIENCE);
            client.wait_responder(dir2, PATIENCE);
            let since = mark();
            std::thread::sleep(Duration::from_secs(1));
            assert!(client.errors_since(since).is_empty(), "{:?}", client.errors_since(since));
            assert_eq!(client.responders_since(since).len(), 2, "{:?}", client.responders_since(since));
        };
        both_serve(dir1, dir2);
        // Stopped, dir1 is a real server still.
        first.stop(Duration::from_secs(10));
        client.wait_ok(PATIENCE);
        both_serve(dir2, dir1);
        // Killed for good, too: its guardian takes the service away after the VIP.
        let first = reference.start(dir1);
        first.wait_told(LogEvent::Master, PATIENCE);
        both_serve(dir1, dir2);
        let killed = mark();
        first.kill9();
        eventually(PATIENCE, "dir2 has the VIP", || dir2.has_address("eth0", reference.hosts.vip));
        first.wait_told_since(killed, LogEvent::ServicesRemoved, PATIENCE);
        client.wait_ok(PATIENCE);
        both_serve(dir2, dir1);
    });
}
