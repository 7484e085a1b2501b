//! Others who have our VIPs: found by listening, by asking after a claim, and answered by announcing again.
//!
//! Anybody on the segment can cause these: what is told, remembered and answered is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{RouterKey, State};

use super::super::sockets::Buffer;
use super::super::sockets::frames::Mac;
use super::Worker;

/// Claims looked at in one turn.
const MAX_CLAIMS: usize = 64;
/// Most claims remembered, and told within [`QUIET`].
const MAX_KNOWN: usize = 16;
/// Most VIPs that are defended within [`DEFEND`]: all of a large host's.
const MAX_DEFENDED: usize = 1024;
/// Least time between two words about one claim.
const QUIET: Duration = Duration::from_secs(60);
/// Least time between two defences of a VIP (`DEFEND_INTERVAL`, RFC 5227 §1.1).
const DEFEND: Duration = Duration::from_secs(10);
/// How long after a claim of ours the Master before us may still be heard; then the segment is asked.
const SETTLE: Duration = Duration::from_secs(1);

/// What is known of others with our VIPs.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// When a claim was told last.
    told: BTreeMap<(IpAddr, Mac), MonoTime>,
    /// When a VIP was defended last.
    defended: BTreeMap<IpAddr, MonoTime>,
    /// When to ask who else has a router's VIPs.
    probes: BTreeMap<RouterKey, MonoTime>,
    counts: BTreeMap<RouterKey, u64>,
    /// Claims that were not told since then.
    dropped: BTreeMap<RouterKey, (u64, MonoTime)>,
}

impl Conflicts {
    /// How many claims of others a router has met.
    pub(super) fn count(&self, key: &RouterKey) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// When to ask next.
    pub(super) fn next_probe(&self) -> Option<MonoTime> {
        self.probes.values().min().copied()
    }

    /// A router became Master: the segment is asked a little later.
    pub(super) fn claimed(&mut self, key: &RouterKey, now: MonoTime) {
        self.probes.insert(key.clone(), now + SETTLE);
    }

    /// Only these routers are left.
    pub(super) fn keep(&mut self, keys: &BTreeSet<RouterKey>) {
        self.probes.retain(|key, _| keys.contains(key));
        self.counts.retain(|key, _| keys.contains(key));
        self.dropped.retain(|key, _| keys.contains(key));
    }

    /// Forgets what is old.
    pub(super) fn forget(&mut self, now: MonoTime) {
        self.told.retain(|_, at| now.since(*at) < QUIET);
        self.defended.retain(|_, at| now.since(*at) < DEFEND);
    }

    /// How many claims of each router's VIPs were not told, once a minute.
    pub(super) fn dropped(&mut self, now: MonoTime) -> Vec<(RouterKey, u64)> {
        let over = self.dropped.extract_if(.., |_, (_, since)| now.since(*since) >= QUIET);
        over.map(|(key, (claims, _))| (key, claims)).collect()
    }

    /// Whether a claim is news, and whether the VIP is to be defended now.
    fn met(&mut self, key: &RouterKey, vip: IpAddr, mac: Mac, now: MonoTime) -> (bool, bool) {
        self.forget(now);
        *self.counts.entry(key.clone()).or_default() += 1;
        let news = !self.told.contains_key(&(vip, mac)) && self.told.len() < MAX_KNOWN;
        if news {
            self.told.insert((vip, mac), now);
        } else {
            self.dropped.entry(key.clone()).or_insert((0, now)).0 += 1;
        }
        let defend = !self.defended.contains_key(&vip) && self.defended.len() < MAX_DEFENDED;
        if defend {
            self.defended.insert(vip, now);
        }
        (news, defend)
    }
}

impl Worker {
    /// Looks whether others claim VIPs that we hold.
    pub(super) fn claims(&mut self) {
        let names: Vec<String> = self.ports.keys().cloned().collect();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for name in names {
            for _ in 0..MAX_CLAIMS {
                match self.ports.get(&name).and_then(|port| port.next_claim(&mut buffer)) {
                    Some(Some((mac, vip))) => self.claimed_by(&name, mac, vip),
                    Some(None) => {}
                    None => break,
                }
            }
        }
        self.buffer = buffer;
    }

    fn claimed_by(&mut self, interface: &str, mac: Mac, vip: IpAddr) {
        let now = clock::now();
        let holds = |key: &RouterKey| {
            self.election.get(key).is_some_and(|(_, router)| {
                let settled = router.config().effective_interval().as_duration().max(SETTLE);
                let since = router.since().filter(|_| router.state() == State::Master);
                since.is_some_and(|since| now.since(since) >= settled)
            })
        };
        let has = |(key, setup): &(&RouterKey, &super::RouterSetup)| {
            let mut vips = setup.vips.keys();
            vips.any(|held| held.interface == interface && held.address.address() == vip) && holds(key)
        };
        let Some(key) = self.routers.iter().find(has).map(|(key, _)| key.clone()) else { return };
        let (news, defend) = self.conflicts.met(&key, vip, mac, now);
        if news {
            let mac = super::strangers::text(mac);
            self.tell_router(&key, format!("{vip} is also claimed by {mac} on {interface}"));
        }
        if defend && let Some(port) = self.ports.get_mut(interface) {
            port.announce(vip, now).ok();
        }
    }

    /// Asks the segment who else has the VIPs of routers that have become Master.
    pub(super) fn probes(&mut self, now: MonoTime) {
        let due = |(_, at): &(&RouterKey, &MonoTime)| **at <= now;
        let keys: Vec<RouterKey> =
            self.conflicts.probes.iter().filter(due).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.conflicts.probes.remove(&key);
            let Some(setup) = self.routers.get(&key).filter(|_| self.is_master(&key)) else { continue };
            for (name, port) in &self.ports {
                let here =
                    setup.vips.keys().filter(|vip| vip.interface == *name && self.present.contains(*vip));
                port.probe(here.map(|vip| vip.address.address()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::scalars::Vrid;
    use evenkeel_vrrp::Family;

    use super::*;

    fn key() -> RouterKey {
        let interface = "eth0".parse().expect("interface");
        RouterKey { interface, family: Family::V4, vrid: Vrid::new(51).expect("VRID") }
    }

    #[test]
    fn a_claim_is_told_once_a_minute_and_answered_every_ten_seconds() {
        let (mut conflicts, key, vip) = (Conflicts::default(), key(), "10.9.0.100".parse().expect("address"));
        let (mut told, mut defended) = (0, 0);
        for second in 0..120 {
            let (news, defend) = conflicts.met(&key, vip, [2; 6], MonoTime::from_millis(second * 1000));
            told += u32::from(news);
            defended += u32::from(defend);
        }
        assert_eq!((told, defended, conflicts.count(&key)), (2, 12, 120));
    }

    #[test]
    fn invented_addresses_cost_neither_memory_nor_log_lines() {
        let (mut conflicts, key) = (Conflicts::default(), key());
        for n in 0..10_000_u32 {
            let [a, b, c, d] = n.to_be_bytes();
            conflicts.met(&key, "10.9.0.100".parse().expect("address"), [2, 0, a, b, c, d], MonoTime::ZERO);
        }
        assert_eq!((conflicts.told.len(), conflicts.count(&key)), (MAX_KNOWN, 10_000));
        assert_eq!(conflicts.dropped(MonoTime::from_millis(59_000)), []);
        let told = conflicts.dropped(MonoTime::from_millis(60_000));
        assert_eq!(told, [(key, 10_000 - MAX_KNOWN as u64)]);
        assert_eq!(conflicts.dropped(MonoTime::from_millis(180_000)), []);
    }
}
