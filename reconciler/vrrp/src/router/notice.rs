//! What an operator is told about a virtual router, and how often.
//!
//! Anybody on the segment can cause these, so their number is bounded: per kind and source one a minute, and
//! per kind at most [`SOURCES_PER_KIND`] sources a minute. What is left out is counted, and told by one
//! [`Dropped`] a minute for all kinds together. Counters stay exact.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use super::signing::Skew;
use crate::rejection::{RejectKind, Rejection};

/// Least time between two events of one kind and source.
const QUIET: Duration = Duration::from_secs(60);
/// Sources remembered per kind. More than a cluster has directors; beyond it somebody invents them.
const SOURCES_PER_KIND: usize = 8;

/// An occurrence that the log or the status shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// An advertisement was discarded.
    Rejected(Rejection),
    /// An advertisement was accepted although its VIPs are not ours (RFC 9568 §7.1 lets us; order
    /// does not matter).
    VipListMismatch {
        /// Number of our VIPs.
        expected: usize,
        /// Number of VIPs in the advertisement.
        received: usize,
    },
    /// An advertisement of our VRID is from none of our directors: somebody else's virtual router, or a
    /// director whose address is not in the plan. Also reported before we take part, and where everybody
    /// counts if none of its VIPs is ours.
    VridInUse {
        /// The VRID.
        vrid: u8,
        /// Source of the advertisement.
        source: IpAddr,
        /// Hardware address of the source, which only the driver can find out.
        mac: Option<[u8; 6]>,
        /// Number of VIPs in the advertisement.
        vips: usize,
        /// Number of those VIPs that are ours.
        ours: usize,
        /// Whether they are exactly ours.
        same: bool,
        /// Whether it counts.
        counts: bool,
    },
    /// We are Master and so is somebody of lower priority, or of ours and with a lower address. Told when it
    /// begins.
    RivalMaster {
        /// Address of the rival.
        rival: IpAddr,
        /// Priority of the rival.
        priority: u8,
        /// Our address.
        address: IpAddr,
        /// Our priority.
        ours: u8,
    },
    /// Others have made us yield and were then silent too often: from now on we yield only to who has been
    /// heard for a while.
    Damped {
        /// Claims after that within a minute.
        claims: u32,
        /// Time for which a rival must be heard first.
        proof: Duration,
    },
    /// A rival has been silent for so long that it is no Master any more.
    RivalGone {
        /// Address of the rival.
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
        /// Interval of the advertisement.
        theirs: AdvertInterval,
        /// Our interval.
        ours: AdvertInterval,
    },
    /// A Master with a lower priority is left alone until we are ready to take over
    /// ([`Config::unready`](super::Config)). Told when that begins.
    NotReady {
        /// Address of the Master.
        master: IpAddr,
        /// Priority of the Master.
        priority: u8,
    },
    /// The Master's interval is longer than any director of ours has; we use the longest that one may have.
    IntervalBounded {
        /// Interval of the Master.
        theirs: AdvertInterval,
        /// The one that we use.
        used: AdvertInterval,
    },
    /// The clock of a director differs from ours by half of what is allowed, or more.
    ClockSkew(Skew),
    /// As Master we sent nothing for longer than a Backup waits: somebody may have claimed.
    Overslept {
        /// Lateness of our advertisement.
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
    /// [`Notice::Damped`].
    Damped,
    /// [`Notice::RivalGone`].
    RivalGone,
    /// [`Notice::PriorityZero`].
    PriorityZero,
    /// [`Notice::IntervalAdopted`].
    IntervalAdopted,
    /// [`Notice::NotReady`].
    NotReady,
    /// [`Notice::IntervalBounded`].
    IntervalBounded,
    /// [`Notice::ClockSkew`].
    ClockSkew,
    /// [`Notice::Overslept`].
    Overslept,
}

impl NoticeKind {
    /// Name in a summary.
    const fn name(self) -> &'static str {
        match self {
            Self::Rejected(kind) => kind.name(),
            Self::VipListMismatch => "vip_list_mismatch",
            Self::VridInUse => "vrid_in_use",
            Self::RivalMaster => "rival_master",
            Self::Damped => "damped",
            Self::RivalGone => "rival_gone",
            Self::PriorityZero => "priority_zero",
            Self::IntervalAdopted => "interval_adopted",
            Self::NotReady => "not_ready",
            Self::IntervalBounded => "interval_bounded",
            Self::ClockSkew => "clock_skew",
            Self::Overslept => "overslept",
        }
    }
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
            Self::Damped { .. } => NoticeKind::Damped,
            Self::RivalGone { .. } => NoticeKind::RivalGone,
            Self::PriorityZero { .. } => NoticeKind::PriorityZero,
            Self::IntervalAdopted { .. } => NoticeKind::IntervalAdopted,
            Self::NotReady { .. } => NoticeKind::NotReady,
            Self::IntervalBounded { .. } => NoticeKind::IntervalBounded,
            Self::ClockSkew(_) => NoticeKind::ClockSkew,
            Self::Overslept { .. } => NoticeKind::Overslept,
        }
    }
}

