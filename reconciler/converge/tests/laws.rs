//! The laws of convergence, on arbitrary kernels, plans and records. Pure: the kernel is the one in
//! memory.
//!
//! 1. What is as wanted needs nothing.
//! 2. Doing what is said reaches what is wanted, and touches nothing of others.
//! 3. Stopping anywhere keeps the phases' promises.
//! 4. Equal inputs give equal operations.
//! 5. Cleaning up brings back what was before.
//! 6. The record survives being written and read.
//!
//! What is in the way and of others (an interface of the name, a route with another next hop) is told by
//! an operation that fails, and stays.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::diff::{same_address, same_route};
use evenkeel_converge::memory;
use evenkeel_converge::{
    Address, AddressKey, Desired, Domain, KernelState, Kind, Ledger, LinkKind, Op, Origin, Phase, Route,
    ServiceKey, Unwrap, cleanup, diff,
};
use evenkeel_schemas::plan::Scope;
use proptest::prelude::*;

#[path = "laws/drift.rs"]
mod drift;
#[path = "laws/lacking.rs"]
mod lacking;
#[path = "laws/large.rs"]
mod large;
#[path = "laws/worlds.rs"]
mod worlds;

use worlds::{desired, fresh_world, kernel, ledger, owned_world, plan_for};

/// Applies all operations; the kernel in memory is strict about their order. Those that make something
/// where others have something else fail, as they should, and nothing else does.
fn apply(state: &KernelState, ops: &[Op]) -> Result<KernelState, TestCaseError> {
    let mut next = state.clone();
    for op in ops.iter().filter(|op| !is_in_the_way(state, ops, op)) {
        memory::apply(&mut next, op).map_err(|why| TestCaseError::fail(format!("{op}: {why}")))?;
    }
    Ok(next)
}

/// Whether something of others is where the operation makes something: it was there before, and is not
/// removed by another operation.
fn is_in_the_way(state: &KernelState, ops: &[Op], op: &Op) -> bool {
    match op {
        Op::AddLink(name, _) => {
            let removed = ops.iter().any(|op| matches!(op, Op::DelLink { name: other, .. } if other == name));
            state.links.get(name).is_some_and(|have| !have.tagged) && !removed
        }
        // Only one that unwraps something else: another is as wanted.
        Op::AddGue(key) => state.gue.contains_key(key),
        Op::AddRoute { key, .. } => {
            let on_it = |name: &String| {
                state.routes.get(key).is_some_and(|route| route.interface.as_ref() == Some(name))
            };
            let removed = ops.iter().any(|op| match op {
                Op::DelRoute(other, _) => other == key,
                Op::DelLink { name, replaced: true } => on_it(name),
                _ => false,
            });
            state.routes.get(key).is_some_and(|have| !have.tagged) && !removed
        }
        _ => false,
    }
}

/// Operations that fail because of what others have; see [`apply`].
fn in_the_way(state: &KernelState, ops: &[Op]) -> Vec<Op> {
    ops.iter().filter(|op| is_in_the_way(state, ops, op)).cloned().collect()
}

/// The states after 0, 1, 2, … operations.
fn prefixes(state: &KernelState, ops: &[Op]) -> Result<Vec<KernelState>, TestCaseError> {
    let mut states = vec![state.clone()];
    for count in 1..=ops.len() {
        states.push(apply(state, &ops[..count])?);
    }
    Ok(states)
}

/// Whether what `wanted` says of ARP is in force in `state`.
fn arp_in_force(wanted: &KernelState, state: &KernelState) -> bool {
    let mut arp = wanted.clone();
    arp.sysctls.retain(|key, _| key.contains("/arp_"));
    in_force(&arp, state)
}

/// Whether all settings of `wanted` are in force in `state`.
fn in_force(wanted: &KernelState, state: &KernelState) -> bool {
    wanted.sysctls.iter().all(|(key, value)| state.sysctls.get(key) == Some(value))
}

/// Work of the agent with a plan: look, record, apply, look, record.
fn converge(
    desired: &Desired,
    start: &KernelState,
    ledger: &Ledger,
) -> Result<(KernelState, Ledger), TestCaseError> {
    let todo = diff(desired, start, ledger, Domain::Host);
    let before = ledger.before(desired, start, &Kind::ALL);
    let reached = apply(start, &todo.ops)?;
    let after = before.after(desired, &reached);
    Ok((reached, after))
}

