//! Reads a cluster file with all that belongs to it, checks it, and reports what was found.

use evenkeel::{Compilation, Start, compile, load, render};

use super::files::Named;
use super::{Format, Input, Terminal};

/// Reads and checks a cluster. Reports all findings.
pub(super) fn load_cluster(input: &Input, format: Format, terminal: &Terminal) -> Option<Compilation> {
    let cluster = Named::new(&input.cluster);
    let overlays: Vec<Named> = input.overlay.iter().map(|path| Named::new(path)).collect();
    let overlays: Vec<Start<'_>> = overlays.iter().map(Named::start).collect();
    let source = load(cluster.start(), &overlays);
    let compilation = compile(&source);
    match format {
        Format::Human => terminal.diagnostics(&source, &compilation.diagnostics),
        Format::Json => terminal.document(&render::json(&source, &compilation)),
        Format::Github => terminal.document(&render::github(&source, &compilation)),
        Format::Sarif => terminal.document(&render::sarif(&source, &compilation)),
    }
    if compilation.cluster.is_none() {
        let (errors, warnings) = compilation.counts();
        terminal.complain(render::invalid(source.name(), errors, warnings));
        return None;
    }
    Some(compilation)
}
