//! Drains as operators see them: orders to drain, and lines of the log. An order is on the disk before it is
//! in force and before it is acknowledged (`desk`).

use std::collections::BTreeSet;

use evenkeel_converge::{Kind, Position, Standing};
use evenkeel_health::Verdict;
use evenkeel_schemas::plan::{Destination, VirtualServer};

use super::decided::{DrainWritten, Then};
use super::{Host, of};
use crate::event::OrderEvent;
use crate::io::{Content, NotWritten, OrderError, Output, Reply, RequestId};
use crate::moment::Moment;
use crate::orders::drains::{DrainAnswer, DrainRequest};
use crate::pass::PassReport;

impl Host {
    /// The standing of a destination now, by its verdict and the orders to drain.
    pub(super) fn standing(
        &self,
        at: Position,
        server: &VirtualServer,
        destination: &Destination,
    ) -> Standing {
        let waits = || self.services.get(at.server)?.damped_until(at.destination);
        let failed = self.checks.verdict(at) == Some(Verdict::Down) || waits().is_some();
        self.drain_orders.standing(server, destination, failed, self.standing_by_verdict(at, server))
    }

    pub(super) fn drain(&mut self, id: RequestId, request: DrainRequest, at: &Moment) {
        let loaded = self.plan();
        let standing = |at: Position, server: &VirtualServer| self.standing_by_verdict(at, server);
        match self.drain_orders.after(&request, of(loaded.as_ref()), &standing, &at.text()) {
            Ok((orders, answer)) => {
                let content = Content::DrainOrders(orders.clone());
                self.persist(content, Then::Drain(DrainWritten { id, request, orders, answer }), at);
            }
            Err(refusal) => self.answer_drain(id, Err(OrderError::Refused(refusal))),
        }
    }

    pub(super) fn drain_written(
        &mut self,
        written: DrainWritten,
        result: Result<(), NotWritten>,
        at: &Moment,
    ) {
        let DrainWritten { id, request, orders, answer } = written;
        if let Err(error) = result {
            self.log(OrderEvent::DrainNotKept { reason: error.to_string() });
            return self.answer_drain(id, Err(OrderError::NotKept(format!("not in force: {error}"))));
        }
        self.log(OrderEvent::DrainOrdered { request, destinations: answer.destinations.len() });
        self.drain_orders = orders;
        self.want(&[Kind::Ipvs], at);
        self.facts.drains_serial = self.wants.serial;
        self.answer_drain(id, Ok(answer));
    }

    fn answer_drain(&mut self, id: RequestId, answer: Result<DrainAnswer, OrderError>) {
        self.push(Output::Reply(id, Reply::Drain(answer)));
    }

    /// Remembers the destinations that drain, and logs each that began and ended.
    pub(super) fn drains_seen(&mut self, report: &PassReport) {
        let Some(found) = &report.pass.drains else { return };
        let before: BTreeSet<_> =
            self.facts.draining.iter().map(|one| (one.service, one.destination)).collect();
        for one in found.draining.iter().filter(|one| !before.contains(&(one.service, one.destination))) {
            self.log(OrderEvent::DrainBegins(*one));
        }
        for one in &found.ended {
            self.log(OrderEvent::DrainEnds(*one));
        }
        self.facts.draining.clone_from(&found.draining);
        self.facts.drains_seen = report.serial;
    }

    /// Logs orders to drain that fit nothing in a new plan.
    pub(super) fn check_drain_orders(&mut self) {
        let loaded = self.plan();
        let all = self.drain_orders.status(of(loaded.as_ref()));
        let targets: Vec<String> =
            all.into_iter().filter(|order| !order.in_plan).map(|order| order.target).collect();
        if !targets.is_empty() {
            self.log(OrderEvent::DrainOrdersWait { targets });
        }
    }
}
