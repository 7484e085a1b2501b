//! What a host has as a real server between the old and the new plan, and what it balances meanwhile.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::plan::{Address, Front, Gue, Plan, Route, Router, Sysctl, Tunnel, VirtualServer};
use evenkeel_schemas::saved::Era;
use evenkeel_schemas::scalars::{InterfaceName, Name};

use super::super::HostState;
use super::claims::held;
use super::parts::{made_interfaces, of_interface};
use super::{BACKUPS, PREPARE, REJOIN, StagedHost, TIDY, route_key};

/// Whether `new` has something of a real server that `old` has not.
pub(super) fn comes(old: Option<&HostState>, new: Option<&HostState>) -> bool {
    new.is_some_and(|new| has_more(old.map(|old| &old.plan), &new.plan))
}

/// Whether `new` has an address, tunnel, port or route that `old` has not, or has otherwise.
pub(super) fn has_more(old: Option<&Plan>, new: &Plan) -> bool {
    fn more<T: PartialEq, K: Ord>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> bool {
        if old == new {
            return false;
        }
        let had: BTreeMap<K, &T> = old.iter().map(|item| (key(item), item)).collect();
        !new.iter().all(|item| had.get(&key(item)).is_some_and(|had| *had == item))
    }
    let Some(old) = old else {
        let counts = [new.addresses.len(), new.tunnels.len(), new.gue.len(), new.routes.len()];
        return counts.iter().any(|count| *count > 0);
    };
    more(&old.addresses, &new.addresses, |address| (address.interface.clone(), address.address))
        || more(&old.tunnels, &new.tunnels, |tunnel| tunnel.interface.clone())
        || more(&old.gue, &new.gue, |gue| (gue.family, gue.port))
        || more(&old.routes, &new.routes, route_key)
}

/// Whether packets of one family are wrapped in the other.
pub(super) fn is_of_two_families(server: &VirtualServer) -> bool {
    let v6 = server.front().is_some_and(|front| front.is_v6());
    server.destinations.iter().any(|destination| destination.address.0.is_ipv6() != v6)
}

