//! Two versions of keepalived on the same files: what each says and understands that the other does not. Of
//! that the importer's table of versions is made; no law is judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::File;
use super::room::{Heard, Room};
use super::tables::HOST;
use super::verdict::{Difference, alike, governing, keyword_of, numbered};
use super::{THREADS, Tally, dump};

/// Hears every file with both.
pub(crate) fn compare(files: &[File], older: &Room, newer: &Room) -> Tally {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(file, older, newer, &tally);
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("no panic");
    tally.differences.sort();
    tally
}

fn one(file: &File, older: &Room, newer: &Room, tally: &Mutex<Tally>) {
    let rooms = [older, newer];
    let heard = rooms.map(|room| room.hear(file));
    let whole = heard.each_ref().map(|heard| heard.ended && dump::is_whole(&heard.dump));
    if whole != [true, true] && !file.parts.is_empty() {
        for part in &file.parts {
            one(part, older, newer, tally);
        }
        return;
    }
    let mut out = Vec::new();
    let mut say = |line: usize, kind: String, what: String| {
        let kind = format!("{kind} @ {}", keyword_of(file, line));
        out.push(Difference { file: file.name.clone(), line, kind, what });
    };
    let ended = heard.each_ref().map(|heard| heard.ended);
    if ended[0] != ended[1] {
        say(0, "only one ends".to_owned(), format!("{ended:?}"));
    }
    if ended == [true, true] {
        let said = heard.each_ref().map(|heard| words(file, heard));
        for (which, other) in [("older", [0, 1]), ("newer", [1, 0])] {
            for (line, words) in said[other[0]].difference(&said[other[1]]) {
                let shown = format!("`{}`: {words}", file.text(*line));
                say(*line, format!("only the {which} says: {}", alike(words)), shown);
            }
        }
    }
    match whole {
        [true, true] => {
            let [a, b] = [0, 1].map(|at| dump::facts(&heard[at].dump, rooms[at]));
            let objects: BTreeSet<&String> = a.0.keys().chain(b.0.keys()).collect();
            let empty = BTreeMap::new();
            for object in objects {
                let values = [&a, &b].map(|facts| facts.0.get(object).unwrap_or(&empty));
                let properties: BTreeSet<&String> = values[0].keys().chain(values[1].keys()).collect();
                for property in properties {
                    let pair = values.map(|values| values.get(property));
                    if pair[0] != pair[1] {
                        let line = governing(file, object, property);
                        let kind = format!("{}: {}", alike(object), alike(property));
                        say(line, kind, format!("{object}: {property}: {:?} and {:?}", pair[0], pair[1]));
                    }
                }
            }
        }
        [true, false] | [false, true] => {
            let which = if whole[0] { "newer" } else { "older" };
            say(0, format!("only the {which} does not read to the end"), String::new());
        }
        [false, false] => {}
    }
    let mut tally = tally.lock().expect("no panic");
    tally.files += 1;
    tally.statements += file.statements();
    tally.refused += usize::from(whole != [true, true]);
    tally.differences.extend(out);
}

/// What is said of lines, and of none (0), but for what is about the host.
fn words(file: &File, heard: &Heard) -> BTreeSet<(usize, String)> {
    let ours = heard.words.iter().filter(|words| HOST.iter().all(|(part, _)| !words.contains(part)));
    ours.map(|words| {
        let (line, said) = numbered(file, words);
        (line.unwrap_or(0), said.to_owned())
    })
    .collect()
}
