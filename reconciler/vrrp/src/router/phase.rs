//! The state of a virtual router with exactly the timers that exist in it.
//!
//! Fields only: what sets them is the state machine.

use std::net::IpAddr;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

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
    /// See [`super::VirtualRouter::lease_until`].
    pub(super) lease: Option<MonoTime>,
    pub(super) last_assert: Option<MonoTime>,
    pub(super) last_rival_burst: Option<MonoTime>,
}
