//! Facts that a host reports to the log. The sentences are written by the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_converge::Draining;
use evenkeel_health::Fault;
use evenkeel_health::silence::News;
use evenkeel_schemas::plan::Below;
use evenkeel_schemas::scalars::Name;
use evenkeel_vrrp::RouterKey;

use crate::election::StateChange;
use crate::hooks::states::Subject;
use crate::orders::drains::DrainRequest;
use crate::orders::routers::Action;

/// An event for the log. Generations are shortened for people, times are RFC 3339.
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

/// Events of plans.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum PlanEvent {
    /// A plan is refused; `stays` is the generation that stays in force, if there is one.
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
    /// Everything of the plan in force is in the kernel, except `lacking` objects that cannot be made here.
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

/// Events of plans on probation.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum ProbationEvent {
    /// After a restart a plan is still on probation.
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
    /// The plan to go back to cannot be read after a restart.
    NothingToGoBackTo {
        generation: String,
    },
    /// The plan of the file was not confirmed, but there is no other plan.
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
    /// A plan is rolled back; `to` is the generation in its place, if that is known.
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

/// Events of the election and of the hooks that follow it.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum ElectionEvent {
    State(StateChange),
    /// Changes of a router's state that were left out of the log.
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
    /// A router that was held back has the connections of the Master; or not all of them, as far as is known,
    /// and its time is over.
    ConnectionsArrived {
        router: Name,
        complete: bool,
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
    /// Changes that were not passed to hooks: `changes` since the last such event, `dropped` since the start.
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

/// Operations on the kernel, drift, and objects in the way of the plan.
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

/// What a changed verdict does to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It returns.
    Returns,
    /// It returns, and its weight grows.
    Grows,
    /// It waits, because it flaps.
    Waits,
    /// Another check of it fails.
    StillOut,
    /// It is taken out.
    TakenOut,
    /// Its weight is 0.
    Quiesced,
    /// It stays because of the floor.
    StaysByFloor,
    /// It drains, or has the weight 0 by an order, whatever its checks say.
    Drains,
    /// The sorry server takes the clients.
    Sorry,
}

/// Events of checks and trackers.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each variant says what happened, each field is named as the log names it")]
pub enum HealthEvent {
    /// `effects` are those on the destinations of the check, with the number of them of each.
    CheckUp {
        whom: String,
        effects: BTreeMap<Effect, usize>,
    },
    CheckDown {
        whom: String,
        fault: Fault,
        effects: BTreeMap<Effect, usize>,
    },
    /// The verdict that a check fails is taken back: it was this host's own fault.
    CheckHeld {
        whom: String,
    },
    /// A link of this host is at fault: so many checks say that nothing behind it answers any more. The
    /// priorities of these routers are lower by this meanwhile.
    OwnFault {
        link: String,
        checks: usize,
        lowered: BTreeMap<Name, u8>,
    },
    /// Something behind it answers again.
    OwnFaultOver {
        link: String,
        lasted: Duration,
    },
    /// `checks` checks give no verdict because something on this host does not work.
    Silence {
        news: News,
        checks: usize,
    },
    SilenceOver(News),
    /// A virtual server has its quorum again, or lost it, with `have` of the `wanted` healthy weight. `sorry`
    /// is the target of its clients without a quorum.
    Quorum {
        service: Name,
        front: String,
        up: bool,
        have: u64,
        wanted: u64,
        sorry: Option<String>,
    },
    /// A virtual server has `have` healthy destinations, fewer than the `wanted` ones of its floor, or as
    /// many again; `held` of those that failed stay.
    Floor {
        service: Name,
        front: String,
        is_below: bool,
        have: usize,
        wanted: usize,
        policy: Below,
        held: usize,
    },
    /// The health loop has said nothing for so long: verdicts stay as they are.
    LoopSilent {
        silent: Duration,
    },
    /// The loop says something again, after so long.
    LoopSpeaks {
        silent: Duration,
    },
    /// The checks of a router that was held back have given their verdicts.
    ChecksSpoke {
        router: Name,
    },
    /// A router takes over although the checks in `left` have given no verdict.
    ChecksUnheard {
        router: Name,
        left: String,
    },
    /// Finding of a tracker; `turned` is whether it changed to or from success.
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
