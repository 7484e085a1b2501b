//! Passes over the kernel and their consequences: the election gets its routers once they can be served.

use evenkeel_converge::Op;

use super::Host;
use crate::event::{KernelEvent, PlanEvent};
use crate::handover;
use crate::io::{Means, Output};
use crate::moment::Moment;
use crate::pass::PassReport;
use crate::routers::RouterSetup;

/// Most operations of one pass that are logged one by one.
const MAX_LOGGED: usize = 100;

impl Host {
    pub(super) fn handle_pass(&mut self, report: PassReport, means: Means, at: &Moment) {
        self.facts.passes += 1;
        self.drains_seen(&report);
        self.log_operations(&report, at);
        let before = self.facts.last.take().map(|last| last.errors).unwrap_or_default();
        for error in report.errors.iter().filter(|error| !before.contains(error)) {
            self.log(KernelEvent::Failed {
                operation: error.operation.clone(),
                reason: error.reason.clone(),
            });
        }
        if let Some(foreign) = &report.pass.foreign {
            self.facts.foreign.clone_from(foreign);
        }
        // A pass of an earlier plan says nothing about the plan in force.
        if report.serial >= self.wants.plan_serial {
            self.find_unserved(&report.lacking, means);
            self.plan_converged(&report);
            self.give_routers(&report, at);
            self.start_election(&report, before.is_empty(), at);
        }
        self.facts.last = Some(report);
    }

    fn plan_converged(&mut self, report: &PassReport) {
        let Some(in_force) = self.facts.in_force.as_mut().filter(|in_force| !in_force.converged) else {
            return;
        };
        if report.ready {
            in_force.converged = true;
            let generation = in_force.loaded.generation.short().to_owned();
            let lacking = if report.converged { 0 } else { report.lacking.len().max(1) };
            self.log(PlanEvent::Converged { generation, lacking });
            self.push(Output::Converged);
        }
    }

    /// Gives the election the routers of the plan in force. Before its start it gets them at once: a router
    /// announces nothing then, and status shows why.
    fn give_routers(&mut self, report: &PassReport, at: &Moment) {
        let early = report.ready || !self.elected.started;
        let current = &self.elected.routers;
        let may = |next: &mut Vec<RouterSetup>| early || !handover::comes(current, next);
        if let Some(next) = self.elected.pending.take_if(may) {
            self.log(PlanEvent::RoutersGiven);
            let left = handover::vips(&self.elected.routers) != handover::vips(&next);
            self.configure_election(next);
            self.routers_given(at);
            if left {
                self.want(&[evenkeel_converge::Kind::Addresses], at);
            }
        }
    }

    fn start_election(&mut self, report: &PassReport, first_failure: bool, at: &Moment) {
        if self.elected.started {
            return;
        }
        self.elected.started = report.ready;
        if report.ready {
            self.push(Output::StartElection);
            self.go_into_maintenance(at);
        } else if first_failure && self.plan().is_some_and(|loaded| !loaded.plan.routers.is_empty()) {
            self.log(PlanEvent::NoPart);
        }
    }

    fn log_operations(&mut self, report: &PassReport, at: &Moment) {
        let done = &report.pass.done;
        let operations: usize = done.iter().map(Op::count).sum();
        self.facts.operations += operations as u64;
        if done.len() > MAX_LOGGED {
            self.log(KernelEvent::DoneMany { operations, took: report.pass.took });
        }
        for op in done.iter().skip(done.len().saturating_sub(MAX_LOGGED)) {
            if done.len() <= MAX_LOGGED {
                self.log(KernelEvent::Done(op.to_string()));
            }
            self.facts.record(op.to_string(), at);
        }
        let repairs: Vec<String> = report.pass.repairs.iter().map(ToString::to_string).collect();
        let lines = self.facts.drifted(&repairs, report.pass.drifts.clone(), at);
        lines.into_iter().for_each(|line| self.log(KernelEvent::Drift(line)));
    }
}
