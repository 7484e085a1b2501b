//! The `git` command: run as an unprivileged user in a process of its own, with bounds on time, memory and
//! files. No shell of ours, no prompt, no hook, no submodule, no settings but ours. Nothing is decided here.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::address::Address;
use super::answers::{self, CopySize, TreeEntry};
use super::place::Place;
use crate::programs::run::{Bounds, Ended, How, Outputs, PATH, Program, run_bounded};
use crate::source::memory::Commit;
use crate::system::files::Trust;

/// Time for an answer of the repository about its branch.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// Time for what is fetched.
const FETCH_LIMIT: Duration = Duration::from_secs(120);
/// Time for what is done on this host.
const HERE_LIMIT: Duration = Duration::from_secs(60);
/// Time for a few hundred signatures on a busy host: two processes each.
const SIGNATURES_LIMIT: Duration = Duration::from_secs(120);
/// Bounds of git: a pack is one file.
const BOUNDS: Bounds = Bounds { file: 256 * 1024 * 1024, memory: 1024 * 1024 * 1024 };
/// Most of the answer of a command, bytes, files of the repository aside.
const MAX_ANSWER: usize = 1024 * 1024;
/// Most of git's complaints that are looked at, bytes.
const MAX_COMPLAINTS: usize = 8 * 1024;
/// Branch as it was fetched last.
pub(super) const TIP: &str = "refs/evenkeel/tip";
/// Commit that was accepted last.
const ACCEPTED: &str = "refs/evenkeel/accepted";

/// Name of the repository among git's remotes.
const REMOTE: &str = "evenkeel";

/// How far a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// This host: git asks nobody for objects that are not here.
    Here,
    /// The repository, by the protocol of its address and by no other.
    Repository,
}

/// Settings of every command. The repository's own, which the user that git runs as could write, are below
/// them.
const SETTINGS: [&str; 22] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=/bin/false",
    "core.bigFileThreshold=1m",
    "credential.helper=",
    "credential.interactive=false",
    "fetch.recurseSubmodules=no",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.cookieFile=",
    "log.mailmap=false",
    "log.showSignature=false",
    "protocol.version=2",
    "transfer.bundleURI=false",
    // git takes the kind of a signature from the commit.
    "gpg.format=ssh",
    "gpg.program=/bin/false",
    "gpg.openpgp.program=/bin/false",
    "gpg.x509.program=/bin/false",
    "gpg.ssh.program=ssh-keygen",
    "gpg.minTrustLevel=undefined",
];

/// Reason why a command has no answer: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitError(String);

impl GitError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for GitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Files of keys, of which `write_keys` has made copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// Whether there are revoked keys.
    pub(super) revoked: bool,
}

/// The copy of a repository on this host.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) place: Place,
    address: Address,
    trust: Trust,
    /// User that git runs as, when this process may not become another.
    user: Option<String>,
    runtime: Runtime,
}

impl Repository {
    /// `runtime` runs the commands on the calling thread.
    pub(super) fn new(place: Place, address: Address, trust: Trust, runtime: Runtime) -> Self {
        let own = nix::unistd::geteuid();
        let own_name = || nix::unistd::User::from_uid(own).ok().flatten().map(|user| user.name);
        let user = if own.is_root() { None } else { own_name() };
        Self { place, address, trust, user, runtime }
    }

    pub(super) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Makes the directories where they are missing.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn make_directories(&self) -> Result<(), GitError> {
        let wrong = |error: io::Error| GitError(format!("its directory cannot be made: {error}"));
        let make = |base: &Path| {
            let command = ["/bin/mkdir", "-m", "0700", "work"].map(str::to_owned);
            let ended = self.run(&command, &[], Some(base), HERE_LIMIT, &mut |_| {}, &mut |_| {});
            if ended.is_success() { Ok(()) } else { Err(io::Error::other(ended.to_string())) }
        };
        self.place.prepare(make).map_err(wrong)
    }

