//! A change for people at a terminal: what comes, changes and goes, why, in which stages, and the
//! one line that sums it up.

use std::fmt::Write;

use evenkeel_schemas::change::{
    Action, Change, FieldChange, HostChange, ObjectChange, Origin, StepKind, Summary,
};

use crate::change::word;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// All of a change, with escape sequences for colour when `styled`. Ends with the summary line.
#[must_use]
pub fn change(change: &Change, styled: bool) -> String {
    let paint = |color: &'static str| if styled { color } else { "" };
    let mut out = String::new();
    for host in &change.hosts {
        let _ = writeln!(out, "{}{}{}", paint(BOLD), heading(host), paint(RESET));
        for line in lines(host) {
            let color = match line.action {
                Some(Action::Add) => GREEN,
                Some(Action::Change) => YELLOW,
                Some(Action::Remove) => RED,
                None => "",
            };
            let origin = line.origin.map(|origin| format!("  {}# {origin}{}", paint(DIM), paint(RESET)));
            let (on, off) = if color.is_empty() { ("", "") } else { (paint(color), paint(RESET)) };
            let _ = writeln!(out, "  {on}{}{off}{}", line.text, origin.unwrap_or_default());
        }
        out.push('\n');
    }
    out.push_str(&stages(change));
    for warning in &change.warnings {
        let _ = writeln!(out, "{}warning{}: {}", paint("\u{1b}[1;33m"), paint(RESET), warning.message);
    }
    if !change.warnings.is_empty() {
        out.push('\n');
    }
    for refusal in &change.refusals {
        let _ = writeln!(
            out,
            "{}apply will refuse{} [{}]: {} (--override {})",
            paint("\u{1b}[1;31m"),
            paint(RESET),
            refusal.code,
            refusal.message,
            refusal.guard
        );
    }
    if !change.refusals.is_empty() {
        out.push('\n');
    }
    out + &summary(&change.summary) + "\n"
}

/// `Plan: 3 to add, 1 to change, 0 to remove on 2 of 4 hosts.` These words do not change.
#[must_use]
pub fn summary(summary: &Summary) -> String {
    let Summary { add, change, remove, hosts_changed, hosts } = summary;
    let plural = if *hosts == 1 { "" } else { "s" };
    if add + change + remove == 0 {
        return format!("No changes. {hosts} host{plural} as wanted.");
    }
    format!(
        "Plan: {add} to add, {change} to change, {remove} to remove on {hosts_changed} of {hosts} host{plural}."
    )
}

/// One line about a host.
pub(super) struct Line {
    /// Set when it is the first line of an object.
    pub(super) action: Option<Action>,
    pub(super) text: String,
    pub(super) origin: Option<String>,
}

/// `dir1`, `dir1 comes`.
pub(super) fn heading(host: &HostChange) -> String {
    match host.action {
        Action::Add => format!("{} (new host)", host.host),
        Action::Change => host.host.to_string(),
        Action::Remove => format!("{} (host goes)", host.host),
    }
}

/// What changes on a host, line by line.
pub(super) fn lines(host: &HostChange) -> Vec<Line> {
    host.objects.iter().flat_map(object).collect()
}

fn object(object: &ObjectChange) -> Vec<Line> {
    let sign = match object.action {
        Action::Add => '+',
        Action::Change => '~',
        Action::Remove => '-',
    };
    let name = match (&object.name, object.kind.as_str()) {
        (Some(name), "destination") => format!(" ({name})"),
        (Some(name), _) => format!(" {name}"),
        (None, _) => String::new(),
    };
    let kind = word(&object.kind);
    let text = match object.kind.as_str() {
        "destination" => format!("{sign} {kind} {}{name}", object.id),
        _ if name.is_empty() => format!("{sign} {kind} {}", object.id),
        _ => format!("{sign} {kind}{name} ({})", object.id),
    };
    let mut lines =
        vec![Line { action: Some(object.action), text, origin: object.origin.as_ref().map(place) }];
    if object.action != Action::Remove {
        lines.extend(object.fields.iter().map(field));
    }
    lines
}

fn place(origin: &Origin) -> String {
    format!("{}:{}", super::escape::plain(&origin.file), origin.line)
}

fn field(field: &FieldChange) -> Line {
    let text = match (&field.old, &field.new) {
        (None, None) => "(secret, not shown)".to_owned(),
        (None, Some(new)) => new.to_string(),
        (Some(old), None) => format!("{old} -> (none)"),
        (Some(old), Some(new)) => format!("{old} -> {new}"),
    };
    let origin = field.origin.as_ref().map(place);
    Line { action: None, text: format!("    {}: {text}", field.field), origin }
}

/// The stages in their order; nothing when there is one or none.
pub(super) fn stages(change: &Change) -> String {
    let mut out = String::new();
    if change.stages.len() < 2 {
        return out;
    }
    let _ = writeln!(out, "In {} stages; within a stage hosts may come in any order:", change.stages.len());
    for stage in &change.stages {
        let _ = writeln!(out, "  {}. {}: {}", stage.number, stage.title, stage.why);
        for host in &stage.hosts {
            let part = match host.step {
                StepKind::Whole | StepKind::Remove => "",
                StepKind::Part => " (not yet all)",
            };
            let _ = writeln!(out, "     {}: {}{part}", host.host, host.does.join(", "));
        }
    }
    out.push('\n');
    out
}
