//! Where plans come from: one seam for all commands. Whoever wants a plan asks a [`Source`] and does not know what kind it is.
//!
//! A kind of source is a file beside `directory` and a variant here: it reads once, and it says when there may be another plan. What
//! makes a plan good is the business of `read` alone.

pub(crate) mod directory;
pub(crate) mod read;

use std::path::{Path, PathBuf};

use evenkeel_host::loaded::{LoadedPlan, PlanRefusal};
use evenkeel_schemas::scalars::Name;
use tokio::sync::mpsc;

use crate::system::files::Trust;
use directory::Directory;
use read::Keep;

/// A plan that was read, or why it is refused.
pub(crate) type Loaded = Result<LoadedPlan, PlanRefusal>;

/// Whoever knows what becomes of the text of a large plan.
pub(crate) trait Keeping: Clone + Send + 'static {
    /// What becomes of it, where a copy may be made in the directory `copies`.
    fn keep<'a>(&self, copies: &'a Path) -> Keep<'a>;
}

/// Where the plan of one host comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file, or a host's file in a directory.
    Directory(Directory),
}

impl Source {
    /// The source that `--plan` means, for this host. What it has is taken from whom `trust` says.
    pub(crate) fn new(plan: &Path, host: &Name, trust: Trust) -> Self {
        Self::Directory(Directory::new(plan.to_owned(), host.clone(), trust))
    }

    /// Reads the plan once.
    ///
    /// # Errors
    /// A refusal for everything that is wrong with it.
    pub(crate) fn read(&self, keep: Keep<'_>) -> Loaded {
        match self {
            Self::Directory(directory) => directory.read(keep),
        }
    }

    /// Reads the plan whenever there may be another one, in a task of its own. Each message is the plan as it is now; the first one comes
    /// at once, and each message to `look` asks for one. `keep` says what becomes of the text of a large plan, of which a copy may be made
    /// in `copies`. Must be called within a tokio runtime.
    pub(crate) fn watch(
        self,
        copies: PathBuf,
        keep: impl Keeping,
        look: mpsc::Receiver<()>,
    ) -> mpsc::Receiver<Box<Loaded>> {
        match self {
            Self::Directory(directory) => directory.watch(copies, keep, look),
        }
    }

    /// Where the plan is read, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => directory.file().display().to_string(),
        }
    }
}
