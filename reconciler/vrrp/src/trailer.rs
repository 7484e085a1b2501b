//! The trailer that authenticates an advertisement: HMAC-SHA256 with a sequence, as keepalived 2.4 has it
//! (draft-cassen-vrrp-auth-hmac).
//!
//! Bytes, keys and arithmetic only. What was heard before, and what follows, is the router's.
//!
//! ```text
//!    +---------------+---------------+-------------------------------+
//!    |   Type (1)    |    Key id     |         Reserved (0)          |
//!    +---------------+---------------+-------------------------------+
//!    |                    Unix time, seconds                         |
//!    +-------------------------------+-------------------------------+
//!    |     Fraction, 1/65536 s       |           Counter             |
//!    +-------------------------------+-------------------------------+
//!    |            HMAC-SHA256, its first 16 bytes                    |
//!    +---------------------------------------------------------------+
//! ```
//!
//! Seconds, fraction and counter are one number of 64 bits, the sequence.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac as Mac, KeyInit, Mac as _};
use sha2::Sha256;

use crate::rejection::Rejection;
use crate::wire::CHECKSUM_AT;

/// Bytes of a trailer.
pub const TRAILER_BYTES: usize = 28;
/// Bytes of the HMAC in it.
const HMAC_BYTES: usize = 16;
/// Bytes before the HMAC.
const HEAD_BYTES: usize = TRAILER_BYTES - HMAC_BYTES;
/// HMAC-SHA256, cut to 16 bytes.
const TYPE_SHA256: u8 = 1;

/// Trailers of a virtual router: which are sent, and which are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// Keys by their number, 1 to 255.
    pub keys: BTreeMap<u8, HmacKey>,
    /// Number of the key that trailers are sent with.
    pub active: u8,
    /// Part that trailers play.
    pub mode: HmacMode,
    /// Protection against packets that were recorded.
    pub anti_replay: AntiReplay,
}

/// Part that trailers play. Each step from one to the next is safe once all directors have the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HmacMode {
    /// None is sent; one that is received must be right.
    ReceiveOnly,
    /// Each advertisement is sent with one; one that is received must be right.
    Permissive,
    /// Each advertisement is sent with one, and none is accepted without.
    Enforce,
}

/// Protection against packets that were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AntiReplay {
    /// The sequence grows, and its time is not further from ours than this, seconds.
    Time {
        /// 1 to 300.
        window: u16,
    },
    /// The sequence grows.
    Monotonic,
}

impl Hmac {
    /// Whether advertisements are sent with a trailer.
    #[must_use]
    pub const fn sends(&self) -> bool {
        matches!(self.mode, HmacMode::Permissive | HmacMode::Enforce)
    }
}

/// A key of 32 to 64 bytes. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey(Box<[u8]>);

/// Reason why a text is no key. It does not show the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Shorter than 32 bytes or longer than 64.
    Length(usize),
    /// `hex:` before something that is not pairs of hexadecimal digits.
    Hexadecimal,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => {
                write!(f, "has {bytes} bytes, must have {} to {}", HmacKey::MIN_BYTES, HmacKey::MAX_BYTES)
            }
            Self::Hexadecimal => f.write_str("begins with hex: and goes on with other than pairs of digits"),
        }
    }
}

impl std::error::Error for KeyError {}

impl HmacKey {
    /// Fewest bytes of a key.
    pub const MIN_BYTES: usize = 32;
    /// Most bytes of a key.
    pub const MAX_BYTES: usize = 64;

