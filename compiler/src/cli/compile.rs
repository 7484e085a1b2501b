//! `evenkeel compile`: writes every host's plan.

use std::path::Path;

use evenkeel::change;
use evenkeel::{Resolved, SourceFile, emit};

use super::directory::{self, Changes, Keep};
use super::files::Trust;
use super::guards::guard;
use super::terminal::Shown;
use super::{Compile, Terminal, input};

pub(super) fn run(arguments: &Compile, terminal: &Terminal) -> bool {
    let loaded = input::load(&arguments.input, Trust::Own, arguments.format, terminal);
    let Some((source, cluster)) =
        loaded.and_then(|(source, compilation)| Some((source, compilation.cluster?)))
    else {
        return false;
    };
    let plans = emit(&cluster);
    let work = directory::compare(&arguments.out, cluster.name(), &plans);
    let work = match work {
        Ok(work) => work,
        Err(error) => {
            terminal.fail(error);
            return false;
        }
    };
    for path in &work.left_alone {
        terminal.complain(format_args!("Left alone: {} is not a plan of {}.", path.shown(), cluster.name()));
    }
    let out = shown(&arguments.out);
    let changes = work.changes();
    if arguments.check {
        return check(arguments, &changes, plans.len(), cluster.name().as_str(), terminal);
    }
    if work.changes_plans() && guard_plans(arguments, &source, &cluster, terminal).is_none() {
        return false;
    }
    if let Err(error) = directory::carry_out(&arguments.out, &work) {
        terminal.fail(error);
        return false;
    }
    for path in directory::sweep(&arguments.out) {
        terminal.complain(format_args!("Removed {}, which a run that was killed had left.", path.shown()));
    }
    let Changes { written, removed, secrets_written, secrets_removed } = changes;
    let plural = if plans.len() == 1 { "" } else { "s" };
    let secrets = match (secrets_written, secrets_removed) {
        (0, 0) => String::new(),
        (written, removed) => format!(" Secrets: {written} written, {removed} removed."),
    };
    terminal.say_beside(
        arguments.format,
        format_args!(
            "Compiled {} to {out}: {} plan{plural} ({written} written, {} unchanged, {removed} removed).\
         {secrets}",
            cluster.name(),
            plans.len(),
            plans.len() - written,
        ),
    );
    true
}

/// Stops where `apply` would: plans that are there may protect what they have.
fn guard_plans(
    arguments: &Compile,
    source: &SourceFile,
    cluster: &Resolved,
    terminal: &Terminal,
) -> Option<()> {
    let found = directory::readable_plans(&arguments.out, cluster.name(), Trust::Own, Keep::Plans);
    let mut found = found.map_err(|error| terminal.fail(error)).ok()?;
    for (path, error) in &found.damaged {
        terminal.complain(format_args!(
            "Note: {} cannot be read, so nothing of it is protected: {error}.",
            path.shown()
        ));
    }
    let after = change::compiled(cluster);
    change::assume_secrets(&mut found.fleet, &after);
    let refusals = change::refusals(&found.fleet, &after, cluster.max_change());
    guard(source, &arguments.overrides, &refusals, terminal)
}

fn check(arguments: &Compile, changes: &Changes, plans: usize, cluster: &str, terminal: &Terminal) -> bool {
    let out = shown(&arguments.out);
    let Changes { written, removed, secrets_written, secrets_removed } = changes;
    if written + removed + secrets_written + secrets_removed == 0 {
        let plural = if plans == 1 { "" } else { "s" };
        terminal.say_beside(
            arguments.format,
            format_args!("{out} is up to date with {cluster}: {plans} plan{plural}."),
        );
        return true;
    }
    let secrets = match secrets_written + secrets_removed {
        0 => String::new(),
        count => format!(", {count} of secrets"),
    };
    terminal.fail(format_args!(
        "{out} is out of date with {cluster}: {written} to write, {removed} to remove{secrets}; run \
        `evenkeel compile` without --check"
    ));
    false
}

/// A directory with its slash.
fn shown(path: &Path) -> String {
    let text = path.shown();
    if text.ends_with('/') { text } else { format!("{text}/") }
}
