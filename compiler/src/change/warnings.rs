//! What whoever applies a change should know before: whom it hurts, when, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::change::{Warning, WarningKind};
use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::{Name, Span};

use super::objects::server_id;
use super::stages::{Claim, Side, Stage, held};
use super::{Fleet, HostState};
use crate::suggest::list;

/// All warnings, the worst kinds first, each once.
pub(super) fn warnings(before: &Fleet, after: &Fleet, stages: &[Stage]) -> Vec<Warning> {
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
            WarningKind::HostGoes,
            format!(
                "{host} leaves the cluster: its daemon keeps the last plan it was given. Stop evenkeeld there and run \
             `evenkeeld cleanup` before its plan is removed",
            ),
        );
    }
    found.into_iter().collect()
}

/// Who takes the change back unless it is confirmed: a host with a probation in its new plan.
fn probation(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warning>) {
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
        WarningKind::Probation,
        format!("each of {names} takes a change of its plan back after {timeout}, unless {unless}"),
    );
}

fn warn(found: &mut BTreeSet<Warning>, kind: WarningKind, message: String) {
    found.insert(Warning { kind, message });
}

/// VIPs that are there before and after and that, after some stage, nobody who should be Master has.
fn gaps(before: &Fleet, after: &Fleet, stages: &[Stage], found: &mut BTreeSet<Warning>) {
    let (old, new) = (Side::new(before), Side::new(after));
    let stay: Vec<IpAddr> = old.claims.keys().filter(|vip| new.claims.contains_key(*vip)).copied().collect();
    let mut now = before.clone();
    let mut gaps: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
    let mut alone: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
    for (number, stage) in (1..).zip(stages) {
        advance(&mut now, stage, before, after);
        let side = Side::new(&now);
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
            WarningKind::Gap,
            format!(
                "{vip} is held by nobody from stage {from} until stage {} is taken: its clients wait. Apply these stages \
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
            WarningKind::Gap,
            format!(
                "{first}{more} no Backup from stage {from} until stage {} is taken: a failure of its only director \
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

/// A fleet after a stage.
pub(super) fn advance(now: &mut Fleet, stage: &Stage, before: &Fleet, after: &Fleet) {
    for (host, step) in &stage.steps {
        match step.state(host, before, after) {
            Some(state) => _ = now.insert(host.clone(), state),
            None => _ = now.remove(host),
        }
    }
}

fn elections(old: &Side<'_>, new: &Side<'_>, found: &mut BTreeSet<Warning>) {
    for ((v6, _), routers) in &old.routers {
        for name in routers.keys() {
            let (Some(was), Some(is)) = (old.preferred(name, *v6), new.preferred(name, *v6)) else {
                continue;
            };
            if was.host == is.host {
                if was.router.source != is.router.source || was.router.interface != is.router.interface {
                    warn(
                        found,
                        WarningKind::Election,
                        format!(
                            "{name} starts anew on its preferred director {}, whose address or interface changes: expect an \
                         election",
                            is.host,
                        ),
                    );
                }
                continue;
            }
            let leaves = is_in_maintenance(new, was.host);
            let message = if leaves && !is_in_maintenance(new, is.host) {
                format!(
                    "{name}: {} goes into maintenance and hands its VIPs over to {} (priority {}); it stays Master until another \
                     director has taken over. Open connections go on only where the new director knows them",
                    was.host, is.host, is.router.priority
                )
            } else if is.router.preempt || leaves || !still_director(new, was.host, name) {
                format!(
                    "{name}: an election moves its VIPs from {} (priority {}) to {} (priority {}); open connections go \
                     on only where the new director knows them",
                    was.host, was.router.priority, is.host, is.router.priority
                )
            } else {
                format!(
                    "{name} prefers {} instead of {} but does not preempt: {} stays Master until it fails or stops",
                    is.host, was.host, was.host
                )
            };
            warn(found, WarningKind::Election, message);
        }
    }
}

fn is_in_maintenance(side: &Side<'_>, host: &Name) -> bool {
    side.claims.values().flatten().any(|claim| claim.host == host && claim.in_maintenance)
}

/// Routers that have one director left in service because others have gone into maintenance.
fn maintenance(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warning>) {
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
            WarningKind::Gap,
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

fn mismatches(old: &Side<'_>, new: &Side<'_>, found: &mut BTreeSet<Warning>) {
    for ((v6, vrid), routers) in &old.routers {
        for (name, before) in routers {
            let (Some(was), Some(is)) = (old.preferred(name, *v6), new.preferred(name, *v6)) else {
                continue;
            };
            let differs = was.wire.difference(&is.wire);
            if !differs.is_empty() {
                warn(
                    found,
                    WarningKind::Mismatch,
                    format!(
                        "{name}: directors with the old and the new {} reject each other, and both would be Master. \
                     The stages let the old ones go first; peers that are not of this cluster, such as a keepalived that \
                     is being replaced, must change at the same moment",
                        differs.join(" and "),
                    ),
                );
            }
            let how =
                |claim: &Claim<'_>| if claim.router.unicast.is_some() { "unicast" } else { "multicast" };
            if how(was) != how(is) {
                warn(
                    found,
                    WarningKind::Mismatch,
                    format!(
                        "{name}: its advertisements go by {} instead of {}. Directors with evenkeel hear both; other \
                     peers, such as a keepalived, hear one of them only: change such a peer at the same moment",
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
                    WarningKind::Mismatch,
                    format!(
                        "{name}: its list of VIPs differs between directors until all have changed. evenkeel accepts \
                     that; keepalived up to 2.3.2 rejects it, and both become Master: change such a peer at the same moment",
                    ),
                );
            }
        }
    }
}

type Balanced<'a> = BTreeMap<String, &'a VirtualServer>;

/// Virtual servers of all directors together.
fn balanced(fleet: &Fleet) -> Balanced<'_> {
    let servers = fleet.values().flat_map(|state: &HostState| &state.plan.virtual_servers);
    servers.map(|server| (server_id(server), server)).collect()
}

fn services(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warning>) {
    let (old, new) = (balanced(before), balanced(after));
    for (id, was) in &old {
        let Some(is) = new.get(id) else {
            warn(
                found,
                WarningKind::Cut,
                format!(
                    "{} ({id}) goes: its open connections are cut. Give its real servers weight 0 first, and wait until \
                 they have none",
                    was.name,
                ),
            );
            continue;
        };
        for destination in &was.destinations {
            let same =
                |other: &&Destination| other.address == destination.address && other.port == destination.port;
            match is.destinations.iter().find(same) {
                None if is.drain.is_some() => {
                    let limit = is.drain.map(|drain| drain.to_string()).unwrap_or_default();
                    warn(
                        found,
                        WarningKind::Drain,
                        format!(
                            "{} ({id}) drains {} ({}), which leaves: it gets no new connections, open ones may go on for \
                             {limit}. Keep it running until then",
                            is.name,
                            destination.host,
                            destination.socket(),
                        ),
                    );
                }
                None if destination.weight.get() > 0 && !destination.drains() => warn(
                    found,
                    WarningKind::Cut,
                    format!(
                        "{} ({id}) loses {} ({}): its open connections are cut. Give it weight 0 first, and wait until \
                     it has none",
                        was.name,
                        destination.host,
                        destination.socket(),
                    ),
                ),
                Some(kept) if kept.weight.get() == 0 && destination.weight.get() > 0 => {
                    warn(
                        found,
                        WarningKind::Drain,
                        format!(
                            "{} ({id}) drains {}: it gets no new connections, open ones go on",
                            is.name, destination.host,
                        ),
                    );
                }
                _ => {}
            }
        }
    }
    for (id, is) in &new {
        let takes = |destination: &Destination| destination.weight.get() > 0 && !destination.drains();
        let empty = |server: &VirtualServer| !server.destinations.iter().any(takes);
        if empty(is) && old.get(id).is_none_or(|was| !empty(was)) {
            warn(
                found,
                WarningKind::NoDestination,
                format!(
                    "{} ({id}) has no destination left that takes connections: new ones are refused",
                    is.name,
                ),
            );
        }
    }
}

/// Hosts that are drained from now on, each with the services that it leaves.
fn drains(before: &Fleet, after: &Fleet, found: &mut BTreeSet<Warning>) {
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
            WarningKind::Drain,
            format!(
                "{host} is drained in {first}{more}: it gets no new connections, open ones go on {limit}"
            ),
        );
    }
}
