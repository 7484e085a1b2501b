//! What whoever applies a change should know before: whom it hurts, when, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::change::{Warning, WarningKind};
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::{Ip, Name, Port, Span};

use super::objects::Served;
use super::stages::{Claim, Has, Side, Stage, held};
use super::{Fleet, HostState};
use crate::suggest::list;

/// A warning, and which others say the same of something else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Warned {
    pub(crate) warning: Warning,
    /// Equal in warnings that differ only in what they are about.
    pub(crate) like: Like,
}

/// Warnings of one kind are one when these are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Like {
    NobodyHolds,
    NoBackup,
    NoBackupInMaintenance,
    StartsAnew,
    MovesVips,
    HandsOver,
    DoesNotPreempt,
    Rejects,
    UnicastOrMulticast,
    ListOfVips,
    ServiceGoes,
    LosesDestination,
    NoDestinationLeft,
    LeavesSlowly,
    Quiesces,
    HostDrains,
    Probation,
    HostGoes,
}

/// All warnings, the worst kinds first, each once.
pub(super) fn warnings(before: &Fleet, after: &Fleet, stages: &[Stage]) -> Vec<Warned> {
    let (old, new) = (Side::new(before), Side::new(after));
    let mut found = BTreeSet::new();
    gaps(before, after, stages, &mut found);
    elections(&old, &new, &mut found);
    mismatches(&old, &new, &mut found);
    maintenance(before, after, &mut found);
    services(before, after, &mut found);
    drains(before, after, &mut found);
    probation(before, after, &mut found);
    for host in before.keys().filter(|host| !after.contains_key(*host)) {
        warn(
            &mut found,
            Like::HostGoes,
            format!(
                "{host} leaves the cluster: its daemon keeps the last plan it was given. Stop evenkeeld \
                there and run \
             `evenkeeld cleanup` before its plan is removed",
            ),
        );
    }
    found.into_iter().collect()
}

/// Hosts that roll the change back unless it is confirmed: those with a probation in their new plan.
fn probation(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warned>) {
    let changes = |(host, state): &(&Name, &HostState)| before.get(*host).is_some_and(|old| old != *state);
    let hosts: Vec<&Name> = after.iter().filter(changes).map(|(host, _)| host).collect();
    let probation = after.values().find_map(|state| state.plan.policy.probation.as_ref());
    let (Some(probation), Some(names)) = (probation, list(&hosts)) else {
        return;
    };
    let timeout = probation.timeout;
    let unless = match probation.confirm {
        Confirm::Operator => "`evenkeeld confirm` is run there",
        Confirm::Checks => "it converges and no more of its destinations fail than before",
    };
    warn(
        found,
        Like::Probation,
        format!("each of {names} takes a change of its plan back after {timeout}, unless {unless}"),
    );
}

fn warn(found: &mut BTreeSet<Warned>, like: Like, message: String) {
    let kind = match like {
        Like::NobodyHolds | Like::NoBackup | Like::NoBackupInMaintenance => WarningKind::Gap,
        Like::StartsAnew | Like::MovesVips | Like::HandsOver | Like::DoesNotPreempt => WarningKind::Election,
        Like::Rejects | Like::UnicastOrMulticast | Like::ListOfVips => WarningKind::Mismatch,
        Like::NoDestinationLeft => WarningKind::NoDestination,
        Like::ServiceGoes | Like::LosesDestination => WarningKind::Cut,
        Like::LeavesSlowly | Like::Quiesces | Like::HostDrains => WarningKind::Drain,
        Like::Probation => WarningKind::Probation,
        Like::HostGoes => WarningKind::HostGoes,
    };
    found.insert(Warned { warning: Warning { kind, message }, like });
}

