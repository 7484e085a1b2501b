//! Which operations need a name that is on the disk, and what follows when it cannot be written there. No I/O
//! here.
//!
//! An object is named in the ledger before it is made or changed, so a crash in between leaves a name without
//! an object, never an object without a name. A disk that is full or does not answer therefore costs the
//! operations whose object it does not name yet, and no others.

use std::collections::BTreeSet;

use crate::ledger::Ledger;
use crate::op::{Op, Phase};

impl Ledger {
    /// Whether the object that an operation makes or changes is named, or needs no name: what is removed as a
    /// whole was named when it was made, and rules and routes of the election carry a tag.
    #[must_use]
    pub fn names(&self, op: &Op) -> bool {
        match op {
            Op::AddLink(name, _) | Op::SetLink(name, _) => self.links.contains_key(name),
            Op::AddGue(key) => self.gue.contains_key(key),
            Op::AddAddress { key, .. } => self.addresses.contains_key(key),
            Op::AddRoute { key, announce: false, .. } => self.routes.contains_key(key),
            // An operation that restores the value from before us ends the need for a name.
            Op::SetSysctl { key, restore: false, .. } => self.sysctls.contains_key(key),
            Op::AddService(service, _)
            | Op::SetService(service, _)
            | Op::AddDestination(service, ..)
            | Op::SetDestination { service, .. }
            | Op::DelDestination(service, _) => self.services.contains_key(service),
            Op::SetTimeouts { restore: false, .. } => self.timeouts.is_some(),
            Op::StartSync(role, _) => self.sync_daemons.contains_key(role),
            Op::AddRoute { announce: true, .. }
            | Op::AddRule { .. }
            | Op::SetSysctl { restore: true, .. }
            | Op::SetTimeouts { restore: true, .. }
            | Op::DelLink { .. }
            | Op::DelGue(_)
            | Op::DelAddress(_)
            | Op::DelRoute(..)
            | Op::DelRule(_)
            | Op::DelService(_)
            | Op::StopSync(_) => true,
        }
    }
}

/// The phases that must not be entered once an operation of this one was not carried out: no VIP on a real
/// server that would answer ARP for it, no settings put back under an address that is still there.
#[must_use]
pub const fn barred_by(phase: Phase) -> Option<Phase> {
    match phase {
        Phase::Tune => Some(Phase::Links),
        Phase::Retract => Some(Phase::Reap),
        Phase::Devices | Phase::Links | Phase::Ipvs | Phase::Announce | Phase::Reap => None,
    }
}

/// Whether an operation must wait until `written`, the ledger as it is on the disk, is `next`. What `next`
/// does not name, either, never becomes ours, so there is nothing to wait for: something of others is in its
/// way, or it is a setting that is not there and has no value before us. The kernel then says so.
#[must_use]
pub fn must_wait(op: &Op, written: &Ledger, next: &Ledger) -> bool {
    next.names(op) && !written.names(op)
}

