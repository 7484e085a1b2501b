//! Diagnostics for people at a terminal, with the lines they are about.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::mask::mask;
use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::source::SourceFile;

/// Diagnostics drawn in one run; whoever has more mends these first.
const MAX_SHOWN: usize = 100;

/// All of `diagnostics`, with escape sequences for colour when `styled`.
#[must_use]
pub fn human(source: &SourceFile, diagnostics: &[Diagnostic], styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let text = mask(source.text());
    let starts = line_starts(&text);
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        let group = group(source.name(), &text, &starts, diagnostic);
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    if let Some(more @ 1..) = diagnostics.len().checked_sub(MAX_SHOWN) {
        // Writing to a String cannot fail.
        let _ = write!(out, "… and {more} more.\n\n");
    }
    out
}

fn line_starts(text: &str) -> Vec<usize> {
    let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).collect()
}

fn group<'a>(name: &'a str, text: &'a str, starts: &[usize], diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code.id);
    let mut group = match &diagnostic.primary {
        Some(primary) => title.element(snippet(name, text, starts, primary, &diagnostic.secondary)),
        None => title.element(annotate_snippets::Origin::path(name)),
    };
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note));
    }
    for hint in &diagnostic.hints {
        group = group.element(Level::HELP.message(hint));
    }
    group
}

/// The lines from the first label to the last. Only those are handed over: drawing takes time for
/// every line it is given.
fn snippet<'a>(
    name: &'a str,
    text: &'a str,
    starts: &[usize],
    primary: &'a Label,
    secondary: &'a [Label],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let labels = || std::iter::once(primary).chain(secondary);
    let first = labels().map(|label| label.place.start).min().unwrap_or_default();
    let last = labels().map(|label| label.place.end).max().unwrap_or_default();
    let line = starts.partition_point(|start| *start <= first).saturating_sub(1);
    let from = starts.get(line).copied().unwrap_or_default();
    let next = starts.partition_point(|start| *start <= last);
    let to = starts.get(next).copied().unwrap_or(text.len());
    let excerpt = text.get(from..to).unwrap_or_default();
    let shift = |place: &Range<usize>| {
        let start = place.start.saturating_sub(from).min(excerpt.len());
        start..place.end.saturating_sub(from).clamp(start, excerpt.len())
    };
    Snippet::source(excerpt)
        .path(name)
        .line_start(line + 1)
        .annotation(AnnotationKind::Primary.span(shift(&primary.place)).label(&primary.text))
        .annotations(
            secondary
                .iter()
                .map(|label| AnnotationKind::Context.span(shift(&label.place)).label(&label.text)),
        )
}
