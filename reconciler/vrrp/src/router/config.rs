//! The configuration of one virtual router and the intervals that follow from it.
//!
//! Values only: no state and no deadline lives here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};

use crate::packet::{GROUP_V4, GROUP_V6, TTL};
use crate::trailer::Hmac;
use crate::wire::{Auth, Checksum, Secret, Version, WireInterval};

/// Longest interval of a Master, as a multiple of ours.
const LONGER: u16 = 3;

/// Delivery of advertisements.
///
/// A router of either mode accepts advertisements that came by the other one, if their TTL and source pass.
/// So directors can go from multicast to unicast, or back, one after another, without an election and without
/// two Masters: those that have changed and those that have not still hear each other. This needs a driver
/// that listens to the group and to unicast in both modes, and [`Delivery::Unicast::ttl`] 255 on the way: a
/// router that still expects multicast accepts nothing less. A lower TTL is a second change, once all have
/// the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// To the multicast group of the family, with TTL 255. Received ones must have it too, however
    /// they came (RFC 9568 §7.1).
    Multicast,
    /// To each peer by itself (keepalived's `unicast_peer`; no RFC has it).
    Unicast {
        /// The other directors, in the order of sending. Nobody else's advertisements are accepted. May be
        /// empty: then nothing is sent, and nobody else can claim.
        peers: Vec<IpAddr>,
        /// TTL or hop limit of sent advertisements.
        ttl: u8,
        /// Lowest TTL or hop limit of advertisements that were sent to us by unicast. Those to the
        /// group need 255.
        min_ttl: u8,
    },
}

/// Sources that may speak for a virtual router beside this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directors {
    /// Every address that the other directors may speak from.
    pub addresses: Vec<IpAddr>,
    /// Number of directors that speak from a link-local address that only they know. So many are learnt from
    /// advertisements with a VIP of ours.
    pub unnamed: usize,
    /// Treatment of all other sources.
    pub strangers: Strangers,
}

/// Advertisements that count of a source that is none of our directors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strangers {
    /// Those with exactly our VIPs: a director whose address is written wrongly would else make a second
    /// Master.
    #[default]
    SameVips,
    /// None.
    Reject,
}

/// Configuration of a virtual router. `Debug` shows neither password nor keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Protocol version. Another one needs a new router.
    pub version: Version,
    /// Virtual router identifier. Another one needs a new router.
    pub vrid: Vrid,
    /// Our priority; 255 starts as Master (RFC 9568 §6.4.1).
    pub priority: Priority,
    /// Time between our advertisements. Version 2 uses its whole seconds, at least one.
    pub interval: AdvertInterval,
    /// Whether to preempt a Master with a lower priority (RFC 9568 §6.1, `Preempt_Mode`).
    pub preempt: bool,
    /// Time for which a Master with a lower priority is left alone; zero: not at all. It begins with the
    /// first of its advertisements that we hear as Backup. During it the advertisements count; after it they
    /// do not, and we claim when the master-down interval since the last that counted is over.
    ///
    /// The time runs from that first advertisement whatever the Master's address, and through changes of this
    /// or any other setting: a new delay is measured from the same moment. An advertisement of our priority
    /// or more ends it, and the next lower one begins a new wait. The delay never makes the VIPs wait for a
    /// Master: when one leaves with priority 0, or falls silent, we claim as without a delay.
    pub preempt_delay: Duration,
    /// Whether it is too early to preempt a Master, because the checks of our real servers have not spoken
    /// yet, or its connections have not arrived: the advertisements of one with a lower priority count, as
    /// without preemption. A live setting, usually `false`. It never makes the VIPs wait for a Master, and
    /// does not delay the start of an owner.
    pub unready: bool,
    /// Version 2 password; `None` is authentication type 0. Version 3 ignores it.
    pub auth: Option<Secret>,
    /// Trailers of both versions; `None`: none is sent, and an advertisement with one is too long.
    pub hmac: Option<Arc<Hmac>>,
    /// Source address of our advertisements; unicast peers must list it. The address family is the router's,
    /// and another one needs a new router.
    pub source: IpAddr,
    /// Delivery of advertisements.
    pub delivery: Delivery,
    /// Sources that may speak by multicast; `None`: everybody. By unicast only the peers may.
    pub directors: Option<Directors>,
    /// Virtual addresses in the order of the advertisement. At least one in version 3: others ignore
    /// an advertisement without (RFC 9568 §5.2.5).
    pub vips: Vec<IpAddr>,
    /// Gratuitous ARP packets per address in one burst.
    pub garp_repeat: u8,
    /// Time from one burst to its repetition; zero is no repetition.
    pub garp_delay: Duration,
    /// Time between bursts while Master, counted from becoming it; `None` and zero: no more than the second
    /// one.
    pub garp_refresh: Option<Duration>,
    /// Checksum of sent version 3 IPv4 advertisements; both are accepted.
    pub checksum: Checksum,
}

