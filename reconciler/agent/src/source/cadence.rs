//! When a source is asked again, and what is told about it. Pure.

use std::time::Duration;

/// Share of the interval by which a look comes earlier or later, so that a fleet does not ask at once.
const JITTER: u32 = 10;

/// Time until the next look: `poll`, earlier or later by a tenth at most; `random` is any number.
pub(crate) fn next(poll: Duration, random: u64) -> Duration {
    let spread = poll / JITTER * 2;
    // A thousand steps are fine enough.
    let part = spread / 1000 * u32::try_from(random % 1001).unwrap_or_default();
    poll - poll / JITTER + part
}

/// Longest pause after a commit that could not be fetched.
const LONGEST: Duration = Duration::from_secs(900);

/// Time until a commit that could not be fetched so many times is fetched again: twice as long each time.
pub(crate) fn again(poll: Duration, times: u32) -> Duration {
    poll.saturating_mul(2_u32.saturating_pow(times.min(16))).min(LONGEST.max(poll))
}

/// What was told last: trouble is told when it comes, when its reason changes, and when it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told(Option<String>);

/// What there is to tell now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Nothing has changed.
    Nothing,
    /// There is trouble, or another.
    Trouble(String),
    /// The trouble is over.
    Over,
}

impl Told {
    /// Notes how it is now; none when all is well.
    pub(crate) fn now(&mut self, trouble: Option<String>) -> Tell {
        if self.0 == trouble {
            return Tell::Nothing;
        }
        self.0.clone_from(&trouble);
        trouble.map_or(Tell::Over, Tell::Trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_around_the_interval() {
        let minute = Duration::from_secs(60);
        assert_eq!(next(minute, 0), Duration::from_secs(54));
        assert_eq!(next(minute, 500), Duration::from_secs(60));
        assert_eq!(next(minute, 1000), Duration::from_secs(66));
        for random in [1, 999, 1001, u64::MAX] {
            for poll in [Duration::from_secs(1), minute, Duration::from_secs(86_400)] {
                let next = next(poll, random);
                assert!(next >= poll - poll / 10 && next <= poll + poll / 10, "{next:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_asked_for_ever_more_rarely() {
        let minute = Duration::from_secs(60);
        let pauses: Vec<u64> = [1, 2, 5, 6, u32::MAX].map(|times| again(minute, times).as_secs()).into();
        assert_eq!(pauses, [120, 240, 900, 900, 900]);
        assert_eq!(again(Duration::from_secs(7200), 1), Duration::from_secs(7200));
    }

    #[test]
    fn trouble_is_told_once_and_at_each_change() {
        let (mut told, why) = (Told::default(), |text: &str| Some(text.to_owned()));
        assert_eq!(told.now(None), Tell::Nothing);
        assert_eq!(told.now(why("away")), Tell::Trouble("away".to_owned()));
        assert_eq!(told.now(why("away")), Tell::Nothing);
        assert_eq!(told.now(why("refused")), Tell::Trouble("refused".to_owned()));
        assert_eq!(told.now(None), Tell::Over);
        assert_eq!(told.now(None), Tell::Nothing);
    }
}
