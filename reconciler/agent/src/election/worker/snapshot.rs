//! The state of the election as the status shows it.

use evenkeel_host::election::{ElectionSnapshot, RouterSnapshot};
use evenkeel_schemas::status::{ElectionStatus, RouterCounters, UnknownVrid};

use super::Worker;

impl Worker {
    pub(super) fn snapshot(&self) -> ElectionSnapshot {
        let routers = self.routers.election.iter().map(|(key, name, router)| {
            let setup = self.routers.setup(key);
            RouterSnapshot {
                key: key.clone(),
                name: name.clone(),
                version: router.config().version.number(),
                priority: router.config().priority.get(),
                base_priority: setup.map_or(0, |setup| setup.config.priority.get()),
                group: setup.and_then(|setup| setup.group.clone()),
                order: setup.and_then(|setup| self.admission.order(&setup.name)),
                state: router.state(),
                waits: router.is_unready(),
                reason: router.reason().to_string(),
                since: router.since(),
                master: router.master().map(|ip| ip.to_string()),
                other_heard: router.other_heard(),
                vips: router.config().vips.iter().map(ToString::to_string).collect(),
                strangers: self.strangers_of(key, router),
                counters: RouterCounters {
                    duplicate_addresses: self.conflicts.count(key),
                    ..router.counters().to_status()
                },
            }
        });
        let unknown = self.routers.election.unknown_vrids();
        let unknown = unknown.map(|(interface, vrid, adverts)| UnknownVrid {
            interface: interface.to_string(),
            vrid,
            adverts,
        });
        let thread = ElectionStatus {
            realtime_priority: self.scheduling.realtime,
            nice: self.scheduling.nice,
            memory_locked: self.scheduling.memory_locked,
            timer_lateness: self.lateness.buckets(),
            timer_lateness_sum_us: self.lateness.sum_us(),
            max_timer_lateness_us: self.lateness.max_us(),
            lost_notices: self.outbox.lost(),
            unknown_adverts: self.routers.election.unknown_total(),
            unknown_vrids: unknown.collect(),
        };
        ElectionSnapshot { routers: routers.collect(), guarded: self.leases.guardian.guarded(), thread }
    }
}
