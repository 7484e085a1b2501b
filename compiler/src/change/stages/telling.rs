//! The stages in words.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::change::{self as document, Action, StageHost, StepKind};
use evenkeel_schemas::plan::{Destination, Front, Plan, VirtualServer};
use evenkeel_schemas::scalars::{Ip, Name, Port, Span};

use super::super::compare::{self, Delta, HostDelta};
use super::super::{Fleet, Inputs, objects};
use super::{Stage, Take, real_server};

/// The stages as people and programs read them. `deltas` are what changes on each host in all of them.
pub(in super::super) fn describe(
    inputs: &Inputs<'_>,
    stages: &[Stage],
    deltas: &[HostDelta<'_>],
) -> Vec<document::Stage> {
    let (before, after) = (inputs.before, inputs.after);
    let mut held: BTreeMap<&Name, &Plan> = before.iter().map(|(name, state)| (name, &state.plan)).collect();
    let mut described = Vec::new();
    for (number, stage) in (1..).zip(stages) {
        let mut hosts = Vec::new();
        let mut losing = BTreeSet::new();
        for (name, step) in &stage.steps {
            let had = held.get(name).copied();
            let plan = step.plan(name, after);
            if had.is_some_and(|had| plan.is_none_or(|plan| real_server::has_more(Some(plan), had))) {
                losing.insert(name);
            }
            let step_kind = match step.take {
                Take::Nothing => StepKind::Remove,
                Take::Whole => StepKind::Whole,
                Take::Part(_) => StepKind::Part,
            };
            let old = before.get(name).map(|state| &state.plan);
            let at_once = step.take == Take::Whole && same(had, old);
            let place = deltas.binary_search_by(|host| host.host.cmp(name)).ok();
            let all = place.filter(|_| at_once).and_then(|place| deltas.get(place));
            let does = match (plan, all) {
                (None, _) => vec!["removes the plan".to_owned()],
                (Some(_), Some(all)) => does(all.deltas.iter().filter(|delta| !delta.is_changed_secret())),
                (Some(plan), None) => does(compare::of_plans(had, Some(plan)).iter()),
            };
            hosts.push(StageHost { host: name.clone(), step: step_kind, does });
            match plan {
                Some(plan) => held.insert(name, plan),
                None => held.remove(name),
            };
        }
        let title = stage.title.to_owned();
        let why = match waits(before, after, &losing) {
            Some(wait) => format!("{}; wait {wait} before it, while directors drain", stage.why),
            None => stage.why.to_owned(),
        };
        described.push(document::Stage { number, title, why, hosts });
    }
    described
}

/// Whether both are the same plan, not only equal ones.
fn same(a: Option<&Plan>, b: Option<&Plan>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Changes of one kind.
struct Counted<'d, 'a> {
    first: &'d Delta<'a>,
    count: usize,
}

/// `adds 2 destinations`, `changes virtual router VI_1`.
pub(crate) fn does<'d, 'a: 'd>(deltas: impl Iterator<Item = &'d Delta<'a>>) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut counted: BTreeMap<(usize, &str), Counted<'d, 'a>> = BTreeMap::new();
    for delta in deltas {
        if let Some(into) = delta.maintenance() {
            let verb = if into { "goes into" } else { "comes back from" };
            sentences.push(format!("{verb} maintenance"));
            if delta.fields().len() == 1 {
                continue;
            }
        }
        let rank = objects::KINDS.iter().position(|kind| *kind == delta.kind());
        let entry = counted.entry((rank.unwrap_or(objects::KINDS.len()), verb(delta)));
        entry.or_insert(Counted { first: delta, count: 0 }).count += 1;
    }
    if counted.is_empty() && sentences.is_empty() {
        return vec!["takes other secrets".to_owned()];
    }
    let sentence = |((_, verb), Counted { first, count }): ((usize, &str), Counted<'_, '_>)| {
        let kind = super::super::word(first.kind());
        if count > 1 {
            return format!("{verb} {count} {kind}{}", if kind.ends_with('s') { "es" } else { "s" });
        }
        match first.name() {
            // Which one, is said of whom it is said.
            None if first.kind() == "host" => format!("{verb} {kind}"),
            Some(name) => format!("{verb} {kind} {name}"),
            None => format!("{verb} {kind} {}", first.id()),
        }
    };
    sentences.extend(counted.into_iter().map(sentence));
    sentences
}

/// Verb for the change of an object.
fn verb(delta: &Delta<'_>) -> &'static str {
    match (delta.action(), delta.drain_only()) {
        (Action::Add, _) => "adds",
        (Action::Remove, _) => "removes",
        (Action::Change, Some(true)) => "drains",
        (Action::Change, Some(false)) => "undrains",
        (Action::Change, None) => "changes",
    }
}

/// Longest time for which directors keep sending to these hosts what their connections need, when they leave
/// services.
fn waits(before: &Fleet, after: &Fleet, hosts: &BTreeSet<&Name>) -> Option<Span> {
    if hosts.is_empty() {
        return None;
    }
    let mut longest: Option<Span> = None;
    for (director, state) in before {
        let new = after.get(director).map_or(&[][..], |state| &state.plan.virtual_servers);
        let new: BTreeMap<Option<Front>, &VirtualServer> =
            new.iter().map(|server| (server.front(), server)).collect();
        for old in &state.plan.virtual_servers {
            let Some(new) = new.get(&old.front()).filter(|new| new.destinations != old.destinations) else {
                continue;
            };
            let socket = |destination: &Destination| (destination.address, destination.port);
            let stay: BTreeSet<(Ip, Option<Port>)> = new.destinations.iter().map(socket).collect();
            let mut leaving =
                old.destinations.iter().filter(|destination| !stay.contains(&socket(destination)));
            if leaving.any(|destination| hosts.contains(&destination.host)) {
                longest = longest.max(new.drain);
            }
        }
    }
    longest
}
