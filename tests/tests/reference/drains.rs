//! Destinations that drain: because they leave the plan, by the plan and by order, over restarts, with
//! clients that go on.

use std::time::Duration;

use lab::{Daemon, Host, LogEvent, Reference, eventually, guest, mark};
use serde_json::Value;

use crate::support::{PATIENCE, wait_answer};

/// dir1's plan with time for what leaves it.
fn with_drain(plan: &str, drain: &str) -> String {
    plan.replace("one_packet = false\n", &format!("one_packet = false\ndrain = \"{drain}\"\n"))
}

/// A plan without the destination of a host.
fn without(plan: &str, host: &str) -> String {
    let start = plan.find(&format!("[[virtual_server.destination]]\nhost = \"{host}\"")).expect("the host");
    let length = plan[start..].find("\n\n").expect("its end") + 2;
    format!("{}{}", &plan[..start], &plan[start + length..])
}

/// The weight of a real server in the table, with its active connections.
fn weight(director: &Host, real_server: &Host) -> Option<(u32, u32)> {
    let services = director.ipvs();
    let all = services.iter().flat_map(|service| &service.destinations);
    let mut found = all.filter(|destination| destination.address.ip() == real_server.ip());
    found.next().map(|destination| (destination.weight, destination.active))
}

#[track_caller]
fn wait_weight(director: &Host, real_server: &Host, wanted: Option<u32>) {
    eventually(PATIENCE, &format!("{} has weight {wanted:?}", real_server.name()), || {
        weight(director, real_server).map(|(weight, _)| weight) == wanted
    });
}

fn command(reference: &Reference<'_>, words: &[&str]) -> lab::Output {
    let dir1 = &reference.hosts.dir1;
    let socket = dir1.scratch().join("evenkeeld.sock").display().to_string();
    reference.evenkeeld(dir1, words[0], &[&words[1..], &["--socket", &socket]].concat())
}

/// dir1 alone, both real servers, and a download of each.
fn serving(reference: &Reference<'_>) -> (Daemon, [Daemon; 2]) {
    let hosts = &reference.hosts;
    let real = [reference.start(&hosts.rs1), reference.start(&hosts.rs2)];
    let director = reference.start(&hosts.dir1);
    director.wait_told(LogEvent::Master, PATIENCE);
    for host in [&hosts.rs1, &hosts.rs2] {
        eventually(PATIENCE, "the VIP is on the real server", || host.has_address("lo", hosts.vip));
        wait_weight(&hosts.dir1, host, Some(100));
    }
    (director, real)
}

/// A download by this real server.
fn download(reference: &Reference<'_>, host: &Host) -> lab::Download {
    for _ in 0..4 {
        let download = reference.hosts.client.download(reference.hosts.vip, 80);
        if download.responder(PATIENCE) == host.name() {
            return download;
        }
        // The scheduler gives the next one to the other.
        std::mem::forget(download);
    }
    panic!("{} is never chosen", host.name());
}

fn of_host<'a>(status: &'a Value, host: &str) -> &'a Value {
    let all = status["virtual_servers"][0]["destinations"].as_array().expect("destinations");
    all.iter().find(|destination| destination["host"] == host).expect("the host")
}

