//! The one desk for what must be on the disk before it is in force, and in force before it is acknowledged: orders for routers, orders
//! to drain, and what is decided about plans on probation. One at a time; the next ones wait. What an order means is decided elsewhere
//! (`orders`, `drains`, `probation`), how files are written in `state::disk`.
//!
//! Everybody is answered: where the disk refuses, at once; where it does not answer, after [`ANSWER_LIMIT`], and what was to be written
//! is taken back.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use tracing::{error, info};

use super::{Daemon, drains, orders, probation};
use crate::api::server::Ask;
use crate::api::status;
use crate::state::disk::{Content, File, News, Revision, Waiting, WriteError};

/// Requests that wait for the one that is being written: more than the socket has connections.
const MAX_WAITING: usize = 32;
/// How long the disk may take before a request is answered without it: less than clients wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Why something is not on the disk.
#[derive(Debug, Clone)]
pub(super) enum NotWritten {
    /// The disk refuses it.
    Refused(WriteError),
    /// The disk says nothing within [`ANSWER_LIMIT`].
    NoAnswer,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::NoAnswer => f.write_str("the disk does not answer"),
        }
    }
}

/// What is done once something is on the disk, or cannot be.
pub(super) enum Then {
    /// An order for routers comes into force.
    Order(orders::Written),
    /// An order to drain comes into force.
    Drain(drains::Written),
    /// A plan comes into force on probation.
    Trial(probation::Begins),
    /// A plan is confirmed.
    Confirmed(probation::Confirms),
    /// A rollback, which is in force already, is acknowledged.
    RolledBack(probation::Reply),
}

/// What is at the desk and what waits for it.
#[derive(Default)]
pub(super) struct Desk {
    current: Option<Current>,
    waiting: VecDeque<Ask>,
}

struct Current {
    file: File,
    revision: Revision,
    until: MonoTime,
    then: Then,
}

impl Desk {
    /// Whether something is being written that somebody waits for. Plans, and what is due of a probation, wait as well.
    pub(super) const fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// When the disk has had its time.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.current.as_ref().map(|current| current.until)
    }
}

impl Daemon {
    /// Takes a request, or lets it wait for the one at the desk. One that is not taken is told so by its reply, which goes.
    pub(super) fn request(&mut self, ask: Ask) {
        if self.desk.waiting.len() < MAX_WAITING {
            self.desk.waiting.push_back(ask);
        }
        self.next_request();
    }

    /// Takes requests until one has to be written.
    pub(super) fn next_request(&mut self) {
        while self.desk.current.is_none() {
            // What a plan on probation goes back to is being read after a restart.
            let loading = self.is_loading_before();
            let can_wait = |ask: &Ask| match ask {
                Ask::Probation(..) => loading,
                Ask::Order(request, _) => self.must_wait(request),
                Ask::Drain(..) | Ask::Status(..) => false,
            };
            let Some(next) = self.desk.waiting.iter().position(|ask| !can_wait(ask)) else { return };
            match self.desk.waiting.remove(next) {
                Some(Ask::Order(request, reply)) => self.order(request, reply),
                Some(Ask::Drain(request, reply)) => self.drain(request, reply),
                Some(Ask::Probation(request, reply)) => self.told(request, reply),
                Some(Ask::Status(..)) | None => {}
            }
        }
    }

    /// Has something written that somebody waits for; it is not in force before. The desk must be free.
    pub(super) fn persist(&mut self, content: Content, then: Then) {
        let (file, now) = (content.file(), clock::now());
        // A disk that has not answered others will not answer this one in time.
        let until = if self.disk.hangs() { now } else { now + ANSWER_LIMIT };
        let revision = match &then {
            Then::RolledBack(_) => self.disk.keep(content),
            Then::Order(_) | Then::Drain(_) | Then::Trial(_) | Then::Confirmed(_) => {
                self.disk.attempt(content)
            }
        };
        self.desk.current = Some(Current { file, revision, until, then });
        self.persisted();
    }

    /// Looks what became of what is at the desk.
    pub(super) fn persisted(&mut self) {
        let Some(current) = &self.desk.current else { return };
        let result = match self.disk.outcome(current.file, current.revision) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(NotWritten::Refused(error)),
            None if clock::now() >= current.until => Err(NotWritten::NoAnswer),
            None => return,
        };
        let Some(Current { file, revision, then, .. }) = self.desk.current.take() else { return };
        if result.is_err() && !matches!(then, Then::RolledBack(_)) {
            self.disk.withdraw(file, revision);
        }
        match then {
            Then::Order(written) => self.order_written(written, result),
            Then::Drain(written) => self.drain_written(written, result),
            Then::Trial(begins) => self.began(begins, result),
            Then::Confirmed(confirms) => self.confirmed(confirms, result),
            Then::RolledBack(reply) => self.rolled_back_written(reply, result),
        }
        self.next_request();
    }

    /// Tells when the state directory cannot be written, and when it can be again.
    pub(super) fn tell_of_disk(&self) {
        for news in self.disk.news() {
            match news {
                News::Trouble(Waiting { file, since, reason: Some(reason) }) => {
                    error!(
                        "{file} cannot be written since {}, and is tried again: {reason}",
                        status::wall(since)
                    );
                }
                News::Trouble(Waiting { file, since, reason: None }) => {
                    error!("{file} waits for the disk since {}, which does not answer", status::wall(since));
                }
                News::Over(file, lasted) => info!("{file} is kept again, after {lasted:.1?}"),
            }
        }
    }
}
