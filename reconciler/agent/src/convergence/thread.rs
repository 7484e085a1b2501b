//! The convergence thread: the times of passes, and what each of them covers.
//!
//! Level, not edge: the thread gets the wanted state and the kinds to observe again, never an operation, and
//! the latest state wins. It waits for nothing but the kernel, and for a bounded time for the disk; the
//! election never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel_converge::{Kind, Ledger, ObjectKey, Op, Row, ServiceKey};
use evenkeel_host::pass::{Adjusted, Pass, PassReport, Wanted};
use evenkeel_kernel::{Kernel, clock};
use evenkeel_schemas::status::ConvergenceError;
use evenkeel_schemas::time::MonoTime;
use tokio::sync::mpsc;

use crate::convergence::goal::Goal;
use crate::convergence::pass::Convergence;
use crate::state::StateDir;
use crate::state::disk::Disk;
use crate::system::memory;

/// First wait before a failed pass is tried again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait before a failed pass is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Least time between two passes that events ask for.
const PAUSE: Duration = Duration::from_millis(50);
/// A pass with more operations than this has used memory that is worth returning to the system.
const MANY: usize = 1_000;
/// Longest sleep.
const FOREVER: Duration = Duration::from_secs(3600);

/// The thread's instructions. There is one place for them, so that instructions which come faster than passes
/// need no more room than the last one.
#[derive(Default)]
struct Instructions {
    /// A wanted state that the thread has not got yet.
    wanted: Option<Wanted>,
    /// Virtual servers that have changed since, and the serial of the last change.
    rows: BTreeMap<ServiceKey, Row>,
    serial: u64,
    dirty: BTreeSet<Kind>,
    stop: bool,
}

/// Instructions to the thread. Shared by the daemon and the watcher of kernel events.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<(Mutex<Instructions>, Condvar)>);

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Instructions> {
        // A panic elsewhere leaves the slot whole: every change of it is one assignment.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Instructions)) {
        change(&mut self.lock());
        self.0.1.notify_one();
    }

    /// Sets a new wanted state, which differs from the one before in these kinds.
    pub(crate) fn want(&self, wanted: Wanted, kinds: &[Kind]) {
        self.change(|slot| {
            slot.serial = wanted.serial;
            slot.wanted = Some(wanted);
            // The new state has every change that came before it.
            slot.rows.clear();
            slot.dirty.extend(kinds);
        });
    }

    /// Changes some virtual servers of the wanted state.
    pub(crate) fn adjust(&self, adjusted: Adjusted) {
        self.change(|slot| {
            slot.serial = adjusted.serial;
            slot.rows.extend(adjusted.rows.into_iter().map(|row| (row.key, row)));
            slot.dirty.insert(Kind::Ipvs);
        });
    }

    /// Objects of these kinds may have changed.
    pub(crate) fn dirty(&self, kinds: &BTreeSet<Kind>) {
        self.change(|slot| slot.dirty.extend(kinds));
    }
}

/// The running thread.
pub(crate) struct Converger {
    mailbox: Mailbox,
    thread: JoinHandle<()>,
}

impl Converger {
    /// Starts the thread, the only one that changes the ledger.
    ///
    /// # Errors
    /// When no thread can be made or netlink is not available.
    pub(crate) fn start(
        mailbox: Mailbox,
        state: &StateDir,
        disk: &Disk,
        ledger: Ledger,
        reports: mpsc::Sender<PassReport>,
    ) -> std::io::Result<Self> {
        let kernel = Kernel::new().map_err(std::io::Error::other)?;
        let worker = ConvergenceWorker {
            convergence: Convergence::resume(kernel, state, disk, ledger),
            mailbox: mailbox.clone(),
            reports,
            failed: BTreeMap::new(),
            unseen: Kind::ALL.into(),
            goal: Goal::default(),
            resync_at: MonoTime::ZERO,
            drains_at: None,
            retry: None,
            quiet_until: MonoTime::ZERO,
        };
        let thread = std::thread::Builder::new().name("converge".to_owned()).spawn(move || worker.run())?;
        Ok(Self { mailbox, thread })
    }

    pub(crate) const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Ends the thread after the pass under way, leaving the kernel as it is. Returns whether it ended
    /// without a panic.
    pub(crate) fn stop(self) -> bool {
        self.mailbox.change(|slot| slot.stop = true);
        self.thread.join().is_ok()
    }
}

/// Reason why a kind is not as wanted.
struct Failed {
    reasons: Vec<ConvergenceError>,
    /// Whether only objects are missing that the kernel has no means for.
    ready: bool,
    /// Objects that the kernel has no means for.
    lacking: BTreeSet<ObjectKey>,
}

