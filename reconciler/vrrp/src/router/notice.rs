//! What an operator is told about a virtual router, and how often.
//!
//! Anybody on the segment can cause these, so their number is bounded: per kind and source one a
//! minute, and per kind at most [`SOURCES_PER_KIND`] sources a minute. Counters stay exact.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use crate::rejection::{RejectKind, Rejection};

/// Least time between two events of one kind and source.
const QUIET: Duration = Duration::from_secs(60);
/// Sources remembered per kind. More than a cluster has directors; beyond it somebody invents them.
const SOURCES_PER_KIND: usize = 8;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// An advertisement was discarded.
    Rejected(Rejection),
    /// An advertisement was accepted although its VIPs are not ours (RFC 9568 §7.1 lets us; order
    /// does not matter).
    VipListMismatch {
        /// How many VIPs we have.
        expected: usize,
        /// How many it has.
        received: usize,
    },
    /// An advertisement has our VRID, but of its VIPs none is ours: somebody else's virtual router. Accepted or
    /// not (but for its TTL, which says that it is from beyond the segment), and also before we take part.
    VridInUse {
        /// Who advertises it.
        source: IpAddr,
        /// How many VIPs it has.
        vips: usize,
    },
    /// We are Master and so is somebody of lower priority, or of ours and with a lower address. Told when it
    /// begins.
    RivalMaster {
        /// Its address.
        rival: IpAddr,
        /// Its priority.
        priority: u8,
        /// Our address.
        address: IpAddr,
        /// Our priority.
        ours: u8,
    },
    /// A rival has been silent for so long that it is no Master any more.
    RivalGone {
        /// Its address.
        rival: IpAddr,
        /// Our address.
        address: IpAddr,
    },
    /// A Master leaves.
    PriorityZero {
        /// Whether we are Master too.
        as_master: bool,
    },
    /// The Master's interval is not ours; we use the Master's (RFC 9568 §6.1).
    IntervalAdopted {
        /// Its interval.
        theirs: AdvertInterval,
        /// Our interval.
        ours: AdvertInterval,
    },
    /// A Master with a lower priority is left alone until our checks have spoken ([`Config::unready`](super::Config)). Told
    /// when that begins.
    WaitsForChecks {
        /// Its address.
        master: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// As Master we sent nothing for longer than a Backup waits: somebody may have claimed.
    Overslept {
        /// How late our advertisement was.
        late: Duration,
    },
}

/// The kind of a [`Notice`]: with the source, what limits its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// [`Notice::Rejected`].
    Rejected(RejectKind),
    /// [`Notice::VipListMismatch`].
    VipListMismatch,
    /// [`Notice::VridInUse`].
    VridInUse,
    /// [`Notice::RivalMaster`].
    RivalMaster,
    /// [`Notice::RivalGone`].
    RivalGone,
    /// [`Notice::PriorityZero`].
    PriorityZero,
    /// [`Notice::IntervalAdopted`].
    IntervalAdopted,
    /// [`Notice::WaitsForChecks`].
    WaitsForChecks,
    /// [`Notice::Overslept`].
    Overslept,
}

impl Notice {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Self::Rejected(rejection) => NoticeKind::Rejected(rejection.kind()),
            Self::VipListMismatch { .. } => NoticeKind::VipListMismatch,
            Self::VridInUse { .. } => NoticeKind::VridInUse,
            Self::RivalMaster { .. } => NoticeKind::RivalMaster,
            Self::RivalGone { .. } => NoticeKind::RivalGone,
            Self::PriorityZero { .. } => NoticeKind::PriorityZero,
            Self::IntervalAdopted { .. } => NoticeKind::IntervalAdopted,
            Self::WaitsForChecks { .. } => NoticeKind::WaitsForChecks,
            Self::Overslept { .. } => NoticeKind::Overslept,
        }
    }
}

/// A notice with its source. `Display` is a line for the log, in keepalived's words where it has
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub notice: Notice,
    /// Who caused it; ourselves for [`Notice::Overslept`].
    pub source: IpAddr,
    /// How many of the same kind and source were not told since the last one.
    pub suppressed: u64,
}

