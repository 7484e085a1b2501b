//! What is ours: the record that survives a restart.
//!
//! IPVS entries carry no tag and old kernels drop the tag of an address, so ownership is written
//! down. The record is an upper bound: an entry is made *before* its object, so that a crash in
//! between leaves a name without an object, never an object without a name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diff::Diff;
use crate::model::{AddressKey, KernelState, RouteKey, ServiceKey};
use crate::op::Op;

/// Version of the record's file form.
pub const VERSION: u32 = 1;

/// How an object came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// We made it; `cleanup` removes it.
    Created,
    /// It was there when the plan first named it; `cleanup` leaves it.
    Adopted,
}

/// A setting that we changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlEntry {
    /// Value before our first write.
    pub original: String,
    /// Value that we wrote.
    pub ours: String,
}

/// What this host's daemon owns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Addresses, VIPs included.
    #[serde(with = "pairs")]
    pub addresses: BTreeMap<AddressKey, Origin>,
    /// Routes.
    #[serde(with = "pairs")]
    pub routes: BTreeMap<RouteKey, Origin>,
    /// IPVS services; destinations belong to their service.
    #[serde(with = "pairs")]
    pub services: BTreeMap<ServiceKey, Origin>,
    /// Settings.
    pub sysctls: BTreeMap<String, SysctlEntry>,
}

impl Ledger {
    /// The record to be on disk *before* `diff` is applied to `observed`: everything that is going
    /// to be made, everything wanted that is already there, and all that was ours before.
    #[must_use]
    pub fn before(&self, diff: &Diff, wanted: &KernelState, observed: &KernelState) -> Self {
        let mut next = self.clone();
        claim(&mut next.addresses, &wanted.addresses, &observed.addresses, |address| address.tagged);
        claim(&mut next.routes, &wanted.routes, &observed.routes, |route| route.tagged);
        claim(&mut next.services, &wanted.services, &observed.services, |_| false);
        for op in &diff.ops {
            if let Op::SetSysctl { key, value, from, restore: false } = op {
                next.sysctls
                    .entry(key.clone())
                    .and_modify(|entry| entry.ours.clone_from(value))
                    .or_insert_with(|| SysctlEntry { original: from.clone(), ours: value.clone() });
            }
        }
        next
    }

    /// The record once `observed` is what is left: names of unwanted objects that are gone are dropped.
    #[must_use]
    pub fn after(&self, wanted: &KernelState, observed: &KernelState) -> Self {
        let mut next = self.clone();
        next.addresses.retain(|k, _| wanted.addresses.contains_key(k) || observed.addresses.contains_key(k));
        next.routes.retain(|k, _| wanted.routes.contains_key(k) || observed.routes.contains_key(k));
        next.services.retain(|k, _| wanted.services.contains_key(k) || observed.services.contains_key(k));
        next.sysctls.retain(|k, entry| {
            wanted.sysctls.contains_key(k)
                || observed
                    .sysctls
                    .get(k)
                    .is_some_and(|now| *now == entry.ours && entry.ours != entry.original)
        });
        next
    }

    /// Whether nothing is ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn claim<K: Ord + Clone, V>(
    owned: &mut BTreeMap<K, Origin>,
    wanted: &BTreeMap<K, V>,
    observed: &BTreeMap<K, V>,
    tagged: impl Fn(&V) -> bool,
) {
    for key in wanted.keys() {
        let origin = match observed.get(key) {
            Some(value) if !tagged(value) => Origin::Adopted,
            Some(_) | None => Origin::Created,
        };
        owned.entry(key.clone()).or_insert(origin);
    }
}

/// JSON objects have text keys only, so maps with other keys are written as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
