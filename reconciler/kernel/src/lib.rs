//! All reading and changing of the kernel: links, addresses, routes, rules, sysctls, IPVS.
//!
//! Netlink sockets and procfs only, no programs are started. Synchronous: one [`Kernel`] belongs to
//! one thread, blocks for a bounded time and has no retry policy; the caller decides by
//! [`Class`]. What to change is decided elsewhere: this crate carries out [`Op`]s in the order given
//! and reports what is there.
//!
//! ```text
//! Kernel ── address, route, rule,
//!           link, device ───────── netlink (rtnetlink socket) ──┐
//!        ── ipvs, fou ───────────── netlink (generic socket) ────┤ kernel, in the network namespace
//!        ── sysctl ──────────────── /proc/sys/net ───────────────┤ of the thread that opened it
//! Monitor ───────────────────────── multicast socket ────────────┘
//! ```

mod address;
mod alarm;
mod apply;
pub mod clock;
mod device;
mod error;
mod fou;
mod generic;
mod inbox;
mod ipvs;
mod link;
mod module;
mod monitor;
mod netlink;
mod route;
mod rule;
mod sysctl;
mod way;
mod wire;
#[cfg(test)]
mod without_ipv6;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_converge::{AddressKey, KernelState, Kind, Op, Service, ServiceKey, SyncDaemon, SyncRole};

pub use alarm::Alarm;
pub use error::{ApplyError, Class, KernelError, Reason};
pub use ipvs::{Counters, DestinationUsage, Origins, ServiceUsage, connection_origins, ipvs_loaded};
pub use link::Link;
pub use module::loaded_for_ipvs;
pub use monitor::{Event, Group, Monitor};
pub use way::Way;

use netlink::Requester;

/// Objects to observe. Everything not named is absent from the observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Resource kinds.
    pub kinds: BTreeSet<Kind>,
    /// Names of interfaces to observe as objects ([`Kind::Links`]) beside those with our tag.
    pub links: BTreeSet<String>,
    /// Names of the interfaces whose addresses and routes are observed; one that is missing has none.
    pub interfaces: BTreeSet<String>,
    /// Routing tables besides `main` (254) in which routes of others are observed; ours are seen in all.
    pub tables: BTreeSet<u32>,
    /// Settings, as paths below `/proc/sys`.
    pub sysctls: BTreeSet<String>,
    /// Whether IPVS is used at all. Asking for it loads `ip_vs`, so a host that needs none says no
    /// and has an empty table; see [`ipvs_loaded`].
    pub ipvs: bool,
    /// IPVS services to observe when no others matter; none: all.
    pub services: Option<BTreeSet<ServiceKey>>,
    /// Whether ports that unwrap GUE are used at all.
    pub gue: bool,
}

/// A thread's way to the kernel: sockets that open when first needed and live in the network
/// namespace that the thread was in at that moment.
#[derive(Debug)]
pub struct Kernel {
    route: Requester,
    generic: Requester,
}

impl Kernel {
    /// Opens the route socket, so that a host without netlink fails at start.
    ///
    /// # Errors
    ///
    /// When the kernel gives no netlink socket.
    pub fn new() -> Result<Self, KernelError> {
        let mut route = Requester::route();
        route.open()?;
        Ok(Self { route, generic: Requester::generic() })
    }

    /// Looks at the kernel.
    ///
    /// # Errors
    /// When something asked for cannot be read. An interface, table or setting that is not there is
    /// no error, it is absent.
    pub fn observe(&mut self, what: &Scope) -> Result<KernelState, KernelError> {
        self.observe_like(what, &BTreeMap::new())
    }

