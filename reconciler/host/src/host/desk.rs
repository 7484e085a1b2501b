//! The one desk for content that must be on the disk before it is in force, and in force before it is
//! acknowledged: orders for routers, orders to drain, and decisions about plans on probation. One at a time;
//! the others wait. What an order means is decided in `orders`, `drains` and `probation`; how files are
//! written is the agent's.
//!
//! Every request is answered: where the disk refuses, at once; where the disk does not answer, after
//! [`ANSWER_LIMIT`], and the content is withdrawn.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use super::Host;
use super::decided::Then;
use crate::io::{Content, NotWritten, Output, Request, RequestId, Urgency, WriteId};
use crate::moment::Moment;

/// Most requests that wait for the one being written. The socket has twice as many connections; the requests
/// of those beyond are refused.
const MAX_WAITING: usize = 32;
/// Time that the disk may take before a request is answered without it: less than clients wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The content at the desk and the requests that wait.
#[derive(Default)]
pub(super) struct Desk {
    current: Option<Current>,
    waiting: VecDeque<(RequestId, Request)>,
}

struct Current {
    id: WriteId,
    until: MonoTime,
    then: Then,
}

impl Desk {
    /// Whether content is being written that a decision waits for.
    pub(super) const fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Time at which the disk has used up its limit.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.current.as_ref().map(|current| current.until)
    }
}

impl Host {
    /// Handles a request, or queues it behind the one at the desk. Answers [`Output::Overloaded`] when too
    /// many wait.
    pub(super) fn handle_request(&mut self, id: RequestId, request: Request, at: &Moment) {
        if self.desk.waiting.len() < MAX_WAITING {
            self.desk.waiting.push_back((id, request));
        } else {
            self.push(Output::Overloaded(id));
        }
        self.next_request(at);
    }

    /// Handles requests until one has to be written. A probation whose time has come goes first: on a disk
    /// that does not answer each request takes its whole limit, and there may be many.
    pub(super) fn next_request(&mut self, at: &Moment) {
        if !self.is_deciding() && self.probation.due().is_some_and(|due| due <= at.now) {
            self.probation_due(at);
        }
        while !self.is_deciding() {
            // The plan to go back to is being read after a restart: until then there is nothing to confirm or
            // roll back.
            let loading = self.is_loading_before();
            let can_wait = |request: &Request| match request {
                Request::Probation(_) => loading,
                Request::Order(request) => self.must_wait(request),
                Request::Drain(_) => false,
            };
            let next = self.desk.waiting.iter().position(|(_, request)| !can_wait(request));
            let Some((id, request)) = next.and_then(|next| self.desk.waiting.remove(next)) else { return };
            match request {
                Request::Order(request) => self.order(id, request, at),
                Request::Drain(request) => self.drain(id, request, at),
                Request::Probation(request) => self.probation_request(id, &request, at),
            }
        }
    }

    /// Has content written that no decision waits for.
    pub(super) fn persist_later(&mut self, content: Content) {
        let id = self.next_write();
        self.push(Output::Persist(id, content, Urgency::Later));
    }

    /// Has content written that a decision waits for; it is not in force before. The desk must be free.
    pub(super) fn persist(&mut self, content: Content, then: Then, at: &Moment) {
        let id = self.next_write();
        let urgency = match &then {
            Then::RolledBack(_) => Urgency::Answered,
            Then::Order(_) | Then::Drain(_) | Then::Trial(_) | Then::Confirmed(_) => Urgency::Attempt,
        };
        self.desk.current = Some(Current { id, until: at.now + ANSWER_LIMIT, then });
        self.push(Output::Persist(id, content, urgency));
    }

    /// The disk has used up its limit for the content at the desk.
    pub(super) fn desk_due(&mut self, at: &Moment) {
        if let Some(id) = self.desk.current.as_ref().map(|current| current.id) {
            self.persisted(id, Err(NotWritten::NoAnswer), at);
        }
    }

    /// The content at the desk is on the disk, or is not. An answer about other content is ignored.
    pub(super) fn persisted(&mut self, id: WriteId, result: Result<(), NotWritten>, at: &Moment) {
        let Some(Current { then, .. }) = self.desk.current.take_if(|current| current.id == id) else {
            return;
        };
        // Otherwise content that was refused could reach the disk later, after its order was answered with an
        // error. A rollback is in force already and shall get there.
        if result.is_err() && !matches!(then, Then::RolledBack(_)) {
            self.push(Output::Withdraw(id));
        }
        match then {
            Then::Order(written) => self.order_written(written, result, at),
            Then::Drain(written) => self.drain_written(written, result, at),
            Then::Trial(begins) => self.trial_written(begins, result, at),
            Then::Confirmed(confirms) => self.confirmation_written(confirms, result, at),
            Then::RolledBack(id) => self.rolled_back_written(id, result),
        }
        self.next_request(at);
    }
}
