//! Facts for the status document that only the kernel knows: connections, traffic, synchronisation. Read on
//! request, on a thread that may wait.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{ServiceKey, SyncDaemon, SyncRole};
use evenkeel_host::Questions;
use evenkeel_kernel::{Counters, DestinationUsage, Kernel, KernelError, Origins, connection_origins};
use evenkeel_schemas::status::{
    ConnectionCounts, ConnectionSyncStatus, Status, SyncHalf, TrafficCounters, VirtualServerStatus,
};

/// Most connections that are counted by where they come from.
const MOST_CONNECTIONS: usize = 100_000;

/// Facts to read from the kernel.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsageQuestion {
    /// Key of each virtual server, in the order of the document.
    pub(crate) services: Vec<Option<ServiceKey>>,
    /// Whether all connections and all traffic are wanted.
    pub(crate) usage: bool,
    /// Wanted synchronisation of connections, when the plan has any.
    pub(crate) sync: Option<BTreeMap<SyncRole, SyncDaemon>>,
}

impl From<Questions> for UsageQuestion {
    fn from(questions: Questions) -> Self {
        Self { services: questions.services, usage: false, sync: questions.sync }
    }
}

impl UsageQuestion {
    /// Whether the kernel has to be asked at all.
    pub(crate) fn is_empty(&self, status: &Status) -> bool {
        !self.usage && self.sync.is_none() && !status.virtual_servers.iter().any(drains)
    }

    /// Puts the answers into the document. Facts that cannot be read stay absent.
    pub(crate) fn answer(&self, status: &mut Status) -> Result<(), KernelError> {
        let mut kernel = Kernel::new()?;
        if let Some(wanted) = &self.sync {
            status.connection_sync = sync(&mut kernel, wanted);
        }
        let keys = self.services.iter().zip(&status.virtual_servers);
        let asked: BTreeSet<ServiceKey> =
            keys.filter(|(_, server)| self.usage || drains(server)).filter_map(|(key, _)| *key).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let usage = kernel.ipvs_usage(if self.usage { None } else { Some(&asked) })?;
        for (key, server) in self.services.iter().zip(&mut status.virtual_servers) {
            let Some(found) = key.and_then(|key| usage.get(&key)) else { continue };
            let by_address: BTreeMap<String, &DestinationUsage> =
                found.destinations.iter().map(|(key, usage)| (key.to_string(), usage)).collect();
            let of = |address: &str| by_address.get(address).map(|usage| used(usage));
            if self.usage {
                server.counters = Some(traffic(found.counters));
            }
            for destination in &mut server.destinations {
                let counts = of(&destination.address);
                if self.usage {
                    destination.connections = counts;
                }
                if let Some(drain) = &mut destination.drain {
                    drain.left = counts.or(drain.left);
                }
            }
            for leaving in &mut server.leaving {
                leaving.drain.left = of(&leaving.address).or(leaving.drain.left);
            }
        }
        Ok(())
    }
}

fn drains(server: &VirtualServerStatus) -> bool {
    !server.leaving.is_empty() || server.destinations.iter().any(|destination| destination.drain.is_some())
}

fn sync(kernel: &mut Kernel, wanted: &BTreeMap<SyncRole, SyncDaemon>) -> Option<ConnectionSyncStatus> {
    let daemon = wanted.values().next()?;
    let (have, unread) = match kernel.sync_daemons() {
        Ok(have) => (have, None),
        Err(error) => (BTreeMap::new(), Some(error.to_string())),
    };
    let runs = |role: &SyncRole| {
        let met = wanted.get(role).zip(have.get(role)).is_some_and(|(wanted, have)| wanted.is_met_by(have));
        met.then(|| half(*role))
    };
    let running: Vec<SyncHalf> = wanted.keys().filter_map(runs).collect();
    let missing: Vec<String> = wanted
        .keys()
        .map(|role| half(*role))
        .filter(|half| !running.contains(half))
        .map(|half| half.to_string())
        .collect();
    let origins = connection_origins(MOST_CONNECTIONS);
    let unread = unread.or_else(|| origins.as_ref().err().map(|error| format!("connections: {error}")));
    let Origins { own, received, more } = origins.unwrap_or_default();
    Some(ConnectionSyncStatus {
        wanted: wanted.keys().map(|role| half(*role)).collect(),
        running,
        interface: daemon.interface.clone(),
        id: u8::try_from(daemon.id).unwrap_or(u8::MAX),
        problem: unread.or_else(|| {
            (!missing.is_empty())
                .then(|| format!("does not run as {}, or runs otherwise", missing.join(", ")))
        }),
        received_connections: received,
        own_connections: own,
        more,
    })
}

const fn half(role: SyncRole) -> SyncHalf {
    match role {
        SyncRole::Master => SyncHalf::Master,
        SyncRole::Backup => SyncHalf::Backup,
    }
}

const fn used(usage: &DestinationUsage) -> ConnectionCounts {
    ConnectionCounts { active: usage.active, inactive: usage.inactive, persistent: usage.persistent }
}

const fn traffic(counters: Counters) -> TrafficCounters {
    let Counters { connections, packets_in, packets_out, bytes_in, bytes_out } = counters;
    TrafficCounters { connections, packets_in, packets_out, bytes_in, bytes_out }
}
