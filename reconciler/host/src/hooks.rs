//! Hooks: programs of the plan that are notified of changes of virtual routers, sync groups, services and
//! real servers.
//!
//! ```text
//!   notices of the election --> states --changes--> a line each subject --> one program at a time
//!   verdicts --> services --changes-------------------^
//! ```
//!
//! `states` decides which change of state is one for hooks, `line` which changes wait and how fast they go.
//! Nothing waits for a program: a change that comes while one runs waits in the short line of its router or
//! group. When a line is full its oldest change is dropped, so the last one always arrives.

pub mod line;
pub mod states;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use crate::election::StateChange;
use line::{HookChange, Line};
use states::{States, Subject};

/// Most programs of services and real servers that run at a time: a rack that fails is thousands of changes.
const MAX_OF_SERVICES: usize = 32;

/// A change for whose programs it is time, with its router or group.
pub(crate) type Run = (Subject, HookChange);

/// The hooks of a host.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    states: States,
    lines: BTreeMap<Subject, Line>,
    /// Routers and groups of which programs run.
    running: BTreeSet<Subject>,
    /// Routers and groups whose next change waits for a pause to end, with that end: a state that flaps is
    /// not notified each time.
    pausing: BTreeMap<Subject, MonoTime>,
    /// Services that have programs.
    services: BTreeSet<Name>,
    /// Services and real servers whose next change waits because [`MAX_OF_SERVICES`] programs run.
    crowd: BTreeSet<Subject>,
    /// Changes that never reached programs, of routers and groups that have been forgotten.
    dropped: u64,
}

impl Hooks {
    /// Routers that an earlier daemon was Master of and that continue so: their programs have been notified
    /// already.
    pub(crate) fn adopting(&mut self, routers: BTreeSet<Name>) {
        self.states.adopting(routers);
    }

    /// Number of changes that never reached programs because too many came.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped + self.lines.values().map(|line| line.dropped).sum::<u64>()
    }

    /// Changes that did not reach programs, for the log: the router or group, their number since the last
    /// call that returned it, and their number since the start. At most once a minute for each router and
    /// group.
    pub(crate) fn unlogged(&mut self, now: MonoTime) -> Vec<(Subject, u64, u64)> {
        let lines = self.lines.iter_mut();
        lines
            .filter_map(|(subject, line)| Some((subject.clone(), line.unlogged(now)?, line.dropped)))
            .collect()
    }

    /// Applies a new plan. Routers and groups that leave it are notified once they have stopped.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        self.states.configure(plan);
    }

    /// The services that have programs by the plan in force.
    pub(crate) fn configure_services(&mut self, services: BTreeSet<Name>) {
        self.services = services;
    }

    /// Handles changes of services and real servers. Returns the programs to run.
    pub(crate) fn services_changed(&mut self, changes: Vec<Run>, now: MonoTime) -> Vec<Run> {
        self.queue(changes, now)
    }

    fn knows(&self, subject: &Subject) -> bool {
        match subject.service() {
            Some(service) => self.services.contains(service),
            None => self.states.knows(subject),
        }
    }

    /// The election has the routers of the plan in force. Returns the programs to run.
    pub(crate) fn routers_given(&mut self, now: MonoTime) -> Vec<Run> {
        let changes = self.states.routers_given();
        self.queue(changes, now)
    }

    /// Handles a router's state, which may be the same as before. Returns the programs to run.
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
                // A stop ends the pause: it is notified at once.
                self.pausing.remove(&subject);
            }
            runs.extend(self.next(&subject, now));
        }
        runs
    }

    /// The next change of a line, unless its programs run or it pauses.
    fn next(&mut self, subject: &Subject, now: MonoTime) -> Option<Run> {
        if self.running.contains(subject) || self.pausing.contains_key(subject) {
            return None;
        }
        if let Some(until) = self.lines.get(subject).and_then(|line| line.pause(now)) {
            self.pausing.insert(subject.clone(), until);
            return None;
        }
        if subject.service().is_some() {
            let running = self.running.iter().filter(|one| one.service().is_some()).count();
            if running >= MAX_OF_SERVICES {
                self.crowd.insert(subject.clone());
                return None;
            }
        }
        let Some(change) = self.lines.get_mut(subject).and_then(|line| line.next_change(now)) else {
            // A router or group that left the plan and has been notified is forgotten.
            if !self.knows(subject) {
                self.dropped += self.lines.remove(subject).map_or(0, |line| line.dropped);
            }
            return None;
        };
        self.running.insert(subject.clone());
        Some((subject.clone(), change))
    }

    /// The programs of a change have ended. Returns the next changes.
    pub(crate) fn ended(&mut self, subject: &Subject, now: MonoTime) -> Vec<Run> {
        self.running.remove(subject);
        let mut runs = Vec::new();
        if subject.service().is_some() {
            // A subject that waited comes before the one that just had its turn.
            while let Some(first) = self.crowd.pop_first() {
                let run = self.next(&first, now);
                let none = run.is_none();
                runs.extend(run);
                if !none {
                    break;
                }
            }
        }
        runs.extend(self.next(subject, now));
        runs
    }

    /// End of the earliest pause.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        self.pausing.values().min().copied()
    }

    /// Ends the pauses that are over. Returns the programs to run.
    pub(crate) fn pauses_end(&mut self, now: MonoTime) -> Vec<Run> {
        let over: Vec<Subject> =
            self.pausing.extract_if(.., |_, until| *until <= now).map(|(subject, _)| subject).collect();
        over.iter().filter_map(|subject| self.next(subject, now)).collect()
    }

    /// The daemon stops. Nothing of services is told, as without keepalived's `omega`. Every router and group
    /// is notified that it has stopped, in place of changes that still wait.
    pub(crate) fn stop(&mut self, now: MonoTime) -> Vec<Run> {
        for line in self.lines.values_mut() {
            line.keep_stop();
        }
        self.crowd.clear();
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

    /// Routers and groups of which programs run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Subject> {
        self.running.iter()
    }
}
