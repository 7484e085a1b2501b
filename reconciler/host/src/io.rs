//! The closed lists of a host's inputs and outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use evenkeel_converge::Kind;
use evenkeel_health::{CheckId, CheckNews, Finding, Verdict};
use evenkeel_schemas::plan::{Check, Tracker};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{ObjectText, RouterOrder};
use evenkeel_vrrp::{RouterKey, TrackerState};

use crate::election::{ElectionSnapshot, Notice, Question, Unanswered};
use crate::event::Event;
use crate::hooks::line::HookChange;
use crate::hooks::states::Subject;
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::maintenance::Maintenance;
use crate::orders::Refusal;
use crate::orders::drains::{DrainAnswer, DrainOrders, DrainRequest};
use crate::orders::routers::{OrderAnswer, OrderRequest, Orders};
use crate::pass::{Adjusted, PassReport, Wanted};
use crate::probation::{Answer, ProbationRequest, Record};
use crate::recall::Recalled;
use crate::routers::RouterSetup;

/// Identity of a request: chosen by the carrier, unique while the request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Identity of a writing in [`Output::Persist`] and [`Input::Persisted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed: everything that is due is done.
    Time,
    /// The plan as it was read now, or its refusal.
    Plan(Result<Arc<LoadedPlan>, PlanRefusal>),
    /// The last good plan, if there is one: the answer to [`Output::ReadLastGood`].
    LastGood(Option<Arc<LoadedPlan>>),
    /// Verdicts that an earlier daemon left in the kernel: the answer to [`Output::Recall`].
    Recalled(Recalled),
    /// A notice of the election.
    Notice(Notice),
    /// The state of the election: the answer to [`Output::AskElection`]. All notices that came before it were
    /// handled.
    Election(ElectionAsk, Box<ElectionSnapshot>),
    /// Routers for which no other director was heard: the answer to [`Output::Offer`]. None when the election
    /// has ended.
    Unanswered(Option<Vec<Unanswered>>),
    /// A pass over the kernel was made.
    Pass(Box<PassReport>, Means),
    /// Changes of checks, in their order.
    Checks(Vec<CheckNews>),
    /// Finding of a tracker's task.
    Tracker(Name, Finding),
    /// The programs of a change have ended: the answer to [`Output::RunHooks`].
    HooksEnded(Subject),
    /// Objects in the way of the plan: the answer to [`Output::LookInTheWay`].
    InTheWay(Result<Vec<ObjectText>, SearchFailed>),
    /// Number of connections that other directors have synchronised to this host; none where they cannot be
    /// counted, or are too many. The answer to [`Output::CountReceived`].
    Received(Option<u64>),
    /// Result of a writing that [`Output::Persist`] asked for.
    Persisted(WriteId, Result<(), NotWritten>),
    /// A request of an operator. Answered by [`Output::Reply`] or [`Output::Overloaded`], once.
    Request(RequestId, Request),
    /// The daemon stops, and the election has been told so: all that follows from being Master of nothing is
    /// wanted.
    Leaving,
    /// The daemon stops, and the election has ended: hooks are notified.
    Stop,
}

/// A request of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// An order for virtual routers.
    Order(OrderRequest),
    /// An order to drain.
    Drain(DrainRequest),
    /// To confirm a plan or to roll it back.
    Probation(ProbationRequest),
}

/// An answer to a [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The routers that obey.
    Order(Result<OrderAnswer, OrderError>),
    /// Destinations that the order concerns.
    Drain(Result<DrainAnswer, OrderError>),
    /// The generation in force.
    Probation(Result<Answer, OrderError>),
}

/// Reason why an order was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderError {
    /// The order makes no sense here.
    Refused(Refusal),
    /// The order could not be kept, so it is not in force: a sentence for people.
    NotKept(String),
}

/// Nobody could look for objects in the way of the plan; the reason is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchFailed(pub String);

/// Reason why content is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotWritten {
    /// The disk refuses the content: a sentence for people.
    Refused(String),
    /// The disk has not answered in time.
    NoAnswer,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::NoAnswer => f.write_str("the disk does not answer"),
        }
    }
}

/// Means of this host, as far as they decide whether something can be made that could not be made before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Means {
    /// Modules of IPVS that are loaded. Read when a pass lacks something, or the pass before did
    /// ([`crate::Host::lacks`]).
    pub modules: BTreeSet<String>,
    /// Whether the disk fails, so that drains cannot be remembered and no new ones begin.
    pub without_disk: bool,
}

