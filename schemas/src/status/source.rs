//! Where plans come from, as the status shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    /// Address: a path, or a repository with branch and path.
    pub address: String,
    /// The repository; absent where plans are files.
    pub git: Option<GitStatus>,
    /// Time until which this host takes nothing new (`evenkeeld pause`); absent when it is not paused.
    pub paused_until: Option<String>,
}

/// A repository that plans come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitStatus {
    /// Whether only signed commits are taken; otherwise the transport alone is trusted.
    pub signed: bool,
    /// Commit that was accepted last (40 or 64 hexadecimal digits); absent before the first.
    pub commit: Option<String>,
    /// Commits that were accepted so far, those on the way included.
    pub commits: u64,
    /// Time of the acceptance.
    pub accepted: Option<String>,
    /// Time at which the repository last answered with a commit; absent when it has not since the daemon
    /// started.
    pub answered: Option<String>,
    /// Milliseconds since then.
    pub age_ms: Option<u64>,
    /// What is wrong with the repository or its last commit; absent when all is well.
    pub trouble: Option<SourceTrouble>,
}

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceTrouble {
    /// Time since which this is wrong.
    pub since: String,
    /// The commit that is refused; absent when the repository does not answer as it should.
    pub refused: Option<String>,
    /// Sentence for people.
    pub reason: String,
}
