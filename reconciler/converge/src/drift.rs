//! Drift told from changes of ours, and what is done about it.
//!
//! ```text
//!                   wanted value of the object
//!   last verified in the kernel   wanted now        what undoes the difference
//!   a                             a                 is a repair: somebody else made it (drift)
//!   a, absent or unknown          b                 is a change of ours
//! ```
//! "Absent" is a value as well: an object that was verified to be gone and is there again has drifted.
//! An object that is on or in another one (an address on an interface, a destination in its service)
//! shares the other's fate when that is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use evenkeel_schemas::cluster::DriftMode;
use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::ledger::{IP_FORWARD, follows_ip_forward};
use crate::model::{KernelState, Kind, ServiceKey, pairs};
use crate::object::ObjectKey;
use crate::op::Op;

/// Why an object is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Something else is wanted than was last verified, or nothing was verified yet.
    Change,
    /// Drift: the object was as wanted, and somebody else has changed it.
    Drift,
}

/// Treatment of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The operation is carried out.
    Do,
    /// The operation is left: the plan says that drift is only reported, or it needs something that is left.
    Leave,
    /// The operation is not carried out, and that is a failure: with settings of ARP left as they are it
    /// would not be safe.
    Bar,
}

/// Cause and treatment of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Why it is needed.
    pub cause: Cause,
    /// Treatment.
    pub ruling: Ruling,
    /// Whether it only follows from another drift: a destination of a service that is gone.
    pub follows: bool,
}

/// Objects that were verified in the kernel.
#[derive(Debug, Clone, Default)]
pub struct Achieved {
    /// Wanted state at the last observation of each kind; a kind that was never observed is missing.
    base: BTreeMap<Kind, Arc<Desired>>,
    /// Objects for which that was not verified: a change of ours is under way.
    pending: BTreeSet<ObjectKey>,
    revision: u64,
}

/// Object that another object is on or in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Container {
    Link(String),
    Service(ServiceKey),
    Forwarding,
}

impl Achieved {
    /// Tells what each operation is, and what becomes of it: `ops` are all that [`diff`](crate::diff())
    /// found between `desired` and `observed`.
    #[must_use]
    pub fn judge(&self, desired: &Desired, observed: &KernelState, ops: &[Op]) -> Vec<Judgement> {
        let leaves = |cause, kind| cause == Cause::Drift && desired.mode(kind) == DriftMode::Report;
        let mut made: BTreeMap<Container, (Cause, bool)> = BTreeMap::new();
        for op in ops {
            if let Some(container) = makes(op) {
                let cause = self.cause(desired, &ObjectKey::of(op));
                made.insert(container, (cause, leaves(cause, op.kind())));
            }
        }
        let mut judgements: Vec<Judgement> = ops
            .iter()
            .map(|op| {
                let own = self.cause(desired, &ObjectKey::of(op));
                let around = || within(op, observed).into_iter().flatten().filter_map(|it| made.get(&it));
                let in_change = around().any(|(cause, _)| *cause == Cause::Change);
                let cause = if in_change { Cause::Change } else { own };
                let left = leaves(cause, op.kind()) || around().any(|(_, left)| *left);
                let ruling = if left { Ruling::Leave } else { Ruling::Do };
                let follows = around().any(|(cause, _)| *cause == Cause::Drift);
                Judgement { cause, ruling, follows }
            })
            .collect();
        bar(ops, &mut judgements);
        judgements
    }

    fn cause(&self, desired: &Desired, key: &ObjectKey) -> Cause {
        let stays = self.base.get(&key.kind()).is_some_and(|base| same_wish(key, base, desired));
        let all = match key {
            ObjectKey::Destination(service, _) => Some(ObjectKey::Destinations(*service)),
            _ => None,
        };
        let pending = self.pending.contains(key) || all.is_some_and(|all| self.pending.contains(&all));
        if stays && !pending { Cause::Drift } else { Cause::Change }
    }

