//! Verdicts by destination: how the checks of a plan and its destinations relate.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evenkeel_converge::{DestinationKey, ServiceKey, Standing};
use evenkeel_health::{Board, Verdict};
use evenkeel_schemas::plan::{Check, Destination, OnFailure, Plan, VirtualServer};

/// What a check connects to.
#[must_use]
pub const fn target(check: &Check) -> SocketAddr {
    let Check::Tcp { address, port, .. } = check;
    SocketAddr::new(address.0, port.get())
}

/// Verdicts by service and destination.
pub type Verdicts = BTreeMap<(ServiceKey, DestinationKey), Verdict>;

/// Every checked destination of a plan.
pub fn checks(plan: &Plan) -> impl Iterator<Item = (ServiceKey, DestinationKey, &Check)> {
    plan.virtual_servers.iter().flat_map(|server| {
        let service = ServiceKey::of(server);
        server.destinations.iter().filter_map(move |destination| {
            Some((service?, DestinationKey::of(destination), destination.check()?))
        })
    })
}

/// The verdicts in force, by destination: a check that changes its options keeps its verdict.
pub fn in_force(plan: &Plan, board: &Board) -> Verdicts {
    checks(plan)
        .filter_map(|(service, key, check)| board.verdict(check).map(|verdict| ((service, key), verdict)))
        .collect()
}

/// What becomes of a destination by its verdict: one without a check always serves.
pub fn standing(server: &VirtualServer, destination: &Destination, board: &Board) -> Standing {
    let verdict = destination.check().and_then(|check| board.verdict(check));
    match (verdict, server.on_failure) {
        (None | Some(Verdict::Up), _) => Standing::Serving,
        (Some(Verdict::Down), OnFailure::Quiesce) => Standing::Quiet,
        (Some(Verdict::Down), OnFailure::Remove) => Standing::Out,
    }
}

/// What each check starts with: down only when every destination that it speaks for was down.
pub fn by_check(plan: &Plan, known: &Verdicts) -> BTreeMap<Check, Verdict> {
    let mut initial = BTreeMap::new();
    for (service, destination, check) in checks(plan) {
        let before = known.get(&(service, destination)).copied().unwrap_or(Verdict::Up);
        let verdict = initial.entry(check.clone()).or_insert(before);
        if before == Verdict::Up {
            *verdict = Verdict::Up;
        }
    }
    initial
}
