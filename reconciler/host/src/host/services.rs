//! Virtual servers as wholes: their quorums and sorry servers, and the programs that are told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_converge::{Position, Standing};
use evenkeel_health::{CheckId, Says, Share, Verdict};
use evenkeel_schemas::plan::{Plan, Router, VirtualServer};
use evenkeel_vrrp::{Family, RouterKey};

use super::{Host, VERDICT_PAUSE, of};
use crate::event::{Effect, HealthEvent};
use crate::io::Output;
use crate::moment::Moment;
use crate::service::{Look, News};
use crate::verdicts;

impl Host {
    /// Applies the virtual servers of a plan that comes, after its checks.
    pub(super) fn configure_virtual_servers(&mut self, plan: &Plan, at: &Moment) {
        let before = self.plan();
        let mut services = std::mem::take(&mut self.services);
        let look = |at: Position, server: &VirtualServer| self.look(at, server);
        services.configure(plan, of(before.as_ref()), &look, at.now);
        self.hooks.configure_services(services.with_hooks());
        self.services = services;
    }

    /// Looks at virtual servers again: what changed is logged, and told to programs.
    pub(super) fn judge(&mut self, servers: &[usize], at: &Moment) {
        let Some(loaded) = self.plan() else { return };
        let plan = &loaded.plan;
        let mut services = std::mem::take(&mut self.services);
        let look = |at: Position, server: &VirtualServer| self.look(at, server);
        let news = services.judge(plan, servers.iter().copied(), &look, at.now);
        let why = |at: Position| {
            let fault = self.checks.state(at).and_then(|state| state.fault.as_ref());
            fault.map_or("its check failed", |fault| &fault.reason).to_owned()
        };
        let changes = services.changes(plan, &news, &why);
        self.services = services;
        self.tell_verdicts(plan);
        for (number, one) in news {
            self.log_news(plan, number, one);
        }
        let runs = self.hooks.services_changed(changes, at.now);
        self.run_hooks(runs);
        self.withdraw(plan);
    }

    fn log_floor(&mut self, server: &VirtualServer, number: usize) {
        let Some(state) = self.services.get(number) else { return };
        let known = state.floor().zip(server.floor.as_ref());
        let Some((now, floor)) = known else { return };
        let event = HealthEvent::Floor {
            service: server.name.clone(),
            front: server.front().map(|front| front.to_string()).unwrap_or_default(),
            is_below: now.is_below(),
            have: now.have,
            wanted: now.wanted,
            policy: floor.below,
            held: state.held_count(),
        };
        self.log(event);
    }

    /// Sends the election the routers that a service has withdrawn, when these have changed.
    fn withdraw(&mut self, plan: &Plan) {
        let mut vips: BTreeSet<IpAddr> = BTreeSet::new();
        for number in self.services.withdrawn(plan) {
            let server = plan.virtual_servers.get(number).into_iter();
            vips.extend(server.flat_map(VirtualServer::client_addresses).map(|vip| vip.0));
        }
        let of_router = |router: &&Router| {
            router.vips.iter().chain(&router.unadvertised_vips).any(|vip| vips.contains(&vip.address()))
        };
        let key = |router: &Router| RouterKey {
            interface: router.interface.clone(),
            family: Family::of(router.source.0),
            vrid: router.vrid,
        };
        let routers: BTreeSet<RouterKey> = plan.routers.iter().filter(of_router).map(key).collect();
        if routers != self.elected.withdrawn {
            self.elected.withdrawn.clone_from(&routers);
            self.push(Output::Withdrawn(routers));
        }
    }

    /// The weights of destinations that have returned grow by a step.
    pub(super) fn weights_grow(&mut self, at: &Moment) {
        let Some(loaded) = self.plan() else { return };
        let rising = self.services.rising(&loaded.plan);
        self.checks.turn(rising);
        // Not with verdicts that are passed on later: what is due would stay due until then.
        self.wants.verdicts_at = Some(at.now);
    }

