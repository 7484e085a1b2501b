//! Scalars with a unit and a range, checked when they are parsed.
//!
//! Each type knows its text form and its JSON Schema. Nothing here knows of other objects.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// Why a text or a number is not a value of a scalar type. A full sentence fragment for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalarError(String);

impl ScalarError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ScalarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScalarError {}

/// Text scalars: `FromStr` and `Display` are the single source of the serialised form.
macro_rules! text_scalar {
    ($type:ty, $name:literal, $schema:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::scalars::TextVisitor(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// Parses a text where it stands.
struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = ScalarError>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

mod net;

pub use net::{Cidr, Ip};

/// Whole-number scalars with an inclusive range.
macro_rules! number_scalar {
    (
        $(#[$doc:meta])* $type:ident($raw:ty),
        $name:literal, $min:literal..=$max:literal, $description:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type($raw);

        impl $type {
            /// Smallest value.
            pub const MIN: $raw = $min;
            /// Largest value.
            pub const MAX: $raw = $max;

            /// Checks the range.
            ///
            /// # Errors
            /// When `value` is outside `MIN..=MAX`.
            pub fn new(value: $raw) -> Result<Self, ScalarError> {
                Self::from_i64(i64::from(value))
            }

            fn from_i64(value: i64) -> Result<Self, ScalarError> {
                match <$raw>::try_from(value) {
                    Ok(raw) if (Self::MIN..=Self::MAX).contains(&raw) => Ok(Self(raw)),
                    _ => Err(ScalarError::new(format!(
                        concat!("{} is not ", $description, " ({}..={})"),
                        value, Self::MIN, Self::MAX
                    ))),
                }
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::from_i64(i64::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": Self::MIN, "maximum": Self::MAX })
            }
        }
    };
}

number_scalar!(
    /// Virtual router identifier (RFC 9568 §5.2.3). Unique per segment and address family.
    Vrid(u8), "Vrid", 1..=255, "a VRID"
);
number_scalar!(
    /// Priority of a virtual router (RFC 9568 §5.2.4). 255 is the owner; 0 is not a setting: it
    /// means "the Master leaves" and exists on the wire only.
    Priority(u8), "Priority", 1..=255, "a priority"
);
number_scalar!(
    /// Transport port.
    Port(u16), "Port", 1..=65535, "a port"
);
number_scalar!(
    /// Weight of a destination (`ipvsadm -w`); 0 takes no new connections.
    Weight(u16), "Weight", 0..=65535, "a weight"
);
number_scalar!(
    /// How many times a failed check is tried again before its verdict changes.
    Retries(u8), "Retries", 0..=100, "a number of retries"
);
number_scalar!(
    /// How many successes in a row make a failed target healthy again.
    Rise(u8), "Rise", 1..=100, "a number of successes"
);
number_scalar!(
    /// Days before a certificate expires.
    Days(u16), "Days", 1..=365, "a number of days"
);

mod limits;

pub use limits::{
    AddressLabel, ConnectionLimit, FirewallMark, Part, Percent, PortRange, PriorityDrop, RouteTable, SyncId,
    TrackWeight,
};

impl Priority {
    /// The address owner's priority.
    pub const OWNER: Self = Self(255);
}

impl Weight {
    /// The kernel's and ipvsadm's default.
    pub const ONE: Self = Self(1);
}

impl Rise {
    /// The first success counts.
    pub const ONE: Self = Self(1);
}

impl Default for Rise {
    fn default() -> Self {
        Self::ONE
    }
}

impl Retries {
    /// keepalived's default.
    pub const ONE: Self = Self(1);
}

/// A length of time, written as a whole number with a unit: `500ms`, `5s`, `2m`, `1h`.
/// Resolution 1 ms, at most 24 h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u32);

impl Span {
    /// Longest span, 24 h in milliseconds.
    pub const MAX_MILLIS: u32 = 24 * 3600 * 1000;
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds.
    ///
    /// # Panics
    /// At compile time or in tests only: when over 24 h.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        assert!(secs <= Self::MAX_MILLIS / 1000, "over 24 h");
        Self(secs * 1000)
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// Most digits of a span's text.
const SPAN_DIGITS: usize = 9;

impl FromStr for Span {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        // No more than the pattern of the schema: leading zeros, otherwise.
        let digits = if digits > SPAN_DIGITS { 0 } else { digits };
        let (number, unit) = text.split_at(digits);
        let bad = || {
            ScalarError::new(format!(
                "\"{}\" is not a duration: write a whole number and a unit, such \
                as \"500ms\", \"5s\", \"2m\" or \"1h\"",
                text.escape_debug()
            ))
        };
        let scale: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        match number.checked_mul(scale).and_then(|millis| u32::try_from(millis).ok()) {
            Some(millis) if millis <= Self::MAX_MILLIS => Ok(Self(millis)),
            _ => Err(ScalarError::new(format!("\"{text}\" is longer than 24h"))),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            0 => (0, "s"),
            millis if millis % 3_600_000 == 0 => (millis / 3_600_000, "h"),
            millis if millis % 60_000 == 0 => (millis / 60_000, "m"),
            millis if millis % 1000 == 0 => (millis / 1000, "s"),
            millis => (millis, "ms"),
        };
        write!(f, "{number}{unit}")
    }
}

text_scalar!(
    Span,
    "Span",
    json_schema!({ "type": "string", "format": "span", "pattern": "^[0-9]{1,9}(ms|s|m|h)$" })
);

/// Time between two advertisements, in centiseconds (RFC 9568 §5.2.7): 10 ms to 40.95 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvertInterval(u16);

impl AdvertInterval {
    /// Largest value of the 12-bit field.
    pub const MAX_CENTIS: u16 = 4095;
    /// The default of every VRRP version.
    pub const ONE_SECOND: Self = Self(100);

    /// Checks the range.
    ///
    /// # Errors
    /// When `centis` is outside 1..=4095.
    pub fn from_centis(centis: u16) -> Result<Self, ScalarError> {
        if (1..=Self::MAX_CENTIS).contains(&centis) {
            Ok(Self(centis))
        } else {
            Err(ScalarError::new(format!(
                "{}ms is not an advertisement interval (10ms to 40950ms)",
                u32::from(centis) * 10
            )))
        }
    }

    /// Centiseconds, 1..=4095.
    #[must_use]
    pub const fn as_centis(self) -> u16 {
        self.0
    }

    /// Whole seconds, when it is a whole number of them: all that VRRP version 2 can express.
    #[must_use]
    pub const fn as_whole_secs(self) -> Option<u8> {
        // 40 s at most, so it fits.
        if self.0.is_multiple_of(100) { Some((self.0 / 100) as u8) } else { None }
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

impl FromStr for AdvertInterval {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let millis = text.parse::<Span>()?.as_millis();
        if millis % 10 != 0 {
            return Err(ScalarError::new(format!(
                "\"{text}\" is not a multiple of 10ms, the unit of an advertisement interval"
            )));
        }
        u16::try_from(millis / 10).ok().and_then(|centis| Self::from_centis(centis).ok()).ok_or_else(|| {
            ScalarError::new(format!("\"{text}\" is not an advertisement interval (10ms to 40950ms)"))
        })
    }
}

impl fmt::Display for AdvertInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(u32::from(self.0) * 10).fmt(f)
    }
}

text_scalar!(
    AdvertInterval,
    "AdvertInterval",
    json_schema!({ "type": "string", "format": "advert-interval", "pattern": "^[0-9]{1,9}(ms|s|m|h)$" })
);

/// Longest object name.
pub const NAME_MAX: usize = 63;

/// The pattern of an object's name in the JSON Schemas.
pub const NAME_PATTERN: &str = "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";

/// Name of a cluster, host, segment, router or service: 1 to 63 of `A-Z a-z 0-9 _ . -`, letter or
/// digit at both ends. It becomes part of file names, so it holds no slash and never starts with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let ok = bytes.len() <= NAME_MAX
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(ScalarError::new(format!(
                "\"{}\" is not a name: 1 to {NAME_MAX} letters, digits, '_', '.' or '-', with a letter or \
                digit at both ends",
                text.escape_debug()
            )))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

text_scalar!(Name, "Name", json_schema!({ "type": "string", "pattern": NAME_PATTERN }));

/// Name of a network interface: 1 to 15 bytes (`IFNAMSIZ` less the terminator), no slash, no
/// space, no colon, not `.` or `..` (kernel's `dev_valid_name`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The loopback interface.
    #[must_use]
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }
}

impl FromStr for InterfaceName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let ok = (1..=15).contains(&text.len())
            && text != "."
            && text != ".."
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScalarError::new(format!(
                "\"{}\" is not an interface name: 1 to 15 visible characters without '/' and ':'",
                text.escape_debug()
            )))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_scalar!(
    InterfaceName,
    "InterfaceName",
    json_schema!({ "type": "string", "pattern": "^[!-.0-9;-~]{1,15}$" })
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_canonical_form() {
        for (text, canonical) in
            [("0s", "0s"), ("1000ms", "1s"), ("1500ms", "1500ms"), ("120s", "2m"), ("60m", "1h")]
        {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.to_string(), canonical);
            assert_eq!(canonical.parse::<Span>(), Ok(span));
        }
        for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "25h", "99999999999999999999s", "5µs"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn advert_intervals_are_ten_millis_to_forty_seconds() {
        for ok in ["10ms", "1s", "40950ms"] {
            assert!(ok.parse::<AdvertInterval>().is_ok(), "{ok}");
        }
        for bad in ["0s", "5ms", "15ms", "40960ms", "41s", "1h"] {
            assert!(bad.parse::<AdvertInterval>().is_err(), "{bad}");
        }
        assert_eq!("2s".parse::<AdvertInterval>().expect("2s").as_whole_secs(), Some(2));
        assert_eq!("250ms".parse::<AdvertInterval>().expect("250ms").as_whole_secs(), None);
    }

    #[test]
    fn names_are_safe_in_file_names() {
        for ok in ["a", "dir1", "VI_1", "a.b-c", "0"] {
            assert!(ok.parse::<Name>().is_ok(), "{ok}");
        }
        let long = "a".repeat(64);
        for bad in ["", ".", "..", "a/b", "-a", "a-", "a b", "é", long.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
