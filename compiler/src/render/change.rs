//! A change for people at a terminal: what comes, changes and goes, why, in which stages, and the
//! one line that sums it up.
//!
//! Written line by line into what the caller lends: a change of a large cluster is a text of many megabytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use evenkeel_schemas::change::{Action, ChangeSummary, FieldChange, Origin, StepKind, Warning};
use evenkeel_schemas::scalars::Name;

use crate::change::{
    Comparison, Delta, FieldTeller, HostBlock, HostDelta, ToldField, Warned, blocks, does, is_implied, names,
    word,
};

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const WARNING: &str = "\u{1b}[1;33m";
const REFUSAL: &str = "\u{1b}[1;31m";
const RESET: &str = "\u{1b}[0m";

/// Most warnings that say the same of something else before one of them stands for all.
const MAX_ALIKE: usize = 3;

/// Bytes of text that are gathered before they are written.
const AT_ONCE: usize = 64 * 1024;

/// Most lines of the cluster file that are shown for one object of several hosts.
const MAX_LINES: usize = 3;

/// Part of a change that is shown. Sums are always of all hosts.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'v> {
    /// Fields with their default values, every host of a list and every warning, too.
    pub full: bool,
    /// Whether each host is shown in a few words instead of object by object.
    pub summary: bool,
    /// The hosts whose objects and steps are shown; none means all.
    pub hosts: Option<&'v BTreeSet<Name>>,
}

impl View<'_> {
    pub(super) fn shows(&self, host: &Name) -> bool {
        self.hosts.is_none_or(|hosts| hosts.contains(host))
    }
}

/// All of a change, with escape sequences for colour when `styled`. Ends with the summary line.
///
/// # Errors
/// When `out` takes no more.
pub fn change(all: &Comparison<'_>, view: &View<'_>, styled: bool, out: &mut dyn Write) -> fmt::Result {
    let paint = |color: &'static str| if styled { color } else { "" };
    objects(all, view, styled, out)?;
    stages(all, view, out)?;
    let warnings = warnings(&all.warnings, view);
    for (warning, more) in &warnings {
        write!(out, "{}warning{}: {}", paint(WARNING), paint(RESET), warning.message)?;
        write_more(*more, out)?;
    }
    if !warnings.is_empty() {
        writeln!(out)?;
    }
    for refusal in &all.refusals {
        writeln!(
            out,
            "{}apply will refuse{} [{}]: {} (--override {})",
            paint(REFUSAL),
            paint(RESET),
            refusal.code,
            refusal.message,
            refusal.guard
        )?;
    }
    if !all.refusals.is_empty() {
        writeln!(out)?;
    }
    writeln!(out, "{}", summary(&all.summary))
}

/// Changes, host by host, and nothing else.
///
/// # Errors
///
/// When `out` accepts no more.
pub fn objects(all: &Comparison<'_>, view: &View<'_>, styled: bool, out: &mut dyn Write) -> fmt::Result {
    let paint = |color: &'static str| if styled { color } else { "" };
    let hosts: Vec<&HostDelta<'_>> = all.hosts.iter().filter(|host| view.shows(host.host)).collect();
    if view.summary {
        for (hosts, does) in in_short(&hosts) {
            writeln!(out, "{}{}{}: {}", paint(BOLD), heading(&hosts, view), paint(RESET), does.join(", "))?;
        }
        return if hosts.is_empty() { Ok(()) } else { writeln!(out) };
    }
    for block in blocks(&hosts, view.full) {
        writeln!(out, "{}{}{}", paint(BOLD), heading(&block.hosts, view), paint(RESET))?;
        let mut lines = HostLines::new(all, view, &block);
        let mut page = String::new();
        for delta in &block.deltas {
            lines.object(delta, &mut |line| {
                let color = match line.action {
                    Some(Action::Add) => paint(GREEN),
                    Some(Action::Change) => paint(YELLOW),
                    Some(Action::Remove) => paint(RED),
                    None => "",
                };
                let off = if color.is_empty() { "" } else { RESET };
                page.extend(["  ", color, line.text, off]);
                if let Some(origin) = line.origin {
                    page.extend(["  ", paint(DIM), "# ", origin, paint(RESET)]);
                }
                page.push('\n');
                Ok(())
            })?;
            if page.len() > AT_ONCE {
                out.write_str(&page)?;
                page.clear();
            }
        }
        page.push('\n');
        out.write_str(&page)?;
    }
    Ok(())
}

