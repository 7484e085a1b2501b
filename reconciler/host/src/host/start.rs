//! The start: the plan that a daemon begins with, and the state that it takes over from an earlier daemon.
//!
//! Routers that an earlier daemon was Master of until just now cannot wait: the kernel still has all that
//! they serve, so the election gets them before anything else is read.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use evenkeel_schemas::scalars::Name;

use super::elections::LOST_PAUSE;
use super::plans::setups;
use super::probation::{Probation, down};
use super::{Elected, Host, Wants};
use crate::event::{PlanEvent, ProbationEvent};
use crate::facts::Facts;
use crate::io::{Content, Output, Urgency};
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::maintenance::Maintenance;
use crate::moment::Moment;
use crate::orders::drains::DrainOrders;
use crate::orders::routers::Orders;
use crate::probation::{self, Record, Trial, short};
use crate::recall::Recalled;
use crate::routers::RouterSetup;
use crate::verdicts::Verdicts;

/// State that a daemon finds when it starts.
#[derive(Debug)]
pub struct Start {
    /// Name of this host in the plan.
    pub name: Name,
    /// Orders for virtual routers that operators gave.
    pub orders: Orders,
    /// Orders to drain that operators gave.
    pub drain_orders: DrainOrders,
    /// Routers that serve on although the plan says maintenance.
    pub maintenance: Maintenance,
    /// The record of probations; none when it was damaged.
    pub record: Option<Record>,
    /// Leases that an earlier daemon left, by [`RouterSetup::lease`]: their routers are still Master.
    pub leases: BTreeSet<String>,
    /// The plan of the file.
    pub plan: Result<Arc<LoadedPlan>, PlanRefusal>,
    /// Generation of the last good plan, if there is one.
    pub last_good: Option<String>,
}

/// The answer that the start waits for.
pub(super) enum Starting {
    /// The last good plan, in place of the file's plan.
    LastGood {
        /// The file's plan, if it can be used where there is no last good plan.
        file: Option<Arc<LoadedPlan>>,
        /// Verdicts so far, where they are known from the record of a probation instead of from the kernel.
        known: Option<Verdicts>,
        leases: BTreeSet<String>,
    },
    /// Verdicts that an earlier daemon left in the kernel.
    Verdicts { plan: Arc<LoadedPlan>, from_last_good: bool },
}

impl Host {
    /// The head of a host that starts. Its first outputs are to be taken from [`Self::poll_output`].
    #[must_use]
    pub fn new(start: Start, at: &Moment) -> Self {
        let Start { name, orders, drain_orders, maintenance, record, leases, plan, last_good } = start;
        let mut host = Self {
            name,
            facts: Facts::new(at.now),
            checks: super::Checks::default(),
            services: super::Services::default(),
            trackers: super::Tracking::default(),
            hooks: super::Hooks::default(),
            orders,
            drain_orders,
            maintenance,
            giving_away: super::maintenance::Progress::default(),
            desk: super::Desk::default(),
            probation: Probation::new(record),
            elected: Elected { lost_at: at.now + LOST_PAUSE, ..Elected::default() },
            wants: Wants::default(),
            starting: None,
            next_plan: None,
            way_at: None,
            writes: 0,
            out: VecDeque::new(),
        };
        host.choose(plan, last_good.as_deref(), leases, at);
        host
    }

    /// Chooses the plan to begin with: the file's, or the last good one.
    fn choose(
        &mut self,
        read: Result<Arc<LoadedPlan>, PlanRefusal>,
        last_good: Option<&str>,
        leases: BTreeSet<String>,
        at: &Moment,
    ) {
        let file = read.as_ref().ok();
        let file = file.map(|loaded| (loaded.generation.to_string(), loaded.plan.policy.probation.is_some()));
        let start = probation::start(self.probation.known_record(), file.as_ref(), last_good, at, &at.text());
        let trial = self.probation.record.trial.take();
        let known = trial.as_ref().map(|trial| down(&trial.baseline));
        let file = match (start, read) {
            // Whatever the record says is settled by the file's plan: the record is emptied before the plan
            // touches anything, so that a crash cannot bring it back.
            (probation::FirstPlan::File, Ok(plan)) => {
                self.write_first(Record::default());
                return self.begin(plan, false, None, &leases, at);
            }
            (probation::FirstPlan::OnProbation(trial), Ok(plan)) => {
                self.probation_goes_on(trial, &plan, at);
                return self.begin(plan, false, None, &leases, at);
            }
            (probation::FirstPlan::NothingBefore, Ok(plan)) => return self.nothing_before(plan, &leases, at),
            (probation::FirstPlan::Back(back), read) => {
                let generation = short(&back.generation).to_owned();
                self.log(ProbationEvent::RolledBack { generation, to: None, why: back.why.clone() });
                let refusal = back.refusal();
                self.write_first(Record { trial: None, rolled_back: Some(back) });
                self.reject(&refusal, at);
                read.ok()
            }
            (probation::FirstPlan::LastGood, Ok(plan)) => {
                self.write_first(Record::default());
                Some(plan)
            }
            (_, Err(why)) => {
                let rolled_back = self.probation.record.rolled_back.take();
                self.write_first(Record { trial: None, rolled_back });
                self.reject(&why.to_string(), at);
                None
            }
        };
        self.starting = Some(Starting::LastGood { file, known, leases });
        self.push(Output::ReadLastGood { begins: true });
    }

