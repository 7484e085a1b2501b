//! How long a client waits when the Master stops and when its link is cut: 1 s adverts, both kinds of director in one guest, by turns.
//!
//! How long a cut lasts depends on when it comes between two advertisements, so both kinds are cut at the same moments: these go evenly
//! through the interval, each counted from an advertisement that was seen on the wire.

use std::time::{Duration, Instant};

use lab::{
    Announcements, Daemon, Figures, Host, Kind, Lab, Pair, Prober, Router, VipWatch, VrrpCapture, WebServer,
    mark,
};

const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);
/// The skew time of priority 90: what a Backup waits after priority 0.
const SKEW: Duration = Duration::from_micros(648_437);
/// Three intervals and the skew time: what it waits after the last advertisement.
const MASTER_DOWN: Duration = Duration::from_micros(3_648_437);
/// What outages are measured to. Finer, the requests that hang keep the guest's one processor busy, and that is then what is
/// measured.
const RESOLUTION: Duration = Duration::from_millis(5);
const PORT: u16 = 80;

const AFTER_STOP: [&str; 4] = [
    "stop: late by, advertisement",
    "stop: late by, VIP there",
    "stop: late by, VIP announced",
    "stop: late by, client served",
];
const AFTER_CUT: [&str; 4] = [
    "cut: late by, advertisement",
    "cut: late by, VIP there",
    "cut: late by, VIP announced",
    "cut: late by, client served",
];

