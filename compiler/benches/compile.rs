//! How long a large cluster takes to validate and to compile, in how much memory, and how both grow.
//!
//! `cargo bench -p evenkeel --bench compile`. Each size runs in a process of its own, several times, and
//! the fastest run counts: what disturbs a run only ever makes it slower. With keepalived installed
//! `keepalived -t` checks the same services in the same run; that is one host's file, ours is all of them.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks and runs itself")]

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel::{SourceFile, compile, emit};

const SIZES: [usize; 3] = [1_000, 3_000, 10_000];
const HOSTS: usize = 100;
const DESTINATIONS: usize = 10;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo bench` adds arguments of its own.
    match arguments.get(1).map(String::as_str) {
        Some("measure") => measure(&arguments[2]),
        Some("generate") => print!("{}", cluster(arguments[2].parse().expect("a number"))),
        _ => report(),
    }
}

/// A cluster with that many services on 100 hosts: a virtual router for each 200 services.
fn cluster(services: usize) -> String {
    let mut text = String::from(
        "version = 1\nname = \"large\"\n\n[segments.front]\nsubnets = [\"10.0.0.0/8\"]\n\n[hosts]\n",
    );
    for host in 0..HOSTS {
        let _ = writeln!(text, "h{host} = {{ address = \"10.1.0.{}\", interface = \"eth0\" }}", host + 1);
    }
    let routers = services.div_ceil(200);
    for router in 0..routers {
        let _ = writeln!(
            text,
            "\n[virtual_routers.R{router}]\nvrid = {}\nvips = [\"10.2.0.{}\"]\n\
             directors = [\"h{}\", \"h{}\"]",
            router + 1,
            router + 1,
            router % 10,
            10 + router % 10
        );
    }
    for service in 0..services {
        let _ = write!(
            text,
            "\n[services.s{service}]\nrouter = \"R{}\"\nprotocol = \"tcp\"\nport = {}\nreal_servers = [",
            service / 200,
            1000 + service % 200
        );
        for destination in 0..DESTINATIONS {
            let host = 20 + (service * 7 + destination) % (HOSTS - 20);
            let _ = write!(text, "{{ host = \"h{host}\", weight = {} }}, ", 1 + destination);
        }
        text.push_str(
            "]\ncheck = { type = \"tcp\", interval = \"5s\", timeout = \"10s\", retries = 3, \
            retry_delay = \"3s\" }\n",
        );
    }
    text
}

/// The same services as one keepalived.conf.
fn keepalived(services: usize) -> String {
    let mut text = String::new();
    for service in 0..services {
        let _ = writeln!(
            text,
            "virtual_server 10.2.0.{} {} {{\n  lb_algo wlc\n  lb_kind DR\n  protocol TCP\n  delay_loop 5",
            service / 200 + 1,
            1000 + service % 200
        );
        for destination in 0..DESTINATIONS {
            let host = 20 + (service * 7 + destination) % (HOSTS - 20);
            let _ = writeln!(
                text,
                "  real_server 10.1.0.{} {} {{\n    weight {}\n    TCP_CHECK {{\n      connect_timeout \
                10\n      retry 3\n      delay_before_retry 3\n    }}\n  }}",
                host + 1,
                1000 + service % 200,
                1 + destination
            );
        }
        text.push_str("}\n");
    }
    text
}

/// One size, in this process: prints microseconds to validate and to compile, and the peak of memory in KiB.
fn measure(services: &str) {
    let text = cluster(services.parse().expect("a number"));
    let source = SourceFile::new("cluster.toml", text);
    let begin = Instant::now();
    let compilation = compile(&source);
    let validated = begin.elapsed();
    let cluster = compilation.cluster.as_ref().expect("a valid cluster");
    let plans = emit(cluster);
    let compiled = begin.elapsed();
    let bytes: usize = plans.iter().map(|plan| plan.text.len()).sum();
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    println!("{} {} {peak} {bytes}", validated.as_micros(), compiled.as_micros());
}

struct Figures {
    validated: Duration,
    compiled: Duration,
    peak_kib: u64,
    plan_bytes: u64,
}

fn figures(services: usize) -> Figures {
    let this = std::env::current_exe().expect("this program");
    let mut best: Option<Figures> = None;
    for _ in 0..RUNS {
        let output = Command::new(&this).args(["measure", &services.to_string()]).output().expect("a run");
        let text = String::from_utf8(output.stdout).expect("numbers");
        let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        let run = Figures {
            validated: Duration::from_micros(next()),
            compiled: Duration::from_micros(next()),
            peak_kib: next(),
            plan_bytes: next(),
        };
        if best.as_ref().is_none_or(|best| run.compiled < best.compiled) {
            best = Some(run);
        }
    }
    best.expect("at least one run")
}

fn report() {
    println!("{HOSTS} hosts, {DESTINATIONS} destinations a service, fastest of {RUNS} runs");
    println!(
        "{:>9} {:>10} {:>10} {:>10} {:>11} {:>12}",
        "services", "validate", "compile", "peak", "plans", "keepalived -t"
    );
    let mut all = Vec::new();
    for services in SIZES {
        let figures = figures(services);
        let theirs = keepalived_check(services);
        let theirs_text =
            theirs.map_or_else(|| "not installed".to_owned(), |time| format!("{:.3} s", time.as_secs_f64()));
        println!(
            "{services:>9} {:>8.3} s {:>8.3} s {:>6} MiB {:>7} MiB {theirs_text:>12}",
            figures.validated.as_secs_f64(),
            figures.compiled.as_secs_f64(),
            figures.peak_kib / 1024,
            figures.plan_bytes >> 20,
        );
        all.push((services, figures, theirs));
    }
    let (Some((small, few, _)), Some((large, many, theirs))) = (all.first(), all.last()) else { return };
    let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "growth from {small} to {large} services (10 is linear): validate {:.1}, compile {:.1}",
        times(many.validated, few.validated),
        times(many.compiled, few.compiled)
    );
    if let Some(theirs) = theirs {
        println!(
            "keepalived -t of one host's {large} services takes {:.1} times our validation of the cluster",
            times(*theirs, many.validated)
        );
    }
}

/// Fastest `keepalived -t` of the same services.
fn keepalived_check(services: usize) -> Option<Duration> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keepalived.conf");
    std::fs::write(&file, keepalived(services)).expect("a file");
    let mut best: Option<Duration> = None;
    for _ in 0..RUNS {
        let begin = Instant::now();
        Command::new("keepalived").arg("-t").arg("-f").arg(&file).output().ok()?;
        let time = begin.elapsed();
        best = Some(best.map_or(time, |best| best.min(time)));
    }
    best
}
