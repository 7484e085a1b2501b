//! What a source remembers over restarts, as data. No I/O.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is remembered over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceMemory {
    /// Commits, of a repository.
    #[serde(flatten)]
    pub(crate) record: Record,
    /// End of the pause, milliseconds since 1970; absent when there is none.
    #[serde(default)]
    pub(crate) paused_until_ms: Option<u64>,
}

/// Name of a commit: 40 or 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Commit(String);

impl TryFrom<String> for Commit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) {
            Ok(Self(text))
        } else {
            Err("a commit is 40 or 64 hexadecimal digits in lower case")
        }
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

impl Commit {
    /// The name in git's own words; none when that is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::try_from(text.to_owned()).ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub(crate) fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is remembered of a source over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The commit that was accepted last; absent before the first.
    pub(crate) accepted: Option<Accepted>,
    /// Commit that an operator has accepted by hand, wherever it lies.
    #[serde(default)]
    pub(crate) permitted: Option<Commit>,
}

/// A commit that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) commit: Commit,
    /// Commits that were accepted up to it, those on the way included.
    pub(crate) count: u64,
    /// Time of the acceptance, RFC 3339.
    pub(crate) at: String,
}
