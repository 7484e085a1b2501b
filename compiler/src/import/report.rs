//! The report of an import: how much behaves otherwise, the fate of each line, findings, and whether the
//! result compiles.
//!
//! Every line of the input that has a statement is in a report once. For people lines that are alike are one
//! entry with their places; programs get each line.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::lines::{Line, Reason};
use super::notes::Fate;
use super::source::{Source, Spot};
use super::{Import, Request};
use crate::render;

mod findings;
mod groups;
mod json;
mod mask;

pub use json::json;

/// Lines of a report from which on its first line is said again at its end: more than a terminal shows.
const SCREEN: usize = 30;

/// Length of the report for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Lines that are alike are one entry.
    Short,
    /// Each line of the input is one of the report.
    Full,
}

/// Numbers of lines of the input, and of things that no line says, by fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that do something else in the cluster file.
    pub changed: usize,
    /// Lines that are not in the cluster file.
    pub not_carried: usize,
    /// Somebody must decide.
    pub decide: usize,
    /// Lines that mean the same, or have no effect in keepalived either.
    pub same: usize,
}

impl Counts {
    /// The counts of an import.
    #[must_use]
    pub fn of(import: &Import) -> Self {
        let lines = import.lines.iter().map(|line| line.fate);
        let mut counts = Self::default();
        for fate in lines.chain(import.general.iter().map(|reason| reason.fate)) {
            match fate {
                Fate::Decide => counts.decide += 1,
                Fate::NotCarried => counts.not_carried += 1,
                Fate::Changed => counts.changed += 1,
                Fate::Carried => counts.same += 1,
            }
        }
        counts
    }
}

/// The sections of a report, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Otherwise,
    Decide,
    Same,
}

impl Section {
    const ALL: [Self; 3] = [Self::Otherwise, Self::Decide, Self::Same];

    const fn of(fate: Fate) -> Self {
        match fate {
            Fate::NotCarried | Fate::Changed => Self::Otherwise,
            Fate::Decide => Self::Decide,
            Fate::Carried => Self::Same,
        }
    }

    const fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Otherwise => ("Behave otherwise", "not in the cluster file, or not quite the same there"),
            Self::Decide => ("To decide", "the cluster file has a guess or a placeholder"),
            Self::Same => {
                ("The same", "the cluster file does the same, or keepalived does nothing with it either")
            }
        }
    }
}

