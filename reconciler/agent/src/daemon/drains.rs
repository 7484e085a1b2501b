//! Drains as operators see them: orders that come in by the socket, and what the log says.
//!
//! An order is on the disk before it is in force and before it is acknowledged (`desk`).

use std::collections::BTreeSet;

use evenkeel_converge::{Connections, Draining, Kind, ServiceKey, Standing, sync_daemons};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Daemon;
use super::desk::{NotWritten, Then};
use crate::api::server::OrderError;
use crate::api::status;
use crate::api::status::Question;
use crate::state::disk::Content;
use evenkeel_host::orders::drains::{DrainAction, DrainAnswer, DrainOrders, DrainRequest};
use evenkeel_host::pass::Report;
use evenkeel_host::verdicts;

pub(super) type Reply = oneshot::Sender<Result<DrainAnswer, OrderError>>;

/// An order at the desk.
pub(super) struct Written {
    request: DrainRequest,
    orders: DrainOrders,
    answer: DrainAnswer,
    reply: Reply,
}

impl Daemon {
    /// What becomes of a destination now.
    pub(crate) fn standing(&self, server: &VirtualServer, destination: &Destination) -> Standing {
        let standing = verdicts::standing(server, destination, &self.board);
        self.drain_orders.standing(server, destination, standing)
    }

    pub(super) fn drain(&mut self, request: DrainRequest, reply: Reply) {
        let loaded = self.facts.plan();
        let plan = loaded.as_ref().map(|loaded| &loaded.plan);
        let standing = |server: &VirtualServer, destination: &Destination| {
            verdicts::standing(server, destination, &self.board)
        };
        let since = status::wall(clock::now());
        let (orders, answer) = match self.drain_orders.after(&request, plan, &standing, &since) {
            Ok(after) => after,
            Err(refusal) => return drop(reply.send(Err(OrderError::Refused(refusal)))),
        };
        let content = Content::DrainOrders(orders.clone());
        self.persist(content, Then::Drain(Written { request, orders, answer, reply }));
    }

    pub(super) fn drain_written(&mut self, written: Written, result: Result<(), NotWritten>) {
        let Written { request, orders, answer, reply } = written;
        match result {
            Ok(()) => {
                let verb = match request.action {
                    DrainAction::Drain => "drain",
                    DrainAction::Undrain => "undrain",
                };
                let whom = request.whom.map_or("all".to_owned(), |whom| whom.to_string());
                let place = request.service.map(|name| format!(" in {name}")).unwrap_or_default();
                info!("operator: {verb} {whom}{place}, {} destinations", answer.destinations.len());
                self.drain_orders = orders;
                self.want(&[Kind::Ipvs]);
                self.facts.drains_serial = self.serial;
                reply.send(Ok(answer)).ok();
            }
            Err(error) => {
                error!("an order to drain cannot be kept and is not in force: {error}");
                reply.send(Err(OrderError::NotKept(format!("not in force: {error}")))).ok();
            }
        }
    }

    /// Notes and tells what drains.
    pub(super) fn note_drains(&mut self, report: &Report) {
        let Some(found) = &report.pass.drains else { return };
        let before: BTreeSet<_> =
            self.facts.draining.iter().map(|one| (one.service, one.destination)).collect();
        for one in found.draining.iter().filter(|one| !before.contains(&(one.service, one.destination))) {
            let Draining { service, destination, since, deadline, left } = one;
            let until = deadline.map(|deadline| format!(", for at most {:?}", deadline.since(*since)));
            info!("{destination} in {service} drains: {}{}", told(*left), until.unwrap_or_default());
        }
        for Draining { service, destination, left, .. } in &found.ended {
            match left {
                Some(left) if left.is_none() => info!("{destination} in {service} has drained"),
                left => warn!("{destination} in {service} has had its time, and goes with {}", told(*left)),
            }
        }
        self.facts.draining.clone_from(&found.draining);
        self.facts.drains_seen = report.serial;
    }

    /// What status needs of the kernel.
    pub(super) fn question(&self, usage: bool) -> Question {
        let Some(loaded) = self.facts.plan() else { return Question::default() };
        let plan = &loaded.plan;
        Question {
            services: plan.virtual_servers.iter().map(ServiceKey::of).collect(),
            usage,
            sync: plan.connection_sync.as_ref().map(|sync| sync_daemons(sync, &self.facts.masters)),
        }
    }

    /// Tells of orders that fit nothing in a new plan.
    pub(super) fn check_drain_orders(&self) {
        let loaded = self.facts.plan();
        let all = self.drain_orders.status(loaded.as_ref().map(|loaded| &loaded.plan));
        let waiting: Vec<String> =
            all.into_iter().filter(|order| !order.in_plan).map(|order| order.target).collect();
        if !waiting.is_empty() {
            warn!("there are orders to drain what is not in the plan: {}", waiting.join(", "));
        }
    }
}

fn told(left: Option<Connections>) -> String {
    left.map_or("an unknown number of connections".to_owned(), |left| {
        let Connections { active, inactive, persistent } = left;
        let bound = if persistent > 0 { format!(", {persistent} persistent clients") } else { String::new() };
        format!("{active} active and {inactive} inactive connections{bound}")
    })
}
