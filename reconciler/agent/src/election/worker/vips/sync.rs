//! VIPs, and the routes and rules that go with them, by the one comparator: against the kernel as observed,
//! or against what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_converge::{
    Achieved, Address, AddressKey, Cause, Desired, Diff, Domain, KernelState, Kind, Ledger, ObjectKey, Op,
    Route, RouteKey, Rule, RuleKey, diff_kinds,
};
use evenkeel_kernel::{ApplyError, Kernel, KernelError, Scope};

use crate::election::RouterSetup;

/// VIPs, routes and rules of routers, whoever is Master.
#[derive(Debug, Clone, Default)]
pub(in crate::election::worker) struct Moving {
    pub(in crate::election::worker) vips: BTreeSet<AddressKey>,
    pub(in crate::election::worker) routes: BTreeSet<RouteKey>,
    pub(in crate::election::worker) rules: BTreeSet<RuleKey>,
}

impl Moving {
    /// Those of these routers.
    pub(in crate::election::worker) fn of<'a>(setups: impl Iterator<Item = &'a RouterSetup>) -> Self {
        let mut moving = Self::default();
        for setup in setups {
            moving.vips.extend(setup.vips.keys().cloned());
            moving.routes.extend(setup.routes.keys().copied());
            moving.rules.extend(setup.rules.keys().cloned());
        }
        moving
    }

    pub(in crate::election::worker) fn extend(&mut self, other: &Self) {
        self.vips.extend(other.vips.iter().cloned());
        self.routes.extend(other.routes.iter().copied());
        self.rules.extend(other.rules.iter().cloned());
    }

    pub(in crate::election::worker) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.routes.is_empty() && self.rules.is_empty()
    }
}

/// Those of them that must be in the kernel now.
#[derive(Debug, Clone, Default)]
pub(in crate::election::worker) struct Present {
    pub(in crate::election::worker) vips: BTreeMap<AddressKey, Address>,
    pub(in crate::election::worker) routes: BTreeMap<RouteKey, Route>,
    pub(in crate::election::worker) rules: BTreeMap<RuleKey, Rule>,
}

/// What a synchronisation found and did.
#[derive(Debug, Default)]
pub(in crate::election::worker) struct Synced {
    /// VIPs that are in the kernel now, as wanted.
    pub(in crate::election::worker) present: BTreeMap<AddressKey, Address>,
    /// VIPs that are still in the kernel although they should not be.
    pub(in crate::election::worker) stuck: BTreeSet<AddressKey>,
    /// Operations that succeeded.
    pub(in crate::election::worker) done: Vec<Op>,
    /// Operations that failed.
    pub(in crate::election::worker) failed: Vec<(Op, ApplyError)>,
    /// Objects that others have changed since they were last as wanted, and how each was found.
    pub(in crate::election::worker) drifted: BTreeMap<ObjectKey, String>,
}

/// The comparator's input: `present` of `all`.
fn desired(all: Moving, present: Present) -> Desired {
    Desired {
        state: KernelState {
            addresses: present.vips,
            routes: present.routes,
            rules: present.rules,
            ..KernelState::default()
        },
        vips: all.vips,
        vip_routes: all.routes,
        vip_rules: all.rules,
        ..Desired::default()
    }
}

/// The operations that make `observed` be as desired, in order.
fn compare(desired: &Desired, observed: &KernelState, kinds: &[Kind]) -> Vec<Op> {
    // All that the plan names is ours, whoever made it: no ledger is needed to know.
    let Diff { ops, .. } = diff_kinds(desired, observed, &Ledger::default(), Domain::Vips, kinds);
    ops
}

/// The operations that make exactly `wanted` of the VIPs `all` be there, given that of these exactly those
/// among `remembered` are: as by the last observation and the operations since.
pub(in crate::election::worker) fn compare_remembered(
    all: BTreeSet<AddressKey>,
    wanted: BTreeMap<AddressKey, Address>,
    remembered: &BTreeMap<AddressKey, Address>,
) -> Vec<Op> {
    let found = all.iter().filter_map(|vip| remembered.get_key_value(vip));
    let addresses = found.map(|(vip, how)| (vip.clone(), how.clone())).collect();
    let observed = KernelState { addresses, ..KernelState::default() };
    let (all, wanted) =
        (Moving { vips: all, ..Moving::default() }, Present { vips: wanted, ..Present::default() });
    compare(&desired(all, wanted), &observed, &[Kind::Addresses])
}