/// Takes the operations out of `ops` that must wait for the disk ([`must_wait`]). What they bar stays in
/// `ops`: whoever carries them out knows of it by [`barred_by`].
#[must_use]
pub fn take_unnamed(ops: &mut Vec<Op>, written: &Ledger, next: &Ledger) -> Vec<Op> {
    // An interface that is made anew must not go before its successor may come, and what is on an interface
    // comes after it.
    let blocked: BTreeSet<String> = ops
        .iter()
        .filter_map(|op| match op {
            Op::AddLink(name, _) if must_wait(op, written, next) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let waits = |op: &Op| {
        let replaced = matches!(op, Op::DelLink { name, replaced: true } if blocked.contains(name));
        replaced || must_wait(op, written, next)
    };
    ops.extract_if(.., |op| waits(op)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Destination, DestinationKey, Forward, Link, LinkKind, Route, RouteKey, Service, ServiceKey,
    };
    use crate::{Desired, Domain, KernelState, Kind, Origin, OtherRoles, diff, memory};

    const fn mark(mark: u32) -> ServiceKey {
        ServiceKey::Mark { v6: false, mark }
    }

    fn service(destinations: &[u8]) -> Service {
        let one = |n: &u8| {
            let key = DestinationKey { address: [192, 0, 2, *n].into(), port: 80 };
            (key, Destination::plain(Forward::DirectRoute, 1))
        };
        Service { destinations: destinations.iter().map(one).collect(), ..Service::plain("rr", false) }
    }

    fn wanted(services: &[(u32, &[u8])]) -> Desired {
        let mut desired = Desired::default();
        desired.state.services = services.iter().map(|(n, of)| (mark(*n), service(of))).collect();
        desired
    }

    /// The disk is full since the first state was written. Whatever is wanted then, and whatever somebody
    /// does to the kernel, is done, but for services that are new.
    #[test]
    fn without_a_disk_only_what_is_new_waits() {
        let first = wanted(&[(1, &[1, 2]), (2, &[1])]);
        let mut kernel = KernelState::default();
        let written = Ledger::default().before(&first, &kernel, &Kind::ALL);
        let pass = |kernel: &mut KernelState, desired: &Desired| {
            let mut ops = diff(desired, kernel, &written, Domain::Host).ops;
            let next = written.before(desired, kernel, &Kind::ALL);
            let unnamed = take_unnamed(&mut ops, &written, &next);
            ops.iter().for_each(|op| memory::apply(kernel, op).expect("applied"));
            unnamed
        };
        assert!(pass(&mut kernel, &first).is_empty());
        // A new service, a dead destination, one that leaves.
        let second = wanted(&[(1, &[2]), (2, &[1, 3]), (3, &[1])]);
        let unnamed = pass(&mut kernel, &second);
        assert!(matches!(unnamed.as_slice(), [Op::AddService(..), Op::AddDestination(..)]), "{unnamed:?}");
        assert_eq!(kernel.services, wanted(&[(1, &[2]), (2, &[1, 3])]).state.services);
        // Somebody flushes the table.
        kernel.services.clear();
        pass(&mut kernel, &second);
        assert_eq!(kernel.services, wanted(&[(1, &[2]), (2, &[1, 3])]).state.services);
        // Somebody else makes the service that is still to be named: it is not touched, not even its
        // destinations.
        kernel.services.insert(mark(3), service(&[9]));
        let unnamed = pass(&mut kernel, &second);
        assert_eq!(kernel.services[&mark(3)], service(&[9]));
        assert!(!unnamed.is_empty());
    }

    /// Objects that never become ours are tried and refused by the kernel in its own words, with or without a
    /// disk: a setting that it does not know, a route and an interface of others in the place of ours.
    #[test]
    fn objects_that_never_become_ours_wait_for_no_disk() {
        let mut desired = Desired::default();
        let mut kernel = KernelState::default();
        let key = RouteKey::new(254, "0.0.0.0/0".parse().expect("a network"), 0);
        let via = |gateway: [u8; 4]| Route {
            gateway: Some(gateway.into()),
            ..Route::out_of("eth0", evenkeel_schemas::plan::Scope::Global)
        };
        desired.state.routes.insert(key, via([192, 0, 2, 1]));
        kernel.routes.insert(key, Route { tagged: false, ..via([192, 0, 2, 254]) });
        let link = |kind: &str| Link::ours(LinkKind::Other(kind.to_owned()));
        desired.state.links.insert("ek-ipip".to_owned(), link("ipip"));
        kernel.links.insert("ek-ipip".to_owned(), Link { tagged: false, ..link("dummy") });
        for key in ["net/ipv4/vs/of_tomorrow", "net/ipv4/vs/conntrack"] {
            desired.state.sysctls.insert(key.to_owned(), "1".to_owned());
        }
        kernel.sysctls.insert("net/ipv4/vs/conntrack".to_owned(), "0".to_owned());
        let next = Ledger::default().before(&desired, &kernel, &Kind::ALL);
        let ops = |written: &Ledger| {
            let mut ops = diff(&desired, &kernel, written, Domain::Host).ops;
            let unnamed = take_unnamed(&mut ops, written, &next);
            (ops.len(), unnamed.len())
        };
        assert_eq!(ops(&next), (4, 0));
        assert_eq!(ops(&Ledger::default()), (3, 1), "a setting with a value before us is named first");
    }

    #[test]
    fn objects_of_another_role_are_named_before_the_role_changes() {
        let mut backup = wanted(&[(1, &[1])]);
        backup.other_roles = OtherRoles { services: [mark(2), mark(3)].into(), ..OtherRoles::default() };
        let mut kernel = KernelState::default();
        // This one is somebody else's, and stays so while it is not wanted.
        kernel.services.insert(mark(3), service(&[9]));
        let written = Ledger::default().before(&backup, &kernel, &Kind::ALL);
        let names: Vec<ServiceKey> = written.services.keys().copied().collect();
        assert_eq!(names, [mark(1), mark(2)]);
        assert_eq!(written.after(&backup, &kernel), written, "a look at everything forgets none of them");
        let master = wanted(&[(1, &[1]), (2, &[1])]);
        let mut ops = diff(&master, &kernel, &written, Domain::Host).ops;
        let next = written.before(&master, &kernel, &Kind::ALL);
        assert!(take_unnamed(&mut ops, &written, &next).is_empty());
        // A look at some services says nothing about others.
        let part = backup.with_services(&[mark(1)].into());
        assert!(part.other_roles.services.is_empty());
    }

    #[test]
    fn an_interface_stays_until_its_successor_has_a_name() {
        let link = Link::ours(LinkKind::Other("dummy".into()));
        let name = || "ek-ipip".to_owned();
        let mut ops = vec![Op::DelLink { name: name(), replaced: true }, Op::AddLink(name(), link)];
        let next = Ledger { links: [(name(), Origin::Created)].into(), ..Ledger::default() };
        assert_eq!(take_unnamed(&mut ops, &Ledger::default(), &next).len(), 2);
        assert!(ops.is_empty());
    }
}
