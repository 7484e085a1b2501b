//! What is ours: the record that survives a restart.
//!
//! IPVS entries carry no tag and old kernels drop the tag of an address, so ownership is written
//! down. The record is an upper bound: an entry is made *before* its object, so that a crash in
//! between leaves a name without an object, never an object without a name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::model::{
    AddressKey, GuePort, KernelState, Kind, Link, LinkKind, Route, RouteKey, ServiceKey, SyncRole, Timeouts,
    Unwrap, pairs,
};

/// Version of the record's file form.
pub const VERSION: u32 = 1;

/// Origin of an object of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// We made it; `cleanup` removes it.
    Created,
    /// The object was there when the plan first named it; `cleanup` leaves it.
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

/// The time-outs of IPVS, which we changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsEntry {
    /// Before our first write.
    pub original: Timeouts,
    /// Values that we wrote.
    pub ours: Timeouts,
}

/// Objects that this host's daemon owns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Interfaces by name.
    pub links: BTreeMap<String, Origin>,
    /// Ports at which GUE is unwrapped.
    #[serde(with = "pairs")]
    pub gue: BTreeMap<GuePort, Origin>,
    /// Addresses, VIPs included.
    #[serde(with = "pairs")]
    pub addresses: BTreeMap<AddressKey, Origin>,
    /// Routes that are always present. Those of the election are known by their tag alone, and so are
    /// all rules: the kernel has both from the start.
    #[serde(with = "pairs")]
    pub routes: BTreeMap<RouteKey, Origin>,
    /// IPVS services; destinations belong to their service.
    #[serde(with = "pairs")]
    pub services: BTreeMap<ServiceKey, Origin>,
    /// Time-outs of IPVS.
    pub timeouts: Option<TimeoutsEntry>,
    /// Daemons that synchronise connections.
    #[serde(with = "pairs")]
    pub sync_daemons: BTreeMap<SyncRole, Origin>,
    /// Settings.
    pub sysctls: BTreeMap<String, SysctlEntry>,
    /// Settings that the kernel changed along with [`IP_FORWARD`], with their values before.
    pub beside_forwarding: BTreeMap<String, String>,
}

impl TimeoutsEntry {
    /// Whether they are still what we wrote, and were something else before.
    pub(crate) fn is_to_restore(&self, now: Option<Timeouts>) -> bool {
        now == Some(self.ours) && self.original != self.ours
    }
}

impl Ledger {
    /// The record to be on disk *before* what is wanted is made of what was observed: everything that
    /// is going to be made, everything wanted that is already there, and all that was ours before.
    /// Kinds that were not observed stay as they are.
    #[must_use]
    pub fn before(&self, desired: &Desired, observed: &KernelState, kinds: &[Kind]) -> Self {
        let wanted = &desired.state;
        let mut next = self.clone();
        if kinds.contains(&Kind::Links) {
            for (name, want) in &wanted.links {
                next.claim_link(name, want, observed.links.get(name));
            }
            // A port that unwraps something else is in the way, and never becomes ours.
            let in_the_way = |key: &&GuePort| matches!(observed.gue.get(key), Some(Unwrap::Other { .. }));
            next.gue.retain(|key, _| !in_the_way(&key));
            let keys = wanted.gue.keys().filter(|key| !in_the_way(key));
            claim(&mut next.gue, keys, &observed.gue, |_| false);
        }
        if kinds.contains(&Kind::Addresses) {
            let keys = wanted.addresses.keys().chain(&desired.vips);
            claim(&mut next.addresses, keys, &observed.addresses, |address| address.tagged);
        }
        if kinds.contains(&Kind::Routes) {
            let free = wanted.routes.iter().filter(|(key, want)| self.may_claim_route(key, want, observed));
            claim(&mut next.routes, free.map(|(key, _)| key), &observed.routes, |route| route.tagged);
        }
        if kinds.contains(&Kind::Ipvs) {
            claim(&mut next.services, wanted.services.keys(), &observed.services, |_| false);
            claim(&mut next.sync_daemons, wanted.sync_daemons.keys(), &observed.sync_daemons, |_| false);
            // An unwanted object that is there is somebody else's, or named already.
            let absent =
                desired.other_roles.services.iter().filter(|key| !observed.services.contains_key(key));
            claim(&mut next.services, absent, &observed.services, |_| false);
            let roles = &desired.other_roles.sync_daemons;
            let absent = roles.iter().filter(|role| !observed.sync_daemons.contains_key(role));
            claim(&mut next.sync_daemons, absent, &observed.sync_daemons, |_| false);
            if let (Some(ours), Some(now)) = (wanted.timeouts, observed.timeouts) {
                let original = self.timeouts.map_or(now, |entry| entry.original);
                next.timeouts = Some(TimeoutsEntry { original, ours });
            }
        }
        if kinds.contains(&Kind::Sysctls) {
            next.claim_sysctls(wanted, observed);
        }
        next
    }

    /// Whether a wanted route is, or becomes, ours: one with another next hop that is neither tagged nor
    /// known is in the way, and never does.
    fn may_claim_route(&self, key: &RouteKey, want: &Route, observed: &KernelState) -> bool {
        let named_or_tagged = |have: &Route| have.tagged || want.has_next_hop_of(have);
        self.routes.contains_key(key) || observed.routes.get(key).is_none_or(named_or_tagged)
    }

    /// One that is something else and not ours is in the way: it never becomes ours.
    fn claim_link(&mut self, name: &str, want: &Link, have: Option<&Link>) {
        let origin = match have {
            None => Some(Origin::Created),
            Some(have) if have.kind == want.kind => {
                let origin = if have.tagged { Origin::Created } else { Origin::Adopted };
                Some(self.links.get(name).copied().unwrap_or(origin))
            }
            Some(have) => self.may_replace(name, want, have).then_some(Origin::Created),
        };
        match origin {
            Some(origin) => drop(self.links.insert(name.to_owned(), origin)),
            None => drop(self.links.remove(name)),
        }
    }

