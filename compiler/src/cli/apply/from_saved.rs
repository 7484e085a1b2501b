//! Applying a saved plan: exactly what it says to exactly what it was made from.

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel::change::{self, Fleet, refusals, saved};
use evenkeel::{Diagnostic, SourceFile, codes};
use evenkeel_schemas::saved::Era;
use evenkeel_schemas::scalars::Name;

use super::super::files::Trust;
use super::super::guards::guard;
use super::super::terminal::Shown;
use super::super::{Apply, StageChoice, Terminal, input};
use super::{Target, found, lock, refuse, show_difference, take, write};

pub(super) fn apply(arguments: &Apply, bytes: &[u8], terminal: &Terminal) -> Option<()> {
    let file = &arguments.input;
    let stop = |diagnostic: Diagnostic| refuse(file, diagnostic, terminal);
    let mut opened = saved::open(bytes).map_err(|diagnostic| stop(*diagnostic)).ok()?;
    if let Some(cluster_file) = &arguments.secrets_from {
        take_secrets(arguments, cluster_file, &mut opened, terminal)?;
    }
    let _lock = lock(arguments, terminal)?;
    let mut there = found(arguments, &opened.cluster, terminal)?;
    change::assume_secrets(&mut there.fleet, &opened.after);
    if there.fleet.is_empty() && !there.others.is_empty() {
        let others: Vec<&str> = there.others.iter().map(String::as_str).collect();
        let message = format!(
            "it is for cluster `{}`; {} has plans of `{}`",
            opened.cluster,
            arguments.to.shown(),
            others.join("`, `").escape_debug()
        );
        stop(
            Diagnostic::of_file(&codes::OTHER_CLUSTER, message)
                .hint("give the directory that it was made for"),
        );
        return None;
    }
    let way = Way::new(&opened);
    let place = way.place(&opened, &there.fleet);
    let stages = opened.stages.len();
    let wanted = match arguments.stage {
        None => None,
        Some(StageChoice::Number(number)) if (1..=stages).contains(&number) => Some(number),
        Some(StageChoice::Number(number)) => {
            terminal.fail(format_args!("there is no stage {number}: {} has {stages}", file.shown()));
            return None;
        }
        // Where nothing fits, the first stage says what is wrong.
        Some(StageChoice::Next) => {
            Some(place.unwrap_or(0).saturating_add(1).min(stages)).filter(|_| stages > 0)
        }
    };
    let stale: Vec<Name> = match wanted {
        None => way.strangers(&there.fleet, 0..=stages),
        Some(number) => way.strangers(&there.fleet, number - 1..=number),
    };
    if !stale.is_empty() {
        if let Some(number) = wanted.filter(|_| way.strangers(&there.fleet, 0..=stages).is_empty()) {
            let (to, why) = (arguments.to.shown(), not_due(number, stages, place));
            terminal.fail(format_args!("{why} in {to} (`--stage next`). Nothing was written"));
            return None;
        }
        return out_of_step(arguments, &opened, &there.fleet, &stale, terminal);
    }
    let source = SourceFile::new(file.display().to_string(), "");
    guard(
        &source,
        &arguments.overrides,
        &refusals(&opened.before, &opened.after, opened.max_change),
        terminal,
    )?;
    let mut fleet = there.fleet.clone();
    let (first, last) = wanted.map_or((1, stages), |number| (number, number));
    for stage in opened.stages.iter().take(last).skip(first - 1) {
        for (host, step) in &stage.steps {
            let has =
                |name: &String| opened.after.get(host).is_some_and(|state| state.secrets.contains_key(name));
            if let Some((name, _)) = step.secrets.iter().find(|(name, era)| **era == Era::New && !has(name)) {
                let message =
                    format!("{host} needs the secret `{name}`, which is written in the cluster file");
                let hint = "give the cluster file: --secrets-from cluster.toml";
                stop(Diagnostic::of_file(&codes::SECRETS_MISSING, message).hint(hint));
                return None;
            }
        }
        take(&mut fleet, &stage.steps, &there.fleet, &opened.after);
    }
    let stage = wanted.and_then(|number| Some((number, opened.stages.get(number - 1)?)));
    let target = Target {
        fleet,
        stage: stage
            .map(|(number, stage)| format!(" stage {number} of {stages} ({}) of", stage.title))
            .unwrap_or_default(),
        left: wanted.map_or(0, |number| stages - number),
        at_once: wanted.map_or_else(|| stages - place.unwrap_or(0), |_| 1),
    };
    write(arguments, &opened.cluster, &there.fleet, &target, terminal)
}

/// The secrets of a cluster file whose plans are those of the saved plan.
fn take_secrets(
    arguments: &Apply,
    cluster_file: &Path,
    opened: &mut saved::Opened,
    terminal: &Terminal,
) -> Option<()> {
    let cluster = input::load_source(cluster_file, &arguments.overlay, Trust::Own, terminal)?.1.cluster?;
    let fleet = change::compiled(&cluster);
    if let Some(host) = saved::differing(&fleet, &opened.after).first() {
        let message = format!(
            "{} has other plans than the saved one, first of them that of {host}; nothing was written",
            cluster_file.shown()
        );
        let hint = "take the cluster file of the revision that was planned, or plan again";
        refuse(cluster_file, Diagnostic::of_file(&codes::STALE_PLAN, message).hint(hint), terminal);
        return None;
    }
    opened.after = fleet;
    Some(())
}

