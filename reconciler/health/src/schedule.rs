//! One check: its verdict, its failures in a row and the time of its next probe.

use std::time::Duration;

use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;

pub use evenkeel_schemas::status::Verdict;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Healthy.
    Success,
    /// Not healthy, and why, for people.
    Failure(String),
    /// The probe could not be made for want of something of our own, such as file descriptors: says
    /// nothing about the target.
    Inconclusive(String),
}

/// How much later than its own time-out a probe may report before it is given up, so that a lost
/// probe cannot freeze a verdict.
const GRACE: Duration = Duration::from_secs(1);

/// What a schedule is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way; the next probe starts then.
    Waiting(MonoTime),
    /// A probe is under way since then.
    Probing(MonoTime),
}

/// The schedule and verdict of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    timeout: Duration,
    retries: u32,
    retry_delay: Duration,
    phase: Phase,
    verdict: Verdict,
    failures: u32,
    last: Option<(MonoTime, Outcome)>,
    /// Whether the probe under way was already given more time because we ourselves were late.
    extended: bool,
}

impl Schedule {
    /// A check whose first probe starts at `first`.
    #[must_use]
    pub fn new(check: &Check, verdict: Verdict, first: MonoTime) -> Self {
        let Check::Tcp { interval, timeout, retries, retry_delay, .. } = check;
        Self {
            interval: interval.as_duration(),
            timeout: timeout.as_duration(),
            retries: u32::from(retries.get()),
            retry_delay: retry_delay.as_duration(),
            phase: Phase::Waiting(first),
            verdict,
            failures: 0,
            last: None,
            extended: false,
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

    /// How long a probe may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When something must happen: a probe to start, or one that is under way to be given up.
    #[must_use]
    pub fn due(&self) -> MonoTime {
        match self.phase {
            Phase::Waiting(at) => at,
            Phase::Probing(started) => started + self.timeout + GRACE,
        }
    }

    /// Starts a probe when one is due: true means that the caller must run it and tell
    /// [`Self::finish`]. A probe that never reported counts as a failure first.
    pub fn start(&mut self, now: MonoTime) -> bool {
        if now < self.due() {
            return false;
        }
        if let Phase::Probing(_) = self.phase {
            if !self.extended && now >= self.due() + GRACE {
                // Nobody looked here in time, so nobody took the result either.
                self.extended = true;
                self.phase = Phase::Probing(now - self.timeout);
                return false;
            }
            self.finish(Outcome::Failure("the check did not end in time".to_owned()), now);
            if now < self.due() {
                return false;
            }
        }
        self.phase = Phase::Probing(now);
        self.extended = false;
        true
    }

    /// Takes the outcome of the probe under way; one that was given up is ignored.
    pub fn finish(&mut self, outcome: Outcome, now: MonoTime) {
        let Phase::Probing(started) = self.phase else { return };
        let regular = (started + self.interval).max(now);
        match outcome {
            Outcome::Success => {
                self.failures = 0;
                self.verdict = Verdict::Up;
                self.phase = Phase::Waiting(regular);
            }
            Outcome::Inconclusive(_) => self.phase = Phase::Waiting(regular),
            Outcome::Failure(_) => {
                self.failures = self.failures.saturating_add(1);
                let give_up = self.failures > self.retries;
                if give_up {
                    self.verdict = Verdict::Down;
                }
                let retrying = self.verdict == Verdict::Up;
                self.phase = Phase::Waiting(if retrying { now + self.retry_delay } else { regular });
            }
        }
        self.last = Some((now, outcome));
    }
}
