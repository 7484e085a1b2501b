//! Part of what is wanted: some IPVS services of a hundred thousand destinations, when only those have
//! changed.

use std::collections::BTreeSet;

use crate::desired::{Desired, OtherRoles};
use crate::model::{KernelState, ServiceKey};

impl Desired {
    /// The same with these services only, to compare no others.
    #[must_use]
    pub fn with_services(&self, only: &BTreeSet<ServiceKey>) -> Self {
        let services = &self.state.services;
        let services =
            only.iter().filter_map(|key| services.get(key).map(|value| (*key, value.clone()))).collect();
        // Not by cloning all and dropping most: there may be a hundred thousand destinations.
        let Self {
            state,
            vips,
            vip_routes,
            vip_rules,
            host_addresses,
            interfaces,
            exclusive_ipvs,
            drift,
            drains,
            other_roles,
        } = self;
        let KernelState {
            links,
            gue,
            addresses,
            routes,
            other_routes,
            rules,
            sysctls,
            services: _,
            timeouts,
            sync_daemons,
        } = state;
        Self {
            state: KernelState {
                links: links.clone(),
                gue: gue.clone(),
                addresses: addresses.clone(),
                routes: routes.clone(),
                other_routes: other_routes.clone(),
                rules: rules.clone(),
                sysctls: sysctls.clone(),
                services,
                timeouts: *timeouts,
                sync_daemons: sync_daemons.clone(),
            },
            vips: vips.clone(),
            vip_routes: vip_routes.clone(),
            vip_rules: vip_rules.clone(),
            host_addresses: host_addresses.clone(),
            interfaces: interfaces.clone(),
            exclusive_ipvs: *exclusive_ipvs,
            drift: drift.clone(),
            drains: drains.clone(),
            // Services that are not observed are not compared.
            other_roles: OtherRoles { services: BTreeSet::new(), ..other_roles.clone() },
        }
    }

    /// Services that are not the same in `other`; none when there are more than `most`.
    #[must_use]
    pub fn changed_services(&self, other: &Self, most: usize) -> Option<BTreeSet<ServiceKey>> {
        let (ours, theirs) = (&self.state.services, &other.state.services);
        let changed = ours.iter().filter(|(key, value)| theirs.get(key) != Some(value)).map(|(key, _)| *key);
        let gone = theirs.keys().filter(|key| !ours.contains_key(key)).copied();
        let found: BTreeSet<ServiceKey> = changed.chain(gone).take(most + 1).collect();
        (found.len() <= most).then_some(found)
    }
}
