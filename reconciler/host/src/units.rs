//! Units of virtual routers that move together: those of a sync group, and both families of one name.

use std::collections::BTreeSet;

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;

/// The routers that move with the router or sync group of this name.
pub(crate) fn unit(plan: &Plan, name: &Name) -> BTreeSet<Name> {
    let named = plan.routers.iter().filter(|router| router.name == *name);
    let mut groups: BTreeSet<&Name> = named.clone().filter_map(|router| router.sync_group.as_ref()).collect();
    groups.insert(name);
    let members = plan.routers.iter().filter(|r| r.sync_group.as_ref().is_some_and(|g| groups.contains(g)));
    named.chain(members).map(|router| router.name.clone()).collect()
}
