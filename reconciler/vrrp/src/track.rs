//! What trackers make of a priority.
//!
//! Arithmetic only: what a tracker watches, and whether it succeeds, is found out elsewhere.

use evenkeel_schemas::scalars::{Priority, TrackWeight};

/// The highest priority that a router which is not the owner can have (RFC 9568 §5.2.4).
const HIGHEST: i64 = 254;

/// State of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackerState {
    /// Whether it succeeds.
    pub up: bool,
    /// The number in the file that it watches, if it watches one that is there.
    pub value: Option<i64>,
}

/// A tracker as one virtual router uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// State of the tracker.
    pub state: TrackerState,
    /// Weight, added to the priority: a negative one while the tracker fails, a positive one while it
    /// succeeds. `None`: the router takes no part while the tracker fails.
    pub weight: Option<TrackWeight>,
    /// Take success for failure and failure for success.
    pub reverse: bool,
}

/// Effect of all trackers on a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// Priority now.
    pub priority: Priority,
    /// Whether the router may take part.
    pub takes_part: bool,
}

/// The priority that trackers make of `base`: the sum, within 1..=254. The owner's 255 never changes.
#[must_use]
pub fn effective(base: Priority, tracked: impl IntoIterator<Item = Tracked>) -> Effective {
    let (mut sum, mut takes_part) = (i64::from(base.get()), true);
    for Tracked { state, weight, reverse } in tracked {
        let succeeds = state.up != reverse;
        match (weight, state.value) {
            (None, _) => takes_part &= succeeds,
            (Some(weight), Some(value)) => {
                let times = if reverse { value.saturating_neg() } else { value };
                sum = sum.saturating_add(times.saturating_mul(i64::from(weight.get())));
            }
            (Some(weight), None) => {
                if (weight.get() > 0) == succeeds {
                    sum = sum.saturating_add(i64::from(weight.get()));
                }
            }
        }
    }
    let priority = u8::try_from(sum.clamp(1, HIGHEST)).ok().and_then(|sum| Priority::new(sum).ok());
    let priority = if base == Priority::OWNER { base } else { priority.unwrap_or(base) };
    Effective { priority, takes_part }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(weight: Option<i16>, up: bool, value: Option<i64>, reverse: bool) -> Tracked {
        let weight = weight.map(|weight| TrackWeight::new(weight).expect("weight"));
        Tracked { state: TrackerState { up, value }, weight, reverse }
    }

    #[track_caller]
    fn check(base: u8, all: &[Tracked], priority: u8, takes_part: bool) {
        let effective = effective(Priority::new(base).expect("priority"), all.iter().copied());
        assert_eq!((effective.priority.get(), effective.takes_part), (priority, takes_part), "{all:?}");
    }

    #[test]
    fn weights_are_added_while_they_apply() {
        check(100, &[], 100, true);
        check(100, &[tracked(Some(-20), true, None, false)], 100, true);
        check(100, &[tracked(Some(-20), false, None, false)], 80, true);
        check(100, &[tracked(Some(20), true, None, false)], 120, true);
        check(100, &[tracked(Some(20), false, None, false)], 100, true);
        check(100, &[tracked(Some(-20), true, None, true)], 80, true);
        check(100, &[tracked(Some(20), false, None, true)], 120, true);
        let both = [tracked(Some(-20), false, None, false), tracked(Some(5), true, None, false)];
        check(100, &both, 85, true);
    }

    #[test]
    fn a_failure_without_weight_takes_the_router_out() {
        check(100, &[tracked(None, true, None, false)], 100, true);
        check(100, &[tracked(None, false, None, false)], 100, false);
        check(100, &[tracked(None, true, None, true)], 100, false);
        check(100, &[tracked(None, false, Some(-3), false)], 100, false);
    }

    #[test]
    fn numbers_in_files_are_multiplied_and_the_sum_has_bounds() {
        check(100, &[tracked(Some(2), true, Some(7), false)], 114, true);
        check(100, &[tracked(Some(2), true, Some(7), true)], 86, true);
        check(100, &[tracked(Some(-1), false, Some(-5), false)], 105, true);
        check(100, &[tracked(Some(253), true, Some(i64::MAX), false)], 254, true);
        check(100, &[tracked(Some(-253), true, Some(i64::MAX), false)], 1, true);
        check(255, &[tracked(Some(-253), false, None, false)], 255, true);
    }
}
