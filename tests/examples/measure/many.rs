//! 255 routers on one interface at 1 Hz, one VIP each: CPU, memory, and the worst time between two
//! advertisements of any router while one VIP is added and while 100,000 IPVS destinations are programmed.
//! One director of each kind, one after the other.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lab::{Daemon, Figures, Kind, Lab, Mark, Pair, Router, VrrpCapture, eventually, mark};
use nix::sys::signal::Signal;

use super::processes::{cpu_seconds, memory};

const ROUTERS: u8 = 255;
const SERVICES: u32 = 100;
const DESTINATIONS: u32 = 1_000;
/// The first service's; others follow.
const FIRST_PORT: u32 = 1_000;
/// How long undisturbed work is measured.
const QUIET: Duration = Duration::from_secs(30);
/// How often it is looked whether a long change is complete. Looking takes time from the only processor.
const LOOKS: Duration = Duration::from_secs(4);
/// How long a change is watched.
const WATCHED: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(120);
const LONG_PATIENCE: Duration = Duration::from_secs(900);

/// With `ipvs` the destinations too, which takes a kernel that has it.
pub(crate) fn measure(lab: &Lab, ipvs: bool) {
    let mut table = vec![format!("{ROUTERS} routers, 1 s adverts, version 3, no peer:")];
    for kind in Kind::ALL {
        table.extend(measure_kind(lab, kind, ipvs));
    }
    println!("\n{}", table.join("\n"));
}

fn routers() -> Vec<Router> {
    (1..=ROUTERS).map(|vrid| Router::new(vrid, 3)).collect()
}

fn measure_kind(lab: &Lab, kind: Kind, ipvs: bool) -> Vec<String> {
    let mut pair = Pair::new(lab, kind, routers());
    // Bridge and client share the host's only processor, and are nothing that a director could be on time
    // for.
    let adverts = pair.first.capture_vrrp_sent("eth0");
    let daemon = pair.start(&pair.first);
    eventually(PATIENCE, "all routers are Master", || {
        let seen = adverts.since(mark() - 2 * Duration::from_secs(1));
        let masters: std::collections::BTreeSet<u8> = seen.iter().map(|advert| advert.what.vrid).collect();
        std::thread::sleep(Duration::from_millis(500));
        masters.len() == usize::from(ROUTERS)
    });
    std::thread::sleep(Duration::from_secs(10));
    let name = kind.name();
    let mut rows = Vec::new();
    let mut tell = |text: String| {
        lab.log(&text);
        rows.push(format!("  {text}"));
    };

    let (begun, used) = (mark(), cpu_seconds(&pair.first, &daemon));
    std::thread::sleep(QUIET);
    let cpu = (cpu_seconds(&pair.first, &daemon) - used) / begun.elapsed().as_secs_f64() * 100.0;
    tell(format!("{name:<10} undisturbed: CPU {cpu:.2}%, memory {}", memory(&pair.first, &daemon)));
    tell(format!("{name:<10} undisturbed: {}", worst(&adverts, &pair, begun)));

    let mut more = routers();
    more[7].more_vips.push(pair.address(2, 1));
    let begun = change(&mut pair, &daemon, more.clone(), "");
    let added = pair.address(2, 1);
    let took = rarely(PATIENCE, LOOKS / 20, "the VIP is there", || pair.first.has_address("eth0", added));
    std::thread::sleep(WATCHED);
    tell(format!(
        "{name:<10} one VIP added within {} ms of its order: {}",
        took.as_millis(),
        worst(&adverts, &pair, begun)
    ));

    if ipvs {
        let services = match kind {
            Kind::Evenkeeld => services(&pair),
            Kind::Keepalived => virtual_servers(&pair),
        };
        let begun = change(&mut pair, &daemon, more, &services);
        let all = (SERVICES * DESTINATIONS) as usize;
        let took = rarely(LONG_PATIENCE, LOOKS, "all destinations are there", || {
            let table = pair.first.read("/proc/thread-self/net/ip_vs");
            table.lines().filter(|line| line.starts_with("  ->")).count() > all
        });
        std::thread::sleep(WATCHED);
        tell(format!(
            "{name:<10} {all} destinations within {:.1} s: {}",
            took.as_secs_f64(),
            worst(&adverts, &pair, begun)
        ));
        tell(format!("{name:<10} with them: memory {}", memory(&pair.first, &daemon)));
    }
    if kind == Kind::Evenkeeld {
        let status = pair.plans.status(&pair.first);
        let late = |router: &serde_json::Value| router["counters"]["max_lateness_us"].as_u64();
        let latest = status["routers"].as_array().into_iter().flatten().filter_map(late).max();
        tell(format!("{name:<10} by its own account at most {} us late", latest.unwrap_or_default()));
    }
    rows
}

