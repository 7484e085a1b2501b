//! Verdicts by destination: how checks of a plan, destinations and the kernel's memory relate.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::drift::Record;
use evenkeel_converge::{DestinationKey, Kind, Ledger, ServiceKey, Standing, View, desired};
use evenkeel_health::{Board, Verdict};
use evenkeel_kernel::{Kernel, Scope};
use evenkeel_schemas::plan::{Check, Destination, OnFailure, Plan, VirtualServer};
use tracing::warn;

/// Verdicts by service and destination.
pub(crate) type Verdicts = BTreeMap<(ServiceKey, DestinationKey), Verdict>;

/// Every checked destination of a plan.
pub(crate) fn checks(plan: &Plan) -> impl Iterator<Item = (ServiceKey, DestinationKey, &Check)> {
    plan.virtual_servers.iter().flat_map(|server| {
        let service = ServiceKey::of(server);
        server.destinations.iter().filter_map(move |destination| {
            Some((service?, DestinationKey::of(destination), destination.check.as_ref()?))
        })
    })
}

/// The verdicts in force, by destination: a check that changes its options keeps its verdict.
pub(crate) fn in_force(plan: &Plan, board: &Board) -> Verdicts {
    checks(plan)
        .filter_map(|(service, key, check)| board.verdict(check).map(|verdict| ((service, key), verdict)))
        .collect()
}

/// What becomes of a destination by its verdict: one without a check always serves.
pub(crate) fn standing(server: &VirtualServer, destination: &Destination, board: &Board) -> Standing {
    let verdict = destination.check.as_ref().and_then(|check| board.verdict(check));
    match (verdict, server.on_failure) {
        (None | Some(Verdict::Up), _) => Standing::Serving,
        (Some(Verdict::Down), OnFailure::Quiesce) => Standing::Quiet,
        (Some(Verdict::Down), OnFailure::Remove) => Standing::Out,
    }
}

/// What each check starts with: down only when every destination that it speaks for was down.
pub(crate) fn by_check(plan: &Plan, known: &Verdicts) -> BTreeMap<Check, Verdict> {
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

/// The verdicts that an earlier daemon left in the kernel: a destination that is missing from a
/// service of ours had failed, unless `verified` knows that somebody else has removed it.
pub(crate) fn left_behind(plan: &Plan, ledger: &Ledger, verified: Option<&Record>) -> Verdicts {
    if ledger.services.is_empty() {
        return Verdicts::new();
    }
    let scope = Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() };
    let observed = match Kernel::new().and_then(|mut kernel| kernel.observe(&scope)) {
        Ok(observed) => observed,
        Err(error) => {
            warn!("cannot read the verdicts of the daemon before from the kernel: {error}");
            return Verdicts::new();
        }
    };
    let calm = verified.map(|record| (record, desired(plan, View::CALM)));
    let all_served =
        |service: &ServiceKey| calm.as_ref().is_some_and(|(record, calm)| record.has_service(calm, service));
    checks(plan)
        .filter(|(service, _, _)| ledger.services.contains_key(service) && !all_served(service))
        .filter_map(|(service, key, _)| {
            let found = observed.services.get(&service)?.destinations.contains_key(&key);
            Some(((service, key), if found { Verdict::Up } else { Verdict::Down }))
        })
        .collect()
}