/// The report for people: the summary, findings in the input, what became of each line, and what the compiler
/// says.
#[must_use]
pub fn human(request: &Request, import: &Import, detail: Detail, styled: bool) -> String {
    let (bold, plain) = if styled { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let summary = format!("{bold}{}{plain}", summary(import));
    let mut out = format!("{summary}\n\n");
    out.push_str(&findings::findings(import, styled));
    let texts = Texts::new(&import.sources);
    for section in Section::ALL {
        let lines: Vec<&Line> =
            import.lines.iter().filter(|line| Section::of(line.fate) == section).collect();
        let general: Vec<&Reason> =
            import.general.iter().filter(|reason| Section::of(reason.fate) == section).collect();
        if lines.is_empty() && general.is_empty() {
            continue;
        }
        let (title, meaning) = section.title();
        push(&mut out, format_args!("{bold}{title} ({}){plain}: {meaning}\n", lines.len() + general.len()));
        for reason in general {
            push(&mut out, format_args!("  {}\n", said(section, reason)));
        }
        match detail {
            Detail::Short => groups::short(&mut out, import, &texts, section, &lines),
            Detail::Full => full(&mut out, import, &texts, section, &lines),
        }
        out.push('\n');
    }
    versions(&mut out, request, import, styled);
    let compilation = &import.compilation;
    if !compilation.diagnostics.is_empty() {
        out.push_str("The compiler says of the result:\n\n");
        out.push_str(&render::human(&import.cluster, &compilation.diagnostics, styled));
    }
    if out.bytes().filter(|byte| *byte == b'\n').count() > SCREEN {
        push(&mut out, format_args!("{summary}\n"));
    }
    out
}

/// Lines that a later version of keepalived reads otherwise; of a version that was named only what is later
/// still.
fn versions(out: &mut String, request: &Request, import: &Import, styled: bool) {
    let mut notes: BTreeMap<&str, Vec<Spot>> = BTreeMap::new();
    for line in &import.lines {
        for note in &line.versions {
            notes.entry(note).or_default().push(line.spot);
        }
    }
    if notes.is_empty() {
        return;
    }
    let (bold, plain) = if styled { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    push(
        out,
        format_args!(
            "{bold}Versions of keepalived ({}){plain}: all above is for {}; --keepalived-version names \
                another\n",
            notes.len(),
            request.keepalived
        ),
    );
    for (note, spots) in notes {
        push(out, format_args!("  {} ({})\n", render::plain(note), groups::places(import, &spots)));
    }
    out.push('\n');
}

/// Each line of a section by itself.
fn full(out: &mut String, import: &Import, texts: &Texts, section: Section, lines: &[&Line]) {
    for line in lines {
        push(out, format_args!("  {}  {}", shown(import, line.spot), texts.of(line)));
        for (number, ours) in line.ours.iter().enumerate() {
            let sign = if number == 0 { "  ->  " } else { ", " };
            push(out, format_args!("{sign}{}", render::plain(&ours.path())));
        }
        if let Some(block) = line.shares {
            push(out, format_args!("  (with its block, line {})", block.line));
        }
        out.push('\n');
        reasons(out, import, section, &line.reasons);
    }
}

fn reasons(out: &mut String, import: &Import, section: Section, reasons: &[Reason]) {
    for reason in reasons {
        push(out, format_args!("      {}", said(section, reason)));
        if reason.spots.len() > 1 {
            push(out, format_args!(" ({})", groups::places(import, &reason.spots)));
        }
        out.push('\n');
    }
}

/// A reason; what became of the line is said where its section does not say it.
fn said(section: Section, reason: &Reason) -> String {
    let word = match (section, reason.fate) {
        (_, Fate::NotCarried) => "not carried: ",
        (_, Fate::Changed) => "changed: ",
        (Section::Otherwise | Section::Same, Fate::Decide) => "to decide: ",
        (Section::Decide, Fate::Decide) | (_, Fate::Carried) => "",
    };
    format!("{word}{}", render::plain(&reason.text))
}

/// The one line that says what came out, the most urgent first.
#[must_use]
pub fn summary(import: &Import) -> String {
    let counts = Counts::of(import);
    let plural = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let mut out = format!("{} behave otherwise", counts.changed + counts.not_carried);
    match (counts.changed, counts.not_carried) {
        (_, 0) => {}
        (0, not_carried) => push(&mut out, format_args!(" ({not_carried} not carried)")),
        (changed, not_carried) => {
            push(&mut out, format_args!(" ({changed} changed, {not_carried} not carried)"));
        }
    }
    push(&mut out, format_args!(", {} to decide, {} the same; ", counts.decide, counts.same));
    match import.errors() {
        0 => {}
        errors => push(&mut out, format_args!("{} in the input; ", plural(errors, "error"))),
    }
    out.push_str(&match (import.is_empty(), import.compilation.counts().0) {
        (true, _) => "nothing was imported.".to_owned(),
        (false, 0) => "the result compiles.".to_owned(),
        (false, errors) => format!("the result does not compile yet: {}.", plural(errors, "error")),
    });
    out
}

/// Texts of the lines, without comments and passwords.
struct Texts<'a> {
    sources: &'a [Source],
    lines: BTreeMap<usize, Vec<std::ops::Range<usize>>>,
}

impl<'a> Texts<'a> {
    fn new(sources: &'a [Source]) -> Self {
        Self { sources, lines: sources.iter().map(Source::lines).enumerate().collect() }
    }

    /// The text of a line as the report shows it.
    fn of(&self, line: &Line) -> String {
        let whole = self.whole(line);
        let short = super::words::shorten(whole.trim_end_matches(['{', ' ']));
        render::plain(&short).into_owned()
    }

    /// The same, however long it is.
    fn whole(&self, line: &Line) -> String {
        if line.in_definition() {
            // A line without a known keyword may be a password.
            return "…".to_owned();
        }
        let range =
            self.lines.get(&line.spot.file).and_then(|lines| lines.get(line.spot.line.saturating_sub(1)));
        let text = self
            .sources
            .get(line.spot.file)
            .zip(range)
            .and_then(|(source, range)| source.text.get(range.clone()));
        let masked = mask::mask(text.unwrap_or_default());
        super::words::without_comment(&masked).trim().to_owned()
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn shown(import: &Import, spot: Spot) -> String {
    let path = import.sources.get(spot.file).map_or("", |source| source.path.as_str());
    format!("{}:{}", render::plain(path), spot.line)
}
