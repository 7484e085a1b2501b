//! Sources of plans: one seam for all commands. A command asks a [`Source`] for a plan and does not know its
//! kind.
//!
//! A kind of source is a file beside `directory` and a variant here: it reads once, and it reports when there
//! may be another plan. Only `read` decides whether a plan is good.

mod cadence;
pub(crate) mod directory;
pub(crate) mod git;
pub(crate) mod kept;
pub(crate) mod memory;
pub(crate) mod read;

use std::path::{Path, PathBuf};

use evenkeel_host::loaded::{LoadedPlan, PlanRefusal};
use evenkeel_schemas::scalars::Name;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::system::files::Trust;
use directory::Directory;
use git::Git;
use kept::Kept;
use memory::Commit;
use read::Keep;

/// A plan that was read, or its refusal.
pub(crate) type Loaded = Result<LoadedPlan, PlanRefusal>;

/// Reason to look for another plan.
#[derive(Debug)]
pub(crate) enum Look {
    /// The time has come.
    Due,
    /// A signal says so.
    Now,
    /// An operator asks, and waits for the result.
    Pull(oneshot::Sender<Pulled>),
}

/// Result of a look that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pulled {
    /// A commit was accepted, and its plan is handed on.
    Taken { commit: String },
    /// The commit is the one that was accepted last.
    Nothing { commit: String },
    /// The plan file was read again.
    Read,
    /// The commit was accepted, and its plan is refused.
    PlanRefused { commit: String, reason: String },
    /// The source does not answer as it should, or its commit is refused.
    Failed(String),
    /// Nothing new is taken until then.
    Paused(String),
}

/// Request about the source of plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "action")]
pub(crate) enum SourceRequest {
    /// To look now.
    Pull,
    /// To take nothing new for so many seconds.
    Pause { seconds: u64 },
    /// To take what comes again.
    Resume,
    /// To take this commit wherever it lies.
    Accept { commit: Commit },
}

/// Answer to a request about the source of plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SourceAnswer {
    /// Result of a look; none when it is not done yet.
    Looked(Option<Pulled>),
    /// Nothing new is taken until then.
    PausedUntil(String),
    /// What comes is taken again.
    Resumed,
}

/// Decision about the text of a large plan.
pub(crate) trait Keeping: Clone + Send + 'static {
    /// The decision now; a copy may be made in the directory `copies`.
    fn keep<'a>(&self, copies: &'a Path) -> Keep<'a>;
}

/// Source of one host's plan.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file, or a host's file in a directory.
    Directory(Directory),
    /// A file in a git repository.
    Git(Box<Git>),
}

impl Source {
    /// The source that `--plan` means, for this host. Files are read only from owners that `trust` allows.
    pub(crate) fn new(plan: &Path, host: &Name, trust: Trust) -> Self {
        Self::Directory(Directory::new(plan.to_owned(), host.clone(), trust))
    }

    /// Reads the plan once.
    ///
    /// A refusal, whatever is wrong with the plan.
    pub(crate) fn read(&self, keep: Keep<'_>) -> Loaded {
        match self {
            Self::Directory(directory) => directory.read(keep),
            Self::Git(git) => git.read(keep),
        }
    }

    /// Reads the plan whenever there may be another one, in a task of its own. Each message is the plan as it
    /// is now; the first one comes at once, and each message to `look` asks for one. `keep` decides about the
    /// text of a large plan, of which a copy may be made in `copies`. While `kept` has a pause, nothing is
    /// read. Must be called within a tokio runtime.
    pub(crate) fn watch(
        self,
        copies: PathBuf,
        keep: impl Keeping,
        kept: Kept,
        look: mpsc::Receiver<Look>,
    ) -> mpsc::Receiver<Box<Loaded>> {
        match self {
            Self::Directory(directory) => {
                git::forget_plan(&copies);
                directory.watch(copies, keep, kept, look)
            }
            Self::Git(git) => git.watch(copies, keep, kept, look),
        }
    }

    /// Whether what is read is what was taken before, so that a pause does not concern it.
    pub(crate) const fn is_taken_before(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Git(_) => true,
        }
    }

    /// Place that the plan is read from, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => directory.file().display().to_string(),
            Self::Git(git) => git.address.to_string(),
        }
    }
}
