//! In which order hosts take their plans, so that every state on the way is safe.
//!
//! What is safe is said in [`super::rules`]; this file finds an order that keeps those rules. A host
//! takes a plan whole, so where a host must first let go and later take up, it gets plans between
//! the old and the new one. There are ten phases; those in which nobody has anything to do are
//! left out, and most changes need one to three.
//!
//! | phase | who | why then |
//! |---|---|---|
//! | return | directors that come back from maintenance | they serve before others let go |
//! | release | directors let go of VIPs that move | nobody may take up what another still holds |
//! | prepare | real servers get VIPs, tunnels, routes and settings | before anyone sends to them |
//! | backups | directors other than the preferred ones | a failover finds the new state |
//! | masters | preferred directors, and keepers of VIPs that move | only now peers can follow |
//! | rejoin | directors take up what they had let go | after the keeper speaks the new way |
//! | tidy | real servers lose VIPs, tunnels, routes and settings | nobody sends to them any more |
//! | late | real servers of a VIP that become its directors | after they lost it on `lo` |
//! | maintenance | directors that go into maintenance | the others are there to take over |
//! | forget | plans of hosts that are gone are removed | after they let go of everything |
//!
//! A VIP *moves* when its VRID or anything that peers reject while it differs changes. Its **keeper**
//! is the director that is Master, if it stays one of its directors: it alone holds the VIP from
//! release to rejoin, so the VIP is served without redundancy instead of having two owners.
//!
//! Where checks alone change, no traffic moves and all hosts take their plans in one stage (`checks`).
//!
//! A director that is, or becomes, a real server of its own VIP has it on `lo` and balances it only while it
//! is Master: both in one step, and both from prepare to tidy, as long as anyone may send to it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::plan::{Plan, Route, Router, VirtualServer};
use evenkeel_schemas::saved::Era;
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Name};

use super::{Fleet, HostState, compare, objects};

mod checks;
mod claims;
mod parts;
mod real_server;
mod telling;

pub(super) use claims::{Claim, Has, Side, Wire, family_and_vrid, held, related};
pub(super) use parts::{made_interfaces, of_interface};
pub(super) use telling::describe;
pub(crate) use telling::does;

use claims::Moves;
use parts::{Part, Routers, partly};

/// Phases. Every host is as before in phase 0 and as wanted in the last.
pub(super) const RETURN: u8 = 1;
pub(super) const RELEASE: u8 = 2;
pub(super) const PREPARE: u8 = 3;
pub(super) const BACKUPS: u8 = 4;
pub(super) const MASTERS: u8 = 5;
pub(super) const REJOIN: u8 = 6;
pub(super) const TIDY: u8 = 7;
pub(super) const LATE: u8 = 8;
pub(super) const MAINTENANCE: u8 = 9;
pub(super) const FORGET: u8 = 10;

const PHASES: [(u8, &str, &str); 10] = [
    (RETURN, "back from maintenance", "directors that come back serve before others let go"),
    (RELEASE, "let go", "what moves is let go of first, so that it never has two owners"),
    (PREPARE, "prepare real servers", "they have what they need before anyone sends to them"),
    (BACKUPS, "backup directors", "a failover from now on finds the new state"),
    (MASTERS, "preferred directors", "the Master changes when its Backups are ready"),
    (REJOIN, "rejoin", "directors take up what they had let go of; redundancy is back"),
    (TIDY, "tidy up", "real servers lose what nobody uses any more"),
    (LATE, "late directors", "hosts that were real servers of a VIP can now be its directors"),
    (MAINTENANCE, "maintenance", "a director leaves its elections when the others are there to take over"),
    (FORGET, "forget", "hosts that are gone have let go of everything; their plans are removed"),
];

/// Hosts that may take their plans in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// A few words.
    pub title: &'static str,
    /// Why it is a stage of its own.
    pub why: &'static str,
    /// Plan that each host gets.
    pub steps: BTreeMap<Name, HostStep>,
}

/// Plan that a host gets in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStep {
    /// The plan.
    pub take: Take,
    /// The compiled secrets that the plan names, and of which time each is.
    pub secrets: BTreeMap<String, Era>,
}

