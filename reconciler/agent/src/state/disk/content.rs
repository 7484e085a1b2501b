//! Content of the state directory, by file.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_converge::drift::Record as Verified;
use evenkeel_converge::{Drains, Ledger};

use crate::source::memory::SourceMemory;
use crate::state::StateDir;
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::orders::drains::DrainOrders;
use evenkeel_host::orders::routers::Orders;
use evenkeel_host::probation::Record;

/// A file of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum File {
    /// Objects that are ours.
    Ledger,
    /// Verified state, while drift of some kind is only reported.
    Verified,
    /// Start of each drain.
    Drains,
    /// Orders for virtual routers.
    Orders,
    /// Orders to drain.
    DrainOrders,
    /// Routers that serve on although the plan says maintenance.
    Maintenance,
    /// The plan on probation, and the plan that was rolled back.
    Probation,
    /// The last good plan with its passwords.
    LastGood,
    /// The commit that was accepted last, and the pause.
    Source,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ledger => "the ledger of what is ours",
            Self::Verified => "the record of what was verified",
            Self::Drains => "the record of drains",
            Self::Orders => "the orders for virtual routers",
            Self::DrainOrders => "the orders to drain",
            Self::Maintenance => "the record of what serves on in maintenance",
            Self::Probation => "the record of probations",
            Self::LastGood => "the last good plan",
            Self::Source => "the record of the source of plans",
        })
    }
}

/// Wanted content of a file.
#[derive(Clone)]
pub(crate) enum Content {
    /// [`File::Ledger`].
    Ledger(Arc<Ledger>),
    /// [`File::Verified`]; none when there is to be no such file.
    Verified(Option<Arc<Verified>>),
    /// [`File::Drains`].
    Drains(Drains),
    /// [`File::Orders`].
    Orders(Orders),
    /// [`File::DrainOrders`].
    DrainOrders(DrainOrders),
    /// [`File::Maintenance`].
    Maintenance(Arc<Maintenance>),
    /// [`File::Probation`].
    Probation(Box<Record>),
    /// [`File::Probation`] as a probation begins: the plan to go back to is saved as the last good one first.
    Trial(Arc<LoadedPlan>, Box<Record>),
    /// [`File::LastGood`].
    LastGood(Arc<LoadedPlan>),
    /// [`File::Source`].
    Source(Arc<SourceMemory>),
}

impl Content {
    /// File of the content.
    pub(crate) const fn file(&self) -> File {
        match self {
            Self::Ledger(_) => File::Ledger,
            Self::Verified(_) => File::Verified,
            Self::Drains(_) => File::Drains,
            Self::Orders(_) => File::Orders,
            Self::DrainOrders(_) => File::DrainOrders,
            Self::Maintenance(_) => File::Maintenance,
            Self::Probation(_) | Self::Trial(..) => File::Probation,
            Self::LastGood(_) => File::LastGood,
            Self::Source(_) => File::Source,
        }
    }

    /// Writes the content, durably. The file stays as it was when that fails.
    ///
    /// When it cannot be written, with its path.
    pub(super) fn write(&self, state: &StateDir) -> io::Result<()> {
        let path = state.place_of(self.file());
        self.put(state).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn put(&self, state: &StateDir) -> io::Result<()> {
        match self {
            Self::Ledger(ledger) => state.save_ledger(ledger),
            Self::Verified(Some(record)) => state.save_verified(record),
            Self::Verified(None) => state.forget_verified(),
            Self::Drains(drains) => state.save_drains(drains),
            Self::Orders(orders) => state.save_orders(orders),
            Self::DrainOrders(orders) => state.save_drain_orders(orders),
            Self::Maintenance(maintenance) => state.save_maintenance(maintenance),
            Self::Probation(record) => state.save_probation(record),
            Self::Trial(before, record) => {
                let path = state.place_of(File::LastGood);
                let explain =
                    |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                state.save_last_good(before).map_err(explain)?;
                state.save_probation(record)
            }
            Self::LastGood(loaded) => state.save_last_good(loaded),
            Self::Source(memory) => state.save_source(memory),
        }
    }

    /// Paths that have the content, if any do.
    pub(super) fn files(&self, state: &StateDir) -> Vec<PathBuf> {
        match self {
            Self::LastGood(loaded) => state.last_good_files(loaded).into(),
            _ if self.has_file() => vec![state.place_of(self.file())],
            _ => Vec::new(),
        }
    }

    /// Whether the content has a file: the default content is the absence of one.
    pub(super) fn has_file(&self) -> bool {
        match self {
            Self::Ledger(ledger) => !ledger.is_empty(),
            Self::Verified(record) => record.is_some(),
            Self::Drains(drains) => !drains.is_empty(),
            Self::Orders(orders) => *orders != Orders::default(),
            Self::DrainOrders(orders) => *orders != DrainOrders::default(),
            Self::Maintenance(maintenance) => **maintenance != Maintenance::default(),
            Self::Probation(record) => **record != Record::default(),
            Self::Source(memory) => **memory != SourceMemory::default(),
            Self::Trial(..) | Self::LastGood(_) => true,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.file())
    }
}
