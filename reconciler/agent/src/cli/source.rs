//! The source of plans on the command line and in its file, and the commands about it: `pull`, `pause`,
//! `resume`, `accept`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{Name, Span};
use serde::Deserialize;

use super::error::CommandError;
use super::{Socket, absolute, runtime};
use crate::api::requests;
use crate::source::git::{Address, Git, Policy};
use crate::source::memory::Commit;
use crate::source::read::secrets_beside;
use crate::source::{Pulled, Source, SourceAnswer, SourceRequest};
use crate::system::files::{self, Trust, limit};
use crate::system::out;

/// File with the settings of a source, in the directory that `--plan` names.
const FILE: &str = "source.toml";
/// Beginning of an address of a repository.
const GIT: &str = "git+";
/// Time between two looks, unless one is given.
const POLL: Duration = Duration::from_secs(60);
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);
/// Pause, unless one is given.
const PAUSE: u64 = 3600;

pub(super) const PULL_EXAMPLES: &str = "\
Examples:
  evenkeeld pull    look at the source now, and say what came of it

Exit codes: 0 what the source has is taken, 1 it is not (it does not answer, it is refused, \
this host is paused), 2 wrong usage.";
pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  evenkeeld pause             nothing new for an hour
  evenkeeld pause --for 2h    nothing new for two hours
  evenkeeld resume            from now on again";
pub(super) const ACCEPT_EXAMPLES: &str = "\
Examples:
  evenkeeld accept 4f0c2a9be1d8c55b1f6a2c1f0b7f6c1d2e3a4b5c    take it, though it may not be newer

Exit codes: 0 it is taken, 1 it is not, 2 wrong usage.";

/// Options of a source.
#[derive(Debug, Args)]
pub(super) struct SourceOptions {
    /// Where plans come from: a repository, as in git+https://git.example/net.git#main:plans, or a directory
    /// [default: what source.toml beside the plan says, or --plan]
    ///
    /// git+https://, git+ssh://, git+file:// and git+http:// (only with --allowed-signers) name a repository.
    /// What follows # is a branch, and a directory in it with <host>.plan.toml, or one plan.
    #[arg(long, value_name = "ADDRESS|DIR")]
    source: Option<String>,
    /// Take only commits that are signed by these SSH keys (allowed signers, ssh-keygen(1))
    #[arg(long, value_name = "FILE", requires = "source")]
    allowed_signers: Option<PathBuf>,
    /// SSH keys that are revoked (ssh-keygen(1): a list of keys, or a KRL)
    #[arg(long, value_name = "FILE", requires = "allowed_signers")]
    revoked_keys: Option<PathBuf>,
    /// Time between two looks at a repository [default: 60s]
    #[arg(long, value_name = "TIME", requires = "source")]
    poll: Option<Span>,
    /// Ask an operator (`evenkeeld accept`) when nothing is known of earlier commits
    #[arg(long, requires = "source")]
    require_newer: bool,
}

/// The file with the settings of a source.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    source: String,
    allowed_signers: Option<PathBuf>,
    revoked_keys: Option<PathBuf>,
    poll: Option<Span>,
    #[serde(default)]
    require_newer: bool,
}

/// Things that a source needs to know of the daemon.
pub(super) struct Around<'a> {
    /// `--plan`.
    pub(super) plan: &'a Path,
    pub(super) host: &'a Name,
    pub(super) state: &'a Path,
    pub(super) trust: Trust,
}

impl SourceOptions {
    /// The source that options or the file mean.
    ///
    /// # Errors
    /// When they are not understood.
    pub(super) fn source(self, around: &Around<'_>) -> Result<Source, CommandError> {
        let settings = match self.source {
            Some(source) => Settings {
                source,
                allowed_signers: self.allowed_signers,
                revoked_keys: self.revoked_keys,
                poll: self.poll,
                require_newer: self.require_newer,
            },
            None => match in_file(around)? {
                Some(settings) => settings,
                None => return Ok(Source::new(around.plan, around.host, around.trust)),
            },
        };
        settings.source(around)
    }
}