/// Makes the kernel have exactly `present` of `all`. `achieved` is what was so before.
///
/// # Errors
/// When the kernel's state cannot be read.
pub(in crate::election::worker) fn sync(
    kernel: &mut Kernel,
    all: &Moving,
    present: Present,
    achieved: &mut Achieved,
) -> Result<Synced, KernelError> {
    if all.is_empty() {
        return Ok(Synced::default());
    }
    // A routing table may be long: it is read only where something in it is ours.
    let kinds = [
        (Kind::Addresses, true),
        (Kind::Routes, !all.routes.is_empty()),
        (Kind::Rules, !all.rules.is_empty()),
    ];
    let kinds: Vec<Kind> = kinds.into_iter().filter(|(_, needed)| *needed).map(|(kind, _)| kind).collect();
    let ways = present.routes.values().filter_map(|route| route.interface.clone());
    let scope = Scope {
        kinds: kinds.iter().copied().collect(),
        interfaces: all.vips.iter().map(|key| key.interface.clone()).chain(ways).collect(),
        tables: all.routes.iter().map(|key| key.table).collect(),
        ..Scope::default()
    };
    let observed = kernel.observe(&scope)?;
    let desired = Arc::new(desired(all.clone(), present));
    let ops = compare(&desired, &observed, &kinds);
    let judgements = achieved.judge(&desired, &observed, &ops);
    achieved.begin(&ops, &judgements);
    let results = if ops.is_empty() { Vec::new() } else { kernel.apply(&ops) };
    let mut synced = Synced { present: desired.state.addresses.clone(), ..Synced::default() };
    let mut unfinished = Vec::new();
    for ((op, judgement), result) in ops.into_iter().zip(judgements).zip(results) {
        let key = ObjectKey::of(&op);
        if judgement.cause == Cause::Drift {
            synced.drifted.entry(key).or_insert_with_key(|key| key.found(&desired, &observed));
        } else if result.is_err() {
            unfinished.push(key);
        }
        let Err(error) = result else {
            synced.done.push(op);
            continue;
        };
        match &op {
            Op::AddAddress { key, .. } => drop(synced.present.remove(key)),
            Op::DelAddress(key) if !synced.present.contains_key(key) => {
                synced.stuck.insert(key.clone());
            }
            _ => {}
        }
        synced.failed.push((op, error));
    }
    achieved.verified(&desired, &kinds, unfinished.into_iter());
    Ok(synced)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::RouterSetup;
    use super::*;
    use crate::source::read::plain_tests::ALL;

    fn vips() -> BTreeMap<AddressKey, Address> {
        let plan = evenkeel_schemas::plain::plan(ALL).expect("a plan");
        let setups = plan.routers.iter().map(|router| RouterSetup::new(router, &[], None, false));
        setups.flat_map(|setup| setup.expect("a router").vips.as_ref().clone()).collect()
    }

    /// What a comparison with the kernel would say where it is as remembered.
    #[test]
    fn remembered_vips_are_compared_as_observed_ones_are() {
        let all = vips();
        let keys: BTreeSet<AddressKey> = all.keys().cloned().collect();
        assert!(keys.len() > 2, "{keys:?}");
        let none = BTreeMap::new();
        let ops = compare_remembered(keys.clone(), all.clone(), &none);
        assert_eq!(ops.len(), all.len());
        assert!(ops.iter().all(|op| matches!(op, Op::AddAddress { announce: true, .. })), "{ops:?}");
        assert_eq!(compare_remembered(keys.clone(), all.clone(), &all), []);
        let ops = compare_remembered(keys.clone(), none.clone(), &all);
        assert_eq!(ops, keys.iter().cloned().map(Op::DelAddress).collect::<Vec<_>>());
        // VIPs of other routers are left alone, and what goes goes first.
        let (one, other) = (keys.first().expect("one").clone(), keys.last().expect("another").clone());
        let remembered = BTreeMap::from([(other.clone(), all[&other].clone())]);
        let wanted = BTreeMap::from([(one.clone(), all[&one].clone())]);
        let ops = compare_remembered(BTreeSet::from([one.clone(), other.clone()]), wanted, &remembered);
        let [Op::DelAddress(gone), Op::AddAddress { key, .. }] = ops.as_slice() else { panic!("{ops:?}") };
        assert_eq!((gone, key), (&other, &one));
        assert_eq!(compare_remembered(BTreeSet::from([one]), none, &remembered), []);
    }
}
