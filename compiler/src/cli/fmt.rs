//! `evenkeel fmt`: the canonical layout, written into the files or only shown.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use evenkeel::{SourceFile, layout, load_alone, render};
use similar::TextDiff;

use super::files::Named;
use super::{Fmt, Terminal};

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
    let named = Named::new(path);
    let source = load_alone(named.start());
    let text = match layout(&source) {
        Ok(text) => text,
        Err(diagnostics) => {
            terminal.diagnostics(&source, &diagnostics);
            terminal.fail(format_args!("{} was left as it is", source.name()));
            return None;
        }
    };
    let changed = text != source.text();
    if arguments.diff && changed {
        terminal.document(&difference(&source, &text));
    }
    if arguments.check && changed {
        terminal.complain(format_args!("{} is not in canonical layout; run `evenkeel fmt`", source.name()));
    }
    if arguments.check || arguments.diff {
        return Some(changed);
    }
    if is_stdin(path) {
        terminal.document(&text);
    } else if changed && let Err(error) = replace(path, &text) {
        terminal.fail(format_args!("cannot write {}: {error}", path.display()));
        return None;
    }
    Some(changed)
}

/// A unified diff without secrets.
fn difference(source: &SourceFile, text: &str) -> String {
    let (before, after) = (render::masked(source), render::masked(&SourceFile::new(source.name(), text)));
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .header(source.name(), &format!("{} (canonical layout)", source.name()))
        .to_string()
}

/// Readers see the old file or the new one, whole. A symbolic link stays one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".evenkeel-")
        .permissions(fs::metadata(&path)?.permissions())
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
