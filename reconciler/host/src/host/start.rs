//! The start: which plan a daemon begins with, and what it takes over from an earlier one.
//!
//! Routers that an earlier daemon was Master of until just now cannot wait: all that they serve is in the kernel still, so the election
//! gets them before anything else is read.

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
use crate::routers::RouterSetup;
use crate::verdicts::Verdicts;

/// What a daemon finds when it starts.
#[derive(Debug)]
pub struct Start {
    /// This host's name in the plan.
    pub name: Name,
    /// What operators told virtual routers.
    pub orders: Orders,
    /// What operators told to drain.
    pub drain_orders: DrainOrders,
    /// What serves on although the plan says maintenance.
    pub maintenance: Maintenance,
    /// The record of probations; none when it was damaged.
    pub record: Option<Record>,
    /// The leases that an earlier daemon left, by [`RouterSetup::lease`]: their routers are Master still.
    pub leases: BTreeSet<String>,
    /// The plan of the file.
    pub plan: Result<Arc<LoadedPlan>, PlanRefusal>,
    /// The generation of the last good plan, if there is one.
    pub last_good: Option<String>,
}

/// What the start waits for.
pub(super) enum Starting {
    /// The last good plan, which is wanted in place of the file's.
    LastGood {
        /// The file's plan, if it can be used where there is no last good one.
        file: Option<Arc<LoadedPlan>>,
        /// The verdicts until now, where the kernel does not tell them.
        known: Option<Verdicts>,
        leases: BTreeSet<String>,
    },
    /// The verdicts that an earlier daemon left behind.
    Verdicts { plan: Arc<LoadedPlan>, from_last_good: bool },
}

impl Host {
    /// The head of a host that starts. What is to be done first is to be taken from [`Self::poll_output`].
    #[must_use]
    pub fn new(start: Start, at: &Moment) -> Self {
        let Start { name, orders, drain_orders, maintenance, record, leases, plan, last_good } = start;
        let mut host = Self {
            name,
            facts: Facts::new(at.now),
            checks: super::Checks::default(),
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
            (probation::Start::File, Ok(plan)) => {
                self.write_first(Record::default());
                return self.begin(plan, false, None, &leases, at);
            }
            (probation::Start::OnProbation(trial), Ok(plan)) => {
                self.probation_goes_on(trial, &plan, at);
                return self.begin(plan, false, None, &leases, at);
            }
            (probation::Start::NothingBefore, Ok(plan)) => return self.nothing_before(plan, &leases, at),
            (probation::Start::Back(back), read) => {
                let generation = short(&back.generation).to_owned();
                self.log(ProbationEvent::RolledBack { generation, to: None, why: back.why.clone() });
                let refusal = back.refusal();
                self.write_first(Record { trial: None, rolled_back: Some(back) });
                self.reject(&refusal, at);
                read.ok()
            }
            (probation::Start::LastGood, Ok(plan)) => {
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
        // What it goes back to.
        self.push(Output::ReadLastGood { begins: false });
    }

    fn nothing_before(&mut self, plan: Arc<LoadedPlan>, leases: &BTreeSet<String>, at: &Moment) {
        self.log(ProbationEvent::NothingBefore { generation: plan.generation.short().to_owned() });
        self.facts.rejected = None;
        self.write_first(Record::default());
        self.begin(plan, false, None, leases, at);
    }

    /// Has the record written before anything is made of a plan, if the disk answers.
    fn write_first(&mut self, record: Record) {
        self.probation.record = record;
        let content = Content::Probation(Box::new(self.probation.record.clone()));
        let id = self.next_write();
        self.push(Output::Persist(id, content, Urgency::First));
    }

    /// The last good plan was read: to begin with, or as what a probation goes back to.
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

    /// The first plan is known; whatever cannot wait until it is in force is done now.
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
            // What only a Master has is not taken away before the election says whether this host still is.
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

    /// The verdicts that an earlier daemon left behind are known.
    pub(super) fn recalled(&mut self, known: &Verdicts, at: &Moment) {
        let waits = |starting: &mut Starting| matches!(starting, Starting::Verdicts { .. });
        if let Some(Starting::Verdicts { plan, from_last_good }) = self.starting.take_if(waits) {
            self.adopt(plan, from_last_good, known, at);
            self.next_request(at);
        }
    }
}
