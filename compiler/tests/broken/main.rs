//! A file with several mistakes: every one is reported in one run, and none that is not there.
//!
//! Files are broken value by value and key by key. What a broken value would have been is not
//! known, so a rule that needs it must stay silent; every rule that does not must still speak.
#![allow(clippy::disallowed_methods, reason = "reads the cases")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

mod breaking;
mod generate;

use breaking::{Break, Broken, broken, changes, found};

/// The clusters of all cases and examples whose shape is right.
fn corpus() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = std::fs::read_dir(root.join("tests/cases")).expect("cases");
    let mut paths: Vec<_> = folders.map(|entry| entry.expect("entry").path().join("cluster.toml")).collect();
    paths.push(root.join("../examples/lvs-dr/cluster.toml"));
    paths.sort();
    let mut corpus = Vec::new();
    for path in paths {
        let text =
            std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        // The largest add much time and no rule that the rest does not have.
        let small = text.len() < 4000;
        if small && !text.is_empty() && found(&text).iter().all(|finding| !finding.is_of_form()) {
            corpus.push((path.display().to_string(), text));
        }
    }
    assert!(corpus.len() > 40, "{}", corpus.len());
    for (name, text) in [("rich", generate::RICH), ("braces", generate::BRACES), ("twins", generate::TWINS)] {
        corpus.push((name.to_owned(), text.to_owned()));
    }
    corpus
}

/// Where there is which finding.
type Unbroken = BTreeSet<(&'static str, usize)>;

fn unbroken(text: &str) -> Unbroken {
    found(text).into_iter().filter_map(|finding| Some((finding.code, finding.start?))).collect()
}

/// Breaks `text` with all of `breaks` at once and compares with the unbroken text and with each
/// break alone.
fn check(text: &str, unbroken: &Unbroken, breaks: &[Break]) -> Result<(), String> {
    judge(text, unbroken, breaks, &broken(text, breaks))
}

fn judge(text: &str, unbroken: &Unbroken, breaks: &[Break], file: &Broken) -> Result<(), String> {
    let fail = |what: String| Err(format!("{what}\n{}\n{}", file.text, file.report()));
    let mut shape = BTreeSet::new();
    for finding in &file.findings {
        let mut placeholders = ["unknown`", "\"unknown\"", "0.0.0.0"].into_iter();
        if !text.contains("unknown")
            && let Some(shown) = placeholders.find(|placeholder| finding.words.contains(placeholder))
        {
            return fail(format!("the placeholder {shown} is shown"));
        }
        if finding.is_of_shape() {
            shape.insert(file.identity(finding, breaks));
            continue;
        }
        // A key that is spelled wrong, or one of too many items, may still be the place of it.
        let start = match file.origin(finding) {
            Some(Err(index)) => Some(breaks[index].range.start),
            Some(Ok(start)) => Some(start),
            None => None,
        };
        // What the schema cannot require, an empty table lacks all the same.
        let lacks = ["EK0510", "EK0511"].contains(&finding.code)
            && start.is_some_and(|start| breaks.iter().any(|piece| piece.empties(text, start)));
        if !lacks && !start.is_some_and(|start| unbroken.contains(&(finding.code, start))) {
            return fail(format!("{} follows from a broken value: {}", finding.code, finding.message));
        }
    }
    if breaks.len() < 2 {
        return Ok(());
    }
    let mut alone = BTreeSet::new();
    let mut due = BTreeSet::new();
    for piece in breaks {
        let piece = std::slice::from_ref(piece);
        let single = broken(text, piece);
        for finding in single.findings.iter().filter(|finding| finding.is_of_shape()) {
            // A place that another break replaces need not be there to have a finding.
            let gone = |start| breaks.iter().any(|other| other.range.contains(&start));
            if !matches!(single.origin(finding), Some(Ok(start)) if gone(start)) {
                due.insert(single.identity(finding, piece));
            }
            alone.insert(single.identity(finding, piece));
        }
    }
    if let Some(lost) = due.difference(&shape).next() {
        return fail(format!("{lost:?} is not reported together with the rest"));
    }
    if let Some(new) = shape.difference(&alone).next() {
        return fail(format!("{new:?} is reported of the whole only"));
    }
    Ok(())
}

/// Breaks each file at each place: how many breaks there were, and what was wrong.
fn break_each(files: &[(String, String)]) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, text) in files {
        let unbroken = unbroken(text);
        for piece in changes(text) {
            let file = broken(text, std::slice::from_ref(&piece));
            if !file.has_wrong_shape() {
                continue;
            }
            count += 1;
            if let Err(error) = judge(text, &unbroken, std::slice::from_ref(&piece), &file) {
                wrong.push(format!("{name}: {piece:?}: {error}"));
            }
        }
    }
    (count, wrong)
}