    /// Makes an empty repository where there is none. The directories have to be there.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn make_copy(&self) -> Result<(), GitError> {
        if self.git(&["rev-parse", "--git-dir"], HERE_LIMIT).is_ok() {
            return Ok(());
        }
        self.remove()?;
        let path = text(&self.place.repository())?;
        self.git(&["init", "--quiet", "--bare", "--template=", &path], HERE_LIMIT).map(drop)
    }

    /// Removes the repository.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn remove(&self) -> Result<(), GitError> {
        let command =
            ["/bin/rm".to_owned(), "-rf".to_owned(), "--".to_owned(), text(&self.place.repository())?];
        let ended = self.run(&command, &[], None, HERE_LIMIT, &mut |_| {}, &mut |_| {});
        if ended.is_success() { Ok(()) } else { Err(GitError(format!("it cannot be removed: {ended}"))) }
    }

    /// The commit that the branch has now, as the repository says; none when there is no such branch.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn ask(&self) -> Result<Option<Commit>, GitError> {
        let reference = self.address.reference();
        let words = ["ls-remote", "--", &self.address.repository, &reference];
        let answer = self.git_over(Reach::Repository, &words, ASK_LIMIT)?;
        Ok(answers::tip(&answer, &reference))
    }

    /// Fetches the branch without its files. Returns its tip. All commits come: in a history that is cut off,
    /// a branch that began before the cut and is merged later would seem to be new from its beginning.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn fetch(&self) -> Result<Commit, GitError> {
        let branch = format!("+{}:{TIP}", self.address.reference());
        let remote = self.remote();
        let mut words: Vec<&str> = remote.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
        words.extend([
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--filter=blob:none",
        ]);
        words.extend(["--", REMOTE, &branch]);
        self.git_over(Reach::Repository, &words, FETCH_LIMIT)?;
        let answer = self.git(&["rev-parse", "--verify", "--quiet", TIP], HERE_LIMIT)?;
        answers::commit(&answer).ok_or_else(|| GitError("git does not say what it has fetched".to_owned()))
    }

    /// Whether the object is here and is a commit.
    pub(super) fn has(&self, commit: &Commit) -> bool {
        let kind = self.git(&["cat-file", "-t", commit.as_str()], HERE_LIMIT);
        kind.is_ok_and(|answer| answer == b"commit\n")
    }

    /// Whether `commit` descends from `from`, or is it.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn descends(&self, commit: &Commit, from: &Commit) -> Result<bool, GitError> {
        let words = ["merge-base", "--is-ancestor", from.as_str(), commit.as_str()];
        let (ended, _, complaint) = self.answer(Reach::Here, &words, HERE_LIMIT);
        match ended.how {
            How::Exit(0) => Ok(true),
            How::Exit(1) => Ok(false),
            _ => Err(failed(&ended, &complaint)),
        }
    }

    /// Number of commits from `from`, left out, to `commit`.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn count(&self, from: &Commit, commit: &Commit) -> Result<u64, GitError> {
        let way = format!("{from}..{commit}");
        let answer = self.git(&["rev-list", "--count", &way, "--"], HERE_LIMIT)?;
        answers::number(&answer).ok_or_else(|| GitError("git does not count commits".to_owned()))
    }

    /// Answer about the signatures of the commits on the way from `from`, left out, to `commit`; of `commit`
    /// alone without `from`.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn signatures(
        &self,
        from: Option<&Commit>,
        commit: &Commit,
        keys: Keys,
    ) -> Result<Vec<u8>, GitError> {
        let signers = format!("gpg.ssh.allowedSignersFile={}", text(&self.place.signers())?);
        let revoked = format!("gpg.ssh.revocationFile={}", text(&self.place.revoked())?);
        let way = from.map_or_else(|| commit.to_string(), |from| format!("{from}..{commit}"));
        let mut words = vec!["-c", &signers];
        if keys.revoked {
            words.extend(["-c", &revoked]);
        }
        words.extend(["log", "-z", super::judge::SIGNATURES]);
        words.extend(from.is_none().then_some("--max-count=1"));
        words.extend([way.as_str(), "--"]);
        self.git(&words, SIGNATURES_LIMIT)
    }

    /// A file in a commit; none when there is none of this path.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn entry(&self, commit: &Commit, path: &str) -> Result<Option<TreeEntry>, GitError> {
        let words = ["ls-tree", "-z", "--full-tree", commit.as_str(), "--", path];
        Ok(answers::entry(&self.git(&words, HERE_LIMIT)?, path))
    }

    /// Size of a file, bytes. Fetches the file, within the bounds, where it is not here yet.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn size(&self, object: &Commit) -> Result<u64, GitError> {
        let remote = self.remote();
        let mut words: Vec<&str> = remote.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
        words.extend(["cat-file", "-s", object.as_str()]);
        let answer = self.git_over(Reach::Repository, &words, FETCH_LIMIT)?;
        answers::number(&answer).ok_or_else(|| GitError("git does not say how large the plan is".to_owned()))
    }

    /// Reads a file; `take` gets it piece by piece.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn read(&self, object: &Commit, take: &mut (dyn FnMut(&[u8]) + Send)) -> Result<(), GitError> {
        let mut complaints = Vec::new();
        let words = ["cat-file", "blob", object.as_str()];
        let command = self.command(&words)?;
        let mut err = |piece: &[u8]| keep_first(&mut complaints, piece, MAX_COMPLAINTS);
        let ended = self.run(&command, &self.environment(Reach::Here)?, None, HERE_LIMIT, take, &mut err);
        if ended.is_success() { Ok(()) } else { Err(failed(&ended, &complaints)) }
    }

    /// Settings of the repository as a remote that may be asked for files which were left out.
    fn remote(&self) -> [String; 3] {
        [
            format!("remote.{REMOTE}.url={}", self.address.repository),
            format!("remote.{REMOTE}.promisor=true"),
            format!("remote.{REMOTE}.partialclonefilter=blob:none"),
        ]
    }

    /// Keeps a commit as the one that was accepted last, so that the next fetch begins there.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn keep(&self, commit: &Commit) -> Result<(), GitError> {
        self.git(&["update-ref", ACCEPTED, commit.as_str()], HERE_LIMIT).map(drop)
    }

    /// Room that the copy on this host takes.
    ///
    /// # Errors
    /// The [`GitError`].
    pub(super) fn room(&self) -> Result<CopySize, GitError> {
        Ok(answers::room(&self.git(&["count-objects", "-v"], HERE_LIMIT)?))
    }

    /// A command with all settings.
    fn command(&self, words: &[&str]) -> Result<Vec<String>, GitError> {
        let git =
            PATH.split(':').map(|directory| Path::new(directory).join("git")).find(|path| path.is_file());
        let git = git.ok_or_else(|| GitError("git is not installed".to_owned()))?;
        let mut command = vec![text(&git)?, "--no-pager".to_owned(), "--literal-pathspecs".to_owned()];
        for setting in SETTINGS {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        command.extend(words.iter().map(|word| (*word).to_owned()));
        Ok(command)
    }

    fn environment(&self, reach: Reach) -> Result<Vec<(&'static str, String)>, GitError> {
        let work = text(&self.place.work())?;
        let protocol = match reach {
            Reach::Here => "none",
            Reach::Repository => self.address.scheme.protocol(),
        };
        Ok(vec![
            ("HOME", work.clone()),
            ("TMPDIR", work.clone()),
            ("XDG_CONFIG_HOME", work),
            ("LC_ALL", "C".to_owned()),
            ("GIT_DIR", text(&self.place.repository())?),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_CONFIG_GLOBAL", text(&self.place.config())?),
            ("GIT_ALLOW_PROTOCOL", protocol.to_owned()),
            ("GIT_TERMINAL_PROMPT", "0".to_owned()),
            ("GIT_ASKPASS", "/bin/false".to_owned()),
            ("SSH_ASKPASS", "/bin/false".to_owned()),
            // The host's own settings of ssh are followed.
            ("GIT_SSH", "ssh".to_owned()),
            ("GIT_SSH_VARIANT", "ssh".to_owned()),
            ("GIT_NO_REPLACE_OBJECTS", "1".to_owned()),
            ("GIT_OPTIONAL_LOCKS", "0".to_owned()),
        ])
    }

    /// Runs git on this host alone and returns its answer.
    fn git(&self, words: &[&str], limit: Duration) -> Result<Vec<u8>, GitError> {
        self.git_over(Reach::Here, words, limit)
    }

    fn git_over(&self, reach: Reach, words: &[&str], limit: Duration) -> Result<Vec<u8>, GitError> {
        let (ended, answer, complaints) = self.answer(reach, words, limit);
        if !ended.is_success() {
            return Err(failed(&ended, &complaints));
        }
        if answer.len() > MAX_ANSWER {
            return Err(GitError(format!("the answer of git is longer than {MAX_ANSWER} bytes")));
        }
        Ok(answer)
    }

    fn answer(&self, reach: Reach, words: &[&str], limit: Duration) -> (Ended, Vec<u8>, Vec<u8>) {
        let (mut answer, mut complaints) = (Vec::new(), Vec::new());
        let not_started = |error: GitError| Ended {
            how: How::NotStarted(error.to_string()),
            left_behind: false,
            output: String::new(),
        };
        let ended = match (self.command(words), self.environment(reach)) {
            (Ok(command), Ok(environment)) => self.run(
                &command,
                &environment,
                None,
                limit,
                &mut |piece| keep_first(&mut answer, piece, MAX_ANSWER + 1),
                &mut |piece| keep_first(&mut complaints, piece, MAX_COMPLAINTS),
            ),
            (Err(error), _) | (_, Err(error)) => not_started(error),
        };
        (ended, answer, complaints)
    }

    fn run(
        &self,
        command: &[String],
        environment: &[(&str, String)],
        directory: Option<&Path>,
        limit: Duration,
        out: &mut (dyn FnMut(&[u8]) + Send),
        err: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Ended {
        let user = self.user.as_deref();
        let program = Program { command, arguments: &[], environment, user, limit, trust: self.trust };
        self.runtime.block_on(run_bounded(program, directory, Some(BOUNDS), Outputs { out, err }))
    }
}

/// The reason of a command that failed.
fn failed(ended: &Ended, complaints: &[u8]) -> GitError {
    let why = answers::reason(complaints);
    GitError(match &ended.how {
        How::NotStarted(why) => why.clone(),
        How::Killed(after) if why.is_empty() => format!("no answer within {after:.0?}"),
        How::Killed(after) => format!("not done within {after:.0?}: {why}"),
        How::Exit(_) | How::Signal(_) if !why.is_empty() => format!("git: {why}"),
        How::Exit(_) | How::Signal(_) => format!("git: {ended}"),
    })
}

fn text(path: &Path) -> Result<String, GitError> {
    let wrong = || GitError(format!("{} is no UTF-8 text", path.display()));
    path.to_str().map(ToOwned::to_owned).ok_or_else(wrong)
}

fn keep_first(kept: &mut Vec<u8>, piece: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len()).min(piece.len());
    kept.extend_from_slice(piece.get(..room).unwrap_or_default());
}
