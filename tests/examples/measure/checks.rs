//! Cost of checks, and how soon they act, beside keepalived with the same settings.
//!
//! `removal`: a server stops at a random moment and comes back, under both, and under a check that holds its
//! connection. `load`: many checks of one kind, every 5 s; all targets are addresses of one host.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use lab::{Daemon, Figures, Host, Lab, LogEvent, Plans, mark};

use super::converge::touch_memory;
use super::processes::{cpu_seconds, memory};
use super::raw::{Raw, Service};

const PATIENCE: Duration = Duration::from_secs(600);
/// How often the kernel is asked whether a destination has come or gone.
const LOOKS: Duration = Duration::from_millis(2);
pub(super) const DIR: &str = "10.1.0.1";
const OTHER: &str = "10.1.0.2";
pub(super) const SERVER: &str = "10.1.0.3";
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 120);
/// Destinations of a virtual server under load.
const DESTINATIONS: u32 = 10;
/// Time until all checks have had their turn, and of the measurement.
const SETTLES: Duration = Duration::from_secs(20);
const LASTS: Duration = Duration::from_secs(60);

/// A director with a bare address, and what it keeps at hand.
pub(super) fn director(lab: &Lab, name: &str, segment: &str, address: &str) -> Host {
    let host = lab.bare_host(name);
    host.attach("eth0", segment, &format!("{address}/8"));
    host
}

pub(super) fn start(lab: &Lab, host: &Host, plans: &Plans<'_>) -> Daemon {
    let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
    let own = |name: &str| host.scratch().join(name).display().to_string();
    let (plan, state, socket) =
        (plans.directory().display().to_string(), own("state"), own("evenkeeld.sock"));
    let begun = mark();
    let argv =
        [&program, "run", "--plan", &plan, "--host", "dir1", "--state-dir", &state, "--socket", &socket];
    let daemon = host.spawn("evenkeeld", argv, &[]);
    daemon.wait_told_since(begun, LogEvent::Converged, PATIENCE);
    daemon
}

/// Cluster file of one virtual router with these services.
pub(super) fn cluster(services: &str) -> String {
    format!(
        "version = 1\nname = \"checks\"\n[segments.front]\nsubnets = [\"10.0.0.0/8\"]\n[hosts]\n\
         dir1 = {{ address = \"{DIR}\", interface = \"eth0\" }}\n\
         dir2 = {{ address = \"10.1.0.9\", interface = \"eth0\" }}\n\
         server = {{ address = \"{SERVER}\", interface = \"eth0\" }}\n\
         [virtual_routers.R]\nvrid = 1\nvips = [\"{VIP}\"]\ndirectors = [\"dir1\", \"dir2\"]\n{services}"
    )
}

/// Waits until the first destination of a service is in the kernel, or is not.
fn wait_for(host: &Host, service: &Service, there: bool, since: Instant) -> Duration {
    host.enter(|| {
        let mut raw = Raw::open();
        while raw.weights(service).is_empty() == there {
            assert!(since.elapsed() < PATIENCE, "a destination comes or goes");
            std::thread::sleep(LOOKS);
        }
        since.elapsed()
    })
}

