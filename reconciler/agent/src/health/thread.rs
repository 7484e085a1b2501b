//! Loop 3: the health thread around the crate `health`. It owns the checks of the host, makes their probes,
//! and sends changes to the daemon.
//!
//! ```text
//!   checks of the plan --+               +--> probes, a task each --> results (back to it)
//!   ways (lookout) ------+--> Checker ---+
//!                                        +--> news, in batches --> main
//! ```
//!
//! A result that changes nothing goes no further than this thread. While the daemon is busy, a newer state of
//! a check replaces an older one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel_health::checker::{Input, Output};
use evenkeel_health::places::MAX_PROBES;
use evenkeel_health::{CheckId, CheckNews, CheckState, Checker, Found, Reports, Verdict, WayNews};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::Check;
use evenkeel_schemas::time::MonoTime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::held::{self, Broke, Held};
use super::lookout::Lookout;
use super::probe::{self, Tools, Wire};
use crate::system::descriptors;
use crate::system::files::Trust;

/// Longest time without a word to the daemon, which takes it for a sign of life (`beat` in the host crate).
const BEAT: Duration = Duration::from_secs(1);
/// Bound of results of probes.
const RESULTS: usize = 1024;

enum HealthCommand {
    /// Sets the checks, each with the verdict that a new one begins with.
    Configure(Vec<(CheckId, Check, Verdict)>),
    /// Asks for the reports of all checks.
    Reports(oneshot::Sender<Reports>),
}

/// A handle to the thread, which ends when the handle is dropped.
pub(crate) struct Health {
    commands: mpsc::UnboundedSender<HealthCommand>,
    lookout: Lookout,
    _thread: JoinHandle<()>,
}

impl Health {
    /// Starts the thread. `ways` has the news of `lookout`; changes of checks go to `news`. Programs are run
    /// whose owners `trust` allows.
    ///
    /// When the thread or its runtime cannot be had.
    pub(crate) fn start(
        lookout: Lookout,
        ways: mpsc::Receiver<WayNews>,
        news: mpsc::Sender<Vec<CheckNews>>,
        trust: Trust,
    ) -> std::io::Result<Self> {
        // Not bounded: one message a plan and a request for the status.
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, results) = mpsc::channel(RESULTS);
        let (broke, breaks) = mpsc::channel(held::BREAKS);
        let worker = HealthWorker {
            held: Held::new(broke, lookout.clone()),
            checker: Checker::new(),
            lookout: lookout.clone(),
            places: Arc::new(Semaphore::new(MAX_PROBES)),
            tools: Arc::new(Tools::of(trust)),
            ended,
            pending: Pending::default(),
        };
        let thread = std::thread::Builder::new().name("health".to_owned());
        let thread =
            thread.spawn(move || runtime.block_on(worker.run(inbox, ways, results, breaks, news)))?;
        Ok(Self { commands, lookout, _thread: thread })
    }

    /// Sets the checks.
    pub(crate) fn configure(&self, checks: Vec<(CheckId, Check, Verdict)>) {
        // Fails only when the thread has ended, which the end of its news reports.
        self.commands.send(HealthCommand::Configure(checks)).ok();
    }

    /// The reports of all checks, once the thread answers; an error when it has ended.
    pub(crate) fn reports(&self) -> oneshot::Receiver<Reports> {
        let (asked, reports) = oneshot::channel();
        self.commands.send(HealthCommand::Reports(asked)).ok();
        reports
    }

    /// A handle to the thread that watches ways and addresses.
    pub(crate) fn lookout(&self) -> Lookout {
        self.lookout.clone()
    }
}

/// A probe that has ended.
struct Probed {
    id: CheckId,
    began: MonoTime,
    took: Duration,
    found: Found,
    /// A connection that the check holds from now on.
    hold: Option<(Arc<Check>, Wire)>,
}

struct HealthWorker {
    held: Held,
    checker: Checker,
    lookout: Lookout,
    /// Bounds the probes that are made together with those that the checker has given up.
    places: Arc<Semaphore>,
    tools: Arc<Tools>,
    ended: mpsc::Sender<Probed>,
    pending: Pending,
}

