//! How long a client waits when the Master stops and when its link is cut: 1 s adverts, both kinds of
//! director in one guest, by turns.
//!
//! How long a cut lasts depends on when it comes between two advertisements, by up to an interval. So every
//! cut comes half an interval after an advertisement that was seen on the wire: each is the median case, and
//! their median that of twenty like ones, not of the one or two that happened to be cut in the middle.

use std::time::{Duration, Instant};

use lab::{
    Announcements, Answerer, Asker, Daemon, Figures, Host, Kind, Lab, Pair, Router, VipWatch, VrrpCapture,
    mark,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// The skew time of priority 90: what a Backup waits after priority 0.
const SKEW: Duration = Duration::from_micros(648_437);
/// Three intervals and the skew time: what it waits after the last advertisement.
const MASTER_DOWN: Duration = Duration::from_micros(3_648_437);
/// When a link is cut, from an advertisement on.
const PHASE: Duration = Duration::from_millis(500);
/// Resolution of outages. The questions are datagrams: connections that hang would keep the guest's
/// one processor busy, and that would then be what is measured.
const RESOLUTION: Duration = Duration::from_millis(1);
const VRID: u8 = 51;
const PORT: u16 = 7;
/// Memory of a director for datagrams to a VIP that has left it, bytes: a few. All of an outage's, sent on
/// at its end at once, would be what is measured.
const KEPT: u32 = 4096;
/// How long a change keeps the guest's one processor busy, and more.
const SETTLES: Duration = Duration::from_millis(500);

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
    _servers: [Answerer; 2],
    vip: VipWatch,
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
    let pairs = Kind::ALL.map(|kind| Pair::new(lab, kind, vec![Router::new(VRID, 2)]));
    let mut sides: Vec<Side<'_, '_>> = pairs.iter().map(|pair| Side::start(lab, pair)).collect();
    for time in 0..times {
        for side in &mut sides {
            side.stop();
            side.cut();
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
        "\nClient gap, {times} times each, 1 s adverts, version 2, measured to {} ms; cut {} ms after an \
        advertisement:",
        RESOLUTION.as_millis(),
        PHASE.as_millis(),
    );
    for side in sides {
        let name = side.pair.kind.name();
        let figures = |values: Vec<Duration>| values.into_iter().collect::<Figures>();
        let bound = |bound: Duration| format!("(protocol: {:.1} ms)", bound.as_secs_f64() * 1e3);
        println!("  {name:<10} graceful stop             {} {}", figures(side.stops), bound(SKEW));
        println!(
            "  {name:<10} link cut                  {} {}",
            figures(side.cuts),
            bound(MASTER_DOWN - PHASE)
        );
        println!("  {name:<10} later than the protocol's {}", figures(side.late));
        for (step, times) in side.steps {
            println!("  {name:<10} {step:<30} {}", figures(times));
        }
    }
}

impl<'p, 'l> Side<'p, 'l> {
    fn start(lab: &Lab, pair: &'p Pair<'l>) -> Self {
        let vip = pair.vip(VRID);
        let directors = [&pair.first, &pair.second];
        for host in directors {
            // As on all directors, so that those of keepalived too send on what comes for a VIP that has just
            // left.
            host.set_sysctl("net.ipv4.ip_forward", 1);
            host.set_sysctl("net.ipv4.neigh.eth0.unres_qlen_bytes", KEPT);
        }
        let servers = directors.map(|host| host.answer(vip, PORT));
        let [first, second] = pair.serving();
        Self {
            pair,
            first,
            _second: second,
            _servers: servers,
            vip: pair.watch(),
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
        let client = self.client();
        let stopped = mark();
        self.first.stop(PATIENCE);
        client.wait_answer(&self.pair.second, stopped, PATIENCE);
        self.stops.push(client.gap_since(stopped));
        let left = self.adverts.since(stopped).into_iter().find(|advert| advert.what.priority == 0);
        if let Some(left) = left {
            self.step("stop: SIGTERM to priority 0", stopped, left.at);
            let gone = self.vip.changes_since(stopped).into_iter().find(|change| change.what.is_empty());
            if let Some(gone) = gone {
                self.step("stop: SIGTERM to the VIP gone", stopped, gone.at);
            }
            self.taken_over(AFTER_STOP, &client, left.at, left.at + SKEW);
        }
        drop(client);
        self.steady(&self.pair.second);
        self.first = self.pair.start(&self.pair.first);
    }

    /// The preferred director's link is cut and mended.
    fn cut(&mut self) {
        let (first, second) = (&self.pair.first, &self.pair.second);
        let client = self.client();
        let asked = mark();
        let last =
            self.adverts.wait(PATIENCE, |advert| advert.at > asked && advert.what.source == first.ip());
        std::thread::sleep((last.at + PHASE).saturating_duration_since(Instant::now()));
        let cut = mark();
        first.cut();
        let served = client.wait_answer(second, cut, PATIENCE);
        // On a busy machine another one may have left before the cut.
        let last = self.adverts.from(first.ip()).pop().unwrap_or(last);
        self.cuts.push(client.gap_since(cut));
        self.late.push(served.saturating_duration_since(last.at + MASTER_DOWN));
        self.taken_over(AFTER_CUT, &client, cut, last.at + MASTER_DOWN);
        first.reconnect();
    }

    /// A client that the preferred director answers. There is one only while something is measured, of one
    /// kind: they take processor time.
    fn client(&self) -> Asker {
        self.steady(&self.pair.first);
        let begun = mark();
        let vip = self.pair.vip(VRID);
        let client = self.pair.client.ask_every(vip, PORT, RESOLUTION);
        client.wait_answer(&self.pair.first, begun, PATIENCE);
        std::thread::sleep(SETTLES);
        client
    }

    fn step(&mut self, step: &'static str, from: Instant, to: Instant) {
        let took = to.saturating_duration_since(from);
        match self.steps.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(took),
            None => self.steps.push((step, vec![took])),
        }
    }

    /// Notes how long after the moment at which the protocol makes the other director the Master it did what
    /// a Master does.
    fn taken_over(&mut self, steps: [&'static str; 4], client: &Asker, since: Instant, due: Instant) {
        let second = &self.pair.second;
        let holders = self.vip.changes_since(since);
        let vip =
            holders.into_iter().find(|change| change.what.contains(second.name())).map(|change| change.at);
        let claim = self.adverts.since(since).into_iter().find(|advert| advert.what.source == second.ip());
        let announced = self.announcements.of(self.pair.first_vip(), due - Duration::from_millis(20));
        let served = client.wait_answer(second, since, PATIENCE);
        let times = [claim.map(|one| one.at), vip, announced.first().map(|one| one.at), Some(served)];
        for (name, at) in steps.into_iter().zip(times) {
            if let Some(at) = at {
                self.step(name, due, at);
            }
        }
    }

    /// Waits until that director alone has the VIP and everything that follows a change is over.
    fn steady(&self, host: &Host) {
        self.vip.wait_holder(host, PATIENCE);
        std::thread::sleep(SETTLES * 3);
    }
}