#[test]
fn a_broken_value_has_no_false_follow_ups() {
    let corpus = corpus();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let parts = corpus.chunks(corpus.len().div_ceil(threads));
    let results: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let running: Vec<_> = parts.map(|part| scope.spawn(|| break_each(part))).collect();
        running.into_iter().map(|part| part.join().expect("no panic")).collect()
    });
    let count: usize = results.iter().map(|(count, _)| count).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n\n"));
    assert!(count > 3000, "{count}");
}

/// Some of the changes to `text`, such as do not touch.
fn choose(text: &str, changes: &[Break], picks: &[prop::sample::Index]) -> Vec<Break> {
    let mut chosen: Vec<Break> = Vec::new();
    if changes.is_empty() {
        return chosen;
    }
    for pick in picks {
        let piece = pick.get(changes);
        if chosen.iter().all(|other| !other.touches(piece))
            && broken(text, std::slice::from_ref(piece)).has_wrong_shape()
        {
            chosen.push(piece.clone());
        }
    }
    chosen.sort_by_key(|piece| piece.range.start);
    chosen
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() }
}

#[test]
fn several_broken_values_are_all_reported_and_nothing_else_is() {
    let corpus: Vec<_> = corpus().into_iter().map(|(name, text)| (name, changes(&text), text)).collect();
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(any::<prop::sample::Index>(), 2..8));
    TestRunner::new(config(1500))
        .run(&strategy, |(file, picks)| {
            let (name, changes, text) = file.get(&corpus);
            check(text, &unbroken(text), &choose(text, changes, &picks))
                .map_err(|error| TestCaseError::fail(format!("{name}: {error}")))
        })
        .expect("no false findings");
}

#[test]
fn clusters_full_of_other_mistakes_get_no_false_ones() {
    let strategy =
        (prop::collection::vec(any::<u8>(), 200), prop::collection::vec(any::<prop::sample::Index>(), 1..8));
    TestRunner::new(config(1000))
        .run(&strategy, |(choices, picks)| {
            let text = generate::cluster(&choices);
            let breaks = choose(&text, &changes(&text), &picks);
            check(&text, &unbroken(&text), &breaks).map_err(TestCaseError::fail)
        })
        .expect("no false findings");
}

#[test]
fn independent_mistakes_are_reported_alone_and_together() {
    let rich = generate::RICH;
    let line = |text: &str, needle: &str| {
        let at = text.find(needle).unwrap_or_else(|| panic!("{needle}"));
        text[..at].lines().count()
    };
    let apply = |picked: &[usize]| {
        let mut text = rich.to_owned();
        for index in picked {
            let (from, to, _) = generate::MISTAKES[*index];
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replacen(from, to, 1);
        }
        text
    };
    let check = |picked: &[usize]| {
        let text = apply(picked);
        let findings = found(&text);
        for index in picked {
            let (_, to, code) = generate::MISTAKES[*index];
            let there = findings.iter().any(|finding| {
                let at = finding.start.unwrap_or_default();
                finding.code == code && text[..at].matches('\n').count() + 1 >= line(&text, to)
            });
            if !there {
                return Err(format!("{code} of `{to}` is missing\n{}", broken(&text, &[]).report()));
            }
        }
        if findings.len() != picked.len() {
            return Err(format!(
                "{} findings of {} mistakes\n{}",
                findings.len(),
                picked.len(),
                broken(&text, &[]).report()
            ));
        }
        Ok(())
    };
    let all: Vec<usize> = (0..generate::MISTAKES.len()).collect();
    for index in &all {
        check(&[*index]).unwrap_or_else(|error| panic!("{error}"));
    }
    check(&all).unwrap_or_else(|error| panic!("{error}"));
    TestRunner::new(config(100))
        .run(&prop::sample::subsequence(all.clone(), 0..=all.len()), |picked| {
            check(&picked).map_err(TestCaseError::fail)
        })
        .expect("all are reported");
}