/// Reason why the election is asked for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElectionAsk {
    /// Whether notices were lost.
    Lost,
    /// The state of the host before a plan comes on probation.
    Baseline,
    /// Whether a plan on probation is as well as the one before.
    Progress,
}

/// Wanted content of one file of the state directory.
#[derive(Debug, Clone)]
pub enum Content {
    /// Orders for virtual routers.
    Orders(Orders),
    /// Orders to drain.
    DrainOrders(DrainOrders),
    /// Routers that serve on although the plan says maintenance.
    Maintenance(Maintenance),
    /// The plan on probation, and the plan that was rolled back.
    Probation(Box<Record>),
    /// The same as a probation begins: the plan to go back to is kept as the last good one first.
    Trial(Arc<LoadedPlan>, Box<Record>),
    /// The last good plan with its passwords.
    LastGood(Arc<LoadedPlan>),
}

/// Importance of a writing, and who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody waits. The content is written until it is there.
    Later,
    /// The next outputs wait for it, for a bounded time. The content is written until it is there.
    First,
    /// An answer is waited for. The content is written until it is there.
    Answered,
    /// An answer is waited for. The content is tried once; the old content stays when that fails or when it
    /// is withdrawn.
    Attempt,
}

/// Something to be done. Outputs are carried out in their order.
#[derive(Debug)]
pub enum Output {
    /// Persists content.
    Persist(WriteId, Content, Urgency),
    /// Withdraws an attempt: the old content stays.
    Withdraw(WriteId),
    /// Reads the last good plan; the answer is [`Input::LastGood`].
    ReadLastGood {
        /// Whether the start waits for it.
        begins: bool,
    },
    /// Finds the verdicts that an earlier daemon left in the kernel for this plan; the answer is
    /// [`Input::Recalled`].
    Recall(Arc<LoadedPlan>),
    /// Gives the election these routers, and no others.
    Configure(Vec<RouterSetup>),
    /// Starts the election: everything but the VIPs has converged, so routers may take part.
    StartElection,
    /// Sends the election the states of all trackers.
    Trackers(BTreeMap<Name, TrackerState>),
    /// Sends the election all routers that are left to other directors.
    Unserved(BTreeSet<RouterKey>),
    /// Sends the election all routers of which a service has too few healthy destinations, and withdraws.
    Withdrawn(BTreeSet<RouterKey>),
    /// Sends the election all routers, by name, whose real servers this director does not hear, though others
    /// may.
    GiveWay(BTreeSet<Name>),
    /// Sends the election all routers that are not ready to take over from a living Master.
    Waiting(BTreeSet<Name>),
    /// Sends the election all orders in force.
    Orders(BTreeMap<Name, RouterOrder>),
    /// Asks other directors to take over, one question at a time; the answer is [`Input::Unanswered`].
    Offer(Question),
    /// Asks the election for its state; the answer is [`Input::Election`].
    AskElection(ElectionAsk),
    /// Sends convergence the wanted state of the kernel; it differs from the one before in these kinds.
    Want(Wanted, Vec<Kind>),
    /// Sends convergence the virtual servers that have changed since the last wanted state.
    Adjust(Adjusted),
    /// Sends the health loop all checks, each with the verdict that it begins with if it is new. The next
    /// result of each is reported.
    Checks(Vec<(CheckId, Check, Verdict)>),
    /// Watches these trackers, and no others but those of services. A tracker that has not changed continues.
    WatchTrackers(Vec<Tracker>),
    /// Runs programs, in their order; the answer is [`Input::HooksEnded`].
    RunHooks(Subject, HookChange),
    /// Looks for objects in the way of this plan; the answer is [`Input::InTheWay`].
    LookInTheWay(Option<Arc<LoadedPlan>>),
    /// Counts the connections that other directors have synchronised to this host; the answer is
    /// [`Input::Received`].
    CountReceived,
    /// Answers a request.
    Reply(RequestId, Reply),
    /// Answers a request that too many others wait already.
    Overloaded(RequestId),
    /// The plan in force has converged: memory used while adopting it may be returned to the system.
    Converged,
    /// Logs an event.
    Log(Event),
}
