//! The text that a plan was read from, for keeping the plan.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use evenkeel_host::loaded::LoadedPlan;

use crate::system::files::{self, Opened, Trust, limit};

/// Mode of files that hold a plan's text.
const PRIVATE: u32 = 0o600;
/// Most of a file that is in memory at a time, bytes.
const PIECE: usize = 64 * 1024;

/// A plan's text with its seal.
#[derive(Clone)]
pub(crate) enum Text {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file that nobody else changes.
    File(Arc<File>),
    /// Not kept.
    Gone,
}

impl Text {
    /// The text of a plan that this program has read.
    pub(crate) fn of(loaded: &LoadedPlan) -> Self {
        loaded.text.get().cloned().unwrap_or(Self::Gone)
    }

    /// A file without a name in a directory, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn nameless(directory: &Path) -> io::Result<File> {
        let file = tempfile::tempfile_in(directory)?;
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
        Ok(file)
    }

    /// Length of the text, bytes.
    ///
    /// When the file that has it cannot be examined, or the text was not kept.
    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Gone => Err(gone()),
        }
    }

    /// Writes the whole text.
    ///
    /// When the text cannot be read or written.
    pub(crate) fn copy_to(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => to.write_all(bytes),
            Self::File(file) => io::copy(&mut Positioned { file, at: 0 }, to).map(drop),
            Self::Gone => Err(gone()),
        }
    }

    /// Puts the text into a new file at `path`, on the disk and for its owner only. It is a copy, so that
    /// writing into that file does not spoil this text. Where there is no room for a copy, it is another name
    /// of the file that has the text.
    ///
    /// When the file exists, or cannot be written.
    pub(crate) fn put(&self, path: &Path) -> io::Result<()> {
        self.copy_as(path).or_else(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                std::fs::remove_file(path)?;
                if self.link_as(path)? { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        })
    }

    fn copy_as(&self, path: &Path) -> io::Result<()> {
        let mut copy = File::options().write(true).create_new(true).mode(PRIVATE).open(path)?;
        self.copy_to(&mut copy)?;
        copy.sync_all()
    }

    /// Gives the file of the text another name. Returns whether that was possible.
    fn link_as(&self, path: &Path) -> io::Result<bool> {
        let Self::File(file) = self else { return Ok(false) };
        if file.metadata()?.permissions().mode() & 0o777 != PRIVATE {
            return Ok(false);
        }
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
        file.sync_all().map(|()| true)
    }

    /// Whether a file has exactly this text.
    pub(crate) fn is_in(&self, path: &Path) -> bool {
        let compare = || -> io::Result<bool> {
            let Opened { file: mut theirs, .. } = files::open(path, limit::PLAN, Trust::Anybody)?;
            let found = theirs.metadata()?;
            if let Self::File(file) = self
                && file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino()))
            {
                return Ok(true);
            }
            if found.len() != self.length()? {
                return Ok(false);
            }
            let mut same = Same { theirs: &mut theirs, so_far: true };
            self.copy_to(&mut same)?;
            Ok(same.so_far)
        };
        compare().unwrap_or(false)
    }
}

fn gone() -> io::Error {
    io::Error::other("the plan's text was not kept")
}

/// Reads a file from its beginning, at a position of its own.
struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE);
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Compares a file with the bytes that are written.
struct Same<'f> {
    theirs: &'f mut File,
    so_far: bool,
}

impl Write for Same<'_> {
    fn write(&mut self, ours: &[u8]) -> io::Result<usize> {
        if self.so_far {
            let mut theirs = vec![0; ours.len()];
            self.theirs.read_exact(&mut theirs)?;
            self.so_far = theirs == ours;
        }
        Ok(ours.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_wherever_it_is() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("text");
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("write");
        let other = scratch.path().join("other");
        let mut edited = bytes.clone();
        edited[150_000] ^= 1;
        std::fs::write(&other, edited).expect("write");
        let file = Text::File(Arc::new(File::open(&path).expect("open")));
        for text in [file, Text::Bytes(bytes.clone().into())] {
            let mut copy = Vec::new();
            // Twice: no file position is moved.
            for _ in 0..2 {
                copy.clear();
                text.copy_to(&mut copy).expect("copied");
                assert!(copy == bytes);
            }
            assert!(text.is_in(&path) && !text.is_in(&other) && !text.is_in(&scratch.path().join("none")));
            assert_eq!(text.length().expect("known"), 200_000);
        }
        assert!(Text::Gone.copy_to(&mut Vec::new()).is_err() && !Text::Gone.is_in(&path));
    }

    #[test]
    fn a_text_is_put_as_a_copy_or_as_a_link_on_a_full_disk() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = |name: &str| scratch.path().join(name);
        let mut nameless = Text::nameless(scratch.path()).expect("a file");
        nameless.write_all(b"text").expect("write");
        std::fs::write(path("open to all"), "text").expect("write");
        let all = File::open(path("open to all")).expect("open");
        all.set_permissions(Permissions::from_mode(0o644)).expect("mode");
        let texts = [
            Text::File(Arc::new(nameless)),
            Text::File(Arc::new(all)),
            Text::Bytes(b"text".as_slice().into()),
        ];
        for (number, text) in texts.iter().enumerate() {
            let made = path(&number.to_string());
            text.put(&made).expect("made");
            assert_eq!(std::fs::read(&made).expect("read"), b"text");
            let mode = std::fs::metadata(&made).expect("metadata").permissions().mode() & 0o777;
            assert_eq!((mode, text.is_in(&made)), (PRIVATE, true), "{number}");
            assert!(text.put(&made).is_err(), "nothing is overwritten");
            // Writing into the file does not spoil the text.
            std::fs::write(&made, "").expect("emptied");
            assert!(!text.is_in(&made), "{number}");
            std::fs::remove_file(&made).expect("removed");
            let linked = text.link_as(&made).expect("tried");
            assert_eq!(
                (linked, made.exists()),
                (number == 0, number == 0),
                "only what is private gets another name"
            );
        }
    }
}
