//! The judge: real keepalived reads a configuration, `evenkeel import` reads it too, and their understanding
//! is compared. keepalived runs with `--config-test` in namespaces of its own (`room`), with a small library
//! that lets it write what it has understood (`dump.c`); `verdict` has the laws.
//!
//! `EVENKEEL_JUDGE_KEEPALIVED=PATH` takes another keepalived than Debian's. `EVENKEEL_JUDGE_DIR=DIRECTORY`
//! with `a_directory` judges every file of a directory. `EVENKEEL_SEED` repeats generated files.
//! `EVENKEEL_JUDGE_OUT=FILE` writes all differences to a file.
#![allow(clippy::disallowed_methods, reason = "runs keepalived and reads what it writes")]

mod compare;
mod corpus;
mod dump;
mod dump_services;
mod facts;
mod file;
mod governs;
mod ours;
mod ours_cluster;
mod room;
mod tables;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evenkeel::import::keywords;
use file::File;
use room::Room;
use verdict::Difference;

/// Threads that judge: keepalived waits for nothing, so more than processors would not help.
const THREADS: usize = 2;

/// Figures of a run.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    statements: usize,
    planned: usize,
    /// Files that keepalived does not read to the end: of those only its words are judged.
    refused: usize,
    /// How long keepalived took, and import with the compiler.
    hearing: Duration,
    understanding: Duration,
    /// Files on which keepalived itself never ends.
    endless: Vec<String>,
    differences: Vec<Difference>,
}

/// Judges files, on all threads.
fn judge(room: &Room, files: &[File]) -> Tally {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(room, file, &tally);
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("no panic");
    tally.differences.sort();
    tally
}

fn one(room: &Room, file: &File, tally: &Mutex<Tally>) {
    let start = Instant::now();
    let heard = room.hear(file);
    let hearing = start.elapsed();
    let whole = heard.ended && dump::is_whole(&heard.dump);
    if !whole && !file.parts.is_empty() {
        for part in &file.parts {
            one(room, part, tally);
        }
        return;
    }
    if !heard.ended {
        tally.lock().expect("no panic").endless.push(file.name.clone());
        return;
    }
    let theirs = whole.then(|| dump::facts(&heard.dump, room));
    let start = Instant::now();
    let ours = ours::understand(file, room.version);
    let understanding = start.elapsed();
    let differences = verdict::judge(file, &heard, theirs.as_ref(), &ours);
    if let Some(folder) = std::env::var_os("EVENKEEL_JUDGE_KEEP") {
        let path = std::path::Path::new(&folder).join(file.name.replace(['/', ' '], "_"));
        let write = |ending: &str, text: &[u8]| {
            std::fs::write(format!("{}.{ending}", path.display()), text).expect("written");
        };
        write("conf", &file.bytes);
        write("dump", heard.dump.as_bytes());
        write("words", heard.words.join("\n").as_bytes());
        write("toml", ours.cluster.as_bytes());
        let facts = format!("{theirs:#?}\n\n{:#?}\n{:#?}\n{:#?}", ours.facts, ours.left_out, ours.entries);
        write("facts", facts.as_bytes());
    }
    let mut tally = tally.lock().expect("no panic");
    tally.files += 1;
    tally.hearing += hearing;
    tally.understanding += understanding;
    tally.statements += file.statements();
    tally.planned += usize::from(ours.planned);
    tally.refused += usize::from(!whole);
    tally.differences.extend(differences);
}

/// Judges files and fails when the two understand any of them differently.
fn assert_judged(what: &str, files: &[File]) {
    let start = Instant::now();
    let room = Room::open();
    let tally = judge(&room, files);
    let whole = show(what, &tally, start.elapsed().as_secs_f64());
    if let Some(path) = std::env::var_os("EVENKEEL_JUDGE_OUT") {
        std::fs::write(path, &whole).expect("written");
    }
    println!("{}", whole.lines().next().unwrap_or_default());
    assert!(tally.differences.is_empty(), "{whole}");
}

