//! Cluster files on disk and on standard input: which of them may be read, and how much of them.
//!
//! A file that the command line names may be a pipe, and may be a link within its tree: the
//! repository that it is in, or its directory. What is included is a regular file of its directory. Of a
//! stranger's files none is read outside the directory, whatever is a link.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use evenkeel::{Files, Limits, Start};

use super::{Terminal, disk};

/// Longest time for which a stranger's files may keep the command busy; files within the other limits need a
/// tenth.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most names that are read of a directory; beyond them a pattern is no use.
const MAX_ENTRIES: usize = 100_000;

/// Owner of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The user who runs the command.
    Own,
    /// Somebody who must learn nothing of this machine (`--untrusted`).
    Strangers,
}

impl Trust {
    pub(super) const fn of(untrusted: bool) -> Self {
        if untrusted { Self::Strangers } else { Self::Own }
    }

    pub(super) const fn limits(self) -> Limits {
        match self {
            Self::Own => Limits::OWN,
            Self::Strangers => Limits::STRANGERS,
        }
    }

    /// Ends the whole process when a stranger's files take too long, whatever they do.
    pub(super) fn watch(self, terminal: &Terminal) {
        if self == Self::Own {
            return;
        }
        let terminal = terminal.for_complaints();
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            terminal.fail(format_args!(
                "stopped after {} seconds, as much as `--untrusted` gives",
                PATIENCE.as_secs()
            ));
            std::process::exit(1);
        });
    }
}

/// A file named on the command line, with the directory that it is in.
pub(super) struct Named {
    /// As it was named; this is what is opened, whatever its name means.
    path: PathBuf,
    directory: PathBuf,
    file: String,
    shown: String,
    trust: Trust,
    /// Whether it may be a pipe or a device.
    may_stream: bool,
    /// Content, when it has been read already: standard input is read once.
    read: Option<Vec<u8>>,
}

impl Named {
    /// `-` is standard input.
    pub(super) fn new(path: &Path, trust: Trust) -> Self {
        let name = path.display().to_string();
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        let split = file.and_then(|file| Some((name.strip_suffix(&file)?.to_owned(), file)));
        let (shown, file) = if path == Path::new("-") {
            (String::new(), "<stdin>".to_owned())
        } else {
            split.unwrap_or((String::new(), name))
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let may_stream = trust == Trust::Own;
        Self { path: path.to_owned(), directory, file, shown, trust, may_stream, read: None }
    }

    /// The same for who writes into the file as well: a pipe has nothing to be written into, and nobody may
    /// ever write to it.
    pub(super) fn regular(path: &Path, trust: Trust) -> Self {
        Self { may_stream: false, ..Self::new(path, trust) }
    }

    /// Reads it, at most `limit` bytes; from then on this is what is in it.
    pub(super) fn read_now(&mut self, limit: usize) -> io::Result<&[u8]> {
        let bytes = self.read(&self.file, limit)?;
        Ok(self.read.insert(bytes))
    }

    pub(super) fn start(&self) -> Start<'_> {
        Start { files: self, file: &self.file, shown: &self.shown }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Whether it is no file of a directory: a pipe or a device that the user gave.
    fn is_stream(&self) -> bool {
        let system = ["/dev", "/proc"].iter().any(|system| self.path.starts_with(system));
        let by_its_own_name = |path: &Path| {
            fs::symlink_metadata(path)
                .is_ok_and(|metadata| !metadata.is_symlink() && !metadata.is_file() && !metadata.is_dir())
        };
        self.is_stdin()
            || by_its_own_name(&self.path)
            || (system && fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_dir()))
    }

    fn read_first(&self, limit: usize) -> io::Result<Vec<u8>> {
        if self.is_stdin() {
            return disk::read_stdin(limit);
        }
        if self.may_stream && self.is_stream() {
            return disk::read_argument(&self.path, limit);
        }
        let real = fs::canonicalize(&self.path)?;
        self.stays_in_tree(&real)?;
        disk::read(&real, limit)
    }

