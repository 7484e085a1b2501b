//! `evenkeeld diff`: the changes that would be made on this host now, and the connections that they concern.
//!
//! The daemon is asked for roles and verdicts, which only it knows; drains are in the state directory. The
//! comparison is the convergence loop's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evenkeel_converge::drain::{Step, Usage, concerned};
use evenkeel_converge::{
    DestinationKey, Diff, Domain, Draining, Kind, Op, ServiceKey, Standing, View, desired, diff,
};
use evenkeel_host::verdicts::standing;
use evenkeel_kernel::{Kernel, clock};
use evenkeel_schemas::diff::{self as document, ConnectionEffect, DiffOperation, DiffSummary, HostDiff};
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ConnectionCounts, RouterState, Status, Verdict, VirtualServerStatus};

use crate::cli::error::CommandError;
use crate::cli::page::counted;
use crate::convergence::drains::connections;
use crate::convergence::pass::scope;
use crate::daemon::in_the_way;
use crate::source::Source;
use crate::source::read::Keep;
use crate::state::{or_without, read_drain_orders, read_drains, read_ledger};
use crate::system::files::Trust;

/// Compares a plan with the live kernel; `daemon` is the status of this host's daemon, if one runs.
///
/// # Errors
/// When the plan is refused, or the kernel or the state directory cannot be read.
pub(crate) fn difference(
    plan: &Path,
    host: &Name,
    state_dir: &Path,
    daemon: Option<&Status>,
    trust: Trust,
) -> Result<HostDiff, CommandError> {
    let loaded = Source::new(plan, host, trust).read(Keep::Nothing)?;
    let orders = or_without(read_drain_orders(state_dir, trust)).map_err(CommandError::File)?;
    let drains = or_without(read_drains(state_dir, trust)).map_err(CommandError::File)?;
    let ledger = or_without(read_ledger(state_dir, trust)).map_err(CommandError::File)?;
    let masters = daemon.map(masters).unwrap_or_default();
    let down = daemon.map(down).unwrap_or_default();
    let weights = daemon.map(weights).unwrap_or_default();
    let lost = daemon.map(lost).unwrap_or_default();
    let sorry = |server: &VirtualServer| {
        let front = || server.front().map(|front| front.to_string()).unwrap_or_default();
        server.sorry_server.is_some() && lost.contains(&(server.name.as_str(), front().as_str()))
    };
    let sorry_of = |number: usize| loaded.plan.virtual_servers.get(number).is_some_and(sorry);
    let standing_of = |_, server: &VirtualServer, destination: &Destination| {
        let address = DestinationKey::of(destination).to_string();
        let failed =
            !destination.checks().is_empty() && down.contains(&(server.name.as_str(), address.as_str()));
        let verdict = if failed { Verdict::Down } else { Verdict::Up };
        let told = weights.get(&(server.name.as_str(), address.as_str())).copied();
        let standing =
            told.map_or_else(|| standing(server, Some(verdict), sorry(server)), Standing::Weighted);
        orders.standing(server, destination, failed, standing)
    };
    let wanted = desired(&loaded.plan, View { standing: &standing_of, sorry: &sorry_of, masters: &masters });
    let mut kernel = Kernel::new()?;
    let scope = scope(&wanted, &ledger, &Kind::ALL);
    let observed = kernel.observe(&scope)?;
    let first = diff(&wanted, &observed, &ledger, Domain::Host);
    // Connections are read only for services that drain or change: the table may be large.
    let mut asked = concerned(&wanted, &observed);
    asked.extend(first.ops.iter().filter_map(|op| touched(op).map(|(service, _)| service)));
    let usage = if asked.is_empty() { Usage::new() } else { connections(&kernel.ipvs_usage(Some(&asked))?) };
    // Compared again with drains: a destination that is to leave gets weight 0 first while it has
    // connections.
    let Step { desired: wanted, draining, .. } = drains.step(&wanted, &observed, &usage, clock::now());
    let Diff { ops, foreign } = diff(&wanted, &observed, &ledger, Domain::Host);
    let addresses = kernel.every_address(&in_the_way::interfaces(&loaded.plan))?;
    let singles = ops.iter().flat_map(Op::singles);
    let operations: Vec<DiffOperation> = singles.map(|op| operation(&op, &usage, &draining)).collect();
    Ok(HostDiff {
        version: document::VERSION,
        host: host.clone(),
        generation: loaded.generation.to_string(),
        daemon: daemon.is_some(),
        summary: sums(&operations),
        operations,
        foreign,
        in_the_way: in_the_way::search(&loaded.plan, &addresses).map_err(CommandError::Search)?,
    })
}

