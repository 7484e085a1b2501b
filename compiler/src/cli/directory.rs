//! A directory of plans: what must change in it, and changing it file by file, each atomically.
//!
//! Only files that are provably this cluster's are replaced or removed. Secrets are written before
//! the plans that name them and removed after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel::change::{BadPlan, Fleet, HostState};
use evenkeel::{HostPlan, secrets_header};
use evenkeel_schemas::plan::secrets_file_name;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal::{self, SealError};

use super::disk::{self, Entry, Replacement, UNFINISHED_PREFIX, UNFINISHED_RANDOM};
use super::files::Trust;
use super::terminal::Shown;

#[cfg(test)]
mod tests;

const PLAN_SUFFIX: &str = ".plan.toml";
const SECRETS_SUFFIX: &str = ".secrets.toml";

/// Most bytes of a file of secrets: a line for each virtual router of a host.
const MAX_SECRETS: usize = 1024 * 1024;

/// Files that are written before the disk is waited for: it takes many in little more time than one. Each is
/// open as long, and a process may have some hundred open.
const AT_ONCE: usize = 64;

/// A file is written in far less, so that whoever began an older one is gone.
const UNFINISHED_AGE: Duration = Duration::from_secs(600);

/// Work that a directory needs.
#[derive(Debug, Default)]
pub(super) struct Work<'p> {
    write: Vec<(PathBuf, &'p str, Kind)>,
    remove: Vec<(PathBuf, Kind)>,
    /// Files named like plans that are not this cluster's.
    pub(super) left_alone: Vec<PathBuf>,
}

/// Numbers of changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) written: usize,
    pub(super) removed: usize,
    pub(super) secrets_written: usize,
    pub(super) secrets_removed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Secrets,
    Plan,
}

impl Kind {
    fn of(file_name: &str) -> Option<Self> {
        if file_name.starts_with('.') {
            None
        } else if file_name.ends_with(PLAN_SUFFIX) {
            Some(Self::Plan)
        } else if file_name.ends_with(SECRETS_SUFFIX) {
            Some(Self::Secrets)
        } else {
            None
        }
    }
}

impl Work<'_> {
    /// Whether a plan that is there is replaced or removed: what has only to be added stands in no guard's
    /// way.
    pub(super) fn changes_plans(&self) -> bool {
        let replaces = |(path, _, kind): &(PathBuf, &str, Kind)| *kind == Kind::Plan && path.exists();
        self.remove.iter().any(|(_, kind)| *kind == Kind::Plan) || self.write.iter().any(replaces)
    }

    pub(super) fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (_, _, kind) in &self.write {
            match kind {
                Kind::Plan => changes.written += 1,
                Kind::Secrets => changes.secrets_written += 1,
            }
        }
        for (_, kind) in &self.remove {
            match kind {
                Kind::Plan => changes.removed += 1,
                Kind::Secrets => changes.secrets_removed += 1,
            }
        }
        changes
    }
}

/// Why a directory cannot be brought up to date.
#[derive(Debug)]
pub(super) enum Failure {
    /// The system refused.
    Io { doing: &'static str, path: PathBuf, error: io::Error },
    /// The file belongs to another cluster.
    OtherCluster { path: PathBuf, cluster: String },
    /// The file was not written by evenkeel.
    Foreign(PathBuf),
    /// A directory, pipe or device has the name of a plan.
    NoFile(PathBuf),
    /// The plan cannot be read as one.
    Damaged { path: PathBuf, error: BadPlan },
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.shown()),
            Self::OtherCluster { path, cluster } => write!(
                f,
                "{} belongs to cluster `{}`; nothing was written. Give each cluster a directory of its own; \
                 if the cluster was renamed, delete the plans with its old name first",
                path.shown(),
                cluster.escape_debug()
            ),
            Self::Foreign(path) => write!(
                f,
                "{} was not written by evenkeel; nothing was written. Move it out of the way",
                path.shown()
            ),
            Self::NoFile(path) => {
                write!(f, "{} is no file; nothing was written. Move it out of the way", path.shown())
            }
            Self::Damaged { path, error } => write!(f, "{} cannot be read: {error}", path.shown()),
        }
    }
}

