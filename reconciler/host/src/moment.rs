//! The clocks at one moment, an argument of everything that decides.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use evenkeel_schemas::time::MonoTime;

/// The clocks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Time since boot. It never steps.
    pub now: MonoTime,
    /// Identity of the boot; empty when it is not known.
    pub boot: Arc<str>,
    /// Wall clock, milliseconds since 1970. It may step either way.
    pub wall_ms: u64,
}

impl Moment {
    /// A point in time as RFC 3339 text, by the wall clock of this moment.
    #[must_use]
    pub fn wall(&self, at: MonoTime) -> String {
        let wall = Duration::from_millis(self.wall_ms) + at.since(self.now);
        humantime::format_rfc3339_millis(UNIX_EPOCH + wall.saturating_sub(self.now.since(at))).to_string()
    }

    /// This moment as RFC 3339 text.
    #[must_use]
    pub fn text(&self) -> String {
        self.wall(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_converted_by_the_wall_clock_of_now() {
        let moment =
            Moment { now: MonoTime::from_millis(10_000), boot: "b".into(), wall_ms: 1_700_000_000_000 };
        assert_eq!(moment.text(), "2023-11-14T22:13:20.000Z");
        assert_eq!(moment.wall(MonoTime::from_millis(8_500)), "2023-11-14T22:13:18.500Z");
        assert_eq!(moment.wall(MonoTime::from_millis(12_000)), "2023-11-14T22:13:22.000Z");
        let new = Moment { wall_ms: 5, ..moment };
        assert_eq!(new.wall(MonoTime::ZERO), "1970-01-01T00:00:00.000Z", "a clock that was never set");
    }
}
