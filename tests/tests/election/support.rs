//! Numbers that several of the tests share.

use std::time::{Duration, Instant};

use lab::{Advert, Mark, Record};

/// Time for anything that takes no more than a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The advertisement interval of all routers here.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Time that the guest may add to any interval: on an idle machine a few milliseconds, on one with seven
/// processes for each processor 250, and never as much as a mistake of the protocol makes, which is a whole
/// interval.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(500);
/// Three intervals and the skew time of priority 90.
pub(crate) const MASTER_DOWN: Duration = Duration::from_micros(3_648_437);

/// The longest time between two of these, between the mark and the first, or between the last and `until`.
pub(crate) fn worst_gap(adverts: &[Record<Advert>], since: Mark, until: Instant) -> Duration {
    let times: Vec<Instant> = std::iter::once(since)
        .chain(adverts.iter().map(|record| record.at))
        .chain([until])
        .filter(|at| (since..=until).contains(at))
        .collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
