//! Breaks the shape of a cluster file at chosen places, and follows places through it.

use std::ops::Range;

use evenkeel::{SourceFile, compile, render};
use toml::de::{DeTable, DeValue};

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) start: Option<usize>,
    pub(crate) message: String,
    /// Everything it says.
    pub(crate) words: String,
}

impl Finding {
    /// About keys, types, ranges.
    pub(crate) fn is_of_shape(&self) -> bool {
        self.code.starts_with("EK01")
    }

    /// The same, or about the syntax.
    pub(crate) fn is_of_form(&self) -> bool {
        self.code.starts_with("EK00") || self.is_of_shape()
    }
}

pub(crate) fn found(text: &str) -> Vec<Finding> {
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    let words = |diagnostic: &evenkeel::Diagnostic| {
        let labels = diagnostic.primary.iter().chain(&diagnostic.secondary).map(|label| &label.text);
        let words = [&diagnostic.message].into_iter().chain(labels);
        words
            .chain(&diagnostic.notes)
            .chain(&diagnostic.hints)
            .fold(String::new(), |all, text| all + text + "\n")
    };
    let finding = |diagnostic: &evenkeel::Diagnostic| Finding {
        code: diagnostic.code.id,
        start: diagnostic.primary.as_ref().map(|label| label.place.start),
        message: diagnostic.message.clone(),
        words: words(diagnostic),
    };
    compilation.diagnostics.iter().map(finding).collect()
}

/// One change that makes the shape of a file wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Break {
    /// What is replaced.
    pub(crate) range: Range<usize>,
    with: String,
    /// What it belongs to: two breaks of one key are not independent.
    extent: Range<usize>,
}

impl Break {
    /// Whether it empties the table that `start` is the key of.
    pub(crate) fn empties(&self, text: &str, start: usize) -> bool {
        let between = text.get(start..self.range.start);
        self.with == "{}" && between.is_some_and(|key| !key.contains(['{', ',', '\n']))
    }

    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.extent.start <= other.extent.end && other.extent.start <= self.extent.end
    }
}

/// A key with its value, or an item of a list.
struct Target {
    key: Option<Range<usize>>,
    value: Range<usize>,
    others: &'static [&'static str],
    /// Not a table with a header.
    inline: bool,
}

/// Changes of many kinds at every place; most of them make the shape of `text` wrong.
pub(crate) fn changes(text: &str) -> Vec<Break> {
    let mut targets = Vec::new();
    let table = DeTable::parse(text).expect("the corpus is TOML");
    walk_table(text, table.get_ref(), &mut targets);
    let mut breaks = Vec::new();
    let mut add = |range: Range<usize>, with: &str, extent: &Range<usize>| {
        breaks.push(Break { range, with: with.to_owned(), extent: extent.clone() });
    };
    for target in &targets {
        let value = &target.value;
        // Other entries of a table of names are another cluster, not a broken one.
        let section = text[value.clone()].starts_with("{ ") && is_section(text, target);
        for other in target.others.iter().filter(|other| !section || !other.contains("zzz")) {
            add(value.clone(), other, value);
        }
        let Some(key) = &target.key else {
            continue;
        };
        if !target.inline {
            // The name of a table goes with all of it.
            let end = text[key.end..].find("\n[").map_or(text.len(), |next| key.end + next);
            add(key.clone(), &format!("\"a b{}\"", key.start), &(key.start..end));
            continue;
        }
        let whole = &(key.start..value.end);
        add(key.clone(), &format!("\"a b{}\"", key.start), whole);
        let unknown = format!("zzz{}", key.start);
        add(key.clone(), &unknown, whole);
        add(key.clone(), &format!("{}q", &text[key.clone()]), whole);
        if !text[value.end..].trim_start_matches(' ').starts_with([',', '}']) {
            add(key.start..key.start, &format!("{unknown} = 1\n"), whole);
            add(whole.clone(), "", whole);
            continue;
        }
        add(key.start..key.start, &format!("{unknown} = 1, "), whole);
        let comma = value.end + text[value.end..].find([',', '}']).expect("one of them");
        let before = text[..key.start].rfind([',', '{']).expect("one of them");
        if text[comma..].starts_with(',') {
            add(key.start..comma + 1, "", whole);
        } else if text[before..].starts_with(',') {
            add(before..value.end, "", &(before..value.end));
        } else {
            add(whole.clone(), "", whole);
        }
    }
    breaks
}

