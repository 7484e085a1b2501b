//! One apply at a time: an advisory lock on a file in the directory of plans.
//!
//! The kernel releases it when the process ends, however it ends. The file itself is removed by its
//! holder, so whoever got the lock makes sure that it is still the file that has the name. Whoever may
//! write into the directory may put something else there: nothing is changed in a file before it is
//! locked, has that name alone, and is empty or an earlier holder's.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk;

/// Hidden, so that nobody takes it for a plan.
const NAME: &str = ".evenkeel.lock";

/// First words of the lock's file, before the holder's process id.
const WORDS: &str = "evenkeel apply, process ";

/// Most bytes that are read of it.
const MAX_BYTES: u64 = 200;

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The lock of a directory; released when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum NoLock {
    /// Somebody has it.
    Held(String),
    /// The system refused, or something else has the name.
    Io(io::Error),
}

impl Lock {
    /// Locks a directory that exists; waits for others no longer than `patience`.
    pub(super) fn take(directory: &Path, patience: Duration) -> Result<Self, NoLock> {
        let path = directory.join(NAME);
        let start = Instant::now();
        let named = |error: io::Error| NoLock::Io(io::Error::new(error.kind(), format!("{NAME}: {error}")));
        loop {
            let mut file = disk::open_lock(&path).map_err(named)?;
            match file.try_lock() {
                Ok(()) if is_named(&file, &path) => {
                    say_who(&mut file).map_err(named)?;
                    return Ok(Self { path, _file: file });
                }
                // Its holder has just removed it: there is a new one, or none.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    // Whoever has it may not have written its name yet.
                    let who = read(&mut file).unwrap_or_default();
                    let who = who.trim().escape_debug().to_string();
                    return Err(NoLock::Held(if who.is_empty() {
                        "another process".to_owned()
                    } else {
                        who
                    }));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(NoLock::Io(error)),
            }
        }
    }
}

fn is_named(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| a.ino() == b.ino() && a.dev() == b.dev();
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if same(&a, &b))
}

fn read(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn say_who(file: &mut File) -> io::Result<()> {
    let before = read(file)?;
    if !before.is_empty() && !before.starts_with(WORDS) {
        return Err(io::Error::other("it was not written by evenkeel; move it out of the way"));
    }
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{WORDS}{}", std::process::id())
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked. A file that stays is no harm.
        let _ = fs::remove_file(&self.path);
    }
}
