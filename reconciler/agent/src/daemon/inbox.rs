//! Everything that reaches the main loop: one closed list of events out of all channels. The channels stay
//! apart, each with its bound: a flood of probe results holds up no notice of the election.
//!
//! | from | what | bound | when it is full |
//! |---|---|---|---|
//! | source | the plan | 1 | the source waits, and reads the newest then |
//! | election | notices | 1024 | they are counted, and the state is asked for |
//! | convergence | passes | 1024 | the thread waits |
//! | health | changes, in batches | 16 | newer ones take the place of older ones |
//! | trackers | findings | 1024 | the task waits |
//! | hooks | ends | one a router or group | |
//! | socket | requests | 16 | the connection waits |
//! | errands | answers | one an errand | |
//! | guard | a new guardian | 1 | |

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_health::CheckNews;
use evenkeel_host::Input;
use evenkeel_host::election::Notice;
use evenkeel_host::hooks::states::Subject;
use evenkeel_host::pass::PassReport;
use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::errands::{Errand, StatusAsked};
use super::error::DaemonError;
use crate::api::asks::Ask;
use crate::guard::Guardian;
use crate::health::trackers::TrackerFinding;
use crate::source::{Loaded, Look};

/// Bound of channels from threads and tasks.
const CHANNEL: usize = 1024;
/// Bound of batches of changed checks.
const BATCHES: usize = 16;
/// Bound of requests from the socket.
const ASKS: usize = 16;
/// Time between two housekeepings: files that wait for the disk and the guardian's socket, of which no event
/// comes.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// An event for the main loop.
pub(super) enum Event {
    /// An input for the head of the host.
    Input(Input),
    /// A notice of the election.
    Notice(Notice),
    /// A pass over the kernel.
    Pass(Box<PassReport>),
    /// A finding of a tracker's task.
    Found(TrackerFinding),
    /// A request from the socket.
    Ask(Ask),
    /// The answers of both loops for a request for the status.
    Status(Box<StatusAsked>),
    /// Content has reached the disk, or failed to.
    Written,
    /// Time for [`HOUSEKEEPING`].
    Housekeeping,
    /// Time to start a guardian.
    GuardianDue,
    /// A guardian was started, or could not be.
    Guardian(io::Result<Guardian>),
    /// A signal says to stop.
    Stop,
    /// The health thread has ended.
    HealthEnded,
    /// The convergence thread has ended.
    ConvergenceEnded,
    /// The election thread has ended.
    ElectionEnded,
}

/// Signals of the main loop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// When a handler cannot be had.
    pub(super) fn new() -> Result<Self, DaemonError> {
        let handler = |kind| signal(kind).map_err(DaemonError::of("signals"));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hangup: handler(SignalKind::hangup())?,
        })
    }
}

/// The sending ends of the channels.
pub(super) struct Senders {
    pub(super) reports: mpsc::Sender<PassReport>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) checks: mpsc::Sender<Vec<CheckNews>>,
    pub(super) found: mpsc::Sender<TrackerFinding>,
    pub(super) hooks: mpsc::UnboundedSender<Subject>,
    pub(super) guardians: mpsc::Sender<io::Result<Guardian>>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) errands: mpsc::UnboundedSender<Errand>,
}

/// The receiving ends of the channels.
pub(super) struct Inbox {
    signals: Signals,
    plans: Option<mpsc::Receiver<Box<Loaded>>>,
    /// Asks the source to read the plan again.
    look: mpsc::Sender<Look>,
    looks: Option<mpsc::Receiver<Look>>,
    reports: mpsc::Receiver<PassReport>,
    notices: mpsc::Receiver<Notice>,
    checks: mpsc::Receiver<Vec<CheckNews>>,
    found: mpsc::Receiver<TrackerFinding>,
    hooks: mpsc::UnboundedReceiver<Subject>,
    guardians: mpsc::Receiver<io::Result<Guardian>>,
    asks: mpsc::Receiver<Ask>,
    errands: mpsc::UnboundedReceiver<Errand>,
    written: Arc<Notify>,
    housekeeping: Interval,
    /// Events that come before any other.
    first: VecDeque<Event>,
}

impl Inbox {
    /// The channels of a daemon. Must be called within a tokio runtime.
    pub(super) fn new(signals: Signals) -> (Self, Senders) {
        let (reports_in, reports) = mpsc::channel(CHANNEL);
        let (notices_in, notices) = mpsc::channel(CHANNEL);
        let (checks_in, checks) = mpsc::channel(BATCHES);
        let (found_in, found) = mpsc::channel(CHANNEL);
        let (hooks_in, hooks) = mpsc::unbounded_channel();
        let (guardians_in, guardians) = mpsc::channel(1);
        let (asks_in, asks) = mpsc::channel(ASKS);
        let (errands_in, errands) = mpsc::unbounded_channel();
        // One place: several hang-ups ask for one reading.
        let (look, looks) = mpsc::channel(1);
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let inbox = Self {
            signals,
            plans: None,
            look,
            looks: Some(looks),
            reports,
            notices,
            checks,
            found,
            hooks,
            guardians,
            asks,
            errands,
            written: Arc::default(),
            housekeeping,
            first: VecDeque::new(),
        };
        let senders = Senders {
            reports: reports_in,
            notices: notices_in,
            checks: checks_in,
            found: found_in,
            hooks: hooks_in,
            guardians: guardians_in,
            asks: asks_in,
            errands: errands_in,
        };
        (inbox, senders)
    }

