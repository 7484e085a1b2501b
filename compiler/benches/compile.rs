//! How long a large cluster takes to validate and to compile, in how much memory, and how both grow.
//!
//! `cargo bench -p evenkeel --bench compile`. Each size runs in a process of its own, several times, and
//! the least of each figure counts: what disturbs a run only ever makes it slower. The time on the clock
//! stands beside that of the processors, which depends less on what else the machine does. The command itself
//! is measured as well: into a directory that is not there, with the time that the disk takes to keep the
//! plans, and into one that has them. With keepalived installed
//! `keepalived -t` checks the same services in the same run; that is one host's file, ours is all of them.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks and runs itself")]

use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::{SourceFile, compile, emit};

const SIZES: [usize; 4] = [1_000, 3_000, 10_000, 20_000];
/// The size that has a limit, and its limit in seconds.
const ASKED: (usize, f64) = (10_000, 0.3);
const HOSTS: usize = 100;
const DESTINATIONS: usize = 10;
const RUNS: usize = 7;

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

/// One size, in this process: prints microseconds to validate and to compile, the peak of memory in KiB, and
/// bytes of plans.
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
    /// Of the whole run, with what makes the cluster file.
    processor: Duration,
    peak_kib: u64,
    plan_bytes: u64,
}

fn figures(services: usize) -> Figures {
    let this = std::env::current_exe().expect("this program");
    let mut least: Option<Figures> = None;
    for _ in 0..RUNS {
        let (output, took) = took(Command::new(&this).args(["measure", &services.to_string()]));
        let mut numbers = output.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        let run = Figures {
            validated: Duration::from_micros(next()),
            compiled: Duration::from_micros(next()),
            processor: took.processor,
            peak_kib: next(),
            plan_bytes: next(),
        };
        least = Some(match least {
            None => run,
            Some(least) => Figures {
                validated: least.validated.min(run.validated),
                compiled: least.compiled.min(run.compiled),
                processor: least.processor.min(run.processor),
                peak_kib: least.peak_kib.min(run.peak_kib),
                plan_bytes: run.plan_bytes,
            },
        });
    }
    least.expect("at least one run")
}

/// Cost of a run of a program.
struct Took {
    processor: Duration,
    clock: Duration,
    peak_kib: i64,
}

#[expect(clippy::zombie_processes, reason = "it is waited for by `wait4`, which tells what it took")]
fn took(command: &mut Command) -> (String, Took) {
    let begin = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a program");
    let mut output = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut output).expect("text");
    let child = i32::try_from(child.id()).expect("a process");
    #[expect(unsafe_code, reason = "the standard library does not tell what a child took")]
    // SAFETY: both are plain numbers, for which zeros are valid, and the system writes no more than their
    // sizes; the child is ours and nobody else waits for it.
    let (ended, status, usage) = unsafe {
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        (libc::wait4(child, &raw mut status, 0, &raw mut usage), status, usage)
    };
    assert_eq!((ended, status), (child, 0), "{command:?}");
    let time = |time: libc::timeval| {
        Duration::from_micros(
            u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).expect("no negative time"),
        )
    };
    let processor = time(usage.ru_utime) + time(usage.ru_stime);
    (output, Took { processor, clock: begin.elapsed(), peak_kib: usage.ru_maxrss })
}

/// The least of several runs of the command.
fn command(cluster: &Path, out: &Path, fresh: bool) -> Took {
    let runs = (0..RUNS).map(|_| {
        if fresh {
            let _ = std::fs::remove_dir_all(out);
        }
        took(Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("compile").arg(cluster).arg("--out").arg(out)).1
    });
    let least = runs.reduce(|least, run| Took {
        processor: least.processor.min(run.processor),
        clock: least.clock.min(run.clock),
        peak_kib: least.peak_kib.min(run.peak_kib),
    });
    least.expect("at least one run")
}

fn report() {
    println!("{HOSTS} hosts, {DESTINATIONS} destinations a service, least of {RUNS} runs");
    println!(
        "{:>9} {:>10} {:>10} {:>10} {:>10} {:>11} {:>12}",
        "services", "validate", "compile", "processor", "peak", "plans", "keepalived -t"
    );
    let mut all = Vec::new();
    for services in SIZES {
        let figures = figures(services);
        let theirs = keepalived_check(services);
        let theirs_text =
            theirs.map_or_else(|| "not installed".to_owned(), |time| format!("{:.3} s", time.as_secs_f64()));
        println!(
            "{services:>9} {:>8.3} s {:>8.3} s {:>8.3} s {:>6} MiB {:>7} MiB {theirs_text:>12}",
            figures.validated.as_secs_f64(),
            figures.compiled.as_secs_f64(),
            figures.processor.as_secs_f64(),
            figures.peak_kib / 1024,
            figures.plan_bytes >> 20,
        );
        all.push((services, figures, theirs));
    }
    let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    for pair in all.windows(2) {
        let [(small, few, _), (large, many, _)] = pair else { continue };
        println!(
            "growth from {small} to {large} services ({:.1} is linear): validate {:.1}, compile {:.1}, \
             processor {:.1}",
            *large as f64 / *small as f64,
            times(many.validated, few.validated),
            times(many.compiled, few.compiled),
            times(many.processor, few.processor)
        );
    }
    let (asked, most) = ASKED;
    if let Some((_, figures, theirs)) = all.iter().find(|(services, ..)| *services == asked) {
        println!("{asked} services: compile {:.3} s, asked for {most} s", figures.compiled.as_secs_f64());
        if let Some(theirs) = theirs {
            println!(
                "keepalived -t of one host's {asked} services takes {:.1} times our validation of the \
                 cluster",
                times(*theirs, figures.validated)
            );
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (file, out) = (directory.path().join("cluster.toml"), directory.path().join("plans"));
    std::fs::write(&file, cluster(asked)).expect("a file");
    for (fresh, what) in [(true, "a directory that is not there"), (false, "one that has the plans")] {
        let took = command(&file, &out, fresh);
        println!(
            "evenkeel compile of {asked} into {what}: {:.3} s, processor {:.3} s, peak {} MiB",
            took.clock.as_secs_f64(),
            took.processor.as_secs_f64(),
            took.peak_kib / 1024
        );
    }
    println!("load: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
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
