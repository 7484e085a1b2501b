//! The way from this host to what it checks, and whose fault it is when a check finds nothing.
//!
//! ```text
//!   interfaces --+
//!                +--> Ways --> a target's way is lost, or back --> board (verdicts stay, checks run at once)
//!   routes ------+      |
//!                       +----> `excuse` --+
//!   a probe's answer -------------------- +--> judge --> outcome
//! ```
//!
//! Values only: the agent hears of interfaces and asks the kernel for routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::time::MonoTime;

use crate::ailment::Ailment;
use crate::fault::{Fault, Says};
use crate::own_fault::Behind;
use crate::state::Outcome;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Whether there is such an interface still.
    pub there: bool,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
    /// Whether it is operational (`IFF_RUNNING`).
    pub running: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
}

impl Link {
    /// Ailment of the interface; none while it works.
    #[must_use]
    pub fn ailment(&self) -> Option<Ailment> {
        let name = || self.name.clone();
        match self {
            Self { there: false, .. } => Some(Ailment::NoInterface(name())),
            Self { up: false, .. } => Some(Ailment::SetDown(name())),
            Self { carrier: false, .. } => Some(Ailment::NoCarrier(name())),
            Self { running: false, .. } => Some(Ailment::NotOperational(name())),
            _ => None,
        }
    }
}

/// The route to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// None leads to it.
    None,
    /// By this interface.
    By {
        /// Index of the interface.
        interface: u32,
        /// Whether the target is on its link: no gateway is between.
        direct: bool,
        /// Gateway that is between; none where there is none, or it is of another family than the target.
        gateway: Option<IpAddr>,
    },
}

/// Answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The target is healthy, and what it says beside.
    Healthy(Says),
    /// The target gave no or a wrong answer, or others said that it cannot be reached.
    Failed(Fault),
    /// The agent that is asked about the target cannot be reached, and why, for people:
    /// nothing changes.
    Silent(Box<str>),
    /// The probe could not be made.
    Ails(Ailment),
}

impl Found {
    /// A healthy target that says nothing beside.
    #[must_use]
    pub fn healthy() -> Self {
        Self::Healthy(Says::default())
    }
}

impl From<Fault> for Found {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Whether what a probe found is the target's fault; `excuse` is what ailed this host at some time while the
/// probe was under way ([`Ways::excuse`]). An answer is one whatever ailed us.
#[must_use]
pub fn judge(found: Found, excuse: Option<Ailment>) -> Outcome {
    match (found, excuse) {
        (Found::Healthy(says), _) => Outcome::Success(says),
        (Found::Failed(fault), _) if fault.label.is_an_answer() => Outcome::Failure(fault),
        // A target that refuses has heard us.
        (Found::Failed(fault), Some(Ailment::NoAnswers(_))) if !fault.silent => Outcome::Failure(fault),
        (Found::Ails(ailment), _) | (Found::Failed(_) | Found::Silent(_), Some(ailment)) => {
            Outcome::Inconclusive(ailment)
        }
        (Found::Failed(fault), None) => Outcome::Failure(fault),
        (Found::Silent(why), None) => Outcome::Silent(why),
    }
}

/// Targets whose way has changed, and what ails it now; none when it is back.
pub type Turns = BTreeMap<IpAddr, Option<Ailment>>;

#[derive(Debug, Clone, Default)]
struct Target {
    /// Route; none before the first look-up.
    route: Option<Route>,
    /// The interface on whose link it was when it answered last.
    home: Option<u32>,
    ailment: Option<Ailment>,
    /// The last ailment of its way, and until when it was there.
    was: Option<(Ailment, MonoTime)>,
}

/// Ways to all targets. A way of which nothing is known has no ailment.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    links: BTreeMap<u32, Link>,
    targets: BTreeMap<IpAddr, Target>,
    /// Links that are at fault ([`crate::own_fault`]).
    faults: BTreeSet<Behind>,
}