/// Settings of the file beside the plan; none when there is none.
fn in_file(around: &Around<'_>) -> Result<Option<Settings>, CommandError> {
    if !around.plan.is_dir() {
        return Ok(None);
    }
    let path = around.plan.join(FILE);
    let wrong = |why: String| CommandError::Source(format!("{}: {why}", path.display()));
    let bytes = match files::read(&path, limit::SOURCE, around.trust) {
        Err(error) if error.is_absence() => return Ok(None),
        other => other.map_err(|error| wrong(error.to_string()))?,
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
    toml::from_str(&text).map(Some).map_err(|error| wrong(error.to_string()))
}

impl Settings {
    fn source(self, around: &Around<'_>) -> Result<Source, CommandError> {
        let wrong = |why: &str| CommandError::Source(format!("source {:?}: {why}", self.source));
        if !self.source.starts_with(GIT) {
            if self.source.contains("://") {
                return Err(wrong("it is neither a repository (git+https://…) nor a directory"));
            }
            if self.allowed_signers.is_some() || self.poll.is_some() || self.require_newer {
                return Err(wrong("signers, poll and require_newer are for repositories"));
            }
            let directory = absolute(Path::new(&self.source))?;
            return Ok(Source::new(&directory, around.host, around.trust));
        }
        let address: Address = self.source.parse().map_err(|error| wrong(&format!("{error}")))?;
        if address.is_in_the_clear() && self.allowed_signers.is_none() {
            return Err(wrong("anybody on the way can change what comes: it needs allowed signers"));
        }
        if self.revoked_keys.is_some() && self.allowed_signers.is_none() {
            return Err(wrong("revoked keys mean nothing without allowed signers"));
        }
        let poll = self.poll.map_or(POLL, Span::as_duration);
        if poll < SHORTEST {
            return Err(wrong("it is looked at once a second at most"));
        }
        let file = |path: Option<PathBuf>| path.map(|path| absolute(&path)).transpose();
        let policy = Policy {
            signers: file(self.allowed_signers)?,
            revoked: file(self.revoked_keys)?,
            require_newer: self.require_newer,
        };
        Ok(Source::Git(Box::new(Git {
            address,
            policy,
            poll,
            host: around.host.clone(),
            trust: around.trust,
            state: around.state.to_owned(),
            // A directory that is not there yet may come.
            secrets: if around.plan.is_file() {
                secrets_beside(around.plan, around.host)
            } else {
                around.plan.join(plan::secrets_file_name(around.host))
            },
        })))
    }
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// How long, 24h at most [default: 1h]
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
pub(super) struct Accept {
    /// The whole name of the commit, 40 or 64 hexadecimal digits
    #[arg(value_parser = commit)]
    commit: Commit,
    #[command(flatten)]
    socket: Socket,
}

fn commit(text: &str) -> Result<Commit, &'static str> {
    Commit::try_from(text.to_owned())
}

impl Pull {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        send(&self.socket, &SourceRequest::Pull)
    }
}

impl Pause {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let seconds = self.time.map_or(PAUSE, |time| time.as_duration().as_secs());
        send(&self.socket, &SourceRequest::Pause { seconds })
    }
}

impl Resume {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        send(&self.socket, &SourceRequest::Resume)
    }
}

impl Accept {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        send(&self.socket, &SourceRequest::Accept { commit: self.commit })
    }
}

fn send(socket: &Socket, request: &SourceRequest) -> Result<ExitCode, CommandError> {
    let answer = runtime()?.block_on(requests::send_source(&socket.socket, request))?;
    let (text, done) = page(&answer);
    out::print(text + "\n")?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Text for people, and whether what was asked for is done.
fn page(answer: &SourceAnswer) -> (String, bool) {
    let looked = match answer {
        SourceAnswer::PausedUntil(until) => {
            return (format!("Nothing new is taken until {until}, or `evenkeeld resume`."), true);
        }
        SourceAnswer::Resumed => return ("What comes is taken again.".to_owned(), true),
        SourceAnswer::Looked(looked) => looked,
    };
    match looked {
        None => ("It is not done yet: `evenkeeld status` shows what comes of it.".to_owned(), false),
        Some(Pulled::Taken { commit }) => (format!("Commit {commit} is accepted."), true),
        Some(Pulled::Nothing { commit }) => (format!("Commit {commit} was accepted before."), true),
        Some(Pulled::Read) => ("The plan was read again.".to_owned(), true),
        Some(Pulled::PlanRefused { commit, reason }) => {
            (format!("Commit {commit} is accepted, but its plan is refused: {reason}"), false)
        }
        Some(Pulled::Failed(reason)) => (format!("Nothing is taken: {reason}"), false),
        Some(Pulled::Paused(until)) => {
            (format!("Nothing new is taken until {until}, or `evenkeeld resume`."), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Source, String> {
        let (host, plan, state) = ("h".parse().expect("name"), Path::new("/etc/e"), Path::new("/var/e"));
        let around = Around { plan, host: &host, state, trust: Trust::Owned };
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.source(&around).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_has_all_that_the_command_line_has() {
        let text = "source = \"git+ssh://git@git.example/n.git#main:plans\"\nallowed_signers = \"/etc/e/s\"\n\
                    revoked_keys = \"/etc/e/r\"\npoll = \"2m\"\nrequire_newer = true\n";
        let Ok(Source::Git(git)) = read(text) else { panic!("a repository") };
        let policy = Policy {
            signers: Some("/etc/e/s".into()),
            revoked: Some("/etc/e/r".into()),
            require_newer: true,
        };
        assert_eq!((git.policy, git.poll), (policy, Duration::from_secs(120)));
        assert_eq!(git.secrets, Path::new("/etc/e/h.secrets.toml"));
        let Ok(Source::Git(git)) = read("source = \"git+https://git.example/n.git#main:\"") else {
            panic!("a repository")
        };
        assert_eq!((git.policy, git.poll), (Policy::default(), POLL));
        assert!(matches!(read("source = \"/srv/plans\""), Ok(Source::Directory(_))));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let git = "source = \"git+https://git.example/n.git#main:\"\n";
        for (text, words) in [
            (format!("{git}signers = \"/etc/e/s\""), "unknown field"),
            (format!("{git}revoked_keys = \"/etc/e/r\""), "without allowed signers"),
            (format!("{git}poll = \"500ms\""), "once a second at most"),
            (format!("{git}poll = \"60\""), "duration"),
            ("source = \"/srv/plans\"\npoll = \"60s\"".to_owned(), "are for repositories"),
            ("source = \"https://git.example/plans\"".to_owned(), "neither a repository"),
            ("source = \"git+http://git.example/n#main:\"".to_owned(), "needs allowed signers"),
            (String::new(), "missing field"),
        ] {
            let why = read(&text).expect_err("refused");
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
