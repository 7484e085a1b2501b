//! The status document: the state of a host in the contract's words.

use std::collections::BTreeMap;

use evenkeel_converge::{
    Connections, DestinationKey, Draining, Position, ServiceKey, Standing, SyncDaemon, SyncRole, sync_daemons,
};
use evenkeel_health::{CheckId, Report, Reports, Verdict};
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::status::{
    self, ConnectionCounts, ConvergenceStatus, DestinationStatus, DrainState, DrainStatus, FloorStatus,
    LeavingStatus, LogStatus, PlanStatus, QuorumStatus, RouterStatus, SourceStatus, StateDirectoryStatus,
    Status, StrangerStatus, VirtualServerStatus,
};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Family, Stranger};

use super::Host;
use crate::election::{ElectionSnapshot, RouterSnapshot};
use crate::facts::Facts;
use crate::moment::Moment;
use crate::service::state::threshold;

/// Facts that only the process knows of itself.
#[derive(Debug, Clone)]
pub struct Process {
    /// Version of the daemon.
    pub version: &'static str,
    /// Process number.
    pub pid: u32,
    /// Place that its plan is read from.
    pub plan: String,
    /// Source of plans.
    pub source: SourceStatus,
    /// Whether files are read whoever may write to them.
    pub insecure_files: bool,
    /// State directory, and which of its files wait for the disk.
    pub state_directory: StateDirectoryStatus,
    /// Counters of the log.
    pub log: LogStatus,
}

/// Questions to the kernel that complete a status document.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// Key of each virtual server, in the order of the document.
    pub services: Vec<Option<ServiceKey>>,
    /// Wanted synchronisation of connections, when the plan has any.
    pub sync: Option<BTreeMap<SyncRole, SyncDaemon>>,
}

impl Host {
    /// The status document. Facts that only the kernel knows are absent ([`Self::questions`]).
    #[must_use]
    pub fn status(
        &self,
        election: ElectionSnapshot,
        checks: &Reports,
        process: Process,
        at: &Moment,
    ) -> Status {
        let facts = &self.facts;
        let view = StatusView { host: self, facts, checks: &checks.checks, at };
        let probation = self.probation_status(&election, at);
        let plan = facts.in_force.as_ref().map(|in_force| &in_force.loaded.plan);
        let servers = plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
        Status {
            version: status::VERSION,
            daemon: process.version.to_owned(),
            pid: process.pid,
            started: at.wall(facts.started),
            host: Some(self.name.clone()),
            insecure_files: process.insecure_files,
            plan: PlanStatus { probation, maintenance: self.maintenance_status(), ..view.plan(process.plan) },
            source: Some(process.source),
            routers: election.routers.into_iter().map(|one| view.router(one)).collect(),
            trackers: self.trackers.status(at),
            orders: self.orders.status(plan),
            dropped_hook_changes: self.hooks.dropped(),
            election: election.thread,
            virtual_servers: servers
                .iter()
                .enumerate()
                .map(|(n, server)| view.virtual_server(n, server))
                .collect(),
            drain_orders: self.drain_orders.status(plan),
            connection_sync: None,
            health: view.health(checks.load),
            convergence: view.convergence(),
            state_directory: Some(process.state_directory),
            guarded: election.guarded,
            log: process.log,
            foreign: facts.foreign.clone(),
            in_the_way: facts.in_the_way.clone(),
        }
    }

    /// Questions to the kernel that complete [`Self::status`].
    #[must_use]
    pub fn questions(&self) -> Questions {
        let Some(loaded) = self.plan() else { return Questions::default() };
        let plan = &loaded.plan;
        Questions {
            services: plan.virtual_servers.iter().map(ServiceKey::of).collect(),
            sync: plan.connection_sync.as_ref().map(|sync| sync_daemons(sync, &self.facts.masters)),
        }
    }
}

/// A host as the document shows it at one moment.
pub(super) struct StatusView<'a> {
    pub(super) host: &'a Host,
    facts: &'a Facts,
    pub(super) checks: &'a BTreeMap<CheckId, Report>,
    pub(super) at: &'a Moment,
}