/// VIPs that are there before and after and that, after some stage, nobody who should be Master has.
fn gaps(before: &Fleet, after: &Fleet, stages: &[Stage], found: &mut BTreeSet<Warned>) {
    let (old, new) = (Side::new(before), Side::new(after));
    let stay: Vec<IpAddr> = old.claims.keys().filter(|vip| new.claims.contains_key(*vip)).copied().collect();
    let mut now: BTreeMap<&Name, Has<'_>> =
        before.iter().map(|(host, state)| (host, Has::of(state))).collect();
    let mut gaps: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
    let mut alone: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
    for (number, stage) in (1..).zip(stages) {
        for (host, step) in &stage.steps {
            match step.has(host, before, after) {
                Some(has) => _ = now.insert(host, has),
                None => _ = now.remove(host),
            }
        }
        let side = Side::of(&now);
        for vip in &stay {
            if !is_served(&side, *vip) {
                gaps.entry(*vip).or_insert((number, number)).1 = number;
                continue;
            }
            let claims =
                |side: &Side<'_>| side.claims.get(vip).map_or(0, |claims| in_service(claims).count());
            if claims(&side) == 1 && claims(&old) > 1 && claims(&new) > 1 {
                alone.entry(*vip).or_insert((number, number)).1 = number;
            }
        }
    }
    for (vip, (from, to)) in &gaps {
        warn(
            found,
            Like::NobodyHolds,
            format!(
                "{vip} is held by nobody from stage {from} until stage {} is taken: its clients wait. Apply \
                these stages \
             soon after one another",
                to + 1,
            ),
        );
    }
    let mut by_span: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for (vip, span) in alone {
        by_span.entry(span).or_default().push(vip.to_string());
    }
    for ((from, to), vips) in by_span {
        let (first, more) = (&vips[0], vips.len() - 1);
        let more = if more == 0 { " has".to_owned() } else { format!(" and {more} more have") };
        warn(
            found,
            Like::NoBackup,
            format!(
                "{first}{more} no Backup from stage {from} until stage {} is taken: a failure of its only \
                director \
             in between is an outage",
                to + 1,
            ),
        );
    }
}

/// The directors that take part in the election.
fn in_service<'c, 'a>(claims: &'c [Claim<'a>]) -> impl Iterator<Item = &'c Claim<'a>> {
    claims.iter().filter(|claim| !claim.in_maintenance)
}

/// Whether the director that wins the election on the wire holds the VIP.
fn is_served(side: &Side<'_>, vip: IpAddr) -> bool {
    side.master(vip).filter(|claim| !claim.in_maintenance).is_some_and(|claim| {
        let router = claim.router;
        side.preferred(&router.name, router.source.0.is_ipv6())
            .is_none_or(|master| held(master.router).any(|held| held == vip))
    })
}

fn elections(old: &Side<'_>, new: &Side<'_>, found: &mut BTreeSet<Warned>) {
    for ((v6, _), routers) in &old.routers {
        for name in routers.keys() {
            let (Some(was), Some(is)) = (old.preferred(name, *v6), new.preferred(name, *v6)) else {
                continue;
            };
            if was.host == is.host {
                if was.router.source != is.router.source || was.router.interface != is.router.interface {
                    warn(
                        found,
                        Like::StartsAnew,
                        format!(
                            "{name} starts anew on its preferred director {}, whose address or interface \
                            changes: expect an \
                         election",
                            is.host,
                        ),
                    );
                }
                continue;
            }
            let leaves = is_in_maintenance(new, was.host);
            let (like, message) = if leaves && !is_in_maintenance(new, is.host) {
                let message = format!(
                    "{name}: {} goes into maintenance and hands its VIPs over to {} (priority {}); it stays \
                    Master until another \
                     director has taken over. Open connections go on only where the new director knows them",
                    was.host, is.host, is.router.priority
                );
                (Like::HandsOver, message)
            } else if is.router.preempt || leaves || !still_director(new, was.host, name) {
                let message = format!(
                    "{name}: an election moves its VIPs from {} (priority {}) to {} (priority {}); open \
                    connections go \
                     on only where the new director knows them",
                    was.host, was.router.priority, is.host, is.router.priority
                );
                (Like::MovesVips, message)
            } else {
                let message = format!(
                    "{name} prefers {} instead of {} but does not preempt: {} stays Master until it fails or \
                    stops",
                    is.host, was.host, was.host
                );
                (Like::DoesNotPreempt, message)
            };
            warn(found, like, message);
        }
    }
}

