//! The state directory: ledger, orders, drains, last good plan, verified state and probation. The only files
//! that the daemon writes. This module reads and writes each of them; `disk` decides when.
//!
//! Every file is replaced whole: written beside, synced, renamed. A file that cannot be parsed is reported
//! and treated as absent. So is a file that is not regular, is too large, or could have been written by
//! others. For plans on probation see `probation`.

pub(crate) mod disk;
mod drains;
mod last_good;
mod place;
mod probation;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use evenkeel_converge::drift::Record;
use evenkeel_converge::{Ledger, ledger};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::system::files::{self, FileError, Trust, limit};
use evenkeel_host::orders::routers::Orders;

use disk::File;
pub(crate) use drains::{read_drain_orders, read_drains};
use place::DirectoryPlace;
pub(crate) use place::Looked;

/// Most that is written to a file at a time, bytes.
const BUFFER: usize = 32 * 1024;
const LEDGER: &str = "ledger.json";
/// State that was verified, while drift of some kind is only reported.
const VERIFIED: &str = "verified.json";
/// Format of that file.
const VERIFIED_VERSION: u32 = 1;
/// Orders for routers. Outlives `cleanup`: an order is not ours to forget.
const ORDERS: &str = "orders.json";
/// Format of the orders file.
const ORDERS_VERSION: u32 = 1;

/// The state directory, locked against a second daemon while this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The directory and its lock as they were last found or made.
    place: Mutex<DirectoryPlace>,
    /// Files that could neither be parsed nor put aside: they are put aside before they are replaced.
    damaged: Mutex<BTreeSet<&'static str>>,
    trust: Trust,
}

#[derive(Serialize, Deserialize)]
struct LedgerFile<L> {
    version: u32,
    #[serde(flatten)]
    ledger: L,
}

#[derive(Serialize, Deserialize)]
struct VerifiedFile {
    version: u32,
    verified: Record,
}

#[derive(Serialize, Deserialize)]
struct OrdersFile {
    version: u32,
    orders: Orders,
}

impl StateDir {
    /// Makes the directory if need be (mode 0700) and locks it. On a disk that takes nothing, a directory
    /// that is there is opened without a write; one that cannot be made or locked is tried again by
    /// [`StateDir::look`]. Its content decides what is done as root, so it has to belong to the daemon or
    /// root alone.
    ///
    /// # Errors
    /// When another process holds the lock, or others may write to the directory.
    pub(crate) fn open(path: &Path, trust: Trust) -> io::Result<Self> {
        let place = match DirectoryPlace::open(path) {
            Ok(place) => {
                place.unlocked.iter().for_each(|why| warn!("{why}"));
                place
            }
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(error),
            Err(error) => {
                error!("{error}: what this host has to remember is kept as soon as that is possible");
                DirectoryPlace::default()
            }
        };
        let state =
            Self { path: path.to_owned(), place: Mutex::new(place), damaged: Mutex::default(), trust };
        state.check()?;
        Ok(state)
    }

