//! Numbers and assertions that several of the tests share.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Host, Mark, Prober, Reference, VipWatch, VrrpCapture};

/// Time for anything that takes no more than a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// dir2's skew time: (256 - 90) / 256 s.
pub(crate) const SKEW: Duration = Duration::from_micros(648_437);
/// How often a short gap is measured.
pub(crate) const ROUNDS: usize = 3;
/// Gap that a client feels when there is no election, which takes the skew time at least (0.648 s): no more
/// than that the guest's one processor has other things to do for a while. With all that the lab may excuse
/// it is still less.
pub(crate) const NO_ELECTION: Duration = Duration::from_millis(240);
/// Time for which two directors have the VIP while one leaves: an advertisement's way and the kernel's
/// removal, on a guest whose one processor has other things to do.
pub(crate) const HANDOVER: Duration = Duration::from_millis(100);
/// Time that a gap may differ from the protocol's bound: less than any mistake of the protocol makes, which
/// is a whole interval (1 s).
pub(crate) const TOLERANCE: Duration = Duration::from_millis(500);
/// Time that the clock of a captured packet may differ from ours.
const CLOCKS: Duration = Duration::from_millis(50);
/// Three intervals and the skew time.
pub(crate) const MASTER_DOWN: Duration = Duration::from_micros(3_648_437);

pub(crate) const DIR1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 188, 108));

/// The IPVS table that both directors must have, as `ipvsadm -Sn` prints it, sorted.
pub(crate) const TABLE: [&str; 3] = [
    "-A -t 192.168.188.120:80 -s wlc",
    "-a -t 192.168.188.120:80 -r 192.168.188.107:80 -g -w 100",
    "-a -t 192.168.188.120:80 -r 192.168.188.110:80 -g -w 100",
];

/// The addresses on an interface as `ip -j` tells them: (address, prefix length, label).
pub(crate) fn ip_addresses(host: &Host, interface: &str) -> Vec<(String, u64, String)> {
    let links = host.json(["ip", "-j", "-4", "addr", "show", "dev", interface]);
    let addresses = links[0]["addr_info"].as_array().cloned().unwrap_or_default();
    addresses
        .iter()
        .map(|address| {
            let text = |key: &str| address[key].as_str().unwrap_or_default().to_owned();
            (text("local"), address["prefixlen"].as_u64().unwrap_or_default(), text("label"))
        })
        .collect()
}

/// A prober at the VIP that has had its first answer.
pub(crate) fn steady_client(reference: &Reference<'_>) -> Prober {
    let prober = reference.hosts.client.probe(reference.hosts.vip, 80);
    prober.wait_ok(PATIENCE);
    prober
}

/// A watch on who holds the VIP.
pub(crate) fn watch(reference: &Reference<'_>) -> VipWatch {
    let hosts = &reference.hosts;
    lab_watch(reference, &[&hosts.dir1, &hosts.dir2])
}

fn lab_watch(reference: &Reference<'_>, hosts: &[&Host]) -> VipWatch {
    reference.lab().watch_vip(reference.hosts.vip, hosts, "eth0")
}

/// Waits for the farewell of a director that is told to stop at `stopped`. The time of a captured packet is
/// the kernel's and may differ from ours by a little, so it may seem to come before the order.
pub(crate) fn wait_priority_zero(adverts: &VrrpCapture, source: IpAddr, stopped: Mark) {
    adverts.wait(PATIENCE, |advert| {
        advert.at + CLOCKS > stopped && advert.what.source == source && advert.what.priority == 0
    });
}

/// The middle one. A gap is measured several times: one of them may have met the machine busy with something
/// else.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// The process of the daemon's guardian: its only child in these tests. The kernel lists a child under the
/// thread that started it, which for a second guardian is not the first thread.
pub(crate) fn find_guardian(reference: &Reference<'_>, parent: u32) -> Option<String> {
    let command = format!("cat /proc/{parent}/task/*/children");
    let children = reference.lab().output(["sh", "-c", &command]);
    // A thread may end meanwhile, and the list then begins again.
    children.stdout.split_whitespace().next().map(str::to_owned)
}

/// Waits until a daemon that was just started answers: it has no socket, or a dead one, before.
#[track_caller]
pub(crate) fn wait_answer(reference: &Reference<'_>, host: &Host) {
    let socket = host.scratch().join("evenkeeld.sock").display().to_string();
    lab::eventually(PATIENCE, &format!("{} answers", host.name()), || {
        reference.evenkeeld(host, "status", &["--socket", &socket]).status.success()
    });
}
