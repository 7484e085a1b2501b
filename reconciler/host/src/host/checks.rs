//! Checks at work: probes are started and judged, verdicts passed on; what is known of the ways to targets; and the routers that wait
//! for their checks before they take over. What all of it means is the health crate's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_health::way::{Turns, judge};
use evenkeel_health::{Ailment, Board, Change, Found, Gates, Outcome, Silences, Verdict, Ways};
use evenkeel_schemas::plan::{Check, Plan};
use evenkeel_schemas::scalars::{Ip, Name};
use evenkeel_schemas::time::MonoTime;

use super::{Host, VERDICT_PAUSE, of};
use crate::event::HealthEvent;
use crate::io::Output;
use crate::moment::Moment;
use crate::verdicts::target;
use crate::ways::WayNews;
use crate::{subjects, verdicts};

/// The checks of a host, and who waits for them.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) board: Board,
    ways: Ways,
    gates: Gates,
    silences: Silences,
    /// When it is looked whether a silence is over.
    silences_at: Option<MonoTime>,
    /// The routers that wait, as the election was told.
    waiting: BTreeSet<Name>,
    /// Those of them that were heard to leave another Master alone.
    held_back: BTreeSet<Name>,
}

impl Checks {
    /// When [`Host::start_probes`] has something to do.
    pub(super) fn probes_due(&self) -> Option<MonoTime> {
        self.board.poll_timeout()
    }

    /// When [`Host::checks_due`] has something to do.
    pub(super) fn due(&self) -> Option<MonoTime> {
        [self.gates.due(), self.silences_at].into_iter().flatten().min()
    }

    /// How many checks a router waits for.
    pub(super) fn waits_for(&self, router: &Name) -> usize {
        self.gates.left(router)
    }
}

impl Host {
    /// Takes the checks of a plan; `known` are the verdicts until now.
    pub(super) fn configure_checks(&mut self, plan: &Plan, known: &verdicts::Verdicts, now: MonoTime) {
        let initial = verdicts::by_check(plan, known);
        let all: BTreeSet<Check> = verdicts::checks(plan).map(|(_, _, check)| check.clone()).collect();
        let Checks { board, ways, gates, .. } = &mut self.checks;
        let new: BTreeSet<Check> =
            all.iter().filter(|check| board.verdict(check).is_none()).cloned().collect();
        let targets: BTreeSet<IpAddr> = all.iter().map(|check| target(check).ip()).collect();
        let initial = |check: &Check| initial.get(check).copied().unwrap_or(Verdict::Up);
        board.configure(all, initial, now);
        subjects::mark(plan, board);
        ways.watch(targets.iter().copied());
        // A way that is known to be gone is so for a new check as well.
        let lost: Turns =
            ways.targets().filter_map(|target| Some((target, Some(ways.ailment(target)?.clone())))).collect();
        board.ways_turned(&lost, now);
        gates.keep(&plan.routers.iter().map(|router| router.name.clone()).collect());
        gates.retain(|check| board.verdict(check).is_some());
        self.push(Output::WatchWays(targets.into_iter().collect()));
        self.close_gates(plan, &new, now);
    }

    /// Routers whose services have one of these checks wait for all of theirs that have not spoken.
    fn close_gates(&mut self, plan: &Plan, turned: &BTreeSet<Check>, now: MonoTime) {
        for (router, checks) in checks_of_routers(plan) {
            if !checks.iter().any(|check| turned.contains(*check)) {
                continue;
            }
            let left =
                checks.into_iter().filter(|check| !self.checks.board.is_settled(check)).cloned().collect();
            let able = self.is_able(plan, &router);
            self.checks.gates.close(&router, left, able, now);
        }
        self.send_waiting();
    }

    /// Whether nothing ails the interfaces of a router: one that is out waits for nothing, and its time does not run.
    fn is_able(&self, plan: &Plan, name: &Name) -> bool {
        let of_name = plan.routers.iter().filter(|router| router.name == *name);
        let mut interfaces = of_name.map(|router| router.interface.as_str());
        interfaces.all(|interface| self.checks.ways.ailment_of(interface).is_none())
    }

    /// Sends the election who waits, when that changed.
    fn send_waiting(&mut self) {
        let waiting = self.checks.gates.waiting();
        if waiting != self.checks.waiting {
            self.checks.waiting.clone_from(&waiting);
            self.push(Output::Waiting(waiting));
        }
    }

    /// A router leaves another Master alone because its checks have not spoken.
    pub(super) fn held_back(&mut self, router: &Name) {
        if self.checks.waiting.contains(router) {
            self.checks.held_back.insert(router.clone());
        }
    }

    pub(super) fn start_probes(&mut self, at: &Moment) {
        let (probes, changes) = self.checks.board.start(at.now);
        for check in probes {
            // Without a way to it a packet would wait for the time-out, and say nothing.
            match self.checks.ways.obstacle(target(&check).ip()) {
                Some(ailment) => self.conclude(&check, Outcome::Inconclusive(ailment), at),
                None => self.push(Output::Probe(check, at.now)),
            }
        }
        self.verdicts_changed(&changes, at);
    }

    /// A probe has ended.
    pub(super) fn probed(&mut self, check: &Check, began: MonoTime, found: Found, at: &Moment) {
        let ip = target(check).ip();
        // Given up meanwhile: its way is back, and another one follows.
        if !self.checks.board.is_under_way(check, began) {
            return;
        }
        let outcome = judge(found, self.checks.ways.excuse(ip, began));
        let answered = outcome == Outcome::Success;
        self.conclude(check, outcome, at);
        if answered {
            let turns = self.checks.ways.answered(ip, at.now);
            self.ways_turned(&turns, at);
        }
    }