/// `Plan: 3 to add, 1 to change, 0 to remove on 2 of 4 hosts.` These words do not change.
#[must_use]
pub fn summary(summary: &ChangeSummary) -> String {
    let ChangeSummary { add, change, remove, hosts_changed, hosts } = summary;
    let plural = if *hosts == 1 { "" } else { "s" };
    if add + change + remove == 0 {
        return format!("No changes. {hosts} host{plural} as wanted.");
    }
    format!(
        "Plan: {add} to add, {change} to change, {remove} to remove on {hosts_changed} of {hosts} \
        host{plural}."
    )
}

/// Hosts to which the same happens, in a few words.
fn in_short<'c, 'a>(hosts: &[&'c HostDelta<'a>]) -> Vec<(Vec<&'c HostDelta<'a>>, Vec<String>)> {
    let mut places: BTreeMap<(Action, Vec<String>), usize> = BTreeMap::new();
    let mut groups: Vec<(Vec<&'c HostDelta<'a>>, Vec<String>)> = Vec::new();
    for host in hosts {
        let does = does(host.deltas.iter());
        match places.get(&(host.action, does.clone())) {
            Some(place) => groups[*place].0.push(host),
            None => {
                places.insert((host.action, does.clone()), groups.len());
                groups.push((vec![host], does));
            }
        }
    }
    groups
}

/// Warnings that are shown, each with the number of those of its kind that it stands for.
pub(super) fn warnings<'w>(warnings: &'w [Warned], view: &View<'_>) -> Vec<(&'w Warning, usize)> {
    let mut told = Vec::new();
    let mut alike: BTreeMap<_, Vec<&Warned>> = BTreeMap::new();
    for warned in warnings {
        alike.entry((warned.warning.kind, warned.like)).or_default().push(warned);
    }
    for alike in alike.into_values() {
        match alike.as_slice() {
            [first, more @ ..] if more.len() >= MAX_ALIKE && !view.full => {
                told.push((&first.warning, more.len()))
            }
            all => told.extend(all.iter().map(|warned| (&warned.warning, 0))),
        }
    }
    told
}

/// The end of a warning that stands for others.
pub(super) fn write_more(more: usize, out: &mut dyn Write) -> fmt::Result {
    match more {
        0 => writeln!(out),
        more => writeln!(out, " (and {more} more like this; --full tells each)"),
    }
}

/// `dir1, dir2`, `rs1 (new host)`: hosts of which all stay, come or go.
pub(super) fn heading(hosts: &[&HostDelta<'_>], view: &View<'_>) -> String {
    let names = names(hosts.iter().map(|host| host.host), view.full);
    match (hosts.first().map(|host| host.action), hosts.len()) {
        (Some(Action::Add), 1) => format!("{names} (new host)"),
        (Some(Action::Add), _) => format!("{names} (new hosts)"),
        (Some(Action::Remove), 1) => format!("{names} (host goes)"),
        (Some(Action::Remove), _) => format!("{names} (hosts go)"),
        (Some(Action::Change) | None, _) => names,
    }
}

/// One line about hosts.
pub(super) struct HostLine<'l> {
    /// Set when it is the first line of an object.
    pub(super) action: Option<Action>,
    pub(super) text: &'l str,
    pub(super) origin: Option<&'l str>,
}

/// Changes on the hosts of a block, line by line.
pub(super) struct HostLines<'c, 'a> {
    all: &'c Comparison<'a>,
    full: bool,
    hosts: &'c [&'c HostDelta<'a>],
    text: String,
    origin: String,
    teller: FieldTeller,
}

