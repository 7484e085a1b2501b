//! The status document: facts of the daemon put in the contract's words; `page` shows it to people.

mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use evenkeel_converge::{DestinationKey, Draining, ServiceKey};
use evenkeel_health::{Board, Outcome, Verdict};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::status::{
    self, ConvergenceStatus, DestinationStatus, DrainState, DrainStatus, LeavingStatus, PlanStatus,
    RouterStatus, StateDirectoryStatus, Status, StrangerStatus, Unjudged, VirtualServerStatus, WaitingFile,
};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Family, Stranger};

use crate::daemon::{Daemon, Facts};
use crate::state::disk::Waiting;
use crate::system::files::Trust;
use crate::system::logging;
use evenkeel_host::election::{ElectionSnapshot, RouterSnapshot};

pub(crate) use usage::Question;

/// A point in time as RFC 3339 text, by the wall clock of now.
pub(crate) fn wall(at: MonoTime) -> String {
    let now = clock::now();
    let when = SystemTime::now() - now.since(at) + at.since(now);
    humantime::format_rfc3339_millis(when).to_string()
}

/// The status document.
pub(crate) fn status(daemon: &Daemon, election: ElectionSnapshot) -> Status {
    let Daemon { options, facts, watching, hooks, orders, .. } = daemon;
    let probation = daemon.probation_status(&election);
    let plan = facts.in_force.as_ref().map(|in_force| &in_force.loaded.plan);
    let servers = plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
    Status {
        version: status::VERSION,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: wall(facts.started),
        host: Some(options.host.clone()),
        insecure_files: options.trust == Trust::Anybody,
        plan: PlanStatus {
            probation,
            maintenance: daemon.maintenance_status(),
            ..plan_status(&daemon.file(), facts)
        },
        routers: election.routers.into_iter().map(|one| router(one, daemon)).collect(),
        trackers: watching.status(),
        orders: orders.status(plan),
        dropped_hook_changes: hooks.dropped(),
        election: election.thread,
        virtual_servers: servers.iter().map(|server| virtual_server(server, daemon)).collect(),
        drain_orders: daemon.drain_orders.status(plan),
        connection_sync: None,
        convergence: convergence(facts, daemon.has_plan(), daemon.is_ready()),
        state_directory: Some(state_directory(daemon)),
        guarded: election.guarded,
        log: logging::status(),
        foreign: facts.foreign.clone(),
        in_the_way: facts.in_the_way.clone(),
    }
}

fn state_directory(daemon: &Daemon) -> StateDirectoryStatus {
    let waiting = daemon.disk.waiting().into_iter().map(|Waiting { file, since, reason }| WaitingFile {
        file: file.to_string(),
        since: wall(since),
        reason,
    });
    let path = daemon.options.state_dir.display().to_string();
    StateDirectoryStatus { path, waiting: waiting.collect() }
}

fn plan_status(path: &Path, facts: &Facts) -> PlanStatus {
    let in_force = facts.in_force.as_ref();
    PlanStatus {
        path: path.display().to_string(),
        generation: in_force.map(|in_force| in_force.loaded.generation.to_string()),
        since: in_force.map(|in_force| in_force.since.clone()),
        from_last_good: in_force.is_some_and(|in_force| in_force.from_last_good),
        rejected: facts.rejected.clone(),
        probation: None,
        maintenance: None,
    }
}

