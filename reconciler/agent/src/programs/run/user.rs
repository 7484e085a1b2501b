//! The user that a program runs as, from the host's user database, with a limit, since that may hang.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::unistd::{User, getgrouplist};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// User of programs for which the plan names none, on hosts that have it.
pub(super) const OWN: &str = "evenkeel_script";
/// The same on other hosts.
const ELSEWHERE: &str = "nobody";
/// Most look-ups in the user database at a time: it may be on a network, and hang.
static LOOKUPS: Semaphore = Semaphore::const_new(8);
/// Users that were found once, by the name asked for. A directory server that is out of reach later must not
/// make every tracker fail on every host.
static FOUND: Mutex<BTreeMap<Option<String>, FoundUser>> = Mutex::new(BTreeMap::new());

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundUser {
    pub(super) name: String,
    pub(super) identity: Identity,
}

/// Identity that a program runs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

impl Identity {
    /// Whether this process has the identity.
    pub(super) fn is_ours(&self) -> bool {
        (self.uid, self.gid) == (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
}

/// Reason why no user was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UserError {
    /// This host has no user of this name.
    Unknown(String),
    /// The text is no user name.
    NoName(String),
    /// The user database does not answer for this name.
    Database(String, Errno),
    /// The groups of this user are not known.
    Groups(String, Errno),
    /// The look-up of this name ended without an answer.
    Ended(String),
    /// The daemon is stopping.
    Stopping,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no user {name} on this host"),
            Self::NoName(name) => write!(f, "{name:?} is no user name"),
            Self::Database(name, error) => write!(f, "user {name}: {error}"),
            Self::Groups(name, error) => write!(f, "groups of user {name}: {error}"),
            Self::Ended(name) => write!(f, "user {name}: the look-up failed"),
            Self::Stopping => f.write_str("the daemon is stopping"),
        }
    }
}

fn found() -> MutexGuard<'static, BTreeMap<Option<String>, FoundUser>> {
    // A panic elsewhere leaves the map whole.
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks a user up, once as long as the daemon runs; the default user when none is given.
///
/// # Errors
/// When there is no such user, or the database does not answer.
pub(super) async fn find(user: Option<&str>) -> Result<FoundUser, UserError> {
    let asked = user.map(ToOwned::to_owned);
    if let Some(known) = found().get(&asked) {
        return Ok(known.clone());
    }
    let Ok(place) = LOOKUPS.acquire().await else { return Err(UserError::Stopping) };
    let look = move || {
        // Held until the answer is there, also when nobody waits for it any more.
        let _place = place;
        let user = choose(asked.as_deref(), look_up)?;
        found().insert(asked, user.clone());
        Ok(user)
    };
    let name = user.unwrap_or(OWN);
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Err(UserError::Ended(name.to_owned())))
}

/// The user that is asked for, or the first of the default users that exists.
fn choose(
    asked: Option<&str>,
    look_up: impl Fn(&str) -> Result<Option<FoundUser>, UserError>,
) -> Result<FoundUser, UserError> {
    let user = match asked {
        Some(name) => look_up(name)?,
        None => match look_up(OWN)? {
            Some(own) => Some(own),
            None => look_up(ELSEWHERE)?,
        },
    };
    user.ok_or_else(|| UserError::Unknown(asked.unwrap_or(ELSEWHERE).to_owned()))
}

fn look_up(name: &str) -> Result<Option<FoundUser>, UserError> {
    let entry = User::from_name(name).map_err(|error| UserError::Database(name.to_owned(), error))?;
    let Some(entry) = entry else { return Ok(None) };
    let c_name = CString::new(name).map_err(|_| UserError::NoName(name.to_owned()))?;
    let groups =
        getgrouplist(&c_name, entry.gid).map_err(|error| UserError::Groups(name.to_owned(), error))?;
    let groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    let identity = Identity { uid: entry.uid.as_raw(), gid: entry.gid.as_raw(), groups };
    Ok(Some(FoundUser { name: name.to_owned(), identity }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_user_comes_before_nobody() {
        let known = |names: &'static [&'static str]| {
            move |name: &str| {
                let identity = Identity { uid: 1, gid: 1, groups: Vec::new() };
                Ok(names.contains(&name).then(|| FoundUser { name: name.to_owned(), identity }))
            }
        };
        let name = |found: Result<FoundUser, UserError>| found.map(|found| found.name);
        assert_eq!(name(choose(None, known(&["nobody", OWN]))), Ok(OWN.to_owned()));
        assert_eq!(name(choose(None, known(&["nobody"]))), Ok("nobody".to_owned()));
        assert_eq!(name(choose(Some("nobody"), known(&["nobody", OWN]))), Ok("nobody".to_owned()));
        assert!(choose(None, known(&[])).is_err() && choose(Some("www"), known(&["nobody"])).is_err());
        // A user that cannot be looked up is not replaced by another.
        let silent = UserError::Database(OWN.to_owned(), Errno::EIO);
        let look_up = |name: &str| if name == OWN { Err(silent.clone()) } else { known(&["nobody"])(name) };
        assert_eq!(choose(None, look_up), Err(silent.clone()));
    }

    #[tokio::test]
    async fn without_a_name_it_is_our_own_user_where_there_is_one_and_nobody_elsewhere() {
        let found = find(None).await.expect("a user");
        let want = match User::from_name(OWN).expect("users") {
            Some(_) => OWN,
            None => ELSEWHERE,
        };
        assert_eq!(found.name, want);
        assert_eq!(find(Some(want)).await.expect("a user"), found);
        assert!(find(Some("no-such-user-here")).await.is_err());
    }
}
