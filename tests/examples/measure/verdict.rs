//! One verdict that changes in a large IPVS table: how long until the kernel has it, and what of the
//! processor that takes.
//!
//! One virtual server of many is checked, ten times a second, at a port of the director itself. Its listener
//! goes and comes back.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use lab::{Figures, Lab, LogEvent, mark};

use super::converge::{cluster_file, table, touch_memory};
use super::processes::cpu_seconds;
use super::raw::{Raw, Service};

/// Destinations of a virtual server.
const DESTINATIONS: u32 = 10;
/// Weight of the first destination of the first virtual server.
const WEIGHT: u32 = 10;
/// Changes of the verdict, there and back.
const FLIPS: usize = 40;
/// Time between two of them.
const BETWEEN: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(300);
const CHECK: &str = "on_failure = \"quiesce\"\ncheck = { type = \"tcp\", address = \"10.1.0.1\", port = 7, \
    interval = \"100ms\", \
                     timeout = \"1s\", retries = 0, retry_delay = \"100ms\" }\n";

/// Measures it in a table of so many virtual servers.
pub(crate) fn measure(lab: &Lab, services: u32) {
    touch_memory();
    let table = table(services, DESTINATIONS, WEIGHT);
    // Looks at the whole table would hide what a verdict takes.
    let text = format!("{}[policy]\nresync = \"10m\"\n", cluster_file(&table));
    let text = text.replace("[services.s0]\n", &format!("[services.s0]\n{CHECK}"));
    let plans = lab.plans("verdict");
    plans.compile_text(&text);
    let host = lab.bare_host("verdict");
    host.attach("eth0", "br-verdict", "10.1.0.1/8");
    let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
    let own = |name: &str| host.scratch().join(name).display().to_string();
    let directory = host.scratch().join("plans");
    fs::create_dir_all(&directory).expect("a directory");
    fs::copy(plans.directory().join("dir1.plan.toml"), directory.join("dir1.plan.toml")).expect("a copy");
    let listen = || host.enter(|| TcpListener::bind("10.1.0.1:7").expect("listens"));
    let mut listener = Some(listen());
    let (plan, state, socket) = (directory.display().to_string(), own("state"), own("evenkeeld.sock"));
    let argv =
        [&program, "run", "--plan", &plan, "--host", "dir1", "--state-dir", &state, "--socket", &socket];
    let begun = mark();
    let daemon = host.spawn("evenkeeld", argv, &[]);
    daemon.wait_told_since(begun, LogEvent::Converged, PATIENCE);
    std::thread::sleep(Duration::from_secs(10));
    let (idle, began) = (cpu_seconds(&host, &daemon), Instant::now());
    std::thread::sleep(Duration::from_secs(30));
    let idle = (cpu_seconds(&host, &daemon) - idle) / began.elapsed().as_secs_f64();
    let (used, began) = (cpu_seconds(&host, &daemon), Instant::now());
    let mut times = Vec::new();
    for flip in 0..FLIPS {
        let wanted = if flip % 2 == 0 {
            listener = None;
            0
        } else {
            listener = Some(listen());
            WEIGHT
        };
        let begun = Instant::now();
        host.enter(|| wait_weight(&table[0], wanted));
        times.push(begun.elapsed());
        std::thread::sleep(BETWEEN);
    }
    drop(listener);
    let lasted = began.elapsed().as_secs_f64();
    let more = (cpu_seconds(&host, &daemon) - used - idle * lasted).max(0.0);
    let figures: Figures = times.into_iter().collect();
    daemon.stop(PATIENCE);
    println!(
        "{services} virtual servers of {DESTINATIONS}, one verdict changes: {figures} until the kernel has \
        it (of which up to 100 ms until \
         the next probe, and 20 ms while verdicts are collected); {:.1} ms of processor time each, beside \
         {:.1} % of a processor without",
        more / FLIPS as f64 * 1e3,
        idle * 100.0
    );
}

fn wait_weight(service: &Service, weight: u32) {
    let mut raw = Raw::open();
    let begun = Instant::now();
    while !raw.weights(service).contains(&weight) {
        assert!(begun.elapsed() < PATIENCE, "the weight changes");
        std::thread::sleep(Duration::from_millis(1));
    }
}
