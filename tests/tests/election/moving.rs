//! Things that move with a router besides its VIPs, and programs that are told: virtual MAC address, routes,
//! rules, addresses that are not advertised, hooks. And what keeps a router out: trackers, delays.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use lab::{Host, Kind, Lab, LogEvent, Pair, Router, eventually, guest, mark};
use serde_json::Value;

use crate::support::{INTERVAL, MASTER_DOWN, PATIENCE, TOLERANCE};

const VRID: u8 = 60;
const NAME: &str = "r60";
/// RFC 9568 §7.3, for VRID 60.
const VIRTUAL_MAC: &str = "00:00:5e:00:01:3c";

/// A program that appends its arguments to the host's own file.
fn recorder(lab: &Lab) -> PathBuf {
    let directory = lab.path("");
    let text = format!(
        "#!/bin/sh\necho \"$*\" >> {}/hooks.$(hostname 2>/dev/null || echo host)\n",
        directory.display()
    );
    let program = lab.write("record", text);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    program
}

/// Objects that `ip -j` tells of these words.
fn ip(host: &Host, words: &str) -> Vec<Value> {
    let argv: Vec<&str> = ["ip", "-j"].into_iter().chain(words.split(' ')).collect();
    host.json(argv).as_array().cloned().unwrap_or_default()
}

fn has_route(host: &Host) -> bool {
    ip(host, "route show 10.99.0.0/16").iter().any(|route| route["gateway"] == "10.1.0.9")
}

fn has_rule(host: &Host) -> bool {
    ip(host, "rule show").iter().any(|rule| rule["priority"] == 1000 && rule["table"] == "100")
}

#[test]
fn all_that_belongs_to_a_master_moves_with_it() {
    guest(|lab| {
        let mut pair = Pair::new(lab, Kind::Evenkeeld, vec![Router::new(VRID, 3)]);
        let program = recorder(lab).display().to_string();
        let more = format!(
            "unadvertised_vips = [\"10.1.2.1\"]\nvirtual_mac = {{}}\n\
             routes = [{{ destination = \"10.99.0.0/16\", via = \"10.1.0.9\", interface = \"eth0\" }}]\n\
             rules = [{{ preference = 1000, table = 100, from = \"10.1.1.60/32\" }}]\n\
             hooks = {{ any = {{ command = [\"{program}\", \"told\"], user = \"root\" }} }}\n"
        );
        pair.configure(vec![Router::new(VRID, 3)], &more);
        let _webs = [pair.first.web(80), pair.second.web(80)];
        let daemons = [pair.start(&pair.first), pair.start(&pair.second)];
        for host in [&pair.first, &pair.second] {
            let made = || ip(host, "link show").iter().any(|link| link["ifname"] == "vrrp.60");
            eventually(PATIENCE, "the interface with the virtual MAC address", made);
        }
        let watch = lab.watch_vip(pair.first_vip(), &[&pair.first, &pair.second], "vrrp.60");
        watch.wait_holder(&pair.first, PATIENCE);
        let client = pair.client.probe(pair.first_vip(), 80);
        client.wait_responder(&pair.first, PATIENCE);

        let moved = |to: &Host, from: &Host| {
            for (host, holds) in [(to, true), (from, false)] {
                let name = host.name();
                eventually(PATIENCE, &format!("the route at {name}"), || has_route(host) == holds);
                assert_eq!(has_rule(host), holds, "the rule at {name}");
                assert_eq!(host.has_address("vrrp.60", "10.1.2.1"), holds, "the other VIP at {name}");
                let link = &ip(host, "-d link show vrrp.60")[0];
                assert_eq!(link["address"], VIRTUAL_MAC, "{link}");
                assert_eq!(link["linkinfo"]["info_data"]["mode"], "private", "{link}");
            }
            let known = ip(&pair.client, "neigh show 10.1.1.60");
            assert_eq!(known[0]["lladdr"], VIRTUAL_MAC, "what the client knows: {known:?}");
        };
        moved(&pair.first, &pair.second);
        // The host's own address answers with its own MAC address.
        pair.client.probe(pair.first.ip(), 80).wait_ok(PATIENCE);
        let own: Vec<String> = pair.first.mac("eth0").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ip(&pair.client, "neigh show 10.1.0.1")[0]["lladdr"], own.join(":"));

        // Taken away by somebody, they come back at once, and not when everything is looked at, every 5 s.
        for _ in 0..3 {
            for (words, is_there) in [
                ("route del 10.99.0.0/16", has_route as fn(&Host) -> bool),
                ("rule del preference 1000", has_rule),
            ] {
                let taken = mark();
                pair.first.run(["ip"].into_iter().chain(words.split(' ')));
                eventually(PATIENCE, words, || is_there(&pair.first));
                lab.assert_within(words, taken.elapsed(), Duration::from_secs(2), taken);
            }
        }

        let [first, second] = daemons;
        let stopped = mark();
        first.stop(PATIENCE);
        client.wait_responder(&pair.second, PATIENCE);
        moved(&pair.second, &pair.first);
        lab.assert_within("client gap", client.gap_since(stopped), INTERVAL + TOLERANCE, stopped);
        second.stop(PATIENCE);
        for daemon in [&first, &second] {
            assert!(daemon.count(LogEvent::HookRan) >= 3, "{}", daemon.log());
        }
        let heard: String = std::fs::read_dir(lab.path(""))
            .expect("scratch")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("hooks."))
            .map(|entry| std::fs::read_to_string(entry.path()).expect("a record"))
            .collect();
        let lines: Vec<&str> = heard.lines().collect();
        for (state, priority) in
            [("BACKUP", 100), ("MASTER", 100), ("STOP", 100), ("BACKUP", 90), ("MASTER", 90), ("STOP", 90)]
        {
            let line = format!("told INSTANCE {NAME} {state} {priority}");
            assert!(lines.contains(&line.as_str()), "{line} is not among {lines:?}");
        }
    });
}

