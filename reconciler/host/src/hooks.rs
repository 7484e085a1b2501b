//! Hooks: programs of the plan that are notified of changes of virtual routers and sync groups.
//!
//! ```text
//!   notices of the election --> states --changes--> a line each router and group --> one program at a time
//! ```
//!
//! `states` says which change is one, `line` what waits and how fast it goes. Nobody waits for a program: what comes faster than it runs
//! waits in its line, which is short; when the line is full the oldest change goes, so the last one always comes.

pub mod line;
pub mod states;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use crate::election::StateChange;
use line::{Change, Line};
use states::{States, Subject};

/// Programs to be run for a router or group.
pub(crate) type Run = (Subject, Change);

/// The hooks of a host.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    states: States,
    lines: BTreeMap<Subject, Line>,
    /// Whose programs run.
    running: BTreeSet<Subject>,
    /// Whose next change waits, and until when: a state that flaps is not told each time.
    pausing: BTreeMap<Subject, MonoTime>,
    /// Changes that never reached programs of subjects that are gone.
    dropped: u64,
}

impl Hooks {
    /// These routers were Master when the daemon before ended, and go on: their programs know.
    pub(crate) fn adopting(&mut self, routers: BTreeSet<Name>) {
        self.states.adopting(routers);
    }

    /// Changes that never reached programs because these did not keep up, or because there were too many.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped + self.lines.values().map(|line| line.dropped).sum::<u64>()
    }

    /// How many changes did not reach programs, at most once a minute for each router and group, and all of these so far.
    pub(crate) fn unsaid(&mut self, now: MonoTime) -> Vec<(Subject, u64, u64)> {
        let lines = self.lines.iter_mut();
        lines.filter_map(|(subject, line)| Some((subject.clone(), line.unsaid(now)?, line.dropped))).collect()
    }

    /// Takes a new plan. What leaves it is told when it has stopped.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        self.states.configure(plan);
    }

    /// The election was given the routers of the plan in force.
    pub(crate) fn settled(&mut self, now: MonoTime) -> Vec<Run> {
        let changes = self.states.settled();
        self.queue(changes, now)
    }

    /// A router may have another state.
    pub(crate) fn state_changed(&mut self, change: &StateChange, now: MonoTime) -> Vec<Run> {
        let changes = self.states.state_changed(change);
        self.queue(changes, now)
    }

    fn queue(&mut self, changes: Vec<Run>, now: MonoTime) -> Vec<Run> {
        let mut runs = Vec::new();
        for (subject, change) in changes {
            let line = self.lines.entry(subject.clone()).or_default();
            line.push(change);
            if line.pause(now).is_none() {
                // It stops: that does not wait for a pause to end.
                self.pausing.remove(&subject);
            }
            runs.extend(self.next(&subject, now));
        }
        runs
    }

    /// What waits in a line, if nothing of it runs.
    fn next(&mut self, subject: &Subject, now: MonoTime) -> Option<Run> {
        if self.running.contains(subject) || self.pausing.contains_key(subject) {
            return None;
        }
        if let Some(until) = self.lines.get(subject).and_then(|line| line.pause(now)) {
            self.pausing.insert(subject.clone(), until);
            return None;
        }
        let Some(change) = self.lines.get_mut(subject).and_then(|line| line.take(now)) else {
            // Who left the plan and has been told is forgotten.
            if !self.states.knows(subject) {
                self.dropped += self.lines.remove(subject).map_or(0, |line| line.dropped);
            }
            return None;
        };
        self.running.insert(subject.clone());
        Some((subject.clone(), change))
    }

    /// The programs of a change have ended.
    pub(crate) fn ended(&mut self, subject: &Subject, now: MonoTime) -> Option<Run> {
        self.running.remove(subject);
        self.next(subject, now)
    }

    /// When the next pause ends.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        self.pausing.values().min().copied()
    }

    /// Pauses that have ended.
    pub(crate) fn pauses_end(&mut self, now: MonoTime) -> Vec<Run> {
        let over: Vec<Subject> =
            self.pausing.extract_if(.., |_, until| *until <= now).map(|(subject, _)| subject).collect();
        over.iter().filter_map(|subject| self.next(subject, now)).collect()
    }

    /// The daemon stops: everything is told that it has stopped, in place of what still waits.
    pub(crate) fn stop(&mut self, now: MonoTime) -> Vec<Run> {
        for line in self.lines.values_mut() {
            line.keep_stop();
        }
        let changes = self.states.stop();
        let mut runs = self.queue(changes, now);
        let pausing: Vec<Subject> = std::mem::take(&mut self.pausing).into_keys().collect();
        runs.extend(pausing.iter().filter_map(|subject| self.next(subject, now)));
        runs
    }

    /// Whether no program runs and nothing waits for a pause.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.pausing.is_empty()
    }

    /// Whose programs run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Subject> {
        self.running.iter()
    }
}
