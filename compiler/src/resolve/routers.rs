//! Virtual routers of a resolved cluster, and what they share: sync groups and trackers.
//!
//! A virtual router is one VRRP instance for each family of its VIPs. What moves along without being
//! advertised goes with the instance of its own family, or with the only one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use evenkeel_schemas::cluster::{
    self, Auth, Checksum, Cluster, Garp, Host, Strangers, Tracker, TrackerType, VipSettings, VirtualMac,
    VirtualRoute, VirtualRouter, VirtualRule,
};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{
    AdvertInterval, Cidr, InterfaceName, Ip, Name, Priority, PriorityDrop, Retries, RouteTable, Span, Vrid,
};

use super::priority;
use crate::attach::{self, Family, Subnets, advertised_order, is_link_local};

/// Longest run of a hook.
const HOOK_TIMEOUT: Span = Span::from_secs(10);
/// Time from one look of a tracker to the next.
const TRACKER_INTERVAL: Span = Span::from_secs(1);
/// Least number of running processes, or of healthy destinations.
const DEFAULT_QUORUM: u32 = 1;
/// TTL of advertisements, sent and received (RFC 9568 §5.1.1.3).
pub(crate) const DEFAULT_TTL: u8 = 255;
/// The routing table `main` (rtnetlink(7)).
const MAIN_TABLE: u32 = 254;

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) vrid: Vrid,
    pub(crate) version: u8,
    pub(crate) advert_interval: AdvertInterval,
    pub(crate) preempt: bool,
    pub(crate) preempt_delay: Option<Span>,
    pub(crate) startup_delay: Option<Span>,
    /// Authentication, if there is one.
    pub(crate) auth: Option<Auth>,
    pub(crate) garp: Garp,
    pub(crate) directors: BTreeMap<Name, Priority>,
    /// The sync group: that of the file, or for VIPs of both families one of the router's own name.
    pub(crate) group: Option<Name>,
    /// Trackers of its own and of its sync group.
    pub(crate) track: Vec<plan::Track>,
    /// Amount by which the priority of a director is lower while its own link is at fault; none: the priority
    /// stays.
    pub(crate) own_fault_weight: Option<PriorityDrop>,
    pub(crate) prevent_removal: bool,
    /// The segment on which it advertises, where the file names it.
    pub(crate) segment: Option<String>,
    /// One for each family of its VIPs, IPv4 first.
    pub(crate) instances: Vec<RouterInstance>,
}

impl Router {
    /// The advertised VIPs of both families.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.instances.iter().flat_map(|instance| &instance.vips).map(|vip| vip.address())
    }

    /// Whether a director has a VIP on another interface than this one.
    pub(crate) fn has_vip_apart(&self, director: &Name, vip: Ip, interface: &InterfaceName) -> bool {
        let holds = |instance: &&RouterInstance| {
            let mut held = instance.vips.iter().chain(&instance.unadvertised_vips);
            held.any(|held| held.address() == vip.0)
        };
        self.instances.iter().filter(holds).any(|instance| {
            let Some(attached) = instance.attached.get(director) else { return false };
            let settings = attached.vip_settings.iter().find(|settings| settings.address == vip);
            match settings.and_then(|settings| settings.interface.as_ref()) {
                Some(own) => own != interface,
                None => instance.virtual_mac.is_some() || attached.interface != *interface,
            }
        })
    }
}

/// A VRRP instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouterInstance {
    pub(crate) checksum: Checksum,
    /// Ascending by address, after those that are link-local.
    pub(crate) vips: Vec<Cidr>,
    pub(crate) unadvertised_vips: Vec<Cidr>,
    pub(crate) virtual_mac: Option<plan::VirtualMac>,
    pub(crate) hooks: plan::RouterHooks,
    /// By preference.
    pub(crate) rules: Vec<VirtualRule>,
    /// By director.
    pub(crate) attached: BTreeMap<Name, Attached>,
}

/// Settings of an instance on a director.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Interface for advertisements.
    pub(crate) interface: InterfaceName,
    /// The source of its advertisements; `::` is the link-local address, which only the host knows.
    pub(crate) source: Ip,
    pub(crate) unicast: Option<plan::Unicast>,
    /// Other directors that speak by multicast; none where everybody may.
    pub(crate) directors: Option<plan::Directors>,
    /// By address.
    pub(crate) vip_settings: Vec<plan::VipSettings>,
    /// By table, destination, metric.
    pub(crate) routes: Vec<plan::VirtualRoute>,
}

