//! `evenkeel plan`: what would change, why, in which stages, and whom it hurts. Writes nothing but
//! the file that it is told to save.

use std::collections::BTreeSet;
use std::process::ExitCode;

use evenkeel::change::{self, Comparison, Fleet, Inputs, saved};
use evenkeel::render::{self, View};
use evenkeel_schemas::scalars::Name;

use super::base::Given;
use super::directory::Keep;
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
    terminal.doing("Reading the cluster file");
    let (name, compilation, origins) = input::load_with_origins(file, overlay, trust, terminal)?;
    let resolved = compilation.cluster?;
    let (cluster, max_change) = (resolved.name().clone(), resolved.max_change());
    let after = change::compiled(&resolved);
    drop(resolved);
    terminal.doing("Reading what it is compared with");
    // Who sees or saves the files needs their bytes.
    let bytes = arguments.save.is_some() || matches!(arguments.format, PlanFormat::Diff);
    let keep = if bytes { Keep::Texts } else { Keep::Plans };
    let given = Given { cluster_file: file, overlays: overlay, trust, keep };
    let base = base::load(arguments.against.as_deref(), &given, &cluster, &after, terminal)?;
    let hosts = chosen(arguments, &base.fleet, &after, terminal)?;
    terminal.doing("Comparing");
    let comparison = Comparison::new(&Inputs {
        cluster: &cluster,
        against: &base.name,
        before: &base.fleet,
        after: &after,
        old_origins: base.origins.as_ref(),
        new_origins: origins.as_ref(),
        max_change,
    });
    terminal.doing("Writing");
    let view = View { full: arguments.full, summary: arguments.summary, hosts: hosts.as_ref() };
    match arguments.format {
        PlanFormat::Human => terminal.page(|out, styled| render::change(&comparison, &view, styled, out)),
        PlanFormat::Diff => terminal.page(|out, _| render::unified(&base.fleet, &after, view.hosts, out)),
        PlanFormat::Markdown => terminal.say(render::markdown(&comparison, &view).trim_end_matches('\n')),
        PlanFormat::Json => {
            let document = change::PlanDocument { comparison: &comparison, hosts: view.hosts };
            terminal.page(|out, _| document.write(out));
        }
    }
    if let Some(file) = &arguments.save {
        let text = saved::save(&comparison).map_err(|error| terminal.fail(error)).ok()?;
        if let Err(error) = disk::replace(file, text.as_bytes(), disk::PRIVATE) {
            terminal.fail(format_args!("cannot write {}: {error}", file.shown()));
            return None;
        }
        // Not among what other programs read.
        terminal.complain(format_args!("Saved to {}; `evenkeel apply` does exactly this.", file.shown()));
        if after.values().any(|state| !state.secrets.is_empty()) {
            terminal.complain(format_args!(
                "Note: the secrets of {} are not in it; apply it with --secrets-from {0}.",
                render::plain(&name)
            ));
        }
    }
    let changes = arguments.detailed_exitcode && comparison.summary().hosts_changed > 0;
    // The process ends now: to give back each destination of a large cluster takes a twentieth of the time.
    std::mem::forget(comparison);
    std::mem::forget(base);
    std::mem::forget(after);
    Some(if changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

/// The hosts that are asked for. One that is nowhere is a mistake: to show nothing of it would look as if
/// nothing changed there.
#[expect(clippy::option_option, reason = "nothing is wrong, and all hosts are shown")]
fn chosen(
    arguments: &Plan,
    before: &Fleet,
    after: &Fleet,
    terminal: &Terminal,
) -> Option<Option<BTreeSet<Name>>> {
    if arguments.host.is_empty() {
        return Some(None);
    }
    for host in &arguments.host {
        if !before.contains_key(host) && !after.contains_key(host) {
            terminal.fail(format_args!(
                "there is no host {host}, neither in the cluster file nor in what it is compared with"
            ));
            return None;
        }
    }
    Some(Some(arguments.host.iter().cloned().collect()))
}
