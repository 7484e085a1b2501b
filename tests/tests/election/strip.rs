//! Somebody deletes the VIP every second, as network managers do: it is put back at once, and nobody else
//! notices.

use std::time::Duration;

use lab::{Action, Figures, Kind, Pair, Router, guest, mark};

use crate::support::{INTERVAL, TOLERANCE, worst_gap};

/// How often, and how often it is shown what keepalived does.
const TIMES: u32 = 20;
const TIMES_THERE: u32 = 5;
/// From the deletion to the VIP being there again; every time on an idle machine, and half of the time on
/// any.
const BOUND: Duration = Duration::from_millis(50);

#[test]
fn a_vip_deleted_every_second_is_back_within_50_ms_each_time_and_announced() {
    guest(|lab| {
        let pairs = Kind::ALL.map(|kind| {
            let pair = Pair::new(lab, kind, vec![Router::new(51, 2)]);
            let daemons = pair.serving();
            (pair, daemons)
        });
        std::thread::sleep(7 * INTERVAL);
        for (pair, [first, _second]) in pairs {
            let ours = pair.kind == Kind::Evenkeeld;
            let vip = pair.first_vip();
            let adverts = lab.capture_vrrp_on(pair.segment);
            let announcements = lab.capture_announcements_on(pair.segment);
            let events = pair.first.monitor();
            let pulse = lab.pulse();
            let begun = mark();
            let times = if ours { TIMES } else { TIMES_THERE };
            let deleted: Vec<_> = (0..times)
                .map(|time| {
                    std::thread::sleep((begun + time * INTERVAL).saturating_duration_since(mark()));
                    let deleted = mark();
                    // keepalived may have stepped down, and then has none to delete.
                    if pair.first.has_address("eth0", vip) {
                        pair.first.delete_address("eth0", &format!("{vip}/32"));
                    }
                    deleted
                })
                .collect();
            std::thread::sleep(INTERVAL);
            let ended = mark();

            let events = events.since(begun);
            let added = events.iter().filter(|event| {
                event.what.action == Action::Added && event.what.address.as_ref().is_some_and(|a| a.ip == vip)
            });
            let added: Vec<_> = added.map(|event| event.at).collect();
            let backs: Vec<_> = deleted
                .iter()
                .map(|at| (*at, added.iter().copied().find(|added| added >= at).unwrap_or(ended)))
                .collect();
            let back: Figures = backs.iter().map(|(from, to)| *to - *from).collect();
            // Less what the guest stood still.
            let served: Figures = backs
                .iter()
                .map(|(from, to)| (*to - *from).saturating_sub(pulse.lost_between(*from, *to)))
                .collect();
            let announced: Figures = deleted
                .iter()
                .filter_map(|at| {
                    let next = announcements.of(vip, *at).first()?.at - *at;
                    (next < INTERVAL).then_some(next)
                })
                .collect();
            let heard = adverts.since(begun);
            let own: Vec<_> =
                heard.iter().filter(|advert| advert.what.source == pair.first.ip()).cloned().collect();
            let gap = worst_gap(&own, begun, ended);
            lab.log(format!(
                "{}: back after: {back}; announced after: {announced}; worst gap between adverts {} ms, \
                 {} of priority 0, {} of the other director",
                pair.kind.name(),
                gap.as_millis(),
                heard.iter().filter(|advert| advert.what.priority == 0).count(),
                heard.len() - own.len(),
            ));
            if ours {
                assert!(served.median() <= BOUND && back.max() <= BOUND + 2 * TOLERANCE, "{back}; {served}");
                assert_eq!(announced.count(), TIMES as usize, "announced after each");
                let late = announced.max().saturating_sub(back.max());
                assert!(late <= TOLERANCE, "announced late: {announced}");
                assert_eq!(heard.len(), own.len(), "adverts of the other director");
                assert!(own.iter().all(|advert| advert.what.priority == 100), "stepped down");
                let allowed = INTERVAL + TOLERANCE + 2 * pulse.stalled_since(begun);
                assert!(gap <= allowed, "silent for {gap:?}");
                let router = pair.plans.router(&pair.first, "r51");
                assert_eq!(router["state"], "master");
                assert_eq!(router["counters"]["became_master"], 1);
                assert_eq!(router["counters"]["vip_repairs"], TIMES);
                let entered = first.lines().iter().filter(|line| line.enters_a_state()).count();
                assert_eq!(entered, 2, "{}", first.log());
            }
        }
    });
}
