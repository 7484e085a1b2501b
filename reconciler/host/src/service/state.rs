//! State of one virtual server, made of the verdicts of its destinations.
//!
//! The quorum is keepalived's: up at a healthy weight of the quorum plus its hysteresis, down below the
//! quorum less its hysteresis, and down without any healthy weight.
//!
//! Below a floor those that failed last stay. They are what the table had, so a daemon that starts finds in
//! the table what it would make of it, and what failed before never returns because others fail.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_converge::{DestinationKey, Standing};
use evenkeel_health::Verdict;
use evenkeel_schemas::plan::{Below, VirtualServer};
use evenkeel_schemas::scalars::Span;
use evenkeel_schemas::time::MonoTime;

use super::damping::Returns;
use crate::verdicts;

/// Steps in which a weight grows: so many operations on the kernel each return costs at most.
const STEPS: u32 = 10;

/// State of a destination at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Verdict; none without a check: it is always healthy.
    pub(crate) verdict: Option<Verdict>,
    /// Whether the verdict is one of its checks, and not what it began with.
    pub(crate) settled: bool,
    /// Whether it takes no new connections because it drains.
    pub(crate) drains: bool,
    /// Weight that it asks for; none: the plan's.
    pub(crate) weight: Option<u16>,
    /// Whether what it failed by was this host's own fault.
    pub(crate) excused: bool,
}

/// A change of a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The quorum is there again.
    QuorumUp,
    /// The quorum is lost.
    QuorumDown,
    /// The virtual server has fewer healthy destinations than its floor.
    BelowFloor,
    /// The virtual server has as many again.
    AboveFloor,
    /// A destination failed.
    Failed(usize),
    /// A destination of which nothing was known is one that failed, now or before.
    FoundFailed(usize),
    /// A destination is healthy again.
    Healthy(usize),
}

/// A destination that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed {
    /// Number that grows with each failure: which one failed last.
    order: u64,
    since: MonoTime,
}

/// A floor, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloorState {
    /// Least healthy destinations.
    pub(crate) wanted: usize,
    /// Healthy destinations.
    pub(crate) have: usize,
    /// Time since which there are fewer than wanted, or enough.
    pub(crate) since: MonoTime,
}

impl FloorState {
    /// Whether there are too few.
    pub(crate) const fn is_below(&self) -> bool {
        self.have < self.wanted
    }
}

/// State of one virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerState {
    up: bool,
    since: MonoTime,
    /// Healthy weight.
    have: u64,
    /// Destinations that failed.
    failed: BTreeMap<usize, Failed>,
    /// Number of the next failure.
    order: u64,
    /// Destinations of which nothing is known until their checks have spoken: an earlier daemon had the sorry
    /// server in their place.
    unknown: BTreeSet<usize>,
    floor: Option<FloorState>,
    /// Destinations that failed and stay because of the floor.
    held: BTreeSet<usize>,
    /// Destinations whose weight grows, with the time at which they returned.
    rising: BTreeMap<usize, MonoTime>,
    /// Destinations that have returned before.
    returns: Returns,
    /// Time of the last look: weights are as they are then, for whoever asks.
    looked: MonoTime,
}

impl ServerState {
    /// State of a virtual server that comes. `lost`: its sorry server was in the table when an earlier daemon
    /// ended.
    pub(super) fn new(
        server: &VirtualServer,
        lost: bool,
        look: &dyn Fn(usize) -> Look,
        now: MonoTime,
    ) -> Self {
        let mut state = Self {
            up: false,
            since: now,
            have: 0,
            failed: BTreeMap::new(),
            order: 0,
            unknown: BTreeSet::new(),
            floor: None,
            held: BTreeSet::new(),
            rising: BTreeMap::new(),
            returns: Returns::default(),
            looked: now,
        };
        if lost {
            let unsettled = |number: &usize| !look(*number).settled;
            state.unknown = (0..server.destinations.len()).filter(unsettled).collect();
        }
        state.judge(server, look, now);
        state
    }

    /// The same under a changed plan.
    pub(super) fn moved(mut self, before: &VirtualServer, server: &VirtualServer) -> Self {
        let numbers: BTreeMap<DestinationKey, usize> =
            server.destinations.iter().map(DestinationKey::of).zip(0..).collect();
        let moved =
            |number: usize| numbers.get(&DestinationKey::of(before.destinations.get(number)?)).copied();
        self.failed = self.failed.into_iter().filter_map(|(at, failed)| Some((moved(at)?, failed))).collect();
        self.unknown = self.unknown.into_iter().filter_map(moved).collect();
        self.rising = self.rising.into_iter().filter_map(|(at, since)| Some((moved(at)?, since))).collect();
        self.returns = self.returns.moved(moved);
        self
    }