/// The plan that a host takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// None: its plan is removed.
    Nothing,
    /// The one that is wanted: the host has what it shall have after this.
    Whole,
    /// One between the old and the new one.
    Part(Box<Plan>),
}

impl HostStep {
    /// The plan that the host has after it.
    #[must_use]
    pub fn plan<'a>(&'a self, host: &Name, after: &'a Fleet) -> Option<&'a Plan> {
        match &self.take {
            Take::Nothing => None,
            Take::Whole => after.get(host).map(|state| &state.plan),
            Take::Part(plan) => Some(plan),
        }
    }

    /// Plan and secrets of the host after the stage.
    #[must_use]
    pub fn state(&self, host: &Name, before: &Fleet, after: &Fleet) -> Option<HostState> {
        let secret = |(name, era): (&String, &Era)| {
            let fleet = if *era == Era::Old { before } else { after };
            Some((name.clone(), fleet.get(host)?.secrets.get(name)?.clone()))
        };
        let wanted = after.get(host);
        // In the end as the compiler has it, byte for byte.
        let whole = match &self.take {
            Take::Nothing => return None,
            Take::Whole => wanted?,
            Take::Part(plan) => match wanted.filter(|state| state.plan == **plan) {
                Some(wanted) => wanted,
                None => &HostState::new((**plan).clone(), BTreeMap::new()),
            },
        };
        Some(HostState { secrets: self.secrets.iter().filter_map(secret).collect(), ..whole.clone() })
    }

    /// The same without a copy of the plan.
    pub(super) fn has<'a>(&'a self, host: &Name, before: &'a Fleet, after: &'a Fleet) -> Option<Has<'a>> {
        let secret = |(name, era): (&'a String, &Era)| {
            let fleet = if *era == Era::Old { before } else { after };
            Some((name.as_str(), fleet.get(host)?.secrets.get(name)?.as_str()))
        };
        let plan = self.plan(host, after)?;
        Some(Has { plan, secrets: self.secrets.iter().filter_map(secret).collect() })
    }
}

/// Compiled secrets, and of which time each is.
type Eras = BTreeMap<String, Era>;

/// State of a host between the old plan and the new one. Virtual servers are most of a plan and seldom differ
/// from both, so they are not copied.
struct Between<'a> {
    /// Without virtual servers. Its lists are in one order, so that they can be compared.
    plan: Plan,
    /// In one order as well.
    virtual_servers: Vec<Cow<'a, VirtualServer>>,
    eras: Eras,
}

impl<'a> Between<'a> {
    fn new(plan: Plan, virtual_servers: Vec<Cow<'a, VirtualServer>>, eras: Eras) -> Self {
        let mut between = Self { plan, virtual_servers, eras };
        arrange(&mut between.plan);
        between.virtual_servers.sort_by(|a, b| (&a.name, a.front()).cmp(&(&b.name, b.front())));
        between
    }

    /// A host that has one plan whole.
    fn of(plan: &'a Plan, era: Era) -> Self {
        let servers = plan.virtual_servers.iter().map(Cow::Borrowed).collect();
        let eras = secret_names(plan).into_iter().map(|name| (name, era)).collect();
        Self::new(objects::without_servers(plan), servers, eras)
    }

    fn is(&self, other: &Self) -> bool {
        let same = |(a, b): (&Cow<'a, VirtualServer>, &Cow<'a, VirtualServer>)| {
            std::ptr::eq(a.as_ref(), b.as_ref()) || a == b
        };
        self.virtual_servers.len() == other.virtual_servers.len()
            && self.plan == other.plan
            && self.virtual_servers.iter().zip(&other.virtual_servers).all(same)
    }

    fn to_plan(&self) -> Plan {
        let virtual_servers = self.virtual_servers.iter().map(|server| server.as_ref().clone()).collect();
        Plan { virtual_servers, ..self.plan.clone() }
    }
}