fn is_section(text: &str, target: &Target) -> bool {
    let key = target.key.clone().map(|key| &text[key]);
    key.is_some_and(|key| ["segments", "hosts", "virtual_routers", "services"].contains(&key))
}

fn walk_table(text: &str, table: &DeTable<'_>, targets: &mut Vec<Target>) {
    for (key, value) in table {
        walk(text, Some(key.span()), value, targets);
    }
}

fn walk(
    text: &str,
    key: Option<Range<usize>>,
    value: &toml::Spanned<DeValue<'_>>,
    targets: &mut Vec<Target>,
) {
    let others: &[&str] = match value.get_ref() {
        DeValue::String(_) => &["7", "true", "\"~ ~\"", "\"x/y\"", "1.5", "[]", "{}"],
        DeValue::Integer(_) => &["99999", "-1", "0", "\"7\"", "99999999999999999999", "[7]"],
        DeValue::Boolean(_) => &["\"no\"", "1"],
        DeValue::Array(_) => &["[]", "7", "\"x\"", "{}", "[7]", "[1979-05-27]"],
        DeValue::Table(_) => &["7", "[]", "{}", "{ zzz9 = 7 }"],
        DeValue::Float(_) | DeValue::Datetime(_) => &[],
    };
    let place = value.span();
    let start = &text[place.clone()];
    let inline = match value.get_ref() {
        DeValue::Table(table) => {
            walk_table(text, table, targets);
            start.starts_with('{')
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| walk(text, None, item, targets));
            start.starts_with('[') && !start.starts_with("[[")
        }
        _ => true,
    };
    targets.push(Target { key, value: place, others: if inline { others } else { &[] }, inline });
}

/// A broken file and how it came about.
pub(crate) struct Broken {
    pub(crate) text: String,
    pub(crate) findings: Vec<Finding>,
    /// What replaces what, in the order of the file: old range, new range.
    moved: Vec<(Range<usize>, Range<usize>)>,
}

/// Breaks `text`; the breaks are in the order of the file and apart.
pub(crate) fn broken(text: &str, breaks: &[Break]) -> Broken {
    let mut file = Broken { text: String::new(), findings: Vec::new(), moved: Vec::new() };
    let mut end = 0;
    for piece in breaks {
        file.text.push_str(&text[end..piece.range.start]);
        let start = file.text.len();
        file.text.push_str(&piece.with);
        file.moved.push((piece.range.clone(), start..file.text.len()));
        end = piece.range.end;
    }
    file.text.push_str(&text[end..]);
    file.findings = found(&file.text);
    file
}

impl Broken {
    /// Whether its shape is wrong, and nothing worse.
    pub(crate) fn has_wrong_shape(&self) -> bool {
        let syntax = self.findings.iter().any(|finding| finding.code.starts_with("EK00"));
        !syntax && self.findings.iter().any(Finding::is_of_shape)
    }

    /// What the operator sees.
    pub(crate) fn report(&self) -> String {
        let source = SourceFile::new("cluster.toml", self.text.as_str());
        render::human(&source, &compile(&source).diagnostics, false)
    }

    /// Where a finding is in the unbroken file, or else the index of the break it is in.
    pub(crate) fn origin(&self, finding: &Finding) -> Option<Result<usize, usize>> {
        let at = finding.start?;
        let mut shift = (0, 0);
        for (index, (old, new)) in self.moved.iter().enumerate() {
            if at < new.start {
                break;
            }
            if new.contains(&at) {
                return Some(Err(index));
            }
            shift = (old.end, new.end);
        }
        Some(Ok(at - shift.1 + shift.0))
    }

    /// What makes a finding the same in two files that `breaks` were made in.
    pub(crate) fn identity(
        &self,
        finding: &Finding,
        breaks: &[Break],
    ) -> (&'static str, String, Option<Result<usize, usize>>) {
        let origin = self.origin(finding).map(|origin| origin.map_err(|index| breaks[index].range.start));
        // What is missing has the place of what it is missing from.
        let origin = origin.filter(|_| finding.code != "EK0102");
        (finding.code, finding.message.clone(), origin)
    }
}
