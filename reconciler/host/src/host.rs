//! The machine: every input of a host goes through [`Host::handle`], everything that follows comes out of [`Host::poll_output`].
//!
//! ```text
//!   plan ------> plans, probation ---+--> desired -------> convergence
//!   verdicts --> checks -------------+         ^              | passes
//!   orders ----> desk, then in force-+         |              v
//!   notices ---> roles --------------+     routers that may be served --> election
//! ```
//!
//! One mutation at a time: an input is handled, all outputs are taken, then the next input comes. Nothing here waits; whatever takes time
//! is an output now and an input later. What must be on the disk before it is in force goes through the desk (`desk`).

mod checks;
mod decided;
mod desk;
mod drains;
mod elections;
mod maintenance;
mod orders;
mod passes;
mod plans;
mod probation;
mod progress;
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
use crate::hooks::Hooks;
use crate::io::{Input, Means, Output, WriteId};
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::maintenance::Maintenance;
use crate::moment::Moment;
use crate::orders::drains::DrainOrders;
use crate::orders::routers::Orders;
use crate::routers::RouterSetup;

use checks::Checks;
use desk::Desk;
use probation::Probation;
use start::Starting;
use trackers::Tracking;

pub use start::Start;
pub use status::{Process, Questions, counts};

/// How long verdicts are collected before they are passed on together.
const VERDICT_PAUSE: Duration = Duration::from_millis(20);

/// Why a host wants to be woken: what is due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Changed verdicts are passed on.
    Verdicts,
    /// Trackers of services look at the verdicts.
    Services,
    /// Routers have waited long enough for their checks.
    Checks,
    /// The election is asked whether notices were lost.
    Lost,
    /// The disk has had its time for what the desk waits for.
    Desk,
    /// A probation ends, is looked at, or a plan is tried again.
    Probation,
    /// Other directors are asked to take over.
    Maintenance,
    /// What is in the way of the plan is looked for.
    InTheWay,
    /// A state that flaps is told.
    Hooks,
}

/// What the election was told, and what it is still to be told.
#[derive(Debug, Default)]
struct Elected {
    /// The routers that it has.
    routers: Vec<RouterSetup>,
    /// Routers that it gets once they can be served.
    pending: Option<Vec<RouterSetup>>,
    /// Whether routers may take part.
    started: bool,
    /// The plan before, until it has the routers of the one in force.
    leaving: Option<Arc<LoadedPlan>>,
    /// Routers that it was told to leave to others.
    unserved: BTreeSet<RouterKey>,
    /// Virtual servers that the kernel has no means for.
    lacking: BTreeSet<ServiceKey>,
    /// What this host could do when `lacking` was found.
    means: Means,
    /// When it is asked whether notices were lost.
    lost_at: MonoTime,
    /// Notices that were lost when it was last asked.
    lost: u64,
    /// Whether that question is open, and the routers that said something since it was put.
    newer: Option<BTreeSet<Name>>,
}

/// What convergence was told.
#[derive(Debug, Default)]
struct Wants {
    /// Serial of the last wanted state.
    serial: u64,
    /// Serial of the first wanted state of the plan in force.
    plan_serial: u64,
    /// When changed verdicts are passed on.
    verdicts_at: Option<MonoTime>,
    /// When trackers of services look at the verdicts.
    services_at: Option<MonoTime>,
}

/// Everything that is decided on a host.
pub struct Host {
    /// This host's name in the plan.
    name: Name,
    facts: Facts,
    checks: Checks,
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
    /// The start, while something of it is being read.
    starting: Option<Starting>,
    /// A plan that came while something was being decided about another one.
    next_plan: Option<Result<Arc<LoadedPlan>, PlanRefusal>>,
    /// When what is in the way is looked for; none while somebody looks, and without a plan.
    way_at: Option<MonoTime>,
    /// The number of the last writing.
    writes: u64,
    out: VecDeque<Output>,
}

impl Host {
    /// Takes an input. All that follows is to be taken from [`Self::poll_output`] before the next one.
    pub fn handle(&mut self, input: Input, at: &Moment) {
        match input {
            Input::Time => self.time_passes(at),
            Input::Plan(read) => self.next_plan = Some(read),
            Input::LastGood(kept) => self.last_good_read(kept, at),
            Input::Recalled(known) => self.recalled(&known, at),
            Input::Notice(notice) => self.notice(&notice, at),
            Input::Election(ask, snapshot) => self.election_answered(ask, *snapshot, at),
            Input::Unanswered(unanswered) => self.others_answered(unanswered, at),
            Input::Pass(report, means) => self.passed(*report, means, at),
            Input::Checks(news) => self.check_news(news, at),
            Input::Tracker(name, finding) => self.tracker_found(&name, finding, at),
            Input::HooksEnded(subject) => self.hooks_ended(&subject, at),
            Input::InTheWay(found) => self.found_in_the_way(found, at),
            Input::Persisted(id, result) => self.persisted(id, result, at),
            Input::Request(id, request) => self.request(id, request, at),
            Input::Leaving => self.leave_the_election(at),
            Input::Stop => self.stop_hooks(at),
        }
        self.take_next_plan(at);
    }

    /// The next thing to be done, in order; none when all has been taken.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Time`] has something to do, and what for; none when nothing is due ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(MonoTime, Why)> {
        [
            (self.wants.verdicts_at, Why::Verdicts),
            (self.wants.services_at, Why::Services),
            (self.checks.due(), Why::Checks),
            (self.elected.newer.is_none().then_some(self.elected.lost_at), Why::Lost),
            (self.desk.due(), Why::Desk),
            (self.probation.due().filter(|_| !self.is_deciding()), Why::Probation),
            (self.giving_away.due(), Why::Maintenance),
            (self.way_at, Why::InTheWay),
            (self.hooks.due(), Why::Hooks),
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
        if is_due(self.wants.services_at) {
            self.look_at_services(at);
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
        self.hooks_due(at);
        if self.elected.newer.is_none() && self.elected.lost_at <= now {
            self.look_for_lost_notices(at);
        }
        // Last: what the others have changed is passed on with it.
        if is_due(self.wants.verdicts_at) {
            self.adjust();
        }
    }

    /// Whether something about a plan is being decided: the start, or what the desk waits for. Plans and what is due of a probation
    /// wait for it.
    fn is_deciding(&self) -> bool {
        self.starting.is_some() || self.desk.is_busy() || self.probation.is_asking()
    }

    fn take_next_plan(&mut self, at: &Moment) {
        if !self.is_deciding()
            && let Some(read) = self.next_plan.take()
        {
            self.read(read, at);
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

    /// What operators told to drain.
    #[must_use]
    pub const fn drain_orders(&self) -> &DrainOrders {
        &self.drain_orders
    }

    /// Serial of the last wanted state.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.wants.serial
    }

    /// Whether something could not be made here when that was last looked at: then the next pass says what this host can do by now.
    #[must_use]
    pub fn lacks(&self) -> bool {
        !self.elected.lacking.is_empty()
    }
}

/// The plan that a loaded one says.
fn of(loaded: Option<&Arc<LoadedPlan>>) -> Option<&Plan> {
    loaded.map(|loaded| &loaded.plan)
}
