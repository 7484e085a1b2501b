//! A change as a comment on a pull request: the summary first, one fold a host, never too long.
//!
//! Whatever comes from the cluster file or the command line stands in code, where Markdown, HTML
//! and mentions mean nothing.

use std::fmt::Write;

use evenkeel_schemas::change::{Change, HostChange};

use super::change::{heading, lines, stages, summary};

/// What GitHub takes in a comment, in characters. GitLab takes more.
const LIMIT: usize = 65_536;

/// Kept free for the line that says what is left out.
const RESERVE: usize = 400;

/// First line of every comment, by which CI finds the one to replace.
pub const MARKER: &str = "<!-- evenkeel plan -->";

/// All of a change, or as much as fits.
#[must_use]
pub fn markdown(change: &Change) -> String {
    let mut out = format!("{MARKER}\n### {}\n\n", escape(&summary(&change.summary)));
    let _ = writeln!(
        out,
        "Cluster {}, compared with {}.\n",
        code(change.cluster.as_str()),
        code(&change.against)
    );
    let notes = change
        .warnings
        .iter()
        .map(|warning| format!("warning: {}\n", warning.message))
        .chain(change.refusals.iter().map(|refusal| {
            format!(
                "apply will refuse [{}]: {} (--override {})\n",
                refusal.code, refusal.message, refusal.guard
            )
        }))
        .collect::<String>();
    let mut left_out = Vec::new();
    if !notes.is_empty() {
        let block = fenced("text", &notes);
        if !fits(&out, &block, 2) {
            left_out.push(format!("{} warnings", change.warnings.len() + change.refusals.len()));
        } else {
            out.push_str(&block);
        }
    }
    let order = stages(change);
    if !order.is_empty() {
        let block = fold(&format!("{} stages", change.stages.len()), &fenced("text", &order));
        if fits(&out, &block, 2) {
            out.push_str(&block);
        } else {
            left_out.push("the stages".to_owned());
        }
    }
    let (mut hosts, mut cut) = (0, false);
    for host in &change.hosts {
        let body = body(host);
        let block = fold(&title(host), &fenced("diff", &body));
        if fits(&out, &block, 1) {
            out.push_str(&block);
        } else if let (false, Some(block)) = (cut, beginning(host, &body, &out)) {
            out.push_str(&block);
            left_out.push(format!("part of {}", host.host));
            cut = true;
        } else {
            hosts += 1;
        }
    }
    if hosts > 0 {
        left_out.push(format!("{hosts} of {} hosts", change.hosts.len()));
    }
    if !left_out.is_empty() {
        let _ = writeln!(
            out,
            "**Left out for length: {}.** Run <code>evenkeel plan</code> with the same arguments, without \
             <code>--format markdown</code>, to see everything.",
            escape(&left_out.join(", "))
        );
    }
    out
}

/// As many lines of a host as fit, when that is enough to be of use.
fn beginning(host: &HostChange, body: &str, out: &str) -> Option<String> {
    const WORTH: usize = 2_000;
    let around = fold(&title(host), &fenced("diff", "… and 1000000 more lines")).chars().count();
    let room = (LIMIT - RESERVE).checked_sub(out.chars().count() + around).filter(|room| *room > WORTH)?;
    let mut taken = 0;
    let fitting = body.split_inclusive('\n').take_while(|line| {
        taken += line.chars().count();
        taken <= room
    });
    let text: String = fitting.collect();
    let more = body.lines().count() - text.lines().count();
    Some(fold(&title(host), &fenced("diff", &format!("{text}… and {more} more lines"))))
}

/// Hosts leave half of what is left to what comes after them.
fn fits(out: &str, block: &str, share: usize) -> bool {
    out.chars().count() + block.chars().count() <= LIMIT / share - RESERVE / share
}

fn title(host: &HostChange) -> String {
    use evenkeel_schemas::change::Action;
    let count = |action| host.objects.iter().filter(|object| object.action == action).count();
    format!(
        "{}: {} to add, {} to change, {} to remove",
        heading(host),
        count(Action::Add),
        count(Action::Change),
        count(Action::Remove)
    )
}

/// In the colours of a diff: a change is drawn with `!`.
fn body(host: &HostChange) -> String {
    let mut out = String::new();
    for line in lines(host) {
        let text = line.text.strip_prefix('~').map_or(line.text.clone(), |rest| format!("!{rest}"));
        let text = if line.action.is_some() { text } else { format!(" {text}") };
        let _ = match line.origin {
            Some(origin) => writeln!(out, "{text}  # {origin}"),
            None => writeln!(out, "{text}"),
        };
    }
    out
}

fn fold(title: &str, content: &str) -> String {
    format!("<details><summary>{}</summary>\n\n{}\n\n</details>\n\n", escape(title), content.trim_end())
}

/// A block of code whose fence is longer than any in it.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n\n", text.trim_end_matches('\n'))
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Text that means only itself, in HTML and in Markdown.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' ' | ':' | ',' | '.' | '/' => out.push(character),
            c if c.is_ascii_punctuation() || c.is_control() => _ = write!(out, "&#{};", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::change::{Action, FORMAT, FieldChange, ObjectChange, Summary};

    use super::*;

    fn large(hosts: usize, objects: usize) -> Change {
        let object = |number: usize| ObjectChange {
            kind: "destination".to_owned(),
            id: format!("tcp 192.0.2.1:80 -> 192.0.2.{number}:80"),
            name: None,
            action: Action::Add,
            fields: vec![FieldChange {
                field: "weight".to_owned(),
                old: None,
                new: Some(1.into()),
                origin: None,
            }],
            origin: None,
        };
        let host = |number: usize| HostChange {
            host: format!("dir{number}").parse().expect("name"),
            action: Action::Change,
            objects: (0..objects).map(object).collect(),
        };
        Change {
            format: FORMAT,
            cluster: "large".parse().expect("name"),
            against: "git:</code>`@everyone`".to_owned(),
            summary: Summary { add: (hosts * objects) as u64, ..Summary::default() },
            hosts: (0..hosts).map(host).collect(),
            stages: Vec::new(),
            warnings: Vec::new(),
            refusals: Vec::new(),
        }
    }

    #[test]
    fn a_comment_fits_and_says_what_is_left_out() {
        let small = markdown(&large(3, 3));
        assert!(small.contains("dir2") && !small.contains("Left out"), "{small}");
        for (hosts, objects) in [(1, 5_000), (200, 100), (5_000, 1)] {
            let text = markdown(&large(hosts, objects));
            assert!(text.chars().count() <= LIMIT, "{}", text.chars().count());
            let shown = text.matches("<details>").count();
            assert!(shown > 0 && text.matches("</details>").count() == shown);
            let (_, left_out) = text.split_once("Left out for length: ").expect("says so");
            assert!(
                left_out.contains(&format!("{} of {hosts} hosts", hosts - shown)) || hosts == 1,
                "{left_out}"
            );
            assert_eq!(left_out.contains("part of dir"), text.contains(" more lines\n"), "{left_out}");
        }
    }

    #[test]
    fn what_users_wrote_means_only_itself() {
        let text = markdown(&large(1, 1));
        assert!(!text.contains("@everyone") && !text.contains("`@"), "{text}");
        assert_eq!(text.matches("</code>").count(), 2, "{text}");
        assert_eq!(escape("<b>*x* & `y`"), "&#60;b&#62;&#42;x&#42; &#38; &#96;y&#96;");
        assert!(fenced("text", "a ```` b").starts_with("`````text\n"));
    }
}
