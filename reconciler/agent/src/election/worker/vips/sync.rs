//! VIP addresses, and the routes and rules that go with them, follow the states of their routers, by the one
//! comparator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_converge::{
    Achieved, Address, AddressKey, Cause, Desired, Diff, Domain, KernelState, Kind, Ledger, ObjectKey, Op,
    Route, RouteKey, Rule, RuleKey, diff_kinds,
};
use evenkeel_kernel::{ApplyError, Kernel, KernelError, Scope};

use crate::election::RouterSetup;

/// All that comes and goes with the routers, whoever is Master.
#[derive(Debug, Clone, Default)]
pub(in crate::election::worker) struct Moving {
    pub(in crate::election::worker) vips: BTreeSet<AddressKey>,
    pub(in crate::election::worker) routes: BTreeSet<RouteKey>,
    pub(in crate::election::worker) rules: BTreeSet<RuleKey>,
}

impl Moving {
    /// What moves with these routers.
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

/// What of it must be there now.
#[derive(Debug, Clone, Default)]
pub(in crate::election::worker) struct Present {
    pub(in crate::election::worker) vips: BTreeMap<AddressKey, Address>,
    pub(in crate::election::worker) routes: BTreeMap<RouteKey, Route>,
    pub(in crate::election::worker) rules: BTreeMap<RuleKey, Rule>,
}

/// What a synchronisation did and found.
#[derive(Debug, Default)]
pub(in crate::election::worker) struct Synced {
    /// VIPs that are there now, as wanted.
    pub(in crate::election::worker) present: BTreeSet<AddressKey>,
    /// VIPs that are there still, although they should not be.
    pub(in crate::election::worker) stuck: BTreeSet<AddressKey>,
    /// Operations that were done.
    pub(in crate::election::worker) done: Vec<Op>,
    /// Operations that failed.
    pub(in crate::election::worker) failed: Vec<(Op, ApplyError)>,
    /// What others have changed since it was last as wanted, and how it was found.
    pub(in crate::election::worker) drifted: BTreeMap<ObjectKey, String>,
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
    let wanted: BTreeSet<AddressKey> = present.vips.keys().cloned().collect();
    let desired = Arc::new(Desired {
        state: KernelState {
            addresses: present.vips,
            routes: present.routes,
            rules: present.rules,
            ..KernelState::default()
        },
        vips: all.vips.clone(),
        vip_routes: all.routes.clone(),
        vip_rules: all.rules.clone(),
        ..Desired::default()
    });
    // All that the plan names is ours, whoever made it: no ledger is needed to know.
    let Diff { ops, .. } = diff_kinds(&desired, &observed, &Ledger::default(), Domain::Vips, &kinds);
    let judgements = achieved.judge(&desired, &observed, &ops);
    achieved.begin(&ops, &judgements);
    let results = if ops.is_empty() { Vec::new() } else { kernel.apply(&ops) };
    let mut synced = Synced { present: wanted, ..Synced::default() };
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
            Op::DelAddress(key) if !synced.present.contains(key) => drop(synced.stuck.insert(key.clone())),
            _ => {}
        }
        synced.failed.push((op, error));
    }
    achieved.verified(&desired, &kinds, unfinished.into_iter());
    Ok(synced)
}
