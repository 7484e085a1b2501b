//! Sources of plans: one seam for all commands. A command asks a [`Source`] for a plan and does not know its
//! kind.
//!
//! A kind of source is a file beside `directory` and a variant here: it reads once, and it reports when there
//! may be another plan. Only `read` decides whether a plan is good.

pub(crate) mod directory;
pub(crate) mod read;

use std::path::{Path, PathBuf};

use evenkeel_host::loaded::{LoadedPlan, PlanRefusal};
use evenkeel_schemas::scalars::Name;
use tokio::sync::mpsc;

use crate::system::files::Trust;
use directory::Directory;
use read::Keep;

/// A plan that was read, or its refusal.
pub(crate) type Loaded = Result<LoadedPlan, PlanRefusal>;

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
        }
    }

    /// Reads the plan whenever there may be another one, in a task of its own. Each message is the plan as it
    /// is now; the first one comes at once, and each message to `look` asks for one. `keep` decides about the
    /// text of a large plan, of which a copy may be made in `copies`. Must be called within a tokio runtime.
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

    /// Place that the plan is read from, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => directory.file().display().to_string(),
        }
    }
}
