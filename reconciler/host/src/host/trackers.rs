//! Trackers: the finding of each, and the states that the election gets. The agent observes, the health crate
//! says what an observation means; services are evaluated here, by the verdicts of their checks.

use std::collections::BTreeMap;

use evenkeel_converge::Position;
use evenkeel_health::{Finding, Trackers};
use evenkeel_schemas::plan::{Initially, Plan, Tracker, Watch};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::TrackerStatus;
use evenkeel_vrrp::TrackerState;

use super::{Host, VERDICT_PAUSE};
use crate::event::HealthEvent;
use crate::io::Output;
use crate::moment::Moment;
use crate::quorum;

/// The trackers of a host.
#[derive(Default)]
pub(super) struct Tracking {
    states: Trackers,
    /// Last states of the trackers of the plan before: the election has its routers until it gets the new
    /// ones.
    leaving: BTreeMap<Name, TrackerState>,
    services: Vec<Tracker>,
}

impl Tracking {
    /// All states by name, as the election gets them.
    fn all(&self) -> BTreeMap<Name, TrackerState> {
        let mut all = self.leaving.clone();
        let states = self.states.iter();
        all.extend(states.map(|(name, _, s)| (name.clone(), TrackerState { up: s.up, value: s.value })));
        all
    }

    /// Status of all trackers.
    pub(super) fn status(&self, at: &Moment) -> Vec<TrackerStatus> {
        let states = self.states.iter();
        states
            .map(|(name, _, state)| TrackerStatus {
                name: name.clone(),
                up: state.up,
                value: state.value,
                reason: state.reason.clone(),
                last_look_age_ms: state
                    .looked
                    .map(|looked| u64::try_from(at.now.since(looked).as_millis()).unwrap_or(u64::MAX)),
            })
            .collect()
    }
}

impl Host {
    /// An earlier daemon was Master until just now: until their first observation trackers count as
    /// succeeding, whatever the plan says they begin with. A restart is no reason to hand over.
    pub(super) fn trackers_go_on(&mut self, plan: &Plan) {
        let mut trackers = plan.trackers.clone();
        trackers.iter_mut().for_each(|tracker| tracker.initially = Initially::Up);
        self.trackers.states.configure(&trackers);
        self.send_trackers();
    }

    /// Applies the trackers of a new plan.
    pub(super) fn configure_trackers(&mut self, plan: &Plan, at: &Moment) {
        self.trackers.leaving = self.trackers.all();
        self.trackers.states.configure(&plan.trackers);
        let is_service = |tracker: &Tracker| matches!(tracker.watch, Watch::Service { .. });
        let (services, others) = plan.trackers.iter().cloned().partition(is_service);
        self.trackers.services = services;
        self.push(Output::WatchTrackers(others));
        self.evaluate_services(plan, at);
        self.send_trackers();
    }

    /// The election has the routers of the plan in force: trackers that left the plan are forgotten.
    pub(super) fn release_left_trackers(&mut self) {
        self.trackers.leaving.clear();
        self.send_trackers();
    }

    pub(super) fn tracker_found(&mut self, name: &Name, finding: Finding, at: &Moment) {
        if self.apply_finding(name, finding, at) {
            self.send_trackers();
        }
    }

    /// Verdicts have changed that trackers of services may depend on.
    pub(super) fn services_changed(&mut self, at: &Moment) {
        if !self.trackers.services.is_empty() {
            self.wants.services_at.get_or_insert(at.now + VERDICT_PAUSE);
        }
    }

    /// Evaluates the trackers of services by the verdicts.
    pub(super) fn services_due(&mut self, at: &Moment) {
        self.wants.services_at = None;
        if let Some(loaded) = self.plan()
            && self.evaluate_services(&loaded.plan, at)
        {
            self.send_trackers();
        }
    }

    /// Evaluates the trackers of services. Returns whether a state that the election sees has changed.
    fn evaluate_services(&mut self, plan: &Plan, at: &Moment) -> bool {
        let reach = |at: Position| self.checks.reach(at);
        let findings: Vec<(Name, Finding)> = self
            .trackers
            .services
            .iter()
            .filter_map(|tracker| Some((tracker.name.clone(), quorum::evaluate(tracker, plan, &reach)?)))
            .collect();
        // No short-circuit: every finding has to be handled.
        findings
            .into_iter()
            .fold(false, |changed, (name, finding)| self.apply_finding(&name, finding, at) | changed)
    }

    fn apply_finding(&mut self, name: &Name, finding: Finding, at: &Moment) -> bool {
        let before = self.trackers.states.get(name).map(|state| state.up);
        let Some(state) = self.trackers.states.found(name, finding, at.now) else { return false };
        let turned = before.is_some_and(|before| before != state.up);
        let event =
            HealthEvent::Tracker { name: name.clone(), up: state.up, turned, reason: state.reason.clone() };
        self.log(event);
        true
    }

    fn send_trackers(&mut self) {
        let all = self.trackers.all();
        self.push(Output::Trackers(all));
    }
}