fn router(snapshot: RouterSnapshot, daemon: &Daemon) -> RouterStatus {
    let waits_for = snapshot.waits.then(|| match daemon.waits_for(&snapshot.name) {
        0 => "the checks of its sync group".to_owned(),
        left => format!("{left} of its checks"),
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
        strangers: snapshot.strangers.into_iter().map(stranger).collect(),
    }
}

fn stranger((stranger, mac): (Stranger, Option<String>)) -> StrangerStatus {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    StrangerStatus {
        address: stranger.address.to_string(),
        mac,
        adverts: stranger.adverts,
        vips: count(stranger.vips),
        our_vips: count(stranger.ours),
        counts: stranger.counts,
        first: wall(stranger.first),
        last: wall(stranger.last),
    }
}

fn virtual_server(server: &VirtualServer, daemon: &Daemon) -> VirtualServerStatus {
    let facts = &daemon.facts;
    let key = ServiceKey::of(server);
    // They are in the order of services.
    let first = facts.draining.partition_point(|one| Some(one.service) < key);
    let mut draining: BTreeMap<DestinationKey, &Draining> = facts
        .draining
        .iter()
        .skip(first)
        .take_while(|one| Some(one.service) == key)
        .map(|one| (one.destination, one))
        .collect();
    let of = |destination: &Destination| {
        let drain = daemon.drain_orders.told(server, destination).map(|told| {
            // Until a pass was made with the last order, what does not drain is about to.
            let seen = facts.drains_seen >= facts.drains_serial && facts.drains_seen > 0;
            let drain = drain(draining.remove(&DestinationKey::of(destination)), seen);
            DrainStatus { by_plan: told.by_plan, ..drain }
        });
        DestinationStatus { drain, ..one(destination, &daemon.board) }
    };
    let destinations = server.destinations.iter().map(of).collect();
    let leaving = draining
        .into_iter()
        .map(|(key, one)| LeavingStatus { address: key.to_string(), drain: drain(Some(one), true) })
        .collect();
    VirtualServerStatus {
        name: server.name.clone(),
        service: server.front().map(|front| front.to_string()).unwrap_or_default(),
        counters: None,
        destinations,
        leaving,
    }
}

fn drain(draining: Option<&Draining>, seen: bool) -> DrainStatus {
    let state = if draining.is_none() && seen { DrainState::Drained } else { DrainState::Draining };
    DrainStatus {
        state,
        since: draining.map(|one| wall(one.since)),
        deadline: draining.and_then(|one| one.deadline).map(wall),
        left: draining.and_then(|one| one.left).map(usage::counts),
        by_plan: false,
    }
}

fn one(destination: &Destination, board: &Board) -> DestinationStatus {
    let report = destination.check().and_then(|check| board.report(check));
    let last = report.as_ref().and_then(|report| report.last.as_ref());
    DestinationStatus {
        host: destination.host.clone(),
        address: DestinationKey::of(destination).to_string(),
        weight: destination.weight.get(),
        verdict: report.as_ref().map_or(Verdict::Up, |report| report.verdict),
        checked: destination.check().is_some(),
        failures: report.as_ref().map_or(0, |report| report.failures),
        last_result: last.map(|(_, outcome)| match outcome {
            Outcome::Success => "success".to_owned(),
            Outcome::Failure(reason) => reason.clone(),
            Outcome::Inconclusive(ailment) => ailment.to_string(),
        }),
        last_check_age_ms: last.map(|(at, _)| age_ms(*at)),
        unjudged: report
            .as_ref()
            .and_then(|report| report.unjudged.as_ref())
            .map(|(since, ailment)| Unjudged { since: wall(*since), reason: ailment.to_string() }),
        connections: None,
        drain: None,
    }
}

fn convergence(facts: &Facts, converged: bool, ready: bool) -> ConvergenceStatus {
    let last = facts.last.as_ref();
    ConvergenceStatus {
        converged,
        ready,
        passes: facts.passes,
        operations: facts.operations,
        last_pass_age_ms: last.map(|report| age_ms(report.pass.ended)),
        last_pass_us: last.map(|report| u64::try_from(report.pass.took.as_micros()).unwrap_or(u64::MAX)),
        recent_operations: facts.recent.iter().cloned().collect(),
        errors: last.map(|report| report.errors.clone()).unwrap_or_default(),
        reported_drift: last.map_or(0, |report| report.pass.reported_drift),
        drifts: facts.drifts.records(),
    }
}

fn age_ms(at: MonoTime) -> u64 {
    u64::try_from(clock::now().since(at).as_millis()).unwrap_or(u64::MAX)
}
