//! `evenkeel compile`: writes every host's plan.

use std::path::Path;

use evenkeel::emit;

use super::directory::{self, Changes};
use super::files::Trust;
use super::terminal::Shown;
use super::{Compile, Terminal, input};

pub(super) fn run(arguments: &Compile, terminal: &Terminal) -> bool {
    let Some(cluster) = input::load_cluster(&arguments.input, Trust::Own, arguments.format, terminal)
        .and_then(|compilation| compilation.cluster)
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
    terminal.say_beside(arguments.format, format_args!(
        "Compiled {} to {out}: {} plan{plural} ({written} written, {} unchanged, {removed} removed).{secrets}",
        cluster.name(),
        plans.len(),
        plans.len() - written,
    ));
    true
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
        "{out} is out of date with {cluster}: {written} to write, {removed} to remove{secrets}; run `evenkeel compile` without --check"
    ));
    false
}

/// A directory with its slash.
fn shown(path: &Path) -> String {
    let text = path.shown();
    if text.ends_with('/') { text } else { format!("{text}/") }
}
