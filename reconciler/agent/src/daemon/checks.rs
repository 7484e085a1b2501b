//! Checks at work: probes are started and judged, verdicts passed on; what is known of the ways to targets; and the
//! routers that wait for their checks before they take over. What all of it means is the health crate's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_health::way::{Turns, judge};
use evenkeel_health::{Change, Found, Gates, Outcome, Silences, Verdict, Ways};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Check, Plan};
use evenkeel_schemas::scalars::{Ip, Name};
use evenkeel_schemas::time::MonoTime;
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

use super::{Daemon, VERDICT_PAUSE};
use crate::election::Command;
use crate::health::lookout::{Lookout, News};
use crate::health::probe;
use evenkeel_host::subjects;
use evenkeel_host::verdicts;
use evenkeel_host::verdicts::target;

/// Probes under way at a time.
const MAX_PROBES: usize = 1024;

/// A probe that has ended.
pub(super) struct Probed {
    check: Check,
    began: MonoTime,
    found: Found,
}

/// What the daemon keeps for its checks beside their board.
pub(super) struct Checks {
    outcomes: mpsc::Sender<Probed>,
    places: Arc<Semaphore>,
    lookout: Lookout,
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
    pub(super) fn new(outcomes: mpsc::Sender<Probed>, lookout: Lookout) -> Self {
        Self {
            outcomes,
            places: Arc::new(Semaphore::new(MAX_PROBES)),
            lookout,
            ways: Ways::new(),
            gates: Gates::new(),
            silences: Silences::new(),
            silences_at: None,
            waiting: BTreeSet::new(),
            held_back: BTreeSet::new(),
        }
    }

    /// A handle to the thread that looks at ways and addresses.
    pub(super) fn lookout(&self) -> Lookout {
        self.lookout.clone()
    }

    /// When [`Daemon::checks_due`] has something to do.
    pub(super) fn due(&self) -> Option<MonoTime> {
        [self.gates.due(), self.silences_at].into_iter().flatten().min()
    }
}

impl Daemon {
    /// Takes the checks of a plan; `known` are the verdicts until now.
    pub(super) fn configure_checks(&mut self, plan: &Plan, known: &verdicts::Verdicts) {
        let now = clock::now();
        let initial = verdicts::by_check(plan, known);
        let checks: BTreeSet<Check> = verdicts::checks(plan).map(|(_, _, check)| check.clone()).collect();
        let new: BTreeSet<Check> =
            checks.iter().filter(|check| self.board.verdict(check).is_none()).cloned().collect();
        let targets: BTreeSet<IpAddr> = checks.iter().map(|check| target(check).ip()).collect();
        let initial = |check: &Check| initial.get(check).copied().unwrap_or(Verdict::Up);
        self.board.configure(checks, initial, now);
        subjects::mark(plan, &mut self.board);
        self.checks.ways.watch(targets.iter().copied());
        self.checks.lookout.watch(targets.into_iter().collect());
        // A way that is known to be gone is so for a new check as well.
        let lost: Turns = self
            .checks
            .ways
            .targets()
            .filter_map(|target| Some((target, Some(self.checks.ways.ailment(target)?.clone()))))
            .collect();
        self.board.ways_turned(&lost, now);
        self.checks.gates.keep(&plan.routers.iter().map(|router| router.name.clone()).collect());
        let board = &self.board;
        self.checks.gates.retain(|check| board.verdict(check).is_some());
        self.close_gates(plan, &new, now);
    }

    /// Routers whose services have one of these checks wait for all of theirs that have not spoken.
    fn close_gates(&mut self, plan: &Plan, turned: &BTreeSet<Check>, now: MonoTime) {
        for (router, checks) in checks_of_routers(plan) {
            if !checks.iter().any(|check| turned.contains(*check)) {
                continue;
            }
            let left = checks.into_iter().filter(|check| !self.board.is_settled(check)).cloned().collect();
            let able = self.is_able(plan, &router);
            self.checks.gates.close(&router, left, able, now);
        }
        self.tell_waiting();
    }

    /// Whether nothing ails the interfaces of a router: one that is out waits for nothing, and its time does not run.
    fn is_able(&self, plan: &Plan, name: &Name) -> bool {
        let of_name = plan.routers.iter().filter(|router| router.name == *name);
        let mut interfaces = of_name.map(|router| router.interface.as_str());
        interfaces.all(|interface| self.checks.ways.ailment_of(interface).is_none())
    }

    /// Tells the election who waits, when that changed.
    fn tell_waiting(&mut self) {
        let waiting = self.checks.gates.waiting();
        if waiting != self.checks.waiting {
            self.checks.waiting.clone_from(&waiting);
            self.election.send(Command::Waiting(waiting));
        }
    }

    /// A router leaves another Master alone because its checks have not spoken.
    pub(super) fn held_back(&mut self, router: &Name) {
        if self.checks.waiting.contains(router) {
            self.checks.held_back.insert(router.clone());
        }
    }

    /// How many checks a router waits for.
    pub(crate) fn waits_for(&self, router: &Name) -> usize {
        self.checks.gates.left(router)
    }

    pub(super) fn start_probes(&mut self) {
        let now = clock::now();
        let (probes, changes) = self.board.start(now);
        for check in probes {
            let ip = target(&check).ip();
            // Without a way to it a packet would wait for the time-out, and say nothing.
            if let Some(ailment) = self.checks.ways.obstacle(ip) {
                self.conclude(&check, Outcome::Inconclusive(ailment), now);
                continue;
            }
            let (outcomes, places) = (self.checks.outcomes.clone(), Arc::clone(&self.checks.places));
            let lookout = self.checks.lookout.clone();
            tokio::spawn(async move {
                let Ok(_place) = places.acquire_owned().await else { return };
                let found = probe::run(&check).await;
                // Whose fault it is is judged by what is so now, of which the news may not have come.
                if let Found::Failed(_) = found {
                    lookout.look(ip).await;
                }
                outcomes.send(Probed { check, began: now, found }).await.ok();
            });
        }
        self.changed(&changes);
    }

