//! The address of plans in a git repository: `git+https://HOST/REPOSITORY#BRANCH:PATH`. Pure.

use std::fmt;
use std::str::FromStr;

use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Name;

/// Longest address, bytes: it is in the log, in status and in the arguments of git.
const MAX: usize = 2048;

/// Way to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP over TLS.
    Https,
    /// HTTP in the clear: anybody on the way can change what comes.
    Http,
    /// The host's `ssh`.
    Ssh,
    /// A repository on this host.
    File,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Ssh, Self::File];

    /// Name of git's protocol.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }
}

/// A repository, a branch of it, and the place of plans in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Way to the repository.
    pub(crate) scheme: Scheme,
    /// Address of the repository as git takes it.
    pub(crate) repository: String,
    /// Name of the branch, without `refs/heads/`.
    pub(crate) branch: String,
    /// File or directory of plans in the repository; empty for its top.
    path: String,
}

/// Reason why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// The text does not begin with a way that is known.
    Scheme,
    /// `#BRANCH:PATH` is missing.
    NoBranch,
    /// The address names a tag, or another reference that is not a branch.
    NotABranch(String),
    /// git takes no such name for a branch.
    WrongBranch(String),
    /// The path leads out of the repository, or is absolute.
    WrongPath(String),
    /// A password is in the address, which is shown in status and log.
    Password,
    /// There is no host or no path of a repository.
    NoRepository,
    /// The text has blanks, control characters, or too many bytes.
    WrongText,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => {
                f.write_str("it begins with none of git+https://, git+ssh://, git+file://, git+http://")
            }
            Self::NoBranch => f.write_str("it ends without #BRANCH:PATH, such as #main:plans"),
            Self::NotABranch(name) => write!(
                f,
                "{name} is no branch: a tag can be moved without a trace, so only branches are followed"
            ),
            Self::WrongBranch(name) => write!(f, "{name:?} is no name of a branch"),
            Self::WrongPath(path) => write!(f, "{path:?} is no path within the repository"),
            Self::Password => f.write_str(
                "a user or password is in it, and it is shown in status and log: let git find them in \
                    .netrc, or use git+ssh://",
            ),
            Self::NoRepository => f.write_str("it names no repository"),
            Self::WrongText => {
                write!(f, "it has blanks or control characters, or more than {MAX} bytes")
            }
        }
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::WrongText);
        }
        let rest = text.strip_prefix("git+").ok_or(AddressError::Scheme)?;
        let (name, _) = rest.split_once("://").ok_or(AddressError::Scheme)?;
        let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.protocol() == name);
        let scheme = scheme.ok_or(AddressError::Scheme)?;
        let (repository, place) = rest.split_once('#').ok_or(AddressError::NoBranch)?;
        let (branch, path) = place.split_once(':').ok_or(AddressError::NoBranch)?;
        check_repository(scheme, repository)?;
        Ok(Self {
            scheme,
            repository: repository.to_owned(),
            branch: checked_branch(branch)?,
            path: checked_path(path)?,
        })
    }
}

fn check_repository(scheme: Scheme, repository: &str) -> Result<(), AddressError> {
    let (_, rest) = repository.split_once("://").ok_or(AddressError::NoRepository)?;
    let (authority, path) = rest.split_once('/').ok_or(AddressError::NoRepository)?;
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            // A user name alone may be a token of a forge.
            if user.contains(':') || scheme != Scheme::Ssh {
                return Err(AddressError::Password);
            }
            if user.starts_with('-') {
                return Err(AddressError::NoRepository);
            }
            host
        }
        None => authority,
    };
    let whole = path.trim_matches('/');
    // A host such as `-oProxyCommand=…` would be an option of ssh.
    let wrong = match scheme {
        Scheme::File => !host.is_empty(),
        Scheme::Https | Scheme::Http | Scheme::Ssh => host.is_empty() || host.starts_with('-'),
    };
    if wrong || whole.is_empty() { Err(AddressError::NoRepository) } else { Ok(()) }
}

/// The rules of git-check-ref-format(1), as far as they matter for one branch.
fn checked_branch(name: &str) -> Result<String, AddressError> {
    let short = name.strip_prefix("refs/heads/").unwrap_or(name);
    if short.starts_with("refs/") || short.starts_with("tags/") {
        return Err(AddressError::NotABranch(name.to_owned()));
    }
    let wrong = short.is_empty()
        || short == "@"
        || short == "HEAD"
        || short.starts_with('-')
        || short.ends_with('.')
        || short.contains("..")
        || short.contains("@{")
        || short.contains(['~', '^', '?', '*', '[', '\\', ':', '\'', '"'])
        || short.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"));
    if wrong { Err(AddressError::WrongBranch(name.to_owned())) } else { Ok(short.to_owned()) }
}

