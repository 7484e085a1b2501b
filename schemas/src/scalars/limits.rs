//! Numbers and short texts of services and trackers, with their ranges.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Port, ScalarError};

number_scalar!(
    /// Netfilter's mark of packets (`ipvsadm -f`); 0 is "no mark".
    FirewallMark(u32), "FirewallMark", 1..=4294967295, "a firewall mark"
);
impl FirewallMark {
    /// The lowest mark of checks that go through IPVS, unless a cluster file says another.
    pub const FIRST_OF_CHECKS: Self = Self(0x4556_0000);
    /// The highest one.
    pub const LAST_OF_CHECKS: Self = Self(0x4556_FFFF);
}

number_scalar!(
    /// Number of connections at which IPVS stops or resumes sending (`ipvsadm -x`, `-y`).
    ConnectionLimit(u32), "ConnectionLimit", 1..=4294967295, "a number of connections"
);
number_scalar!(
    /// What a tracker adds to a priority (keepalived's range).
    TrackWeight(i16), "TrackWeight", -253..=253, "a weight of a tracker"
);
number_scalar!(
    /// Amount by which a priority is lowered; 0 leaves it.
    PriorityDrop(u8), "PriorityDrop", 0..=253, "what a priority is lowered by"
);
number_scalar!(
    /// Share of a whole.
    Percent(u8), "Percent", 1..=100, "a percentage"
);
number_scalar!(
    /// Identity of a connection synchronisation group (`ipvsadm --syncid`).
    SyncId(u8), "SyncId", 0..=255, "a synchronisation identity"
);
number_scalar!(
    /// Routing table (rtnetlink(7)); 254 is `main`, 255 `local`.
    RouteTable(u32), "RouteTable", 1..=4294967295, "a routing table"
);

impl PriorityDrop {
    /// The same as the weight of a tracker that fails.
    #[must_use]
    pub const fn as_weight(self) -> TrackWeight {
        TrackWeight(-(self.0 as i16))
    }
}

/// A port or a range of ports, as text: `"8080"` or `"8000-8010"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// Most ports that one range may have: each becomes a virtual server of its own.
    pub const MAX_PORTS: u16 = 1024;

    /// From the first to the last; none when it ends before it begins, or has more than [`Self::MAX_PORTS`].
    #[must_use]
    pub const fn new(first: Port, last: Port) -> Option<Self> {
        let whole = first.get() <= last.get() && last.get() - first.get() < Self::MAX_PORTS;
        if whole { Some(Self { first, last }) } else { None }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// Every port of it, ascending.
    pub fn ports(self) -> impl Iterator<Item = Port> {
        (self.first.get()..=self.last.get()).filter_map(|port| Port::new(port).ok())
    }
}

impl FromStr for PortRange {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let bad = || {
            ScalarError::new(format!(
                "\"{}\" is not a range of ports, such as \"8000-8010\" or \"8080\"",
                text.escape_debug()
            ))
        };
        let port = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = plain.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(bad)?;
            Port::new(number).map_err(|_| bad())
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(ScalarError::new(format!("\"{text}\" ends before it begins")));
        }
        if last.get() - first.get() >= Self::MAX_PORTS {
            return Err(ScalarError::new(format!(
                "\"{text}\" has more than {} ports: use a firewall mark",
                Self::MAX_PORTS
            )));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

text_scalar!(
    PortRange,
    "PortRange",
    json_schema!({ "type": "string", "format": "port-range", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" })
);

/// Part of a service's real servers, as text: a number, `"2"`, or a share, `"50%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// So many.
    Number(u16),
    /// So many hundredths, 1 to 100.
    Percent(u8),
}

impl Part {
    /// The number that it is of a whole: a share is rounded up, and no number is larger than the whole.
    #[must_use]
    pub fn of(self, whole: usize) -> usize {
        match self {
            Self::Number(number) => usize::from(number).min(whole),
            Self::Percent(percent) => whole.saturating_mul(usize::from(percent)).div_ceil(100).min(whole),
        }
    }
}

impl FromStr for Part {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
            plain.then(|| text.parse::<u16>().ok()).flatten()
        };
        let part = match text.strip_suffix('%') {
            Some(share) => number(share)
                .and_then(|share| u8::try_from(share).ok())
                .filter(|share| *share <= 100)
                .map(Self::Percent),
            None => number(text).map(Self::Number),
        };
        part.ok_or_else(|| {
            ScalarError::new(format!(
                "\"{}\" is neither a number, such as \"2\", nor a share, such as \"50%\"",
                text.escape_debug()
            ))
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

text_scalar!(
    Part,
    "Part",
    json_schema!({ "type": "string", "format": "part", "pattern": "^[1-9][0-9]{0,4}%?$" })
);

/// Label of an address (`ip address … label`): 1 to 15 visible characters, `IFNAMSIZ` less the
/// terminator. Tools of old show it as an interface, so it begins with the interface's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressLabel(String);

impl AddressLabel {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AddressLabel {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScalarError::new(format!(
                "\"{}\" is not an address label: 1 to 15 visible characters, such as \"eth0:1\"",
                text.escape_debug()
            )))
        }
    }
}

impl fmt::Display for AddressLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_scalar!(AddressLabel, "AddressLabel", json_schema!({ "type": "string", "pattern": "^[!-~]{1,15}$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges_are_ordered_and_bounded() {
        let range: PortRange = "8000-8010".parse().expect("range");
        assert_eq!((range.ports().count(), range.to_string().as_str()), (11, "8000-8010"));
        assert_eq!("80".parse::<PortRange>().expect("one").to_string(), "80");
        assert_eq!("80-80".parse::<PortRange>().expect("one").to_string(), "80");
        assert!("1-1024".parse::<PortRange>().is_ok());
        for bad in ["", "-", "0", "1-1025", "9-8", "80-", "-80", "1-2-3", "70000", "+1", "8 - 9"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tracker_weights_may_be_negative() {
        assert_eq!(TrackWeight::new(-253).map(TrackWeight::get), Ok(-253));
        assert!(TrackWeight::new(254).is_err() && TrackWeight::new(-254).is_err());
    }
}
