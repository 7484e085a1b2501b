//! What cannot be known of a cluster because the file has it wrong.
//!
//! Where the file has no readable value the typed cluster has a placeholder, so that the rules can
//! run on the whole. A rule may speak only when its verdict stands whatever will be written there:
//! it asks here for every value that its verdict rests on.

use std::collections::BTreeMap;

use crate::path::{OwnedStep, Step};

/// The paths of what is unknown. Empty for every file with the right shape.
#[derive(Debug, Default)]
pub(crate) struct Unknowns {
    root: UnknownNode,
}

/// Exists only on the way to something unknown.
#[derive(Debug, Default)]
struct UnknownNode {
    /// A placeholder, with all that is in it.
    placeholder: bool,
    /// A table that lacks entries the file has, because their names are wrong.
    open: bool,
    keys: BTreeMap<String, UnknownNode>,
    items: BTreeMap<usize, UnknownNode>,
}

impl UnknownNode {
    fn child(&self, step: Step<'_>) -> Option<&Self> {
        match step {
            Step::Key(key) => self.keys.get(key),
            Step::Index(index) => self.items.get(&index),
        }
    }
}

impl Unknowns {
    /// The value at `path` is a placeholder from now on.
    pub(crate) fn placeholder(&mut self, path: &[OwnedStep]) {
        self.node(path).placeholder = true;
    }

    /// The table at `path` lacks entries from now on.
    pub(crate) fn open(&mut self, path: &[OwnedStep]) {
        self.node(path).open = true;
    }

    fn node(&mut self, path: &[OwnedStep]) -> &mut UnknownNode {
        path.iter().fold(&mut self.root, |node, step| match step {
            OwnedStep::Key(key) => node.keys.entry(key.clone()).or_default(),
            OwnedStep::Index(index) => node.items.entry(*index).or_default(),
        })
    }

    /// Whether nothing is unknown: of every file with the right shape, so that nobody need ask for a path.
    pub(crate) fn is_empty(&self) -> bool {
        let UnknownNode { placeholder, open, keys, items } = &self.root;
        !placeholder && !open && keys.is_empty() && items.is_empty()
    }

    /// Whether the value at `path` is the file's. What is in it may still be unknown.
    pub(crate) fn knows(&self, path: &[Step<'_>]) -> bool {
        self.look(path).is_none_or(|node| !node.placeholder)
    }

    /// Whether the table at `path` is the file's and has all of its entries.
    pub(crate) fn knows_entries(&self, path: &[Step<'_>]) -> bool {
        self.look(path).is_none_or(|node| !node.placeholder && !node.open)
    }

    /// Whether the value at `path` and everything in it is the file's.
    pub(crate) fn knows_all(&self, path: &[Step<'_>]) -> bool {
        self.look(path).is_none()
    }

    /// The placeholder that `path` leads into, or else what is unknown below `path`.
    fn look(&self, path: &[Step<'_>]) -> Option<&UnknownNode> {
        let mut node = &self.root;
        for step in path {
            node = node.child(*step)?;
            if node.placeholder {
                break;
            }
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::at;

    #[test]
    fn what_is_in_a_placeholder_is_unknown_and_what_it_is_in_is_known() {
        let mut unknowns = Unknowns::default();
        assert!(unknowns.knows_all(at!["a"]) && unknowns.is_empty());
        unknowns.placeholder(&[OwnedStep::Key("a".into()), OwnedStep::Index(1)]);
        assert!(!unknowns.is_empty());
        assert!(unknowns.knows(at!["a"]) && unknowns.knows(at!["a", 0]) && unknowns.knows_entries(at!["a"]));
        assert!(!unknowns.knows(at!["a", 1]) && !unknowns.knows(at!["a", 1, "b"]));
        assert!(!unknowns.knows_all(at!["a"]) && unknowns.knows_all(at!["a", 0]));
        unknowns.open(&[OwnedStep::Key("c".into())]);
        assert!(unknowns.knows(at!["c"]) && unknowns.knows(at!["c", "d"]));
        assert!(!unknowns.knows_entries(at!["c"]) && !unknowns.knows_all(at!["c"]));
    }
}