fn is_in_maintenance(side: &Side<'_>, host: &Name) -> bool {
    side.claims.values().flatten().any(|claim| claim.host == host && claim.in_maintenance)
}

/// Routers that have one director left in service because others have gone into maintenance.
fn maintenance(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warned>) {
    let new = Side::new(after);
    let was_out = |host: &Name| before.get(host).is_none_or(|state| state.plan.maintenance);
    let mut told = BTreeSet::new();
    for claims in new.claims.values() {
        let mut left = in_service(claims);
        let (Some(last), None) = (left.next(), left.next()) else { continue };
        let goes = claims.iter().filter(|claim| claim.in_maintenance && !was_out(claim.host));
        let goes: Vec<&Name> = goes.map(|claim| claim.host).collect();
        let Some(names) = list(&goes).filter(|_| told.insert((&last.router.name, last.host))) else {
            continue;
        };
        let are = if goes.len() > 1 { "are" } else { "is" };
        warn(
            found,
            Like::NoBackupInMaintenance,
            format!(
                "{} has no Backup while {names} {are} in maintenance: a failure of {} is an outage",
                last.router.name, last.host
            ),
        );
    }
}

fn still_director(side: &Side<'_>, host: &Name, name: &Name) -> bool {
    side.claims.values().flatten().any(|claim| claim.host == host && claim.router.name == *name)
}

fn mismatches(old: &Side<'_>, new: &Side<'_>, found: &mut BTreeSet<Warned>) {
    for ((v6, vrid), routers) in &old.routers {
        for (name, before) in routers {
            let (Some(was), Some(is)) = (old.preferred(name, *v6), new.preferred(name, *v6)) else {
                continue;
            };
            let differs = was.wire.difference(&is.wire);
            if !differs.is_empty() {
                warn(
                    found,
                    Like::Rejects,
                    format!(
                        "{name}: directors with the old and the new {} reject each other, and both would be \
                        Master. \
                     The stages let the old ones go first; peers that are not of this cluster, such as a \
                     keepalived that \
                     is being replaced, must change at the same moment",
                        differs.join(" and "),
                    ),
                );
            }
            if differs.is_empty() && !(was.accepts(is) && is.accepts(was)) {
                warn(
                    found,
                    Like::Rejects,
                    format!(
                        "{name}: directors with the old and the new keys reject each other, and both would \
                         be Master. The stages let the old ones go first. In several changes nobody is \
                         rejected: a new key on all directors, then active, then the old one removed; the \
                         mode `receive_only` on all, then `permissive`, then `enforce`"
                    ),
                );
            }
            let how =
                |claim: &Claim<'_>| if claim.router.unicast.is_some() { "unicast" } else { "multicast" };
            if how(was) != how(is) {
                warn(
                    found,
                    Like::UnicastOrMulticast,
                    format!(
                        "{name}: its advertisements go by {} instead of {}. Directors with evenkeel hear \
                        both; other \
                     peers, such as a keepalived, hear one of them only: change such a peer at the same \
                     moment",
                        how(is),
                        how(was),
                    ),
                );
            }
            let after = new.routers.get(&(*v6, *vrid)).and_then(|routers| routers.get(name));
            if let Some(after) = after
                && before.advertised != after.advertised
            {
                warn(
                    found,
                    Like::ListOfVips,
                    format!(
                        "{name}: its list of VIPs differs between directors until all have changed. evenkeel \
                        accepts \
                     that; keepalived up to 2.3.2 rejects it, and both become Master: change such a peer at \
                     the same moment",
                    ),
                );
            }
        }
    }
}

type Balanced<'a> = BTreeMap<Served<'a>, &'a VirtualServer>;