    /// Looks at all destinations again. Returns what changed.
    pub(super) fn judge(
        &mut self,
        server: &VirtualServer,
        look: &dyn Fn(usize) -> Look,
        now: MonoTime,
    ) -> Vec<News> {
        let mut news = Vec::new();
        (self.have, self.looked) = (0, now);
        // Destinations that count for the floor, those of them that are healthy, and those that may be held.
        let (mut whole, mut healthy, mut may_stay) = (0, 0, Vec::new());
        // Destinations that return, and those that would if they did not flap.
        let (mut returned, mut waiting) = (Vec::new(), Vec::new());
        for (number, destination) in server.destinations.iter().enumerate() {
            let look = look(number);
            let failed = look.verdict == Some(Verdict::Down);
            let counts = !look.drains && destination.weight.get() > 0;
            whole += usize::from(counts);
            if self.unknown.contains(&number) {
                if !look.settled {
                    continue;
                }
                // Whether this is a change nobody knows.
                self.unknown.remove(&number);
                if failed {
                    self.fail(number, now);
                    news.push(News::FoundFailed(number));
                }
            }
            if failed {
                self.returns.fails(number);
                if self.fail(number, now) {
                    if let Some(damping) = &server.damping {
                        self.returns.failed(number, damping, now);
                    }
                    news.push(News::Failed(number));
                }
                // A destination that was never heard of has not failed.
                if counts && look.settled {
                    may_stay.push(number);
                }
                continue;
            }
            let weight = if look.drains { 0 } else { look.weight.unwrap_or(destination.weight.get()) };
            if self.failed.contains_key(&number) {
                waiting.push((number, counts, weight, look.excused));
                continue;
            }
            healthy += usize::from(counts);
            self.have += u64::from(weight);
        }
        // Nobody waits while too few serve.
        let least = server.floor.as_ref().map_or(0, |floor| floor.min_healthy.of(whole)).max(1);
        waiting.sort_by_key(|(number, ..)| self.returns.until(*number));
        for (number, counts, weight, excused) in waiting {
            let damping = server.damping.as_ref().filter(|_| healthy >= least && !excused);
            if damping.is_some_and(|damping| !self.returns.may_return(number, damping, now)) {
                continue;
            }
            self.failed.remove(&number);
            if server.damping.is_some() && !excused {
                self.returns.returns(number, now);
            }
            news.push(News::Healthy(number));
            returned.push(number);
            healthy += usize::from(counts);
            self.have += u64::from(weight);
        }
        if server.damping.is_none() {
            self.returns.clear();
        }
        let below = self.judge_floor(server, (whole, healthy), may_stay, now);
        news.extend(below);
        let floor_lost = server.floor.as_ref().is_some_and(|floor| floor.below == Below::Sorry)
            && self.floor.is_some_and(|floor| floor.is_below());
        let up = self.have > 0 && self.have >= threshold(server, self.up) && !floor_lost;
        if up != self.up {
            (self.up, self.since) = (up, now);
            news.push(if up { News::QuorumUp } else { News::QuorumDown });
        }
        self.rise(server, &returned, healthy, now);
        news
    }

    /// Counts a destination as failed. Returns whether it did not before.
    fn fail(&mut self, number: usize, now: MonoTime) -> bool {
        let Entry::Vacant(place) = self.failed.entry(number) else { return false };
        place.insert(Failed { order: self.order, since: now });
        self.order += 1;
        self.rising.remove(&number);
        true
    }

    fn judge_floor(
        &mut self,
        server: &VirtualServer,
        (whole, have): (usize, usize),
        mut may_stay: Vec<usize>,
        now: MonoTime,
    ) -> Option<News> {
        self.held.clear();
        let Some(floor) = &server.floor else {
            self.floor = None;
            return None;
        };
        let wanted = floor.min_healthy.of(whole);
        let before = self.floor;
        let was_below = before.is_some_and(|before| before.is_below());
        let is_below = have < wanted;
        let since = before.filter(|_| was_below == is_below).map_or(now, |before| before.since);
        self.floor = Some(FloorState { wanted, have, since });
        if floor.below == Below::Keep {
            may_stay.sort_by_key(|number| self.failed.get(number).map(|failed| failed.order));
            let stay = may_stay.into_iter().rev().take(wanted.saturating_sub(have));
            self.held.extend(stay);
        }
        (was_below != is_below).then_some(if is_below { News::BelowFloor } else { News::AboveFloor })
    }

    /// Lets the weight of destinations that returned grow, if others serve meanwhile.
    fn rise(&mut self, server: &VirtualServer, returned: &[usize], healthy: usize, now: MonoTime) {
        let Some(span) = server.slow_start.map(Span::as_duration) else { return self.rising.clear() };
        self.rising.extend(returned.iter().map(|number| (*number, now)));
        self.rising.retain(|_, since| now.since(*since) < span);
        if self.rising.len() >= healthy {
            // Nobody else is there to take what they do not.
            self.rising.clear();
        }
    }

    /// Whether the quorum is there.
    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    /// Time since which the quorum is there or lost.
    pub(crate) const fn since(&self) -> MonoTime {
        self.since
    }

    /// Healthy weight.
    pub(crate) const fn have(&self) -> u64 {
        self.have
    }

    /// The floor; none without one.
    pub(crate) const fn floor(&self) -> Option<&FloorState> {
        self.floor.as_ref()
    }

