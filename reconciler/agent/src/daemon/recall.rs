//! The kernel's tables as an earlier daemon left them, read to recall its verdicts.

use std::collections::BTreeSet;

use evenkeel_converge::Kind;
use evenkeel_host::recall::{self, Memory};
use evenkeel_host::verdicts::Verdicts;
use evenkeel_kernel::{Kernel, Scope};
use evenkeel_schemas::plan::Plan;
use tracing::warn;

/// The verdicts that an earlier daemon left in the kernel; none when nothing there is ours, or when it cannot be read.
pub(super) fn left_behind(plan: &Plan, memory: &Memory<'_>) -> Verdicts {
    if memory.ledger.services.is_empty() {
        return Verdicts::new();
    }
    let scope = Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() };
    match Kernel::new().and_then(|mut kernel| kernel.observe(&scope)) {
        Ok(observed) => recall::left_behind(plan, memory, &observed.services),
        Err(error) => {
            warn!("cannot read the verdicts of the daemon before from the kernel: {error}");
            Verdicts::new()
        }
    }
}
