//! What a source remembers over restarts and shows in the status: shared by the source itself, by requests
//! and by the main loop. A change is on the disk before it is in force.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_host::Moment;
use evenkeel_schemas::status::{GitStatus, SourceStatus, SourceTrouble};
use evenkeel_schemas::time::MonoTime;
use tokio::sync::watch;

use super::memory::{Commit, SourceMemory};
use crate::system::moment;

/// The disk did not take a change.
#[derive(Debug)]
pub(crate) struct NotKept;

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state directory cannot be written, so nothing is changed")
    }
}

/// What a repository is like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Whether only signed commits are taken.
    pub(crate) signed: bool,
    /// Time of its last answer.
    pub(crate) answered: Option<MonoTime>,
    /// What is wrong, and since when.
    pub(crate) trouble: Option<(MonoTime, Trouble)>,
}

/// What is wrong with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The commit that is refused; absent when the repository does not answer as it should.
    pub(crate) refused: Option<Commit>,
    /// Sentence for people.
    pub(crate) reason: String,
}

/// A handle.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<KeptState>);

struct KeptState {
    /// Writes it, and says whether the disk has it. May wait for the disk.
    write: Box<dyn Fn(&SourceMemory) -> bool + Send + Sync>,
    /// Held while a change is written: one at a time.
    changing: Mutex<()>,
    memory: watch::Sender<SourceMemory>,
    report: Mutex<Option<Report>>,
}

impl fmt::Debug for KeptState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.borrow().fmt(f)
    }
}

impl Kept {
    /// `memory` is what was found on the disk; `write` writes another, and says whether the disk has it.
    pub(crate) fn new(
        memory: SourceMemory,
        write: impl Fn(&SourceMemory) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (memory, _) = watch::channel(memory);
        Self(Arc::new(KeptState {
            write: Box::new(write),
            changing: Mutex::default(),
            memory,
            report: Mutex::default(),
        }))
    }

    fn report_now(&self) -> MutexGuard<'_, Option<Report>> {
        // A panic elsewhere leaves the report whole.
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows another report.
    pub(crate) fn show(&self, report: Report) {
        *self.report_now() = Some(report);
    }

    /// Whether the source is a repository.
    pub(crate) fn is_repository(&self) -> bool {
        self.report_now().is_some()
    }

    /// What is remembered now.
    pub(crate) fn memory(&self) -> SourceMemory {
        self.0.memory.borrow().clone()
    }

    /// Remembers something else, once it is on the disk. May wait for the disk.
    ///
    /// # Errors
    /// When the disk does not take it in time.
    pub(crate) fn change(&self, change: impl FnOnce(&mut SourceMemory)) -> Result<(), NotKept> {
        let _one = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.memory();
        change(&mut next);
        if next == *self.0.memory.borrow() {
            return Ok(());
        }
        if !(self.0.write)(&next) {
            return Err(NotKept);
        }
        self.0.memory.send_replace(next);
        Ok(())
    }

    /// Time until which nothing new is taken, milliseconds since 1970; none when that is over, or never
    /// began.
    pub(crate) fn paused_until(&self, now_ms: u64) -> Option<u64> {
        self.0.memory.borrow().paused_until_ms.filter(|until| *until > now_ms)
    }

    /// Waits until nothing keeps this host from taking plans. Dropping the future loses nothing.
    pub(crate) async fn unpaused(&self) {
        /// Longest sleep: the wall clock may be set meanwhile.
        const NAP: Duration = Duration::from_secs(5);
        let mut changes = self.0.memory.subscribe();
        loop {
            let now = moment::now().wall_ms;
            let Some(until) = self.paused_until(now) else { return };
            let nap = Duration::from_millis(until - now).min(NAP);
            tokio::time::timeout(nap, changes.changed()).await.ok();
        }
    }

    /// The source as the status shows it.
    pub(crate) fn status(&self, address: String, at: &Moment) -> SourceStatus {
        let SourceMemory { record, .. } = self.memory();
        let git = |report: &Report| GitStatus {
            signed: report.signed,
            commit: record.accepted.as_ref().map(|accepted| accepted.commit.to_string()),
            commits: record.accepted.as_ref().map_or(0, |accepted| accepted.count),
            accepted: record.accepted.as_ref().map(|accepted| accepted.at.clone()),
            answered: report.answered.map(|then| at.wall(then)),
            age_ms: report
                .answered
                .map(|then| u64::try_from(at.now.since(then).as_millis()).unwrap_or(u64::MAX)),
            trouble: report.trouble.as_ref().map(|(since, trouble)| SourceTrouble {
                since: at.wall(*since),
                refused: trouble.refused.as_ref().map(Commit::to_string),
                reason: trouble.reason.clone(),
            }),
        };
        SourceStatus {
            address,
            git: self.report_now().as_ref().map(git),
            paused_until: self.paused_until(at.wall_ms).map(wall_text),
        }
    }
}

/// RFC 3339 text of a time in milliseconds since 1970.
pub(crate) fn wall_text(ms: u64) -> String {
    /// 9999-12-31T23:59:59Z: later times have no such text.
    const LAST: u64 = 253_402_300_799_000;
    let then = std::time::UNIX_EPOCH + Duration::from_millis(ms.min(LAST));
    humantime::format_rfc3339_seconds(then).to_string()
}
