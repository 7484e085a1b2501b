//! A check that holds a connection: what follows when it ends.
//!
//! A connection that breaks (reset, or no answer to keepalives) is a failure at once, without retries. One
//! that is closed in order is tried again at once, and that probe decides alone.

use evenkeel_schemas::time::MonoTime;

use super::{Phase, Schedule};
use crate::state::Outcome;

impl Schedule {
    /// The connection that it holds has ended: with this outcome, or in order. A probe that is under way is
    /// given up.
    pub fn broke(&mut self, outcome: Option<Outcome>, now: MonoTime) {
        let regular = match self.phase {
            Phase::Waiting { time, regular, .. } => regular.unwrap_or(time),
            Phase::Probing { time, regular, .. } => {
                regular.unwrap_or_else(|| time + self.times().interval.as_duration())
            }
        };
        self.decisive = true;
        match outcome {
            Some(outcome) => {
                self.phase = Phase::Probing { began: now, since: now, time: now, regular: Some(regular) };
                self.finish(outcome, None, now);
            }
            None => self.phase = Phase::Waiting { at: now, time: now, regular: Some(regular) },
        }
    }
}
