//! The stages in words.

use std::collections::BTreeMap;

use evenkeel_schemas::change::{self as document, Action, FieldChange, ObjectChange, StageHost, StepKind};
use evenkeel_schemas::plan::{Destination, Plan};
use evenkeel_schemas::scalars::{Name, Span};

use super::super::{Fleet, compare, objects};
use super::Stage;

/// The stages as people and programs read them.
pub(in super::super) fn describe(before: &Fleet, after: &Fleet, stages: &[Stage]) -> Vec<document::Stage> {
    let mut held: BTreeMap<&Name, &Plan> = before.iter().map(|(name, state)| (name, &state.plan)).collect();
    let mut described = Vec::new();
    for (number, stage) in (1..).zip(stages) {
        let mut hosts = Vec::new();
        let mut losing = Vec::new();
        for (name, step) in &stage.steps {
            let had = held.get(name).copied();
            if had.is_some_and(|had| step.plan.as_ref().is_none_or(|plan| loses(had, plan))) {
                losing.push(name);
            }
            let step_kind = match (&step.plan, step.last) {
                (None, _) => StepKind::Remove,
                (Some(_), true) => StepKind::Whole,
                (Some(_), false) => StepKind::Part,
            };
            let does = step
                .plan
                .as_ref()
                .map_or_else(|| vec!["removes the plan".to_owned()], |plan| does(had, plan));
            hosts.push(StageHost { host: name.clone(), step: step_kind, does });
            match &step.plan {
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

/// `adds 2 destinations`, `changes virtual router VI_1`.
fn does(had: Option<&Plan>, plan: &Plan) -> Vec<String> {
    let old = had.map(objects::of_plan).unwrap_or_default();
    let mut sentences = Vec::new();
    let mut counted: BTreeMap<(usize, &str), (String, Vec<String>)> = BTreeMap::new();
    for mut change in compare::differences(&old, &objects::of_plan(plan)).into_values() {
        if change.kind == "host" && had.is_some_and(|had| had.maintenance != plan.maintenance) {
            let verb = if plan.maintenance { "goes into" } else { "comes back from" };
            sentences.push(format!("{verb} maintenance"));
            change.fields.retain(|field| field.field != "maintenance");
            if change.fields.is_empty() {
                continue;
            }
        }
        let rank =
            objects::KINDS.iter().position(|kind| *kind == change.kind).unwrap_or(objects::KINDS.len());
        let verb = verb(&change);
        let entry = counted.entry((rank, verb)).or_insert_with(|| (change.kind.clone(), Vec::new()));
        entry.1.push(change.name.unwrap_or(change.id));
    }
    if counted.is_empty() && sentences.is_empty() {
        return vec!["takes other secrets".to_owned()];
    }
    let sentence = |((_, verb), (kind, names)): ((usize, &str), (String, Vec<String>))| {
        let kind = super::super::word(&kind);
        match names.as_slice() {
            [one] => format!("{verb} {kind} {one}"),
            many => format!("{verb} {} {kind}{}", many.len(), if kind.ends_with('s') { "es" } else { "s" }),
        }
    };
    sentences.extend(counted.into_iter().map(sentence));
    sentences
}

/// What is done to an object.
fn verb(change: &ObjectChange) -> &'static str {
    match (change.action, change.fields.as_slice()) {
        (Action::Add, _) => "adds",
        (Action::Remove, _) => "removes",
        (Action::Change, [FieldChange { field, new, .. }])
            if change.kind == "destination" && field == "drain" =>
        {
            if new.is_some() {
                "drains"
            } else {
                "undrains"
            }
        }
        (Action::Change, _) => "changes",
    }
}

/// Whether a real server can no longer take what was sent to it.
fn loses(had: &Plan, plan: &Plan) -> bool {
    had.addresses.iter().any(|address| !plan.addresses.contains(address))
        || had.tunnels.iter().any(|tunnel| !plan.tunnels.contains(tunnel))
        || had.gue.iter().any(|gue| !plan.gue.contains(gue))
        || had.routes.iter().any(|route| !plan.routes.contains(route))
}

/// How long directors go on sending to these hosts what their connections need, when they leave services.
fn waits(before: &Fleet, after: &Fleet, hosts: &[&Name]) -> Option<Span> {
    let mut longest: Option<Span> = None;
    for (director, state) in before {
        let new = after.get(director).map_or(&[][..], |state| &state.plan.virtual_servers);
        for old in &state.plan.virtual_servers {
            let Some(new) = new.iter().find(|new| new.front() == old.front()) else { continue };
            let stays = |destination: &Destination| {
                let same = |other: &Destination| {
                    (other.address, other.port) == (destination.address, destination.port)
                };
                new.destinations.iter().any(same)
            };
            let mut leaving = old.destinations.iter().filter(|destination| !stays(destination));
            if leaving.any(|destination| hosts.contains(&&destination.host)) {
                longest = longest.max(new.drain);
            }
        }
    }
    longest
}
