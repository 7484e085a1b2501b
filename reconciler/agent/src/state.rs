//! The state directory: ledger, orders, drains, last good plan, what was verified and probation. The only files the
//! daemon writes. How each is read and written is here; when it is written is `disk`'s.
//!
//! Every file is replaced whole: written beside, synced, renamed. A file that cannot be understood
//! is reported and treated as absent, and so is one that is no regular file, is too large, or that others could have written; of plans
//! on probation see `probation`.

pub(crate) mod disk;
mod drains;
mod last_good;
mod place;
mod probation;

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
pub(crate) use place::Looked;
use place::Place;

/// How much is written to a file at a time.
const BUFFER: usize = 32 * 1024;
const LEDGER: &str = "ledger.json";
/// What was verified, while drift of some kind is only reported.
const VERIFIED: &str = "verified.json";
/// The format of that file.
const VERIFIED_VERSION: u32 = 1;
/// What operators told routers. Outlives `cleanup`: it is not ours to forget.
const ORDERS: &str = "orders.json";
/// The format of the orders file.
const ORDERS_VERSION: u32 = 1;

/// The state directory, locked against a second daemon while this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The directory and its lock as they were found or made last.
    place: Mutex<Place>,
    /// Files that could not be understood and not be put aside: that is done before they are replaced.
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
    /// Makes the directory if need be (mode 0700) and locks it. On a disk that takes nothing, one that is there is opened without a
    /// write; one that cannot be made or locked is tried again by [`StateDir::look`]. What is in it decides what is done as root, so it has
    /// to be the daemon's or root's alone.
    ///
    /// # Errors
    /// When another process holds the lock, or others may write to the directory.
    pub(crate) fn open(path: &Path, trust: Trust) -> io::Result<Self> {
        let place = match Place::open(path) {
            Ok(place) => {
                place.unlocked.iter().for_each(|why| warn!("{why}"));
                place
            }
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(error),
            Err(error) => {
                error!("{error}: what this host has to remember is kept as soon as that is possible");
                Place::default()
            }
        };
        let state =
            Self { path: path.to_owned(), place: Mutex::new(place), damaged: Mutex::default(), trust };
        state.check()?;
        Ok(state)
    }

    /// # Errors
    /// When others may write to the directory. One that is not there, or does not answer, has nothing to obey.
    fn check(&self) -> io::Result<()> {
        match files::check_directory(&self.path, self.trust) {
            Err(error @ FileError::Insecure(_)) => {
                Err(io::Error::other(format!("state directory {}: {error}", self.path.display())))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Looks whether the directory and its lock are still there under their names, and makes them again.
    ///
    /// # Errors
    /// When they cannot be made, or what is there now others may write to.
    pub(crate) fn look(&self) -> io::Result<Looked> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_at(&self.path) {
            return Ok(Looked::Same);
        }
        let same = place.is_same_directory(&self.path);
        *place = Place::open(&self.path)?;
        self.check()?;
        Ok(if same { Looked::Same } else { Looked::MadeAgain })
    }

    /// Where a file is, or the directory of the last good plan.
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
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger; empty when there is none. One that cannot be understood is put aside, and what the
    /// plan names is adopted.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub(crate) fn ledger_or_put_aside(&self) -> io::Result<Ledger> {
        match read_ledger(&self.path, self.trust) {
            Ok(ledger) => Ok(ledger),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let kept = self.put_aside(LEDGER).map(|aside| format!("; kept as {}", aside.display()));
                warn!("{error}{}, and what the plan names is adopted", kept.unwrap_or_default());
                Ok(Ledger::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Renames a ledger that cannot be understood, for who goes on without it. Returns its name now.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn put_ledger_aside(&self) -> io::Result<PathBuf> {
        self.put_aside(LEDGER).ok_or_else(|| {
            let path = self.place_of(File::Ledger);
            io::Error::other(format!("{} cannot be put aside", path.display()))
        })
    }

    /// Renames a file that cannot be understood. Where that fails it is done before the file is replaced: it is never lost.
    fn put_aside(&self, name: &'static str) -> Option<PathBuf> {
        let mut free = (1..1000).map(|n| self.path.join(format!("{name}.unreadable-{n}")));
        let aside = free.find(|path| !path.exists());
        let put = aside.filter(|aside| fs::rename(self.path.join(name), aside).is_ok());
        if put.is_none() {
            self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
        put
    }

    /// The path of a file that is about to be replaced or removed; one that could not be understood is put aside first, and so is a
    /// directory of that name, which no file replaces.
    ///
    /// # Errors
    /// When that cannot be done.
    fn to_replace(&self, name: &'static str) -> io::Result<PathBuf> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let path = self.path.join(name);
        let directory = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if (damaged && path.exists()) || directory {
            self.clear_the_way(name)?;
        }
        Ok(path)
    }

    /// Puts aside what is in the way of something of ours, and tells.
    ///
    /// # Errors
    /// When that cannot be done.
    fn clear_the_way(&self, name: &'static str) -> io::Result<()> {
        let Some(aside) = self.put_aside(name) else {
            return Err(io::Error::other(
                "something that is not evenkeel's is in the way and cannot be put aside",
            ));
        };
        warn!(kept_as = %aside.display(), "{} was in the way", self.path.join(name).display());
        Ok(())
    }

    /// The orders; none when there is no file. One that cannot be understood is put aside.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub(crate) fn orders_or_put_aside(&self) -> io::Result<Orders> {
        match read_orders(&self.path.join(ORDERS), self.trust) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.put_aside(ORDERS).unwrap_or_else(|| self.path.join(ORDERS));
                error!(
                    "{error}; kept as {}: what operators told virtual routers (`failover`, `hold`) is forgotten",
                    aside.display()
                );
                Ok(Orders::default())
            }
            result => result,
        }
    }

    /// Replaces the orders, durably.
    ///
    /// # Errors
    /// When they cannot be written; the old ones are then still there.
    pub(crate) fn save_orders(&self, orders: &Orders) -> io::Result<()> {
        let file = OrdersFile { version: ORDERS_VERSION, orders: orders.clone() };
        replace(&self.to_replace(ORDERS)?, &serde_json::to_vec(&file)?)
    }

    /// Replaces the ledger, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    pub(crate) fn save_ledger(&self, ledger: &Ledger) -> io::Result<()> {
        let file = LedgerFile { version: ledger::VERSION, ledger };
        // Not as one text first: that of a large one takes more memory than the ledger.
        replace_with(&self.to_replace(LEDGER)?, |to| Ok(serde_json::to_writer(to, &file)?))
    }

    /// What an earlier daemon had verified; none when it is not known.
    pub(crate) fn verified(&self) -> Option<Record> {
        let path = self.path.join(VERIFIED);
        let bytes = match files::read(&path, limit::LEDGER, self.trust) {
            Err(error) if error.is_absence() => return None,
            Err(error) => {
                warn!("{}: {error}: drift until now is put right", path.display());
                return None;
            }
            Ok(bytes) => bytes,
        };
        match serde_json::from_slice::<VerifiedFile>(&bytes) {
            Ok(file) if file.version == VERIFIED_VERSION => Some(file.verified),
            Ok(_) | Err(_) => {
                warn!("{} cannot be understood: drift until now is put right", path.display());
                None
            }
        }
    }

    /// Replaces what was verified, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    fn save_verified(&self, record: &Record) -> io::Result<()> {
        let file = VerifiedFile { version: VERIFIED_VERSION, verified: record.clone() };
        replace(&self.to_replace(VERIFIED)?, &serde_json::to_vec(&file)?)
    }

    /// Forgets what was verified.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn forget_verified(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(VERIFIED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the ledger, the records of drains and of maintenance, the last good plan and what is known of probations: nothing is ours any more.
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

/// What a daemon makes of a file that cannot be understood, for commands that only look: it goes on without it, and that is told.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn or_without<T: Default>(read: io::Result<T>) -> io::Result<T> {
    read.or_else(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            warn!("{error}: what follows is without it, as a daemon would start");
            Ok(T::default())
        }
        _ => Err(error),
    })
}

/// The ledger below a state directory, empty when there is none. Takes no lock: for commands that only
/// look.
///
/// # Errors
/// When there is one and it cannot be read; `InvalidData` when it cannot be understood.
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
/// # Errors
/// `InvalidData` when there is something that is not read for what it is: no regular file, too large, or others could have written it.
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

/// Replaces a file whole (mode 0600): readers and crashes see the old bytes or the new.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |to| to.write_all(bytes))
}

/// [`replace`] by what `write` writes, piece by piece.
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
        // Nor when it becomes so while the daemon runs, and is made anew.
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
