//! Hooks whose turn comes, and objects in the way of the plan: looked for from time to time, logged when they
//! come and go.

use std::time::Duration;

use evenkeel_schemas::status::ObjectText;

use super::Host;
use crate::event::{ElectionEvent, KernelEvent};
use crate::hooks::Run;
use crate::hooks::states::Subject;
use crate::io::{Output, SearchFailed};
use crate::moment::Moment;

/// Time from one look for objects in the way to the next.
const EVERY: Duration = Duration::from_secs(10);
/// Time from a plan coming into force to the next look.
const SOON: Duration = Duration::from_secs(1);

impl Host {
    /// A plan has come into force: it may have other VIPs, so the next look comes soon.
    pub(super) fn look_in_the_way_soon(&mut self, at: &Moment) {
        self.way_at = Some(at.now + SOON);
    }

    pub(super) fn look_in_the_way(&mut self) {
        self.way_at = None;
        let plan = self.plan();
        self.push(Output::LookInTheWay(plan));
    }

    pub(super) fn found_in_the_way(&mut self, found: Result<Vec<ObjectText>, SearchFailed>, at: &Moment) {
        // A plan that came meanwhile has set its own time.
        self.way_at.get_or_insert(at.now + EVERY);
        let found = match found {
            Ok(found) => found,
            Err(SearchFailed(why)) => return self.log(KernelEvent::WayUnknown(why)),
        };
        let before = std::mem::replace(&mut self.facts.in_the_way, found.clone());
        for new in found.iter().filter(|object| !before.contains(object)) {
            self.log(KernelEvent::InTheWay(new.object.clone()));
        }
        for gone in before.iter().filter(|object| !found.contains(object)) {
            self.log(KernelEvent::NoLongerInTheWay(gone.object.clone()));
        }
    }

    pub(super) fn run_hooks(&mut self, runs: impl IntoIterator<Item = Run>) {
        for (subject, change) in runs {
            self.push(Output::RunHooks(subject, change));
        }
    }

    pub(super) fn hooks_ended(&mut self, subject: &Subject, at: &Moment) {
        let next = self.hooks.ended(subject, at.now);
        self.run_hooks(next);
    }

    pub(super) fn hooks_due(&mut self, at: &Moment) {
        let runs = self.hooks.pauses_end(at.now);
        self.run_hooks(runs);
    }

    pub(super) fn log_dropped_hooks(&mut self, at: &Moment) {
        for (subject, changes, dropped) in self.hooks.unlogged(at.now) {
            self.log(ElectionEvent::HooksDropped { subject, changes, dropped });
        }
    }

    pub(super) fn stop_hooks(&mut self, at: &Moment) {
        let runs = self.hooks.stop(at.now);
        self.run_hooks(runs);
        self.log_dropped_hooks(at);
    }
}
