//! Where cluster files are read from: a small trait, so that a file system and a revision of a
//! repository look the same.

use std::io;

/// A tree of files, read-only. Paths are relative to its root, with slashes.
pub(super) trait Files {
    /// All of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// Names of what is in a directory, sorted; the root is `""`.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
}
