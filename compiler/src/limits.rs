//! How much is read of a cluster file, and how much may be made of it. Numbers only: who reads applies them.

/// Most bytes of a cluster, all its files together. One of 100,000 real servers takes about 5 MB.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most files of one cluster.
pub const MAX_FILES: usize = 1000;

/// Limits of what is read, and of what is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: usize,
    /// Number of files.
    pub files: usize,
    /// Destinations in all plans together.
    pub destinations: usize,
    /// Whether whoever wrote the files is a stranger, who must learn nothing from what is shown: no line
    /// that holds a secret is in an excerpt, masked or not.
    pub strangers: bool,
}

impl Limits {
    /// For files of whoever runs the compiler.
    pub const OWN: Self =
        Self { bytes: MAX_BYTES, files: MAX_FILES, destinations: 4_000_000, strangers: false };
    /// For files of strangers: some 20,000 real servers, compiled in seconds.
    pub const STRANGERS: Self =
        Self { bytes: 1024 * 1024, files: 100, destinations: 200_000, strangers: true };
}