    /// A key of these bytes.
    ///
    /// # Errors
    /// When there are too few or too many.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes.into()))
        } else {
            Err(KeyError::Length(bytes.len()))
        }
    }

    /// A key as people write it: `hex:` and hexadecimal digits, or a text of which every byte counts.
    ///
    /// # Errors
    /// When it is no key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some(digits) = text.strip_prefix("hex:") else { return Self::new(text.as_bytes()) };
        let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        match bytes {
            Some(bytes) if odd.is_empty() => Self::new(&bytes),
            Some(_) | None => Err(KeyError::Hexadecimal),
        }
    }

    /// The bytes, for who has to keep them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The trailer of a message from `src`: the VRRP message without a trailer. Its checksum does not count.
    pub(crate) fn trailer(
        &self,
        id: u8,
        sequence: Sequence,
        src: IpAddr,
        message: &[u8],
    ) -> [u8; TRAILER_BYTES] {
        let mut trailer = [0; TRAILER_BYTES];
        trailer[0] = TYPE_SHA256;
        trailer[1] = id;
        trailer[4..HEAD_BYTES].copy_from_slice(&sequence.0.to_be_bytes());
        let digest = self.mac(src, message, &trailer[..HEAD_BYTES]).finalize().into_bytes();
        for (to, from) in trailer[HEAD_BYTES..].iter_mut().zip(digest) {
            *to = from;
        }
        trailer
    }

    /// All that is hashed: pseudo-header, message with a checksum of zero, head of the trailer, zeros in the
    /// place of the HMAC.
    fn mac(&self, src: IpAddr, message: &[u8], head: &[u8]) -> Mac<Sha256> {
        let mut mac: Mac<Sha256> = KeyInit::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        let [version, vrid] = [0, 1].map(|at| message.get(at).copied().unwrap_or(0));
        let mut address = [0; 16];
        let family = match src {
            IpAddr::V4(v4) => {
                address[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                address = v6.octets();
                6
            }
        };
        mac.update(&[family, version >> 4, vrid, 0]);
        mac.update(&address);
        let (before, rest) = message.split_at(CHECKSUM_AT.min(message.len()));
        mac.update(before);
        mac.update(&[0; 2]);
        mac.update(rest.get(2..).unwrap_or_default());
        mac.update(head);
        mac.update(&[0; HMAC_BYTES]);
        mac
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

/// Unix seconds, a fraction in 1/65536 s and a counter, which grow together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of a Unix time with a counter of zero. Seconds beyond 2106 wrap.
    #[must_use]
    pub fn from_unix(unix: Duration) -> Self {
        let fraction = (u64::from(unix.subsec_nanos()) << 16) / 1_000_000_000;
        Self(unix.as_secs() << 32 | fraction << 16)
    }

    /// The sequence of these 64 bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Serial number arithmetic (RFC 1982): whether this one comes after `other`.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Whole seconds by which this one lies before `unix`; negative when it lies after.
    #[must_use]
    pub fn seconds_before(self, unix: Duration) -> i32 {
        let [now, then] = [Self::from_unix(unix), self].map(|sequence| (sequence.0 >> 32) as u32);
        now.wrapping_sub(then).cast_signed()
    }

    /// Milliseconds by which this one lies before `unix`; negative when it lies after.
    #[must_use]
    pub fn millis_before(self, unix: Duration) -> i64 {
        let difference = Self::from_unix(unix).0.wrapping_sub(self.0).cast_signed();
        (difference >> 16) * 1000 / 65536
    }

    /// The next sequence of a sender: that of the clock, or one more than the last where the clock has not
    /// grown. With a window, a last one that is ahead of the clock by more is forgotten: the clock was set
    /// back, and nobody would accept what follows.
    #[must_use]
    pub fn next(last: Option<Self>, unix: Duration, anti_replay: AntiReplay) -> Self {
        let clock = Self::from_unix(unix);
        let Some(last) = last.filter(|last| !clock.is_after(*last)) else { return clock };
        match anti_replay {
            AntiReplay::Time { window } if last.seconds_before(unix) < -i32::from(window) => clock,
            AntiReplay::Time { .. } | AntiReplay::Monotonic => Self(last.0.wrapping_add(1)),
        }
    }
}

/// Finds a trailer right as far as it can be without knowing what was heard before. Type, reserved field and
/// time come before the hash, so that a flood of recorded packets costs none.
///
/// # Errors
/// The reason why it is not.
pub(crate) fn verify(
    hmac: &Hmac,
    message: &[u8],
    trailer: &[u8; TRAILER_BYTES],
    src: IpAddr,
    unix: Duration,
) -> Result<Sequence, Rejection> {
    let (head, signature) = trailer.split_at(HEAD_BYTES);
    let [kind, key, high, low, sequence @ ..] = trailer;
    let [a, b, c, d, e, f, g, h, ..] = *sequence;
    if (*kind, *high, *low) != (TYPE_SHA256, 0, 0) {
        return Err(Rejection::HmacMalformed);
    }
    let sequence = Sequence(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    if let AntiReplay::Time { window } = hmac.anti_replay {
        let skew = sequence.seconds_before(unix);
        if skew.unsigned_abs() > u32::from(window) {
            return Err(Rejection::HmacStale { skew, window });
        }
    }
    let found = hmac.keys.get(key).ok_or(Rejection::HmacUnknownKey { key: *key })?;
    // In constant time.
    match found.mac(src, message, head).verify_truncated_left(signature) {
        Ok(()) => Ok(sequence),
        Err(_) => Err(Rejection::HmacBad),
    }
}
