//! The convergence loop: a thread that brings the kernel to what is wanted, VIPs aside.
//!
//! Level, not edge: messages say what is wanted or what to look at again, never what to do. A pass
//! is always observe, compare, record in the ledger, apply, observe again. It waits for nothing but
//! the kernel and the state directory, and the election never waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel_converge::{
    Address, AddressKey, Desired, Diff, Domain, KernelState, Kind, Ledger, Op, diff_kinds,
};
use evenkeel_kernel::{ApplyError, Kernel, Scope, clock};
use evenkeel_schemas::plan::Scope as AddressScope;
use evenkeel_schemas::status::{ConvergenceError, ObjectText};
use evenkeel_schemas::time::MonoTime;
use tokio::sync::mpsc as tokio_mpsc;

use crate::state::StateDir;

/// First wait before what failed is tried again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait before what failed is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Main routing table.
const TABLE_MAIN: u32 = 254;

/// What the kernel should look like and how often to look.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Counts up with every change of it; a pass says which it worked on.
    pub(crate) serial: u64,
    /// The state.
    pub(crate) desired: Desired,
    /// Longest time between two full observations.
    pub(crate) resync: Duration,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Message {
    /// A new state is wanted.
    Wanted(Arc<Wanted>),
    /// Something of these kinds may have changed.
    Dirty(BTreeSet<Kind>),
    /// End the thread, leaving everything as it is.
    Stop,
}

/// What a pass did.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// The [`Wanted::serial`] it worked on.
    pub(crate) serial: u64,
    /// When it ended.
    pub(crate) ended: MonoTime,
    /// How long it took.
    pub(crate) took: Duration,
    /// What was done.
    pub(crate) done: Vec<Op>,
    /// What could not be done.
    pub(crate) errors: Vec<ConvergenceError>,
    /// What is there beside ours; none when the pass did not look at everything.
    pub(crate) foreign: Option<Vec<ObjectText>>,
    /// Whether everything is as wanted.
    pub(crate) converged: bool,
}

/// The convergence thread.
pub(crate) struct Converger {
    messages: Sender<Message>,
    thread: JoinHandle<()>,
}

impl Converger {
    /// Starts the thread, the only writer of the ledger.
    ///
    /// # Errors
    /// When no thread can be made or netlink is not available.
    pub(crate) fn start(state: Arc<StateDir>, passes: tokio_mpsc::Sender<Pass>) -> std::io::Result<Self> {
        let (messages, inbox) = channel();
        let kernel = Kernel::new().map_err(std::io::Error::other)?;
        let worker = Worker { inner: Convergence::new(kernel, state), inbox, passes };
        let thread = std::thread::Builder::new().name("converge".to_owned()).spawn(move || worker.run())?;
        Ok(Self { messages, thread })
    }

    /// Sends a message. The channel holds at most a few: senders coalesce.
    pub(crate) fn send(&self, message: Message) {
        // It fails only when the thread has ended, which `stop` reports.
        self.messages.send(message).ok();
    }

    /// Ends the thread after the pass under way. Returns whether it ended in good order.
    pub(crate) fn stop(self) -> bool {
        self.send(Message::Stop);
        self.thread.join().is_ok()
    }
}

struct Worker {
    inner: Convergence,
    inbox: Receiver<Message>,
    passes: tokio_mpsc::Sender<Pass>,
}

impl Worker {
    fn run(mut self) {
        let mut wanted: Option<Arc<Wanted>> = None;
        let mut dirty: BTreeSet<Kind> = BTreeSet::new();
        let mut resync_at = MonoTime::ZERO;
        let mut retry: Option<(MonoTime, Duration)> = None;
        loop {
            let now = clock::now();
            let due = retry.map_or(resync_at, |(at, _)| at.min(resync_at));
            let wait = match &wanted {
                None => Duration::from_secs(3600),
                Some(_) if !dirty.is_empty() => Duration::ZERO,
                Some(_) => now.until(due),
            };
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                // More may be waiting: take all before working.
                Ok(Message::Dirty(kinds)) => {
                    dirty.extend(kinds);
                    continue;
                }
                Ok(Message::Wanted(next)) => {
                    wanted = Some(next);
                    dirty.extend(Kind::ALL);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let Some(wanted) = &wanted else { continue };
            if clock::now() >= due {
                dirty.extend(Kind::ALL);
            }
            let kinds: Vec<Kind> = std::mem::take(&mut dirty).into_iter().collect();
            let pass = self.inner.pass(wanted, &kinds);
            if kinds.len() == Kind::ALL.len() {
                resync_at = pass.ended + wanted.resync;
            }
            retry = next_retry(&pass, retry);
            if self.passes.blocking_send(pass).is_err() {
                return;
            }
        }
    }
}

fn next_retry(pass: &Pass, before: Option<(MonoTime, Duration)>) -> Option<(MonoTime, Duration)> {
    if pass.converged {
        return None;
    }
    let wait = before.map_or(RETRY_MIN, |(_, wait)| (wait * 2).min(RETRY_MAX));
    Some((pass.ended + wait, wait))
}

/// The kernel, the ledger and the one way from the wanted state to the real one.
pub(crate) struct Convergence {
    kernel: Kernel,
    state: Arc<StateDir>,
    ledger: Ledger,
}

impl Convergence {
    pub(crate) fn new(kernel: Kernel, state: Arc<StateDir>) -> Self {
        let ledger = state.ledger();
        Self { kernel, state, ledger }
    }

