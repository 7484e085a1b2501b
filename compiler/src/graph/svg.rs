//! The picture as SVG: four columns, boxes as high as their text, curves between them.
//!
//! Own code and not a graph library: the columns are known, so all there is to decide is the order
//! within them, which follows the boxes to the left. What is in one frame stands together.

use std::collections::BTreeSet;
use std::fmt::Write;

use evenkeel_schemas::scalars::Name;

use super::labels::{self, Curve};
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
/// Most words beside each other on lines, so that no picture is all lines.
const MOST_BESIDE: f64 = 4.0;
/// Width of a character of the 12 px monospaced font.
const CHARACTER: f64 = 7.3;
/// LinesBetween the frame of a sync group and what is in it, and the room for its words above.
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
.background{fill:#fff;stroke:none;rx:0}.frame{fill:none;stroke:#8250df;stroke-dasharray:3 3}\
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.background{fill:#0d1117}\
.halo{stroke:#0d1117}.director{fill:#0c2d6b}.router{fill:#3c1e70}.service{fill:#4b2900}.real{fill:#04260f}}";

/// A box with its place.
struct PlacedNode<'g> {
    node: &'g Node,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl PlacedNode<'_> {
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
    let lowest_box = all().map(|node| node.y + node.height).fold(HEAD, f64::max);
    let [directors, routers, services, real_servers] = &placed;
    let between = [
        LinesBetween::new(&graph.holds, directors, routers),
        LinesBetween::new(&graph.serves, routers, services),
        LinesBetween::new(&graph.sends, services, real_servers),
    ];
    let bottom = between.iter().map(LinesBetween::bottom).fold(lowest_box, f64::max) + MARGIN;
    let legend = graph.segments.iter().map(|(name, subnets)| format!("segment {name}: {subnets}"));
    let legend: Vec<String> = legend.collect();
    let height = bottom + LINE * lines(legend.len()) + PADDING;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right:.0} {height:.0}\" \
         width=\"{right:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"Cluster {name}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"background\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"head\" x=\"{MARGIN}\" y=\"30\">{name}</text>\n",
        name = escaped(&graph.name)
    );
    between.iter().for_each(|between| between.draw(&mut out));
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
) -> [Vec<PlacedNode<'g>>; 4] {
    let mut x = MARGIN;
    let mut placed: [Vec<PlacedNode<'g>>; 4] = Default::default();
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
        let mut nodes: Vec<Option<PlacedNode<'g>>> = column.iter().map(|_| None).collect();
        for (_, frame, _, node) in order {
            if frame != inside {
                y += if inside.is_some() { FRAME } else { 0.0 };
                y += if frame.is_some() { FRAME_HEAD } else { 0.0 };
                inside = frame;
            }
            let height = size(&column[node]).1;
            nodes[node] = Some(PlacedNode { node: &column[node], x, y, width, height });
            y += height + GAP;
        }
        placed[index] = nodes.into_iter().flatten().collect();
        if let Some(edges) = edges.get(index) {
            let longest = edges.iter().map(|edge| edge.label.chars().count()).max().unwrap_or(0);
            let count = edges.iter().filter(|edge| !edge.label.is_empty()).count();
            // Words may stand beside each other where there are more of them than rows to write them in.
            let beside = (2.0 * labels::rows(count) / (y - HEAD).max(1.0)).ceil().clamp(1.0, MOST_BESIDE);
            x += width + BETWEEN.max(lines(longest) * CHARACTER * beside + AROUND);
        }
    }
    centre(&mut placed);
    placed
}

/// Mean height of what leads to a box.
fn pull(column: usize, node: usize, placed: &[Vec<PlacedNode<'_>>; 4], edges: [&Vec<Edge>; 3]) -> f64 {
    let Some(before) = column.checked_sub(1) else { return lines(node) };
    let from =
        edges[before].iter().filter(|edge| edge.to == node).filter_map(|edge| placed[before].get(edge.from));
    let (sum, count) = from.fold((0.0, 0), |(sum, count), from| (sum + from.middle(), count + 1));
    if count == 0 { f64::MAX } else { sum / lines(count) }
}

/// Moves every column to the middle of the picture.
fn centre(placed: &mut [Vec<PlacedNode<'_>>; 4]) {
    let bottom =
        |column: &Vec<PlacedNode<'_>>| column.iter().map(|node| node.y + node.height).fold(HEAD, f64::max);
    let lowest = placed.iter().map(bottom).fold(HEAD, f64::max);
    for column in placed {
        let shift = (lowest - bottom(column)) / 2.0;
        column.iter_mut().for_each(|node| node.y += shift);
    }
}

/// A frame around some boxes that stand together, with its words inside, above them.
fn draw_frame<'p>(out: &mut String, title: &str, boxes: impl Iterator<Item = &'p PlacedNode<'p>> + Clone) {
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

fn draw_node(out: &mut String, placed: &PlacedNode<'_>, class: &str) {
    let PlacedNode { node, x, y, width, height } = placed;
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

/// The lines between two columns and the words on them, which are drawn last so that no line crosses them.
struct LinesBetween<'g> {
    lines: Vec<(&'g Edge, Curve)>,
    /// Lines with words, and where the words stand.
    words: Vec<(&'g Edge, (f64, f64))>,
}

impl<'g> LinesBetween<'g> {
    fn new(edges: &'g [Edge], from: &[PlacedNode<'_>], to: &[PlacedNode<'_>]) -> Self {
        let line = |edge: &'g Edge| {
            let (from, to) = (from.get(edge.from)?, to.get(edge.to)?);
            Some((edge, Curve { from: (from.x + from.width, from.middle()), to: (to.x, to.middle()) }))
        };
        let lines: Vec<(&Edge, Curve)> = edges.iter().filter_map(line).collect();
        let with_words: Vec<&(&Edge, Curve)> =
            lines.iter().filter(|(edge, _)| !edge.label.is_empty()).collect();
        let sizes: Vec<(Curve, f64)> =
            with_words.iter().map(|(edge, curve)| (*curve, width_of(&edge.label))).collect();
        let places = labels::place(&sizes, HEAD);
        let words = with_words.iter().map(|(edge, _)| *edge).zip(places).collect();
        Self { lines, words }
    }

    /// Bottom of the lowest words.
    fn bottom(&self) -> f64 {
        self.words.iter().map(|(_, (_, y))| labels::bottom(*y)).fold(HEAD, f64::max)
    }

    fn draw(&self, out: &mut String) {
        for (edge, curve) in &self.lines {
            let class = if edge.preferred { "" } else { " class=\"backup\"" };
            let ((x1, y1), (x2, y2), bend) = (curve.from, curve.to, curve.bend());
            let _ = writeln!(
                out,
                "<path{class} d=\"M{x1:.1},{y1:.1} C{:.1},{y1:.1} {:.1},{y2:.1} {x2:.1},{y2:.1}\"/>",
                x1 + bend,
                x2 - bend
            );
        }
        for (edge, (x, y)) in &self.words {
            let _ = writeln!(
                out,
                "<text class=\"small halo\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
                escaped(&edge.label)
            );
        }
    }
}

fn width_of(words: &str) -> f64 {
    lines(words.chars().count()) * CHARACTER
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