struct Side<'p, 'l> {
    pair: &'p Pair<'l>,
    first: Daemon,
    _second: Daemon,
    _web: [WebServer; 2],
    vip: VipWatch,
    client: Prober,
    adverts: VrrpCapture,
    announcements: Announcements,
    /// Gaps of graceful stops; of cuts, and how much later than the protocol has it the client was served.
    stops: Vec<Duration>,
    cuts: Vec<Duration>,
    late: Vec<Duration>,
    /// Where the time went.
    steps: Vec<(&'static str, Vec<Duration>)>,
}

pub(crate) fn measure(lab: &Lab, times: u32) {
    let pairs = Kind::ALL.map(|kind| Pair::new(lab, kind, vec![Router::new(51, 2)]));
    let mut sides: Vec<Side<'_, '_>> = pairs.iter().map(|pair| Side::start(lab, pair)).collect();
    for time in 0..times {
        for side in &mut sides {
            side.stop();
            side.cut(INTERVAL * (2 * time + 1) / (2 * times));
            let told =
                [&side.stops, &side.cuts, &side.late].map(|all| all.last().copied().unwrap_or_default());
            let [stop, cut, late] = told.map(|one| one.as_secs_f64() * 1e3);
            lab.log(format!(
                "{} {}/{times}: stopped {stop:.1} ms, cut {cut:.1} ms, of it {late:.1} ms late",
                side.pair.kind.name(),
                time + 1,
            ));
        }
    }
    println!(
        "\nClient gap, {times} times each, 1 s adverts, version 2, measured to {} ms; cuts at the same phases of the interval, from {:.0} to \
         {:.0} ms after an advertisement:",
        RESOLUTION.as_millis(),
        (INTERVAL / (2 * times)).as_secs_f64() * 1e3,
        (INTERVAL * (2 * times - 1) / (2 * times)).as_secs_f64() * 1e3,
    );
    for side in sides {
        let name = side.pair.kind.name();
        let figures = |values: Vec<Duration>| values.into_iter().collect::<Figures>();
        let bound = |bound: Duration| format!("(protocol: {:.1} ms)", bound.as_secs_f64() * 1e3);
        println!("  {name:<10} graceful stop             {} {}", figures(side.stops), bound(SKEW));
        println!("  {name:<10} link cut                  {} {}", figures(side.cuts), bound(MASTER_DOWN));
        println!("  {name:<10} later than the protocol's {}", figures(side.late));
        for (step, times) in side.steps {
            println!("  {name:<10} {step:<30} {}", figures(times));
        }
    }
}

impl<'p, 'l> Side<'p, 'l> {
    fn start(lab: &Lab, pair: &'p Pair<'l>) -> Self {
        let web = [pair.first.web(PORT), pair.second.web(PORT)];
        // As on all directors, so that those of keepalived too send on what comes for a VIP that has just left.
        for host in [&pair.first, &pair.second] {
            host.set_sysctl("net.ipv4.ip_forward", 1);
        }
        let [first, second] = pair.serving();
        let client = pair.client.probe_every(pair.first_vip(), PORT, RESOLUTION);
        client.wait_ok(PATIENCE);
        Self {
            pair,
            first,
            _second: second,
            _web: web,
            vip: pair.watch(),
            client,
            adverts: lab.capture_vrrp_on(pair.segment),
            announcements: lab.capture_announcements_on(pair.segment),
            stops: Vec::new(),
            cuts: Vec::new(),
            late: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The preferred director stops and comes back.
    fn stop(&mut self) {
        self.steady(&self.pair.first);
        let stopped = mark();
        self.first.stop(PATIENCE);
        self.steady(&self.pair.second);
        self.stops.push(self.client.gap_since(stopped));
        let left = self.adverts.since(stopped).into_iter().find(|advert| advert.what.priority == 0);
        let Some(left) = left else { return };
        self.step("stop: SIGTERM to priority 0", stopped, left.at);
        let gone = self.vip.changes_since(stopped).into_iter().find(|change| change.what.is_empty());
        if let Some(gone) = gone {
            self.step("stop: SIGTERM to the VIP gone", stopped, gone.at);
        }
        self.taken_over(AFTER_STOP, left.at, left.at + SKEW);
        self.first = self.pair.start(&self.pair.first);
    }

    /// The preferred director's link is cut so long after one of its advertisements, and mended.
    fn cut(&mut self, phase: Duration) {
        let (first, second) = (&self.pair.first, &self.pair.second);
        self.steady(first);
        let asked = mark();
        let last =
            self.adverts.wait(PATIENCE, |advert| advert.at > asked && advert.what.source == first.ip());
        std::thread::sleep((last.at + phase).saturating_duration_since(Instant::now()));
        let cut = mark();
        first.cut();
        let served = self.client.wait_responder(second, PATIENCE);
        // On a busy machine another one may have left before the cut.
        let last = self.adverts.from(first.ip()).pop().unwrap_or(last);
        self.cuts.push(self.client.gap_since(cut));
        self.late.push(served.at.saturating_duration_since(last.at + MASTER_DOWN));
        self.taken_over(AFTER_CUT, cut, last.at + MASTER_DOWN);
        first.reconnect();
    }

    fn step(&mut self, step: &'static str, from: Instant, to: Instant) {
        let took = to.saturating_duration_since(from);
        match self.steps.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(took),
            None => self.steps.push((step, vec![took])),
        }
    }

    /// Notes how long after the moment at which the protocol makes the other director the Master it did what a Master does.
    fn taken_over(&mut self, steps: [&'static str; 4], since: Instant, due: Instant) {
        let second = &self.pair.second;
        let holders = self.vip.changes_since(since);
        let vip =
            holders.into_iter().find(|change| change.what.contains(second.name())).map(|change| change.at);
        let claim = self.adverts.since(since).into_iter().find(|advert| advert.what.source == second.ip());
        let announced = self.announcements.of(self.pair.first_vip(), due - Duration::from_millis(20));
        let served = self.client.wait_responder_since(second, since, PATIENCE);
        let times = [claim.map(|one| one.at), vip, announced.first().map(|one| one.at), Some(served.at)];
        for (name, at) in steps.into_iter().zip(times) {
            if let Some(at) = at {
                self.step(name, due, at);
            }
        }
    }

    /// Waits until that director alone has the VIP, clients reach it, and everything that follows a change is over.
    fn steady(&self, host: &Host) {
        self.vip.wait_holder(host, PATIENCE);
        self.client.wait_responder(host, PATIENCE);
        std::thread::sleep(Duration::from_millis(1500));
    }
}
