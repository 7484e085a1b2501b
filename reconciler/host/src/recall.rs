//! State that an earlier daemon left behind: the verdicts that the kernel's tables show.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::drift::Record;
use evenkeel_converge::{DestinationKey, Drains, Ledger, Service, ServiceKey, View, desired};
use evenkeel_health::Verdict;
use evenkeel_schemas::plan::{Check, CheckKind, OnFailure, Plan, VirtualServer};

use crate::orders::drains::DrainOrders;
use crate::service::state::threshold;
use crate::verdicts::{Verdicts, Weights};

/// State that an earlier daemon left in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Its verdicts.
    pub verdicts: Verdicts,
    /// Virtual servers that had lost their quorum: their sorry servers are in the table.
    pub lost: BTreeSet<ServiceKey>,
    /// Weights that destinations had asked for.
    pub weights: Weights,
    /// Destinations that had been at weight 0 for their time, and were taken out after it.
    pub out: BTreeSet<(ServiceKey, DestinationKey)>,
}

/// State that an earlier daemon left behind beside the kernel.
pub struct Memory<'a> {
    /// Objects of ours.
    pub ledger: &'a Ledger,
    /// Destinations that drained.
    pub drains: &'a Drains,
    /// Orders to drain.
    pub orders: &'a DrainOrders,
    /// State that it had verified in the kernel, when that is known.
    pub verified: Option<&'a Record>,
    /// The plan that it obeyed.
    pub plan: &'a dyn Fn() -> Option<Plan>,
}

/// Verdicts that an earlier daemon left in the kernel, whose virtual services are `services`.
///
/// A destination that is missing from a service of ours had failed. So had a destination at weight 0 where
/// the plan before had another weight and quiesces failed ones. A destination that drained gets the verdict
/// of the
/// other destinations of its check. In a service that `verified` has with all destinations of the plan, none
/// had failed: any difference is somebody else's doing.
/// A virtual server whose sorry server is in the table has lost its quorum. Nothing is known of the
/// destinations that are not in it: they had failed, or made way.
pub fn left_behind(plan: &Plan, memory: &Memory<'_>, services: &BTreeMap<ServiceKey, Service>) -> Recalled {
    let mut verdicts = Verdicts::new();
    let (mut lost, mut weights, mut out) = (BTreeSet::new(), Weights::new(), BTreeSet::new());
    let calm = memory.verified.map(|record| (record, desired(plan, View::CALM)));
    let all_served =
        |service: &ServiceKey| calm.as_ref().is_some_and(|(record, calm)| record.has_service(calm, service));
    let mut by_plan = None;
    let mut is_down = |server: &VirtualServer, key: (ServiceKey, DestinationKey), have: &Service| match have
        .destinations
        .get(&key.1)
    {
        None => true,
        Some(have) if have.weight > 0 || server.on_failure == OnFailure::Remove => false,
        Some(_) => !by_plan.get_or_insert_with(|| without_weight((memory.plan)().as_ref())).contains(&key),
    };
    let mut drained = Vec::new();
    let mut all_down: BTreeMap<&Check, bool> = BTreeMap::new();
    for server in &plan.virtual_servers {
        let service = ServiceKey::of(server).filter(|service| memory.ledger.services.contains_key(service));
        let Some((service, have)) = service.and_then(|key| Some((key, services.get(&key)?))) else {
            continue;
        };
        if all_served(&service) {
            continue;
        }
        if sorry_serves(server, have) {
            lost.insert(service);
            continue;
        }
        for destination in &server.destinations {
            // A destination that failed says nothing of which of several checks did.
            let [check, others @ ..] = destination.checks() else { continue };
            let key = (service, DestinationKey::of(destination));
            if memory.drains.contains(key.0, key.1) || memory.orders.order_for(server, destination).is_some()
            {
                drained.push((key, check));
                continue;
            }
            let down = is_down(server, key, have);
            if server.quiesce_for.is_some() && !have.destinations.contains_key(&key.1) {
                out.insert(key);
            }
            let weight = have.destinations.get(&key.1).and_then(|have| u16::try_from(have.weight).ok());
            let weight = weight.filter(|weight| *weight != destination.weight.get());
            if !down && destination.checks().iter().any(asks_for_weight) {
                weights.extend(weight.map(|weight| (key, weight)));
            }
            for check in others.iter().chain([check]) {
                *all_down.entry(check).or_insert(true) &= down;
            }
            verdicts.insert(key, if down { Verdict::Down } else { Verdict::Up });
        }
    }
    // A drain looks like a failure in the kernel. With no other destination to go by it counts as up.
    for (key, check) in drained {
        let down = all_down.get(check).copied().unwrap_or(false);
        verdicts.insert(key, if down { Verdict::Down } else { Verdict::Up });
    }
    Recalled { verdicts, lost, weights, out }
}

