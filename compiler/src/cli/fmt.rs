//! `evenkeel fmt`: the canonical layout, written into the files or only shown.

use std::path::Path;

use evenkeel::{SourceFile, layout, load_alone, render};
use similar::TextDiff;

use super::files::{Named, Trust};
use super::terminal::Shown;
use super::{Fmt, Terminal, disk};

pub(super) fn run(arguments: &Fmt, terminal: &Terminal) -> bool {
    let mut well = true;
    let (mut changed, mut same) = (0, 0);
    for path in &arguments.files {
        match file(arguments, path, terminal) {
            Some(true) => changed += 1,
            Some(false) => same += 1,
            None => well = false,
        }
    }
    let shown_only = arguments.check || arguments.diff;
    let stdin = arguments.files.iter().any(|path| is_stdin(path));
    if arguments.check {
        well &= changed == 0;
    }
    if !shown_only && !stdin {
        terminal.say(format_args!("Laid out {changed} of {} files.", changed + same));
    }
    well
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether the file had another layout; `None` when that cannot be said or changed.
fn file(arguments: &Fmt, path: &Path, terminal: &Terminal) -> Option<bool> {
    let named = Named::regular(path, Trust::Own);
    let source = load_alone(named.start());
    let text = match layout(&source) {
        Ok(text) => text,
        Err(diagnostics) => {
            terminal.diagnostics(&source, &diagnostics);
            terminal.fail(format_args!("{} was left as it is", render::plain(source.name())));
            return None;
        }
    };
    let changed = text != source.text();
    if arguments.diff && changed {
        terminal.document(&difference(&source, &text));
    }
    if arguments.check && changed {
        let name = render::plain(source.name());
        terminal.complain(format_args!("{name} is not in canonical layout; run `evenkeel fmt`"));
    }
    if arguments.check || arguments.diff {
        return Some(changed);
    }
    if is_stdin(path) {
        terminal.document(&text);
    } else if changed && let Err(error) = disk::replace_target(path, text.as_bytes()) {
        terminal.fail(format_args!("cannot write {}: {error}", path.shown()));
        return None;
    }
    Some(changed)
}

/// A unified diff without secrets.
fn difference(source: &SourceFile, text: &str) -> String {
    let name = render::plain(source.name());
    let (before, after) = (render::masked(source), render::masked(&SourceFile::new(source.name(), text)));
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .header(&name, &format!("{name} (canonical layout)"))
        .to_string()
}