    /// Whether the virtual router of the virtual server is to leave the election.
    pub(crate) fn withdraws(&self, server: &VirtualServer) -> bool {
        server.floor.as_ref().is_some_and(|floor| floor.below == Below::Withdraw)
            && self.floor.is_some_and(|floor| floor.is_below())
    }

    /// Destinations that failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = usize> + '_ {
        self.failed.keys().copied()
    }

    /// Time since which a destination that failed stays because of the floor; none for any other.
    pub(crate) fn held(&self, destination: usize) -> Option<MonoTime> {
        let failed = self.failed.get(&destination).filter(|_| self.held.contains(&destination))?;
        Some(failed.since)
    }

    /// Number of destinations that stay because of the floor.
    pub(crate) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Time until which a destination waits because it flaps; none for one that does not.
    pub(crate) fn damped_until(&self, destination: usize) -> Option<MonoTime> {
        self.returns.until(destination)
    }

    /// Time at which a destination that failed and is quiesced leaves the table; none where it stays, or
    /// where it has left.
    pub(crate) fn quiesced_until(&self, server: &VirtualServer, destination: usize) -> Option<MonoTime> {
        let until = self.failed.get(&destination)?.since + server.quiesce_for?.as_duration();
        (until > self.looked).then_some(until)
    }

    /// An earlier daemon had taken this destination out: its time at weight 0 was over.
    pub(super) fn was_out(&mut self, destination: usize) {
        if let Some(failed) = self.failed.get_mut(&destination) {
            failed.since = MonoTime::ZERO;
        }
    }

    /// Time until which the weight of a destination grows; none where it does not.
    pub(crate) fn rises_until(&self, server: &VirtualServer, destination: usize) -> Option<MonoTime> {
        Some(*self.rising.get(&destination)? + server.slow_start?.as_duration())
    }

    /// Whether a destination waits for its first verdict since the daemon's start.
    pub(crate) fn waits(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Time at which a weight grows next, one that flaps may return, or one that is quiesced leaves.
    pub(super) fn due(&self, server: &VirtualServer) -> Option<MonoTime> {
        let grows = server.slow_start.and_then(|span| {
            let step = span.as_duration() / STEPS;
            let next = |since: &MonoTime| *since + step * (steps(*since, self.looked, step) + 1);
            self.rising.values().map(next).min()
        });
        let leaves = server
            .quiesce_for
            .and_then(|_| self.failed.keys().filter_map(|number| self.quiesced_until(server, *number)).min());
        [grows, self.returns.due(self.looked), leaves].into_iter().flatten().min()
    }

    /// Standing of a destination that has this `verdict` and asks for this weight, at this time.
    pub(crate) fn standing(
        &self,
        server: &VirtualServer,
        number: usize,
        verdict: Option<Verdict>,
        weight: Option<u16>,
    ) -> Standing {
        let sorry = self.sorry(server);
        if self.held.contains(&number) && !sorry {
            return weight.map_or(Standing::Serving, Standing::Weighted);
        }
        // One that waits is out still, as it failed.
        let verdict = if self.returns.until(number).is_some() { Some(Verdict::Down) } else { verdict };
        let standing = verdicts::standing(server, verdict, sorry);
        let is_over = server.quiesce_for.is_some() && self.quiesced_until(server, number).is_none();
        if standing == Standing::Quiet && verdict == Some(Verdict::Down) && is_over {
            return Standing::Out;
        }
        if standing != Standing::Serving {
            return standing;
        }
        let own = server.destinations.get(number).map(|destination| destination.weight.get());
        match (self.rising.get(&number), weight.or(own)) {
            (Some(since), Some(full)) => Standing::Weighted(self.grown(server, *since, full)),
            (None, Some(_)) => weight.map_or(Standing::Serving, Standing::Weighted),
            (_, None) => standing,
        }
    }

    /// The weight so far of a destination that returned then.
    fn grown(&self, server: &VirtualServer, since: MonoTime, full: u16) -> u16 {
        let step = server.slow_start.map_or(Duration::ZERO, Span::as_duration) / STEPS;
        let done = steps(since, self.looked, step).min(STEPS);
        let part = u32::from(full) * done / STEPS;
        u16::try_from(part).unwrap_or(full).max(full.min(1))
    }

    /// Whether the sorry server takes the clients.
    pub(crate) const fn sorry(&self, server: &VirtualServer) -> bool {
        server.sorry_server.is_some() && !self.up
    }
}

/// Number of whole steps from one time to another.
fn steps(since: MonoTime, now: MonoTime, step: Duration) -> u32 {
    let step = step.as_millis().max(1);
    u32::try_from(now.since(since).as_millis() / step).unwrap_or(u32::MAX)
}

/// Healthy weight that a virtual server needs to stay up, or to come up.
pub(crate) fn threshold(server: &VirtualServer, up: bool) -> u64 {
    let (weight, hysteresis) =
        server.quorum.as_ref().map_or((1, 0), |quorum| (quorum.weight.into(), quorum.hysteresis.into()));
    if up { u64::saturating_sub(weight, hysteresis) } else { weight + hysteresis }
}

#[cfg(test)]
mod tests;