    /// Takes what a probe found; all news of ways that came before were taken.
    pub(super) fn probed(&mut self, probed: Probed) {
        let Probed { check, began, found } = probed;
        let (ip, now) = (target(&check).ip(), clock::now());
        // Given up meanwhile: its way is back, and another one follows.
        if !self.board.is_under_way(&check, began) {
            return;
        }
        let outcome = judge(found, self.checks.ways.excuse(ip, began));
        let answered = outcome == Outcome::Success;
        self.conclude(&check, outcome, now);
        if answered {
            let turns = self.checks.ways.answered(ip, now);
            self.turned(&turns, now);
        }
    }

    fn conclude(&mut self, check: &Check, outcome: Outcome, now: MonoTime) {
        let ailment = match &outcome {
            Outcome::Inconclusive(ailment) => Some(ailment.clone()),
            Outcome::Success | Outcome::Failure(_) => None,
        };
        // A first result is news to who waits for it, and so is one that says something again, or no longer.
        let before = self.board.report(check);
        let change = self.board.finish(check, outcome, now);
        let unjudged = before.as_ref().is_some_and(|report| report.unjudged.is_some()) || ailment.is_some();
        if unjudged || before.is_some_and(|report| report.last.is_none()) {
            self.services_changed();
        }
        // What ails us may change while it goes on: it is one silence.
        if let Some(ailment) = ailment.and_then(|_| self.board.silence(check).cloned()) {
            self.note_silence(&ailment, 1, now);
        }
        self.changed(change.as_slice());
        if self.board.is_settled(check) && self.checks.gates.spoken(check) {
            self.gates_opened();
        }
    }

    /// Routers may have stopped waiting because their checks have spoken.
    fn gates_opened(&mut self) {
        self.tell_waiting();
        let waiting = &self.checks.waiting;
        for router in self.checks.held_back.extract_if(.., |router| !waiting.contains(router)) {
            info!("({router}) its checks have spoken: it may take over");
        }
    }

    fn changed(&mut self, changes: &[Change]) {
        let plan = self.facts.plan();
        let plan = plan.as_ref().map(|loaded| &loaded.plan);
        for change in changes {
            let whom = subjects::of_check(plan, &self.board, &change.check);
            match change.verdict {
                Verdict::Up => info!("check of {whom} succeeded: destination returns"),
                Verdict::Down => warn!("check of {whom} failed: {}; destination is taken out", change.reason),
            }
        }
        if !changes.is_empty() && self.verdicts_at.is_none() {
            self.verdicts_at = Some(clock::now() + VERDICT_PAUSE);
        }
        if !changes.is_empty() {
            self.services_changed();
        }
    }

    /// Takes news of the ways to targets.
    pub(super) fn way_news(&mut self, news: News) {
        let now = clock::now();
        let ways = &mut self.checks.ways;
        let turns = match news {
            News::Links(links) => ways.links(links, now),
            News::Link(index, link) => ways.link(index, link, now),
            News::Routes(routes) => ways.routes(routes, now),
        };
        self.turned(&turns, now);
        if let Some(loaded) = self.facts.plan() {
            let able: BTreeSet<Name> = self
                .checks
                .waiting
                .iter()
                .filter(|router| self.is_able(&loaded.plan, router))
                .cloned()
                .collect();
            self.checks.gates.enable(|router| able.contains(router), now);
        }
    }

    fn turned(&mut self, turns: &Turns, now: MonoTime) {
        if turns.is_empty() {
            return;
        }
        let checks = self.board.ways_turned(turns, now);
        if checks.is_empty() {
            return;
        }
        let silences: BTreeSet<_> =
            checks.iter().filter_map(|check| self.board.silence(check)).cloned().collect();
        for ailment in silences {
            self.note_silence(&ailment, 0, now);
        }
        if let Some(loaded) = self.facts.plan() {
            self.close_gates(&loaded.plan, &checks, now);
        }
        self.services_changed();
    }

    fn note_silence(&mut self, ailment: &evenkeel_health::Ailment, probes: u64, now: MonoTime) {
        if let Some(news) = self.checks.silences.note(ailment, probes, now) {
            let checks = self.board.unjudged(ailment);
            warn!(checks, "{news}");
        }
        let look = self.checks.silences.look_in();
        self.checks.silences_at = self.checks.silences_at.or_else(|| look.map(|pause| now + pause));
    }

    /// What is due: gates whose time is over, silences that are.
    pub(super) fn checks_due(&mut self) {
        let now = clock::now();
        if self.checks.silences_at.is_some_and(|at| at <= now) {
            let board = &self.board;
            for news in self.checks.silences.look(|ailment| board.unjudged(ailment) > 0, now) {
                info!("{news}");
            }
            self.checks.silences_at = self.checks.silences.look_in().map(|pause| now + pause);
        }
        let expired = self.checks.gates.expire(now);
        if expired.is_empty() {
            return;
        }
        let plan = self.facts.plan();
        let plan = plan.as_ref().map(|loaded| &loaded.plan);
        for one in expired {
            if self.checks.held_back.remove(&one.router) {
                let left = subjects::of_checks(plan, &self.board, one.left.iter());
                warn!("({}) takes over without having heard of its checks: {left}", one.router);
            }
        }
        self.tell_waiting();
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

/// How long from now to a point in time.
pub(super) fn in_from_now(at: MonoTime) -> Duration {
    clock::now().until(at)
}
