//! Content that the head wants on the disk, carried to `state::disk`, and the result.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::Ledger;
use evenkeel_host::Input;
use evenkeel_host::io::{self, NotWritten, Urgency, WriteId};
use tracing::{error, info};

use super::FIRST_WRITE;
use crate::state::StateDir;
use crate::state::disk::{Content, Disk, File, News, Revision, Waiting};
use crate::system::moment;

/// The disk, and the writing that the head waits for.
pub(super) struct Persisting {
    disk: Disk,
    state: Arc<StateDir>,
    /// Objects that were ours when the daemon started.
    ledger: Ledger,
    /// One writing at a time: the head has one desk.
    awaited: Option<(WriteId, File, Revision)>,
}

impl From<io::Content> for Content {
    fn from(content: io::Content) -> Self {
        match content {
            io::Content::Orders(orders) => Self::Orders(orders),
            io::Content::DrainOrders(orders) => Self::DrainOrders(orders),
            io::Content::Maintenance(serving) => Self::Maintenance(Arc::new(serving)),
            io::Content::Probation(record) => Self::Probation(record),
            io::Content::Trial(before, record) => Self::Trial(before, record),
            io::Content::LastGood(loaded) => Self::LastGood(loaded),
        }
    }
}

impl Persisting {
    pub(super) const fn new(disk: Disk, state: Arc<StateDir>, ledger: Ledger) -> Self {
        Self { disk, state, ledger, awaited: None }
    }

    /// The state directory.
    pub(super) fn directory(&self) -> &Path {
        self.state.path()
    }

    pub(super) const fn state(&self) -> &Arc<StateDir> {
        &self.state
    }

    /// Objects that were ours when the daemon started.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether the disk does not take the ledger, so that no new object can be named.
    pub(super) fn names_nothing(&self) -> bool {
        self.disk.in_trouble(File::Ledger)
    }

    /// Files whose content is not on the disk.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.disk.waiting()
    }

    /// Has content written. Returns the result, if it is waited for and known already.
    pub(super) fn persist(&mut self, id: WriteId, content: io::Content, urgency: Urgency) -> Option<Input> {
        let content = Content::from(content);
        let file = content.file();
        let revision = match urgency {
            Urgency::Later | Urgency::First | Urgency::Answered => self.disk.keep(content),
            Urgency::Attempt => self.disk.attempt(content),
        };
        match urgency {
            Urgency::Later => None,
            Urgency::First => {
                self.disk.wait(file, FIRST_WRITE);
                None
            }
            Urgency::Answered | Urgency::Attempt => {
                self.awaited = Some((id, file, revision));
                self.outcome().or_else(|| {
                    // A disk that has not answered others will not answer this one in time.
                    self.disk.hangs().then(|| Input::Persisted(id, Err(NotWritten::NoAnswer)))
                })
            }
        }
    }

    /// Result of the writing that the head waits for, once it is known.
    pub(super) fn outcome(&mut self) -> Option<Input> {
        let (id, file, revision) = self.awaited?;
        let outcome = self.disk.outcome(file, revision)?;
        self.awaited = None;
        let result = outcome.map_err(|error| NotWritten::Refused(error.to_string()));
        Some(Input::Persisted(id, result))
    }

    /// Withdraws a writing that the head does not wait for any longer: the old content stays.
    pub(super) fn withdraw(&mut self, id: WriteId) {
        if let Some((_, file, revision)) = self.awaited.take_if(|(awaited, ..)| *awaited == id) {
            self.disk.withdraw(file, revision);
        }
    }

    /// Logs when the state directory cannot be written, and when it can be again.
    pub(super) fn log_news(&self) {
        let wall = |then| moment::now().wall(then);
        for news in self.disk.news() {
            match news {
                News::Trouble(Waiting { file, since, reason: Some(reason) }) => {
                    error!(%file, "{file} cannot be written since {}, and is tried again: \
                        {reason}", wall(since));
                }
                News::Trouble(Waiting { file, since, reason: None }) => {
                    error!(%file, "{file} waits for the disk since {}, which does not answer", wall(since));
                }
                News::Over(file, lasted) => info!(%file, "{file} is kept again, after {lasted:.1?}"),
            }
        }
    }

    /// Waits until everything is written that can be, for `patience` at most. Returns the files whose content
    /// is not on the disk.
    pub(super) fn stop(&self, patience: Duration) -> Vec<Waiting> {
        self.disk.stop(patience)
    }
}
