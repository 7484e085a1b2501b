//! Reads a cluster file with all that belongs to it, checks it, and reports what was found.

use std::path::{Path, PathBuf};

use evenkeel::change::Origins;
use evenkeel::{Compilation, SourceFile, Start, compile, compile_with_origins, load_within, render};

use super::files::{Named, Trust};
use super::{Format, Input, Terminal};

/// Reads and checks a cluster. Reports all findings.
pub(super) fn load_cluster(
    input: &Input,
    trust: Trust,
    format: Format,
    terminal: &Terminal,
) -> Option<Compilation> {
    load(input, trust, format, terminal).map(|(_, compilation)| compilation)
}

/// The same; gives what was read, too.
pub(super) fn load(
    input: &Input,
    trust: Trust,
    format: Format,
    terminal: &Terminal,
) -> Option<(SourceFile, Compilation)> {
    let source = read(&Named::new(&input.cluster, trust), &input.overlay, trust);
    let compilation = check(&source, format, terminal)?;
    Some((source, compilation))
}

/// The same for people.
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
    tell(source, compile(source), format, terminal)
}

/// The same for people who compare it; gives the lines of what is in it, too.
pub(super) fn load_with_origins(
    cluster: &Path,
    overlays: &[PathBuf],
    trust: Trust,
    terminal: &Terminal,
) -> Option<(String, Compilation, Option<Origins>)> {
    let source = read(&Named::new(cluster, trust), overlays, trust);
    let (compilation, origins) = compile_with_origins(&source);
    let compilation = tell(&source, compilation, Format::Human, terminal)?;
    Some((source.name().to_owned(), compilation, origins))
}

fn tell(
    source: &SourceFile,
    compilation: Compilation,
    format: Format,
    terminal: &Terminal,
) -> Option<Compilation> {
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
