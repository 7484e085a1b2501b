//! One look at a repository: asks for the branch, fetches, has `judge` decide, and puts the plan of this host
//! into its place. It decides nothing by itself.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use tracing::warn;

use super::address::Address;
use super::answers::CopySize;
use super::judge::{self, Ancestry, Refusal, Taken};
use super::repository::{GitError, Keys, Repository};
use super::signers::{self, Calendar, InForce};
use crate::source::cadence;
use crate::source::kept::Trouble;
use crate::source::memory::{Commit, Record};
use crate::system::files::{self, FileError, Trust, limit};
use crate::system::moment;

/// Modes of regular files in git's trees.
const REGULAR: [&str; 2] = ["100644", "100755"];

/// Most lines of a file of signers that are told to be left out.
const MOST_LINES: usize = 20;

/// Whom to believe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// File of allowed signers; without it the transport alone is trusted.
    pub(crate) signers: Option<PathBuf>,
    /// File of revoked keys.
    pub(crate) revoked: Option<PathBuf>,
    /// Whether the first commit waits for an operator.
    pub(crate) require_newer: bool,
}

/// A commit that may be taken, with its plan in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GoodCommit {
    pub(super) tip: Commit,
    pub(super) taken: Taken,
    /// Principal that signed it; absent where nobody is asked for.
    pub(super) signer: Option<String>,
}

/// A commit whose fetch, or plan, failed: not fetched again at every look.
#[derive(Debug)]
struct FailedFetch {
    tip: Commit,
    times: u32,
    not_before: MonoTime,
    trouble: Trouble,
}

/// Everything for looks at one repository.
#[derive(Debug)]
pub(super) struct Looker {
    pub(super) repository: Repository,
    pub(super) address: Address,
    pub(super) host: Name,
    pub(super) policy: Policy,
    pub(super) trust: Trust,
    pub(super) poll: std::time::Duration,
    failed: Option<FailedFetch>,
    /// Lines of the signers' file that were told to be left out.
    told_left_out: String,
}

fn away(error: &GitError) -> Trouble {
    Trouble { refused: None, reason: error.to_string() }
}

fn refused(commit: &Commit, reason: impl ToString) -> Trouble {
    Trouble { refused: Some(commit.clone()), reason: reason.to_string() }
}

impl Looker {
    pub(super) fn new(
        repository: Repository,
        address: Address,
        host: Name,
        policy: Policy,
        trust: Trust,
        poll: std::time::Duration,
    ) -> Self {
        let (failed, told_left_out) = (None, String::new());
        Self { repository, address, host, policy, trust, poll, failed, told_left_out }
    }

    /// The plan of this host that was taken last.
    pub(super) fn plan(&self) -> PathBuf {
        self.repository.place.plan(&self.host)
    }

    /// Looks once. `answered` is called when the repository has said what the branch is. `anew` tries what
    /// failed before, and puts the plan into its place in any case.
    ///
    /// # Errors
    /// The [`Trouble`]: what was taken before stays.
    pub(super) fn look(
        &mut self,
        record: &Record,
        anew: bool,
        answered: impl FnOnce(),
    ) -> Result<GoodCommit, Trouble> {
        if anew {
            self.failed = None;
        }
        self.repository.make_directories().map_err(|error| away(&error))?;
        let asked = self.repository.ask().map_err(|error| away(&error))?;
        let reference = self.address.reference();
        let tip = asked.ok_or_else(|| away(&GitError::new(format!("there is no {reference}"))))?;
        answered();
        let is_accepted = record.accepted.as_ref().is_some_and(|accepted| accepted.commit == tip);
        if is_accepted && !anew && self.plan().exists() {
            // Nearly every look ends here: it costs one question.
            return Ok(GoodCommit { tip, taken: Taken::Same, signer: None });
        }
        self.repository.make_copy().map_err(|error| away(&error))?;
        if let Some(failed) = &self.failed
            && failed.tip == tip
            && clock::now() < failed.not_before
        {
            return Err(failed.trouble.clone());
        }
        let good = match self.fetched(&tip) {
            Err(trouble) => Err((true, trouble)),
            Ok(tip) => self.judged(&tip, record),
        };
        match good {
            Ok(good) => {
                self.failed = None;
                if self.repository.room().is_ok_and(|room| room == CopySize::Worn) {
                    self.repository.remove().map_err(|error| away(&error))?;
                }
                Ok(good)
            }
            Err((again_later, trouble)) => {
                if again_later {
                    if self.repository.room().unwrap_or(CopySize::TooLarge) == CopySize::TooLarge {
                        self.repository.remove().map_err(|error| away(&error))?;
                    }
                    let before = self.failed.take().filter(|failed| failed.tip == tip);
                    let times = before.map_or(0, |failed| failed.times).saturating_add(1);
                    let not_before = clock::now() + cadence::again(self.poll, times);
                    self.failed = Some(FailedFetch { tip, times, not_before, trouble: trouble.clone() });
                }
                Err(trouble)
            }
        }
    }