/// Like differences are one, with an example.
fn show(what: &str, tally: &Tally, seconds: f64) -> String {
    let mut kinds: BTreeMap<&str, Vec<&Difference>> = BTreeMap::new();
    for difference in &tally.differences {
        kinds.entry(&difference.kind).or_default().push(difference);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
    let mut out = format!("keepalived {:.1?}, import {:.1?}; ", tally.hearing, tally.understanding);
    out.push_str(&format!(
        "{what}: {} files (keepalived gives up on {} and never ends on {:?}), {} statements, {} with a plan, \
        {seconds:.1} s: {} differences of {} kinds\n",
        tally.files,
        tally.refused,
        tally.endless,
        tally.statements,
        tally.planned,
        tally.differences.len(),
        kinds.len()
    ));
    for (kind, list) in kinds {
        out.push_str(&format!("{:5}  {kind}\n", list.len()));
        for difference in list.iter().take(4) {
            out.push_str(&format!("         {}:{}  {}\n", difference.file, difference.line, difference.what));
        }
    }
    out
}

#[test]
fn every_keyword_is_read_as_keepalived_reads_it() {
    let mut files = corpus::keywords();
    if let Ok(only) = std::env::var("EVENKEEL_JUDGE_ONLY") {
        files.retain(|file| file.name.starts_with(&only));
    }
    assert_judged("keywords", &files);
}

/// How many files are generated.
const GENERATED: usize = 60;

#[test]
fn generated_files_are_read_as_keepalived_reads_them() {
    let given =
        std::env::var("EVENKEEL_SEED").ok().map(|seed| seed.parse().expect("EVENKEEL_SEED is a number"));
    // Without a seed the same files each time.
    let seed = given.unwrap_or(1);
    println!("EVENKEEL_SEED={seed}");
    assert_judged("generated", &corpus::generated(seed, GENERATED));
}

/// Pairs of directors, included files, sequences and definitions: what no table of keywords has.
#[test]
fn clusters_are_read_as_keepalived_reads_them() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/clusters");
    let mut folders: Vec<_> =
        std::fs::read_dir(root).expect("clusters").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    let of = |folder: &std::path::PathBuf| {
        [ours::DIRECTOR, ours::SECOND].map(|director| File::of_cluster(folder, director))
    };
    let files: Vec<File> = folders.iter().flat_map(of).flatten().collect();
    assert!(files.len() > 10, "the clusters have gone");
    assert_judged("clusters", &files);
}

/// No keyword that the importer's table has is left out of the corpus.
#[test]
fn every_keyword_of_the_importer_is_on_trial() {
    let words = corpus::words();
    let names = keywords::blocks().into_iter().flat_map(|block| block.names());
    let missing: BTreeSet<&str> = names.filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "add to words.txt: {missing:?}");
}

/// Every file below the directory `EVENKEEL_JUDGE_DIR`; without it every configuration of the cases of
/// import.
#[test]
fn a_directory_of_configurations() {
    let given = std::env::var_os("EVENKEEL_JUDGE_DIR");
    let own = given.is_none();
    let root = given.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import").into());
    let mut files = directory(std::path::Path::new(&root));
    if own {
        files.retain(|file| file.name.ends_with(".conf"));
    }
    assert!(!files.is_empty(), "no files");
    assert_judged("directory", &files);
}

/// Every file below a directory.
fn directory(root: &std::path::Path) -> Vec<File> {
    let mut paths: Vec<_> = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned();
            let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
            File::new(name, "", file::with_programs(&text).into_bytes())
        })
        .collect()
}

/// Files by which keepalived is compared with itself.
const SAME_FILES: usize = 24;

/// What two versions of keepalived understand differently: `EVENKEEL_JUDGE_OTHER=PATH` (built with
/// `LDFLAGS=-rdynamic`) is compared with
/// Debian's, on the whole corpus, or on `EVENKEEL_JUDGE_DIR`. The importer's table of versions is made of
/// what it prints. Without one
/// Debian's is compared with itself, which differs in nothing.
#[test]
fn two_versions_of_keepalived() {
    let other = std::env::var_os("EVENKEEL_JUDGE_OTHER");
    let start = Instant::now();
    let older = Room::open();
    let Some(other) = other else {
        let files = corpus::generated(1, SAME_FILES);
        let tally = compare::compare(&files, &older, &Room::open());
        let shown = show("keepalived against itself", &tally, start.elapsed().as_secs_f64());
        assert!(tally.differences.is_empty() && tally.files > 0, "{shown}");
        return;
    };
    let newer = Room::of(other.into());
    let files = match std::env::var_os("EVENKEEL_JUDGE_DIR") {
        Some(root) => directory(std::path::Path::new(&root)),
        None => corpus::keywords(),
    };
    let tally = compare::compare(&files, &older, &newer);
    let what = format!("{} against {}", older.version, newer.version);
    let shown = show(&what, &tally, start.elapsed().as_secs_f64());
    match std::env::var_os("EVENKEEL_JUDGE_OUT") {
        Some(path) => std::fs::write(path, shown).expect("written"),
        None => println!("{shown}"),
    }
}