/// Virtual routers, the sync groups that they name, and trackers.
type Election = (BTreeMap<Name, Router>, BTreeMap<Name, plan::SyncGroup>, BTreeMap<Name, plan::Tracker>);

/// All of the elections; an error is what cannot be resolved.
pub(super) fn resolve(cluster: &Cluster, subnets: &Subnets<'_>) -> Result<Election, String> {
    let mut groups = BTreeMap::new();
    let mut grouped = BTreeMap::new();
    for (name, group) in &cluster.sync_groups {
        grouped.extend(group.virtual_routers.iter().map(|router| (router.as_str(), (name, group))));
        groups.insert(
            name.clone(),
            plan::SyncGroup { name: name.clone(), hooks: explicit_hooks(&group.hooks) },
        );
    }
    let mut routers = BTreeMap::new();
    for (name, router) in &cluster.virtual_routers {
        let group = grouped.get(name.as_str()).copied();
        let settings = router.vip_settings.iter().filter_map(|(vip, of)| Some((vip.parse().ok()?, of)));
        let settings = settings.collect();
        let resolved = Resolver { cluster, subnets, name, router, group, settings }
            .run()
            .ok_or_else(|| format!("virtual router `{name}`"))?;
        if resolved.group.as_ref() == Some(name) && group.is_none() {
            let hooks = explicit_hooks(&router.hooks);
            groups.insert(name.clone(), plan::SyncGroup { name: name.clone(), hooks });
        }
        routers.insert(name.clone(), resolved);
    }
    let mut trackers = BTreeMap::new();
    for (name, tracker) in &cluster.trackers {
        let watch = watch(cluster, tracker).ok_or_else(|| format!("tracker `{name}`"))?;
        let initially = tracker.initially;
        trackers.insert(name.clone(), plan::Tracker { name: name.clone(), initially, watch });
    }
    Ok((routers, groups, trackers))
}

/// Amount by which a priority is lowered so that every other director is preferred. The order of directors
/// that are all at fault stays as it is.
fn falls_below_all(directors: &BTreeMap<Name, Priority>) -> Option<PriorityDrop> {
    let priorities =
        || directors.values().filter(|priority| **priority != Priority::OWNER).map(|one| one.get());
    let distance = priorities().max()? - priorities().min()?;
    PriorityDrop::new(distance.saturating_add(1).min(PriorityDrop::MAX)).ok()
}

/// Removes the amount from routers to which it means nothing: nobody checks the real
/// servers behind them, or there is no other director.
pub(super) fn forget_unused_weights<'a>(
    routers: &mut BTreeMap<Name, Router>,
    checked: impl Iterator<Item = &'a Name>,
) {
    let checked: BTreeSet<&Name> = checked.collect();
    let groups: BTreeSet<Name> =
        checked.iter().filter_map(|name| routers.get(*name)?.group.clone()).collect();
    for (name, router) in routers {
        // Routers that move together give way together.
        let concerned =
            checked.contains(name) || router.group.as_ref().is_some_and(|one| groups.contains(one));
        let weight = router.own_fault_weight.filter(|weight| weight.get() > 0);
        router.own_fault_weight = weight.filter(|_| concerned && router.directors.len() > 1);
    }
}

/// The families of a router's VIPs: each has an instance of its own.
pub(crate) fn families(router: &VirtualRouter) -> impl Iterator<Item = Family> {
    let has = |family: &Family| router.vips.iter().any(|vip| Family::of(vip.0) == *family);
    Family::ALL.into_iter().filter(has)
}

/// Whether a router has VIPs of both families.
pub(crate) fn is_dual(router: &VirtualRouter) -> bool {
    families(router).count() > 1
}

