//! Follows `include`: a cluster file, the files that it includes, and overlays -> one source.
//!
//! Where files come from is the caller's business: it lends a [`Files`]. What is in them, apart
//! from `include`, is not looked at here.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};

use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::limits::Limits;
use crate::parse::bounded;
use crate::parse::extent::excess;
use crate::source::{Fault, SourceFile, text_of, unusable};

mod pattern;

/// Deepest inclusion of files in files.
pub const MAX_DEPTH: usize = 16;

/// A tree of files. Paths are relative to the directory of the cluster file, with `/` between
/// their parts, and never lead out of it; the directory itself is the empty path.
pub trait Files {
    /// The first `limit` bytes of a file, or all if it has fewer.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>>;

    /// Names of what is in a directory, in any order.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Whether lines of a file may be shown in excerpts: it is meant as a cluster file.
    fn shows_lines(&self, path: &str) -> bool {
        is_cluster_file(path)
    }
}

/// Whether a file is meant as a cluster file, by its name: it ends in `.toml`, and is none of those
/// that `evenkeel` writes.
#[must_use]
pub fn is_cluster_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.len() > ENDING.len() && name.ends_with(ENDING) && !OURS.iter().any(|ours| name.ends_with(ours))
}

/// Ending of the names of cluster files.
const ENDING: &str = ".toml";
/// Endings of the names of plans and of files of secrets.
const OURS: [&str; 2] = [".plan.toml", ".secrets.toml"];

/// A file to begin with.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The tree that it is in.
    pub files: &'a dyn Files,
    /// Name in its directory, which is the top of the tree.
    pub file: &'a str,
    /// Prefix of paths in messages: the directory with a slash, or nothing.
    pub shown: &'a str,
}

impl std::fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("file", &self.file).field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// Reads a cluster file with all that it includes, and overlays with all that they include.
///
/// What cannot be read is a finding of the source, which `compile` reports with the others.
#[must_use]
pub fn load(cluster: Start<'_>, overlays: &[Start<'_>]) -> SourceFile {
    load_within(cluster, overlays, Limits::OWN)
}

/// The same with other limits.
#[must_use]
pub fn load_within(cluster: Start<'_>, overlays: &[Start<'_>], limits: Limits) -> SourceFile {
    let mut loader = Loader::new(cluster, limits);
    for (layer, start) in std::iter::once(&cluster).chain(overlays).enumerate() {
        loader.start(&mut Tree { start, layer, seen: BTreeSet::new(), open: VecDeque::new() });
    }
    loader.source
}

/// Reads a file and nothing that it includes.
#[must_use]
pub fn load_alone(file: Start<'_>) -> SourceFile {
    let mut loader = Loader { full: true, ..Loader::new(file, Limits::OWN) };
    loader.start(&mut Tree { start: &file, layer: 0, seen: BTreeSet::new(), open: VecDeque::new() });
    loader.source
}

struct Loader {
    source: SourceFile,
    /// Whether reading has ended: a limit was reached, which is reported once, or no more is wanted.
    full: bool,
}

/// Files of one start.
struct Tree<'a> {
    start: &'a Start<'a>,
    layer: usize,
    seen: BTreeSet<String>,
    /// Files to be followed: first those that the first file includes, so that no file is deeper than it must
    /// be.
    open: VecDeque<Include>,
}

/// An `include` of a file.
struct Include {
    /// The file that it stands in.
    by: String,
    pattern: String,
    place: Place,
    depth: usize,
}

impl Loader {
    fn new(first: Start<'_>, limits: Limits) -> Self {
        let name = format!("{}{}", first.shown, first.file);
        Self { source: SourceFile::empty(&name, limits), full: false }
    }

    fn start(&mut self, tree: &mut Tree<'_>) {
        let path = tree.start.file.to_owned();
        let name = format!("{}{path}", tree.start.shown);
        tree.seen.insert(path.clone());
        let limit = self.source.limits.bytes;
        match self.read(tree, &path).map_err(|error| unreadable(&error)).and_then(|bytes| whole(bytes, limit))
        {
            Ok(text) => self.add(tree, &path, &text, 0),
            Err(fault) => self.source.troubles.push(fault.diagnostic().in_file(name)),
        }
        while !self.full
            && let Some(include) = tree.open.pop_front()
        {
            self.include(tree, &include);
        }
    }

    /// Reads no more than there is room for, and a byte.
    fn read(&self, tree: &Tree<'_>, path: &str) -> io::Result<Vec<u8>> {
        tree.start.files.read(path, self.source.limits.bytes + 1)
    }

    fn add(&mut self, tree: &mut Tree<'_>, path: &str, text: &str, depth: usize) {
        let name = format!("{}{path}", tree.start.shown);
        let offset = self.source.add(name, text, tree.layer, tree.start.files.shows_lines(path));
        for (pattern, place) in includes(text, offset) {
            tree.open.push_back(Include { by: path.to_owned(), pattern, place, depth: depth + 1 });
        }
    }

