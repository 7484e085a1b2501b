//! Directors stopped with SIGSTOP for five seconds and continued, one at a time and both together: then one
//! Master, announced, and its VIP on one host only.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Announcements, Daemon, Kind, Lab, Mark, Pair, Router, VipWatch, VrrpCapture, guest, mark};
use nix::sys::signal::Signal;

use crate::support::{INTERVAL, MASTER_DOWN, TOLERANCE};

const PAUSE: Duration = Duration::from_secs(5);
/// After the end of a pause, when there is one Master again.
const BOUND: Duration = Duration::from_micros(4_648_437);
/// How long it must stay so.
const AFTERWARDS: Duration = Duration::from_secs(4);

struct Scene<'p, 'l> {
    lab: &'l Lab,
    pair: &'p Pair<'l>,
    vip: VipWatch,
    adverts: VrrpCapture,
    announcements: Announcements,
}

#[test]
fn directors_stopped_for_5_s_leave_one_master_within_the_bound_with_an_announcement() {
    guest(|lab| {
        assert_eq!(BOUND, MASTER_DOWN + INTERVAL);
        let pairs = Kind::ALL.map(|kind| {
            let pair = Pair::new(lab, kind, vec![Router::new(51, 2)]);
            let daemons = pair.serving();
            (pair, daemons)
        });
        let scene = |pair| Scene {
            lab,
            pair,
            vip: Pair::watch(pair),
            adverts: lab.capture_vrrp_on(pair.segment),
            announcements: lab.capture_announcements_on(pair.segment),
        };
        let scenes: Vec<Scene<'_, '_>> = pairs.iter().map(|(pair, _)| scene(pair)).collect();
        std::thread::sleep(6 * INTERVAL);
        // Both pairs are stopped at the same time: they have nothing to do with each other.
        for (what, which, announces) in
            [("the Master", &[0][..], true), ("the Backup", &[1], false), ("both", &[0, 1], true)]
        {
            let daemons = pairs.iter().flat_map(|(_, daemons)| which.iter().map(|index| &daemons[*index]));
            stop(&scenes, what, which, &daemons.collect::<Vec<_>>(), announces);
        }
    });
}

/// Stops these daemons for a while and looks what becomes of it.
fn stop(scenes: &[Scene<'_, '_>], what: &str, which: &[usize], daemons: &[&Daemon], announces: bool) {
    let stopped = mark();
    daemons.iter().for_each(|daemon| daemon.signal_group(Signal::SIGSTOP));
    std::thread::sleep(PAUSE);
    let continued = mark();
    daemons.iter().for_each(|daemon| daemon.signal_group(Signal::SIGCONT));
    std::thread::sleep(BOUND);
    let settled = mark();
    std::thread::sleep(AFTERWARDS);
    scenes.iter().for_each(|scene| scene.judge(what, which, [stopped, continued, settled], announces));
}

impl Scene<'_, '_> {
    fn judge(&self, what: &str, which: &[usize], [stopped, continued, settled]: [Mark; 3], announces: bool) {
        let heard = self.adverts.since(settled);
        let first: IpAddr = self.pair.first.ip();
        let strangers = heard.iter().filter(|advert| advert.what.source != first).count();
        let announced = self.announced(continued);
        self.lab.log(format!(
            "{}: {what} stopped for {PAUSE:?}: VIP on both for {:?} until the bound and {:?} after it, on \
            none for {:?}; \
             adverts after the bound: {} of the first, {strangers} of the second; first announcement of the \
             winner {:?} \
             after the pause",
            self.pair.kind.name(),
            self.vip.both_since(stopped).saturating_sub(self.vip.both_since(settled)),
            self.vip.both_since(settled),
            self.vip.none_since(stopped),
            heard.len() - strangers,
            announced,
        ));
        if self.pair.kind == Kind::Evenkeeld {
            assert_eq!(
                self.vip.holders(),
                [self.pair.first.name()],
                "{what}: the preferred director is Master"
            );
            assert_eq!(self.vip.both_since(settled), Duration::ZERO, "{what}: VIP on both directors");
            assert_eq!(strangers, 0, "{what}: a second Master");
            let expected = (AFTERWARDS.as_secs() - 1) as usize;
            assert!(heard.len() >= expected, "{what}: {} adverts of the Master", heard.len());
            if announces {
                assert!(
                    announced.is_some_and(|after| after <= BOUND),
                    "{what}: not announced: {announced:?}"
                );
            }
            if which == [1] {
                // What it had missed waited to be read, and said that the Master was there all the time.
                let claims = self.adverts.since(stopped);
                let claims = claims.iter().filter(|advert| advert.what.source != first).count();
                assert_eq!(claims, 0, "{what}: it claimed");
            }
            let both = self.vip.both_since(stopped);
            let bound = INTERVAL + TOLERANCE;
            self.lab.assert_within(format!("{what}: VIP on both directors"), both, bound, stopped);
        }
    }

    /// When, after the mark, the first director announced the VIP after the last word of the second one about
    /// it.
    fn announced(&self, since: Mark) -> Option<Duration> {
        let own = self.pair.first.mac("eth0");
        let seen = self.announcements.of(self.pair.first_vip(), since);
        let last_of_others =
            seen.iter().rposition(|record| record.what.mac != own).map_or(0, |index| index + 1);
        seen.get(last_of_others).map(|record| record.at - since)
    }
}
