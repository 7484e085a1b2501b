//! This director's own link is at fault: nothing behind an interface or a gateway answers, and all did until
//! then. That verdicts stay is the health loop's doing; here its routers give way to directors that others
//! answer, and what is cut off makes way for destinations that answer still.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::Position;
use evenkeel_health::{CheckId, Verdict};
use evenkeel_schemas::plan::{Plan, Router};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::OwnFaultStatus;
use evenkeel_schemas::time::MonoTime;

use super::{Host, VERDICT_PAUSE};
use crate::event::HealthEvent;
use crate::io::Output;
use crate::moment::Moment;
use crate::router_checks::checks_of_routers;

/// Links that are at fault, and what follows for routers and destinations.
#[derive(Debug, Default)]
pub(super) struct OwnFault {
    /// Interfaces and gateways behind which nothing answers, since when, and the checks behind each.
    links: BTreeMap<String, (MonoTime, BTreeSet<CheckId>)>,
    /// Routers that give way, as the election was last sent them.
    giving_way: BTreeSet<Name>,
    /// Destinations that are cut off while others of their virtual server answer, or it has a sorry server.
    left_out: BTreeSet<Position>,
}

impl OwnFault {
    /// Whether a destination is out because it is cut off and others answer.
    pub(super) fn leaves_out(&self, at: Position) -> bool {
        !self.left_out.is_empty() && self.left_out.contains(&at)
    }

    /// Why a destination with these checks is out although none of them has failed; none where it is not.
    pub(super) fn words(&self, at: Position, mut ids: impl Iterator<Item = CheckId>) -> Option<String> {
        let link = ids.find_map(|id| self.link_of(id)).filter(|_| self.leaves_out(at))?;
        Some(format!("out, since nothing behind {link} answers and others can serve"))
    }

    /// Whether one of these checks is cut off.
    pub(super) fn cuts_off(&self, mut ids: impl Iterator<Item = CheckId>) -> bool {
        !self.links.is_empty() && ids.any(|id| self.link_of(id).is_some())
    }

    /// The link that a check is cut off by.
    fn link_of(&self, id: CheckId) -> Option<&str> {
        let mut links = self.links.iter();
        links.find(|(_, (_, checks))| checks.contains(&id)).map(|(name, _)| name.as_str())
    }

    /// Status of each link.
    pub(super) fn status(&self, at: &Moment) -> Vec<OwnFaultStatus> {
        let status = |(link, (since, checks)): (&String, &(MonoTime, BTreeSet<CheckId>))| OwnFaultStatus {
            link: link.clone(),
            since: at.wall(*since),
            checks: u64::try_from(checks.len()).unwrap_or(u64::MAX),
            routers: self.giving_way.iter().cloned().collect(),
        };
        self.links.iter().map(status).collect()
    }
}

impl Host {
    /// Takes the links that are at fault, all there are.
    pub(super) fn links_are_at_fault(&mut self, links: BTreeMap<String, BTreeSet<CheckId>>, at: &Moment) {
        let before = std::mem::take(&mut self.checks.own_fault.links);
        let since = |link: &String| before.get(link).map_or(at.now, |(since, _)| *since);
        let now: BTreeMap<_, _> =
            links.into_iter().map(|(link, ids)| (link.clone(), (since(&link), ids))).collect();
        let concerned = before.values().chain(now.values()).flat_map(|(_, ids)| ids);
        let servers: BTreeSet<usize> = concerned.flat_map(|id| self.checks.servers(*id)).collect();
        self.checks.turn(servers);
        self.wants.verdicts_at.get_or_insert(at.now + VERDICT_PAUSE);
        let begins = now.iter().filter(|(link, _)| !before.contains_key(*link));
        let begins: Vec<(String, BTreeSet<CheckId>)> =
            begins.map(|(link, (_, ids))| (link.clone(), ids.clone())).collect();
        let over: Vec<(String, MonoTime)> = before
            .iter()
            .filter(|(link, _)| !now.contains_key(*link))
            .map(|(link, (since, _))| (link.clone(), *since))
            .collect();
        self.checks.own_fault.links = now;
        let Some(loaded) = self.plan() else { return };
        let plan = &loaded.plan;
        for (link, ids) in begins {
            let routers = self.routers_of(plan, &ids);
            let weight = |router: &Router| router.own_fault_weight.map_or(0, |weight| weight.get());
            let lowered = plan.routers.iter().filter(|router| routers.contains(&router.name));
            let lowered: BTreeMap<Name, u8> =
                lowered.map(|router| (router.name.clone(), weight(router))).collect();
            self.log(HealthEvent::OwnFault { link, checks: ids.len(), lowered });
        }
        for (link, since) in over {
            self.log(HealthEvent::OwnFaultOver { link, lasted: at.now.since(since) });
        }
        self.routers_give_way(plan);
    }

