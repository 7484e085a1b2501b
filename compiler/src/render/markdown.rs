//! A change as a comment on a pull request: the summary first, one fold a host, never too long.
//!
//! Whatever comes from the cluster file or the command line stands in code, where Markdown, HTML
//! and mentions mean nothing.

use std::fmt::Write;

use evenkeel_schemas::change::Action;

use super::change::{HostLines, View, heading, objects, stages, summary, warnings, write_more};
use crate::change::{Comparison, HostBlock, HostDelta, blocks};

/// Longest comment that GitHub accepts, in characters. GitLab accepts more.
const LIMIT: usize = 65_536;

/// Kept free for the line that says what is left out.
const RESERVE: usize = 400;

/// Least part of a group of hosts that is of use.
const WORTH: usize = 2_000;

/// First line of every comment, by which CI finds the one to replace.
pub const MARKER: &str = "<!-- evenkeel plan -->";

/// All of a change, or as much as fits.
#[must_use]
pub fn markdown(all: &Comparison<'_>, view: &View<'_>) -> String {
    let mut out = format!("{MARKER}\n### {}\n\n", escape(&summary(&all.summary)));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "Cluster {}, compared with {}.\n",
        code(all.inputs.cluster.as_str()),
        code(all.inputs.against)
    );
    let mut left_out = Vec::new();
    let notes = notes(all, view);
    if !notes.is_empty() {
        let block = fenced("text", &notes);
        if fits(&out, &block, 2) {
            out.push_str(&block);
        } else {
            left_out.push(format!("{} warnings", notes.lines().count()));
        }
    }
    let mut order = String::new();
    let _ = stages(all, view, &mut order);
    if !order.is_empty() {
        let block = fold(&format!("{} stages", all.stages.len()), &fenced("text", &order));
        if fits(&out, &block, 2) {
            out.push_str(&block);
        } else {
            left_out.push("the stages".to_owned());
        }
    }
    let hosts: Vec<&HostDelta<'_>> = all.hosts.iter().filter(|host| view.shows(host.host)).collect();
    let blocks = if view.summary { Vec::new() } else { blocks(&hosts, view.full) };
    if view.summary && !hosts.is_empty() {
        let mut short = String::new();
        let _ = objects(all, view, false, &mut short);
        let block = fenced("text", &short);
        if fits(&out, &block, 1) {
            out.push_str(&block);
        } else {
            left_out.push("what happens to each host".to_owned());
        }
    }
    let (mut missing, mut cut) = (0, false);
    for block in &blocks {
        let title = title(block, view);
        let around = fold(&title, &fenced("diff", "… and 1000000 more objects")).chars().count();
        let Some(room) = (LIMIT - RESERVE).checked_sub(out.chars().count() + around) else {
            missing += 1;
            continue;
        };
        let (mut body, shown) = body(all, view, block, room);
        let more = block.deltas.len() - shown;
        if more > 0 && (cut || body.chars().count() < WORTH) {
            missing += 1;
            continue;
        }
        if more > 0 {
            let _ = writeln!(body, "… and {more} more objects");
            left_out.push(format!("part of {}", heading(&block.hosts, view)));
            cut = true;
        }
        out.push_str(&fold(&title, &fenced("diff", &body)));
    }
    if missing > 0 {
        left_out.push(format!("{missing} of {} groups of hosts", blocks.len()));
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

/// Warnings and refusals, a line each.
fn notes(all: &Comparison<'_>, view: &View<'_>) -> String {
    let mut notes = String::new();
    for (warning, more) in warnings(&all.warnings, view) {
        let _ = write!(notes, "warning: {}", warning.message);
        let _ = write_more(more, &mut notes);
    }
    for refusal in &all.refusals {
        let _ = writeln!(
            notes,
            "apply will refuse [{}]: {} (--override {})",
            refusal.code, refusal.message, refusal.guard
        );
    }
    notes
}

/// Warnings and stages leave half of what is left to what comes after them.
fn fits(out: &str, block: &str, share: usize) -> bool {
    out.chars().count() + block.chars().count() <= LIMIT / share - RESERVE / share
}

fn title(block: &HostBlock<'_, '_>, view: &View<'_>) -> String {
    let count = |action| block.deltas.iter().filter(|delta| delta.action() == action).count();
    format!(
        "{}: {} to add, {} to change, {} to remove",
        heading(&block.hosts, view),
        count(Action::Add),
        count(Action::Change),
        count(Action::Remove)
    )
}

/// In the colours of a diff: a change is drawn with `!`. As many objects as fit, and how many these are.
fn body<'a>(
    all: &Comparison<'a>,
    view: &View<'_>,
    block: &HostBlock<'_, 'a>,
    room: usize,
) -> (String, usize) {
    let mut lines = HostLines::new(all, view, block);
    let (mut out, mut taken) = (String::new(), 0);
    for (shown, delta) in block.deltas.iter().enumerate() {
        let before = out.len();
        let _ = lines.object(delta, &mut |line| {
            match (line.action, line.text.strip_prefix('~')) {
                (Some(_), Some(rest)) => write!(out, "!{rest}")?,
                (Some(_), None) => out.push_str(line.text),
                (None, _) => write!(out, " {}", line.text)?,
            }
            match line.origin {
                Some(origin) => writeln!(out, "  # {origin}"),
                None => writeln!(out),
            }
        });
        taken += out[before..].chars().count();
        if taken > room {
            out.truncate(before);
            return (out, shown);
        }
    }
    (out, block.deltas.len())
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
    use std::fmt::Write;

    use evenkeel_schemas::scalars::Name;

    use super::*;
    use crate::change::{Fleet, Inputs, compiled};
    use crate::{SourceFile, compile};

    /// Hosts that are real servers of that many services each.
    fn large(hosts: usize, services: usize) -> Fleet {
        let mut text = "version = 1\nname = \"large\"\nsegments.front.subnets = [\"10.0.0.0/8\"]\n\
             hosts.dir = { address = \"10.0.0.1\", interface = \"eth0\" }\n\
             hosts.dir2 = { address = \"10.0.0.2\", interface = \"eth0\" }\n\
             virtual_routers.VI_1 = { vrid = 1, vips = [\"10.0.0.3\"], directors = [\"dir\", \"dir2\"] }\n"
            .to_owned();
        for host in 0..hosts {
            let address = format!("10.1.{}.{}", host / 250, host % 250 + 1);
            let _ = writeln!(text, "hosts.rs{host} = {{ address = \"{address}\", interface = \"eth0\" }}");
        }
        for service in 0..services {
            let servers: Vec<String> = (0..hosts).map(|host| format!("{{ host = \"rs{host}\" }}")).collect();
            let _ = writeln!(
                text,
                "services.s{service} = {{ router = \"VI_1\", protocol = \"tcp\", port = {}, real_servers = \
                [{}] }}",
                service + 1,
                servers.join(", ")
            );
        }
        let compilation = compile(&SourceFile::new("cluster.toml", text));
        compiled(&compilation.cluster.unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics)))
    }

    fn told(after: &Fleet, view: &View<'_>) -> String {
        let (cluster, before): (Name, Fleet) = ("large".parse().expect("name"), Fleet::new());
        let inputs = Inputs {
            cluster: &cluster,
            against: "git:</code>`@everyone`",
            before: &before,
            after,
            old_origins: None,
            new_origins: None,
            max_change: None,
        };
        markdown(&Comparison::new(&inputs), view)
    }

    #[test]
    fn a_comment_fits_and_says_what_is_left_out() {
        let small = told(&large(3, 3), &View::default());
        assert!(small.contains("rs0 to rs2 &#40;new hosts&#41;") && !small.contains("Left out"), "{small}");
        for (hosts, services) in [(10, 500), (500, 20)] {
            let text = told(&large(hosts, services), &View::default());
            assert!(text.chars().count() <= LIMIT, "{}", text.chars().count());
            let shown = text.matches("<details>").count();
            assert!(shown > 0 && text.matches("</details>").count() == shown);
            let (_, left_out) = text.split_once("Left out for length: ").expect("says so");
            assert!(left_out.contains("part of dir, dir2"), "{left_out}");
            assert!(text.contains(" more objects\n"), "{text}");
        }
        let short = told(&large(500, 20), &View { summary: true, ..View::default() });
        assert!(!short.contains("<summary>dir") && short.contains("Plan: "), "{short}");
    }

    #[test]
    fn what_users_wrote_means_only_itself() {
        let text = told(&large(1, 1), &View::default());
        assert!(!text.contains("@everyone") && !text.contains("`@"), "{text}");
        assert_eq!(text.matches("</code>").count(), 2, "{text}");
        assert_eq!(escape("<b>*x* & `y`"), "&#60;b&#62;&#42;x&#42; &#38; &#96;y&#96;");
        assert!(fenced("text", "a ```` b").starts_with("`````text\n"));
    }
}
