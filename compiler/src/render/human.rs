//! Diagnostics for people at a terminal, with the lines they are about.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::escape::plain;
use super::mask::mask_all;
use crate::codes::Severity;
use crate::diagnostic::{Diagnostic, Label, Outside};
use crate::source::{Lines, SourceFile};

/// Diagnostics drawn in one run; whoever has more mends these first.
const MAX_SHOWN: usize = 100;

/// Longest excerpt in bytes. Places further apart get one each, and of a longer line only the place is shown:
/// drawing reads all of an excerpt.
const MAX_EXCERPT: usize = 16 * 1024;

/// All of `diagnostics`, with escape sequences for colour when `styled`.
#[must_use]
pub fn human(source: &SourceFile, diagnostics: &[Diagnostic], styled: bool) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let text = mask_all(source);
    let page = Page { source, text: &text, lines: Lines::of(source) };
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        out.push_str(&renderer.render(&[page.group(diagnostic)]));
        out.push_str("\n\n");
    }
    if let Some(more @ 1..) = diagnostics.len().checked_sub(MAX_SHOWN) {
        // Writing to a String cannot fail.
        let _ = write!(out, "… and {more} more.\n\n");
    }
    out
}

/// Sources of a drawing.
struct Page<'a> {
    source: &'a SourceFile,
    /// Without secrets.
    text: &'a str,
    lines: Lines<'a>,
}

impl Page<'_> {
    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(plain(&diagnostic.message)).id(diagnostic.code.id);
        let mut group = match &diagnostic.primary {
            Some(primary) => {
                let mut files = self.by_file(primary, &diagnostic.secondary).into_iter();
                let first = files.next().unwrap_or_default();
                let group = self.excerpt(Group::with_title(title), &first);
                files.fold(group, |group, labels| self.excerpt(group, &labels))
            }
            None => {
                let Outside { file, at } = &diagnostic.outside;
                let file = file.as_deref().unwrap_or(self.source.name());
                let origin = Origin::path(plain(file)).line(at.line).char_column(at.column);
                let others = diagnostic.secondary.iter().map(|label| (AnnotationKind::Context, label));
                others.fold(title.element(origin), |group, label| self.excerpt(group, &[label]))
            }
        };
        for note in &diagnostic.notes {
            group = group.element(Level::NOTE.message(plain(note)));
        }
        for hint in &diagnostic.hints {
            group = group.element(Level::HELP.message(plain(hint)));
        }
        group
    }

    /// The labels of each file that are not far apart, those beside the first label first.
    fn by_file<'a>(
        &self,
        primary: &'a Label,
        secondary: &'a [Label],
    ) -> Vec<Vec<(AnnotationKind, &'a Label)>> {
        let mut groups = vec![vec![(AnnotationKind::Primary, primary)]];
        for label in secondary {
            let near = |labels: &&mut Vec<(AnnotationKind, &Label)>| {
                labels.first().is_some_and(|(_, other)| {
                    self.start_of_file(other) == self.start_of_file(label)
                        && other.place.start.abs_diff(label.place.start) < MAX_EXCERPT / 2
                })
            };
            match groups.iter_mut().find(near) {
                Some(labels) => labels.push((AnnotationKind::Context, label)),
                None => groups.push(vec![(AnnotationKind::Context, label)]),
            }
        }
        groups
    }

    fn start_of_file(&self, label: &Label) -> usize {
        self.source.piece_at(label.place.start).map_or(0, |piece| piece.range.start)
    }

    /// The lines from the first label to the last. Only those are handed over: drawing takes time
    /// for every line it is given.
    fn excerpt<'a>(&'a self, group: Group<'a>, labels: &[(AnnotationKind, &'a Label)]) -> Group<'a> {
        let first = labels.iter().map(|(_, label)| label.place.start).min().unwrap_or_default();
        let last = labels.iter().map(|(_, label)| label.place.end).max().unwrap_or_default();
        let (from, line) = self.lines.line(first);
        let to = self.lines.next(last).max(from);
        let excerpt = self.text.get(from..to).unwrap_or_default();
        let piece = self.source.piece_at(first);
        let name = plain(piece.map_or(self.source.name(), |piece| piece.name.as_str()));
        let hidden = piece.is_some_and(|piece| !piece.shown)
            || (self.source.limits.strangers && self.source.text().get(from..to) != Some(excerpt));
        if hidden || excerpt.len() > MAX_EXCERPT {
            return labels.iter().fold(group, |group, (_, label)| {
                let position = self.lines.position(label.place.start);
                let origin = Origin::path(name.clone()).line(position.line).char_column(position.column);
                group.element(origin).element(Level::NOTE.message(plain(&label.text)))
            });
        }
        let annotations = labels.iter().map(|(kind, label)| {
            let start = label.place.start.saturating_sub(from).min(excerpt.len());
            let end = label.place.end.saturating_sub(from).clamp(start, excerpt.len());
            kind.span(start..end).label(plain(&label.text))
        });
        group.element(Snippet::source(excerpt).path(name).line_start(line).annotations(annotations))
    }
}