fn masters(status: &Status) -> BTreeSet<Name> {
    let masters = status.routers.iter().filter(|router| router.state == RouterState::Master);
    masters.map(|router| router.name.clone()).collect()
}

fn down(status: &Status) -> BTreeSet<(&str, &str)> {
    let all = status.virtual_servers.iter().flat_map(|server| {
        let failed = server.destinations.iter().filter(|one| one.checked && one.verdict == Verdict::Down);
        failed.map(|one| (server.name.as_str(), one.address.as_str()))
    });
    all.collect()
}

/// Weights of destinations that have another one than the plan's, or that failed and stay.
fn weights(status: &Status) -> BTreeMap<(&str, &str), u16> {
    let all = status.virtual_servers.iter().flat_map(|server| {
        let destinations = server.destinations.iter();
        destinations.filter_map(|one| Some(((server.name.as_str(), one.address.as_str()), one.table_weight?)))
    });
    all.collect()
}

/// Virtual servers that have lost their quorum, by name and front.
fn lost(status: &Status) -> BTreeSet<(&str, &str)> {
    let lost = |server: &&VirtualServerStatus| server.quorum.as_ref().is_some_and(|quorum| !quorum.up);
    let servers = status.virtual_servers.iter().filter(lost);
    servers.map(|server| (server.name.as_str(), server.service.as_str())).collect()
}

/// The service that an operation changes, and the destination if it changes one.
const fn touched(op: &Op) -> Option<(ServiceKey, Option<DestinationKey>)> {
    match op {
        Op::SetDestination { service, key, .. } | Op::DelDestination(service, key) => {
            Some((*service, Some(*key)))
        }
        Op::DelService(service) => Some((*service, None)),
        _ => None,
    }
}

fn operation(op: &Op, usage: &Usage, draining: &[Draining]) -> DiffOperation {
    let mut found =
        DiffOperation { operation: op.to_string(), connections: None, effect: None, drain_ms: None };
    let Some((service, destination)) = touched(op) else { return found };
    let none = BTreeMap::new();
    let all = usage.get(&service).unwrap_or(&none).iter();
    let meant = all.filter(|(key, _)| destination.is_none_or(|destination| destination == **key));
    let counts = meant.fold(ConnectionCounts::default(), |sum, (_, one)| ConnectionCounts {
        active: sum.active.saturating_add(one.active),
        inactive: sum.inactive.saturating_add(one.inactive),
        persistent: sum.persistent.saturating_add(one.persistent),
    });
    found.connections = Some(counts);
    match op {
        Op::SetDestination { value, .. } if value.weight == 0 => {
            found.effect = Some(ConnectionEffect::Drain);
            let drain =
                draining.iter().find(|one| one.service == service && Some(one.destination) == destination);
            let left = drain.and_then(|one| one.deadline).map(|deadline| clock::now().until(deadline));
            found.drain_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        }
        Op::DelDestination(..) | Op::DelService(_) => found.effect = Some(ConnectionEffect::End),
        _ => {}
    }
    found
}

fn sums(operations: &[DiffOperation]) -> DiffSummary {
    let count = u64::try_from(operations.len()).unwrap_or(u64::MAX);
    let mut sums = DiffSummary { operations: count, ..DiffSummary::default() };
    for operation in operations {
        let Some(counts) = operation.connections else { continue };
        let (active, inactive) = (u64::from(counts.active), u64::from(counts.inactive));
        match operation.effect {
            Some(ConnectionEffect::End) => {
                sums.active_ended += active;
                sums.inactive_ended += inactive;
            }
            Some(ConnectionEffect::Drain) => {
                sums.active_draining += active;
                sums.inactive_draining += inactive;
            }
            None => {}
        }
    }
    sums
}