type Each<'e> = &'e mut dyn FnMut(HostLine<'_>) -> fmt::Result;

impl<'c, 'a> HostLines<'c, 'a> {
    pub(super) fn new(all: &'c Comparison<'a>, view: &View<'_>, block: &'c HostBlock<'c, 'a>) -> Self {
        let (text, origin) = (String::new(), String::new());
        let teller = FieldTeller::new(|_, name| format!("    {name}: "));
        Self { all, full: view.full, hosts: &block.hosts, text, origin, teller }
    }

    /// The lines of one object: its own, and one for each field that does not go without saying.
    pub(super) fn object(&mut self, delta: &Delta<'a>, each: Each<'_>) -> fmt::Result {
        let Some(first) = self.hosts.first() else { return Ok(()) };
        let origin = self.all.origin(first.host, delta);
        self.heading(delta)?;
        self.origins(delta, origin.as_ref())?;
        self.tell(Some(delta.action()), each)?;
        if delta.action() == Action::Remove {
            return Ok(());
        }
        let Self { full, text, teller, .. } = self;
        let tell = |field: ToldField<'_>| {
            if !*full && field.is_implied() {
                return Ok(());
            }
            text.clear();
            text.push_str(field.before);
            text.push_str(field.value);
            each(HostLine { action: None, text, origin: None })
        };
        // Only fields that change come from lines of their own.
        if delta.tell_new(teller, tell)? {
            return Ok(());
        }
        let fields = delta.fields();
        for field in &fields {
            if delta.action() == Action::Add && !self.full && is_implied(delta.kind(), field, &fields) {
                continue;
            }
            self.field(field)?;
            let own = self.all.origin_of_field(first.host, delta, &field.field, origin.as_ref());
            self.origin.clear();
            if let Some(own) = &own {
                place(own, &mut self.origin)?;
            }
            self.tell(None, each)?;
        }
        Ok(())
    }

    fn tell(&self, action: Option<Action>, each: Each<'_>) -> fmt::Result {
        let origin = (!self.origin.is_empty()).then_some(self.origin.as_str());
        each(HostLine { action, text: &self.text, origin })
    }

    fn heading(&mut self, delta: &Delta<'_>) -> fmt::Result {
        let sign = match delta.action() {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        let text = &mut self.text;
        text.clear();
        write!(text, "{sign} {}", word(delta.kind()))?;
        match (delta.name(), delta.kind()) {
            // Which ones, stands above.
            (None, "host") if self.hosts.len() > 1 => Ok(()),
            (None, _) => write!(text, " {}", delta.id()),
            (Some(name), "destination") => write!(text, " {} ({name})", delta.id()),
            (Some(name), _) => write!(text, " {name} ({})", delta.id()),
        }
    }

    /// Origin in the cluster file; of several hosts it may be several lines.
    fn origins(&mut self, delta: &Delta<'a>, first: Option<&Origin>) -> fmt::Result {
        self.origin.clear();
        let Some(first) = first else { return Ok(()) };
        place(first, &mut self.origin)?;
        if self.hosts.len() < 2 || !HostBlock::has_lines_of_its_own(delta) {
            return Ok(());
        }
        let mut told = vec![first.clone()];
        for host in &self.hosts[1..] {
            let Some(origin) = self.all.origin(host.host, delta).filter(|origin| !told.contains(origin))
            else {
                continue;
            };
            if told.len() == MAX_LINES {
                return self.origin.write_str(", …");
            }
            self.origin.write_str(", ")?;
            if told.last().is_some_and(|last| last.file == origin.file) {
                write!(self.origin, "{}", origin.line)?;
            } else {
                place(&origin, &mut self.origin)?;
            }
            told.push(origin);
        }
        Ok(())
    }

    fn field(&mut self, field: &FieldChange) -> fmt::Result {
        let text = &mut self.text;
        text.clear();
        write!(text, "    {}: ", field.field)?;
        match (&field.old, &field.new) {
            (None, None) => text.write_str("(secret, not shown)"),
            (None, Some(new)) => write!(text, "{new}"),
            (Some(old), None) => write!(text, "{old} -> (none)"),
            (Some(old), Some(new)) => write!(text, "{old} -> {new}"),
        }
    }
}

fn place(origin: &Origin, out: &mut String) -> fmt::Result {
    write!(out, "{}:{}", super::escape::plain(&origin.file), origin.line)
}

/// The stages in their order; nothing when there is one or none.
pub(super) fn stages(all: &Comparison<'_>, view: &View<'_>, out: &mut dyn Write) -> fmt::Result {
    if all.stages.len() < 2 {
        return Ok(());
    }
    writeln!(out, "In {} stages; within a stage hosts may come in any order:", all.stages.len())?;
    for stage in &all.stages {
        writeln!(out, "  {}. {}: {}", stage.number, stage.title, stage.why)?;
        let mut places: BTreeMap<(&[String], bool), usize> = BTreeMap::new();
        let mut groups: Vec<(Vec<&Name>, String)> = Vec::new();
        for host in stage.hosts.iter().filter(|host| view.shows(&host.host)) {
            let part = host.step == StepKind::Part;
            let place = places.entry((&host.does, part)).or_insert(groups.len());
            if *place == groups.len() {
                let part = if part { " (not yet all)" } else { "" };
                groups.push((Vec::new(), format!("{}{part}", host.does.join(", "))));
            }
            groups[*place].0.push(&host.host);
        }
        for (hosts, does) in groups {
            writeln!(out, "     {}: {does}", names(hosts, view.full))?;
        }
    }
    writeln!(out)
}
