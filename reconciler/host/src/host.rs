//! The machine: every input of a host goes through [`Host::handle`], every consequence comes out of
//! [`Host::poll_output`].
//!
//! ```text
//!   plan ------> plans, probation ---+--> desired -------> convergence
//!   verdicts --> checks -------------+         ^              | passes
//!   orders ----> desk, then in force-+         |              v
//!   notices ---> roles --------------+     routers that may be served --> election
//! ```
//!
//! One mutation at a time: an input is handled, all outputs are taken, then the next input comes. Nothing
//! here waits. Whatever takes time is an output now and an input later. Content that must be on disk before
//! it is in force goes through the desk (`desk`).

mod check_status;
mod checks;
mod decided;
mod desk;
mod drains;
mod elections;
mod filling;
mod maintenance;
mod orders;
mod own_fault;
mod passes;
mod plans;
mod probation;
mod progress;
mod services;
mod start;
mod status;
mod trackers;
mod unserved;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::ServiceKey;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::RouterKey;

use crate::event::Event;
use crate::facts::Facts;
use crate::filling::Filling;
use crate::hooks::Hooks;
use crate::io::{Input, Means, Output, WriteId};
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::maintenance::Maintenance;
use crate::moment::Moment;
use crate::orders::drains::DrainOrders;
use crate::orders::routers::Orders;
use crate::routers::RouterSetup;
use crate::service::Services;

use checks::Checks;
use desk::Desk;
use probation::Probation;
use start::Starting;
use trackers::Tracking;

pub use start::Start;
pub use status::{Process, Questions, counts};

/// Time during which verdicts are collected, to be passed on together.
const VERDICT_PAUSE: Duration = Duration::from_millis(20);

/// Reason why a host wants to be woken: the subject that is due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Changed verdicts are passed on.
    Verdicts,
    /// Trackers of services evaluate the verdicts.
    Services,
    /// A router has waited its longest time for its checks.
    Checks,
    /// Time to look whether the health loop lives.
    Beat,
    /// The election is asked whether notices were lost.
    Lost,
    /// The disk has used up its time for the content at the desk.
    Desk,
    /// A probation ends or is observed, or a plan is tried again.
    Probation,
    /// Other directors are asked to take over.
    Maintenance,
    /// Objects in the way of the plan are looked for.
    InTheWay,
    /// Connections of other directors are counted, or waited for no longer.
    Filling,
    /// The pause of a flapping state ends: its hooks are notified.
    Hooks,
    /// The weight of a destination that has returned grows.
    SlowStart,
}

/// State that the election has been sent, and state that it has yet to get.
#[derive(Debug, Default)]
struct Elected {
    /// The routers that the election has.
    routers: Vec<RouterSetup>,
    /// Routers that the election gets once they can be served.
    pending: Option<Vec<RouterSetup>>,
    /// Whether routers may take part.
    started: bool,
    /// The plan before, until the election has the routers of the plan in force.
    leaving: Option<Arc<LoadedPlan>>,
    /// Routers that the election leaves to others.
    unserved: BTreeSet<RouterKey>,
    /// Routers that a service has withdrawn.
    withdrawn: BTreeSet<RouterKey>,
    /// Virtual servers that the kernel has no means for.
    lacking: BTreeSet<ServiceKey>,
    /// Means of this host at the time when `lacking` was found.
    means: Means,
    /// Time of the next question to the election whether notices were lost.
    lost_at: MonoTime,
    /// Number of lost notices at the last answer.
    lost: u64,
    /// Routers with notices since that question was put; none while no question is open.
    newer: Option<BTreeSet<Name>>,
    /// Routers that wait for the connections of another director.
    filling: Filling,
}

/// State that convergence has been sent.
#[derive(Debug, Default)]
struct Wants {
    /// Serial of the last wanted state.
    serial: u64,
    /// Serial of the first wanted state of the plan in force.
    plan_serial: u64,
    /// Time when changed verdicts are passed on.
    verdicts_at: Option<MonoTime>,
    /// Time when trackers of services evaluate the verdicts.
    services_at: Option<MonoTime>,
}

/// Every decision of a host.
pub struct Host {
    /// Name of this host in the plan.
    name: Name,
    facts: Facts,
    checks: Checks,
    services: Services,
    trackers: Tracking,
    hooks: Hooks,
    orders: Orders,
    drain_orders: DrainOrders,
    maintenance: Maintenance,
    giving_away: maintenance::Progress,
    desk: Desk,
    probation: Probation,
    elected: Elected,
    wants: Wants,
    /// The start, while it waits for something to be read.
    starting: Option<Starting>,
    /// A plan that came while another one was being decided about.
    next_plan: Option<Result<Arc<LoadedPlan>, PlanRefusal>>,
    /// Time of the next look for objects in the way; none while one is under way, and without a plan.
    way_at: Option<MonoTime>,
    /// Number of the last [`Output::Persist`].
    writes: u64,
    out: VecDeque<Output>,
}