    /// Fetches the branch, unless its commit is here. Returns its tip.
    fn fetched(&self, tip: &Commit) -> Result<Commit, Trouble> {
        let repository = &self.repository;
        if repository.has(tip) {
            return Ok(tip.clone());
        }
        let fetched = repository.fetch();
        if repository.room().unwrap_or(CopySize::TooLarge) == CopySize::TooLarge {
            repository.remove().map_err(|error| away(&error))?;
            let reason = "what it sends is more than a copy on this host may have; the copy was removed";
            return Err(fetched.err().map_or_else(|| away(&GitError::new(reason)), |error| away(&error)));
        }
        fetched.map_err(|error| away(&error))
    }

    /// Judges a commit that is here, and puts its plan into its place. An error says also whether it is tried
    /// again only later.
    fn judged(&self, tip: &Commit, record: &Record) -> Result<GoodCommit, (bool, Trouble)> {
        let repository = &self.repository;
        let now = |trouble| (false, trouble);
        let git = |error: GitError| (false, away(&error));
        let no = |refusal: Refusal| (false, refused(tip, refusal));
        if !repository.has(tip) {
            return Err(now(refused(tip, "the branch is at something that is no commit")));
        }
        let ancestry = self.ancestry(tip, record).map_err(git)?;
        let taken = judge::place(tip, record, ancestry, self.policy.require_newer).map_err(no)?;
        if taken == Taken::Same {
            // Accepted once: the signer's key may have ended meanwhile.
            self.put_plan(tip)?;
            return Ok(GoodCommit { tip: tip.clone(), taken, signer: None });
        }
        let signer = match self.keys().map_err(|reason| now(refused(tip, reason)))? {
            None => None,
            Some(keys) => {
                let accepted = record.accepted.as_ref().map(|accepted| &accepted.commit);
                let from = accepted.filter(|_| matches!(taken, Taken::Next(_)));
                let found = repository.signatures(from, tip, keys).map_err(git)?;
                let unread = || no(Refusal::NotJudged(tip.clone()));
                let found = judge::signatures(&found).ok_or_else(unread)?;
                Some(judge::signed(tip, taken, &found).map_err(no)?)
            }
        };
        self.put_plan(tip)?;
        repository.keep(tip).map_err(git)?;
        Ok(GoodCommit { tip: tip.clone(), taken, signer })
    }

    fn ancestry(&self, tip: &Commit, record: &Record) -> Result<Ancestry, GitError> {
        let repository = &self.repository;
        let Some(accepted) = &record.accepted else { return Ok(Ancestry::First) };
        let accepted = &accepted.commit;
        if accepted == tip {
            Ok(Ancestry::Same)
        } else if !repository.has(accepted) {
            Ok(Ancestry::Unknown)
        } else if repository.descends(tip, accepted)? {
            repository.count(accepted, tip).map(Ancestry::After)
        } else if repository.descends(accepted, tip)? {
            Ok(Ancestry::Before)
        } else {
            Ok(Ancestry::Aside)
        }
    }

