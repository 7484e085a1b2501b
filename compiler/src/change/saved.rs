//! A change as a file: written by `evenkeel plan --save`, carried out by `evenkeel apply`.
//!
//! Texts and values only; files are read and written in `cli`.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::saved::{FORMAT, Saved, SavedHost, SavedStage, SavedStep};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal;

use super::{Comparison, Fleet, HostState, HostStep, Stage, Take, compare};
use crate::codes;
use crate::diagnostic::Diagnostic;

/// The version of this tool.
const TOOL: &str = env!("CARGO_PKG_VERSION");

/// A saved plan that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Name of the cluster.
    pub cluster: Name,
    /// Base of the comparison, as given.
    pub against: String,
    /// `policy.max_change` of the cluster file.
    pub max_change: Option<u8>,
    /// Fleet before, without secrets.
    pub before: Fleet,
    /// Wanted fleet, without secrets.
    pub after: Fleet,
    /// The stages in their order.
    pub stages: Vec<OpenedStage>,
    /// Hosts whose secrets the cluster file holds, and the names of these.
    pub secrets: BTreeMap<Name, Vec<String>>,
}

/// A stage of a saved plan.
#[derive(Debug)]
pub struct OpenedStage {
    /// A few words.
    pub title: String,
    /// Plan that each host gets.
    pub steps: BTreeMap<Name, HostStep>,
}

/// The whole file.
///
/// # Errors
/// When the values have no TOML form, which none of ours lacks.
pub fn save(comparison: &Comparison<'_>) -> Result<String, String> {
    let inputs = &comparison.inputs;
    let host = |name: &Name| {
        let (before, after) = (inputs.before.get(name), inputs.after.get(name));
        let text = |state: Option<&HostState>| state.map(|state| state.text().into_owned());
        let generation = |state: Option<&HostState>| state.map(HostState::generation);
        let (base, target) = (generation(before), generation(after));
        SavedHost {
            host: name.clone(),
            secrets: after.map(|state| state.secrets.keys().cloned().collect()).unwrap_or_default(),
            base_plan: if base == target { None } else { text(before) },
            target_plan: text(after),
            base,
            target,
        }
    };
    let step = |(host, step): (&Name, &HostStep)| SavedStep {
        host: host.clone(),
        plan: step.state(host, inputs.before, inputs.after).map(|state| state.text().into_owned()),
        secrets: step.secrets.clone(),
    };
    let stage = |stage: &Stage| SavedStage {
        title: stage.title.to_owned(),
        why: stage.why.to_owned(),
        hosts: stage.steps.iter().map(step).collect(),
    };
    let saved = Saved {
        format: FORMAT,
        tool: TOOL.to_owned(),
        cluster: inputs.cluster.clone(),
        against: inputs.against.to_owned(),
        max_change: inputs.max_change,
        hosts: compare::names(inputs.before, inputs.after).into_iter().map(host).collect(),
        stages: comparison.way().iter().map(stage).collect(),
    };
    let body = toml::to_string(&saved).map_err(|error| error.to_string())?;
    Ok(seal::seal(&format!(
        "# Saved by `evenkeel plan`. Do not edit: the line above seals the rest.\n{body}"
    )))
}

/// Whether a file is a saved plan, or meant to be one: cluster files have no seal.
#[must_use]
pub fn is_saved(bytes: &[u8]) -> bool {
    bytes.starts_with(b"digest = \"sha256:")
}

/// Opens a saved plan.
///
/// # Errors
/// When it is damaged, or was written by a newer version.
pub fn open(bytes: &[u8]) -> Result<Opened, Box<Diagnostic>> {
    let damaged = |error: String| {
        let again = "save it again with `evenkeel plan --save`; nothing of it was applied";
        Box::new(Diagnostic::of_file(&codes::DAMAGED_PLAN, error).hint(again))
    };
    let (_, body) = seal::open(bytes).map_err(|error| {
        damaged(match error {
            seal::SealError::Broken { sealed, actual } => format!(
                "the file is incomplete or was edited: its first line says {}…, its content is {}…",
                &sealed[..12],
                &actual[..12]
            ),
            other => other.to_string().replace("the plan file", "the file"),
        })
    })?;
    let table: toml::Table = toml::from_str(body).map_err(|error| damaged(error.message().to_owned()))?;
    let tool = table.get("tool").and_then(|tool| tool.as_str()).unwrap_or_default().to_owned();
    let format = table.get("format").and_then(toml::Value::as_integer).unwrap_or_default();
    if format > i64::from(FORMAT) || version(&tool) > version(TOOL) {
        let message = format!("it was written by evenkeel {tool}; this is {TOOL}");
        let hint = format!("apply it with evenkeel {tool}, or plan again with this one");
        return Err(Box::new(Diagnostic::of_file(&codes::NEWER_TOOL, message).hint(hint)));
    }
    let saved: Saved =
        table.try_into().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
    unpack(saved).map_err(damaged)
}

fn unpack(saved: Saved) -> Result<Opened, String> {
    let mut opened = Opened {
        cluster: saved.cluster,
        against: saved.against,
        max_change: saved.max_change,
        before: Fleet::new(),
        after: Fleet::new(),
        stages: Vec::new(),
        secrets: BTreeMap::new(),
    };
    for host in saved.hosts {
        let read = |text: &str| {
            HostState::read(text.as_bytes(), None).map_err(|error| format!("plan of {}: {error}", host.host))
        };
        if let Some(text) =
            host.base_plan.as_ref().or(host.target_plan.as_ref().filter(|_| host.base.is_some()))
        {
            opened.before.insert(host.host.clone(), read(text)?);
        }
        if let Some(text) = &host.target_plan {
            opened.after.insert(host.host.clone(), read(text)?);
        }
        for (digest, fleet) in [(&host.base, &opened.before), (&host.target, &opened.after)] {
            if *digest != fleet.get(&host.host).map(HostState::generation) {
                return Err(format!("plan of {}: its digest is not the one that was saved", host.host));
            }
        }
        if !host.secrets.is_empty() {
            opened.secrets.insert(host.host, host.secrets);
        }
    }
    for stage in saved.stages {
        let mut steps = BTreeMap::new();
        for step in stage.hosts {
            let read = |text: String| HostState::read(text.as_bytes(), None).map(|state| state.plan);
            let plan =
                step.plan.map(read).transpose().map_err(|error| format!("plan of {}: {error}", step.host))?;
            let wanted = opened.after.get(&step.host).map(|state| &state.plan);
            let take = match plan {
                None => Take::Nothing,
                Some(plan) if Some(&plan) == wanted => Take::Whole,
                Some(plan) => Take::Part(Box::new(plan)),
            };
            steps.insert(step.host, HostStep { take, secrets: step.secrets });
        }
        opened.stages.push(OpenedStage { title: stage.title, steps });
    }
    Ok(opened)
}

fn version(text: &str) -> Vec<u64> {
    text.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// Hosts whose plans differ between two fleets, secrets aside.
#[must_use]
pub fn differing(a: &Fleet, b: &Fleet) -> BTreeSet<Name> {
    let text = |fleet: &Fleet, name: &Name| fleet.get(name).map(|state| state.text().into_owned());
    compare::names(a, b).into_iter().filter(|name| text(a, name) != text(b, name)).cloned().collect()
}
