//! Elections that serve nobody: somebody makes us yield and is then silent, or makes us claim beside a living
//! Master, again and again. A rival that lasts has served: a director that is restarted by hand a few times
//! is no reason to damp.
//!
//! Counting only; what a router does otherwise while they are damped is said where it does it:
//!
//! - A Master yields only to a rival that it has heard for so long as [`Damping::proof`] says, each time
//!   twice as long. Not the other way round, staying Backup for longer: then nobody would serve. While the
//!   rival proves itself there are two Masters, if it is one: it has shown by then that it does not last.
//! - A Backup is not made to claim early: a farewell does not shorten its wait, nor does a shorter interval
//!   than ours.
//!
//! No RFC has this. Each of these can be caused by one forged packet, or by a director that starts and dies
//! in a loop.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// Claims within [`WINDOW`] after which the next ones are damped.
const MOST_CLAIMS: u32 = 5;
/// Time in which claims are counted, and of quiet after which all are forgotten.
const WINDOW: Duration = Duration::from_secs(60);
/// Longest time that a rival must be heard before we yield to it, or a master-down interval where that is
/// longer.
const MAX_PROOF: Duration = Duration::from_secs(30);

/// Claims that came after we had yielded.
#[derive(Debug, Default, Clone)]
pub(super) struct Damping {
    /// Time at which we yielded to a rival since the last claim; none if we did not.
    yielded: Option<MonoTime>,
    /// Time of our last claim.
    claimed: Option<MonoTime>,
    /// Time of the first of the claims that count.
    since: MonoTime,
    claims: u32,
    /// End of the damping.
    until: Option<MonoTime>,
    proof: Duration,
}

impl Damping {
    /// We have yielded to a rival.
    pub(super) const fn yielded(&mut self, now: MonoTime) {
        self.yielded = Some(now);
    }

    /// We claim because no Master is heard; `wait` is the master-down interval. Returns how often that was so
    /// within the last minute when this makes it too often.
    pub(super) fn claimed(&mut self, wait: Duration, now: MonoTime) -> Option<u32> {
        let before = self.claimed.replace(now);
        let yielded = self.yielded.take()?;
        // A Master that is there speaks within an interval, of which `wait` has a little over three.
        let beside_a_master = before.is_some_and(|claimed| yielded.since(claimed) < wait / 3);
        // It was heard for a master-down interval, and was silent for another one at most.
        let lasted = now.since(yielded) >= wait * 2;
        if lasted && !beside_a_master {
            return None;
        }
        let damped = self.is_on(now);
        if !damped && now.since(self.since) >= WINDOW {
            (self.since, self.claims) = (now, 0);
        }
        self.claims = self.claims.saturating_add(1);
        if self.claims < MOST_CLAIMS {
            return None;
        }
        self.proof = if damped { (self.proof * 2).min(MAX_PROOF.max(wait)) } else { wait };
        self.until = Some(now + WINDOW + self.proof);
        Some(self.claims)
    }

    /// Whether elections are damped now.
    pub(super) fn is_on(&self, now: MonoTime) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Time for which a rival must have been heard before we yield to it; `None`: we yield at once.
    pub(super) fn proof(&self, now: MonoTime) -> Option<Duration> {
        self.is_on(now).then_some(self.proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(3);

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_millis(secs * 1000)
    }

    fn cycle(damping: &mut Damping, secs: u64) -> Option<u32> {
        damping.yielded(at(secs));
        damping.claimed(WAIT, at(secs))
    }

    #[test]
    fn a_rival_that_lasts_is_not_counted_and_a_claim_beside_a_master_is() {
        let mut damping = Damping::default();
        for n in 1..100 {
            // We served for 2 s, the rival for 6.
            damping.yielded(at(n * 8));
            assert_eq!(damping.claimed(WAIT, at(n * 8 + 6)), None, "{n}");
        }
        // A farewell of the Master that it has not sent: it is heard right after our claim.
        let mut damping = Damping::default();
        let mut claims = Vec::new();
        for n in 1..7 {
            damping.yielded(at(n * 8));
            claims.push(damping.claimed(WAIT, at((n + 1) * 8)));
        }
        assert_eq!(claims, [None, None, None, None, None, Some(5)], "the first one may have been right");
    }

    #[test]
    fn five_claims_in_a_minute_are_one_too_many() {
        let mut damping = Damping::default();
        for secs in 100..104 {
            assert_eq!(cycle(&mut damping, secs), None);
        }
        assert_eq!(damping.proof(at(104)), None);
        assert_eq!(cycle(&mut damping, 104), Some(5));
        assert_eq!(damping.proof(at(104)), Some(WAIT));
        assert_eq!(cycle(&mut damping, 110), Some(6));
        assert_eq!(damping.proof(at(110)), Some(WAIT * 2));
        for secs in 111..130 {
            cycle(&mut damping, secs);
        }
        assert_eq!(damping.proof(at(200)), Some(MAX_PROOF));
        assert_eq!(damping.proof(at(129 + 90)), None, "quiet for a minute after the time of proof");
    }

    #[test]
    fn failovers_that_are_far_apart_or_follow_no_rival_are_not_counted() {
        let mut damping = Damping::default();
        for secs in 0..100 {
            assert_eq!(damping.claimed(WAIT, at(10_000 + secs)), None);
        }
        let mut damping = Damping::default();
        for n in 1..100 {
            assert_eq!(cycle(&mut damping, n * 20), None, "three a minute: {n}");
        }
    }
}
