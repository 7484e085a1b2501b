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
//! It does no disk or log I/O, shares no lock and waits for no other loop. Its notices go into a bounded
//! channel; those that find no room are counted. Here is its interface; the loop is in `worker`.

mod backoff;
mod guardian;
mod lateness;
mod port;
mod rehearsal;
mod sockets;
mod worker;

use evenkeel_host::election::{ElectionSnapshot, Notice, Question, Unanswered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::{fmt, io};

use evenkeel_converge::AddressKey;
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

/// What main orders the loop to do.
pub(crate) enum ElectionCommand {
    /// Replace the routers. Those that stay keep their state.
    Configure(Vec<RouterSetup>),
    /// Everything but the VIPs has converged: routers may take part.
    Start,
    /// The states of all trackers. One that is not among them counts as up.
    Trackers(BTreeMap<Name, TrackerState>),
    /// All routers none of whose virtual servers can be made here. They are left to other directors. Sent
    /// before [`Self::Configure`] and [`Self::Start`] let one take part.
    Unserved(BTreeSet<RouterKey>),
    /// All routers of which a service has too few healthy real servers. They are left to other directors.
    Withdrawn(BTreeSet<RouterKey>),
    /// Names of all routers whose priority is lower because this director's own link is at fault.
    GiveWay(BTreeSet<Name>),
    /// All routers whose checks have no verdict yet, by name. They and their sync groups do not preempt a
    /// living Master.
    Waiting(BTreeSet<Name>),
    /// All orders in force, by router. A router whose order to yield is new hands over.
    Orders(BTreeMap<Name, RouterOrder>),
    /// Find out whether other directors would take over these routers, before an order takes them out here.
    /// The answer names the routers for which none was heard. There is one question at a time.
    Offer(Question, oneshot::Sender<Vec<Unanswered>>),
    /// Use this guardian in place of the one that was lost.
    Guardian(Guardian),
    /// Answer with the state of the election.
    Snapshot(oneshot::Sender<ElectionSnapshot>),
    /// Let all routers leave, and end once none of them serves any more. A second time: end at once.
    Stop,
}

impl ElectionCommand {
    /// Whether it says what routers are to do from now on: of no use to a loop that ends.
    const fn is_for_later(&self) -> bool {
        match self {
            Self::Configure(_)
            | Self::Start
            | Self::Trackers(_)
            | Self::Unserved(_)
            | Self::Withdrawn(_)
            | Self::GiveWay(_)
            | Self::Waiting(_)
            | Self::Orders(_)
            | Self::Offer(..) => true,
            Self::Guardian(_) | Self::Snapshot(_) | Self::Stop => false,
        }
    }
}

/// Wakes the loop because routes or rules have changed, perhaps some that go with VIPs. It gets no such
/// events from the kernel itself, since on a busy router there are some all day. Any number of nudges lead to
/// one observation.
#[derive(Clone)]
pub(crate) struct Nudge {
    wake: Arc<EventFd>,
    nudged: Arc<AtomicBool>,
}

impl Nudge {
    /// Makes the loop observe routes and rules soon.
    pub(crate) fn send(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            // Fails only when the thread has ended.
            self.wake.write(1).ok();
        }
    }
}

/// A handle to the running loop.
pub(crate) struct Election {
    commands: Sender<ElectionCommand>,
    wake: Arc<EventFd>,
    nudged: Arc<AtomicBool>,
    /// Whether a signal has ended it.
    stopped: Arc<AtomicBool>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<Result<(), LeftBehind>>>,
}

impl Election {
    /// Starts the thread, which ends by itself when a signal of `stop` arrives. `leases` are those that an
    /// earlier daemon left running: their routers go on as Master.
    ///
    /// # Errors
    /// When a netlink socket, an eventfd, a timer or the thread cannot be had.
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
        let (stopped, nudged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let wakers = Wakers {
            wake: Arc::clone(&wake),
            nudged: Arc::clone(&nudged),
            alarm: Alarm::new()?,
            stop,
            stopped: Arc::clone(&stopped),
        };
        let worker = worker::Worker::new(inbox, wakers, notices, kernel, monitor, guardian, leases);
        let thread = std::thread::Builder::new().name("election".to_owned());
        let thread = thread.spawn(move || worker.run(scheduling))?;
        Ok(Self { commands, wake, nudged, stopped, thread: Some(thread) })
    }

    /// Sends a command. Its effect comes within the loop's next turn.
    pub(crate) fn send(&self, command: ElectionCommand) {
        // Both fail only when the thread has ended, which main learns from the closed channel of notices.
        self.commands.send(command).ok();
        self.wake.write(1).ok();
    }

    /// For whoever gets events of routes and rules.
    pub(crate) fn nudge(&self) -> Nudge {
        Nudge { wake: Arc::clone(&self.wake), nudged: Arc::clone(&self.nudged) }
    }

    /// Whether a signal has ended it: its VIPs are given away, and the channel of its notices is closed.
    pub(crate) fn was_told_to_stop(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Makes the thread end, as by a signal.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.send(ElectionCommand::Stop);
    }

    /// Waits for the end of the thread, after [`ElectionCommand::Stop`] or a signal.
    ///
    /// # Errors
    /// What the thread leaves behind.
    pub(crate) fn join(&mut self) -> Result<(), LeftBehind> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or(Err(LeftBehind::Panicked))
    }
}

/// What the election leaves behind when it ends, and who looks after it.
#[derive(Debug)]
pub(crate) enum LeftBehind {
    /// VIPs that could not be removed.
    Vips {
        /// The VIPs, in order.
        vips: Vec<AddressKey>,
        /// The kernel's reasons, for people.
        why: String,
        /// Whether there is a guardian, which goes on trying.
        guarded: bool,
    },
    /// The thread panicked with its VIPs in place.
    Panicked,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vips { vips, why, guarded } => {
                let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
                let after = if *guarded {
                    "the guardian goes on trying"
                } else {
                    "there is no guardian: remove them by hand"
                };
                write!(f, "VIPs that could not be removed: {} ({why}); {after}", vips.join(", "))
            }
            Self::Panicked => f.write_str(
                "the election thread ended with a panic: its VIPs stay until their leases run out",
            ),
        }
    }
}