/// Parts of plans that are kept while they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Their content, which is enough to compare.
    Plans,
    /// The bytes of their files, too.
    Texts,
}

/// The plans of a cluster in a directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) fleet: Fleet,
    /// Other clusters with plans in it.
    pub(super) others: BTreeSet<String>,
    /// Hosts whose secrets this user may not read.
    pub(super) secrets_unread: BTreeSet<Name>,
    /// Plans that nobody can read, and why; only where that is no failure.
    pub(super) damaged: Vec<(PathBuf, BadPlan)>,
}

/// Reads the plans of `cluster`. A directory that does not exist has none.
///
/// What is named like a plan and is no file is nobody's plan. Of a stranger's directory no file of
/// secrets is opened: they count as secrets that this user may not read.
pub(super) fn plans(directory: &Path, cluster: &Name, trust: Trust, keep: Keep) -> Result<Found, Failure> {
    let mut found = readable_plans(directory, cluster, trust, keep)?;
    match found.damaged.pop() {
        None => Ok(found),
        Some((path, error)) => Err(Failure::Damaged { path, error }),
    }
}

/// The same where what is damaged is about to be written anew.
pub(super) fn readable_plans(
    directory: &Path,
    cluster: &Name,
    trust: Trust,
    keep: Keep,
) -> Result<Found, Failure> {
    let present = present(directory)?;
    let mut found = Found::default();
    for file_name in present.keys().filter(|name| Kind::of(name) == Some(Kind::Plan)) {
        let path = directory.join(file_name);
        let Some(bytes) = read(&path)? else { continue };
        match owner(&bytes, Kind::Plan, cluster) {
            Owner::Us | Owner::Damaged => {}
            Owner::Cluster(other) => {
                found.others.insert(other);
                continue;
            }
            Owner::Nobody => continue,
        }
        let host = file_name.strip_suffix(PLAN_SUFFIX).unwrap_or_default();
        let Ok(host) = host.parse::<Name>() else {
            continue;
        };
        let secrets_path = directory.join(secrets_file_name(&host));
        let secrets = match trust {
            Trust::Own => secrets(&secrets_path),
            Trust::Strangers => Err(ErrorKind::PermissionDenied.into()),
        };
        let secrets = match secrets {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                found.secrets_unread.insert(host.clone());
                None
            }
            Err(error) => return Err(io_failure("read", &secrets_path)(error)),
        };
        match HostState::read(&bytes, secrets.as_deref()) {
            Ok(state) if keep == Keep::Texts => _ = found.fleet.insert(host, state),
            Ok(state) => _ = found.fleet.insert(host, state.without_text()),
            Err(error) => found.damaged.push((path, error)),
        }
    }
    Ok(found)
}

fn io_failure(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Io { doing, path: path.to_owned(), error }
}

