//! What a host is told and what it wants done: the closed lists of its inputs and outputs.

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
use crate::hooks::line::Change;
use crate::hooks::states::Subject;
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::maintenance::Maintenance;
use crate::orders::Refusal;
use crate::orders::drains::{DrainAnswer, DrainOrders, DrainRequest};
use crate::orders::routers::{OrderAnswer, OrderRequest, Orders};
use crate::pass::{Adjusted, Report, Wanted};
use crate::probation::{Answer, Record, Request as ProbationRequest};
use crate::routers::RouterSetup;
use crate::verdicts::Verdicts;

/// Who asked: chosen by whoever carries requests, unique while the request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Which writing is meant by [`Output::Persist`] and [`Input::Persisted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed: whatever is due is done.
    Time,
    /// The plan as it was read now, or why it is refused.
    Plan(Result<Arc<LoadedPlan>, PlanRefusal>),
    /// The last good plan, if there is one: the answer to [`Output::ReadLastGood`].
    LastGood(Option<Arc<LoadedPlan>>),
    /// The verdicts that an earlier daemon left behind: the answer to [`Output::Recall`].
    Recalled(Verdicts),
    /// The election has something to say.
    Notice(Notice),
    /// The state of the election: the answer to [`Output::AskElection`]. All notices that came before it were handled.
    Election(ElectionAsk, Box<ElectionSnapshot>),
    /// The routers that no other director was heard for: the answer to [`Output::Offer`]. None when the election has ended.
    Unanswered(Option<Vec<Unanswered>>),
    /// A pass over the kernel was made.
    Pass(Box<Report>, Means),
    /// What has changed of checks, in its order.
    Checks(Vec<CheckNews>),
    /// A tracker's task has looked.
    Tracker(Name, Finding),
    /// The programs of a change have ended: the answer to [`Output::RunHooks`].
    HooksEnded(Subject),
    /// What is in the way of the plan: the answer to [`Output::LookInTheWay`]. An error is a sentence for people.
    InTheWay(Result<Vec<ObjectText>, String>),
    /// What became of a writing that [`Output::Persist`] asked for.
    Persisted(WriteId, Result<(), NotWritten>),
    /// An operator asks for something. It is answered by [`Output::Reply`] or [`Output::Overloaded`], once.
    Request(RequestId, Request),
    /// The daemon stops, and the election has been told to: what follows from being Master of nothing is wanted.
    Leaving,
    /// The daemon stops, and the election has ended: hooks are told.
    Stop,
}

/// What an operator asks for.
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
    /// The destinations that are concerned.
    Drain(Result<DrainAnswer, OrderError>),
    /// The generation in force.
    Probation(Result<Answer, OrderError>),
}

/// Why an order was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderError {
    /// It makes no sense.
    Refused(Refusal),
    /// It could not be kept, so it is not in force: a sentence for people.
    NotKept(String),
}

/// Why something is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotWritten {
    /// The disk refuses it: a sentence for people.
    Refused(String),
    /// The disk says nothing in time.
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

/// What this host can do, as far as it decides whether something can be made that could not be made before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Means {
    /// Modules of IPVS that are loaded. Looked at when a pass lacks something, or the one before did ([`crate::Host::lacks`]).
    pub modules: BTreeSet<String>,
    /// Whether the disk names nothing new.
    pub without_disk: bool,
}

/// Why the election is asked for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElectionAsk {
    /// Whether notices were lost.
    Lost,
    /// How the host stands before a plan comes on probation.
    Baseline,
    /// Whether a plan on probation is as well as the one before.
    Progress,
}

/// A file of the state directory as it is to be.
#[derive(Debug, Clone)]
pub enum Content {
    /// What operators told virtual routers.
    Orders(Orders),
    /// What operators told to drain.
    DrainOrders(DrainOrders),
    /// What serves on although the plan says maintenance.
    Maintenance(Maintenance),
    /// The plan on probation, and what was rolled back.
    Probation(Box<Record>),
    /// The same as a probation begins: the plan that it goes back to is kept as the last good one first.
    Trial(Arc<LoadedPlan>, Box<Record>),
    /// The last good plan with its passwords.
    LastGood(Arc<LoadedPlan>),
}

/// How much a writing matters, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody waits: it is written until it is there.
    Later,
    /// The next outputs wait for it, for a bounded time: it is written until it is there.
    First,
    /// Its answer is waited for, and it is written until it is there.
    Answered,
    /// Its answer is waited for. It is tried once; what was there before stays when that fails or when it is withdrawn.
    Attempt,
}

/// What is to be done. Outputs are carried out in their order.
#[derive(Debug)]
pub enum Output {
    /// This is to be on the disk.
    Persist(WriteId, Content, Urgency),
    /// An attempt is taken back: what was there before stays.
    Withdraw(WriteId),
    /// The last good plan is to be read.
    ReadLastGood {
        /// Whether the start waits for it.
        begins: bool,
    },
    /// The verdicts that an earlier daemon left behind for this plan are to be found out.
    Recall(Arc<LoadedPlan>),
    /// These are the election's routers now.
    Configure(Vec<RouterSetup>),
    /// Everything but the VIPs has converged: routers may take part.
    StartElection,
    /// What trackers found, all of them.
    Trackers(BTreeMap<Name, TrackerState>),
    /// Routers that are left to other directors: all of them.
    Unserved(BTreeSet<RouterKey>),
    /// Routers that are not ready to take over from a living Master: all of them.
    Waiting(BTreeSet<Name>),
    /// What routers are ordered: all that is in force.
    Orders(BTreeMap<Name, RouterOrder>),
    /// Other directors are to be asked to take over. One question at a time.
    Offer(Question),
    /// The election is to be asked for its state.
    AskElection(ElectionAsk),
    /// This is wanted of the kernel; it differs from what was wanted before in these kinds.
    Want(Wanted, Vec<Kind>),
    /// Of what is wanted of the kernel, this has changed since: some virtual servers.
    Adjust(Adjusted),
    /// These are the checks now, each with the verdict that it begins with if it is new. Of each the next result is to be told.
    Checks(Vec<(CheckId, Check, Verdict)>),
    /// These trackers are to be watched, other than those of services: all of them. What has not changed goes on.
    WatchTrackers(Vec<Tracker>),
    /// Programs are to be run, in their order.
    RunHooks(Subject, Change),
    /// It is to be found out what is in the way of this plan.
    LookInTheWay(Option<Arc<LoadedPlan>>),
    /// A request is answered.
    Reply(RequestId, Reply),
    /// A request is not taken because too many wait.
    Overloaded(RequestId),
    /// The plan in force has converged: memory that was used while adopting it may be returned.
    Converged,
    /// Something happened that the log tells.
    Log(Event),
}
