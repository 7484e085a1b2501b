//! The one comparator: what must be done to a kernel, and what in it is not ours.
//!
//! Laws, tested in `tests/laws.rs`: what is as wanted needs nothing; doing what is said reaches
//! what is wanted; stopping anywhere keeps the phases' promises; equal inputs give equal lists.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::status::ObjectText;

use crate::desired::Desired;
use crate::ledger::{IP_FORWARD, Ledger, Origin, SysctlEntry, follows_ip_forward, implied_by_forwarding};
use crate::memory::remove_interface;
use crate::model::{
    Address, AddressKey, Destinations, KernelState, Kind, Link, Route, RouteKey, RuleKey, Service,
    ServiceKey, Timeouts, Unwrap,
};
use crate::op::Op;

/// Most foreign objects that are reported; a router with a full routing table is not a status page.
pub const MAX_FOREIGN: usize = 256;

/// Number of destinations of new services from which on they are no operations of their own: to make a list
/// of a hundred thousand takes longer than the kernel needs to carry it out.
pub const TOGETHER: usize = 1_000;

/// Outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Operations, in their order.
    pub ops: Vec<Op>,
    /// Objects that are there, not ours and left alone; sorted, at most [`MAX_FOREIGN`] and a last one with
    /// the number of all others.
    pub foreign: Vec<ObjectText>,
}

/// Objects that a comparison speaks for. Two loops change addresses, routes and rules, never the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Everything but the plan's VIPs and what goes with them: the convergence loop.
    Host,
    /// Only the plan's VIPs with their routes and rules ([`Kind::ELECTION`]): the election loop.
    Vips,
}

/// Compares. In [`Domain::Vips`] only addresses, routes and rules are compared, and `desired.state` holds
/// those of the routers that are Master.
///
/// An object that the plan names is ours whoever made it; an object that it does not name is
/// removed only when it carries our tag or stands in the ledger. Two kinds of objects are not replaced
/// when they are others': interfaces, and routes with another next hop. There the operation that makes
/// ours is given nevertheless; it fails, as a conflict that names what is in the way.
#[must_use]
pub fn diff(desired: &Desired, observed: &KernelState, ledger: &Ledger, domain: Domain) -> Diff {
    diff_kinds(desired, observed, ledger, domain, &Kind::ALL)
}

/// [`diff()`] of some kinds only: those that were observed.
#[must_use]
pub fn diff_kinds(
    desired: &Desired,
    observed: &KernelState,
    ledger: &Ledger,
    domain: Domain,
    kinds: &[Kind],
) -> Diff {
    let mut out = Diff::default();
    let host = domain == Domain::Host;
    // The election compares only kinds whose objects it shares with convergence.
    let wants = |kind| kinds.contains(&kind) && (host || Kind::ELECTION.contains(&kind));
    let mut observed = Cow::Borrowed(observed);
    if wants(Kind::Links) {
        for name in links(desired, &observed, ledger, &mut out.ops) {
            // Objects on the interface go with it and must be made again.
            remove_interface(observed.to_mut(), &name);
        }
    }
    if wants(Kind::Links) {
        gue_ports(desired, &observed, ledger, &mut out);
    }
    if wants(Kind::Addresses) {
        addresses(desired, &observed, ledger, domain, &mut out);
    }
    if wants(Kind::Routes) {
        routes(desired, &observed, ledger, domain, &mut out);
    }
    if wants(Kind::Rules) {
        rules(desired, &observed, domain, &mut out);
    }
    if wants(Kind::Sysctls) {
        sysctls(desired, &observed, ledger, &mut out.ops);
    }
    if wants(Kind::Ipvs) {
        services(desired, &observed, ledger, &mut out);
        timeouts(desired.state.timeouts, &observed, ledger, &mut out.ops);
        sync_daemons(desired, &observed, ledger, &mut out);
    }
    // Stable, and without a second copy of a large change.
    out.ops.sort_by_cached_key(|op| (op.phase(), op.rank()));
    out.foreign.sort();
    let more = out.foreign.len().saturating_sub(MAX_FOREIGN);
    out.foreign.truncate(MAX_FOREIGN);
    if more > 0 {
        out.foreign
            .push(ObjectText { kind: "more".to_owned(), object: format!("{more} objects not listed") });
    }
    out
}