/// Compares `directory` with the plans that should be in it.
pub(super) fn compare<'p>(
    directory: &Path,
    cluster: &Name,
    plans: &'p [HostPlan],
) -> Result<Work<'p>, Failure> {
    let mut wanted: BTreeMap<String, (&'p str, Kind)> = BTreeMap::new();
    for plan in plans {
        wanted.insert(plan.file_name.clone(), (&plan.text, Kind::Plan));
        if let Some(secrets) = &plan.secrets {
            wanted.insert(secrets_file_name(&plan.host), (secrets, Kind::Secrets));
        }
    }
    let present = present(directory)?;
    let mut work = Work::default();
    for (file_name, (text, kind)) in &wanted {
        let path = directory.join(file_name);
        let write = match present.get(file_name) {
            // A link is replaced, whatever it leads to.
            None | Some(Entry::Link) => true,
            Some(Entry::File) => differs(&path, text, *kind, cluster)?,
            Some(Entry::Other) => return Err(Failure::NoFile(path)),
        };
        if write {
            work.write.push((path, text, *kind));
        }
    }
    for (file_name, entry) in present.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        let path = directory.join(file_name);
        let Some(kind) = Kind::of(file_name) else {
            continue;
        };
        let bytes = if *entry == Entry::File { read(&path)? } else { None };
        match bytes.map(|bytes| owner(&bytes, kind, cluster)) {
            Some(Owner::Us) => work.remove.push((path, kind)),
            Some(Owner::Damaged | Owner::Nobody | Owner::Cluster(_)) | None => work.left_alone.push(path),
        }
    }
    work.write.sort_by_key(|(_, _, kind)| *kind);
    work.remove.sort_by_key(|(_, kind)| std::cmp::Reverse(*kind));
    Ok(work)
}

/// Entries of `directory` that are called like plans or secrets.
fn present(directory: &Path) -> Result<BTreeMap<String, Entry>, Failure> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io_failure("read directory", directory)(error)),
    };
    let mut names = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(io_failure("read directory", directory))?;
        if let Ok(name) = entry.file_name().into_string()
            && Kind::of(&name).is_some()
        {
            let path = directory.join(&name);
            match Entry::at(&path) {
                Ok(entry) => _ = names.insert(name, entry),
                // It went meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io_failure("look at", &path)(error)),
            }
        }
    }
    Ok(names)
}

/// Whether the file must be written again; an error when it is not ours to write.
fn differs(path: &Path, text: &str, kind: Kind, cluster: &Name) -> Result<bool, Failure> {
    // A file that cannot be read is reported below.
    if disk::holds(path, text.as_bytes()).unwrap_or_default() {
        let metadata = fs::metadata(path).map_err(io_failure("look at", path))?;
        return Ok(kind == Kind::Secrets && metadata.permissions().mode() & 0o777 != disk::PRIVATE);
    }
    let Some(bytes) = read(path)? else { return Err(Failure::NoFile(path.to_owned())) };
    match owner(&bytes, kind, cluster) {
        Owner::Us | Owner::Damaged => Ok(true),
        Owner::Cluster(other) => Err(Failure::OtherCluster { path: path.to_owned(), cluster: other }),
        Owner::Nobody => Err(Failure::Foreign(path.to_owned())),
    }
}

/// Bytes of a plan or a file of secrets; `None` when it is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let is_file = fs::metadata(path).map(|metadata| metadata.is_file());
    match is_file {
        Ok(false) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Ok(true) | Err(_) => {
            disk::read(path, seal::MAX_BYTES + 1).map(Some).map_err(io_failure("read", path))
        }
    }
}