/// The stages from `before` to `after`, each with at least one host.
#[must_use]
pub fn stages(before: &Fleet, after: &Fleet) -> Vec<Stage> {
    if let Some(changed) = checks::changed_alone(before, after) {
        return vec![checks::stage(changed, after)];
    }
    let moves = Moves::new(before, after);
    let mut stages: Vec<Stage> =
        PHASES.iter().map(|(_, title, why)| Stage { title, why, steps: BTreeMap::new() }).collect();
    for name in compare::names(before, after) {
        let stays = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => before.is_like(after),
            _ => false,
        };
        if stays && !moves.concern(name) {
            continue;
        }
        let host = StagedHost::new(name, before.get(name), after.get(name), &moves);
        let turns = host.turns();
        let wanted = after.get(name).map(|state| Between::of(&state.plan, Era::New));
        let mut held = before.get(name).map(|state| Between::of(&state.plan, Era::Old));
        for (stage, (phase, _, _)) in stages.iter_mut().zip(PHASES) {
            if !turns.contains(&phase) {
                continue;
            }
            let next = host.at(phase);
            if !host.same(held.as_ref(), next.as_ref()) {
                stage.steps.insert(name.clone(), host.step(next.as_ref(), wanted.as_ref()));
                held = next;
            }
        }
    }
    stages.retain(|stage| !stage.steps.is_empty());
    stages
}

/// Phases in which a host holds a VIP as director: by its old plan before `drop`, by its new one from `gain`.
#[derive(Debug, Clone, Copy)]
struct HoldTimes {
    drop: u8,
    gain: u8,
    /// Phase in which its virtual servers change from old to new.
    servers: u8,
}

struct StagedHost<'a> {
    old: Option<&'a HostState>,
    new: Option<&'a HostState>,
    times: BTreeMap<IpAddr, HoldTimes>,
    /// Whether it gets VIPs, tunnels or routes as a real server.
    prepares: bool,
    /// Whether it loses some.
    tidies: bool,
    /// Phase in which it gets another gateway.
    gateway: u8,
    /// Phases in which the first and the last of its director's duties change.
    first: u8,
    last: u8,
}

const NO_PLAN: &[Router] = &[];