/// Operations that bring the kernel back to its state before us: everything that we created goes, VIPs
/// included, settings are put back, adopted objects stay.
#[must_use]
pub fn cleanup(observed: &KernelState, ledger: &Ledger) -> Diff {
    let adopted = |origin: Option<&Origin>| origin == Some(&Origin::Adopted);
    let mut ops = Vec::new();
    for (name, value) in &observed.links {
        let origin = ledger.links.get(name);
        if !adopted(origin) && ledger.may_remove(name, value) {
            ops.push(Op::DelLink { name: name.clone(), replaced: false });
        }
    }
    // A port carries no tag: only the ledger knows that it is ours. So it is with services and daemons.
    for key in observed.gue.keys() {
        if ledger.gue.get(key) == Some(&Origin::Created) && observed.gue.get(key) == Some(&Unwrap::Gue) {
            ops.push(Op::DelGue(*key));
        }
    }
    let tagged = observed.rules.iter().filter(|(_, value)| value.tagged);
    ops.extend(tagged.map(|(key, _)| Op::DelRule(key.clone())));
    for (key, value) in &observed.addresses {
        let origin = ledger.addresses.get(key);
        if !adopted(origin) && (value.tagged || origin.is_some()) {
            ops.push(Op::DelAddress(key.clone()));
        }
    }
    for (key, value) in &observed.routes {
        let origin = ledger.routes.get(key);
        if !adopted(origin) && (value.tagged || origin.is_some()) {
            ops.push(Op::DelRoute(*key, value.clone()));
        }
    }
    for key in observed.services.keys() {
        if ledger.services.get(key) == Some(&Origin::Created) {
            ops.push(Op::DelService(*key));
        }
    }
    for role in observed.sync_daemons.keys() {
        if ledger.sync_daemons.get(role) == Some(&Origin::Created) {
            ops.push(Op::StopSync(*role));
        }
    }
    timeouts(None, observed, ledger, &mut ops);
    restore_sysctls(&BTreeMap::new(), &observed.sysctls, ledger, &mut ops);
    ops.sort_by_key(|op| (op.phase(), op.rank()));
    Diff { ops, foreign: Vec::new() }
}

fn addresses(desired: &Desired, observed: &KernelState, ledger: &Ledger, domain: Domain, out: &mut Diff) {
    let mine = |key: &AddressKey| match domain {
        Domain::Host => !desired.vips.contains(key),
        Domain::Vips => desired.vips.contains(key),
    };
    let right = |key: &AddressKey, want: &Address, have: &Address| {
        same_address(key, want, have) || (domain == Domain::Host && serves_as_it_is(key, have, ledger))
    };
    for (key, have) in observed.addresses.iter().filter(|(key, _)| mine(key)) {
        match desired.state.addresses.get(key) {
            // Label and scope of an address cannot be changed in place.
            Some(want) if !right(key, want, have) => out.ops.push(Op::DelAddress(key.clone())),
            Some(_) => {}
            // The election owns its VIPs, whoever made them.
            None if have.tagged || ledger.addresses.contains_key(key) || domain == Domain::Vips => {
                out.ops.push(Op::DelAddress(key.clone()));
            }
            None => report_address(desired, key, out),
        }
    }
    for (key, want) in desired.state.addresses.iter().filter(|(key, _)| mine(key)) {
        if observed.addresses.get(key).is_none_or(|have| !right(key, want, have)) {
            out.ops.push(Op::AddAddress {
                key: key.clone(),
                value: want.clone(),
                announce: domain == Domain::Vips,
            });
        }
    }
}

/// Whether an address that is there is as wanted.
#[must_use]
pub fn same_address(key: &AddressKey, want: &Address, have: &Address) -> bool {
    // The tag is how we recognise ours, not a property that traffic can feel: an adopted address
    // keeps its maker's.
    want.label == have.label
        && if key.address.address().is_ipv6() {
            // The kernel decides its scope.
            want.no_dad == have.no_dad && want.deprecated == have.deprecated && !have.tentative
        } else {
            want.scope == have.scope
        }
}

