//! Many verdicts that change at once: how long until the kernel has all of them, and whether the election's
//! timers are late meanwhile.
//!
//! All checks hold a connection to one host. It closes all of them at once, and later answers again.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lab::{Host, Lab};
use nix::sys::resource::{Resource, setrlimit};

use super::checks::{SERVER, VIP, cluster, director, lateness, start, target};
use super::converge::touch_memory;
use super::raw::{Raw, Service};

/// Destinations of a virtual server.
const DESTINATIONS: u32 = 10;
/// Virtual servers that are looked at while verdicts change: a look at all would hide what it takes.
const WATCHED: usize = 16;
/// Times that all of them change, there and back.
const TIMES: u32 = 5;
/// Descriptors of the host that is checked, and of the daemon.
const DESCRIPTORS: u64 = 65_536;
/// Time for all connections to be open, and for the machine to be idle again.
const SETTLES: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures it with 1,000 checks and with `most`.
pub(crate) fn measure(lab: &Lab, most: u32) {
    touch_memory();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).expect("descriptors");
    let server = director(lab, "server", "br-flips", SERVER);
    server.run(["ip", "route", "add", "local", "10.2.0.0/16", "dev", "lo"]);
    let mut rows = Vec::new();
    for checks in [1_000, most] {
        rows.extend(one(lab, &server, checks));
    }
    println!(
        "\nAll verdicts change at once ({TIMES} times), from the last closed connection to the last of \
         {WATCHED} \
         watched virtual servers in the kernel:\n  {}",
        rows.join("\n  ")
    );
}

fn one(lab: &Lab, server: &Host, checks: u32) -> Vec<String> {
    let host = director(lab, &format!("flips{checks}"), "br-flips", "10.1.0.1");
    host.run(["ip", "route", "add", "10.2.0.0/16", "via", SERVER]);
    let plans = lab.plans(&format!("flips{checks}"));
    plans.compile_text(&held(checks));
    let mut listener = Some(Listening::begin(server));
    let daemon = start(lab, &host, &plans);
    let services: Vec<Service> = (0..checks / DESTINATIONS)
        .map(|number| Service { address: VIP, port: port(number), destinations: Vec::new() })
        .collect();
    let step = (services.len() / WATCHED).max(1);
    let watched: Vec<&Service> = services.iter().step_by(step).collect();
    let all = usize::try_from(DESTINATIONS).expect("few");
    wait(&host, &services.iter().collect::<Vec<_>>(), all);
    let mut times = Vec::new();
    for _ in 0..TIMES {
        std::thread::sleep(SETTLES);
        let begun = Instant::now();
        let closed = listener.take().map(Listening::end).expect("it listens");
        let closing = begun.elapsed();
        let begun = Instant::now();
        wait(&host, &watched, 0);
        times.push((closing, closed, begun.elapsed()));
        wait(&host, &services.iter().collect::<Vec<_>>(), 0);
        listener = Some(Listening::begin(server));
        wait(&host, &services.iter().collect::<Vec<_>>(), all);
    }
    listener.map(Listening::end).expect("it listens");
    let late = lateness(lab, &host);
    daemon.stop(PATIENCE);
    host.cut();
    let row = |(closing, closed, took): (Duration, usize, Duration)| {
        format!(
            "{checks:>6} checks: {closed} connections closed in {:.1} ms; in the kernel {:.1} ms later",
            closing.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e3
        )
    };
    let mut rows: Vec<String> = times.into_iter().map(row).collect();
    rows.push(format!("{checks:>6} checks{late}"));
    rows
}

fn port(service: u32) -> u16 {
    u16::try_from(1000 + service).expect("a port")
}

/// Cluster file of so many checks that hold a connection each.
fn held(checks: u32) -> String {
    let mut services = String::new();
    for service in 0..checks / DESTINATIONS {
        let entries: Vec<String> = (0..DESTINATIONS)
            .map(|entry| {
                let address = target(service * DESTINATIONS + entry);
                format!(
                    "{{ host = \"server\", port = {}, check = {{ type = \"tcp\", hold = true, \
                     address = \"{address}\", port = 80, interval = \"5s\", timeout = \"2s\", retries = 0, \
                     retry_delay = \"1s\" }} }}",
                    1000 + entry
                )
            })
            .collect();
        let _ = writeln!(
            services,
            "[services.s{service}]\nrouter = \"R\"\nvip = \"{VIP}\"\nprotocol = \"tcp\"\nport = {}\n\
             scheduler = \"wlc\"\nforwarding = \"nat\"\nreal_servers = [{}]",
            port(service),
            entries.join(", ")
        );
    }
    cluster(&services)
}

/// Waits until each of these virtual servers has so many destinations.
fn wait(host: &Host, services: &[&Service], destinations: usize) {
    let begun = Instant::now();
    host.enter(|| {
        let mut raw = Raw::open();
        for service in services {
            while raw.weights(service).len() != destinations {
                assert!(begun.elapsed() < PATIENCE, "{destinations} destinations at port {}", service.port);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

/// A server that accepts connections and keeps them.
struct Listening {
    listener: TcpListener,
    thread: std::thread::JoinHandle<Vec<TcpStream>>,
    stop: std::sync::mpsc::Sender<()>,
    host: Host,
}

impl Listening {
    fn begin(host: &Host) -> Self {
        let listener = host.enter(|| TcpListener::bind("0.0.0.0:80").expect("listens"));
        let (stop, stopped) = channel();
        let accepts = listener.try_clone().expect("a copy");
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            while stopped.try_recv().is_err() {
                if let Ok((stream, _)) = accepts.accept() {
                    held.push(stream);
                }
            }
            held
        });
        Self { listener, thread, stop, host: host.clone() }
    }

    /// Resets all connections. Returns their number.
    fn end(self) -> usize {
        let Self { listener, thread, stop, host } = self;
        stop.send(()).expect("it listens");
        drop(host.enter(|| TcpStream::connect("127.0.0.1:80")));
        let held = thread.join().expect("it has listened");
        drop(listener);
        for stream in &held {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("an option");
        }
        held.len()
    }
}
