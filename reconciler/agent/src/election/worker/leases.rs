//! Until when a Master may hold its VIPs, and what the guardian knows of it.
//!
//! ```text
//!   advertisement sent ----> lease extended ----> guardian renewed
//!   none can be sent ------> lapse: before the lease ends the router gives up
//!   state left Master -----> lease over
//! ```
//! No kernel and no sending: who sends, and what becomes of a router whose lease lapses, is in `output`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_converge::AddressKey;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{AdvertKind, Delivery, RouterKey, VirtualRouter, skew_time};

use super::super::RouterSetup;
use super::super::guardian::{GuardianSession, joined};
use super::routers::Routers;
use crate::guard::{Guardian, Lease};

/// Longest time by which a lease ends before a Backup may claim.
const EARLY: Duration = Duration::from_millis(30);

/// How much later than a Master that leaves the guardian removes its VIPs.
const LATE: Duration = Duration::from_millis(50);

/// The leases of this host's routers.
pub(super) struct Leases {
    /// The process that removes VIPs whose lease has ended.
    pub(super) guardian: GuardianSession,
    /// Leases that an earlier daemon left running, until the first plan.
    inherited: Vec<Lease>,
    /// The end of each Master's lease, counted from the last advertisement that was really sent. No Backup
    /// can claim earlier.
    ends: BTreeMap<RouterKey, MonoTime>,
    /// Since when a Master cannot send.
    unsent: BTreeMap<RouterKey, MonoTime>,
    /// Masters that leave, and since when.
    leaving: BTreeMap<RouterKey, MonoTime>,
    /// Routers that went on as Master by an inherited lease, with the VIPs of that lease. Until the first
    /// convergence no others are known to be served.
    adopted: BTreeMap<RouterKey, BTreeSet<AddressKey>>,
    /// Routers without a peer to advertise to: their leases are extended without advertisements.
    peerless: Vec<RouterKey>,
}

impl Leases {
    pub(super) fn new(guardian: Guardian, inherited: Vec<Lease>) -> Self {
        Self {
            guardian: GuardianSession::new(guardian),
            inherited,
            ends: BTreeMap::new(),
            unsent: BTreeMap::new(),
            leaving: BTreeMap::new(),
            adopted: BTreeMap::new(),
            peerless: Vec::new(),
        }
    }

    /// Whether a router's lease has not ended.
    pub(super) fn runs(&self, key: &RouterKey, now: MonoTime) -> bool {
        self.ends.get(key).is_some_and(|end| *end > now)
    }

    /// The only VIPs that an adopted router may hold before the first convergence; `None` when it may hold
    /// all of its VIPs.
    pub(super) fn limit(&self, key: &RouterKey) -> Option<&BTreeSet<AddressKey>> {
        self.adopted.get(key)
    }

    /// An advertisement of a router was sent.
    pub(super) fn sent(&mut self, key: &RouterKey) {
        self.unsent.remove(key);
    }

    /// An advertisement of a router could not be sent.
    pub(super) fn failed_to_send(&mut self, key: &RouterKey, now: MonoTime) {
        self.unsent.entry(key.clone()).or_insert(now);
    }

    /// Extends the lease of a Master that has just advertised, or has nobody to advertise to. Returns whether
    /// the lease had ended or is new: its VIPs may be missing.
    pub(super) fn extend(&mut self, routers: &Routers, key: &RouterKey, now: MonoTime) -> bool {
        let Some((_, router)) = routers.election.get(key) else { return false };
        let Some(end) = lease_end(router) else { return false };
        let before = match self.ends.get_mut(key) {
            Some(known) => Some(std::mem::replace(known, end)),
            None => self.ends.insert(key.clone(), end),
        };
        self.renew(routers, key);
        before.is_none_or(|before| before <= now)
    }

    /// A Master begins to leave: its lease is as long as it serves on. Returns whether that is new.
    pub(super) fn leave(&mut self, routers: &Routers, key: &RouterKey, now: MonoTime) -> bool {
        let is_new = !self.leaving.contains_key(key);
        if is_new {
            self.leaving.insert(key.clone(), now);
            self.extend(routers, key, now);
        }
        is_new
    }

    /// Since when a router that has changed its state had served on; `None` when it had not.
    pub(super) fn left(&mut self, key: &RouterKey) -> Option<MonoTime> {
        self.leaving.remove(key)
    }

    /// The Masters that have no peer to advertise to.
    pub(super) fn peerless_masters(&self, routers: &Routers) -> Vec<RouterKey> {
        self.peerless.iter().filter(|key| routers.is_master(key)).cloned().collect()
    }

    /// Makes the guardian hear of the end of a router's lease.
    fn renew(&mut self, routers: &Routers, key: &RouterKey) {
        let (Some(setup), Some(end)) = (routers.setup(key), self.ends.get(key)) else { return };
        let limit = self.adopted.get(key);
        let vips = || setup.own_vips(limit).map(|(vip, _)| vip);
        if !self.guardian.renew_known(&setup.lease, vips(), *end) {
            let (router, addresses) = (setup.lease.clone(), vips().cloned().collect());
            self.guardian.lease(Lease { router, addresses, until: *end });
        }
    }

    /// [`Self::renew`] of every lease.
    pub(super) fn renew_all(&mut self, routers: &Routers) {
        for key in self.ends.keys().cloned().collect::<Vec<_>>() {
            self.renew(routers, &key);
        }
    }

