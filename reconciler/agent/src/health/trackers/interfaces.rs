//! Interfaces, observed when the kernel sends an event of one, and from time to time.

use std::time::Duration;

use evenkeel_health::tracker::interface;
use evenkeel_kernel::{Kernel, KernelError, Link};
use evenkeel_schemas::plan::{Tracker, Watch};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Reporter;

/// Longest time between two observations.
const RESYNC: Duration = Duration::from_secs(5);
/// Least time between two observations.
const PAUSE: Duration = Duration::from_millis(20);
/// Time until a socket that ended is replaced.
const RENEW: Duration = Duration::from_secs(1);

/// Watches interfaces until nobody listens. An observation that fails changes nothing.
pub(super) async fn watch(trackers: Vec<Tracker>, reporter: Reporter) {
    loop {
        match listen(&trackers, &reporter).await {
            Ok(()) => return,
            Err(error) => warn!("cannot look at interfaces ({error}): trackers stay as they are"),
        }
        sleep(RENEW).await;
    }
}

async fn listen(trackers: &[Tracker], reporter: &Reporter) -> Result<(), String> {
    let (connection, _, mut events) =
        new_multicast_connection(&[MulticastGroup::Link]).map_err(|error| error.to_string())?;
    let follow = async {
        let mut kernel = Kernel::new().map_err(words)?;
        loop {
            let looked = tokio::task::spawn_blocking(move || (kernel.links(), kernel)).await;
            let links;
            (links, kernel) = looked.map_err(|error| error.to_string())?;
            if !report_all(trackers, &links.map_err(words)?, reporter).await {
                return Ok(());
            }
            sleep(PAUSE).await;
            // Events are only a reason to observe.
            if timeout(RESYNC, events.recv()).await.is_ok_and(|event| event.is_err()) {
                return Err("the kernel's events ended".to_owned());
            }
            while events.try_recv().is_ok() {}
        }
    };
    tokio::select! {
        result = follow => result,
        () = connection => Err("the kernel's events ended".to_owned()),
    }
}

fn words(error: KernelError) -> String {
    error.to_string()
}

/// Reports the findings of all trackers. Returns false when nobody listens any more.
async fn report_all(trackers: &[Tracker], links: &[Link], reporter: &Reporter) -> bool {
    for tracker in trackers {
        let Watch::Interface { interface: name } = &tracker.watch else { continue };
        let link = links.iter().find(|link| link.name == name.as_str());
        let finding = interface(link.map(|Link { up, carrier, .. }| (*up, *carrier)));
        if reporter.report(&tracker.name, finding).await.is_err() {
            return false;
        }
    }
    true
}
