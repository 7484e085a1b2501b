//! Laws that hold for a host whatever happens to it.
//!
//! 1. *On the disk, then in force, then acknowledged.* A request that was acknowledged is on the disk at that
//!    moment, and orders in force are on the disk.
//! 2. *A refused plan never comes into force*: neither text that is no plan, nor a plan that was rolled back,
//!    until the file had another.
//! 3. *A probation is on the disk before its plan is in force*, ends by its deadline, and not before it
//!    without a reason.
//! 4. *Every request is answered*, once, and in time.
//! 5. *A drain has one time*, over restarts of the daemon.
//! 6. *Programs of services hear of changes only*: a daemon tells a program no state twice in a row.
//! 7. *Nothing leaves the table because of our own link*, and the host gives way meanwhile (`main.rs`).
//! 8. *In the end* everything is as the plan, the orders and the verdicts say, and a restart changes
//!    nothing (`main.rs`).

use std::collections::BTreeMap;

use evenkeel_converge::{Desired, DestinationKey, KernelState, ServiceKey};
use evenkeel_host::event::{Event, PlanEvent, ProbationEvent};
use evenkeel_host::hooks::line::HookState;
use evenkeel_host::hooks::states::Subject;
use evenkeel_host::io::{Content, Output, Reply, Request, RequestId};
use evenkeel_host::orders::drains::DrainAction;
use evenkeel_host::orders::routers::Action;
use evenkeel_host::probation;
use evenkeel_schemas::status::RouterOrder;

use super::disk::Files;
use super::plans;

/// Longest time for a request, milliseconds: the disk's time, that of another request before it, and that of
/// other directors.
const ANSWER: u64 = 40_000;
/// Longest delay of a probation's end, milliseconds: content that is being written has its time first, and a
/// daemon needs time to start.
const LATE: u64 = 9_000;
/// Longest delay of a drain's end, milliseconds: a pass must be made, and a daemon may be starting.
const LATE_DRAIN: u64 = 12_000;

/// The probation under way.
#[derive(Debug)]
struct Trial {
    generation: String,
    began: u64,
    timeout: u64,
    /// Whether the host was booted or its clock set since the start: then its wall clock decides.
    clock_moved: bool,
}

/// Observations, for comparison.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    /// Observations of the daemon that is alive.
    asked: BTreeMap<RequestId, (Request, u64)>,
    trial: Option<Trial>,
    /// Whether an operator has asked for a rollback of the probation.
    rollback_asked: bool,
    /// The generation that was rolled back, until the file had another plan.
    refused: Option<String>,
    /// Whether the next plan in force is the one before the probation.
    going_back: bool,
    /// Generation of the plan in force, shortened.
    pub(crate) in_force: Option<String>,
    /// Start of the last daemon.
    started: u64,
    /// State that programs were told last of each service and real server, since the start of the daemon.
    told: BTreeMap<Subject, HookState>,
    /// Start of each destination's drain in the kernel, and its time.
    drains: BTreeMap<(ServiceKey, DestinationKey), (u64, u64)>,
    /// Time when the last probation was handed to the disk: its time runs from then on.
    trial_asked: u64,
}

fn short(generation: &str) -> &str {
    &generation[..12]
}

fn is_rollback(request: &Request) -> bool {
    matches!(request, Request::Probation(request) if request.action == probation::ProbationAction::Rollback)
}

impl Laws {
    /// The file has this plan now, or none.
    pub(crate) fn delivered(&mut self, generation: Option<String>) {
        if let (Some(refused), Some(generation)) = (&self.refused, &generation)
            && short(generation) != refused
        {
            self.refused = None;
        }
    }

    pub(crate) fn asked(&mut self, id: RequestId, request: &Request, now: u64) {
        self.rollback_asked |= is_rollback(request);
        self.asked.insert(id, (request.clone(), now));
    }

    /// A daemon starts. It does not know of a rollback that could not be written.
    pub(crate) fn started(&mut self, now: u64, files: &Files) {
        self.started = now;
        self.going_back = false;
        self.told.clear();
        let back = files.record.rolled_back.as_ref();
        self.refused = back.map(|back| short(&back.generation).to_owned());
        self.in_force = None;
    }

    /// The daemon is gone: no request is answered any more.
    pub(crate) fn crashed(&mut self) {
        self.asked.clear();
    }

    pub(crate) fn rebooted(&mut self) {
        self.drains_are_lost();
        self.clock_moved();
    }

