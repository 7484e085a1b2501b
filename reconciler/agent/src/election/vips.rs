//! VIP addresses follow the states of their routers, by the one comparator.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::{
    Address, AddressKey, Desired, Diff, Domain, KernelState, Kind, Ledger, Op, diff_kinds,
};
use evenkeel_kernel::{ApplyError, Kernel, KernelError, Scope};

/// What a synchronisation did and found.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// VIPs that are there now, as wanted.
    pub(super) present: BTreeSet<AddressKey>,
    /// VIPs that are there still, although they should not be.
    pub(super) stuck: BTreeSet<AddressKey>,
    /// Operations that were done.
    pub(super) done: Vec<Op>,
    /// Operations that failed.
    pub(super) failed: Vec<(Op, ApplyError)>,
}

/// Makes the kernel have exactly `present` of the VIPs `all`.
///
/// # Errors
/// When the kernel's addresses cannot be read.
pub(super) fn sync(
    kernel: &mut Kernel,
    all: &BTreeSet<AddressKey>,
    present: BTreeMap<AddressKey, Address>,
) -> Result<Synced, KernelError> {
    if all.is_empty() {
        return Ok(Synced::default());
    }
    let scope = Scope {
        kinds: BTreeSet::from([Kind::Addresses]),
        interfaces: all.iter().map(|key| key.interface.clone()).collect(),
        ..Scope::default()
    };
    let observed = kernel.observe(&scope)?;
    let wanted: BTreeSet<AddressKey> = present.keys().cloned().collect();
    let desired = Desired {
        state: KernelState { addresses: present, ..KernelState::default() },
        vips: all.clone(),
        ..Desired::default()
    };
    // Every VIP of the plan is ours, whoever made it: no ledger is needed to know.
    let Diff { ops, .. } =
        diff_kinds(&desired, &observed, &Ledger::default(), Domain::Vips, &[Kind::Addresses]);
    let results = if ops.is_empty() { Vec::new() } else { kernel.apply(&ops) };
    let mut synced = Synced { present: wanted, ..Synced::default() };
    for (op, result) in ops.into_iter().zip(results) {
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
    Ok(synced)
}
