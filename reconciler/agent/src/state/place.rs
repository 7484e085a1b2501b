//! The state directory as a place: its identity and its lock. Names can be removed under a running daemon, so
//! the objects under the names are compared with those that were opened.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::system::claim::has_ended;
use crate::system::files::{self, FileError, Trust};

const LOCK: &str = "lock";
/// Locks of all processes (proc_locks(5)).
const LOCKS: &str = "/proc/locks";

/// Result of checking the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// The directory is the one that was opened.
    Same,
    /// The directory, or its lock, was gone and has been made again.
    MadeAgain,
}

/// Device and inode of a file.
type Identity = (u64, u64);

/// The directory and its lock.
#[derive(Debug, Default)]
pub(super) struct DirectoryPlace {
    directory: Option<Identity>,
    lock: Option<(Identity, File)>,
    /// Reason why there is no lock. The directory still belongs to this daemon alone, by the claim on the
    /// network namespace (`claim`).
    pub(super) unlocked: Option<String>,
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Properties that tell a file from another one, and from itself after others have written to it: identity,
/// length in bytes, time of the last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Identity, u64, (i64, i64));

/// The stamp of a regular file. None when there is none: a file that was emptied is as good as gone.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok().filter(|found| found.is_file() && found.len() > 0)?;
    Some(Stamp((found.dev(), found.ino()), found.len(), (found.mtime(), found.mtime_nsec())))
}

impl DirectoryPlace {
    /// Makes the directory if need be and locks it.
    ///
    /// `ResourceBusy` when another process holds the lock; any error that keeps the directory from being made
    /// or opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("state directory {}: {error}", path.display()))
        };
        // Checked first: on a frozen file system a call that could write would hang.
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(explain)?;
        }
        let name = path.join(LOCK);
        let open = || files::open(&name, u64::MAX, Trust::Anybody).map(|lock| lock.file);
        let lock = match open() {
            Err(error) if error.is_absence() => {
                let new = File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .mode(0o600)
                    .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                    .open(&name)
                    .map_err(FileError::Io);
                // Held open for reading only: a descriptor for writing would keep the file system from being
                // made read-only.
                match new.and_then(|_| open()) {
                    Ok(lock) => lock,
                    Err(error) => return Ok(Self::without_lock(path, &error.to_string())),
                }
            }
            other => other.map_err(|error| explain(error.into()))?,
        };
        let found = lock.metadata().map_err(explain)?;
        let own = (found.dev(), found.ino());
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: identity(path), lock: Some((own, lock)), unlocked: None }),
            // A daemon that was killed while it waited for its disk keeps its lock until the disk answers.
            Err(TryLockError::WouldBlock) if holder(found.ino()).is_some_and(has_ended) => {
                Ok(Self::without_lock(path, "a daemon that has ended still waits for the disk with it"))
            }
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("state directory {} is in use: evenkeeld is running with it", path.display()),
            )),
            Err(TryLockError::Error(error)) => Err(explain(error)),
        }
    }

    fn without_lock(path: &Path, why: &str) -> Self {
        let unlocked =
            Some(format!("state directory {}: its lock cannot be taken yet: {why}", path.display()));
        Self { directory: identity(path), lock: None, unlocked }
    }

    /// Whether the directory under that name is the one that was opened.
    pub(super) fn is_same_directory(&self, path: &Path) -> bool {
        self.directory.is_some() && identity(path) == self.directory
    }

    /// Whether the directory and the lock under their names are those that were opened.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.is_same_directory(path)
            && self.lock.as_ref().is_some_and(|(own, _)| identity(&path.join(LOCK)) == Some(*own))
    }
}

/// The process that has an exclusive lock on a file.
fn holder(inode: u64) -> Option<u32> {
    let locks = fs::read_to_string(LOCKS).ok()?;
    locks.lines().find_map(|line| parse_lock(line, inode))
}

/// The process in a line such as `1: FLOCK  ADVISORY  WRITE 708 00:2b:1234 0 EOF`, when it is about this
/// inode.
fn parse_lock(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace();
    let (kind, access, process, file) = (words.nth(1)?, words.nth(1)?, words.next()?, words.next()?);
    let about = file.rsplit(':').next()?.parse() == Ok(inode);
    (kind == "FLOCK" && access == "WRITE" && about).then(|| process.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_directory_or_lock_is_noticed() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let place = DirectoryPlace::open(&path).expect("open");
        assert!(place.is_at(&path));
        fs::remove_file(path.join(LOCK)).expect("remove");
        assert!(!place.is_at(&path), "the lock");
        let place = DirectoryPlace::open(&path).expect("open");
        fs::rename(&path, scratch.path().join("away")).expect("rename");
        assert!(!place.is_at(&path), "the directory");
        let again = DirectoryPlace::open(&path).expect("open");
        assert!(again.is_at(&path) && !place.is_at(&path));
    }

    #[test]
    fn the_holder_of_a_lock_is_known() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let _place = DirectoryPlace::open(&path).expect("open");
        let error = DirectoryPlace::open(&path).expect_err("second");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        let inode = fs::metadata(path.join(LOCK)).expect("lock").ino();
        assert_eq!(holder(inode), Some(std::process::id()));
        assert_eq!(parse_lock("1: FLOCK  ADVISORY  READ 708 00:2b:12 0 EOF", 12), None);
        assert_eq!(parse_lock("7: FLOCK  ADVISORY  WRITE 708 00:2b:12 0 EOF", 12), Some(708));
        assert_eq!(parse_lock("7: -> FLOCK  ADVISORY  WRITE 708 00:2b:12 0 EOF", 12), None);
    }
}
