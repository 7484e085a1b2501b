//! Paths into the document: the steps by which tables and lists are entered, borrowed or owned.
//!
//! Values only. The tree that paths lead into is `parse`'s, the shapes that they lead to are `schema`'s.

use evenkeel_schemas::scalars::Name;

/// One step of a path into the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a String> for Step<'a> {
    fn from(key: &'a String) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a Name> for Step<'a> {
    fn from(key: &'a Name) -> Self {
        Self::Key(key.as_str())
    }
}

impl<'a> From<&&'a Name> for Step<'a> {
    fn from(key: &&'a Name) -> Self {
        Self::from(*key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path: `at!["hosts", name, "address"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { &[$($crate::path::Step::from($step)),*][..] };
}
pub(crate) use at;

/// A path that outlives the document it was found in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnedStep {
    Key(String),
    Index(usize),
}

impl From<&Step<'_>> for OwnedStep {
    fn from(step: &Step<'_>) -> Self {
        match step {
            Step::Key(key) => Self::Key((*key).to_owned()),
            Step::Index(index) => Self::Index(*index),
        }
    }
}

impl OwnedStep {
    pub(crate) fn borrow(&self) -> Step<'_> {
        match self {
            Self::Key(key) => Step::Key(key),
            Self::Index(index) => Step::Index(*index),
        }
    }
}
