//! Probes under way: a task each, so many at a time, and the thread that watches the ways to their targets.

use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_health::Found;
use evenkeel_host::verdicts::target;
use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;
use tokio::sync::{Semaphore, mpsc};

use super::lookout::Lookout;
use super::probe;

/// Probes under way at a time.
const MAX_PROBES: usize = 1024;

/// A probe that has ended.
pub(crate) struct Probed {
    pub(crate) check: Check,
    pub(crate) began: MonoTime,
    pub(crate) found: Found,
}

/// Makes probes. Lives within a tokio runtime.
pub(crate) struct Prober {
    ended: mpsc::Sender<Probed>,
    places: Arc<Semaphore>,
    lookout: Lookout,
}

impl Prober {
    /// Probes that end are sent to `ended`.
    pub(crate) fn new(ended: mpsc::Sender<Probed>, lookout: Lookout) -> Self {
        Self { ended, places: Arc::new(Semaphore::new(MAX_PROBES)), lookout }
    }

    /// A handle to the thread that watches ways and addresses.
    pub(crate) fn lookout(&self) -> Lookout {
        self.lookout.clone()
    }

    /// These are the targets now.
    pub(crate) fn watch_ways(&self, targets: Vec<IpAddr>) {
        self.lookout.watch(targets);
    }

    /// Makes a probe, begun at this time.
    pub(crate) fn probe(&self, check: Check, began: MonoTime) {
        let (ended, places, lookout) = (self.ended.clone(), Arc::clone(&self.places), self.lookout.clone());
        tokio::spawn(async move {
            let Ok(_place) = places.acquire_owned().await else { return };
            let found = probe::run(&check).await;
            // Whose fault it is is judged by what is so now, of which the news may not have come.
            if let Found::Failed(_) = found {
                lookout.look(target(&check).ip()).await;
            }
            ended.send(Probed { check, began, found }).await.ok();
        });
    }
}
