//! The status document: facts of the daemon put in the contract's words.

use std::path::Path;
use std::time::SystemTime;

use evenkeel_health::{Board, Outcome, Verdict};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{
    self, ConvergenceStatus, DestinationStatus, PlanStatus, RouterStatus, Status, VirtualServerStatus,
};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::Family;

use crate::daemon::Facts;
use crate::election::{ElectionSnapshot, RouterSnapshot};
use crate::trackers::Watching;
use crate::verdicts::{destination_key, service_key};

/// A point in time as RFC 3339 text, by the wall clock of now.
pub(crate) fn wall(at: MonoTime) -> String {
    let now = clock::now();
    let when = SystemTime::now() - now.since(at) + at.since(now);
    humantime::format_rfc3339_millis(when).to_string()
}

/// The status document.
pub(crate) fn status(
    host: &Name,
    path: &Path,
    facts: &Facts,
    board: &Board,
    watching: &Watching,
    election: ElectionSnapshot,
) -> Status {
    let plan = facts.in_force.as_ref().map(|in_force| &in_force.loaded.plan);
    let servers = plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
    Status {
        version: status::VERSION,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: wall(facts.started),
        host: Some(host.clone()),
        plan: plan_status(path, facts),
        routers: election.routers.into_iter().map(router).collect(),
        trackers: watching.status(),
        election: election.thread,
        virtual_servers: servers.iter().map(|server| virtual_server(server, board)).collect(),
        convergence: convergence(facts),
        guarded: election.guarded,
        foreign: facts.foreign.clone(),
    }
}

fn plan_status(path: &Path, facts: &Facts) -> PlanStatus {
    let in_force = facts.in_force.as_ref();
    PlanStatus {
        path: path.display().to_string(),
        generation: in_force.map(|in_force| in_force.loaded.generation.to_string()),
        since: in_force.map(|in_force| in_force.since.clone()),
        from_last_good: in_force.is_some_and(|in_force| in_force.from_last_good),
        rejected: facts.rejected.clone(),
    }
}

fn router(snapshot: RouterSnapshot) -> RouterStatus {
    RouterStatus {
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
        vips: snapshot.vips,
        counters: snapshot.counters,
    }
}

fn virtual_server(server: &VirtualServer, board: &Board) -> VirtualServerStatus {
    VirtualServerStatus {
        name: server.name.clone(),
        service: service_key(server).to_string(),
        destinations: server.destinations.iter().map(|destination| one(destination, board)).collect(),
    }
}

fn one(destination: &Destination, board: &Board) -> DestinationStatus {
    let report = destination.check.as_ref().and_then(|check| board.report(check));
    let last = report.as_ref().and_then(|report| report.last.as_ref());
    DestinationStatus {
        host: destination.host.clone(),
        address: destination_key(destination).to_string(),
        weight: destination.weight.get(),
        verdict: report.as_ref().map_or(Verdict::Up, |report| report.verdict),
        checked: destination.check.is_some(),
        failures: report.as_ref().map_or(0, |report| report.failures),
        last_result: last.map(|(_, outcome)| match outcome {
            Outcome::Success => "success".to_owned(),
            Outcome::Failure(reason) | Outcome::Inconclusive(reason) => reason.clone(),
        }),
        last_check_age_ms: last.map(|(at, _)| age_ms(*at)),
    }
}

fn convergence(facts: &Facts) -> ConvergenceStatus {
    let last = facts.last.as_ref();
    ConvergenceStatus {
        converged: last.is_some_and(|report| report.converged),
        passes: facts.passes,
        operations: facts.operations,
        last_pass_age_ms: last.map(|report| age_ms(report.pass.ended)),
        last_pass_us: last.map(|report| u64::try_from(report.pass.took.as_micros()).unwrap_or(u64::MAX)),
        recent_operations: facts.recent.iter().cloned().collect(),
        errors: last.map(|report| report.errors.clone()).unwrap_or_default(),
    }
}

fn age_ms(at: MonoTime) -> u64 {
    u64::try_from(clock::now().since(at).as_millis()).unwrap_or(u64::MAX)
}

/// The status document as a page for people.
pub(crate) fn page(status: &Status) -> String {
    let mut page = String::new();
    let host = status.host.as_ref().map_or("this host", Name::as_str);
    let plan = &status.plan;
    let generation =
        plan.generation.as_deref().map_or("no plan in force", |text| &text[..text.len().min(12)]);
    let mut line = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    line(format!("{host}: evenkeeld {} (pid {}) since {}", status.daemon, status.pid, status.started));
    line(format!(
        "plan {generation} from {}{}",
        plan.path,
        if plan.from_last_good { " (the last good one, kept in the state directory)" } else { "" }
    ));
    if let Some(rejected) = &plan.rejected {
        line(format!("  REFUSED at {}: {}", rejected.at, rejected.reason));
    }
    for router in &status.routers {
        line(format!(
            "router {} {} VRID {} priority {}: {} ({})",
            router.name, router.interface, router.vrid, router.priority, router.state, router.reason
        ));
        line(format!(
            "  VIPs {}; Master {}; adverts {} sent, {} received, {} rejected",
            router.vips.join(", "),
            router.master.as_deref().unwrap_or("unknown"),
            router.counters.adverts_sent,
            router.counters.adverts_received,
            router.counters.rejected.values().sum::<u64>()
        ));
    }
    for server in &status.virtual_servers {
        line(format!("virtual server {} {}", server.name, server.service));
        for destination in &server.destinations {
            let verdict = match (destination.checked, destination.verdict) {
                (false, _) => "not checked",
                (true, Verdict::Up) => "up",
                (true, Verdict::Down) => "DOWN",
            };
            let why = destination.last_result.as_deref().unwrap_or("not checked yet");
            line(format!(
                "  {} {} weight {}: {verdict} ({why})",
                destination.host, destination.address, destination.weight
            ));
        }
    }
    let convergence = &status.convergence;
    line(format!(
        "kernel {}; {} operations in {} passes",
        if convergence.converged { "converged" } else { "NOT CONVERGED" },
        convergence.operations,
        convergence.passes
    ));
    for error in &convergence.errors {
        line(format!("  cannot {}: {}", error.operation, error.reason));
    }
    if !status.guarded {
        line("NO GUARDIAN: if the daemon dies now, its VIPs stay".to_owned());
    }
    for object in &status.foreign {
        line(format!("foreign {}: {}", object.kind, object.object));
    }
    page
}