/// Whether a target can say how much it takes.
fn asks_for_weight(check: &Check) -> bool {
    match &check.kind {
        CheckKind::Script(script) => script.dynamic_weight,
        CheckKind::Agent(_) | CheckKind::Http(_) => true,
        CheckKind::Tcp(_)
        | CheckKind::Udp(_)
        | CheckKind::Dns(_)
        | CheckKind::Ping
        | CheckKind::Smtp(_)
        | CheckKind::Grpc(_)
        | CheckKind::File(_) => false,
    }
}

/// Whether the sorry server of a virtual server takes its clients. One that is a real server as well does
/// when it is alone with the weight that a sorry server has, and that is less than the quorum asks for.
fn sorry_serves(server: &VirtualServer, have: &Service) -> bool {
    let Some(sorry) = &server.sorry_server else { return false };
    let key = DestinationKey::of(&sorry.destination(&server.name));
    let there = have.destinations.get(&key).is_some_and(|sorry| sorry.weight > 0);
    let Some(real) = server.destinations.iter().find(|one| DestinationKey::of(one) == key) else {
        return there;
    };
    let others = have.destinations.iter().any(|(one, value)| *one != key && value.weight > 0);
    let weight = have.destinations.get(&key).map_or(0, |sorry| sorry.weight);
    let quorum = threshold(server, true);
    there && !others && weight == 1 && (u64::from(real.weight.get()) < quorum || real.weight.get() != 1)
}

/// Destinations that have weight 0 by the plan.
fn without_weight(plan: Option<&Plan>) -> BTreeSet<(ServiceKey, DestinationKey)> {
    let mut found = BTreeSet::new();
    for server in plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default() {
        let Some(service) = ServiceKey::of(server) else { continue };
        let light = server.destinations.iter().filter(|destination| destination.weight.get() == 0);
        found.extend(light.map(|destination| (service, DestinationKey::of(destination))));
    }
    found
}

#[cfg(test)]
mod tests {
    use evenkeel_converge::{Destination as Have, Forward, Origin};
    use evenkeel_schemas::time::MonoTime;

    use super::*;

    const HOSTS: u8 = 5;

    fn plan(on_failure: &str, weights: [u16; HOSTS as usize]) -> Plan {
        let mut text = format!(
            "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n\
             [[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.9\"\nport = 80\nprotocol = \"tcp\"\n\
             scheduler = \"wlc\"\none_packet = false\non_failure = \"{on_failure}\"\n"
        );
        for (n, weight) in (1..).zip(weights) {
            text += &format!(
                "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = 80\n\
                 weight = {weight}\nforwarding = \"dr\"\n\
                 check = {{ type = \"tcp\", address = \"192.0.2.{n}\", port = 80, \
                 interval = \"5s\", timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}\n"
            );
        }
        toml::from_str(&text).expect("plan")
    }

    const WEB: ServiceKey = ServiceKey::Transport {
        protocol: 6,
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)),
        port: 80,
    };

    fn destination(n: u8) -> DestinationKey {
        DestinationKey { address: [192, 0, 2, n].into(), port: 80 }
    }

    fn down(plan: &Plan, before: &Plan, weights: &[(u8, u32)]) -> Vec<u8> {
        let mut service = Service::plain("wlc", false);
        for (n, weight) in weights {
            service.destinations.insert(destination(*n), Have::plain(Forward::DirectRoute, *weight));
        }
        let mut ledger = Ledger::default();
        ledger.services.insert(WEB, Origin::Created);
        let mut drains = Drains::default();
        drains.insert(WEB, destination(4), MonoTime::ZERO);
        let orders = serde_json::from_str(r#"[{"whom":"rs5","since":"T"}]"#).expect("orders");
        let memory = Memory {
            ledger: &ledger,
            drains: &drains,
            orders: &orders,
            verified: None,
            plan: &|| Some(before.clone()),
        };
        let verdicts = left_behind(plan, &memory, &BTreeMap::from([(WEB, service)])).verdicts;
        assert_eq!(verdicts.len(), usize::from(HOSTS));
        let down = |n: &u8| verdicts[&(WEB, destination(*n))] == Verdict::Down;
        (1..=HOSTS).filter(down).collect()
    }

    #[test]
    fn a_missing_or_quiesced_destination_had_failed_and_a_drained_one_had_not() {
        let quiesce = plan("quiesce", [9; 5]);
        let remove = plan("remove", [9; 5]);
        let table = [(1, 0), (2, 9), (4, 0)];
        assert_eq!(down(&quiesce, &quiesce, &table), [1, 3], "rs5 was told to drain and is gone");
        assert_eq!(down(&remove, &remove, &table), [3], "someone set the weight");
        assert_eq!(down(&quiesce, &plan("quiesce", [0, 9, 9, 9, 9]), &table), [3], "the plan set the weight");
        let light = plan("quiesce", [0, 9, 9, 9, 9]);
        assert_eq!(down(&light, &light, &table), [3]);
        assert_eq!(down(&light, &quiesce, &table), [1, 3], "it had failed, and the plan changed meanwhile");
    }
}