struct ConvergenceWorker {
    convergence: Convergence,
    mailbox: Mailbox,
    reports: mpsc::Sender<PassReport>,
    /// Kinds that were not as wanted when they were last observed.
    failed: BTreeMap<Kind, Failed>,
    /// Kinds that were not observed since the plan last changed.
    unseen: BTreeSet<Kind>,
    goal: Goal,
    resync_at: MonoTime,
    /// Time of the next observation of drains.
    drains_at: Option<MonoTime>,
    retry: Option<(MonoTime, Duration)>,
    quiet_until: MonoTime,
}

impl ConvergenceWorker {
    fn run(mut self) {
        while let Some(kinds) = self.next() {
            let Some(Wanted { serial, desired, resync }) = self.goal.wanted() else { continue };
            let (serial, resync) = (*serial, *resync);
            let full_is_due = clock::now() >= self.resync_at;
            let services = if full_is_due { None } else { self.goal.services_to_observe(&kinds) };
            let pass = self.convergence.pass(desired, &kinds, services.as_ref());
            if pass.done.iter().chain(&pass.repairs).map(Op::count).sum::<usize>() > MANY {
                memory::release();
            }
            if services.is_none() && kinds.len() == Kind::ALL.len() {
                self.resync_at = pass.ended + resync;
            }
            let report = self.conclude(serial, &kinds, pass);
            if self.reports.blocking_send(report).is_err() {
                return;
            }
        }
    }

    /// Waits until a pass is due and returns its kinds; none when the thread is to end.
    fn next(&mut self) -> Option<Vec<Kind>> {
        let mailbox = self.mailbox.clone();
        let mut slot = mailbox.lock();
        loop {
            if slot.stop {
                return None;
            }
            let now = clock::now();
            if self.drains_at.take_if(|at| now >= *at).is_some() {
                slot.dirty.insert(Kind::Ipvs);
            }
            let due = self.retry.map_or(self.resync_at, |(at, _)| at.min(self.resync_at));
            let any = self.goal.wanted().is_some() || slot.wanted.is_some();
            let wait = if !any {
                FOREVER
            } else if now >= due {
                // A pass over all kinds covers those that are dirty.
                slot.dirty.clear();
                self.receive(&mut slot);
                return Some(Kind::ALL.to_vec());
            } else if !slot.dirty.is_empty() && now >= self.quiet_until {
                self.receive(&mut slot);
                return Some(std::mem::take(&mut slot.dirty).into_iter().collect());
            } else if slot.dirty.is_empty() {
                now.until(self.drains_at.map_or(due, |at| at.min(due)))
            } else {
                now.until(due.min(self.quiet_until))
            };
            (slot, _) = mailbox.0.1.wait_timeout(slot, wait).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Moves what is wanted now out of the slot.
    fn receive(&mut self, slot: &mut Instructions) {
        if let Some(next) = slot.wanted.take() {
            self.goal.replace(next);
        }
        self.goal.adjust(std::mem::take(&mut slot.rows), slot.serial);
    }

    /// Updates what is known by the result of a pass over these kinds, and reports it.
    fn conclude(&mut self, serial: u64, kinds: &[Kind], pass: Pass) -> PassReport {
        self.goal.observed(kinds, &pass);
        for kind in kinds {
            self.unseen.remove(kind);
            self.failed.remove(kind);
            if !pass.converged {
                let lacking = pass.lacking.iter().filter(|key| key.kind() == *kind).cloned().collect();
                let failed = Failed { reasons: pass.errors.clone(), ready: pass.ready, lacking };
                self.failed.insert(*kind, failed);
            }
        }
        if let Some(drains) = &pass.drains {
            self.drains_at = drains.next_look;
        }
        // Events of the pass's own changes come now. Without a pause they would ask for the next pass.
        self.quiet_until = pass.ended + PAUSE;
        self.retry = if self.failed.is_empty() {
            None
        } else {
            let wait = self.retry.map_or(RETRY_MIN, |(_, wait)| (wait * 2).min(RETRY_MAX));
            Some((pass.ended + wait, wait))
        };
        let mut errors: Vec<ConvergenceError> = Vec::new();
        for error in self.failed.values().flat_map(|failed| &failed.reasons) {
            if !errors.contains(error) {
                errors.push(error.clone());
            }
        }
        let converged = self.failed.is_empty() && self.unseen.is_empty();
        let ready = self.failed.values().all(|failed| failed.ready) && self.unseen.is_empty();
        let lacking = self.failed.values().flat_map(|failed| failed.lacking.iter().cloned()).collect();
        PassReport { serial, pass, converged, ready, lacking, errors }
    }
}