    /// Weight that a destination asks for: the least of what its checks say; none where they say nothing.
    fn asked(&self, at: Position, server: &VirtualServer) -> Option<u16> {
        let destination = server.destinations.get(at.destination)?;
        let own = destination.weight.get();
        let asked = |says: &Says| match (says.drain, says.share) {
            (true, _) => Some(0),
            (false, Some(Share::Weight(weight))) => Some(weight),
            (false, Some(Share::Percent(0))) => Some(0),
            (false, Some(Share::Percent(percent))) => {
                let part = u32::from(own) * u32::from(percent) / 100;
                Some(u16::try_from(part).unwrap_or(u16::MAX).max(own.min(1)))
            }
            (false, None) => None,
        };
        let asked = self.checks.says(at).filter_map(asked).min();
        let before = || self.checks.weight_before(server, destination).filter(|_| !self.checks.settled(at));
        asked.or_else(before)
    }

    fn log_news(&mut self, plan: &Plan, number: usize, news: News) {
        let known = (plan.virtual_servers.get(number), self.services.get(number));
        let (Some(server), Some(state)) = known else { return };
        let up = match news {
            News::QuorumUp => true,
            News::QuorumDown => false,
            News::BelowFloor | News::AboveFloor => return self.log_floor(server, number),
            // The check itself is in the log.
            News::Failed(_) | News::FoundFailed(_) | News::Healthy(_) => return,
        };
        let event = HealthEvent::Quorum {
            service: server.name.clone(),
            front: server.front().map(|front| front.to_string()).unwrap_or_default(),
            up,
            have: state.have(),
            wanted: crate::service::state::threshold(server, !up),
            sorry: server.sorry_server.as_ref().map(|sorry| sorry.destination(&server.name).socket()),
        };
        self.log(event);
    }

    fn look(&self, at: Position, server: &VirtualServer) -> Look {
        let destination = server.destinations.get(at.destination);
        let order = destination.and_then(|one| self.drain_orders.order_for(server, one));
        Look {
            verdict: self.checks.verdict(at),
            settled: self.checks.settled(at),
            drains: order.is_some(),
            weight: self.asked(at, server),
            excused: self.checks.own_fault.cuts_off(self.checks.ids(at)),
        }
    }

    /// The standing of a destination now, orders to drain left out.
    pub(super) fn standing_by_verdict(&self, at: Position, server: &VirtualServer) -> Standing {
        let (verdict, asked) = (self.checks.verdict(at), self.asked(at, server));
        if let Some(state) = self.services.get(at.server) {
            return state.standing(server, at.destination, verdict, asked);
        }
        match (verdicts::standing(server, verdict, false), asked) {
            (Standing::Serving, Some(weight)) => Standing::Weighted(weight),
            (standing, _) => standing,
        }
    }

    /// What the verdicts of its checks do to a destination; `up`: one of them has become healthy.
    pub(super) fn effect(&self, at: Position, server: &VirtualServer, up: bool) -> Effect {
        let down = self.checks.state(at).is_some_and(|state| state.verdict == Verdict::Down);
        let state = self.services.get(at.server);
        let orders = server.destinations.get(at.destination);
        if orders.is_some_and(|one| self.drain_orders.order_for(server, one).is_some()) && !down {
            return Effect::Drains;
        }
        match self.standing_by_verdict(at, server) {
            Standing::Serving | Standing::Weighted(_) if down => Effect::StaysByFloor,
            Standing::Serving => Effect::Returns,
            Standing::Weighted(_) => {
                let grows = state.and_then(|state| state.rises_until(server, at.destination)).is_some();
                if grows { Effect::Grows } else { Effect::Returns }
            }
            _ if up && down => Effect::StillOut,
            _ if !down && state.is_some_and(|state| state.damped_until(at.destination).is_some()) => {
                Effect::Waits
            }
            _ if state.is_some_and(|state| state.sorry(server)) => Effect::Sorry,
            Standing::Quiet => Effect::Quiesced,
            Standing::Out | Standing::Draining(_) => Effect::TakenOut,
        }
    }

    /// A check has given its first verdict, the one that it began with: a virtual server may have waited for
    /// it.
    pub(super) fn check_has_spoken(&mut self, id: CheckId, at: &Moment) {
        let waits = |server: &usize| self.services.get(*server).is_some_and(|state| state.waits());
        let servers: Vec<usize> = self.checks.servers(id).into_iter().filter(waits).collect();
        if !servers.is_empty() {
            self.checks.turn(servers);
            self.wants.verdicts_at.get_or_insert(at.now + VERDICT_PAUSE);
        }
    }
}
