//! The last good plan in the state directory, with the passwords that it ran with. It is put in force when
//! the plan's file cannot be used, and is the plan that a probation goes back to.
//!
//! The plan is one file, its passwords another that is named by the plan's generation and written first, so
//! that a crash never leaves a plan with another one's passwords. The source of the passwords does not matter
//! any more: a file that was changed together with the plan does not spoil the plan before.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_vrrp::{HmacKey, Secret};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{StateDir, remove, replace};
use crate::source::Keeping;
use crate::source::read::Text;
use crate::source::read::{self, Keep};
use crate::state::disk::{Disk, File};
use crate::system::files::{self, limit};
use evenkeel_host::loaded::{LoadedPlan, PlanRefusal as Refusal, RouterSecret};

pub(super) const LAST_GOOD: &str = "last-good";
/// Extension of a plan that is not complete yet.
const NEXT: &str = "next";
const PASSWORDS: &str = ".passwords.json";

/// Secrets by router.
type Passwords = BTreeMap<Name, KeptSecret>;

/// A secret in the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptSecret {
    /// A password, as the bytes of the wire.
    Password([u8; 8]),
    /// Keys of HMAC with their numbers.
    Keys(Vec<(u8, Vec<u8>)>),
}

impl KeptSecret {
    fn new(secret: &RouterSecret) -> Self {
        match secret {
            RouterSecret::Password(password) => Self::Password(password.to_bytes()),
            RouterSecret::Keys(keys) => {
                Self::Keys(keys.iter().map(|(id, key)| (*id, key.as_bytes().to_vec())).collect())
            }
        }
    }

    /// The secret; none when a key is none.
    fn secret(self) -> Option<RouterSecret> {
        match self {
            Self::Password(bytes) => Some(RouterSecret::Password(Secret::from_bytes(bytes))),
            Self::Keys(keys) => {
                let keys = keys.into_iter().map(|(id, bytes)| Some((id, HmacKey::new(&bytes).ok()?)));
                Some(RouterSecret::Keys(keys.collect::<Option<_>>()?))
            }
        }
    }
}

impl Keeping for Disk {
    /// A copy in the directory, unless its disk fails.
    fn keep<'a>(&self, copies: &'a Path) -> Keep<'a> {
        if self.in_trouble(File::LastGood) || self.in_trouble(File::Ledger) {
            Keep::InMemory
        } else {
            Keep::CopyIn(copies)
        }
    }
}

impl StateDir {
    fn last_good_dir(&self) -> PathBuf {
        self.path.join(LAST_GOOD)
    }

