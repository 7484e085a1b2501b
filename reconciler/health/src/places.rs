//! Places for probes: how many are made at a time, who waits for one, and how late they are.
//!
//! A probe that waits for a place has not begun, so its time does not run: that this host is busy is no
//! failure of a target.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_schemas::plan::CheckKind;
use evenkeel_schemas::time::MonoTime;

use crate::state::CheckId;

/// Most probes under way at a time that ask over the network or read a file.
pub const MAX_PROBES: usize = 1024;
/// Most programs of checks at a time.
pub const MAX_PROGRAMS: usize = 32;

/// The two kinds of place. Programs have their own: some that hang keep no other probe waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Asks over the network, or reads a file.
    Ask,
    /// Runs a program.
    Program,
}

impl Lane {
    /// The lane of a kind of check.
    #[must_use]
    pub const fn of(kind: &CheckKind) -> Self {
        match kind {
            CheckKind::Script(_) => Self::Program,
            _ => Self::Ask,
        }
    }
}

/// Number of places of each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Probes that ask or read.
    pub probes: usize,
    /// Programs.
    pub programs: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { probes: MAX_PROBES, programs: MAX_PROGRAMS }
    }
}

/// How busy the checks of a host are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Probes under way.
    pub under_way: usize,
    /// Checks that are due and wait for a place.
    pub waiting: usize,
    /// How long the first of those has waited.
    pub waits: Duration,
    /// Largest lateness of a probe since the checks began: from when it was due to when it began.
    pub most_late: Duration,
    /// Probes that began.
    pub probes: u64,
}

/// The places of one lane.
#[derive(Debug, Clone, Default)]
struct Row {
    busy: usize,
    /// Checks that wait, by the time when they were due.
    waiting: BTreeSet<(MonoTime, CheckId)>,
}

/// All places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    capacity: Capacity,
    asks: Row,
    programs: Row,
    most_late: Duration,
    probes: u64,
}

impl Places {
    pub(crate) const fn set(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    /// Whether a probe may begin; it waits otherwise.
    pub(crate) fn may_begin(&mut self, lane: Lane, due: MonoTime, check: CheckId) -> bool {
        let most = match lane {
            Lane::Ask => self.capacity.probes,
            Lane::Program => self.capacity.programs,
        };
        let row = self.row(lane);
        let free = row.busy < most;
        if !free {
            row.waiting.insert((due, check));
        }
        free
    }

    /// A probe that was due then has begun.
    pub(crate) fn began(&mut self, lane: Lane, due: MonoTime, now: MonoTime) {
        self.row(lane).busy += 1;
        self.note(due, now);
    }

    /// How late a probe was.
    pub(crate) fn note(&mut self, due: MonoTime, now: MonoTime) {
        self.most_late = self.most_late.max(now.since(due));
        self.probes += 1;
    }

    /// A probe has ended. Returns the check that may begin next.
    pub(crate) fn ended(&mut self, lane: Lane) -> Option<(MonoTime, CheckId)> {
        let row = self.row(lane);
        row.busy = row.busy.saturating_sub(1);
        row.waiting.pop_first()
    }

    /// A check does not wait any more.
    pub(crate) fn leave(&mut self, due: MonoTime, check: CheckId) {
        self.asks.waiting.remove(&(due, check));
        self.programs.waiting.remove(&(due, check));
    }

    /// The checks are others: so many are under way, and nobody waits.
    pub(crate) fn reset(&mut self, asks: usize, programs: usize) {
        self.asks = Row { busy: asks, waiting: BTreeSet::new() };
        self.programs = Row { busy: programs, waiting: BTreeSet::new() };
    }

    pub(crate) fn load(&self, now: MonoTime) -> Load {
        let rows = [&self.asks, &self.programs];
        let first = rows.iter().filter_map(|row| row.waiting.first()).map(|(due, _)| *due).min();
        let waits = first.map_or(Duration::ZERO, |due| now.since(due));
        Load {
            under_way: rows.iter().map(|row| row.busy).sum(),
            waiting: rows.iter().map(|row| row.waiting.len()).sum(),
            waits,
            most_late: self.most_late.max(waits),
            probes: self.probes,
        }
    }

    const fn row(&mut self, lane: Lane) -> &mut Row {
        match lane {
            Lane::Ask => &mut self.asks,
            Lane::Program => &mut self.programs,
        }
    }
}