    /// The changes among these operations begin: until they are verified, whatever is found of their
    /// objects is ours.
    pub fn begin(&mut self, ops: &[Op], judgements: &[Judgement]) {
        let before = self.pending.len();
        let mut made = BTreeSet::new();
        for (op, judgement) in ops.iter().zip(judgements) {
            // A kind that was never observed has no drift: every difference is a change.
            if judgement.cause != Cause::Change || !self.base.contains_key(&op.kind()) {
                continue;
            }
            match op {
                Op::AddService(key, _) => {
                    made.insert(*key);
                    self.pending.insert(ObjectKey::Destinations(*key));
                }
                Op::AddDestination(service, ..) if made.contains(service) => continue,
                _ => {}
            }
            self.pending.insert(ObjectKey::of(op));
        }
        self.revision += u64::from(self.pending.len() != before);
    }

    /// Records an observation of these kinds: all objects are as `desired` says, except those of `changes`,
    /// which are still to be made, and those that have drifted.
    pub fn verified(
        &mut self,
        desired: &Arc<Desired>,
        kinds: &[Kind],
        changes: impl Iterator<Item = ObjectKey>,
    ) {
        let pending = std::mem::take(&mut self.pending).into_iter();
        let (before, others): (BTreeSet<_>, BTreeSet<_>) =
            pending.partition(|key| kinds.contains(&key.kind()));
        let now: BTreeSet<ObjectKey> = changes.collect();
        let same = |kind| self.base.get(kind).is_some_and(|base| Arc::ptr_eq(base, desired));
        let news = now != before || !kinds.iter().all(same);
        self.pending = others;
        self.pending.extend(now);
        for kind in kinds {
            self.base.insert(*kind, Arc::clone(desired));
        }
        self.revision += u64::from(news);
    }

    /// Grows when there is something new to [`record`](Self::record).
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Record for the disk, to be read after a restart.
    #[must_use]
    pub fn record(&self) -> Record {
        let mut objects = BTreeMap::new();
        for (kind, base) in &self.base {
            for (key, digest) in digests(base, *kind) {
                objects.insert(key, Some(digest));
            }
            // Objects of the election were not verified here.
            objects.extend(moving(base, *kind).map(|key| (key, None)));
        }
        for key in &self.pending {
            let key = match key {
                ObjectKey::Destination(service, _) | ObjectKey::Destinations(service) => {
                    ObjectKey::Service(*service)
                }
                key => key.clone(),
            };
            objects.insert(key, None);
        }
        let exclusive_ipvs = self.base.get(&Kind::Ipvs).is_some_and(|base| base.exclusive_ipvs);
        Record { kinds: self.base.keys().copied().collect(), exclusive_ipvs, objects }
    }

    /// Objects that an earlier daemon had verified, as far as they are still wanted; all others are a change.
    #[must_use]
    pub fn resume(record: &Record, desired: &Arc<Desired>) -> Self {
        let mut achieved = Self::default();
        for kind in &record.kinds {
            if *kind == Kind::Ipvs && record.exclusive_ipvs != desired.exclusive_ipvs {
                continue;
            }
            achieved.base.insert(*kind, Arc::clone(desired));
            let now: BTreeMap<ObjectKey, u64> = digests(desired, *kind).collect();
            let before = record.objects.iter().filter(|(key, _)| key.kind() == *kind);
            let differs = |(key, digest): (&ObjectKey, &Option<u64>)| {
                (digest.is_none() || now.get(key) != digest.as_ref()).then(|| key.clone())
            };
            let gone: Vec<ObjectKey> = before.filter_map(differs).collect();
            let new = now.keys().filter(|key| !record.objects.contains_key(*key)).cloned();
            for key in gone.into_iter().chain(new) {
                if let ObjectKey::Service(service) = &key {
                    achieved.pending.insert(ObjectKey::Destinations(*service));
                }
                achieved.pending.insert(key);
            }
        }
        achieved
    }
}

/// Verified objects, kept over a restart: digests of the wanted values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Kinds that were observed.
    kinds: BTreeSet<Kind>,
    /// Whether the table of IPVS was wholly ours.
    exclusive_ipvs: bool,
    /// Digests of what was verified; none while a change is under way.
    #[serde(with = "pairs")]
    objects: BTreeMap<ObjectKey, Option<u64>>,
}

