//! Others on the segment who have what is ours: a VIP, or the VRID. They are found and told of, and move
//! nothing.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Forged, Kind, Line, LogEvent, Pair, Router, Victim, eventually, guest};

use crate::support::{INTERVAL, PATIENCE, TOLERANCE, worst_gap};

#[test]
fn a_stranger_with_our_vip_or_our_vrid_is_told_of() {
    guest(|lab| {
        let pair = Pair::new(lab, Kind::Evenkeeld, vec![Router::new(62, 3)]);
        let vip = pair.first_vip();
        // Somebody has configured the VIP by hand, and says nothing of it unless asked.
        pair.client.add_address("eth0", &format!("{vip}/16"));
        let announcements = lab.capture_announcements_on(pair.segment);
        let [first, _second] = pair.serving();
        let [a, b, c, d, e, f] = pair.client.mac("eth0");
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let claimed = LogEvent::AlsoClaimed.with("vip", vip).with("mac", &mac).with("interface", "eth0");
        let told = first.wait_told(claimed, PATIENCE);
        eventually(PATIENCE, "it is announced again", || {
            !announcements.of(vip, told.at - INTERVAL).is_empty()
        });
        let count = || pair.plans.router(&pair.first, "r62")["counters"]["duplicate_addresses"].as_u64();
        assert!(count() >= Some(1));
        pair.client.delete_address("eth0", &format!("{vip}/16"));

        // Somebody else's virtual router has our VRID.
        let stranger = Forged { vrid: 62, vips: vec![pair.address(7, 7)], ..Forged::default() };
        pair.client.flood(pair.address(0, 9), &stranger, 10, Duration::from_secs(3));
        // Told with the hardware address that its frames come from.
        let in_use = LogEvent::VridInUse.with("vrid", 62).with("address", "10.1.0.9").with("mac", &mac);
        first.wait_told(in_use, PATIENCE);
        let router = pair.plans.router(&pair.first, "r62");
        assert!(router["counters"]["vrid_in_use"].as_u64() >= Some(10), "{router}");
        assert_eq!(router["state"], "master");
        let strangers = &router["strangers"];
        assert_eq!(
            (&strangers[0]["address"], &strangers[0]["mac"]),
            (&"10.1.0.9".into(), &mac.into()),
            "{router}"
        );
        assert_eq!(strangers[0]["counts"], false);
        // With priority 255 and the longest interval it moves nothing either.
        let mark = lab::mark();
        let worst = Forged { priority: 255, interval: 4095, ..stranger };
        pair.client.flood(pair.address(0, 9), &worst, 10, Duration::from_secs(2));
        assert!(!first.lines_since(mark).iter().any(Line::enters_a_state), "{}", first.log());
        assert!(pair.first.has_address("eth0", vip));
        let of_stranger = |line: &&Line| line.is(LogEvent::VridInUse) || line.text.contains("10.1.7.7");
        let words = first.lines().iter().filter(of_stranger).count();
        assert!(words <= 3, "the log is bounded: {}", first.log());
    });
}

/// Everything that a stranger can send, by turns, at 1,000 a second: of version 2 with a password and of
/// IPv6, both by multicast. All kinds at full length, and unicast, are in `tests/measure strangers`.
#[test]
fn nothing_that_a_stranger_sends_moves_a_vip() {
    guest(|lab| {
        let router = Router { password: Some("hell>com".to_owned()), ..Router::new(64, 2) };
        let pair = Pair::new(lab, Kind::Evenkeeld, vec![router]);
        let link_local = |host: &lab::Host| {
            let all = host.addresses("eth0").into_iter().map(|address| address.ip);
            all.into_iter()
                .find(|ip| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
                .expect("link-local")
        };
        let v6 = "[virtual_routers.r65]\nvrid = 65\nvips = [\"2001:db8:1::65\"]\n\
            directors = [\"dir1\", \"dir2\"]\n";
        let mut file =
            pair.cluster_text().replace("\"10.1.0.0/16\"", "\"10.1.0.0/16\", \"2001:db8:1::/64\"") + v6;
        for host in [&pair.first, &pair.second] {
            let address = format!("address = \"{}\"", host.ip());
            file = file.replace(&address, &format!("{address}, addresses = [\"{}\"]", link_local(host)));
        }
        pair.plans.compile_text(&file);
        let [first, second] = pair.serving();
        let vip6 = "2001:db8:1::65".parse().expect("address");
        eventually(PATIENCE, "the IPv6 router has a Master", || pair.first.has_address("eth0", vip6));
        std::thread::sleep(7 * INTERVAL);
        let macs = [pair.first.mac("eth0"), pair.second.mac("eth0")];
        let victims = [
            Victim {
                version: 2,
                vrid: 64,
                vip: pair.vip(64).into(),
                password: Some("hell>com".to_owned()),
                directors: [(pair.address(0, 1).into(), macs[0]), (pair.address(0, 2).into(), macs[1])],
                unicast: false,
            },
            Victim {
                version: 3,
                vrid: 65,
                vip: vip6,
                password: None,
                directors: [(link_local(&pair.first), macs[0]), (link_local(&pair.second), macs[1])],
                unicast: false,
            },
        ];
        for victim in &victims {
            let kinds = victim.kinds().into_iter().filter(|kind| !kind.may_move);
            let frames: Vec<Vec<u8>> = kinds.flat_map(|kind| kind.frames).collect();
            let adverts = pair.first.capture_vrrp_sent("eth0");
            let mark = lab::mark();
            pair.client.flood_frames("eth0", &frames, 1_000, 3 * INTERVAL);
            let ended = lab::mark();
            for daemon in [&first, &second] {
                let lines = daemon.lines_since(mark);
                assert!(!lines.iter().any(Line::enters_a_state), "{}", daemon.log());
                assert!(lines.len() <= 100, "{} lines", lines.len());
            }
            let sent: Vec<_> =
                adverts.since(mark).into_iter().filter(|advert| advert.what.vrid == victim.vrid).collect();
            let gap = worst_gap(&sent, mark, ended);
            lab.assert_within("between two advertisements", gap, INTERVAL + TOLERANCE, mark);
        }
        assert!(pair.first.has_address("eth0", pair.first_vip()) && pair.first.has_address("eth0", vip6));
    });
}
