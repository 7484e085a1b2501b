//! Reads a cluster file with all that belongs to it, checks it, and reports what was found.

use std::path::{Path, PathBuf};

use evenkeel::{Compilation, SourceFile, Start, compile, load_within, render};

use super::files::{Named, Trust};
use super::{Format, Input, Terminal};

/// Reads and checks a cluster. Reports all findings.
pub(super) fn load_cluster(
    input: &Input,
    trust: Trust,
    format: Format,
    terminal: &Terminal,
) -> Option<Compilation> {
    let source = read(&Named::new(&input.cluster, trust), &input.overlay, trust);
    check(&source, format, terminal)
}

/// The same for people; gives what was read, too.
pub(super) fn load_source(
    cluster: &Path,
    overlays: &[PathBuf],
    trust: Trust,
    terminal: &Terminal,
) -> Option<(SourceFile, Compilation)> {
    load_named(&Named::new(cluster, trust), overlays, trust, terminal)
}

/// The same of a file that may have been read already.
pub(super) fn load_named(
    cluster: &Named,
    overlays: &[PathBuf],
    trust: Trust,
    terminal: &Terminal,
) -> Option<(SourceFile, Compilation)> {
    let source = read(cluster, overlays, trust);
    let compilation = check(&source, Format::Human, terminal)?;
    Some((source, compilation))
}

fn read(cluster: &Named, overlays: &[PathBuf], trust: Trust) -> SourceFile {
    let overlays: Vec<Named> = overlays.iter().map(|path| Named::new(path, trust)).collect();
    let overlays: Vec<Start<'_>> = overlays.iter().map(Named::start).collect();
    load_within(cluster.start(), &overlays, trust.limits())
}

fn check(source: &SourceFile, format: Format, terminal: &Terminal) -> Option<Compilation> {
    let compilation = compile(source);
    match format {
        Format::Human => terminal.diagnostics(source, &compilation.diagnostics),
        Format::Json => terminal.document(&render::json(source, &compilation)),
        Format::Github => terminal.document(&render::github(source, &compilation)),
        Format::Sarif => terminal.document(&render::sarif(source, &compilation)),
    }
    if compilation.cluster.is_none() {
        let (errors, warnings) = compilation.counts();
        terminal.complain(render::invalid(source.name(), errors, warnings, compilation.stopped));
        return None;
    }
    Some(compilation)
}