impl Record {
    /// Whether it was verified that a service was, with its destinations, as `desired` has it.
    #[must_use]
    pub fn has_service(&self, desired: &Desired, key: &ServiceKey) -> bool {
        let recorded = self.objects.get(&ObjectKey::Service(*key)).copied().flatten();
        recorded.is_some() && recorded == desired.state.services.get(key).map(|service| digest(service))
    }
}

/// Whether the same is wanted of an object, be it nothing, and was wanted by the same loop.
fn same_wish(key: &ObjectKey, old: &Desired, new: &Desired) -> bool {
    let (was, is) = (&old.state, &new.state);
    match key {
        ObjectKey::Link(name) => was.links.get(name) == is.links.get(name),
        ObjectKey::Gue(key) => was.gue.get(key) == is.gue.get(key),
        ObjectKey::Address(key) => {
            let seen = !new.interfaces.contains(&key.interface) || old.interfaces.contains(&key.interface);
            seen && old.vips.contains(key) == new.vips.contains(key)
                && was.addresses.get(key) == is.addresses.get(key)
        }
        ObjectKey::Route(key) => {
            old.vip_routes.contains(key) == new.vip_routes.contains(key)
                && was.routes.get(key) == is.routes.get(key)
        }
        ObjectKey::Rule(key) => {
            old.vip_rules.contains(key) == new.vip_rules.contains(key)
                && was.rules.contains_key(key) == is.rules.contains_key(key)
        }
        ObjectKey::Sysctl(key) => was.sysctls.get(key) == is.sysctls.get(key),
        ObjectKey::Service(key) => match (was.services.get(key), is.services.get(key)) {
            (Some(was), Some(is)) => was.same_service(is),
            (None, None) => old.exclusive_ipvs == new.exclusive_ipvs,
            (Some(_), None) | (None, Some(_)) => false,
        },
        // Destinations of a service that the plan did not name were never observed.
        ObjectKey::Destination(service, key) => match (was.services.get(service), is.services.get(service)) {
            (Some(was), Some(is)) => was.destinations.get(key) == is.destinations.get(key),
            _ => false,
        },
        ObjectKey::Destinations(service) => was.services.get(service) == is.services.get(service),
        ObjectKey::Timeouts => was.timeouts == is.timeouts,
        ObjectKey::Sync(role) => was.sync_daemons.get(role) == is.sync_daemons.get(role),
    }
}

/// Container that an operation makes anew.
fn makes(op: &Op) -> Option<Container> {
    match op {
        Op::AddLink(name, _) => Some(Container::Link(name.clone())),
        Op::AddService(key, _) => Some(Container::Service(*key)),
        Op::SetSysctl { key, .. } if key == IP_FORWARD => Some(Container::Forwarding),
        _ => None,
    }
}

/// Containers of the operation's object: a route is also on the interface that it is to leave.
fn within(op: &Op, observed: &KernelState) -> [Option<Container>; 2] {
    let one = match op {
        Op::AddAddress { key, .. } => Some(Container::Link(key.interface.clone())),
        Op::AddRoute { key, value, .. } => {
            let found = observed.routes.get(key).and_then(|route| route.interface.clone());
            return [value.interface.clone(), found].map(|name| name.map(Container::Link));
        }
        Op::SetSysctl { key, .. } if follows_ip_forward(key) => Some(Container::Forwarding),
        Op::SetSysctl { key, .. } => interface_of(key).map(|name| Container::Link(name.to_owned())),
        Op::AddDestination(service, ..)
        | Op::SetDestination { service, .. }
        | Op::DelDestination(service, _) => Some(Container::Service(*service)),
        _ => None,
    };
    [one, None]
}

/// The interface that a setting belongs to: `net/ipv4/conf/NAME/…`, `net/ipv6/neigh/NAME/…`.
pub(crate) fn interface_of(key: &str) -> Option<&str> {
    let mut parts = key.split('/').skip(2);
    matches!(parts.next(), Some("conf" | "neigh")).then(|| parts.next()).flatten()
}