impl Host {
    /// Handles an input. All consequences are to be taken from [`Self::poll_output`] before the next input.
    pub fn handle(&mut self, input: Input, at: &Moment) {
        match input {
            Input::Time => self.time_passes(at),
            Input::Plan(read) => self.next_plan = Some(read),
            Input::LastGood(kept) => self.last_good_read(kept, at),
            Input::Recalled(known) => self.recalled(known, at),
            Input::Notice(notice) => self.handle_notice(&notice, at),
            Input::Election(ask, snapshot) => self.election_answered(ask, *snapshot, at),
            Input::Unanswered(unanswered) => self.others_answered(unanswered, at),
            Input::Pass(report, means) => self.handle_pass(*report, means, at),
            Input::Checks(news) => self.handle_check_news(news, at),
            Input::Tracker(name, finding) => self.tracker_found(&name, finding, at),
            Input::HooksEnded(subject) => self.hooks_ended(&subject, at),
            Input::InTheWay(found) => self.found_in_the_way(found, at),
            Input::Received(received) => self.received(received, at),
            Input::Persisted(id, result) => self.persisted(id, result, at),
            Input::Request(id, request) => self.handle_request(id, request, at),
            Input::Leaving => self.leave_the_election(at),
            Input::Stop => self.stop_hooks(at),
        }
        self.take_next_plan(at);
    }

    /// The next output, in order; none when all have been taken.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Time at which [`Input::Time`] has something to do, and the subject; none when nothing will ever be
    /// due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(MonoTime, Why)> {
        [
            (self.wants.verdicts_at, Why::Verdicts),
            (self.wants.services_at, Why::Services),
            (self.checks.due(), Why::Checks),
            (self.checks.beat.due(), Why::Beat),
            (self.elected.newer.is_none().then_some(self.elected.lost_at), Why::Lost),
            (self.desk.due(), Why::Desk),
            (self.probation.due().filter(|_| !self.is_deciding()), Why::Probation),
            (self.giving_away.due(), Why::Maintenance),
            (self.way_at, Why::InTheWay),
            (self.elected.filling.due(), Why::Filling),
            (self.hooks.due(), Why::Hooks),
            (self.services.due(), Why::SlowStart),
        ]
        .into_iter()
        .filter_map(|(due, why)| Some((due?, why)))
        .min()
    }

    fn time_passes(&mut self, at: &Moment) {
        let now = at.now;
        let is_due = |due: Option<MonoTime>| due.is_some_and(|due| due <= now);
        if is_due(self.checks.due()) {
            self.checks_due(at);
        }
        if is_due(self.checks.beat.due()) {
            self.look_at_the_health_loop(now);
        }
        if is_due(self.wants.services_at) {
            self.services_due(at);
        }
        if is_due(self.desk.due()) {
            self.desk_due(at);
        }
        if is_due(self.probation.due()) && !self.is_deciding() {
            self.probation_due(at);
        }
        if is_due(self.giving_away.due()) {
            self.ask_for_maintenance(at);
        }
        if is_due(self.way_at) {
            self.look_in_the_way();
        }
        if is_due(self.elected.filling.due()) {
            self.filling_due(at);
        }
        self.hooks_due(at);
        if is_due(self.services.due()) {
            self.weights_grow(at);
        }
        if self.elected.newer.is_none() && self.elected.lost_at <= now {
            self.ask_for_lost_notices(at);
        }
        // Last: verdicts that the steps above changed are passed on with the others.
        if is_due(self.wants.verdicts_at) {
            self.adjust(at);
        }
    }

    /// Whether a decision about a plan is open: the start, or content at the desk. Plans and due probations
    /// wait for it.
    fn is_deciding(&self) -> bool {
        self.starting.is_some() || self.desk.is_busy() || self.probation.is_asking()
    }

    fn take_next_plan(&mut self, at: &Moment) {
        if !self.is_deciding()
            && let Some(read) = self.next_plan.take()
        {
            self.handle_plan(read, at);
        }
    }

    /// The plan in force.
    fn plan(&self) -> Option<Arc<LoadedPlan>> {
        self.facts.plan()
    }

    fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    fn log(&mut self, event: impl Into<Event>) {
        self.push(Output::Log(event.into()));
    }

    fn next_write(&mut self) -> WriteId {
        self.writes += 1;
        WriteId(self.writes)
    }

    /// Whether no program of a hook runs or waits: the daemon may end.
    #[must_use]
    pub fn hooks_are_done(&self) -> bool {
        self.hooks.is_idle()
    }

    /// The routers and groups whose programs run.
    pub fn running_hooks(&self) -> impl Iterator<Item = String> + '_ {
        self.hooks.running().map(ToString::to_string)
    }

    /// Orders to drain that operators gave.
    #[must_use]
    pub const fn drain_orders(&self) -> &DrainOrders {
        &self.drain_orders
    }

    /// Serial of the last wanted state.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.wants.serial
    }

    /// Whether something could not be made here at the last look. If so, the next pass reports what this host
    /// has the means for by now.
    #[must_use]
    pub fn lacks(&self) -> bool {
        !self.elected.lacking.is_empty()
    }
}

/// The plan inside a loaded one.
fn of(loaded: Option<&Arc<LoadedPlan>>) -> Option<&Plan> {
    loaded.map(|loaded| &loaded.plan)
}