    /// [`Self::observe`] by who expects these services: what of them is the same is shared instead of being
    /// made anew.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn observe_like(
        &mut self,
        what: &Scope,
        services: &BTreeMap<ServiceKey, Service>,
    ) -> Result<KernelState, KernelError> {
        let mut state = KernelState::default();
        // IPVS comes first: its module brings the settings below net/ipv4/vs.
        if what.ipvs && what.kinds.contains(&Kind::Ipvs) {
            let table = ipvs::observe(&mut self.generic, what.services.as_ref(), services)?;
            (state.services, state.timeouts) = (table.services, table.timeouts);
            state.sync_daemons = table.sync_daemons;
        }
        if what.kinds.contains(&Kind::Sysctls) {
            state.sysctls = sysctl::observe(&what.sysctls)?;
        }
        if what.kinds.contains(&Kind::Links) {
            state.links = device::observe(&mut self.route, &what.links, &what.interfaces)?;
            if what.gue {
                state.gue = fou::observe(&mut self.generic)?;
            }
        }
        if what.kinds.contains(&Kind::Rules) {
            state.rules = rule::observe(&mut self.route)?;
        }
        if what.kinds.contains(&Kind::Addresses) || what.kinds.contains(&Kind::Routes) {
            let links = link::resolve(&mut self.route, &what.interfaces)?;
            if what.kinds.contains(&Kind::Addresses) {
                state.addresses = address::observe(&mut self.route, &links)?;
            }
            if what.kinds.contains(&Kind::Routes) {
                let routes = route::observe(&mut self.route, &links, &what.tables)?;
                state.routes = routes.plain;
                state.other_routes = routes.others;
            }
        }
        Ok(state)
    }

    /// Carries out operations in the order given; one verdict each, in the same order.
    ///
    /// A failure stops nothing: what depends on the failed object is refused by the kernel in turn.
    /// Adding what is there with equal properties and removing what is not there are successes.
    pub fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
        let mut verdicts = Vec::with_capacity(ops.len());
        for run in ops.chunk_by(|a, b| a.kind() == b.kind()) {
            match run.first().map(Op::kind) {
                Some(Kind::Links) => verdicts.extend(run.iter().map(|op| match op {
                    Op::AddGue(_) | Op::DelGue(_) => fou::apply(&mut self.generic, op),
                    op => device::apply(&mut self.route, op),
                })),
                Some(Kind::Addresses) => verdicts.extend(address::apply(&mut self.route, run)),
                Some(Kind::Routes) => verdicts.extend(route::apply(&mut self.route, run)),
                Some(Kind::Rules) => verdicts.extend(rule::apply(&mut self.route, run)),
                Some(Kind::Sysctls) => verdicts.extend(run.iter().map(sysctl::apply)),
                Some(Kind::Ipvs) => verdicts.extend(ipvs::apply(&mut self.generic, run)),
                None => {}
            }
        }
        verdicts
    }

    /// Connections and counters of IPVS, of these services (those that are there) or of all. Empty where IPVS
    /// is not loaded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ipvs_usage(
        &mut self,
        only: Option<&BTreeSet<ServiceKey>>,
    ) -> Result<BTreeMap<ServiceKey, ServiceUsage>, KernelError> {
        if ipvs_loaded() { ipvs::usage(&mut self.generic, only) } else { Ok(BTreeMap::new()) }
    }

    /// An IPVS service with its destinations; none where it is not there, or IPVS is not loaded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ipvs_service(&mut self, key: ServiceKey) -> Result<Option<Service>, KernelError> {
        if ipvs_loaded() { ipvs::service(&mut self.generic, key) } else { Ok(None) }
    }

    /// The daemons that synchronise IPVS connections; none where IPVS is not loaded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sync_daemons(&mut self) -> Result<BTreeMap<SyncRole, SyncDaemon>, KernelError> {
        if ipvs_loaded() { ipvs::sync_daemons(&mut self.generic) } else { Ok(BTreeMap::new()) }
    }

    /// The addresses of all interfaces. An interface that one of `names` leads to, perhaps an alternative
    /// name, is called so; others as the kernel calls them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn every_address(&mut self, names: &BTreeSet<String>) -> Result<BTreeSet<AddressKey>, KernelError> {
        let links = link::observe(&mut self.route)?;
        let mut called: BTreeMap<u32, String> =
            links.into_iter().map(|link| (link.index, link.name)).collect();
        let named = link::resolve(&mut self.route, names)?;
        called.extend(named.into_iter().map(|(name, link)| (link.index, name)));
        address::every(&mut self.route, &called)
    }

    /// Goes the way of VIPs that come and go, so that nothing of it has to be read from a disk when it
    /// matters. Asks the kernel for an interface that cannot be, and changes nothing.
    pub fn rehearse(&mut self) {
        address::rehearse(&mut self.route);
    }

    /// Lists the interfaces, by index.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        link::observe(&mut self.route)
    }

    /// The interface of this index; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn link(&mut self, index: u32) -> Result<Option<Link>, KernelError> {
        link::find(&mut self.route, index)
    }

    /// Route of a packet from this host to a target; none when no route leads to it.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer the question.
    pub fn way(&mut self, target: IpAddr) -> Result<Option<Way>, KernelError> {
        way::find(&mut self.route, target)
    }
}
