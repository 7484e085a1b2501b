//! One check: its verdict, its failures in a row and the time of its next probe.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::plan::{Check, Times};
use evenkeel_schemas::status::FaultLabel;
use evenkeel_schemas::time::MonoTime;

use crate::ailment::Ailment;
use crate::fault::{Fault, Says};
use crate::own_fault::Sign;
use crate::places::Lane;
use crate::state::{Outcome, Reach, Report, Told, Verdict};

mod held;

/// Time after its own time-out for which a probe may still report. Then it counts as failed, so that a lost
/// probe cannot freeze a verdict.
const GRACE: Duration = Duration::from_secs(1);

/// Phase of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way; the next probe starts at `at`, which is later than its `time` by chance. It may
    /// come beside the regular ones, the next of which is then at `regular`.
    Waiting { at: MonoTime, time: MonoTime, regular: Option<MonoTime> },
    /// The probe of `time` began then and is under way; `since` is later where it was given more time.
    Probing { began: MonoTime, since: MonoTime, time: MonoTime, regular: Option<MonoTime> },
}

/// When a check begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The time at which it came.
    pub now: MonoTime,
    /// Its first probe.
    pub first: MonoTime,
    /// The first of its regular probes.
    pub regular: MonoTime,
}

/// The schedule and verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The check, shared with its probe under way: no other copy is kept beside the plan's.
    check: Arc<Check>,
    phase: Phase,
    verdict: Verdict,
    /// Time since which it is the verdict.
    since: MonoTime,
    /// Changes of the verdict.
    transitions: u64,
    failures: u32,
    /// Successes in a row since the last failure, while the target counts as failing.
    successes: u32,
    /// Probes in a row at which something came from the target.
    answers: u32,
    /// Time of the first of the probes in a row at which nothing came, where the target was healthy until
    /// then.
    healthy_until: Option<MonoTime>,
    jitter: Jitter,
    last: Option<(MonoTime, Outcome)>,
    /// The last failure.
    fault: Option<(MonoTime, Fault)>,
    /// Words of the target beside its last success.
    says: Says,
    /// How long the last probe took that was heard of.
    latency: Option<Duration>,
    /// Time since which the target is not judged, and the ailment now; none while it is judged.
    unjudged: Option<(MonoTime, Ailment)>,
    /// Ailment at the beginning of that time.
    silence: Option<Ailment>,
    /// Whether a whole turn has said what the verdict is since it began, or since its way was lost or came
    /// back.
    settled: bool,
    /// Whether the probe under way was already given more time because we ourselves were late.
    extended: bool,
    /// Whether the next failure counts for all retries.
    decisive: bool,
    /// What was told of it; none when its next result is to be told in any case.
    pub(crate) told: Option<Told>,
}

impl Schedule {
    /// A check that comes. `seed` makes the jitter of one check another than that of others.
    #[must_use]
    pub fn new(check: Arc<Check>, verdict: Verdict, begin: Begin, seed: u32) -> Self {
        let Begin { now, first, regular } = begin;
        let jitter = check.times.jitter.as_duration();
        Self {
            check,
            phase: Phase::Waiting { at: first, time: first, regular: Some(regular) },
            verdict,
            since: now,
            transitions: 0,
            failures: 0,
            successes: 0,
            answers: 0,
            healthy_until: None,
            jitter: Jitter { most: jitter, state: seed },
            last: None,
            fault: None,
            says: Says::default(),
            latency: None,
            unjudged: None,
            silence: None,
            settled: false,
            extended: false,
            decisive: false,
            told: None,
        }
    }

    /// The check itself.
    #[must_use]
    pub const fn check(&self) -> &Arc<Check> {
        &self.check
    }

    /// The address that it asks; none for what is on this host.
    #[must_use]
    pub fn target(&self) -> Option<IpAddr> {
        self.check.address().map(|ip| ip.0)
    }

