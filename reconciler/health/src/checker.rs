//! All checks of a host as one machine: probes to be made, what they found, the ways to their targets.
//!
//! ```text
//!   checks of the plan --+                +--> probes to be made, ways to be watched
//!   news of ways --------+--> Checker ----+--> states of checks that changed
//!   results of probes ---+                +--> interfaces that ail, silences
//! ```
//!
//! Whoever asks hears of changes only: while all is as it was, a probe's result goes no further than this.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::plan::{Check, CheckKind};
use evenkeel_schemas::time::MonoTime;

use crate::ailment::Ailment;
use crate::board::Board;
use crate::fault::{Fault, Says};
use crate::own_fault::{Links, Sign};
use crate::places::{Capacity, Load};
use crate::silence::{News, Silences};
use crate::state::{CheckId, Heard, Outcome, Reach, Report, Verdict};
use crate::way::{Found, Link, Route, Turns, Ways, judge};

/// What was found of the ways to targets.
#[derive(Debug, Clone)]
pub enum WayNews {
    /// These are all interfaces, by index.
    Links(BTreeMap<u32, Link>),
    /// An interface came, changed or went.
    Link(u32, Link),
    /// The routes to some targets.
    Routes(Vec<(IpAddr, Route)>),
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed: whatever is due is done.
    Time,
    /// These are the checks now: number, check, and the verdict that a new one begins with. One that stays
    /// keeps its verdict and its schedule. Of each the next result is told.
    Configure(Vec<(CheckId, Check, Verdict)>),
    /// News of ways.
    Way(WayNews),
    /// A probe has ended. All news of ways that came before were handled.
    Probed {
        /// Its check.
        id: CheckId,
        /// When it was started.
        began: MonoTime,
        /// How long it took, from its first packet or its start.
        took: Duration,
        /// What it found.
        found: Found,
    },
    /// The connection that a check holds has ended: with a fault, or in order. All news of ways that came
    /// before were handled.
    Broke(CheckId, Option<Fault>),
}

/// What is to be done, and what is to be told.
#[derive(Debug)]
pub enum Output {
    /// A probe is to be made.
    Probe {
        /// Number of its check.
        id: CheckId,
        /// Its check.
        check: Arc<Check>,
        /// Time at which the probe begins.
        began: MonoTime,
    },
    /// The ways to these targets are to be watched: all of them.
    WatchWays(Vec<IpAddr>),
    /// Something has changed.
    News(CheckNews),
}

/// What has changed.
#[derive(Debug, Clone)]
pub enum CheckNews {
    /// A check has another state.
    State(CheckId, CheckState),
    /// The ways to the targets of these checks were lost or are back: they have to say anew what their
    /// verdicts are.
    Turned(BTreeSet<CheckId>),
    /// Something ails these interfaces, and no others.
    Ailing(BTreeSet<String>),
    /// Links behind which nothing answers, all there are: names of interfaces and gateways, with the checks
    /// behind each.
    OwnFault(BTreeMap<String, BTreeSet<CheckId>>),
    /// Checks begin to say nothing because of this host, so many of them.
    Silent(News, usize),
    /// They say something again.
    SilenceOver(News),
}

/// What is known of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// Its verdict.
    pub verdict: Verdict,
    /// Whether a whole turn has said what the verdict is
    /// ([`is_settled`](crate::schedule::Schedule::is_settled)).
    pub settled: bool,
    /// What is known of its target.
    pub reach: Reach,
    /// What the last probe found since the checks were configured; none before it has ended.
    pub heard: Option<Heard>,
    /// Why the last probe that failed did; none when none has failed since the check came.
    pub fault: Option<Fault>,
    /// Words of the target beside its last success.
    pub says: Says,
}

impl CheckState {
    /// Of a check that begins with this verdict.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        let says = Says::default();
        Self { verdict, settled: false, reach: Reach::Unknown, heard: None, fault: None, says }
    }
}

/// The state of all checks, for status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    /// Each check.
    pub checks: BTreeMap<CheckId, Report>,
    /// How busy the host is with them.
    pub load: Load,
}

/// The checks of a host.
#[derive(Debug, Default)]
pub struct Checker {
    board: Board,
    ways: Ways,
    silences: Silences,
    /// When it is looked whether a silence is over.
    silences_at: Option<MonoTime>,
    /// The interfaces that ail, as was told last.
    ailing: BTreeSet<String>,
    links: Links,
    /// Links that are at fault, as was told last.
    at_fault: BTreeMap<String, BTreeSet<CheckId>>,
    out: VecDeque<Output>,
}

impl Checker {
    /// No checks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an input. All that follows is to be taken from [`Self::poll_output`] before the next one.
    pub fn handle(&mut self, input: Input, now: MonoTime) {
        match input {
            Input::Time => self.time_passes(now),
            Input::Configure(checks) => self.configure(checks, now),
            Input::Way(news) => self.way_news(news, now),
            Input::Broke(id, fault) => self.broke(id, fault, now),
            Input::Probed { id, began, took, found } => self.probed(id, began, took, found, now),
        }
    }

