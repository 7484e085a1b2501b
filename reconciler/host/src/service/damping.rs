//! Destinations that flap: each return within a window doubles the wait before the next one. Values only.
//!
//! ```text
//!   returns ----> serves ----fails----> failed ----its checks succeed----> waits ----> returns
//!   level + 1     a window without a failure: level - 1                    delay x 2^(level-1), capped
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_schemas::plan::Damping;
use evenkeel_schemas::time::MonoTime;

/// Highest level: beyond it no wait is longer, as the longest delay is an hour at most and the shortest a
/// millisecond.
const HIGHEST: u32 = 32;

/// A destination that has returned before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damped {
    /// Returns that count still.
    level: u32,
    /// Time of the last return.
    returned: MonoTime,
    /// Time until which it waits, although its checks succeed; none while it does not.
    until: Option<MonoTime>,
}

/// The destinations of a virtual server that have returned before, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Returns(BTreeMap<usize, Damped>);

impl Returns {
    /// A destination that served has failed.
    pub(super) fn failed(&mut self, number: usize, damping: &Damping, now: MonoTime) {
        let Some(one) = self.0.get_mut(&number) else { return };
        let windows = now.since(one.returned).as_millis() / damping.window.as_duration().as_millis().max(1);
        one.level = one.level.saturating_sub(u32::try_from(windows).unwrap_or(u32::MAX));
        if one.level == 0 {
            self.0.remove(&number);
        }
    }

    /// The checks of a destination that is out fail.
    pub(super) fn fails(&mut self, number: usize) {
        if let Some(one) = self.0.get_mut(&number) {
            one.until = None;
        }
    }

    /// The checks of a destination that is out succeed. Whether it may return.
    pub(super) fn may_return(&mut self, number: usize, damping: &Damping, now: MonoTime) -> bool {
        let Some(one) = self.0.get_mut(&number) else { return true };
        let until = *one.until.get_or_insert_with(|| now + wait(damping, one.level));
        until <= now
    }

    /// A destination returns.
    pub(super) fn returns(&mut self, number: usize, now: MonoTime) {
        let level = self.0.get(&number).map_or(0, |one| one.level);
        let level = level.saturating_add(1).min(HIGHEST);
        self.0.insert(number, Damped { level, returned: now, until: None });
    }

    /// Time until which a destination waits; none while it does not.
    pub(super) fn until(&self, number: usize) -> Option<MonoTime> {
        self.0.get(&number)?.until
    }

    /// Time at which the next one may return. One whose wait was over at the last look stays out for another
    /// reason, and is looked at again when that changes.
    pub(super) fn due(&self, looked: MonoTime) -> Option<MonoTime> {
        self.0.values().filter_map(|one| one.until).filter(|until| *until > looked).min()
    }

    /// The same under other numbers.
    pub(super) fn moved(self, to: impl Fn(usize) -> Option<usize>) -> Self {
        Self(self.0.into_iter().filter_map(|(number, one)| Some((to(number)?, one))).collect())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn wait(damping: &Damping, level: u32) -> Duration {
    let doubled = damping
        .delay
        .as_duration()
        .checked_mul(1_u32.checked_shl(level.saturating_sub(1)).unwrap_or(u32::MAX));
    let most = damping.max_delay.as_duration();
    doubled.map_or(most, |doubled| doubled.min(most))
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::scalars::Span;

    use super::*;

    const DAMPING: Damping =
        Damping { window: Span::from_secs(60), delay: Span::from_secs(5), max_delay: Span::from_secs(30) };

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_millis(seconds * 1000)
    }

    #[test]
    fn each_return_within_the_window_doubles_the_wait_up_to_the_longest() {
        let mut returns = Returns::default();
        let (mut now, mut waits) = (100, Vec::new());
        for _ in 0..6 {
            returns.failed(0, &DAMPING, at(now));
            let mut waited = 0;
            while !returns.may_return(0, &DAMPING, at(now + waited)) {
                waited += 1;
            }
            waits.push(waited);
            now += waited;
            returns.returns(0, at(now));
            now += 2;
        }
        assert_eq!(waits, [0, 5, 10, 20, 30, 30]);
        // Windows without a failure take it back, one each.
        returns.failed(0, &DAMPING, at(now + 4 * 60));
        assert_eq!(wait(&DAMPING, returns.0[&0].level), Duration::from_secs(10));
        returns.returns(0, at(1000));
        returns.failed(0, &DAMPING, at(1000 + 600));
        assert!(returns.may_return(0, &DAMPING, at(1601)), "all is forgotten");
    }

    #[test]
    fn a_failure_while_it_waits_begins_the_wait_anew() {
        let mut returns = Returns::default();
        returns.returns(3, at(0));
        returns.failed(3, &DAMPING, at(1));
        assert!(!returns.may_return(3, &DAMPING, at(2)));
        assert_eq!((returns.until(3), returns.due(at(2))), (Some(at(7)), Some(at(7))));
        assert_eq!(returns.due(at(7)), None, "looked at, and out for another reason");
        returns.fails(3);
        assert_eq!(returns.due(at(2)), None);
        assert!(!returns.may_return(3, &DAMPING, at(7)));
        assert_eq!(returns.until(3), Some(at(12)));
        assert_eq!(returns.moved(|number| (number == 3).then_some(1)).until(1), Some(at(12)));
    }
}