#[test]
fn what_leaves_the_plan_keeps_its_connections_for_a_while_whoever_restarts_or_meddles() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, rs1) = (&reference.hosts.dir1, &reference.hosts.rs1);
        reference.plans.rewrite(dir1, |plan| with_drain(plan, "9s"));
        let (director, _real) = serving(&reference);
        let all = std::fs::read_to_string(reference.plan(dir1)).expect("the plan");
        let first = download(&reference, rs1);

        // What is going to happen, of a plan that is not in force.
        let next = lab.plans("next");
        let (from, to) = (reference.plans.directory().display(), next.directory().display());
        lab.run(["cp", "-r", &from.to_string(), &to.to_string()]);
        next.rewrite(dir1, |plan| without(plan, "rs1"));
        let socket = dir1.scratch().join("evenkeeld.sock").display().to_string();
        let diff = next.evenkeeld(dir1, "diff", &["--socket", &socket]).expect_success();
        print!("{diff}");
        assert!(
            diff.contains("of destination 192.168.188.107:80 in tcp 192.168.188.120:80: 1 active"),
            "{diff}"
        );
        assert!(diff.contains("; drains up to 9 s\n"), "{diff}");
        let diff = next.evenkeeld(dir1, "diff", &["--socket", &socket, "--json"]).expect_success();
        let diff: Value = serde_json::from_str(&diff).expect("JSON");
        assert_eq!(
            (&diff["daemon"], &diff["summary"]["active_draining"]),
            (&true.into(), &1.into()),
            "{diff}"
        );

        let left = mark();
        reference.plans.rewrite(dir1, |plan| without(plan, "rs1"));
        wait_weight(dir1, rs1, Some(0));
        assert_eq!(weight(dir1, rs1), Some((0, 1)));
        eventually(PATIENCE, "status tells", || {
            let server = &reference.status(dir1)["virtual_servers"][0];
            server["leaving"][0]["drain"]["left"]["active"] == 1
        });
        // A meddler is put right at the next look.
        dir1.run(["ipvsadm", "-e", "-t", "192.168.188.120:80", "-r", "192.168.188.107:80", "-g", "-w", "5"]);
        director.kill9();
        let director = reference.start(dir1);
        wait_weight(dir1, rs1, Some(0));
        first.wait_progress(PATIENCE);
        wait_weight(dir1, rs1, None);
        let took = left.elapsed();
        lab.log(format!("gone {took:?} after it left the plan"));
        assert!(took >= Duration::from_secs(8), "gone too soon: {took:?}");
        lab.assert_within(
            "the restart took nothing from its time",
            took,
            Duration::from_millis(11_500),
            left,
        );
        director.wait_told(LogEvent::DrainTimeOver.with("left", "1 active"), PATIENCE);

        // It comes back, leaves again, and goes with its last connection.
        let back = lab.write("back", &all);
        std::fs::rename(back, reference.plan(dir1)).expect("the plan is replaced");
        wait_weight(dir1, rs1, Some(100));
        first.wait_progress(PATIENCE);
        reference.plans.rewrite(dir1, |plan| without(&plan.replace("\"9s\"", "\"1h\""), "rs1"));
        wait_weight(dir1, rs1, Some(0));
        dir1.run(["ipvsadm", "--set", "5", "1", "1"]);
        drop(first);
        wait_weight(dir1, rs1, None);
        let drained = LogEvent::Drained.with("destination", "192.168.188.107:80");
        director.wait_told(drained.with("service", "tcp 192.168.188.120:80"), PATIENCE);
    });
}

#[test]
fn a_host_that_is_told_to_drain_is_out_of_service_until_it_is_undrained() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, rs1, rs2) = (&reference.hosts.dir1, &reference.hosts.rs1, &reference.hosts.rs2);
        let (director, _real) = serving(&reference);
        let first = download(&reference, rs1);

        let told = command(&reference, &["drain", "rs1"]).expect_success();
        print!("{told}");
        assert!(told.contains("rs1 192.168.188.107:80 in web: drains, 1 active"), "{told}");
        assert_eq!(weight(dir1, rs1), Some((0, 1)));
        let refused = command(&reference, &["drain", "rs2"]);
        assert!(
            !refused.status.success()
                && refused.stderr.contains("no destination would serve any more in web")
        );
        let status = reference.status(dir1);
        assert_eq!(of_host(&status, "rs1")["drain"]["left"]["active"], 1, "{status}");
        assert_eq!(status["drain_orders"][0]["target"], "rs1", "{status}");
        assert_eq!(of_host(&status, "rs2")["drain"], Value::Null);

        // It outlives a kill, and the check's verdict does not change.
        director.kill9();
        let director = reference.start(dir1);
        director.wait_told(LogEvent::DrainBegins.with("left", "1 active"), PATIENCE);
        assert_eq!(weight(dir1, rs1).map(|(weight, _)| weight), Some(0));
        assert_eq!(of_host(&reference.status(dir1), "rs1")["verdict"], "up");
        first.wait_progress(PATIENCE);

        // A time of its own, and the end of it.
        command(&reference, &["drain", "rs1", "--timeout", "1s", "--wait"]).expect_success();
        assert_eq!(weight(dir1, rs1), None);
        assert_eq!(of_host(&reference.status(dir1), "rs1")["drain"]["state"], "drained");
        let page = command(&reference, &["status", "--usage"]).expect_success();
        print!("{page}");
        assert!(
            page.contains("DRAINED, out of the table") && page.contains("`evenkeeld undrain rs1` ends it")
        );
        let prober = reference.hosts.client.probe(reference.hosts.vip, 80);
        let since = mark();
        prober.wait_responder(rs2, PATIENCE);
        assert!(!prober.responders_since(since).contains_key("rs1"));

        let told = command(&reference, &["undrain", "rs1"]).expect_success();
        assert!(told.contains("as the plan says again"), "{told}");
        wait_weight(dir1, rs1, Some(100));
        prober.wait_responder(rs1, PATIENCE);
    });
}