    /// The next thing to be done or told; none when all has been taken.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Time`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        [self.board.poll_timeout(), self.silences_at].into_iter().flatten().min()
    }

    /// The state of every check, for people.
    #[must_use]
    pub fn reports(&self, now: MonoTime) -> Reports {
        let checks = self.board.iter().map(|(id, schedule)| (id, schedule.report())).collect();
        Reports { checks, load: self.board.load(now) }
    }

    /// Sets how many probes are made at a time.
    pub const fn limit(&mut self, capacity: Capacity) {
        self.board.limit(capacity);
    }

    fn configure(&mut self, checks: Vec<(CheckId, Check, Verdict)>, now: MonoTime) {
        let initial: BTreeMap<CheckId, Verdict> =
            checks.iter().map(|(id, _, verdict)| (*id, *verdict)).collect();
        let targets: BTreeSet<IpAddr> =
            checks.iter().filter_map(|(_, check, _)| Some(check.address()?.0)).collect();
        let of = |id: CheckId| initial.get(&id).copied().unwrap_or(Verdict::Up);
        let evidence = checks.iter().filter(|(_, check, _)| is_evidence(check));
        let evidence: BTreeSet<CheckId> = evidence.map(|(id, ..)| *id).collect();
        self.board.configure(checks.into_iter().map(|(id, check, _)| (id, check)), of, now);
        self.ways.watch(targets.iter().copied());
        self.out.push_back(Output::WatchWays(targets.into_iter().collect()));
        // A way that is known to be gone is so for a new check as well.
        let lost: Turns = self
            .ways
            .targets()
            .filter_map(|target| Some((target, Some(self.ways.ailment(target)?.clone()))))
            .collect();
        for id in self.board.ways_turned(&lost, now) {
            self.tell(id, now);
        }
        self.board.tell_again();
        self.place_links(|id| evidence.contains(&id));
        self.links.keep(|id| evidence.contains(&id));
        self.links_turned(now);
    }

    /// Says again what checks are behind, where `which` says so.
    fn place_links(&mut self, which: impl Fn(CheckId) -> bool) {
        for (id, schedule) in self.board.iter().filter(|(id, _)| which(*id)) {
            let Some(target) = schedule.target() else { continue };
            let interval = schedule.check().times.interval.as_duration();
            self.links.place(id, target, interval, self.ways.behind(target));
        }
    }

    /// A probe has ended: it may show that our own link fails, or works again.
    fn look_at_link(&mut self, id: CheckId, now: MonoTime) {
        let Some(schedule) = self.board.get(id) else { return };
        let Some(sign) = schedule.sign() else { return };
        let mut turned = !self.links.heard(id, sign).is_empty();
        if sign == Sign::Answers && schedule.answers_again() {
            turned |= !self.links.works(id).is_empty();
        }
        if turned {
            self.links_turned(now);
        }
    }

    /// Links may have come to be at fault, or may be so no more.
    fn links_turned(&mut self, now: MonoTime) {
        let found = self.links.at_fault();
        let named = found.iter().map(|(behind, checks)| (self.ways.name(*behind), checks.clone()));
        let named: BTreeMap<String, BTreeSet<CheckId>> = named.collect();
        if named == self.at_fault {
            return;
        }
        self.at_fault.clone_from(&named);
        self.news(CheckNews::OwnFault(named));
        let turns = self.ways.faults(found.into_keys().collect(), now);
        self.ways_turned(&turns, now);
    }

    fn time_passes(&mut self, now: MonoTime) {
        if self.board.poll_timeout().is_some_and(|due| due <= now) {
            self.start_probes(now);
        }
        if self.silences_at.is_some_and(|due| due <= now) {
            let board = &self.board;
            let over = self.silences.look(|ailment| board.unjudged(ailment) > 0, now);
            for news in over {
                self.news(CheckNews::SilenceOver(news));
            }
            self.silences_at = self.silences.look_in().map(|pause| now + pause);
        }
    }

    fn start_probes(&mut self, now: MonoTime) {
        let (probes, changes) = self.board.start(now);
        for change in changes {
            self.tell(change.check, now);
        }
        for id in probes {
            let Some(schedule) = self.board.get(id) else { continue };
            // Without a way to it a packet would wait for the time-out, and say nothing.
            match schedule.target().and_then(|target| self.ways.obstacle(target)) {
                Some(ailment) => self.conclude(id, Outcome::Inconclusive(ailment), None, now),
                None => {
                    let check = Arc::clone(schedule.check());
                    self.out.push_back(Output::Probe { id, check, began: now });
                }
            }
        }
    }

    fn probed(&mut self, id: CheckId, began: MonoTime, took: Duration, found: Found, now: MonoTime) {
        // Given up meanwhile: its way is back, and another one follows.
        let Some(schedule) = self.board.get(id).filter(|schedule| schedule.probing() == Some(began)) else {
            return;
        };
        let target = schedule.target();
        let excuse = target.and_then(|target| self.ways.excuse(target, began));
        let outcome = judge(found, excuse);
        let answered = match &outcome {
            Outcome::Success(_) => true,
            Outcome::Failure(fault) => fault.label.is_an_answer(),
            Outcome::Silent(_) | Outcome::Inconclusive(_) => false,
        };
        self.conclude(id, outcome, Some(took), now);
        if let Some(target) = target.filter(|_| answered) {
            let turns = self.ways.answered(target, now);
            self.ways_turned(&turns, now);
        }
        self.look_at_link(id, now);
    }

    fn broke(&mut self, id: CheckId, fault: Option<Fault>, now: MonoTime) {
        let Some(schedule) = self.board.get(id) else { return };
        let excuse = schedule.target().and_then(|target| self.ways.excuse(target, now));
        let outcome = fault.map(|fault| judge(fault.into(), excuse));
        self.board.broke(id, outcome, now);
        self.tell(id, now);
        self.look_at_link(id, now);
    }

    fn conclude(&mut self, id: CheckId, outcome: Outcome, took: Option<Duration>, now: MonoTime) {
        let ails = matches!(outcome, Outcome::Inconclusive(_));
        self.board.finished(id, outcome, took, now);
        // What ails this host may change while it goes on: it is one silence.
        if let Some(ailment) = self.board.silence(id).filter(|_| ails).cloned() {
            self.note_silence(&ailment, 1, now);
        }
        self.tell(id, now);
    }

    /// Tells the state of a check if it is another one than was told.
    fn tell(&mut self, id: CheckId, now: MonoTime) {
        let Some(schedule) = self.board.get_mut(id) else { return };
        let heard = schedule.last().map(|(_, outcome)| outcome.heard());
        let (verdict, settled, reach) = (schedule.verdict(), schedule.is_settled(), schedule.reach(now));
        let told = (verdict, settled, reach, heard, schedule.says().clone());
        if schedule.told.as_ref() != Some(&told) {
            let (fault, says) = (schedule.fault().cloned(), told.4.clone());
            schedule.told = Some(told);
            self.news(CheckNews::State(id, CheckState { verdict, settled, reach, heard, fault, says }));
        }
    }

    fn way_news(&mut self, news: WayNews, now: MonoTime) {
        let turns = match news {
            WayNews::Links(links) => self.ways.links(links, now),
            WayNews::Link(index, link) => self.ways.link(index, link, now),
            WayNews::Routes(routes) => {
                let targets: BTreeSet<IpAddr> = routes.iter().map(|(target, _)| *target).collect();
                let turns = self.ways.routes(routes, now);
                let concerned = self.links.of(&targets);
                self.place_links(|id| concerned.contains(&id));
                // A link that was at fault may have no target behind it any more.
                self.links.keep(|_| true);
                self.links_turned(now);
                turns
            }
        };
        let ailing = self.ways.ailing();
        if ailing != self.ailing {
            self.ailing.clone_from(&ailing);
            self.news(CheckNews::Ailing(ailing));
        }
        self.ways_turned(&turns, now);
    }

    fn ways_turned(&mut self, turns: &Turns, now: MonoTime) {
        if turns.is_empty() {
            return;
        }
        let checks = self.board.ways_turned(turns, now);
        let silences: BTreeSet<Ailment> =
            checks.iter().filter_map(|id| self.board.silence(*id)).cloned().collect();
        for ailment in silences {
            self.note_silence(&ailment, 0, now);
        }
        for id in &checks {
            self.tell(*id, now);
        }
        if !checks.is_empty() {
            self.news(CheckNews::Turned(checks));
        }
    }

    fn news(&mut self, news: CheckNews) {
        self.out.push_back(Output::News(news));
    }

    fn note_silence(&mut self, ailment: &Ailment, probes: u64, now: MonoTime) {
        if let Some(news) = self.silences.note(ailment, probes, now) {
            let checks = self.board.unjudged(ailment);
            self.news(CheckNews::Silent(news, checks));
        }
        let look = self.silences.look_in();
        self.silences_at = self.silences_at.or_else(|| look.map(|pause| now + pause));
    }
}

/// Whether a check shows that something comes from its target, or that nothing does.
fn is_evidence(check: &Check) -> bool {
    match &check.kind {
        CheckKind::Udp(udp) => udp.require_reply,
        // An agent need not be there.
        CheckKind::Agent(_) | CheckKind::Script(_) | CheckKind::File(_) => false,
        CheckKind::Tcp(_)
        | CheckKind::Http(_)
        | CheckKind::Dns(_)
        | CheckKind::Ping
        | CheckKind::Smtp(_)
        | CheckKind::Grpc(_) => check.target.is_some(),
    }
}