    /// When others may write to the directory. A directory that is not there, or does not answer, has nothing
    /// to obey.
    fn check(&self) -> io::Result<()> {
        match files::check_directory(&self.path, self.trust) {
            Err(error @ FileError::Insecure(_)) => {
                Err(io::Error::other(format!("state directory {}: {error}", self.path.display())))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Checks that the directory and its lock are still there under their names, and makes them again.
    ///
    /// When they cannot be made, or others may write to the directory that is there now.
    pub(crate) fn look(&self) -> io::Result<Looked> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_at(&self.path) {
            return Ok(Looked::Same);
        }
        let same = place.is_same_directory(&self.path);
        *place = DirectoryPlace::open(&self.path)?;
        self.check()?;
        Ok(if same { Looked::Same } else { Looked::MadeAgain })
    }

    /// Path of a file, or the directory of the last good plan.
    pub(crate) fn place_of(&self, file: File) -> PathBuf {
        self.path.join(match file {
            File::Ledger => LEDGER,
            File::Verified => VERIFIED,
            File::Drains => drains::DRAINS,
            File::Orders => ORDERS,
            File::DrainOrders => drains::DRAIN_ORDERS,
            File::Maintenance => drains::MAINTENANCE,
            File::Probation => probation::PROBATION,
            File::LastGood => last_good::LAST_GOOD,
            File::Source => sources::SOURCE,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger; empty when there is none. A ledger that cannot be parsed is put aside, and objects that
    /// the plan names are adopted.
    ///
    /// When it exists and cannot be read.
    pub(crate) fn ledger_or_put_aside(&self) -> io::Result<Ledger> {
        match read_ledger(&self.path, self.trust) {
            Ok(ledger) => Ok(ledger),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let kept = self.put_aside(LEDGER).map(|aside| format!("; kept as {}", aside.display()));
                warn!(
                    file = LEDGER,
                    "{error}{}, and what the plan names is adopted",
                    kept.unwrap_or_default()
                );
                Ok(Ledger::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Renames a ledger that cannot be parsed, for a command that goes on without it. Returns its new name.
    ///
    /// When it cannot be renamed.
    pub(crate) fn put_ledger_aside(&self) -> io::Result<PathBuf> {
        self.put_aside(LEDGER).ok_or_else(|| {
            let path = self.place_of(File::Ledger);
            io::Error::other(format!("{} cannot be put aside", path.display()))
        })
    }

    /// Renames a file that cannot be parsed. Where that fails it is done before the file is replaced, so that
    /// the file is never lost.
    fn put_aside(&self, name: &'static str) -> Option<PathBuf> {
        let mut free = (1..1000).map(|n| self.path.join(format!("{name}.unreadable-{n}")));
        let aside = free.find(|path| !path.exists());
        let put = aside.filter(|aside| fs::rename(self.path.join(name), aside).is_ok());
        if put.is_none() {
            self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
        put
    }

    /// Path of a file that is about to be replaced or removed. A file that could not be parsed is put aside
    /// first, and so is a directory of that name, which no file replaces.
    ///
    /// When it cannot be put aside.
    fn to_replace(&self, name: &'static str) -> io::Result<PathBuf> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let path = self.path.join(name);
        let directory = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if (damaged && path.exists()) || directory {
            self.clear_the_way(name)?;
        }
        Ok(path)
    }

    /// Puts aside an object that is in the way of a file of ours, and logs it.
    ///
    /// When it cannot be put aside.
    fn clear_the_way(&self, name: &'static str) -> io::Result<()> {
        let Some(aside) = self.put_aside(name) else {
            return Err(io::Error::other(
                "something that is not evenkeel's is in the way and cannot be put aside",
            ));
        };
        warn!(kept_as = %aside.display(), "{} was in the way", self.path.join(name).display());
        Ok(())
    }

    /// The orders; empty when there is no file. A file that cannot be parsed is put aside.
    ///
    /// When the file exists and cannot be read.
    pub(crate) fn orders_or_put_aside(&self) -> io::Result<Orders> {
        match read_orders(&self.path.join(ORDERS), self.trust) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.put_aside(ORDERS).unwrap_or_else(|| self.path.join(ORDERS));
                error!(
                    kept_as = %aside.display(),
                    "{error}; kept as {}: what operators told virtual routers (`failover`, `hold`) is \
                        forgotten",
                    aside.display()
                );
                Ok(Orders::default())
            }
            result => result,
        }
    }

    /// Replaces the orders, durably.
    ///
    /// When they cannot be written; the old ones then stay.
    pub(crate) fn save_orders(&self, orders: &Orders) -> io::Result<()> {
        let file = OrdersFile { version: ORDERS_VERSION, orders: orders.clone() };
        replace(&self.to_replace(ORDERS)?, &serde_json::to_vec(&file)?)
    }

    /// Replaces the ledger, durably.
    ///
    /// When it cannot be written; the old one then stays.
    pub(crate) fn save_ledger(&self, ledger: &Ledger) -> io::Result<()> {
        let file = LedgerFile { version: ledger::VERSION, ledger };
        // Written piece by piece: the text of a large ledger takes more memory than the ledger.
        replace_with(&self.to_replace(LEDGER)?, |to| Ok(serde_json::to_writer(to, &file)?))
    }

    /// State that an earlier daemon had verified; none when it is not known.
    pub(crate) fn verified(&self) -> Option<Record> {
        let path = self.path.join(VERIFIED);
        let bytes = match files::read(&path, limit::LEDGER, self.trust) {
            Err(error) if error.is_absence() => return None,
            Err(error) => {
                warn!(file = %path.display(), "{}: {error}: drift until now is put right", path.display());
                return None;
            }
            Ok(bytes) => bytes,
        };
        match serde_json::from_slice::<VerifiedFile>(&bytes) {
            Ok(file) if file.version == VERIFIED_VERSION => Some(file.verified),
            Ok(_) | Err(_) => {
                warn!(file = %path.display(), "{} cannot be understood: drift until now is put \
                    right", path.display());
                None
            }
        }
    }

    /// Replaces the verified state, durably.
    ///
    /// When it cannot be written; the old one then stays.
    fn save_verified(&self, record: &Record) -> io::Result<()> {
        let file = VerifiedFile { version: VERIFIED_VERSION, verified: record.clone() };
        replace(&self.to_replace(VERIFIED)?, &serde_json::to_vec(&file)?)
    }

    /// Removes the verified state.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn forget_verified(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(VERIFIED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the ledger, the records of drains and of maintenance, the last good plan and the record of
    /// probations: nothing is ours any more.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub(crate) fn forget(&self) -> io::Result<()> {
        remove(&self.path.join(LEDGER))?;
        remove(&self.path.join(drains::DRAINS))?;
        remove(&self.path.join(drains::MAINTENANCE))?;
        self.forget_verified()?;
        self.forget_last_good()?;
        self.forget_probation()
    }
}

/// Replaces a file that cannot be parsed by its default, with a warning: as a daemon would start, for
/// commands that only look.
///
/// When the file cannot be read.
pub(crate) fn or_without<T: Default>(read: io::Result<T>) -> io::Result<T> {
    read.or_else(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            warn!("{error}: what follows is without it, as a daemon would start");
            Ok(T::default())
        }
        _ => Err(error),
    })
}

/// The ledger of a state directory, empty when there is none. Takes no lock: for commands that only look.
///
/// When it exists and cannot be read; `InvalidData` when it cannot be parsed.
pub(crate) fn read_ledger(directory: &Path, trust: Trust) -> io::Result<Ledger> {
    let path = directory.join(LEDGER);
    let explain = |kind, text: String| io::Error::new(kind, format!("ledger {}: {text}", path.display()));
    let Some(bytes) =
        read_if_there(&path, limit::LEDGER, trust).map_err(|e| explain(e.kind(), e.to_string()))?
    else {
        return Ok(Ledger::default());
    };
    let damaged = |text| explain(io::ErrorKind::InvalidData, text);
    match serde_json::from_slice::<LedgerFile<Ledger>>(&bytes) {
        Ok(file) if file.version == ledger::VERSION => Ok(file.ledger),
        Ok(file) => {
            Err(damaged(format!("written in format {} by another version of evenkeeld", file.version)))
        }
        Err(error) => Err(damaged(format!("damaged ({error})"))),
    }
}

fn read_orders(path: &Path, trust: Trust) -> io::Result<Orders> {
    let explain = |kind, text: String| io::Error::new(kind, format!("orders {}: {text}", path.display()));
    let Some(bytes) =
        read_if_there(path, limit::ORDERS, trust).map_err(|e| explain(e.kind(), e.to_string()))?
    else {
        return Ok(Orders::default());
    };
    let damaged = |text| explain(io::ErrorKind::InvalidData, text);
    match serde_json::from_slice::<OrdersFile>(&bytes) {
        Ok(file) if file.version == ORDERS_VERSION => Ok(file.orders),
        Ok(file) => {
            Err(damaged(format!("written in format {} by another version of evenkeeld", file.version)))
        }
        Err(error) => Err(damaged(format!("damaged ({error})"))),
    }
}

/// Reads a file of the state directory that may not be there.
///
/// `InvalidData` when the file is not accepted: not regular, too large, or others could have written it.
fn read_if_there(path: &Path, limit: u64, trust: Trust) -> io::Result<Option<Vec<u8>>> {
    match files::read(path, limit, trust) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces a file whole (mode 0600): readers and crashes see the old bytes or the new ones.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |to| to.write_all(bytes))
}

/// [`replace`] with the bytes that `write` writes, piece by piece.
fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&fs::File>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let mut to = BufWriter::with_capacity(BUFFER, file.as_file());
    write(&mut to)?;
    to.flush()?;
    drop(to);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_a_directory_and_a_damaged_ledger_is_absent() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = StateDir::open(&path, Trust::Owned).expect("first");
        let error = StateDir::open(&path, Trust::Owned).expect_err("second");
        assert!(error.to_string().contains("in use"), "{error}");
        let mut ledger = Ledger::default();
        ledger.sysctls.insert(
            "net/ipv4/ip_forward".to_owned(),
            ledger::SysctlEntry { original: "0".to_owned(), ours: "1".to_owned() },
        );
        state.save_ledger(&ledger).expect("save");
        assert_eq!(read_ledger(&path, Trust::Owned).expect("ledger"), ledger);
        fs::write(path.join(LEDGER), b"{\"version\":1,\"addr").expect("damage");
        assert_eq!(read_ledger(&path, Trust::Owned).expect_err("damaged").kind(), io::ErrorKind::InvalidData);
        assert_eq!(state.ledger_or_put_aside().expect("put aside"), Ledger::default());
        assert!(path.join("ledger.json.unreadable-1").exists(), "the damaged one is kept");
        drop(state);
        StateDir::open(&path, Trust::Owned).expect("free again");
    }

    #[test]
    fn a_directory_or_file_that_others_may_write_to_is_not_obeyed() {
        use std::os::unix::fs::PermissionsExt;

        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = StateDir::open(&path, Trust::Owned).expect("ours");
        let orders = serde_json::from_str(r#"{"VI_1":{"order":"hold","since":"T"}}"#).expect("orders");
        state.save_orders(&orders).expect("saved");
        let mode =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
        mode(&path.join(ORDERS), 0o666);
        assert_eq!(state.orders_or_put_aside().expect("put aside"), Orders::default());
        assert!(path.join("orders.json.unreadable-1").exists());
        drop(state);
        for bits in [0o777, 0o1777, 0o770] {
            mode(&path, bits);
            let error = StateDir::open(&path, Trust::Owned).expect_err("refused").to_string();
            assert!(error.contains(&format!("`chmod go-w {}`", path.display())), "{error}");
            StateDir::open(&path, Trust::Anybody).expect("asked for");
        }
        // The same holds when it becomes so while the daemon runs, and is made anew.
        mode(&path, 0o700);
        let state = StateDir::open(&path, Trust::Owned).expect("ours");
        fs::rename(&path, scratch.path().join("away"))
            .and_then(|()| fs::create_dir(&path))
            .expect("another one");
        mode(&path, 0o777);
        assert!(state.look().is_err());
    }

    #[test]
    fn orders_are_kept_and_damaged_ones_are_put_aside() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let state = StateDir::open(&scratch.path().join("state"), Trust::Owned).expect("open");
        assert_eq!(state.orders_or_put_aside().expect("none"), Orders::default());
        let orders: Orders =
            serde_json::from_str(r#"{"VI_1":{"order":"hold","since":"2026-01-01T00:00:00Z"}}"#)
                .expect("orders");
        state.save_orders(&orders).expect("save");
        assert_eq!(state.orders_or_put_aside().expect("read"), orders);
        state.forget().expect("forget");
        assert_eq!(state.orders_or_put_aside().expect("read"), orders, "cleanup is no release");
        let path = state.path().join(ORDERS);
        for (n, bad) in [(1, &b"{\"version\":1,\"ord"[..]), (2, br#"{"version":9,"orders":{}}"#)] {
            fs::write(&path, bad).expect("damage");
            assert_eq!(state.orders_or_put_aside().expect("put aside"), Orders::default());
            let aside = state.path().join(format!("orders.json.unreadable-{n}"));
            assert_eq!(fs::read(aside).expect("kept"), bad);
            assert!(!path.exists());
        }
        state.save_orders(&orders).expect("save again");
        assert_eq!(state.orders_or_put_aside().expect("read"), orders);
    }
}
