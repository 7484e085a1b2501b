//! Diagnostics for programs: every case in every format, against the formats' own schemas.
//!
//! `UPDATE=1 cargo test -p evenkeel --test formats` writes the sample of `tests/formats/` anew.
#![allow(clippy::disallowed_methods, reason = "reads the cases")]

use std::path::Path;

use evenkeel::{Compilation, FileSpot, SourceFile, compile, render};
use evenkeel_schemas::json;
use evenkeel_schemas::report::{Position, Report};
use jsonschema::Validator;
use serde_json::Value;

#[path = "support/support.rs"]
mod support;

use support::{cases, source};

/// Passwords that occur in the cases. None of them may be told.
const SECRETS: [&str; 2] = ["hell>com", "hellcom"];

fn each(mut check: impl FnMut(&str, &SourceFile, &Compilation)) {
    for case in cases() {
        let source = source(&case);
        check(&case.display().to_string(), &source, &compile(&source));
    }
}

#[track_caller]
fn valid(validator: &Validator, text: &str, name: &str) -> Value {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{text}");
    value
}

#[test]
fn json_reports_meet_their_schema_and_know_their_places() {
    let validator = jsonschema::draft202012::new(&json::report()).expect("a schema");
    let mut places = 0;
    each(|name, source, compilation| {
        let text = render::json(source, compilation);
        valid(&validator, &text, name);
        let report: Report = serde_json::from_str(&text).expect("a report");
        assert_eq!(report.diagnostics.len(), compilation.diagnostics.len(), "{name}");
        assert_eq!(report.summary.valid, compilation.cluster.is_some(), "{name}");
        for (finding, diagnostic) in report.diagnostics.iter().zip(&compilation.diagnostics) {
            let place = &finding.place;
            let Some(label) = &diagnostic.primary else {
                let FileSpot { line, column, byte } = diagnostic.outside.at;
                assert_eq!(place.start, Position { line, column, byte }, "{name}");
                assert_eq!((&place.end, &finding.label), (&place.start, &None), "{name}");
                continue;
            };
            let piece = source.pieces().iter().find(|piece| piece.name == finding.file).expect("the file");
            let file = &source.text()[piece.range.clone()];
            assert_eq!(file[place.start.byte..place.end.byte], source.text()[label.place.clone()], "{name}");
            for Position { line, column, byte } in [&place.start, &place.end] {
                // The other way round: from line and column to the byte.
                let lines: Vec<&str> = file.trim_start_matches('\u{feff}').split('\n').collect();
                let before: usize = lines[..line - 1].iter().map(|line| line.len() + 1).sum();
                let inside: usize = lines[line - 1].chars().take(column - 1).map(char::len_utf8).sum();
                let mark = file.len() - file.trim_start_matches('\u{feff}').len();
                assert_eq!((mark + before + inside).max(*byte), mark.max(*byte), "{name}: {finding:?}");
                places += 1;
            }
        }
    });
    assert!(places > 200, "{places}");
}

#[test]
fn sarif_logs_meet_the_published_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif/sarif-2.1.0.schema.json");
    let mut schema: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("schema")).expect("JSON");
    // A pattern that is no regular expression, for a key that evenkeel does not write.
    for owner in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][owner]["properties"]["language"];
        assert!(language.as_object_mut().expect("the key").remove("pattern").is_some());
    }
    let options = jsonschema::draft7::options().should_validate_formats(true).offline();
    let validator = options.build(&schema).expect("a schema");
    assert!(!validator.is_valid(&serde_json::json!({ "version": "2.1.0", "runs": [{}] })), "it can fail");
    each(|name, source, compilation| {
        let log = valid(&validator, &render::sarif(source, compilation), name);
        let run = &log["runs"][0];
        let results = run["results"].as_array().expect("results");
        assert_eq!(results.len(), compilation.diagnostics.len(), "{name}");
        let mut fingerprints: Vec<&Value> = Vec::new();
        for result in results {
            let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().expect("index") as usize];
            assert_eq!(rule["id"], result["ruleId"], "{name}");
            fingerprints.push(&result["partialFingerprints"]["evenkeel/v1"]);
        }
        let all = fingerprints.len();
        fingerprints.sort_by_key(|fingerprint| fingerprint.to_string());
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), all, "{name}: each its own");
    });
}

#[test]
fn fingerprints_outlive_lines_that_move() {
    let fingerprints = |text: &str| {
        let source = SourceFile::new("cluster.toml", text);
        let log: Value = serde_json::from_str(&render::sarif(&source, &compile(&source))).expect("JSON");
        let results = log["runs"][0]["results"].as_array().expect("results").clone();
        results.iter().map(|result| result["partialFingerprints"].clone()).collect::<Vec<_>>()
    };
    let text = "version = 1\nname = 7\n[hosts]\na = 1\n";
    assert_eq!(fingerprints(text), fingerprints(&format!("# a comment\n\n{text}")));
    assert_ne!(fingerprints(text), fingerprints(&text.replace("a = 1", "b = 1")));
}

#[test]
fn github_commands_are_a_line_each() {
    each(|name, source, compilation| {
        let out = render::github(source, compilation);
        assert_eq!(out.lines().count(), compilation.diagnostics.len(), "{name}");
        for line in out.lines() {
            assert!(
                line.starts_with("::error file=") || line.starts_with("::warning file="),
                "{name}: {line}"
            );
            assert!(!line.contains('\r'), "{name}: {line}");
        }
    });
}

#[test]
fn no_format_tells_a_secret() {
    let mut seen = 0;
    each(|name, source, compilation| {
        for secret in SECRETS.iter().filter(|secret| source.text().contains(*secret)) {
            seen += 1;
            for out in [
                render::human(source, &compilation.diagnostics, false),
                render::json(source, compilation),
                render::github(source, compilation),
                render::sarif(source, compilation),
            ] {
                assert!(!out.contains(secret), "{name}: {out}");
            }
        }
    });
    assert!(seen > 3, "{seen}");
}

#[test]
fn the_sample_is_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let source = source(&root.join("cases/include_rule_across_files"));
    let compilation = compile(&source);
    for (file, text) in [
        ("sample.json", render::json(&source, &compilation)),
        ("sample.sarif", render::sarif(&source, &compilation)),
        ("sample.github.txt", render::github(&source, &compilation)),
    ] {
        let path = root.join("formats").join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(root.join("formats")).expect("folder");
            std::fs::write(&path, &text).expect("write sample");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{file} differs: expected\n{expected}\nbut got\n{text}");
    }
}
