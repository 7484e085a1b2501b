//! Plans: read, refused or put in force, and carried to the board of checks and the two threads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_converge::{Desired, Kind, Ledger, ObjectKey, View, desired};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Destination, Plan, Router, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::Rejected;
use tracing::{debug, error, info};

use super::elections::{bound_services, is_followed};
use super::facts::InForce;
use super::probation::FIRST_WRITE;
use super::recall;
use super::{Daemon, Options};
use crate::api::status;
use crate::election::Command;
use crate::guard::Lease;
use crate::source::directory::{self, Loaded};
use crate::source::read::{self};
use crate::state::disk::{Content, File};
use crate::system::times::{self, Times};
use evenkeel_host::handover;
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::pass::Wanted;
use evenkeel_host::recall::Memory;
use evenkeel_host::routers::RouterSetup;
use evenkeel_host::verdicts::{self, Verdicts};

impl Daemon {
    pub(crate) fn file(&self) -> PathBuf {
        read::plan_path(&self.options.plan, &self.options.host)
    }

    /// The first plan: the file, or else the last good one. Routers that an earlier daemon was Master
    /// of until just now cannot wait: all that they serve is in the kernel still.
    pub(super) fn first_plan(&mut self, leases: &[Lease], ledger: &Ledger) {
        // Tells whether the disk answers, before anything else is asked of it.
        self.disk.keep(Content::Probation(Box::new(self.record().clone())));
        self.disk.wait(File::Probation, FIRST_WRITE);
        let keep = directory::keep_by(&self.disk, self.state.path());
        let Options { host, trust, .. } = &self.options;
        let read = read::load_aside(&self.file(), host, keep, *trust);
        let Some((loaded, from_last_good, known)) = self.first_choice(read) else { return };
        let setups = setups(&loaded);
        let goes_on = |setup: &&RouterSetup| leases.iter().any(|l| l.router == setup.key.to_string());
        let adopted: BTreeSet<Name> = setups.iter().filter(goes_on).map(|setup| setup.name.clone()).collect();
        let kept = self.maintenance.clone();
        self.maintenance_for(&loaded.plan, |router| adopted.contains(router) || kept.serves(router));
        if !leases.is_empty() {
            self.watching.go_on(&loaded.plan);
            self.tell_trackers();
            self.orders_for(&loaded.plan);
            // What only a Master has is not taken away before the election tells of it.
            self.facts.masters.extend(adopted.iter().cloned());
            self.hooks.adopting(adopted.into_iter().collect());
            self.configure(setups);
        }
        let known = known.unwrap_or_else(|| {
            let host = &self.options.host;
            let verified = self.state.verified();
            let memory = Memory {
                ledger,
                drains: &self.state.drains(),
                orders: &self.drain_orders,
                verified: verified.as_ref(),
                plan: &|| self.state.last_good(host).map(|loaded| loaded.plan),
            };
            recall::left_behind(&loaded.plan, &memory)
        });
        self.adopt(loaded, from_last_good, &known);
    }