/// Whether an address that others have made is left as it is although label or scope differ. No client
/// notices the difference, so removing what serves is worth nothing, and nobody would put the administrator's
/// address back. One of IPv6 is right only with flags that traffic feels. Our own addresses are put right,
/// and so are those of the election, which are ours whoever made them.
fn serves_as_it_is(key: &AddressKey, have: &Address, ledger: &Ledger) -> bool {
    let ours = have.tagged || ledger.addresses.get(key) == Some(&Origin::Created);
    !ours && key.address.address().is_ipv4()
}

fn report_address(desired: &Desired, key: &AddressKey, out: &mut Diff) {
    let ip = key.address.address();
    let automatic = ip.is_loopback() || matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if desired.interfaces.contains(&key.interface) && !automatic && !desired.host_addresses.contains(&ip) {
        out.foreign.push(ObjectText { kind: "address".to_owned(), object: key.to_string() });
    }
}

/// Interfaces. Returns the names of those that are made anew.
fn links(desired: &Desired, observed: &KernelState, ledger: &Ledger, ops: &mut Vec<Op>) -> Vec<String> {
    let mut replaced = Vec::new();
    for (name, want) in &desired.state.links {
        match observed.links.get(name) {
            Some(have) if have.kind == want.kind => {
                let made_by_us = have.tagged || ledger.links.get(name) == Some(&Origin::Created);
                if !same_link(want, have) || (made_by_us && !have.tagged) {
                    ops.push(Op::SetLink(name.clone(), Link { tagged: made_by_us, ..want.clone() }));
                }
            }
            have => {
                if have.is_some_and(|have| ledger.may_replace(name, want, have)) {
                    ops.push(Op::DelLink { name: name.clone(), replaced: true });
                    replaced.push(name.clone());
                }
                ops.push(Op::AddLink(name.clone(), want.clone()));
            }
        }
    }
    for (name, have) in &observed.links {
        if !desired.state.links.contains_key(name) && ledger.may_remove(name, have) {
            ops.push(Op::DelLink { name: name.clone(), replaced: false });
        }
    }
    replaced
}

/// Whether there is nothing to set on an interface of the kind that is wanted.
const fn same_link(want: &Link, have: &Link) -> bool {
    (have.up || !want.up) && (have.no_own_address || !want.no_own_address)
}

fn gue_ports(desired: &Desired, observed: &KernelState, ledger: &Ledger, out: &mut Diff) {
    let wanted = &desired.state.gue;
    for (key, have) in observed.gue.iter().filter(|(key, _)| !wanted.contains_key(key)) {
        if *have == Unwrap::Gue && ledger.gue.contains_key(key) {
            out.ops.push(Op::DelGue(*key));
        } else {
            out.foreign.push(ObjectText { kind: "gue_port".to_owned(), object: key.to_string() });
        }
    }
    for key in wanted.keys().filter(|key| observed.gue.get(key) != Some(&Unwrap::Gue)) {
        out.ops.push(Op::AddGue(*key));
    }
}

fn routes(desired: &Desired, observed: &KernelState, ledger: &Ledger, domain: Domain, out: &mut Diff) {
    let host = domain == Domain::Host;
    let mine = |key: &RouteKey| desired.vip_routes.contains(key) != host;
    // As with addresses: the scope alone is not worth taking away a route that others have made.
    let right = |key: &RouteKey, want: &Route, have: &Route| {
        let theirs = !have.tagged && ledger.routes.get(key) != Some(&Origin::Created);
        let leads_there = want.has_next_hop_of(have) && want.source == have.source;
        same_route(key, want, have) || (host && theirs && leads_there)
    };
    for (key, have) in observed.routes.iter().filter(|(key, _)| mine(key)) {
        // The election has no ledger: the kernel keeps the tag of a route from the start.
        let ours = have.tagged || (host && ledger.routes.contains_key(key));
        match desired.state.routes.get(key) {
            Some(want) if right(key, want, have) => {}
            Some(want) if ours || want.has_next_hop_of(have) => {
                out.ops.push(Op::DelRoute(*key, have.clone()));
            }
            None if ours => out.ops.push(Op::DelRoute(*key, have.clone())),
            None if host => {
                let object = format!("{key} {have}");
                out.foreign.push(ObjectText { kind: "route".to_owned(), object });
            }
            Some(_) | None => {}
        }
    }
    if host {
        let others = observed.other_routes.iter();
        out.foreign.extend(others.map(|text| ObjectText { kind: "route".to_owned(), object: text.clone() }));
    }
    for (key, want) in desired.state.routes.iter().filter(|(key, _)| mine(key)) {
        if observed.routes.get(key).is_none_or(|have| !right(key, want, have)) {
            out.ops.push(Op::AddRoute { key: *key, value: want.clone(), announce: !host });
        }
    }
}

