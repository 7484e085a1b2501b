//! EK03xx, first part: the subnets of segments.

use std::net::IpAddr;

use evenkeel_schemas::scalars::{Cidr, Name};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[subnets_overlap, host_bits];

fn subnets<'a>(cx: &'a Context<'_>) -> impl Iterator<Item = (&'a Name, usize, Cidr)> {
    cx.cluster
        .segments
        .iter()
        .flat_map(|(name, segment)| segment.subnets.iter().enumerate().map(move |(i, net)| (name, i, *net)))
        .filter(|(name, index, _)| cx.knows(at!["segments", name, "subnets", *index]))
}

/// Networks nest or are apart. Sorted by first address, larger ones first, those that may hold the
/// next one form a stack.
fn subnets_overlap(cx: &Context<'_>, out: &mut Findings) {
    let sortable = |(name, index, net): (_, usize, Cidr)| (net.network(), net.prefix(), name, index, net);
    let mut sorted: Vec<(IpAddr, u8, &Name, usize, Cidr)> = subnets(cx).map(sortable).collect();
    sorted.sort_unstable();
    let mut open: Vec<(&Name, usize, Cidr)> = Vec::new();
    for (_, _, name, index, net) in sorted {
        while open.last().is_some_and(|(_, _, outer)| !outer.contains(net.network())) {
            open.pop();
        }
        let other = open.iter().rev().find(|(other, _, _)| *other != name);
        if let Some((other, other_index, outer)) = other {
            let a = (cx.value(at!["segments", name, "subnets", index]), name, net);
            let b = (cx.value(at!["segments", *other, "subnets", *other_index]), *other, *outer);
            let (earlier, later) = if a.0.start < b.0.start { (a, b) } else { (b, a) };
            out.push(
                Diagnostic::new(
                    &codes::SUBNETS_OVERLAP,
                    later.0,
                    format!(
                        "subnet {} of segment `{}` overlaps {} of segment `{}`",
                        later.2, later.1, earlier.2, earlier.1
                    ),
                    format!("segment `{}`", later.1),
                )
                .also(earlier.0, format!("segment `{}`", earlier.1))
                .hint("give each address to one segment only; both subnets of one wire go into one segment"),
            );
        }
        open.push((name, index, net));
    }
}

fn host_bits(cx: &Context<'_>, out: &mut Findings) {
    for (name, index, net) in subnets(cx) {
        if net.address() != net.network() {
            out.push(
                Diagnostic::new(
                    &codes::HOST_BITS,
                    cx.value(at!["segments", name, "subnets", index]),
                    format!("subnet {net} of segment `{name}` has host bits"),
                    format!("read as {}/{}", net.network(), net.prefix()),
                )
                .hint(format!("write \"{}/{}\"", net.network(), net.prefix())),
            );
        }
    }
}
