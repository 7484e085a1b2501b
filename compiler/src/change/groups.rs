//! What is the same on several hosts, to be told once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use evenkeel_schemas::scalars::Name;

use super::compare::{Delta, HostDelta};
use super::objects::{Id, Natural};

/// Most different changes of one object that a further one is compared with. Beyond them equal ones are shown
/// twice: a thousand routes that all differ would otherwise be compared a million times.
const MAX_DIFFERENT: usize = 16;

/// Most hosts, or ranges of hosts, that a line names.
const MAX_NAMED: usize = 12;

/// From so many hosts on that are numbered one after the other, the first and the last are named.
const RANGE: usize = 3;

/// Changes on these hosts and on no other one.
pub(crate) struct HostBlock<'c, 'a> {
    /// All of them stay, come, or go. By name.
    pub(crate) hosts: Vec<&'c HostDelta<'a>>,
    /// In the order of their keys; those of the first host stand for all.
    pub(crate) deltas: Vec<&'c Delta<'a>>,
}

/// The changes of hosts by where they are the same: those of a host, what it has in common with most others
/// first.
pub(crate) fn blocks<'c, 'a>(hosts: &[&'c HostDelta<'a>], full: bool) -> Vec<HostBlock<'c, 'a>> {
    let all =
        hosts.iter().enumerate().flat_map(|(at, host)| host.deltas.iter().map(move |delta| (at, delta)));
    let mut all: Vec<(usize, &'c Delta<'a>)> = all.collect();
    // Stable, and those of each host are in this order already.
    all.sort_by(|(_, a), (_, b)| a.order(b));
    let mut blocks: BTreeMap<Vec<usize>, Vec<&'c Delta<'a>>> = BTreeMap::new();
    for same_object in all.chunk_by(|(_, a), (_, b)| a.order(b).is_eq()) {
        let mut groups: Vec<(Vec<usize>, &'c Delta<'a>)> = Vec::new();
        for (at, delta) in same_object {
            let like = |group: &&mut (Vec<usize>, &'c Delta<'a>)| {
                hosts[group.0[0]].action == hosts[*at].action && group.1.is_like(delta, full)
            };
            match groups.iter_mut().rev().take(MAX_DIFFERENT).find(like) {
                Some((group, _)) => group.push(*at),
                None => groups.push((vec![*at], delta)),
            }
        }
        for (group, delta) in groups {
            match blocks.get_mut(&group) {
                Some(deltas) => deltas.push(delta),
                None => _ = blocks.insert(group, vec![delta]),
            }
        }
    }
    let mut blocks: Vec<_> = blocks.into_iter().collect();
    blocks.sort_by_key(|(group, _)| (group[0], Reverse(group.len())));
    let block = |(group, deltas): (Vec<usize>, _)| HostBlock {
        hosts: group.into_iter().map(|at| hosts[at]).collect(),
        deltas,
    };
    blocks.into_iter().map(block).collect()
}

impl HostBlock<'_, '_> {
    /// Whether the same object may come from another line on each host.
    pub(crate) fn has_lines_of_its_own(delta: &Delta<'_>) -> bool {
        match delta.key.id {
            Id::Host(_)
            | Id::Tunnel(_)
            | Id::Gue { .. }
            | Id::Address { .. }
            | Id::Route { .. }
            | Id::Sysctl(_) => true,
            Id::Router { .. } | Id::SyncGroup(_) | Id::Tracker(_) | Id::Served { .. } | Id::Secret(_) => {
                false
            }
        }
    }
}

/// `dir1, dir2`, `rs1 to rs40`: hosts as people list them. All of them when `full`, else a few.
pub(crate) fn names<'n>(hosts: impl IntoIterator<Item = &'n Name>, full: bool) -> String {
    let names: BTreeSet<Natural<'_>> = hosts.into_iter().map(|name| Natural(name.as_str())).collect();
    let names: Vec<&str> = names.into_iter().map(|name| name.0).collect();
    let mut out = String::new();
    let (mut rest, mut named) = (names.as_slice(), 0);
    while let Some(first) = rest.first() {
        if named == MAX_NAMED && !full {
            // Writing to a String cannot fail.
            let _ = write!(out, " and {} more", rest.len());
            return out;
        }
        let follows = |pair: &&[&str]| next(pair[0]).as_deref() == Some(pair[1]);
        let run = 1 + rest.windows(2).take_while(follows).count();
        out.push_str(if named == 0 { "" } else { ", " });
        out.push_str(first);
        let taken = if run >= RANGE { run } else { 1 };
        if taken > 1 {
            let _ = write!(out, " to {}", rest[taken - 1]);
        }
        rest = &rest[taken..];
        named += 1;
    }
    out
}

/// The name that is numbered one higher: `rs9` -> `rs10`, `rs09` -> `rs10`.
fn next(name: &str) -> Option<String> {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[prefix.len()..];
    let number: u64 = digits.parse().ok()?;
    Some(format!("{prefix}{:0width$}", number.checked_add(1)?, width = digits.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_listed_as_people_list_them() {
        let list = |text: &str, full: bool| {
            let hosts: Vec<Name> = text.split(' ').map(|name| name.parse().expect("name")).collect();
            names(&hosts, full)
        };
        assert_eq!(list("dir2 dir1", false), "dir1, dir2");
        assert_eq!(list("rs10 rs9 rs11 rs8 web", false), "rs8 to rs11, web");
        assert_eq!(list("rs08 rs09 rs10 rs12", false), "rs08 to rs10, rs12");
        let many: Vec<String> = (0..30).map(|number| format!("h{}", number * 2)).collect();
        let few = list(&many.join(" "), false);
        assert!(few.starts_with("h0, h2, ") && few.ends_with("h22 and 18 more"), "{few}");
        assert!(list(&many.join(" "), true).ends_with(", h58"));
    }
}
