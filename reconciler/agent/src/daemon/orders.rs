//! What comes in by the socket: questions for the status, and orders for virtual routers. Other requests are
//! carried on. An order is on the disk before the election hears of it and before it is acknowledged (`desk`). One that may leave nobody
//! serving comes to the desk when another director has been heard, or is told to come anyway.

use std::collections::BTreeSet;

use evenkeel_kernel::clock;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Daemon;
use super::desk::{NotWritten, Then};
use crate::api::server::{Ask, OrderError};
use crate::api::status;
use crate::election::Command;
use crate::state::disk::Content;
use evenkeel_host::election::{Question, Unanswered};
use evenkeel_host::orders::Refusal;
use evenkeel_host::orders::routers::{self, Action, OrderAnswer, OrderRequest, Orders};

pub(super) type Reply = oneshot::Sender<Result<OrderAnswer, OrderError>>;

/// What became of a question to other directors: the routers that none of them was heard for; none when it came to nothing.
pub(super) struct Asked {
    pub(super) what: AskedFor,
    pub(super) unanswered: Option<Vec<Unanswered>>,
}

/// Why other directors were asked to take over.
pub(super) enum AskedFor {
    /// An order.
    Order(OrderRequest, Reply),
    /// The plan says that this host is in maintenance, and these routers still serve.
    Maintenance(BTreeSet<Name>),
}

/// An order at the desk.
pub(super) struct Written {
    request: OrderRequest,
    orders: Orders,
    routers: BTreeSet<Name>,
    reply: Reply,
}

impl Daemon {
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Status(usage, reply) => {
                let snapshot = self.ask_election().await;
                let mut status = status::status(self, snapshot);
                let question = self.question(usage);
                if question.is_empty(&status) {
                    return drop(reply.send(status));
                }
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = question.answer(&mut status) {
                        warn!("status is without connections: {error}");
                    }
                    reply.send(status).ok();
                });
            }
            Ask::Order(..) | Ask::Drain(..) | Ask::Probation(..) => self.request(ask),
        }
    }

    pub(super) fn order(&mut self, request: OrderRequest, reply: Reply) {
        let plan = self.facts.plan();
        let since = status::wall(clock::now());
        let after = self.orders.after(&request, plan.as_ref().map(|loaded| &loaded.plan), &since);
        let (orders, routers) = match after {
            Ok(after) => after,
            Err(refusal) => return drop(reply.send(Err(OrderError::Refused(refusal)))),
        };
        if request.needs_another() {
            return self.ask_others(request, routers, reply);
        }
        let content = Content::Orders(orders.clone());
        self.persist(content, Then::Order(Written { request, orders, routers, reply }));
    }

    /// Whether an order has to wait until other directors were asked for another one.
    pub(super) const fn must_wait(&self, request: &OrderRequest) -> bool {
        self.offering && request.needs_another()
    }

    /// Asks other directors to take over; the desk goes on meanwhile.
    fn ask_others(&mut self, request: OrderRequest, routers: BTreeSet<Name>, reply: Reply) {
        self.put_question(Question { routers, partly: false }, AskedFor::Order(request, reply));
    }

    /// Asks other directors, one question at a time; the answer comes as [`Asked`].
    pub(super) fn put_question(&mut self, question: Question, what: AskedFor) {
        self.offering = true;
        let (answer, unanswered) = oneshot::channel();
        self.election.send(Command::Offer(question, answer));
        let asked = self.asked.clone();
        tokio::spawn(async move {
            // The election answers within a limit of its own, unless it has ended.
            let unanswered = unanswered.await.ok();
            asked.send(Asked { what, unanswered }).await.ok();
        });
    }

    /// Whether other directors are being asked.
    pub(super) const fn is_asking(&self) -> bool {
        self.offering
    }

    /// An order is carried out, or refused because nobody would serve.
    pub(super) fn others_answered(&mut self, asked: Asked) {
        self.offering = false;
        let Asked { what, unanswered } = asked;
        let (request, reply) = match what {
            AskedFor::Order(request, reply) => (request, reply),
            AskedFor::Maintenance(routers) => {
                self.maintenance_answered(&routers, unanswered.as_deref());
                return self.next_request();
            }
        };
        let refusal = match &unanswered {
            Some(unanswered) => {
                routers::alone(request.action, unanswered, clock::now(), self.facts.started, status::wall)
            }
            None => Some(Refusal::NotNow("the election has ended".to_owned())),
        };
        match refusal {
            Some(refusal) => {
                let (Refusal::NotNow(why) | Refusal::Unknown(why)) = &refusal;
                let whom = request.router.as_ref().map_or("all", Name::as_str);
                warn!("operator: {} {whom} is refused: {why}", verb(request.action));
                reply.send(Err(OrderError::Refused(refusal))).ok();
                self.next_request();
            }
            // Asked again it would find none any more: this host does not serve now.
            None => self.request(Ask::Order(OrderRequest { force: true, ..request }, reply)),
        }
    }

    pub(super) fn order_written(&mut self, written: Written, result: Result<(), NotWritten>) {
        let Written { request, orders, routers, reply } = written;
        if let Err(error) = result {
            error!("an order cannot be kept and is not in force: {error}");
            return drop(reply.send(Err(OrderError::NotKept(format!("not in force: {error}")))));
        }
        let names: Vec<&str> = routers.iter().map(Name::as_str).collect();
        info!("operator: {} {}", verb(request.action), names.join(", "));
        if request.action == Action::Failover && self.orders.any_yields(&routers) {
            // Who yielded already and is Master again shall hand over again: to the election an order is
            // only new when it was not there.
            self.tell_orders(&self.orders.without(&routers));
        }
        self.orders = orders;
        self.tell_orders(&self.orders);
        reply.send(Ok(OrderAnswer { routers: routers.into_iter().collect() })).ok();
    }

    pub(super) fn tell_orders(&self, orders: &Orders) {
        let plans = [self.leaving.as_ref(), self.facts.in_force.as_ref().map(|in_force| &in_force.loaded)];
        let in_force =
            orders.in_force(&self.maintenance, plans.into_iter().flatten().map(|loaded| &loaded.plan));
        self.election.send(Command::Orders(in_force));
    }

    /// Tells the election the orders for a new plan, before it gets its routers: those for routers that
    /// leave hold until they are gone.
    pub(super) fn orders_for(&mut self, plan: &Plan) {
        if self.leaving.is_none() {
            self.leaving = self.facts.plan();
        }
        let leaving = self.leaving.as_ref().map(|loaded| &loaded.plan);
        let in_force = self.orders.in_force(&self.maintenance, leaving.into_iter().chain([plan]));
        self.election.send(Command::Orders(in_force));
        let waiting = self.orders.status(Some(plan)).into_iter().filter(|order| !order.in_plan);
        let waiting: Vec<String> = waiting.map(|order| order.router.to_string()).collect();
        if !waiting.is_empty() {
            warn!("there are orders for routers that are not in the plan: {}", waiting.join(", "));
        }
    }

    /// The election has the routers of the plan in force, and no others.
    pub(super) fn orders_settled(&mut self) {
        self.leaving = None;
        self.tell_orders(&self.orders);
    }
}

const fn verb(action: Action) -> &'static str {
    match action {
        Action::Failover => "failover of",
        Action::Hold => "hold",
        Action::Release => "release",
    }
}