/// Name of the interface with the virtual MAC address of an instance. It may be too long to be one.
pub(crate) fn virtual_mac_interface(mac: &VirtualMac, vrid: Vrid, family: Family, dual: bool) -> String {
    match (&mac.interface, family) {
        (None, Family::V4) => format!("vrrp.{vrid}"),
        (None, Family::V6) => format!("vrrp6.{vrid}"),
        (Some(name), Family::V6) if dual => format!("{name}6"),
        (Some(name), _) => name.as_str().to_owned(),
    }
}

/// Material that one virtual router is resolved from.
struct Resolver<'a> {
    cluster: &'a Cluster,
    subnets: &'a Subnets<'a>,
    name: &'a Name,
    router: &'a VirtualRouter,
    /// Sync group of the file.
    group: Option<(&'a Name, &'a cluster::SyncGroup)>,
    /// By VIP.
    settings: BTreeMap<Ip, &'a VipSettings>,
}

impl<'a> Resolver<'a> {
    fn run(&self) -> Option<Router> {
        let router = self.router;
        let mut directors = BTreeMap::new();
        for (index, director) in router.directors.iter().enumerate() {
            directors.insert(self.host(director)?.0.clone(), priority(router, index, director)?);
        }
        let dual = is_dual(router);
        let group = self.group.map(|(name, _)| name.clone());
        let mut track: BTreeMap<&Name, plan::Track> = BTreeMap::new();
        let of_group = self.group.map_or(&[][..], |(_, group)| group.track.as_slice());
        for each in router.track.iter().chain(of_group) {
            let name = self.cluster.trackers.get_key_value(each.tracker.as_str())?.0;
            let (weight, reverse) = (each.weight, each.reverse);
            track.entry(name).or_insert_with(|| plan::Track { tracker: name.clone(), weight, reverse });
        }
        let instances: Option<Vec<RouterInstance>> =
            families(router).map(|family| self.instance(family, dual)).collect();
        Some(Router {
            vrid: router.vrid,
            version: router.version,
            advert_interval: router.advert_interval,
            preempt: router.preempt,
            preempt_delay: router.preempt_delay,
            startup_delay: router.startup_delay,
            auth: router.auth.clone(),
            garp: router.garp.clone(),
            group: group.or_else(|| dual.then(|| self.name.clone())),
            track: track.into_values().collect(),
            own_fault_weight: router.own_fault_weight.or_else(|| falls_below_all(&directors)),
            directors,
            prevent_removal: router.prevent_removal,
            segment: router.segment.clone(),
            instances: instances?,
        })
    }

    fn host(&self, director: &str) -> Option<(&'a Name, &'a Host)> {
        self.cluster.hosts.get_key_value(director)
    }

    fn instance(&self, family: Family, dual: bool) -> Option<RouterInstance> {
        let router = self.router;
        let ours = |of: Option<Family>| !dual || of.is_none_or(|of| of == family);
        let listed = |vips: &[Ip]| -> Option<Vec<Cidr>> {
            vips.iter()
                .filter(|vip| ours(Some(Family::of(vip.0))))
                .map(|vip| self.with_prefix(*vip))
                .collect()
        };
        let (mut vips, mut unadvertised_vips) = (listed(&router.vips)?, listed(&router.unadvertised_vips)?);
        vips.sort_unstable_by_key(advertised_order);
        unadvertised_vips.sort_unstable();
        let virtual_mac = match &router.virtual_mac {
            None => None,
            Some(mac) => Some(plan::VirtualMac {
                interface: virtual_mac_interface(mac, router.vrid, family, dual).parse().ok()?,
                advertise_from_base: mac.advertise_from_base,
            }),
        };
        // Of a group that was made for the families alone the hooks are the group's.
        let mut hooks = plan::RouterHooks::default();
        if !dual || (self.group.is_some() && family == Family::V4) {
            hooks = explicit_hooks(&router.hooks);
        }
        let of_rule = |rule: &VirtualRule| rule.from.or(rule.to).map(|network| Family::of(network.address()));
        let mut rules: Vec<VirtualRule> =
            router.rules.iter().filter(|rule| ours(of_rule(rule))).cloned().collect();
        rules.sort_by_key(|rule| rule.preference);
        let mut attached = BTreeMap::new();
        for director in &router.directors {
            let (name, host) = self.host(director)?;
            let (interface, source) = self.source(name, host, family)?;
            let addresses = vips.iter().chain(&unadvertised_vips).map(|vip| Ip(vip.address()));
            let vip_settings = self.placed(name, host, &interface, addresses.collect());
            let to = |route: &&VirtualRoute| ours(Some(Family::of(route.destination.address())));
            let routes = router.routes.iter().filter(to).map(|route| explicit_route(route, &interface));
            let mut routes: Vec<plan::VirtualRoute> = routes.collect::<Option<_>>()?;
            routes.sort_by_key(|route| (route.table, route.destination, route.metric));
            let unicast = self.unicast(name, family)?;
            let directors = self.directors(name, family)?;
            let on = Attached { interface, source, unicast, directors, vip_settings, routes };
            attached.insert(name.clone(), on);
        }
        let choice = router.version == 3 && family == Family::V4;
        Some(RouterInstance {
            checksum: if choice { router.checksum } else { Checksum::default() },
            vips,
            unadvertised_vips,
            virtual_mac,
            hooks,
            rules,
            attached,
        })
    }

