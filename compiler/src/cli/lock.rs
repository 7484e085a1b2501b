//! One apply at a time: an advisory lock on a file in the directory of plans.
//!
//! The kernel releases it when the process ends, however it ends. The file itself is removed by its
//! holder, so whoever got the lock makes sure that it is still the file that has the name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Hidden, so that nobody takes it for a plan.
const NAME: &str = ".evenkeel.lock";

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
    /// The system refused.
    Io(io::Error),
}

impl Lock {
    /// Locks a directory that exists; waits for others no longer than `patience`.
    pub(super) fn take(directory: &Path, patience: Duration) -> Result<Self, NoLock> {
        let path = directory.join(NAME);
        let start = Instant::now();
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(NoLock::Io)?;
            match file.try_lock() {
                Ok(()) if is_named(&file, &path) => {
                    say_who(&mut file).map_err(NoLock::Io)?;
                    return Ok(Self { path, _file: file });
                }
                // Its holder has just removed it: there is a new one, or none.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    let mut who = String::new();
                    // Whoever has it may not have written its name yet.
                    let _ = file.take(200).read_to_string(&mut who);
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
    matches!((file.metadata(), fs::metadata(path)), (Ok(a), Ok(b)) if same(&a, &b))
}

fn say_who(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "evenkeel apply, process {}", std::process::id())
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked. A file that stays is no harm.
        let _ = fs::remove_file(&self.path);
    }
}
