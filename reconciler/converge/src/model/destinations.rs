//! A destination of a service, and all its destinations as a table that is shared between those who have the
//! same one: what is wanted, what is found to be as wanted, and the operation that makes it. A table of a
//! hundred thousand destinations is then in memory once, and takes one block of it a service.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

use evenkeel_schemas::cluster::Forwarding;
use evenkeel_schemas::plan;
use serde::{Deserialize, Serialize};

/// Identity of a destination within its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DestinationKey {
    /// Address of the real server.
    pub address: IpAddr,
    /// Port of the real server.
    pub port: u16,
}

impl DestinationKey {
    /// The key of a plan's destination.
    #[must_use]
    pub const fn of(destination: &plan::Destination) -> Self {
        let port = match destination.port {
            Some(port) => port.get(),
            None => 0,
        };
        Self { address: destination.address.0, port }
    }
}

/// A destination's properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Forwarding method.
    pub forward: Forward,
    /// Weight.
    pub weight: u32,
    /// Upper connection threshold, 0 for none.
    pub upper_threshold: u32,
    /// Lower connection threshold, 0 for none.
    pub lower_threshold: u32,
    /// Encapsulation of tunnelled packets; [`Encapsulation::Ipip`] unless `forward` is [`Forward::Tunnel`].
    pub encapsulation: Encapsulation,
}

impl Destination {
    /// A destination without thresholds.
    #[must_use]
    pub const fn plain(forward: Forward, weight: u32) -> Self {
        Self { forward, weight, upper_threshold: 0, lower_threshold: 0, encapsulation: Encapsulation::Ipip }
    }
}

/// Encapsulation of tunnelled packets (`IP_VS_CONN_F_TUNNEL_TYPE_*`, `linux/ip_vs.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encapsulation {
    /// An outer IP header, nothing else.
    #[default]
    Ipip,
    /// UDP (Generic UDP Encapsulation).
    Gue {
        /// UDP port of the real server.
        port: u16,
        /// Checksum of the outer packet.
        checksum: GueChecksum,
    },
    /// GRE (RFC 2784).
    Gre {
        /// Whether there is a checksum.
        checksum: bool,
    },
}

/// Checksum of a GUE packet (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GueChecksum {
    /// None.
    #[default]
    None,
    /// In the UDP header.
    Udp,
    /// Of the inner packet, left to the real server (remote checksum offload).
    Remote,
}

/// Forwarding method as the kernel knows it (`IP_VS_CONN_F_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Masquerading.
    Masquerade,
    /// Local node.
    Local,
    /// Tunnelling.
    Tunnel,
    /// Direct routing.
    DirectRoute,
    /// Bypass.
    Bypass,
}

impl From<Forwarding> for Forward {
    fn from(forwarding: Forwarding) -> Self {
        match forwarding {
            Forwarding::Dr => Self::DirectRoute,
            Forwarding::Tun => Self::Tunnel,
            Forwarding::Nat => Self::Masquerade,
        }
    }
}

impl From<&plan::Encapsulation> for Encapsulation {
    fn from(encapsulation: &plan::Encapsulation) -> Self {
        match *encapsulation {
            plan::Encapsulation::Ipip {} => Self::Ipip,
            plan::Encapsulation::Gue { port, checksum } => Self::Gue {
                port: port.get(),
                checksum: match checksum {
                    plan::GueChecksum::None => GueChecksum::None,
                    plan::GueChecksum::Udp => GueChecksum::Udp,
                    plan::GueChecksum::Remote => GueChecksum::Remote,
                },
            },
            plan::Encapsulation::Gre { checksum } => Self::Gre { checksum },
        }
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_endpoint(f, self.address, self.port)
    }
}

