//! The state of a virtual router with exactly the timers that exist in it.
//!
//! Fields only: what sets them is the state machine.

use std::net::IpAddr;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use super::io::Cause;
use super::rivals::Rivals;

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Initialize,
    Backup(Backup),
    Master(Master),
}

#[derive(Debug, Clone)]
pub(super) struct Backup {
    /// Time at which the timer was last armed: the base to compute it from again.
    pub(super) armed: MonoTime,
    pub(super) wait: Wait,
    /// `Master_Down_Timer`.
    pub(super) deadline: MonoTime,
    /// Version 3: the interval of the last Master (`Active_Adver_Interval`), once one was heard.
    pub(super) adopted: Option<AdvertInterval>,
    pub(super) master: Option<IpAddr>,
    /// Time of the first advertisement of lower priority after the last one of ours or more: from then on the
    /// preempt delay runs.
    pub(super) lower_since: Option<MonoTime>,
    /// Whether the last advertisement of a Master was of one that we leave alone only because we are not
    /// ready.
    pub(super) waits: bool,
}

/// Kind of a Backup's wait.
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
    /// Time of the last answer to a rival.
    pub(super) last_assert: Option<MonoTime>,
    /// Time of the last answer to a priority 0.
    pub(super) last_farewell: Option<MonoTime>,
    pub(super) last_rival_burst: Option<MonoTime>,
    /// Reason why a Master is silent; `advert_due` is then the time at which it goes on without an answer.
    pub(super) parting: Option<Parting>,
    /// Time at which we took over, perhaps from another Master; `None` when we went on as Master.
    pub(super) claimed: Option<MonoTime>,
    pub(super) rivals: Rivals,
}

/// A Master that has sent priority 0 and serves on, silently, for some time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parting {
    /// The Master asks whether another router would take over; without an answer it stays.
    Offered,
    /// The Master leaves in any case.
    Leaving(Leaving),
}

/// The end of a Master that leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) cause: Cause,
    pub(super) next: Next,
    /// Interval and source of the new Master, once it was heard: the end is near then.
    pub(super) heard: Option<(AdvertInterval, IpAddr)>,
}

/// State of a Master after it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The router takes no part.
    Initialize,
    /// The router goes on as Backup.
    Backup,
}
