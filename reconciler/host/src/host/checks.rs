//! Checks as the head knows them, and the consequences: destinations serve or do not, and routers wait for
//! their checks before they take over. Probes and verdicts belong to the health loop; this file gets changes.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{DestinationKey, Position, ServiceKey, View, row};
use evenkeel_health::{
    CheckId, CheckNews, CheckState, Fault, FaultLabel, Gates, Heard, Reach, Says, Verdict,
};
use evenkeel_schemas::plan::{Destination, Plan, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use super::own_fault::OwnFault;
use super::{Host, VERDICT_PAUSE, of};
use crate::beat::Beat;
use crate::event::{Effect, HealthEvent};
use crate::io::Output;
use crate::moment::Moment;
use crate::numbers::Numbers;
use crate::pass::Adjusted;
use crate::router_checks::checks_of_routers;
use crate::{subjects, verdicts};

/// The checks of the plan in force, and the routers that wait for them.
#[derive(Default)]
pub(super) struct Checks {
    /// Check of each destination.
    numbers: Numbers,
    known: BTreeMap<CheckId, CheckState>,
    /// Weights that destinations had asked an earlier daemon for: they stand until the checks have spoken.
    before: verdicts::Weights,
    /// Virtual servers with a changed verdict that convergence does not have yet.
    turned: BTreeSet<usize>,
    /// Verdicts that have changed and are not in the log yet, with the name of the check, and the fault of
    /// one that fails.
    untold: Vec<(CheckId, String, Option<Fault>)>,
    /// Whether the health loop lives.
    pub(super) beat: Beat,
    /// Interfaces with an ailment.
    pub(super) ailing: BTreeSet<String>,
    gates: Gates,
    pub(super) own_fault: OwnFault,
    /// Routers that wait, as the election was last sent them.
    waiting: BTreeSet<Name>,
    /// Waiting routers that were reported to leave another Master alone.
    held_back: BTreeSet<Name>,
}

impl Checks {
    /// Time when [`Host::checks_due`] has something to do.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.gates.due()
    }

    /// A router waits for connections no longer. Whether it was reported to leave another Master alone; it
    /// is reported no longer, unless it waits for checks as well.
    pub(super) fn release(&mut self, router: &Name) -> bool {
        let held = self.held_back.contains(router);
        if self.gates.left(router) == 0 {
            self.held_back.remove(router);
        }
        held
    }

    /// Number of checks that a router waits for.
    pub(super) fn waits_for(&self, router: &Name) -> usize {
        self.gates.left(router)
    }

    /// The checks of a destination of the plan in force, in its order.
    pub(super) fn ids(&self, at: Position) -> impl Iterator<Item = CheckId> + '_ {
        self.numbers.ids(at)
    }

    /// The check of a destination of the plan in force that tells most: one that fails, or else one that has
    /// not spoken, or else the first. None without a check.
    pub(super) fn id(&self, at: Position) -> Option<CheckId> {
        self.numbers.ids(at).min_by_key(|id| self.known.get(id).map(rank))
    }

    /// Destinations had these weights in the table when an earlier daemon ended.
    pub(super) fn recalled(&mut self, weights: verdicts::Weights) {
        self.before = weights;
    }

    /// Weight that a destination had asked an earlier daemon for.
    pub(super) fn weight_before(&self, server: &VirtualServer, destination: &Destination) -> Option<u16> {
        if self.before.is_empty() {
            return None;
        }
        self.before.get(&(ServiceKey::of(server)?, DestinationKey::of(destination))).copied()
    }

    /// Words of a destination, by each of its checks.
    pub(super) fn says(&self, at: Position) -> impl Iterator<Item = &Says> {
        self.numbers.ids(at).filter_map(|id| Some(&self.known.get(&id)?.says))
    }

    /// The virtual servers whose destinations a check judges.
    pub(super) fn servers(&self, id: CheckId) -> BTreeSet<usize> {
        self.numbers.users(id).map(|at| at.server).collect()
    }

    /// Virtual servers that convergence is sent anew.
    pub(super) fn turn(&mut self, servers: impl IntoIterator<Item = usize>) {
        self.turned.extend(servers);
    }

    /// Whether all checks of a destination have given a verdict of their own.
    pub(super) fn settled(&self, at: Position) -> bool {
        self.numbers.ids(at).all(|id| self.is_settled(id))
    }

    /// State of the check of a destination that [`Self::id`] is; none without a check.
    pub(super) fn state(&self, at: Position) -> Option<&CheckState> {
        self.known.get(&self.id(at)?)
    }

    /// Verdict of a destination of the plan in force: down when one of its checks fails, or when it is cut
    /// off while others answer; none without a check.
    pub(super) fn verdict(&self, at: Position) -> Option<Verdict> {
        let state = self.state(at)?;
        Some(if self.own_fault.leaves_out(at) { Verdict::Down } else { state.verdict })
    }

    /// Numbers of the checks of the plan in force.
    pub(super) const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Reachability of the target of a destination's check.
    pub(super) fn reach(&self, at: Position) -> Option<Reach> {
        self.state(at).map(|state| state.reach)
    }

    /// Verdicts of the plan in force.
    pub(super) fn verdicts(&self, plan: &Plan) -> verdicts::Verdicts {
        verdicts::in_force(plan, &self.numbers, |id| self.known.get(&id).map(|state| state.verdict))
    }

    /// Verdicts of another plan, for the checks that it has in common with the plan in force.
    pub(super) fn verdicts_under(&self, other: &Plan, in_force: Option<&Plan>) -> verdicts::Verdicts {
        let numbers = Numbers::of(other, &self.numbers, in_force);
        verdicts::in_force(other, &numbers, |id| self.known.get(&id).map(|state| state.verdict))
    }

    /// The whole wanted state is sent with all verdicts: no changed verdict is left to pass on.
    pub(super) fn turned_are_wanted(&mut self) {
        self.turned.clear();
    }

    /// Whether a check has a verdict of its own. True for a check that is gone, so that no router waits for
    /// it.
    fn is_settled(&self, id: CheckId) -> bool {
        self.known.get(&id).is_none_or(|state| state.settled)
    }
}