    /// A new guardian, which knows no lease.
    pub(super) fn replace_guardian(&mut self, guardian: Guardian, routers: &Routers) {
        self.guardian.replace(guardian);
        self.renew_all(routers);
    }

    /// A router is no longer Master. The guardian hears of it when its VIPs are gone.
    pub(super) fn yielded(&mut self, key: &RouterKey) {
        self.ends.remove(key);
        self.unsent.remove(key);
        self.adopted.remove(key);
    }

    /// Names to the guardian all VIPs that may be leased: those of `vips`, and those of inherited leases.
    pub(super) fn name_vips(&mut self, mut vips: BTreeSet<AddressKey>) {
        vips.extend(self.inherited.iter().flat_map(|lease| lease.addresses.iter().cloned()));
        self.guardian.name_vips(vips);
    }

    /// Learns which routers have no peer.
    pub(super) fn find_peerless<'a>(&mut self, setups: impl Iterator<Item = &'a RouterSetup>) {
        let alone = |setup: &&RouterSetup| match &setup.config.delivery {
            Delivery::Unicast { peers, .. } => peers.is_empty(),
            Delivery::Multicast => false,
        };
        self.peerless = setups.filter(alone).map(|setup| setup.key.clone()).collect();
    }

    /// Forgets all but these routers, and binds to their leases what goes with their VIPs.
    pub(super) fn retain<'a>(&mut self, setups: impl Iterator<Item = &'a RouterSetup>) {
        let mut keys = BTreeSet::new();
        for setup in setups {
            self.guardian.bind(&setup.lease, &setup.bound);
            keys.insert(&setup.key);
        }
        self.ends.retain(|key, _| keys.contains(key));
        self.unsent.retain(|key, _| keys.contains(key));
        self.leaving.retain(|key, _| keys.contains(key));
        self.adopted.retain(|key, _| keys.contains(key));
    }

    /// The inherited leases, once.
    pub(super) fn take_inherited(&mut self) -> Vec<Lease> {
        joined(std::mem::take(&mut self.inherited))
    }

    /// A router goes on as Master by an inherited lease. `limited`: until [`Self::lift_limits`] to the VIPs
    /// of the lease.
    pub(super) fn adopt(&mut self, key: &RouterKey, lease: &Lease, limited: bool) {
        if limited {
            self.adopted.insert(key.clone(), lease.addresses.iter().cloned().collect());
        }
        self.ends.insert(key.clone(), lease.until);
    }

    /// All VIPs are served now: adopted routers may hold all of theirs. Returns these routers.
    pub(super) fn lift_limits(&mut self) -> Vec<RouterKey> {
        std::mem::take(&mut self.adopted).into_keys().collect()
    }

    /// Ends inherited leases. VIPs that are `ours` to look after are no longer the guardian's; all others it
    /// shall remove.
    pub(super) fn end_inherited(&mut self, over: Vec<Lease>, ours: &BTreeSet<AddressKey>, now: MonoTime) {
        for mut lease in over {
            lease.addresses.retain(|vip| !ours.contains(vip));
            if lease.addresses.is_empty() {
                self.guardian.release(lease.router, now);
            } else {
                self.guardian.lease(lease);
            }
        }
    }

    /// When the next Master has to give up because it cannot send.
    pub(super) fn next_lapse(&self, routers: &Routers) -> Option<MonoTime> {
        self.unsent.keys().filter_map(|key| self.lapse_of(routers, key)).min()
    }

    /// When a router that cannot send has to give up: before its lease ends. If it has none, since its first
    /// advertisement failed: after two intervals.
    fn lapse_of(&self, routers: &Routers, key: &RouterKey) -> Option<MonoTime> {
        let (_, router) = routers.election.get(key)?;
        let interval = router.config().effective_interval().as_duration();
        let since = self.unsent.get(key)?;
        Some(self.ends.get(key).map_or(*since + interval * 2, |end| *end - early(interval)))
    }

    /// The routers that have to give up now, once each.
    pub(super) fn lapsed(&mut self, routers: &Routers, now: MonoTime) -> Vec<RouterKey> {
        let over = |key: &&RouterKey| self.lapse_of(routers, key).is_none_or(|at| at <= now);
        let over: Vec<RouterKey> = self.unsent.keys().filter(over).cloned().collect();
        for key in &over {
            self.unsent.remove(key);
        }
        over
    }
}

/// Whether an advertisement extends no lease: with it the router gives its VIPs away or asks who would take
/// them.
pub(super) const fn is_farewell(kind: AdvertKind) -> bool {
    matches!(kind, AdvertKind::PriorityZero | AdvertKind::Offer)
}

/// The end of a Master's lease; `None` for a router that has none. A little earlier than the protocol has it:
/// removing VIPs takes a moment, and clocks differ.
fn lease_end(router: &VirtualRouter) -> Option<MonoTime> {
    let (config, until) = (router.config(), router.lease_until()?);
    if router.is_leaving() {
        return Some(until + LATE);
    }
    let interval = config.effective_interval();
    let end = until - early(interval.as_duration());
    // Without preemption, or with a delay before it, a Backup may have a higher priority and so a shorter
    // skew time.
    let alone = config.preempt && config.preempt_delay.is_zero();
    Some(if alone { end } else { end - skew_time(config.version, config.priority, interval) })
}

/// A tenth of an interval, [`EARLY`] at most.
fn early(interval: Duration) -> Duration {
    (interval / 10).min(EARLY)
}
