//! Others on the segment who have what is ours: a VIP, or the VRID. They are found and told of, and nothing falls over.

use std::time::Duration;

use lab::{Forged, Kind, Pair, Router, eventually, guest};

use crate::support::{INTERVAL, PATIENCE};

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
        let told = first.wait_log(&format!("{vip} is also claimed by {mac} on eth0"), PATIENCE);
        eventually(PATIENCE, "it is announced again", || {
            !announcements.of(vip, told.at - INTERVAL).is_empty()
        });
        let count = || pair.plans.router(&pair.first, "r62")["counters"]["duplicate_addresses"].as_u64();
        assert!(count() >= Some(1));
        pair.client.delete_address("eth0", &format!("{vip}/16"));

        // Somebody else's virtual router has our VRID.
        let stranger = Forged { vrid: 62, vips: vec![pair.address(7, 7)], ..Forged::default() };
        pair.client.flood(pair.address(0, 9), &stranger, 10, Duration::from_secs(3));
        first.wait_log("VRID", PATIENCE);
        let router = pair.plans.router(&pair.first, "r62");
        assert!(router["counters"]["vrid_in_use"].as_u64() >= Some(10), "{router}");
        assert_eq!(router["state"], "master");
        let words =
            first.log().lines().filter(|line| line.contains("10.1.7.7") || line.contains("VRID 62")).count();
        assert!(words <= 3, "the log is bounded: {}", first.log());
    });
}
