//! A change of checks alone: no packet goes another way because of it, so there is nothing to wait for.

use std::collections::BTreeMap;

use evenkeel_schemas::plan::{Destination, Plan, VirtualServer};
use evenkeel_schemas::saved::Era;
use evenkeel_schemas::scalars::Name;

use super::super::{Fleet, compare, objects};
use super::{HostStep, Stage, Take, secret_names};

/// The hosts that change when nothing but checks does; none when anything else changes, or nothing.
pub(super) fn changed_alone<'a>(before: &'a Fleet, after: &'a Fleet) -> Option<Vec<&'a Name>> {
    let mut changed = Vec::new();
    for name in compare::names(before, after) {
        let (old, new) = (before.get(name)?, after.get(name)?);
        if old.is_like(new) {
            continue;
        }
        if old.secrets != new.secrets || !are_alike(&old.plan, &new.plan) {
            return None;
        }
        changed.push(name);
    }
    (!changed.is_empty()).then_some(changed)
}

/// The one stage of such a change.
pub(super) fn stage(changed: Vec<&Name>, after: &Fleet) -> Stage {
    let step = |name: &Name| {
        let plan = &after.get(name)?.plan;
        let secrets = secret_names(plan).into_iter().map(|secret| (secret, Era::New)).collect();
        Some((name.clone(), HostStep { take: Take::Whole, secrets }))
    };
    let steps: BTreeMap<Name, HostStep> = changed.into_iter().filter_map(step).collect();
    Stage { title: "checks", why: "no traffic moves, so the order does not matter", steps }
}

/// Whether two plans are equal but for their checks.
fn are_alike(old: &Plan, new: &Plan) -> bool {
    let servers = || old.virtual_servers.iter().zip(&new.virtual_servers);
    old.virtual_servers.len() == new.virtual_servers.len()
        && servers().all(|(old, new)| old == new || servers_are_alike(old, new))
        && rest(old) == rest(new)
}

/// All but virtual servers, and what checks alone need: the answers from a director's own VIPs.
fn rest(plan: &Plan) -> Plan {
    let mut plan = objects::without_servers(plan);
    plan.sysctls.retain(|sysctl| !sysctl.key.ends_with("/accept_local"));
    plan
}

fn servers_are_alike(old: &VirtualServer, new: &VirtualServer) -> bool {
    let bare = |destination: &Destination| destination.clone().without_checks();
    let mut destinations = old.destinations.iter().zip(&new.destinations);
    old.destinations.len() == new.destinations.len()
        && destinations.all(|(old, new)| old == new || bare(old) == bare(new))
        && objects::alone(old) == objects::alone(new)
}
