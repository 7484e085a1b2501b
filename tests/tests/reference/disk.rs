//! A state directory whose disk is full, frozen, read-only, or that somebody removes: it costs what is new,
//! and nothing else. Each trouble is met in every situation: steady, a dead server, a flush, a failover
//! either way, a restart, a new plan.

use std::time::Duration;

use lab::{Daemon, Host, Lab, LogEvent, Reference, StateDisk, Trouble, eventually, guest, mark};

use crate::support::{PATIENCE, steady_client};

/// The example's hosts; the directors are real servers of a service themselves, so that all services follow
/// the Master, and share connections.
fn cluster(more: &str) -> String {
    format!(
        r#"version = 1
name = "lvs-dr"

[segments.front]
subnets = ["192.168.188.0/24"]

[hosts]
dir1 = {{ address = "192.168.188.108", interface = "eth0" }}
dir2 = {{ address = "192.168.188.109", interface = "eth0" }}
rs1 = {{ address = "192.168.188.107", interface = "eth0" }}
rs2 = {{ address = "192.168.188.110", interface = "eth0" }}

[virtual_routers.VI_1]
vrid = 51
vips = ["192.168.188.120"]
directors = ["dir1", "dir2"]

[connection_sync.main]
router = "VI_1"
preempt_after_sync = "0s"

[services.own]
router = "VI_1"
protocol = "tcp"
port = 81
scheduler = "rr"
real_servers = [{{ host = "dir1" }}, {{ host = "dir2" }}]

[services.web]
router = "VI_1"
protocol = "tcp"
port = 80
scheduler = "rr"
real_servers = [{{ host = "rs1" }}, {{ host = "rs2" }}]
check = {{ type = "tcp", interval = "1s", timeout = "1s", retries = 0, retry_delay = "1s" }}
{more}"#
    )
}

const NEW_SERVICE: &str = r#"
[services.new]
router = "VI_1"
protocol = "udp"
port = 5353
scheduler = "rr"
real_servers = [{ host = "rs1" }, { host = "rs2" }]
"#;

const WEB: &str = "-A -t 192.168.188.120:80 -s rr";
const OWN: &str = "-A -t 192.168.188.120:81 -s rr";
const NEW: &str = "-A -u 192.168.188.120:5353 -s rr";
const RS1: &str = "-a -t 192.168.188.120:80 -r 192.168.188.107:80 -g -w 1";

fn has(host: &Host, line: &str) -> bool {
    host.ipvsadm().iter().any(|found| found == line)
}

fn wait(host: &Host, line: &str, there: bool) {
    let what = format!("{}: {line} is {}", host.name(), if there { "there" } else { "not there" });
    eventually(PATIENCE, &what, || has(host, line) == there);
}

/// Whether a host's status says that something waits for the disk; and what the page for people says of it.
fn waits(reference: &Reference<'_>, host: &Host) -> bool {
    let status = reference.status(host);
    let waiting = status["state_directory"]["waiting"].as_array().cloned().unwrap_or_default();
    waiting.iter().all(|file| file["since"].is_string()) && !waiting.is_empty()
}

/// Stops a Master, after which the other director serves everything; then starts it again, after which it
/// does.
fn failover_and_back(reference: &Reference<'_>, master: Daemon, names: &[&str]) -> Daemon {
    let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
    let stopped = mark();
    master.signal(nix::sys::signal::Signal::SIGTERM);
    eventually(PATIENCE, "dir2 has the VIP", || dir2.has_address("eth0", reference.hosts.vip));
    for line in names {
        wait(dir2, line, true);
    }
    // On a frozen disk its process cannot end, but everything in it has.
    master.wait_told_since(stopped, LogEvent::Stopped, PATIENCE);
    let again = reference.start(dir1);
    eventually(PATIENCE, "dir1 has the VIP", || dir1.has_address("eth0", reference.hosts.vip));
    for line in names {
        wait(dir1, line, true);
    }
    eventually(PATIENCE, "dir2 has no service of the Master's", || dir2.ipvsadm().is_empty());
    again
}

/// Somebody removes the daemon's sockets as well: no second daemon starts, and both are there again.
fn removed_sockets(lab: &Lab, reference: &Reference<'_>, dir1: &Host) {
    let sockets = ["evenkeeld.sock", "evenkeeld.sock.guard"].map(|name| dir1.scratch().join(name));
    for socket in &sockets {
        std::fs::remove_file(socket).expect("removed");
    }
    let second = reference.start(dir1);
    second.wait_told(LogEvent::AlreadyRunning, PATIENCE);
    assert!(!second.wait(PATIENCE).success());
    let took =
        eventually(PATIENCE, "the sockets are there again", || sockets.iter().all(|socket| socket.exists()));
    lab.log(format!("sockets were there again after {took:?}"));
    assert_eq!(reference.status(dir1)["guarded"], true);
}

