//! What is in the way of the plan: looked for from time to time, on a thread that may wait, and told when it comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_kernel::clock;
use evenkeel_schemas::status::ObjectText;
use tracing::{debug, info, warn};

use super::Daemon;
use crate::daemon::in_the_way;
use crate::health::lookout::Lookout;
use evenkeel_host::loaded::LoadedPlan;

impl Daemon {
    /// A plan has come into force: it may have other VIPs.
    pub(super) fn look_in_the_way_soon(&mut self) {
        self.way_at = Some(clock::now() + in_the_way::SOON);
    }

    pub(super) fn look_in_the_way(&mut self) {
        self.way_at = None;
        let (loaded, ways, lookout) = (self.facts.plan(), self.ways.clone(), self.checks.lookout());
        tokio::spawn(async move {
            let found = match loaded {
                Some(loaded) => look(&lookout, loaded).await,
                None => Ok(Vec::new()),
            };
            ways.send(found).await.ok();
        });
    }

    pub(super) fn found_in_the_way(&mut self, found: Result<Vec<ObjectText>, String>) {
        // A plan that came meanwhile has its own time.
        self.way_at.get_or_insert(clock::now() + in_the_way::EVERY);
        match found {
            Ok(found) => {
                let before = std::mem::replace(&mut self.facts.in_the_way, found);
                let now = &self.facts.in_the_way;
                for new in now.iter().filter(|object| !before.contains(object)) {
                    warn!("in the way: {}", new.object);
                }
                for gone in before.iter().filter(|object| !now.contains(object)) {
                    info!("no longer in the way: {}", gone.object);
                }
            }
            Err(why) => debug!("what is in the way cannot be found out: {why}"),
        }
    }
}

async fn look(lookout: &Lookout, loaded: Arc<LoadedPlan>) -> Result<Vec<ObjectText>, String> {
    let interfaces = in_the_way::interfaces(&loaded.plan);
    let addresses =
        if interfaces.is_empty() { BTreeSet::new() } else { lookout.addresses(interfaces).await? };
    // Reading /proc may take a while on a host with many processes.
    let found = tokio::task::spawn_blocking(move || in_the_way::look(&loaded.plan, &addresses)).await;
    found.map_err(|error| error.to_string())?
}