    /// Sends the election the routers that give way, when these have changed.
    pub(super) fn routers_give_way(&mut self, plan: &Plan) {
        let ids = self.checks.own_fault.links.values().flat_map(|(_, ids)| ids).copied().collect();
        let routers = self.routers_of(plan, &ids);
        if routers != self.checks.own_fault.giving_way {
            self.checks.own_fault.giving_way.clone_from(&routers);
            self.push(Output::GiveWay(routers));
        }
    }

    /// The routers whose services have one of these checks.
    fn routers_of(&self, plan: &Plan, ids: &BTreeSet<CheckId>) -> BTreeSet<Name> {
        if ids.is_empty() {
            return BTreeSet::new();
        }
        let routers = checks_of_routers(plan, self.checks.numbers()).into_iter();
        let concerned = routers.filter(|(_, checks)| checks.keys().any(|id| ids.contains(id)));
        let concerned: BTreeSet<Name> = concerned.map(|(name, _)| name).collect();
        // Routers that move together give way together.
        let members = || plan.routers.iter().filter(|router| concerned.contains(&router.name));
        let groups: BTreeSet<&Name> = members().filter_map(|router| router.sync_group.as_ref()).collect();
        let moves_along =
            |router: &&Router| router.sync_group.as_ref().is_some_and(|one| groups.contains(one));
        let others = plan.routers.iter().filter(moves_along).map(|router| router.name.clone());
        others.chain(members().map(|router| router.name.clone())).collect()
    }

    /// Looks which destinations of these virtual servers are cut off while others answer, or a sorry server
    /// is there. Where nobody else could serve, all stay: another director may reach them.
    pub(super) fn leave_out(&mut self, plan: &Plan, servers: impl Iterator<Item = usize>) {
        let fault = &self.checks.own_fault;
        if fault.links.is_empty() && fault.left_out.is_empty() {
            return;
        }
        let mut left_out = std::mem::take(&mut self.checks.own_fault.left_out);
        let cut_off =
            |at: Position| self.checks.ids(at).any(|id| self.checks.own_fault.link_of(id).is_some());
        for number in servers {
            let Some(server) = plan.virtual_servers.get(number) else { continue };
            let positions =
                || (0..server.destinations.len()).map(|destination| Position { server: number, destination });
            let answers = |at: &Position| {
                let destination = server.destinations.get(at.destination);
                destination.is_some_and(|one| {
                    one.weight.get() > 0 && self.drain_orders.order_for(server, one).is_none()
                }) && self.checks.state(*at).is_none_or(|state| state.verdict == Verdict::Up)
                    && !cut_off(*at)
            };
            let others = server.sorry_server.is_some() || positions().any(|at| answers(&at));
            for at in positions() {
                if others && cut_off(at) {
                    left_out.insert(at)
                } else {
                    left_out.remove(&at)
                };
            }
        }
        self.checks.own_fault.left_out = left_out;
    }

    /// The destinations of a plan that comes are others.
    pub(super) fn forget_left_out(&mut self) {
        self.checks.own_fault.left_out.clear();
    }
}
