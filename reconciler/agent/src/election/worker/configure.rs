//! Which routers there are, and which of them may take part.

use std::collections::BTreeSet;

use evenkeel_kernel::clock;
use evenkeel_vrrp::{Delivery, FaultCause, Input, RouterKey, State};

use super::super::RouterSetup;
use super::super::guardian::joined;
use super::super::rehearsal;
use super::Worker;
use super::vips::Moving;
use crate::guard::Lease;

impl Worker {
    /// These are the routers now.
    pub(super) fn configure(&mut self, setups: Vec<RouterSetup>) {
        let before = self.moving();
        self.looked = false;
        let keys: BTreeSet<RouterKey> = setups.iter().map(|setup| setup.key.clone()).collect();
        // New VIPs of a Master come before it announces them; routers that go stay known until their
        // VIPs are removed and their Backups told.
        self.routers.extend(setups.into_iter().map(|setup| (setup.key.clone(), setup)));
        // Those of the plan before may still have to be removed.
        let mut leased = self.vip_keys();
        leased.extend(self.stuck.iter().cloned());
        leased.extend(self.leases.iter().flat_map(|lease| lease.addresses.iter().cloned()));
        self.guardian.name_vips(leased);
        let alone = |setup: &&RouterSetup| matches!(&setup.config.delivery, Delivery::Unicast { peers, .. } if peers.is_empty());
        self.unheard = self.routers.values().filter(alone).map(|setup| setup.key.clone()).collect();
        let delay = self.routers.values().map(|setup| setup.startup_delay).max().unwrap_or_default();
        self.startups_end = self.began + delay;
        if !before.is_empty() {
            self.sync_vips(&before, false);
        }
        self.election.configure(self.members(|key| keys.contains(key)), clock::now());
        self.drain();
        self.routers.retain(|key, _| keys.contains(key));
        for setup in self.routers.values() {
            self.guardian.bind(&setup.lease, &setup.bound);
        }
        self.granted.retain(|key, _| keys.contains(key));
        self.unsent.retain(|key, _| keys.contains(key));
        self.failing_sends.retain(|(key, _)| keys.contains(key));
        self.adopted.retain(|key, _| keys.contains(key));
        self.faults.retain(|key, _| keys.contains(key));
        self.backoff.clear();
        self.conflicts.keep(&keys);
        self.telling.keep(&keys);
        self.open_ports();
        self.follow_links();
        let over = self.adopt();
        // What an earlier daemon left behind and no lease covers goes.
        self.sync_vips(&before, false);
        self.drain();
        self.settle(over);
        self.start_routers();
        self.watch_claims();
        // Last: who goes on as Master does not wait for it.
        if !self.rehearsed
            && let Some(setup) = self.routers.values().next()
        {
            self.rehearsed = true;
            rehearsal::run(setup, &mut self.kernel);
        }
    }

    /// Routers whose lease still runs go on as Master. Returns leases of which nobody is in charge.
    fn adopt(&mut self) -> Vec<Lease> {
        let mut over = Vec::new();
        for lease in joined(std::mem::take(&mut self.leases)) {
            let now = clock::now();
            let setup = self.routers.values().find(|setup| setup.key.to_string() == lease.router);
            let key = setup.filter(|_| lease.until > now).map(|setup| setup.key.clone());
            let Some(key) = key.filter(|key| self.link_obstacle(key).is_none()) else {
                over.push(lease);
                continue;
            };
            if !self.started {
                self.adopted.insert(key.clone(), lease.addresses.iter().cloned().collect());
            }
            self.granted.insert(key.clone(), lease.until);
            self.election.handle(&key, Input::Adopt, now);
            // The router's own lease will be without what it no longer has.
            over.push(Lease { router: format!("{key}, before process {}", std::process::id()), ..lease });
        }
        // Only now, when all of them are Master: what is done first removes the VIPs of all others.
        self.drain();
        over
    }

