//! Follows a path from the root, part by part, each opened in the directory before (openat(2)), so that the
//! object that was judged is the one that is opened. `trust` decides what is allowed on the way.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_at_root, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::trust::{Judge, Kind, PathPart, Trust};
use super::{FileError, Opened};

/// Most symbolic links on one way: the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Most parts of one way, those of links included: a path may have 4096 bytes, hence 2048 parts.
const MAX_PARTS: usize = 4096;

/// Opens the regular file that a path leads to, for reading. Neither waits for nor changes an object of
/// another kind.
pub(super) fn open(path: &Path, trust: Trust) -> Result<Opened, FileError> {
    let mut walk = Walk::begin(path, trust)?;
    while let Some(found) = walk.next()? {
        match found.kind {
            Kind::Directory | Kind::Link => walk.enter(found)?,
            Kind::Last => return Err(FileError::NotRegular),
            Kind::File => {
                if file_type(&found.stat) != SFlag::S_IFREG {
                    return Err(FileError::NotRegular);
                }
                let flags = OFlag::O_RDONLY
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_NONBLOCK
                    | OFlag::O_NOCTTY
                    | OFlag::O_CLOEXEC;
                let descriptor = openat(&walk.directory, found.name.as_os_str(), flags, Mode::empty())?;
                // Another object may have taken its place: the open one counts.
                let stat = fstat(&descriptor)?;
                if file_type(&stat) != SFlag::S_IFREG {
                    return Err(FileError::NotRegular);
                }
                walk.judge(&found.path, Kind::File, &stat)?;
                let length = u64::try_from(stat.st_size).unwrap_or_default();
                return Ok(Opened { file: File::from(descriptor), length });
            }
        }
    }
    Err(FileError::NotRegular)
}

/// Follows a path to a regular file without opening the file.
pub(super) fn open_path(path: &Path, trust: Trust) -> Result<(), FileError> {
    let mut walk = Walk::begin(path, trust)?;
    while let Some(found) = walk.next()? {
        match found.kind {
            Kind::Directory | Kind::Link => walk.enter(found)?,
            Kind::File if file_type(&found.stat) == SFlag::S_IFREG => {
                return walk.judge(&found.path, Kind::File, &found.stat);
            }
            Kind::File | Kind::Last => return Err(FileError::NotRegular),
        }
    }
    Err(FileError::NotRegular)
}

/// Follows a path to a directory.
pub(super) fn directory(path: &Path, trust: Trust) -> Result<(), FileError> {
    let mut walk = Walk::begin(path, trust)?;
    while let Some(found) = walk.next()? {
        match found.kind {
            Kind::File => return Err(Errno::ENOTDIR.into()),
            Kind::Directory | Kind::Link | Kind::Last => walk.enter(found)?,
        }
    }
    Ok(())
}

/// A part of the path that was found in the directory before, and not entered yet.
struct FoundPart {
    path: PathBuf,
    name: OsString,
    kind: Kind,
    stat: FileStat,
    descriptor: OwnedFd,
}

struct Walk {
    judge: Judge,
    directory: OwnedFd,
    /// Path of that directory, without links.
    at: PathBuf,
    /// Parts that are left.
    rest: VecDeque<OsString>,
    links: usize,
    parts: usize,
}

impl Walk {
    fn begin(path: &Path, trust: Trust) -> Result<Self, FileError> {
        let path = std::path::absolute(path)?;
        let mut walk = Self {
            judge: Judge::new(trust, nix::unistd::geteuid().as_raw()),
            directory: root()?,
            at: PathBuf::from("/"),
            rest: parts(&path).collect(),
            links: 0,
            parts: 0,
        };
        walk.at_root()?;
        Ok(walk)
    }

    fn at_root(&mut self) -> Result<(), FileError> {
        let stat = fstat(&self.directory)?;
        let kind = if self.rest.is_empty() { Kind::Last } else { Kind::Directory };
        self.judge(Path::new("/"), kind, &stat)
    }

    fn judge(&mut self, path: &Path, kind: Kind, stat: &FileStat) -> Result<(), FileError> {
        let part = PathPart { path: path.to_owned(), kind, owner: stat.st_uid, mode: stat.st_mode };
        self.judge.next(&part).map_err(FileError::Insecure)
    }

    /// The next part; none at the end.
    fn next(&mut self) -> Result<Option<FoundPart>, FileError> {
        let Some(name) = self.rest.pop_front() else { return Ok(None) };
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.directory, name.as_os_str(), flags, Mode::empty())?;
        let stat = fstat(&descriptor)?;
        let path = if name == OsStr::new("..") {
            self.at.parent().unwrap_or(Path::new("/")).to_owned()
        } else {
            self.at.join(&name)
        };
        let kind = match file_type(&stat) {
            SFlag::S_IFDIR if self.rest.is_empty() => Kind::Last,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            _ if self.rest.is_empty() => Kind::File,
            _ => return Err(Errno::ENOTDIR.into()),
        };
        Ok(Some(FoundPart { path, name, kind, stat, descriptor }))
    }

    /// Enters a directory, or the target of a link.
    fn enter(&mut self, FoundPart { path, kind, stat, descriptor, .. }: FoundPart) -> Result<(), FileError> {
        self.judge(&path, kind, &stat)?;
        if kind != Kind::Link {
            self.directory = descriptor;
            self.at = path;
            return Ok(());
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = PathBuf::from(readlinkat(&descriptor, "")?);
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            self.rest.push_front(part);
        }
        if target.is_absolute() {
            self.directory = root()?;
            self.at = PathBuf::from("/");
            self.at_root()?;
        }
        Ok(())
    }
}

fn root() -> Result<OwnedFd, FileError> {
    Ok(open_at_root("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Parts of a path, without the root and `.`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