pub(super) fn write_endpoint(f: &mut fmt::Formatter<'_>, address: IpAddr, port: u16) -> fmt::Result {
    match address {
        IpAddr::V4(v4) => write!(f, "{v4}:{port}"),
        IpAddr::V6(v6) => write!(f, "[{v6}]:{port}"),
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Masquerade => "Masq",
            Self::Local => "Local",
            Self::Tunnel => "Tunnel",
            Self::DirectRoute => "Route",
            Self::Bypass => "Bypass",
        })
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gue { port, checksum } => {
                let checksum = match checksum {
                    GueChecksum::None => "",
                    GueChecksum::Udp => " with checksum",
                    GueChecksum::Remote => " with remote checksum",
                };
                write!(f, "gue port {port}{checksum}")
            }
            Self::Gre { checksum } => f.write_str(if *checksum { "gre with checksum" } else { "gre" }),
        }
    }
}

type Entry = (DestinationKey, Destination);

/// Destinations, sorted by key. Who changes them gets a copy of its own, so changing them one by one is for
/// few.
#[derive(Debug, Clone, Default, Eq)]
pub struct Destinations(Option<Arc<[Entry]>>);

impl Destinations {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// A table of these destinations, in any order; of several with the same key the last.
    #[must_use]
    pub fn from_entries(entries: &mut Vec<Entry>) -> Self {
        Self::sharing(entries, None)
    }

    /// [`Self::from_entries`], or `like` itself when it is the same.
    #[must_use]
    pub fn sharing(entries: &mut Vec<Entry>, like: Option<&Self>) -> Self {
        if !entries.is_sorted_by(|(one, _), (next, _)| one < next) {
            entries.sort_by_key(|(key, _)| *key);
            entries.reverse();
            entries.dedup_by_key(|(key, _)| *key);
            entries.reverse();
        }
        let same = like.filter(|like| like.entries() == entries.as_slice());
        same.cloned().unwrap_or_else(|| Self::sorted(entries))
    }

    fn sorted(entries: &[Entry]) -> Self {
        Self((!entries.is_empty()).then(|| entries.into()))
    }

    /// Whether both are one in memory, which makes them equal.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_deref().unwrap_or_default()
    }

    fn place(&self, key: &DestinationKey) -> Result<usize, usize> {
        self.entries().binary_search_by_key(key, |(key, _)| *key)
    }

    /// Number of destinations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The one with this key.
    #[must_use]
    pub fn get(&self, key: &DestinationKey) -> Option<&Destination> {
        let at = self.place(key).ok()?;
        self.entries().get(at).map(|(_, value)| value)
    }

    /// Whether there is one with this key.
    #[must_use]
    pub fn contains_key(&self, key: &DestinationKey) -> bool {
        self.place(key).is_ok()
    }

    /// All, by key.
    pub fn iter(&self) -> Entries<'_> {
        self.entries().iter().map(|(key, value)| (key, value))
    }

    /// Their keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &DestinationKey> {
        self.entries().iter().map(|(key, _)| key)
    }

    /// Their properties, by key.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Destination> {
        self.entries().iter().map(|(_, value)| value)
    }

    /// Their properties, by key, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Destination> {
        let entries = self.0.as_mut().map(Arc::make_mut).unwrap_or_default();
        entries.iter_mut().map(|(_, value)| value)
    }

    /// The one with this key, to be changed.
    pub fn get_mut(&mut self, key: &DestinationKey) -> Option<&mut Destination> {
        let at = self.place(key).ok()?;
        Arc::make_mut(self.0.as_mut()?).get_mut(at).map(|(_, value)| value)
    }

    /// Adds a destination, or replaces its properties; returns those before.
    pub fn insert(&mut self, key: DestinationKey, value: Destination) -> Option<Destination> {
        match self.place(&key) {
            Ok(_) => self.get_mut(&key).map(|before| std::mem::replace(before, value)),
            Err(at) => {
                let mut entries = self.entries().to_vec();
                entries.insert(at, (key, value));
                *self = Self::sorted(&entries);
                None
            }
        }
    }

    /// Removes a destination; returns its properties.
    pub fn remove(&mut self, key: &DestinationKey) -> Option<Destination> {
        let at = self.place(key).ok()?;
        let mut entries = self.entries().to_vec();
        let (_, value) = entries.remove(at);
        *self = Self::sorted(&entries);
        Some(value)
    }
}

