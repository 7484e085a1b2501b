//! Orders for virtual routers. An order is on the disk before the election gets it and before it is
//! acknowledged (`desk`). An order that may leave nobody serving comes to the desk once another director has
//! been heard, or when it is forced.

use std::collections::BTreeSet;

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;

use super::decided::{OrderWritten, Then};
use super::{Host, of};
use crate::election::{Question, Unanswered};
use crate::event::OrderEvent;
use crate::io::{Content, NotWritten, OrderError, Output, Reply, Request, RequestId};
use crate::moment::Moment;
use crate::orders::Refusal;
use crate::orders::routers::{Action, OrderAnswer, OrderRequest, Orders, alone};

/// Reason why other directors are asked to take over.
pub(super) enum AskedFor {
    /// An order.
    Order(RequestId, OrderRequest),
    /// The plan has this host in maintenance, and these routers still serve.
    Maintenance(BTreeSet<Name>),
}

impl Host {
    pub(super) fn order(&mut self, id: RequestId, request: OrderRequest, at: &Moment) {
        let plan = self.plan();
        let (orders, routers) = match self.orders.after(&request, of(plan.as_ref()), &at.text()) {
            Ok(after) => after,
            Err(refusal) => return self.answer_order(id, Err(OrderError::Refused(refusal))),
        };
        if request.needs_another() {
            let question = Question { routers, partly: false };
            return self.put_question(question, AskedFor::Order(id, request));
        }
        let content = Content::Orders(orders.clone());
        self.persist(content, Then::Order(OrderWritten { id, request, orders, routers }), at);
    }

    /// Whether an order has to wait because other directors are being asked another question.
    pub(super) const fn must_wait(&self, request: &OrderRequest) -> bool {
        self.giving_away.is_asking() && request.needs_another()
    }

    /// Asks other directors one question; the desk goes on meanwhile.
    pub(super) fn put_question(&mut self, question: Question, asked_for: AskedFor) {
        self.giving_away.ask(asked_for);
        self.push(Output::Offer(question));
    }

    /// Handles the answer of other directors: an order is carried out, or refused because nobody would serve.
    /// None when the election has ended.
    pub(super) fn others_answered(&mut self, unanswered: Option<Vec<Unanswered>>, at: &Moment) {
        let Some(asked_for) = self.giving_away.answered() else { return };
        let (id, request) = match asked_for {
            AskedFor::Order(id, request) => (id, request),
            AskedFor::Maintenance(routers) => {
                self.maintenance_answered(&routers, unanswered.as_deref(), at);
                return self.next_request(at);
            }
        };
        let wall = |then| at.wall(then);
        let refusal = match &unanswered {
            Some(unanswered) => alone(request.action, unanswered, at.now, self.facts.started, wall),
            None => Some(Refusal::NotNow("the election has ended".to_owned())),
        };
        match refusal {
            Some(refusal) => {
                let (Refusal::NotNow(why) | Refusal::Unknown(why)) = &refusal;
                let (action, whom, why) = (request.action, request.router, why.clone());
                self.log(OrderEvent::Refused { action, whom, why });
                self.answer_order(id, Err(OrderError::Refused(refusal)));
                self.next_request(at);
            }
            // Forced, because a second question would find nobody: this host does not serve any more.
            None => self.handle_request(id, Request::Order(OrderRequest { force: true, ..request }), at),
        }
    }

    pub(super) fn order_written(
        &mut self,
        written: OrderWritten,
        result: Result<(), NotWritten>,
        _at: &Moment,
    ) {
        let OrderWritten { id, request, orders, routers } = written;
        if let Err(error) = result {
            self.log(OrderEvent::NotKept { reason: error.to_string() });
            return self.answer_order(id, Err(OrderError::NotKept(format!("not in force: {error}"))));
        }
        self.log(OrderEvent::Ordered { action: request.action, routers: routers.clone() });
        if request.action == Action::Failover && self.orders.any_yields(&routers) {
            // A router that yielded before and is Master again has to yield again. To the election an order
            // is new only when it was not there, so it is taken away first.
            let without = self.orders.without(&routers);
            self.send_orders(&without);
        }
        self.send_orders(&orders);
        self.orders = orders;
        self.answer_order(id, Ok(OrderAnswer { routers: routers.into_iter().collect() }));
    }

    fn answer_order(&mut self, id: RequestId, answer: Result<OrderAnswer, OrderError>) {
        self.push(Output::Reply(id, Reply::Order(answer)));
    }

    fn send_orders(&mut self, orders: &Orders) {
        let in_force = self.plan();
        let plans = [self.elected.leaving.as_ref(), in_force.as_ref()];
        let in_force =
            orders.in_force(&self.maintenance, plans.into_iter().flatten().map(|loaded| &loaded.plan));
        self.push(Output::Orders(in_force));
    }

    /// Sends the election the orders in force.
    pub(super) fn send_orders_in_force(&mut self) {
        let orders = self.orders.clone();
        self.send_orders(&orders);
    }

    /// Sends the election the orders for a new plan, before it gets the plan's routers. Orders for routers
    /// that leave hold until these are gone.
    pub(super) fn orders_for(&mut self, plan: &Plan) {
        if self.elected.leaving.is_none() {
            self.elected.leaving = self.plan();
        }
        let leaving = of(self.elected.leaving.as_ref());
        let in_force = self.orders.in_force(&self.maintenance, leaving.into_iter().chain([plan]));
        self.push(Output::Orders(in_force));
        let waiting = self.orders.status(Some(plan)).into_iter().filter(|order| !order.in_plan);
        let routers: Vec<Name> = waiting.map(|order| order.router).collect();
        if !routers.is_empty() {
            self.log(OrderEvent::Wait { routers });
        }
    }

    /// The election has the routers of the plan in force, and no others: orders for routers that left are
    /// dropped.
    pub(super) fn release_left_orders(&mut self) {
        self.elected.leaving = None;
        self.send_orders_in_force();
    }
}
