//! Routers that wait for the connections of another director before they take over from it.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_schemas::cluster::SyncMode;
use evenkeel_schemas::plan::{ConnectionSync, Plan};
use evenkeel_schemas::scalars::{Name, Span};

use super::{Host, of};
use crate::event::ElectionEvent;
use crate::io::Output;
use crate::moment::Moment;

/// Longest time for which the router of a synchronisation waits; none where it does not wait.
fn longest(sync: &ConnectionSync) -> Option<Duration> {
    let longest = sync.preempt_after_sync.map(Span::as_duration).filter(|longest| !longest.is_zero());
    longest.filter(|_| sync.mode != SyncMode::Master)
}

/// The router of a plan's synchronisation, with the interfaces that connections and advertisements come by.
fn receiver(plan: &Plan) -> Option<(&Name, BTreeSet<&str>)> {
    let sync = plan.connection_sync.as_ref()?;
    let routers = plan.routers.iter().filter(|router| router.name == sync.router);
    let speaks = routers.map(|router| router.interface.as_str());
    Some((&sync.router, speaks.chain([sync.interface.as_str()]).collect()))
}

impl Host {
    /// Applies the synchronisation of a plan that comes, before it is in force. What this host does not
    /// receive yet it waits for.
    pub(super) fn configure_filling(&mut self, plan: &Plan, at: &Moment) {
        let before = self.plan();
        let before = of(before.as_ref()).and_then(|plan| plan.connection_sync.as_ref());
        let sync = plan.connection_sync.as_ref();
        let wanted = sync.and_then(|sync| Some((sync, longest(sync)?)));
        self.elected.filling.keep(|router| wanted.is_some_and(|(sync, _)| sync.router == *router));
        if let Some((sync, longest)) = wanted
            && before.is_none_or(|before| before.router != sync.router)
        {
            self.elected.filling.begin(sync.router.clone(), longest, at.now);
        }
        self.send_waiting();
    }

    /// Begins to wait anew where an interface is well again by which connections come: those of the
    /// meantime are missing. `before`: the interfaces that ailed.
    pub(super) fn missed_connections(&mut self, before: &BTreeSet<String>, at: &Moment) {
        let Some(loaded) = self.plan() else { return };
        let plan = &loaded.plan;
        let Some((router, interfaces)) = receiver(plan) else { return };
        let ailing = &self.checks.ailing;
        let is_back = |interface: &&&str| before.contains(**interface) && !ailing.contains(**interface);
        let Some(longest) = plan.connection_sync.as_ref().and_then(longest) else { return };
        if interfaces.iter().any(|interface| is_back(&interface)) {
            self.elected.filling.begin(router.clone(), longest, at.now);
            self.send_waiting();
        }
    }

    /// A look at the table is due, or a router has waited its longest time.
    pub(super) fn filling_due(&mut self, at: &Moment) {
        for router in self.elected.filling.expire(at.now) {
            self.may_take_over(router, false);
        }
        self.send_waiting();
        if self.elected.filling.looks(at.now) {
            self.push(Output::CountReceived);
        }
    }

    /// So many connections have been received from other directors; none where they cannot be counted.
    pub(super) fn received(&mut self, received: Option<u64>, at: &Moment) {
        for router in self.elected.filling.counted(received, at.now) {
            self.may_take_over(router, true);
        }
        self.send_waiting();
    }

    /// Logs that a router that was held back waits for no connections any more.
    fn may_take_over(&mut self, router: Name, complete: bool) {
        if self.checks.release(&router) {
            self.log(ElectionEvent::ConnectionsArrived { router, complete });
        }
    }
}