/// A server that stops and comes back so many times.
pub(crate) fn removal(lab: &Lab, times: u32) {
    let segment = "br-removal";
    let server = director(lab, "server", segment, SERVER);
    let (ours, theirs) = (director(lab, "ours", segment, DIR), director(lab, "theirs", segment, OTHER));
    let mut webs = [server.web(80), server.web(81)];
    let check = "interval = \"1s\", timeout = \"1s\", retries = 1, retry_delay = \"1s\"";
    let service = |name: &str, port: u16, check: &str| {
        format!(
            "[services.{name}]\nrouter = \"R\"\nvip = \"{VIP}\"\nprotocol = \"tcp\"\nport = {port}\n\
             scheduler = \"wlc\"\nforwarding = \"dr\"\nreal_servers = [{{ host = \"server\" }}]\n\
             check = {{ type = \"tcp\", {check} }}\n"
        )
    };
    let plans = lab.plans("removal");
    let held = format!("{check}, hold = true");
    plans.compile_text(&cluster(&(service("plain", 80, check) + &service("held", 81, &held))));
    let _evenkeeld = start(lab, &ours, &plans);
    let _keepalived = theirs.keepalived(&format!(
        "global_defs {{\n  router_id LAB\n}}\nvirtual_server {VIP} 80 {{\n  delay_loop 1\n  lb_algo wlc\n  \
         lb_kind DR\n  protocol TCP\n  real_server {SERVER} 80 {{\n    weight 1\n    TCP_CHECK {{\n      \
         connect_timeout 1\n      retry 1\n      delay_before_retry 1\n    }}\n  }}\n}}\n"
    ));
    let of = |port: u16| Service { address: VIP, port, destinations: Vec::new() };
    let (plain, hold) = (of(80), of(81));
    let watched = [(&ours, &plain), (&theirs, &plain), (&ours, &hold)];
    let mut results: [(Vec<Duration>, Vec<Duration>); 3] = Default::default();
    let mut phase = 0x9e37_79b9_7f4a_7c15_u64;
    for (host, service) in watched {
        wait_for(host, service, true, Instant::now());
    }
    for time in 0..times {
        for there in [false, true] {
            // Any moment of an interval is as likely as any other.
            phase ^= phase << 13;
            phase ^= phase >> 7;
            phase ^= phase << 17;
            std::thread::sleep(Duration::from_secs(3) + Duration::from_millis(phase % 1000));
            let begun = Instant::now();
            for web in &mut webs {
                if there {
                    web.start();
                } else {
                    web.stop();
                }
            }
            let took: Vec<Duration> = scope(|scope| {
                let wait = |(host, service)| scope.spawn(move || wait_for(host, service, there, begun));
                let all: Vec<_> = watched.into_iter().map(wait).collect();
                all.into_iter().map(|one| one.join().expect("watched")).collect()
            });
            for ((out, back), took) in results.iter_mut().zip(took) {
                if there { back.push(took) } else { out.push(took) }
            }
        }
        lab.log(format!("{} of {times}", time + 1));
    }
    println!("\nA server stops (its connections are reset) and comes back, TCP check every 1 s, one retry:");
    for (name, (out, back)) in ["evenkeel", "keepalived", "evenkeel, hold"].into_iter().zip(results) {
        let [out, back] = [out, back].map(|all| all.into_iter().collect::<Figures>());
        println!("  {name:<16} out  {out} p99 {:.1} ms", out.percentile(99).as_secs_f64() * 1e3);
        println!("  {name:<16} back {back} p99 {:.1} ms", back.percentile(99).as_secs_f64() * 1e3);
    }
}

/// A target of a check, of so many.
pub(super) fn target(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 2, 0, 1).to_bits() + number)
}

/// Kind of checks under load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
}

fn many(kind: Kind, checks: u32) -> String {
    let kind = match kind {
        Kind::Tcp => "type = \"tcp\"",
        Kind::Http => "type = \"http\", path = \"/\"",
    };
    let mut services = String::new();
    for service in 0..checks / DESTINATIONS {
        let entries: Vec<String> = (0..DESTINATIONS)
            .map(|entry| {
                let address = target(service * DESTINATIONS + entry);
                format!(
                    "{{ host = \"server\", port = {}, check = {{ {kind}, address = \"{address}\", port = 80, \
                     interval = \"5s\", timeout = \"5s\", retries = 1, retry_delay = \"1s\" }} }}",
                    1000 + entry
                )
            })
            .collect();
        let _ = writeln!(
            services,
            "[services.s{service}]\nrouter = \"R\"\nvip = \"{VIP}\"\nprotocol = \"tcp\"\nport = {}\n\
             scheduler = \"wlc\"\nforwarding = \"nat\"\nreal_servers = [{}]",
            1000 + service,
            entries.join(", ")
        );
    }
    cluster(&services)
}

