//! A host in virtual time: its head, and everything around it that is the agent in production. Nothing here
//! says what is right; `laws.rs` does. All randomness comes from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Connections, Drains, KernelState, Ledger, Origin, ServiceKey};
use evenkeel_health::way::{Link, Route};
use evenkeel_health::{CheckId, Checker, Fault, FaultLabel, Finding, Found, WayNews, checker};
use evenkeel_host::election::Unanswered;
use evenkeel_host::io::{ElectionAsk, Means, Request, RequestId};
use evenkeel_host::loaded::{LoadedPlan, PlanRefusal};
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::pass::{DrainsFound, Pass, PassReport, Wanted};
use evenkeel_host::recall::{Memory, left_behind};
use evenkeel_host::{Host, Input, Moment, Output, Start};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{RouterOrder, RouterState};
use evenkeel_schemas::time::MonoTime;

use super::disk::{Disk, Mood};
use super::election::Election;
use super::laws::Laws;
use super::plans;
use super::seeds::Rng;

/// Wall clock at the first boot, milliseconds since 1970.
const BASE: u64 = 1_700_000_000_000;
/// Index of the interface that all real servers are behind.
const ETH0: u32 = 2;
/// Time between two passes without a reason, milliseconds.
const RESYNC: u64 = 5_000;

/// Content of the plan's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    Plan(usize),
    /// Text that is no plan.
    Broken,
}

/// An event of the future.
#[derive(Debug)]
enum Later {
    /// Of the daemon that is alive now.
    Input(Box<Input>),
    /// The election answers with its state as it is then.
    Snapshot(ElectionAsk),
    /// The source reads the file.
    Read,
    /// A probe has ended.
    Probed(checker::Input),
    Pass,
    Disk,
    Start,
}