    fn include(&mut self, tree: &mut Tree<'_>, include: &Include) {
        let Include { by, pattern, place, depth } = include;
        let found = match pattern::expand(tree.start.files, by, pattern) {
            Ok(found) => found,
            Err(fault) => {
                self.trouble(fault, place, pattern);
                return;
            }
        };
        let mut matched = false;
        for path in found.paths {
            if tree.seen.contains(&path) {
                matched = true;
                continue;
            }
            if !is_cluster_file(&path) {
                // Before anything of it is read: its lines are nobody's business here.
                matched = true;
                tree.seen.insert(path.clone());
                self.trouble(not_meant(&path), place, &format!("{}{path}", tree.start.shown));
                continue;
            }
            let bytes = match self.read(tree, &path) {
                Err(error) if found.wild && no_match(&error) => continue,
                other => other,
            };
            matched = true;
            tree.seen.insert(path.clone());
            let shown = format!("{}{path}", tree.start.shown);
            let limit = self.source.limits.bytes;
            match bytes.map_err(|error| unreadable(&error)).and_then(|bytes| whole(bytes, limit)) {
                Ok(text) => {
                    if let Some(fault) = self.no_room(text.len(), *depth) {
                        self.full = true;
                        self.trouble(fault, place, &shown);
                        return;
                    }
                    self.add(tree, &path, &text, *depth);
                }
                Err(fault) => self.trouble(fault, place, &shown),
            }
            if self.full {
                return;
            }
        }
        if !matched {
            self.source.troubles.push(
                Diagnostic::new(
                    &codes::INCLUDES_NOTHING,
                    place.clone(),
                    format!("`{}` matches no file", pattern.escape_debug()),
                    "no such file",
                )
                .hint(
                    "check the pattern: it is relative to the file that it stands in; `*` does not match `/`",
                ),
            );
        }
    }

    fn no_room(&self, bytes: usize, depth: usize) -> Option<Fault> {
        let limit = |cause: String, hint: &str| Some(Fault::new(&codes::INCLUDE_LIMIT, cause, hint));
        let limits = self.source.limits;
        if self.source.pieces().len() >= limits.files {
            let cause = format!("the cluster has more than {} files", limits.files);
            return limit(cause, "check the pattern, or put more into one file");
        }
        if depth > MAX_DEPTH {
            let cause = format!("files include files more than {MAX_DEPTH} deep");
            return limit(cause, "include the files from the cluster file itself");
        }
        if self.source.text().len() + bytes > limits.bytes {
            let cause =
                format!("the cluster's files have more than {} MiB together", limits.bytes / 1024 / 1024);
            return limit(cause, "check the pattern; a larger cluster is better split in two");
        }
        None
    }

    fn trouble(&mut self, mut fault: Fault, place: &Place, shown: &str) {
        if fault.code == &codes::EMPTY {
            fault.hint = "write what belongs there, or remove the file".to_owned();
        }
        if fault.at.is_some() {
            let diagnostic = fault.diagnostic().in_file(shown).also(place.clone(), "included here");
            self.source.troubles.push(diagnostic);
            return;
        }
        let message = format!("`{}`: {}", shown.escape_debug(), fault.cause);
        let diagnostic = Diagnostic::new(fault.code, place.clone(), message, "included here");
        self.source.troubles.push(diagnostic.hint(fault.hint));
    }
}

/// Inclusions of a file. Of a file with syntax errors those that can be read.
fn includes(text: &str, offset: usize) -> Vec<(String, Place)> {
    // What has too much in it is refused when it is parsed.
    if !text.contains("include") || excess(std::iter::once((text, 0))).is_some() {
        return Vec::new();
    }
    let root = bounded::read(text).root;
    let items = root.get("include").and_then(|value| value.get_ref().as_array());
    let include = |item: &toml::Spanned<toml::de::DeValue<'_>>| {
        let span = item.span();
        let place = span.start + offset..span.end + offset;
        Some((item.get_ref().as_str()?.to_owned(), place))
    };
    items.into_iter().flat_map(|items| items.iter()).filter_map(include).collect()
}

/// Why a file is not included, whatever is in it.
fn not_meant(path: &str) -> Fault {
    if OURS.iter().any(|ours| path.ends_with(ours)) {
        let cause = "this is a file that `evenkeel` writes, no cluster file";
        return Fault::new(&codes::BAD_INCLUDE, cause, "keep plans in a directory of their own");
    }
    Fault::new(
        &codes::BAD_INCLUDE,
        "the name of a cluster file ends in `.toml`",
        "give the file such a name, or take it out of `include`: other files are not read",
    )
}

/// A file's text, when it is some.
fn whole(bytes: Vec<u8>, limit: usize) -> Result<String, Fault> {
    let text = text_of(bytes, limit)?;
    match unusable(&text, limit) {
        Some(fault) => Err(fault),
        None => Ok(text),
    }
}

/// Whether something that a wildcard matched is no file to include.
fn no_match(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

pub(crate) fn unreadable(error: &io::Error) -> Fault {
    if error.kind() == ErrorKind::Unsupported {
        let cause = "a cluster file on standard input is in no directory and cannot include files";
        return Fault::new(&codes::BAD_INCLUDE, cause, "name the cluster file instead of `-`");
    }
    let (cause, hint) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            ("the file does not exist".to_owned(), "check the path")
        }
        ErrorKind::IsADirectory => (
            "this is a directory, not a file".to_owned(),
            "name the cluster file in it, such as cluster.toml",
        ),
        ErrorKind::PermissionDenied => (
            "this user may not read the file".to_owned(),
            "check its owner and mode, and those of its directories",
        ),
        _ => (format!("the file cannot be read: {error}"), "check the path and the file system"),
    };
    Fault::new(&codes::UNREADABLE, cause, hint)
}
