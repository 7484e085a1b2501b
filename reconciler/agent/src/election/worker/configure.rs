//! A new plan: which routers there are, which of them go on by an earlier daemon's leases, and the start
//! after the first convergence.

use std::collections::BTreeSet;

use evenkeel_kernel::clock;
use evenkeel_vrrp::{Input, RouterKey};

use super::super::RouterSetup;
use super::super::rehearsal;
use super::Worker;
use super::vips::Moving;
use crate::guard::Lease;

impl Worker {
    /// Makes these the routers. Those that stay keep their state; those that leave give their VIPs away.
    pub(super) fn configure(&mut self, setups: Vec<RouterSetup>) {
        let before = self.routers.moving();
        self.vips.distrust();
        let keys: BTreeSet<RouterKey> = setups.iter().map(|setup| setup.key.clone()).collect();
        // Routers that leave stay known until their VIPs are removed and priority 0 was sent.
        self.routers.setups.extend(setups.into_iter().map(|setup| (setup.key.clone(), setup)));
        // VIPs of the plan before may still have to be removed.
        let mut leased = self.routers.vip_keys();
        leased.extend(self.vips.stuck().iter().cloned());
        self.leases.name_vips(leased);
        self.leases.find_peerless(self.routers.setups.values());
        self.admission.find_startups(self.routers.setups.values());
        if !before.is_empty() {
            // New VIPs of a Master are there before it announces them.
            self.sync_vips(&before, false);
        }
        self.routers.election.configure(self.members(|key| keys.contains(key)), clock::now());
        self.drain();
        self.routers.setups.retain(|key, _| keys.contains(key));
        self.leases.retain(self.routers.setups.values());
        self.ports.retain_sends(&keys);
        self.admission.retain(&keys);
        self.conflicts.retain(&keys);
        self.strangers.retain(&keys);
        self.open_ports();
        self.follow_links();
        let over = self.adopt();
        // What an earlier daemon left behind and no lease covers goes.
        self.sync_vips(&before, false);
        self.drain();
        self.leases.end_inherited(over, &self.routers.vip_keys(), clock::now());
        self.start_routers();
        self.watch_vips();
        // Last: a router that goes on as Master does not wait for it.
        if !self.rehearsed
            && let Some(setup) = self.routers.setups.values().next()
        {
            self.rehearsed = true;
            rehearsal::run(setup, &mut self.kernel);
        }
    }

    /// Routers whose inherited lease still runs go on as Master. Returns leases that no router is in charge
    /// of.
    fn adopt(&mut self) -> Vec<Lease> {
        let mut over = Vec::new();
        for lease in self.leases.take_inherited() {
            let now = clock::now();
            let setup = self.routers.setups.values().find(|setup| setup.key.to_string() == lease.router);
            let key = setup.filter(|_| lease.until > now).map(|setup| setup.key.clone());
            let Some(key) = key.filter(|key| self.link_obstacle(key).is_none()) else {
                over.push(lease);
                continue;
            };
            self.leases.adopt(&key, &lease, !self.admission.has_converged());
            self.routers.election.handle(&key, Input::Adopt, now);
            // The router's own lease will be without the VIPs that the plan no longer has: those are in this
            // one.
            over.push(Lease { router: format!("{key}, before process {}", std::process::id()), ..lease });
        }
        // Once all of them are Master: the first output makes the kernel drop the VIPs of all others.
        self.drain();
        over
    }

    /// Everything but the VIPs has converged: routers may take part, and adopted ones get the VIPs that their
    /// leases did not have.
    pub(super) fn start(&mut self) {
        self.admission.set_converged();
        let grown = self.leases.lift_limits();
        if !grown.is_empty() {
            let before = self.vips.count();
            self.sync_vips(&Moving::default(), false);
            self.leases.renew_all(&self.routers);
            if self.vips.count() > before {
                for key in grown {
                    self.announce(&key, self.routers.garp_repeat(&key));
                }
            }
        }
        self.start_routers();
    }
}