    /// Notified when content has reached the disk, or failed to.
    pub(super) fn written(&self) -> Arc<Notify> {
        Arc::clone(&self.written)
    }

    /// Asks the source to read the plan again.
    pub(super) fn look(&self) -> mpsc::Sender<Look> {
        self.look.clone()
    }

    /// Sets the source of plans, which reads again whenever its argument receives a message.
    pub(super) fn plans_from(
        &mut self,
        source: impl FnOnce(mpsc::Receiver<Look>) -> mpsc::Receiver<Box<Loaded>>,
    ) {
        if let Some(looks) = self.looks.take() {
            self.plans = Some(source(looks));
        }
    }

    /// The next event. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, due: Option<MonoTime>, guardian_due: Option<MonoTime>) -> Event {
        loop {
            if let Some(event) = self.first.pop_front() {
                return event;
            }
            let event = tokio::select! {
                Some(loaded) = next_plan(&mut self.plans) => Event::Input(Input::Plan(loaded.map(Arc::new))),
                _ = self.signals.hangup.recv() => {
                    self.look.try_send(Look::Now).ok();
                    continue;
                }
                // Mostly the election has acted on them already.
                _ = self.signals.terminate.recv() => Event::Stop,
                _ = self.signals.interrupt.recv() => Event::Stop,
                report = self.reports.recv() =>
                    report.map_or(Event::ConvergenceEnded, |report| Event::Pass(Box::new(report))),
                notice = self.notices.recv() => notice.map_or(Event::ElectionEnded, Event::Notice),
                news = self.checks.recv() =>
                    news.map_or(Event::HealthEnded, |news| Event::Input(Input::Checks(news))),
                Some(found) = self.found.recv() => Event::Found(found),
                Some(subject) = self.hooks.recv() => Event::Input(Input::HooksEnded(subject)),
                Some(ask) = self.asks.recv() => Event::Ask(ask),
                Some(errand) = self.errands.recv() => {
                    self.errand_done(errand);
                    continue;
                }
                () = self.written.notified() => Event::Written,
                _ = self.housekeeping.tick() => Event::Housekeeping,
                Some(guardian) = self.guardians.recv() => Event::Guardian(guardian),
                () = until(guardian_due) => Event::GuardianDue,
                () = until(due) => Event::Input(Input::Time),
            };
            return event;
        }
    }

    fn errand_done(&mut self, errand: Errand) {
        let event = match errand {
            Errand::Election(ask, snapshot) => {
                // Notices in the channel may be newer than the answer: they go first.
                while let Ok(notice) = self.notices.try_recv() {
                    self.first.push_back(Event::Notice(notice));
                }
                Event::Input(Input::Election(ask, snapshot))
            }
            Errand::Status(asked) => Event::Status(asked),
            Errand::Unanswered(unanswered) => Event::Input(Input::Unanswered(unanswered)),
            Errand::LastGood(kept) => Event::Input(Input::LastGood(kept)),
            Errand::Received(received) => Event::Input(Input::Received(received)),
            Errand::InTheWay(found) => Event::Input(Input::InTheWay(found)),
        };
        self.first.push_back(event);
    }

    /// Waits for a pass over the state with this serial, or the end of the thread.
    pub(super) async fn pass_over(&mut self, serial: u64) {
        while self.reports.recv().await.is_some_and(|report| report.serial < serial) {}
    }

    /// The next notice that the election had sent before it ended.
    pub(super) fn notice_left(&mut self) -> Option<Notice> {
        while let Some(event) = self.first.pop_front() {
            if let Event::Notice(notice) = event {
                return Some(notice);
            }
        }
        self.notices.try_recv().ok()
    }

    /// Waits until the programs of a change have ended.
    pub(super) async fn hooks_ended(&mut self) -> Subject {
        match self.hooks.recv().await {
            Some(subject) => subject,
            // The runner holds a sender for as long as anything waits here.
            None => std::future::pending().await,
        }
    }
}

async fn next_plan(plans: &mut Option<mpsc::Receiver<Box<Loaded>>>) -> Option<Loaded> {
    match plans {
        Some(plans) => plans.recv().await.map(|loaded| *loaded),
        None => std::future::pending().await,
    }
}

async fn until(due: Option<MonoTime>) {
    match due {
        Some(due) => sleep(clock::now().until(due)).await,
        None => std::future::pending().await,
    }
}