impl Ways {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the targets. Ways of targets that stay are kept.
    pub fn watch(&mut self, targets: impl IntoIterator<Item = IpAddr>) {
        let mut before = std::mem::take(&mut self.targets);
        self.targets =
            targets.into_iter().map(|target| (target, before.remove(&target).unwrap_or_default())).collect();
        self.forget_unused();
    }

    /// The targets.
    pub fn targets(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.targets.keys().copied()
    }

    /// Sets all interfaces of the host, by index.
    pub fn links(&mut self, all: BTreeMap<u32, Link>, now: MonoTime) -> Turns {
        for (index, link) in &mut self.links {
            link.there &= all.contains_key(index);
        }
        self.links.extend(all);
        self.forget_unused();
        self.look(now, |_| true)
    }

    /// An interface came, changed or went.
    pub fn link(&mut self, index: u32, link: Link, now: MonoTime) -> Turns {
        if !link.there && !self.is_used(index) {
            self.links.remove(&index);
            return Turns::new();
        }
        self.links.insert(index, link);
        self.look(now, |target| target.uses(index))
    }

    /// Sets the routes to some targets.
    pub fn routes(&mut self, routes: impl IntoIterator<Item = (IpAddr, Route)>, now: MonoTime) -> Turns {
        let mut turns = Turns::new();
        for (address, route) in routes {
            let Some(target) = self.targets.get_mut(&address) else { continue };
            target.route = Some(route);
            if let Some(turn) = turn(target, &self.links, &self.faults, now) {
                turns.insert(address, turn);
            }
        }
        turns
    }

    /// A target has answered by the way that is known.
    pub fn answered(&mut self, target: IpAddr, now: MonoTime) -> Turns {
        let Some(target_) = self.targets.get_mut(&target) else { return Turns::new() };
        target_.home = match target_.route {
            Some(Route::By { interface, direct: true, .. }) => Some(interface),
            _ => None,
        };
        turn(target_, &self.links, &self.faults, now).map(|turn| (target, turn)).into_iter().collect()
    }

    /// Sets what nothing is heard through.
    pub fn faults(&mut self, faults: BTreeSet<Behind>, now: MonoTime) -> Turns {
        self.faults = faults;
        self.look(now, |_| true)
    }

    /// Links to a target, as far as its route is known.
    #[must_use]
    pub fn behind(&self, target: IpAddr) -> Vec<Behind> {
        self.targets.get(&target).map(Target::behind).unwrap_or_default()
    }

    /// Name of what targets are behind, for people.
    #[must_use]
    pub fn name(&self, behind: Behind) -> String {
        name(behind, &self.links)
    }

    /// Ailment of the way to a target now; none while the way works.
    #[must_use]
    pub fn ailment(&self, target: IpAddr) -> Option<&Ailment> {
        self.targets.get(&target)?.ailment.as_ref()
    }

    /// Ailment that keeps a probe from being made at all. A target that is elsewhere may answer.
    #[must_use]
    pub fn obstacle(&self, target: IpAddr) -> Option<Ailment> {
        match self.targets.get(&target)?.route? {
            Route::None => self.ailment(target).cloned(),
            Route::By { interface, .. } => self.links.get(&interface)?.ailment(),
        }
    }

    /// Ailment of the way to a target at any time since a probe began: then a failure of the probe is not the
    /// target's.
    #[must_use]
    pub fn excuse(&self, target: IpAddr, began: MonoTime) -> Option<Ailment> {
        let target = self.targets.get(&target)?;
        let was = target.was.as_ref().filter(|(_, until)| *until >= began);
        target.ailment.clone().or_else(|| was.map(|(ailment, _)| ailment.clone()))
    }

