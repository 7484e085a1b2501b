//! The configuration of one virtual router and the intervals that follow from it.
//!
//! Values only: no state and no deadline lives here.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};

use crate::packet::{Auth, Checksum, GROUP_V4, GROUP_V6, Secret, Version, WireInterval};

/// How advertisements travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// To the multicast group of the family, with TTL 255.
    Multicast,
    /// To each peer by itself (keepalived's `unicast_peer`; no RFC has it).
    Unicast {
        /// The other directors. Nobody else's advertisements are accepted.
        peers: Vec<IpAddr>,
        /// TTL or hop limit of sent advertisements.
        ttl: u8,
        /// Lowest TTL or hop limit of received ones.
        min_ttl: u8,
    },
}

/// What a virtual router needs to know. `Debug` does not show the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Protocol version. Changing it takes a new router.
    pub version: Version,
    /// Virtual router identifier. Changing it takes a new router.
    pub vrid: Vrid,
    /// Our priority; 255 starts as Master (RFC 9568 §6.4.1).
    pub priority: Priority,
    /// Time between our advertisements. Version 2 uses its whole seconds, at least one.
    pub interval: AdvertInterval,
    /// Whether to take over from a Master with a lower priority (RFC 9568 §6.1, `Preempt_Mode`).
    pub preempt: bool,
    /// How long to wait before taking over from a Master with a lower priority; zero: not at all.
    pub preempt_delay: Duration,
    /// Version 2 password; `None` is authentication type 0. Version 3 ignores it.
    pub auth: Option<Secret>,
    /// Source address of our advertisements. Its family is the router's family.
    pub source: IpAddr,
    /// How advertisements travel.
    pub delivery: Delivery,
    /// Virtual addresses in the order of the advertisement. At least one in version 3: others ignore
    /// an advertisement without (RFC 9568 §5.2.5).
    pub vips: Vec<IpAddr>,
    /// Gratuitous ARP packets per address in one burst.
    pub garp_repeat: u8,
    /// Time from one burst to its repetition; zero is no repetition.
    pub garp_delay: Duration,
    /// Time between bursts while Master; `None` for no more than the second one.
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

    /// Where advertisements go: the multicast group of the family.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        match self.source {
            IpAddr::V4(_) => IpAddr::V4(GROUP_V4),
            IpAddr::V6(_) => IpAddr::V6(GROUP_V6),
        }
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

    /// Whether `other` advertises the very same bytes.
    pub(crate) fn advertises_like(&self, other: &Self) -> bool {
        self.priority == other.priority
            && self.wire_interval() == other.wire_interval()
            && self.wire_auth() == other.wire_auth()
            && self.source == other.source
            && self.vips == other.vips
            && self.checksum == other.checksum
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
