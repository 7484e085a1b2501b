//! Every case damaged in many ways: no panic, no endless report, no words of the libraries.
//!
//! The damage follows from a seed, so a failure is the same on every machine. `tests/fuzz/run` looks
//! further than this does.
#![allow(clippy::disallowed_methods, reason = "reads the cases")]

use evenkeel::{Diagnostic, SourceFile, compile, emit, render};

#[path = "support/support.rs"]
mod support;

use support::{cases, source};

/// Damaged files made of each case.
const ROUNDS: usize = 30;

/// What libraries would say. Their words are for programmers.
const WORDS: [&str; 13] = [
    "serde",
    "oneOf",
    "anyOf",
    "additionalProperties",
    "$defs",
    "TOML parse error",
    "invalid type",
    "unknown field",
    "missing field",
    "unknown variant",
    "data did not match",
    "Spanned",
    "EK0901",
];

/// SplitMix64: numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }

    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.roll(bytes.len() + 1);
        start..(start + self.roll(40)).min(bytes.len())
    }

    /// Damages `bytes` once; `other` is what splices are taken from.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const PIECES: [&str; 16] = [
            "\"",
            "'''",
            "[[",
            "]",
            "{",
            "}",
            "=",
            ".",
            "\\",
            "\0",
            "\u{feff}",
            "1979-05-27",
            "1e5",
            "é",
            "💥",
            "\r",
        ];
        let at = self.roll(bytes.len() + 1);
        match self.roll(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
            1 => _ = bytes.splice(at..at, PIECES[self.roll(PIECES.len())].bytes()),
            2 => _ = bytes.drain(self.range(bytes)),
            3 => {
                let again = bytes[self.range(bytes)].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let taken = other[self.range(other)].to_vec();
                bytes.splice(at..at, taken);
            }
            _ => {
                let line =
                    bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                let again: Vec<u8> = bytes[line..].iter().copied().take(at - line + 30).collect();
                bytes.splice(line..line, again);
            }
        }
    }
}

fn words(diagnostic: &Diagnostic) -> Vec<&String> {
    let labels = diagnostic.primary.iter().chain(&diagnostic.secondary).map(|label| &label.text);
    labels.chain([&diagnostic.message]).chain(&diagnostic.notes).chain(&diagnostic.hints).collect()
}

fn check(bytes: Vec<u8>) {
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    let Ok(source) = SourceFile::decode("cluster.toml", bytes) else {
        return;
    };
    let compilation = compile(&source);
    assert_eq!(compilation.cluster.is_some(), compilation.counts().0 == 0, "{shown}");
    let found = &compilation.diagnostics;
    // A file has no more mistakes than bytes, and hardly more than lines.
    assert!(found.len() <= 2 * shown.lines().count() + 20, "{} findings of\n{shown}", found.len());
    for diagnostic in found {
        for text in words(diagnostic) {
            let foreign = WORDS.iter().find(|word| text.contains(*word) && !shown.contains(*word));
            assert_eq!(foreign, None, "in `{text}` of\n{shown}");
        }
    }
    for out in [
        render::human(&source, found, true),
        render::json(&source, &compilation),
        render::github(&source, &compilation),
        render::sarif(&source, &compilation),
    ] {
        assert!(!out.is_empty() || found.is_empty(), "{shown}");
    }
    if let Some(cluster) = &compilation.cluster {
        for plan in emit(cluster) {
            evenkeel_schemas::seal::open(plan.text.as_bytes()).expect("sealed");
        }
    }
}

#[test]
fn damaged_files_are_reported_in_our_words() {
    let cases = cases();
    let texts: Vec<String> = cases
        .iter()
        .map(|case| source(case).text().to_owned())
        .filter(|text| (1..4000).contains(&text.len()))
        .collect();
    assert!(texts.len() > 100, "{}", texts.len());
    let mut dice = Dice(20_26);
    for text in &texts {
        for _ in 0..ROUNDS {
            let mut bytes = text.clone().into_bytes();
            let other = texts[dice.roll(texts.len())].as_bytes();
            for _ in 0..=dice.roll(3) {
                dice.damage(&mut bytes, other);
            }
            check(bytes);
        }
    }
}
