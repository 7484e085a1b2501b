//! Mistakes in the input, drawn with their lines.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Import;
use super::super::notes::Finding;
use super::super::source::Source;
use super::mask::masked;
use crate::diagnostic::Diagnostic;
use crate::render;
use crate::source::SourceFile;

/// Findings with their lines drawn, file by file.
pub(super) fn findings(import: &Import, styled: bool) -> String {
    let mut by_file: BTreeMap<usize, Vec<&Finding>> = BTreeMap::new();
    // Two directors may have one file, whose mistakes are told once.
    let mut told = BTreeSet::new();
    for finding in &import.findings {
        let path = import.sources.get(finding.spot.file).map(|source| &source.path);
        if told.insert((path, finding.spot.line, finding.code.id, &finding.message)) {
            by_file.entry(finding.spot.file).or_default().push(finding);
        }
    }
    let mut out = String::new();
    for (file, mut findings) in by_file {
        let Some(source) = import.sources.get(file) else { continue };
        findings.sort_by_key(|finding| (finding.spot.line, finding.code.id));
        let lines = source.lines();
        let diagnostics: Vec<Diagnostic> =
            findings.into_iter().map(|finding| diagnostic(import, source, &lines, finding)).collect();
        out.push_str(&render::human(&SourceFile::new(&source.path, masked(source)), &diagnostics, styled));
    }
    out
}

fn diagnostic(
    import: &Import,
    source: &Source,
    lines: &[std::ops::Range<usize>],
    finding: &Finding,
) -> Diagnostic {
    let at = |line: usize| lines.get(line.saturating_sub(1)).cloned().unwrap_or_default();
    let line = at(finding.spot.line);
    let text = source.text.get(line.clone()).unwrap_or_default();
    let lead = text.len() - text.trim_start().len();
    let word = finding.word.as_deref().filter(|word| !word.is_empty());
    let place = match word.and_then(|word| Some((text.find(word)?, word.len()))) {
        Some((at, length)) => line.start + at..line.start + at + length,
        None => line.start + lead..line.start + text.trim_end().len().max(lead),
    };
    let mut diagnostic = Diagnostic::new(finding.code, place, &finding.message, &finding.label);
    if let Some((spot, label)) = &finding.other {
        let near = finding.spot.line.abs_diff(spot.line) <= 200;
        if spot.file == finding.spot.file && near {
            let line = at(spot.line);
            let text = source.text.get(line.clone()).unwrap_or_default();
            let lead = text.len() - text.trim_start().len();
            diagnostic = diagnostic.also(line.start + lead..line.end.max(line.start + lead), label);
        } else {
            diagnostic = diagnostic.note(format!("{label}: {}", super::shown(import, *spot)));
        }
    }
    match &finding.hint {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}
