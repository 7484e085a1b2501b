//! Errands: questions of the head to a part that takes time, answered by a channel; and the requests that
//! wait for the head's answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_health::Reports;
use evenkeel_host::election::{ElectionSnapshot, Unanswered};
use evenkeel_host::io::{ElectionAsk, OrderError, Reply, Request, RequestId, SearchFailed};
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::orders::drains::DrainAnswer;
use evenkeel_host::orders::routers::OrderAnswer;
use evenkeel_host::probation::Answer;
use evenkeel_kernel::connection_origins;
use evenkeel_schemas::status::{ObjectText, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::in_the_way;
use crate::election::{Election, ElectionCommand};
use crate::health::lookout::Lookout;
use crate::health::thread::Health;
use crate::state::StateDir;
use evenkeel_host::election::Question;
use evenkeel_schemas::scalars::Name;

/// Longest wait for the reports of the health loop, which answers within milliseconds unless it hangs.
const REPORTS: Duration = Duration::from_secs(1);

/// Most connections that are counted, which takes the kernel about 0.1 s. Of more it is not known whether
/// they still become more.
const MOST_CONNECTIONS: usize = 100_000;

/// An errand that is done.
pub(super) enum Errand {
    /// The state of the election, for the head.
    Election(ElectionAsk, Box<ElectionSnapshot>),
    /// The states of both loops, for a request for the status.
    Status(Box<StatusAsked>),
    /// Routers for which no other director answered; none when the election has ended.
    Unanswered(Option<Vec<Unanswered>>),
    /// The last good plan.
    LastGood(Option<Arc<LoadedPlan>>),
    /// Number of connections that other directors have synchronised; none where they cannot be counted.
    Received(Option<u64>),
    /// Objects in the way of the plan.
    InTheWay(Result<Vec<ObjectText>, SearchFailed>),
}

/// A request for the status, with the answers of both loops.
pub(super) struct StatusAsked {
    /// Whether connections and traffic are wanted.
    pub(super) usage: bool,
    pub(super) reply: oneshot::Sender<Status>,
    pub(super) election: ElectionSnapshot,
    pub(super) checks: Reports,
}

enum ReplyTo {
    Order(oneshot::Sender<Result<OrderAnswer, OrderError>>),
    Drain(oneshot::Sender<Result<DrainAnswer, OrderError>>),
    Probation(oneshot::Sender<Result<Answer, OrderError>>),
}

/// Errands under way, and requests that wait.
pub(super) struct Errands {
    done: mpsc::UnboundedSender<Errand>,
    requests: BTreeMap<RequestId, ReplyTo>,
    /// Number of the last request.
    last: u64,
}

impl Errands {
    /// `done` receives each errand that is done. There are no more of them than the head has asked for.
    pub(super) const fn new(done: mpsc::UnboundedSender<Errand>) -> Self {
        Self { done, requests: BTreeMap::new(), last: 0 }
    }

    fn run(&self, errand: impl Future<Output = Errand> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            done.send(errand.await).ok();
        });
    }

    /// Asks the election for its state, for the head.
    pub(super) fn ask_election(&self, ask: ElectionAsk, election: &Election) {
        let snapshot = snapshot(election);
        self.run(async move { Errand::Election(ask, Box::new(snapshot.await.unwrap_or_default())) });
    }

    /// Asks the election and the health thread for their states, for a request for the status.
    pub(super) fn ask_status(
        &self,
        usage: bool,
        reply: oneshot::Sender<Status>,
        election: &Election,
        health: &Health,
    ) {
        let (snapshot, reports) = (snapshot(election), health.reports());
        self.run(async move {
            let election = snapshot.await.unwrap_or_default();
            // Checks that hang are what somebody may be looking for.
            let checks = timeout(REPORTS, reports).await.ok().and_then(Result::ok).unwrap_or_default();
            Errand::Status(Box::new(StatusAsked { usage, reply, election, checks }))
        });
    }

    /// Asks other directors to take over.
    pub(super) fn offer(&self, question: Question, election: &Election) {
        let (answer, unanswered) = oneshot::channel();
        election.send(ElectionCommand::Offer(question, answer));
        // The election answers within a limit of its own, unless it has ended.
        self.run(async move { Errand::Unanswered(unanswered.await.ok()) });
    }

    /// Reads the last good plan on a thread that may wait.
    pub(super) fn read_last_good(&self, state: Arc<StateDir>, host: Name) {
        let read = tokio::task::spawn_blocking(move || state.last_good(&host).map(Arc::new));
        self.run(async move { Errand::LastGood(read.await.ok().flatten()) });
    }

    /// Counts the connections that other directors have synchronised, on a thread that may wait.
    pub(super) fn count_received(&self) {
        let count = tokio::task::spawn_blocking(|| connection_origins(MOST_CONNECTIONS));
        self.run(async move {
            let counted = count.await.ok().and_then(Result::ok);
            Errand::Received(counted.filter(|origins| !origins.more).map(|origins| origins.received))
        });
    }

    /// Looks for objects in the way of a plan.
    pub(super) fn look_in_the_way(&self, plan: Option<Arc<LoadedPlan>>, lookout: Lookout) {
        self.run(async move {
            Errand::InTheWay(match plan {
                Some(loaded) => {
                    in_the_way::find(loaded, &lookout).await.map_err(|error| SearchFailed(error.to_string()))
                }
                None => Ok(Vec::new()),
            })
        });
    }

    /// Registers an order for routers; [`Self::reply`] answers it.
    pub(super) fn order(
        &mut self,
        request: evenkeel_host::orders::routers::OrderRequest,
        reply: oneshot::Sender<Result<OrderAnswer, OrderError>>,
    ) -> (RequestId, Request) {
        (self.waits(ReplyTo::Order(reply)), Request::Order(request))
    }

    /// Registers an order to drain; [`Self::reply`] answers it.
    pub(super) fn drain(
        &mut self,
        request: evenkeel_host::orders::drains::DrainRequest,
        reply: oneshot::Sender<Result<DrainAnswer, OrderError>>,
    ) -> (RequestId, Request) {
        (self.waits(ReplyTo::Drain(reply)), Request::Drain(request))
    }

    /// Registers a request about a probation; [`Self::reply`] answers it.
    pub(super) fn probation(
        &mut self,
        request: evenkeel_host::probation::ProbationRequest,
        reply: oneshot::Sender<Result<Answer, OrderError>>,
    ) -> (RequestId, Request) {
        (self.waits(ReplyTo::Probation(reply)), Request::Probation(request))
    }

    fn waits(&mut self, reply: ReplyTo) -> RequestId {
        self.last += 1;
        self.requests.insert(RequestId(self.last), reply);
        RequestId(self.last)
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, id: RequestId, reply: Reply) {
        // A client that has gone meanwhile gets no answer.
        match (self.requests.remove(&id), reply) {
            (Some(ReplyTo::Order(to)), Reply::Order(answer)) => drop(to.send(answer)),
            (Some(ReplyTo::Drain(to)), Reply::Drain(answer)) => drop(to.send(answer)),
            (Some(ReplyTo::Probation(to)), Reply::Probation(answer)) => drop(to.send(answer)),
            (None | Some(_), Reply::Order(_) | Reply::Drain(_) | Reply::Probation(_)) => {}
        }
    }

    /// Drops a request: its client sees the channel end.
    pub(super) fn overloaded(&mut self, id: RequestId) {
        self.requests.remove(&id);
    }
}

/// The state of the election, once it answers; an error when it has ended.
fn snapshot(election: &Election) -> oneshot::Receiver<ElectionSnapshot> {
    let (asked, snapshot) = oneshot::channel();
    election.send(ElectionCommand::Snapshot(asked));
    snapshot
}