    /// Saves a plan as the last good one. The whole new plan is there afterwards, or the one before.
    ///
    /// When it cannot be written.
    pub(crate) fn save_last_good(&self, loaded: &LoadedPlan) -> io::Result<()> {
        let directory = self.last_good_dir();
        let [file, passwords] = self.last_good_files(loaded);
        let text = Text::of(loaded);
        let kept: Passwords =
            loaded.secrets.iter().map(|(router, secret)| (router.clone(), KeptSecret::new(secret))).collect();
        let kept = serde_json::to_vec(&kept)?;
        self.clear_last_good(&[&file, &passwords])?;
        if text.is_in(&file)
            && files::read(&passwords, limit::PASSWORDS, self.trust).is_ok_and(|found| found == kept)
        {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // Passwords first: a plan without them could not be used, and passwords without a plan are removed
        // below.
        replace(&passwords, &kept)?;
        let next = file.with_extension(NEXT);
        remove(&next)?;
        text.put(&next)?;
        fs::rename(&next, &file)?;
        fs::File::open(&directory)?.sync_all()?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            // A directory is not ours, and in no file's way.
            if path != file && path != passwords && !entry.file_type()?.is_dir() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Puts the directory aside where another object has its name, or a directory has the name of a file in
    /// it.
    ///
    /// When it cannot be put aside.
    fn clear_last_good(&self, files: &[&PathBuf]) -> io::Result<()> {
        let is_directory = |path: &Path| fs::metadata(path).map(|found| found.is_dir());
        let in_the_way = is_directory(&self.last_good_dir()).is_ok_and(|it_is| !it_is)
            || files.iter().any(|path| is_directory(path).unwrap_or_default());
        if in_the_way { self.clear_the_way(LAST_GOOD) } else { Ok(()) }
    }

    /// The files of a last good plan: it is kept when all of them are there.
    pub(super) fn last_good_files(&self, loaded: &LoadedPlan) -> [PathBuf; 2] {
        let directory = self.last_good_dir();
        let passwords = passwords_file(&directory, loaded.generation.as_str());
        [directory.join(plan::file_name(&loaded.plan.host)), passwords]
    }

    /// Generation of the last good plan of `host`, by its seal alone.
    pub(crate) fn last_good_generation(&self, host: &Name) -> Option<String> {
        let path = self.last_good_dir().join(plan::file_name(host));
        read::generation_of(&path).map(|generation| generation.to_string())
    }

    /// The last good plan of `host`, checked as if it came from outside. None when there is none or it cannot
    /// be used, which is logged.
    pub(crate) fn last_good(&self, host: &Name) -> Option<LoadedPlan> {
        let path = self.last_good_dir().join(plan::file_name(host));
        if !path.exists() {
            return None;
        }
        self.read_last_good(&path, host)
            .inspect_err(|why| warn!(plan = %path.display(), "the last good plan cannot be used: {why}"))
            .ok()
    }

    fn read_last_good(&self, path: &Path, host: &Name) -> Result<LoadedPlan, Refusal> {
        let mut older = false;
        // The plan in force must outlive its file, into which somebody may write.
        let loaded = read::load_kept(path, host, Keep::CopyIn(&self.path), self.trust, |generation| {
            let file = passwords_file(&self.last_good_dir(), generation.as_str());
            let kept = files::read(&file, limit::PASSWORDS, self.trust).map_err(|error| {
                older = error.is_absence();
                Refusal::new(format!("{}: {error}", file.display()))
            })?;
            // The parser's error is not shown: it could quote a password.
            let damaged = || Refusal::new(format!("{} is damaged", file.display()));
            let kept: Passwords = serde_json::from_slice(&kept).map_err(|_| damaged())?;
            let secrets = kept.into_iter().map(|(router, kept)| Some((router, kept.secret()?)));
            secrets.collect::<Option<_>>().ok_or_else(damaged)
        });
        // Written by a version that kept the file of secrets instead.
        if older {
            read::load(path, &read::secrets_beside(path, host), host, Keep::CopyIn(&self.path), self.trust)
        } else {
            loaded
        }
    }

    /// Removes the last good plan.
    ///
    /// When it cannot be removed.
    pub(super) fn forget_last_good(&self) -> io::Result<()> {
        let path = self.last_good_dir();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => remove(&path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn passwords_file(directory: &Path, generation: &str) -> PathBuf {
    directory.join(format!("{generation}{PASSWORDS}"))
}

#[cfg(test)]
pub(in crate::state) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;
    use crate::system::files::Trust;

    fn host() -> Name {
        "dir1".parse().expect("name")
    }

    fn sealed(priority: u8, password: &Path) -> Vec<u8> {
        let router = format!(
            "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\n\
             version = 2\nvrid = 51\npriority = {priority}\nadvert_interval = \"1s\"\npreempt = true\n\
             garp_repeat = 5\ngarp_delay = \"5s\"\n\
             vips = [\"192.0.2.9/32\"]\nauth = {{ type = \"pass\", secret = {{ file = {password:?} }} }}\n"
        );
        PlanText::of("dir1").with(&router).sealed().into_bytes()
    }

    /// A plan with a password, from a directory.
    pub(in crate::state) fn loaded(scratch: &Path) -> LoadedPlan {
        let (file, password) = (scratch.join("dir1.plan.toml"), scratch.join("password"));
        fs::write(&password, "hell>com\n").expect("write");
        fs::write(&file, sealed(100, &password)).expect("write");
        read::load(&file, &read::secrets_beside(&file, &host()), &host(), Keep::Nothing, Trust::Anybody)
            .expect("good")
    }

    #[test]
    fn keys_are_kept_as_passwords_are_and_files_of_the_version_before_are_read() {
        let key = HmacKey::new(&[7; 40]).expect("key");
        let keys = RouterSecret::Keys([(1, key.clone()), (255, key)].into());
        let password = RouterSecret::Password(Secret::from_text("hell>com"));
        for secret in [keys, password.clone()] {
            let text = serde_json::to_string(&KeptSecret::new(&secret)).expect("JSON");
            let kept: KeptSecret = serde_json::from_str(&text).expect("JSON");
            assert_eq!(kept.secret(), Some(secret));
        }
        let before = format!("{{\"VI_1\": {:?}}}", b"hell>com");
        let mut kept: Passwords = serde_json::from_str(&before).expect("JSON");
        assert_eq!(kept.remove("VI_1").and_then(KeptSecret::secret), Some(password));
        let short: KeptSecret = serde_json::from_str("[[1, [1, 2, 3]]]").expect("JSON");
        assert_eq!(short.secret(), None);
    }

    #[test]
    fn a_plan_is_kept_with_the_passwords_that_it_ran_with() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let state = StateDir::open(&scratch.path().join("state"), Trust::Owned).expect("open");
        assert!(state.last_good(&host()).is_none() && state.last_good_generation(&host()).is_none());
        let (file, password) = (scratch.path().join("dir1.plan.toml"), scratch.path().join("password"));
        fs::write(&file, sealed(100, &password)).expect("write");
        fs::write(&password, "hell>com\n").expect("write");
        let first =
            read::load(&file, &read::secrets_beside(&file, &host()), &host(), Keep::Nothing, Trust::Anybody)
                .expect("good");
        state.save_last_good(&first).expect("save");

        // The password changes with the next plan, and the plan before keeps its own.
        fs::write(&password, "other\n").expect("write");
        let kept = state.last_good(&host()).expect("kept");
        assert!(Text::of(&kept).is_in(&file) && Text::of(&first).is_in(&file));
        assert_eq!(kept.secrets, first.secrets);
        fs::remove_file(&password).expect("remove");
        assert_eq!(state.last_good(&host()).expect("kept").secrets, first.secrets);
        assert_eq!(state.last_good_generation(&host()), Some(first.generation.to_string()));

        fs::write(&password, "other\n").expect("write");
        fs::write(&file, sealed(90, &password)).expect("write");
        let second =
            read::load(&file, &read::secrets_beside(&file, &host()), &host(), Keep::Nothing, Trust::Anybody)
                .expect("good");
        state.save_last_good(&second).expect("save");
        assert_eq!(state.last_good(&host()).expect("kept").secrets, second.secrets);
        let directory = state.last_good_dir();
        assert_eq!(fs::read_dir(&directory).expect("list").count(), 2, "nothing of the one before is left");
        for entry in fs::read_dir(&directory).expect("list") {
            let mode = entry.expect("entry").metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }

        let passwords = passwords_file(&directory, second.generation.as_str());
        fs::write(&passwords, "{\"VI_1\":\"hell>com\"}").expect("damage");
        let why = state.read_last_good(&directory.join("dir1.plan.toml"), &host()).expect_err("damaged");
        assert!(why.to_string().ends_with("is damaged"), "{why}");
        fs::write(&passwords, "{}").expect("damage");
        let why = state.read_last_good(&directory.join("dir1.plan.toml"), &host()).expect_err("lacking");
        assert!(why.to_string().contains("the secrets of router VI_1"), "{why}");
        // Of another kind than the plan's.
        let keys = format!("{{\"VI_1\":[[1,{:?}]]}}", [7; 40]);
        fs::write(&passwords, keys).expect("damage");
        let why = state.read_last_good(&directory.join("dir1.plan.toml"), &host()).expect_err("lacking");
        assert!(why.to_string().contains("the secrets of router VI_1"), "{why}");
        // As versions before this one kept it.
        fs::remove_file(&passwords).expect("remove");
        assert_eq!(state.last_good(&host()).expect("kept").secrets, second.secrets);
        state.forget().expect("forget");
        assert!(state.last_good(&host()).is_none());
    }
}