impl<'a> StagedHost<'a> {
    fn new(
        name: &'a Name,
        old: Option<&'a HostState>,
        new: Option<&'a HostState>,
        moves: &Moves<'a>,
    ) -> Self {
        let routers = |state: Option<&'a HostState>| state.map_or(NO_PLAN, |state| &state.plan.routers);
        let addresses =
            |state: Option<&'a HostState>| state.map(|state| &state.plan.addresses[..]).unwrap_or_default();
        let accepts = |state: Option<&'a HostState>| -> BTreeSet<IpAddr> {
            addresses(state).iter().map(|address| address.address.address()).collect()
        };
        let (accepts_old, accepts_new) = (accepts(old), accepts(new));
        let claims = |routers: &'a [Router]| -> BTreeMap<IpAddr, &'a Router> {
            routers.iter().flat_map(|router| held(router).map(move |vip| (vip, router))).collect()
        };
        let (claims_old, claims_new) = (claims(routers(old)), claims(routers(new)));
        let balanced = if accepts_old.is_empty() { BTreeSet::new() } else { balanced(old) };
        let mut times = BTreeMap::new();
        for vip in claims_old.keys().chain(claims_new.keys()) {
            let moved = moves.moves(*vip);
            let turn =
                |router: &Router| if moves.preferred(router) == Some(name) { MASTERS } else { BACKUPS };
            let found = match (claims_old.get(vip), claims_new.get(vip)) {
                (Some(_), Some(_)) if moved && moves.keeper(*vip) == Some(name) => {
                    HoldTimes { drop: MASTERS, gain: MASTERS, servers: MASTERS }
                }
                (Some(_), Some(_)) if moved => HoldTimes { drop: RELEASE, gain: REJOIN, servers: REJOIN },
                (Some(old), Some(_)) => HoldTimes { drop: turn(old), gain: turn(old), servers: turn(old) },
                // Who becomes a real server lets go first. One that is both all the time balances only as
                // Master.
                (Some(_), None) if accepts_new.contains(vip) && !accepts_old.contains(vip) => {
                    HoldTimes { drop: RELEASE, gain: RELEASE, servers: RELEASE }
                }
                (Some(old), None) if moves.goes_first(name, old) => {
                    HoldTimes { drop: RELEASE, gain: RELEASE, servers: RELEASE }
                }
                (Some(_), None) if moved => HoldTimes { drop: RELEASE, gain: REJOIN, servers: REJOIN },
                (Some(old), None) => HoldTimes { drop: turn(old), gain: turn(old), servers: turn(old) },
                (None, Some(_)) if accepts_old.contains(vip) && !accepts_new.contains(vip) => {
                    // What it still has from when it was a director goes before the real servers tidy up.
                    let balanced = balanced.contains(vip);
                    HoldTimes { drop: 0, gain: LATE, servers: if balanced { BACKUPS } else { LATE } }
                }
                (None, Some(new)) if moves.waits(name, new) => {
                    HoldTimes { drop: 0, gain: REJOIN, servers: REJOIN }
                }
                (None, Some(_)) if moved => HoldTimes { drop: 0, gain: REJOIN, servers: REJOIN },
                (None, Some(new)) => HoldTimes { drop: 0, gain: turn(new), servers: turn(new) },
                (None, None) => continue,
            };
            times.insert(*vip, found);
        }
        let turns = || times.values().map(|times| times.drop.max(times.gain).max(times.servers));
        Self {
            old,
            new,
            prepares: real_server::comes(old, new),
            tidies: real_server::comes(new, old),
            gateway: if moves.is_claimed_late(new) { TIDY } else { PREPARE },
            first: times.values().map(|times| times.gain).min().unwrap_or(BACKUPS).clamp(PREPARE, LATE),
            last: turns().max().unwrap_or(BACKUPS).max(BACKUPS),
            times,
        }
    }

    /// The phases in which anything may be another than in the phase before.
    fn turns(&self) -> BTreeSet<u8> {
        let times = self.times.values().flat_map(|times| [times.drop, times.gain, times.servers]);
        let own = [
            RETURN,
            PREPARE,
            BACKUPS,
            REJOIN,
            TIDY,
            MAINTENANCE,
            FORGET,
            self.gateway,
            self.first,
            self.last,
        ];
        times.chain(own).collect()
    }

    /// State of the host at the end of `phase`.
    fn at(&self, phase: u8) -> Option<Between<'a>> {
        let header = match (self.old, self.new) {
            (None, None) => return None,
            (Some(_), None) if phase >= FORGET => return None,
            (Some(old), None) => old,
            (None, Some(new)) => new,
            (Some(old), Some(new)) => {
                let turn = if self.times.is_empty() && self.prepares { PREPARE } else { self.last };
                if phase >= turn { new } else { old }
            }
        };
        let Routers { routers, sync_groups, trackers, made, secrets } = self.routers(phase);
        let addresses = self.addresses(phase);
        let tunnels = self.tunnels(phase);
        let virtual_servers = self.virtual_servers(phase, &routers, &addresses);
        let of_other_family = virtual_servers.iter().any(|server| real_server::is_of_two_families(server));
        let header = objects::header(&header.plan);
        let plan = Plan {
            sysctls: self.sysctls(phase, &made, &tunnels),
            routes: self.routes(phase, &routers, &addresses),
            tunnels,
            gue: self.gue(phase),
            addresses,
            routers,
            sync_groups,
            trackers,
            maintenance: self.is_in_maintenance(phase),
            // The kernel refuses both together.
            connection_sync: header.connection_sync.clone().filter(|_| !of_other_family),
            ..header
        };
        let idle = plan.routers.is_empty()
            && virtual_servers.is_empty()
            && plan.tunnels.is_empty()
            && plan.gue.is_empty()
            && plan.addresses.is_empty()
            && plan.routes.is_empty()
            && plan.sysctls.is_empty();
        if self.old.is_none() && idle && phase < BACKUPS {
            return None;
        }
        Some(Between::new(plan, virtual_servers, secrets))
    }

    /// A host that leaves maintenance does so first, and one that enters it last: in between nobody is
    /// missing.
    fn is_in_maintenance(&self, phase: u8) -> bool {
        let [old, new] = [self.old, self.new].map(|state| Self::plan(state).map(|plan| plan.maintenance));
        match (old, new) {
            (Some(old), Some(new)) => old && (new || phase < RETURN) || new && phase >= MAINTENANCE,
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }

    fn plan(state: Option<&'a HostState>) -> Option<&'a Plan> {
        state.map(|state| &state.plan)
    }

    fn routers(&self, phase: u8) -> Routers {
        let key = |router: &Router| (router.interface.clone(), family_and_vrid(router));
        let mut all: BTreeMap<_, (Option<&Router>, Option<&Router>)> = BTreeMap::new();
        for router in Self::plan(self.old).into_iter().flat_map(|plan| &plan.routers) {
            all.entry(key(router)).or_default().0 = Some(router);
        }
        for router in Self::plan(self.new).into_iter().flat_map(|plan| &plan.routers) {
            all.entry(key(router)).or_default().1 = Some(router);
        }
        let mut parts = Vec::new();
        for (old, new) in all.into_values() {
            let holds = |router: Option<&Router>, by: fn(&HoldTimes, u8) -> bool| {
                let holds = |vip: &IpAddr| self.times.get(vip).is_some_and(|times| by(times, phase));
                router.map(|router| held(router).filter(holds).collect::<BTreeSet<_>>()).unwrap_or_default()
            };
            let by_old = holds(old, |times, phase| phase < times.drop);
            let by_new = holds(new, |times, phase| phase >= times.gain);
            let (base, era) = match (old, new) {
                (_, Some(new)) if !by_new.is_empty() => (new, Era::New),
                (Some(old), _) if !by_old.is_empty() => (old, Era::Old),
                _ => continue,
            };
            let router =
                if era == Era::New && by_old.is_empty() && held(base).all(|vip| by_new.contains(&vip)) {
                    base.clone()
                } else {
                    partly(base, &[(old, &by_old), (new, &by_new)])
                };
            // What is not advertised moves along with what is.
            if !router.vips.is_empty() {
                parts.push(Part { router, era, old });
            }
        }
        Routers::new(parts, self.old, self.new)
    }

    fn secret(&self, name: &str, era: Era) -> Option<&'a String> {
        let state = if era == Era::Old { self.old } else { self.new };
        state?.secrets.get(name)
    }

    fn same(&self, a: Option<&Between<'a>>, b: Option<&Between<'a>>) -> bool {
        match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                let texts = |eras: &Eras| {
                    eras.iter().map(|(name, era)| self.secret(name, *era).cloned()).collect::<Vec<_>>()
                };
                a.eras.keys().eq(b.eras.keys()) && texts(&a.eras) == texts(&b.eras) && a.is(b)
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    fn step(&self, next: Option<&Between<'a>>, wanted: Option<&Between<'a>>) -> HostStep {
        let take = match next {
            None => Take::Nothing,
            Some(_) if self.same(next, wanted) => Take::Whole,
            Some(next) => Take::Part(Box::new(next.to_plan())),
        };
        HostStep { take, secrets: next.map(|next| next.eras.clone()).unwrap_or_default() }
    }
}

/// The VIPs that a host has virtual servers of.
fn balanced(state: Option<&HostState>) -> BTreeSet<IpAddr> {
    let servers = state.into_iter().flat_map(|state| &state.plan.virtual_servers);
    servers.flat_map(|server| server.client_addresses()).map(|address| address.0).collect()
}

/// Puts the lists of a plan without virtual servers in one order, so that plans can be compared.
fn arrange(plan: &mut Plan) {
    plan.routers.sort_by(|a, b| {
        let key = |router: &Router| {
            (router.name.clone(), router.source.0.is_ipv6(), router.vrid, router.interface.clone())
        };
        key(a).cmp(&key(b))
    });
    plan.sync_groups.sort_by(|a, b| a.name.cmp(&b.name));
    plan.trackers.sort_by(|a, b| a.name.cmp(&b.name));
    plan.tunnels.sort_by(|a, b| a.interface.cmp(&b.interface));
    plan.gue.sort_by_key(|gue| (gue.family, gue.port));
    plan.addresses.sort_by(|a, b| (&a.interface, a.address).cmp(&(&b.interface, b.address)));
    plan.routes.sort_by_key(route_key);
    plan.sysctls.sort_by(|a, b| a.key.cmp(&b.key));
}

/// Identity of a route in the kernel, and its interface.
fn route_key(route: &Route) -> (u32, Cidr, u32, InterfaceName) {
    (route.table, route.destination, route.metric, route.interface.clone())
}

/// Names of the compiled secrets of a plan.
pub(super) fn secret_names(plan: &Plan) -> Vec<String> {
    plan.routers.iter().filter_map(claims::compiled_secret).map(str::to_owned).collect()
}
