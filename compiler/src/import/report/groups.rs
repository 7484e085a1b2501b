//! Lines of the input that are alike as one entry of the report for people, with all their places.

use std::collections::BTreeMap;

use super::super::Import;
use super::super::lines::{Line, Ours, Reason};
use super::super::notes::Fate;
use super::super::source::Spot;
use super::{Section, Texts, push, reasons};
use crate::render;

/// Ranges of lines that an entry lists; `--full` lists all.
const MAX_RANGES: usize = 8;

/// Different lines of one entry that are written out; of more their keywords.
const MAX_ROWS: usize = 4;

/// Keywords of an entry whose lines are not written out.
const MAX_KEYWORDS: usize = 8;

/// Entries of a section; the JSON form and `--full` have all.
const MAX_ENTRIES: usize = 400;

/// Facts that lines must have in common to be one entry.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey<'a> {
    fate: Fate,
    ours: Vec<String>,
    /// Lines of which nothing else is said have their keywords in common.
    keywords: &'a [String],
    reasons: &'a [Reason],
}

/// Lines of one text.
struct TextRow {
    text: String,
    spots: Vec<Spot>,
    ours: Vec<Ours>,
}

struct LineGroup<'a> {
    rows: Vec<TextRow>,
    /// Lines whose text is not written out.
    more: Vec<Spot>,
    /// Different first keywords, at most [`MAX_KEYWORDS`].
    keywords: Vec<&'a str>,
    ours: Vec<String>,
    reasons: &'a [Reason],
}

/// The lines of a section, those that are alike together.
pub(super) fn short(out: &mut String, import: &Import, texts: &Texts<'_>, section: Section, lines: &[&Line]) {
    let mut groups: Vec<LineGroup<'_>> = Vec::new();
    let mut known: BTreeMap<GroupKey<'_>, usize> = BTreeMap::new();
    // Which row of which group has the first line of a block whose other lines share its fate.
    let mut blocks: BTreeMap<Spot, (usize, Option<usize>)> = BTreeMap::new();
    for line in lines {
        if let Some((group, row)) = line.shares.and_then(|block| blocks.get(&block).copied()) {
            let Some(group) = groups.get_mut(group) else { continue };
            match row.and_then(|row| group.rows.get_mut(row)) {
                Some(row) => row.spots.push(line.spot),
                None => group.more.push(line.spot),
            }
            continue;
        }
        let mut ours: Vec<String> = line.ours.iter().map(Ours::pattern).collect();
        ours.dedup();
        let alone = ours.is_empty() && line.reasons.is_empty();
        let keywords = if alone { line.keywords() } else { &[] };
        let key = GroupKey { fate: line.fate, ours, keywords, reasons: &line.reasons };
        let at = match known.get(&key) {
            Some(at) => *at,
            None => {
                groups.push(LineGroup {
                    rows: Vec::new(),
                    more: Vec::new(),
                    keywords: Vec::new(),
                    ours: key.ours.clone(),
                    reasons: &line.reasons,
                });
                known.insert(key, groups.len() - 1);
                groups.len() - 1
            }
        };
        if let Some(group) = groups.get_mut(at) {
            let row = group.add(texts, line);
            blocks.insert(line.spot, (at, row));
        }
    }
    for group in groups.iter().take(MAX_ENTRIES) {
        group.show(out, import, section);
        reasons(out, import, section, group.reasons);
    }
    if let Some(more @ 1..) = groups.len().checked_sub(MAX_ENTRIES) {
        push(out, format_args!("  … and {more} more, which --full and --format json list\n"));
    }
}

impl<'a> LineGroup<'a> {
    /// The row that the line came to, unless its text is not written out.
    fn add(&mut self, texts: &Texts<'_>, line: &'a Line) -> Option<usize> {
        if let Some(keyword) = line.keywords().first()
            && self.keywords.len() < MAX_KEYWORDS
            && !self.keywords.contains(&keyword.as_str())
        {
            self.keywords.push(keyword);
        }
        let text = texts.of(line);
        if let Some(row) = self.rows.iter().position(|row| row.text == text) {
            let found = self.rows.get_mut(row)?;
            found.spots.push(line.spot);
            if found.ours != line.ours {
                found.ours.clear();
            }
            return Some(row);
        }
        if self.rows.len() >= MAX_ROWS {
            self.more.push(line.spot);
            return None;
        }
        self.rows.push(TextRow { text, spots: vec![line.spot], ours: line.ours.clone() });
        Some(self.rows.len() - 1)
    }

    fn show(&self, out: &mut String, import: &Import, section: Section) {
        // Equal lines need no more than their keyword, and neither do many lines that are otherwise.
        let (first, many) = match self.rows.as_slice() {
            [first, _, ..] => (first, section == Section::Same || !self.more.is_empty()),
            [first] => (first, false),
            [] => return,
        };
        if many {
            let mut spots: Vec<Spot> =
                self.rows.iter().flat_map(|row| &row.spots).chain(&self.more).copied().collect();
            spots.sort_unstable();
            let words = if self.keywords.is_empty() { first.text.clone() } else { self.keywords.join(", ") };
            let words = render::plain(&words).into_owned();
            push(out, format_args!("  {}  {words} … ({} lines)", places(import, &spots), spots.len()));
            return self.arrow(out, None);
        }
        for row in &self.rows {
            push(out, format_args!("  {}  {}", places(import, &row.spots), row.text));
            self.arrow(out, Some(row));
        }
    }

    fn arrow(&self, out: &mut String, row: Option<&TextRow>) {
        let own: Vec<String> = row.into_iter().flat_map(|row| &row.ours).map(Ours::path).collect();
        let ours = if own.is_empty() { &self.ours } else { &own };
        if !ours.is_empty() {
            push(out, format_args!("  ->  {}", render::plain(&ours.join(", "))));
        }
        out.push('\n');
    }
}

/// Lines as `FILE:1,3-5`, at most a few of them.
pub(super) fn places(import: &Import, spots: &[Spot]) -> String {
    let path = |spot: Spot| import.sources.get(spot.file).map_or("", |source| source.path.as_str());
    let mut sorted: Vec<Spot> = spots.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut out = String::new();
    let (mut ranges, mut listed) = (0, 0);
    let mut before: Option<&str> = None;
    let mut rest = sorted.as_slice();
    while let [first, ..] = rest {
        let run = rest
            .iter()
            .zip(first.line..)
            .take_while(|(spot, line)| (spot.file, spot.line) == (first.file, *line));
        let length = run.count();
        if ranges == MAX_RANGES {
            push(&mut out, format_args!(" and {} more", sorted.len() - listed));
            break;
        }
        let name = path(*first);
        if before == Some(name) {
            out.push(',');
        } else {
            push(
                &mut out,
                format_args!("{}{}:", if before.is_some() { ", " } else { "" }, render::plain(name)),
            );
        }
        push(&mut out, format_args!("{}", first.line));
        if length > 1 {
            push(&mut out, format_args!("-{}", first.line + length - 1));
        }
        before = Some(name);
        (ranges, listed) = (ranges + 1, listed + length);
        rest = &rest[length..];
    }
    out
}
