//! A daemon with few descriptors, programs that hang and fork, targets that are silent, answers without end:
//! what is well is checked all the same, and nothing grows.

use std::fmt::Write as _;
use std::fs;

use lab::{Reference, eventually, guest};
use serde_json::Value;

use crate::support::PATIENCE;

/// Descriptors that the daemon may have.
const DESCRIPTORS: usize = 256;
/// Checks by a program that hangs, and of targets that are not there.
const HANGING: u16 = 100;
const SILENT: u16 = 200;
/// Programs that run at a time with so few descriptors, and processes of each.
const PROGRAMS: usize = 20;
const PROCESSES: usize = 3;
/// Most memory that the daemon may need, in KiB.
const MEMORY: u64 = 64 << 10;

/// A virtual server by masquerading, as its destinations have ports of their own.
fn service(name: &str, port: u16, entries: &[String]) -> String {
    format!(
        "\n[services.{name}]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nport = {port}\nforwarding = \"nat\"\n\
         real_servers = [{}]\n",
        entries.join(", ")
    )
}

fn cluster() -> String {
    let often = "interval = \"2s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";
    let entry = |port: u16, check: String| {
        format!("{{ host = \"rs2\", port = {port}, check = {{ {check}, {often} }} }}")
    };
    let hangs = |port: u16| {
        let command = format!("[\"/bin/sh\", \"-c\", \"sleep 7531 & sleep 7531 & wait\", \"{port}\"]");
        // Starting programs is slow in the guest, and is not what is tried here.
        let seldom = "interval = \"30s\", timeout = \"4s\", retries = 0, retry_delay = \"30s\"";
        let check = format!("type = \"script\", command = {command}, user = \"nobody\", {seldom}");
        format!("{{ host = \"rs2\", port = {port}, check = {{ {check} }} }}")
    };
    let silent = |port: u16| {
        entry(port, format!("type = \"tcp\", address = \"192.168.188.{}\", port = 9", 20 + port % 60))
    };
    let endless = format!(
        "{{ host = \"rs2\", port = 80, check = {{ type = \"http\", path = \"/stream?ms=1&bytes=4000\", \
         body = \"never\", {often} }} }}"
    );
    let mut text = Reference::cluster_file();
    let soon =
        "check = { type = \"tcp\", interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\" }";
    let before = "check = { type = \"tcp\", interval = \"5s\", timeout = \"10s\", retries = 3, \
                  retry_delay = \"3s\" }";
    assert!(text.contains(before), "the example's check");
    text = text.replace(before, soon);
    let _ = write!(
        text,
        "{}{}{}",
        service("hanging", 81, &(1000..1000 + HANGING).map(hangs).collect::<Vec<_>>()),
        service("silent", 82, &(2000..2000 + SILENT).map(silent).collect::<Vec<_>>()),
        service("endless", 83, &[endless])
    );
    text
}

#[test]
fn with_few_descriptors_what_hangs_and_what_never_ends_others_are_checked_in_time() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        reference.compile_text(&cluster());
        let dir1 = reference.hosts.dir1.clone();
        let plan = reference.plans.directory().to_owned();
        let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let own = |name: &str| dir1.scratch().join(name).display().to_string();
        let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
        let (state, socket, plan) = (own("state"), own("evenkeeld.sock"), plan.display().to_string());
        let daemon = dir1.spawn(
            "evenkeeld",
            [
                "prlimit",
                &limit,
                "--",
                &program,
                "run",
                "--plan",
                &plan,
                "--host",
                "dir1",
                "--state-dir",
                &state,
                "--socket",
                &socket,
            ],
            &[],
        );
        let rs1 = "-a -t 192.168.188.120:80 -r 192.168.188.107:80 -g -w 100".to_owned();
        eventually(PATIENCE, "rs1 serves", || dir1.ipvsadm().contains(&rs1));
        let told = |text: &str| daemon.log().contains(text);
        assert!(told("too few file descriptors (RLIMIT_NOFILE is 256)"), "{}", daemon.log());
        // Starting programs keeps the guest's one processor busy: an answer may come too late.
        let status = || {
            let mut found = Value::Null;
            eventually(PATIENCE, "status answers", || {
                let more = ["--json", "--socket", socket.as_str()];
                let output = reference.plans.evenkeeld(&dir1, "status", &more);
                found = serde_json::from_str(&output.stdout).unwrap_or_default();
                found.is_object()
            });
            found
        };
        let destinations = |name: &str| {
            let servers = status()["virtual_servers"].as_array().cloned().unwrap_or_default();
            let server = servers.into_iter().find(|server| server["name"] == name).expect("a service");
            server["destinations"].as_array().cloned().expect("destinations")
        };
        let is_down = |one: &serde_json::Value| one["verdict"] == "down";
        eventually(3 * PATIENCE, "programs that hang have failed", || {
            destinations("hanging").iter().all(is_down)
        });
        eventually(PATIENCE, "silent targets have failed", || destinations("silent").iter().all(is_down));
        eventually(PATIENCE, "the endless answer has failed", || destinations("endless").iter().all(is_down));
        let reason = destinations("endless")[0]["last_result"].as_str().unwrap_or_default().to_owned();
        assert!(!reason.is_empty(), "a failure has a reason");
        lab.log(format!("the endless answer: {reason}"));

        for _ in 0..3 {
            reference.web1.stop();
            eventually(PATIENCE, "rs1 is out", || !dir1.ipvsadm().contains(&rs1));
            reference.web1.start();
            eventually(PATIENCE, "rs1 is back", || dir1.ipvsadm().contains(&rs1));
            let sleeping = processes("sleep 7531");
            assert!(sleeping <= PROGRAMS * PROCESSES, "{sleeping} processes of programs that hang");
            let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("its descriptors").count();
            assert!(open <= DESCRIPTORS, "{open} descriptors");
            let memory = resident(daemon.pid());
            assert!(memory <= MEMORY, "{memory} KiB of memory");
            lab.log(format!("{sleeping} processes, {open} descriptors, {memory} KiB"));
        }
        let router = &status()["routers"][0];
        assert_eq!(router["state"], "master", "{router}");
        daemon.stop(PATIENCE);
        eventually(PATIENCE, "what checks started has ended with the daemon", || {
            processes("sleep 7531") == 0
        });
    });
}

/// Processes of this kernel with these words.
fn processes(words: &str) -> usize {
    let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").expect("processes").flatten().filter_map(of);
    let text = |line: Vec<u8>| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
    lines.map(text).filter(|line| line == words).count()
}

/// Memory of a process that is resident, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