impl Event {
    /// Kind and source: what the rate is limited by.
    #[must_use]
    pub const fn key(&self) -> (NoticeKind, IpAddr) {
        (self.notice.kind(), self.source)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source;
        match self.notice {
            Notice::Rejected(rejection) => write!(f, "{rejection} (from {source})")?,
            Notice::VipListMismatch { expected, received } if expected == received => {
                write!(f, "the {received} VIPs from {source} are not our {expected} VIPs")?;
            }
            Notice::VipListMismatch { expected, received } => {
                write!(f, "expected {expected} VIPs but received {received} from {source}")?;
            }
            Notice::VridInUse { source, vips } => {
                write!(
                    f,
                    "{source} uses our VRID for {vips} VIPs, none of them ours: one of us needs another VRID"
                )?;
            }
            Notice::RivalMaster { rival, priority, address, ours } if priority == ours => write!(
                f,
                "Received advert from {rival} with same priority {priority} but lower IP address than ours, \
                 forcing new election: it and we, {address}, are both Master"
            )?,
            Notice::RivalMaster { rival, priority, address, ours } => write!(
                f,
                "Received advert from {rival} with lower priority {priority}, ours {ours}, \
                 forcing new election: it and we, {address}, are both Master"
            )?,
            Notice::RivalGone { rival, address } => {
                write!(f, "{rival} is no longer Master beside us, {address}: announcing the VIPs again")?;
            }
            Notice::PriorityZero { as_master: false } => {
                write!(f, "Backup received priority 0 advertisement from {source}")?;
            }
            Notice::PriorityZero { as_master: true } => {
                write!(f, "Master received priority 0 advertisement from {source}")?;
            }
            Notice::IntervalAdopted { theirs, ours } => {
                write!(f, "using the advertisement interval {theirs} of {source}, ours is {ours}")?;
            }
            Notice::WaitsForChecks { master, priority } => write!(
                f,
                "waits for its checks before it takes over from {master}, which has the lower priority {priority}"
            )?,
            Notice::Overslept { late } => write!(
                f,
                "our advertisement was {} ms late, longer than a Backup waits: another Master is possible",
                late.as_millis()
            )?,
        }
        if self.suppressed > 0 {
            write!(f, "; {} more like this not logged", self.suppressed)
        } else {
            Ok(())
        }
    }
}

#[derive(Debug, Clone)]
struct Told {
    kind: NoticeKind,
    source: IpAddr,
    at: MonoTime,
    suppressed: u64,
}

/// Decides which notices become events.
#[derive(Debug, Clone, Default)]
pub(super) struct Limiter {
    told: Vec<Told>,
}

impl Limiter {
    /// Something begins that others cannot bring about: its first notice is news, whatever was told before.
    pub(super) fn forget(&mut self, kind: NoticeKind) {
        self.told.retain(|told| told.kind != kind);
    }

    /// The event to emit, unless one of its kind and source was emitted in the last minute.
    pub(super) fn admit(&mut self, notice: Notice, source: IpAddr, now: MonoTime) -> Option<Event> {
        let kind = notice.kind();
        if let Some(told) = self.told.iter_mut().find(|told| told.kind == kind && told.source == source) {
            if now.since(told.at) < QUIET {
                told.suppressed += 1;
                return None;
            }
            let suppressed = std::mem::take(&mut told.suppressed);
            told.at = now;
            return Some(Event { notice, source, suppressed });
        }
        self.told.retain(|told| told.kind != kind || now.since(told.at) < QUIET);
        if self.told.iter().filter(|told| told.kind == kind).count() >= SOURCES_PER_KIND {
            return None;
        }
        self.told.push(Told { kind, source, at: now, suppressed: 0 });
        Some(Event { notice, source, suppressed: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOTICE: Notice = Notice::Rejected(Rejection::Checksum);

    fn source(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn one_event_a_minute_for_a_source_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let mut emitted = Vec::new();
        for second in 0..=120 {
            emitted.extend(limiter.admit(NOTICE, source(1), MonoTime::from_millis(second * 1000)));
        }
        let suppressed: Vec<u64> = emitted.iter().map(|event| event.suppressed).collect();
        assert_eq!(suppressed, [0, 59, 59]);
    }

    #[test]
    fn invented_sources_cost_neither_memory_nor_log_lines() {
        let mut limiter = Limiter::default();
        let emitted =
            (0..10_000).filter(|n| limiter.admit(NOTICE, source(*n), MonoTime::ZERO).is_some()).count();
        assert_eq!(emitted, SOURCES_PER_KIND);
        assert_eq!(limiter.told.len(), SOURCES_PER_KIND);
        // Other kinds are still told.
        let rival = Notice::RivalMaster { rival: source(1), priority: 1, address: source(2), ours: 2 };
        assert!(limiter.admit(rival, source(99_999), MonoTime::ZERO).is_some());
        // And a minute later so are new sources.
        assert!(limiter.admit(NOTICE, source(99_999), MonoTime::from_millis(60_000)).is_some());
    }
}