impl Host {
    /// Applies the checks of a plan that comes; `known` has the verdicts so far.
    pub(super) fn configure_checks(&mut self, plan: &Plan, known: &verdicts::Verdicts, now: MonoTime) {
        let before = self.plan();
        let numbers = Numbers::of(plan, &self.checks.numbers, of(before.as_ref()));
        let initial = verdicts::by_check(plan, &numbers, known);
        let Checks { known: states, gates, .. } = &mut self.checks;
        let mut states_before = std::mem::take(states);
        let (mut new, mut checks) = (BTreeSet::new(), Vec::new());
        for (id, check) in numbers.checks(plan) {
            let state = states_before.remove(&id).unwrap_or_else(|| {
                new.insert(id);
                CheckState::new(initial.get(&id).copied().unwrap_or(Verdict::Up))
            });
            checks.push((id, check.clone(), state.verdict));
            // A result under the plan before says nothing about this plan.
            states.insert(id, CheckState { heard: None, ..state });
        }
        gates.keep(&plan.routers.iter().map(|router| router.name.clone()).collect());
        gates.retain(|id| states.contains_key(&id));
        (self.checks.numbers, self.checks.turned) = (numbers, BTreeSet::new());
        self.push(Output::Checks(checks));
        self.checks.beat.expect(now);
        self.forget_left_out();
        self.routers_give_way(plan);
        self.close_gates(plan, &new, now);
    }

    /// Handles changes of checks. None is a sign of life.
    pub(super) fn handle_check_news(&mut self, news: Vec<CheckNews>, at: &Moment) {
        if let Some(silent) = self.checks.beat.heard(at.now) {
            self.log(HealthEvent::LoopSpeaks { silent });
        }
        for one in news {
            match one {
                CheckNews::State(id, state) => self.check_changed(id, state, at),
                CheckNews::Turned(checks) => {
                    if let Some(loaded) = self.plan() {
                        self.close_gates(&loaded.plan, &checks, at.now);
                    }
                }
                CheckNews::Ailing(interfaces) => self.interfaces_ail(interfaces, at),
                CheckNews::OwnFault(links) => self.links_are_at_fault(links, at),
                CheckNews::Silent(news, checks) => self.log(HealthEvent::Silence { news, checks }),
                CheckNews::SilenceOver(news) => self.log(HealthEvent::SilenceOver(news)),
            }
        }
    }

