//! `evenkeel plan`: what would change, why, in which stages, and whom it hurts. Writes nothing but
//! the file that it is told to save.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use evenkeel::change::{self, Inputs, Origins, saved};
use evenkeel::{emit, render};

use super::{Input, Plan, PlanFormat, Terminal, base, input};

/// `--detailed-exitcode`: there are changes.
const CHANGES: u8 = 2;

pub(super) fn run(arguments: &Plan, terminal: &Terminal) -> ExitCode {
    plan(arguments, terminal).unwrap_or(ExitCode::FAILURE)
}

fn plan(arguments: &Plan, terminal: &Terminal) -> Option<ExitCode> {
    let Input { cluster: file, overlay } = &arguments.input;
    let (source, compilation) = input::load_source(file, overlay, terminal)?;
    let cluster = compilation.cluster.as_ref()?;
    let after = change::fleet(&emit(cluster)).map_err(|error| terminal.fail(error)).ok()?;
    let base = base::load(arguments.against.as_deref(), (file, overlay), cluster.name(), &after, terminal)?;
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
        if let Err(error) = write(file, &text) {
            terminal.fail(format_args!("cannot write {}: {error}", file.display()));
            return None;
        }
        // Not among what other programs read.
        terminal.complain(format_args!("Saved to {}; `evenkeel apply` does exactly this.", file.display()));
        if after.values().any(|state| !state.secrets.is_empty()) {
            terminal.complain(format_args!(
                "Note: the secrets of {} are not in it; apply it with --secrets-from {0}.",
                source.name()
            ));
        }
    }
    let changes = arguments.detailed_exitcode && !change.hosts.is_empty();
    Some(if changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
