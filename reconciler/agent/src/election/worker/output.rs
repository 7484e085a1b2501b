//! What routers say is carried out: advertisements and the leases that they give, changes of state,
//! announcements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AdvertKind, Cause, FaultCause, Input, NoticeKind, Output, RouterKey, State, VirtualRouter, skew_time,
};

use super::vips::Moving;
use super::{Worker, claim_lines};
use crate::guard::Lease;
use evenkeel_host::election::{Notice, StateChange};

/// How long before a Backup may claim VIPs must be gone, at most.
const EARLY: Duration = Duration::from_millis(30);

impl Worker {
    /// Does what the routers say, in their order. Changes of state that come together are carried out together,
    /// with one look at the kernel: a host may take over hundreds of routers at once.
    pub(super) fn drain(&mut self) {
        let mut next = self.election.poll_output();
        while next.is_some() {
            let mut changed: BTreeMap<RouterKey, (State, Cause)> = BTreeMap::new();
            // What a router says after its change of state is done after its VIPs have followed.
            let mut later = Vec::new();
            while let Some((key, output)) = next.take() {
                match output {
                    Output::StateChanged { .. } if changed.contains_key(&key) => {
                        next = Some((key, output));
                        break;
                    }
                    Output::StateChanged { to, cause, .. } => drop(changed.insert(key, (to, cause))),
                    output if changed.contains_key(&key) => later.push((key, output)),
                    output => self.perform(&key, output),
                }
                next = self.election.poll_output();
            }
            if !changed.is_empty() {
                self.states_changed(&changed);
            }
            for (key, output) in later {
                self.perform(&key, output);
            }
            next = next.or_else(|| self.election.poll_output());
        }
    }

    fn perform(&mut self, key: &RouterKey, output: Output) {
        match output {
            Output::Transmit { bytes, src, dst, ttl, kind, .. } => {
                self.transmit(key, &bytes, (src, dst, ttl), kind);
            }
            Output::Announce { repeat } => self.announce(key, repeat),
            Output::Event(event) if event.notice.kind() == NoticeKind::WaitsForChecks => {
                if let Some(setup) = self.routers.get(key) {
                    let (router, label) = (setup.name.clone(), self.label(setup));
                    self.tell(Notice::Waits { router, label, text: event.to_string() });
                }
            }
            Output::Event(event) => self.tell_event(key, event),
            // `drain` collects them.
            Output::StateChanged { .. } => {}
        }
    }

