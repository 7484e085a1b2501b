//! What is told of probes that say nothing: a line when that begins, one with their number when it is over,
//! none a probe.
//!
//! An ailment may come and go all the time. Of each kind one beginning a minute is told, with its end; the
//! others are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use crate::ailment::Ailment;

/// Least time between two reported beginnings of one kind.
const QUIET: Duration = Duration::from_secs(60);
/// Time without any unjudged target after which an episode has ended.
const CALM: Duration = Duration::from_secs(1);
/// Most kinds that are kept apart: interfaces come and go on some hosts. Further kinds are not reported.
const MAX_KINDS: usize = 64;

#[derive(Debug, Clone)]
struct Silence {
    /// Beginning of the episode that goes on; none when there is none.
    since: Option<MonoTime>,
    /// Time since which no target is unjudged because of it.
    calm: Option<MonoTime>,
    /// Time of the last reported beginning.
    told: MonoTime,
    /// Whether the beginning of the episode that goes on was reported.
    is_told: bool,
    /// Probes that said nothing.
    probes: u64,
    /// Number of beginnings that were not reported.
    untold: u64,
}

/// Beginning or end of an episode, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Checks begin to say nothing.
    Begins {
        /// Why.
        ailment: Ailment,
        /// Number of earlier beginnings that were not reported.
        untold: u64,
    },
    /// The checks give verdicts again.
    Ends {
        /// Why they did not.
        ailment: Ailment,
        /// For how long.
        lasted: Duration,
        /// Number of probes that gave no verdict.
        probes: u64,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins { ailment, untold } => {
                write!(f, "checks say nothing of their targets, whose verdicts stay: {ailment}")?;
                if *untold > 0 { write!(f, " ({untold} times more since this was told)") } else { Ok(()) }
            }
            Self::Ends { ailment, lasted, probes } => write!(
                f,
                "checks tell of their targets again: {probes} probes said nothing in {}.{} s ({ailment})",
                lasted.as_secs(),
                lasted.subsec_millis() / 100
            ),
        }
    }
}

/// Episodes by kind.
#[derive(Debug, Clone, Default)]
pub struct Silences {
    kinds: BTreeMap<Ailment, Silence>,
}

impl Silences {
    /// Nothing goes on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts probes that gave no verdict; 0 for a way that was lost between two probes. Returns the
    /// beginning of an episode that must be reported.
    pub fn note(&mut self, ailment: &Ailment, probes: u64, now: MonoTime) -> Option<News> {
        if !self.kinds.contains_key(ailment) {
            self.kinds.retain(|_, one| one.since.is_some() || now.since(one.told) < QUIET);
            if self.kinds.len() >= MAX_KINDS {
                return None;
            }
        }
        let new = Silence { since: None, calm: None, told: now, is_told: true, probes: 0, untold: 0 };
        let first = !self.kinds.contains_key(ailment);
        let one = self.kinds.entry(ailment.clone()).or_insert(new);
        one.calm = None;
        one.probes += probes;
        if one.since.is_some() {
            return None;
        }
        one.since = Some(now);
        one.probes = probes;
        one.is_told = first || now.since(one.told) >= QUIET;
        if !one.is_told {
            one.untold += 1;
            return None;
        }
        one.told = now;
        Some(News::Begins { ailment: ailment.clone(), untold: std::mem::take(&mut one.untold) })
    }

    /// Looks whether something is over: `goes_on` is whether targets are unjudged because of it.
    pub fn look(&mut self, goes_on: impl Fn(&Ailment) -> bool, now: MonoTime) -> Vec<News> {
        let mut news = Vec::new();
        for (ailment, one) in &mut self.kinds {
            let Some(since) = one.since else { continue };
            if goes_on(ailment) {
                one.calm = None;
                continue;
            }
            let calm = *one.calm.get_or_insert(now);
            if now.since(calm) < CALM {
                continue;
            }
            one.since = None;
            if one.is_told {
                let (ailment, lasted, probes) = (ailment.clone(), calm.since(since), one.probes);
                news.push(News::Ends { ailment, lasted, probes });
            }
        }
        news
    }

    /// Time until the episodes must be examined again; none when there is no episode.
    #[must_use]
    pub fn look_in(&self) -> Option<Duration> {
        self.kinds.values().any(|one| one.since.is_some()).then_some(CALM)
    }
}
