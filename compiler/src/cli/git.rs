//! Revisions of a repository, through the `git` command: arguments only, no shell.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evenkeel::Files;

/// A repository, seen from a directory in it.
#[derive(Debug)]
pub(super) struct Repository {
    directory: PathBuf,
}

/// A commit: the files of a revision.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    repository: &'a Repository,
    hash: String,
}

impl Repository {
    /// The repository that a file is in.
    pub(super) fn of(file: &Path) -> Self {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self { directory: parent.unwrap_or(Path::new(".")).to_owned() }
    }

    /// The path of a file of the directory, from the root of the repository.
    pub(super) fn path_of(&self, file: &Path) -> Result<String, String> {
        let prefix = self.text(&["rev-parse", "--show-prefix"])?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(format!("{prefix}{name}"))
    }

    /// The commit that a revision names.
    pub(super) fn commit(&self, revision: &str) -> Result<Commit<'_>, String> {
        let argument = format!("{revision}^{{commit}}");
        let hash = self
            .text(&["rev-parse", "--verify", "--quiet", "--end-of-options", &argument])
            .map_err(|error| if error.is_empty() { "there is no such revision".to_owned() } else { error })?;
        Ok(Commit { repository: self, hash })
    }

    /// What git says, without the newline; else its complaint.
    fn text(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.run(arguments)?;
        let text = String::from_utf8(output).map_err(|_| "git's answer is not UTF-8".to_owned())?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.directory)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => "the command `git` is not installed".to_owned(),
                _ => format!("`git` cannot be run: {error}"),
            })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(complaint.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned())
    }
}

impl Commit<'_> {
    /// The first digits of its hash.
    pub(super) fn short(&self) -> &str {
        self.hash.get(..12).unwrap_or(&self.hash)
    }
}

/// A directory of a commit.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) commit: &'a Commit<'a>,
    /// From the root of the repository; the root is empty.
    pub(super) path: &'a str,
}

impl Folder<'_> {
    fn inside(&self, path: &str) -> String {
        match (self.path, path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{folder}/{path}"),
        }
    }
}

impl Files for Folder<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let object = format!("{}:{}", self.commit.hash, self.inside(path));
        let mut bytes =
            self.commit.repository.run(&["cat-file", "blob", &object]).map_err(io::Error::other)?;
        bytes.truncate(limit);
        Ok(bytes)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let tree = format!("{}:{}", self.commit.hash, self.inside(directory));
        let names = self
            .commit
            .repository
            .run(&["ls-tree", "-z", "--full-tree", "--name-only", &tree])
            .map_err(io::Error::other)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }
}
