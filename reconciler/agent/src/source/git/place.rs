//! Directories of a repository below the state directory, and who may do what there.
//!
//! ```text
//! STATE/source/            root, 0711
//!   signers, revoked       root, 0644: copies for git
//!   config                 root, 0644: git's settings that its own children need
//!   plan/HOST.plan.toml    root, 0700: the plan that was taken last
//!   work/                  the unprivileged user, 0700: the repository, and what git needs beside
//! ```
//!
//! The daemon may lack the right to give files away (CAP_CHOWN), so the user makes its directory by itself,
//! while nobody else can get there. The state directory then lets others through (0711) and shows them
//! nothing.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Name;

use crate::system::files::{self, Trust, limit};

/// Settings for git's children as well, which do not get those of the command line. A repository on this host
/// belongs to another user than the one that git runs as.
const CONFIG: &str = "[safe]\n\tdirectory = *\n[uploadpack]\n\tallowFilter = true\n";

/// The directories.
#[derive(Debug, Clone)]
pub(super) struct Place {
    state: PathBuf,
}

impl Place {
    pub(super) fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    fn base(&self) -> PathBuf {
        self.state.join("source")
    }

    pub(super) fn signers(&self) -> PathBuf {
        self.base().join("signers")
    }

    pub(super) fn revoked(&self) -> PathBuf {
        self.base().join("revoked")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.base().join("config")
    }

    /// Directory of the user that git runs as, and its `HOME`.
    pub(super) fn work(&self) -> PathBuf {
        self.base().join("work")
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.work().join("repository")
    }

    /// The plan that was taken last.
    pub(super) fn plan(&self, host: &Name) -> PathBuf {
        self.base().join("plan").join(plan::file_name(host))
    }

    /// Removes the plan that was taken last.
    pub(super) fn forget_plan(&self) {
        // Where there is none, there is nothing to remove.
        fs::remove_dir_all(self.base().join("plan")).ok();
    }

    /// Makes everything but the user's directory. `make_work` makes that, in the directory that it is given,
    /// when it is not there.
    ///
    /// # Errors
    /// When a directory cannot be made, or those of `make_work`.
    pub(super) fn prepare(&self, make_work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let base = self.base();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&base)?;
        let plans = base.join("plan");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&plans)?;
        if fs::symlink_metadata(self.work()).is_err() {
            // Nobody but root comes through here meanwhile.
            mode(&self.state, 0o700)?;
            mode(&base, 0o777)?;
            let made = make_work(&base);
            mode(&base, 0o711)?;
            made?;
        }
        mode(&base, 0o711)?;
        mode(&self.state, 0o711)?;
        write(&self.config(), CONFIG.as_bytes())
    }

    /// Writes the files of keys.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn write_keys(&self, signers: &str, revoked: Option<&[u8]>) -> io::Result<()> {
        write(&self.signers(), signers.as_bytes())?;
        revoked.map_or(Ok(()), |revoked| write(&self.revoked(), revoked))
    }
}

fn mode(path: &Path, bits: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(bits))
}

/// Replaces a file that all may read, unless it is as it should be.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if files::read(path, limit::SOURCE, Trust::Owned).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let next = path.with_extension("next");
    fs::write(&next, bytes)?;
    mode(&next, 0o644)?;
    fs::rename(next, path)
}