    pub(super) async fn read(&mut self, loaded: Loaded) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => return self.reject(&why.to_string()),
        };
        self.probation.comes();
        if let Some(in_force) = &mut self.facts.in_force
            && in_force.loaded.generation == loaded.generation
        {
            let same = in_force.loaded.secrets == loaded.secrets;
            in_force.from_last_good = false;
            self.facts.rejected = None;
            self.forget_rolled_back();
            if !same {
                let known = verdicts::in_force(&loaded.plan, &self.board);
                self.adopt(loaded, false, &known);
            }
            return;
        }
        self.changed_plan(loaded).await;
    }

    pub(super) fn reject(&mut self, reason: &str) {
        if self.facts.rejected.as_ref().is_some_and(|before| before.reason == reason) {
            return;
        }
        let stays = self.facts.in_force.as_ref().map_or("no plan is in force".to_owned(), |in_force| {
            format!("generation {} stays in force", in_force.loaded.generation.short())
        });
        error!("plan refused: {reason}; {stays}");
        let at = status::wall(clock::now());
        self.facts.rejected = Some(Rejected { at, reason: reason.to_owned() });
    }

    /// Puts a plan in force; `known` are the verdicts until now.
    pub(super) fn adopt(
        &mut self,
        loaded: impl Into<Arc<LoadedPlan>>,
        from_last_good: bool,
        known: &Verdicts,
    ) {
        let loaded: Arc<LoadedPlan> = loaded.into();
        let started = clock::now();
        let mut times = Times::new(started);
        if !from_last_good && !self.on_trial() {
            self.keep(Arc::clone(&loaded));
        }
        let plan = &loaded.plan;
        self.configure_checks(plan, known);
        times.note("checks");
        self.hooks.configure(plan);
        self.watching.configure(plan);
        self.watching.look_at_services(plan, &self.board);
        self.tell_trackers();
        if self.facts.in_force.is_some() {
            let there: BTreeSet<Name> = self.routers.iter().map(|setup| setup.name.clone()).collect();
            let (started, masters) = (self.started, self.facts.masters.clone());
            self.maintenance_for(plan, |router| {
                masters.contains(router) || started && there.contains(router)
            });
        }
        self.orders_for(plan);
        let (routers, virtual_servers) = (plan.routers.len(), plan.virtual_servers.len());
        info!(generation = loaded.generation.short(), routers, virtual_servers, "plan is in force");
        let next = setups(&loaded);
        if let Some(staying) = handover::without_leaving(&self.routers, &next) {
            self.configure(staying);
        }
        let since = status::wall(clock::now());
        self.facts.in_force = Some(InForce { loaded, since, from_last_good, converged: false });
        self.pending = Some(next);
        // Of the plan before.
        self.lacking.clear();
        times.note("routers");
        self.want(&Kind::ALL);
        times.note("wanted");
        debug!("taken in {:.1} ms:{times}", times::milliseconds(clock::now().since(started)));
        self.plan_serial = self.serial;
        // The plan may tell to drain.
        self.facts.drains_serial = self.serial;
        self.check_drain_orders();
        self.look_in_the_way_soon();
    }

    /// Whether the kernel was as the plan in force says when it was last looked at, VIPs aside.
    pub(crate) fn has_plan(&self) -> bool {
        self.facts.last.as_ref().is_some_and(|last| last.serial >= self.plan_serial && last.converged)
    }

    /// Whether it was so but for what the kernel has no means for.
    pub(crate) fn is_ready(&self) -> bool {
        self.facts.last.as_ref().is_some_and(|last| last.serial >= self.plan_serial && last.ready)
    }

    /// Whether it was so but for some of these objects, which the kernel has no means for.
    pub(super) fn lacks_nothing_but(&self, known: &BTreeSet<ObjectKey>) -> bool {
        self.is_ready() && self.facts.last.as_ref().is_some_and(|last| last.lacking.is_subset(known))
    }

    pub(super) fn configure(&mut self, setups: Vec<RouterSetup>) {
        self.routers.clone_from(&setups);
        self.election.send(Command::Configure(setups));
    }

    /// Tells the convergence thread what is wanted now.
    pub(super) fn want(&mut self, kinds: &[Kind]) {
        self.verdicts_at = None;
        if let Some(wanted) = self.wanted() {
            self.converger.mailbox().want(wanted, kinds);
        }
    }

    /// What is wanted now.
    pub(super) fn wanted(&mut self) -> Option<Wanted> {
        let loaded = self.facts.plan()?;
        let plan: &Plan = &loaded.plan;
        let standing = |server: &VirtualServer, destination: &Destination| self.standing(server, destination);
        let mut desired: Desired = desired(plan, View { standing: &standing, masters: &self.facts.masters });
        // What moves with routers of the plan before is the election's until it has the new one.
        desired.vips.extend(handover::vips(&self.routers));
        desired.vip_routes.extend(self.routers.iter().flat_map(|setup| setup.routes.keys().copied()));
        desired.vip_rules.extend(self.routers.iter().flat_map(|setup| setup.rules.keys().cloned()));
        self.serial += 1;
        let desired = Arc::new(desired);
        Some(Wanted { serial: self.serial, desired, resync: plan.policy.resync.as_duration() })
    }
}

fn setups(loaded: &LoadedPlan) -> Vec<RouterSetup> {
    let plan = &loaded.plan;
    let setup = |router: &Router| {
        let secret = loaded.secrets.get(&router.name).copied();
        let setup = RouterSetup::new(router, &plan.host_addresses, secret, is_followed(plan, &router.name))?;
        Some(RouterSetup { bound: bound_services(plan, &router.name), ..setup })
    };
    plan.routers.iter().filter_map(setup).collect()
}
