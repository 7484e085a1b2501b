//! Addresses and networks as scalars.
//!
//! Their text forms and prefix arithmetic; which of them may stand where is the compiler's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ScalarError;

/// An IPv4 or IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ip(pub IpAddr);

impl FromStr for Ip {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        text.parse().map(Self).map_err(|_| {
            ScalarError::new(format!(
                "\"{}\" is not an IP address, such as \"192.168.188.120\" or \"2001:db8::1\"",
                text.escape_debug()
            ))
        })
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The standard library formats number by number, and a plan has a hundred thousand of them.
            IpAddr::V4(address) => {
                let mut text = [0; V4_MAX];
                let length = dotted(address, &mut text);
                f.pad(std::str::from_utf8(&text[..length]).unwrap_or_default())
            }
            IpAddr::V6(address) => address.fmt(f),
        }
    }
}

/// Bytes of the longest IPv4 address.
const V4_MAX: usize = "255.255.255.255".len();

/// Writes an address, and returns how long it is.
fn dotted(address: Ipv4Addr, text: &mut [u8; V4_MAX]) -> usize {
    let mut length = 0;
    let mut put = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    length
}

text_scalar!(
    Ip,
    "Ip",
    json_schema!({ "type": "string", "format": "ip", "description": "IPv4 or IPv6 address" })
);

/// An address with a prefix length, host bits kept: `192.168.188.120/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Checks the prefix length.
    ///
    /// # Errors
    /// When `prefix` is over 32 (IPv4) or 128 (IPv6).
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, ScalarError> {
        if prefix > width(address) {
            return Err(ScalarError::new(format!(
                "/{prefix} is not a prefix length of {address} (0..={})",
                width(address)
            )));
        }
        Ok(Self { address, prefix })
    }

    /// The single address: /32 or /128.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }

    /// The address, host bits included.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Prefix length, 0..=32 or 0..=128.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address of the network.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(self.prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask6(self.prefix))),
        }
    }

    /// The all-ones address of an IPv4 network that has one (prefix below 31).
    #[must_use]
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(v4) if self.prefix < 31 => {
                Some(Ipv4Addr::from_bits(v4.to_bits() | !mask4(self.prefix)))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    /// Whether `address` is of the same family and inside the network.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask4(self.prefix) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask6(self.prefix) == 0,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let bad = || {
            ScalarError::new(format!(
                "\"{}\" is not a network in CIDR form, such as \"192.168.188.0/24\"",
                text.escape_debug()
            ))
        };
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        if !plain {
            return Err(bad());
        }
        Self::new(address.parse().map_err(|_| bad())?, prefix.parse().map_err(|_| bad())?)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

text_scalar!(
    Cidr,
    "Cidr",
    json_schema!({ "type": "string", "format": "cidr", "description": "Address with a prefix length" })
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let address = Ipv4Addr::new(octet, 255 - octet, 0, octet / 3);
            let ours = Ip(IpAddr::V4(address));
            assert_eq!(ours.to_string(), address.to_string());
            assert_eq!(format!("{ours:<18}|{ours:>18}"), format!("{address:<18}|{address:>18}"));
        }
        let v6: Ip = "2001:db8::1".parse().expect("an address");
        assert_eq!(format!("{v6:>20}"), "         2001:db8::1");
    }

    #[test]
    fn networks_contain_by_prefix() {
        let net: Cidr = "192.168.188.7/24".parse().expect("cidr");
        assert!(net.contains("192.168.188.120".parse().expect("ip")));
        assert!(!net.contains("192.168.189.1".parse().expect("ip")));
        assert!(!net.contains("::1".parse().expect("ip")));
        assert_eq!(net.network().to_string(), "192.168.188.0");
        assert_eq!(net.broadcast().map(|b| b.to_string()).as_deref(), Some("192.168.188.255"));
        assert!("0.0.0.0/0".parse::<Cidr>().expect("any").contains("8.8.8.8".parse().expect("ip")));
        for bad in ["1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+1", "::/129", "x/1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
