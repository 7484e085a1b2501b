//! Diagnostics as SARIF 2.1.0, the format in which code scanners hand over their results.

use std::collections::BTreeMap;
use std::fmt::Write;

use evenkeel_schemas::report::{Finding, Place, Severity};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::json::report;
use crate::Compilation;
use crate::codes::{self, Code};
use crate::source::SourceFile;

/// A log with one run, and a newline at its end.
#[must_use]
pub fn sarif(source: &SourceFile, compilation: &Compilation) -> String {
    let report = report(source, compilation);
    let used: Vec<&Code> = codes::all()
        .filter(|code| report.diagnostics.iter().any(|finding| finding.code == code.id))
        .collect();
    let rules: Vec<Value> = used.iter().map(|code| rule(code)).collect();
    let mut seen = BTreeMap::new();
    let results: Vec<Value> = report
        .diagnostics
        .iter()
        .map(|finding| result(finding, used.iter().position(|code| code.id == finding.code), &mut seen))
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "evenkeel",
                "semanticVersion": report.compiler,
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    // Texts and numbers: nothing of it can fail to be written.
    serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"
}

fn rule(code: &Code) -> Value {
    let level = match code.severity {
        codes::Severity::Error => "error",
        codes::Severity::Warning => "warning",
    };
    json!({
        "id": code.id,
        "shortDescription": { "text": code.title },
        "fullDescription": { "text": code.explanation.split("\n\n").next().unwrap_or_default() },
        "help": { "text": code.explanation, "markdown": code.explanation },
        "defaultConfiguration": { "level": level },
    })
}

fn result(finding: &Finding, rule: Option<usize>, seen: &mut BTreeMap<String, usize>) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut text = finding.message.clone();
    for line in finding.notes.iter().chain(&finding.hints) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{line}");
    }
    let mut location = physical(&finding.file, &finding.place);
    if let Some(label) = &finding.label {
        location["message"] = json!({ "text": label });
    }
    let related: Vec<Value> = finding
        .related
        .iter()
        .enumerate()
        .map(|(id, related)| {
            let mut location = physical(&related.file, &related.place);
            location["id"] = json!(id);
            location["message"] = json!({ "text": related.label });
            location
        })
        .collect();
    let mut result = json!({
        "ruleId": finding.code,
        "level": level,
        "message": { "text": text },
        "locations": [location],
        "partialFingerprints": { "evenkeel/v1": fingerprint(finding, seen) },
    });
    if let Some(rule) = rule {
        result["ruleIndex"] = json!(rule);
    }
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    result
}

fn physical(file: &str, Place { start, end }: &Place) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(file) },
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
            "byteOffset": start.byte,
            "byteLength": end.byte.saturating_sub(start.byte),
        },
    } })
}

/// The same for the same finding in a later version of the file: lines do not count.
fn fingerprint(finding: &Finding, seen: &mut BTreeMap<String, usize>) -> String {
    let digest = Sha256::digest(format!("{}\0{}\0{}", finding.code, finding.file, finding.message));
    let mut text = digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let count = seen.entry(text.clone()).and_modify(|count| *count += 1).or_insert(1);
    let _ = write!(text, ":{count}");
    text
}

/// A path as a URI, relative where the path is.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("./a b/ü:1.toml"), "a%20b/%C3%BC%3A1.toml");
        assert_eq!(uri("/etc/x.toml"), "file:///etc/x.toml");
        assert_eq!(uri("<stdin>"), "%3Cstdin%3E");
    }
}