    /// The kind of place that its probes take.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::of(&self.check.kind)
    }

    fn times(&self) -> &Times {
        &self.check.times
    }

    /// What is known of the target, for whoever asks whether this host can serve by it.
    #[must_use]
    pub fn reach(&self, now: MonoTime) -> Reach {
        match &self.unjudged {
            Some((since, ailment)) if ailment.is_of_the_way() => {
                if now.since(*since) >= self.times().turn() {
                    Reach::CutOff
                } else {
                    Reach::Unknown
                }
            }
            _ if self.last.is_none() => Reach::Unknown,
            _ => Reach::Judged(self.verdict),
        }
    }

    /// All of it, for people.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            verdict: self.verdict,
            since: self.since,
            transitions: self.transitions,
            failures: self.failures,
            last: self.last.clone(),
            latency: self.latency,
            fault: self.fault.clone(),
            says: self.says.clone(),
            next: match self.phase {
                Phase::Waiting { at, .. } => Some(at),
                Phase::Probing { .. } => None,
            },
            unjudged: self.unjudged.clone(),
        }
    }

    /// The verdict in force.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Failed probes in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The last probe's end and outcome.
    #[must_use]
    pub const fn last(&self) -> Option<&(MonoTime, Outcome)> {
        self.last.as_ref()
    }

    /// Why the last probe that failed did; none when none has.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref().map(|(_, fault)| fault)
    }

    /// Sign of the link in the last probe; none where the probe says nothing of it.
    #[must_use]
    pub fn sign(&self) -> Option<Sign> {
        match &self.last.as_ref()?.1 {
            Outcome::Failure(fault) if fault.silent => {
                let down = self.verdict == Verdict::Down;
                Some(Sign::Silent { healthy_until: self.healthy_until, down })
            }
            Outcome::Success(_) | Outcome::Failure(_) => Some(Sign::Answers),
            Outcome::Silent(_) | Outcome::Inconclusive(_) => None,
        }
    }

    /// Whether the target has answered often enough in a row to show that the link to it works.
    #[must_use]
    pub fn answers_again(&self) -> bool {
        self.answers >= u32::from(self.times().rise.get())
    }

    /// Words of the target beside its last success.
    #[must_use]
    pub const fn says(&self) -> &Says {
        &self.says
    }

    /// Time since which the target is not judged, and the ailment now; none when the last probe gave a
    /// verdict.
    #[must_use]
    pub const fn unjudged(&self) -> Option<&(MonoTime, Ailment)> {
        self.unjudged.as_ref()
    }

    /// Ailment at the time from which the target is not judged; none while it is judged.
    #[must_use]
    pub const fn silence(&self) -> Option<&Ailment> {
        self.silence.as_ref()
    }

    /// Whether probes have said what the verdict is since the check began, or since its way was lost or came
    /// back: one that succeeded, or as many failed ones as make a failure.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Time-out of a probe.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.times().timeout.as_duration()
    }

    /// Time at which the probe under way began; none when no probe is under way.
    #[must_use]
    pub const fn probing(&self) -> Option<MonoTime> {
        match self.phase {
            Phase::Waiting { .. } => None,
            Phase::Probing { began, .. } => Some(began),
        }
    }

    /// Time of the next step: a probe starts, or the one under way is given up.
    #[must_use]
    pub fn due(&self) -> MonoTime {
        match self.phase {
            Phase::Waiting { at, .. } => at,
            Phase::Probing { since, .. } => since + self.timeout() + GRACE,
        }
    }

    /// Starts a probe when one is due. True: the caller must make the probe and hand its outcome to
    /// [`Self::finish`]. A probe that never reported counts as failed first.
    pub fn start(&mut self, now: MonoTime) -> bool {
        if now < self.due() {
            return false;
        }
        if let Phase::Probing { began, time, regular, .. } = self.phase {
            if !self.extended && now >= self.due() + GRACE {
                // The daemon itself was late, so the outcome may only wait to be handed in.
                self.extended = true;
                self.phase = Phase::Probing { began, since: now - self.timeout(), time, regular };
                return false;
            }
            let outcome = match &self.unjudged {
                Some((_, ailment)) => Outcome::Inconclusive(ailment.clone()),
                None => Outcome::Failure(Fault::new(FaultLabel::Lost, "the check did not end in time")),
            };
            self.finish(outcome, None, now);
            if now < self.due() {
                return false;
            }
        }
        let Phase::Waiting { time, regular, .. } = self.phase else { return false };
        self.phase = Phase::Probing { began: now, since: now, time, regular };
        self.extended = false;
        true
    }

    /// Takes the outcome of the probe under way, and how long that took; one that was given up is ignored.
    pub fn finish(&mut self, outcome: Outcome, took: Option<Duration>, now: MonoTime) {
        let Phase::Probing { time, regular, .. } = self.phase else { return };
        let Times { interval, retries, retry_delay, rise, .. } = *self.times();
        // Counted from the time of the probe and not from when it was made: a probe that is late delays none.
        let next = regular
            .filter(|regular| *regular > now)
            .unwrap_or_else(|| (time + interval.as_duration()).max(now));
        let (mut time, mut at) = (next, next + self.jitter.next());
        let decisive = std::mem::take(&mut self.decisive);
        match &outcome {
            Outcome::Success(says) => {
                if self.says != *says {
                    self.says.clone_from(says);
                }
                self.failures = 0;
                self.answers = self.answers.saturating_add(1);
                self.healthy_until = None;
                self.successes = self.successes.saturating_add(1);
                if self.successes >= u32::from(rise.get()) {
                    self.give(Verdict::Up, now);
                }
                self.settled |= self.verdict == Verdict::Up;
                (self.unjudged, self.silence) = (None, None);
            }
            // A router that waits for it would wait for ever: there may be no agent at all.
            Outcome::Silent(_) => {
                self.settled = true;
                (self.unjudged, self.silence) = (None, None);
            }
            Outcome::Inconclusive(ailment) => {
                self.ails(ailment, now);
                // No event says when an address becomes usable: one of IPv6 is tested for duplicates for a
                // second first.
                if matches!(ailment, Ailment::NoSource | Ailment::NotOurs(_)) {
                    at = next.min(now + retry_delay.as_duration());
                    time = at;
                }
            }
            Outcome::Failure(fault) => {
                self.fault = Some((now, fault.clone()));
                let before = if decisive { u32::from(retries.get()) } else { 0 };
                self.failures = self.failures.max(before).saturating_add(1);
                self.successes = 0;
                self.answers = if fault.silent { 0 } else { self.answers.saturating_add(1) };
                match (fault.silent, self.verdict) {
                    (true, Verdict::Up) => drop(self.healthy_until.get_or_insert(now)),
                    (true, Verdict::Down) => {}
                    (false, _) => self.healthy_until = None,
                }
                if self.failures > u32::from(retries.get()) {
                    self.give(Verdict::Down, now);
                }
                // A failure before the last retry decides nothing yet.
                self.settled |= self.verdict == Verdict::Down;
                (self.unjudged, self.silence) = (None, None);
                if self.verdict == Verdict::Up {
                    at = now + retry_delay.as_duration();
                    time = at;
                }
            }
        }
        self.phase = Phase::Waiting { at, time, regular: None };
        self.latency = took.or(self.latency);
        self.last = Some((now, outcome));
    }

    fn give(&mut self, verdict: Verdict, now: MonoTime) {
        if self.verdict != verdict {
            (self.verdict, self.since) = (verdict, now);
            self.transitions += 1;
        }
    }

    fn ails(&mut self, ailment: &Ailment, now: MonoTime) {
        let since = self.unjudged.as_ref().map_or(now, |(since, _)| *since);
        self.unjudged = Some((since, ailment.clone()));
        self.silence.get_or_insert_with(|| ailment.clone());
    }

    /// The way to the target is lost. Its verdict stays. What failed before does not count together with what
    /// will fail after: a verdict needs failures in a row on a way that was whole all the time.
    pub fn way_lost(&mut self, ailment: &Ailment, now: MonoTime) {
        self.ails(ailment, now);
        self.failures = 0;
        self.settled = false;
        if matches!(ailment, Ailment::NoAnswers(_)) && self.healthy_until.take().is_some() {
            // The target failed by a fault of this host.
            self.give(Verdict::Up, now);
        }
    }

    /// The way to the target is back: a probe at `at`, beside the regular ones. One that is under way is
    /// given up.
    pub fn way_back(&mut self, at: MonoTime) {
        let regular = match self.phase {
            Phase::Waiting { time, regular, .. } => regular.unwrap_or(time),
            Phase::Probing { time, regular, .. } => {
                regular.unwrap_or_else(|| time + self.times().interval.as_duration())
            }
        };
        self.failures = 0;
        self.settled = false;
        self.phase = Phase::Waiting { at, time: at, regular: Some(regular) };
    }
}

/// Chance by which regular probes are later than their time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Jitter {
    /// Most that a probe is later.
    most: Duration,
    state: u32,
}

impl Jitter {
    /// How much later the next probe is made.
    fn next(&mut self) -> Duration {
        if self.most.is_zero() {
            return Duration::ZERO;
        }
        // A linear congruential generator: checks only have to differ from one another.
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let fraction = u64::from(self.state >> 8);
        let nanos = u64::try_from(self.most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos((nanos >> 24).saturating_mul(fraction))
    }
}