    /// The disk did not take the start of drains.
    pub(crate) fn drains_are_lost(&mut self) {
        self.drains.clear();
    }

    pub(crate) fn clock_moved(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.clock_moved = true;
        }
    }

    /// Services that programs were told of since the start of the daemon.
    pub(crate) fn services_told(&self) -> Vec<String> {
        let services = self.told.keys().filter(|subject| matches!(subject, Subject::Service(_)));
        services.map(ToString::to_string).collect()
    }

    /// Time has passed.
    pub(crate) fn time(&mut self, now: u64, alive: bool) {
        for (id, (request, at)) in &self.asked {
            assert!(now - at <= ANSWER, "{id:?} was not answered for {} ms: {request:?}", now - at);
        }
        if let Some(trial) = &self.trial
            && alive
            && !trial.clock_moved
        {
            let since = self.started.max(trial.began + trial.timeout);
            assert!(
                now <= since + LATE,
                "{} is on probation still, {} ms after its time",
                trial.generation,
                now - (trial.began + trial.timeout)
            );
        }
    }

    /// The head of the host has an output.
    pub(crate) fn output(&mut self, output: &Output, now: u64, files: &Files) {
        match output {
            Output::Log(Event::Plan(PlanEvent::InForce { generation, .. })) => {
                self.comes_into_force(generation, files);
            }
            Output::Persist(_, Content::Trial(..), _) => self.trial_asked = now,
            Output::Log(Event::Probation(event)) => self.probation(event, now, files),
            Output::Orders(orders) => {
                let kept = files.orders.status(None);
                for (router, order) in orders {
                    let known = *order == RouterOrder::Maintenance
                        || kept.iter().any(|kept| kept.router == *router && kept.order == *order);
                    assert!(
                        known,
                        "the order {order:?} for {router} is in force and not on the disk: {kept:?}"
                    );
                }
            }
            Output::Reply(id, reply) => self.answered(*id, reply, files),
            Output::RunHooks(subject, change)
                if matches!(subject, Subject::Service(_) | Subject::RealServer(..)) =>
            {
                let before = self.told.insert(subject.clone(), change.state);
                assert_ne!(before, Some(change.state), "{subject} is told again");
            }
            Output::Overloaded(id) => drop(self.asked.remove(id)),
            _ => {}
        }
    }

    fn comes_into_force(&mut self, generation: &str, files: &Files) {
        assert_ne!(self.refused.as_deref(), Some(generation), "a plan that was rolled back is in force");
        let plan = (0..plans::COUNT).map(plans::plan).find(|plan| plan.generation.short() == generation);
        let plan = plan.unwrap_or_else(|| panic!("nobody has delivered {generation}"));
        let kept = files.last_good.as_ref().map(|kept| kept.generation.to_string());
        let unconfirmed = kept.as_ref().is_some_and(|kept| *kept != plan.generation.to_string());
        if plan.plan.policy.probation.is_some() && unconfirmed {
            let trial = files.record.trial.as_ref().map(|trial| trial.generation.clone());
            assert_eq!(
                trial,
                Some(plan.generation.to_string()),
                "in force before its probation is on the disk"
            );
        }
        // A subject that was in no plan meanwhile is new.
        let there = |subject: &Subject| {
            let mut servers = plan.plan.virtual_servers.iter().filter(|server| server.hooks.is_some());
            servers.any(|server| match subject {
                Subject::RealServer(_, key) => {
                    server.destinations.iter().any(|one| DestinationKey::of(one) == *key)
                }
                Subject::Router(_) | Subject::Group(_) | Subject::Service(_) => true,
            })
        };
        self.told.retain(|subject, _| there(subject));
        // It ends the probation of another one.
        self.trial.take_if(|trial| trial.generation != generation);
        if !std::mem::take(&mut self.going_back) {
            self.refused = None;
        }
        self.in_force = Some(generation.to_owned());
    }

    fn probation(&mut self, event: &ProbationEvent, now: u64, files: &Files) {
        match event {
            ProbationEvent::Begins { generation, .. } => {
                let record = files.record.trial.as_ref().expect("it is on the disk");
                assert_eq!(short(&record.generation), generation);
                let timeout = u64::try_from(record.timeout().as_millis()).expect("short");
                self.trial = Some(Trial {
                    generation: generation.clone(),
                    began: self.trial_asked,
                    timeout,
                    clock_moved: false,
                });
                self.rollback_asked = self.asked.values().any(|(request, _)| is_rollback(request));
            }
            ProbationEvent::Confirmed { generation, .. } => {
                let kept = files.last_good.as_ref().map(|kept| kept.generation.short().to_owned());
                assert_eq!(kept.as_ref(), Some(generation), "confirmed, and not on the disk");
                self.trial = None;
            }
            ProbationEvent::RolledBack { generation, why, .. } => {
                if let Some(trial) = self.trial.take_if(|trial| trial.generation == *generation) {
                    let early = now < trial.began + trial.timeout;
                    let reason =
                        self.rollback_asked || trial.clock_moved || why.contains("could not be used");
                    assert!(!early || reason, "{generation} is rolled back before its time: {why}");
                }
                self.refused = Some(generation.clone());
                self.going_back = true;
            }
            ProbationEvent::Over { generation, .. } | ProbationEvent::NothingToGoBackTo { generation } => {
                self.trial.take_if(|trial| trial.generation == *generation);
            }
            ProbationEvent::NothingBefore { generation } => {
                self.refused.take_if(|refused| refused == generation);
                self.trial.take_if(|trial| trial.generation == *generation);
            }
            ProbationEvent::GoesOn { generation, .. } => {
                let record = files.record.trial.as_ref().expect("it is on the disk");
                assert_eq!(short(&record.generation), generation);
                let timeout = u64::try_from(record.timeout().as_millis()).expect("short");
                let (generation, began) = (generation.clone(), self.trial_asked);
                self.trial.get_or_insert(Trial { generation, began, timeout, clock_moved: true });
            }
            ProbationEvent::NotConfirmed { .. } => {}
        }
    }

    fn answered(&mut self, id: RequestId, reply: &Reply, files: &Files) {
        let (request, _) =
            self.asked.remove(&id).unwrap_or_else(|| panic!("{id:?} is answered, and was not asked"));
        match (request, reply) {
            (Request::Order(request), Reply::Order(Ok(answer))) => {
                let kept = files.orders.status(None);
                for router in &answer.routers {
                    let order = kept.iter().find(|kept| kept.router == *router).map(|kept| kept.order);
                    let wanted = match request.action {
                        Action::Hold => Some(RouterOrder::Hold),
                        Action::Failover => Some(RouterOrder::Yield),
                        Action::Release => None,
                    };
                    assert_eq!(order, wanted, "acknowledged for {router}, and not on the disk");
                }
            }
            (Request::Drain(request), Reply::Drain(Ok(_))) => {
                let kept = files.drain_orders.status(None);
                let whom = request.whom.as_ref().map(ToString::to_string);
                let there = kept
                    .iter()
                    .any(|kept| whom.as_ref().is_some_and(|whom| kept.target.starts_with(whom.as_str())));
                let wanted = request.action == DrainAction::Drain;
                assert_eq!(there, wanted, "{request:?} is acknowledged, and not on the disk: {kept:?}");
            }
            (Request::Probation(request), Reply::Probation(Ok(answer))) if !answer.already => {
                let kept = files.last_good.as_ref().map(|kept| kept.generation.to_string());
                assert_eq!(
                    kept.as_ref(),
                    Some(&answer.generation),
                    "acknowledged {request:?}, and not on the disk"
                );
                if request.action == probation::ProbationAction::Rollback {
                    assert!(files.record.rolled_back.is_some(), "rolled back, and not on the disk");
                }
            }
            (_, Reply::Order(_) | Reply::Drain(_) | Reply::Probation(_)) => {}
        }
    }

    /// Convergence has put the kernel into the wanted state.
    pub(crate) fn kernel(&mut self, kernel: &KernelState, desired: &Desired, now: u64) {
        let mut seen = BTreeMap::new();
        for (service, rules) in &desired.drains {
            for (destination, limit) in &rules.told {
                let there = kernel
                    .services
                    .get(service)
                    .is_some_and(|have| have.destinations.contains_key(destination));
                let Some(limit) = limit.filter(|_| there) else { continue };
                let limit = u64::try_from(limit.as_millis()).expect("short");
                let key = (*service, *destination);
                // The shortest time that it was ever given since.
                let (since, limit) = match self.drains.get(&key) {
                    Some((since, before)) => (*since, limit.max(*before)),
                    None => (now, limit),
                };
                let end = since + limit + LATE_DRAIN;
                assert!(
                    now <= end,
                    "{destination} in {service} drains since {since}, for {limit} ms, at {now}"
                );
                seen.insert(key, (since, limit));
            }
        }
        self.drains = seen;
    }
}
