//! Records of drains and of maintenance: the start of each drain, the orders to drain, and the routers that
//! serve on.

use std::io;
use std::path::Path;

use evenkeel_converge::Drains;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::{StateDir, read_if_there, replace};
use crate::system::files::{self, Trust, limit};
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::orders::drains::DrainOrders;

/// Start of each drain. Void after a boot: the IPVS table is then another one.
pub(super) const DRAINS: &str = "drains.json";
/// Orders to drain. Outlives `cleanup`, as all orders do.
pub(super) const DRAIN_ORDERS: &str = "drain-orders.json";
/// Routers that serve on although the plan says maintenance. Void after `cleanup`: then none serves.
pub(super) const MAINTENANCE: &str = "maintenance.json";
/// Format of these files.
const VERSION: u32 = 1;
/// File that identifies the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
struct DrainsFile {
    version: u32,
    boot: String,
    drains: Drains,
}

#[derive(Serialize, Deserialize)]
struct DrainOrdersFile {
    version: u32,
    orders: DrainOrders,
}

#[derive(Serialize, Deserialize)]
struct MaintenanceFile {
    version: u32,
    serving: Maintenance,
}

/// Reads only the version of a file, so that a file of another version is distinguished from a damaged one.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl StateDir {
    /// The start of each drain; empty when there is no file, or one of another boot. A file that cannot be
    /// parsed is put aside: deadlines start again.
    pub(crate) fn drains(&self) -> Drains {
        match read_drains(self.path(), self.trust) {
            Ok(drains) => drains,
            Err(error) => {
                warn!(file = DRAINS, "{error}: the deadlines of destinations that drain start again");
                self.put_aside(DRAINS);
                Drains::default()
            }
        }
    }

    /// Replaces the record of drains, durably.
    ///
    /// When it cannot be written; the old one then stays.
    pub(crate) fn save_drains(&self, drains: &Drains) -> io::Result<()> {
        let file = DrainsFile { version: VERSION, boot: boot(), drains: drains.clone() };
        save(&self.to_replace(DRAINS)?, &file)
    }

    /// The orders to drain; empty when there is no file. A file that cannot be parsed is put aside.
    ///
    /// When the file exists and cannot be read.
    pub(crate) fn drain_orders_or_put_aside(&self) -> io::Result<DrainOrders> {
        match read_drain_orders(self.path(), self.trust) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.put_aside(DRAIN_ORDERS).unwrap_or_else(|| self.path().join(DRAIN_ORDERS));
                error!(kept_as = %aside.display(), "{error}; kept as {}: what was told to drain serves \
                    again", aside.display());
                Ok(DrainOrders::default())
            }
            result => result,
        }
    }

    /// Replaces the orders to drain, durably.
    ///
    /// When they cannot be written; the old ones then stay.
    pub(crate) fn save_drain_orders(&self, orders: &DrainOrders) -> io::Result<()> {
        let file = DrainOrdersFile { version: VERSION, orders: orders.clone() };
        save(&self.to_replace(DRAIN_ORDERS)?, &file)
    }

    /// Routers that served on although the plan said maintenance; empty when there is no file. A file that
    /// cannot be read or parsed is put aside: then this host is out of all its elections.
    pub(crate) fn maintenance(&self) -> Maintenance {
        match read::<MaintenanceFile>(&self.path().join(MAINTENANCE), limit::ORDERS, self.trust) {
            Ok(file) => file.map(|file| file.serving).unwrap_or_default(),
            Err(error) => {
                warn!(file = MAINTENANCE, "{error}: in maintenance this host takes no part in any election");
                self.put_aside(MAINTENANCE);
                Maintenance::default()
            }
        }
    }

    /// Replaces the routers that serve on in maintenance, durably.
    ///
    /// When they cannot be written; the old ones then stay.
    pub(crate) fn save_maintenance(&self, serving: &Maintenance) -> io::Result<()> {
        let file = MaintenanceFile { version: VERSION, serving: serving.clone() };
        save(&self.to_replace(MAINTENANCE)?, &file)
    }
}