    fn probation_goes_on(&mut self, trial: Trial, plan: &LoadedPlan, at: &Moment) {
        let deadline = trial.deadline(at);
        let generation = plan.generation.short().to_owned();
        self.log(ProbationEvent::GoesOn { generation, until: at.wall(deadline) });
        self.write_first(Record { trial: Some(trial), rolled_back: None });
        self.probation.run(None, deadline, at.now);
        // The plan to go back to is read meanwhile: the start does not wait for it.
        self.push(Output::ReadLastGood { begins: false });
    }

    fn nothing_before(&mut self, plan: Arc<LoadedPlan>, leases: &BTreeSet<String>, at: &Moment) {
        self.log(ProbationEvent::NothingBefore { generation: plan.generation.short().to_owned() });
        self.facts.rejected = None;
        self.write_first(Record::default());
        self.begin(plan, false, None, leases, at);
    }

    /// Has the record written before a plan touches anything, if the disk answers in time.
    fn write_first(&mut self, record: Record) {
        self.probation.record = record;
        let content = Content::Probation(Box::new(self.probation.record.clone()));
        let id = self.next_write();
        self.push(Output::Persist(id, content, Urgency::First));
    }

    /// The last good plan was read: to begin with, or as the plan that a probation goes back to. None when
    /// there is none or it cannot be read.
    pub(super) fn last_good_read(&mut self, kept: Option<Arc<LoadedPlan>>, at: &Moment) {
        let waits = |starting: &mut Starting| matches!(starting, Starting::LastGood { .. });
        if let Some(Starting::LastGood { file, known, leases }) = self.starting.take_if(waits) {
            match (kept, file) {
                (Some(plan), _) => {
                    self.log(PlanEvent::LastGoodInForce { generation: plan.generation.short().to_owned() });
                    self.begin(plan, true, known, &leases, at);
                }
                (None, Some(plan)) => self.nothing_before(plan, &leases, at),
                (None, None) => self.log(PlanEvent::NoPlan),
            }
        } else {
            self.before_read(kept);
        }
        self.next_request(at);
    }

    /// The first plan is known: does what cannot wait until the plan is in force.
    fn begin(
        &mut self,
        plan: Arc<LoadedPlan>,
        from_last_good: bool,
        known: Option<Verdicts>,
        leases: &BTreeSet<String>,
        at: &Moment,
    ) {
        let setups = setups(&plan);
        let goes_on = |setup: &&RouterSetup| leases.contains(&setup.lease);
        let adopted: BTreeSet<Name> = setups.iter().filter(goes_on).map(|setup| setup.name.clone()).collect();
        let kept = self.maintenance.clone();
        self.maintenance_for(&plan.plan, |router| adopted.contains(router) || kept.serves(router));
        if !leases.is_empty() {
            self.trackers_go_on(&plan.plan);
            self.orders_for(&plan.plan);
            // Virtual servers that only a Master has are not taken away before the election reports whether
            // this host still is.
            self.facts.masters.extend(adopted.iter().cloned());
            self.hooks.adopting(adopted);
            self.configure_election(setups);
        }
        match known {
            Some(known) => self.adopt(plan, from_last_good, &known, at),
            None => {
                self.push(Output::Recall(Arc::clone(&plan)));
                self.starting = Some(Starting::Verdicts { plan, from_last_good });
            }
        }
    }

    /// The state that an earlier daemon left in the kernel is known.
    pub(super) fn recalled(&mut self, known: Recalled, at: &Moment) {
        let waits = |starting: &mut Starting| matches!(starting, Starting::Verdicts { .. });
        if let Some(Starting::Verdicts { plan, from_last_good }) = self.starting.take_if(waits) {
            self.services.recalled(known.lost, known.out);
            self.checks.recalled(known.weights);
            self.adopt(plan, from_last_good, &known.verdicts, at);
            self.next_request(at);
        }
    }
}
