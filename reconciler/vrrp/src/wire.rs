//! The fields of an advertisement: version, password, authentication, interval, checksum.
//!
//! Values with their units and words. Where they stand in a packet is `packet`'s, why one is discarded
//! `rejection`'s.

use std::fmt;

use evenkeel_schemas::scalars::AdvertInterval;

/// Offset of the checksum, bytes, both versions.
pub(crate) const CHECKSUM_AT: usize = 6;
/// Bytes of authentication data, version 2. Present even without authentication (RFC 3768 §5.3.10).
pub(crate) const AUTH_BYTES: usize = 8;
/// "No authentication" (RFC 3768 §5.3.6).
pub(crate) const AUTH_NONE: u8 = 0;
/// "Simple text password" (RFC 2338 §5.3.6).
pub(crate) const AUTH_PASS: u8 = 1;

/// Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768. IPv4 only, intervals in whole seconds.
    V2,
    /// RFC 9568 (and RFC 5798 before it). Intervals in centiseconds.
    V3,
}

impl Version {
    /// The version with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            0 | 1 | 4..=u8::MAX => None,
        }
    }

    /// 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// A simple text password as it stands on the wire: eight bytes, zero-padded (RFC 2338 §5.3.10).
/// Its `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub(crate) [u8; AUTH_BYTES]);

impl Secret {
    /// The first eight bytes of `text`, zero-padded: what keepalived makes of a password.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut bytes = [0; AUTH_BYTES];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// The eight bytes of the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; AUTH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The eight bytes of the wire, for who has to keep them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; AUTH_BYTES] {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Authentication of a version 2 advertisement. Version 3 has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1.
    Pass(Secret),
}

impl Auth {
    /// The type field.
    pub(crate) const fn wire_type(self) -> u8 {
        match self {
            Self::None => AUTH_NONE,
            Self::Pass(_) => AUTH_PASS,
        }
    }
}

/// The interval field of an advertisement, in centiseconds. Unlike [`AdvertInterval`] it holds what
/// others may send: zero, and in version 2 up to 255 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireInterval {
    centis: u16,
}

impl WireInterval {
    /// Version 2's field, in seconds.
    #[must_use]
    pub const fn from_secs(secs: u8) -> Self {
        Self { centis: secs as u16 * 100 }
    }

    /// Version 3's field, in centiseconds; only the low twelve bits exist.
    #[must_use]
    pub const fn from_centis(centis: u16) -> Self {
        Self { centis: centis & 0x0fff }
    }

    /// Centiseconds, 0..=25500.
    #[must_use]
    pub const fn as_centis(self) -> u16 {
        self.centis
    }

    /// As a usable interval: not zero, and not over 40.95 s.
    #[must_use]
    pub fn to_interval(self) -> Option<AdvertInterval> {
        AdvertInterval::from_centis(self.centis).ok()
    }
}

impl From<AdvertInterval> for WireInterval {
    fn from(interval: AdvertInterval) -> Self {
        Self { centis: interval.as_centis() }
    }
}

impl fmt::Display for WireInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}s", self.centis / 100, self.centis % 100)
    }
}

/// Data that the checksum of a sent version 3 advertisement over IPv4 covers. Received ones may have either.
/// Version 2 never has a pseudo-header, IPv6 always has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Pseudo-header and message: RFC 5798 as keepalived reads it, and its default.
    #[default]
    WithPseudoHeader,
    /// The message alone (RFC 9568 §5.2.8; keepalived's `v3_checksum_as_v2`).
    Without,
}