    fn with_prefix(&self, vip: Ip) -> Option<Cidr> {
        match self.settings.get(&vip).and_then(|settings| settings.prefix) {
            Some(prefix) => Cidr::new(vip.0, prefix).ok(),
            None => Some(Cidr::host(vip.0)),
        }
    }

    /// The interface of a director for advertisements of a family, and their source.
    fn source(&self, name: &Name, host: &Host, family: Family) -> Option<(InterfaceName, Ip)> {
        let home = self.subnets.home(self.router)?;
        let on = |family| self.subnets.attachment(attach::addresses(name, host), home, family);
        let own = on(family);
        if family == Family::V4 {
            return own.map(|own| (own.interface.clone(), own.ip));
        }
        let interface = self.subnets.speaks_on(name, host, home, family)?.clone();
        let link_local =
            host.all_addresses().find(|(ip, at)| **at == interface && is_link_local(*ip)).map(|(ip, _)| ip);
        // By multicast the source is link-local (RFC 9568 §5.1.2.1).
        let source = if self.router.unicast.is_some() {
            own.map(|own| own.ip).or(link_local)?
        } else {
            link_local.unwrap_or(Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
        };
        Some((interface, source))
    }

    /// To whom a director advertises by unicast: who is listed, or all others. None for what cannot be
    /// resolved.
    #[expect(clippy::option_option, reason = "whether it could be resolved, and whether there is any")]
    fn unicast(&self, name: &Name, family: Family) -> Option<Option<plan::Unicast>> {
        let Some(unicast) = &self.router.unicast else {
            return Some(None);
        };
        let listed = unicast.peers.get(name.as_str()).filter(|_| !unicast.peers.is_empty());
        let others = self.router.directors.iter().filter(|other| other.as_str() != name.as_str());
        let peers: Vec<&String> = match (listed, unicast.peers.is_empty()) {
            (Some(listed), _) => listed.iter().collect(),
            (None, true) => others.collect(),
            (None, false) => Vec::new(),
        };
        let address = |peer: &&String| {
            let (name, host) = self.host(peer)?;
            Some(self.source(name, host, family)?.1)
        };
        let peers: Option<BTreeSet<Ip>> = peers.iter().map(address).collect();
        Some(Some(plan::Unicast {
            peers: peers?.into_iter().collect(),
            ttl: unicast.ttl.unwrap_or(DEFAULT_TTL),
            min_ttl: unicast.min_ttl.unwrap_or(DEFAULT_TTL),
        }))
    }

    /// Whose advertisements a director counts by multicast. None for what cannot be resolved.
    ///
    /// All addresses that another one has where it speaks, not only the source of its advertisements: it may
    /// be about to change its source, or to go from multicast to unicast.
    #[expect(clippy::option_option, reason = "whether it could be resolved, and whether there is any")]
    fn directors(&self, name: &Name, family: Family) -> Option<Option<plan::Directors>> {
        let strangers = self.router.strangers;
        if self.router.unicast.is_some() || strangers == Strangers::Accept {
            return Some(None);
        }
        let (mut addresses, mut unnamed) = (BTreeSet::new(), 0_u8);
        for other in self.router.directors.iter().filter(|other| other.as_str() != name.as_str()) {
            let (name, host) = self.host(other)?;
            let (interface, source) = self.source(name, host, family)?;
            let here =
                host.all_addresses().filter(|(ip, at)| **at == interface && Family::of(ip.0) == family);
            addresses.extend(here.map(|(ip, _)| ip));
            unnamed = unnamed.saturating_add(u8::from(source.0.is_unspecified()));
        }
        let addresses = addresses.into_iter().collect();
        Some(Some(plan::Directors { addresses, unnamed, strangers }))
    }

    /// Settings of those VIPs that are not simply put on the interface.
    fn placed(
        &self,
        name: &Name,
        host: &Host,
        interface: &InterfaceName,
        addresses: BTreeSet<Ip>,
    ) -> Vec<plan::VipSettings> {
        let home = self.subnets.home(self.router);
        let mut placed = Vec::new();
        for address in addresses {
            let settings = self.settings.get(&address);
            let elsewhere = || {
                let (segment, _) = self.subnets.of(address).filter(|(on, _)| Some(*on) != home)?;
                let on = |family| self.subnets.attachment(attach::addresses(name, host), segment, family);
                let family = Family::of(address.0);
                let found = on(family).or_else(|| Family::ALL.into_iter().find_map(on))?;
                Some(found.interface.clone())
            };
            let given = settings.and_then(|settings| settings.interface.clone()).or_else(elsewhere);
            // Where there is a virtual MAC address, the interface below it is another one.
            let other = given.filter(|given| given != interface || self.router.virtual_mac.is_some());
            let label = settings.and_then(|settings| settings.label.clone());
            if other.is_some() || label.is_some() {
                placed.push(plan::VipSettings { address, interface: other, label });
            }
        }
        placed
    }
}

fn explicit_route(route: &VirtualRoute, interface: &InterfaceName) -> Option<plan::VirtualRoute> {
    Some(plan::VirtualRoute {
        destination: route.destination,
        via: route.via,
        interface: route.interface.clone().unwrap_or_else(|| interface.clone()),
        source: route.source,
        table: match route.table {
            Some(table) => table,
            None => RouteTable::new(MAIN_TABLE).ok()?,
        },
        metric: route.metric.unwrap_or_default(),
    })
}

/// A hook as a plan has it.
pub(super) fn explicit_hook(hook: Option<&cluster::Hook>) -> Option<plan::Hook> {
    hook.map(|hook| plan::Hook {
        command: hook.command.clone(),
        user: hook.user.clone(),
        timeout: hook.timeout.unwrap_or(HOOK_TIMEOUT),
        state_arguments: hook.state_arguments,
    })
}

fn explicit_hooks(hooks: &cluster::RouterHooks) -> plan::RouterHooks {
    let explicit = |hook: &Option<cluster::Hook>| explicit_hook(hook.as_ref());
    let cluster::RouterHooks { master, backup, fault, stop, any } = hooks;
    plan::RouterHooks {
        master: explicit(master),
        backup: explicit(backup),
        fault: explicit(fault),
        stop: explicit(stop),
        any: explicit(any),
    }
}

fn watch(cluster: &Cluster, tracker: &Tracker) -> Option<plan::Watch> {
    let interval = tracker.interval.unwrap_or(TRACKER_INTERVAL);
    Some(match tracker.kind {
        TrackerType::Interface => plan::Watch::Interface { interface: tracker.interface.clone()? },
        TrackerType::Script => plan::Watch::Script {
            command: tracker.command.clone(),
            user: tracker.user.clone(),
            interval,
            timeout: tracker.timeout.unwrap_or(interval),
            rise: tracker.rise.unwrap_or(Retries::ONE),
            fall: tracker.fall.unwrap_or(Retries::ONE),
        },
        TrackerType::Process => plan::Watch::Process {
            process: tracker.process.clone()?,
            quorum: tracker.quorum.unwrap_or(DEFAULT_QUORUM),
        },
        TrackerType::File => plan::Watch::File { path: tracker.path.clone()?, interval },
        TrackerType::Service => {
            let (service, _) = cluster.services.get_key_value(tracker.service.as_deref()?)?;
            plan::Watch::Service { service: service.clone(), quorum: DEFAULT_QUORUM }
        }
    })
}
