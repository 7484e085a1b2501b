//! What a cluster file is compared with: plans in a directory, a revision of the repository, or
//! nothing.

use std::path::{Path, PathBuf};

use evenkeel::change::{self, Fleet, Origins};
use evenkeel::{Diagnostic, Files, SourceFile, Start, codes, compile_with_origins, load_within, render};
use evenkeel_schemas::scalars::Name;

use super::directory::Keep;
use super::files::Trust;
use super::git::{Folder, Repository};
use super::{Terminal, directory};

/// Base of a comparison.
#[derive(Debug)]
pub(super) struct Base {
    /// As it was given.
    pub(super) name: String,
    pub(super) fleet: Fleet,
    /// Lines of the cluster file that it was compiled from, when it is a revision.
    pub(super) origins: Option<Origins>,
}

/// Base as the command line names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// Parts of plans in a directory that are kept.
    pub(super) keep: Keep,
    pub(super) cluster_file: &'a Path,
    pub(super) overlays: &'a [PathBuf],
    pub(super) trust: Trust,
}

/// Base when the command line names none.
const DEFAULT: &str = "git:HEAD";

/// Reads the base. `after` is what it is compared with, and stands in for secrets that cannot be read.
pub(super) fn load(
    against: Option<&str>,
    files: &Given<'_>,
    cluster: &Name,
    after: &Fleet,
    terminal: &Terminal,
) -> Option<Base> {
    let name = against.unwrap_or(DEFAULT);
    let loaded = match name.split_once(':') {
        None if name == "none" => Ok(Base { name: name.to_owned(), fleet: Fleet::new(), origins: None }),
        Some(("git", revision)) => from_git(name, revision, files, terminal),
        _ => from_directory(name, files, cluster, after, terminal),
    };
    loaded.map_err(|diagnostic| terminal.diagnostics(&SourceFile::new(name, ""), &[*diagnostic])).ok()
}

type Failure = Box<Diagnostic>;

fn broken(message: String, hint: &str) -> Failure {
    Box::new(Diagnostic::of_file(&codes::BROKEN_BASE, message).hint(hint))
}

fn from_directory(
    name: &str,
    &Given { trust, keep, .. }: &Given<'_>,
    cluster: &Name,
    after: &Fleet,
    terminal: &Terminal,
) -> Result<Base, Failure> {
    let directory = Path::new(name);
    if !directory.is_dir() {
        return Err(broken(
            format!("there is no directory {name}"),
            "give a directory of plans, `git:` and a revision, or `none` when nothing is there yet",
        ));
    }
    let found = directory::plans(directory, cluster, trust, keep).map_err(|failure| {
        broken(failure.to_string(), "write the plans again with `evenkeel compile`, or give another base")
    })?;
    if found.fleet.is_empty() && !found.others.is_empty() {
        let others: Vec<String> =
            found.others.iter().map(|other| format!("`{}`", other.escape_debug())).collect();
        return Err(broken(
            format!("{name} has plans of {} and none of `{cluster}`", others.join(", ")),
            "give the directory of this cluster",
        ));
    }
    let mut fleet = found.fleet;
    for host in &found.secrets_unread {
        terminal.complain(format_args!(
            "Note: the secrets of {host} in {} may not be read by this user; they are taken for unchanged.",
            render::plain(name)
        ));
    }
    change::assume_secrets(&mut fleet, after);
    Ok(Base { name: name.to_owned(), fleet, origins: None })
}

fn from_git(
    name: &str,
    revision: &str,
    &Given { cluster_file, overlays, trust, .. }: &Given<'_>,
    terminal: &Terminal,
) -> Result<Base, Failure> {
    let (revision, path) = match revision.split_once(':') {
        Some((revision, path)) => (revision, Some(path.to_owned())),
        None => (revision, None),
    };
    if cluster_file == Path::new("-") && path.is_none() {
        return Err(broken(
            "a cluster file from standard input has no path in the repository".to_owned(),
            "give the path too, `git:HEAD:cluster.toml`, or a directory of plans",
        ));
    }
    let repository = Repository::of(cluster_file, trust);
    let fail = |error: String| {
        broken(
            format!("revision `{}` cannot be read: {error}", revision.escape_debug()),
            "give --against a revision that `git log` knows, a directory of plans, or `none` when nothing is \
            there yet",
        )
    };
    let path = match path {
        Some(path) => path,
        None => repository.path_of(cluster_file).map_err(fail)?,
    };
    let commit = repository.commit(revision).map_err(fail)?;
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
    let tree = Folder { commit: &commit, path: folder };
    let beside = tree.list("").unwrap_or_default();
    if !beside.iter().any(|name| name == file) {
        let others: Vec<&str> = beside
            .iter()
            .map(String::as_str)
            .filter(|name| Path::new(name).extension().is_some_and(|e| e == "toml"))
            .collect();
        let others = if others.is_empty() { "no other .toml file".to_owned() } else { others.join(", ") };
        return Err(broken(
            format!("there is no {path} in {} (beside it: {others})", commit.short()),
            "if the file has moved, give its old path, `git:HEAD:old/cluster.toml`; if it is new, give \
            `--against none`",
        ));
    }
    let mut laid_over = Vec::with_capacity(overlays.len());
    for overlay in overlays {
        laid_over.push(Repository::of(overlay, trust).path_of(overlay).map_err(fail)?);
    }
    let folder_of = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let folders: Vec<String> = laid_over.iter().map(|path| folder_of(path)).collect();
    let trees: Vec<Folder<'_>> = folders.iter().map(|path| Folder { commit: &commit, path }).collect();
    let shown = |folder: &str| match folder {
        "" => format!("git:{revision}:"),
        folder => format!("git:{revision}:{folder}/"),
    };
    let prefixes: Vec<String> = folders.iter().map(|folder| shown(folder)).collect();
    let overlays: Vec<Start<'_>> = laid_over
        .iter()
        .zip(&trees)
        .zip(&prefixes)
        .map(|((path, tree), shown)| Start {
            files: tree,
            file: path.rsplit_once('/').map_or(path.as_str(), |(_, file)| file),
            shown,
        })
        .collect();
    let source = load_within(Start { files: &tree, file, shown: &shown(folder) }, &overlays, trust.limits());
    let (compilation, origins) = compile_with_origins(&source);
    let Some(cluster) = &compilation.cluster else {
        terminal.diagnostics(&source, &compilation.diagnostics);
        return Err(broken(
            format!("the cluster file at {} is not valid, see above", commit.short()),
            "compare with a revision that was valid, or with a directory of plans",
        ));
    };
    let fleet = change::compiled(cluster);
    Ok(Base { name: name.to_owned(), fleet, origins })
}
