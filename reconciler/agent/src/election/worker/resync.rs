//! When VIPs and links are observed again: after events, after failures, and on a deadline without either.
//!
//! Times and marks only. Marks say what must be observed, never why.

use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

/// Longest time between two observations.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time until the next observation after a failed one.
const RETRY: Duration = Duration::from_millis(250);
/// Time until an observation after something that was most likely our own doing.
const SOON: Duration = super::outbox::HUSH;
/// Shortest time between two observations because of routes and rules: for each the kernel goes through whole
/// tables.
const NUDGE_GAP: Duration = Duration::from_millis(250);

/// The next observation of VIPs and links.
#[derive(Debug, Default)]
pub(super) struct Resync {
    /// When both are observed at the latest.
    due: MonoTime,
    /// Earliest time of the next observation because of routes and rules.
    nudges_from: MonoTime,
    /// Whether the VIPs must be observed in this turn.
    pub(super) vips: bool,
    /// Whether the links must be read in this turn.
    pub(super) links: bool,
    /// Whether the links were read in this turn already, by a new plan.
    links_read: bool,
    /// Whether reading the links is put off to the next turn.
    links_put_off: bool,
}

impl Resync {
    pub(super) const fn due(&self) -> MonoTime {
        self.due
    }

    /// VIPs and links are observed within [`SOON`].
    pub(super) fn soon(&mut self, now: MonoTime) {
        self.due = self.due.min(now + SOON);
    }

    /// Routes or rules have changed: VIPs and links are observed within [`SOON`], but no more often than
    /// every [`NUDGE_GAP`].
    pub(super) fn nudge(&mut self, now: MonoTime) {
        let at = self.nudges_from.max(now + SOON);
        // An observation that comes earlier finds what this one would.
        if at < self.due {
            self.due = at;
            self.nudges_from = at + NUDGE_GAP;
        }
    }

    /// Marks both when the deadline has come, and returns whether it has.
    pub(super) fn begin(&mut self, now: MonoTime) -> bool {
        let due = now >= self.due;
        self.vips |= due;
        self.links |= due;
        due
    }

    /// Whether to read the links now. Once in a turn is enough: a second time is put off to the next turn.
    pub(super) fn begin_links(&mut self) -> bool {
        self.links_put_off = std::mem::take(&mut self.links_read) && self.links;
        self.links && !self.links_put_off
    }

    /// The links were read. A failure after that marks them again.
    pub(super) fn links_were_read(&mut self) {
        self.links = false;
        self.links_read = true;
    }

    /// The end of the turn in which [`Self::begin_links`] was asked.
    ///
    /// `others` are times at which a router may take part again, which is found out with the links.
    pub(super) fn end(&mut self, now: MonoTime, others: [Option<MonoTime>; 2]) {
        self.links_read = false;
        let again = match (self.links_put_off, self.vips || self.links) {
            (true, _) => now,
            (false, true) => now + RETRY,
            (false, false) => now + INTERVAL,
        };
        let next = others.into_iter().flatten().fold(again, MonoTime::min);
        if now >= self.due || next < self.due {
            self.due = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> MonoTime {
        MonoTime::from_millis(ms)
    }

    /// A turn in which all that is marked succeeds.
    fn turn(resync: &mut Resync, now: MonoTime) -> (bool, bool) {
        resync.begin(now);
        let links = resync.begin_links();
        if links {
            resync.links_were_read();
        }
        let vips = std::mem::take(&mut resync.vips);
        resync.end(now, [None, None]);
        (links, vips)
    }

    #[test]
    fn both_are_observed_every_five_seconds_without_an_event() {
        let mut resync = Resync::default();
        assert_eq!(turn(&mut resync, ms(1_000)), (true, true));
        assert_eq!(resync.due(), ms(6_000));
        assert_eq!(turn(&mut resync, ms(5_999)), (false, false));
        assert_eq!(turn(&mut resync, ms(6_000)), (true, true));
        assert_eq!(resync.due(), ms(11_000));
    }

    #[test]
    fn a_failed_observation_is_retried_after_a_quarter_of_a_second() {
        let mut resync = Resync::default();
        resync.begin(ms(1_000));
        resync.begin_links();
        resync.links_were_read();
        resync.end(ms(1_000), [None, None]);
        assert!(resync.vips, "nobody has observed them");
        assert_eq!(resync.due(), ms(1_250));
    }

    #[test]
    fn links_are_read_once_in_a_turn() {
        let mut resync = Resync::default();
        turn(&mut resync, ms(1_000));
        // A new plan has read them, and an advertisement could not be sent after that.
        resync.links_were_read();
        resync.links = true;
        assert!(!resync.begin_links());
        resync.end(ms(2_000), [None, None]);
        assert_eq!(resync.due(), ms(2_000), "the next turn comes at once");
        assert!(resync.begin_links());
    }

    #[test]
    fn changes_of_routes_cost_four_observations_a_second_at_most() {
        let mut resync = Resync::default();
        turn(&mut resync, ms(1_000));
        let mut observed = Vec::new();
        for now in 1_000..2_000 {
            resync.nudge(ms(now));
            if turn(&mut resync, ms(now)).1 {
                observed.push(now);
            }
        }
        assert_eq!(observed, [1_020, 1_270, 1_520, 1_770]);
    }

    #[test]
    fn a_router_that_may_take_part_again_is_not_late() {
        let mut resync = Resync::default();
        turn(&mut resync, ms(1_000));
        resync.end(ms(1_100), [Some(ms(3_000)), None]);
        assert_eq!(resync.due(), ms(3_000));
        resync.soon(ms(1_200));
        assert_eq!(resync.due(), ms(1_220));
    }
}
