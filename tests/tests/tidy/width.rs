//! Lines that are wider than the limit of `rustfmt.toml`. rustfmt holds code to it; comments, long texts and
//! the inside of macros it leaves as they are.
//!
//! **The exceptions.** A line whose end cannot come earlier: there is no blank in it after its indentation
//! and its comment sign, as in an address of the web. And lines of a raw text (`r"…"`), which is data.

use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The limit, in characters.
pub(crate) fn limit(root: &Path) -> usize {
    let text = std::fs::read_to_string(root.join("rustfmt.toml")).expect("rustfmt.toml");
    let width = text.lines().find_map(|line| line.strip_prefix("max_width = "));
    width.expect("max_width").parse().expect("a number")
}

/// Numbers and widths of the lines of a source file that are too wide.
pub(crate) fn wide(text: &str, limit: usize) -> Vec<(usize, usize)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line, line.chars().count()));
    let mut found: Vec<(usize, usize)> = lines
        .filter(|(_, line, width)| *width > limit && may_be_broken(line))
        .map(|(at, _, width)| (at, width))
        .collect();
    if !found.is_empty() {
        let mut data = Vec::new();
        laid_out_by_hand(text.parse().expect("tokens"), &mut data);
        found.retain(|(at, _)| !data.iter().any(|lines: &RangeInclusive<usize>| lines.contains(at)));
    }
    found
}

fn may_be_broken(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!']).trim().contains(' ')
}

/// Lines of raw texts and of what stands below `#[rustfmt::skip]`.
fn laid_out_by_hand(tokens: TokenStream, found: &mut Vec<RangeInclusive<usize>>) {
    let mut skipped_from = None;
    for token in tokens {
        let (first, last) = (token.span().start().line, token.span().end().line);
        match token {
            TokenTree::Group(group) => {
                if group.stream().to_string() == "rustfmt :: skip" {
                    skipped_from = Some(first);
                } else if group.delimiter() == Delimiter::Brace {
                    found.extend(skipped_from.take().map(|first| first..=last));
                }
                laid_out_by_hand(group.stream(), found);
            }
            TokenTree::Punct(sign) if sign.as_char() == ';' => {
                found.extend(skipped_from.take().map(|first| first..=last));
            }
            TokenTree::Literal(literal) => {
                let written = literal.to_string();
                if written.starts_with('r') || written.starts_with("br") {
                    found.push(first..=last);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}
