//! How long a client waits when the Master stops and when its link is cut: 1 s adverts, both kinds of director in one guest.

use std::time::Duration;

use lab::{Figures, Host, Kind, Lab, Pair, Prober, Router, VipWatch, mark};

const PATIENCE: Duration = Duration::from_secs(60);
/// The skew time of priority 90: what a Backup waits after priority 0.
const SKEW: Duration = Duration::from_micros(648_437);
/// Three intervals and the skew time: the longest a cut may last.
const MASTER_DOWN: Duration = Duration::from_micros(3_648_437);
const PORT: u16 = 80;

pub(crate) fn measure(lab: &Lab, times: u32) {
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let pair = Pair::new(lab, kind, vec![Router::new(51, 2)]);
        rows.extend(measure_pair(lab, &pair, times));
    }
    println!("\nClient gap, {times} times each, 1 s adverts, version 2:");
    for (kind, what, figures, bound) in rows {
        println!(
            "  {:<10} {what:<14} {figures} (protocol: {:.1} ms)",
            kind.name(),
            bound.as_secs_f64() * 1e3
        );
    }
}

/// Stops and cuts the first director of a pair that many times; what a client at the VIP saw.
fn measure_pair(lab: &Lab, pair: &Pair<'_>, times: u32) -> [(Kind, &'static str, Figures, Duration); 2] {
    let _web = [pair.first.web(PORT), pair.second.web(PORT)];
    let [mut first, _second] = pair.serving();
    let vip = pair.watch();
    let client = pair.client.probe(pair.first_vip(), PORT);
    client.wait_ok(PATIENCE);
    let (mut stops, mut cuts) = (Vec::new(), Vec::new());
    for time in 1..=times {
        steady(&vip, &client, &pair.first);
        let stopped = mark();
        first.stop(PATIENCE);
        steady(&vip, &client, &pair.second);
        stops.push(client.gap_since(stopped));
        first = pair.start(&pair.first);

        steady(&vip, &client, &pair.first);
        let cut = mark();
        pair.first.cut();
        client.wait_responder(&pair.second, PATIENCE);
        cuts.push(client.gap_since(cut));
        pair.first.reconnect();
        lab.log(format!(
            "{} {time}/{times}: stopped {:?}, cut {:?}",
            pair.kind.name(),
            stops.last().unwrap_or(&SKEW),
            cuts.last().unwrap_or(&SKEW)
        ));
    }
    let figures = |values: Vec<Duration>| values.into_iter().collect();
    [(pair.kind, "graceful stop", figures(stops), SKEW), (pair.kind, "link cut", figures(cuts), MASTER_DOWN)]
}

/// Waits until that director alone has the VIP, clients reach it, and everything that follows a change is over.
fn steady(vip: &VipWatch, client: &Prober, host: &Host) {
    vip.wait_holder(host, PATIENCE);
    client.wait_responder(host, PATIENCE);
    std::thread::sleep(Duration::from_millis(1500));
}
