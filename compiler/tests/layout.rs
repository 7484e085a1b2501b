//! `evenkeel fmt`: samples, and its laws on every case.
//!
//! Each folder of `tests/layout/` has a file before and after: `UPDATE=1 cargo test -p evenkeel
//! --test layout` writes the latter anew.
#![allow(clippy::disallowed_methods, reason = "reads the cases")]

use std::path::Path;

use evenkeel::{SourceFile, compile, emit, layout};
use proptest::prelude::*;

#[path = "support/support.rs"]
mod support;

use support::{cases, source};

/// Comments of a text, as many as a `#` outside of quotes begins; roughly, but the same for both.
fn comments(text: &str) -> Vec<String> {
    let comment = |line: &str| {
        let mut quote = None;
        for (at, character) in line.char_indices() {
            match (quote, character) {
                (None, '#') => return Some(line[at..].trim_end().to_owned()),
                (None, '"' | '\'') => quote = Some(character),
                (Some(open), close) if open == close => quote = None,
                _ => {}
            }
        }
        None
    };
    let mut all: Vec<String> = text.lines().filter_map(comment).collect();
    all.sort();
    all
}

/// The laws: the same meaning, the same comments, and nothing more to do the second time.
fn laid_out(text: &str) -> Option<String> {
    let once = layout(&SourceFile::new("cluster.toml", text)).ok()?;
    let twice = layout(&SourceFile::new("cluster.toml", once.as_str())).expect("of what fmt wrote");
    assert_eq!(once, twice, "of\n{text}");
    let table =
        |text: &str| toml::from_str::<toml::Table>(text.trim_start_matches('\u{feff}')).expect("TOML");
    assert_eq!(table(text), table(&once), "{text}");
    assert_eq!(comments(text), comments(&once), "{text}\n{once}");
    assert!(!once.contains("\n\n\n") || text.contains("\"\"\"") || text.contains("'''"), "{once}");
    let plans =
        |text: &str| compile(&SourceFile::new("cluster.toml", text)).cluster.map(|cluster| emit(&cluster));
    assert_eq!(plans(text), plans(&once), "{text}");
    Some(once)
}

#[test]
fn every_case_that_is_toml_keeps_its_meaning() {
    let mut done = 0;
    for case in cases() {
        let source = source(&case);
        for piece in source.pieces() {
            let text = &source.text()[piece.range.clone()];
            match laid_out(text) {
                Some(_) => done += 1,
                None => {
                    assert!(text.parse::<toml::Table>().is_err() || text.contains('\0'), "{}", case.display())
                }
            }
        }
    }
    assert!(done > 100, "{done}");
}

#[test]
fn samples_are_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout");
    let mut samples = 0;
    for entry in std::fs::read_dir(root).expect("samples") {
        let folder = entry.expect("entry").path();
        let text = std::fs::read_to_string(folder.join("before.toml")).expect("before.toml");
        let actual = laid_out(&text).expect("a layout");
        let after = folder.join("after.toml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&after, &actual).expect("write");
        }
        assert_eq!(actual, std::fs::read_to_string(&after).unwrap_or_default(), "{}", folder.display());
        samples += 1;
    }
    assert!(samples >= 2, "{samples}");
}

#[test]
fn the_examples_are_in_canonical_layout() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for entry in std::fs::read_dir(examples).expect("examples") {
        let path = entry.expect("entry").path().join("cluster.toml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            assert_eq!(laid_out(&text), Some(text.clone()), "{}: run `evenkeel fmt`", path.display());
        }
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() {
    let diagnostics = layout(&SourceFile::new("cluster.toml", "a = \n")).expect_err("no TOML");
    assert_eq!(diagnostics[0].code.id, "EK0006");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines of a cluster and of comments in any order; what is TOML by chance is laid out.
    #[test]
    fn any_toml_keeps_its_meaning(lines in prop::collection::vec(prop::sample::select(vec![
        "", "# a comment", "  # another", "version = 1", "name='demo' # the name", "[hosts]",
        "  [hosts.a] # one", "address = \"192.0.2.1\"", "interface=\"eth0\"",
        "b.address = '192.0.2.2'  # behind", "[segments.front]",
        "subnets = [ \"192.0.2.0/24\",\"198.51.100.0/24\" ]", "[ services . \"web\" ]", "port = 8_0",
        "#:schema x", "real_servers = [{weight=1,host=\"a\"},", "  { host = \"b\" }, # why", "]",
        "[[unknown]]", "x = 'a\\b'",
        "router = \"\"\"", "\"\"\"", "check = { interval = \"5s\", type = \"tcp\" }", "q.\"r s\".t = 1",
    ]), 0..14)) {
        let text = lines.join("\n");
        if text.parse::<toml::Table>().is_ok() {
            laid_out(&text);
        }
    }
}
