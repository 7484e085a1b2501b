//! The picture as SVG: four columns, boxes as high as their text, curves between them.
//!
//! Own code and not a graph library: the columns are known, so all there is to decide is the order
//! within them, which follows the boxes to the left. What is in one frame stands together.

use std::collections::BTreeSet;
use std::fmt::Write;

use evenkeel_schemas::scalars::Name;

use super::{Edge, Graph, Node};

const MARGIN: f64 = 24.0;
const HEAD: f64 = 64.0;
const LINE: f64 = 16.0;
const PADDING: f64 = 10.0;
const GAP: f64 = 14.0;
/// Least between columns; more when the words on the lines need it.
const BETWEEN: f64 = 90.0;
/// Room on both sides of the words on a line.
const AROUND: f64 = 70.0;
/// Width of a character of the 12 px monospaced font.
const CHARACTER: f64 = 7.3;
/// Between the frame of a sync group and what is in it, and the room for its words above.
const FRAME: f64 = 8.0;
const FRAME_HEAD: f64 = 24.0;
const TITLES: [&str; 4] = ["Directors", "Virtual routers", "Services", "Real servers"];
const CLASSES: [&str; 4] = ["director", "router", "service", "real"];

const STYLE: &str = "\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1b1f24}\
.title{font-weight:bold}.head{font-size:15px;font-weight:bold}.small{fill:#57606a}\
rect{stroke-width:1.2;rx:6}\
.director{fill:#ddf4ff;stroke:#0969da}.router{fill:#fbefff;stroke:#8250df}\
.service{fill:#fff8c5;stroke:#9a6700}.real{fill:#dafbe1;stroke:#1a7f37}\
path{fill:none;stroke:#6e7781;stroke-width:1.3}.backup{stroke-dasharray:5 4}\
.background{fill:#fff;stroke:none;rx:0}.frame{fill:none;stroke:#8250df;stroke-dasharray:3 3}.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.background{fill:#0d1117}\
.halo{stroke:#0d1117}.director{fill:#0c2d6b}.router{fill:#3c1e70}.service{fill:#4b2900}.real{fill:#04260f}}";

/// A box with its place.
struct Placed<'g> {
    node: &'g Node,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Placed<'_> {
    fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// The picture, a whole SVG document.
#[must_use]
pub fn svg(graph: &Graph) -> String {
    let columns = [&graph.directors, &graph.routers, &graph.services, &graph.real_servers];
    let edges = [&graph.holds, &graph.serves, &graph.sends];
    let placed = place(columns, edges, &graph.groups);
    let all = || placed.iter().flatten();
    let right = all().map(|node| node.x + node.width).fold(360.0, f64::max) + MARGIN;
    let bottom = all().map(|node| node.y + node.height).fold(HEAD, f64::max) + MARGIN;
    let legend = graph.segments.iter().map(|(name, subnets)| format!("segment {name}: {subnets}"));
    let legend: Vec<String> = legend.collect();
    let height = bottom + LINE * lines(legend.len()) + PADDING;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right:.0} {height:.0}\" width=\"{right:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"Cluster {name}\">\n<style>{STYLE}</style>\n\
         <rect class=\"background\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"head\" x=\"{MARGIN}\" y=\"30\">{name}</text>\n",
        name = escaped(&graph.name)
    );
    for (index, edges) in edges.into_iter().enumerate() {
        let mut written = Vec::new();
        for edge in edges {
            if let (Some(from), Some(to)) = (placed[index].get(edge.from), placed[index + 1].get(edge.to)) {
                draw_edge(&mut out, edge, from, to, &mut written);
            }
        }
    }
    for (index, column) in placed.iter().enumerate() {
        if let Some(first) = column.first() {
            // Writing to a String cannot fail, here and below.
            let _ =
                writeln!(out, "<text class=\"small\" x=\"{:.1}\" y=\"54\">{}</text>", first.x, TITLES[index]);
        }
        column.iter().for_each(|node| draw_node(&mut out, node, CLASSES[index]));
    }
    for (name, members) in &graph.groups {
        draw_frame(&mut out, &group_title(name), members.iter().filter_map(|index| placed[1].get(*index)));
    }
    for (index, line) in legend.iter().enumerate() {
        let y = bottom + LINE * lines(index) + 4.0;
        let _ = writeln!(out, "<text class=\"small\" x=\"{MARGIN}\" y=\"{y:.1}\">{}</text>", escaped(line));
    }
    out.push_str("</svg>\n");
    out
}

#[allow(clippy::cast_precision_loss, reason = "a number of lines")]
const fn lines(count: usize) -> f64 {
    count as f64
}

fn text_of(node: &Node) -> Vec<String> {
    let segments: Vec<&str> = node.segments.iter().map(AsRef::as_ref).collect();
    let segment = (!segments.is_empty()).then(|| format!("on {}", segments.join(", ")));
    node.lines.iter().cloned().chain(segment).collect()
}

fn group_title(name: &Name) -> String {
    format!("sync group {name}")
}

