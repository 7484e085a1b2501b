//! How much processor time and memory `plan` takes of a large cluster, beside `compile` of the same cluster.
//!
//! `cargo bench -p evenkeel --bench plan`. Runs the command itself, as people do, and asks the system what it
//! took. Each figure is the least of several runs: what disturbs a run only ever makes it dearer. Processor
//! time is compared; the time on the clock is told beside it, since it depends on what else the machine does.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks and runs commands")]

use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SERVICES: usize = 1_000;
const REAL_SERVERS: usize = 40;
const RUNS: usize = 5;

/// What the issue that asked for this had measured, on another machine: nothing changed, every port changed,
/// `compile`.
const BEFORE: &str =
    "11 s and 360 MB, 32 s and 1.6 GB, where compile took 0.52 s (10,000 services on 100 hosts)";

fn main() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path();
    println!(
        "{SERVICES} services of {REAL_SERVERS} real servers on {} hosts, least of {RUNS} runs",
        REAL_SERVERS + 2
    );
    println!("before: {BEFORE}");
    for by_label in [false, true] {
        let write = |name: &str, first_port: usize| {
            std::fs::write(root.join(name), cluster(first_port, by_label)).expect("a file");
        };
        write("cluster.toml", 1_000);
        write("other.toml", 3_000);
        git(root, &["init", "--quiet"]);
        git(root, &["add", "."]);
        git(
            root,
            &["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "--quiet", "--message", "b"],
        );
        let _ = std::fs::remove_dir_all(root.join("plans"));
        let compile = least(root, &["compile", "cluster.toml", "--out"], true);
        least(root, &["compile", "cluster.toml", "--out", "plans"], false);
        let head = if by_label { "real servers by label" } else { "real servers one by one" };
        println!("\n{head:<58} {:>9} {:>9} {:>7} {:>10}", "processor", "clock", "ratio", "peak");
        row("compile", &compile, &compile);
        for (what, file) in
            [("nothing changed", "cluster.toml"), ("every service gets another port", "other.toml")]
        {
            for (base, against) in [("git", "git:HEAD:cluster.toml"), ("directory", "plans")] {
                for format in ["human", "json", "markdown"] {
                    let arguments = ["plan", file, "--against", against, "--format", format];
                    let took = least(root, &arguments, false);
                    row(&format!("plan, {what}, {base}, {format}"), &took, &compile);
                }
            }
        }
    }
}

fn row(what: &str, took: &Took, compile: &Took) {
    let ratio = took.processor.as_secs_f64() / compile.processor.as_secs_f64();
    let (processor, clock) = (took.processor.as_secs_f64(), took.clock.as_secs_f64());
    println!("{what:<58} {processor:>7.3} s {clock:>7.3} s {ratio:>7.2} {:>6} MiB", took.peak_kib / 1024);
}

/// Two directors, and services that each have all real servers.
fn cluster(first_port: usize, by_label: bool) -> String {
    let mut text = String::from(
        "version = 1\nname = \"large\"\n\n[segments.front]\nsubnets = [\"10.0.0.0/8\"]\n\n[hosts]\n\
         dir1 = { address = \"10.1.0.1\", interface = \"eth0\" }\ndir2 = { address = \"10.1.0.2\", interface \
         = \"eth0\" }\n",
    );
    for host in 0..REAL_SERVERS {
        let labels = if by_label { ", labels = [\"web\"]" } else { "" };
        let _ = writeln!(
            text,
            "rs{host} = {{ address = \"10.1.1.{}\", interface = \"eth0\"{labels} }}",
            host + 1
        );
    }
    text.push_str(
        "\n[virtual_routers.VI_1]\nvrid = 51\nvips = [\"10.2.0.1\"]\ndirectors = [\"dir1\", \"dir2\"]\n",
    );
    for service in 0..SERVICES {
        let port = first_port + service;
        let _ = write!(
            text,
            "\n[services.s{service}]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nport = {port}\nreal_servers = ["
        );
        if by_label {
            text.push_str("{ label = \"web\" }");
        } else {
            for host in 0..REAL_SERVERS {
                let _ = write!(text, "{{ host = \"rs{host}\", weight = {} }}, ", 1 + host % 3);
            }
        }
        text.push_str(
            "]\ncheck = { type = \"tcp\", interval = \"5s\", timeout = \"10s\", retries = 3, \
            retry_delay = \"3s\" }\n",
        );
    }
    text
}

fn git(root: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .expect("git is needed: apt install git");
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() || told.contains("nothing to commit"), "git {arguments:?}: {told}");
}

/// What a run of the command took.
struct Took {
    /// In the program and in the system for it, without its children.
    processor: Duration,
    clock: Duration,
    peak_kib: i64,
}

/// The least of several runs, of time and of memory. `fresh`: into a directory that is not there, each time.
fn least(root: &Path, arguments: &[&str], fresh: bool) -> Took {
    let mut least: Option<Took> = None;
    for _ in 0..RUNS {
        let out = root.join("fresh");
        let _ = std::fs::remove_dir_all(&out);
        let more = if fresh { vec!["fresh"] } else { Vec::new() };
        let run = run(root, &[arguments, &more].concat());
        least = Some(match least {
            None => run,
            Some(least) => Took {
                processor: least.processor.min(run.processor),
                clock: least.clock.min(run.clock),
                peak_kib: least.peak_kib.min(run.peak_kib),
            },
        });
    }
    least.expect("at least one run")
}

#[expect(clippy::zombie_processes, reason = "it is waited for by `wait`, which asks what it took")]
fn run(root: &Path, arguments: &[&str]) -> Took {
    let begin = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().expect("evenkeel");
    let (status, usage) = wait(child.id());
    assert!(status.success(), "evenkeel {arguments:?}: {status}");
    let time = |time: libc::timeval| {
        Duration::from_micros(
            u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).expect("no negative time"),
        )
    };
    Took {
        processor: time(usage.ru_utime) + time(usage.ru_stime),
        clock: begin.elapsed(),
        peak_kib: usage.ru_maxrss,
    }
}

#[expect(unsafe_code, reason = "the standard library does not tell what a child took")]
fn wait(child: u32) -> (ExitStatus, libc::rusage) {
    let child = i32::try_from(child).expect("a process");
    // SAFETY: both are plain numbers, for which zeros are valid, and the system writes what it has the size
    // for.
    let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
    // SAFETY: as above; the child is ours and nobody else waits for it.
    let ended = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
    assert_eq!(ended, child, "wait4");
    (ExitStatus::from_raw(status), usage)
}