/// Work of the election when the routers of `masters` are Master.
fn elect(
    desired: &Desired,
    masters: &KernelState,
    start: &KernelState,
) -> Result<KernelState, TestCaseError> {
    let wanted = Desired { state: masters.clone(), ..desired.clone() };
    apply(start, &diff(&wanted, start, &Ledger::default(), Domain::Vips).ops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_kernel_as_wanted_needs_no_operation(wanted in desired(), record in ledger()) {
        // What the record would still put back is not as wanted.
        let record = Ledger { sysctls: BTreeMap::new(), timeouts: None, ..record };
        let found = diff(&wanted, &wanted.state, &record, Domain::Host);
        prop_assert_eq!(found.ops, vec![]);
        prop_assert_eq!(found.foreign, vec![]);
    }

    #[test]
    fn doing_what_is_said_reaches_what_is_wanted(wanted in desired(), start in kernel(), record in ledger()) {
        let ops = diff(&wanted, &start, &record, Domain::Host).ops;
        let failing = in_the_way(&start, &ops);
        let reached = apply(&start, &ops)?;
        prop_assert_eq!(&diff(&wanted, &reached, &record, Domain::Host).ops, &failing);
        for (name, value) in &wanted.state.links {
            let have = &reached.links[name];
            if !failing.iter().any(|op| matches!(op, Op::AddLink(other, _) if other == name)) {
                prop_assert_eq!(&have.kind, &value.kind);
                prop_assert!(have.up && (have.no_own_address || !value.no_own_address));
            }
        }
        for (key, value) in &wanted.state.addresses {
            let (have, v4) = (&reached.addresses[key], key.address.address().is_ipv4());
            // An IPv4 address that others have made serves whatever its label and scope.
            let theirs = v4 && !have.tagged && record.addresses.get(key) != Some(&Origin::Created);
            let kept = theirs && start.addresses.get(key) == Some(have);
            prop_assert!(kept || same_address(key, value, have), "{}", key);
            prop_assert!(!have.tentative);
        }
        for (key, value) in &wanted.state.routes {
            let fails =
                failing.iter().any(|op| matches!(op, Op::AddRoute { key: other, .. } if other == key));
            let Some(have) = reached.routes.get(key) else {
                prop_assert!(fails, "{}", key);
                continue;
            };
            let leads_there = same_route(key, value, &Route { scope: value.scope, ..have.clone() });
            let theirs = !have.tagged && record.routes.get(key) != Some(&Origin::Created);
            let kept = leads_there && theirs && start.routes.get(key) == Some(have);
            prop_assert!(fails || kept || same_route(key, value, have), "{}", key);
        }
        for key in wanted.state.gue.keys() {
            let fails = failing.contains(&Op::AddGue(*key));
            prop_assert!(fails || reached.gue.get(key) == Some(&Unwrap::Gue), "{}", key);
        }
        for key in wanted.state.rules.keys() {
            prop_assert!(reached.rules.contains_key(key), "{}", key);
        }
        for (key, value) in &wanted.state.services {
            prop_assert_eq!(&reached.services[key], value);
        }
        for (role, daemon) in &wanted.state.sync_daemons {
            prop_assert!(daemon.is_met_by(&reached.sync_daemons[role]), "{}", role);
        }
        let restored = record.timeouts.filter(|entry| start.timeouts == Some(entry.ours));
        let expected = wanted.state.timeouts.or(restored.map(|entry| entry.original)).or(start.timeouts);
        prop_assert_eq!(reached.timeouts, expected);
        prop_assert!(in_force(&wanted.state, &reached));
    }

    /// An administrator's address or route that is what the plan wants but for label and scope is never taken
    /// away: not when the plan comes, not later, not by a clean-up.
    #[test]
    fn foreign_objects_that_serve_are_never_removed(
        wanted in desired(),
        start in kernel(),
        scopes in any::<[u8; 2]>(),
    ) {
        let scope = |n: u8| [Scope::Global, Scope::Link, Scope::Host][usize::from(n % 3)];
        let mut start = start;
        for (key, value) in wanted
            .state
            .addresses
            .iter()
            .filter(|(key, _)| key.address.address().is_ipv4() && !wanted.vips.contains(key))
        {
            let label = value.label.is_none().then(|| "lo:adm".to_owned());
            let theirs = Address { label, tagged: false, scope: scope(scopes[0]), ..value.clone() };
            start.addresses.insert(key.clone(), theirs);
        }
        for (key, value) in wanted.state.routes.iter().filter(|(key, _)| !wanted.vip_routes.contains(key)) {
            start.routes.insert(*key, Route { tagged: false, scope: scope(scopes[1]), ..value.clone() });
        }
        // Interfaces of ours take along what is on them.
        start.links.clear();
        let wanted = Desired { state: KernelState { links: BTreeMap::new(), ..wanted.state }, ..wanted };
        let (first, record) = converge(&wanted, &start, &Ledger::default())?;
        let (second, record) = converge(&wanted, &first, &record)?;
        let cleaned = apply(&second, &cleanup(&second, &record).ops)?;
        for state in [&first, &second, &cleaned] {
            for key in wanted
                .state
                .addresses
                .keys()
                .filter(|key| key.address.address().is_ipv4() && !wanted.vips.contains(*key))
            {
                prop_assert_eq!(state.addresses.get(key), start.addresses.get(key), "{}", key);
            }
            for key in wanted.state.routes.keys().filter(|key| !wanted.vip_routes.contains(*key)) {
                prop_assert_eq!(state.routes.get(key), start.routes.get(key), "{}", key);
            }
        }
    }

    #[test]
    fn foreign_objects_are_not_touched(wanted in desired(), start in kernel(), record in ledger()) {
        let found = diff(&wanted, &start, &record, Domain::Host);
        let reached = apply(&start, &found.ops)?;
        for (name, value) in &start.links {
            let known = value.tagged || record.links.contains_key(name);
            let kept = reached.links.get(name).map(|have| &have.kind);
            if !known {
                prop_assert_eq!(kept, Some(&value.kind), "{}", name);
                prop_assert!(!reached.links[name].tagged, "{} is not of our making", name);
            } else if !wanted.state.links.contains_key(name) && !matches!(value.kind, LinkKind::Other(_)) {
                prop_assert_eq!(kept, None, "{}", name);
            }
        }
        // What is on an interface of ours goes with it.
        let mut start = start;
        if found.ops.iter().any(|op| matches!(op, Op::DelLink { .. })) {
            start.addresses.retain(|key, _| key.interface != worlds::OWN);
            start.routes.retain(|_, route| route.interface.as_deref() != Some(worlds::OWN));
        }
        for (key, value) in &start.addresses {
            let ours = wanted.state.addresses.contains_key(key)
                || value.tagged
                || record.addresses.contains_key(key);
            if wanted.vips.contains(key) || !ours {
                prop_assert_eq!(reached.addresses.get(key), Some(value), "{}", key);
            } else if !wanted.state.addresses.contains_key(key) {
                prop_assert_eq!(reached.addresses.get(key), None, "{}", key);
            }
        }
        for (key, value) in &start.routes {
            // One with another next hop is another route.
            let named = wanted.state.routes.get(key).is_some_and(|want| {
                want.gateway == value.gateway
                    && (want.interface.is_none() || want.interface == value.interface)
            });
            let ours = named || value.tagged || record.routes.contains_key(key);
            if !ours || wanted.vip_routes.contains(key) {
                prop_assert_eq!(reached.routes.get(key), Some(value), "{}", key);
            }
        }
        for (key, value) in &start.gue {
            let ours = wanted.state.gue.contains_key(key) || record.gue.contains_key(key);
            if !ours || matches!(value, Unwrap::Other { .. }) {
                prop_assert_eq!(reached.gue.get(key), Some(value), "{}", key);
                let told = found.foreign.iter().any(|object| object.object == key.to_string());
                prop_assert!(told || wanted.state.gue.contains_key(key), "{} is not reported", key);
            } else if !wanted.state.gue.contains_key(key) {
                prop_assert_eq!(reached.gue.get(key), None, "{}", key);
            }
        }
        for (key, value) in &start.rules {
            if !value.tagged || wanted.vip_rules.contains(key) {
                prop_assert_eq!(reached.rules.get(key), Some(value), "{}", key);
            } else if !wanted.state.rules.contains_key(key) {
                prop_assert_eq!(reached.rules.get(key), None, "{}", key);
            }
        }
        for (key, value) in &start.services {
            let ours = wanted.state.services.contains_key(key) || record.services.contains_key(key);
            if !ours && !wanted.exclusive_ipvs {
                prop_assert_eq!(reached.services.get(key), Some(value), "{}", key);
                let told = found.foreign.iter().any(|object| object.object == key.to_string());
                prop_assert!(told, "{} is not reported", key);
            }
        }
        for (role, daemon) in &start.sync_daemons {
            let ours = wanted.state.sync_daemons.contains_key(role) || record.sync_daemons.contains_key(role);
            if !ours {
                prop_assert_eq!(reached.sync_daemons.get(role), Some(daemon), "{}", role);
            }
        }
        let named: BTreeSet<&AddressKey> =
            wanted.state.addresses.keys().chain(start.addresses.keys()).collect();
        prop_assert!(reached.addresses.keys().all(|key| named.contains(key)), "an address out of nowhere");
    }

    /// An object in the way in the first pass is in the way in the next ones, and when the plan does not name
    /// it any more.
    #[test]
    fn objects_in_the_way_never_become_ours(wanted in desired(), mut start in kernel()) {
        // What is on an interface of ours goes with it.
        start.routes.retain(|_, route| route.interface.as_deref() != Some(worlds::OWN));
        let failing = in_the_way(&start, &diff(&wanted, &start, &Ledger::default(), Domain::Host).ops);
        let (mut state, mut record) = (start.clone(), Ledger::default());
        for plan in [&wanted, &wanted, &Desired::default()] {
            (state, record) = converge(plan, &state, &record)?;
            for op in &failing {
                match op {
                    Op::AddRoute { key, .. } => {
                        prop_assert_eq!(state.routes.get(key), start.routes.get(key), "{}", key)
                    }
                    Op::AddLink(name, _) => {
                        prop_assert_eq!(state.links.get(name), start.links.get(name), "{}", name)
                    }
                    Op::AddGue(key) => prop_assert_eq!(state.gue.get(key), start.gue.get(key), "{}", key),
                    _ => prop_assert!(false, "{} cannot be in the way", op),
                }
            }
        }
    }

    #[test]
    fn the_election_changes_only_its_own(wanted in desired(), start in kernel(), some: prop::sample::Index) {
        let masters = plan_for(&wanted, some);
        let reached = elect(&wanted, &masters, &start)?;
        for key in &wanted.vips {
            prop_assert_eq!(reached.addresses.contains_key(key), masters.addresses.contains_key(key));
        }
        // Routes and rules of others may be called as the election's are, and stay.
        for key in &wanted.vip_routes {
            let there = reached.routes.get(key);
            let others = start.routes.get(key).filter(|route| !route.tagged);
            let as_wanted = match masters.routes.get(key) {
                Some(want) => there.is_some_and(|have| same_route(key, want, have)) || there == others,
                None => there == others,
            };
            prop_assert!(as_wanted, "{}: {:?}", key, there);
        }
        for key in &wanted.vip_rules {
            let others = start.rules.get(key).is_some_and(|rule| !rule.tagged);
            let expected = others || masters.rules.contains_key(key);
            prop_assert_eq!(reached.rules.contains_key(key), expected, "{}", key);
        }
        let others = |state: &KernelState| {
            let mut state = state.clone();
            state.addresses.retain(|key, _| !wanted.vips.contains(key));
            state.routes.retain(|key, _| !wanted.vip_routes.contains(key));
            state.rules.retain(|key, _| !wanted.vip_rules.contains(key));
            state
        };
        prop_assert_eq!(others(&reached), others(&start));
    }

    #[test]
    fn a_claim_is_made_in_order_and_given_up_in_reverse(
        wanted in desired(),
        start in kernel(),
        some: prop::sample::Index,
    ) {
        let place = |op: &Op| match op {
            Op::DelRule(_) => Some(0),
            Op::DelRoute(..) => Some(1),
            Op::DelAddress(_) => Some(2),
            Op::AddAddress { announce: true, .. } => Some(3),
            Op::AddRoute { announce: true, .. } => Some(4),
            Op::AddRule { announce: true, .. } => Some(5),
            _ => None,
        };
        let wanted = Desired { state: plan_for(&wanted, some), ..wanted };
        let ops = diff(&wanted, &start, &Ledger::default(), Domain::Vips).ops;
        prop_assert!(ops.iter().all(|op| place(op).is_some()), "{:?}", ops);
        prop_assert!(ops.is_sorted_by_key(place), "{:?}", ops);
    }

    #[test]
    fn operations_are_in_phase_order(
        wanted in desired(),
        start in kernel(),
        record in ledger(),
        some: prop::sample::Index,
    ) {
        for domain in [Domain::Host, Domain::Vips] {
            let wanted = match domain {
                Domain::Host => wanted.clone(),
                Domain::Vips => Desired { state: plan_for(&wanted, some), ..wanted.clone() },
            };
            let ops = diff(&wanted, &start, &record, domain).ops;
            prop_assert!(ops.is_sorted_by_key(Op::phase));
            for op in &ops {
                // A VIP is announced last: after everything that serves it.
                let adds = matches!(op, Op::AddAddress { .. } | Op::AddRoute { .. } | Op::AddRule { .. });
                let announces = adds && domain == Domain::Vips;
                prop_assert_eq!(op.phase() == Phase::Announce, announces, "{}", op);
            }
        }
    }

    #[test]
    fn no_vip_is_on_a_real_server_without_its_settings(
        old in desired(),
        new in desired(),
        world in owned_world(),
    ) {
        // From a kernel that is as the old plan wants it, to the new plan.
        let (start, record) = converge(&old, &world, &Ledger::default())?;
        let ops = diff(&new, &start, &record, Domain::Host).ops;
        for state in prefixes(&start, &ops)? {
            for key in state.addresses.keys() {
                let (stays, comes) =
                    (old.state.addresses.contains_key(key), new.state.addresses.contains_key(key));
                if comes && !start.addresses.contains_key(key) {
                    prop_assert!(arp_in_force(&new.state, &state), "{} came before its settings", key);
                }
                let leaves = stays && !comes && !new.vips.contains(key);
                if leaves {
                    prop_assert!(arp_in_force(&old.state, &state), "{} outlived its settings", key);
                }
            }
        }
    }

    #[test]
    fn an_interface_is_there_before_what_needs_it_and_goes_after_it(
        old in desired(),
        new in desired(),
        world in owned_world(),
    ) {
        let (start, record) = converge(&old, &world, &Ledger::default())?;
        let ops = diff(&new, &start, &record, Domain::Host).ops;
        for op in &ops {
            let last = matches!(op, Op::DelLink { replaced: false, .. });
            prop_assert!(!last || ops.last() == Some(op), "{} is not the last", op);
        }
        for (state, op) in prefixes(&start, &ops)?.iter().zip(&ops) {
            let interface = match op {
                Op::AddAddress { key, .. } => Some(key.interface.as_str()),
                Op::AddRoute { value, .. } => value.interface.as_deref(),
                Op::SetSysctl { key, .. } if key.contains("/own/") => Some(worlds::OWN),
                _ => None,
            };
            if interface == Some(worlds::OWN) {
                prop_assert!(state.links.contains_key(worlds::OWN), "{} before its interface", op);
            }
        }
    }

    #[test]
    fn a_service_never_runs_out_of_destinations_on_the_way(
        wanted in desired(),
        start in kernel(),
        record in ledger(),
    ) {
        let ops = diff(&wanted, &start, &record, Domain::Host).ops;
        let serving = |key: &ServiceKey, state: &KernelState| {
            state.services.get(key).is_some_and(|service| !service.destinations.is_empty())
        };
        for state in prefixes(&start, &ops)? {
            for key in wanted.state.services.keys() {
                if serving(key, &start) && serving(key, &wanted.state) {
                    prop_assert!(serving(key, &state), "{} is empty on the way", key);
                }
            }
        }
    }

    #[test]
    fn a_stop_anywhere_is_recovered_from(
        wanted in desired(),
        start in kernel(),
        at in any::<prop::sample::Index>(),
    ) {
        let record = Ledger::default().before(&wanted, &start, &Kind::ALL);
        let ops = diff(&wanted, &start, &Ledger::default(), Domain::Host).ops;
        let failing = in_the_way(&start, &ops);
        let ops: Vec<Op> = ops.into_iter().filter(|op| !failing.contains(op)).collect();
        let stopped = apply(&start, &ops[..at.index(ops.len() + 1)])?;
        // The record was on disk before the first operation.
        let (reached, _) = converge(&wanted, &stopped, &record)?;
        let left = diff(&wanted, &reached, &record, Domain::Host).ops;
        prop_assert!(left.iter().all(|op| failing.contains(op)), "{:?}", left);
    }

    #[test]
    fn equal_inputs_give_equal_operations(wanted in desired(), start in kernel(), record in ledger()) {
        let first = diff(&wanted, &start, &record, Domain::Host);
        let second = diff(&wanted.clone(), &start.clone(), &record.clone(), Domain::Host);
        prop_assert_eq!(&first, &second);
        let reversed = KernelState {
            links: start.links.into_iter().rev().collect(),
            gue: start.gue.into_iter().rev().collect(),
            rules: start.rules.into_iter().rev().collect(),
            addresses: start.addresses.into_iter().rev().collect(),
            routes: start.routes.into_iter().rev().collect(),
            sysctls: start.sysctls.into_iter().rev().collect(),
            services: start.services.into_iter().rev().collect(),
            timeouts: start.timeouts,
            sync_daemons: start.sync_daemons.into_iter().rev().collect(),
            ..KernelState::default()
        };
        prop_assert_eq!(first, diff(&wanted, &reversed, &record, Domain::Host));
    }

    #[test]
    fn cleaning_up_brings_back_what_was_before(
        start in fresh_world(),
        plans in prop::collection::vec(desired(), 1..4),
        some: prop::sample::Index,
    ) {
        // Plans name objects with the same properties as the host had them, if it had them: what was
        // edited in place cannot be put back. Foreign services removed by `exclusive` neither.
        let plans: Vec<Desired> = plans
            .into_iter()
            .map(|plan| Desired { exclusive_ipvs: false, ..worlds::agreeing(plan) })
            .collect();
        let start = worlds::agreeing_state(start);
        let (mut state, mut record, mut expected) = (start.clone(), Ledger::default(), start);
        let mut last = BTreeSet::new();
        for plan in &plans {
            let gone = |key: &AddressKey| !plan.state.addresses.contains_key(key) && !plan.vips.contains(key);
            // What was adopted and then left the plan is removed, as its author asked.
            expected.addresses.retain(|key, _| !(gone(key) && record.addresses.contains_key(key)));
            if !plan.state.links.contains_key(worlds::OWN) && record.links.contains_key(worlds::OWN) {
                expected.links.clear();
                expected = worlds::on_what_is_there(expected);
            }
            let routes = &plan.state.routes;
            expected.routes.retain(|key, _| {
                routes.contains_key(key) || plan.vip_routes.contains(key) || !record.routes.contains_key(key)
            });
            let ports = &plan.state.gue;
            expected.gue.retain(|key, _| ports.contains_key(key) || !record.gue.contains_key(key));
            let daemons = &plan.state.sync_daemons;
            expected
                .sync_daemons
                .retain(|role, _| daemons.contains_key(role) || !record.sync_daemons.contains_key(role));
            let services = &plan.state.services;
            expected
                .services
                .retain(|key, _| services.contains_key(key) || !record.services.contains_key(key));
            (state, record) = converge(plan, &state, &record)?;
            let masters = plan_for(plan, some);
            state = elect(plan, &masters, &state)?;
            last = plan.vips.difference(&masters.addresses.keys().cloned().collect()).cloned().collect();
            // A VIP that the host had is taken away while it is not Master.
            expected.addresses.retain(|key, _| !last.contains(key));
        }
        prop_assert!(state.addresses.keys().all(|key| !last.contains(key)));
        let cleaned = apply(&state, &cleanup(&state, &record).ops)?;
        prop_assert_eq!(&cleaned, &expected);
        prop_assert_eq!(cleanup(&cleaned, &record).ops, vec![], "once is enough");
    }

    #[test]
    fn the_record_survives_being_written_and_read(record in ledger()) {
        let text = serde_json::to_string(&record).expect("a record is JSON");
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).expect("JSON is a record"), record);
    }
}

#[test]
fn a_setting_that_is_not_there_is_not_recorded() {
    let mut wanted = Desired::default();
    wanted.state.sysctls.insert("net/ipv4/conf/eth7/arp_ignore".to_owned(), "1".to_owned());
    let record = Ledger::default().before(&wanted, &KernelState::default(), &Kind::ALL);
    assert!(record.is_empty(), "its value before us is not known: {record:?}");
}
