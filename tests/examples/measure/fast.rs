//! Version 3 at 10 ms adverts on this machine's own kernel: gaps of failovers and false elections, both kinds
//! of director at the same time, so that both meet the same machine; once with idle processors and once with
//! busy ones. VIPs only: no IPVS is needed.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use lab::{
    Daemon, Figures, Host, Kind, Lab, LogEvent, Mark, Pair, Prober, Router, VipWatch, VrrpCapture, mark,
};

const INTERVAL: Duration = Duration::from_millis(10);
/// Three intervals and the skew time of priority 90.
const MASTER_DOWN: Duration = Duration::from_micros(36_484);
/// Gaps are measured to this.
const RESOLUTION: Duration = Duration::from_millis(2);
const TIMES: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// After a failover, until second bursts of announcements and the like are over.
const REST: Duration = Duration::from_millis(500);
const PORT: u16 = 80;
/// How often a phase in which nothing should happen tells that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A pair that serves, and what is recorded of it.
struct Side<'p, 'l> {
    pair: &'p Pair<'l>,
    daemons: [Daemon; 2],
    vip: VipWatch,
    client: Prober,
    adverts: VrrpCapture,
}

pub(crate) fn measure(lab: &Lab, quiet: Duration, realtime: bool) {
    let router = Router { interval: INTERVAL, ..Router::new(51, 3) };
    let pairs = Kind::ALL.map(|kind| {
        let mut pair = Pair::new(lab, kind, vec![router.clone()]);
        pair.realtime = realtime;
        pair
    });
    let _webs: Vec<_> =
        pairs.iter().flat_map(|pair| [&pair.first, &pair.second]).map(|host| host.web(PORT)).collect();
    let mut sides = Vec::new();
    for pair in &pairs {
        let daemons = pair.serving();
        let client = pair.client.probe_every(pair.first_vip(), PORT, RESOLUTION);
        client.wait_ok(PATIENCE);
        let adverts = lab.capture_vrrp_on(pair.segment);
        sides.push(Side { pair, daemons, vip: pair.watch(), client, adverts });
    }
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let mut table = vec![format!(
        "10 ms adverts{}, {TIMES} failovers (bound {:.1} ms) and {} s without any:",
        if realtime { " with real-time scheduling" } else { "" },
        MASTER_DOWN.as_secs_f64() * 1e3,
        quiet.as_secs()
    )];
    for (phase, spinning) in [("idle", 0), ("busy", processors)] {
        let _spinners: Vec<Spinner> = (0..spinning).map(|_| Spinner::start()).collect();
        lab.log(format!("{phase}: {spinning} spinning processes, {} s without a failover", quiet.as_secs()));
        std::thread::sleep(REST);
        let begun = mark();
        while begun.elapsed() < quiet {
            std::thread::sleep(TELL_EVERY.min(quiet.saturating_sub(begun.elapsed())));
            for side in &sides {
                lab.log(format!("{phase}: {}", side.told_since(begun)));
            }
        }
        let undisturbed: Vec<String> = sides.iter().map(|side| side.told_since(begun)).collect();
        for (side, undisturbed) in sides.iter_mut().zip(undisturbed) {
            lab.log(format!("{phase}: failovers of {}", side.pair.kind.name()));
            let (stops, cuts) = side.fail_over();
            table.push(format!(
                "  {phase} {undisturbed}\n  {phase}   stop: {stops}\n  {phase}   cut:  {cuts}"
            ));
        }
    }
    println!("\n{}", table.join("\n"));
}

impl Side<'_, '_> {
    /// Text about what happened although nothing should have.
    fn told_since(&self, begun: Mark) -> String {
        let elections: usize =
            self.daemons.iter().map(|daemon| daemon.count_since(begun, LogEvent::Master)).sum();
        let sent: Vec<Instant> = self.adverts.since(begun).iter().map(|advert| advert.at).collect();
        let gaps: Figures = sent.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).collect();
        format!(
            "{:<10} {elections} false elections, {} adverts, longest time between two {:.1} ms",
            self.pair.kind.name(),
            sent.len(),
            gaps.max().as_secs_f64() * 1e3
        )
    }

    fn fail_over(&mut self) -> (Figures, Figures) {
        let (mut stops, mut cuts) = (Vec::new(), Vec::new());
        let (first, second) = (self.pair.first.clone(), self.pair.second.clone());
        for _ in 0..TIMES {
            self.settle(&first);
            let stopped = mark();
            self.daemons[0].stop(PATIENCE);
            self.settle(&second);
            stops.push(self.client.gap_since(stopped));
            self.daemons[0] = self.pair.start(&first);

            self.settle(&first);
            let cut = mark();
            first.cut();
            self.client.wait_responder(&second, PATIENCE);
            cuts.push(self.client.gap_since(cut));
            first.reconnect();
        }
        self.settle(&first);
        (stops.into_iter().collect(), cuts.into_iter().collect())
    }

    /// Waits until a client reaches that director and it alone has the VIP. Under load it may take more than
    /// one election.
    fn settle(&self, host: &Host) {
        self.vip.wait_holder(host, PATIENCE);
        self.client.wait_responder(host, PATIENCE);
        std::thread::sleep(REST);
    }
}

/// A process that does nothing as fast as it can.
struct Spinner(Child);

impl Spinner {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a spinning process"))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
