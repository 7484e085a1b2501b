//! The picture as a Mermaid flowchart, which GitHub and GitLab draw in Markdown.

use std::fmt::Write;

use super::{Edge, Graph, Node};

/// The flowchart, without a Markdown fence.
#[must_use]
pub fn mermaid(graph: &Graph) -> String {
    let mut out = String::from("flowchart LR\n");
    let columns = [
        ("Directors", 'd', &graph.directors),
        ("Virtual routers", 'r', &graph.routers),
        ("Services", 's', &graph.services),
        ("Real servers", 'h', &graph.real_servers),
    ];
    for (title, letter, nodes) in columns {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "  subgraph {letter}[\"{title}\"]");
        let groups = if letter == 'r' { graph.groups.as_slice() } else { &[] };
        for (number, (name, members)) in groups.iter().enumerate() {
            let _ = writeln!(out, "    subgraph g{number}[\"sync group {}\"]", escaped(name.as_str()));
            let inside = nodes.iter().enumerate().filter(|(index, _)| members.contains(index));
            inside.for_each(|(index, node)| shape(&mut out, letter, index, node, 6));
            out.push_str("    end\n");
        }
        let grouped = |index: usize| groups.iter().any(|(_, members)| members.contains(&index));
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| !grouped(*index)) {
            shape(&mut out, letter, index, node, 4);
        }
        out.push_str("  end\n");
    }
    edges(&mut out, ('d', 'r'), &graph.holds);
    edges(&mut out, ('r', 's'), &graph.serves);
    edges(&mut out, ('s', 'h'), &graph.sends);
    for (name, subnets) in &graph.segments {
        let _ = writeln!(out, "  %% segment {name}: {subnets}");
    }
    out
}

fn shape(out: &mut String, letter: char, index: usize, node: &Node, indent: usize) {
    let (open, close) = if letter == 'r' { ("([", "])") } else { ("[", "]") };
    let _ = writeln!(out, "{:indent$}{letter}{index}{open}\"{}\"{close}", "", text(node));
}

fn edges(out: &mut String, (from, to): (char, char), edges: &[Edge]) {
    for edge in edges {
        let arrow = if edge.preferred { "-->" } else { "-.->" };
        let label =
            if edge.label.is_empty() { String::new() } else { format!("|\"{}\"|", escaped(&edge.label)) };
        let _ = writeln!(out, "  {from}{} {arrow}{label} {to}{}", edge.from, edge.to);
    }
}

fn text(node: &Node) -> String {
    let segments: Vec<String> = node.segments.iter().map(|name| format!("segment {name}")).collect();
    let lines = node.lines.iter().chain(&segments).map(|line| escaped(line));
    std::iter::once(format!("<b>{}</b>", escaped(&node.title))).chain(lines).collect::<Vec<_>>().join("<br>")
}

/// Entities as Mermaid reads them inside quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            other => out.push(other),
        }
    }
    out
}
