//! A real server that fails and returns every few seconds: how often the kernel's table changes, with
//! damping, without it, and under keepalived with the same check.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use lab::{Host, Lab};

use super::checks::{DIR, SERVER, VIP, cluster, director, start};
use super::raw::{Raw, Service};

/// Time between two changes of the server.
const EVERY: Duration = Duration::from_secs(3);
/// How often the table is looked at.
const LOOKS: Duration = Duration::from_millis(5);

/// Changes of one table.
#[derive(Default)]
struct Seen {
    changes: usize,
    /// Time in which the destination was in the table.
    there: Duration,
}

/// Lets a server flap for so many seconds.
pub(crate) fn measure(lab: &Lab, seconds: u32) {
    let segment = "br-flapping";
    let server = director(lab, "server", segment, SERVER);
    let ours = director(lab, "ours", segment, DIR);
    let theirs = director(lab, "theirs", segment, "10.1.0.2");
    let mut web = server.web(80);
    let check = "check = { type = \"tcp\", interval = \"1s\", timeout = \"1s\", retries = 0, \
                 retry_delay = \"1s\", address = \"10.1.0.3\", port = 80 }";
    let service = |name: &str, port: u16, more: &str| {
        format!(
            "[services.{name}]\nrouter = \"R\"\nvip = \"{VIP}\"\nprotocol = \"tcp\"\nport = {port}\n\
             scheduler = \"wlc\"\nforwarding = \"dr\"\nreal_servers = [{{ host = \"server\", {check} }}, \
             {{ host = \"dir2\" }}]\n{more}\n"
        )
    };
    let text = service("plain", 80, "") + &service("damped", 81, "damping = {}");
    let plans = lab.plans("flapping");
    plans.compile_text(&cluster(&text));
    let _evenkeeld = start(lab, &ours, &plans);
    let _keepalived = theirs.keepalived(&format!(
        "global_defs {{\n  router_id LAB\n}}\nvirtual_server {VIP} 80 {{\n  delay_loop 1\n  lb_algo wlc\n  \
         lb_kind DR\n  protocol TCP\n  real_server {SERVER} 80 {{\n    weight 1\n    TCP_CHECK {{\n      \
         connect_timeout 1\n      retry 0\n      delay_before_retry 1\n    }}\n  }}\n  \
         real_server 10.1.0.9 80 {{\n    weight 1\n  }}\n}}\n"
    ));
    let of = |port: u16| Service { address: VIP, port, destinations: Vec::new() };
    let (plain, damped) = (of(80), of(81));
    let watched = [(&ours, &plain), (&ours, &damped), (&theirs, &plain)];
    let (over, lasts) = (AtomicBool::new(false), Duration::from_secs(u64::from(seconds)));
    let seen: Vec<Seen> = scope(|scope| {
        let over = &over;
        let all: Vec<_> = watched
            .into_iter()
            .map(|(host, service)| scope.spawn(move || watch(host, service, over)))
            .collect();
        let begun = Instant::now();
        let mut up = true;
        while begun.elapsed() < lasts {
            std::thread::sleep(EVERY);
            if up {
                web.stop()
            } else {
                web.start()
            }
            up = !up;
        }
        over.store(true, Ordering::Relaxed);
        all.into_iter().map(|one| one.join().expect("watched")).collect()
    });
    println!("\nA real server that fails and returns every {} s for {seconds} s:", EVERY.as_secs());
    for (name, seen) in ["evenkeel", "evenkeel, damping = {}", "keepalived"].into_iter().zip(seen) {
        println!(
            "  {name:<24} {} changes of the table, in it for {:.0} s",
            seen.changes,
            seen.there.as_secs_f64()
        );
    }
}

/// Counts the changes of a table whose first destination flaps and whose second one stays.
fn watch(host: &Host, service: &Service, over: &AtomicBool) -> Seen {
    host.enter(|| {
        let mut raw = Raw::open();
        let (mut seen, mut was, mut at) = (Seen::default(), true, Instant::now());
        while !over.load(Ordering::Relaxed) {
            let is = raw.weights(service).len() > 1;
            seen.changes += usize::from(is != was);
            let now = Instant::now();
            if was {
                seen.there += now.duration_since(at);
            }
            (was, at) = (is, now);
            std::thread::sleep(LOOKS);
        }
        seen
    })
}
