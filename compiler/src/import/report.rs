//! What an import says: findings with their lines, what became of each thing, and whether the result compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::notes::{Fate, Finding, Item};
use super::read::is_secret;
use super::source::{Source, Spot};
use super::{Import, Request};
use crate::diagnostic::{Diagnostic, Severity};
use crate::render;
use crate::source::SourceFile;

/// Version of the JSON form.
const JSON_VERSION: u32 = 1;

/// Places of one thing that the human report lists.
const MAX_PLACES: usize = 4;

/// Things of one fate that the human report lists; the JSON form has all.
const MAX_LISTED: usize = 400;

const FATES: [(Fate, &str, &str); 4] = [
    (Fate::Decide, "To decide", "the cluster file has a guess or a placeholder"),
    (Fate::NotCarried, "Not carried", "not in the cluster file"),
    (Fate::Changed, "Changed in meaning", "in the cluster file, and not quite the same there"),
    (Fate::Carried, "Carried", "means the same"),
];

/// The report for people: findings in the input, what became of each thing, and what the compiler says.
#[must_use]
pub fn human(request: &Request, import: &Import, styled: bool) -> String {
    let mut out = findings(import, styled);
    for (fate, title, meaning) in FATES {
        let items: Vec<&Item> = import.items.iter().filter(|item| item.fate == fate).collect();
        if items.is_empty() {
            continue;
        }
        push(&mut out, format_args!("{title} ({}): {meaning}\n", items.len()));
        for item in items.iter().take(MAX_LISTED) {
            push(&mut out, format_args!("  {}\n", line(import, item)));
            if let Some(why) = &item.why {
                push(&mut out, format_args!("      {}\n", render::plain(why)));
            }
        }
        if let Some(more @ 1..) = items.len().checked_sub(MAX_LISTED) {
            push(&mut out, format_args!("  … and {more} more\n"));
        }
        out.push('\n');
    }
    let compilation = &import.compilation;
    if !compilation.diagnostics.is_empty() {
        out.push_str("The compiler says of the result:\n\n");
        out.push_str(&render::human(&import.cluster, &compilation.diagnostics, styled));
    }
    push(&mut out, format_args!("{}\n", summary(request, import)));
    out
}

/// The one line that says what came out.
#[must_use]
pub fn summary(request: &Request, import: &Import) -> String {
    let count = |fate| import.items.iter().filter(|item| item.fate == fate).count();
    let (errors, _) = import.compilation.counts();
    let verdict = match errors {
        0 => "the result compiles".to_owned(),
        1 => "the result does not compile yet: 1 error".to_owned(),
        errors => format!("the result does not compile yet: {errors} errors"),
    };
    let directors = request.directors.len();
    let plural = if directors == 1 { "" } else { "s" };
    format!(
        "Imported {directors} director{plural}: {} carried, {} changed in meaning, {} not carried, {} to decide; {verdict}.",
        count(Fate::Carried),
        count(Fate::Changed),
        count(Fate::NotCarried),
        count(Fate::Decide),
    )
}

/// The report for programs. `cluster` is the text of the cluster file when it is written nowhere else.
#[must_use]
pub fn json(request: &Request, import: &Import, with_text: bool) -> String {
    let place = |spot: &Spot| {
        let source = import.sources.get(spot.file);
        json!({
            "director": source.map(|source| request.directors[source.director].name.as_str()),
            "file": source.map(|source| source.path.as_str()),
            "line": spot.line,
        })
    };
    let items: Vec<Value> = import
        .items
        .iter()
        .map(|item| {
            json!({
                "fate": match item.fate {
                    Fate::Decide => "decide",
                    Fate::NotCarried => "not_carried",
                    Fate::Changed => "changed",
                    Fate::Carried => "carried",
                },
                "what": item.what,
                "places": item.spots.iter().map(place).collect::<Vec<_>>(),
                "ours": item.ours,
                "why": item.why,
            })
        })
        .collect();
    let severity = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let findings: Vec<Value> = import
        .findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code.id,
                "severity": severity(finding.code.severity),
                "message": finding.message,
                "place": place(&finding.spot),
                "hint": finding.hint,
            })
        })
        .collect();
    let text = import.cluster.text();
    let diagnostics: Vec<Value> = import
        .compilation
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let at = diagnostic.primary.as_ref().map(|label| label.place.start.min(text.len()));
            json!({
                "code": diagnostic.code.id,
                "severity": severity(diagnostic.severity()),
                "message": diagnostic.message,
                "line": at.map(|at| text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1),
                "hints": diagnostic.hints,
            })
        })
        .collect();
    let report = json!({
        "version": JSON_VERSION,
        "summary": summary(request, import),
        "compiles": import.compilation.cluster.is_some(),
        "items": items,
        "findings": findings,
        "diagnostics": diagnostics,
        "cluster": with_text.then_some(text),
    });
    format!("{report:#}")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn line(import: &Import, item: &Item) -> String {
    let mut places: Vec<String> = Vec::new();
    for spot in &item.spots {
        let place = shown(import, *spot);
        // Two directors may have one file.
        if !places.contains(&place) {
            places.push(place);
        }
        if places.len() > MAX_PLACES {
            places.pop();
            places.push(format!("and {} more", item.spots.len() - MAX_PLACES));
            break;
        }
    }
    let mut out = places.join(", ");
    if !out.is_empty() {
        out.push_str("  ");
    }
    out.push_str(&render::plain(&item.what));
    if let Some(ours) = &item.ours {
        push(&mut out, format_args!("  ->  {}", render::plain(ours)));
    }
    out
}

fn shown(import: &Import, spot: Spot) -> String {
    let path = import.sources.get(spot.file).map_or("", |source| source.path.as_str());
    format!("{}:{}", render::plain(path), spot.line)
}

/// Findings with their lines drawn, file by file.
fn findings(import: &Import, styled: bool) -> String {
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
            diagnostic = diagnostic.note(format!("{label}: {}", shown(import, *spot)));
        }
    }
    match &finding.hint {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// A file's text with the same bytes and lines, without its passwords.
fn masked(source: &Source) -> String {
    let mask = |line: &str| -> String {
        let mut words = line.split_whitespace().skip_while(|word| !is_secret(word));
        let Some(keyword) = words.next() else { return line.to_owned() };
        let after = line.find(keyword).map_or(0, |at| at + keyword.len());
        let (kept, secret) = line.split_at(after);
        let stars = secret.chars().flat_map(|char| {
            let sign = if char.is_whitespace() { char } else { '*' };
            std::iter::repeat_n(sign, char.len_utf8())
        });
        kept.chars().chain(stars).collect()
    };
    source.text.split('\n').map(mask).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_moves() {
        let text = "auth_pass hell>com # é\nauth_type PASS\n  authentication { auth_pass ab }";
        let source = Source { path: String::new(), director: 0, text: text.to_owned() };
        let masked = masked(&source);
        assert_eq!(masked, "auth_pass ******** * **\nauth_type PASS\n  authentication { auth_pass ** *");
        assert_eq!(masked.len(), text.len());
    }
}
