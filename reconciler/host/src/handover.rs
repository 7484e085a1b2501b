//! The handover from the election's routers to those of a new plan, in two steps when VIPs leave.
//!
//! A VIP that leaves is removed before its virtual servers are, and a VIP that comes is announced after its
//! virtual servers are there. Values only; the host sends them to the election.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_converge::AddressKey;

use crate::routers::RouterSetup;

/// The VIPs of all these routers.
pub(crate) fn vips(setups: &[RouterSetup]) -> BTreeSet<AddressKey> {
    setups.iter().flat_map(|setup| setup.vips.keys().cloned()).collect()
}

/// The first step: the current routers without the VIPs that the next plan does not have. None when no VIP
/// leaves.
pub(crate) fn without_leaving(current: &[RouterSetup], next: &[RouterSetup]) -> Option<Vec<RouterSetup>> {
    let mut leaves = false;
    let mut staying = Vec::new();
    for setup in current {
        let Some(after) = next.iter().find(|after| after.key == setup.key) else {
            leaves = true;
            continue;
        };
        let mut setup = setup.clone();
        let kept: Vec<AddressKey> =
            setup.vips.keys().filter(|vip| after.vips.contains_key(*vip)).cloned().collect();
        // A router needs a VIP: one that exchanges all of them does so in the second step.
        if kept.len() < setup.vips.len() && !kept.is_empty() {
            leaves = true;
            Arc::make_mut(&mut setup.vips).retain(|vip, _| kept.contains(vip));
            let stays = |ip: &IpAddr| kept.iter().chain(&setup.owned).any(|vip| vip.address.address() == *ip);
            setup.config.vips.retain(stays);
        }
        staying.push(setup);
    }
    leaves.then_some(staying)
}

/// Whether the second step brings a router or VIP whose virtual servers must be there first.
pub(crate) fn comes(current: &[RouterSetup], next: &[RouterSetup]) -> bool {
    let have = vips(current);
    next.iter().any(|setup| {
        !current.iter().any(|before| before.key == setup.key)
            || setup.vips.keys().any(|vip| !have.contains(vip))
    })
}
