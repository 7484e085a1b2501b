//! Which routers there are, and which of them may take part.

use std::collections::BTreeSet;

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_vrrp::{FaultCause, Input, Member, RouterKey, State};

use super::super::RouterSetup;
use super::super::port::Port;
use super::{Notice, Worker};
use crate::guard::Lease;

impl Worker {
    /// These are the routers now.
    pub(super) fn configure(&mut self, setups: Vec<RouterSetup>) {
        let before = self.vip_keys();
        let wanted = setups.iter().map(|setup| Member {
            key: setup.key.clone(),
            name: setup.name.clone(),
            group: setup.group.clone(),
            config: setup.config.clone(),
        });
        let wanted: Vec<Member> = wanted.collect();
        let keys: BTreeSet<RouterKey> = setups.iter().map(|setup| setup.key.clone()).collect();
        // New VIPs of a Master come before it announces them; routers that go stay known until their
        // VIPs are removed and their Backups told.
        self.routers.extend(setups.into_iter().map(|setup| (setup.key.clone(), setup)));
        if !before.is_empty() {
            self.sync_vips(&before, false);
        }
        self.election.configure(wanted, clock::now());
        self.drain();
        self.routers.retain(|key, _| keys.contains(key));
        self.granted.retain(|key, _| keys.contains(key));
        self.unsent.retain(|key, _| keys.contains(key));
        self.adopted.retain(|key, _| keys.contains(key));
        self.faults.retain(|key, _| keys.contains(key));
        self.holds.clear();
        self.ports.retain(|name, _| keys.iter().any(|key| key.interface == *name));
        for key in &keys {
            self.ports.entry(key.interface.clone()).or_insert_with(|| Port::new(key.interface.clone()));
        }
        self.follow_links();
        let over = self.adopt();
        // What an earlier daemon left behind and no lease covers goes.
        self.sync_vips(&before, false);
        self.drain();
        self.settle(over);
        self.start_routers();
    }

    /// Routers whose lease still runs go on as Master. Returns leases of which nobody is in charge.
    fn adopt(&mut self) -> Vec<Lease> {
        let mut over = Vec::new();
        for lease in std::mem::take(&mut self.leases) {
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
                self.guarding.release(lease.router, now);
            } else {
                self.guarding.lease(lease, now);
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
            self.sync_vips(&BTreeSet::new(), false);
            self.renew_all();
            let more = self.present.len() > before;
            for key in grown.into_iter().filter(|_| more) {
                let repeat = self.routers.get(&key).map_or(0, |setup| setup.config.garp_repeat);
                self.announce(&key, repeat);
            }
        }
        self.start_routers();
    }

    /// What stands in a router's way on its interface.
    fn link_obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let source = self.routers.get(key)?.config.source;
        match self.ports.get_mut(&key.interface) {
            Some(port) => port.check(source).err(),
            None => Some(FaultCause::InterfaceMissing),
        }
    }

    /// What keeps a router from taking part. One that does is not held to having converged.
    pub(super) fn obstacle(&mut self, key: &RouterKey) -> Option<FaultCause> {
        let waits = self.election.get(key).is_some_and(|(_, router)| router.state() == State::Initialize);
        let here = self.link_obstacle(key);
        if !waits {
            return here;
        }
        let unready = (!self.started).then_some(FaultCause::NotConverged);
        here.or_else(|| self.holds.cause(key, clock::now())).or(unready)
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
            self.drain();
        }
    }

    /// Tells why a router does not take part, when that is news. That a daemon which has just been
    /// started has not converged is none.
    fn tell_fault(&mut self, key: &RouterKey, cause: FaultCause) {
        if self.faults.insert(key.clone(), cause) != Some(cause) && cause != FaultCause::NotConverged {
            self.tell_router(key, format!("does not take part: {cause}"));
        }
    }

    /// Makes ports follow their interfaces.
    pub(super) fn follow_links(&mut self) {
        if self.ports.is_empty() {
            return;
        }
        let links = match self.kernel.links() {
            Ok(links) => links,
            Err(error) => {
                self.links_dirty = true;
                self.tell(Notice::Problem(format!("cannot read the interfaces: {error}")));
                return;
            }
        };
        let mut news = Vec::new();
        let mut replaced: BTreeSet<InterfaceName> = BTreeSet::new();
        for (name, port) in &mut self.ports {
            let followed = port.follow(links.iter().find(|link| link.name == name.as_str()));
            if matches!(followed, Ok(true)) {
                replaced.insert(name.clone());
            }
            let problem = followed.err().map(|error| format!("cannot open sockets on {name}: {error}"));
            news.extend(port.news(problem));
            let routers = self.routers.values().filter(|setup| setup.key.interface == *name);
            port.look_at_sources(&routers.map(|setup| setup.config.source).collect());
        }
        for text in news {
            self.tell(Notice::Problem(text));
        }
        self.links_dirty = false;
        self.links_read = true;
        // A new interface has none of the old one's addresses.
        self.vips_dirty |= !replaced.is_empty();
        self.replaced.extend(replaced);
    }

    /// Announces VIPs where the neighbours know a hardware address that is no longer ours.
    pub(super) fn announce_replaced(&mut self) {
        if self.replaced.is_empty() {
            return;
        }
        let replaced = std::mem::take(&mut self.replaced);
        let on = |key: &&RouterKey| replaced.contains(&key.interface);
        for key in self.routers.keys().filter(on).cloned().collect::<Vec<_>>() {
            let repeat = self.routers.get(&key).map_or(0, |setup| setup.config.garp_repeat);
            self.announce(&key, repeat);
        }
    }
}
