//! The election loop: a thread of its own for VRRP, VIP addresses and gratuitous ARP.
//!
//! ```text
//!            commands (channel + eventfd)               notices (bounded channel, never waited for)
//!   main ------------------------------> election -----------------------------------------------> main
//!                                        |  ^   \
//!                      VRRP, ARP sockets +  |    +-- leases --> guardian
//!                 VIPs over its own netlink +-- address and link events
//! ```
//!
//! It does no disk or log I/O, shares no lock and waits for no other loop: everything it has to say
//! goes into a bounded channel, and what does not fit is counted. Here is its interface; the loop is
//! in `worker`.

mod backoff;
mod guardian;
mod lateness;
mod port;
mod rehearsal;
mod sockets;
mod worker;

use evenkeel_host::election::{ElectionSnapshot, Notice, Question, Unanswered};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use evenkeel_kernel::{Alarm, Kernel, Monitor};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterOrder;
use evenkeel_vrrp::{RouterKey, TrackerState};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use crate::guard::{Guardian, Lease};
use crate::system::scheduling::Scheduling;
use crate::system::signals::StopSignals;

pub(crate) use evenkeel_host::routers::RouterSetup;
use worker::Wakers;

/// What the loop is told.
pub(crate) enum Command {
    /// These are the routers now. Routers that stay keep their state.
    Configure(Vec<RouterSetup>),
    /// Everything but the VIPs has converged: routers may take part.
    Start,
    /// What trackers found, all of them. One that is not among them counts as succeeding.
    Trackers(BTreeMap<Name, TrackerState>),
    /// Routers none of whose virtual servers can be made here: all of them. They are left to other directors. Said before
    /// [`Self::Configure`] and [`Self::Start`] let one take part.
    Unserved(BTreeSet<RouterKey>),
    /// The routers that are not ready to take over from a living Master, since their checks have not spoken: all of them, by
    /// name. Those of their groups are no more ready.
    Waiting(BTreeSet<Name>),
    /// What operators told routers, by name: all that is in force. A router that is told to yield hands
    /// over when that is new to it.
    Orders(BTreeMap<Name, RouterOrder>),
    /// Find out whether other directors would take over these routers, before an order takes them out: the answer is who was not
    /// answered. One question at a time.
    Offer(Question, oneshot::Sender<Vec<Unanswered>>),
    /// A new guardian, in place of one that went.
    Guardian(Guardian),
    /// Tell the state of everything.
    Snapshot(oneshot::Sender<ElectionSnapshot>),
    /// Remove the VIPs, tell the Backups, end.
    Stop,
}

/// A way to tell the loop that routes or rules have changed, some that go with VIPs perhaps: it is not told of them by the kernel, since
/// on a busy router they change all day. However often it is told, it looks once.
#[derive(Clone)]
pub(crate) struct Nudge {
    wake: Arc<EventFd>,
    nudged: Arc<AtomicBool>,
}

impl Nudge {
    /// The loop looks at them within its next turns.
    pub(crate) fn look(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            // Fails only when the thread has ended.
            self.wake.write(1).ok();
        }
    }
}

/// A handle to the running loop.
pub(crate) struct Election {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    nudged: Arc<AtomicBool>,
    /// Whether a signal has ended it.
    told: Arc<AtomicBool>,
    /// None once it was joined.
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Election {
    /// Starts the thread, which ends by itself when a signal of `stop` arrives. `leases` are what an earlier daemon was Master of until just now: their
    /// routers go on as Master.
    ///
    /// # Errors
    /// When netlink or the thread cannot be had.
    pub(crate) fn start(
        guardian: Guardian,
        leases: Vec<Lease>,
        scheduling: Scheduling,
        stop: StopSignals,
        notices: mpsc::Sender<Notice>,
    ) -> io::Result<Self> {
        let (commands, inbox) = channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let kernel = Kernel::new().map_err(io::Error::other)?;
        let monitor = Monitor::open_for_election().map_err(io::Error::other)?;
        let (told, nudged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let wakers = Wakers {
            wake: Arc::clone(&wake),
            nudged: Arc::clone(&nudged),
            alarm: Alarm::new()?,
            stop,
            told: Arc::clone(&told),
        };
        let worker = worker::Worker::new(inbox, wakers, notices, kernel, monitor, guardian, leases);
        let thread = std::thread::Builder::new().name("election".to_owned());
        let thread = thread.spawn(move || worker.run(scheduling))?;
        Ok(Self { commands, wake, nudged, told, thread: Some(thread) })
    }

    /// Sends a command. Its effect comes within the loop's next turn.
    pub(crate) fn send(&self, command: Command) {
        // Both fail only when the thread has ended, which `stop` and the closed notices tell.
        self.commands.send(command).ok();
        self.wake.write(1).ok();
    }

    /// For whoever hears of routes and rules.
    pub(crate) fn nudge(&self) -> Nudge {
        Nudge { wake: Arc::clone(&self.wake), nudged: Arc::clone(&self.nudged) }
    }

    /// Whether a signal has made it give the VIPs away and end. The channel of its notices is then closed.
    pub(crate) fn was_told_to_stop(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Waits for the end of the thread, which was told to stop.
    ///
    /// # Errors
    /// What is left behind, and who looks after it: a sentence for people.
    pub(crate) fn join(&mut self) -> Result<(), String> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| {
            Err("the election thread ended with a panic: its VIPs stay until their leases run out".to_owned())
        })
    }
}