/// The text of a file of secrets.
fn secrets(path: &Path) -> io::Result<String> {
    let bytes = disk::read(path, MAX_SECRETS + 1)?;
    if bytes.len() > MAX_SECRETS {
        return Err(io::Error::other("the file is too large for secrets"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not UTF-8 text"))
}

/// Writer of a file.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Us,
    /// evenkeel for some cluster, but it was cut off or edited since.
    Damaged,
    /// evenkeel for another cluster.
    Cluster(String),
    Nobody,
}

fn owner(bytes: &[u8], kind: Kind, cluster: &Name) -> Owner {
    let found = match kind {
        Kind::Plan => match seal::open(bytes) {
            Ok((_, body)) => plan_cluster(body),
            Err(SealError::Empty | SealError::Broken { .. }) => return Owner::Damaged,
            Err(SealError::Missing | SealError::NotText | SealError::TooLarge) => return Owner::Nobody,
        },
        Kind::Secrets => secrets_cluster(bytes),
    };
    match found {
        Some(found) if found == cluster.as_str() => Owner::Us,
        Some(found) => Owner::Cluster(found.to_owned()),
        None => Owner::Nobody,
    }
}

/// The cluster's name stands among the first lines of a plan, before the first table.
fn plan_cluster(body: &str) -> Option<&str> {
    body.lines()
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix("cluster = \"")?.strip_suffix('"'))
}

/// The cluster's name as the header of a file of secrets has it.
fn secrets_cluster(bytes: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(bytes.split(|byte| *byte == b'\n').next()?).ok()?;
    let name = line.split('`').nth(1)?;
    let parsed: Name = name.parse().ok()?;
    (secrets_header(&parsed) == line).then_some(name)
}

/// Asked before each operation on a file; an error ends the run right there.
type Gate<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// Does the work.
pub(super) fn carry_out(directory: &Path, work: &Work<'_>) -> Result<(), Failure> {
    carry_out_step_by_step(directory, work, &mut || Ok(()))
}

/// Secrets come before the plans that name them, and go after them; each kind is on the disk before
/// the next begins, so a power cut does not turn the order round.
fn carry_out_step_by_step(directory: &Path, work: &Work<'_>, gate: Gate<'_>) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(io_failure("create directory", directory))?;
    for group in work.write.chunk_by(|(_, _, a), (_, _, b)| a == b) {
        for files in group.chunks(AT_ONCE) {
            replace(files, gate)?;
        }
        sync(directory, gate)?;
    }
    for group in work.remove.chunk_by(|(_, a), (_, b)| a == b) {
        for (path, _) in group {
            gate().and_then(|()| remove(path)).map_err(io_failure("remove", path))?;
        }
        sync(directory, gate)?;
    }
    Ok(())
}

/// Somebody else may have removed it meanwhile, which is as good.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The names are as durable as the contents only after this.
fn sync(directory: &Path, gate: Gate<'_>) -> Result<(), Failure> {
    gate().and_then(|()| disk::sync_directory(directory)).map_err(io_failure("write directory", directory))
}

/// Removes what a run that was killed left unfinished, and returns what that was. Nothing depends
/// on it, so what cannot be removed stays.
pub(super) fn sweep(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut left: Vec<PathBuf> =
        entries.flatten().filter(is_left_unfinished).map(|entry| entry.path()).collect();
    left.retain(|path| fs::remove_file(path).is_ok());
    left.sort();
    left
}

fn is_left_unfinished(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED_PREFIX));
    let ours = random.is_some_and(|random| {
        random.len() == UNFINISHED_RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    // Of the link, should it be one.
    ours && entry.metadata().is_ok_and(|metadata| {
        let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
        metadata.is_file() && age.is_some_and(|age| age > UNFINISHED_AGE)
    })
}

/// Readers see the old file or the new one, whole; so does whoever looks after a power cut.
fn replace(files: &[(PathBuf, &str, Kind)], gate: Gate<'_>) -> Result<(), Failure> {
    let mut begun = Vec::with_capacity(files.len());
    for (path, text, kind) in files {
        begun.push(begin(path, text, *kind, gate).map_err(io_failure("write", path))?);
    }
    for ((path, ..), file) in files.iter().zip(&begun) {
        gate().and_then(|()| file.sync()).map_err(io_failure("write", path))?;
    }
    for ((path, ..), file) in files.iter().zip(begun) {
        gate().and_then(|()| file.rename()).map_err(io_failure("write", path))?;
    }
    Ok(())
}

/// Writes a file that has no name yet.
fn begin(path: &Path, text: &str, kind: Kind, gate: Gate<'_>) -> io::Result<Replacement> {
    let mode = match kind {
        Kind::Plan => disk::PUBLIC,
        Kind::Secrets => disk::PRIVATE,
    };
    gate()?;
    let mut file = Replacement::begin(path, mode)?;
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    file.write(first)?;
    gate()?;
    file.write(rest)?;
    Ok(file)
}
