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
        let mut returned = Vec::new();
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
                if self.fail(number, now) {
                    news.push(News::Failed(number));
                }
                // A destination that was never heard of has not failed.
                if counts && look.settled {
                    may_stay.push(number);
                }
                continue;
            }
            if self.failed.remove(&number).is_some() {
                news.push(News::Healthy(number));
                returned.push(number);
            }
            healthy += usize::from(counts);
            if !look.drains {
                self.have += u64::from(look.weight.unwrap_or(destination.weight.get()));
            }
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

    /// Time until which the weight of a destination grows; none where it does not.
    pub(crate) fn rises_until(&self, server: &VirtualServer, destination: usize) -> Option<MonoTime> {
        Some(*self.rising.get(&destination)? + server.slow_start?.as_duration())
    }

    /// Whether a destination waits for its first verdict since the daemon's start.
    pub(crate) fn waits(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Time at which a weight grows next.
    pub(super) fn due(&self, server: &VirtualServer) -> Option<MonoTime> {
        let step = server.slow_start?.as_duration() / STEPS;
        let next = |since: &MonoTime| *since + step * (steps(*since, self.looked, step) + 1);
        self.rising.values().map(next).min()
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
        let standing = verdicts::standing(server, verdict, sorry);
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
mod tests {
    use super::*;

    fn server(weights: &[u16], more: &str) -> VirtualServer {
        let mut text = format!(
            "name = \"web\"\naddress = \"192.0.2.9\"\nport = 80\nprotocol = \"tcp\"\nscheduler = \"wlc\"\n\
             one_packet = false\n{more}"
        );
        for (n, weight) in (1..).zip(weights) {
            text += &format!(
                "[[destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = 80\n\
                 weight = {weight}\nforwarding = \"dr\"\n"
            );
        }
        toml::from_str(&text).expect("a virtual server")
    }

    const AT: MonoTime = MonoTime::from_millis(60_000);
    const SORRY: &str = "sorry_server = { address = \"192.0.2.99\", port = 80, forwarding = \"dr\" }\n";

    /// Looks at destinations: `+` healthy, `-` failed, `?` healthy so far, `d` drains.
    fn look(text: &str) -> impl Fn(usize) -> Look + '_ {
        |number| {
            let up = Look { verdict: Some(Verdict::Up), settled: true, drains: false, weight: None };
            match text.as_bytes()[number] {
                b'+' => up,
                b'-' => Look { verdict: Some(Verdict::Down), ..up },
                b'x' => Look { verdict: Some(Verdict::Down), settled: false, ..up },
                b'?' => Look { settled: false, ..up },
                b'd' => Look { drains: true, ..up },
                b' ' => Look { verdict: None, settled: false, ..up },
                b'w' => Look { weight: Some(3), ..up },
                other => panic!("{other}"),
            }
        }
    }

    fn run(server: &VirtualServer, begin: &str, steps: &[(&str, &[News])]) -> ServerState {
        let mut state = ServerState::new(server, false, &look(begin), AT);
        for (text, news) in steps {
            assert_eq!(state.judge(server, &look(text), AT), *news, "{text}");
        }
        state
    }

    #[test]
    fn the_quorum_goes_below_weight_less_hysteresis_and_comes_at_weight_plus_hysteresis() {
        use News::{Failed, Healthy, QuorumDown, QuorumUp};
        let five = server(&[10; 5], "quorum = { weight = 30, hysteresis = 10 }\n");
        let state = run(
            &five,
            "?????",
            &[
                ("++++-", &[Failed(4)]),
                ("++---", &[Failed(2), Failed(3)]),
                ("+----", &[Failed(1), QuorumDown]),
                ("++---", &[Healthy(1)]),
                ("+++--", &[Healthy(2)]),
                ("++++-", &[Healthy(3), QuorumUp]),
            ],
        );
        assert_eq!((state.is_up(), state.have()), (true, 40));
        // A quorum begins up only with the hysteresis on top, as keepalived does.
        assert!(!run(&five, "+++--", &[]).is_up());
        assert!(run(&five, "++++-", &[]).is_up());
    }

    #[test]
    fn without_a_quorum_one_is_enough_and_none_of_any_weight_is_not() {
        let two = server(&[10, 0], "");
        run(
            &two,
            "++",
            &[("-+", &[News::Failed(0), News::QuorumDown]), ("++", &[News::Healthy(0), News::QuorumUp])],
        );
        // A destination without a check is healthy for ever; one that drains counts for nothing.
        run(&server(&[1, 1], ""), " +", &[(" -", &[News::Failed(1)]), ("d-", &[News::QuorumDown])]);
    }

    #[test]
    fn real_servers_make_way_for_the_sorry_server() {
        let standings = |more: &str, quorum: &str, text: &str| {
            let server = server(&[1; 3], &format!("{SORRY}{more}quorum = {{ weight = {quorum} }}\n"));
            let state = run(&server, text, &[]);
            [0, 1, 2].map(|number| state.standing(&server, number, look(text)(number).verdict, None))
        };
        use Standing::{Draining, Out, Quiet, Serving};
        assert_eq!(standings("", "1", "+--"), [Serving, Out, Out]);
        assert_eq!(standings("", "2", "+--"), [Out, Out, Out]);
        assert_eq!(standings("on_failure = \"quiesce\"\n", "2", "+--"), [Quiet, Quiet, Quiet]);
        let limit = Some(std::time::Duration::from_secs(60));
        assert_eq!(standings("drain = \"60s\"\n", "2", "+--"), [Draining(limit), Out, Out]);
    }

    #[test]
    fn after_a_restart_a_lost_quorum_returns_only_by_checks_that_have_spoken() {
        let three = server(&[1; 3], &format!("{SORRY}quorum = {{ weight = 2 }}\n"));
        let mut state = ServerState::new(&three, true, &look("???"), AT);
        assert!(!state.is_up() && state.waits());
        assert_eq!(state.judge(&three, &look("+??"), AT), []);
        // The destination may have failed before.
        assert_eq!(state.judge(&three, &look("+-?"), AT), [News::FoundFailed(1)]);
        assert_eq!(state.judge(&three, &look("+-+"), AT), [News::QuorumUp]);
        assert!(!state.waits());
        assert_eq!(state.judge(&three, &look("+++"), AT), [News::Healthy(1)]);
    }

    #[test]
    fn a_plan_that_changes_keeps_the_state_of_destinations_that_stay() {
        let before = server(&[1, 1, 1], "quorum = { weight = 2 }\n");
        let state = run(&before, "-+-", &[]);
        let mut after = server(&[1, 1, 1], "quorum = { weight = 1 }\n");
        after.destinations.remove(0);
        let mut state = state.moved(&before, &after);
        assert_eq!(state.failed().collect::<Vec<_>>(), [1]);
        assert_eq!(state.judge(&after, &look("+-"), AT), [News::QuorumUp]);
    }

    fn in_table(state: &ServerState, server: &VirtualServer, text: &str) -> String {
        let look = look(text);
        let letter = |number| match state.standing(server, number, look(number).verdict, look(number).weight)
        {
            Standing::Serving => 's',
            Standing::Weighted(weight) => char::from_digit(u32::from(weight), 36).unwrap_or('*'),
            Standing::Quiet => 'q',
            Standing::Draining(_) => 'd',
            Standing::Out => '.',
        };
        (0..server.destinations.len()).map(letter).collect()
    }

    #[test]
    fn below_the_floor_those_that_failed_last_stay() {
        let six = server(&[1; 6], "floor = { min_healthy = \"50%\" }\n");
        let mut state = ServerState::new(&six, false, &look("??????"), AT);
        let mut step = |text: &str| {
            let news = state.judge(&six, &look(text), AT);
            let floor = news.into_iter().find(|one| matches!(one, News::BelowFloor | News::AboveFloor));
            (in_table(&state, &six, text), floor)
        };
        assert_eq!(step("+++++-"), ("sssss.".to_owned(), None));
        assert_eq!(step("-++++-"), (".ssss.".to_owned(), None));
        assert_eq!(step("-+-++-"), (".s.ss.".to_owned(), None));
        assert_eq!(step("-+--+-"), (".s.ss.".to_owned(), Some(News::BelowFloor)), "the table stays");
        assert_eq!(step("------"), (".s.ss.".to_owned(), None));
        assert_eq!(
            step("+-----"),
            ("ss..s.".to_owned(), None),
            "one that mends takes the place of the first"
        );
        assert_eq!(step("+-+--+"), ("s.s..s".to_owned(), Some(News::AboveFloor)));
        // Drained ones are no part of the whole, and what was never heard of is not held.
        let mut state = ServerState::new(&six, false, &look("xxxxxx"), AT);
        state.judge(&six, &look("xxxxx+"), AT);
        assert_eq!(in_table(&state, &six, "xxxxx+"), ".....s");
        state.judge(&six, &look("dddd-+"), AT);
        assert_eq!(in_table(&state, &six, "dddd-+"), "ssss.s");
        assert_eq!(state.floor().map(|floor| (floor.wanted, floor.have)), Some((1, 1)));
    }

    #[test]
    fn below_the_floor_the_sorry_server_comes_or_the_router_goes() {
        let sorry =
            server(&[1; 4], &format!("{SORRY}floor = {{ min_healthy = \"2\", below = \"sorry\" }}\n"));
        let state = run(
            &sorry,
            "++--",
            &[
                ("+---", &[News::Failed(1), News::BelowFloor, News::QuorumDown]),
                ("++--", &[News::Healthy(1), News::AboveFloor, News::QuorumUp]),
            ],
        );
        assert_eq!(in_table(&state, &sorry, "++--"), "ss..");
        let goes = server(&[1; 4], "floor = { min_healthy = \"2\", below = \"withdraw\" }\n");
        let mut state = run(&goes, "+---", &[]);
        assert!(state.withdraws(&goes));
        assert_eq!(in_table(&state, &goes, "+---"), "s...");
        state.judge(&goes, &look("++--"), AT);
        assert!(!state.withdraws(&goes));
    }

    #[test]
    fn a_weight_that_is_asked_for_counts_and_stands() {
        let two = server(&[10, 10], "quorum = { weight = 5 }\n");
        let state = run(&two, "ww", &[]);
        assert_eq!((state.have(), in_table(&state, &two, "ww")), (6, "33".to_owned()));
        let state = run(&two, "w-", &[]);
        assert!(!state.is_up());
    }

    #[test]
    fn the_weight_of_one_that_returns_grows_in_ten_steps_unless_it_is_alone() {
        let two = server(&[30, 20], "slow_start = \"10s\"\n");
        let mut state = ServerState::new(&two, false, &look("??"), AT);
        let at = |ms: u64| AT + Duration::from_millis(ms);
        assert_eq!(state.judge(&two, &look("-+"), AT), [News::Failed(0)]);
        assert_eq!(state.due(&two), None);
        state.judge(&two, &look("++"), AT);
        let mut seen = Vec::new();
        while let Some(due) = state.due(&two) {
            seen.push(in_table(&state, &two, "++"));
            state.judge(&two, &look("++"), due);
            assert!(due <= at(10_000) && seen.len() <= 10, "{due:?}");
        }
        assert_eq!(seen, ["1s", "3s", "6s", "9s", "cs", "fs", "is", "ls", "os", "rs"]);
        assert_eq!(in_table(&state, &two, "++"), "ss");
        // The only one that serves gets all at once, also when the others fail meanwhile.
        state.judge(&two, &look("--"), AT);
        state.judge(&two, &look("+-"), AT);
        assert_eq!(in_table(&state, &two, "+-"), "s.");
        state.judge(&two, &look("++"), AT);
        assert_eq!(in_table(&state, &two, "++"), "s1");
        state.judge(&two, &look("-+"), AT);
        assert_eq!((in_table(&state, &two, "-+"), state.due(&two)), (".s".to_owned(), None));
    }
}