    /// Looks whether the health loop lives. While it does not, verdicts stay as they are.
    pub(super) fn look_at_the_health_loop(&mut self, now: MonoTime) {
        if let Some(silent) = self.checks.beat.look(now) {
            self.log(HealthEvent::LoopSilent { silent });
        }
    }

    fn check_changed(&mut self, id: CheckId, state: CheckState, at: &Moment) {
        // The check may be one of the plan before.
        let Some(known) = self.checks.known.get_mut(&id) else { return };
        let before = std::mem::replace(known, state.clone());
        if before.verdict != state.verdict {
            let plan = self.plan();
            let whom = subjects::of_check(of(plan.as_ref()), &self.checks.numbers, id);
            let fault = state.fault.clone().unwrap_or_else(|| Fault::new(FaultLabel::Lost, ""));
            match state.verdict {
                // The verdict is given back: the target failed by a fault of this host.
                Verdict::Up if state.heard != Some(Heard::Success) => {
                    self.log(HealthEvent::CheckHeld { whom })
                }
                Verdict::Up => self.checks.untold.push((id, whom, None)),
                Verdict::Down => self.checks.untold.push((id, whom, Some(fault))),
            }
            let servers = self.checks.numbers.users(id).map(|at| at.server);
            self.checks.turned.extend(servers);
            self.wants.verdicts_at.get_or_insert(at.now + VERDICT_PAUSE);
        } else if !before.settled && state.settled {
            self.check_has_spoken(id, at);
        }
        if (before.says.share, before.says.drain) != (state.says.share, state.says.drain) {
            let servers = self.checks.servers(id);
            self.checks.turn(servers);
            self.wants.verdicts_at.get_or_insert(at.now + VERDICT_PAUSE);
        }
        self.services_changed(at);
        if state.settled && self.checks.gates.spoken(id) {
            self.gates_opened();
        }
    }

    /// Sends convergence the virtual servers with changed verdicts. Every other change was sent with the
    /// whole wanted state.
    pub(super) fn adjust(&mut self, at: &Moment) {
        self.wants.verdicts_at = None;
        let turned = std::mem::take(&mut self.checks.turned);
        if let Some(loaded) = self.plan() {
            self.leave_out(&loaded.plan, turned.iter().copied());
        }
        self.judge(&turned.iter().copied().collect::<Vec<_>>(), at);
        let Some(loaded) = self.plan().filter(|_| !turned.is_empty()) else { return };
        let standing = |at: Position, server: &VirtualServer, destination: &Destination| {
            self.standing(at, server, destination)
        };
        let sorry = |server| self.services.sorry(server);
        let view = View { standing: &standing, sorry: &sorry, masters: &self.facts.masters };
        let mut room = Vec::new();
        let servers = &loaded.plan.virtual_servers;
        let rows = turned.into_iter().filter_map(|index| row(index, servers.get(index)?, view, &mut room));
        let rows = rows.collect();
        self.wants.serial += 1;
        let serial = self.wants.serial;
        self.push(Output::Adjust(Adjusted { serial, rows }));
    }

    /// Logs the verdicts that have changed, with what they do to destinations.
    pub(super) fn tell_verdicts(&mut self, plan: &Plan) {
        for (id, whom, fault) in std::mem::take(&mut self.checks.untold) {
            let mut effects: BTreeMap<Effect, usize> = BTreeMap::new();
            for at in self.checks.numbers.users(id) {
                let Some(server) = plan.virtual_servers.get(at.server) else { continue };
                *effects.entry(self.effect(at, server, fault.is_none())).or_default() += 1;
            }
            self.log(match fault {
                None => HealthEvent::CheckUp { whom, effects },
                Some(fault) => HealthEvent::CheckDown { whom, fault, effects },
            });
        }
    }

