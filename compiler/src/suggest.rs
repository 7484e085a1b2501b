//! "Did you mean": the nearest of the names that would have been right, and lists of names.

use std::cell::Cell;
use std::fmt::Display;

/// Comparisons of one rule. A file with ten thousand wrong names must not take a minute to refuse;
/// whoever has so many gets suggestions for the first.
const BUDGET: usize = 50_000;

/// Most names that a list shows.
const LISTED: usize = 8;

/// Finds near names within a budget.
#[derive(Debug)]
pub(crate) struct Suggester {
    left: Cell<usize>,
}

impl Suggester {
    pub(crate) const fn new() -> Self {
        Self { left: Cell::new(BUDGET) }
    }

    /// The candidate nearest to `word`, when one is near enough to be meant.
    pub(crate) fn closest<'a>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let limit = (word.chars().count() / 3).clamp(1, 3);
        let lower = word.to_lowercase();
        let mut best: Option<(usize, &str)> = None;
        for candidate in candidates {
            let left = self.left.get().checked_sub(1)?;
            self.left.set(left);
            if candidate.len().abs_diff(word.len()) > limit + 1 {
                continue;
            }
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// A hint for a wrong name: the nearest right one, or else what there is.
    pub(crate) fn hint<'a>(
        &self,
        word: &str,
        what: &str,
        candidates: impl Iterator<Item = &'a str> + Clone,
    ) -> String {
        match self.closest(word, candidates.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => match list(candidates) {
                Some(names) => format!("{what}: {names}"),
                None => format!("the file defines no {what}"),
            },
        }
    }
}

/// `a`, `b` and `c`; shortened when long, `None` when empty.
pub(crate) fn list(items: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let mut items = items.into_iter();
    let mut shown: Vec<String> = items.by_ref().take(LISTED).map(|item| format!("`{item}`")).collect();
    let more = items.count();
    if more > 0 {
        return Some(format!("{} and {more} more", shown.join(", ")));
    }
    let last = shown.pop()?;
    if shown.is_empty() { Some(last) } else { Some(format!("{} and {last}", shown.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let suggester = Suggester::new();
        assert_eq!(suggester.closest("vipz", ["vips", "vrid"]), Some("vips"));
        assert_eq!(suggester.closest("vi_1", ["VI_2", "VI_1"]), Some("VI_1"));
        assert_eq!(suggester.closest("mail", ["web", "dns"]), None);
        assert_eq!(suggester.closest("", ["web"]), None);
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(list(Vec::<&str>::new()), None);
        assert_eq!(list(["a"]).as_deref(), Some("`a`"));
        assert_eq!(list(["a", "b", "c"]).as_deref(), Some("`a`, `b` and `c`"));
        assert!(list(0..20).is_some_and(|text| text.ends_with("and 12 more")));
    }
}