    /// The real file must be in its tree, and be called like its name: else a link could be made to show any
    /// other file of the machine.
    fn stays_in_tree(&self, real: &Path) -> io::Result<()> {
        let repository = repository(&self.path);
        let tree = fs::canonicalize(repository.as_deref().unwrap_or(&self.directory))?;
        let directory = fs::canonicalize(&self.directory)?;
        let strangers = self.trust == Trust::Strangers;
        if !real.starts_with(&tree)
            || !directory.starts_with(&tree)
            || (strangers && (!real.starts_with(&directory) || follows_link(&self.directory)))
        {
            return Err(leads_out());
        }
        same_kind(&self.path, real, if real.starts_with(&directory) { &directory } else { &tree })
    }

    fn read_included(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        if self.is_stdin() {
            return Err(ErrorKind::Unsupported.into());
        }
        let hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
        if self.trust == Trust::Strangers && Path::new(path).components().any(hidden) {
            return Err(io::Error::other("its name begins with a dot, which `--untrusted` does not read"));
        }
        let real = fs::canonicalize(self.directory.join(path))?;
        if !real.starts_with(fs::canonicalize(&self.directory)?) {
            return Err(leads_out());
        }
        same_kind(Path::new(path), &real, &fs::canonicalize(&self.directory)?)?;
        disk::read(&real, limit)
    }
}

fn leads_out() -> io::Error {
    io::Error::other(
        "it is a symbolic link that leads out of the directory of the cluster file; name the file itself",
    )
}

/// A link must not make a file of another kind readable: one with another ending, a plan or a file of
/// secrets, or one that is hidden anywhere below `tree`, where the name itself is not.
fn same_kind(name: &Path, real: &Path, tree: &Path) -> io::Result<()> {
    let is_cluster_file = |path: &Path| path.to_str().is_some_and(evenkeel::is_cluster_file);
    let hidden = |path: &Path| {
        path.components().any(|part| {
            let Component::Normal(name) = part else { return false };
            let name = name.as_encoded_bytes();
            // A ConfigMap of Kubernetes is mounted with links to `..data`.
            name.starts_with(b".") && !name.starts_with(b"..")
        })
    };
    let below = real.strip_prefix(tree).unwrap_or(real);
    let same = name.extension() == real.extension()
        && (is_cluster_file(real) || !is_cluster_file(name))
        && (hidden(name) || !hidden(below));
    if same {
        return Ok(());
    }
    Err(io::Error::other("it is a symbolic link to a file of another kind; name the file itself"))
}

/// The root of the repository that a path is in, by its name: links that it goes down are not followed.
fn repository(path: &Path) -> Option<PathBuf> {
    let absolute = without_parents(&std::path::absolute(path).ok()?)?;
    let mut above = absolute.ancestors().skip(1);
    above.find(|directory| fs::symlink_metadata(directory.join(".git")).is_ok()).map(Path::to_owned)
}

/// A path without `..`: what stands before the last of them is where it leads.
fn without_parents(path: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Some(path.to_owned());
    };
    let (up, down) = parts.split_at(last + 1);
    let up: PathBuf = up.iter().collect();
    Some(fs::canonicalize(up).ok()?.join(down.iter().collect::<PathBuf>()))
}

/// Whether a directory is reached by a link: one in its name as it was given, or, of an absolute path, one
/// below the outermost repository that it is in.
fn follows_link(directory: &Path) -> bool {
    let (mut at, rest) = if directory.is_relative() {
        (PathBuf::new(), directory)
    } else {
        let git = |above: &&Path| fs::symlink_metadata(above.join(".git")).is_ok();
        let Some(root) = directory.ancestors().filter(git).last() else { return false };
        (root.to_owned(), directory.strip_prefix(root).unwrap_or(directory))
    };
    rest.components().any(|part| {
        at.push(part);
        fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_symlink())
    })
}

impl Files for Named {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        if path != self.file {
            return self.read_included(path, limit);
        }
        match &self.read {
            Some(read) => Ok(read.get(..limit).unwrap_or(read).to_vec()),
            None => self.read_first(limit),
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        if self.is_stdin() {
            return Err(ErrorKind::Unsupported.into());
        }
        let real = fs::canonicalize(self.directory.join(directory))?;
        if !real.starts_with(fs::canonicalize(&self.directory)?) {
            return Err(leads_out());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(real)?.take(MAX_ENTRIES) {
            // A name that is no text cannot be written in a pattern.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn shows_lines(&self, path: &str) -> bool {
        // What the user pipes in is meant; a file below `/proc` is not called like one that is.
        let piped = || self.is_stdin() || fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file());
        evenkeel::is_cluster_file(path) || (path == self.file && piped())
    }
}
