//! Carries out what the state machines of the routers say: advertisements, changes of state, announcements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_host::election::{Notice, StateChange};
use evenkeel_kernel::clock;
use evenkeel_vrrp::{AdvertKind, Cause, FaultCause, Input, NoticeKind, Output, RouterKey, State};

use super::leases::is_farewell;
use super::vips::Moving;
use super::{Worker, claim_lines};

impl Worker {
    /// Carries out the outputs of all routers, in their order. Changes of state that come together are
    /// carried out together: a host may take over hundreds of routers at once.
    pub(super) fn drain(&mut self) {
        let mut next = self.routers.election.poll_output();
        while next.is_some() {
            let mut changed: BTreeMap<RouterKey, (State, Cause)> = BTreeMap::new();
            // A router's outputs after its change of state wait until its VIPs have followed.
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
                next = self.routers.election.poll_output();
            }
            if !changed.is_empty() {
                self.states_changed(&changed);
            }
            for (key, output) in later {
                self.perform(&key, output);
            }
            next = next.or_else(|| self.routers.election.poll_output());
        }
    }

    fn perform(&mut self, key: &RouterKey, output: Output) {
        match output {
            Output::Transmit { bytes, src, dst, ttl, kind, .. } => {
                self.transmit(key, &bytes, (src, dst, ttl), kind);
                if kind == AdvertKind::PriorityZero {
                    self.begin_leaving(key);
                }
            }
            Output::Announce { repeat } => self.announce(key, repeat),
            Output::Event(event) if event.notice.kind() == NoticeKind::NotReady => {
                if let Some(setup) = self.routers.setup(key) {
                    let (router, label) = (setup.name.clone(), self.routers.label(setup));
                    self.outbox.push(Notice::Waits { router, label, text: event.to_string() });
                }
            }
            Output::Event(event) => self.report_event(key, event),
            // `drain` collects them.
            Output::StateChanged { .. } => {}
        }
    }

    /// Sends an advertisement from `way.0` to `way.1` with TTL `way.2`, and extends the router's lease by it.
    fn transmit(&mut self, key: &RouterKey, bytes: &[u8], way: (IpAddr, IpAddr, u8), kind: AdvertKind) {
        let via = self.routers.setup(key).map(|setup| setup.via.as_str());
        let (source, destination, ttl) = way;
        let sent = match via.and_then(|via| self.ports.open.get_mut(via)) {
            Some(port) => port.send(bytes, source, destination, ttl),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let to = if destination.is_multicast() { String::new() } else { format!(" to {destination}") };
        match sent {
            Ok(()) if is_farewell(kind) => {}
            Ok(()) => {
                self.leases.sent(key);
                if self.ports.sends_again(key, destination) {
                    self.outbox.about(&self.routers, key, format!("can send advertisements{to} again"));
                }
                self.admission.backoff.reset(key, FaultCause::Socket);
                self.extend_lease(key, kind);
            }
            Err(error) => {
                if !is_farewell(kind) {
                    self.leases.failed_to_send(key, clock::now());
                }
                // By unicast one peer may be out of reach while others are not.
                if self.ports.send_fails(key, destination) {
                    self.resync.links = true;
                    let text = format!("cannot send an advertisement{to}: {error}");
                    self.outbox.about(&self.routers, key, text);
                }
            }
        }
    }

    /// An advertisement of this kind was sent, or there was nobody to send it to.
    fn extend_lease(&mut self, key: &RouterKey, kind: AdvertKind) {
        let is_new = self.leases.extend(&self.routers, key, clock::now());
        // The VIPs of a new Master come with its change of state.
        if is_new && kind != AdvertKind::Claim {
            self.resync.vips = true;
        }
    }

    /// Extends the leases of Masters that have nobody to advertise to.
    pub(super) fn extend_peerless(&mut self) {
        for key in self.leases.peerless_masters(&self.routers) {
            self.extend_lease(&key, AdvertKind::Periodic);
        }
    }

    fn states_changed(&mut self, changed: &BTreeMap<RouterKey, (State, Cause)>) {
        for (key, (to, _)) in changed {
            if *to == State::Master {
                self.conflicts.schedule_probe(key, clock::now());
                self.outbox.claimed(key);
            } else {
                self.outbox.yielded(key);
                self.leases.yielded(key);
            }
        }
        self.extend_peerless();
        if self.move_vips(changed.keys()) {
            let now = clock::now();
            self.resync.soon(now);
            let followed = |key| self.routers.setup(key).is_some_and(|setup| setup.followed);
            self.outbox.hush(now, changed.keys().any(followed));
        } else {
            // What cannot be removed is left to the guardian, by a lease of its own.
            self.sync_vips(&Moving::default(), false);
        }
        for (key, (to, cause)) in changed {
            // Whether it may come back is asked again: a fault may have ended while it served on.
            self.resync.links |= *to == State::Initialize && !self.ending;
            if *to != State::Master {
                self.leases.guardian.release_later(key.to_string());
            }
            self.admission.state_changed(key, *cause);
            self.report_state(key, *to, *cause);
        }
    }

    fn report_state(&mut self, key: &RouterKey, to: State, cause: Cause) {
        let why = self.reason_of(key, cause);
        let Some(setup) = self.routers.setup(key) else { return };
        let running = self.routers.election.get(key);
        let change = StateChange {
            router: setup.name.clone(),
            label: self.routers.label(setup),
            group: setup.group.clone(),
            to,
            fault: matches!(cause, Cause::Fault(fault) if !is_intended(fault)),
            priority: running.map_or(0, |(_, router)| router.config().priority.get()),
            why,
        };
        self.outbox.push(Notice::State(change));
    }

    /// Announces those VIPs of a Master that are in the kernel, `repeat` times each.
    pub(super) fn announce(&mut self, key: &RouterKey, repeat: u8) {
        if !self.routers.is_master(key) {
            return;
        }
        let Some(setup) = self.routers.setup(key) else { return };
        let now = clock::now();
        let present = setup.vips.keys().filter(|vip| self.vips.has(vip));
        let vips: Vec<_> = present.chain(&setup.owned).collect();
        let mut failed: BTreeMap<&str, std::io::Error> = BTreeMap::new();
        for (round, vip) in (0..repeat).flat_map(|round| vips.iter().map(move |vip| (round, vip))) {
            let Some(port) = self.ports.open.get_mut(&vip.interface) else { continue };
            if round > 0 {
                port.announce_again(vip.address.address(), now);
            } else if let Err(error) = port.announce(vip.address.address(), now) {
                failed.entry(&vip.interface).or_insert(error);
            }
        }
        let lines = if self.outbox.awaits_announcement(key) {
            let sent = vips.iter().map(|vip| (vip.interface.as_str(), vip.address.address()));
            let sent = sent.filter(|(interface, _)| !failed.contains_key(interface));
            claim_lines::lines(&self.routers.label(setup), sent)
        } else {
            Vec::new()
        };
        for name in vips.iter().map(|vip| vip.interface.as_str()).collect::<BTreeSet<&str>>() {
            let problem =
                failed.get(name).map(|error| format!("cannot announce the VIPs on {name}: {error}"));
            let port = self.ports.open.get_mut(name);
            if let Some(news) = port.and_then(|port| port.new_announcement_problem(problem)) {
                self.outbox.about(&self.routers, key, news);
            }
        }
        self.outbox.announced(key, lines);
    }

    /// Masters that could not send for too long give up, so that their VIPs are gone before a Backup claims.
    pub(super) fn end_lapsed(&mut self) {
        let now = clock::now();
        for key in self.leases.lapsed(&self.routers, now) {
            if !self.routers.is_master(&key) {
                continue;
            }
            let cause = self.obstacle(&key).unwrap_or(FaultCause::Socket);
            if cause == FaultCause::Socket {
                self.admission.backoff.delay(&key, cause, now);
            }
            self.routers.election.handle(&key, Input::Fault(cause), now);
            self.drain();
        }
    }
}

/// Whether a router is kept out for this because somebody wants it so: nothing is broken.
const fn is_intended(cause: FaultCause) -> bool {
    matches!(cause, FaultCause::Held | FaultCause::Maintenance)
}
