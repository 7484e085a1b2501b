//! All checks of a host: which probe to start next, and which verdicts changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;

use crate::ailment::Ailment;
use crate::places::{Capacity, Lane, Load, Places};
use crate::schedule::{Begin, Schedule};
use crate::state::{CheckId, Outcome, Reach, Report, Verdict};
use crate::way::Turns;

/// Least time between two probes that are made as soon as they can be, 1 ms: a thousand checks take a second
/// and are no flood.
const PACE: Duration = Duration::from_millis(1);
/// Time from the return of a way to the first of its checks: the switch learns first on which port this host
/// is.
const AFTER_RETURN: Duration = Duration::from_millis(100);

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The check.
    pub check: CheckId,
    /// Its verdict now.
    pub verdict: Verdict,
}

/// The checks of a host.
#[derive(Debug, Clone, Default)]
pub struct Board {
    schedules: BTreeMap<CheckId, Schedule>,
    /// Every schedule by the time when it has something to do, but for those that wait for a place.
    queue: BTreeSet<(MonoTime, CheckId)>,
    places: Places,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a new set of checks. One that stays keeps its verdict and its schedule; a new one starts with
    /// the verdict that `initial` gives it. Its first probe comes soon, since until then nobody knows whether
    /// the verdict is right; its regular ones are spread over their interval so that they never come in one
    /// burst.
    pub fn configure(
        &mut self,
        checks: impl IntoIterator<Item = (CheckId, Check)>,
        initial: impl Fn(CheckId) -> Verdict,
        now: MonoTime,
    ) {
        let mut before = std::mem::take(&mut self.schedules);
        let mut new = BTreeMap::new();
        for (id, check) in checks {
            match before.remove(&id) {
                Some(schedule) => drop(self.schedules.insert(id, schedule)),
                None if self.schedules.contains_key(&id) => {}
                None => drop(new.insert(id, check)),
            }
        }
        let soon = PACE * u32::try_from(new.len()).unwrap_or(u32::MAX);
        for (n, (id, check)) in (0..).zip(new) {
            let interval = check.times.interval.as_duration();
            let soon = check.times.warmup.map_or_else(|| soon.min(interval), |warmup| warmup.as_duration());
            let (first, regular) = (now + spread(n, soon), now + spread(n, interval));
            let schedule = Schedule::new(Arc::new(check), initial(id), Begin { now, first, regular }, id.0);
            self.schedules.insert(id, schedule);
        }
        self.queue = self.schedules.iter().map(|(id, schedule)| (schedule.due(), *id)).collect();
        let busy = |lane: Lane| {
            self.schedules.values().filter(|one| one.probing().is_some() && one.lane() == lane).count()
        };
        let (asks, programs) = (busy(Lane::Ask), busy(Lane::Program));
        self.places.reset(asks, programs);
    }

    /// Sets how many probes are made at a time.
    pub const fn limit(&mut self, capacity: Capacity) {
        self.places.set(capacity);
    }

    /// How busy this host is with its checks.
    #[must_use]
    pub fn load(&self, now: MonoTime) -> Load {
        self.places.load(now)
    }

    /// A place is free: whoever has waited longest for one is due now.
    fn place_is_free(&mut self, lane: Lane) {
        self.queue.extend(self.places.ended(lane));
    }

    /// Ways to targets are lost, or back. Checks of what is lost keep their verdicts; those of what is back
    /// run as soon as they can. Returns the checks that will have to say anew what their verdict is.
    pub fn ways_turned(&mut self, turns: &Turns, now: MonoTime) -> BTreeSet<CheckId> {
        let turned = |schedule: &Schedule| turns.get::<IpAddr>(&schedule.target()?).cloned();
        let checks: Vec<(CheckId, Option<Ailment>)> =
            self.schedules.iter().filter_map(|(id, schedule)| Some((*id, turned(schedule)?))).collect();
        // What is elsewhere may be where it should be by now.
        let runs = |ailment: &Option<Ailment>| matches!(ailment, None | Some(Ailment::Elsewhere(_)));
        let back = checks.iter().filter(|(_, ailment)| runs(ailment)).count();
        let soon = PACE * u32::try_from(back).unwrap_or(u32::MAX);
        let mut number = 0;
        for (check, ailment) in &checks {
            let Some(schedule) = self.schedules.get_mut(check) else { continue };
            let (due, given_up) = (schedule.due(), schedule.probing().is_some() && runs(ailment));
            self.queue.remove(&(due, *check));
            self.places.leave(due, *check);
            if let Some(ailment) = ailment {
                schedule.way_lost(ailment, now);
            }
            if runs(ailment) {
                schedule.way_back(now + AFTER_RETURN + spread(number, soon));
                number += 1;
            }
            let lane = schedule.lane();
            self.queue.insert((schedule.due(), *check));
            if given_up {
                self.place_is_free(lane);
            }
        }
        checks.into_iter().map(|(check, _)| check).collect()
    }