impl HealthWorker {
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<HealthCommand>,
        mut ways: mpsc::Receiver<WayNews>,
        mut results: mpsc::Receiver<Probed>,
        mut breaks: mpsc::Receiver<Broke>,
        news: mpsc::Sender<Vec<CheckNews>>,
    ) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.checker.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(HealthCommand::Configure(checks)) => {
                        self.tools.keep(checks.iter().map(|(_, check, _)| check));
                        self.held.keep(checks.iter().map(|(id, check, _)| (*id, check)));
                        self.checker.limit(descriptors::capacity(checks.iter().map(|(_, check, _)| check)));
                        self.handle(Input::Configure(checks));
                    }
                    Some(HealthCommand::Reports(reply)) => {
                        drop(reply.send(self.checker.reports(clock::now())));
                    }
                    None => return,
                },
                Some(seen) = ways.recv() => self.handle(Input::Way(seen)),
                Some(Probed { id, began, took, found, hold }) = results.recv() => {
                    // Events about the way before the probe ended must be known when it is judged.
                    while let Ok(seen) = ways.try_recv() {
                        self.handle(Input::Way(seen));
                    }
                    if let Some((check, wire)) = hold {
                        self.held.add(id, check, found.clone(), wire);
                    }
                    self.handle(Input::Probed { id, began, took, found });
                }
                Some(broke) = breaks.recv() => {
                    while let Ok(seen) = ways.try_recv() {
                        self.handle(Input::Way(seen));
                    }
                    if let Some(id) = self.held.broke(&broke) {
                        self.handle(Input::Broke(id, broke.fault));
                    }
                }
                // While the daemon has no room, newer states replace older ones in `pending`.
                permit = news.reserve(), if !self.pending.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut self.pending).in_order()),
                    Err(_) => return,
                },
                () = until(due) => self.handle(Input::Time),
                // A daemon that has no room has words enough.
                _ = beat.tick() => drop(news.try_send(Vec::new())),
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.checker.handle(input, clock::now());
        while let Some(output) = self.checker.poll_output() {
            match output {
                Output::Probe { id, check, began } => self.probe(id, check, began),
                Output::WatchWays(targets) => self.lookout.watch(targets),
                Output::News(news) => {
                    if let CheckNews::Turned(checks) = &news {
                        self.held.let_go(checks);
                    }
                    self.pending.add(news);
                }
            }
        }
    }

    /// Makes a probe, in a task of its own.
    fn probe(&self, id: CheckId, check: Arc<Check>, began: MonoTime) {
        let (ended, places, lookout) = (self.ended.clone(), Arc::clone(&self.places), self.lookout.clone());
        let tools = Arc::clone(&self.tools);
        let open = self.held.found(id);
        tokio::spawn(async move {
            if let Some(found) = open {
                ended.send(Probed { id, began, took: Duration::ZERO, found, hold: None }).await.ok();
                return;
            }
            let Ok(_place) = places.acquire_owned().await else { return };
            let starts = clock::now();
            let (found, wire) = if held::holds(&check) {
                probe::open(&check, &tools).await
            } else {
                (probe::run(&check, &tools).await, None)
            };
            let took = clock::now().since(starts);
            // Whether this host is at fault is judged by the present state of the way, of which the event may
            // not have come yet. An answer needs no excuse.
            if let Found::Failed(fault) = &found
                && !fault.label.is_an_answer()
                && let Some(address) = check.address()
            {
                lookout.look(address.0).await;
            }
            let hold = wire.map(|wire| (check, wire));
            ended.send(Probed { id, began, took, found, hold }).await.ok();
        });
    }
}

