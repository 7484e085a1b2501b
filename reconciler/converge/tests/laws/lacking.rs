//! A kernel that lacks things: what it lacks costs itself and what is on it or in it, and nothing else.

use std::collections::BTreeSet;

use evenkeel_converge::lacking::must_be_there;
use evenkeel_converge::{Bars, Desired, Domain, KernelState, Ledger, ObjectKey, Op, diff, memory, shortfall};
use proptest::prelude::*;

use super::worlds::desired;

/// A kernel without the means for some objects, and what it has refused in a pass.
struct Lacking {
    state: KernelState,
    lacks: BTreeSet<ObjectKey>,
    refused: BTreeSet<ObjectKey>,
}

impl Lacking {
    /// Work of the agent in a pass.
    fn pass(&mut self, wanted: &Desired) -> Vec<Op> {
        let todo = diff(wanted, &self.state, &Ledger::default(), Domain::Host).ops;
        let mut bars = Bars::default();
        self.refused.clear();
        for run in todo.chunk_by(|a, b| a.phase() == b.phase()) {
            if bars.bar(run[0].phase()) {
                continue;
            }
            for op in run.iter().flat_map(Op::singles) {
                let unsupported = self.lacks.contains(&ObjectKey::of(&op));
                if unsupported {
                    self.refused.insert(ObjectKey::of(&op));
                }
                if unsupported
                    || self.has_no_place(wanted, &op)
                    || memory::apply(&mut self.state, &op).is_err()
                {
                    bars.failed(&op, unsupported);
                }
            }
        }
        diff(wanted, &self.state, &Ledger::default(), Domain::Host).ops
    }

    /// Whether it is to be on an interface that is not there.
    fn has_no_place(&self, wanted: &Desired, op: &Op) -> bool {
        let interface = match op {
            Op::AddAddress { key, .. } => Some(key.interface.as_str()),
            Op::AddRoute { value, .. } => value.interface.as_deref(),
            Op::SetSysctl { key, .. } => key.split('/').nth(3),
            Op::StartSync(_, daemon) => Some(daemon.interface.as_str()),
            _ => None,
        };
        interface
            .is_some_and(|name| wanted.state.links.contains_key(name) && !self.state.links.contains_key(name))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_lack_of_the_kernel_costs_nothing_else(wanted in desired(), picks in any::<u64>()) {
        let all = diff(&wanted, &KernelState::default(), &Ledger::default(), Domain::Host).ops;
        let singles: Vec<Op> =
            all.iter().flat_map(|op| op.singles().map(std::borrow::Cow::into_owned)).collect();
        let picked =
            singles.iter().enumerate().filter(|(n, op)| picks >> (n % 64) & 1 == 1 && !must_be_there(op));
        let lacks: BTreeSet<ObjectKey> = picked.map(|(_, op)| ObjectKey::of(op)).collect();
        let mut kernel = Lacking { state: KernelState::default(), lacks, refused: BTreeSet::new() };
        let remaining = kernel.pass(&wanted);
        let found = shortfall(remaining.iter(), &kernel.refused);
        prop_assert!(!found.waits, "{:?} of {:?}", remaining, kernel.lacks);
        let told: BTreeSet<ObjectKey> = found.lacking.union(&found.following).cloned().collect();
        prop_assert!(kernel.refused.is_subset(&told) && found.lacking.is_subset(&kernel.refused));
        // Once it has the means, the next pass does the rest.
        kernel.lacks.clear();
        prop_assert_eq!(kernel.pass(&wanted), vec![]);
    }

    /// Without a setting of ARP nobody counts as ready, and no address comes.
    #[test]
    fn settings_of_arp_are_never_done_without(wanted in desired()) {
        let all = diff(&wanted, &KernelState::default(), &Ledger::default(), Domain::Host).ops;
        let arp =
            all.iter().find(|op| matches!(op, Op::SetSysctl { key, .. } if key.ends_with("/arp_ignore")));
        let Some(arp) = arp else { return Ok(()) };
        let lacks = BTreeSet::from([ObjectKey::of(arp)]);
        let mut kernel = Lacking { state: KernelState::default(), lacks, refused: BTreeSet::new() };
        let remaining = kernel.pass(&wanted);
        prop_assert!(shortfall(remaining.iter(), &kernel.refused).waits);
        prop_assert!(kernel.state.addresses.is_empty());
    }
}