/// The start of each drain, from the record of a state directory; empty when it is of another boot. Takes no
/// lock.
///
/// When the file exists and cannot be read; `InvalidData` when it cannot be parsed.
pub(crate) fn read_drains(directory: &Path, trust: Trust) -> io::Result<Drains> {
    let file = read::<DrainsFile>(&directory.join(DRAINS), limit::DRAINS, trust)?;
    let Some(file) = file else { return Ok(Drains::default()) };
    let boot = boot();
    Ok(if boot.is_empty() || file.boot != boot { Drains::default() } else { file.drains })
}

/// The orders to drain, from the record of a state directory. Takes no lock.
///
/// When the file exists and cannot be read; `InvalidData` when it cannot be parsed.
pub(crate) fn read_drain_orders(directory: &Path, trust: Trust) -> io::Result<DrainOrders> {
    let file = read::<DrainOrdersFile>(&directory.join(DRAIN_ORDERS), limit::ORDERS, trust)?;
    Ok(file.map(|file| file.orders).unwrap_or_default())
}

fn boot() -> String {
    files::kernel_line(Path::new(BOOT_ID))
}

fn save(path: &Path, file: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(file)?)
}

fn read<T: DeserializeOwned>(path: &Path, limit: u64, trust: Trust) -> io::Result<Option<T>> {
    let explain = |kind, text: String| io::Error::new(kind, format!("{}: {text}", path.display()));
    let Some(bytes) = read_if_there(path, limit, trust).map_err(|e| explain(e.kind(), e.to_string()))? else {
        return Ok(None);
    };
    let damaged = |text| explain(io::ErrorKind::InvalidData, text);
    match serde_json::from_slice::<AnyVersion>(&bytes) {
        Ok(AnyVersion { version: VERSION }) => {}
        Ok(AnyVersion { version }) => {
            return Err(damaged(format!("written in format {version} by another version of evenkeeld")));
        }
        Err(error) => return Err(damaged(format!("damaged ({error})"))),
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(format!("damaged ({error})")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evenkeel_converge::{DestinationKey, ServiceKey};
    use evenkeel_schemas::time::MonoTime;

    use super::*;

    fn some() -> Drains {
        let mut drains = Drains::default();
        let destination = DestinationKey { address: [192, 0, 2, 1].into(), port: 80 };
        drains.insert(ServiceKey::Mark { v6: false, mark: 1 }, destination, MonoTime::from_millis(5));
        drains
    }

    #[test]
    fn routers_that_serve_on_are_kept() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let state = StateDir::open(&scratch.path().join("state"), Trust::Owned).expect("open");
        assert_eq!(state.maintenance(), Maintenance::default());
        let some: Maintenance = serde_json::from_str(r#"["VI_1"]"#).expect("routers");
        state.save_maintenance(&some).expect("save");
        assert_eq!(state.maintenance(), some);
        fs::write(state.path().join(MAINTENANCE), "{").expect("write");
        assert_eq!(state.maintenance(), Maintenance::default());
        assert!(!state.path().join(MAINTENANCE).exists(), "put aside");
        state.save_maintenance(&some).expect("save again");
        state.forget().expect("forget");
        assert_eq!(state.maintenance(), Maintenance::default(), "nothing serves after cleanup");
    }

    #[test]
    fn drains_are_kept_within_one_boot() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let state = StateDir::open(&scratch.path().join("state"), Trust::Owned).expect("open");
        assert!(state.drains().is_empty());
        state.save_drains(&some()).expect("save");
        assert_eq!(state.drains(), some());
        let path = state.path().join(DRAINS);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, text.replace(&boot(), "another")).expect("write");
        assert!(state.drains().is_empty(), "the table did not outlive the boot");
        assert!(path.exists());
        for bad in ["{\"version\":1,\"bo", "{\"version\":2}"] {
            fs::write(&path, bad).expect("write");
            assert!(state.drains().is_empty());
            assert!(!path.exists(), "{bad} is put aside");
        }
        state.save_drains(&some()).expect("save again");
        state.forget().expect("forget");
        assert!(!path.exists(), "nothing drains after cleanup");
    }
}
