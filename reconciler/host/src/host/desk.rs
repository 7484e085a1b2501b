//! The one desk for what must be on the disk before it is in force, and in force before it is acknowledged: orders for routers, orders
//! to drain, and what is decided about plans on probation. One at a time; the next ones wait. What an order means is decided in
//! `orders`, `drains` and `probation`, how files are written is the agent's.
//!
//! Everybody is answered: where the disk refuses, at once; where it does not answer, after [`ANSWER_LIMIT`], and what was to be written
//! is withdrawn.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use super::Host;
use super::decided::Then;
use crate::io::{Content, NotWritten, Output, Request, RequestId, Urgency, WriteId};
use crate::moment::Moment;

/// Requests that wait for the one that is being written: more than the socket has connections.
const MAX_WAITING: usize = 32;
/// How long the disk may take before a request is answered without it: less than clients wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What is at the desk and what waits for it.
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
    /// Whether something is being written that somebody waits for.
    pub(super) const fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// When the disk has had its time.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.current.as_ref().map(|current| current.until)
    }
}

impl Host {
    /// Takes a request, or lets it wait for the one at the desk.
    pub(super) fn request(&mut self, id: RequestId, request: Request, at: &Moment) {
        if self.desk.waiting.len() < MAX_WAITING {
            self.desk.waiting.push_back((id, request));
        } else {
            self.push(Output::Overloaded(id));
        }
        self.next_request(at);
    }

    /// Takes requests until one has to be written. A probation whose time has come goes first: on a disk that does not answer each request
    /// takes its whole time, and there may be many.
    pub(super) fn next_request(&mut self, at: &Moment) {
        if !self.is_deciding() && self.probation.due().is_some_and(|due| due <= at.now) {
            self.probation_due(at);
        }
        while !self.is_deciding() {
            // What a plan on probation goes back to is being read after a restart.
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

    /// Has something written that nobody waits for.
    pub(super) fn persist_later(&mut self, content: Content) {
        let id = self.next_write();
        self.push(Output::Persist(id, content, Urgency::Later));
    }

    /// Has something written that somebody waits for; it is not in force before. The desk must be free.
    pub(super) fn persist(&mut self, content: Content, then: Then, at: &Moment) {
        let id = self.next_write();
        let urgency = match &then {
            Then::RolledBack(_) => Urgency::Answered,
            Then::Order(_) | Then::Drain(_) | Then::Trial(_) | Then::Confirmed(_) => Urgency::Attempt,
        };
        self.desk.current = Some(Current { id, until: at.now + ANSWER_LIMIT, then });
        self.push(Output::Persist(id, content, urgency));
    }

    /// The disk has had its time for what is at the desk.
    pub(super) fn desk_due(&mut self, at: &Moment) {
        if let Some(id) = self.desk.current.as_ref().map(|current| current.id) {
            self.persisted(id, Err(NotWritten::NoAnswer), at);
        }
    }

    /// What is at the desk is on the disk, or is not.
    pub(super) fn persisted(&mut self, id: WriteId, result: Result<(), NotWritten>, at: &Moment) {
        let Some(Current { then, .. }) = self.desk.current.take_if(|current| current.id == id) else {
            return;
        };
        if result.is_err() && !matches!(then, Then::RolledBack(_)) {
            self.push(Output::Withdraw(id));
        }
        match then {
            Then::Order(written) => self.order_written(written, result, at),
            Then::Drain(written) => self.drain_written(written, result, at),
            Then::Trial(begins) => self.began(begins, result, at),
            Then::Confirmed(confirms) => self.confirmed(confirms, result, at),
            Then::RolledBack(id) => self.rolled_back_written(id, result),
        }
        self.next_request(at);
    }
}
