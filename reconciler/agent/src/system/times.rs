//! Durations of the parts of a piece of work, for the log.

use std::fmt;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;

/// Durations of parts, in order. Shown as ` name 1.2 name 3.4`, in milliseconds.
pub(crate) struct Times {
    last: MonoTime,
    parts: Vec<(&'static str, Duration)>,
}

impl Times {
    pub(crate) const fn new(started: MonoTime) -> Self {
        Self { last: started, parts: Vec::new() }
    }

    /// Ends a part, which began when the one before ended, and names it.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let now = clock::now();
        self.parts.push((name, now.since(self.last)));
        self.last = now;
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|(name, time)| write!(f, " {name} {:.1}", milliseconds(*time)))
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
