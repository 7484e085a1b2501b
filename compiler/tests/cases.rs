//! Every folder of `tests/cases/` is a cluster file and what `evenkeel validate` says about it.
//! Files beside it are there to be included; those called `overlay…` are laid over it.
//!
//! `UPDATE=1 cargo test -p evenkeel --test cases` writes the expectations anew; read the diff as
//! the operator who gets to see it at night.
#![allow(clippy::disallowed_methods, reason = "reads its cases")]

use std::collections::BTreeSet;
use std::path::Path;

use evenkeel::{SourceFile, codes, compile, render};

#[path = "support/support.rs"]
mod support;

use support::{cases, source};

/// What the command prints about a cluster.
fn report(source: &SourceFile) -> String {
    let compilation = compile(source);
    let (errors, warnings) = compilation.counts();
    let summary = match &compilation.cluster {
        Some(cluster) => render::valid(cluster, warnings),
        None => render::invalid(source.name(), errors, warnings, compilation.stopped),
    };
    render::human(source, &compilation.diagnostics, false) + &summary + "\n"
}

fn check(case: &Path) -> Result<String, String> {
    let actual = report(&source(case));
    let file = case.join("expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &actual).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if actual == expected {
        Ok(actual)
    } else {
        Err(format!("{}: expected\n{expected}\nbut got\n{actual}", case.display()))
    }
}

#[test]
fn reports_are_as_expected() {
    let wrong: Vec<String> = cases().iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_code_has_a_case() {
    /// Not in reach of a few small text files: size, number, and our own mistakes.
    const ELSEWHERE: [&str; 5] = ["EK0005", "EK0010", "EK0011", "EK0012", "EK0901"];
    let reports: Vec<String> = cases().iter().map(|case| report(&source(case))).collect();
    let missing: BTreeSet<&str> = codes::all()
        .map(|code| code.id)
        // Plans against plans: no cluster file alone can show them, tests/apply does.
        // Codes of imports have their cases in tests/import/.
        .filter(|id| !id.starts_with("EK10") && !id.starts_with("EK11"))
        .filter(|id| !ELSEWHERE.contains(id) && !reports.iter().any(|report| report.contains(id)))
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

#[test]
fn reports_hold_no_words_of_the_implementation() {
    for case in cases() {
        let report = std::fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        // A word of keepalived's, which has one of these in it.
        let report = report.replace("vrrp_instance", "");
        for word in ["oneOf", "additionalProperties", "$defs", "serde", "schema path", "EK0901", "instance"] {
            assert!(!report.contains(word), "{}: `{word}` in\n{report}", case.display());
        }
    }
}

#[test]
fn ten_mistakes_in_one_file_are_ten_errors() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/ten_mistakes");
    let report = report(&source(&case));
    let codes: BTreeSet<&str> =
        report.lines().filter_map(|line| line.strip_prefix("error[")?.split(']').next()).collect();
    assert_eq!(codes.len(), 10, "each of another kind: {codes:?}\n{report}");
    assert!(report.ends_with("cluster.toml is not valid: 10 errors.\n"), "{report}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let report = report(&SourceFile::new("cluster.toml", "#".repeat(evenkeel::MAX_BYTES + 1)));
    assert!(report.contains("EK0005"), "{report}");
}

/// Editors jump to them, and programs cut them out.
#[test]
fn every_diagnostic_says_its_file_line_and_column() {
    let place = |line: &str| {
        let mut parts = line.rsplitn(3, ':');
        let mut number =
            || parts.next().and_then(|part| part.parse::<usize>().ok()).is_some_and(|part| part > 0);
        number() && number() && parts.next().is_some_and(|file| !file.is_empty())
    };
    for case in cases() {
        let report = report(&source(&case));
        let arrows = report.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("--> "));
        let others = report.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("::: "));
        let arrows: Vec<&str> = arrows.collect();
        let told = report.lines().filter(|line| line.starts_with("error[") || line.starts_with("warning["));
        assert!(arrows.len() >= told.count(), "{}: one without a place in\n{report}", case.display());
        for arrow in arrows.into_iter().chain(others) {
            assert!(place(arrow), "{}: `{arrow}`", case.display());
        }
    }
}
