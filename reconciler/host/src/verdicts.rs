//! Verdicts by destination: how the checks of a plan and its destinations relate.

use std::collections::BTreeMap;

use evenkeel_converge::{DestinationKey, Position, ServiceKey, Standing};
use evenkeel_health::{CheckId, Verdict};
use evenkeel_schemas::plan::{OnFailure, Plan, VirtualServer};
use evenkeel_schemas::scalars::Span;

use crate::numbers::Numbers;

/// Verdicts by service and destination. They outlive a plan and its numbers.
pub type Verdicts = BTreeMap<(ServiceKey, DestinationKey), Verdict>;

/// Weights by service and destination.
pub type Weights = BTreeMap<(ServiceKey, DestinationKey), u16>;

/// Key of a destination that outlives its plan.
fn key(plan: &Plan, at: Position) -> Option<(ServiceKey, DestinationKey)> {
    let server = plan.virtual_servers.get(at.server)?;
    Some((ServiceKey::of(server)?, DestinationKey::of(server.destinations.get(at.destination)?)))
}

/// Verdicts in force, by destination: a check with changed options keeps its verdict.
pub(crate) fn in_force(
    plan: &Plan,
    numbers: &Numbers,
    verdict: impl Fn(CheckId) -> Option<Verdict>,
) -> Verdicts {
    let mut all = Verdicts::new();
    for (at, id, _) in numbers.each(plan) {
        let (Some(key), Some(verdict)) = (key(plan, at), verdict(id)) else { continue };
        // One failed check is enough.
        if verdict == Verdict::Down || !all.contains_key(&key) {
            all.insert(key, verdict);
        }
    }
    all
}

/// Standing of a destination by its verdict, and by whether the sorry server takes the clients. A destination
/// without a check is healthy.
#[must_use]
pub fn standing(server: &VirtualServer, verdict: Option<Verdict>, sorry: bool) -> Standing {
    match (verdict, server.on_failure) {
        (None | Some(Verdict::Up), _) if !sorry => Standing::Serving,
        (_, OnFailure::Quiesce) => Standing::Quiet,
        (Some(Verdict::Down), OnFailure::Remove) => Standing::Out,
        // A healthy destination makes way for the sorry server.
        (None | Some(Verdict::Up), OnFailure::Remove) => {
            let limit = server.drain.map(Span::as_duration).filter(|drain| !drain.is_zero());
            limit.map_or(Standing::Out, |limit| Standing::Draining(Some(limit)))
        }
    }
}

/// Initial verdict of each check: down only when every destination that it judges was down.
pub(crate) fn by_check(plan: &Plan, numbers: &Numbers, known: &Verdicts) -> BTreeMap<CheckId, Verdict> {
    let mut initial = BTreeMap::new();
    for (at, id, check) in numbers.each(plan) {
        let start = if check.times.initially_down { Verdict::Down } else { Verdict::Up };
        let before = key(plan, at).and_then(|key| known.get(&key).copied()).unwrap_or(start);
        let verdict = initial.entry(id).or_insert(before);
        if before == Verdict::Up {
            *verdict = Verdict::Up;
        }
    }
    initial
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan with one destination, whose `checks` are a key and its value.
    fn plan_with(checks: &str) -> Plan {
        let text = format!(
            "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n\
             [[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.9\"\nport = 80\n\
             protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n\
             [[virtual_server.destination]]\nhost = \"rs1\"\naddress = \"192.0.2.1\"\nport = 80\n\
             weight = 1\nforwarding = \"dr\"\n{checks}\n"
        );
        toml::from_str(&text).expect("plan")
    }

    #[test]
    fn a_new_check_begins_as_it_says_and_one_of_a_known_destination_as_that_was() {
        let check = "type = \"tcp\", address = \"192.0.2.1\", port = 80, interval = \"5s\", \
                     timeout = \"5s\", retries = 1, retry_delay = \"1s\"";
        let plan = |more: &str| plan_with(&format!("check = {{ {check}{more} }}"));
        let begins = |plan: &Plan, known: &Verdicts| {
            by_check(plan, &Numbers::of(plan, &Numbers::default(), None), known)[&CheckId(0)]
        };
        let (usual, down) = (plan(""), plan(", initially_down = true"));
        assert_eq!(begins(&usual, &Verdicts::new()), Verdict::Up);
        assert_eq!(begins(&down, &Verdicts::new()), Verdict::Down);
        let at = Position { server: 0, destination: 0 };
        let known = |verdict| Verdicts::from([(key(&down, at).expect("a key"), verdict)]);
        assert_eq!(begins(&down, &known(Verdict::Up)), Verdict::Up, "it serves already");
        assert_eq!(begins(&usual, &known(Verdict::Down)), Verdict::Down);
    }

    #[test]
    fn a_destination_is_down_when_one_of_its_checks_is() {
        let check = |port: u16| {
            format!(
                "{{ type = \"tcp\", address = \"192.0.2.1\", port = {port}, interval = \"5s\", \
                 timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}"
            )
        };
        let plan = plan_with(&format!("checks = [{}, {}, {}]", check(80), check(81), check(82)));
        let numbers = Numbers::of(&plan, &Numbers::default(), None);
        for failing in [None, Some(0), Some(1), Some(2)] {
            let verdict = |id: CheckId| Some(if Some(id.0) == failing { Verdict::Down } else { Verdict::Up });
            let wanted = if failing.is_some() { Verdict::Down } else { Verdict::Up };
            let verdicts = in_force(&plan, &numbers, verdict);
            assert_eq!(verdicts.into_values().collect::<Vec<_>>(), [wanted], "{failing:?}");
        }
    }
}
