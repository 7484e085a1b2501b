//! IPVS services of checks that go through IPVS: one for each mark, with one destination. They are made of
//! the checks of a plan, and are no virtual servers of it: no verdict, role or order changes them.

use std::collections::BTreeMap;

use evenkeel_schemas::plan::{self, Forwarding, Plan, Through};

use crate::model::{Destination, DestinationKey, Encapsulation, Service, ServiceKey};

/// Scheduler of these services, which have nothing to choose. Every kernel with IPVS has it.
const SCHEDULER: &str = "rr";

/// Service of a check that goes through IPVS.
#[must_use]
pub const fn key(through: &Through) -> ServiceKey {
    ServiceKey::Mark { v6: through.vip.0.is_ipv6(), mark: through.mark.get() }
}

/// Destination of that service, for a check of this destination of a virtual server.
#[must_use]
pub fn target(destination: &plan::Destination, check: &plan::Check) -> (DestinationKey, Destination) {
    // Masquerade leads to a port; otherwise packets keep theirs.
    let port = match destination.forwarding {
        Forwarding::Nat => check.target.and_then(|target| target.port).map_or(0, |port| port.get()),
        Forwarding::Dr | Forwarding::Tun => 0,
    };
    let key = DestinationKey { address: destination.address.0, port };
    let encapsulation = destination.encapsulation().as_ref().map(Encapsulation::from).unwrap_or_default();
    let forward = destination.forwarding.into();
    (key, Destination { forward, weight: 1, upper_threshold: 0, lower_threshold: 0, encapsulation })
}

/// The checks of a plan that go through IPVS, each with its destination.
pub fn checks(plan: &Plan) -> impl Iterator<Item = (&plan::Destination, &plan::Check, &Through)> {
    let destinations = plan.virtual_servers.iter().flat_map(|server| &server.destinations);
    destinations.flat_map(|destination| {
        let checks = destination.checks().iter();
        checks.filter_map(move |check| Some((destination, check, check.through.as_ref()?)))
    })
}

/// The services of the checks of a plan.
#[must_use]
pub fn services(plan: &Plan) -> BTreeMap<ServiceKey, Service> {
    let mut services = BTreeMap::new();
    for (destination, check, through) in checks(plan) {
        let key = key(through);
        services.entry(key).or_insert_with(|| Service {
            destinations: [target(destination, check)].into_iter().collect(),
            ..Service::plain(SCHEDULER, key.is_v6())
        });
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Forward;
    use crate::{Domain, KernelState, Kind, Ledger, View, cleanup, desired, diff, memory};

    const PLAN: &str = r#"
format = 1
cluster = "c"
host = "dir1"
host_addresses = ["192.0.2.1"]
policy = { resync = "5s", exclusive_ipvs = true }
[[virtual_server]]
name = "web"
address = "192.0.2.9"
port = 80
protocol = "tcp"
only_as_master_of = "VI_1"
scheduler = "wlc"
one_packet = false
[[virtual_server.destination]]
host = "rs1"
address = "192.0.2.21"
port = 80
weight = 1
forwarding = "dr"
check = { type = "tcp", address = "192.0.2.21", port = 80, source = "192.0.2.1", through = { vip = "192.0.2.9", port = 80, mark = 70 }, interval = "5s", timeout = "5s", retries = 1, retry_delay = "1s" }
[[virtual_server.destination]]
host = "rs2"
address = "192.0.2.22"
port = 8080
weight = 0
forwarding = "nat"
checks = [
    { type = "tcp", address = "192.0.2.22", port = 8080, source = "192.0.2.1", through = { vip = "192.0.2.9", port = 80, mark = 71 }, interval = "5s", timeout = "5s", retries = 1, retry_delay = "1s" },
    { type = "ping", address = "192.0.2.22", interval = "5s", timeout = "5s", retries = 1, retry_delay = "1s" },
]
"#;

    fn plan() -> Plan {
        evenkeel_schemas::plain::plan(PLAN.trim_start()).expect("a plan")
    }

    #[test]
    fn each_mark_has_a_service_with_one_destination() {
        let services = services(&plan());
        let destinations = |mark| {
            let service: &Service = &services[&ServiceKey::Mark { v6: false, mark }];
            let all = service.destinations.iter();
            let all =
                all.map(|(key, value)| (key.address.to_string(), key.port, value.forward, value.weight));
            all.collect::<Vec<_>>()
        };
        assert_eq!(services.len(), 2);
        assert_eq!(destinations(70), [("192.0.2.21".to_owned(), 0, Forward::DirectRoute, 1)]);
        assert_eq!(destinations(71), [("192.0.2.22".to_owned(), 8080, Forward::Masquerade, 1)]);
    }

    /// Of a Backup as of a Master, whatever the verdicts; named before they are made; gone with `cleanup`.
    #[test]
    fn they_are_ours_in_every_role_and_go_with_us() {
        let out = View { standing: &|_, _, _| crate::Standing::Out, ..View::CALM };
        let wanted = desired(&plan(), out);
        let mark = |mark| ServiceKey::Mark { v6: false, mark };
        let mut kernel = KernelState::default();
        kernel.services.insert(mark(5), Service::plain("rr", false));
        let ledger = Ledger::default().before(&wanted, &kernel, &Kind::ALL);
        for op in diff(&wanted, &kernel, &ledger, Domain::Host).ops {
            memory::apply(&mut kernel, &op).expect("applied");
        }
        let keys: Vec<ServiceKey> = kernel.services.keys().copied().collect();
        assert_eq!(keys, [mark(70), mark(71)], "exclusive: of others nothing stays, ours does");
        let again = diff(&wanted, &kernel, &ledger, Domain::Host);
        assert_eq!((again.ops.len(), again.foreign.len()), (0, 0), "{again:?}");
        for op in cleanup(&kernel, &ledger).ops {
            memory::apply(&mut kernel, &op).expect("applied");
        }
        assert!(kernel.services.is_empty());
    }
}
