//! Others who have our VIPs: found by listening and by probes after a claim of ours, answered by announcing
//! the VIP again.
//!
//! Anybody on the segment can cause these: what is reported, remembered and answered is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{RouterKey, State};

use super::super::RouterSetup;
use super::super::sockets::Buffer;
use super::super::sockets::frames::{Mac, mac_text};
use super::Worker;

/// Most frames with claims that are read of one interface in one turn.
const MAX_CLAIMS: usize = 64;
/// Most claims remembered, and so reported, within [`QUIET`].
const MAX_KNOWN: usize = 16;
/// Most VIPs that are defended within [`DEFEND`]: all of a large host's.
const MAX_DEFENDED: usize = 1024;
/// Shortest time between two reports of one claim.
const QUIET: Duration = Duration::from_secs(60);
/// Shortest time between two defences of a VIP (`DEFEND_INTERVAL`, RFC 5227 §1.1).
const DEFEND: Duration = Duration::from_secs(10);
/// How long after our claim the Master before us may still claim the VIP. Then the segment is probed.
const GRACE: Duration = Duration::from_secs(1);

/// Others with our VIPs.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// When a claim was reported last, by VIP and hardware address.
    reported: BTreeMap<(IpAddr, Mac), MonoTime>,
    /// When a VIP was defended last.
    defended: BTreeMap<IpAddr, MonoTime>,
    /// When to probe for others with a router's VIPs.
    probes: BTreeMap<RouterKey, MonoTime>,
    /// Claims of each router's VIPs since the start.
    counts: BTreeMap<RouterKey, u64>,
    /// Claims of each router's VIPs that were not reported, and since when they are counted.
    dropped: BTreeMap<RouterKey, (u64, MonoTime)>,
}

impl Conflicts {
    /// How many claims of a router's VIPs there were.
    pub(super) fn count(&self, key: &RouterKey) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// When to probe next.
    pub(super) fn next_probe(&self) -> Option<MonoTime> {
        self.probes.values().min().copied()
    }

    /// A router has become Master: the segment is probed after [`GRACE`].
    pub(super) fn schedule_probe(&mut self, key: &RouterKey, now: MonoTime) {
        self.probes.insert(key.clone(), now + GRACE);
    }

    /// Forgets all but these routers.
    pub(super) fn retain(&mut self, keys: &BTreeSet<RouterKey>) {
        self.probes.retain(|key, _| keys.contains(key));
        self.counts.retain(|key, _| keys.contains(key));
        self.dropped.retain(|key, _| keys.contains(key));
    }

    /// Forgets claims and defences that no longer hold a report or a defence back.
    pub(super) fn forget(&mut self, now: MonoTime) {
        self.reported.retain(|_, at| now.since(*at) < QUIET);
        self.defended.retain(|_, at| now.since(*at) < DEFEND);
    }

    /// How many claims of each router's VIPs were not reported, once every [`QUIET`].
    pub(super) fn dropped(&mut self, now: MonoTime) -> Vec<(RouterKey, u64)> {
        let over = self.dropped.extract_if(.., |_, (_, since)| now.since(*since) >= QUIET);
        over.map(|(key, (claims, _))| (key, claims)).collect()
    }

    /// Counts a claim. Returns whether to report it, and whether to defend the VIP now.
    fn count_claim(&mut self, key: &RouterKey, vip: IpAddr, mac: Mac, now: MonoTime) -> (bool, bool) {
        self.forget(now);
        *self.counts.entry(key.clone()).or_default() += 1;
        let report = !self.reported.contains_key(&(vip, mac)) && self.reported.len() < MAX_KNOWN;
        if report {
            self.reported.insert((vip, mac), now);
        } else {
            self.dropped.entry(key.clone()).or_insert((0, now)).0 += 1;
        }
        let defend = !self.defended.contains_key(&vip) && self.defended.len() < MAX_DEFENDED;
        if defend {
            self.defended.insert(vip, now);
        }
        (report, defend)
    }
}

