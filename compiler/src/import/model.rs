//! What a director's configuration means: its instances, virtual servers and what they track, with
//! keepalived's defaults filled in, in the words of the cluster file. One director knows nothing of the
//! others here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::source::Spot;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// Keys of an object of the cluster file; a dot leads into a table. A default has the place of its object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft(pub(super) BTreeMap<String, At<Value>>);

impl Draft {
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>, spot: Spot) {
        self.0.insert(key.to_owned(), At { value: value.into(), spot });
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|at| &at.value)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<At<Value>> {
        self.0.remove(key)
    }

    /// Adds to the list below `key` what is not in it yet.
    pub(super) fn push_new(&mut self, key: &str, value: Value, spot: Spot) {
        let there = self.get(key).and_then(Value::as_array).is_some_and(|list| list.contains(&value));
        if !there {
            self.push(key, value, spot);
        }
    }

    /// Adds to the list below `key`.
    pub(super) fn push(&mut self, key: &str, value: Value, spot: Spot) {
        let entry = self.0.entry(key.to_owned());
        let at = entry.or_insert_with(|| At { value: Value::Array(Vec::new()), spot });
        if let Value::Array(list) = &mut at.value {
            list.push(value);
        }
    }
}

/// A virtual IP of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vip {
    pub(super) address: IpAddr,
    pub(super) prefix: Option<u8>,
    pub(super) interface: Option<String>,
    pub(super) label: Option<String>,
    pub(super) spot: Spot,
}

/// A `vrrp_instance`.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) spot: Spot,
    pub(super) interface: Option<At<String>>,
    pub(super) vrid: Option<At<u8>>,
    pub(super) priority: At<u8>,
    pub(super) vips: Vec<Vip>,
    pub(super) excluded: Vec<Vip>,
    pub(super) source: Option<At<IpAddr>>,
    pub(super) peers: Vec<At<IpAddr>>,
    /// Whether its addresses are IPv6 addresses.
    pub(super) v6: bool,
    pub(super) draft: Draft,
}

impl Instance {
    pub(super) const fn is_v6(&self) -> bool {
        self.v6
    }
}

/// A `vrrp_sync_group`.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) spot: Spot,
    pub(super) members: Vec<At<String>>,
    pub(super) draft: Draft,
}

/// A script, process, file or interface that is tracked.
#[derive(Debug, Clone)]
pub(super) struct Tracker {
    /// Its name, which no tracker of another kind has.
    pub(super) name: String,
    pub(super) spot: Spot,
    pub(super) weight: Option<i64>,
    pub(super) reverse: bool,
    /// Whether a check of a real server reads its file.
    pub(super) checked: bool,
    pub(super) draft: Draft,
}

/// Targets of a virtual server: packets that it balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A VIP and its port; without one all ports.
    Address(IpAddr, Option<u16>),
    /// Packets with a firewall mark.
    Mark(u32),
}

/// A `virtual_server`.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) spot: Spot,
    /// Name of its `virtual_server_group`.
    pub(super) group: Option<String>,
    pub(super) targets: Vec<Target>,
    pub(super) draft: Draft,
    pub(super) reals: Vec<Real>,
    pub(super) sorry: Option<At<(IpAddr, Option<u16>)>>,
    /// Lines above the real servers that say how they are checked.
    pub(super) times: Vec<Spot>,
}

/// A `real_server`.
#[derive(Debug, Clone)]
pub(super) struct Real {
    pub(super) spot: Spot,
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    /// The port as it is written, which only masquerade keeps.
    pub(super) written: Option<u16>,
    pub(super) draft: Draft,
    /// Lines of its own, above its checks, that say how it is checked.
    pub(super) times: Vec<Spot>,
    /// Its checks, as tables of the cluster file.
    pub(super) checks: Vec<At<Value>>,
}

/// A director's configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub(super) instances: Vec<Instance>,
    pub(super) groups: Vec<Group>,
    pub(super) trackers: Vec<Tracker>,
    pub(super) services: Vec<Service>,
    /// Keys of the cluster file that belong to no object.
    pub(super) cluster: Draft,
    /// `connection_sync`: its keys, and the instance that it follows.
    pub(super) sync: Option<(Draft, Option<String>, Spot)>,
}
