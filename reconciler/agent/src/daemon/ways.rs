//! What is in the way of the plan: looked for from time to time, on a thread that may wait, and told when it comes and goes.

use evenkeel_kernel::clock;
use evenkeel_schemas::status::ObjectText;
use tracing::{debug, info, warn};

use super::Daemon;
use crate::in_the_way;

impl Daemon {
    /// A plan has come into force: it may have other VIPs.
    pub(super) fn look_in_the_way_soon(&mut self) {
        self.way_at = Some(clock::now() + in_the_way::SOON);
    }

    pub(super) fn look_in_the_way(&mut self) {
        self.way_at = None;
        let (loaded, ways) = (self.facts.plan(), self.ways.clone());
        tokio::task::spawn_blocking(move || {
            let found = loaded.map_or(Ok(Vec::new()), |loaded| in_the_way::look(&loaded.plan));
            ways.blocking_send(found).ok();
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
