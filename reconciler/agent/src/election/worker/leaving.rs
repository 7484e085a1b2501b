//! Masters that leave in order: they serve until another director does. The state machine decides when that
//! is; here is what the host does meanwhile.
//!
//! Neighbours hear nothing of the VIPs any more, so that the new Master's announcement is the last one. The
//! guardian holds them for as long as the router may serve, in case this process dies.

use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_vrrp::{Cause, RouterKey};

use super::Worker;

impl Worker {
    /// The end of the daemon begins: all routers leave. A second time it does not wait for other Masters.
    ///
    /// Returns whether the thread may end.
    pub(super) fn begin_end(&mut self) -> bool {
        if self.ending {
            return true;
        }
        self.ending = true;
        self.routers.election.shutdown(clock::now());
        self.drain();
        self.has_left()
    }

    /// Whether the daemon ends and nothing of it serves any more.
    pub(super) fn has_left(&self) -> bool {
        self.ending && !self.routers.election.is_leaving()
    }

    /// A router has sent priority 0. Where it serves on, that has an end.
    pub(super) fn begin_leaving(&mut self, key: &RouterKey) {
        let leaves = self.routers.election.get(key).is_some_and(|(_, router)| router.is_leaving());
        if !leaves || !self.leases.leave(&self.routers, key, clock::now()) {
            return;
        }
        let Some(setup) = self.routers.setup(key) else { return };
        for vip in setup.vips.keys().chain(&setup.owned) {
            self.ports.withdraw(vip);
        }
    }

    /// Why a router has left its state, and for one that served on meanwhile who made it end.
    pub(super) fn reason_of(&mut self, key: &RouterKey, cause: Cause) -> String {
        let Some(since) = self.leases.left(key) else { return cause.to_string() };
        let heard = self.routers.election.get(key).and_then(|(_, router)| router.other_heard());
        let served = |until: Duration| format!("{}.{:03} s", until.as_secs(), until.subsec_millis());
        match heard.filter(|heard| *heard >= since) {
            Some(heard) => {
                format!("{cause}; served for {} until another Master was heard", served(heard.since(since)))
            }
            None => {
                let now = clock::now();
                format!("{cause}; served for {}, and no other Master was heard", served(now.since(since)))
            }
        }
    }
}