impl Config {
    /// The interval in use: [`Config::interval`], in version 2 cut to whole seconds and at least
    /// one, because that is all its field can say (RFC 3768 §5.3.7).
    #[must_use]
    pub fn effective_interval(&self) -> AdvertInterval {
        match self.version {
            Version::V2 => {
                let whole = self.interval.as_centis() / 100 * 100;
                AdvertInterval::from_centis(whole).unwrap_or(AdvertInterval::ONE_SECOND)
            }
            Version::V3 => self.interval,
        }
    }

    /// The longest interval that is adopted from a Master (version 3): what a director of ours may send. All
    /// have the interval of one cluster file, `earlier` was the one before it if its directors may still send
    /// that. A peer that is not of that file may have a longer one, but not so long that one packet keeps the
    /// VIPs from everybody for minutes: with this one we wait for nine of our intervals, and at least for
    /// three seconds.
    pub(crate) fn longest_interval(&self, earlier: Option<AdvertInterval>) -> AdvertInterval {
        let centis =
            self.effective_interval().as_centis().saturating_mul(LONGER).min(AdvertInterval::MAX_CENTIS);
        let ours = AdvertInterval::from_centis(centis).unwrap_or(self.effective_interval());
        ours.max(AdvertInterval::ONE_SECOND).max(earlier.unwrap_or(AdvertInterval::ONE_SECOND))
    }

    /// Destinations of advertisements: the multicast group of the family, or each peer of the family.
    pub fn destinations(&self) -> impl Iterator<Item = IpAddr> {
        let group = match self.source {
            IpAddr::V4(_) => IpAddr::V4(GROUP_V4),
            IpAddr::V6(_) => IpAddr::V6(GROUP_V6),
        };
        let (group, peers): (_, &[IpAddr]) = match &self.delivery {
            Delivery::Multicast => (Some(group), &[]),
            Delivery::Unicast { peers, .. } => (None, peers),
        };
        let fits = |peer: &IpAddr| peer.is_ipv4() == self.source.is_ipv4();
        group.into_iter().chain(peers.iter().copied().filter(fits))
    }

    /// TTL or hop limit of our advertisements.
    pub(crate) const fn sent_ttl(&self) -> u8 {
        match self.delivery {
            Delivery::Multicast => TTL,
            Delivery::Unicast { ttl, .. } => ttl,
        }
    }

    /// Lowest TTL or hop limit of an advertisement that was sent to `dst`.
    pub(crate) const fn least_ttl(&self, dst: IpAddr) -> u8 {
        match self.delivery {
            Delivery::Unicast { min_ttl, .. } if !dst.is_multicast() => min_ttl,
            Delivery::Unicast { .. } | Delivery::Multicast => TTL,
        }
    }

    /// Whether advertisements from `src` are examined further: in multicast mode everybody's.
    pub(crate) fn knows(&self, src: IpAddr) -> bool {
        match &self.delivery {
            Delivery::Multicast => true,
            Delivery::Unicast { peers, .. } => peers.contains(&src),
        }
    }

    /// Time between regular bursts, if there are any.
    pub(crate) fn refresh(&self) -> Option<Duration> {
        self.garp_refresh.filter(|refresh| !refresh.is_zero())
    }

    /// The interval field of our advertisements.
    pub(crate) fn wire_interval(&self) -> WireInterval {
        self.effective_interval().into()
    }

    /// The authentication of our advertisements, and the one that received ones must have.
    pub(crate) fn wire_auth(&self) -> Auth {
        match (self.version, self.auth) {
            (Version::V2, Some(secret)) => Auth::Pass(secret),
            (Version::V2, None) | (Version::V3, _) => Auth::None,
        }
    }

    /// Whether `other` is a configuration of the same virtual router: version, VRID and family are.
    pub(crate) fn is_same_router(&self, other: &Self) -> bool {
        self.version == other.version
            && self.vrid == other.vrid
            && self.source.is_ipv4() == other.source.is_ipv4()
    }

    /// Whether `other` sends the very same packets.
    pub(crate) fn sends_like(&self, other: &Self) -> bool {
        self.priority == other.priority
            && self.wire_interval() == other.wire_interval()
            && self.wire_auth() == other.wire_auth()
            && self.source == other.source
            && self.vips == other.vips
            && self.checksum == other.checksum
            && self.sent_ttl() == other.sent_ttl()
            && self.destinations().eq(other.destinations())
    }
}

/// `Skew_Time`: how much longer a Backup waits, the lower its priority.
///
/// Version 2: (256 - priority) / 256 s (RFC 3768 §6.1). Version 3: the same share of `interval`, the
/// Master's (RFC 9568 §6.1). In nanoseconds: rounded to the protocol's centiseconds, neighbouring
/// priorities would claim together.
#[must_use]
pub fn skew_time(version: Version, priority: Priority, interval: AdvertInterval) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval.as_duration(),
    };
    whole * (256 - u32::from(priority.get())) / 256
}

/// `Master_Down_Interval`: 3 × `interval` + skew time (RFC 3768 §6.1; RFC 9568 §6.1,
/// `Active_Down_Interval`).
#[must_use]
pub fn master_down_interval(version: Version, priority: Priority, interval: AdvertInterval) -> Duration {
    interval.as_duration() * 3 + skew_time(version, priority, interval)
}