/// Virtual servers of all directors together.
fn balanced(fleet: &Fleet) -> Balanced<'_> {
    let servers = fleet.values().flat_map(|state: &HostState| &state.plan.virtual_servers);
    servers.map(|server| (Served::of(server), server)).collect()
}

fn services(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warned>) {
    let (old, new) = (balanced(before), balanced(after));
    for (id, was) in &old {
        match new.get(id) {
            Some(is) => destinations(id, was, is, found),
            None => warn(
                found,
                Like::ServiceGoes,
                format!(
                    "{} ({id}) goes: its open connections are cut. Give its real servers weight 0 first, and \
                    wait until \
                     they have none",
                    was.name,
                ),
            ),
        }
    }
    for (id, is) in &new {
        let takes = |destination: &Destination| destination.weight.get() > 0 && !destination.drains();
        let empty = |server: &VirtualServer| !server.destinations.iter().any(takes);
        if empty(is) && old.get(id).is_none_or(|was| !empty(was)) {
            warn(
                found,
                Like::NoDestinationLeft,
                format!(
                    "{} ({id}) has no destination left that takes connections: new ones are refused",
                    is.name,
                ),
            );
        }
    }
}

/// Warnings about the destinations that a virtual server had.
fn destinations(id: &Served<'_>, was: &VirtualServer, is: &VirtualServer, found: &mut BTreeSet<Warned>) {
    if was.destinations == is.destinations {
        return;
    }
    let socket = |destination: &Destination| (destination.address, destination.port);
    let kept: BTreeMap<(Ip, Option<Port>), &Destination> =
        is.destinations.iter().map(|destination| (socket(destination), destination)).collect();
    for destination in &was.destinations {
        match (kept.get(&socket(destination)), is.drain) {
            (None, Some(limit)) => warn(
                found,
                Like::LeavesSlowly,
                format!(
                    "{} ({id}) drains {} ({}), which leaves: it gets no new connections, open ones may go on \
                    for \
                     {limit}. Keep it running until then",
                    is.name,
                    destination.host,
                    destination.socket(),
                ),
            ),
            (None, None) if destination.weight.get() > 0 && !destination.drains() => warn(
                found,
                Like::LosesDestination,
                format!(
                    "{} ({id}) loses {} ({}): its open connections are cut. Give it weight 0 first, and wait \
                    until \
                     it has none",
                    was.name,
                    destination.host,
                    destination.socket(),
                ),
            ),
            (Some(kept), _) if kept.weight.get() == 0 && destination.weight.get() > 0 => warn(
                found,
                Like::Quiesces,
                format!(
                    "{} ({id}) drains {}: it gets no new connections, open ones go on",
                    is.name, destination.host,
                ),
            ),
            _ => {}
        }
    }
}

/// Hosts that are drained from now on, each with the services that it leaves.
fn drains(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warned>) {
    let (old, new) = (balanced(before), balanced(after));
    let mut hosts: BTreeMap<&Name, (BTreeSet<&Name>, Option<Span>)> = BTreeMap::new();
    for (id, is) in &new {
        for destination in is.destinations.iter().filter(|destination| destination.drains()) {
            let same =
                |other: &&Destination| other.address == destination.address && other.port == destination.port;
            let was = old.get(id).and_then(|was| was.destinations.iter().find(same));
            if was.is_some_and(|was| !was.drains()) {
                let (services, limit) =
                    hosts.entry(&destination.host).or_insert_with(|| (BTreeSet::new(), is.drain));
                services.insert(&is.name);
                *limit = (*limit).zip(is.drain).map(|(one, other)| one.max(other));
            }
        }
    }
    for (host, (services, limit)) in hosts {
        let Some(first) = services.first() else { continue };
        let more = match services.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let limit = limit.map_or("until they end".to_owned(), |limit| format!("for at most {limit}"));
        warn(
            found,
            Like::HostDrains,
            format!(
                "{host} is drained in {first}{more}: it gets no new connections, open ones go on {limit}"
            ),
        );
    }
}
