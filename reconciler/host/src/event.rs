//! Everything that a host has to tell the log: facts, not sentences. The sentences are the agent's.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_converge::Draining;
use evenkeel_health::silence::News;
use evenkeel_schemas::scalars::Name;
use evenkeel_vrrp::RouterKey;

use crate::election::StateChange;
use crate::hooks::states::Subject;
use crate::orders::drains::DrainRequest;
use crate::orders::routers::Action;

/// What happened, for the log. Generations are shortened for people, times are RFC 3339.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant is its type")]
pub enum Event {
    Plan(PlanEvent),
    Probation(ProbationEvent),
    Order(OrderEvent),
    Election(ElectionEvent),
    Kernel(KernelEvent),
    Health(HealthEvent),
}

/// What became of plans.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum PlanEvent {
    /// A plan is refused; the generation that stays in force, if any is.
    Refused {
        reason: String,
        stays: Option<String>,
    },
    InForce {
        generation: String,
        routers: usize,
        virtual_servers: usize,
    },
    /// There is no plan to obey yet.
    NoPlan,
    LastGoodInForce {
        generation: String,
    },
    /// Everything of the plan in force is in the kernel but for so many objects that cannot be made here.
    Converged {
        generation: String,
        lacking: usize,
    },
    /// The election waits until everything but the VIPs is in the kernel.
    NoPart,
    /// The election gets the routers of the plan in force.
    RoutersGiven,
}

impl From<PlanEvent> for Event {
    fn from(event: PlanEvent) -> Self {
        Self::Plan(event)
    }
}

/// What became of plans on probation.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum ProbationEvent {
    /// After a restart a plan is on probation still.
    GoesOn {
        generation: String,
        until: String,
    },
    Begins {
        generation: String,
        until: String,
        before: String,
    },
    /// Another plan ends a probation.
    Over {
        generation: String,
        next: String,
    },
    /// The plan that a probation goes back to cannot be read after a restart.
    NothingToGoBackTo {
        generation: String,
    },
    /// The plan of the file was not confirmed, but there is no other.
    NothingBefore {
        generation: String,
    },
    Confirmed {
        generation: String,
        by: &'static str,
    },
    NotConfirmed {
        reason: String,
    },
    /// A plan is rolled back, to this one if it is there.
    RolledBack {
        generation: String,
        to: Option<String>,
        why: String,
    },
}

impl From<ProbationEvent> for Event {
    fn from(event: ProbationEvent) -> Self {
        Self::Probation(event)
    }
}

/// Orders of operators and of the plan: to routers, to drain, maintenance.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum OrderEvent {
    Ordered {
        action: Action,
        routers: BTreeSet<Name>,
    },
    Refused {
        action: Action,
        whom: Option<Name>,
        why: String,
    },
    NotKept {
        reason: String,
    },
    /// Orders for routers that are not in the plan.
    Wait {
        routers: Vec<Name>,
    },
    DrainOrdered {
        request: DrainRequest,
        destinations: usize,
    },
    DrainNotKept {
        reason: String,
    },
    /// Orders to drain what is not in the plan.
    DrainOrdersWait {
        targets: Vec<String>,
    },
    DrainBegins(Draining),
    DrainEnds(Draining),
    MaintenanceBegins,
    MaintenanceOver {
        routers: Vec<Name>,
    },
    /// Nobody takes over; others are asked again after so long.
    MaintenanceWaits {
        labels: Vec<String>,
        reason: String,
        again: Duration,
    },
}

impl From<OrderEvent> for Event {
    fn from(event: OrderEvent) -> Self {
        Self::Order(event)
    }
}

/// What the election says, and who is told of it.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum ElectionEvent {
    State(StateChange),
    /// Changes of a router's state that were not logged.
    StatesDropped {
        label: String,
        changes: u64,
        seconds: u64,
    },
    Router {
        label: String,
        text: String,
    },
    Announced(String),
    Waits {
        label: String,
        text: String,
    },
    Stranger {
        label: String,
        address: IpAddr,
        mac: Option<String>,
        text: String,
    },
    Problem(String),
    NoticesLost(u64),
    LeftToOthers(RouterKey),
    NotLeftToOthers(RouterKey),
    /// Changes that hooks were not told, and all so far.
    HooksDropped {
        subject: Subject,
        changes: u64,
        dropped: u64,
    },
}

impl From<ElectionEvent> for Event {
    fn from(event: ElectionEvent) -> Self {
        Self::Election(event)
    }
}

/// What was done to the kernel, and what is in the way there.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum KernelEvent {
    /// An operation on the kernel was done.
    Done(String),
    /// Many operations were done at once.
    DoneMany {
        operations: usize,
        took: Duration,
    },
    /// A line about drift.
    Drift(String),
    Failed {
        operation: String,
        reason: String,
    },
    InTheWay(String),
    NoLongerInTheWay(String),
    WayUnknown(String),
}

impl From<KernelEvent> for Event {
    fn from(event: KernelEvent) -> Self {
        Self::Kernel(event)
    }
}

/// Checks and trackers.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum HealthEvent {
    CheckUp {
        whom: String,
    },
    CheckDown {
        whom: String,
        reason: String,
    },
    /// Checks say nothing because of this host, so many of them.
    Silence {
        news: News,
        checks: usize,
    },
    SilenceOver(News),
    /// The checks of a router that was held back have spoken.
    ChecksSpoke {
        router: Name,
    },
    /// A router takes over although these checks have not spoken.
    ChecksUnheard {
        router: Name,
        left: String,
    },
    /// What a tracker found; whether that changed from or to success.
    Tracker {
        name: Name,
        up: bool,
        turned: bool,
        reason: String,
    },
}

impl From<HealthEvent> for Event {
    fn from(event: HealthEvent) -> Self {
        Self::Health(event)
    }
}