    /// Time at which [`Self::start`] has a probe to start; none when there is no check.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The probes to start now, and verdicts that changed because a probe never reported.
    pub fn start(&mut self, now: MonoTime) -> (Vec<CheckId>, Vec<Change>) {
        let mut probes = Vec::new();
        let mut changes = Vec::new();
        let mut later = Vec::new();
        while self.queue.first().is_some_and(|(due, _)| *due <= now) {
            let Some((due, check)) = self.queue.pop_first() else { break };
            let Some(schedule) = self.schedules.get_mut(&check) else { continue };
            let (lane, was_probing) = (schedule.lane(), schedule.probing().is_some());
            if !was_probing && !self.places.may_begin(lane, due, check) {
                continue;
            }
            let before = schedule.verdict();
            let begins = schedule.start(now);
            changes.extend(change(check, before, schedule));
            later.push((schedule.due(), check));
            let probes_now = schedule.probing().is_some();
            match (was_probing, probes_now) {
                (false, true) => self.places.began(lane, due, now),
                (true, false) => self.place_is_free(lane),
                (true, true) | (false, false) => {}
            }
            if begins {
                probes.push(check);
            }
        }
        self.queue.extend(later);
        (probes, changes)
    }

    /// Takes a probe's outcome. Of a check that is gone it is ignored.
    pub fn finish(&mut self, id: CheckId, outcome: Outcome, now: MonoTime) -> Option<Change> {
        self.finished(id, outcome, None, now)
    }

    /// The same, of a probe that took so long.
    pub fn finished(
        &mut self,
        id: CheckId,
        outcome: Outcome,
        took: Option<Duration>,
        now: MonoTime,
    ) -> Option<Change> {
        let schedule = self.schedules.get_mut(&id)?;
        schedule.probing()?;
        self.queue.remove(&(schedule.due(), id));
        let (before, lane) = (schedule.verdict(), schedule.lane());
        schedule.finish(outcome, took, now);
        self.queue.insert((schedule.due(), id));
        let change = change(id, before, schedule);
        self.place_is_free(lane);
        change
    }

    /// The connection that a check holds has ended ([`Schedule::broke`]).
    pub fn broke(&mut self, id: CheckId, outcome: Option<Outcome>, now: MonoTime) {
        let Some(schedule) = self.schedules.get_mut(&id) else { return };
        let (due, given_up, lane) = (schedule.due(), schedule.probing().is_some(), schedule.lane());
        self.queue.remove(&(due, id));
        self.places.leave(due, id);
        schedule.broke(outcome, now);
        self.queue.insert((schedule.due(), id));
        if given_up {
            self.place_is_free(lane);
        }
    }

    /// A check; none when it is not on the board.
    #[must_use]
    pub fn get(&self, id: CheckId) -> Option<&Schedule> {
        self.schedules.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: CheckId) -> Option<&mut Schedule> {
        self.schedules.get_mut(&id)
    }

    /// The next result of each check is told in any case.
    pub(crate) fn tell_again(&mut self) {
        self.schedules.values_mut().for_each(|schedule| schedule.told = None);
    }

    /// All checks.
    pub fn iter(&self) -> impl Iterator<Item = (CheckId, &Schedule)> {
        self.schedules.iter().map(|(id, schedule)| (*id, schedule))
    }

    /// The verdict of a check; none when it is not on the board.
    #[must_use]
    pub fn verdict(&self, id: CheckId) -> Option<Verdict> {
        self.get(id).map(Schedule::verdict)
    }

    /// Whether probes have said what a check's verdict is ([`Schedule::is_settled`]). Of one that is gone
    /// nobody waits to hear.
    #[must_use]
    pub fn is_settled(&self, id: CheckId) -> bool {
        self.get(id).is_none_or(Schedule::is_settled)
    }

    /// Whether the probe that began then is the one under way. One that was given up is not.
    #[must_use]
    pub fn is_under_way(&self, id: CheckId, began: MonoTime) -> bool {
        self.get(id).is_some_and(|schedule| schedule.probing() == Some(began))
    }

    /// Knowledge of a check's target; see [`Reach`].
    #[must_use]
    pub fn reach(&self, id: CheckId, now: MonoTime) -> Reach {
        self.get(id).map_or(Reach::Unknown, |schedule| schedule.reach(now))
    }

    /// Ailment of this host at the time from which a target is not judged; none while it is judged.
    #[must_use]
    pub fn silence(&self, id: CheckId) -> Option<&Ailment> {
        self.get(id)?.silence()
    }

    /// Number of targets that are not judged because this ailment began.
    #[must_use]
    pub fn unjudged(&self, ailment: &Ailment) -> usize {
        self.schedules.values().filter(|schedule| schedule.silence() == Some(ailment)).count()
    }

    /// A check's state.
    #[must_use]
    pub fn report(&self, id: CheckId) -> Option<Report> {
        self.get(id).map(Schedule::report)
    }

    /// Number of checks.
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

fn change(check: CheckId, before: Verdict, schedule: &Schedule) -> Option<Change> {
    let verdict = schedule.verdict();
    (verdict != before).then_some(Change { check, verdict })
}

/// The `n`-th point of a sequence that fills the interval evenly for every length (golden ratio).
fn spread(n: u64, interval: Duration) -> Duration {
    /// 2^32 divided by the golden ratio.
    const STEP: u64 = 2_654_435_769;
    let fraction = n.wrapping_mul(STEP) & 0xFFFF_FFFF;
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(u64::try_from((u128::from(nanos) * u128::from(fraction)) >> 32).unwrap_or(nanos))
}