    /// Keys that are allowed now, and the lines that are left out, for people; none when nobody's signature
    /// is asked for.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn signers(&self) -> Result<Option<(InForce, String)>, GitError> {
        let Some(path) = &self.policy.signers else { return Ok(None) };
        let text = String::from_utf8(self.keys_in(path)?)
            .map_err(|_| GitError::new(format!("{} is no UTF-8 text", path.display())))?;
        let seconds = i64::try_from(moment::now().wall_ms / 1000).unwrap_or(i64::MAX);
        let found = signers::in_force(&text, seconds, &local);
        let lines = found.left_out.iter().take(MOST_LINES).map(|(line, why)| format!("line {line}: {why}"));
        let lines = lines.collect::<Vec<_>>().join("; ");
        Ok(Some((found, lines)))
    }

    /// Copies the files of keys for git; none when nobody's signature is asked for.
    ///
    /// # Errors
    /// When a file is missing, or allows nobody.
    fn keys(&self) -> Result<Option<Keys>, GitError> {
        let (Some(path), Some((found, left_out))) = (&self.policy.signers, self.signers()?) else {
            return Ok(None);
        };
        if found.text.is_empty() {
            let more = if left_out.is_empty() { String::new() } else { format!(" ({left_out})") };
            let nobody = format!("nobody is allowed to sign now by {}{more}", path.display());
            return Err(GitError::new(nobody));
        }
        let revoked = self.policy.revoked.as_ref().map(|path| self.keys_in(path)).transpose()?;
        let written = self.repository.place.write_keys(&found.text, revoked.as_deref());
        written.map_err(|error| GitError::new(format!("the allowed signers cannot be copied: {error}")))?;
        Ok(Some(Keys { revoked: revoked.is_some() }))
    }

    fn keys_in(&self, path: &Path) -> Result<Vec<u8>, GitError> {
        files::read(path, limit::SOURCE, self.trust)
            .map_err(|error: FileError| GitError::new(format!("cannot read {}: {error}", path.display())))
    }

    /// Logs lines of the signers' file that allow nobody, once and at each change.
    pub(super) fn tell_left_out(&mut self) {
        let (Some(path), Ok(Some((_, lines)))) = (&self.policy.signers, self.signers()) else { return };
        if lines != self.told_left_out {
            if !lines.is_empty() {
                let file = path.display();
                warn!(%file, "keys of {file} that may sign nothing: {lines}");
            }
            self.told_left_out = lines;
        }
    }

    /// Puts this host's plan of a commit into its place.
    fn put_plan(&self, tip: &Commit) -> Result<(), (bool, Trouble)> {
        let path = self.address.plan(&self.host);
        let no = |reason: String| (false, refused(tip, reason));
        let git = |error: GitError| (true, away(&error));
        let entry = self.repository.entry(tip, &path).map_err(|error| (false, away(&error)))?;
        let short = tip.short();
        let entry = entry.ok_or_else(|| no(format!("commit {short} has no file {path}")))?;
        if !REGULAR.contains(&entry.mode.as_str()) {
            let what = match entry.mode.as_str() {
                "120000" => "a symbolic link",
                "160000" => "a submodule",
                _ => "a directory",
            };
            return Err(no(format!("{path} in commit {short} is {what}, not a file")));
        }
        let size = self.repository.size(&entry.object).map_err(git)?;
        if size > limit::PLAN {
            let most = limit::PLAN / 1024 / 1024;
            return Err((true, refused(tip, format!("{path} in commit {short} is larger than {most} MiB"))));
        }
        let target = self.plan();
        let wrong = |error: io::Error| no(format!("the plan cannot be kept: {}: {error}", target.display()));
        let next = target.with_extension("next");
        let mut open = fs::File::options();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&next).map_err(wrong)?;
        let (mut length, mut failed) = (0_u64, None);
        let read = self.repository.read(&entry.object, &mut |piece| {
            length = length.saturating_add(piece.len() as u64);
            if failed.is_none() && length <= size {
                failed = file.write_all(piece).err();
            }
        });
        read.map_err(git)?;
        if length != size {
            return Err((false, away(&GitError::new(format!("git gave {length} bytes of {size}")))));
        }
        failed.map_or(Ok(()), Err).map_err(wrong)?;
        file.sync_all().map_err(wrong)?;
        fs::rename(&next, &target).map_err(wrong)
    }
}

/// Seconds since 1970 of a calendar time of this host's time zone.
#[allow(unsafe_code, reason = "mktime(3)")]
fn local([year, month, day, hour, minute, second]: Calendar) -> Option<i64> {
    let number = |value: i64| i32::try_from(value).ok();
    // SAFETY: a structure of numbers and a pointer that may be null.
    let mut calendar: libc::tm = unsafe { std::mem::zeroed() };
    calendar.tm_year = number(year - 1900)?;
    calendar.tm_mon = number(month - 1)?;
    calendar.tm_mday = number(day)?;
    calendar.tm_hour = number(hour)?;
    calendar.tm_min = number(minute)?;
    calendar.tm_sec = number(second)?;
    calendar.tm_isdst = -1;
    // SAFETY: it reads and writes that structure alone.
    let seconds = unsafe { libc::mktime(&raw mut calendar) };
    (seconds != -1).then_some(seconds)
}