/// Destinations by key.
pub type Entries<'a> =
    std::iter::Map<slice::Iter<'a, Entry>, fn(&'a Entry) -> (&'a DestinationKey, &'a Destination)>;

impl Index<&DestinationKey> for Destinations {
    type Output = Destination;

    /// # Panics
    /// When there is none with this key.
    fn index(&self, key: &DestinationKey) -> &Destination {
        self.get(key).expect("no such destination")
    }
}

impl PartialEq for Destinations {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.entries() == other.entries()
    }
}

impl From<BTreeMap<DestinationKey, Destination>> for Destinations {
    fn from(map: BTreeMap<DestinationKey, Destination>) -> Self {
        map.into_iter().collect()
    }
}

impl FromIterator<Entry> for Destinations {
    fn from_iter<I: IntoIterator<Item = Entry>>(all: I) -> Self {
        Self::from_entries(&mut all.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Destinations {
    type Item = (&'a DestinationKey, &'a Destination);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Forward;

    fn some(count: u8) -> Destinations {
        let one = |n| {
            let key = DestinationKey { address: Ipv4Addr::new(192, 0, 2, n).into(), port: 80 };
            (key, Destination::plain(Forward::DirectRoute, u32::from(n)))
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn equal_tables_are_in_memory_once_and_a_change_makes_a_copy() {
        let wanted = some(3);
        let mut found: Vec<_> = some(3).iter().map(|(key, value)| (*key, *value)).collect();
        let mut same = Destinations::sharing(&mut found, Some(&wanted));
        assert!(same.is_shared_with(&wanted));
        found.reverse();
        assert!(Destinations::sharing(&mut found, Some(&wanted)).is_shared_with(&wanted), "in any order");
        for value in same.values_mut() {
            value.weight = 7;
        }
        assert!(!same.is_shared_with(&wanted) && same != wanted && wanted == some(3));
        assert!(!Destinations::sharing(&mut found, Some(&same)).is_shared_with(&same));
        assert_eq!(Destinations::sharing(&mut found, None), wanted);
        found.pop();
        assert_eq!(Destinations::sharing(&mut found, Some(&wanted)), some(2));
    }

    #[test]
    fn empty_tables_are_equal_however_they_became_empty() {
        let mut emptied = some(1);
        let key = *emptied.keys().next().expect("one");
        assert!(emptied.remove(&key).is_some() && emptied.remove(&key).is_none());
        assert!(emptied.is_empty() && emptied == Destinations::new() && some(0) == emptied);
        assert!(some(0).is_shared_with(&Destinations::default()));
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec((0..8_u8, 0..3_u32, 0..3_u8), 0..40)) {
            let (mut map, mut ours) = (BTreeMap::new(), Destinations::new());
            let mut all = Vec::new();
            for (n, weight, what) in steps {
                let key = DestinationKey { address: Ipv4Addr::new(192, 0, 2, n).into(), port: 80 };
                let value = Destination::plain(Forward::DirectRoute, weight);
                match what {
                    0 => prop_assert_eq!(ours.remove(&key), map.remove(&key)),
                    1 => {
                        if let (Some(ours), Some(theirs)) = (ours.get_mut(&key), map.get_mut(&key)) {
                            (*ours, *theirs) = (value, value);
                        }
                    }
                    _ => prop_assert_eq!(ours.insert(key, value), map.insert(key, value)),
                }
                all.push((key, value));
                prop_assert!(
                    ours.iter().eq(&map) && ours.keys().eq(map.keys()) && ours.values().eq(map.values())
                );
                prop_assert_eq!((ours.len(), ours.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(
                    (ours.get(&key), ours.contains_key(&key)),
                    (map.get(&key), map.contains_key(&key))
                );
                prop_assert_eq!(&ours, &Destinations::from(map.clone()));
            }
            prop_assert_eq!(Destinations::from_entries(&mut all.clone()), BTreeMap::from_iter(all).into());
        }
    }
}
