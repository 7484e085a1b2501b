//! Effects of a stranger on the segment on virtual routers of both versions and families, by multicast and by
//! unicast, with each kind of frame at 1,000 a second: who is Master, how late advertisements are, what is
//! logged, how often hooks run.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use lab::{Host, Kind, Lab, Line, LogEvent, Pair, Victim, eventually, mark};

const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_secs(1);
const RATE: u32 = 1_000;
const PASSWORD: &str = "hell>com";
/// A router under attack.
#[derive(Clone, Copy)]
struct Attacked {
    vrid: u8,
    version: u8,
    v6: bool,
    unicast: bool,
    /// Version 2 only.
    password: bool,
}

const ROUTERS: [Attacked; 8] = [
    Attacked { vrid: 71, version: 2, v6: false, unicast: false, password: true },
    Attacked { vrid: 72, version: 2, v6: false, unicast: true, password: true },
    Attacked { vrid: 73, version: 3, v6: false, unicast: false, password: false },
    Attacked { vrid: 74, version: 3, v6: false, unicast: true, password: false },
    Attacked { vrid: 75, version: 3, v6: true, unicast: false, password: false },
    Attacked { vrid: 76, version: 3, v6: true, unicast: true, password: false },
    Attacked { vrid: 77, version: 2, v6: false, unicast: false, password: false },
    Attacked { vrid: 78, version: 2, v6: false, unicast: true, password: false },
];

impl Attacked {
    /// Without a password version 2 differs in what somebody with a director's address or VIPs can do; the
    /// other kinds stop before it.
    fn wants(&self, kind: &str) -> bool {
        self.version == 3
            || self.password
            || !["checksum", "TTL", "version", "truncated", "count", "interval"]
                .iter()
                .any(|start| kind.starts_with(start))
    }
}

fn link_local(host: &Host) -> IpAddr {
    let all = host.addresses("eth0").into_iter().map(|address| address.ip);
    all.into_iter().find(|ip| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())).expect("link-local")
}

fn cluster(pair: &Pair<'_>) -> String {
    let mut text = "version = 1\nname = \"pair\"\n[segments.front]\n\
        subnets = [\"10.1.0.0/16\", \"2001:db8:1::/64\"]\n[hosts]\n"
        .to_owned();
    for (host, last) in [(&pair.first, 1), (&pair.second, 2)] {
        let _ = writeln!(
            text,
            "{} = {{ address = \"{}\", interface = \"eth0\", addresses = [\"2001:db8:1::{last}\", \"{}\"] }}",
            host.name(),
            host.ip(),
            link_local(host)
        );
    }
    for Attacked { vrid, version, v6, unicast, password } in ROUTERS {
        let vip = if v6 { format!("2001:db8:1::{vrid}") } else { pair.vip(vrid).to_string() };
        let _ = write!(
            text,
            "[virtual_routers.r{vrid}]\nvrid = {vrid}\nversion = {version}\nvips = [\"{vip}\"]\n\
            directors = [\"dir1\", \"dir2\"]\n\
             hooks.any = {{ command = [\"/bin/true\"], user = \"root\" }}\n"
        );
        if unicast {
            text += "unicast = {}\n";
        }
        if password {
            let _ = writeln!(text, "auth = {{ type = \"pass\", secret = {{ literal = \"{PASSWORD}\" }} }}");
        }
    }
    text
}

fn victim(pair: &Pair<'_>, attacked: Attacked) -> Victim {
    let Attacked { vrid, version, v6, unicast, password } = attacked;
    let source = |host: &Host, last: u8| match (v6, unicast) {
        (false, _) => host.ip(),
        (true, false) => link_local(host),
        (true, true) => format!("2001:db8:1::{last}").parse().expect("address"),
    };
    let vip =
        if v6 { format!("2001:db8:1::{vrid}").parse().expect("address") } else { pair.vip(vrid).into() };
    Victim {
        version,
        vrid,
        vip,
        password: password.then(|| PASSWORD.to_owned()),
        directors: [
            (source(&pair.first, 1), pair.first.mac("eth0")),
            (source(&pair.second, 2), pair.second.mac("eth0")),
        ],
        unicast,
    }
}

/// The first is Master of that router and the second is not.
fn settled(pair: &Pair<'_>, vrid: u8) -> bool {
    let state = |host: &Host| pair.plans.router(host, &format!("r{vrid}"))["state"].clone();
    state(&pair.first) == "master" && state(&pair.second) == "backup"
}

/// Only kinds whose name begins so, if `only` is given.
pub(crate) fn measure(lab: &Lab, seconds: u32, only: Option<&str>) {
    let pair = Pair::new(lab, Kind::Evenkeeld, vec![lab::Router::new(71, 2)]);
    for (host, last) in [(&pair.first, 1), (&pair.second, 2)] {
        host.add_address("eth0", &format!("2001:db8:1::{last}/64"));
    }
    pair.plans.compile_text(&cluster(&pair));
    let daemons = pair.serving();
    let mut wrong = 0;
    println!(
        "\n{:<28} {:<40} {:>6} {:>8} {:>10} {:>6} {:>6}  VIP",
        "router", "kind", "sent/s", "changes", "late, ms", "lines", "hooks"
    );
    for router in ROUTERS {
        let Attacked { vrid, version, v6, unicast, password } = router;
        let victim = victim(&pair, router);
        let wanted = victim
            .kinds()
            .into_iter()
            .filter(|kind| router.wants(kind.what) && only.is_none_or(|only| kind.what.starts_with(only)));
        for kind in wanted {
            eventually(PATIENCE, "the first is Master", || settled(&pair, vrid));
            // Its second burst is over, and what was said of the kind before.
            std::thread::sleep(INTERVAL * 7);
            let adverts = pair.first.capture_vrrp_sent("eth0");
            let begun = mark();
            let flood =
                pair.client.flood_frames("eth0", &kind.frames, RATE, Duration::from_secs(seconds.into()));
            let ended = mark();
            let said: Vec<Line> = daemons.iter().flat_map(|daemon| daemon.lines_since(begun)).collect();
            let count = |wanted: &dyn Fn(&Line) -> bool| said.iter().filter(|line| wanted(line)).count();
            let (changes, lines) = (count(&Line::enters_a_state), said.len());
            let hooks = count(&|line| line.is(LogEvent::HookRan.with("subject", "router")));
            let mut times = vec![begun];
            let sent = adverts.since(begun).into_iter().filter(|advert| advert.what.vrid == vrid);
            times.extend(sent.map(|advert| advert.at).filter(|at| *at <= ended));
            times.push(ended);
            let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            let stays = pair.first.has_address("eth0", victim.vip);
            let moved = match (changes > 0 || !stays, kind.may_move) {
                (false, _) => "stays",
                (true, true) => "moves, as SECURITY.md says",
                (true, false) => {
                    wrong += 1;
                    "MOVES, AND MUST NOT"
                }
            };
            let name = format!(
                "r{vrid} v{version} IPv{} {}{}",
                if v6 { 6 } else { 4 },
                if unicast { "unicast" } else { "multicast" },
                if password { " PASS" } else { "" }
            );
            println!(
                "{name:<28} {:<40} {:>6.0} {changes:>8} {:>10.1} {lines:>6} {hooks:>6}  {moved}",
                kind.what,
                flood.rate(),
                gap.saturating_sub(INTERVAL).as_secs_f64() * 1e3,
            );
        }
    }
    println!("\n{seconds} s of each; {wrong} kinds moved what they must not.");
}