/// Places column after column, each ordered by where its boxes are reached from.
fn place<'g>(
    columns: [&'g Vec<Node>; 4],
    edges: [&Vec<Edge>; 3],
    groups: &[(Name, BTreeSet<usize>)],
) -> [Vec<Placed<'g>>; 4] {
    let mut x = MARGIN;
    let mut placed: [Vec<Placed<'g>>; 4] = Default::default();
    for (index, column) in columns.into_iter().enumerate() {
        let size = |node: &Node| {
            let text = text_of(node);
            let longest =
                text.iter().map(|line| line.chars().count()).chain([node.title.chars().count()]).max();
            (lines(longest.unwrap_or(0)) * CHARACTER + 2.0 * PADDING, lines(text.len() + 1) * LINE + PADDING)
        };
        // Frames are around virtual routers.
        let groups = if index == 1 { groups } else { &[] };
        let titles = groups.iter().map(|(name, _)| lines(group_title(name).chars().count()) * CHARACTER);
        let width = column.iter().map(|node| size(node).0).chain(titles).fold(0.0, f64::max);
        let frame = |node: usize| groups.iter().position(|(_, members)| members.contains(&node));
        let pulls: Vec<f64> = (0..column.len()).map(|node| pull(index, node, &placed, edges)).collect();
        // A frame is where its boxes are in the mean.
        let place_of = |node: usize| match frame(node).map(|frame| &groups[frame].1) {
            Some(members) => members.iter().map(|member| pulls[*member]).sum::<f64>() / lines(members.len()),
            None => pulls[node],
        };
        let mut order: Vec<(f64, Option<usize>, f64, usize)> =
            (0..column.len()).map(|node| (place_of(node), frame(node), pulls[node], node)).collect();
        order.sort_by(|a, b| {
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
        });
        let mut y = HEAD;
        let mut inside = None;
        let mut nodes: Vec<Option<Placed<'g>>> = column.iter().map(|_| None).collect();
        for (_, frame, _, node) in order {
            if frame != inside {
                y += if inside.is_some() { FRAME } else { 0.0 };
                y += if frame.is_some() { FRAME_HEAD } else { 0.0 };
                inside = frame;
            }
            let height = size(&column[node]).1;
            nodes[node] = Some(Placed { node: &column[node], x, y, width, height });
            y += height + GAP;
        }
        placed[index] = nodes.into_iter().flatten().collect();
        let labels = edges.get(index).into_iter().flat_map(|edges| edges.iter());
        let longest = labels.map(|edge| edge.label.chars().count()).max().unwrap_or(0);
        x += width + BETWEEN.max(lines(longest) * CHARACTER + AROUND);
    }
    centre(&mut placed);
    placed
}

/// Mean height of what leads to a box.
fn pull(column: usize, node: usize, placed: &[Vec<Placed<'_>>; 4], edges: [&Vec<Edge>; 3]) -> f64 {
    let Some(before) = column.checked_sub(1) else { return lines(node) };
    let from =
        edges[before].iter().filter(|edge| edge.to == node).filter_map(|edge| placed[before].get(edge.from));
    let (sum, count) = from.fold((0.0, 0), |(sum, count), from| (sum + from.middle(), count + 1));
    if count == 0 { f64::MAX } else { sum / lines(count) }
}

/// Moves every column to the middle of the picture.
fn centre(placed: &mut [Vec<Placed<'_>>; 4]) {
    let bottom =
        |column: &Vec<Placed<'_>>| column.iter().map(|node| node.y + node.height).fold(HEAD, f64::max);
    let lowest = placed.iter().map(bottom).fold(HEAD, f64::max);
    for column in placed {
        let shift = (lowest - bottom(column)) / 2.0;
        column.iter_mut().for_each(|node| node.y += shift);
    }
}

/// A frame around some boxes that stand together, with its words inside, above them.
fn draw_frame<'p>(out: &mut String, title: &str, boxes: impl Iterator<Item = &'p Placed<'p>> + Clone) {
    let top = boxes.clone().map(|placed| placed.y).fold(f64::MAX, f64::min) - FRAME_HEAD;
    let bottom = boxes.clone().map(|placed| placed.y + placed.height).fold(0.0, f64::max) + FRAME;
    let Some(first) = boxes.clone().next() else { return };
    let (x, width) = (first.x - FRAME, first.width + 2.0 * FRAME);
    let _ = writeln!(
        out,
        "<rect class=\"frame\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>\n\
         <text class=\"small halo\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        bottom - top,
        first.x,
        top + LINE,
        escaped(title)
    );
}

fn draw_node(out: &mut String, placed: &Placed<'_>, class: &str) {
    let Placed { node, x, y, width, height } = placed;
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n\
         <text class=\"title\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        x + PADDING,
        y + LINE,
        escaped(&node.title)
    );
    for (index, line) in text_of(node).iter().enumerate() {
        let y = y + LINE * lines(index + 2);
        let _ = writeln!(
            out,
            "<text class=\"small\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            x + PADDING,
            escaped(line)
        );
    }
}

/// A curve with its words where it starts, unless words are there already.
fn draw_edge(
    out: &mut String,
    edge: &Edge,
    from: &Placed<'_>,
    to: &Placed<'_>,
    written: &mut Vec<(f64, f64)>,
) {
    let (x1, y1, x2, y2) = (from.x + from.width, from.middle(), to.x, to.middle());
    let bend = (x2 - x1) / 2.0;
    let class = if edge.preferred { "" } else { " class=\"backup\"" };
    let _ = writeln!(
        out,
        "<path{class} d=\"M{x1:.1},{y1:.1} C{:.1},{y1:.1} {:.1},{y2:.1} {x2:.1},{y2:.1}\"/>",
        x1 + bend,
        x2 - bend
    );
    if edge.label.is_empty() {
        return;
    }
    let (x, mut y) = (x1 + (x2 - x1) * 0.5, y1 + (y2 - y1) * 0.5 - 4.0);
    while written
        .iter()
        .any(|(other_x, other_y): &(f64, f64)| (other_x - x).abs() < 60.0 && (other_y - y).abs() < 13.0)
    {
        y += 14.0;
    }
    written.push((x, y));
    let _ = writeln!(
        out,
        "<text class=\"small halo\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(&edge.label)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