/// Whether a route in the kernel is as wanted. IPv6 routes have no scope: the kernel shows one and ignores
/// ours.
#[must_use]
pub fn same_route(key: &RouteKey, want: &Route, have: &Route) -> bool {
    want.has_next_hop_of(have)
        && want.source == have.source
        && (want.scope == have.scope || key.destination.address().is_ipv6())
}

fn rules(desired: &Desired, observed: &KernelState, domain: Domain, out: &mut Diff) {
    let host = domain == Domain::Host;
    let mine = |key: &RuleKey| desired.vip_rules.contains(key) != host;
    let wanted = &desired.state.rules;
    for (key, have) in observed.rules.iter().filter(|(key, _)| mine(key) && !wanted.contains_key(key)) {
        if have.tagged {
            out.ops.push(Op::DelRule(key.clone()));
        } else if host {
            out.foreign.push(ObjectText { kind: "rule".to_owned(), object: key.to_string() });
        }
    }
    for key in wanted.keys().filter(|key| mine(key) && !observed.rules.contains_key(key)) {
        out.ops.push(Op::AddRule { key: key.clone(), announce: !host });
    }
}

fn sysctls(desired: &Desired, observed: &KernelState, ledger: &Ledger, ops: &mut Vec<Op>) {
    let wanted = &desired.state.sysctls;
    let mut have = observed.sysctls.clone();
    let forwarding = wanted.get(IP_FORWARD).filter(|want| have.get(IP_FORWARD) != Some(*want));
    if let Some(forwarding) = forwarding {
        // Forwarding is written first and changes other settings: those are compared with their values
        // afterwards.
        for (key, value) in &mut have {
            if let Some(implied) = implied_by_forwarding(key, forwarding) {
                implied.clone_into(value);
            }
        }
    }
    for (key, want) in wanted {
        let from = have.get(key);
        if from != Some(want) {
            ops.push(Op::SetSysctl {
                key: key.clone(),
                value: want.clone(),
                from: from.cloned().unwrap_or_default(),
                restore: false,
            });
        }
    }
    restore_sysctls(wanted, &have, ledger, ops);
}

/// Puts back what the plan no longer sets, unless someone else has changed it since.
fn restore_sysctls(
    wanted: &BTreeMap<String, String>,
    have: &BTreeMap<String, String>,
    ledger: &Ledger,
    ops: &mut Vec<Op>,
) {
    let to_restore = |(key, entry): &(&String, &SysctlEntry)| {
        let untouched = have.get(*key).is_some_and(|now| *now == entry.ours);
        !wanted.contains_key(*key) && untouched && entry.original != entry.ours
    };
    let forwarding = ledger.sysctls.get_key_value(IP_FORWARD).filter(to_restore);
    for (key, entry) in ledger.sysctls.iter().filter(to_restore) {
        if forwarding.is_none() || !follows_ip_forward(key) {
            ops.push(restore(key, &entry.original, &entry.ours));
        }
    }
    if let Some((_, entry)) = forwarding {
        restore_followers(&entry.original, wanted, have, ledger, ops);
    }
}

fn restore(key: &str, value: &str, from: &str) -> Op {
    Op::SetSysctl { key: key.to_owned(), value: value.to_owned(), from: from.to_owned(), restore: true }
}

