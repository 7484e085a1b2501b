//! A check by a file on this host. A file that cannot be read says nothing of the target.

use std::path::Path;
use std::time::Duration;

use evenkeel_health::Found;
use evenkeel_health::ask::file::{FILE_MAX, read};
use evenkeel_health::fault::Words;
use evenkeel_schemas::plan::FileCheck;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::tools::Tools;
use super::unprepared;
use crate::system::files;

/// Most files that are read at a time: a network file system may hang, and each takes a thread.
static READS: Semaphore = Semaphore::const_new(8);

/// Makes one probe.
pub(super) async fn run(check: &FileCheck, limit: Duration, tools: &Tools) -> Found {
    let path = &check.file;
    let pattern = match check.body.as_deref().map(|text| tools.pattern(text)).transpose() {
        Ok(pattern) => pattern,
        Err(found) => return found,
    };
    let file = path.clone();
    let reading = async {
        let Ok(place) = READS.acquire().await else { return None };
        let look = move || {
            // Held until it was read, also when nobody waits for it any more.
            let _place = place;
            files::read_beginning(Path::new(&file), FILE_MAX)
        };
        tokio::task::spawn_blocking(look).await.ok()
    };
    let late = || unprepared(format!("{path} could not be read in {}", Words(limit)));
    let Ok(Some(content)) = timeout(limit, reading).await else { return late() };
    let content = match content {
        Ok(content) => Some(content),
        Err(error) if error.is_absence() => None,
        Err(error) => return unprepared(format!("{path} cannot be read: {error}")),
    };
    match read(path, content.as_deref(), pattern.as_deref()) {
        Ok(says) => Found::Healthy(says),
        Err(fault) => fault.into(),
    }
}
