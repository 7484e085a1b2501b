//! Where the words on lines go, so that none are written over others. Geometry only: what the words say is
//! the graph's, how they are drawn `svg`'s.
//!
//! Words stand on their own line, in its middle where there is room, else a little before or behind it. Where
//! lines are so many that there is no room on it, they stand in the nearest row that is free from side to
//! side.

use std::collections::BTreeMap;

/// Above and below the line of writing, with a little room.
const ASCENT: f64 = 12.0;
const DESCENT: f64 = 4.0;
/// Height of words, and so of a row.
const ROW: f64 = ASCENT + DESCENT;
/// Least distance of words that stand beside each other: fonts differ in width.
const BESIDE: f64 = 10.0;
/// Distance of words above the line that they are on.
const ABOVE: f64 = 4.0;
/// Least distance of words from the boxes on both sides, which may have a frame around them.
const ASIDE: f64 = 12.0;
/// Largest distance of words from the middle of a line, as a part of its length.
const REACH: f64 = 0.36;
/// Least and most places on each side of the middle that are tried: steep lines have more of them.
const LEAST_PLACES: f64 = 6.0;
const MOST_PLACES: f64 = 32.0;

/// A line from the right side of a box to the left side of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
}

impl Curve {
    /// Length of the line before it bends.
    pub(super) fn bend(&self) -> f64 {
        (self.to.0 - self.from.0) / 2.0
    }

    /// Height from its beginning to its end.
    fn height(&self) -> f64 {
        (self.to.1 - self.from.1).abs()
    }

    /// Points at which words may stand, from its middle to both sides.
    fn places(&self) -> impl Iterator<Item = (f64, f64)> {
        let count = (self.height() * 2.0 / ROW).clamp(LEAST_PLACES, MOST_PLACES);
        let steps =
            std::iter::successors(Some(1.0), |step| Some(step + 1.0)).take_while(move |step| *step <= count);
        let sides = steps.flat_map(move |step| [0.5 - REACH * step / count, 0.5 + REACH * step / count]);
        std::iter::once(0.5).chain(sides).map(|part| self.at(part))
    }

    /// The point at a part of the way, from 0 to 1 (a cubic Bézier curve).
    fn at(&self, part: f64) -> (f64, f64) {
        let rest = 1.0 - part;
        let weights = [rest.powi(3), 3.0 * rest.powi(2) * part, 3.0 * rest * part.powi(2), part.powi(3)];
        let mix = |points: [f64; 4]| weights.iter().zip(points).map(|(weight, point)| weight * point).sum();
        let ((x1, y1), (x2, y2), bend) = (self.from, self.to, self.bend());
        (mix([x1, x1 + bend, x2 - bend, x2]), mix([y1, y1, y2, y2]))
    }
}

/// The room that words take.
#[derive(Debug, Clone, Copy)]
struct Area {
    left: f64,
    right: f64,
    top: f64,
}

impl Area {
    fn new(x: f64, y: f64, width: f64) -> Self {
        let half = (width + BESIDE) / 2.0;
        Self { left: x - half, right: x + half, top: y - ASCENT }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && (self.top - other.top).abs() < ROW
    }
}

/// Words between two columns.
#[derive(Debug, Default)]
struct Written {
    /// By the row that its top is in.
    rows: BTreeMap<i64, Vec<Area>>,
    /// From a row that is not free on to one that may be: below it, and above it.
    below: BTreeMap<i64, i64>,
    above: BTreeMap<i64, i64>,
}

impl Written {
    /// Words that may meet others in a row: those that begin in it or in one beside it.
    fn near(&self, row: i64) -> impl Iterator<Item = &Area> {
        self.rows.range(row - 1..=row + 1).flat_map(|(_, areas)| areas)
    }

    fn has_room(&self, area: &Area) -> bool {
        self.near(row_of(area.top)).all(|other| !other.meets(area))
    }

    fn add(&mut self, area: Area) {
        self.rows.entry(row_of(area.top)).or_default().push(area);
    }

    /// The first free row from `row` on, downwards or upwards. A row that is found taken stays so and is not
    /// examined again: the rows that were passed over are remembered.
    fn free(&mut self, row: i64, down: bool) -> i64 {
        let (mut at, mut passed) = (row, Vec::new());
        loop {
            let known = if down { self.below.get(&at) } else { self.above.get(&at) };
            let next = match known {
                Some(next) => *next,
                None if self.near(at).all(|other| (other.top - top_of(at)).abs() >= ROW) => break,
                None => at + if down { 1 } else { -1 },
            };
            passed.push(at);
            at = next;
        }
        let memory = if down { &mut self.below } else { &mut self.above };
        memory.extend(passed.into_iter().map(|row| (row, at)));
        at
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a picture has fewer rows")]
fn row_of(top: f64) -> i64 {
    (top / ROW).floor() as i64
}

#[allow(clippy::cast_precision_loss, reason = "a picture has fewer rows")]
fn top_of(row: i64) -> f64 {
    row as f64 * ROW
}

/// Height of so many words below each other.
#[allow(clippy::cast_precision_loss, reason = "a picture has fewer")]
pub(super) const fn rows(count: usize) -> f64 {
    count as f64 * ROW
}

/// Places the words on all lines between two columns: for each line and the width of its words the middle of
/// their line of writing, below `top`.
pub(super) fn place(lines: &[(Curve, f64)], top: f64) -> Vec<(f64, f64)> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    // Those with the fewest places of their own choose first.
    order.sort_by(|a, b| lines[*a].0.height().total_cmp(&lines[*b].0.height()));
    let mut written = Written::default();
    let mut places = vec![(0.0, 0.0); lines.len()];
    for index in order {
        let (curve, width) = lines[index];
        let sides = (curve.from.0 + ASIDE + width / 2.0, curve.to.0 - ASIDE - width / 2.0);
        let mut fitting = curve
            .places()
            .map(|(x, y)| (x, y - ABOVE))
            .filter(|(x, y)| *x >= sides.0 && *x <= sides.1 && y - ASCENT >= top);
        let place = fitting.find(|(x, y)| written.has_room(&Area::new(*x, *y, width)));
        let (x, y) = place.unwrap_or_else(|| {
            let (x, y) = curve.at(0.5);
            let row = row_of(y - ABOVE - ASCENT).max(row_of(top) + 1);
            let (down, up) = (written.free(row, true), written.free(row, false));
            let nearest = if row - up < down - row && top_of(up) >= top { up } else { down };
            (x, top_of(nearest) + ASCENT)
        });
        written.add(Area::new(x, y, width));
        places[index] = (x, y);
    }
    places
}

/// Bottom of words whose line of writing is at `y`.
pub(super) const fn bottom(y: f64) -> f64 {
    y + DESCENT
}
