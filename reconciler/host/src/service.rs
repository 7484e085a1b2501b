//! Consequences of the verdicts of a virtual server's destinations as a whole: its quorum, its sorry
//! server, the programs that are told. Values only; time is an argument. Verdicts are not decided here.
//!
//! Only virtual servers that ask for any of it have a state here: a plan may have a hundred thousand
//! destinations.

mod damping;
pub(crate) mod state;
pub(crate) mod told;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{DestinationKey, Position, ServiceKey};
use evenkeel_schemas::plan::{Destination, Plan, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use crate::hooks::Run;
pub(crate) use state::{Look, News, ServerState};
use told::Told;

/// The virtual servers of a host that have more than verdicts.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// By the number of the virtual server in the plan in force.
    states: BTreeMap<usize, ServerState>,
    /// Virtual servers whose sorry server was in the table when an earlier daemon ended: nothing is known of
    /// their destinations.
    lost: BTreeSet<ServiceKey>,
    /// Destinations that had been at weight 0 for their time when an earlier daemon ended, and were out.
    out: BTreeSet<(ServiceKey, DestinationKey)>,
    told: Told,
    /// Time at which a weight grows next, or something else is due.
    due: Option<MonoTime>,
}

/// Answers for each destination of the plan.
pub(crate) type LookAt<'a> = &'a dyn Fn(Position, &VirtualServer) -> Look;

impl Services {
    /// An earlier daemon had the sorry servers of these in the table, and had taken these destinations out
    /// after their time at weight 0.
    pub(crate) fn recalled(
        &mut self,
        lost: BTreeSet<ServiceKey>,
        out: BTreeSet<(ServiceKey, DestinationKey)>,
    ) {
        (self.lost, self.out) = (lost, out);
    }

    /// Time at which a weight grows next.
    pub(crate) const fn due(&self) -> Option<MonoTime> {
        self.due
    }

    /// The virtual servers in which weights grow.
    pub(crate) fn rising(&self, plan: &Plan) -> Vec<usize> {
        let rises = |(number, state): (&usize, &ServerState)| {
            plan.virtual_servers.get(*number).and_then(|server| state.due(server)).map(|_| *number)
        };
        self.states.iter().filter_map(rises).collect()
    }

    /// The virtual servers whose routers are to leave the election.
    pub(crate) fn withdrawn(&self, plan: &Plan) -> Vec<usize> {
        let withdrawn = |(number, state): (&usize, &ServerState)| {
            plan.virtual_servers.get(*number).filter(|server| state.withdraws(server)).map(|_| *number)
        };
        self.states.iter().filter_map(withdrawn).collect()
    }

    /// Takes a plan. A virtual server that stays keeps its state, and what changes by the plan is news of the
    /// next look; one that comes begins with what is known, and nobody is told of that.
    pub(crate) fn configure(&mut self, plan: &Plan, before: Option<&Plan>, look: LookAt<'_>, now: MonoTime) {
        let mut kept: BTreeMap<ServiceKey, (usize, ServerState)> = BTreeMap::new();
        for (number, state) in std::mem::take(&mut self.states) {
            let key = before.and_then(|plan| ServiceKey::of(plan.virtual_servers.get(number)?));
            kept.extend(key.map(|key| (key, (number, state))));
        }
        let (lost, out) = (std::mem::take(&mut self.lost), std::mem::take(&mut self.out));
        for (number, server) in plan.virtual_servers.iter().enumerate() {
            let Some(key) = ServiceKey::of(server).filter(|_| has_state(server)) else { continue };
            let look = |destination| look(Position { server: number, destination }, server);
            let before = before.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
            let state = match kept.remove(&key).and_then(|(at, state)| Some((before.get(at)?, state))) {
                Some((before, state)) => state.moved(before, server),
                None => {
                    let mut state = ServerState::new(server, lost.contains(&key), &look, now);
                    let was_out = |one: &Destination| out.contains(&(key, DestinationKey::of(one)));
                    let numbers = server.destinations.iter().zip(0..).filter(|(one, _)| was_out(one));
                    numbers.for_each(|(_, number)| state.was_out(number));
                    state
                }
            };
            self.states.insert(number, state);
        }
        self.told.configure(plan, &self.states);
    }

    /// Looks at virtual servers again. Returns what changed, in their order.
    pub(crate) fn judge(
        &mut self,
        plan: &Plan,
        servers: impl Iterator<Item = usize>,
        look: LookAt<'_>,
        now: MonoTime,
    ) -> Vec<(usize, News)> {
        let mut news = Vec::new();
        for number in servers {
            let known = (plan.virtual_servers.get(number), self.states.get_mut(&number));
            let (Some(server), Some(state)) = known else { continue };
            let look = |destination| look(Position { server: number, destination }, server);
            news.extend(state.judge(server, &look, now).into_iter().map(|one| (number, one)));
        }
        let due = |(number, state): (&usize, &ServerState)| state.due(plan.virtual_servers.get(*number)?);
        self.due = self.states.iter().filter_map(due).min();
        news
    }

    /// Programs to run for these news. `why` is the reason of a destination's verdict.
    pub(crate) fn changes(
        &mut self,
        plan: &Plan,
        news: &[(usize, News)],
        why: &dyn Fn(Position) -> String,
    ) -> Vec<Run> {
        self.told.changes(plan, &self.states, news, why)
    }

    /// The services that have programs.
    pub(crate) fn with_hooks(&self) -> BTreeSet<Name> {
        self.told.services()
    }

    /// The virtual servers that have a state.
    pub(crate) fn all(&self) -> Vec<usize> {
        self.states.keys().copied().collect()
    }

    /// State of a virtual server; none where it has no more than verdicts.
    pub(crate) fn get(&self, server: usize) -> Option<&ServerState> {
        self.states.get(&server)
    }

    /// Whether the sorry server of a virtual server takes its clients.
    pub(crate) fn sorry(&self, server: usize) -> bool {
        // Convergence knows whether there is one.
        self.states.get(&server).is_some_and(|state| !state.is_up())
    }
}

/// Whether more follows from the verdicts of a virtual server than that each destination is in the table or
/// not.
fn has_state(server: &VirtualServer) -> bool {
    server.quorum.is_some()
        || server.sorry_server.is_some()
        || server.hooks.is_some()
        || server.floor.is_some()
        || server.slow_start.is_some()
        || server.damping.is_some()
        || server.quiesce_for.is_some()
}

/// The destination of a virtual server.
pub(crate) fn key(plan: &Plan, at: Position) -> Option<DestinationKey> {
    plan.virtual_servers.get(at.server)?.destinations.get(at.destination).map(DestinationKey::of)
}
