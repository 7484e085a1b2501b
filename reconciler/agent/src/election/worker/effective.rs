//! The configuration that a router runs with: the plan's, with what trackers, orders, checks and the
//! interface make of it. It is computed whole at each change and given to the router live.

use evenkeel_kernel::clock;
use evenkeel_schemas::status::RouterOrder;
use evenkeel_vrrp::{Config, Member, RouterKey};

use super::super::RouterSetup;
use super::Worker;

impl Worker {
    /// The routers that `which` names, with the configuration to run with.
    pub(super) fn members(&self, which: impl Fn(&RouterKey) -> bool) -> Vec<Member> {
        let setups = self.routers.setups.values().filter(|setup| which(&setup.key));
        let member = |setup: &RouterSetup| Member {
            key: setup.key.clone(),
            name: setup.name.clone(),
            group: setup.group.clone(),
            config: self.config(setup),
        };
        setups.map(member).collect()
    }

    /// Gives the routers the configuration that they should run with now.
    pub(super) fn reconfigure(&mut self) {
        self.routers.election.configure(self.members(|_| true), clock::now());
        self.drain();
    }

    fn config(&self, setup: &RouterSetup) -> Config {
        let mut config = setup.config.clone();
        config.priority = self.admission.tracking(setup).priority;
        // A router that has handed over, or is about to, comes back only when no other director is there.
        let yields = self.admission.order(&setup.name) == Some(RouterOrder::Yield);
        config.preempt &= !yields && !self.is_offered(&setup.name);
        config.unready = self.admission.is_unready(&self.routers, setup);
        if config.source.is_unspecified()
            && let Some(found) = self.ports.link_local(&setup.key.interface)
        {
            config.source = found;
        }
        config
    }
}
