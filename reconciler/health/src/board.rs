//! All checks of a host: which probe to start next, and which verdicts changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;

use crate::schedule::{Outcome, Schedule, Verdict};

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The check.
    pub check: Check,
    /// Its verdict now.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
}

/// A check's state, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Verdict.
    pub verdict: Verdict,
    /// Failed probes in a row.
    pub failures: u32,
    /// What the last probe found, and when it ended.
    pub last: Option<(MonoTime, Outcome)>,
}

/// The checks of a host by what they check.
#[derive(Debug, Clone, Default)]
pub struct Board {
    schedules: BTreeMap<Check, Schedule>,
    /// Every schedule by the time when it has something to do.
    queue: BTreeSet<(MonoTime, Check)>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a new set of checks. One that stays keeps its verdict and its schedule; a new one
    /// starts with the verdict that `initial` gives it, and the first probes of new ones are spread
    /// over their interval so that they never come in one burst.
    pub fn configure(
        &mut self,
        checks: impl IntoIterator<Item = Check>,
        initial: impl Fn(&Check) -> Verdict,
        now: MonoTime,
    ) {
        let mut before = std::mem::take(&mut self.schedules);
        let mut new: u64 = 0;
        for check in checks {
            if self.schedules.contains_key(&check) {
                continue;
            }
            let schedule = before.remove(&check).unwrap_or_else(|| {
                let Check::Tcp { interval, .. } = &check;
                let first = now + spread(new, interval.as_duration());
                new += 1;
                Schedule::new(&check, initial(&check), first)
            });
            self.schedules.insert(check, schedule);
        }
        self.queue = self.schedules.iter().map(|(check, s)| (s.due(), check.clone())).collect();
    }

    /// When [`Self::start`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The probes to start now, and verdicts that changed because a probe never reported.
    pub fn start(&mut self, now: MonoTime) -> (Vec<Check>, Vec<Change>) {
        let mut probes = Vec::new();
        let mut changes = Vec::new();
        let mut later = Vec::new();
        while self.queue.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, check)) = self.queue.pop_first() else { break };
            let Some(schedule) = self.schedules.get_mut(&check) else { continue };
            let before = schedule.verdict();
            if schedule.start(now) {
                probes.push(check.clone());
            }
            changes.extend(change(&check, before, schedule));
            later.push((schedule.due(), check));
        }
        self.queue.extend(later);
        (probes, changes)
    }

    /// Takes a probe's outcome. Of a check that is gone it is ignored.
    pub fn finish(&mut self, check: &Check, outcome: Outcome, now: MonoTime) -> Option<Change> {
        let schedule = self.schedules.get_mut(check)?;
        self.queue.remove(&(schedule.due(), check.clone()));
        let before = schedule.verdict();
        schedule.finish(outcome, now);
        self.queue.insert((schedule.due(), check.clone()));
        change(check, before, schedule)
    }

    /// The verdict of a check; none when it is not on the board.
    #[must_use]
    pub fn verdict(&self, check: &Check) -> Option<Verdict> {
        self.schedules.get(check).map(Schedule::verdict)
    }

    /// A check's state.
    #[must_use]
    pub fn report(&self, check: &Check) -> Option<Report> {
        self.schedules.get(check).map(|schedule| Report {
            verdict: schedule.verdict(),
            failures: schedule.failures(),
            last: schedule.last().cloned(),
        })
    }

    /// How many checks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.schedules.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schedules.is_empty()
    }
}

fn change(check: &Check, before: Verdict, schedule: &Schedule) -> Option<Change> {
    let verdict = schedule.verdict();
    (verdict != before).then(|| Change {
        check: check.clone(),
        verdict,
        reason: match schedule.last() {
            Some((_, Outcome::Failure(reason) | Outcome::Inconclusive(reason))) => reason.clone(),
            Some((_, Outcome::Success)) => "the check succeeded".to_owned(),
            None => String::new(),
        },
    })
}

/// The `n`-th point of a sequence that fills the interval evenly for every length (golden ratio).
fn spread(n: u64, interval: Duration) -> Duration {
    /// 2^32 divided by the golden ratio.
    const STEP: u64 = 2_654_435_769;
    let fraction = n.wrapping_mul(STEP) & 0xFFFF_FFFF;
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(u64::try_from((u128::from(nanos) * u128::from(fraction)) >> 32).unwrap_or(nanos))
}