    fn conclude(&mut self, check: &Check, outcome: Outcome, at: &Moment) {
        let ailment = match &outcome {
            Outcome::Inconclusive(ailment) => Some(ailment.clone()),
            Outcome::Success | Outcome::Failure(_) => None,
        };
        // A first result is news to who waits for it, and so is one that says something again, or no longer.
        let before = self.checks.board.report(check);
        let change = self.checks.board.finish(check, outcome, at.now);
        let unjudged = before.as_ref().is_some_and(|report| report.unjudged.is_some()) || ailment.is_some();
        if unjudged || before.is_some_and(|report| report.last.is_none()) {
            self.services_changed(at);
        }
        // What ails this host may change while it goes on: it is one silence.
        if let Some(ailment) = ailment.and_then(|_| self.checks.board.silence(check).cloned()) {
            self.note_silence(&ailment, 1, at.now);
        }
        self.verdicts_changed(change.as_slice(), at);
        if self.checks.board.is_settled(check) && self.checks.gates.spoken(check) {
            self.gates_opened();
        }
    }

    /// Routers may have stopped waiting because their checks have spoken.
    fn gates_opened(&mut self) {
        self.send_waiting();
        let Checks { waiting, held_back, .. } = &mut self.checks;
        let spoke: Vec<Name> = held_back.extract_if(.., |router| !waiting.contains(router)).collect();
        for router in spoke {
            self.log(HealthEvent::ChecksSpoke { router });
        }
    }

    fn verdicts_changed(&mut self, changes: &[Change], at: &Moment) {
        if changes.is_empty() {
            return;
        }
        let plan = self.plan();
        for change in changes {
            let whom = subjects::of_check(of(plan.as_ref()), &self.checks.board, &change.check);
            self.log(match change.verdict {
                Verdict::Up => HealthEvent::CheckUp { whom },
                Verdict::Down => HealthEvent::CheckDown { whom, reason: change.reason.clone() },
            });
        }
        self.wants.verdicts_at.get_or_insert(at.now + VERDICT_PAUSE);
        self.services_changed(at);
    }

    /// News of the ways to targets.
    pub(super) fn way_news(&mut self, news: WayNews, at: &Moment) {
        let ways = &mut self.checks.ways;
        let turns = match news {
            WayNews::Links(links) => ways.links(links, at.now),
            WayNews::Link(index, link) => ways.link(index, link, at.now),
            WayNews::Routes(routes) => ways.routes(routes, at.now),
        };
        self.ways_turned(&turns, at);
        if let Some(loaded) = self.plan() {
            let waiting = self.checks.waiting.iter();
            let able: BTreeSet<Name> =
                waiting.filter(|router| self.is_able(&loaded.plan, router)).cloned().collect();
            self.checks.gates.enable(|router| able.contains(router), at.now);
        }
    }

    fn ways_turned(&mut self, turns: &Turns, at: &Moment) {
        if turns.is_empty() {
            return;
        }
        let checks = self.checks.board.ways_turned(turns, at.now);
        if checks.is_empty() {
            return;
        }
        let silences: BTreeSet<_> =
            checks.iter().filter_map(|check| self.checks.board.silence(check)).cloned().collect();
        for ailment in silences {
            self.note_silence(&ailment, 0, at.now);
        }
        if let Some(loaded) = self.plan() {
            self.close_gates(&loaded.plan, &checks, at.now);
        }
        self.services_changed(at);
    }

    fn note_silence(&mut self, ailment: &Ailment, probes: u64, now: MonoTime) {
        if let Some(news) = self.checks.silences.note(ailment, probes, now) {
            let checks = self.checks.board.unjudged(ailment);
            self.log(HealthEvent::Silence { news, checks });
        }
        let look = self.checks.silences.look_in();
        self.checks.silences_at = self.checks.silences_at.or_else(|| look.map(|pause| now + pause));
    }

    /// Silences that are over, and gates whose time is.
    pub(super) fn checks_due(&mut self, at: &Moment) {
        let now = at.now;
        if self.checks.silences_at.is_some_and(|due| due <= now) {
            let Checks { board, silences, .. } = &mut self.checks;
            let over = silences.look(|ailment| board.unjudged(ailment) > 0, now);
            self.checks.silences_at = self.checks.silences.look_in().map(|pause| now + pause);
            for news in over {
                self.log(HealthEvent::SilenceOver(news));
            }
        }
        let expired = self.checks.gates.expire(now);
        if expired.is_empty() {
            return;
        }
        let plan = self.plan();
        for one in expired {
            if self.checks.held_back.remove(&one.router) {
                let left = subjects::of_checks(of(plan.as_ref()), &self.checks.board, one.left.iter());
                self.log(HealthEvent::ChecksUnheard { router: one.router, left });
            }
        }
        self.send_waiting();
    }
}

/// The checks of the services of each router: a service is its whose VIP it is at, or whose Master only has it.
fn checks_of_routers(plan: &Plan) -> BTreeMap<Name, BTreeSet<&Check>> {
    let mut by_vip: BTreeMap<IpAddr, BTreeSet<&Name>> = BTreeMap::new();
    for router in &plan.routers {
        for vip in router.vips.iter().chain(&router.unadvertised_vips) {
            by_vip.entry(vip.address()).or_default().insert(&router.name);
        }
    }
    let mut found: BTreeMap<Name, BTreeSet<&Check>> = BTreeMap::new();
    for server in &plan.virtual_servers {
        let by_address = server.client_addresses().filter_map(|Ip(vip)| by_vip.get(&vip)).flatten().copied();
        let routers: BTreeSet<&Name> = by_address.chain(server.only_as_master_of.as_ref()).collect();
        for router in routers {
            let checks = server.destinations.iter().filter_map(|destination| destination.check());
            found.entry(router.clone()).or_default().extend(checks);
        }
    }
    found
}