    /// Ailment of an interface by its name; none for an unknown interface.
    #[must_use]
    pub fn ailment_of(&self, interface: &str) -> Option<Ailment> {
        // An interface that is gone may come back under its name.
        let mut named = self.links.values().filter(|link| link.name == interface);
        let first = named.next()?.ailment();
        named.fold(first, |ailment, link| ailment.and_then(|_| link.ailment()))
    }

    /// The interfaces that something ails, by name.
    #[must_use]
    pub fn ailing(&self) -> BTreeSet<String> {
        let names = self.links.values().filter(|link| link.ailment().is_some()).map(|link| link.name.clone());
        // One that is gone may be there again under its name.
        names.filter(|name| self.ailment_of(name).is_some()).collect()
    }

    fn look(&mut self, now: MonoTime, which: impl Fn(&Target) -> bool) -> Turns {
        let (links, faults, targets) = (&self.links, &self.faults, &mut self.targets);
        let examined = targets.iter_mut().filter(|(_, target)| which(target));
        examined.filter_map(|(address, target)| Some((*address, turn(target, links, faults, now)?))).collect()
    }

    fn is_used(&self, index: u32) -> bool {
        self.targets.values().any(|target| target.uses(index))
    }

    /// Interfaces that are gone and on no way.
    fn forget_unused(&mut self) {
        let unused = |index: &u32, link: &Link| !link.there && !self.is_used(*index);
        let gone: Vec<u32> =
            self.links.iter().filter(|(index, link)| unused(index, link)).map(|(index, _)| *index).collect();
        for index in gone {
            self.links.remove(&index);
        }
    }
}

impl Target {
    fn uses(&self, index: u32) -> bool {
        self.home == Some(index)
            || matches!(self.route, Some(Route::By { interface, .. }) if interface == index)
    }

    fn behind(&self) -> Vec<Behind> {
        let Some(Route::By { interface, gateway, .. }) = self.route else { return Vec::new() };
        let gateway = gateway.map(|gateway| Behind::Gateway(interface, gateway));
        [Some(Behind::Interface(interface)), gateway].into_iter().flatten().collect()
    }

    fn find_ailment(&self, links: &BTreeMap<u32, Link>, faults: &BTreeSet<Behind>) -> Option<Ailment> {
        // Most of the time there are none.
        let at_fault = || {
            let mut behind = if faults.is_empty() { Vec::new() } else { self.behind() }.into_iter();
            Some(Ailment::NoAnswers(name(behind.find(|one| faults.contains(one))?, links)))
        };
        let of = |index: u32| links.get(&index).and_then(Link::ailment);
        let from_home = || {
            let home = self.home?;
            let name = || name(Behind::Interface(home), links);
            Some(of(home).unwrap_or_else(|| Ailment::Elsewhere(name())))
        };
        match self.route? {
            // The fault of the interface explains more than the missing route.
            Route::None => Some(match from_home() {
                None | Some(Ailment::Elsewhere(_)) => Ailment::NoRoute,
                Some(ailment) => ailment,
            }),
            Route::By { interface, direct: true, .. } => of(interface).or_else(at_fault),
            Route::By { interface, direct: false, .. } => of(interface).or_else(from_home).or_else(at_fault),
        }
    }
}

fn name(behind: Behind, links: &BTreeMap<u32, Link>) -> String {
    match behind {
        Behind::Interface(index) => {
            links.get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
        }
        Behind::Gateway(_, gateway) => format!("gateway {gateway}"),
    }
}

/// Looks again at what ails the way to a target; something when that changed.
fn turn(
    target: &mut Target,
    links: &BTreeMap<u32, Link>,
    faults: &BTreeSet<Behind>,
    now: MonoTime,
) -> Option<Option<Ailment>> {
    let found = target.find_ailment(links, faults);
    let before = std::mem::replace(&mut target.ailment, found.clone());
    let changed = before != found;
    // An ailment that goes on lasted until now.
    if let Some(ailment) = before {
        target.was = Some((ailment, now));
    }
    changed.then_some(found)
}
