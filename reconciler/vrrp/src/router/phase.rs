//! The state of a virtual router with exactly the timers that exist in it.
//!
//! Fields only: what sets them is the state machine.

use std::net::IpAddr;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use super::rivals::Rivals;

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Initialize,
    Backup(Backup),
    Master(Master),
}

#[derive(Debug, Clone)]
pub(super) struct Backup {
    /// When the timer was last armed: the base to compute it from again.
    pub(super) armed: MonoTime,
    pub(super) wait: Wait,
    /// `Master_Down_Timer`.
    pub(super) deadline: MonoTime,
    /// Version 3: the interval of the last Master (`Active_Adver_Interval`), once one was heard.
    pub(super) adopted: Option<AdvertInterval>,
    pub(super) master: Option<IpAddr>,
    /// When the first advertisement of lower priority was heard, of those after the last one of ours or more:
    /// from then on the preempt delay runs.
    pub(super) lower_since: Option<MonoTime>,
    /// Whether the last advertisement of a Master was of one that we leave alone only because we are not ready.
    pub(super) waits: bool,
}

/// How long a Backup waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The master-down interval.
    MasterDown,
    /// The skew time: a Master has left.
    Skew,
}

#[derive(Debug, Clone)]
pub(super) struct Master {
    /// `Adver_Timer`.
    pub(super) advert_due: MonoTime,
    pub(super) second_burst: Option<MonoTime>,
    /// The next of the regular bursts.
    pub(super) refresh_due: Option<MonoTime>,
    /// See [`super::VirtualRouter::lease_until`].
    pub(super) lease: Option<MonoTime>,
    /// When a rival was last answered.
    pub(super) last_assert: Option<MonoTime>,
    /// When a priority 0 was last answered.
    pub(super) last_farewell: Option<MonoTime>,
    pub(super) last_rival_burst: Option<MonoTime>,
    /// Whether another router was asked to take over, and `advert_due` is when we go on without an answer.
    pub(super) offered: bool,
    /// When we took over from another Master, perhaps; `None` when we went on as one.
    pub(super) claimed: Option<MonoTime>,
    pub(super) rivals: Rivals,
}