/// Everything around the head of a host, and it.
pub(crate) struct World {
    pub(crate) rng: Rng,
    /// Since the first boot began, milliseconds.
    pub(crate) now: u64,
    booted: u64,
    boot: u32,
    wall_ahead: i64,
    /// Which daemon is alive: what an earlier one was to hear is not heard.
    life: u32,
    pub(crate) host: Option<Host>,
    queue: BTreeMap<(u64, u64), (u32, Later)>,
    number: u64,
    pub(crate) disk: Disk,
    pub(crate) mood: Mood,
    pub(crate) file: File,
    pub(crate) election: Election,
    checker: Checker,
    targets: BTreeMap<CheckId, IpAddr>,
    kernel: KernelState,
    drains: Drains,
    pub(crate) wanted: Option<Wanted>,
    /// Whether passes succeed.
    pub(crate) kernel_is_well: bool,
    pub(crate) down: BTreeSet<IpAddr>,
    /// Whether this host's own link passes nothing, without a sign of it.
    pub(crate) cut: bool,
    /// Routers that give way because of that, as the election was told last.
    pub(crate) giving_way: BTreeSet<Name>,
    /// Routers that are not ready to take over from a living Master.
    pub(crate) waiting: BTreeSet<Name>,
    pub(crate) busy: bool,
    /// Whether other directors are sometimes not there to take over.
    pub(crate) alone: bool,
    requests: u64,
    pub(crate) laws: Laws,
    /// Whether what happens is shown.
    traced: bool,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let file = File::Plan(rng.index(plans::COUNT));
        Self {
            rng,
            now: 1_000,
            booted: 0,
            boot: 1,
            wall_ahead: 0,
            life: 0,
            host: None,
            queue: BTreeMap::new(),
            number: 0,
            disk: Disk::default(),
            mood: Mood::Well,
            file,
            election: Election::default(),
            checker: Checker::new(),
            targets: BTreeMap::new(),
            kernel: KernelState::default(),
            drains: Drains::default(),
            wanted: None,
            kernel_is_well: true,
            down: BTreeSet::new(),
            cut: false,
            giving_way: BTreeSet::new(),
            waiting: BTreeSet::new(),
            busy: false,
            alone: true,
            requests: 0,
            laws: Laws::default(),
            traced,
        }
    }

    pub(crate) fn mono(&self) -> MonoTime {
        MonoTime::from_millis(self.now - self.booted)
    }

    fn moment(&self) -> Moment {
        let wall_ms = (BASE + self.now).checked_add_signed(self.wall_ahead).unwrap_or_default();
        Moment { now: self.mono(), boot: format!("boot-{}", self.boot).into(), wall_ms }
    }

    fn after(&mut self, milliseconds: u64, later: Later) {
        self.number += 1;
        self.queue.insert((self.now + milliseconds, self.number), (self.life, later));
    }

    pub(crate) fn input_after(&mut self, least: u64, most: u64, input: Input) {
        let wait = self.rng.within(least, most);
        self.after(wait, Later::Input(Box::new(input)));
    }

    /// Lets time pass up to this long, with all that happens in it.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        loop {
            let due = self.host.as_ref().and_then(|host| host.poll_timeout()).map(|(due, _)| {
                // A little late, as timers are.
                self.booted + due.as_nanos().div_ceil(1_000_000)
            });
            let checks = self.checker.poll_timeout().filter(|_| self.host.is_some());
            let checks = checks.map(|due| self.booted + due.as_nanos().div_ceil(1_000_000));
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = [due, checks, queued].into_iter().flatten().min().filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if queued == Some(next) {
                let Some((_, (life, later))) = self.queue.pop_first() else { return };
                if life == self.life {
                    self.happens(later);
                }
            } else if checks == Some(next) {
                self.check(checker::Input::Time);
            } else {
                self.handle(Input::Time);
            }
            self.laws.time(self.now, self.host.is_some());
        }
    }

    fn happens(&mut self, later: Later) {
        match later {
            Later::Input(input) => self.handle(*input),
            Later::Snapshot(ask) => {
                let snapshot = self.snapshot();
                self.handle(Input::Election(ask, Box::new(snapshot)));
            }
            Later::Read => {
                let read = self.read();
                self.laws.delivered(read.as_ref().ok().map(|loaded| loaded.generation.to_string()));
                self.handle(Input::Plan(read));
            }
            Later::Probed(input) => self.check(input),
            Later::Pass => self.pass(),
            Later::Disk => self.disk_works(),
            Later::Start => self.start(),
        }
    }

    pub(crate) fn handle(&mut self, input: Input) {
        let moment = self.moment();
        let Some(host) = &mut self.host else { return };
        host.handle(input, &moment);
        self.carry();
    }

    fn carry(&mut self) {
        while let Some(output) = self.host.as_mut().and_then(Host::poll_output) {
            self.trace(&output);
            self.laws.output(&output, self.now, &self.disk.files);
            self.carry_out(output);
        }
    }

    /// Shows what happens, of a single seed.
    fn trace(&self, output: &Output) {
        match output {
            Output::Log(_) | Output::Persist(..) | Output::Withdraw(_) | Output::Reply(..) if self.traced => {
                println!("{:>8} {output:?}", self.now);
            }
            _ => {}
        }
    }

    /// Shows what is done to the host, of a single seed.
    pub(crate) fn say(&self, what: impl std::fmt::Debug) {
        if self.traced {
            println!("{:>8} ---- {what:?}", self.now);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(id, content, urgency) => {
                self.disk.persist(id, content, urgency);
                let wait =
                    if self.mood == Mood::Slow { self.rng.within(50, 4_000) } else { self.rng.within(1, 40) };
                self.after(wait, Later::Disk);
            }
            Output::Withdraw(id) => self.disk.withdraw(id),
            Output::ReadLastGood { .. } => {
                let kept = self.disk.files.last_good.clone();
                self.input_after(1, 300, Input::LastGood(kept));
            }
            Output::Recall(loaded) => {
                let known = self.recalled(&loaded);
                self.input_after(1, 100, Input::Recalled(known));
            }
            Output::Configure(setups) => self.configure(setups),
            Output::StartElection => {
                self.election.started = true;
                self.settle_election();
            }
            Output::Orders(orders) => {
                let yields = |(name, order): (&Name, &RouterOrder)| {
                    (*order == RouterOrder::Yield && !self.election.orders.contains_key(name))
                        .then(|| name.clone())
                };
                let yielding: Vec<Name> = orders.iter().filter_map(yields).collect();
                self.election.orders = orders;
                for name in yielding {
                    if self.election.states.get(&name) == Some(&RouterState::Master) {
                        self.becomes(&name, RouterState::Backup);
                    }
                }
                self.settle_election();
            }
            Output::Offer(question) => {
                let stays = self.alone && self.rng.chance(400);
                let one = |router: &Name| Unanswered {
                    router: router.clone(),
                    label: router.to_string(),
                    master: true,
                    waited: Duration::from_secs(3),
                    heard: None,
                };
                let unanswered = if stays { question.routers.iter().map(one).collect() } else { Vec::new() };
                self.input_after(100, 4_000, Input::Unanswered(Some(unanswered)));
            }
            Output::AskElection(ask) => {
                let wait = self.rng.within(1, 5);
                self.after(wait, Later::Snapshot(ask));
            }
            Output::Want(wanted, _) => {
                self.wanted = Some(wanted);
                let wait = self.rng.within(1, 200);
                self.after(wait, Later::Pass);
            }
            Output::Adjust(adjusted) => {
                if let Some(wanted) = &mut self.wanted {
                    let desired = Arc::make_mut(&mut wanted.desired);
                    adjusted.rows.into_iter().for_each(|row| desired.put(row));
                    wanted.serial = adjusted.serial;
                }
                let wait = self.rng.within(1, 200);
                self.after(wait, Later::Pass);
            }
            Output::Checks(checks) => {
                self.targets =
                    checks.iter().filter_map(|(id, check, _)| Some((*id, check.address()?.0))).collect();
                self.check(checker::Input::Configure(checks));
            }
            Output::RunHooks(subject, _) => self.input_after(1, 500, Input::HooksEnded(subject)),
            Output::CountReceived => {
                let counts = [None, Some(0), Some(3), Some(4_000), Some(4_100)];
                let received = self.rng.pick(&counts);
                self.input_after(1, 200, Input::Received(received));
            }
            Output::LookInTheWay(_) => self.input_after(1, 50, Input::InTheWay(Ok(Vec::new()))),
            Output::WatchTrackers(trackers) => {
                for tracker in trackers {
                    self.input_after(1, 50, Input::Tracker(tracker.name, Finding::success("looked")));
                }
            }
            Output::GiveWay(routers) => self.giving_way = routers,
            Output::Waiting(routers) => self.waiting = routers,
            Output::Trackers(_)
            | Output::Unserved(_)
            | Output::Withdrawn(_)
            | Output::Reply(..)
            | Output::Overloaded(_)
            | Output::Converged
            | Output::Log(_) => {}
        }
    }

    fn disk_works(&mut self) {
        for (id, result) in self.disk.work(self.mood) {
            self.handle(Input::Persisted(id, result));
        }
    }

    /// The disk changes its mood; what waited is tried again.
    pub(crate) fn disk_becomes(&mut self, mood: Mood) {
        self.mood = mood;
        self.say(mood);
        self.after(5, Later::Disk);
    }

    fn recalled(&self, loaded: &LoadedPlan) -> evenkeel_host::recall::Recalled {
        let mut ledger = Ledger::default();
        ledger.services.extend(self.kernel.services.keys().map(|key| (*key, Origin::Created)));
        let last_good = &self.disk.files.last_good;
        let memory = Memory {
            ledger: &ledger,
            drains: &self.disk.files.drains,
            orders: &self.disk.files.drain_orders,
            verified: None,
            plan: &|| last_good.as_ref().map(|loaded| loaded.plan.clone()),
        };
        left_behind(&loaded.plan, &memory, &self.kernel.services)
    }

    fn pass(&mut self) {
        let Some(wanted) = self.wanted.clone() else { return };
        let now = self.mono();
        let well = self.kernel_is_well;
        let mut drains = DrainsFound::default();
        if well {
            let busy = Connections { active: u32::from(self.busy), ..Connections::default() };
            let of = |services: &KernelState| {
                let one = |(key, service): (&ServiceKey, &evenkeel_converge::Service)| {
                    (*key, service.destinations.keys().map(|key| (*key, busy)).collect())
                };
                services.services.iter().map(one).collect()
            };
            let usage = of(&self.kernel);
            let step = self.drains.step(&wanted.desired, &self.kernel, &usage, now);
            drains = DrainsFound {
                draining: step.draining.clone(),
                ended: step.ended.clone(),
                next_look: step.next_look,
            };
            let services = step.desired.state.services.clone();
            self.drains = step.drains;
            if self.mood == Mood::Well || self.mood == Mood::Slow {
                self.disk.files.drains = self.drains.clone();
            }
            self.kernel.services = services;
            self.laws.kernel(&self.kernel, &wanted.desired, self.now);
        }
        let look = drains
            .next_look
            .map_or(RESYNC, |at| u64::try_from(now.until(at).as_millis()).unwrap_or(RESYNC).clamp(1, RESYNC));
        self.after(look, Later::Pass);
        let pass = Pass {
            ended: now,
            took: Duration::from_millis(1),
            done: Vec::new(),
            repairs: Vec::new(),
            drifts: Vec::new(),
            reported_drift: 0,
            errors: Vec::new(),
            foreign: None,
            converged: well,
            ready: well,
            lacking: BTreeSet::new(),
            unnamed: false,
            drains: Some(drains),
        };
        let report = PassReport {
            serial: wanted.serial,
            pass,
            converged: well,
            ready: well,
            lacking: BTreeSet::new(),
            errors: Vec::new(),
        };
        self.handle(Input::Pass(Box::new(report), Means::default()));
    }

    // What happens to the host.

    fn read(&self) -> Result<Arc<LoadedPlan>, PlanRefusal> {
        match self.file {
            File::Plan(n) => Ok(plans::plan(n)),
            File::Broken => Err(PlanRefusal::new("not a plan")),
        }
    }

    /// The file changes, and the source reads it.
    pub(crate) fn deliver(&mut self, file: File) {
        self.file = file;
        self.say(file);
        let wait = self.rng.within(20, 200);
        self.after(wait, Later::Read);
    }

    /// The health loop hears of something, and does what follows.
    fn check(&mut self, input: checker::Input) {
        let now = self.mono();
        self.checker.handle(input, now);
        let (mut news, mut ways) = (Vec::new(), None);
        while let Some(output) = self.checker.poll_output() {
            match output {
                checker::Output::Probe { id, began, .. } => {
                    let down = self.targets.get(&id).is_some_and(|ip| self.down.contains(ip));
                    let refused = || Fault::new(FaultLabel::Refused, "connection refused").into();
                    let silent = || Fault::no_answer(Duration::from_secs(1)).into();
                    let found = match (self.cut, down) {
                        (true, _) => silent(),
                        (false, true) => refused(),
                        (false, false) => Found::healthy(),
                    };
                    let wait = self.rng.within(1, 900);
                    let took = Duration::from_millis(wait);
                    self.after(wait, Later::Probed(checker::Input::Probed { id, began, took, found }));
                }
                checker::Output::WatchWays(targets) => ways = Some(targets),
                checker::Output::News(one) => news.push(one),
            }
        }
        if let Some(targets) = ways {
            let link = Link { name: "eth0".to_owned(), there: true, up: true, running: true, carrier: true };
            self.check(checker::Input::Way(WayNews::Links([(ETH0, link)].into())));
            let route = Route::By { interface: ETH0, direct: true, gateway: None };
            let routes = targets.into_iter().map(|target| (target, route)).collect();
            self.check(checker::Input::Way(WayNews::Routes(routes)));
        }
        if !news.is_empty() {
            // In their order.
            self.input_after(1, 1, Input::Checks(news));
        }
    }

    /// An operator asks for something.
    pub(crate) fn ask(&mut self, request: Request) {
        if self.host.is_none() {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        self.say(&request);
        self.laws.asked(id, &request, self.now);
        self.handle(Input::Request(id, request));
    }

    /// Starts a daemon now.
    pub(crate) fn start(&mut self) {
        if self.host.is_some() {
            return;
        }
        self.life += 1;
        let files = &self.disk.files;
        self.drains = files.drains.clone();
        let read = self.read();
        let start = Start {
            name: "h".parse().expect("a name"),
            orders: files.orders.clone(),
            drain_orders: files.drain_orders.clone(),
            maintenance: Maintenance::clone(&files.maintenance),
            record: Some(files.record.clone()),
            leases: self.election.leases.clone(),
            plan: read.clone(),
            last_good: files.last_good.as_ref().map(|loaded| loaded.generation.to_string()),
        };
        let moment = self.moment();
        self.say("start");
        self.laws.started(self.now, &self.disk.files);
        self.laws.delivered(read.as_ref().ok().map(|loaded| loaded.generation.to_string()));
        self.host = Some(Host::new(start, &moment));
        self.carry();
        // The source's first word.
        let wait = self.rng.within(30, 300);
        self.after(wait, Later::Read);
    }

    /// The daemon ends without a word, and is started again some time later.
    pub(crate) fn crash(&mut self) {
        if self.host.take().is_none() {
            return;
        }
        self.life += 1;
        let halfway = self.rng.chance(500);
        self.disk.crash(halfway);
        if self.drains != self.disk.files.drains {
            // They could not be written.
            self.laws.drains_are_lost();
        }
        let masters = self.masters();
        let setups = std::mem::take(&mut self.election).setups;
        let held = setups.into_iter().filter(|setup| masters.contains(&setup.name));
        self.election.leases = held.map(|setup| setup.lease).collect();
        self.wanted = None;
        self.giving_way.clear();
        self.waiting.clear();
        self.checker = Checker::new();
        self.say("crash");
        self.laws.crashed();
        let wait = self.rng.within(50, 3_000);
        self.after(wait, Later::Start);
    }

    /// The host boots anew: the kernel knows nothing, and time since boot begins again.
    pub(crate) fn reboot(&mut self) {
        self.crash();
        self.election.leases.clear();
        self.kernel = KernelState::default();
        self.boot += 1;
        self.say("reboot");
        self.booted = self.now;
        self.laws.rebooted();
    }

    /// Somebody sets the wall clock.
    pub(crate) fn step_clock(&mut self, seconds: i64) {
        self.wall_ahead += seconds * 1000;
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.host.is_some()
    }

    pub(crate) fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    pub(crate) const fn kernel(&self) -> &KernelState {
        &self.kernel
    }
}