/// Changes that the daemon has not got yet: at most one state a check.
#[derive(Debug, Default)]
struct Pending {
    states: BTreeMap<CheckId, CheckState>,
    turned: BTreeSet<CheckId>,
    ailing: Option<BTreeSet<String>>,
    own_fault: Option<BTreeMap<String, BTreeSet<CheckId>>>,
    /// Bounded by the limit of such lines a minute.
    silences: Vec<CheckNews>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.states.is_empty()
            && self.turned.is_empty()
            && self.ailing.is_none()
            && self.own_fault.is_none()
            && self.silences.is_empty()
    }

    fn add(&mut self, news: CheckNews) {
        match news {
            CheckNews::State(id, state) => drop(self.states.insert(id, state)),
            CheckNews::Turned(checks) => self.turned.extend(checks),
            CheckNews::Ailing(interfaces) => self.ailing = Some(interfaces),
            CheckNews::OwnFault(links) => self.own_fault = Some(links),
            CheckNews::Silent(..) | CheckNews::SilenceOver(_) => self.silences.push(news),
        }
    }

    /// Changes in an order in which turned checks come after their states, which say who has no verdict.
    fn in_order(self) -> Vec<CheckNews> {
        let ailing = self.ailing.map(CheckNews::Ailing);
        let states = self.states.into_iter().map(|(id, state)| CheckNews::State(id, state));
        let turned = (!self.turned.is_empty()).then_some(CheckNews::Turned(self.turned));
        let own_fault = self.own_fault.map(CheckNews::OwnFault);
        ailing.into_iter().chain(own_fault).chain(states).chain(turned).chain(self.silences).collect()
    }
}

async fn until(due: Option<MonoTime>) {
    match due {
        Some(due) => sleep(clock::now().until(due)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Probes that find a target as it was.
    const PROBES: usize = 4;

    #[test]
    fn only_the_last_state_of_a_check_is_sent_and_turns_come_after_states() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        let id = CheckId(1);
        pending.add(CheckNews::Turned([id].into()));
        pending.add(CheckNews::State(id, CheckState::new(Verdict::Up)));
        pending.add(CheckNews::State(id, CheckState::new(Verdict::Down)));
        assert!(!pending.is_empty());
        let news = pending.in_order();
        let [CheckNews::State(_, state), CheckNews::Turned(_)] = &news[..] else { panic!("{news:?}") };
        assert_eq!(state.verdict, Verdict::Down);
    }

    /// A real listener that goes away: one change when it first answers, one when it no longer does, none in
    /// between.
    #[tokio::test]
    async fn a_change_is_sent_when_a_target_first_answers_and_when_it_no_longer_does() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("an address");
        let check = format!(
            "type = \"tcp\"\naddress = \"{}\"\nport = {}\n\
             interval = \"100ms\"\ntimeout = \"1s\"\nretries = 0\nretry_delay = \"100ms\"\n",
            address.ip(),
            address.port()
        );
        let check: Check = toml::from_str(&check).expect("a check");
        let (ways_in, ways) = mpsc::channel(16);
        let lookout = Lookout::start(ways_in).expect("netlink");
        let (news_in, mut news) = mpsc::channel(16);
        let health = Health::start(lookout, ways, news_in, Trust::Owned).expect("a thread");
        health.configure(vec![(CheckId(7), check, Verdict::Up)]);
        let mut next = async || {
            let next = async {
                loop {
                    let news = news.recv().await.expect("the thread runs");
                    let state = news.into_iter().find_map(|one| match one {
                        CheckNews::State(id, state) => Some((id, state.verdict)),
                        _ => None,
                    });
                    if let Some(state) = state {
                        return state;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(30), next).await.expect("in time")
        };
        assert_eq!(next().await, (CheckId(7), Verdict::Up));
        let reports = health.reports().await.expect("answered");
        assert_eq!(reports.checks[&CheckId(7)].verdict, Verdict::Up);
        // Further probes that find the same are no change.
        let probed = move || {
            for _ in 0..PROBES {
                listener.accept().expect("a probe");
            }
        };
        let probed = tokio::time::timeout(Duration::from_secs(30), tokio::task::spawn_blocking(probed));
        probed.await.expect("in time").expect("no panic");
        assert_eq!(next().await, (CheckId(7), Verdict::Down), "and nothing in between");
    }
}