    /// Leases of an earlier daemon that nobody took over: VIPs that are ours to look after are no
    /// longer the guardian's; others it shall remove.
    fn settle(&mut self, over: Vec<Lease>) {
        let (now, ours) = (clock::now(), self.vip_keys());
        for mut lease in over {
            lease.addresses.retain(|vip| !ours.contains(vip));
            if lease.addresses.is_empty() {
                self.guardian.release(lease.router, now);
            } else {
                self.guardian.lease(lease);
            }
        }
    }

    /// Everything but the VIPs is in place: routers may take part, and those that went on as Master
    /// get the VIPs that are new.
    pub(super) fn start(&mut self) {
        self.started = true;
        let grown: Vec<RouterKey> = std::mem::take(&mut self.adopted).into_keys().collect();
        if !grown.is_empty() {
            let before = self.present.len();
            self.sync_vips(&Moving::default(), false);
            self.renew_all();
            let more = self.present.len() > before;
            for key in grown.into_iter().filter(|_| more) {
                let repeat = self.routers.get(&key).map_or(0, |setup| setup.config.garp_repeat);
                self.announce(&key, repeat);
            }
        }
        self.start_routers();
    }

    /// What stands in a router's way on its interfaces.
    fn link_obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let setup = self.routers.get(key)?;
        let source = self.election.get(key).map_or(setup.config.source, |(_, router)| router.config().source);
        let ttl = setup.ttl();
        let here = self.ports.get(key.interface.as_str()).map(|port| port.check_source(source));
        let via = self.ports.get_mut(setup.via.as_str()).map(|port| port.check_sender(source, ttl));
        // Where its VIPs are, and where it hears the group.
        let others = setup.vips.keys().map(|vip| vip.interface.as_str());
        let others = others.chain(setup.virtual_mac.as_ref().map(|interface| interface.as_str()));
        let others: BTreeSet<&str> = others.collect();
        let others =
            others.into_iter().map(|name| self.ports.get(name).map(|port| port.check_open(key.family)));
        let all = [here, via].into_iter().chain(others);
        all.map(|port| port.unwrap_or(Err(FaultCause::InterfaceMissing))).find_map(Result::err)
    }

    /// What keeps a router from taking part. One that does is not held to having converged.
    pub(super) fn obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let waits = self.election.get(key).is_some_and(|(_, router)| router.state() == State::Initialize);
        let here = self.link_obstacle(key).or_else(|| self.kept_out(key));
        if !waits {
            return here;
        }
        let unready = (!self.started).then_some(FaultCause::NotConverged);
        let now = clock::now();
        let early = self.startup_end(key).is_some_and(|end| now < end).then_some(FaultCause::StartupDelay);
        here.or_else(|| self.backoff.cause(key, now)).or(unready).or(early)
    }

    /// Starts the routers that may take part and stops those that cannot. Those that do not take part
    /// are told why, which is then their reason in the status.
    pub(super) fn start_routers(&mut self) {
        let now = clock::now();
        let keys: Vec<(RouterKey, State)> =
            self.election.iter().map(|(key, _, router)| (key.clone(), router.state())).collect();
        for (key, state) in keys {
            match (self.obstacle(&key), state) {
                (Some(cause), State::Initialize) => {
                    self.election.handle(&key, Input::Fault(cause), now);
                    self.tell_fault(&key, cause);
                }
                (Some(cause), State::Backup | State::Master) => {
                    self.election.handle(&key, Input::Fault(cause), now);
                }
                (None, State::Initialize) => drop(self.election.handle(&key, Input::Startup, now)),
                (None, State::Backup | State::Master) => {}
            }
        }
        self.drain();
    }

    /// Tells why a router does not take part, when that is news. That a daemon which has just been
    /// started has not converged is none.
    fn tell_fault(&mut self, key: &RouterKey, cause: FaultCause) {
        if self.faults.insert(key.clone(), cause) != Some(cause) && cause != FaultCause::NotConverged {
            self.tell_router(key, format!("does not take part: {cause}"));
        }
    }
}
