//! The routers of a plan between the old and the new one, with all that they name there: sync groups,
//! trackers, secrets, interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::plan::{Router, SyncGroup, Tracker, VirtualMac};
use evenkeel_schemas::saved::Era;
use evenkeel_schemas::scalars::{Cidr, InterfaceName};

use super::super::HostState;
use super::{Eras, claims};
use crate::attach::advertised_order;

/// A router of such a plan.
pub(super) struct Part<'a> {
    pub(super) router: Router,
    /// Plan that it comes from.
    pub(super) era: Era,
    /// Router before.
    pub(super) old: Option<&'a Router>,
}

impl Part<'_> {
    fn interface(&self) -> Option<&InterfaceName> {
        Some(&self.router.virtual_mac.as_ref()?.interface)
    }
}

/// Routers of a plan, and what they name.
#[derive(Default)]
pub(super) struct Routers {
    pub(super) routers: Vec<Router>,
    pub(super) sync_groups: Vec<SyncGroup>,
    pub(super) trackers: Vec<Tracker>,
    /// Interfaces that the daemon makes for virtual MAC addresses.
    pub(super) made: BTreeMap<InterfaceName, Era>,
    pub(super) secrets: Eras,
}

impl Routers {
    pub(super) fn new(mut parts: Vec<Part<'_>>, old: Option<&HostState>, new: Option<&HostState>) -> Self {
        let era_of_names = one_name_each(&mut parts);
        let mut routers = Self { made: era_of_names, ..Self::default() };
        for Part { router, era, .. } in parts {
            routers.add(router, era, if era == Era::Old { old } else { new });
        }
        routers
    }

    /// Adds a router, and what it names in the plan that it comes from. Where two routers name one
    /// thing that changes, the newer has its way.
    fn add(&mut self, router: Router, era: Era, from: Option<&HostState>) {
        if let Some(name) = claims::compiled_secret(&router) {
            self.secrets.insert(name.to_owned(), era);
        }
        let plan = from.map(|state| &state.plan);
        let groups = plan.into_iter().flat_map(|plan| &plan.sync_groups);
        for group in groups.filter(|group| router.sync_group.as_ref() == Some(&group.name)) {
            put(&mut self.sync_groups, group, |other| other.name == group.name, era);
        }
        let trackers = plan.into_iter().flat_map(|plan| &plan.trackers);
        let tracked = |tracker: &&Tracker| router.track.iter().any(|track| track.tracker == tracker.name);
        for tracker in trackers.filter(tracked) {
            put(&mut self.trackers, tracker, |other| other.name == tracker.name, era);
        }
        self.routers.push(router);
    }
}

/// Gives each virtual MAC address an interface of its own. While a new router's name is still another's, it
/// keeps the old one; if it has none, it waits. Says which plan has the settings of each name.
fn one_name_each(parts: &mut Vec<Part<'_>>) -> BTreeMap<InterfaceName, Era> {
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    loop {
        let taken: BTreeSet<InterfaceName> = parts
            .iter()
            .enumerate()
            .filter(|(index, part)| part.era == Era::Old || kept.contains(index))
            .filter_map(|(_, part)| part.interface().cloned())
            .collect();
        let late = parts.iter().enumerate().position(|(index, part)| {
            let free = part.era == Era::Old || kept.contains(&index);
            !free && part.interface().is_some_and(|name| taken.contains(name))
        });
        let Some(index) = late else { break };
        kept.insert(index);
        let old = parts[index].old.and_then(|old| old.virtual_mac.as_ref()).map(|mac| &mac.interface);
        match (old.filter(|name| !taken.contains(name)).cloned(), &mut parts[index].router.virtual_mac) {
            (Some(name), Some(VirtualMac { interface, .. })) => *interface = name,
            _ => {
                parts.remove(index);
                kept = kept.into_iter().filter(|k| *k != index).map(|k| k - usize::from(k > index)).collect();
            }
        }
    }
    let era = |(index, part): (usize, &Part<'_>)| {
        let era = if kept.contains(&index) { Era::Old } else { part.era };
        Some((part.interface()?.clone(), era))
    };
    parts.iter().enumerate().filter_map(era).collect()
}

fn put<T: Clone>(list: &mut Vec<T>, item: &T, same: impl Fn(&T) -> bool, era: Era) {
    match list.iter_mut().find(|other| same(other)) {
        Some(there) if era == Era::New => *there = item.clone(),
        Some(_) => {}
        None => list.push(item.clone()),
    }
}

/// A router with some of its VIPs, each as the router it comes from has it.
pub(super) fn partly(base: &Router, sources: &[(Option<&Router>, &BTreeSet<IpAddr>)]) -> Router {
    let mut router =
        Router { vips: Vec::new(), unadvertised_vips: Vec::new(), vip_settings: Vec::new(), ..base.clone() };
    for (source, vips) in sources {
        let Some(source) = source else { continue };
        let of = |list: &[Cidr]| -> Vec<Cidr> {
            list.iter().filter(|vip| vips.contains(&vip.address())).copied().collect()
        };
        router.vips.extend(of(&source.vips));
        router.unadvertised_vips.extend(of(&source.unadvertised_vips));
        let settings = source.vip_settings.iter().filter(|settings| vips.contains(&settings.address.0));
        router.vip_settings.extend(settings.cloned());
    }
    router.vips.sort_unstable_by_key(advertised_order);
    router.unadvertised_vips.sort_unstable();
    router.vip_settings.sort_by_key(|settings| settings.address);
    router
}

/// The interfaces that the daemon makes for virtual MAC addresses.
pub(in super::super) fn made_interfaces(routers: &[Router]) -> impl Iterator<Item = &str> {
    routers.iter().filter_map(|router| Some(router.virtual_mac.as_ref()?.interface.as_str()))
}

/// The interface that a setting is of.
pub(in super::super) fn of_interface(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("net/ipv4/conf/").or_else(|| key.strip_prefix("net/ipv6/conf/"))?;
    rest.rsplit_once('/').map(|(interface, _)| interface)
}
