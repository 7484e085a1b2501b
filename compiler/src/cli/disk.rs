//! Files of this machine: every one that the command opens or replaces, it opens or replaces here.
//!
//! What is read is a regular file, and no more of it than a named limit: a pipe would wait for
//! whoever writes into it, a device never ends. Only what the command line itself names may be a
//! pipe. What is written is written whole into a file of its own and takes the name by a rename, so
//! that a link at the target's place is replaced and never followed.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of a file that everybody may read; the process's umask may take from it.
pub(super) const PUBLIC: u32 = 0o644;
/// Mode of a file that may hold a secret.
pub(super) const PRIVATE: u32 = 0o600;

/// Bytes of a file that are compared at once.
const COMPARED_AT_ONCE: usize = 64 * 1024;

/// Complaint about a file that cannot be read to its end.
const NO_FILE: &str = "it is a device or a pipe";

/// The first `limit` bytes of a regular file. Links are followed.
///
/// # Errors
/// `IsADirectory` for a directory, and an error with words for whatever else is no regular file.
pub(super) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    bounded(open(path)?, limit)
}

fn open(path: &Path) -> io::Result<File> {
    regular(&fs::metadata(path)?)?;
    // It may have become something else since: without waiting, and asked again.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Whether a regular file holds these bytes and no more. It is not read further than it does, nor kept.
///
/// # Errors
/// As [`read`].
pub(super) fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let (mut file, mut rest) = (open(path)?, bytes);
    let mut buffer = vec![0; COMPARED_AT_ONCE];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(rest.is_empty());
        }
        match rest.strip_prefix(&buffer[..read]) {
            Some(behind) => rest = behind,
            None => return Ok(false),
        }
    }
}

/// The same of a file that the command line names: it may be a pipe, as the shell's `<(…)` is, or a
/// device.
pub(super) fn read_argument(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, limit)
}

/// The first `limit` bytes of standard input.
pub(super) fn read_stdin(limit: usize) -> io::Result<Vec<u8>> {
    bounded(io::stdin().lock(), limit)
}

fn bounded(from: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err(ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::other(NO_FILE))
    }
}

/// Opens a file of ours to hold a lock on it: makes it when it is not there, changes nothing in it,
/// and follows no link.
///
/// # Errors
/// When there is something of that name that is no regular file, or has another name too.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::MetadataExt;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PUBLIC)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link; remove it"),
        // A pipe without a reader, or a socket.
        Some(libc::ENXIO) => io::Error::other(NO_FILE),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    if metadata.nlink() > 1 {
        return Err(io::Error::other("the file has another name, too; remove it"));
    }
    Ok(file)
}

/// Puts a whole file in the place of whatever file has the name: readers see the old one or the new
/// one. A link there is replaced, not followed. An existing file keeps its mode.
///
/// # Errors
/// When something that is no file has the name, or the system refuses.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut new = Replacement::begin(path, mode)?;
    new.write(bytes)?;
    new.finish()
}

/// The same with a link followed, for a file that the user edits.
pub(super) fn replace_target(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
    replace(&path, bytes, mode)
}

/// A file that is being written, to be put in the place of another one.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

/// Files that are being written are called this and so many letters and digits.
pub(super) const UNFINISHED_PREFIX: &str = ".evenkeel-";
pub(super) const UNFINISHED_RANDOM: usize = 6;

impl Replacement {
    pub(super) fn begin(path: &Path, mode: u32) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        replaceable(path, parent)?;
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .rand_bytes(UNFINISHED_RANDOM)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(parent)?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Gives it the name.
    pub(super) fn rename(self) -> io::Result<()> {
        self.file.persist(&self.path).map(drop).map_err(|error| error.error)
    }

    fn finish(self) -> io::Result<()> {
        self.sync()?;
        self.rename()
    }
}

/// Makes the names in a directory as durable as what is in the files.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Whether a rename may take the name: what is there is a file, a link or nothing. The names of
/// devices are not ours to replace, whatever they lead to.
fn replaceable(path: &Path, parent: &Path) -> io::Result<()> {
    let parent = fs::canonicalize(parent)?;
    if ["/dev", "/proc", "/sys"].iter().any(|system| parent.starts_with(system)) {
        return Err(io::Error::other("it is a device; without it the result goes to standard output"));
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Ok(()),
        Ok(metadata) => regular(&metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    File,
    /// A symbolic link, wherever it leads.
    Link,
    /// A directory, a pipe, a socket or a device.
    Other,
}

impl Entry {
    /// Of a path; links are not followed.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let kind = fs::symlink_metadata(path)?.file_type();
        Ok(if kind.is_file() {
            Self::File
        } else if kind.is_symlink() {
            Self::Link
        } else {
            Self::Other
        })
    }
}
