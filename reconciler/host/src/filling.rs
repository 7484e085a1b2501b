//! Directors that return and receive connections from another one: their routers leave a living Master alone
//! until the table has stopped growing, or for their longest time. Values only.
//!
//! The Master sends a connection when a packet of it passes, so the first seconds bring most of them.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

/// Time until the first look: the half that receives runs by then.
const FIRST: Duration = Duration::from_secs(1);
/// Time from one look to the next.
const EVERY: Duration = Duration::from_secs(4);
/// A table that grows by less than one in so many from one look to the next has stopped growing.
const GROWTH: u64 = 10;

/// The routers that wait for connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filling {
    /// Each with the time at which it waits no longer.
    waits: BTreeMap<Name, MonoTime>,
    /// Connections that had been received at the last look.
    received: Option<u64>,
    /// Time of the next look; none while one is under way.
    next: Option<MonoTime>,
}

impl Filling {
    /// A router waits from now on, for `longest` at most.
    pub(crate) fn begin(&mut self, router: Name, longest: Duration, now: MonoTime) {
        self.waits.insert(router, now + longest);
        (self.received, self.next) = (None, Some(now + FIRST));
    }

    /// Forgets all routers but these.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&Name) -> bool) {
        self.waits.retain(|router, _| is_there(router));
    }

    /// Whether a router waits.
    pub(crate) fn has(&self, router: &Name) -> bool {
        self.waits.contains_key(router)
    }

    /// The routers that wait.
    pub(crate) fn routers(&self) -> impl Iterator<Item = &Name> {
        self.waits.keys()
    }

    /// Time at which a look is due, or a router waits no longer.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        let first = self.waits.values().min().copied()?;
        Some(self.next.map_or(first, |next| next.min(first)))
    }

    /// The routers that have waited their longest time.
    pub(crate) fn expire(&mut self, now: MonoTime) -> Vec<Name> {
        self.waits.extract_if(.., |_, until| *until <= now).map(|(router, _)| router).collect()
    }

    /// Whether to look now. The look is under way then.
    pub(crate) fn looks(&mut self, now: MonoTime) -> bool {
        let due = !self.waits.is_empty() && self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
        }
        due
    }

    /// So many connections have been received; none where they cannot be counted. Returns the routers that
    /// wait no longer.
    pub(crate) fn counted(&mut self, received: Option<u64>, now: MonoTime) -> Vec<Name> {
        self.next.get_or_insert(now + EVERY);
        let before = std::mem::replace(&mut self.received, received);
        let stopped = before.zip(received).is_some_and(|(before, now)| {
            let grown = now.saturating_sub(before);
            grown.saturating_mul(GROWTH) <= now
        });
        if !stopped {
            return Vec::new();
        }
        std::mem::take(&mut self.waits).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_millis(seconds * 1000)
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn begun() -> Filling {
        let mut filling = Filling::default();
        filling.begin(name("a"), LONGEST, at(100));
        filling
    }

    #[test]
    fn a_router_waits_until_the_table_stops_growing() {
        let mut filling = begun();
        assert_eq!(filling.due(), Some(at(101)));
        assert!(!filling.looks(at(100)));
        let mut now = 101;
        for received in [0, 400, 900, 1100] {
            assert!(filling.looks(at(now)));
            assert_eq!(filling.due(), Some(at(130)), "one look at a time");
            assert_eq!(filling.counted(Some(received), at(now)), [], "{received}");
            now += 4;
            assert_eq!(filling.due(), Some(at(now)));
        }
        assert!(filling.looks(at(now)));
        assert_eq!(filling.counted(Some(1200), at(now)), [name("a")]);
        assert_eq!(filling.due(), None);
    }

    #[test]
    fn two_looks_are_needed_even_where_nothing_comes() {
        let mut filling = begun();
        assert!(filling.looks(at(101)));
        assert_eq!(filling.counted(Some(0), at(101)), []);
        assert!(filling.looks(at(105)));
        assert_eq!(filling.counted(Some(0), at(105)), [name("a")]);
    }

    #[test]
    fn what_cannot_be_counted_is_waited_for_until_the_time_is_over() {
        let mut filling = begun();
        for now in [101, 105, 109] {
            assert!(filling.looks(at(now)));
            assert_eq!(filling.counted(None, at(now)), []);
        }
        assert_eq!(filling.expire(at(129)), []);
        assert_eq!(filling.expire(at(130)), [name("a")]);
        assert!(!filling.looks(at(200)), "nobody waits");
    }

    #[test]
    fn a_router_that_begins_again_counts_from_there() {
        let mut filling = begun();
        assert!(filling.looks(at(101)));
        assert_eq!(filling.counted(Some(7), at(101)), []);
        filling.begin(name("b"), LONGEST, at(102));
        assert!(filling.looks(at(103)));
        assert_eq!(filling.counted(Some(7), at(103)), [], "the first look since");
        filling.keep(|router| *router == name("b"));
        assert!(!filling.has(&name("a")));
        assert_eq!(filling.routers().cloned().collect::<Vec<_>>(), [name("b")]);
    }
}