/// Bars operations that would have this host answer for an address that is not its alone: where settings of
/// ARP are left as they are not wanted no address may come, and where an address is left they may not be put
/// back.
fn bar(ops: &[Op], judgements: &mut [Judgement]) {
    let left = |is: fn(&Op) -> bool, judgements: &[Judgement]| {
        ops.iter().zip(judgements).any(|(op, judgement)| judgement.ruling == Ruling::Leave && is(op))
    };
    let arp = left(|op| is_arp(op, false), judgements);
    let address = left(|op| matches!(op, Op::DelAddress(_)), judgements);
    for (op, judgement) in ops.iter().zip(judgements) {
        let unsafe_now = match op {
            Op::AddAddress { announce: false, .. } => arp,
            op => address && is_arp(op, true),
        };
        if unsafe_now && judgement.ruling == Ruling::Do {
            judgement.ruling = Ruling::Bar;
        }
    }
}

/// Whether it is about how this host answers ARP: being set, or being put back.
pub(crate) fn is_arp(op: &Op, put_back: bool) -> bool {
    let Op::SetSysctl { key, restore, .. } = op else { return false };
    *restore == put_back && (key.ends_with("/arp_ignore") || key.ends_with("/arp_announce"))
}

/// Wanted objects of a kind, each with a digest of its value. A service stands for its destinations, too.
fn digests(desired: &Desired, kind: Kind) -> Box<dyn Iterator<Item = (ObjectKey, u64)> + '_> {
    let state = &desired.state;
    match kind {
        Kind::Links => {
            let links = state.links.iter().map(|(key, value)| (ObjectKey::Link(key.clone()), digest(value)));
            Box::new(links.chain(state.gue.iter().map(|(key, value)| (ObjectKey::Gue(*key), digest(value)))))
        }
        Kind::Addresses => Box::new(
            state.addresses.iter().map(|(key, value)| (ObjectKey::Address(key.clone()), digest(value))),
        ),
        Kind::Routes => {
            Box::new(state.routes.iter().map(|(key, value)| (ObjectKey::Route(*key), digest(value))))
        }
        Kind::Rules => Box::new(state.rules.keys().map(|key| (ObjectKey::Rule(key.clone()), digest(key)))),
        Kind::Sysctls => {
            Box::new(state.sysctls.iter().map(|(key, value)| (ObjectKey::Sysctl(key.clone()), digest(value))))
        }
        Kind::Ipvs => {
            let services =
                state.services.iter().map(|(key, value)| (ObjectKey::Service(*key), digest(value)));
            let timeouts = state.timeouts.iter().map(|value| (ObjectKey::Timeouts, digest(value)));
            let sync = state.sync_daemons.iter().map(|(key, value)| (ObjectKey::Sync(*key), digest(value)));
            Box::new(services.chain(timeouts).chain(sync))
        }
    }
}

/// Objects of a kind that the election holds.
fn moving(desired: &Desired, kind: Kind) -> Box<dyn Iterator<Item = ObjectKey> + '_> {
    match kind {
        Kind::Addresses => Box::new(desired.vips.iter().cloned().map(ObjectKey::Address)),
        Kind::Routes => Box::new(desired.vip_routes.iter().copied().map(ObjectKey::Route)),
        Kind::Rules => Box::new(desired.vip_rules.iter().cloned().map(ObjectKey::Rule)),
        Kind::Links | Kind::Sysctls | Kind::Ipvs => Box::new(std::iter::empty()),
    }
}

/// FNV-1a of a value's text: the same in every run, unlike the standard library's hashes.
fn digest(value: &dyn std::fmt::Debug) -> u64 {
    struct Fnv(u64);
    impl std::fmt::Write for Fnv {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for byte in text.bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            Ok(())
        }
    }
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    // Writing to a hasher never fails.
    write!(fnv, "{value:?}").ok();
    fnv.0
}