    /// Makes the routers whose services have one of these checks wait for all of their checks without a
    /// verdict.
    fn close_gates(&mut self, plan: &Plan, turned: &BTreeSet<CheckId>, now: MonoTime) {
        if !turned.is_empty() {
            for (router, checks) in checks_of_routers(plan, &self.checks.numbers) {
                if !checks.keys().any(|id| turned.contains(id)) {
                    continue;
                }
                let left = checks.into_iter().filter(|(id, _)| !self.checks.is_settled(*id)).collect();
                let able = self.is_able(plan, &router);
                self.checks.gates.close(&router, left, able, now);
            }
        }
        self.send_waiting();
    }

    /// Whether the interfaces of a router have no ailment. A router that is out anyway waits for nothing, and
    /// its time does not run.
    fn is_able(&self, plan: &Plan, name: &Name) -> bool {
        let mut of_name = plan.routers.iter().filter(|router| router.name == *name);
        of_name.all(|router| !self.checks.ailing.contains(router.interface.as_str()))
    }

    fn interfaces_ail(&mut self, interfaces: BTreeSet<String>, at: &Moment) {
        let before = std::mem::replace(&mut self.checks.ailing, interfaces);
        self.missed_connections(&before, at);
        let Some(loaded) = self.plan() else { return };
        let waiting = self.checks.waiting.iter();
        let able: BTreeSet<Name> =
            waiting.filter(|router| self.is_able(&loaded.plan, router)).cloned().collect();
        self.checks.gates.enable(|router| able.contains(router), at.now);
    }

    /// Sends the election the routers that wait, when these have changed.
    pub(super) fn send_waiting(&mut self) {
        let mut waiting = self.checks.gates.waiting();
        waiting.extend(self.elected.filling.routers().cloned());
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

    /// Releases routers whose checks have all given a verdict.
    fn gates_opened(&mut self) {
        self.send_waiting();
        let Checks { waiting, held_back, .. } = &mut self.checks;
        let spoke: Vec<Name> = held_back.extract_if(.., |router| !waiting.contains(router)).collect();
        for router in spoke {
            self.log(HealthEvent::ChecksSpoke { router });
        }
    }

    /// Opens the gates of routers that have waited their longest time.
    pub(super) fn checks_due(&mut self, at: &Moment) {
        let expired = self.checks.gates.expire(at.now);
        if expired.is_empty() {
            return;
        }
        let plan = self.plan();
        for one in expired {
            if self.checks.held_back.remove(&one.router) {
                let left = subjects::of_checks(of(plan.as_ref()), &self.checks.numbers, one.left.iter());
                self.log(HealthEvent::ChecksUnheard { router: one.router, left });
            }
        }
        self.send_waiting();
    }
}

/// Which of the checks of a destination tells most of it: the least.
const fn rank(state: &CheckState) -> u8 {
    match (state.verdict, state.heard, state.reach) {
        (Verdict::Down, ..) => 0,
        (Verdict::Up, Some(Heard::Failure), _) => 1,
        (Verdict::Up, _, Reach::CutOff) => 2,
        (Verdict::Up, None | Some(Heard::Nothing), _) | (Verdict::Up, _, Reach::Unknown) => 3,
        (Verdict::Up, Some(Heard::Success | Heard::Silence), Reach::Judged(_)) => 4,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_health::{Fault, FaultLabel};

    use super::*;

    #[test]
    fn of_several_checks_one_that_fails_tells_most_and_one_that_was_not_heard_comes_before_a_success() {
        let up =
            |heard| CheckState { heard, reach: Reach::Judged(Verdict::Up), ..CheckState::new(Verdict::Up) };
        let good = up(Some(Heard::Success));
        let unheard = up(None);
        let tried_again = CheckState {
            fault: Some(Fault::new(FaultLabel::Refused, "connection refused")),
            ..up(Some(Heard::Failure))
        };
        let cut_off = CheckState { reach: Reach::CutOff, ..good.clone() };
        let down = CheckState::new(Verdict::Down);
        let order = [down, tried_again, cut_off, unheard, good];
        assert!(order.is_sorted_by(|a, b| rank(a) < rank(b)), "{order:?}");
    }
}
