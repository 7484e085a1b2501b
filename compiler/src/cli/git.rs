//! Revisions of a repository, through the `git` command: arguments only, no shell.
//!
//! The repository may be somebody else's work, with a configuration and attributes of its own. So only
//! commands are used that read objects: none that looks at the work tree, runs a filter, a hook or a
//! pager. What git could still run is what brings objects that are missing from elsewhere, which a
//! partial clone does; of a stranger's repository nothing is brought.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use evenkeel::{Files, MAX_BYTES};

use super::files::Trust;

/// Most bytes of an answer that is no file: names, hashes, complaints.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Settings that keep any repository from having git run programs, whatever its configuration says.
const SETTINGS: [&str; 6] =
    ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat"];

/// Settings that keep git from fetching anything: git before 2.44 does not know the first, and the second
/// says that there is no remote.
const NO_FETCH: [(&str, &str); 3] =
    [("GIT_NO_LAZY_FETCH", "1"), ("GIT_ALLOW_PROTOCOL", "none"), ("GIT_TERMINAL_PROMPT", "0")];

/// Mode of a symbolic link in a tree.
const LINK: &[u8] = b"120000 ";

/// A repository, seen from a directory in it.
#[derive(Debug)]
pub(super) struct Repository {
    directory: PathBuf,
    trust: Trust,
}

/// A commit: the files of a revision.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    repository: &'a Repository,
    hash: String,
}

impl Repository {
    /// The repository that a file is in.
    pub(super) fn of(file: &Path, trust: Trust) -> Self {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self { directory: parent.unwrap_or(Path::new(".")).to_owned(), trust }
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

    /// Output of git, without the newline.
    ///
    /// # Errors
    ///
    /// The complaint of git.
    fn text(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.run(arguments, MAX_ANSWER)?;
        let text = String::from_utf8(output).map_err(|_| "git's answer is not UTF-8".to_owned())?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// At most `limit` bytes of what git says; it is ended when it says more.
    fn run(&self, arguments: &[&str], limit: usize) -> Result<Vec<u8>, String> {
        let cannot = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => "the command `git` is not installed".to_owned(),
            _ => format!("`git` cannot be run: {error}"),
        };
        let mut git = command(&self.directory, self.trust, arguments).spawn().map_err(cannot)?;
        let (stdout, stderr) = (git.stdout.take(), git.stderr.take());
        let (output, complaint) = thread::scope(|scope| {
            // Both at once: git waits where nobody reads.
            let complaint = scope.spawn(|| {
                let mut complaint = Vec::new();
                let mut stderr = stderr?;
                let read = (&mut stderr).take(MAX_ANSWER as u64).read_to_end(&mut complaint);
                read.and_then(|_| io::copy(&mut stderr, &mut io::sink())).ok().map(|_| complaint)
            });
            let mut output = Vec::new();
            let read = stdout.map(|stdout| stdout.take(limit as u64).read_to_end(&mut output));
            let ended = read.transpose().map(|_| ());
            if ended.is_err() || output.len() >= limit {
                // It has ended already, or nobody reads what it still says.
                let _ = git.kill();
            }
            (ended.map(|()| output), complaint.join().ok().flatten().unwrap_or_default())
        });
        let status = git.wait().map_err(cannot)?;
        let output = output.map_err(cannot)?;
        if status.success() || output.len() >= limit {
            return Ok(output);
        }
        let complaint = String::from_utf8_lossy(&complaint);
        Err(complaint.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned())
    }
}

fn command(directory: &Path, trust: Trust, arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("--no-pager").args(SETTINGS).arg("-C").arg(directory).args(arguments);
    if trust == Trust::Strangers {
        git.envs(NO_FETCH);
    }
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git
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

    /// The entry of a file in the listing of its directory: mode, kind, hash, a tab, name.
    fn entry(&self, path: &str) -> io::Result<Vec<u8>> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.tree(folder, &["ls-tree", "-z", "--full-tree"])?;
        let named = |entry: &&[u8]| {
            let mut parts = entry.splitn(2, |byte| *byte == b'\t');
            parts.nth(1) == Some(name.as_bytes())
        };
        let entry = entries.split(|byte| *byte == 0).find(named);
        entry.map(<[u8]>::to_vec).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn tree(&self, directory: &str, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let tree = format!("{}:{}", self.commit.hash, self.inside(directory));
        let arguments: Vec<&str> = arguments.iter().copied().chain([tree.as_str()]).collect();
        self.commit.repository.run(&arguments, MAX_ANSWER).map_err(io::Error::other)
    }
}

impl Files for Folder<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let entry = self.entry(path)?;
        if entry.starts_with(LINK) {
            return Err(io::Error::other("it is a symbolic link, which is not followed in a revision"));
        }
        let object = format!("{}:{}", self.commit.hash, self.inside(path));
        let limit = limit.min(MAX_BYTES + 1);
        self.commit.repository.run(&["cat-file", "blob", &object], limit).map_err(io::Error::other)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let names = self.tree(directory, &["ls-tree", "-z", "--full-tree", "--name-only"])?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn of_a_stranger_nothing_is_brought_and_nothing_is_run() {
        let environment = |trust| -> Vec<String> {
            let git = command(Path::new("."), trust, &["rev-parse", "HEAD"]);
            assert!(git.get_args().any(|argument| argument == OsStr::new("core.fsmonitor=false")));
            git.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
        };
        assert!(environment(Trust::Own).is_empty(), "a partial clone of one's own is filled");
        assert!(environment(Trust::Strangers).iter().any(|name| name == "GIT_NO_LAZY_FETCH"));
    }
}