    /// Whether an interface that is not as wanted is ours, to be made anew.
    pub(crate) fn may_replace(&self, name: &str, want: &Link, have: &Link) -> bool {
        have.tagged || (self.links.contains_key(name) && have.kind.name() == want.kind.name())
    }

    /// Whether an interface that is not wanted is ours, to be removed: by its tag, or by its name when it
    /// is of a sort that we make.
    pub(crate) fn may_remove(&self, name: &str, have: &Link) -> bool {
        have.tagged || (self.links.contains_key(name) && !matches!(have.kind, LinkKind::Other(_)))
    }

    /// Notes the value of each wanted setting before our first write, changed or not: one that is
    /// right now may drift, and is then not to be put back to what it drifted to.
    fn claim_sysctls(&mut self, wanted: &KernelState, observed: &KernelState) {
        if wanted.sysctls.contains_key(IP_FORWARD) && !self.sysctls.contains_key(IP_FORWARD) {
            let followers = observed.sysctls.iter().filter(|(key, _)| follows_ip_forward(key));
            // The original of a setting that we have set already is in the ledger.
            let original = |key, now| self.sysctls.get(key).map_or(now, |entry| &entry.original);
            self.beside_forwarding =
                followers.map(|(key, now)| (key.clone(), original(key, now).clone())).collect();
        }
        for (key, value) in &wanted.sysctls {
            let Some(now) = observed.sysctls.get(key) else { continue };
            let original = self.beside_forwarding.get(key).unwrap_or(now);
            self.sysctls
                .entry(key.clone())
                .and_modify(|entry| entry.ours.clone_from(value))
                .or_insert_with(|| SysctlEntry { original: original.clone(), ours: value.clone() });
        }
    }

    /// The ledger after a pass: names of unwanted objects that are gone are dropped. `observed` must be a
    /// whole observation.
    #[must_use]
    pub fn after(&self, desired: &Desired, observed: &KernelState) -> Self {
        let wanted = &desired.state;
        let mut next = self.clone();
        next.links.retain(|k, _| wanted.links.contains_key(k) || observed.links.contains_key(k));
        next.gue.retain(|k, _| wanted.gue.contains_key(k) || observed.gue.contains_key(k));
        next.addresses.retain(|k, _| {
            wanted.addresses.contains_key(k) || desired.vips.contains(k) || observed.addresses.contains_key(k)
        });
        next.routes.retain(|k, _| wanted.routes.contains_key(k) || observed.routes.contains_key(k));
        let others = &desired.other_roles;
        next.services.retain(|k, _| {
            wanted.services.contains_key(k)
                || others.services.contains(k)
                || observed.services.contains_key(k)
        });
        next.sync_daemons.retain(|k, _| {
            wanted.sync_daemons.contains_key(k)
                || others.sync_daemons.contains(k)
                || observed.sync_daemons.contains_key(k)
        });
        next.timeouts =
            next.timeouts.filter(|entry| wanted.timeouts.is_some() || entry.is_to_restore(observed.timeouts));
        next.sysctls.retain(|k, entry| {
            wanted.sysctls.contains_key(k)
                || observed
                    .sysctls
                    .get(k)
                    .is_some_and(|now| *now == entry.ours && entry.ours != entry.original)
        });
        if !next.sysctls.contains_key(IP_FORWARD) {
            next.beside_forwarding.clear();
        }
        next
    }

    /// Whether nothing is ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `net.ipv4.ip_forward`. Writing it changes others, see [`follows_ip_forward`].
pub const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// Whether the kernel changes this setting when [`IP_FORWARD`] is written (`inet_forward_change` in its
/// `net/ipv4/devinet.c`): forwarding of `default` and of every interface becomes the same,
/// `accept_redirects` of `all` the opposite.
#[must_use]
pub fn follows_ip_forward(key: &str) -> bool {
    match key.strip_prefix("net/ipv4/conf/").and_then(|rest| rest.rsplit_once('/')) {
        Some((interface, "forwarding")) => interface != "all",
        Some((interface, "accept_redirects")) => interface == "all",
        Some(_) | None => false,
    }
}

/// Value that a setting which follows [`IP_FORWARD`] gets when `forwarding` is written to that.
#[must_use]
pub fn implied_by_forwarding<'a>(key: &str, forwarding: &'a str) -> Option<&'a str> {
    let opposite = if forwarding == "0" { "1" } else { "0" };
    follows_ip_forward(key).then_some(if key.ends_with("/accept_redirects") { opposite } else { forwarding })
}

/// The settings that must be observed before [`IP_FORWARD`] is written, on a host with these interfaces.
pub fn beside_forwarding<'a>(interfaces: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let forwarding = |interface| format!("net/ipv4/conf/{interface}/forwarding");
    interfaces.chain(["default"]).map(forwarding).chain(["net/ipv4/conf/all/accept_redirects".to_owned()])
}

fn claim<'a, K: Ord + Clone + 'a, V>(
    owned: &mut BTreeMap<K, Origin>,
    wanted: impl Iterator<Item = &'a K>,
    observed: &BTreeMap<K, V>,
    tagged: impl Fn(&V) -> bool,
) {
    for key in wanted {
        match observed.get(key) {
            // The object is not there: whoever made it before, we make the next one.
            None => drop(owned.insert(key.clone(), Origin::Created)),
            Some(value) => {
                let origin = if tagged(value) { Origin::Created } else { Origin::Adopted };
                owned.entry(key.clone()).or_insert(origin);
            }
        }
    }
}
