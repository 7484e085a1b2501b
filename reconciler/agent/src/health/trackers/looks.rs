//! Programs and files, observed again and again.

use std::path::Path;
use std::time::Duration;

use evenkeel_health::{Finding, tracker};
use evenkeel_schemas::plan::{Tracker, Watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Reporter;
use crate::programs::run::{self, Program};
use crate::system::files::{self, Trust};

/// Least time from one observation to the next.
const SHORTEST: Duration = Duration::from_millis(10);
/// Time between the first observations of trackers that are new at once.
const SPREAD: Duration = Duration::from_millis(10);
/// Longest time until a first observation.
const LONGEST_SPREAD: Duration = Duration::from_secs(1);
/// Most of a file that is read, bytes.
const FILE_MAX: u64 = 4096;
/// Least time limit for reading a file: a network file system may hang.
const FILE_LIMIT: Duration = Duration::from_secs(1);

/// Watches one tracker, the `n`-th of those that are new, until nobody listens. An observation that takes
/// longer than the interval is followed by the next at once.
pub(super) async fn watch(tracker: Tracker, n: u32, trust: Trust, reporter: Reporter) {
    let interval = match &tracker.watch {
        Watch::Script { interval, .. } | Watch::File { interval, .. } => interval.as_duration(),
        Watch::Interface { .. } | Watch::Process { .. } | Watch::Service { .. } => return,
    };
    sleep((SPREAD * n).min(interval).min(LONGEST_SPREAD)).await;
    loop {
        let next = Instant::now() + interval.max(SHORTEST);
        let listens = match &tracker.watch {
            Watch::File { path, .. } => observe_file(&tracker, path, interval, &reporter).await,
            watch => reporter.report(&tracker.name, script(watch, trust).await).await.is_ok(),
        };
        if !listens {
            return;
        }
        sleep_until(next).await;
    }
}

async fn script(watch: &Watch, trust: Trust) -> Finding {
    let Watch::Script { command, user, timeout, .. } = watch else {
        return Finding::failure("not a program");
    };
    let limit = timeout.as_duration();
    let user = user.as_deref();
    let program = Program { command, arguments: &[], environment: &[], user, limit, trust };
    let ended = run::run(program).await;
    if ended.is_success() { Finding::success("exit code 0") } else { Finding::failure(ended.to_string()) }
}

/// Reads the file and reports the finding. Returns false when nobody listens any more.
async fn observe_file(tracker: &Tracker, path: &str, interval: Duration, reporter: &Reporter) -> bool {
    let file = path.to_owned();
    // The file only changes a priority, so anybody may write it.
    let mut look = tokio::task::spawn_blocking(move || files::read_beginning(Path::new(&file), FILE_MAX));
    let limit = interval.max(FILE_LIMIT);
    let content = match timeout(limit, &mut look).await {
        Ok(content) => content,
        Err(_) => {
            let late = tracker::file(Err(&format!("{path}: not read within {limit:?}")));
            if reporter.report(&tracker.name, late).await.is_err() {
                return false;
            }
            // One observation at a time: a file system that hangs does not take all threads.
            look.await
        }
    };
    let content = match content {
        Ok(content) => content.map_err(|error| format!("{path}: {error}")),
        Err(error) => Err(format!("{path}: {error}")),
    };
    let finding = tracker::file(content.as_deref().map_err(String::as_str));
    reporter.report(&tracker.name, finding).await.is_ok()
}
