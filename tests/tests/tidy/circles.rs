//! Circles of modules inside a crate.
//!
//! **The rule.** A module and all that is below it are one thing, seen from outside. Among the modules
//! directly below the same parent, each with what is below it, none may name something of another that names
//! something of it, directly or over further ones. What counts is where an item is defined: `pub use` and
//! `use` are followed, so that a re-export in the parent hides no circle.
//!
//! A module and one below it may name each other. A file `router.rs` with `router/hear.rs`, `router/send.rs`
//! beside it is how Rust divides one subject: the parent has the type, the files below it parts of its
//! `impl`, and they see its private fields. That is no circle of subjects. It also means that whatever all
//! siblings need may stand in their parent, but only as long as the parent itself does not have it from one
//! of them: then the path leads on to that one.
//!
//! Calls of methods and implementations of traits name no module, and do not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use crate::source::{Crate, ModulePath};

/// Where a module names another: the file, the line, and the module in which what it names is defined.
type Evidence = (String, usize, ModulePath);
/// Among siblings: who names whom, by their last names, and where.
type Edges = BTreeMap<String, BTreeMap<String, Evidence>>;

/// A circle among the modules below one parent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// All modules that are in it, sorted: what an exception names.
    pub(crate) members: Vec<String>,
    /// The shortest way around, with where each names the next.
    pub(crate) path: String,
}

/// All circles of a crate: one for each set of siblings of which each reaches each.
pub(crate) fn circles(of: &Crate) -> Vec<Circle> {
    let mut by_parent: BTreeMap<ModulePath, Edges> = BTreeMap::new();
    for (path, module) in &of.modules {
        for (owner, line) in of.named_by(module) {
            let shared = path.iter().zip(&owner).take_while(|(one, other)| one == other).count();
            // One of them is above the other, or they are the same.
            let (Some(from), Some(to)) = (path.get(shared), owner.get(shared)) else { continue };
            let edges = by_parent.entry(path[..shared].to_vec()).or_default();
            let evidence = (module.file.clone(), line, owner.clone());
            edges.entry(from.clone()).or_default().entry(to.clone()).or_insert(evidence);
        }
    }
    by_parent.iter().flat_map(|(parent, edges)| among(parent, edges)).collect()
}

fn among(parent: &ModulePath, edges: &Edges) -> Vec<Circle> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|from| (from, reach(edges, from))).collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for (from, all) in &reached {
        if !all.contains(from) || seen.contains(from) {
            continue;
        }
        let members = all.iter().filter(|to| reached.get(**to).is_some_and(|back| back.contains(from)));
        let members: Vec<&String> = members.copied().collect();
        seen.extend(members.iter().copied());
        let full =
            |name: &str| parent.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::");
        circles.push(Circle {
            members: members.iter().map(|name| full(name)).collect(),
            path: shortest(edges, from, &full),
        });
    }
    circles
}

/// All that is reached from `from` over one or more edges.
fn reach<'e>(edges: &'e Edges, from: &String) -> BTreeSet<&'e String> {
    let mut reached = BTreeSet::new();
    let mut open = VecDeque::from([from]);
    while let Some(next) = open.pop_front() {
        for to in edges.get(next).into_iter().flatten().map(|(to, _)| to) {
            if reached.insert(to) {
                open.push_back(to);
            }
        }
    }
    reached
}

/// The shortest way from `start` back to it.
fn shortest(edges: &Edges, start: &str, full: &dyn Fn(&str) -> String) -> String {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    'search: while let Some(next) = open.pop_front() {
        for to in edges.get(next).into_iter().flatten().map(|(to, _)| to.as_str()) {
            if before.contains_key(to) {
                continue;
            }
            before.insert(to, next);
            if to == start {
                break 'search;
            }
            open.push_back(to);
        }
    }
    let mut way = vec![start];
    let mut at = before[start];
    while at != start {
        way.push(at);
        at = before[at];
    }
    way.push(start);
    way.reverse();
    let names: Vec<String> = way.iter().map(|name| full(name)).collect();
    let mut text = names.join(" → ");
    for pair in way.windows(2) {
        let (file, line, owner) = &edges[pair[0]][pair[1]];
        let _ = write!(text, "\n        {file}:{line} names {}", owner.join("::"));
    }
    text
}
