//! `evenkeel apply`: makes a directory of plans what a cluster file, or a saved plan, says. Refuses
//! what guards stand against, and saved plans that no longer fit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evenkeel::change::{self, Comparison, Fleet, Inputs, refusals};
use evenkeel::{Diagnostic, HostPlan, MAX_BYTES, SourceFile, codes, render};
use evenkeel_schemas::scalars::Name;

use super::directory::{self, Found, Keep};
use super::files::{Named, Trust};
use super::guards::guard;
use super::lock::{Lock, NoLock};
use super::terminal::Shown;
use super::{Apply, StageChoice, Terminal, input};

mod from_saved;

/// Plans to write, and their name for people.
struct Target {
    fleet: Fleet,
    /// ` stage 2 of 3 (backup directors) of`, or nothing.
    stage: String,
    /// Stages that are left afterwards.
    left: usize,
    /// Stages that are put in place at once.
    at_once: usize,
}

pub(super) fn run(arguments: &Apply, terminal: &Terminal) -> bool {
    apply(arguments, terminal).is_some()
}

fn apply(arguments: &Apply, terminal: &Terminal) -> Option<()> {
    let mut named = Named::new(&arguments.input, Trust::Own);
    // One byte more than is accepted: a device never ends. What cannot be read is told below.
    if let Ok(bytes) = named.read_now(MAX_BYTES + 1)
        && change::saved::is_saved(bytes)
    {
        let bytes = bytes.to_vec();
        return from_saved::apply(arguments, &bytes, terminal);
    }
    let (source, compilation) = input::load_named(&named, &arguments.overlay, Trust::Own, terminal)?;
    let cluster = compilation.cluster.as_ref()?;
    let after = change::compiled(cluster);
    let _lock = lock(arguments, terminal)?;
    let mut found = found(arguments, cluster.name(), terminal)?;
    change::assume_secrets(&mut found.fleet, &after);
    guard(&source, &arguments.overrides, &refusals(&found.fleet, &after, cluster.max_change()), terminal)?;
    let stages = change::stages(&found.fleet, &after);
    let target = match arguments.stage {
        Some(StageChoice::Number(_)) => {
            terminal.fail(
                "stages have numbers in a saved plan only; with a cluster file use `--stage next`, as often \
                as there \
                 are stages",
            );
            return None;
        }
        Some(StageChoice::Next) if !stages.is_empty() => {
            let mut fleet = found.fleet.clone();
            take(&mut fleet, &stages[0].steps, &found.fleet, &after);
            Target {
                fleet,
                stage: format!(" the next of {} stages ({}) of", stages.len(), stages[0].title),
                left: stages.len() - 1,
                at_once: 1,
            }
        }
        Some(StageChoice::Next) | None => {
            Target { fleet: after.clone(), stage: String::new(), left: 0, at_once: stages.len() }
        }
    };
    write(arguments, cluster.name(), &found.fleet, &target, terminal)
}

/// Lets hosts take the plans of a stage.
fn take(fleet: &mut Fleet, steps: &BTreeMap<Name, change::HostStep>, before: &Fleet, after: &Fleet) {
    for (host, step) in steps {
        match step.state(host, before, after) {
            Some(state) => _ = fleet.insert(host.clone(), state),
            None => _ = fleet.remove(host),
        }
    }
}

fn lock(arguments: &Apply, terminal: &Terminal) -> Option<Lock> {
    let directory = &arguments.to;
    if let Err(error) = fs::create_dir_all(directory) {
        terminal.fail(format_args!("cannot create directory {}: {error}", directory.shown()));
        return None;
    }
    match Lock::take(directory, arguments.lock_timeout.as_duration()) {
        Ok(lock) => Some(lock),
        Err(NoLock::Held(who)) => {
            let message = format!("{} is locked by {who}", directory.shown());
            let hint = "wait until it is done, or give `--lock-timeout 60s`";
            refuse(directory, Diagnostic::of_file(&codes::LOCKED, message).hint(hint), terminal);
            None
        }
        Err(NoLock::Io(error)) => {
            terminal.fail(format_args!("cannot lock {}: {error}", directory.shown()));
            None
        }
    }
}