    /// One pass over resources of some kinds.
    pub(crate) fn pass(&mut self, wanted: &Wanted, kinds: &[Kind]) -> Pass {
        let started = clock::now();
        let outcome = self.converge(&wanted.desired, kinds);
        let ended = clock::now();
        let all = kinds.len() == Kind::ALL.len();
        let base = Pass {
            serial: wanted.serial,
            ended,
            took: ended.since(started),
            done: Vec::new(),
            errors: Vec::new(),
            foreign: None,
            converged: false,
        };
        match outcome {
            Ok(outcome) => Pass {
                done: outcome.done,
                converged: outcome.errors.is_empty(),
                errors: outcome.errors,
                foreign: all.then_some(outcome.foreign),
                ..base
            },
            Err((operation, reason)) => {
                Pass { errors: vec![ConvergenceError { operation, reason, retried: true }], ..base }
            }
        }
    }

    fn converge(&mut self, desired: &Desired, kinds: &[Kind]) -> Result<Outcome, (String, String)> {
        let scope = scope(desired, &self.ledger, kinds);
        let observed = self.observe(&scope)?;
        let diff = diff_kinds(desired, &observed, &self.ledger, Domain::Host, kinds);
        // The ledger names an object before it exists, VIPs of the election included.
        let named = with_vips(desired);
        self.save(self.ledger.before(&diff, &named, &observed))?;
        let Diff { ops, foreign } = diff;
        if ops.is_empty() {
            if kinds.len() == Kind::ALL.len() {
                self.save(self.ledger.after(&named, &observed))?;
            }
            return Ok(Outcome { done: ops, errors: Vec::new(), foreign });
        }
        let results = self.kernel.apply(&ops);
        let left = self.observe(&scope)?;
        let remaining = diff_kinds(desired, &left, &self.ledger, Domain::Host, kinds).ops;
        if kinds.len() == Kind::ALL.len() {
            self.save(self.ledger.after(&named, &left))?;
        }
        let (done, errors) = settle(ops, results, &remaining);
        Ok(Outcome { done, errors, foreign })
    }

    fn observe(&mut self, scope: &Scope) -> Result<KernelState, (String, String)> {
        self.kernel.observe(scope).map_err(|error| ("read the kernel's state".to_owned(), error.to_string()))
    }

    fn save(&mut self, next: Ledger) -> Result<(), (String, String)> {
        if next != self.ledger {
            self.state
                .save_ledger(&next)
                .map_err(|error| ("write the ledger".to_owned(), error.to_string()))?;
            self.ledger = next;
        }
        Ok(())
    }
}

struct Outcome {
    done: Vec<Op>,
    errors: Vec<ConvergenceError>,
    foreign: Vec<ObjectText>,
}

/// Splits operations into what was done and what is still to be done; the kernel's verdict counts
/// only as the explanation of what the second observation shows.
fn settle(
    ops: Vec<Op>,
    results: Vec<Result<(), ApplyError>>,
    remaining: &[Op],
) -> (Vec<Op>, Vec<ConvergenceError>) {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (op, result) in ops.into_iter().zip(results) {
        match result {
            Ok(()) => done.push(op),
            Err(error) if remaining.contains(&op) => errors.push(failure(&op, &error)),
            Err(_) => {}
        }
    }
    for op in remaining.iter().filter(|op| done.contains(op)) {
        errors.push(ConvergenceError {
            operation: op.to_string(),
            reason: "done, but the kernel does not show it: something else may be undoing it".to_owned(),
            retried: true,
        });
    }
    (done, errors)
}

fn failure(op: &Op, error: &ApplyError) -> ConvergenceError {
    let operation = op.to_string();
    let reason = error.to_string();
    // The kernel crate's sentences begin with what was tried.
    let reason = reason.strip_prefix(&format!("{operation}: ")).map(str::to_owned).unwrap_or(reason);
    ConvergenceError { operation, reason, retried: true }
}

/// What must be observed to compare with `desired`: its objects and what the ledger says is ours.
pub(crate) fn scope(desired: &Desired, ledger: &Ledger, kinds: &[Kind]) -> Scope {
    let state = &desired.state;
    let mut interfaces = desired.interfaces.clone();
    interfaces.extend(ledger.addresses.keys().map(|key| key.interface.clone()));
    interfaces.extend(ledger.routes.keys().map(|key| key.interface.clone()));
    let mut tables = BTreeSet::from([TABLE_MAIN]);
    tables.extend(state.routes.keys().chain(ledger.routes.keys()).map(|key| key.table));
    let sysctls = state.sysctls.keys().chain(ledger.sysctls.keys()).cloned().collect();
    // A real server has no business with IPVS, and asking would load the module.
    let ipvs = desired.exclusive_ipvs || !state.services.is_empty() || !ledger.services.is_empty();
    Scope { kinds: kinds.iter().copied().collect(), interfaces, tables, sysctls, ipvs }
}

/// The wanted state with all VIPs, as the ledger must know it.
fn with_vips(desired: &Desired) -> KernelState {
    let mut state = desired.state.clone();
    let vip = Address { label: None, scope: AddressScope::Global, tagged: true };
    state.addresses.extend(desired.vips.iter().map(|key: &AddressKey| (key.clone(), vip.clone())));
    state
}