#[test]
fn a_tracker_that_fails_moves_the_vip_and_delays_hold_a_director_back() {
    guest(|lab| {
        let mut pair = Pair::new(lab, Kind::Evenkeeld, vec![Router::new(VRID, 3)]);
        let healthy = lab.write("healthy", "");
        let more = format!(
            "track = [{{ tracker = \"local\" }}]\npreempt_delay = \"3s\"\nstartup_delay = \"3s\"\n\
             [trackers.local]\ntype = \"script\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{}\"]\nuser \
             = \"root\"\n\
             interval = \"500ms\"\n",
            healthy.display()
        );
        pair.configure(vec![Router::new(VRID, 3)], &more);
        let begun = mark();
        let watch = pair.watch();
        let [first, second] = [pair.start(&pair.first), pair.start(&pair.second)];
        watch.wait_holder(&pair.first, PATIENCE);
        assert!(begun.elapsed() >= Duration::from_secs(3) + 3 * INTERVAL, "a start-up delay of 3 s");
        first.wait_told(LogEvent::StartupDelay, PATIENCE);

        // Both directors look at the same file here, so the second one has to be told otherwise.
        second.stop(PATIENCE);
        std::fs::remove_file(&healthy).expect("removed");
        first.wait_told(LogEvent::TrackerFails, PATIENCE);
        eventually(PATIENCE, "the VIP is gone", || watch.holders().is_empty());
        let router = pair.plans.router(&pair.first, NAME);
        assert_eq!(
            (router["state"].as_str(), router["reason"].as_str()),
            (Some("initialize"), Some("something that it tracks fails"))
        );
        let tracker = &pair.plans.status(&pair.first)["trackers"][0];
        assert_eq!((tracker["name"].as_str(), tracker["up"].as_bool()), (Some("local"), Some(false)));
        lab.write("healthy", "");
        watch.wait_holder(&pair.first, PATIENCE);

        // A director that comes back waits before it preempts; the other one stays Master meanwhile.
        let _second = pair.start(&pair.second);
        first.stop(PATIENCE);
        watch.wait_holder(&pair.second, PATIENCE);
        let returned = mark();
        let _first = pair.start(&pair.first);
        watch.wait_holder(&pair.first, PATIENCE);
        let waited = returned.elapsed();
        assert!(waited >= Duration::from_secs(3 + 3), "{waited:?}");
        lab.assert_within("back", waited, Duration::from_secs(3 + 3) + MASTER_DOWN + 2 * INTERVAL, returned);
        lab.assert_within("VIP on both", watch.both_since(returned), TOLERANCE, returned);
    });
}
