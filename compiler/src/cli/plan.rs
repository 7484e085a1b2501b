//! `evenkeel plan`: what would change, why, in which stages, and whom it hurts. Writes nothing but
//! the file that it is told to save.

use std::process::ExitCode;

use evenkeel::change::{self, Inputs, Origins, saved};
use evenkeel::{emit, render};

use super::base::Given;
use super::files::Trust;
use super::terminal::Shown;
use super::{Input, Plan, PlanFormat, Terminal, base, disk, input};

/// `--detailed-exitcode`: there are changes.
const CHANGES: u8 = 2;

pub(super) fn run(arguments: &Plan, terminal: &Terminal) -> ExitCode {
    plan(arguments, terminal).unwrap_or(ExitCode::FAILURE)
}

fn plan(arguments: &Plan, terminal: &Terminal) -> Option<ExitCode> {
    let Input { cluster: file, overlay } = &arguments.input;
    let trust = Trust::of(arguments.untrusted);
    trust.watch(terminal);
    let (source, compilation) = input::load_source(file, overlay, trust, terminal)?;
    let cluster = compilation.cluster.as_ref()?;
    let after = change::fleet(&emit(cluster)).map_err(|error| terminal.fail(error)).ok()?;
    let given = Given { cluster_file: file, overlays: overlay, trust };
    let base = base::load(arguments.against.as_deref(), &given, cluster.name(), &after, terminal)?;
    let (old_origins, new_origins) = (base.source.as_ref().and_then(Origins::new), Origins::new(&source));
    let inputs = Inputs {
        cluster: cluster.name(),
        against: &base.name,
        before: &base.fleet,
        after: &after,
        old_origins: old_origins.as_ref(),
        new_origins: new_origins.as_ref(),
        max_change: cluster.max_change(),
    };
    let change = change::change(&inputs);
    match arguments.format {
        PlanFormat::Human => terminal.say(render::change(&change, true).trim_end_matches('\n')),
        PlanFormat::Diff => {
            let text = render::unified(&base.fleet, &after);
            if !text.is_empty() {
                terminal.say(text.trim_end_matches('\n'));
            }
        }
        PlanFormat::Markdown => terminal.say(render::markdown(&change).trim_end_matches('\n')),
        PlanFormat::Json => {
            let text = serde_json::to_string_pretty(&change).map_err(|error| terminal.fail(error)).ok()?;
            terminal.say(text);
        }
    }
    if let Some(file) = &arguments.save {
        let text = saved::save(&inputs).map_err(|error| terminal.fail(error)).ok()?;
        if let Err(error) = disk::replace(file, text.as_bytes(), disk::PRIVATE) {
            terminal.fail(format_args!("cannot write {}: {error}", file.shown()));
            return None;
        }
        // Not among what other programs read.
        terminal.complain(format_args!("Saved to {}; `evenkeel apply` does exactly this.", file.shown()));
        if after.values().any(|state| !state.secrets.is_empty()) {
            terminal.complain(format_args!(
                "Note: the secrets of {} are not in it; apply it with --secrets-from {0}.",
                render::plain(source.name())
            ));
        }
    }
    let changes = arguments.detailed_exitcode && !change.hosts.is_empty();
    Some(if changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}