#[test]
fn a_host_that_the_plan_drains_keeps_its_connections_and_no_order_brings_it_back() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (dir1, rs1) = (&reference.hosts.dir1, &reference.hosts.rs1);
        let (director, _real) = serving(&reference);
        let first = download(&reference, rs1);

        let line = "rs1  = { address = \"192.168.188.107\", interface = \"eth0\"";
        let drained = Reference::cluster_file().replace(line, &format!("{line}, drain = true"));
        assert_ne!(drained, Reference::cluster_file());
        reference.compile_text(&drained);
        wait_weight(dir1, rs1, Some(0));
        assert_eq!(weight(dir1, rs1), Some((0, 1)));
        first.wait_progress(PATIENCE);
        eventually(PATIENCE, "status tells who says so", || {
            let status = reference.status(dir1);
            let drain = &of_host(&status, "rs1")["drain"];
            drain["by_plan"] == true && drain["state"] == "draining" && drain["left"]["active"] == 1
        });
        assert_eq!(reference.status(dir1)["drain_orders"], Value::Array(Vec::new()), "it is no order");
        let refused = command(&reference, &["undrain", "rs1"]);
        assert!(
            !refused.status.success() && refused.stderr.contains("by the plan, not by an order"),
            "{}",
            refused.stderr
        );

        // It outlives a kill, and the check's verdict does not change.
        director.kill9();
        let _director = reference.start(dir1);
        wait_answer(&reference, dir1);
        eventually(PATIENCE, "it drains on", || {
            of_host(&reference.status(dir1), "rs1")["drain"]["state"] == "draining"
        });
        assert_eq!(weight(dir1, rs1).map(|(weight, _)| weight), Some(0));
        assert_eq!(of_host(&reference.status(dir1), "rs1")["verdict"], "up");
        first.wait_progress(PATIENCE);

        // An order may give it less time, and taking that back does not bring it back.
        command(&reference, &["drain", "rs1", "--timeout", "1s", "--wait"]).expect_success();
        assert_eq!(weight(dir1, rs1), None);
        let told = command(&reference, &["undrain", "rs1"]).expect_success();
        assert!(told.contains("drains on, as the plan says"), "{told}");
        let page = command(&reference, &["status"]).expect_success();
        assert!(page.contains("DRAINED, out of the table, as the plan says"), "{page}");

        reference.compile_text(&Reference::cluster_file());
        wait_weight(dir1, rs1, Some(100));
        assert_eq!(of_host(&reference.status(dir1), "rs1")["drain"], Value::Null);
    });
}

/// A destination that leaves the plan is a change, and one that somebody changes is drift: only the latter is
/// left, as long as the destination is there.
#[test]
fn draining_goes_on_where_drift_is_only_reported() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let policy = "\n[policy]\nresync = \"1s\"\ndrift = { ipvs = \"report\" }\n";
        reference.compile_text(&(Reference::cluster_file() + policy));
        let (dir1, rs1) = (&reference.hosts.dir1, &reference.hosts.rs1);
        reference.plans.rewrite(dir1, |plan| with_drain(plan, "8s"));
        let (director, _real) = serving(&reference);
        let first = download(&reference, rs1);

        command(&reference, &["drain", "rs1"]).expect_success();
        assert_eq!(weight(dir1, rs1), Some((0, 1)));
        command(&reference, &["undrain", "rs1"]).expect_success();
        wait_weight(dir1, rs1, Some(100));

        reference.plans.rewrite(dir1, |plan| without(plan, "rs1"));
        wait_weight(dir1, rs1, Some(0));
        dir1.run(["ipvsadm", "-e", "-t", "192.168.188.120:80", "-r", "192.168.188.107:80", "-g", "-w", "5"]);
        eventually(PATIENCE, "it is reported", || {
            reference.status(dir1)["convergence"]["reported_drift"] == 1
        });
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(weight(dir1, rs1), Some((5, 1)), "left as it was found");
        first.wait_progress(PATIENCE);
        wait_weight(dir1, rs1, None);
        director.wait_told(LogEvent::DrainTimeOver.with("left", "1 active"), PATIENCE);
        eventually(PATIENCE, "nothing is left to report", || {
            let convergence = reference.status(dir1)["convergence"].clone();
            convergence["reported_drift"] == 0 && convergence["converged"] == true
        });
    });
}