/// Puts the followers of forwarding right that are made wrong by putting back forwarding itself: each
/// to what is wanted, or else to what it was.
fn restore_followers(
    forwarding: &str,
    wanted: &BTreeMap<String, String>,
    have: &BTreeMap<String, String>,
    ledger: &Ledger,
    ops: &mut Vec<Op>,
) {
    for key in have.keys() {
        let Some(implied) = implied_by_forwarding(key, forwarding) else { continue };
        let recorded = ledger.sysctls.get(key).map(|entry| &entry.original);
        let target = wanted.get(key).or_else(|| ledger.beside_forwarding.get(key)).or(recorded);
        if let Some(target) = target.filter(|target| *target != implied) {
            ops.push(restore(key, target, implied));
        }
    }
}

fn services(desired: &Desired, observed: &KernelState, ledger: &Ledger, out: &mut Diff) {
    let new = || desired.state.services.iter().filter(|(key, _)| !observed.services.contains_key(key));
    let destinations_of_new: usize = new().map(|(_, service)| service.destinations.len()).sum();
    let together = destinations_of_new > TOGETHER;
    // A large change takes its memory once: growing would take it several times.
    out.ops.reserve(new().count() + if together { 0 } else { destinations_of_new });
    let keys: BTreeSet<&ServiceKey> = desired.state.services.keys().chain(observed.services.keys()).collect();
    for key in keys {
        match (desired.state.services.get(key), observed.services.get(key)) {
            (Some(want), Some(have)) => {
                if !want.same_service(have) {
                    out.ops.push(Op::SetService(*key, want.alone()));
                }
                destinations(*key, want, &have.destinations, &mut out.ops);
            }
            (Some(want), None) if together => out.ops.push(Op::AddService(*key, want.clone())),
            (Some(want), None) => {
                out.ops.push(Op::AddService(*key, want.alone()));
                destinations(*key, want, &Destinations::new(), &mut out.ops);
            }
            (None, Some(_)) if desired.exclusive_ipvs || ledger.services.contains_key(key) => {
                out.ops.push(Op::DelService(*key));
            }
            (None, Some(_)) => {
                out.foreign.push(ObjectText { kind: "virtual_server".to_owned(), object: key.to_string() });
            }
            (None, None) => {}
        }
    }
}

fn destinations(service: ServiceKey, want: &Service, have: &Destinations, ops: &mut Vec<Op>) {
    if want.destinations.is_shared_with(have) {
        return;
    }
    for (key, value) in &want.destinations {
        match have.get(key) {
            None => ops.push(Op::AddDestination(service, *key, *value)),
            Some(from) if from != value => {
                ops.push(Op::SetDestination { service, key: *key, value: *value, from: *from });
            }
            Some(_) => {}
        }
    }
    for key in have.keys().filter(|key| !want.destinations.contains_key(key)) {
        ops.push(Op::DelDestination(service, *key));
    }
}

fn timeouts(wanted: Option<Timeouts>, observed: &KernelState, ledger: &Ledger, ops: &mut Vec<Op>) {
    let Some(from) = observed.timeouts else { return };
    let restored =
        ledger.timeouts.filter(|entry| entry.is_to_restore(Some(from))).map(|entry| entry.original);
    if let Some(value) = wanted.or(restored).filter(|value| *value != from) {
        ops.push(Op::SetTimeouts { value, from, restore: wanted.is_none() });
    }
}

fn sync_daemons(desired: &Desired, observed: &KernelState, ledger: &Ledger, out: &mut Diff) {
    let wanted = &desired.state.sync_daemons;
    for (role, have) in &observed.sync_daemons {
        match wanted.get(role) {
            Some(want) if want.is_met_by(have) => {}
            // A port has one use: that of the plan replaces it.
            Some(_) => out.ops.push(Op::StopSync(*role)),
            None if ledger.sync_daemons.contains_key(role) => out.ops.push(Op::StopSync(*role)),
            None => {
                let object = format!("{role} {have}");
                out.foreign.push(ObjectText { kind: "sync_daemon".to_owned(), object });
            }
        }
    }
    for (role, want) in wanted {
        if observed.sync_daemons.get(role).is_none_or(|have| !want.is_met_by(have)) {
            out.ops.push(Op::StartSync(*role, want.clone()));
        }
    }
}