fn checked_path(path: &str) -> Result<String, AddressError> {
    let whole = path.strip_suffix('/').unwrap_or(path);
    let wrong = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['#', '\\']);
    if !path.is_empty() && whole.split('/').any(wrong) {
        return Err(AddressError::WrongPath(path.to_owned()));
    }
    Ok(whole.to_owned())
}

impl Address {
    /// Path of a host's plan in the repository.
    pub(crate) fn plan(&self, host: &Name) -> String {
        if self.path.is_empty() {
            plan::file_name(host)
        } else if self.path.ends_with(".toml") {
            self.path.clone()
        } else {
            format!("{}/{}", self.path, plan::file_name(host))
        }
    }

    /// Whether anybody on the way can change what comes.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.scheme == Scheme::Http
    }

    /// Full name of the branch.
    pub(crate) fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git+{}#{}:{}", self.repository, self.branch, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(text: &str) -> Result<String, AddressError> {
        let address: Address = text.parse()?;
        Ok(address.plan(&"dir1".parse().expect("name")))
    }

    #[test]
    fn a_path_is_a_directory_of_plans_or_one_plan() {
        for (path, plan) in [
            ("", "dir1.plan.toml"),
            ("plans", "plans/dir1.plan.toml"),
            ("plans/", "plans/dir1.plan.toml"),
            ("a/b", "a/b/dir1.plan.toml"),
            ("a/one.plan.toml", "a/one.plan.toml"),
        ] {
            assert_eq!(plan_of(&format!("git+https://git.example/n.git#main:{path}")).as_deref(), Ok(plan));
        }
        let ssh: Address =
            "git+ssh://git@git.example:2222/n.git#refs/heads/a/b:p".parse().expect("an address");
        assert_eq!(
            (ssh.repository.as_str(), ssh.reference().as_str(), ssh.to_string().as_str()),
            (
                "ssh://git@git.example:2222/n.git",
                "refs/heads/a/b",
                "git+ssh://git@git.example:2222/n.git#a/b:p"
            )
        );
        assert_eq!(plan_of("git+file:///srv/n.git#main:"), Ok("dir1.plan.toml".to_owned()));
    }

    #[test]
    fn an_address_that_could_be_an_option_a_secret_or_another_file_is_refused() {
        use AddressError as E;
        let not = |name: &str| E::NotABranch(name.to_owned());
        let branch = |name: &str| E::WrongBranch(name.to_owned());
        let path = |path: &str| E::WrongPath(path.to_owned());
        for (text, error) in [
            ("https://git.example/n.git#main:", E::Scheme),
            ("git+ext::sh -c id#main:", E::WrongText),
            ("git+ext::id#main:", E::Scheme),
            ("git+git://git.example/n#main:", E::Scheme),
            ("git+https://git.example/n.git", E::NoBranch),
            ("git+https://git.example/n.git#main", E::NoBranch),
            ("git+https://git.example/n#refs/tags/v1:", not("refs/tags/v1")),
            ("git+https://git.example/n#tags/v1:", not("tags/v1")),
            ("git+https://git.example/n#refs/pull/1/head:", not("refs/pull/1/head")),
            ("git+https://git.example/n#-upload-pack=id:", branch("-upload-pack=id")),
            ("git+https://git.example/n#a..b:", branch("a..b")),
            ("git+https://git.example/n#a^{commit}:", branch("a^{commit}")),
            ("git+https://git.example/n#:", branch("")),
            ("git+https://git.example/n#main:../n", path("../n")),
            ("git+https://git.example/n#main:/etc", path("/etc")),
            ("git+https://git.example/n#main:a//b", path("a//b")),
            ("git+https://me:secret@git.example/n#main:", E::Password),
            ("git+https://token@git.example/n#main:", E::Password),
            ("git+ssh://-oProxyCommand=id/n#main:", E::NoRepository),
            ("git+ssh://-oA@git.example/n#main:", E::NoRepository),
            ("git+file://other/n#main:", E::NoRepository),
            ("git+https:///n#main:", E::NoRepository),
            ("git+https://git.example/#main:", E::NoRepository),
        ] {
            assert_eq!(plan_of(text), Err(error), "{text}");
        }
        assert_eq!(plan_of(&format!("git+https://a/{}#m:", "a".repeat(MAX))), Err(E::WrongText));
    }

    proptest::proptest! {
        #[test]
        fn an_address_that_is_taken_is_shown_as_one_that_is_taken(
            text in "(git\\+(https|ssh|file|http)://)?[a-z@:/.#~-]{0,40}",
        ) {
            if let Ok(address) = text.parse::<Address>() {
                proptest::prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
