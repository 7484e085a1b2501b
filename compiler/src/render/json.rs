//! Diagnostics for programs: the report of `evenkeel_schemas::report`.

use evenkeel_schemas::report::{
    ClusterSize, FORMAT, Finding, Place, Position, Related, Report, Severity, Summary,
};

use crate::Compilation;
use crate::codes;
use crate::diagnostic::{Diagnostic, FileSpot, Label, Outside};
use crate::source::{Lines, SourceFile};

/// The page of the project that explains all codes.
pub(super) const PAGE: &str = "docs/diagnostics.md";

/// Findings of one report; whoever has more mends these first. Readers have limits of their own.
const MAX_FINDINGS: usize = 1000;

/// The report as a line of JSON for each field, with a newline at its end.
#[must_use]
pub fn json(source: &SourceFile, compilation: &Compilation) -> String {
    let report = report(source, compilation);
    // Texts and numbers: nothing of it can fail to be written.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

/// Everything there is to say about a cluster file.
#[must_use]
pub fn report(source: &SourceFile, compilation: &Compilation) -> Report {
    let lines = Lines::of(source);
    let (errors, warnings) = compilation.counts();
    let cluster = compilation.cluster.as_ref().map(|cluster| ClusterSize {
        name: cluster.name().clone(),
        hosts: cluster.host_count(),
        virtual_routers: cluster.router_count(),
        services: cluster.service_count(),
    });
    Report {
        format: FORMAT,
        compiler: env!("CARGO_PKG_VERSION").to_owned(),
        file: source.name().to_owned(),
        summary: Summary {
            valid: cluster.is_some(),
            errors,
            stopped: compilation.stopped,
            warnings,
            cluster,
        },
        diagnostics: compilation
            .diagnostics
            .iter()
            .take(MAX_FINDINGS)
            .map(|diagnostic| finding(source, &lines, diagnostic))
            .collect(),
    }
}

fn finding(source: &SourceFile, lines: &Lines<'_>, diagnostic: &Diagnostic) -> Finding {
    let code = diagnostic.code;
    let primary = diagnostic.primary.as_ref().map(|label| related(source, lines, label));
    let (file, place, label) = match primary {
        Some(Related { file, place, label }) => (file, place, Some(label)),
        None => {
            let Outside { file, at } = &diagnostic.outside;
            let FileSpot { line, column, byte } = *at;
            let at = Position { line, column, byte };
            let file = file.as_deref().unwrap_or(source.name()).to_owned();
            (file, Place { start: at.clone(), end: at }, None)
        }
    };
    Finding {
        code: code.id.to_owned(),
        severity: match code.severity {
            codes::Severity::Error => Severity::Error,
            codes::Severity::Warning => Severity::Warning,
        },
        title: code.title.to_owned(),
        message: diagnostic.message.clone(),
        file,
        place,
        label,
        related: diagnostic.secondary.iter().map(|label| related(source, lines, label)).collect(),
        notes: diagnostic.notes.clone(),
        hints: diagnostic.hints.clone(),
        explain: format!("evenkeel explain {}", code.id),
        documentation: format!("{PAGE}#{}", code.id.to_lowercase()),
    }
}

fn related(source: &SourceFile, lines: &Lines<'_>, label: &Label) -> Related {
    let piece = source.piece_at(label.place.start);
    let offset = piece.map_or(0, |piece| piece.range.start);
    let position = |at: usize| {
        let crate::Position { line, column } = lines.position(at);
        Position { line, column, byte: at.saturating_sub(offset) }
    };
    Related {
        file: piece.map_or(source.name(), |piece| piece.name.as_str()).to_owned(),
        place: Place { start: position(label.place.start), end: position(label.place.end) },
        label: label.text.clone(),
    }
}
