//! Plans: refused or put in force, and sent to the checks and to both loops.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_converge::{Desired, Kind, ObjectKey, Position, View, desired};
use evenkeel_schemas::plan::{Destination, Plan, Router, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::Rejected;

use super::Host;
use super::elections::{bound_services, is_followed};
use crate::event::PlanEvent;
use crate::facts::InForce;
use crate::handover;
use crate::io::Output;
use crate::loaded::{LoadedPlan, PlanRefusal};
use crate::moment::Moment;
use crate::pass::Wanted;
use crate::routers::RouterSetup;
use crate::verdicts::Verdicts;

impl Host {
    /// Handles a plan that was read, or its refusal.
    pub(super) fn handle_plan(&mut self, read: Result<Arc<LoadedPlan>, PlanRefusal>, at: &Moment) {
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(why) => return self.reject(&why.to_string(), at),
        };
        self.probation.plan_comes();
        if let Some(in_force) = &mut self.facts.in_force
            && in_force.loaded.generation == loaded.generation
        {
            let same = in_force.loaded.secrets == loaded.secrets;
            in_force.from_last_good = false;
            self.facts.rejected = None;
            self.forget_rolled_back();
            if !same {
                let known = self.checks.verdicts(&loaded.plan);
                self.adopt(loaded, false, &known, at);
            }
            return;
        }
        self.handle_changed_plan(loaded, at);
    }

    /// Refuses a plan for a reason that people read. The plan in force stays. A reason that was logged last
    /// is not logged again.
    pub(super) fn reject(&mut self, reason: &str, at: &Moment) {
        if self.facts.rejected.as_ref().is_some_and(|before| before.reason == reason) {
            return;
        }
        let stays = self.plan().map(|loaded| loaded.generation.short().to_owned());
        self.log(PlanEvent::Refused { reason: reason.to_owned(), stays });
        self.facts.rejected = Some(Rejected { at: at.text(), reason: reason.to_owned() });
    }

    /// Puts a plan in force; `known` has the verdicts so far.
    pub(super) fn adopt(
        &mut self,
        loaded: Arc<LoadedPlan>,
        from_last_good: bool,
        known: &Verdicts,
        at: &Moment,
    ) {
        if !from_last_good && !self.on_trial() {
            self.keep_last_good(Arc::clone(&loaded));
        }
        let plan = &loaded.plan;
        self.configure_checks(plan, known, at.now);
        self.configure_filling(plan, at);
        self.configure_virtual_servers(plan, at);
        self.hooks.configure(plan);
        self.configure_trackers(plan, at);
        if self.facts.in_force.is_some() {
            let there: BTreeSet<Name> = self.elected.routers.iter().map(|setup| setup.name.clone()).collect();
            let (started, masters) = (self.elected.started, self.facts.masters.clone());
            self.maintenance_for(plan, |router| {
                masters.contains(router) || started && there.contains(router)
            });
        }
        self.orders_for(plan);
        let (routers, virtual_servers) = (plan.routers.len(), plan.virtual_servers.len());
        let generation = loaded.generation.short().to_owned();
        self.log(PlanEvent::InForce { generation, routers, virtual_servers });
        let next = setups(&loaded);
        // A VIP that leaves goes before its virtual servers do.
        if let Some(staying) = handover::without_leaving(&self.elected.routers, &next) {
            self.configure_election(staying);
        }
        self.facts.in_force = Some(InForce { loaded, since: at.text(), from_last_good, converged: false });
        self.elected.pending = Some(next);
        // Objects that the plan before lacked say nothing about this plan.
        self.elected.lacking.clear();
        self.want(&Kind::ALL, at);
        self.wants.plan_serial = self.wants.serial;
        // The plan itself may order drains.
        self.facts.drains_serial = self.wants.serial;
        self.check_drain_orders();
        self.look_in_the_way_soon(at);
    }

    /// Whether the kernel was as the plan in force says at the last pass, VIPs aside.
    pub(super) fn has_plan(&self) -> bool {
        self.facts.last.as_ref().is_some_and(|last| last.serial >= self.wants.plan_serial && last.converged)
    }

    /// Whether the last pass found everything but what the kernel has no means for.
    pub(super) fn is_ready(&self) -> bool {
        self.facts.last.as_ref().is_some_and(|last| last.serial >= self.wants.plan_serial && last.ready)
    }

    /// Whether the last pass lacked some of these objects at most, which the kernel has no means for.
    pub(super) fn lacks_nothing_but(&self, known: &BTreeSet<ObjectKey>) -> bool {
        self.is_ready() && self.facts.last.as_ref().is_some_and(|last| last.lacking.is_subset(known))
    }

    /// Gives the election these routers, and no others.
    pub(super) fn configure_election(&mut self, setups: Vec<RouterSetup>) {
        self.elected.routers.clone_from(&setups);
        self.push(Output::Configure(setups));
    }

    /// Sends convergence the whole wanted state; it may differ from the one before in these kinds.
    pub(super) fn want(&mut self, kinds: &[Kind], at: &Moment) {
        self.wants.verdicts_at = None;
        self.checks.turned_are_wanted();
        let Some(loaded) = self.plan() else { return };
        let plan: &Plan = &loaded.plan;
        self.leave_out(plan, 0..plan.virtual_servers.len());
        self.judge(&self.services.all(), at);
        let standing = |at: Position, server: &VirtualServer, destination: &Destination| {
            self.standing(at, server, destination)
        };
        let sorry = |server| self.services.sorry(server);
        let view = View { standing: &standing, sorry: &sorry, masters: &self.facts.masters };
        let mut desired: Desired = desired(plan, view);
        // VIPs, routes and rules of the routers of the plan before belong to the election until it has the
        // new routers.
        let routers = &self.elected.routers;
        desired.vips.extend(handover::vips(routers));
        desired.vip_routes.extend(routers.iter().flat_map(|setup| setup.routes.keys().copied()));
        desired.vip_rules.extend(routers.iter().flat_map(|setup| setup.rules.keys().cloned()));
        self.wants.serial += 1;
        let wanted = Wanted {
            serial: self.wants.serial,
            desired: Arc::new(desired),
            resync: plan.policy.resync.as_duration(),
        };
        self.push(Output::Want(wanted, kinds.to_vec()));
    }
}

/// The routers of a plan as the election gets them.
pub(super) fn setups(loaded: &LoadedPlan) -> Vec<RouterSetup> {
    let plan = &loaded.plan;
    let setup = |router: &Router| {
        let secret = loaded.secrets.get(&router.name);
        let setup = RouterSetup::new(router, &plan.host_addresses, secret, is_followed(plan, &router.name))?;
        Some(RouterSetup { bound: bound_services(plan, &router.name), ..setup })
    };
    plan.routers.iter().filter_map(setup).collect()
}