/// A notice with its source. `Display` is a line for the log, in keepalived's words where it has
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The occurrence.
    pub notice: Notice,
    /// Source that caused it; ourselves for [`Notice::Overslept`].
    pub source: IpAddr,
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
            Notice::VridInUse { vrid, source, mac, vips, ours, same, counts } => {
                write!(f, "VRID {vrid} in use by {source}")?;
                if let Some([a, b, c, d, e, g]) = mac {
                    write!(f, " ({a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x})")?;
                }
                match ours {
                    _ if same => f.write_str(" for exactly our VIPs: ")?,
                    0 if vips == 1 => f.write_str(" for a VIP that is not ours: ")?,
                    0 => write!(f, " for {vips} VIPs, none of them ours: ")?,
                    _ => write!(f, " for {vips} VIPs, {ours} of them ours: ")?,
                }
                f.write_str(match (counts, same) {
                    (true, true) => {
                        "it is none of our directors, and is taken for one whose address is written wrongly"
                    }
                    (true, false) => {
                        "it counts, since the plan lets everybody speak; one of us needs another VRID"
                    }
                    (false, true) => "it is nobody of ours and moves nothing",
                    (false, false) => "it is nobody of ours and moves nothing; one of us needs another VRID",
                })?;
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
            Notice::Damped { claims, proof } => write!(
                f,
                "{claims} times within a minute {source} or another Master made us yield and was then \
                silent: \
                 from now on we yield to who has been heard for {}.{:03} s",
                proof.as_secs(),
                proof.subsec_millis()
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
            Notice::NotReady { master, priority } => write!(
                f,
                "is not ready to take over from {master}, which has the lower priority {priority}: it waits"
            )?,
            Notice::IntervalBounded { theirs, used } => write!(
                f,
                "the advertisement interval {theirs} of {source} is longer than our directors have: using \
                {used}"
            )?,
            Notice::ClockSkew(Skew { source, millis, window }) => write!(
                f,
                "the clock of {source} is {} ms {} ours: beyond {} s its advertisements are rejected",
                millis.unsigned_abs(),
                if millis < 0 { "ahead of" } else { "behind" },
                window.unwrap_or(0)
            )?,
            Notice::Overslept { late } => write!(
                f,
                "our advertisement was {} ms late, longer than a Backup waits: another Master is possible",
                late.as_millis()
            )?,
        }
        Ok(())
    }
}

/// Notices that were left out, by kind. `Display` is the rest of a line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    counts: Vec<(NoticeKind, u64)>,
    /// Time in which they were left out.
    over: Duration,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more in the last {} s that were not logged: ", self.total(), self.over.as_secs())?;
        for (index, (kind, count)) in self.counts.iter().enumerate() {
            write!(f, "{}{count} {}", if index > 0 { ", " } else { "" }, kind.name())?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Told {
    kind: NoticeKind,
    source: IpAddr,
    at: MonoTime,
}

/// Decides which notices become events.
#[derive(Debug, Clone, Default)]
pub(super) struct Limiter {
    noticed: Vec<Told>,
    /// Notices that were left out since [`Self::dropping`], by kind.
    dropped: Vec<(NoticeKind, u64)>,
    dropping: MonoTime,
}

impl Limiter {
    /// Begins a kind anew that others cannot bring about: its first notice is not left out, whatever came
    /// before.
    pub(super) fn forget(&mut self, kind: NoticeKind) {
        self.noticed.retain(|told| told.kind != kind);
    }

    /// The event to emit, unless one of its kind and source was emitted in the last minute.
    pub(super) fn admit(&mut self, notice: Notice, source: IpAddr, now: MonoTime) -> Option<Event> {
        let kind = notice.kind();
        self.noticed.retain(|told| told.kind != kind || now.since(told.at) < QUIET);
        let known = self.noticed.iter().any(|told| told.kind == kind && told.source == source);
        if known || self.noticed.iter().filter(|told| told.kind == kind).count() >= SOURCES_PER_KIND {
            self.drop_one(kind, now);
            return None;
        }
        self.noticed.push(Told { kind, source, at: now });
        Some(Event { notice, source })
    }

    fn drop_one(&mut self, kind: NoticeKind, now: MonoTime) {
        if self.dropped.is_empty() {
            self.dropping = now;
        }
        match self.dropped.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.dropped.push((kind, 1)),
        }
    }

    /// Summary of notices that were left out, once a minute; none when there were none.
    pub(super) fn dropped(&mut self, now: MonoTime) -> Option<Dropped> {
        let over = now.since(self.dropping);
        if self.dropped.is_empty() || over < QUIET {
            return None;
        }
        Some(Dropped { counts: std::mem::take(&mut self.dropped), over })
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
        let (mut emitted, mut dropped) = (0, Vec::new());
        for second in 0..=120 {
            let now = MonoTime::from_millis(second * 1000);
            emitted += usize::from(limiter.admit(NOTICE, source(1), now).is_some());
            dropped.extend(limiter.dropped(now));
        }
        assert_eq!(emitted, 3);
        let texts: Vec<String> = dropped.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["60 more in the last 60 s that were not logged: 60 checksum"]);
        let rest = limiter.dropped(MonoTime::from_millis(200_000)).map(|dropped| dropped.total());
        assert_eq!(rest, Some(58), "all others");
        assert_eq!(limiter.dropped(MonoTime::from_millis(900_000)), None);
    }

    #[test]
    fn invented_sources_cost_neither_memory_nor_log_lines() {
        let mut limiter = Limiter::default();
        let emitted =
            (0..10_000).filter(|n| limiter.admit(NOTICE, source(*n), MonoTime::ZERO).is_some()).count();
        assert_eq!(emitted, SOURCES_PER_KIND);
        assert_eq!(limiter.noticed.len(), SOURCES_PER_KIND);
        // Other kinds are still told.
        let rival = Notice::RivalMaster { rival: source(1), priority: 1, address: source(2), ours: 2 };
        assert!(limiter.admit(rival, source(99_999), MonoTime::ZERO).is_some());
        // And a minute later so are new sources.
        assert!(limiter.admit(NOTICE, source(99_999), MonoTime::from_millis(60_000)).is_some());
    }
}
