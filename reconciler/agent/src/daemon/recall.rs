//! The kernel's tables as an earlier daemon left them, read to recall its verdicts.

use std::collections::BTreeSet;

use evenkeel_converge::Kind;
use evenkeel_host::recall::{self, Memory, Recalled};
use evenkeel_kernel::{Kernel, Scope};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use tracing::warn;

use super::persisting::Persisting;
use evenkeel_host::orders::drains::DrainOrders;

/// State that an earlier daemon left in the kernel; empty when nothing there is ours, or when it cannot be
/// read.
pub(super) fn left_behind(
    plan: &Plan,
    persisting: &Persisting,
    orders: &DrainOrders,
    host: &Name,
) -> Recalled {
    let (state, ledger) = (persisting.state(), persisting.ledger());
    if ledger.services.is_empty() {
        return Recalled::default();
    }
    let scope = Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() };
    let observed = match Kernel::new().and_then(|mut kernel| kernel.observe(&scope)) {
        Ok(observed) => observed,
        Err(error) => {
            warn!("cannot read the verdicts of the daemon before from the kernel: {error}");
            return Recalled::default();
        }
    };
    let verified = state.verified();
    let memory = Memory {
        ledger,
        drains: &state.drains(),
        orders,
        verified: verified.as_ref(),
        plan: &|| state.last_good(host).map(|loaded| loaded.plan),
    };
    recall::left_behind(plan, &memory, &observed.services)
}
