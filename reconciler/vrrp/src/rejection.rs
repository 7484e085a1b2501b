//! Why a received advertisement is discarded: the checks of RFC 9568 §7.1 and RFC 3768 §7.1.
//!
//! Only the reasons and their words live here. A rejected advertisement never touches a timer.

use std::fmt;

use crate::wire::WireInterval;

macro_rules! rejections {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// The kind of a [`Rejection`]: what is counted, and what limits its messages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RejectKind {
            $($(#[$doc])* $kind,)*
        }

        impl RejectKind {
            /// Every kind, in the order of the checks.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Name in the status and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

rejections! {
    /// TTL or hop limit is too low.
    Ttl = "ttl",
    /// Not as long as its header and address count say.
    Length = "length",
    /// Not the configured version.
    Version = "version",
    /// Not an ADVERTISEMENT.
    Type = "type",
    /// Address families do not fit.
    Family = "family",
    /// Wrong checksum.
    Checksum = "checksum",
    /// Not the configured VRID.
    Vrid = "vrid",
    /// Version 3 without an address.
    NoAddresses = "no_addresses",
    /// From our own address.
    OwnAddress = "own_address",
    /// By unicast: from none of our peers.
    UnknownPeer = "unknown_peer",
    /// Authentication type is not the configured one.
    AuthType = "auth_type",
    /// Wrong password.
    AuthSecret = "auth_secret",
    /// Without the trailer that is needed.
    HmacMissing = "hmac_missing",
    /// Trailer of another type, or with reserved bits.
    HmacMalformed = "hmac_malformed",
    /// Trailer of another time.
    HmacStale = "hmac_stale",
    /// Trailer with a key that we do not have.
    HmacUnknownKey = "hmac_unknown_key",
    /// Wrong HMAC.
    HmacBad = "hmac_bad",
    /// Trailer that was heard before.
    HmacReplay = "hmac_replay",
    /// Interval is zero.
    IntervalZero = "interval_zero",
    /// Version 2 with another interval than ours.
    Interval = "interval",
    /// From none of our directors, and not with exactly our VIPs.
    Stranger = "stranger",
}

/// Why an advertisement is discarded, with the offending value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// RFC 9568 §7.1: the TTL MUST be 255, so that nothing from beyond the segment gets in. By unicast
    /// the configuration may allow less.
    Ttl {
        /// TTL or hop limit of the packet.
        received: u8,
        /// The lowest that is accepted.
        least: u8,
    },
    /// RFC 9568 §7.1: the packet MUST hold the complete VRRP message.
    Length {
        /// Bytes received.
        bytes: usize,
        /// Bytes that the header announces.
        needed: usize,
    },
    /// RFC 9568 §7.1: the version MUST be ours.
    Version {
        /// Version of the packet, 0..=15.
        received: u8,
    },
    /// RFC 9568 §5.2.2: unknown types MUST be discarded.
    Type {
        /// Type of the packet, 0..=15.
        received: u8,
    },
    /// Version 2 over IPv6, or source and destination of different families.
    Family,
    /// RFC 9568 §7.1: the checksum MUST be right.
    Checksum,
    /// RFC 9568 §7.1: the VRID MUST be configured on the interface.
    Vrid {
        /// VRID of the packet.
        received: u8,
    },
    /// RFC 9568 §5.2.5: a count of zero MUST be ignored.
    NoAddresses,
    /// The source is our own address: our own packet come back, or another host with our address.
    OwnAddress,
    /// We advertise by unicast, and the source is none of our peers.
    UnknownPeer,
    /// RFC 3768 §7.1: the authentication type MUST be ours.
    AuthType {
        /// Authentication type of the packet.
        received: u8,
    },
    /// RFC 2338 §7.1: the password MUST be ours. Neither password is ever shown.
    AuthSecret,
    /// `enforce`: an advertisement MUST have a trailer.
    HmacMissing,
    /// The type of the trailer MUST be 1, its reserved field 0.
    HmacMalformed,
    /// The time of the trailer MUST be ours, within the window.
    HmacStale {
        /// Seconds by which it lies behind our clock; negative when ahead.
        skew: i32,
        /// Seconds that are allowed.
        window: u16,
    },
    /// The key of the trailer MUST be one of ours.
    HmacUnknownKey {
        /// Its number.
        key: u8,
    },
    /// The HMAC MUST be right.
    HmacBad,
    /// The sequence of the trailer MUST be after the last one of its sender.
    HmacReplay,
    /// No interval: nothing can be derived from it.
    IntervalZero,
    /// RFC 3768 §7.1: a version 2 interval MUST be ours.
    Interval {
        /// Interval of the packet.
        received: WireInterval,
        /// Our interval.
        expected: WireInterval,
    },
    /// The source is none of our directors. Ours: RFC 9568 §9 leaves who may speak to the segment.
    Stranger,
}

impl Rejection {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> RejectKind {
        match self {
            Self::Ttl { .. } => RejectKind::Ttl,
            Self::Length { .. } => RejectKind::Length,
            Self::Version { .. } => RejectKind::Version,
            Self::Type { .. } => RejectKind::Type,
            Self::Family => RejectKind::Family,
            Self::Checksum => RejectKind::Checksum,
            Self::Vrid { .. } => RejectKind::Vrid,
            Self::NoAddresses => RejectKind::NoAddresses,
            Self::OwnAddress => RejectKind::OwnAddress,
            Self::UnknownPeer => RejectKind::UnknownPeer,
            Self::AuthType { .. } => RejectKind::AuthType,
            Self::AuthSecret => RejectKind::AuthSecret,
            Self::HmacMissing => RejectKind::HmacMissing,
            Self::HmacMalformed => RejectKind::HmacMalformed,
            Self::HmacStale { .. } => RejectKind::HmacStale,
            Self::HmacUnknownKey { .. } => RejectKind::HmacUnknownKey,
            Self::HmacBad => RejectKind::HmacBad,
            Self::HmacReplay => RejectKind::HmacReplay,
            Self::IntervalZero => RejectKind::IntervalZero,
            Self::Interval { .. } => RejectKind::Interval,
            Self::Stranger => RejectKind::Stranger,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl { received, least: 255 } => write!(f, "invalid TTL/HL {received}, expected 255"),
            Self::Ttl { received, least } => {
                write!(f, "invalid TTL/HL {received}, expected at least {least}")
            }
            Self::Length { bytes, needed } if bytes > needed => {
                write!(f, "packet too long: {bytes} bytes where {needed} are expected")
            }
            Self::Length { bytes, needed } => write!(f, "packet too short: {bytes} bytes of {needed}"),
            Self::Version { received } => write!(f, "invalid version {received}"),
            Self::Type { received } => write!(f, "invalid packet type {received}"),
            Self::Family => f.write_str("address family does not fit the version"),
            Self::Checksum => f.write_str("invalid checksum"),
            Self::Vrid { received } => write!(f, "VRID {received} is not ours"),
            Self::NoAddresses => f.write_str("advertisement without addresses"),
            Self::OwnAddress => f.write_str("advertisement from our own source address"),
            Self::UnknownPeer => f.write_str("advertisement from a host that is not a unicast peer"),
            Self::AuthType { received } => {
                write!(f, "received an unexpected authentication type {received}")
            }
            Self::AuthSecret => f.write_str("received an invalid passwd"),
            Self::HmacMissing => f.write_str("missing authentication trailer"),
            Self::HmacMalformed => f.write_str("malformed authentication trailer"),
            Self::HmacStale { skew, window } => write!(
                f,
                "stale authentication trailer: its clock differs by {skew} s, allowed are {window} s"
            ),
            Self::HmacUnknownKey { key } => write!(f, "unknown authentication key {key}"),
            Self::HmacBad => f.write_str("invalid authentication HMAC"),
            Self::HmacReplay => f.write_str("replayed authentication trailer"),
            Self::IntervalZero => f.write_str("advertisement interval is zero"),
            Self::Interval { received, expected } => {
                write!(f, "advertisement interval mismatch: received {received}, expected {expected}")
            }
            Self::Stranger => f.write_str("advertisement from a host that is none of our directors"),
        }
    }
}

impl std::error::Error for Rejection {}