impl<'a> StagedHost<'a> {
    /// A virtual server of a VIP that the host has on `lo` is there only while it is Master: what another
    /// Master sends to it, it would send on.
    pub(super) fn virtual_servers(
        &self,
        phase: u8,
        routers: &[Router],
        addresses: &[Address],
    ) -> Vec<Cow<'a, VirtualServer>> {
        let accepted: BTreeSet<IpAddr> = addresses.iter().map(|address| address.address.address()).collect();
        let old = || Self::plan(self.old).into_iter().flat_map(|plan| &plan.virtual_servers);
        let new = || Self::plan(self.new).into_iter().flat_map(|plan| &plan.virtual_servers);
        // One by firewall mark has several VIPs, which may change at different times. It comes with the
        // first, and changes or goes with the last, but before real servers tidy up.
        let mut turns: BTreeMap<Option<Front>, (bool, BTreeSet<u8>)> = BTreeMap::new();
        for (server, is_old) in old().map(|server| (server, true)).chain(new().map(|server| (server, false)))
        {
            let (was_there, turn) = turns.entry(server.front()).or_default();
            *was_there |= is_old;
            let times = server.client_addresses().filter_map(|vip| self.times.get(&vip.0));
            turn.extend(times.map(|times| times.servers));
        }
        let changed = |server: &VirtualServer| {
            let (was_there, times) = &turns[&server.front()];
            let turn =
                if *was_there { times.last().map(|last| REJOIN.min(*last)) } else { times.first().copied() };
            phase >= turn.unwrap_or(BACKUPS)
        };
        let chosen = old().filter(|server| !changed(server)).chain(new().filter(|server| changed(server)));
        let as_it_may_be = |server: &'a VirtualServer| {
            let on_lo: BTreeSet<IpAddr> =
                server.client_addresses().map(|vip| vip.0).filter(|vip| accepted.contains(vip)).collect();
            let only_as_master_of = if on_lo.is_empty() {
                None
            } else {
                // One by firewall mark may have other VIPs, of which the host still is a director.
                let all = || server.client_addresses().map(|vip| vip.0).collect();
                let router = self.router_of(&on_lo, routers).or_else(|| self.router_of(&all(), routers));
                // Of no router it is Master, now or later.
                Some(router.or_else(|| server.only_as_master_of.clone())?)
            };
            if server.only_as_master_of == only_as_master_of {
                return Some(Cow::Borrowed(server));
            }
            Some(Cow::Owned(VirtualServer { only_as_master_of, ..server.clone() }))
        };
        chosen.filter_map(as_it_may_be).collect()
    }

    /// The virtual router with one of these VIPs: that of now, or else of then.
    fn router_of(&self, vips: &BTreeSet<IpAddr>, routers: &[Router]) -> Option<Name> {
        let plans = [self.old, self.new].into_iter().filter_map(Self::plan);
        let all = routers.iter().chain(plans.flat_map(|plan| &plan.routers));
        let mut with_vip = all.filter(|router| held(router).any(|vip| vips.contains(&vip)));
        with_vip.next().map(|router| router.name.clone())
    }

    pub(super) fn addresses(&self, phase: u8) -> Vec<Address> {
        let key = |address: &Address| (address.interface.clone(), address.address);
        self.present(phase, |plan| &plan.addresses, key, (PREPARE, TIDY))
    }

    pub(super) fn tunnels(&self, phase: u8) -> Vec<Tunnel> {
        self.present(phase, |plan| &plan.tunnels, |tunnel: &Tunnel| tunnel.interface.clone(), (PREPARE, TIDY))
    }

    pub(super) fn gue(&self, phase: u8) -> Vec<Gue> {
        self.present(phase, |plan| &plan.gue, |gue: &Gue| (gue.family, gue.port), (PREPARE, TIDY))
    }

    /// A gateway is none while the host has its address itself: until then it keeps the old one.
    pub(super) fn routes(&self, phase: u8, routers: &[Router], addresses: &[Address]) -> Vec<Route> {
        let mut routes = self.present(phase, |plan| &plan.routes, route_key, (PREPARE, TIDY));
        routes.retain(|route| route.via.is_none());
        let own: BTreeSet<IpAddr> = routers
            .iter()
            .flat_map(held)
            .chain(addresses.iter().map(|address| address.address.address()))
            .collect();
        let gateways = |state: Option<&'a HostState>| {
            let routes = Self::plan(state).into_iter().flat_map(|plan| &plan.routes);
            let usable = |route: &&Route| route.via.is_some_and(|via| !own.contains(&via.0));
            routes.filter(usable).map(|route| (route_key(route), route.clone())).collect::<BTreeMap<_, _>>()
        };
        let (mut present, new) = (gateways(self.old), gateways(self.new));
        if phase >= TIDY {
            present.retain(|key, _| new.contains_key(key));
        }
        if phase >= self.gateway {
            present.extend(new);
        }
        routes.extend(present.into_values());
        routes
    }

    /// A setting is there before what needs it, and goes after it. Settings of an interface that the daemon
    /// makes are there while it is.
    pub(super) fn sysctls(
        &self,
        phase: u8,
        made: &BTreeMap<InterfaceName, Era>,
        tunnels: &[Tunnel],
    ) -> Vec<Sysctl> {
        let come = if self.prepares { PREPARE } else { self.first };
        let go = if self.tidies { TIDY.max(self.last) } else { self.last };
        let key = |sysctl: &Sysctl| sysctl.key.clone();
        let mut present = self.present(phase, |plan| &plan.sysctls, key, (come, go));
        let plans = || [self.old, self.new].into_iter().filter_map(Self::plan);
        let ever: BTreeSet<&str> = plans()
            .flat_map(|plan| {
                let ends = plan.tunnels.iter().map(|tunnel| tunnel.interface.as_str());
                made_interfaces(&plan.routers).chain(ends)
            })
            .collect();
        present.retain(|sysctl| of_interface(&sysctl.key).is_none_or(|of| !ever.contains(of)));
        let mut settings_of = |interface: &str, plan: Option<&Plan>| {
            let settings = plan.into_iter().flat_map(|plan| &plan.sysctls);
            present.extend(settings.filter(|sysctl| of_interface(&sysctl.key) == Some(interface)).cloned());
        };
        for (interface, era) in made {
            settings_of(interface.as_str(), Self::plan(if *era == Era::Old { self.old } else { self.new }));
        }
        for tunnel in tunnels {
            let has = |plan: &&Plan| plan.tunnels.iter().any(|other| other.interface == tunnel.interface);
            let newest = [self.new, self.old].into_iter().filter_map(Self::plan).find(has);
            settings_of(tunnel.interface.as_str(), newest);
        }
        present
    }

    /// Objects that both plans have are the new ones from the first phase on; others come in the
    /// first and go in the second.
    fn present<T: Clone + PartialEq + 'a, K: Ord>(
        &self,
        phase: u8,
        list: impl Fn(&'a Plan) -> &'a Vec<T>,
        key: impl Fn(&T) -> K,
        (come, go): (u8, u8),
    ) -> Vec<T> {
        let by_key = |state: Option<&'a HostState>| -> BTreeMap<K, T> {
            let items = Self::plan(state).into_iter().flat_map(&list);
            items.map(|item| (key(item), item.clone())).collect()
        };
        if let (Some(old), Some(new)) = (Self::plan(self.old), Self::plan(self.new))
            && list(old) == list(new)
        {
            return list(new).clone();
        }
        let mut present = by_key(self.old);
        let new = by_key(self.new);
        if phase >= go {
            present.retain(|key, _| new.contains_key(key));
        }
        if phase >= come {
            present.extend(new);
        }
        present.into_values().collect()
    }
}