fn many_of_keepalived(kind: Kind, checks: u32) -> String {
    let mut text = "global_defs {\n  router_id LAB\n}\n".to_owned();
    for service in 0..checks / DESTINATIONS {
        let _ = writeln!(
            text,
            "virtual_server {VIP} {} {{\n  delay_loop 5\n  lb_algo wlc\n  lb_kind NAT\n  protocol TCP",
            1000 + service
        );
        for entry in 0..DESTINATIONS {
            let common = format!(
                "connect_ip {}\n      connect_port 80\n      connect_timeout 5\n      retry 1\n      \
                 delay_before_retry 1",
                target(service * DESTINATIONS + entry)
            );
            let check = match kind {
                Kind::Tcp => format!("TCP_CHECK {{\n      {common}\n    }}"),
                Kind::Http => format!(
                    "HTTP_GET {{\n      url {{\n        path /\n        status_code 200\n      }}\n      \
                     {common}\n    }}"
                ),
            };
            let _ =
                writeln!(text, "  real_server {SERVER} {} {{\n    weight 1\n    {check}\n  }}", 1000 + entry);
        }
        text.push_str("}\n");
    }
    text
}

/// Answers everybody at port 80, whatever the address, until told to stop.
fn serve(listener: &TcpListener, kind: Kind, stop: &AtomicBool) {
    let mut request = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else { return };
        if kind == Kind::Http {
            let read = stream.read(&mut request);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            drop(read.and_then(|_| stream.write_all(answer)));
        }
    }
}

/// Many checks every 5 s: processor time, memory, lateness.
pub(crate) fn load(lab: &Lab, most: u32) {
    touch_memory();
    let segment = "br-load";
    let server = director(lab, "server", segment, SERVER);
    server.run(["ip", "route", "add", "local", "10.2.0.0/16", "dev", "lo"]);
    let mut rows = Vec::new();
    for (kind, name, checks) in
        [(Kind::Tcp, "TCP", 1_000), (Kind::Http, "HTTP", 1_000), (Kind::Tcp, "TCP", most)]
    {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = server.enter(|| TcpListener::bind("0.0.0.0:80").expect("listens"));
        let server_thread = {
            let (listener, stop) = (listener.try_clone().expect("a copy"), Arc::clone(&stop));
            std::thread::spawn(move || serve(&listener, kind, &stop))
        };
        for ours in [true, false] {
            let who = if ours { "evenkeel" } else { "keepalived" };
            let host = director(lab, &format!("{who}-{name}-{checks}"), segment, DIR);
            host.run(["ip", "route", "add", "10.2.0.0/16", "via", SERVER]);
            let daemon = if ours {
                let plans = lab.plans(&format!("load-{name}-{checks}"));
                plans.compile_text(&many(kind, checks));
                start(lab, &host, &plans)
            } else {
                host.keepalived(&many_of_keepalived(kind, checks))
            };
            std::thread::sleep(SETTLES);
            let (used, begun) = (cpu_seconds(&host, &daemon), Instant::now());
            std::thread::sleep(LASTS);
            let share = (cpu_seconds(&host, &daemon) - used) / begun.elapsed().as_secs_f64() * 100.0;
            let late = if ours { lateness(lab, &host) } else { String::new() };
            let row = format!(
                "{checks:>6} {name:<4} {who:<10} {share:5.1} % of a processor, {}{late}",
                memory(&host, &daemon)
            );
            lab.log(&row);
            rows.push(row);
            daemon.stop(PATIENCE);
            host.cut();
        }
        stop.store(true, Ordering::Relaxed);
        drop(server.enter(|| TcpStream::connect("127.0.0.1:80")));
        server_thread.join().expect("the server ends");
        drop(listener);
    }
    println!("\nChecks every 5 s, all healthy, for {} s:\n  {}", LASTS.as_secs(), rows.join("\n  "));
}

/// Largest lateness of checks and of the election's timers, as the daemon has it.
pub(super) fn lateness(lab: &Lab, host: &Host) -> String {
    let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
    let socket = host.scratch().join("evenkeeld.sock").display().to_string();
    let status = host.json([program.as_str(), "status", "--json", "--socket", &socket]);
    let ms = |value: &serde_json::Value| value.as_f64().unwrap_or_default() / 1e3;
    format!(
        ", checks at most {:.1} ms late, election's timers {:.1} ms",
        ms(&status["health"]["max_lateness_us"]),
        ms(&status["election"]["max_timer_lateness_us"])
    )
}