fn costs_what_is_new(lab: &Lab, trouble: Trouble) {
    let mut reference = Reference::new(lab);
    let (dir1, dir2) = (reference.hosts.dir1.clone(), reference.hosts.dir2.clone());
    reference.compile_text(&cluster(""));
    let mut disks: Vec<StateDisk> = vec![dir1.state_disk(0), dir2.state_disk(1)];
    let _webs = [dir1.web(81), dir2.web(81)];
    let daemons = reference.serving();
    eventually(PATIENCE, "dir1 has converged", || {
        reference.status(&dir1)["convergence"]["converged"] == true
            && reference.status(&dir2)["convergence"]["converged"] == true
    });
    let client = steady_client(&reference);

    for disk in &mut disks {
        disk.trouble(trouble);
    }
    if trouble == Trouble::Removed {
        removed_sockets(lab, &reference, &dir1);
    }
    lab.log(format!("{trouble:?}: a server dies and comes back"));
    reference.web1.stop();
    wait(&dir1, RS1, false);
    reference.web1.start();
    wait(&dir1, RS1, true);
    lab.log("the table is flushed");
    dir1.run(["ipvsadm", "-C"]);
    for line in [WEB, OWN, RS1] {
        wait(&dir1, line, true);
    }
    lab.log("failover and back");
    let master = failover_and_back(&reference, daemons.dir1, &[WEB, OWN, RS1]);
    client.wait_ok(PATIENCE);

    lab.log("a new plan: one service comes, and the weight of another changes");
    let text = cluster(NEW_SERVICE).replace(r#"{ host = "rs2" }]"#, r#"{ host = "rs2", weight = 7 }]"#);
    reference.compile_text(&text);
    let rs2 = "-a -t 192.168.188.120:80 -r 192.168.188.110:80 -g -w 7";
    wait(&dir1, rs2, true);
    if trouble == Trouble::Removed {
        wait(&dir1, NEW, true);
    } else {
        eventually(PATIENCE, "status tells of the disk", || waits(&reference, &dir1));
        let socket = dir1.scratch().join("evenkeeld.sock").display().to_string();
        let page = reference.evenkeeld(&dir1, "status", &["--socket", &socket]).expect_success();
        assert!(page.contains("waiting for the disk since"), "{page}");
        assert!(!has(&dir1, NEW), "it is not named on the disk");
        let errors = reference.status(&dir1)["convergence"]["errors"].to_string();
        assert!(errors.contains("waiting for the disk"), "{errors}");
        // Whoever gives an order is answered, and it is not in force.
        let asked = mark();
        let order = reference.evenkeeld(&dir1, "drain", &["rs2", "--socket", &socket]);
        assert!(!order.status.success() && order.stderr.contains("not in force"), "{}", order.stderr);
        lab.assert_within("answer to an order", asked.elapsed(), Duration::from_secs(5), asked);
        assert!(has(&dir1, rs2));
    }
    lab.log("with that plan a server dies and comes back, the table is flushed, failover and back");
    reference.web1.stop();
    wait(&dir1, RS1, false);
    reference.web1.start();
    wait(&dir1, RS1, true);
    dir1.run(["ipvsadm", "-C"]);
    for line in [WEB, OWN, RS1, rs2] {
        wait(&dir1, line, true);
    }
    let master = failover_and_back(&reference, master, &[WEB, OWN, RS1, rs2]);
    client.wait_ok(PATIENCE);

    lab.log("the trouble is over");
    for disk in &mut disks {
        disk.heal();
    }
    wait(&dir1, NEW, true);
    eventually(PATIENCE, "nothing waits", || !waits(&reference, &dir1) && !waits(&reference, &dir2));
    // What ran is kept: a restart with a damaged file goes on with it.
    let plan = std::fs::read_to_string(reference.plan(&dir1)).expect("plan");
    assert_eq!(disks[0].read("last-good/dir1.plan.toml"), plan);
    std::fs::write(reference.plan(&dir1), "garbage").expect("written");
    master.stop(PATIENCE);
    let _again = reference.start(&dir1);
    eventually(PATIENCE, "dir1 has the VIP", || dir1.has_address("eth0", reference.hosts.vip));
    for line in [WEB, OWN, NEW, rs2] {
        wait(&dir1, line, true);
    }
}

#[test]
fn a_full_disk_costs_what_is_new() {
    guest(|lab| costs_what_is_new(lab, Trouble::Full));
}

#[test]
fn a_frozen_disk_costs_what_is_new() {
    guest(|lab| costs_what_is_new(lab, Trouble::Frozen));
}

#[test]
fn a_read_only_disk_costs_what_is_new() {
    guest(|lab| costs_what_is_new(lab, Trouble::ReadOnly));
}

#[test]
fn a_removed_state_directory_is_made_again_and_costs_nothing() {
    guest(|lab| costs_what_is_new(lab, Trouble::Removed));
}