fn found(arguments: &Apply, cluster: &Name, terminal: &Terminal) -> Option<Found> {
    match directory::plans(&arguments.to, cluster, Trust::Own, Keep::Texts) {
        Ok(found) => {
            if let Some(host) = found.secrets_unread.first() {
                terminal.fail(format_args!(
                    "the secrets of {host} in {} may not be read by this user; nothing was written",
                    arguments.to.shown()
                ));
                return None;
            }
            Some(found)
        }
        Err(failure) => {
            terminal.fail(format_args!(
                "{failure}; nothing was written. `evenkeel compile --out` writes all plans anew"
            ));
            None
        }
    }
}

fn refuse(file: &Path, diagnostic: Diagnostic, terminal: &Terminal) {
    terminal.diagnostics(&SourceFile::new(file.display().to_string(), ""), &[diagnostic]);
}

/// Brings the directory to the target and says what was done in one line.
fn write(
    arguments: &Apply,
    cluster: &Name,
    before: &Fleet,
    target: &Target,
    terminal: &Terminal,
) -> Option<()> {
    let plans: Vec<HostPlan> =
        target.fleet.iter().map(|(host, state)| change::host_plan(host, state)).collect();
    let work = directory::compare(&arguments.to, cluster, &plans);
    let work = work.map_err(|error| terminal.fail(error)).ok()?;
    for path in &work.left_alone {
        terminal.complain(format_args!("Left alone: {} is not a plan of {cluster}.", path.shown()));
    }
    directory::carry_out(&arguments.to, &work).map_err(|error| terminal.fail(error)).ok()?;
    for path in directory::sweep(&arguments.to) {
        terminal.complain(format_args!("Removed {}, which a run that was killed had left.", path.shown()));
    }
    let done = *difference(cluster, before, &target.fleet).summary();
    let to = arguments.to.shown();
    if done.hosts_changed == 0 {
        terminal.say(format_args!("No changes. {to} has {cluster} as wanted."));
        return Some(());
    }
    if target.at_once > 1 && !before.is_empty() {
        terminal.complain(format_args!(
            "Note: {} stages were put in place at once, so hosts may take them in any order; `--stage next` \
            applies one \
             at a time.",
            target.at_once
        ));
    }
    let left = match target.left {
        0 => String::new(),
        1 => " 1 stage is left.".to_owned(),
        left => format!(" {left} stages are left."),
    };
    terminal.say(format_args!(
        "Applied{} {cluster} to {to}: {} added, {} changed, {} removed on {} of {} host{}.{left}",
        target.stage,
        done.add,
        done.change,
        done.remove,
        done.hosts_changed,
        done.hosts,
        if done.hosts == 1 { "" } else { "s" },
    ));
    Some(())
}

/// Comparison of two fleets.
fn difference<'a>(cluster: &'a Name, before: &'a Fleet, after: &'a Fleet) -> Comparison<'a> {
    Comparison::new(&Inputs {
        cluster,
        against: "what is there",
        before,
        after,
        old_origins: None,
        new_origins: None,
        max_change: None,
    })
}

/// Shows the unexpected differences, object by object.
fn show_difference(cluster: &Name, expected: &Fleet, found: &Fleet, terminal: &Terminal) {
    let public = |fleet: &Fleet| -> Fleet {
        fleet.iter().map(|(host, state)| (host.clone(), state.clone().without_secrets())).collect()
    };
    let (expected, found) = (public(expected), public(found));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = render::change_objects(
        &difference(cluster, &expected, &found),
        &render::View::default(),
        true,
        &mut text,
    );
    terminal.complain(text.trim_end_matches('\n'));
}
