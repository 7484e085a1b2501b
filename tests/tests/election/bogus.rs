//! A host on the segment sends 1,000 advertisements a second of each kind that must be rejected: the Master
//! stays Master and its own advertisements stay on time. The same against keepalived 2.2.7, to see.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::{Daemon, Forged, Kind, Lab, LogEvent, Mark, Pair, Router, VrrpCapture, guest_with, mark};

use crate::support::{INTERVAL, PATIENCE, TOLERANCE, worst_gap};

const RATE: u32 = 1_000;
const FLOOD: Duration = Duration::from_secs(3);
/// Lines that a daemon may log about one flood: the first of it, what it means, and a summary.
const LINES: usize = 6;
/// How often a flood is tried in a guest that is starved.
const ATTEMPTS: usize = 3;
/// A guest that stands still for longer has to share its processor.
const STARVED: Duration = Duration::from_millis(25);
/// From one advertisement of the Master to the next.
const ALLOWED: Duration = INTERVAL.saturating_add(TOLERANCE);
/// Of what keepalived is shown.
const THERE: [&str; 2] = ["TTL 64", "password wrong"];
const PASSWORD: &str = "hell>com";
const NOT_OUR_VRID: u8 = 99;
const NOT_OUR_VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// A kind of advertisement, and what `evenkeeld status` counts it as; `""` where no router of ours is meant.
struct Bogus {
    what: &'static str,
    counted: &'static str,
    forged: Forged,
}

/// One that the router accepts but for its lower priority.
fn honest(version: u8, vrid: u8, vip: Ipv4Addr) -> Forged {
    let second = version == 2;
    Forged {
        version,
        vrid,
        vips: vec![vip],
        interval: if second { 1 } else { 100 },
        auth_type: u8::from(second),
        password: if second { PASSWORD.to_owned() } else { String::new() },
        ..Forged::default()
    }
}

fn kinds(version: u8, vrid: u8, vip: Ipv4Addr) -> Vec<Bogus> {
    let honest = || honest(version, vrid, vip);
    let bogus = |what, counted, forged| Bogus { what, counted, forged };
    let mut all = vec![
        bogus("checksum wrong", "checksum", Forged { checksum_right: false, ..honest() }),
        bogus("TTL 64", "ttl", Forged { ttl: 64, ..honest() }),
        bogus("version wrong", "version", Forged { version: 5 - version, ..honest() }),
        bogus("truncated", "length", Forged { cut_to: Some(7), ..honest() }),
        bogus("count beyond the packet", "length", Forged { count: Some(200), ..honest() }),
        bogus("unknown VRID", "", Forged { vrid: NOT_OUR_VRID, ..honest() }),
        bogus("a VIP more", "vip_list_mismatch", Forged { vips: vec![vip, NOT_OUR_VIP], ..honest() }),
        bogus("no VIP of ours", "vrid_in_use", Forged { vips: vec![NOT_OUR_VIP], ..honest() }),
    ];
    if version == 2 {
        all.extend([
            bogus("authentication type wrong", "auth_type", Forged { auth_type: 0, ..honest() }),
            bogus("password wrong", "auth_secret", Forged { password: "guess".to_owned(), ..honest() }),
            bogus("interval wrong", "interval", Forged { interval: 2, ..honest() }),
        ]);
    } else {
        all.push(bogus("interval zero", "interval_zero", Forged { interval: 0, ..honest() }));
    }
    all
}

fn routers() -> Vec<Router> {
    vec![Router { password: Some(PASSWORD.to_owned()), ..Router::new(52, 2) }, Router::new(53, 3)]
}

/// Effect of one flood on the Master.
struct Effect {
    rate: f64,
    gap: Duration,
    /// How long the guest stood still meanwhile, which is nobody's fault in it.
    stalled: Duration,
    sent: usize,
    /// Frames of the flood. A guest that has to share its processor sends fewer than it is asked to.
    frames: usize,
    lines: usize,
}

impl Effect {
    /// Whether the guest lacked processor time: it stood still, or the flood itself could not keep its pace.
    fn starved(&self) -> bool {
        self.rate < f64::from(RATE) * 0.99 || self.stalled > STARVED
    }
}

