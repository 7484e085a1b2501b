//! Interfaces, observed when the kernel sends an event of one, and from time to time.

use std::fmt;
use std::io;
use std::time::Duration;

use evenkeel_health::tracker::interface;
use evenkeel_kernel::{Kernel, KernelError, Link};
use evenkeel_schemas::plan::{Tracker, Watch};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::task::JoinError;
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
            Err(error) => warn!(%error, "cannot look at interfaces: trackers stay as they are"),
        }
        sleep(RENEW).await;
    }
}

/// Reason why interfaces are not watched.
#[derive(Debug)]
enum ListenError {
    /// There is no socket for the kernel's events.
    Socket(io::Error),
    /// The kernel does not tell its interfaces.
    Kernel(KernelError),
    /// The thread that asked the kernel has panicked.
    Panicked(JoinError),
    /// The kernel's events ended.
    Ended,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::Panicked(error) => error.fmt(f),
            Self::Ended => f.write_str("the kernel's events ended"),
        }
    }
}

async fn listen(trackers: &[Tracker], reporter: &Reporter) -> Result<(), ListenError> {
    let (connection, _, mut events) =
        new_multicast_connection(&[MulticastGroup::Link]).map_err(ListenError::Socket)?;
    let follow = async {
        let mut kernel = Kernel::new().map_err(ListenError::Kernel)?;
        loop {
            let looked = tokio::task::spawn_blocking(move || (kernel.links(), kernel)).await;
            let links;
            (links, kernel) = looked.map_err(ListenError::Panicked)?;
            if !report_all(trackers, &links.map_err(ListenError::Kernel)?, reporter).await {
                return Ok(());
            }
            sleep(PAUSE).await;
            // Events are only a reason to observe.
            if timeout(RESYNC, events.recv()).await.is_ok_and(|event| event.is_err()) {
                return Err(ListenError::Ended);
            }
            while events.try_recv().is_ok() {}
        }
    };
    tokio::select! {
        result = follow => result,
        () = connection => Err(ListenError::Ended),
    }
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