impl StatusView<'_> {
    fn plan(&self, path: String) -> PlanStatus {
        let in_force = self.facts.in_force.as_ref();
        PlanStatus {
            path,
            generation: in_force.map(|in_force| in_force.loaded.generation.to_string()),
            since: in_force.map(|in_force| in_force.since.clone()),
            from_last_good: in_force.is_some_and(|in_force| in_force.from_last_good),
            rejected: self.facts.rejected.clone(),
            probation: None,
            maintenance: None,
        }
    }

    fn router(&self, snapshot: RouterSnapshot) -> RouterStatus {
        let wall = |then| self.at.wall(then);
        let fills = self.host.elected.filling.has(&snapshot.name);
        let waits_for = snapshot.waits.then(|| match (self.host.checks.waits_for(&snapshot.name), fills) {
            (0, true) => "the connections of the Master".to_owned(),
            (0, false) => "its sync group".to_owned(),
            (left, true) => format!("{left} of its checks, and the connections of the Master"),
            (left, false) => format!("{left} of its checks"),
        });
        RouterStatus {
            waits_for,
            name: snapshot.name,
            interface: snapshot.key.interface.to_string(),
            version: snapshot.version,
            vrid: snapshot.key.vrid.get(),
            family: match snapshot.key.family {
                Family::V4 => 4,
                Family::V6 => 6,
            },
            priority: snapshot.priority,
            base_priority: snapshot.base_priority,
            sync_group: snapshot.group,
            order: snapshot.order,
            state: snapshot.state,
            reason: snapshot.reason,
            since: snapshot.since.map(wall),
            master: snapshot.master,
            other_heard: snapshot.other_heard.map(wall),
            vips: snapshot.vips,
            counters: snapshot.counters,
            strangers: snapshot.strangers.into_iter().map(|one| self.stranger(one)).collect(),
        }
    }

    fn stranger(&self, (stranger, mac): (Stranger, Option<String>)) -> StrangerStatus {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        StrangerStatus {
            address: stranger.address.to_string(),
            mac,
            adverts: stranger.adverts,
            vips: count(stranger.vips),
            our_vips: count(stranger.ours),
            counts: stranger.counts,
            first: self.at.wall(stranger.first),
            last: self.at.wall(stranger.last),
        }
    }

    fn virtual_server(&self, index: usize, server: &VirtualServer) -> VirtualServerStatus {
        let facts = self.facts;
        let key = ServiceKey::of(server);
        // Drains are in the order of services, so those of one service are found without reading all.
        let first = facts.draining.partition_point(|one| Some(one.service) < key);
        let mut draining: BTreeMap<DestinationKey, &Draining> = facts
            .draining
            .iter()
            .skip(first)
            .take_while(|one| Some(one.service) == key)
            .map(|one| (one.destination, one))
            .collect();
        let of = |(number, destination): (usize, &Destination)| {
            let drain = self.host.drain_orders.order_for(server, destination).map(|order| {
                // Until a pass was made with the last order, a destination that does not drain is about to.
                let seen = facts.drains_seen >= facts.drains_serial && facts.drains_seen > 0;
                let drain = self.drain(draining.remove(&DestinationKey::of(destination)), seen);
                DrainStatus { by_plan: order.by_plan, ..drain }
            });
            DestinationStatus {
                drain,
                ..self.destination(Position { server: index, destination: number }, server, destination)
            }
        };
        let destinations = server.destinations.iter().enumerate().map(of).collect();
        let leaving = draining
            .into_iter()
            .map(|(key, one)| LeavingStatus { address: key.to_string(), drain: self.drain(Some(one), true) })
            .collect();
        VirtualServerStatus {
            name: server.name.clone(),
            service: server.front().map(|front| front.to_string()).unwrap_or_default(),
            counters: None,
            quorum: self.host.services.get(index).map(|state| QuorumStatus {
                wanted: threshold(server, state.is_up()),
                have: state.have(),
                up: state.is_up(),
                since: self.at.wall(state.since()),
            }),
            floor: server.floor.as_ref().and_then(|floor| {
                let now = self.host.services.get(index)?.floor()?;
                let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
                let (wanted, have) = (count(now.wanted), count(now.have));
                Some(FloorStatus { wanted, have, below: floor.below, since: self.at.wall(now.since) })
            }),
            sorry_server: server.sorry_server.as_ref().map(|sorry| sorry.destination(&server.name).socket()),
            destinations,
            leaving,
        }
    }

    fn drain(&self, draining: Option<&Draining>, seen: bool) -> DrainStatus {
        let state = if draining.is_none() && seen { DrainState::Drained } else { DrainState::Draining };
        DrainStatus {
            state,
            since: draining.map(|one| self.at.wall(one.since)),
            deadline: draining.and_then(|one| one.deadline).map(|deadline| self.at.wall(deadline)),
            left: draining.and_then(|one| one.left).map(counts),
            by_plan: false,
        }
    }

    /// Why a destination is not in the table although its checks succeed, or leaves it later.
    fn kept(&self, at: Position, server: &VirtualServer) -> Option<String> {
        let state = self.host.services.get(at.server)?;
        if let Some(until) = state.damped_until(at.destination) {
            return Some(format!("held by damping until {}", self.at.wall(until)));
        }
        let until = state.quiesced_until(server, at.destination)?;
        (self.host.standing_by_verdict(at, server) == Standing::Quiet)
            .then(|| format!("leaves the table at {}", self.at.wall(until)))
    }

    /// Why a destination has the weight that it has in the table, and the weight.
    fn held(&self, at: Position, server: &VirtualServer, destination: &Destination) -> Option<(String, u16)> {
        let own = destination.weight.get();
        let weight = match self.host.standing_by_verdict(at, server) {
            Standing::Serving => own,
            Standing::Weighted(weight) => weight,
            Standing::Quiet | Standing::Draining(_) | Standing::Out => return None,
        };
        let state = self.host.services.get(at.server);
        if let Some(since) = state.and_then(|state| state.held(at.destination)) {
            return Some((
                format!("stays because of the floor, failed since {}", self.at.wall(since)),
                weight,
            ));
        }
        if let Some(until) = state.and_then(|state| state.rises_until(server, at.destination)) {
            return Some((format!("slow start until {}", self.at.wall(until)), weight));
        }
        (weight != own).then(|| (format!("asks for a weight of {weight}"), weight))
    }

    fn destination(
        &self,
        at: Position,
        server: &VirtualServer,
        destination: &Destination,
    ) -> DestinationStatus {
        let (held, table_weight) = self.held(at, server, destination).unzip();
        let left_out = self.host.checks.own_fault.words(at, self.host.checks.ids(at));
        let id = self.host.checks.id(at);
        let checks = self.checks_of(at, destination);
        let told = checks.iter().find(|(one, _)| Some(*one) == id).map(|(_, check)| check.clone());
        let address = DestinationKey::of(destination).to_string();
        DestinationStatus {
            host: destination.host.clone(),
            address,
            weight: destination.weight.get(),
            verdict: match (&told, &left_out) {
                (Some(_), Some(_)) => Verdict::Down,
                (Some(check), None) => check.verdict,
                (None, _) => Verdict::Up,
            },
            since: told.as_ref().map(|check| check.since.clone()),
            checked: !destination.checks().is_empty(),
            failures: told.as_ref().map_or(0, |check| check.failures),
            last_result: told.as_ref().and_then(|check| check.last_result.clone()),
            last_check_age_ms: told.as_ref().and_then(|check| check.last_check_age_ms),
            unjudged: told.and_then(|check| check.unjudged),
            checks: checks.into_iter().map(|(_, check)| check).collect(),
            connections: None,
            drain: None,
            held: left_out.or(held).or_else(|| self.kept(at, server)),
            table_weight,
        }
    }

    fn convergence(&self) -> ConvergenceStatus {
        let facts = self.facts;
        let last = facts.last.as_ref();
        ConvergenceStatus {
            converged: self.host.has_plan(),
            ready: self.host.is_ready(),
            passes: facts.passes,
            operations: facts.operations,
            last_pass_age_ms: last.map(|report| self.age_ms(report.pass.ended)),
            last_pass_us: last.map(|report| u64::try_from(report.pass.took.as_micros()).unwrap_or(u64::MAX)),
            recent_operations: facts.recent.iter().cloned().collect(),
            errors: last.map(|report| report.errors.clone()).unwrap_or_default(),
            reported_drift: last.map_or(0, |report| report.pass.reported_drift),
            drifts: facts.drifts.records(),
            drift_counts: facts.drifts.counts(),
        }
    }

    pub(super) fn age_ms(&self, then: MonoTime) -> u64 {
        u64::try_from(self.at.now.since(then).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Connections in the contract's words.
#[must_use]
pub const fn counts(left: Connections) -> ConnectionCounts {
    ConnectionCounts { active: left.active, inactive: left.inactive, persistent: left.persistent }
}