/// The document as lines for people; in colour for terminals.
pub(crate) fn page(diff: &HostDiff, colour: bool) -> String {
    let mut page = String::new();
    for operation in &diff.operations {
        let text = &operation.operation;
        let code = match text.split(' ').next() {
            Some("remove" | "stop") => 31,
            Some("add" | "start") => 32,
            _ => 33,
        };
        let text = if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.clone() };
        page += &format!("{text}{}\n", effect(operation));
    }
    for object in &diff.foreign {
        page += &format!("foreign, left alone: {} {}\n", object.kind, object.object);
    }
    for object in &diff.in_the_way {
        page += &format!("in the way: {}\n", object.object);
    }
    let sums = &diff.summary;
    page += &match sums.operations {
        0 => "No changes: the kernel is as the plan says.".to_owned(),
        1 => "1 operation to do".to_owned(),
        count => format!("{count} operations to do"),
    };
    if sums.operations > 0 {
        let total = |active: u64, inactive: u64, what: &str| {
            let some = active > 0 || inactive > 0;
            some.then(|| format!("; {active} active and {inactive} inactive connections {what}"))
        };
        page += &total(sums.active_ended, sums.inactive_ended, "end").unwrap_or_default();
        page += &total(sums.active_draining, sums.inactive_draining, "drain").unwrap_or_default();
        page += ".";
    }
    page + "\n"
}

fn effect(operation: &DiffOperation) -> String {
    let counts = operation.connections.as_ref().map(|counts| format!(": {}", counted(counts)));
    let what = match (operation.effect, operation.drain_ms) {
        (None, _) => " go on".to_owned(),
        (Some(ConnectionEffect::End), _) => " end".to_owned(),
        (Some(ConnectionEffect::Drain), Some(ms)) => format!("; drains up to {} s", ms.div_ceil(1000)),
        (Some(ConnectionEffect::Drain), None) => "; drains until they end".to_owned(),
    };
    counts.map(|counts| counts + &what).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_connections_that_a_change_concerns() {
        let counts = |active| Some(ConnectionCounts { active, inactive: 30, persistent: 0 });
        let one = |text: &str, connections, effect, drain_ms| DiffOperation {
            operation: text.to_owned(),
            connections,
            effect,
            drain_ms,
        };
        let operations = vec![
            one("add address A", None, None, None),
            one("set weight 5 (was 4) of B", counts(1), None, None),
            one("set weight 0 (was 4) of C", counts(2), Some(ConnectionEffect::Drain), Some(299_001)),
            one("set weight 0 (was 4) of D", counts(3), Some(ConnectionEffect::Drain), None),
            one("remove destination E", counts(412), Some(ConnectionEffect::End), None),
        ];
        let mut diff = HostDiff {
            version: 1,
            host: "dir1".parse().expect("name"),
            generation: String::new(),
            daemon: true,
            summary: sums(&operations),
            operations,
            foreign: Vec::new(),
            in_the_way: Vec::new(),
        };
        assert_eq!(
            page(&diff, false),
            "add address A\n\
             set weight 5 (was 4) of B: 1 active and 30 inactive connections go on\n\
             set weight 0 (was 4) of C: 2 active and 30 inactive connections; drains up to 300 s\n\
             set weight 0 (was 4) of D: 3 active and 30 inactive connections; drains until they end\n\
             remove destination E: 412 active and 30 inactive connections end\n\
             5 operations to do; 412 active and 30 inactive connections end; \
             5 active and 60 inactive connections drain.\n"
        );
        assert!(page(&diff, true).contains("\u{1b}[31mremove destination E\u{1b}[0m: 412"));
        diff.operations.clear();
        diff.summary = sums(&[]);
        assert_eq!(page(&diff, true), "No changes: the kernel is as the plan says.\n");
    }
}