/// The plan that each host has after each stage, from 0 (none taken), by digest.
struct Way {
    after_stage: Vec<BTreeMap<Name, String>>,
}

impl Way {
    fn new(opened: &saved::Opened) -> Self {
        let digests = |fleet: &Fleet| -> BTreeMap<Name, String> {
            fleet.iter().map(|(host, state)| (host.clone(), state.generation())).collect()
        };
        let mut after_stage = vec![digests(&opened.before)];
        let mut now = opened.before.clone();
        for stage in &opened.stages {
            take(&mut now, &stage.steps, &opened.before, &opened.after);
            after_stage.push(digests(&now));
        }
        Self { after_stage }
    }

    /// Hosts whose plan is none of those after the stages in `range`.
    fn strangers(&self, there: &Fleet, range: std::ops::RangeInclusive<usize>) -> Vec<Name> {
        let (first, last) = (*range.start(), *range.end());
        let stages = self.after_stage.get(first..=last).unwrap_or_default();
        let hosts = stages.iter().flat_map(BTreeMap::keys).chain(there.keys());
        let hosts: std::collections::BTreeSet<&Name> = hosts.collect();
        let stranger = |host: &&Name| {
            let has = there.get(*host).map(change::HostState::generation);
            !stages.iter().any(|stage| stage.get(*host) == has.as_ref())
        };
        hosts.into_iter().filter(stranger).cloned().collect()
    }

    /// Number of stages that are done: the first after which every host is where it should be, or on its way
    /// from there to the next.
    fn place(&self, opened: &saved::Opened, there: &Fleet) -> Option<usize> {
        let stages = self.after_stage.len() - 1;
        // After a change of nothing but passwords the plans are those of the beginning.
        let known = opened.stages.iter().flat_map(|stage| &stage.steps).all(|(host, step)| {
            let has =
                |name: &String| opened.after.get(host).is_some_and(|state| state.secrets.contains_key(name));
            step.secrets.iter().all(|(name, era)| *era == Era::Old || has(name))
        });
        if known
            && (1..=stages).all(|number| self.has_secrets(number, opened, there))
            && self.strangers(there, stages..=stages).is_empty()
        {
            return Some(stages);
        }
        (0..stages)
            .find(|taken| {
                let next = taken + 1;
                self.strangers(there, *taken..=next).is_empty() && !self.is_taken(next, opened, there)
            })
            .or_else(|| self.strangers(there, stages..=stages).is_empty().then_some(stages))
    }

    fn is_taken(&self, number: usize, opened: &saved::Opened, there: &Fleet) -> bool {
        self.strangers(there, number..=number).is_empty() && self.has_secrets(number, opened, there)
    }

    /// A stage may bring nothing but another password. What is not known counts as there.
    fn has_secrets(&self, number: usize, opened: &saved::Opened, there: &Fleet) -> bool {
        opened.stages.get(number - 1).into_iter().flat_map(|stage| &stage.steps).all(|(host, step)| {
            let text = |fleet: &Fleet, name: &str| {
                fleet.get(host).and_then(|state| state.secrets.get(name).cloned())
            };
            let new = step.secrets.iter().filter(|(_, era)| **era == Era::New);
            new.map(|(name, _)| name).all(|name| {
                let wanted = text(&opened.after, name);
                wanted.is_none() || wanted == text(there, name)
            })
        })
    }
}

/// Why a stage cannot be applied, of those that fit what is there; `taken` is how many stages were taken, if
/// that is clear.
fn not_due(number: usize, stages: usize, taken: Option<usize>) -> String {
    match taken {
        None => format!(
            "stage {number} of {stages} is not due: hosts have taken different stages, and the first that is \
            not complete is due"
        ),
        Some(0) => {
            format!("stage {number} of {stages} is not due: no stage was taken yet, and stage 1 is due")
        }
        Some(taken) if taken >= stages => format!("stage {number} is over: all {stages} stages were taken"),
        Some(taken) if number <= taken => {
            format!(
                "stage {number} of {stages} is over: stage {taken} was taken last, and stage {} is due",
                taken + 1
            )
        }
        Some(taken) => {
            format!(
                "stage {number} of {stages} is not due: stage {taken} was taken last, and stage {} is due",
                taken + 1
            )
        }
    }
}

/// Says why a saved plan does not fit what is there.
fn out_of_step(
    arguments: &Apply,
    opened: &saved::Opened,
    there: &Fleet,
    stale: &[Name],
    terminal: &Terminal,
) -> Option<()> {
    let names: Vec<&str> = stale.iter().map(Name::as_str).collect();
    let names = names.join(", ");
    let to = arguments.to.shown();
    let message = format!("{to} is not what this plan was made from: {names} changed since");
    let hint = "plan again; nothing was written";
    refuse(&arguments.input, Diagnostic::of_file(&codes::STALE_PLAN, message).hint(hint), terminal);
    terminal.complain("What changed since:");
    let only = |fleet: &Fleet| -> Fleet {
        let stale = |host: &&Name| stale.contains(*host);
        fleet.keys().filter(stale).filter_map(|host| Some((host.clone(), fleet.get(host)?.clone()))).collect()
    };
    show_difference(&opened.cluster, &only(&opened.before), &only(there), terminal);
    None
}