fn flood(pair: &Pair<'_>, daemon: &Daemon, adverts: &VrrpCapture, bogus: &Bogus, vrid: u8) -> Effect {
    let begun: Mark = mark();
    let flood = pair.client.flood(pair.address(0, 9), &bogus.forged, RATE, FLOOD);
    let ended = mark();
    let lines = daemon.lines_since(begun).len();
    // The capture has a backlog where the guest lacks processor time; what it stamps is right all the same.
    adverts.wait(PATIENCE, |advert| advert.at > ended && advert.what.source == pair.address(0, 1));
    let master: Vec<_> = adverts
        .since(begun)
        .into_iter()
        .filter(|advert| advert.what.source == pair.address(0, 1) && advert.what.vrid == vrid)
        .filter(|advert| advert.at <= ended)
        .collect();
    let gap = worst_gap(&master, begun, ended);
    let stalled = pair.plans.lab().pulse().stalled_since(begun);
    Effect { rate: flood.rate(), gap, stalled, sent: master.len(), frames: flood.sent, lines }
}

fn tell(lab: &Lab, kind: Kind, version: u8, bogus: &Bogus, effect: &Effect) {
    lab.log(format!(
        "{:<10} v{version} {:<26} {:5.0}/s: worst gap {:4} ms (guest stalled {} ms), {:2} adverts sent, {:4} \
        lines logged",
        kind.name(),
        bogus.what,
        effect.rate,
        effect.gap.as_millis(),
        effect.stalled.as_millis(),
        effect.sent,
        effect.lines,
    ));
}

#[test]
fn a_flood_of_rejected_advertisements_delays_no_advertisement_and_changes_no_state() {
    guest_with(lab::Options { time_limit: Duration::from_secs(600), ..Default::default() }, |lab| {
        let ours = Pair::new(lab, Kind::Evenkeeld, routers());
        let [daemon, _other] = ours.serving();
        let adverts = lab.capture_vrrp_on(ours.segment);
        daemon.wait_told(LogEvent::Master, PATIENCE);
        std::thread::sleep(7 * INTERVAL);
        let events = ours.first.monitor();
        let begun = mark();
        for Router { vrid, version, .. } in routers() {
            for bogus in kinds(version, vrid, ours.vip(vrid)) {
                let name = format!("r{vrid}");
                let before = ours.plans.router(&ours.first, &name);
                let logged = mark();
                // A guest that has to share its processor says nothing about the daemon's punctuality: try
                // again.
                let mut frames = 0;
                let mut attempts = (0..ATTEMPTS).map(|_| {
                    let effect = flood(&ours, &daemon, &adverts, &bogus, vrid);
                    frames += effect.frames;
                    tell(lab, Kind::Evenkeeld, version, &bogus, &effect);
                    effect
                });
                let fair = attempts.find(|effect| effect.gap <= ALLOWED || !effect.starved());
                let after = ours.plans.router(&ours.first, &name);
                let count = |router: &serde_json::Value, key: &str| {
                    let counters = &router["counters"];
                    // What is rejected has a table; the others are accepted, and counted each by itself.
                    let found = counters.get(key).unwrap_or(&counters["rejected"][key]);
                    found.as_u64().unwrap_or_default()
                };
                if bogus.counted.is_empty() {
                    assert_eq!(
                        before["counters"]["rejected"], after["counters"]["rejected"],
                        "{}",
                        bogus.what
                    );
                } else {
                    let counted = count(&after, bogus.counted) - count(&before, bogus.counted);
                    assert!(counted > frames as u64 / 2, "{}: {counted} of {frames} counted", bogus.what);
                }
                assert_eq!(after["state"], "master", "{}", bogus.what);
                let became = |router: &serde_json::Value| router["counters"]["became_master"].clone();
                assert_eq!(became(&before), became(&after), "{}: state changed", bogus.what);
                let lines = daemon.lines_since(logged).len();
                assert!(lines <= LINES, "{}: {lines} lines logged", bogus.what);
                match fair {
                    Some(effect) => {
                        assert!(effect.gap <= ALLOWED, "{}: silent for {:?}", bogus.what, effect.gap);
                    }
                    None => lab.log(format!(
                        "{}: the guest was starved {ATTEMPTS} times, gap not judged",
                        bogus.what
                    )),
                }
            }
        }
        let touched: Vec<_> =
            events.since(begun).into_iter().filter(|event| event.what.address.is_some()).collect();
        assert!(touched.is_empty(), "addresses touched: {touched:?}");
        drop(daemon);

        let theirs = Pair::new(lab, Kind::Keepalived, routers());
        let [daemon, _other] = theirs.serving();
        let adverts = lab.capture_vrrp_on(theirs.segment);
        std::thread::sleep(7 * INTERVAL);
        let Router { vrid, version, .. } = routers().remove(0);
        let some = kinds(version, vrid, theirs.vip(vrid)).into_iter();
        for bogus in some.filter(|bogus| THERE.contains(&bogus.what)) {
            let effect = flood(&theirs, &daemon, &adverts, &bogus, vrid);
            tell(lab, Kind::Keepalived, version, &bogus, &effect);
            std::thread::sleep(2 * INTERVAL);
        }
    });
}
