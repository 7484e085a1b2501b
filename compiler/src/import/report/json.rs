//! The report for programs: every line, in one document.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::lines::{Line, Ours, Reason};
use super::super::notes::{Fate, Finding};
use super::super::source::Spot;
use super::super::{Import, Request};
use super::{Counts, Texts, summary};
use crate::codes::Severity;

/// Version of the JSON form.
const JSON_VERSION: u32 = 2;

/// Longest text of a line, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// The document.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    summary: String,
    /// The version of keepalived that the input is read for.
    keepalived: String,
    exit_code: u8,
    compiles: bool,
    counts: Value,
    /// An entry for each line of the input that has a statement.
    lines: Vec<LineOf<'a>>,
    /// Facts that no line says.
    general: Vec<ReasonOf<'a>>,
    findings: Vec<Value>,
    diagnostics: Vec<Value>,
    cluster: Option<&'a str>,
}

#[derive(Serialize)]
struct LineOf<'a> {
    file: &'a str,
    line: usize,
    directors: Vec<&'a str>,
    text: String,
    fate: &'static str,
    ours: Vec<String>,
    reasons: Vec<ReasonOf<'a>>,
    /// First line of the block that it shares its fate with.
    block: Option<usize>,
    /// Meaning of the line to later versions of keepalived.
    versions: &'a [String],
}

#[derive(Serialize)]
struct ReasonOf<'a> {
    fate: &'static str,
    text: &'a str,
    /// All lines that it is about, when there are several.
    places: Vec<PlaceOf<'a>>,
}

#[derive(Serialize)]
struct PlaceOf<'a> {
    director: Option<&'a str>,
    file: &'a str,
    line: usize,
}

const fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Decide => "decide",
        Fate::NotCarried => "not_carried",
        Fate::Changed => "changed",
        Fate::Carried => "same",
    }
}

/// Gives lines and reasons the names of their files and directors.
struct Names<'a> {
    request: &'a Request,
    import: &'a Import,
    texts: Texts<'a>,
}

impl<'a> Names<'a> {
    fn director(&self, number: usize) -> Option<&'a str> {
        self.request.directors.get(number).map(|director| director.name.as_str())
    }

    fn place(&self, spot: &Spot) -> PlaceOf<'a> {
        let source = self.import.sources.get(spot.file);
        PlaceOf {
            director: source.and_then(|source| self.director(source.director)),
            file: source.map_or("", |source| source.path.as_str()),
            line: spot.line,
        }
    }

    fn reason(&self, reason: &'a Reason) -> ReasonOf<'a> {
        let places = reason.spots.iter().map(|spot| self.place(spot)).collect();
        ReasonOf { fate: word(reason.fate), text: &reason.text, places }
    }

    fn line(&self, line: &'a Line) -> LineOf<'a> {
        let mut text = self.texts.whole(line);
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        LineOf {
            file: self.place(&line.spot).file,
            line: line.spot.line,
            directors: line.directors.iter().filter_map(|number| self.director(*number)).collect(),
            text,
            fate: word(line.fate),
            ours: line.ours.iter().map(Ours::path).collect(),
            reasons: line.reasons.iter().map(|reason| self.reason(reason)).collect(),
            block: line.shares.map(|block| block.line),
            versions: &line.versions,
        }
    }

    fn finding(&self, finding: &'a Finding) -> Value {
        json!({
            "code": finding.code.id,
            "severity": severity(finding.code.severity),
            "message": finding.message,
            "place": self.place(&finding.spot),
            "hint": finding.hint,
        })
    }
}

/// The report for programs. With `with_text` it holds the text of the cluster file, for when that is written
/// nowhere else.
#[must_use]
pub fn json(request: &Request, import: &Import, with_text: bool) -> String {
    let names = Names { request, import, texts: Texts::new(&import.sources) };
    let counts = Counts::of(import);
    let report = Report {
        version: JSON_VERSION,
        summary: summary(import),
        keepalived: request.keepalived.to_string(),
        exit_code: import.outcome().exit_code(),
        compiles: import.compilation.cluster.is_some(),
        counts: json!({
            "changed": counts.changed,
            "not_carried": counts.not_carried,
            "decide": counts.decide,
            "same": counts.same,
            "errors": import.errors(),
        }),
        lines: import.lines.iter().map(|line| names.line(line)).collect(),
        general: import.general.iter().map(|reason| names.reason(reason)).collect(),
        findings: import.findings.iter().map(|finding| names.finding(finding)).collect(),
        diagnostics: diagnostics(import),
        cluster: (with_text && !import.is_empty()).then_some(import.cluster.text()),
    };
    // Nothing of it can fail to be JSON: its keys are texts, its numbers whole.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn diagnostics(import: &Import) -> Vec<Value> {
    let text = import.cluster.text();
    let diagnostic = |diagnostic: &crate::diagnostic::Diagnostic| {
        let at = diagnostic.primary.as_ref().map(|label| label.place.start.min(text.len()));
        json!({
            "code": diagnostic.code.id,
            "severity": severity(diagnostic.severity()),
            "message": diagnostic.message,
            "line": at.map(|at| text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1),
            "hints": diagnostic.hints,
        })
    };
    import.compilation.diagnostics.iter().map(diagnostic).collect()
}
