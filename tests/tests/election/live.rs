//! Changes without an election: VIPs, priority, interval, delivery, VRIDs that swap, a VIP that changes its
//! router. The Master stays Master, and no VIP is lost or doubled meanwhile.

use std::time::Duration;

use lab::{Kind, Lab, Pair, Router, VipWatch, eventually, guest, mark};

use crate::support::{PATIENCE, TOLERANCE};

/// The advertisement interval.
const QUICK: Duration = Duration::from_millis(500);
/// How long a change is watched: more than a Backup waits.
const WATCHED: Duration = Duration::from_millis(2_500);

/// State of each router at each director, and how often it has become Master.
fn states(pair: &Pair<'_>) -> Vec<(String, u64)> {
    let routers =
        [&pair.first, &pair.second].map(|host| ["r61", "r62"].map(|name| pair.plans.router(host, name)));
    let state = |router: &serde_json::Value| {
        let state = router["state"].as_str().unwrap_or_default().to_owned();
        (state, router["counters"]["became_master"].as_u64().unwrap_or_default())
    };
    routers.iter().flatten().map(state).collect()
}

fn watches(lab: &Lab, pair: &Pair<'_>, vips: &[u8]) -> Vec<VipWatch> {
    let watch = |last: &u8| lab.watch_vip(pair.vip(*last), &[&pair.first, &pair.second], "eth0");
    vips.iter().map(watch).collect()
}

#[test]
fn changes_move_no_vip() {
    guest(|lab| {
        let router = |vrid| Router { interval: QUICK, ..Router::new(vrid, 3) };
        let plain = || vec![router(61), router(62)];
        let mut pair = Pair::new(lab, Kind::Evenkeeld, plain());
        let [first, second] = pair.serving();
        let watches = watches(lab, &pair, &[61, 62]);
        watches.iter().for_each(|watch| _ = watch.wait_holder(&pair.first, PATIENCE));
        std::thread::sleep(QUICK * 6);

        let more = |vip: u8, router: &mut Router, pair: &Pair<'_>| router.more_vips.push(pair.vip(vip));
        let mut steps: Vec<(&str, Vec<Router>, String)> = Vec::new();
        let mut grown = plain();
        more(161, &mut grown[0], &pair);
        steps.push(("a VIP is added", grown, String::new()));
        steps.push(("and removed", plain(), String::new()));
        steps.push(("priorities rise", plain(), "priorities = { dir1 = 150, dir2 = 140 }\n".to_owned()));
        steps.push(("and fall", plain(), "priorities = { dir1 = 50, dir2 = 40 }\n".to_owned()));
        let quick = plain().into_iter().map(|router| Router { interval: QUICK / 2, ..router }).collect();
        steps.push(("the interval is halved", quick, String::new()));
        steps.push(("and doubled", plain(), String::new()));
        steps.push(("unicast instead of multicast", plain(), "unicast = {}\n".to_owned()));
        steps.push(("and back", plain(), String::new()));
        steps.push(("another router comes", [plain(), vec![router(63)]].concat(), String::new()));
        steps.push(("and goes", plain(), String::new()));
        steps.push(("announcements are repeated", plain(), "garp = { refresh = \"1s\" }\n".to_owned()));
        let before = states(&pair);
        for (what, routers, text) in steps {
            change(lab, &mut pair, routers, &text, what, &watches);
            assert_eq!(states(&pair), before, "{what}");
        }
        assert!(first.is_running() && second.is_running());
    });
}

#[test]
fn vrids_swap_and_a_vip_changes_its_router_without_a_loss() {
    guest(|lab| {
        let text = |first: (u8, &[u8]), second: (u8, &[u8])| {
            let router = |name: &str, (vrid, vips): (u8, &[u8])| {
                let vips: Vec<String> = vips.iter().map(|last| format!("\"10.1.1.{last}\"")).collect();
                format!(
                    "[virtual_routers.{name}]\nvrid = {vrid}\nvips = [{}]\ndirectors = [\"dir1\", \"dir2\"]\n\
                     advert_interval = \"500ms\"\n",
                    vips.join(", ")
                )
            };
            router("a", first) + &router("b", second)
        };
        let mut pair = Pair::new(lab, Kind::Evenkeeld, Vec::new());
        pair.configure(Vec::new(), &text((61, &[61, 161]), (62, &[62])));
        let _daemons = [pair.start(&pair.first), pair.start(&pair.second)];
        let watches = watches(lab, &pair, &[61, 161, 62]);
        watches.iter().for_each(|watch| _ = watch.wait_holder(&pair.first, PATIENCE));
        std::thread::sleep(QUICK * 6);
        change(
            lab,
            &mut pair,
            Vec::new(),
            &text((61, &[61]), (62, &[62, 161])),
            "a VIP changes its router",
            &watches,
        );
        change(lab, &mut pair, Vec::new(), &text((62, &[61]), (61, &[62, 161])), "VRIDs swap", &watches);
    });
}

/// Makes a change and looks whether a VIP was lost or doubled.
fn change(
    lab: &Lab,
    pair: &mut Pair<'_>,
    routers: Vec<Router>,
    more: &str,
    what: &str,
    watches: &[VipWatch],
) {
    let before = pair.plans.status(&pair.first)["plan"]["generation"].clone();
    let changed = mark();
    pair.configure(routers, more);
    eventually(PATIENCE, what, || pair.plans.status(&pair.first)["plan"]["generation"] != before);
    std::thread::sleep(WATCHED);
    let none: Vec<Duration> = watches.iter().map(|watch| watch.none_since(changed)).collect();
    let both: Vec<Duration> = watches.iter().map(|watch| watch.both_since(changed)).collect();
    lab.log(format!("{what}: VIPs on nobody {none:?}, on both {both:?}"));
    let worst = |times: Vec<Duration>| times.into_iter().max().unwrap_or_default();
    lab.assert_within(format!("{what}: VIPs were lost"), worst(none), TOLERANCE, changed);
    lab.assert_within(format!("{what}: VIPs were doubled"), worst(both), TOLERANCE, changed);
    for watch in watches {
        assert_eq!(watch.holders(), [pair.first.name()], "{what}");
    }
}