    fn transmit(&mut self, key: &RouterKey, bytes: &[u8], way: (IpAddr, IpAddr, u8), kind: AdvertKind) {
        let via = self.routers.get(key).map(|setup| setup.via.as_str());
        let (source, destination, ttl) = way;
        let sent = match via.and_then(|via| self.ports.get_mut(via)) {
            Some(port) => port.send(bytes, source, destination, ttl),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let to = if destination.is_multicast() { String::new() } else { format!(" to {destination}") };
        match sent {
            Ok(()) if is_farewell(kind) => {}
            Ok(()) => {
                self.unsent.remove(key);
                if !self.failing_sends.is_empty() && self.failing_sends.remove(&(key.clone(), destination)) {
                    self.tell_router(key, format!("can send advertisements{to} again"));
                }
                self.backoff.forgive(key, FaultCause::Socket);
                self.grant(key, kind);
            }
            Err(error) => {
                if !is_farewell(kind) {
                    self.unsent.entry(key.clone()).or_insert_with(clock::now);
                }
                // By unicast one peer may be out of reach while others are not.
                if self.failing_sends.insert((key.clone(), destination)) {
                    self.links_dirty = true;
                    self.tell_router(key, format!("cannot send an advertisement{to}: {error}"));
                }
            }
        }
    }

    /// An advertisement of a Master was sent: its VIPs may stay for some more time.
    fn grant(&mut self, key: &RouterKey, kind: AdvertKind) {
        let Some((_, router)) = self.election.get(key) else { return };
        let Some(until) = lease_until(router) else { return };
        let before = match self.granted.get_mut(key) {
            Some(granted) => Some(std::mem::replace(granted, until)),
            None => self.granted.insert(key.clone(), until),
        };
        // The VIPs of a new Master come with its change of state.
        if kind != AdvertKind::Claim && before.is_none_or(|before| before <= clock::now()) {
            self.vips_dirty = true;
        }
        self.renew(key);
    }

    /// Masters that have nobody to advertise to send nothing: their leases run without it.
    pub(super) fn grant_unheard(&mut self) {
        for key in self.unheard.clone() {
            if self.is_master(&key) {
                self.grant(&key, AdvertKind::Periodic);
            }
        }
    }

    /// Tells the guardian until when the VIPs of a Master may stay.
    fn renew(&mut self, key: &RouterKey) {
        let (Some(setup), Some(until)) = (self.routers.get(key), self.granted.get(key)) else { return };
        let limit = self.adopted.get(key);
        let vips = || setup.own_vips(limit).map(|(vip, _)| vip);
        if !self.guardian.renew_known(&setup.lease, vips(), *until) {
            let lease =
                Lease { router: setup.lease.clone(), addresses: vips().cloned().collect(), until: *until };
            self.guardian.lease(lease);
        }
    }

    pub(super) fn renew_all(&mut self) {
        for key in self.granted.keys().cloned().collect::<Vec<_>>() {
            self.renew(&key);
        }
    }

    fn states_changed(&mut self, changed: &BTreeMap<RouterKey, (State, Cause)>) {
        for (key, (to, _)) in changed {
            if *to == State::Master {
                self.conflicts.claimed(key, clock::now());
                self.claims.insert(key.clone());
            } else {
                self.claims.remove(key);
                self.granted.remove(key);
                self.unsent.remove(key);
                self.adopted.remove(key);
            }
        }
        self.grant_unheard();
        if self.move_vips(changed.keys()) {
            self.look_soon();
            self.hush(changed.keys());
        } else {
            // What it cannot remove it leaves to the guardian, by a lease of its own.
            self.sync_vips(&Moving::default(), false);
        }
        for (key, (to, cause)) in changed {
            if *to != State::Master {
                self.guardian.over(key.to_string());
            }
            match cause {
                Cause::Fault(fault) => drop(self.faults.insert(key.clone(), *fault)),
                _ => drop(self.faults.remove(key)),
            }
            if let Some(setup) = self.routers.get(key) {
                let fault = matches!(cause, Cause::Fault(fault) if !is_meant(*fault));
                let priority = self.election.get(key).map_or(0, |(_, router)| router.config().priority.get());
                let (router, group) = (setup.name.clone(), setup.group.clone());
                let (label, why) = (self.label(setup), cause.to_string());
                self.tell(Notice::State(StateChange { router, label, group, to: *to, fault, priority, why }));
            }
        }
    }

    /// Announces those VIPs of a Master that are there.
    pub(super) fn announce(&mut self, key: &RouterKey, repeat: u8) {
        if !self.is_master(key) {
            return;
        }
        let Some(setup) = self.routers.get(key) else { return };
        let now = clock::now();
        let present = setup.vips.keys().filter(|vip| self.present.contains(vip));
        let vips: Vec<_> = present.chain(&setup.owned).collect();
        let mut failed: BTreeMap<&str, std::io::Error> = BTreeMap::new();
        for (round, vip) in (0..repeat).flat_map(|round| vips.iter().map(move |vip| (round, vip))) {
            let Some(port) = self.ports.get_mut(&vip.interface) else { continue };
            if round > 0 {
                port.announce_again(vip.address.address(), now);
            } else if let Err(error) = port.announce(vip.address.address(), now) {
                failed.entry(&vip.interface).or_insert(error);
            }
        }
        let mut told = Vec::new();
        if self.claims.contains(key) {
            let sent = vips.iter().map(|vip| (vip.interface.as_str(), vip.address.address()));
            let sent = sent.filter(|(interface, _)| !failed.contains_key(interface));
            told = claim_lines::lines(&self.label(setup), sent);
        }
        let mut news = Vec::new();
        for name in vips.iter().map(|vip| vip.interface.as_str()).collect::<BTreeSet<&str>>() {
            let problem =
                failed.get(name).map(|error| format!("cannot announce the VIPs on {name}: {error}"));
            news.extend(self.ports.get_mut(name).and_then(|port| port.announce_news(problem)));
        }
        for text in news {
            self.tell_router(key, text);
        }
        for line in told {
            self.claims.remove(key);
            self.tell_announced(line);
        }
    }

    /// One line, or one more that is only counted.
    fn tell_announced(&mut self, line: String) {
        self.announced += 1;
        if self.announced <= claim_lines::MAX_LINES {
            self.tell(Notice::Announced(line));
        }
    }

    pub(super) fn is_master(&self, key: &RouterKey) -> bool {
        self.election.get(key).is_some_and(|(_, router)| VirtualRouter::state(router) == State::Master)
    }

    /// When the next Master has to give up because it cannot send.
    pub(super) fn next_lapse(&self) -> Option<MonoTime> {
        self.unsent.keys().filter_map(|key| self.lapse_of(key)).min()
    }

    /// When a Master that cannot send has to give up: before its lease ends; without one, as its first
    /// advertisement failed, after two intervals.
    fn lapse_of(&self, key: &RouterKey) -> Option<MonoTime> {
        let (_, router) = self.election.get(key)?;
        let interval = router.config().effective_interval().as_duration();
        let since = self.unsent.get(key)?;
        Some(self.granted.get(key).map_or(*since + interval * 2, |until| *until - early(interval)))
    }

    /// Masters that could not send for too long give up.
    pub(super) fn lapses(&mut self) {
        let now = clock::now();
        let over = |key: &&RouterKey| self.lapse_of(key).is_none_or(|at| at <= now);
        for key in self.unsent.keys().filter(over).cloned().collect::<Vec<_>>() {
            self.unsent.remove(&key);
            if !self.is_master(&key) {
                continue;
            }
            let cause = self.obstacle(&key).unwrap_or(FaultCause::Socket);
            if cause == FaultCause::Socket {
                self.backoff.hold(&key, cause, now);
            }
            self.election.handle(&key, Input::Fault(cause), now);
            self.drain();
        }
    }
}

/// Whether an advertisement gives no lease, nor tells that one can be had.
const fn is_farewell(kind: AdvertKind) -> bool {
    matches!(kind, AdvertKind::PriorityZero | AdvertKind::Offer)
}

/// Until when the VIPs of a Master may stay. A little earlier than the protocol has it: who takes
/// them away needs a moment, and clocks differ.
fn lease_until(router: &VirtualRouter) -> Option<MonoTime> {
    let (config, until) = (router.config(), router.lease_until()?);
    let interval = config.effective_interval();
    let until = until - early(interval.as_duration());
    // A Backup may have a higher priority, and so a shorter skew time, where it does not preempt or not
    // at once.
    let alone = config.preempt && config.preempt_delay.is_zero();
    Some(if alone { until } else { until - skew_time(config.version, config.priority, interval) })
}

fn early(interval: Duration) -> Duration {
    (interval / 10).min(EARLY)
}

/// Whether a router that takes no part for this is in good order.
const fn is_meant(cause: FaultCause) -> bool {
    matches!(cause, FaultCause::Held | FaultCause::Maintenance)
}