/// Waits for something, looking seldom.
fn rarely(patience: Duration, every: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    eventually(patience, what, || {
        std::thread::sleep(every);
        condition()
    })
}

/// Gives the daemon other routers, and services. Compiling is another program's work, on the only processor
/// of the guest: the plan is compiled elsewhere and moved into place, from when on things are measured.
fn change(pair: &mut Pair<'_>, daemon: &Daemon, routers: Vec<Router>, more: &str) -> Mark {
    let running = pair.plans.clone();
    pair.plans = running.lab().plans("prepared");
    pair.configure(routers, more);
    let prepared = std::mem::replace(&mut pair.plans, running);
    let begun = mark();
    match pair.kind {
        Kind::Evenkeeld => {
            std::fs::rename(prepared.plan(&pair.first), pair.plans.plan(&pair.first))
                .expect("the plan moves");
        }
        Kind::Keepalived => daemon.signal(Signal::SIGHUP),
    }
    begun
}

/// Real servers that nobody runs.
fn real_server(pair: &Pair<'_>, number: u32) -> Ipv4Addr {
    let [_, _, high, low] = number.to_be_bytes();
    pair.address(100 + high, low)
}

/// Services on the VIP of the first router.
fn services(pair: &Pair<'_>) -> String {
    let mut text = String::new();
    for number in 0..DESTINATIONS {
        let _ = writeln!(
            text,
            "[hosts.rs{number}]\naddress = \"{}\"\ninterface = \"eth0\"\nlabels = [\"many\"]",
            real_server(pair, number)
        );
    }
    for service in 0..SERVICES {
        let _ = write!(
            text,
            "[services.s{service}]\nrouter = \"r1\"\nvip = \"{}\"\nprotocol = \"tcp\"\nport = {}\nscheduler \
            = \"wlc\"\n\
             forwarding = \"dr\"\nreal_servers = [{{ label = \"many\" }}]\n",
            pair.vip(1),
            FIRST_PORT + service,
        );
    }
    text
}

/// The same for keepalived.
fn virtual_servers(pair: &Pair<'_>) -> String {
    let mut text = String::new();
    for service in 0..SERVICES {
        let port = FIRST_PORT + service;
        let _ =
            writeln!(text, "virtual_server {} {port} {{\nlb_algo wlc\nlb_kind DR\nprotocol TCP", pair.vip(1));
        for number in 0..DESTINATIONS {
            let _ = writeln!(text, "real_server {} {port} {{\nweight 1\n}}", real_server(pair, number));
        }
        text.push_str("}\n");
    }
    text
}

/// The worst time between two advertisements of one router since the mark, and how many were over the aim.
fn worst(adverts: &VrrpCapture, pair: &Pair<'_>, since: Mark) -> String {
    const AIM: Duration = Duration::from_millis(1005);
    let mut last: BTreeMap<u8, Instant> = BTreeMap::new();
    let mut worst = (Duration::ZERO, 0, Duration::ZERO);
    let (mut late, mut all, mut strange) = (0, 0, 0);
    for advert in adverts.since(since) {
        strange += usize::from(advert.what.source != pair.first.ip() || advert.what.priority == 0);
        all += 1;
        if let Some(before) = last.insert(advert.what.vrid, advert.at) {
            let gap = advert.at.saturating_duration_since(before);
            late += usize::from(gap > AIM);
            if gap > worst.0 {
                worst = (gap, advert.what.vrid, advert.at - since);
            }
        }
    }
    let (gap, vrid, at) = worst;
    format!(
        "worst time between two adverts {:.1} ms (VRID {vrid}, {:.1} s on), {late} of {all} over {} ms, \
        {strange} of priority 0; \
         {}",
        gap.as_secs_f64() * 1e3,
        at.as_secs_f64(),
        AIM.as_millis(),
        bursts(adverts, since)
    )
}

/// All routers became Master at about the same time, so their adverts leave in a burst a second: how long it
/// takes, and from the beginning of one to that of the next.
fn bursts(adverts: &VrrpCapture, since: Mark) -> String {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut bursts: Vec<(Instant, Instant)> = Vec::new();
    for advert in adverts.since(since) {
        match bursts.last_mut() {
            Some((_, end)) if advert.at.saturating_duration_since(*end) < PAUSE => *end = advert.at,
            _ => bursts.push((advert.at, advert.at)),
        }
    }
    let lengths: Figures = bursts.iter().map(|(start, end)| *end - *start).collect();
    let periods: Figures = bursts.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    format!("bursts last {lengths}, and begin after {periods}")
}