impl Worker {
    /// Reads the frames by which others claim VIPs of ours.
    pub(super) fn read_claims(&mut self) {
        let names: Vec<String> = self.ports.open.keys().cloned().collect();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for name in names {
            for _ in 0..MAX_CLAIMS {
                match self.ports.open.get(&name).and_then(|port| port.next_claim(&mut buffer)) {
                    Some(Some((mac, vip))) => self.claimed_by(&name, mac, vip),
                    Some(None) => {}
                    None => break,
                }
            }
        }
        self.buffer = buffer;
    }

    /// Somebody with the hardware address `mac` claims `vip` on an interface.
    fn claimed_by(&mut self, interface: &str, mac: Mac, vip: IpAddr) {
        let now = clock::now();
        // A Master that has just claimed still hears the one before it.
        let holds = |key: &RouterKey| {
            self.routers.election.get(key).is_some_and(|(_, router)| {
                let grace = router.config().effective_interval().as_duration().max(GRACE);
                let since = router.since().filter(|_| router.state() == State::Master);
                since.is_some_and(|since| now.since(since) >= grace)
            })
        };
        let has = |(key, setup): &(&RouterKey, &RouterSetup)| {
            let mut vips = setup.vips.keys();
            vips.any(|held| held.interface == interface && held.address.address() == vip) && holds(key)
        };
        let owner = self.routers.setups.iter().find(has);
        let Some(key) = owner.map(|(key, _)| key.clone()) else { return };
        let (report, defend) = self.conflicts.count_claim(&key, vip, mac, now);
        if report {
            let text = format!("{vip} is also claimed by {} on {interface}", mac_text(mac));
            self.outbox.about(&self.routers, &key, text);
        }
        if defend && let Some(port) = self.ports.open.get_mut(interface) {
            port.announce(vip, now).ok();
        }
    }

    /// Probes the segment for others with the VIPs of routers that have become Master.
    pub(super) fn send_probes(&mut self, now: MonoTime) {
        let due = |(_, at): &(&RouterKey, &MonoTime)| **at <= now;
        let keys: Vec<RouterKey> =
            self.conflicts.probes.iter().filter(due).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.conflicts.probes.remove(&key);
            let Some(setup) = self.routers.setup(&key).filter(|_| self.routers.is_master(&key)) else {
                continue;
            };
            for (name, port) in &self.ports.open {
                let here = setup.vips.keys().filter(|vip| vip.interface == *name && self.vips.has(vip));
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
    fn a_claim_is_reported_once_a_minute_and_answered_every_ten_seconds() {
        let (mut conflicts, key, vip) = (Conflicts::default(), key(), "10.9.0.100".parse().expect("address"));
        let (mut reported, mut defended) = (0, 0);
        for second in 0..120 {
            let (report, defend) =
                conflicts.count_claim(&key, vip, [2; 6], MonoTime::from_millis(second * 1000));
            reported += u32::from(report);
            defended += u32::from(defend);
        }
        assert_eq!((reported, defended, conflicts.count(&key)), (2, 12, 120));
    }

    #[test]
    fn invented_addresses_cost_neither_memory_nor_log_lines() {
        let (mut conflicts, key) = (Conflicts::default(), key());
        for n in 0..10_000_u32 {
            let [a, b, c, d] = n.to_be_bytes();
            conflicts.count_claim(
                &key,
                "10.9.0.100".parse().expect("address"),
                [2, 0, a, b, c, d],
                MonoTime::ZERO,
            );
        }
        assert_eq!((conflicts.reported.len(), conflicts.count(&key)), (MAX_KNOWN, 10_000));
        assert_eq!(conflicts.dropped(MonoTime::from_millis(59_000)), []);
        let dropped = conflicts.dropped(MonoTime::from_millis(60_000));
        assert_eq!(dropped, [(key, 10_000 - MAX_KNOWN as u64)]);
        assert_eq!(conflicts.dropped(MonoTime::from_millis(180_000)), []);
    }
}
