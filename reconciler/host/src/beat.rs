//! Whether the health loop lives. It says a word at least every second, with or without news; one that says
//! nothing hangs. Its verdicts stay as they are then, which is told, and status shows it.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// Time without a word after which the health loop is looked at again.
const LIMIT: Duration = Duration::from_secs(5);
/// Time for words that have come and were not handled yet: it may be the main loop that was late.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// State of the health loop as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    /// The loop has no checks yet, so nothing is expected.
    #[default]
    Idle,
    /// Its last word was then.
    Lives(MonoTime),
    /// Nothing was heard since this time. It is looked at again at the other.
    Doubted(MonoTime, MonoTime),
    /// Nothing was heard since then, and that was told.
    Stalled(MonoTime),
}

/// The words of the health loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beat(Life);

impl Beat {
    /// The loop has got checks: from now on its words are expected.
    pub(crate) fn expect(&mut self, now: MonoTime) {
        if self.0 == Life::Idle {
            self.0 = Life::Lives(now);
        }
    }

    /// A word of it. Returns for how long it was silent, if that was told.
    pub(crate) fn heard(&mut self, now: MonoTime) -> Option<Duration> {
        match std::mem::replace(&mut self.0, Life::Lives(now)) {
            Life::Stalled(since) => Some(now.since(since)),
            Life::Idle | Life::Lives(_) | Life::Doubted(..) => None,
        }
    }

    /// When it is looked whether it lives; never while nothing is expected, or its end was told.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        match self.0 {
            Life::Idle | Life::Stalled(_) => None,
            Life::Lives(heard) => Some(heard + LIMIT),
            Life::Doubted(_, again) => Some(again),
        }
    }

    /// Looks whether it lives. Returns for how long it has been silent, when that is to be told.
    pub(crate) fn look(&mut self, now: MonoTime) -> Option<Duration> {
        match self.0 {
            Life::Lives(heard) if now.since(heard) >= LIMIT => {
                self.0 = Life::Doubted(heard, now + SECOND_LOOK);
                None
            }
            Life::Doubted(heard, again) if now >= again => {
                self.0 = Life::Stalled(heard);
                Some(now.since(heard))
            }
            Life::Idle | Life::Lives(_) | Life::Doubted(..) | Life::Stalled(_) => None,
        }
    }

    /// Time since which it says nothing; none while it lives.
    pub(crate) const fn stalled(&self) -> Option<MonoTime> {
        match self.0 {
            Life::Stalled(since) => Some(since),
            Life::Idle | Life::Lives(_) | Life::Doubted(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_millis(ms)
    }

    #[test]
    fn a_loop_that_says_nothing_is_told_of_once_and_so_is_its_return() {
        let mut beat = Beat::default();
        assert_eq!((beat.due(), beat.look(at(100_000))), (None, None), "nothing is expected yet");
        beat.expect(at(0));
        for second in 1..100 {
            assert_eq!(beat.look(at(second * 1000)), None);
            assert_eq!(beat.heard(at(second * 1000)), None);
        }
        assert_eq!(beat.due(), Some(at(104_000)));
        assert_eq!((beat.look(at(104_000)), beat.stalled()), (None, None), "a second look");
        assert_eq!(beat.due(), Some(at(105_000)));
        assert_eq!(beat.look(at(104_999)), None);
        assert_eq!(beat.look(at(105_000)), Some(Duration::from_secs(6)));
        assert_eq!((beat.stalled(), beat.due()), (Some(at(99_000)), None));
        assert_eq!(beat.look(at(200_000)), None, "told once");
        assert_eq!(beat.heard(at(200_000)), Some(Duration::from_secs(101)));
        assert_eq!((beat.stalled(), beat.due()), (None, Some(at(205_000))));
    }

    /// The main loop was late itself: the word was there all the time.
    #[test]
    fn a_word_that_waited_for_the_main_loop_is_one() {
        let mut beat = Beat::default();
        beat.expect(at(0));
        assert_eq!(beat.look(at(60_000)), None);
        assert_eq!(beat.heard(at(60_000)), None);
        assert_eq!(beat.look(at(60_001)), None);
        assert_eq!(beat.stalled(), None);
    }
}
